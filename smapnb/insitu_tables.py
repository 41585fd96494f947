"""Tables of stations and of site means, for maps and for a look at how far a site mean can be trusted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr


def station_table(core: xr.Dataset) -> pd.DataFrame:
    """Tabulate the stations of dense sites.

    Parameters
    ----------
    core : xarray.Dataset, (time, station, depth[, probe])
        ``soil_moisture`` with the coordinates ``site, lat, lon`` of the stations.

    Returns
    -------
    pandas.DataFrame
        Columns ``site, station, lat, lon`` (degrees) and ``depths`` (text, cm): those at which there is any record.
    """
    there = core["soil_moisture"].notnull()
    measured = (
        there.any([d for d in there.dims if d not in ("station", "depth")]).transpose("station", "depth").to_numpy()
    )
    depths = core["depth"].to_numpy()
    table = pd.DataFrame({name: core[name].to_numpy() for name in ("site", "station", "lat", "lon")})
    return table.assign(depths=[", ".join(f"{d:g}" for d in depths[row]) + " cm" for row in measured])


def upscaling_table(series: xr.Dataset, limits: xr.DataArray, truth: xr.DataArray | None = None) -> pd.DataFrame:
    """Tabulate how well the surface of each reference pixel is known, and where the truth is, how well it should be.

    Parameters
    ----------
    series : xarray.Dataset, (time, site)
        Result of `smapnb.insitu.core_series`.
    limits : xarray.DataArray, (time, site, limit)
        `smapnb.insitu.site_limits` of the same.
    truth : xarray.DataArray, (time, reference_pixel), optional
        True mean of each pixel at the depth of the surface probes, m3 m-3.

    Returns
    -------
    pandas.DataFrame
        Index ``site``; ``name``, ``n_stations``, ``n_days`` with a mean, ``coverage`` and ``sampling_error`` (means
        over those days). With a truth: ``error`` (root mean square of mean less truth) and ``inside``, the part of the
        days on which the truth lies within the limits; stations stay where they are, so days are no independent trials.
    """
    mean = series["ssm_insitu"]
    there = mean.notnull()
    columns = {
        "name": series["name"],
        "n_stations": series["n_stations"],
        "n_days": there.sum("time"),
        "coverage": series["coverage"].where(there).mean("time"),
        "sampling_error": series["ssm_insitu_error"].mean("time"),
    }
    if truth is not None:
        own = truth.reset_coords(drop=True).rename(reference_pixel="site").sel(time=series["time"], site=series["site"])
        with_limits = there & limits.notnull().all("limit")
        inside = (own >= limits.sel(limit="lower")) & (own <= limits.sel(limit="upper"))
        columns["error"] = ((mean - own) ** 2).where(there).mean("time") ** 0.5
        columns["inside"] = inside.where(with_limits).mean("time")
    table = pd.DataFrame({name: array.to_numpy() for name, array in columns.items()}, series["site"].to_numpy())
    return table.rename_axis("site")


def removed_records(series: xr.Dataset) -> pd.DataFrame:
    """Tabulate what each rule of quality removed, as `smapnb.insitu.core_series` and `crn_series` have noted it.

    Returns
    -------
    pandas.DataFrame
        Index ``depth`` (text, cm); ``records``, then those removed by each rule, those ``kept``, and of these
        ``kept_without_temperature``.
    """
    table = pd.DataFrame(json.loads(series.attrs["quality"]))
    table.index = pd.Index(table.pop("depth").map("{:g}".format), name="depth")
    return table


def rule_set_table(one: xr.Dataset, two: xr.Dataset) -> pd.DataFrame:
    """Set surface means that two sets of rules make of the same stations beside each other.

    Parameters
    ----------
    one, two : xarray.Dataset, (time, site)
        Results of `smapnb.insitu.core_series`; their attribute ``rules`` names the columns.

    Returns
    -------
    pandas.DataFrame
        Index ``site``; ``name``; ``days``, ``coverage`` and ``sampling error`` (means over those days, the latter in m3
        m-3) of either set; ``days in both``; ``difference``, the mean of `one` less `two` over these days, and
        ``largest``, its largest size, m3 m-3. Sites without a mean under either set are left out.
    """
    columns: dict[str, xr.DataArray] = {"name": one["name"]}
    there = [series["ssm_insitu"].notnull() for series in (one, two)]
    for series, known in zip((one, two), there, strict=True):
        columns[f"days, {series.attrs['rules']}"] = known.sum("time")
    for name, title in (("coverage", "coverage"), ("ssm_insitu_error", "sampling error")):
        for series, known in zip((one, two), there, strict=True):
            columns[f"{title}, {series.attrs['rules']}"] = series[name].where(known).mean("time")
    apart = one["ssm_insitu"].astype(np.float64) - two["ssm_insitu"]
    columns |= {
        "days in both": apart.count("time"),
        "difference": apart.mean("time"),
        "largest": abs(apart).max("time"),
    }
    table = pd.DataFrame({name: array.to_numpy() for name, array in columns.items()}, one["site"].to_numpy())
    return table[(there[0] | there[1]).any("time").to_numpy()].rename_axis("site")
