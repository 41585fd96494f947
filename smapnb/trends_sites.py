"""Which series are long and complete enough for a trend, over which window, and what a map of many tests allows to say.

Quality rules, sub-zero soil among them, have been applied before: their values are NaN here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from smapnb.rules import Rules, of

PREFIXES = {"surface": "ssm", "rootzone": "rzsm"}
IN_SITU = "insitu"
TRENDS_START = "2005-01-01"  # Fang et al. (2019), section II-C; the scripts begin with their hindcast
TRENDS_FARTHEST = 1.0  # degrees; the authors' scripts allow for trends what they do not for maps (0.5)
# In the order in which they are asked; a series is removed by the first that it fails. That the series which it would
# be compared with has no day at all, the caller alone can know.
REMOVED_BY = ("no valid day", "nothing to compare with", "too short", "too many missing")


class FieldSignificance(NamedTuple):
    """p adjusted by the false discovery rate (NaN where there was no test), and where it is at most `alpha`."""

    p_adjusted: NDArray[np.float64]
    significant: NDArray[np.bool_]
    tests: int


def usable(
    y: ArrayLike,
    time: ArrayLike,
    names: Sequence[str] | None = None,
    rules: str | Rules = "paper-text",
    since: str | pd.Timestamp | None = None,
    until: str | pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Find the window of each series and whether the trend rules keep it.

    The window runs from the first valid day to its last anniversary that lies inside the series, so that it holds
    whole years; the anniversary itself is left out of it. Of twelve calendar years it holds eleven, as in the scripts.
    ``paper-text``: at least three years from the first to the last valid day, at most 10 % of the window's days
    missing. ``author-code``: calendar years of the last and first valid day differ by more than two, less than 10 %
    missing. See `smapnb.rules` for the places.

    Parameters
    ----------
    y : array_like
        Shape (series, days), NaN missing.
    time : array_like
        Days, datetime64, strictly rising; days that are absent count as missing.
    names : sequence of str, optional
        Index of the result.
    rules : str or Rules
        Name of the set of rules, or the set.
    since, until : date-like, optional
        First and last day of the other series that the trend is compared with, both inside it.

    Returns
    -------
    pandas.DataFrame
        One row a series: ``start, end`` (first day of the window, first day after it; NaT where none), ``years``,
        ``valid`` (valid days of the window), ``missing`` (fraction), ``kept``, ``removed_by`` ("" or one of
        `REMOVED_BY`). `removals` counts them.

    Raises
    ------
    ValueError
        Shapes that do not fit, days that do not rise.
    """
    values = np.asarray(y)
    days = pd.DatetimeIndex(np.asarray(time))
    if values.ndim != 2 or values.shape[1] != days.size:
        raise ValueError(f"y has the shape {values.shape}, not (series, {days.size} days)")
    if not (days.is_monotonic_increasing and days.is_unique):
        raise ValueError("time does not rise strictly")
    if names is not None and len(names) != len(values):
        raise ValueError(f"{len(names)} names for {len(values)} series")
    chosen = rules if isinstance(rules, Rules) else of(rules)
    inside = np.ones(days.size, bool)
    if since is not None:
        inside &= np.asarray(days >= pd.Timestamp(since))
    if until is not None:
        inside &= np.asarray(days <= pd.Timestamp(until))
    rows = [_window(days[~np.isnan(row) & inside], chosen) for row in values]
    columns = ["start", "end", "years", "valid", "missing", "kept", "removed_by"]
    index = pd.Index(range(len(rows)) if names is None else list(names), name="series")
    table = pd.DataFrame(rows, columns=columns, index=index)
    return table.astype({"start": "datetime64[ns]", "end": "datetime64[ns]", "years": int, "valid": int, "kept": bool})


def _window(valid: pd.DatetimeIndex, rules: Rules) -> tuple[object, ...]:
    if not valid.size:
        return pd.NaT, pd.NaT, 0, 0, 1.0, False, "no valid day"
    first, last = valid[0], valid[-1]
    years = last.year - first.year
    years -= first + pd.DateOffset(years=years) > last
    end = first + pd.DateOffset(years=years)
    length = (end - first).days
    n = int((valid < end).sum())
    absent, most = length - n, rules.trend_most_missing * length
    if rules.name == "author-code":
        long = years > 0 and last.year - first.year > rules.trend_least_years
        complete = absent < most
    else:
        long = years >= rules.trend_least_years
        complete = absent <= most
    removed = "too short" if not long else "too many missing" if not complete else ""
    return first, end, years, n, absent / length if length else 1.0, not removed, removed


def trend_rules(rules: str | Rules) -> Rules:
    """Give the rules as they are for trends: a record counts as missing where its soil is below zero, not at zero.

    That holds for both sets and both networks (the authors' scripts drop CRN records at T < 0 for trends). Under
    ``author-code`` a site may be 1 degree from its pixel; under ``paper-text`` trends begin in 2005, before scores do.
    """
    rule = rules if isinstance(rules, Rules) else of(rules)
    farthest = TRENDS_FARTHEST if rule.name == "author-code" else rule.crn_farthest
    start = rule.crn_start if rule.name == "author-code" else TRENDS_START
    warm = replace(rule, core_coldest=0.0, crn_coldest=0.0, crn_coldest_kept=True, crn_farthest=farthest)
    return replace(warm, core_start=start, crn_start=start)


def site_windows(collocated: xr.Dataset, network: str, *, rules: str | Rules) -> pd.DataFrame:
    """Find the whole years of each site that lie inside both series, and whether the rules keep it.

    Parameters
    ----------
    collocated : xarray.Dataset
        (time, site), as `smapnb.comparison.collocate` gives: ``ssm_insitu, ssm_lstm`` and perhaps ``rzsm_``.
    network : str
        ``core`` or ``crn``, for the table.
    rules : str or Rules
        Of its choices, those of the trends.

    Returns
    -------
    pandas.DataFrame
        One row a site and quantity of which there is any product: ``site, network, quantity`` and the columns of
        `usable`; a site whose hindcast has no value is removed as "nothing to compare with".
    """
    days = collocated.indexes["time"]
    tables = []
    for quantity, prefix in PREFIXES.items():
        if f"{prefix}_{IN_SITU}" not in collocated or f"{prefix}_lstm" not in collocated:
            continue
        measured, hindcast = (
            collocated[f"{prefix}_{name}"].transpose("site", "time").to_numpy() for name in (IN_SITU, "lstm")
        )
        for site, one, two in zip(collocated["site"].to_numpy().astype(str), measured, hindcast, strict=True):
            known = days[np.isfinite(two)]
            span = {"since": known[0], "until": known[-1]} if known.size else {}
            row = usable(one[None], days, [site], rules, **span)
            if not known.size and row["valid"].item():
                row = row.assign(kept=False, removed_by="nothing to compare with")
            tables.append(row.rename_axis("site").reset_index().assign(network=network, quantity=quantity))
    if not tables:
        none = usable(np.empty((0, 1)), days[:1], [], rules).rename_axis("site").reset_index()
        tables = [none.assign(network=network, quantity="")]
    table = pd.concat(tables, ignore_index=True)
    first = ["site", "network", "quantity"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def removals(table: pd.DataFrame) -> pd.DataFrame:
    """Count what each rule removed from the result of `usable`.

    Returns
    -------
    pandas.DataFrame
        Index ``rule``: "all", each of `REMOVED_BY`, "kept"; column ``series``.
    """
    counts = {"all": len(table)}
    counts |= {rule: int((table["removed_by"] == rule).sum()) for rule in REMOVED_BY}
    counts["kept"] = int(table["kept"].sum())
    return pd.DataFrame({"series": counts}).rename_axis("rule")


def field_significance(p: ArrayLike, alpha: float = 0.05) -> FieldSignificance:
    """Adjust a map of p for the number of its tests by Benjamini and Hochberg's false discovery rate.

    Of the places found significant at most the fraction `alpha` are expected to be false; under a field without any
    trend, the chance to find one place at all is at most `alpha` (Wilks 2016, doi 10.1175/BAMS-D-15-00267.1, who shows
    that it is less where neighbours are alike). The p must be right each for itself: it heals no test that ignores
    autocorrelation.

    Parameters
    ----------
    p : array_like
        Any shape; NaN where there is no test.
    alpha : float
        False discovery rate.

    Returns
    -------
    FieldSignificance

    Raises
    ------
    ValueError
        A p outside 0 .. 1.
    """
    values = np.asarray(p, np.float64)
    tested = ~np.isnan(values)
    wrong = values[tested & ~((values >= 0) & (values <= 1))]
    if wrong.size:
        raise ValueError(f"p holds {wrong.size} values outside 0 .. 1, the first {wrong[0]}")
    adjusted = np.full(values.shape, np.nan)
    if tested.any():
        adjusted[tested] = false_discovery_control(values[tested], method="bh")
    return FieldSignificance(adjusted, np.nan_to_num(adjusted, nan=2.0) <= alpha, int(tested.sum()))
