"""The one table of names, units, ranges and each source's own name, and the check that holds every Dataset to it.

It describes and checks; it never changes, fills or clips a value.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

log = logging.getLogger(__name__)

CUBE = ("time", "pixel")
STATIC = ("pixel",)
PROFILE = ("time", "pixel", "depth")
PIXEL_COORDINATES = ("row", "col", "lat", "lon")
# Where a place is not a cell of the grid: a site of a sparse network, a station of a dense one, a box over such.
PLACES = ("site", "station", "reference_pixel")
PLACE_COORDINATES = ("lat", "lon")


ZERO_CELSIUS = 273.15  # K; temperatures are in kelvin here, files of stations give degrees

# A pixel counts where SMAP has a value on more than this part of the days (Fang, Pan & Shen 2019, section II-C).
LEAST_OBSERVED = 0.25


class SchemaError(ValueError):
    """A Dataset does not obey the table of variables."""


@dataclass(frozen=True)
class Variable:
    """One row of the table; `valid_range` is inclusive, `sources` maps a source to its own name."""

    name: str
    units: str
    long_name: str
    valid_range: tuple[float, float]
    kind: str
    dims: tuple[str, ...] = CUBE
    sources: Mapping[str, str] = field(default_factory=dict)


def _forcing(name: str, units: str, long_name: str, low: float, high: float, csv: str, nldas: str) -> Variable:
    return Variable(name, units, long_name, (low, high), "forcing", sources={"authors_csv": csv, "nldas": nldas})


def _static(name: str, units: str, long_name: str, low: float, high: float, csv: str) -> Variable:
    return Variable(name, units, long_name, (low, high), "static", STATIC, {"authors_csv": csv})


def _moisture(name: str, long_name: str, kind: str, dims: tuple[str, ...] = CUBE, csv: str = "") -> Variable:
    return Variable(name, "m3 m-3", long_name, (0.0, 1.0), kind, dims, {"authors_csv": csv} if csv else {})


_ROWS = [
    # Forcing. Ranges are what a daily mean can reach anywhere over land in North America.
    _forcing("precipitation", "mm d-1", "daily precipitation", 0, 800, "APCP_FORA", "Rainf"),
    _forcing("air_temperature", "K", "2 m air temperature", 200, 335, "TMP_2_FORA", "Tair"),
    _forcing("longwave_down", "W m-2", "downward longwave radiation", 50, 600, "DLWRF_FORA", "LWdown"),
    _forcing("shortwave_down", "W m-2", "downward shortwave radiation", 0, 500, "DSWRF_FORA", "SWdown"),
    _forcing("specific_humidity", "kg kg-1", "2 m specific humidity", 0, 0.04, "SPFH_2_FORA", "Qair"),
    _forcing("wind_u", "m s-1", "10 m eastward wind", -50, 50, "UGRD_10_FORA", "Wind_E"),
    _forcing("wind_v", "m s-1", "10 m northward wind", -50, 50, "VGRD_10_FORA", "Wind_N"),
    # Static attributes of a pixel: those of Fang et al. (2019), section II-A, and NDVI, as in the authors' files.
    # The two classes are numbers to the network, as they were to the authors'.
    _static("sand", "%", "sand, 0-20 cm, by mass", 0, 100, "Sand"),
    _static("silt", "%", "silt, 0-20 cm, by mass", 0, 100, "Silt"),
    _static("clay", "%", "clay, 0-20 cm, by mass", 0, 100, "Clay"),
    _static("bulk_density", "kg dm-3", "soil bulk density, 0-20 cm", 0, 2.65, "Bulk"),
    _static("water_capacity", "cm m-1", "available soil water capacity", 0, 60, "Capa"),
    _static("ndvi", "1", "mean normalised difference vegetation index", -1, 1, "NDVI"),
    _static("albedo", "1", "SMAP single-scattering albedo, time mean", 0, 1, "flag_albedo"),
    _static("roughness", "1", "SMAP roughness coefficient, time mean", 0, 1, "flag_roughness"),
    _static("water_fraction", "1", "SMAP static water body fraction, time mean", 0, 1, "flag_waterbody"),
    _static("dense_vegetation", "1", "SMAP dense-vegetation flag, time mean", 0, 1, "flag_vegDense"),
    _static("landcover_class", "1", "IGBP land-cover class", 0, 17, "flag_landcover"),
    _static(
        "surface_condition",
        "1",
        "SMAP surface flags: 0 none, 1 coast, 2 ice, 3 mountain, 4 water, 5 urban, 6 several",
        0,
        6,
        "flag_extraOrd",
    ),
    # Targets.
    _moisture("ssm_smap", "SMAP surface soil moisture", "target", csv="SMAP_AM"),
    _moisture("rzsm_smap", "SMAP root-zone soil moisture, 0-100 cm", "target"),
    # Land models.
    _moisture("ssm_noah", "Noah soil moisture, 0-10 cm", "land_model"),
    _moisture("rzsm_noah", "Noah soil moisture, 0-100 cm", "land_model"),
    _moisture("ssm_vic", "VIC soil moisture, layer 1", "land_model"),
    _moisture("rzsm_vic", "VIC soil moisture, 0-100 cm", "land_model"),
    # State that the twin knows.
    _moisture("ssm_truth", "true soil moisture, 0-5 cm (synthetic)", "truth"),
    _moisture("rzsm_truth", "true soil moisture, 0-100 cm (synthetic)", "truth"),
    _moisture("soil_moisture_truth", "true soil moisture by layer (synthetic)", "truth", PROFILE),
    Variable("soil_temperature", "K", "soil temperature by layer", (200, 345), "state", PROFILE),
    Variable("snow_water_equivalent", "mm", "snow water equivalent", (0, 5000), "state"),
    # What stands in the ground, and what is made of it.
    _moisture("soil_moisture", "soil moisture measured in situ, by depth", "in_situ", PROFILE),
    _moisture("ssm_insitu", "in-situ surface soil moisture", "in_situ"),
    _moisture("rzsm_insitu", "in-situ root-zone soil moisture, 0-100 cm", "in_situ"),
    _moisture("ssm_insitu_error", "sampling error of in-situ surface soil moisture", "in_situ"),
    _moisture("rzsm_insitu_error", "sampling error of in-situ root-zone soil moisture", "in_situ"),
    Variable("coverage", "1", "part of the pixel covered by stations that operate", (0, 1), "in_situ"),
    Variable("degrees_of_freedom", "1", "degrees of freedom of the sampling error", (0, 1000), "in_situ"),
    # Combinations.
    _moisture("ssm_comb", "mean of LSTM and Noah, surface soil moisture", "combination"),
    _moisture("rzsm_comb", "mean of LSTM and Noah, root-zone soil moisture", "combination"),
    # What the LSTM gives back.
    _moisture("ssm_lstm", "LSTM surface soil moisture", "hindcast"),
    _moisture("rzsm_lstm", "LSTM root-zone soil moisture, 0-100 cm", "hindcast"),
    _moisture("ssm_lstm_spread", "standard deviation of LSTM surface soil moisture", "hindcast"),
    _moisture("rzsm_lstm_spread", "standard deviation of LSTM root-zone soil moisture", "hindcast"),
    Variable(
        "forcing_out_of_range",
        "1",
        "number of forcing variables missing or beyond the range seen in training",
        (0, 64),
        "hindcast",
    ),
]

TABLE: dict[str, Variable] = {row.name: row for row in _ROWS}
TARGETS = {"surface": "ssm", "rootzone": "rzsm"}
# SMAP's grid of each target, km. At full size a cube holds cells of both, told apart by the coordinate `grid_km`.
GRID_KM = {"surface": 36, "rootzone": 9}


def names(kind: str) -> list[str]:
    """Names of the table's variables of one kind (``forcing``, ``static``, ``target``, ...), in table order."""
    return [row.name for row in _ROWS if row.kind == kind]


def own_names(source: str) -> dict[str, str]:
    """Map each source's own variable name to ours, for one source."""
    return {row.sources[source]: row.name for row in _ROWS if source in row.sources}


def pixels_of(dataset: xr.Dataset, quantity: str) -> NDArray[np.bool_]:
    """Say which pixels belong to a target, (pixel,).

    Parameters
    ----------
    dataset : xarray.Dataset
        Dimension pixel; the coordinate ``grid_km`` (pixel) where it holds cells of more than one size.
    quantity : {"surface", "rootzone"}
        All pixels belong to it where there is no ``grid_km``; else those of its own grid (`GRID_KM`).
    """
    if "grid_km" not in dataset.coords:
        return np.ones(dataset.sizes["pixel"], dtype=bool)
    return np.asarray(dataset["grid_km"].to_numpy() == GRID_KM[quantity])


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """Return `dataset` with ``units`` and ``long_name`` of every variable set from the table."""
    out = dataset.copy()
    for name in out.data_vars:
        if name in TABLE:
            row = TABLE[str(name)]
            out[name].attrs.update(units=row.units, long_name=row.long_name)
    return out


def check(dataset: xr.Dataset, where: str) -> pd.DataFrame:
    """Hold a Dataset to the table and count its missing and out-of-range values.

    Parameters
    ----------
    dataset : xarray.Dataset
        What a source returns.
    where : str
        File or source, for the messages.

    Returns
    -------
    pandas.DataFrame
        One row a variable: n, n_missing, n_out_of_range, minimum, maximum. Out-of-range values are left as they are;
        their number is logged as a warning and kept in the attribute ``n_out_of_range`` of the variable.

    Raises
    ------
    SchemaError
        Unknown name, wrong units, dtype or dimensions, unsorted or repeated time, missing coordinates of a place. A
        dimension ``site`` or ``station`` stands where the table says ``pixel``; ``probe`` may follow as the last.
    """
    _check_coordinates(dataset, where)
    rows = {}
    for name, array in dataset.data_vars.items():
        if name not in TABLE:
            raise SchemaError(f"{where}: variable {name!r} is not in the table of smapnb.variables")
        row = TABLE[str(name)]
        if array.attrs.get("units") != row.units:
            raise SchemaError(f"{where}: {name} has units {array.attrs.get('units')!r}, the table says {row.units!r}")
        if _as_in_table(array.dims) != row.dims:
            raise SchemaError(f"{where}: {name} has dimensions {array.dims}, the table says {row.dims}")
        if array.dtype != np.float32:
            raise SchemaError(f"{where}: {name} is {array.dtype}, every variable is float32")
        rows[name] = _count(array, row)
        array.attrs["n_out_of_range"] = rows[name]["n_out_of_range"]
    report = pd.DataFrame.from_dict(rows, orient="index")
    report.index.name = "variable"
    bad = {k: v["n_out_of_range"] for k, v in rows.items() if v["n_out_of_range"]}
    if bad:
        log.warning("%s: values outside the valid range, kept as they are: %s", where, json.dumps(bad))
    return report


def _as_in_table(dims: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    """Dimensions with ``pixel`` for any place, and without the probes of a triplicate."""
    dims = dims[:-1] if dims[-1:] == ("probe",) else dims
    return tuple("pixel" if dim in PLACES else dim for dim in dims)


def _check_coordinates(dataset: xr.Dataset, where: str) -> None:
    if "time" in dataset.dims:
        time = dataset.indexes["time"]
        if not (time.is_monotonic_increasing and time.is_unique):
            raise SchemaError(f"{where}: time is not strictly increasing")
    needed = {"pixel": PIXEL_COORDINATES} | dict.fromkeys(PLACES, PLACE_COORDINATES)
    for place, coordinates in needed.items():
        lacking = [c for c in coordinates if c not in dataset.coords]
        if place in dataset.dims and lacking:
            raise SchemaError(f"{where}: {place} lacks the coordinates {lacking}")


def count_out_of_range(array: xr.DataArray, name: str) -> int:
    """Count the values of `array` outside the valid range of the table's row `name`; a missing value is in no range.

    An infinite value is out of range, not missing.
    """
    low, high = TABLE[name].valid_range
    values = array.to_numpy()
    return int(((values < low) | (values > high)).sum())


def _count(array: xr.DataArray, row: Variable) -> dict[str, float]:
    values = array.to_numpy()
    seen = values[~np.isnan(values)]
    return {
        "n": int(values.size),
        "n_missing": int(values.size - seen.size),
        "n_out_of_range": count_out_of_range(array, row.name),
        "minimum": float(seen.min()) if seen.size else float("nan"),
        "maximum": float(seen.max()) if seen.size else float("nan"),
    }
