"""What the scores do with labels: pairs that must fit, days as a calendar, units and names of the results.

It computes no score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb.metrics_kernels import Floats, day_counts, resampled_days

LONG_NAMES = {
    "bias": "mean of sim - obs",
    "rmse": "root-mean-square error",
    "ubrmse": "unbiased root-mean-square error",
    "pearson_r": "Pearson correlation",
    "n": "number of matched days",
}
LIMITS = ("lower", "upper")
FEWEST_BLOCKS = 4


def check_settings(n_boot: int, block: int, level: float) -> None:
    """Refuse settings of a bootstrap that mean nothing."""
    if n_boot < 1 or block < 1 or not 0 < level < 1:
        raise ValueError(f"n_boot={n_boot}, block={block} must be positive and level={level} between 0 and 1")


def align(sim: xr.DataArray, obs: xr.DataArray, dim: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Give both on their common labels of `dim`; anything else that differs is an error."""
    for which, x in (("sim", sim), ("obs", obs)):
        if not isinstance(x, xr.DataArray):
            raise TypeError(f"{which} is a {type(x).__name__}, not a DataArray; arrays are for the kernels, as rmse")
    labels = f"sim ({sim.name}) and obs ({obs.name})"
    if set(sim.dims) != set(obs.dims) or dim not in sim.dims:
        raise ValueError(f"{labels} have dimensions {sim.dims} and {obs.dims}; both need the same, {dim!r} among them")
    units = {x.attrs["units"] for x in (sim, obs) if "units" in x.attrs}
    if len(units) > 1:
        raise ValueError(f"{labels} have different units: {sorted(units)}")
    for x in (sim, obs):
        if dim in x.indexes and not x.indexes[dim].is_unique:
            raise ValueError(f"{x.name}: labels of {dim!r} are repeated")
    for name in sorted({str(c) for c in sim.coords} & {str(c) for c in obs.coords}):
        if dim not in sim[name].dims and not sim[name].variable.equals(obs[name].variable):
            raise ValueError(f"{labels} differ in the coordinate {name!r}")
    if (dim in sim.indexes) != (dim in obs.indexes):
        raise ValueError(f"{labels}: only one of them has labels of {dim!r}, by which their days are matched")
    sim, obs = xr.align(sim, obs, join="inner")
    if sim.sizes[dim] == 0:
        raise ValueError(f"{labels} have no {dim} in common")
    return (sim.chunk({dim: -1}) if sim.chunks else sim), (obs.chunk({dim: -1}) if obs.chunks else obs)


def calendar(aligned: xr.DataArray, dim: str) -> NDArray[np.int64]:
    """Days since the first label; the bare position where the labels are no dates."""
    index = aligned.indexes.get(dim)
    if not isinstance(index, pd.DatetimeIndex):
        return np.arange(aligned.sizes[dim])
    return (index.normalize() - index.normalize().min()).days.to_numpy(np.int64)


def draw(
    aligned: xr.DataArray, dim: str, n_boot: int, block: int, generator: np.random.Generator
) -> tuple[Floats, int]:
    """Draw samples of the days of `aligned`: how often each holds each day, (n_boot, days), and the block used."""
    offset = calendar(aligned, dim)
    length = int(offset.max()) + 1
    block = min(block, max(1, length // FEWEST_BLOCKS))
    return day_counts(resampled_days(length, block, n_boot, generator), length)[:, offset], block


def describe(out: xr.Dataset, sim: xr.DataArray, obs: xr.DataArray, attrs: dict[str, Any]) -> xr.Dataset:
    """Give every score its long name and units."""
    units = sim.attrs.get("units", obs.attrs.get("units"))
    for name, array in out.data_vars.items():
        metric = str(name).removesuffix("_ci")
        array.attrs["long_name"] = LONG_NAMES[metric] + (" (confidence limits)" if metric != name else "")
        if metric in ("pearson_r", "n"):
            array.attrs["units"] = "1"
        elif units is not None:
            array.attrs["units"] = units
    names = {"sim": str(sim.name), "obs": str(obs.name)}
    return out.assign_attrs(names, bootstrap="circular blocks of days, percentile limits", **attrs)
