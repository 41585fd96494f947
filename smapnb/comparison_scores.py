"""Scores of every product at every site, before and after launch, with limits and the days that counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import metrics
from smapnb.comparison_sampling import (
    ALL_PRODUCTS,
    LAUNCH,
    PERIODS,
    SAMPLINGS,
    SEASONS,
    first_and_last,
    known,
    quantities,
    sample,
)

ANOMALY_R = "anomaly_r"
METRICS = (*metrics.METRICS, ANOMALY_R)
SCORE_COLUMNS = [
    *("site", "group", "quantity", "product", "period", "sampling", "metric", "value", "lower", "upper"),
    *("n", "start", "end", "rules", "synthetic"),
]
FEWEST_DAYS = 30  # with less than a month of days a score is not given, only its n


def scores(
    collocated: xr.Dataset,
    *,
    rules: str,
    sampling: Sequence[str] = SAMPLINGS,
    products: Sequence[str] = ALL_PRODUCTS,
    launch: str = LAUNCH,
    season: str | None = None,
    n_boot: int = 1000,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = FEWEST_DAYS,
) -> pd.DataFrame:
    """Score every product at every site before and after launch.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    rules : str
        Name of the set of rules, which decides the periods (`periods`).
    sampling : sequence of str
        ``author``: each product on every in-situ day that it has; ``matched``: on the days that all have (`sample`).
    products : sequence of str
        Those of ``smap, lstm, noah, comb, vic, noah_vic, lstm_vic`` that are wanted; what is not there has no rows.
    launch, season
        As in `sample`.
    n_boot, block, level, seed
        As in `smapnb.metrics.evaluate`; all sites are resampled alike. One sample gives no limits: they are NaN.
    minimum_n : int
        Where a site has fewer days, its scores are NaN.

    Returns
    -------
    pandas.DataFrame
        Columns `SCORE_COLUMNS`, one row a site, quantity, product, period, sampling and metric (``bias, rmse,
        ubrmse`` in m3 m-3, ``pearson_r, anomaly_r``). `start` and `end` are the first and last day that counted; a
        site without a day has its rows, with n = 0 and NaN. ``anomaly_r`` correlates the anomalies
        (`smapnb.metrics.anomaly`) of the matched days and has the n of those.

    Raises
    ------
    ValueError
        As `sample`; an unknown product.
    """
    unknown = sorted(set(products) - set(ALL_PRODUCTS))
    if unknown:
        raise ValueError(f"products {unknown}: of {ALL_PRODUCTS}")
    settings = {"n_boot": n_boot, "block": block, "level": level, "seed": seed, "minimum_n": minimum_n}
    blocks = []
    for quantity in quantities(collocated):
        for how in sampling:
            for period in PERIODS:
                days = sample(collocated, quantity, period, rules=rules, sampling=how, launch=launch, season=season)
                labels = {"quantity": quantity, "period": period, "sampling": how, "rules": rules}
                for name in (name for name in products if name in days.products):
                    rows = _score_rows(days.products[name], days.obs, settings)
                    blocks.append(rows.assign(product=name, **labels))
    table = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame(columns=SCORE_COLUMNS)
    if n_boot == 1:
        table[["lower", "upper"]] = np.nan
    return table.assign(synthetic=collocated.attrs.get("synthetic", "false"))[SCORE_COLUMNS]


def seasonal_scores(collocated: xr.Dataset, *, rules: str, **settings: Any) -> pd.DataFrame:
    """Score every product by season: the table of `scores` with a column ``season`` (DJF, MAM, JJA, SON) after period.

    The days of all years of the period that fall into the season are taken together; settings are those of `scores`.
    """
    blocks = [scores(collocated, rules=rules, season=season, **settings).assign(season=season) for season in SEASONS]
    columns = list(SCORE_COLUMNS)
    columns.insert(columns.index("period") + 1, "season")
    return pd.concat(blocks, ignore_index=True)[columns]


def _score_rows(sim: xr.DataArray, obs: xr.DataArray, settings: dict[str, Any]) -> pd.DataFrame:
    """Rows of all sites and metrics of one series."""
    matched = known(sim) & known(obs)
    start, end = first_and_last(matched)
    places = {"site": obs["site"].to_numpy(), "group": obs["group"].to_numpy(), "start": start, "end": end}
    nothing = {"value": np.nan, "lower": np.nan, "upper": np.nan, "n": 0}
    if not matched.any():
        return pd.concat([pd.DataFrame(places | nothing | {"metric": name}) for name in METRICS])
    # Values and anomalies in one go: the days of the samples are drawn once.
    of_days = anomalies({"sim": sim, "obs": obs}, matched)
    pairs = ((sim, of_days["sim"]), (obs, of_days["obs"]))
    both_sim, both_obs = (xr.concat(pair, "kind") for pair in pairs)
    found = metrics.evaluate(sim=both_sim, obs=both_obs, **settings)
    plain, anomalous = found.isel(kind=0), found.isel(kind=1)
    blocks = []
    for name in METRICS:
        part, own = (anomalous, "pearson_r") if name == ANOMALY_R else (plain, name)
        lower, upper = part[f"{own}_ci"].transpose("limit", "site").to_numpy()
        values = {"value": part[own].to_numpy(), "lower": lower, "upper": upper, "n": part["n"].to_numpy()}
        blocks.append(pd.DataFrame(places | values | {"metric": name}))
    return pd.concat(blocks)


def blanked(series: dict[str, xr.DataArray], matched: xr.DataArray) -> dict[str, xr.DataArray]:
    """All series on the days on which all have a value."""
    return {name: values.where(matched) for name, values in series.items()}


def anomalies(series: dict[str, xr.DataArray], matched: xr.DataArray) -> dict[str, xr.DataArray]:
    """Anomalies of all series on the days on which all have a value."""
    return {name: metrics.anomaly(values) for name, values in blanked(series, matched).items()}
