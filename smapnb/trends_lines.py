"""What figures of single series are drawn from: the ends of each trend line, and weekly means of chosen sites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.rules import Rules, of
from smapnb.trends import PER_CENT
from smapnb.trends_axis import DAYS_PER_YEAR
from smapnb.trends_sites import IN_SITU, PREFIXES
from smapnb.trends_table import BLOCKS


def trend_lines(
    table: pd.DataFrame, collocated: xr.Dataset, quantity: str, *, rules: str | Rules, variant: str = BLOCKS
) -> pd.DataFrame:
    """Give each slope of the table the ends of its line, through the medians of value and time.

    Parameters
    ----------
    table, collocated, rules
        As in `site_slopes`; sites that only one of the two has are left out.
    quantity, variant : str
        Which rows.

    Returns
    -------
    pandas.DataFrame
        Columns ``site, variable`` (as ``rzsm_lstm``), ``start, end`` (dates), ``first, last`` (m3 m-3 at the two) and
        ``text``, the slope with its limits.
    """
    rule = rules if isinstance(rules, Rules) else of(rules)
    rows = []
    prefix, days = PREFIXES[quantity], pd.DatetimeIndex(collocated["time"].to_numpy())
    here = set(collocated["site"].to_numpy().astype(str))
    for row in table[(table["quantity"] == quantity) & (table["variant"] == variant)].to_dict("records"):
        if row["site"] not in here or not np.isfinite(row["value"]):
            continue
        at = collocated.sel(site=row["site"])
        y = at[f"{prefix}_{row['product']}"].to_numpy().astype(np.float64)
        inside = np.asarray((days >= row["start"]) & (days <= row["end"])) & np.isfinite(y)
        if rule.sampling == "matched":
            inside &= np.isfinite(at[f"{prefix}_{IN_SITU}"].to_numpy())
        elapsed = np.asarray((days - pd.Timestamp(row["start"])) / pd.Timedelta(days=DAYS_PER_YEAR))
        first = float(np.median(y[inside])) - row["value"] / PER_CENT * float(np.median(elapsed[inside]))
        length = (pd.Timestamp(row["end"]) - pd.Timestamp(row["start"])).days / DAYS_PER_YEAR
        ends = {"first": first, "last": first + row["value"] / PER_CENT * length}
        text = f"{row['value']:+.2f} ({row['lower']:+.2f} to {row['upper']:+.2f}) % a year"
        rows.append({"site": row["site"], "variable": f"{prefix}_{row['product']}", **ends, "text": text}
                    | {name: row[name] for name in ("start", "end")})  # fmt: skip
    return pd.DataFrame(rows, columns=["site", "variable", "start", "end", "first", "last", "text"])


def weekly(networks: Iterable[xr.Dataset], sites: Sequence[str], names: Sequence[str]) -> xr.Dataset:
    """Take series of chosen sites out of several networks, as means of seven days of what is there.

    Parameters
    ----------
    networks : iterable of xarray.Dataset
        (time, site), as in `site_slopes`.
    sites, names : sequence of str
        Sites, in this order, and variables.

    Returns
    -------
    xarray.Dataset
        (time, site) with the coordinate ``name``; a mean stands at the middle of its days.
    """
    parts = []
    for network in networks:
        part = network[list(names)].sel(site=[site for site in sites if site in network["site"].to_numpy()])
        part = part.drop_vars([name for name in part.coords if name not in ("time", "site", "name")])
        parts.append(part if "name" in part.coords else part.assign_coords(name=("site", part["site"].to_numpy())))
    together = xr.concat(parts, "site", join="outer", data_vars="all", coords="minimal", compat="equals")
    return together.sel(site=list(sites)).coarsen(time=7, boundary="trim").mean()
