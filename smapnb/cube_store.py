"""How a cube lies on disk: chunks, attributes by the CF conventions, the marker that is written last, the swap-in.

It knows nothing of what is in a cube.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from smapnb import folders, variables

# Measured on a CONUS-sized variable (6321 pixels x 6940 days, 2 cores): a day takes 16 ms, one series or
# 256 series 13 ms, in 476 files. One series a chunk: 1149 ms a map; one day a chunk: 1715 ms a series.
TIME_CHUNK, PIXEL_CHUNK = 366, 256
TIME_ENCODING = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}
BLOCK = "block_"
# Attribute that is written last: what must be there for a block to be whole.
MARKER = "complete"

# CF standard names, https://cfconventions.org/standard-names.html; soil texture and SMAP statics have none.
STANDARD_NAMES = {
    "time": "time",
    "lat": "latitude",
    "lon": "longitude",
    "depth": "depth",
    "precipitation": "lwe_precipitation_rate",
    "air_temperature": "air_temperature",
    "longwave_down": "surface_downwelling_longwave_flux_in_air",
    "shortwave_down": "surface_downwelling_shortwave_flux_in_air",
    "specific_humidity": "specific_humidity",
    "wind_u": "eastward_wind",
    "wind_v": "northward_wind",
    "ndvi": "normalized_difference_vegetation_index",
    "soil_temperature": "soil_temperature",
    "snow_water_equivalent": "lwe_thickness_of_surface_snow_amount",
}
COORDINATES: dict[str, dict[str, str]] = {
    "time": {"long_name": "UTC day", "axis": "T"},
    "depth": {"axis": "Z"},
    "pixel": {"long_name": "pixel", "units": "1"},
    "row": {"long_name": "row in the grid (attribute grid), from 0 in the north", "units": "1"},
    "col": {"long_name": "column in the grid (attribute grid), from 0 in the west", "units": "1"},
    "lat": {"long_name": "latitude of the cell centre", "units": "degrees_north"},
    "lon": {"long_name": "longitude of the cell centre", "units": "degrees_east"},
    "grid_km": {"long_name": "nominal size of the cell: 36 for the surface, 9 for the root zone", "units": "km"},
}


class CubeError(RuntimeError):
    """A cube is missing, not whole, or does not fit what is asked of it."""


def described(dataset: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Describe by the CF conventions."""
    out = dataset.assign_attrs(attrs)
    for name, values in COORDINATES.items():
        if name in out.coords:
            out[name].attrs = {**values, **out[name].attrs}
    for name in map(str, out.variables):
        array = out[name]
        if name in STANDARD_NAMES:
            array.attrs["standard_name"] = STANDARD_NAMES[name]
        elif array.attrs.get("units") == "m3 m-3":
            array.attrs["standard_name"] = "volume_fraction_of_condensed_water_in_soil"
        if name in variables.names("forcing"):
            array.attrs["cell_methods"] = "time: mean"
    return out


def encoding_of(dataset: xr.Dataset) -> dict[Any, dict[str, Any]]:
    """Chunks of every variable, and how time is written."""
    sizes = {"time": TIME_CHUNK, "pixel": PIXEL_CHUNK}
    encoding: dict[Any, dict[str, Any]] = {}
    for name, array in dataset.variables.items():
        encoding[name] = {"chunks": tuple(min(n, sizes.get(str(d), n)) for d, n in array.sizes.items())}
    encoding["time"].update(TIME_ENCODING)
    return encoding


def inventory(block: Path) -> str:
    """Say how many files and bytes a block has, without the blocks appended to it and its own attributes."""
    return folders.inventory(block, leave_out=BLOCK)


def partial_of(path: Path) -> Path:
    """Name of a cube while it is being written; no reader looks there."""
    return path.with_name(f"{path.name}.partial")


def swap_in(partial: Path, path: Path) -> None:
    """Put a finished cube in the place of the one before.

    Raises
    ------
    CubeError
        What lies at `path` is no cube.
    """
    if folders.is_someone_elses(path):
        raise CubeError(f"{path}: is not a cube and will not be replaced by one; move it away")
    folders.put_in_place(partial, path)
