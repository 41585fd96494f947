"""Which sites of a sparse network are left out, by which rule, and how many each rule leaves.

It removes nothing: a table of steps, each with its sites; `smapnb.insitu.crn_series` follows it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb.grid import CONUS
from smapnb.insitu_layers import chosen
from smapnb.rules import LAUNCH, Rules
from smapnb.variables import LEAST_OBSERVED

DEPTHS = (5.0, 10.0, 20.0, 50.0, 100.0)  # cm, of the World Meteorological Organization, at a full CRN site
DAYS_A_YEAR = 365.25

Mask = NDArray[np.bool_]


def crn_exclusions(
    crn: xr.Dataset,
    series: xr.Dataset,
    *,
    rules: str | Rules = "paper-text",
    coastal: Collection[str] | None = None,
    launch: str = LAUNCH,
    observed: xr.DataArray | None = None,
) -> pd.DataFrame:
    """Tabulate the exclusions of Fang, Pan & Shen (2019), section II-C, step by step.

    On the full archive of 2018 their counts were 114 sites of the conterminous states, 104 of them not coastal, 82 with
    five depths and 22 with two, 72 with root zones long and full enough before launch.

    Parameters
    ----------
    crn : xarray.Dataset, (time, site, depth[, probe])
        ``soil_moisture`` as measured: a depth is instrumented where it has a record at any time. The coordinate
        ``coastal`` (site), if there is one.
    series : xarray.Dataset, (time, site)
        ``ssm_insitu`` and ``rzsm_insitu`` of the same sites, after the rules of quality.
    rules : str or Rules
        Of its choices, `rootzone_least_years`, `rootzone_first_before` and `rootzone_least_valid`.
    coastal : collection of str, optional
        Ids of the coastal sites, instead of the coordinate.
    launch : str
        The day before which the root zone must have a record.
    observed : xarray.DataArray, (site,), optional
        Part of the days on which SMAP has a value at each site (`smapnb.insitu.observed_fraction`). Where neither
        `coastal` nor the coordinate is there, sites below 0.25 are the coastal ones, as in the paper.

    Returns
    -------
    pandas.DataFrame
        One row a step, in order: ``quantity`` (surface or rootzone; the steps of the root zone leave the surface as it
        is), ``rule``, ``dropped``, ``sites`` (tuple of their ids), ``left``, ``note`` (how a rule was decided, where
        data differ in that). A site counts at the first rule that drops it.

    Raises
    ------
    ValueError
        Sites of `series` that are not those of `crn`; a coastal id that is none of them; a site that `observed` lacks.
    """
    rule = chosen(rules)
    sites = crn["site"].to_numpy().astype(str)
    if not np.array_equal(sites, series["site"].to_numpy().astype(str)):
        raise ValueError("the sites of the series are not those of the network")
    near_coast, coast_rule, note = _coastal(crn, sites, coastal, observed)
    days, fraction = _record(series["rzsm_insitu"], pd.Timestamp(launch))
    # 365 days are a year, whether or not a leap day falls among them; no day at all is too short for any rule.
    first_before = min(pd.Timestamp(rule.rootzone_first_before), pd.Timestamp(launch))
    short = ~(days >= np.floor(rule.rootzone_least_years * DAYS_A_YEAR))
    short |= ~(days > (pd.Timestamp(launch) - first_before).days)
    least = f"{rule.rootzone_least_years:g}"
    begin = f"its record begins less than {least} years before {launch}"
    steps: list[tuple[str, str, Mask]] = [
        ("surface", "all sites", np.zeros(sites.size, dtype=bool)),
        ("surface", "outside CONUS", _outside(crn)),
        ("surface", coast_rule, near_coast),
        ("surface", "no record that quality leaves", ~_any_record(series["ssm_insitu"])),
        ("rootzone", f"no record at one of {', '.join(f'{d:g}' for d in DEPTHS)} cm", ~_instrumented(crn)),
        ("rootzone", begin if rule.rootzone_least_years else f"no root zone before {first_before:%Y-%m-%d}",
         short),
        ("rootzone", f"less than {rule.rootzone_least_valid:.0%} valid before {launch}",
         ~(fraction >= rule.rootzone_least_valid)),
    ]  # fmt: skip
    left = np.ones(sites.size, dtype=bool)
    rows = []
    for quantity, text, out in steps:
        dropped = left & out
        left = left & ~out
        rows.append((quantity, text, int(dropped.sum()), tuple(sites[dropped].tolist()), int(left.sum())))
    table = pd.DataFrame(rows, columns=["quantity", "rule", "dropped", "sites", "left"])
    table["note"] = np.where(table["rule"] == coast_rule, note, "")
    return table.rename_axis("step")


def kept(table: pd.DataFrame, sites: NDArray, quantity: str) -> Mask:
    """Tell which sites the table leaves: all steps of the surface, and for the root zone those of both."""
    steps = table if quantity == "rootzone" else table[table["quantity"] == quantity]
    dropped = {site for row in steps["sites"] for site in row}
    return np.array([str(site) not in dropped for site in sites], dtype=bool)


def _outside(crn: xr.Dataset) -> Mask:
    lat, lon = crn["lat"].to_numpy(), crn["lon"].to_numpy()
    west, east, south, north = CONUS
    return ~np.asarray((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north), dtype=bool)


def _coastal(
    crn: xr.Dataset, sites: NDArray, coastal: Collection[str] | None, observed: xr.DataArray | None
) -> tuple[Mask, str, str]:
    """Which sites are coastal, the name of the rule, and how it was decided."""
    if coastal is not None:
        unknown = sorted(set(coastal) - set(sites.tolist()))
        if unknown:
            raise ValueError(f"coastal sites that are not in the network: {unknown}")
        return np.isin(sites, list(coastal)), "coastal", "by a list of sites"
    if "coastal" in crn.variables:
        return crn["coastal"].to_numpy().astype(bool), "coastal", "by the network's own mark"
    if observed is not None:
        lacking = sorted(set(sites.tolist()) - set(observed["site"].to_numpy().astype(str).tolist()))
        if lacking or observed.isnull().any():
            raise ValueError(f"observed: no part of days of the sites {lacking or 'that are NaN'}")
        part = observed.assign_coords(site=observed["site"].to_numpy().astype(str)).sel(site=sites).to_numpy()
        note = f"no SMAP footprint, or SMAP missing on more than {1 - LEAST_OBSERVED:.0%} of days"
        return np.asarray(part < LEAST_OBSERVED, dtype=bool), "coastal", note
    return np.zeros(sites.size, dtype=bool), "coastal (not known: the data do not tell)", ""


def _any_record(series: xr.DataArray) -> Mask:
    return np.asarray(series.count("time").to_numpy() > 0, dtype=bool)


def _instrumented(crn: xr.Dataset) -> Mask:
    moisture = crn["soil_moisture"]
    place = moisture.indexes["depth"].get_indexer(DEPTHS, method="nearest", tolerance=0.01)
    if (place < 0).any():
        return np.zeros(crn.sizes["site"], dtype=bool)
    others = [dim for dim in moisture.dims if dim not in ("site", "depth")]
    records = moisture.isel(depth=place).count(others)
    return np.asarray((records > 0).all("depth").to_numpy(), dtype=bool)


def _record(root: xr.DataArray, launch: pd.Timestamp) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Days from a site's first root-zone day to launch, and the part of these days that has a value; NaN: no day."""
    time = root.indexes["time"]
    before = time < launch
    valid = ~np.isnan(root.transpose("time", "site").to_numpy()[before])
    n = valid.sum(axis=0)
    has = n > 0
    days = np.full(n.shape, np.nan)
    if has.any():
        first = time[before][valid.argmax(axis=0)]
        days[has] = (launch - first).days.to_numpy()[has]
    return days, np.divide(n, days, out=np.full(n.shape, np.nan), where=has)
