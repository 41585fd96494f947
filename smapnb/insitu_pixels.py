"""Stations of one reference pixel: which stand in it, their weights, their mean, and the pixels' series put together.

It judges no record and knows no depth: it is given one series a station.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smapnb import variables
from smapnb.grid import project, unproject
from smapnb.insitu_thiessen import thiessen_weights, true_scale
from smapnb.insitu_upscale import upscale

log = logging.getLogger(__name__)

Bool = NDArray[np.bool_]


def inside(core: xr.Dataset, box: xr.Dataset) -> Bool:
    """Stations of the pixel's site that stand in its box, edges included."""
    x, y = project(core["lon"].to_numpy(), core["lat"].to_numpy())
    left, right, bottom, top = (float(box[name]) for name in ("x_min", "x_max", "y_min", "y_max"))
    own = core["site"].to_numpy().astype(str) == str(box["site"].item())
    return np.asarray(own & (x >= left) & (x <= right) & (y >= bottom) & (y <= top), dtype=bool)


def plane(core: xr.Dataset, box: xr.Dataset, taken: Bool) -> tuple[NDArray, NDArray, tuple[float, ...], float]:
    """Stations and box in the plane where distances around the pixel are true, and its scale."""
    x, y = project(core["lon"].to_numpy()[taken], core["lat"].to_numpy()[taken])
    left, right, bottom, top = (float(box[name]) for name in ("x_min", "x_max", "y_min", "y_max"))
    k = true_scale(float(unproject(0, (bottom + top) / 2)[1]))
    return x / k, y * k, (left / k, bottom * k, right / k, top * k), k


def one_pixel(
    theta: xr.DataArray,
    has: Bool,
    core: xr.Dataset,
    box: xr.Dataset,
    provided: Mapping[str, float] | None,
    where: str,
    *,
    needed: bool,
) -> dict[str, NDArray]:
    """Series of one pixel; NaN, and a line in the log, where no station can give it, a warning if it is `needed`."""
    if provided is None:
        taken = inside(core, box) & has
    else:
        named = np.isin(core["station"].to_numpy().astype(str), list(provided))
        absent = sorted(set(provided) - set(core["station"].to_numpy().astype(str).tolist()))
        if absent:
            log.warning("%s: weights of stations without data, which count as not operating: %s", where, absent)
        taken = named & has
    if not taken.any():
        # Where none of the site's stations has such a probe, as at sites without a root zone, nothing is amiss.
        own = core["site"].to_numpy().astype(str) == str(box["site"].item())
        log.log(logging.WARNING if needed or (own & has).any() else logging.INFO, "%s: no station", where)
        nothing = np.full(theta.sizes["time"], np.nan)
        gaps = dict.fromkeys(("value", "error", "freedom"), nothing)
        return {**gaps, "coverage": np.zeros_like(nothing), "n": np.array(0)}
    chosen_theta = theta.isel(station=np.flatnonzero(taken)).drop_vars("has")
    if provided is None:
        x, y, cell, _ = plane(core, box, taken)
        result = upscale(chosen_theta, thiessen_weights(x, y, cell))
    else:
        # Stations that never had such a probe are no part of that network; those without any data are.
        without = set(core["station"].to_numpy().astype(str)[named & ~has].tolist())
        shares = {name: share for name, share in provided.items() if name not in without}
        result = upscale(chosen_theta, provider_weights=shares)
    taken_over = {"value": "value", "error": "error", "freedom": "degrees_of_freedom", "coverage": "coverage"}
    return {name: result[own].to_numpy() for name, own in taken_over.items()} | {"n": np.array(taken.sum())}


def site_series(core: xr.Dataset, pixels: xr.Dataset, columns: dict[str, NDArray]) -> xr.Dataset:
    """Put the columns of all pixels together, (time, site)."""
    own = {"lat": "lat", "lon": "lon", "name": "site_name", "group": "site"}
    coords = {name: ("site", pixels[source].to_numpy()) for name, source in own.items()}
    coords |= {"n_stations": ("site", columns["n"]), "n_stations_rootzone": ("site", columns["n_rootzone"])}
    names = {
        "ssm_insitu": "value",
        "rzsm_insitu": "value_rootzone",
        "ssm_insitu_error": "error",
        "rzsm_insitu_error": "error_rootzone",
        "coverage": "coverage",
        "degrees_of_freedom": "freedom",
    }
    data = {name: (("time", "site"), columns[source].T.astype(np.float32)) for name, source in names.items()}
    labels = {"time": core["time"].to_numpy(), "site": pixels["reference_pixel"].to_numpy().astype(str)}
    return variables.describe(xr.Dataset(data, coords=labels | coords))
