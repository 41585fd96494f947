"""Products against what stands in the ground: scores of each, differences of any two, by site and over sites.

It takes site series and products as they are; quality rules and upscaling are the business of `smapnb.insitu`.
Collocation, days that count, dry spells and tables over sites stand in the modules ``comparison_*`` and are given here.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import metrics
from smapnb.comparison_collocate import collocate, gather
from smapnb.comparison_drydown import drydown
from smapnb.comparison_sampling import (
    ALL_PRODUCTS,
    LAUNCH,
    PERIODS,
    SAMPLINGS,
    SEASONS,
    Sample,
    first_and_last,
    known,
    periods,
    quantities,
    sample,
)
from smapnb.comparison_shape import shape
from smapnb.comparison_tables import cluster_mean, clusters, effect, site_means
from smapnb.comparison_views import drydown_scores, effect_table, site_values

__all__ = [
    "ALL_PRODUCTS",
    "DIFFERENCE_COLUMNS",
    "PAIRS",
    "SCORE_COLUMNS",
    "SERIES",
    "cluster_mean",
    "clusters",
    "collocate",
    "differences",
    "drydown",
    "drydown_scores",
    "effect",
    "effect_table",
    "gather",
    "periods",
    "sample",
    "scores",
    "seasonal_scores",
    "shape",
    "site_means",
    "site_values",
]

log = logging.getLogger(__name__)

ANOMALY_R = "anomaly_r"
METRICS = (*metrics.METRICS, ANOMALY_R)
# The seven series of Figs. 3 and 7 of Fang et al. (2019), in the paper's order.
SERIES = ("PL lstm", "PL noah", "PL comb", "AL smap", "AL lstm", "AL noah", "AL comb")
PAIRS = (
    ("PL comb", "PL noah"),
    ("AL comb", "AL noah"),
    ("PL lstm", "PL noah"),
    ("AL lstm", "AL noah"),
    ("AL smap", "AL noah"),
    ("AL smap", "AL lstm"),
    ("PL noah_vic", "PL comb"),
    ("AL noah_vic", "AL comb"),
    ("PL lstm_vic", "PL comb"),
    ("AL lstm_vic", "AL comb"),
    ("PL lstm", "AL lstm"),
    ("PL lstm", "AL smap"),
)
SCORE_COLUMNS = [
    *("site", "group", "quantity", "product", "period", "sampling", "metric", "value", "lower", "upper"),
    *("n", "start", "end", "rules", "synthetic"),
]
DIFFERENCE_COLUMNS = [
    *("site", "group", "quantity", "one", "two", "metric", "difference", "lower", "upper", "p_value", "p_adjusted"),
    *("n", "n_two", "rules", "sampling", "synthetic"),
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
    plain = metrics.evaluate(sim=sim, obs=obs, **settings)
    blanked = _anomalies({"sim": sim, "obs": obs}, matched)
    anomalies = metrics.evaluate(sim=blanked["sim"], obs=blanked["obs"], **settings)
    blocks = []
    for name in METRICS:
        found, own = (anomalies, "pearson_r") if name == ANOMALY_R else (plain, name)
        lower, upper = found[f"{own}_ci"].transpose("limit", "site").to_numpy()
        values = {"value": found[own].to_numpy(), "lower": lower, "upper": upper, "n": found["n"].to_numpy()}
        blocks.append(pd.DataFrame(places | values | {"metric": name}))
    return pd.concat(blocks)


def _all_known(series: dict[str, xr.DataArray]) -> xr.DataArray:
    return reduce(operator.and_, [known(values) for values in series.values()])


def _blanked(series: dict[str, xr.DataArray], matched: xr.DataArray) -> dict[str, xr.DataArray]:
    return {name: values.where(matched) for name, values in series.items()}


def _anomalies(series: dict[str, xr.DataArray], matched: xr.DataArray) -> dict[str, xr.DataArray]:
    """Anomalies of all series on the days on which all have a value."""
    return {name: metrics.anomaly(values) for name, values in _blanked(series, matched).items()}


def differences(
    collocated: xr.Dataset,
    pairs: Iterable[tuple[str, str]] = PAIRS,
    *,
    rules: str,
    sampling: str,
    by: Literal["site", "group"] = "site",
    launch: str = LAUNCH,
    n_boot: int = 1000,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = FEWEST_DAYS,
) -> pd.DataFrame:
    """Compare series two by two at every site, with limits, p-values and false-discovery control over the sites.

    Two series of one period are compared on the days that both have (`smapnb.metrics.compare`), whatever the
    sampling; series of two periods, each on its own days, with independent resampling
    (`smapnb.metrics.compare_periods`), so that such a difference holds the weather of the periods as well.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    pairs : iterable of (str, str)
        Series such as ``("AL comb", "AL noah")``. Pairs with a series that is not there are left out and logged.
    rules, launch
        As in `scores`.
    sampling : str
        ``author`` or ``matched``.
    by : {"site", "group"}
        ``group``: the score of a group is the mean over its sites, in every sample (core sites with several pixels).
    n_boot, block, level, seed
        As in `smapnb.metrics.compare`.
    minimum_n : int
        Where a series has fewer days, the difference is NaN.

    Returns
    -------
    pandas.DataFrame
        Columns `DIFFERENCE_COLUMNS`; ``difference`` is one less two, ``p_adjusted`` after Benjamini and Hochberg over
        the sites of a quantity, pair and metric. `n` are the days of `one`, ``n_two`` those of `two`.

    Raises
    ------
    ValueError
        As `sample`; a series that is no period and product.
    """
    settings = {"n_boot": n_boot, "block": block, "level": level, "seed": seed, "minimum_n": minimum_n, "by": by}
    wanted, blocks = list(pairs), []
    _check_series(wanted)
    for quantity in quantities(collocated):
        chosen = {"rules": rules, "sampling": sampling, "launch": launch}
        days = {period: sample(collocated, quantity, period, **chosen) for period in PERIODS}
        for one, two in wanted:
            lacking = [x for x in (one, two) if x.split()[1] not in days[x.split()[0]].products]
            if lacking:
                log.info("%s: %s less %s left out, there is no %s", quantity, one, two, ", ".join(lacking))
                continue
            for name, found, metric in _compare(days, one, two, settings):
                rows = _difference_rows(found, name, metric, collocated, by)
                rows["p_adjusted"] = metrics.false_discovery(rows["p_value"])
                blocks.append(rows.assign(quantity=quantity, one=one, two=two))
    table = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame(columns=DIFFERENCE_COLUMNS)
    labels = {"rules": rules, "sampling": sampling, "synthetic": collocated.attrs.get("synthetic", "false")}
    return table.assign(**labels)[DIFFERENCE_COLUMNS]


def _check_series(pairs: Iterable[tuple[str, str]]) -> None:
    for series in (series for pair in pairs for series in pair):
        period, _, name = series.partition(" ")
        if period not in PERIODS or name not in ALL_PRODUCTS:
            raise ValueError(f"series {series!r}: one of {PERIODS}, a blank, and one of {ALL_PRODUCTS}")


def _compare(
    days: dict[str, Sample], one: str, two: str, settings: dict[str, Any]
) -> list[tuple[str, xr.Dataset | None, str]]:
    """Differences of all scores: (score, result or None where a series has no day, name of the score in it)."""
    (period_one, first), (period_two, second) = one.split(), two.split()
    paired = period_one == period_two
    series = {"one": days[period_one].products[first], "two": days[period_two].products[second]}
    if paired:
        parts = [series | {"obs": days[period_one].obs}]
    else:
        observed = {"one": days[period_one].obs, "two": days[period_two].obs}
        parts = [{key: series[key], f"obs_{key}": observed[key]} for key in series]
    matched = [_all_known(part) for part in parts]
    found: list[xr.Dataset | None] = []
    for names, prepare in ((metrics.METRICS, _blanked), (("pearson_r",), _anomalies)):
        if not all(part_matched.any() for part_matched in matched):
            found.append(None)
            continue
        arguments: dict[str, Any] = {}
        for part, part_matched in zip(parts, matched, strict=True):
            arguments |= prepare(part, part_matched)
        compare = metrics.compare if paired else metrics.compare_periods
        found.append(compare(**arguments, names=names, **settings))
    return [*((name, found[0], name) for name in metrics.METRICS), (ANOMALY_R, found[1], "pearson_r")]


def _difference_rows(
    found: xr.Dataset | None, name: str, metric: str, collocated: xr.Dataset, by: Literal["site", "group"]
) -> pd.DataFrame:
    places = pd.DataFrame({"site": collocated["site"].to_numpy(), "group": collocated["group"].to_numpy()})
    if by == "group":
        places = pd.DataFrame({"site": places["group"].unique(), "group": places["group"].unique()})
    if found is None:
        nothing = dict.fromkeys(("difference", "lower", "upper", "p_value"), np.nan)
        return places.assign(metric=name, n=0, n_two=0, **nothing)
    lower, upper = found[f"{metric}_ci"].transpose("limit", by).to_numpy()
    values = {"difference": found[metric].to_numpy(), "lower": lower, "upper": upper}
    values |= {
        "p_value": found[f"{metric}_p"].to_numpy(),
        "n": found["n"].to_numpy(),
        "n_two": found["n_two"].to_numpy(),
    }
    return places.assign(metric=name, **values)
