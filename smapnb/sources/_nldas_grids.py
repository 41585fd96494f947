"""Hourly grids of NLDAS-2 to one Dataset of days, on their own grid or on cells, with what was read in its attributes.

A helper of `smapnb.sources.nldas`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smapnb import variables
from smapnb.grid import AreaWeights
from smapnb.nldas_grid import CELL
from smapnb.sources._nldas_daily import HOURS_A_DAY, Counts, DayMean, DayRule, check_rule, means, sources_of, span
from smapnb.sources._nldas_files import CENTRE_TOLERANCE
from smapnb.sources._nldas_names import Field, NldasError, fields_of
from smapnb.sources._nldas_places import pixel_coordinates, weights_to

log = logging.getLogger(__name__)

SOURCE = "NASA GES DISC, NLDAS-2 {product}; Xia et al. (2012), doi:10.1029/2011JD016048"
LICENCE = "NASA open data policy"
# No first layer is thicker, in metres; a map in centimetres would give a hundredth of the moisture in silence.
THICKEST = 2.0
Paths = str | Path | Iterable[str | Path]
Cells = tuple[int, ArrayLike, ArrayLike]


def open_grids(
    path: Paths,
    product: str,
    day: DayRule,
    min_hours: int,
    names: Sequence[str] | None,
    start: str | None,
    end: str | None,
    cells: Cells | None,
    layer_depth: float | xr.DataArray | None,
) -> xr.Dataset:
    """Read the hourly files of one product as days; parameters, result and errors are those of `nldas.open_forcing`."""
    check_rule(day, min_hours)
    fields = fields_of(product, None if names is None else list(names))
    if not isinstance(path, str | Path):
        path = list(path)
    where = _where(path)
    counts = Counts()
    sources = sources_of(path, product, fields, counts)
    days = span(pd.DatetimeIndex(np.concatenate([source.stamps.to_numpy() for source in sources])), day)
    days = pd.date_range(start or days[0], end or days[-1], freq="D", unit="ns")
    if days.empty:
        raise NldasError(f"{where}: start {start} and end {end} leave no day")
    out: dict[str, NDArray[np.float32]] = {}
    weights: AreaWeights | None = None
    lat, lon = np.empty(0), np.empty(0)
    for mean in means(sources, fields, day, min_hours, days, counts):
        if not out:
            lat, lon = mean.lat, mean.lon
            weights = None if cells is None else weights_to(*cells, lat, lon)
            shape = (lat.size, lon.size) if weights is None else weights.target_shape
            # All of the result at once: a list of days that is stacked at the end would hold it twice.
            out = {field.name: np.full((days.size, *shape), np.nan, dtype=np.float32) for field in fields}
        factors = _factors(fields, mean, layer_depth)
        for name, values in mean.means.items():
            scaled = (values * factors[name]).astype(np.float32)
            out[name][days.get_loc(mean.day)] = scaled if weights is None else weights(scaled)
    if not out:
        raise NldasError(f"{where}: no hour of NLDAS {product} from {days[0].date()} to {days[-1].date()}")
    attrs = attributes(product, day, min_hours, counts) | _gaps(counts, days, where)
    if layer_depth is not None:
        attrs["vic_layer_depth"] = "map" if isinstance(layer_depth, xr.DataArray) else f"{layer_depth} m, assumed"
    if cells is None:
        return _gridded(out, days, lat, lon, attrs, where)
    attrs |= {"grid": f"EASE-Grid 2.0 global, {cells[0]} km", "grid_crs": "EPSG:6933"}
    coords = {"time": days, **pixel_coordinates(*cells)}
    dataset = xr.Dataset({name: (("time", "pixel"), values) for name, values in out.items()}, coords, attrs)
    dataset = variables.describe(dataset)
    variables.check(dataset, where)
    return dataset


def _where(path: str | Path | list) -> str:
    """Name what was asked for in a message: of many files the first and their number."""
    if isinstance(path, list):
        return f"{path[0]} and {len(path) - 1} more" if len(path) > 1 else str(*path)
    return str(path)


def _factors(
    fields: list[Field], mean: DayMean, layer_depth: float | xr.DataArray | None
) -> dict[str, float | NDArray[np.float64]]:
    factors: dict[str, float | NDArray[np.float64]] = {field.name: field.factor for field in fields}
    if layer_depth is None or "ssm_vic" not in factors:
        return factors
    if not isinstance(layer_depth, xr.DataArray):
        depth: float | NDArray[np.float64] = float(layer_depth)
    else:
        try:
            nearest = layer_depth.sel(lat=mean.lat, lon=mean.lon, method="nearest", tolerance=CENTRE_TOLERANCE)
        except KeyError as error:
            raise NldasError(f"layer_depth: the map does not hold every cell of the files ({error})") from error
        depth = nearest.transpose("lat", "lon").to_numpy().astype(np.float64)
    if (np.asarray(depth) <= 0).any() or (np.asarray(depth) > THICKEST).any():
        raise NldasError(f"layer_depth: a thickness of 0 or less, or above {THICKEST:g} m; is it in metres?")
    return factors | {"ssm_vic": 1 / (1000 * depth)}


def attributes(product: str, day: DayRule, min_hours: int, counts: Counts) -> dict[str, str | int]:
    """Say where the values come from, by which rule, and what was left out."""
    return {
        "title": f"NLDAS-2 {product}, daily",
        "source": SOURCE.format(product=product),
        "license": LICENCE,
        "synthetic": "false",
        "day": "UTC day",
        "day_rule": day,
        "min_hours": min_hours,
        "files_read": counts.files_read,
        "duplicates_left_out": counts.duplicates_left_out,
        "files_of_other_products": counts.files_of_other_products,
        "files_of_other_names": counts.files_of_other_names,
        "versions": json.dumps(dict(sorted(counts.versions.items()))),
    }


def _gaps(counts: Counts, days: pd.DatetimeIndex, where: str) -> dict[str, str | int]:
    """Say which days have fewer than 24 hours."""
    hours = {one: counts.hours.get(one, 0) for one in days}
    short = {str(one.date()): n for one, n in hours.items() if n < HOURS_A_DAY}
    missing = sum(HOURS_A_DAY - n for n in short.values())
    if short:
        log.warning("%s: %d of %d days lack %d hours: %s", where, len(short), days.size, missing, json.dumps(short))
    return {"hours_missing": missing, "days_incomplete": json.dumps(short)}


def _gridded(
    out: dict[str, NDArray[np.float32]],
    days: pd.DatetimeIndex,
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    attrs: dict[str, str | int],
    where: str,
) -> xr.Dataset:
    coords = {
        "time": days,
        "lat": ("lat", lat, {"units": "degrees_north", "long_name": "latitude of the cell centre"}),
        "lon": ("lon", lon, {"units": "degrees_east", "long_name": "longitude of the cell centre"}),
    }
    attrs = attrs | {"grid": f"NLDAS, {CELL} degrees"}
    dataset = variables.describe(
        xr.Dataset({name: (("time", "lat", "lon"), values) for name, values in out.items()}, coords, attrs)
    )
    # `variables.check` is for places; the range is counted here as it is there.
    outside = {}
    for name, array in dataset.data_vars.items():
        array.attrs["n_out_of_range"] = sum(variables.count_out_of_range(array[i], str(name)) for i in range(days.size))
        outside[name] = array.attrs["n_out_of_range"]
    if any(outside.values()):
        log.warning("%s: values outside the valid range, kept as they are: %s", where, json.dumps(outside))
    return dataset
