"""How fast products dry after rain, beside the probes in the same spells and on the same days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import metrics
from smapnb.comparison_sampling import ALL_PRODUCTS, LAUNCH, PERIODS, known, quantities, sample

COLUMNS = [
    *("site", "group", "quantity", "product", "period", "drydown_days", "lower_quartile", "upper_quartile"),
    *("insitu_days", "ratio", "ratio_lower", "ratio_upper", "n_spells", "n_found", "reason", "rules", "synthetic"),
]
FEWEST_SPELLS = 5


def drydown(
    collocated: xr.Dataset,
    precipitation: xr.DataArray | None = None,
    *,
    rules: str,
    threshold: float = 1.0,
    least_drop: float = 0.2,
    least_fit: float = 0.7,
    fewest_spells: int = FEWEST_SPELLS,
    launch: str = LAUNCH,
    n_boot: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the e-folding time of each product with that of the probes.

    Product and probes are fitted (`smapnb.metrics.efolding_days`) in the same spells without rain and on the same
    days, those that both have, because fewer readings of a spell give another time: probes read when SMAP passes are
    to SMAP what daily probes are to a daily product. Only spells that are usable in both count.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    precipitation : xarray.DataArray, optional
        (time, site), mm d-1; none: the variable ``precipitation`` of `collocated`.
    rules, launch
        As in `smapnb.comparison.scores`.
    threshold, least_drop, least_fit
        As in `smapnb.metrics.drydown_days`.
    fewest_spells : int
        With fewer spells usable in both there is no time and no ratio.
    n_boot, level, seed
        Spells are drawn with replacement for the limits of the ratio, in pairs.

    Returns
    -------
    pandas.DataFrame
        One row a site, quantity, product and period: ``drydown_days`` (median over the spells) with its quartiles,
        ``insitu_days``, their ``ratio`` (below 1: the product dries faster) with limits, ``n_spells`` (usable in
        both) of ``n_found``, ``reason`` (empty where there is a ratio), ``rules``, ``synthetic``.

    Raises
    ------
    ValueError
        No precipitation, or none for a site; unknown rules.
    """
    rain = collocated.get("precipitation") if precipitation is None else precipitation
    if rain is None:
        raise ValueError("no precipitation is given, and there is none among the collocated variables")
    absent = sorted(set(collocated["site"].to_numpy()) - set(rain["site"].to_numpy()))
    if absent:
        raise ValueError(f"precipitation lacks {len(absent)} sites, such as {absent[0]}")
    every_day = pd.date_range(collocated.indexes["time"].min(), collocated.indexes["time"].max())
    rain = rain.sel(site=collocated["site"].to_numpy()).transpose("time", "site").reindex(time=every_day)
    spells = [metrics.dry_spells(column, threshold=threshold) for column in rain.to_numpy().T]
    generator, rows = np.random.default_rng(seed), []
    for quantity in quantities(collocated):
        for period in PERIODS:
            days = sample(collocated, quantity, period, rules=rules, sampling="author", launch=launch)
            for name in (name for name in ALL_PRODUCTS if name in days.products):
                product, obs = days.products[name], days.obs
                both = known(product) & known(obs)
                columns = [x.where(both).reindex(time=every_day).to_numpy().T for x in (product, obs)]
                for position, site in enumerate(collocated["site"].to_numpy()):
                    own = _inside(spells[position], columns[0][position])
                    taus = np.stack(
                        [
                            metrics.efolding_days(x[position], own, least_drop=least_drop, least_fit=least_fit)
                            for x in columns
                        ]
                    )
                    group = collocated["group"].to_numpy()[position]
                    row = {"site": site, "group": group, "quantity": quantity, "product": name, "period": period}
                    rows.append(row | _ratio(taus, fewest_spells, n_boot, level, generator))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(rules=rules, synthetic=collocated.attrs.get("synthetic", "false"))


def _inside(spells: NDArray[np.int64], values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Spells between the first and the last value of a series."""
    days = np.flatnonzero(~np.isnan(values))
    if not days.size:
        return spells[:0]
    return spells[(spells[:, 1] >= days[0]) & (spells[:, 0] <= days[-1])]


def _ratio(
    taus: NDArray[np.float64], fewest: int, n_boot: int, level: float, generator: np.random.Generator
) -> dict[str, float | int | str]:
    """Summary of the times of product and probes, (2, spells)."""
    usable = taus[:, ~np.isnan(taus).any(0)]
    found, n = taus.shape[1], usable.shape[1]
    if n < fewest:
        names = (
            "drydown_days",
            "lower_quartile",
            "upper_quartile",
            "insitu_days",
            "ratio",
            "ratio_lower",
            "ratio_upper",
        )
        reason = f"{n} of {found} dry spells usable in both; {fewest} are needed"
        return dict.fromkeys(names, np.nan) | {"n_spells": n, "n_found": found, "reason": reason}
    lower, own, upper = np.quantile(usable[0], [0.25, 0.5, 0.75])
    insitu = float(np.median(usable[1]))
    drawn = np.median(usable[:, generator.integers(n, size=(n_boot, n))], axis=-1)
    limits = np.quantile(drawn[0] / drawn[1], [(1 - level) / 2, (1 + level) / 2])
    times = {"drydown_days": own, "lower_quartile": lower, "upper_quartile": upper, "insitu_days": insitu}
    ratio = {"ratio": own / insitu, "ratio_lower": limits[0], "ratio_upper": limits[1]}
    return times | ratio | {"n_spells": n, "n_found": found, "reason": ""}
