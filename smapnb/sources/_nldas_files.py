"""One hourly NLDAS-2 file, netCDF-4, classic netCDF or GRIB-1, to fields on the ascending grid, missing values NaN.

A helper of `smapnb.sources.nldas`; it knows nothing of days.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.io
from numpy.typing import NDArray

from smapnb.nldas_grid import AXES, CELL
from smapnb.sources._nldas_names import PREFIX, Field, Granule, NldasError, check_units, key_of, keys

# GRIB-1 keeps millidegrees, half of one beside the true centre.
CENTRE_TOLERANCE = 0.001
# netCDF; GRIB's, which some converters keep; the point service's; what GRIB decoders and GrADS write.
FILLS = (-9999.0, 9999.0, 9999.9)
HUGE = 9.98e20
NAMES = {"lat": ("lat", "latitude"), "lon": ("lon", "longitude"), "time": ("time",)}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
# The time inside may be that of the name or the beginning or middle of the hour.
HOUR = pd.Timedelta(hours=1)
DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Hours:
    """Fields of one file: `stamps` (time,), `lat` and `lon` ascending, `values` by our name (time, lat, lon)."""

    path: Path
    stamps: pd.DatetimeIndex
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    values: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Variable:
    """A netCDF variable of either kind, read when asked for."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    read: Callable[[], NDArray]


def read(path: Path, fields: list[Field], granule: Granule | None) -> Hours:
    """Read the `fields` of one file.

    Parameters
    ----------
    path : Path
        File.
    fields : list of Field
        What is wanted, of one product.
    granule : Granule or None
        What the name says; then the file must hold all `fields`, and the one hour of the name. None: the file may hold
        any of them, at its own times.

    Raises
    ------
    NldasError
        Empty, truncated or damaged file, a web page in its place, another product, grid, unit or hour.
    """
    kind = _kind(path)
    if kind == "GRIB":
        return _read_grib(path, fields, granule)
    with _damage(path), _open(path, kind) as variables:
        return _read_netcdf(path, fields, variables, granule)


def stamps_of(path: Path) -> pd.DatetimeIndex:
    """Read the times of a file whose name does not tell them."""
    kind = _kind(path)
    if kind == "GRIB":
        raise NldasError(f"{path}: a GRIB file must be named like NLDAS_FORA0125_H.A20150101.0000.002.grb")
    with _damage(path), _open(path, kind) as variables:
        stamps = _stamps(path, variables)
    if stamps is None:
        raise NldasError(f"{path}: its name tells no hour, and it has no variable time")
    return stamps


def clean(values: NDArray, *fills: float) -> NDArray[np.float32]:
    """Float32 with NaN in place of the known fill values and of `fills`."""
    out = np.array(values, dtype=np.float32)
    missing = np.abs(out) >= np.float32(HUGE)
    for fill in (*FILLS, *fills):
        missing |= out == np.float32(fill)
    out[missing] = np.nan
    return out


def _kind(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise NldasError(f"{path}: empty file")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "netCDF-4"
    if head[:4] in (b"CDF\x01", b"CDF\x02"):
        return "netCDF"
    if head.startswith(b"GRIB"):
        return "GRIB"
    if head.lstrip()[:1] == b"<":
        raise NldasError(f"{path}: a web page, most likely a login page, in place of data; fetch it anew")
    raise NldasError(f"{path}: begins with {head[:8]!r}, which is neither netCDF nor GRIB")


@contextmanager
def _damage(path: Path, *more: type[Exception]) -> Iterator[None]:
    try:
        yield
    except NldasError:
        raise
    except (*DAMAGE, *more) as error:
        raise NldasError(f"{path}: damaged or truncated ({error}); fetch it anew") from error


@contextmanager
def _open(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Variables of a file by name, as its library gives them: of the many in a file few are looked into."""
    if kind == "netCDF-4":
        # Archives often lie on read-only or network file systems, where locks fail.
        with h5py.File(path, "r", locking=False) as file:
            yield {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
    else:
        with scipy.io.netcdf_file(path, "r", mmap=False) as file:
            yield dict(file.variables)


def _view(item: Any) -> _Variable:
    if not isinstance(item, h5py.Dataset):
        return _Variable(item.dimensions, item.shape, item._attributes, lambda: item[:].copy())
    dims = tuple(axis[0].name.rsplit("/", 1)[-1] if len(axis) else "" for axis in item.dims)
    return _Variable(dims, item.shape, item.attrs, lambda: item[()])


def _read_netcdf(path: Path, fields: list[Field], there: dict[str, Any], granule: Granule | None) -> Hours:
    chosen = _chosen(path, fields, there, granule)
    order, axes = {}, {}
    for axis in ("lat", "lon"):
        variable = next((there[name] for name in NAMES[axis] if name in there), None)
        if variable is None:
            raise NldasError(f"{path}: no variable {axis}; there are {sorted(there)}")
        order[axis], axes[axis] = ascending(_view(variable).read(), axis, path)
    inside = _stamps(path, there)
    stamps = _agreed(path, inside, granule)
    values = {}
    for field in fields:
        if field.name in chosen:
            variable = _view(there[chosen[field.name]])
            check_units(field, _text(variable.attrs.get("units", "")), str(path))
            array = _oriented(path, chosen[field.name], variable, {axis: len(axes[axis]) for axis in axes})
            if array.shape[0] != stamps.size:
                raise NldasError(f"{path}: {chosen[field.name]} has {array.shape[0]} times, the file {stamps.size}")
            values[field.name] = array[:, order["lat"]][:, :, order["lon"]]
    return Hours(path, stamps, axes["lat"], axes["lon"], values)


def _chosen(path: Path, fields: list[Field], there: dict[str, Any], granule: Granule | None) -> dict[str, str]:
    """Our name of each field to its name in the file."""
    product = fields[0].product
    by_key: dict[str, str] = {}
    for name in there:
        prefix = PREFIX.match(name)
        if prefix is None or prefix["product"].upper() == product:
            by_key[key_of(name)] = name
    chosen = {f.name: by_key[key] for f in fields for key in keys(f) if key in by_key}
    lacking = [field.netcdf for field in fields if field.name not in chosen]
    if not chosen or (granule and lacking):
        raise NldasError(f"{path}: no {', '.join(lacking)} of NLDAS {product}; there are {sorted(there)}")
    return chosen


def ascending(values: NDArray, axis: str, path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order that makes an axis ascend, and its cell centres on the NLDAS grid, whatever a file's rounding.

    Raises
    ------
    NldasError
        A value that is no centre of the grid, or is there twice.
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    first, n = AXES[axis]
    if axis == "lon":
        given = np.where(given > 180, given - 360, given)
    index = np.round((given - first) / CELL)
    bad = ~(np.abs(given - (first + CELL * index)) <= CENTRE_TOLERANCE) | (index < 0) | (index >= n)
    if bad.any() or np.unique(index).size < given.size:
        what = given[bad][0] if bad.any() else "a repeated value"
        raise NldasError(f"{path}: {axis} holds {what}, not centres of the NLDAS grid ({first} in steps of {CELL})")
    order = np.argsort(index)
    return order, first + CELL * index[order]


def _oriented(path: Path, name: str, variable: _Variable, sizes: dict[str, int]) -> NDArray[np.float32]:
    """Values as (time, lat, lon), missing ones NaN."""
    dims = [next((axis for axis, names in NAMES.items() if dim.lower() in names), dim) for dim in variable.dims]
    if "lat" not in dims and "lon" not in dims and len(dims) in (2, 3):
        dims = [*["time"][: len(dims) - 2], "lat", "lon"]  # an array without named dimensions is in the usual order
    if sorted(dims) not in (["lat", "lon"], ["lat", "lon", "time"]):
        raise NldasError(f"{path}: {name} has dimensions {variable.dims}, due are time, lat, lon")
    if any(variable.shape[dims.index(axis)] != size for axis, size in sizes.items()):
        raise NldasError(f"{path}: {name} has shape {variable.shape}, the axes have {sizes}")
    fills = [_number(variable.attrs[a]) for a in ("_FillValue", "missing_value") if a in variable.attrs]
    packing = {a: _number(variable.attrs[a]) for a in ("scale_factor", "add_offset") if a in variable.attrs}
    if packing not in ({}, {"scale_factor": 1.0}, {"scale_factor": 1.0, "add_offset": 0.0}, {"add_offset": 0.0}):
        raise NldasError(f"{path}: {name} is packed ({packing}); the products are not, so that it is not theirs")
    array = clean(variable.read(), *fills)
    array = array if "time" in dims else array[np.newaxis]
    order = dims if "time" in dims else ["time", *dims]
    return array.transpose([order.index(axis) for axis in ("time", "lat", "lon")])


def _stamps(path: Path, there: dict[str, Any]) -> pd.DatetimeIndex | None:
    if "time" not in there:
        return None
    variable = _view(there["time"])
    units = _text(variable.attrs.get("units", ""))
    unit, _, since = units.partition(" since ")
    epoch = pd.to_datetime(since, errors="coerce", utc=True)
    if unit.rstrip("s") not in SECONDS or pd.isna(epoch):
        raise NldasError(f"{path}: time has units {units!r}")
    offsets = np.asarray(variable.read(), dtype=np.float64).ravel()
    if not np.isfinite(offsets).all():
        raise NldasError(f"{path}: time is not a number")
    times = epoch.tz_localize(None) + pd.to_timedelta(offsets * SECONDS[unit.rstrip("s")], unit="s")
    return pd.DatetimeIndex(times).as_unit("ns").round("s")


def _agreed(path: Path, inside: pd.DatetimeIndex | None, granule: Granule | None) -> pd.DatetimeIndex:
    """Give the hours of a file; the name rules, and the time inside may not contradict it."""
    if granule is None:
        if inside is None:
            raise NldasError(f"{path}: its name tells no hour, and it has no variable time")
        if (inside != inside.floor("h")).any():
            raise NldasError(f"{path}: {inside[inside != inside.floor('h')][0]} is no full hour")
        return inside
    if inside is not None and (inside.size != 1 or abs(inside[0] - granule.stamp) > HOUR):
        raise NldasError(f"{path}: named {granule.stamp}, the file holds {', '.join(map(str, inside[:3]))}")
    return pd.DatetimeIndex([granule.stamp])


def _read_grib(path: Path, fields: list[Field], granule: Granule | None) -> Hours:
    if granule is None:
        raise NldasError(f"{path}: a GRIB file must be named like NLDAS_FORA0125_H.A20150101.0000.002.grb")
    grib = _grib_reader(path)
    wanted = {field.grib: field for field in fields}
    values: dict[str, NDArray[np.float32]] = {}
    lat, lon = np.empty(0), np.empty(0)
    seen = []
    with _damage(path, grib.eccodes.CodesInternalError):
        for _, message in grib.FileStream(str(path), errors="raise").items():
            code = (message["indicatorOfParameter"], message["topLevel"], message["bottomLevel"])
            seen.append(code)
            field = wanted.get(code)
            if field is None:
                continue
            if field.name in values:
                raise NldasError(f"{path}: parameter {code} is there twice")
            start = pd.to_datetime(f"{message['dataDate']:08d}{message['dataTime']:04d}", format="%Y%m%d%H%M")
            _agreed(path, pd.DatetimeIndex([start]), granule)
            values[field.name], lat, lon = _grid_of(path, message)
    lacking = [f"{field.netcdf} {field.grib}" for field in fields if field.name not in values]
    if lacking:
        raise NldasError(f"{path}: no {', '.join(lacking)} of NLDAS {fields[0].product}; there are {seen}")
    return Hours(path, pd.DatetimeIndex([granule.stamp]), lat, lon, values)


def _grib_reader(path: Path) -> Any:
    import pyproj  # noqa: F401  (first: loaded after ecCodes it takes ecCodes' PROJ, and a map ends the process)

    try:
        return importlib.import_module("cfgrib.messages")
    except (ImportError, RuntimeError) as error:  # cfgrib raises RuntimeError where ecCodes itself is not found
        raise NldasError(
            f"{path}: reading GRIB needs cfgrib and ecCodes, which are not installed ({error}): "
            "pip install -e '.[grib]' in the project's folder, or fetch version 2.0, which is netCDF"
        ) from error


def _grid_of(path: Path, message: Any) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Values (1, lat, lon) and axes of a GRIB message."""
    if message["gridType"] != "regular_ll" or any(
        message[flag] for flag in ("iScansNegatively", "jPointsAreConsecutive", "alternativeRowScanning")
    ):
        raise NldasError(f"{path}: a grid {message['gridType']!r} in an order that these products do not have")
    n_lat, n_lon = message["Nj"], message["Ni"]
    by_lat, lat = ascending(_line(message, "latitude", n_lat), "lat", path)
    by_lon, lon = ascending(_line(message, "longitude", n_lon), "lon", path)
    # ecCodes puts its own missing value where the bitmap has none.
    values = clean(np.asarray(message["values"]).reshape(n_lat, n_lon), message["missingValue"])
    return values[by_lat][:, by_lon][np.newaxis], lat, lon


def _line(message: Any, axis: str, n: int) -> NDArray[np.float64]:
    """Centres of a GRIB axis in the order of the values."""
    return np.linspace(message[f"{axis}OfFirstGridPointInDegrees"], message[f"{axis}OfLastGridPointInDegrees"], n)


def _text(value: Any) -> str:
    value = np.asarray(value).ravel()[0] if np.size(value) else ""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float:
    return float(np.asarray(value, dtype=np.float64).ravel()[0])
