"""Which days of which product count: the periods before and after launch, and on which of their days is scored.

PL and AL are Fang, Pan and Shen's (2019, section II-C) pre-launch test and after-launch training period. It scores
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import rules as rule_sets
from smapnb.comparison_collocate import PRODUCTS, product
from smapnb.rules import LAUNCH
from smapnb.variables import TARGETS

PERIODS = ("PL", "AL")
SAMPLINGS = ("author", "matched")
ALL_PRODUCTS = ("smap", "lstm", "noah", "comb", "vic", "noah_vic", "lstm_vic")
SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True)
class Sample:
    """In-situ values and products of one quantity and period, NaN on days that do not count; arrays (time, site)."""

    obs: xr.DataArray
    products: dict[str, xr.DataArray]


def periods(collocated: xr.Dataset, quantity: str = "surface", *, rules: str, launch: str = LAUNCH) -> pd.DataFrame:
    """Tabulate the periods of each site.

    The scripts make of t1, the later of the first in-situ day and the first hindcast day, t2, the first SMAP day, and
    t3, the earlier of the last in-situ day and the last SMAP day, the periods t1 to t2 and t2 to t3, which share
    the day t2. Here t2 belongs to AL only, so that no day is trained on and tested on: PL is [t1, t2) and AL
    [t2, t3], where no in-situ value before t1 or after t3 is used. The end of AL is ``Rules.after_launch_end`` or,
    where that is earlier, the last day on which any site has a SMAP value of the quantity.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    quantity : str
        ``surface`` or ``rootzone``.
    rules : str
        Name of the set of rules.
    launch : str
        t2.

    Returns
    -------
    pandas.DataFrame
        One row a site and period: ``site, period, start, end, days``; `end` is the last day of the period, `days`
        those with an in-situ value. A period without a day has no start, no end and 0 days.

    Raises
    ------
    ValueError
        Unknown quantity or rules, or no in-situ values of the quantity at any site.
    """
    obs, begin = in_situ(collocated, quantity), pd.Timestamp(launch)
    hindcast = product(collocated, TARGETS[quantity], "lstm")
    earliest = _first_day(hindcast) if hindcast is not None else None
    smap = product(collocated, TARGETS[quantity], "smap")
    last = min(pd.Timestamp(rule_sets.of(rules).after_launch_end), _last_day(smap))
    days = obs.indexes["time"]
    rows = []
    for position, site in enumerate(collocated["site"].to_numpy()):
        observed = days[known(obs.isel(site=position)).to_numpy()]
        if earliest is not None:
            observed = observed[observed >= earliest]
        for period, inside in (
            ("PL", observed[observed < begin]),
            ("AL", observed[(observed >= begin) & (observed <= last)]),
        ):
            row = {"site": site, "period": period, "start": pd.NaT, "end": pd.NaT, "days": inside.size}
            if inside.size:
                row["start"] = inside[0] if period == "PL" else begin
                row["end"] = inside[-1] if period == "AL" else begin - pd.Timedelta(days=1)
            rows.append(row)
    table = pd.DataFrame(rows, columns=["site", "period", "start", "end", "days"])
    return table.astype({"start": "datetime64[ns]", "end": "datetime64[ns]"})


def _last_day(smap: xr.DataArray | None) -> pd.Timestamp:
    """Last day with a SMAP value at any site; the end of time where there is no SMAP to end."""
    some = None if smap is None else known(smap).any("site").to_numpy()
    return pd.Timestamp.max if smap is None or some is None or not some.any() else smap.indexes["time"][some][-1]


def _first_day(hindcast: xr.DataArray) -> pd.Timestamp | None:
    some = known(hindcast).any("site").to_numpy()
    return hindcast.indexes["time"][some.argmax()] if some.any() else None


def known(values: xr.DataArray) -> xr.DataArray:
    """Where there is a value."""
    return ~xr.ufuncs.isnan(values)


def in_situ(collocated: xr.Dataset, quantity: str) -> xr.DataArray:
    """Give the in-situ series of a quantity."""
    if quantity not in TARGETS:
        raise ValueError(f"quantity {quantity!r}: one of {sorted(TARGETS)}")
    name = f"{TARGETS[quantity]}_insitu"
    if name not in collocated:
        raise ValueError(f"{name} is not among {sorted(map(str, collocated.data_vars))}")
    return collocated[name].transpose("time", "site")


def quantities(collocated: xr.Dataset) -> list[str]:
    """Quantities that have in-situ series."""
    return [quantity for quantity, prefix in TARGETS.items() if f"{prefix}_insitu" in collocated]


def sample(
    collocated: xr.Dataset,
    quantity: str,
    period: str,
    *,
    rules: str,
    sampling: str,
    launch: str = LAUNCH,
    season: str | None = None,
) -> Sample:
    """Give the values that count.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    quantity : str
        ``surface`` or ``rootzone``.
    period : str
        ``PL`` or ``AL``; SMAP is there in AL only.
    rules, launch : str
        As in `periods`.
    sampling : str
        ``author``: each product on every in-situ day that it has. ``matched``: all products on the days that all of
        them have: SMAP's days in AL, and where SMAP has none, no day. Another product without any value at a site in
        the period binds no other there.
    season : str, optional
        ``DJF, MAM, JJA, SON``: only its days.

    Returns
    -------
    Sample
        On the days of the period on which any site has a value; perhaps none.

    Raises
    ------
    ValueError
        Unknown quantity, period, rules, sampling or season.
    """
    for what, given, choices in (("period", period, PERIODS), ("sampling", sampling, SAMPLINGS)):
        if given not in choices:
            raise ValueError(f"{what} {given!r}: one of {choices}")
    if season is not None and season not in SEASONS:
        raise ValueError(f"season {season!r}: one of {SEASONS}")
    obs = in_situ(collocated, quantity)
    table = periods(collocated, quantity, rules=rules, launch=launch)
    table = table[table["period"] == period].set_index("site").loc[collocated["site"].to_numpy()]
    start, end = (xr.DataArray(table[name].to_numpy(), dims="site") for name in ("start", "end"))
    inside = (obs["time"] >= start) & (obs["time"] <= end)  # NaT is on no side
    if season is not None:
        inside &= obs["time"].dt.season == season
    obs = obs.where(inside)
    days = known(obs).any("site").to_numpy()
    obs = obs.isel(time=days)
    products = {}
    for name in ALL_PRODUCTS:
        values = product(collocated, TARGETS[quantity], name)
        if values is not None and not (name == "smap" and period == "PL"):
            products[name] = values.transpose("time", "site").isel(time=days).where(known(obs))
    if sampling == "matched":
        common = _common_days(obs, {name: products[name] for name in PRODUCTS if name in products})
        obs = obs.where(common)
        products = {name: values.where(common) for name, values in products.items()}
    return Sample(obs, products)


def _common_days(obs: xr.DataArray, products: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Days that obs and every product have; one with no value at a site binds nothing there, unless it is SMAP."""
    common = known(obs)
    for name, values in products.items():
        there = known(values)
        common = common & (there if name == "smap" else there | ~there.any("time"))
    return common


def first_and_last(matched: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """First and last day of each site on which `matched` (time, site) is true; NaT where none is."""
    time = matched["time"].to_numpy().astype("datetime64[ns]")
    some = matched.transpose("time", "site").to_numpy()
    none = np.full(some.shape[1], np.datetime64("NaT"), "datetime64[ns]")
    if not time.size:
        return none, none
    any_day = some.any(0)
    first, last = time[some.argmax(0)], time[time.size - 1 - some[::-1].argmax(0)]
    return np.where(any_day, first, none), np.where(any_day, last, none)
