"""Stations to site series: quality, depth weights, Thiessen weights, upscaling and exclusions, put together.

It reads no file and scores nothing. Parts that serve alone are named here as well; their modules are not for others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray

from smapnb import variables
from smapnb.grid import unproject
from smapnb.insitu_exclusions import DEPTHS, LAUNCH, crn_exclusions, kept
from smapnb.insitu_footprint import InsituError, observed_fraction, own_cell
from smapnb.insitu_layers import chosen, depth_weights, root_zone
from smapnb.insitu_pixels import inside, one_pixel, plane, site_series
from smapnb.insitu_quality import average_probes, daily_mean, quality, since
from smapnb.insitu_tables import removed_records, rule_set_table, station_table, upscaling_table
from smapnb.insitu_thiessen import ThiessenError, thiessen_polygons, thiessen_weights, true_scale
from smapnb.insitu_upscale import by_station, limits, upscale
from smapnb.rules import Rules

__all__ = [
    "LAUNCH",
    "InsituError",
    "ThiessenError",
    "average_probes",
    "core_series",
    "crn_exclusions",
    "crn_series",
    "daily_mean",
    "depth_weights",
    "limits",
    "observed_fraction",
    "own_cell",
    "pixel_stations",
    "quality",
    "removed_records",
    "root_zone",
    "rule_set_table",
    "site_limits",
    "station_table",
    "thiessen_polygons",
    "thiessen_weights",
    "true_scale",
    "upscale",
    "upscaling_table",
]

Bool = NDArray[np.bool_]

SURFACE_DEPTH = 5.0  # cm
SURFACE_TOLERANCE = 2.5  # a probe at 2 inches, or one that stands for 0-5 cm, is a surface probe as well
BOTTOM = 100.0  # cm, of SMAP's root zone
# Five core sites have root-zone probes (Fang, Pan & Shen 2019, section II-C). A second probe at 10 or 15 cm, as many
# surface stations have, does not reach the root zone.
LEAST_DEPTHS = 3


def core_series(
    core: xr.Dataset,
    reference_pixels: xr.Dataset,
    *,
    rules: str | Rules = "paper-text",
    weights: Mapping[str, Mapping[str, float]] | None = None,
) -> xr.Dataset:
    """Bring the stations of dense sites to one series for each reference pixel.

    Records are judged by `quality`, each probe by itself; probes of one station and depth are then averaged. The
    surface is each station's probe nearest to 5 cm. Its root zone needs at least three depths to 100 cm, all of them on
    that day, weighted by `depth_weights` of its own depths. Stations that stand inside the pixel are averaged by
    `upscale`, with the provider's weights where they are given, else by Thiessen polygons of the stations that have
    such a probe; polygons are drawn where distances are true (`true_scale`).

    Parameters
    ----------
    core : xarray.Dataset, (time, station, depth[, probe])
        Daily ``soil_moisture`` and perhaps ``soil_temperature``; coordinates ``site, lat, lon`` of the stations.
    reference_pixels : xarray.Dataset, (reference_pixel,)
        ``site, site_name, lat, lon`` and the box ``x_min, x_max, y_min, y_max`` in EPSG:6933 metres.
    rules : str or Rules
        Of its choices, `core_start`, `core_coldest`, `core_unknown_temperature` and `bottom_layer`.
    weights : mapping of reference pixel to (mapping of station to weight), optional
        Weights by the site's provider; these stations may stand outside the box.

    Returns
    -------
    xarray.Dataset, (time, site)
        ``site`` is the reference pixel, with ``lat, lon, name, group`` (id of the core site), ``n_stations`` and
        ``n_stations_rootzone``; float32 ``ssm_insitu, rzsm_insitu``, their ``_error`` (NaN from one station alone) and
        ``coverage`` and ``degrees_of_freedom`` (surface). A pixel without such stations is NaN. Attribute ``quality``:
        JSON of what each rule removed.

    Raises
    ------
    InsituError
        Weights of a pixel that is not there.
    """
    rule, given = chosen(rules), {pixel: by_station(own) for pixel, own in (weights or {}).items()}
    pixels = reference_pixels["reference_pixel"].to_numpy().astype(str)
    unknown = sorted(set(given) - set(pixels.tolist()))
    if unknown:
        raise InsituError(f"weights of reference pixels that are not there: {unknown}")
    raw = core["soil_moisture"].transpose("time", "station", "depth", ...).load()
    started, early = since(raw, rule.core_start)
    clean, removed = quality(
        started, core.get("soil_temperature"), coldest=rule.core_coldest, unknown=rule.core_unknown_temperature
    )
    if "probe" in clean.dims:
        clean = average_probes(clean).drop_vars("n_probes")
    measured = _measured(core)  # before quality: a frozen probe is still there
    layers = {"surface": _surface(clean, measured), "rootzone": _rootzone(clean, measured, rule)}
    columns: dict[str, list[NDArray]] = {name: [] for name in ("value", "error", "freedom", "coverage", "n")}
    columns |= {f"{name}_rootzone": [] for name in columns}
    for index, pixel in enumerate(pixels):
        box = reference_pixels.isel(reference_pixel=index)
        for quantity, theta in layers.items():
            suffix = "" if quantity == "surface" else "_rootzone"
            has = np.asarray(theta["has"].to_numpy(), dtype=bool)
            where, needed = f"{pixel}, {quantity}", quantity == "surface"
            found = one_pixel(theta, has, core, box, given.get(str(pixel)), where, needed=needed)
            for name, values in found.items():
                columns[name + suffix].append(values)
    out = site_series(core, reference_pixels, {name: np.array(parts) for name, parts in columns.items()})
    attrs = {"rules": rule.name, "quality": _told(removed, early)}
    return out.assign_attrs({**core.attrs, **attrs})


def site_limits(series: xr.Dataset, level: float = 0.95) -> xr.DataArray:
    """Give the limits of the surface mean of each reference pixel, (time, site, limit), as `limits` does."""
    parts = {"value": "ssm_insitu", "error": "ssm_insitu_error", "degrees_of_freedom": "degrees_of_freedom"}
    return limits(xr.Dataset({name: series[own] for name, own in parts.items()}), level)


def crn_series(
    crn: xr.Dataset,
    *,
    rules: str | Rules = "paper-text",
    launch: str = LAUNCH,
    observed: xr.DataArray | None = None,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Bring the probes of a sparse network to one series for each site.

    Each probe at each depth is judged by `quality`, then triplicates are averaged. The surface is 5 cm; the root zone
    needs 5, 10, 20, 50 and 100 cm on that day.

    Parameters
    ----------
    crn : xarray.Dataset, (time, site, depth[, probe])
        Daily ``soil_moisture`` and perhaps ``soil_temperature``; coordinates ``lat, lon``, perhaps ``name, coastal``.
    rules : str or Rules
        Of its choices, `crn_start`, `crn_coldest`, `crn_coldest_kept`, `bottom_layer` and those of `crn_exclusions`.
    launch : str
        The day before which the root zone must have a record.
    observed : xarray.DataArray, (site,), optional
        `observed_fraction`: tells which sites lie at the coast where the network does not.

    Returns
    -------
    xarray.Dataset, (time, site)
        float32 ``ssm_insitu, rzsm_insitu`` of the sites that the table leaves for the surface; the root zone is NaN
        where the table leaves none. Attribute ``quality``: JSON of what each rule removed.
    pandas.DataFrame
        `crn_exclusions`.

    Raises
    ------
    InsituError
        No depth of 5 cm.
    """
    rule = chosen(rules)
    started, early = since(crn["soil_moisture"].load(), rule.crn_start)
    theta, removed = quality(
        started,
        crn.get("soil_temperature"),
        coldest=rule.crn_coldest,
        coldest_kept=rule.crn_coldest_kept,
    )
    if "probe" in theta.dims:
        theta = average_probes(theta).drop_vars("n_probes")
    depth = theta.indexes["depth"]
    place = depth.get_indexer(DEPTHS, method="nearest", tolerance=0.01)
    if place[0] < 0:
        raise InsituError(f"no depth of {DEPTHS[0]} cm in the network, only {depth.tolist()}")
    surface = theta.isel(depth=int(place[0]), drop=True)
    if (place >= 0).all():
        root = root_zone(theta, depth[place], depth_weights(DEPTHS, BOTTOM, rule))
    else:
        root = xr.full_like(surface, np.nan)
    series = {"ssm_insitu": surface, "rzsm_insitu": root}
    out = xr.Dataset({name: array.transpose("time", "site").astype(np.float32) for name, array in series.items()})
    table = crn_exclusions(crn, out, rules=rule, launch=launch, observed=observed)
    sites = out["site"].to_numpy()
    out["rzsm_insitu"] = out["rzsm_insitu"].where(xr.DataArray(kept(table, sites, "rootzone"), dims="site"))
    out = out.isel(site=kept(table, sites, "surface"))
    if "name" not in out.coords:
        out = out.assign_coords(name=("site", out["site"].to_numpy()))
    attrs = {"rules": rule.name, "quality": _told(removed, early)}
    return variables.describe(out.assign_attrs({**crn.attrs, **attrs})), table


def pixel_stations(
    core: xr.Dataset, reference_pixels: xr.Dataset, quantity: Literal["surface", "rootzone"] = "surface"
) -> pd.DataFrame:
    """Tabulate the stations of each reference pixel with their own Thiessen weights and polygons, for a map.

    Parameters are those of `core_series`.

    Returns
    -------
    pandas.DataFrame
        Columns ``reference_pixel, site, station, lat, lon, weight, polygon``; polygons are shapely, in degrees.
    """
    measured = _measured(core)
    depth = core["depth"].to_numpy().astype(np.float64)
    has = (_surface_depth(measured, depth) >= 0) if quantity == "surface" else _rootzone_depths(measured, depth).any(1)
    rows = []
    for index, pixel in enumerate(reference_pixels["reference_pixel"].to_numpy()):
        box = reference_pixels.isel(reference_pixel=index)
        taken = inside(core, box) & has
        if not taken.any():
            continue
        x, y, cell, scale = plane(core, box, taken)
        shares = thiessen_weights(x, y, cell)
        outlines = shapely.transform(
            thiessen_polygons(x, y, cell), lambda xy, k=scale: np.column_stack(unproject(xy[:, 0] * k, xy[:, 1] / k))
        )
        for place, weight, polygon in zip(np.flatnonzero(taken), shares, outlines, strict=True):
            own = {name: core[name].to_numpy()[place] for name in ("site", "station", "lat", "lon")}
            rows.append({"reference_pixel": str(pixel), **own, "weight": float(weight), "polygon": polygon})
    return pd.DataFrame(rows, columns=["reference_pixel", "site", "station", "lat", "lon", "weight", "polygon"])


def _measured(core: xr.Dataset) -> Bool:
    """Where a station has any record at a depth, (station, depth)."""
    moisture = core["soil_moisture"]
    counted = moisture.count([dim for dim in moisture.dims if dim not in ("station", "depth")])
    return np.asarray(counted.transpose("station", "depth").to_numpy() > 0, dtype=bool)


def _told(removed: pd.DataFrame, early: pd.Series) -> str:
    """Tell what each rule removed, with the days before the first that counts, as JSON."""
    whole = removed.assign(records=removed["records"] + early)
    whole.insert(1, "before_start", early)
    return json.dumps(whole.reset_index().to_dict("list"))


def _surface_depth(measured: Bool, depth: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of each station's probe nearest to 5 cm; -1: it has none near enough."""
    distance = np.abs(depth - SURFACE_DEPTH)
    far = np.where(measured & (distance <= SURFACE_TOLERANCE), distance, np.inf)
    return np.where(np.isfinite(far).any(axis=1), far.argmin(axis=1), -1)


def _rootzone_depths(measured: Bool, depth: NDArray[np.float64]) -> Bool:
    """Which depths make each station's root zone, (station, depth); none where it has too few."""
    within = measured & (depth <= BOTTOM)
    return within & (within.sum(axis=1, keepdims=True) >= LEAST_DEPTHS)


def _surface(clean: xr.DataArray, measured: Bool) -> xr.DataArray:
    place = _surface_depth(measured, clean["depth"].to_numpy().astype(np.float64))
    index = xr.DataArray(np.maximum(place, 0), dims="station")
    theta = clean.isel(depth=index).drop_vars("depth", errors="ignore")
    return theta.assign_coords(has=("station", place >= 0))


def _rootzone(clean: xr.DataArray, measured: Bool, rule: Rules) -> xr.DataArray:
    depth = clean["depth"].to_numpy().astype(np.float64)
    taken = _rootzone_depths(measured, depth)
    out = xr.full_like(clean.isel(depth=0, drop=True), np.nan)
    for pattern in np.unique(taken[taken.any(axis=1)], axis=0):
        stations = np.flatnonzero((taken == pattern).all(axis=1))
        theta = root_zone(clean.isel(station=stations), depth[pattern], depth_weights(depth[pattern], BOTTOM, rule))
        out[:, stations] = theta.transpose("time", "station").to_numpy()
    return out.assign_coords(has=("station", taken.any(axis=1)))
