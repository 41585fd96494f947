"""From site series and products to the long table of slopes: one row a site, product and variant, with its limits.

Slopes are in volumetric per cent per year. Which sites stand in it, and over which years, `smapnb.trends_sites` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from smapnb.rules import Rules, of
from smapnb.trends import PER_CENT, block_limits
from smapnb.trends_experiment import VARIANTS
from smapnb.trends_limits import Tested, slope_with_limits
from smapnb.trends_methods import Reason
from smapnb.trends_sites import IN_SITU, PREFIXES, usable

Floats = NDArray[np.float64]

METRIC = "sen_slope"
UNITS = "volumetric % per year"
# The slope of `original`, with limits by resampling years; it is no test and has no p.
BLOCKS = "year_blocks"
SITE_VARIANTS: dict[str, dict[str, Any]] = {
    "original": VARIANTS["original"],
    "author_code": {"method": "author_code"},
    **{name: VARIANTS[name] for name in ("hamed_rao", "yue_wang, lags of 90 steps", "trend_free_pre_whitening")},
    **{name: VARIANTS[name] for name in ("seasonal", "seasonal_correlated", "deseasonalised", "annual")},
    BLOCKS: {},
}
FEW_VARIANTS = {name: SITE_VARIANTS[name] for name in ("original", "seasonal_correlated", "annual", BLOCKS)}
# Years are drawn from monthly means: twelve make a year, leap or not, and they are ten times faster than days.
LEAST_OF_A_MONTH = 0.5
COLUMNS = [
    *("site", "network", "quantity", "product", "metric", "variant", "value", "lower", "upper", "p_value"),
    *("reason", "start", "end", "n", "rules", "synthetic"),
]


def site_slopes(
    collocated: xr.Dataset,
    windows: pd.DataFrame,
    *,
    rules: str | Rules,
    synthetic: bool,
    products: Sequence[str] = (IN_SITU, "lstm"),
    variants: Mapping[str, Mapping[str, Any]] = SITE_VARIANTS,
    n_boot: int = 500,
    level: float = 0.95,
    workers: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Tabulate the slope of each product at each site that the rules keep, by every variant, with limits.

    Under ``matched`` sampling (see `smapnb.rules`) products count on the days with a measurement only, else on every
    day of the window: gaps that come with a season then tilt the one series and not the other.

    Parameters
    ----------
    collocated : xarray.Dataset
        As in `smapnb.trends.site_windows`; m3 m-3.
    windows : pandas.DataFrame
        Its result.
    rules : str or Rules
        Of its choices, `sampling`; its name stands in the table.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    products : sequence of str
        Those that are there, as ``insitu, lstm, truth``.
    variants : mapping
        Name to arguments of `smapnb.trends.mann_kendall`.
    n_boot : int
        Samples of the year blocks.
    level, workers, progress
        As in `smapnb.trends.block_limits`; threads take sites.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`; ``value, lower, upper`` in `UNITS`, ``start`` and ``end`` first and last day of the window, ``n``
        values into S, ``reason`` as in `smapnb.trends.Reason`.
    """
    rule = rules if isinstance(rules, Rules) else of(rules)
    days, kept = collocated.indexes["time"], windows[windows["kept"]]

    def one(window: Any) -> list[dict[Any, Any]]:
        prefix = PREFIXES[window.quantity]
        time = pd.date_range(window.start, window.end, inclusive="left")
        place = days.get_indexer(time)
        at = collocated.sel(site=window.site)
        rows: list[dict[Any, Any]] = []
        measured = _on(at[f"{prefix}_{IN_SITU}"].to_numpy(), place)
        for product in products:
            name = f"{prefix}_{product}"
            if name not in at:
                continue
            y = _on(at[name].to_numpy(), place)
            y = np.where(np.isnan(measured), np.nan, y) if rule.sampling == "matched" else y
            slopes = variant_slopes(y, time, variants, n_boot=n_boot, level=level)
            known = {"site": window.site, "network": window.network, "quantity": window.quantity, "product": product}
            rows += [{**known, **row} for row in slopes.to_dict("records")]
        return rows

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(
            tqdm(pool.map(one, kept.itertuples()), total=len(kept), unit="site", disable=not progress, desc="slopes")
        )
    table = pd.DataFrame([row for rows in found for row in rows])
    return table.assign(metric=METRIC, rules=rule.name, synthetic=synthetic).reindex(columns=COLUMNS)


def variant_slopes(
    y: ArrayLike,
    time: ArrayLike,
    variants: Mapping[str, Mapping[str, Any]] = SITE_VARIANTS,
    *,
    n_boot: int = 500,
    level: float = 0.95,
) -> pd.DataFrame:
    """Tabulate one daily series by every variant.

    Parameters
    ----------
    y : array_like
        Shape (days,), m3 m-3, NaN missing.
    time : array_like
        datetime64, every day.
    variants, n_boot, level
        As in `site_slopes`.

    Returns
    -------
    pandas.DataFrame
        Columns ``variant, value, lower, upper`` (`UNITS`), ``p_value, reason, start, end`` (ISO dates), ``n``.
    """
    values, stamps = np.asarray(y, np.float64), pd.DatetimeIndex(np.asarray(time))
    rows = []
    for name, arguments in variants.items():
        if name == BLOCKS:
            found = _by_blocks(values, stamps, n_boot, level)
        else:
            found = slope_with_limits(values, stamps.to_numpy(), level=level, **arguments)
        rows.append({"variant": name, **found._asdict(), "reason": found.reason.name.lower()})
    table = pd.DataFrame(rows, columns=["variant", *Tested._fields])
    return table.rename(columns={"slope": "value", "p": "p_value"}).assign(
        start=f"{stamps[0]:%Y-%m-%d}", end=f"{stamps[-1]:%Y-%m-%d}"
    )


def depth_slopes(
    moisture: xr.DataArray,
    *,
    rules: str | Rules,
    variants: Mapping[str, Mapping[str, Any]] = SITE_VARIANTS,
    n_boot: int = 500,
    level: float = 0.95,
) -> pd.DataFrame:
    """Tabulate one station depth by depth, whether or not the rules keep it; what they say stands beside it.

    Parameters
    ----------
    moisture : xarray.DataArray
        (time, depth), daily, m3 m-3, after quality.
    rules : str or Rules
        Of its choices, those of the trends.
    variants, n_boot, level
        As in `site_slopes`.

    Returns
    -------
    pandas.DataFrame
        ``depth`` (cm), ``panel`` (text: depth, days, part missing and verdict of the rules), the columns of
        `variant_slopes`, ``missing`` and ``removed_by``. A depth without a whole year is left out.
    """
    days = moisture.indexes["time"]
    tables = []
    for depth, y in zip(moisture["depth"].to_numpy(), moisture.transpose("depth", "time").to_numpy(), strict=True):
        window = usable(y[None], days, rules=rules).iloc[0]
        if not window["years"]:
            continue
        time = pd.date_range(window["start"], window["end"], inclusive="left")
        slopes = variant_slopes(_on(y, days.get_indexer(time)), time, variants, n_boot=n_boot, level=level)
        verdict = window["removed_by"] or "kept"
        span = f"{time[0]:%Y-%m-%d} to {time[-1]:%Y-%m-%d}"
        panel = f"{depth:g} cm, {span}\n{100 * window['missing']:.0f} % missing ({verdict})"
        known = {"missing": window["missing"], "removed_by": window["removed_by"]}
        tables.append(slopes.assign(depth=depth, panel=panel, **known))
    columns = ["depth", "panel", "variant", *Tested._fields, "start", "end", "missing", "removed_by"]
    renamed = [{"slope": "value", "p": "p_value"}.get(name, name) for name in columns]
    return pd.concat(tables, ignore_index=True)[renamed] if tables else pd.DataFrame(columns=renamed)


def paired(table: pd.DataFrame, quantity: str, variant: str = BLOCKS, of: str = "lstm") -> pd.DataFrame:
    """Set the slopes of a product beside those in situ: one row a site that has both.

    Returns
    -------
    pandas.DataFrame
        Index ``site``; ``network, x, x_lower, x_upper`` (in situ), ``y, y_lower, y_upper`` (`of`), ``start``.
    """
    rows = table[(table["quantity"] == quantity) & (table["variant"] == variant)].set_index("site")
    numbers = ["value", "lower", "upper"]
    one, two = (rows[rows["product"] == name] for name in (IN_SITU, of))
    x, y = (
        part[numbers].astype(float).set_axis([axis, f"{axis}_lower", f"{axis}_upper"], axis=1)
        for part, axis in ((one, "x"), (two, "y"))
    )
    return one[["network", "start"]].join([x, y], how="inner").dropna(subset=["x", "y"])


def _by_blocks(values: Floats, stamps: pd.DatetimeIndex, n_boot: int, level: float) -> Tested:
    """Limits from monthly means, laid round the slope of days."""
    whole = slope_with_limits(values, stamps.to_numpy(), "original", level=level)._replace(
        lower=np.nan, upper=np.nan, p=np.nan
    )
    if whole.reason not in (Reason.TESTED, Reason.CONSTANT):
        return whole
    means, times = monthly(values, stamps)
    limits = block_limits(means, times.to_numpy(), n_boot=n_boot, level=level)
    lower, upper = (whole.slope + PER_CENT * float(end - limits.slope) for end in (limits.lower, limits.upper))
    return whole._replace(lower=lower, upper=upper)


def monthly(values: Floats, stamps: pd.DatetimeIndex) -> tuple[Floats, pd.DatetimeIndex]:
    """Average calendar months, each stamped with its first day; NaN where less than half of its days have a value."""
    months = pd.Series(values, stamps).resample("MS")
    first = pd.DatetimeIndex(months.mean().index)
    means = months.mean().where(months.count() >= LEAST_OF_A_MONTH * np.asarray(first.days_in_month))
    return np.asarray(means, np.float64), first


def _on(values: NDArray, place: NDArray[np.intp]) -> Floats:
    """Values at these positions, NaN where there is no such day (-1)."""
    return np.where(place >= 0, values.astype(np.float64)[place], np.nan)
