"""NLDAS-2 forcing, Noah and VIC: hourly files or replies of the point service to days in our names and units.

Both generations are read: netCDF-4 (version 2.0) and GRIB-1 (version 002, with the extra ``grib``), and files with one
variable each. A day of a year of files is in memory at a time, besides the result. It fills no gap: a day with too few
hours is NaN, and counted. Monthly files, FORB, Mosaic and SAC are left out, and so is whatever lies between hours.

Two rules say what a UTC day is:

``author``
    the files of hours 00 to 23, as in the scripts of the paper's authors;
``exact``
    the files of hours 01 to 23 and 00 of the next day, since a file holds what fell in the hour that ends at its time.
    Precipitation is then the total of the UTC day. What is instantaneous is averaged over the same files.

References
----------
Xia et al. (2012), https://doi.org/10.1029/2011JD016048; README of the products, NASA GES DISC, 2014.
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
from smapnb.nldas_grid import CELL, Cover
from smapnb.sources._nldas_daily import (
    HOURS_A_DAY,
    Counts,
    DayMean,
    DayRule,
    check_rule,
    means,
    sources_of,
    span,
)
from smapnb.sources._nldas_files import CENTRE_TOLERANCE
from smapnb.sources._nldas_names import FIELDS, Field, Granule, NldasError, fields_of, granule_of
from smapnb.sources._nldas_places import Series, at_cells, by_site, pixel_coordinates, weights_to
from smapnb.sources._nldas_points import Reply, check_days, check_names, daily, files_of, joined, read_header

__all__ = [
    "FIELDS",
    "Granule",
    "NldasError",
    "fields_of",
    "granule_of",
    "open_forcing",
    "open_noah",
    "open_points",
    "open_vic",
    "points_to_pixels",
    "to_pixels",
]

log = logging.getLogger(__name__)

SOURCE = "NASA GES DISC, NLDAS-2 {product}; Xia et al. (2012), doi:10.1029/2011JD016048"
LICENCE = "NASA open data policy"
# No first layer is thicker, in metres; a map in centimetres would give a hundredth of the moisture in silence.
THICKEST = 2.0
# Regridding holds a few copies of its input in float64, so that a long series goes through it in pieces.
DAYS_A_PIECE = 16
Paths = str | Path | Iterable[str | Path]
Cells = tuple[int, ArrayLike, ArrayLike]


def open_forcing(
    path: Paths,
    day: DayRule = "author",
    min_hours: int = HOURS_A_DAY,
    names: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    cells: Cells | None = None,
) -> xr.Dataset:
    """Read hourly forcing (FORA) as daily means and totals.

    Parameters
    ----------
    path : str, Path, or several
        Folder, searched with what is below it for files named like the archive's; or files. A netCDF file that is named
        itself may have any name and any number of hours.
    day : {"author", "exact"}
        Which hours make a day.
    min_hours : int
        A cell has a value on days with at least so many hours; precipitation is then 24 times their mean. The default,
        all 24, makes nothing up.
    names : sequence of str, optional
        Some of our names; None: all seven, and a file that lacks one is an error.
    start, end : str, optional
        First and last day. None: as the files have it; an hour 00 that only the other rule needs makes no day.
    cells : (km, row, col), optional
        EASE-Grid cell size and cells, to which every day is brought at once, as by `to_pixels`.

    Returns
    -------
    xarray.Dataset
        float32 in the names and units of `smapnb.variables`, precipitation in mm d-1: (time, lat, lon), both ascending
        whatever the order in the files, or (time, pixel) with `cells`. Every day from the first to the last is there.
        Attributes: ``day_rule``, ``min_hours``, ``hours_missing`` and ``days_incomplete`` (JSON: hours of each day with
        fewer than 24), ``files_read``, ``duplicates_left_out``, ``versions``, files left out.

    Raises
    ------
    FileNotFoundError
        No such file or folder.
    NldasError
        No file of the product; an empty, truncated or damaged file, a web page in place of data; a variable that is
        lacking or in other units; another grid; a time that contradicts the name; two files of one hour that differ;
        GRIB without cfgrib. The file is named.
    """
    return _open(path, "FORA", day, min_hours, names, start, end, cells, None)


def open_noah(
    path: Paths,
    day: DayRule = "author",
    min_hours: int = HOURS_A_DAY,
    names: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    cells: Cells | None = None,
) -> xr.Dataset:
    """Read hourly soil moisture of Noah, 0 to 10 cm and 0 to 100 cm, as daily means in m3 m-3.

    Water and ice together, as the model gives them: kg m-2 / 100 and / 1000. Parameters, result and errors are those of
    `open_forcing`; names are ``ssm_noah`` and ``rzsm_noah``.
    """
    return _open(path, "NOAH", day, min_hours, names, start, end, cells, None)


def open_vic(
    path: Paths,
    day: DayRule = "author",
    min_hours: int = HOURS_A_DAY,
    names: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    cells: Cells | None = None,
    layer_depth: float | xr.DataArray = 0.1,
) -> xr.Dataset:
    """Read hourly soil moisture of VIC, its first layer and 0 to 100 cm, as daily means in m3 m-3.

    Parameters
    ----------
    layer_depth : float or xarray.DataArray
        Thickness of VIC's first layer in metres, which no file holds: 0.1 everywhere as the paper's authors assumed, or
        a map (lat, lon) on the NLDAS grid that covers the files' part of it. The attribute ``vic_layer_depth`` tells.

    Other parameters, result and errors are those of `open_forcing`; names are ``ssm_vic`` and ``rzsm_vic``. A depth
    that is not positive or beyond 2 m, or a map that lacks a cell, is an NldasError; NaN in the map gives NaN.
    """
    return _open(path, "VIC", day, min_hours, names, start, end, cells, layer_depth)


def open_points(
    paths: Paths,
    day: DayRule = "author",
    min_hours: int = HOURS_A_DAY,
    names: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
) -> xr.Dataset:
    """Read replies of the point service, of either version, as daily values.

    One hourly series is in memory at a time, besides the daily ones.

    Parameters
    ----------
    paths : str, Path, or several
        Folder of replies (.csv, .txt, .asc) or files; any product, variable and number of points, a series in several
        pieces too.
    day, min_hours
        As in `open_forcing`.
    names : sequence of str, optional
        Some of our names, each of which every cell must have; None: what there is.
    start, end : str, optional
        First and last day; None: every day that any series touches. Where a day is named, a series with fewer than
        `min_hours` lines on a day is an error; a line that says that the value is missing is a line.

    Returns
    -------
    xarray.Dataset
        (time, site), sites named ``38.8125N 94.8125W`` after the centre of the NLDAS cell; NaN where there are too few
        hours. VIC's first layer is taken to be 10 cm. Attributes as in `open_forcing`; ``days_incomplete`` and
        ``hours_missing`` are numbers of days with fewer than 24 values and of hours without one, series by series.

    Raises
    ------
    FileNotFoundError
        No such file or folder, or no reply in it.
    NldasError
        No line that names the columns, a product, variable or unit that is not ours, a line that is no hour and number,
        hours out of order, fewer hours than the header says, two values of one hour, too few hours of a day, a cell
        without one of `names`. File and line, or variable, place and day are named.
    """
    check_rule(day, min_hours)
    files = files_of(paths)
    counts = Counts(files_read=len(files))
    by_key: dict[tuple[str, tuple[int, int]], list[Reply]] = {}
    for reply in map(read_header, files):
        by_key.setdefault((reply.field.name, reply.cell), []).append(reply)
    if names is not None:
        check_names(names, by_key, files[0].parent)
    days = pd.date_range(start, end, unit="ns") if start and end else None
    series: Series = {}
    missing = short = 0
    for key, own in by_key.items():
        if names is not None and key[0] not in names:
            continue
        hourly, shared = joined(own)
        counts.duplicates_left_out += shared
        if start or end:
            check_days(hourly, own, day, min_hours, start, end)
        values, n = daily(hourly, day, min_hours)
        values = (values * own[0].field.factor)[start:end].astype(np.float32)
        series[key] = values if days is None else values.reindex(days)  # all of them on the one index
        short += int((n[start:end] < HOURS_A_DAY).sum())
        missing += int((HOURS_A_DAY - n[start:end]).sum())
    products = {reply.field.product for own in by_key.values() for reply in own}
    attrs = _attrs("+".join(sorted(products)), day, min_hours, counts)
    attrs |= {"days_incomplete": short, "hours_missing": missing}
    dataset = variables.describe(by_site(series).assign_attrs(attrs))
    variables.check(dataset, str(files[0].parent))
    return dataset


def points_to_pixels(
    dataset: xr.Dataset, grid_km: int, row: ArrayLike, col: ArrayLike, cover: Cover = "centre"
) -> xr.Dataset:
    """Give each EASE-Grid cell the series that stand for it.

    Parameters
    ----------
    dataset : xarray.Dataset
        (time, site) as from `open_points`; sites that no cell takes are left aside.
    grid_km, row, col
        As in `to_pixels`.
    cover : {"centre", "covering"}
        The series of the NLDAS cell that holds the centre of the cell, for what is cheap; or the mean of those of all
        NLDAS cells over it, as `to_pixels` makes it of grids.

    Returns
    -------
    xarray.Dataset
        (time, pixel), float32, NaN where no NLDAS cell is; coordinates row, col, lat, lon; the attributes stay, with
        ``cover``.

    Raises
    ------
    NldasError
        The series of an NLDAS cell lacks; its place is named.
    GridError
        Cells outside the grid.
    """
    return at_cells(dataset, grid_km, np.ravel(row), np.ravel(col), cover)


def to_pixels(dataset: xr.Dataset, grid_km: int, row: ArrayLike, col: ArrayLike) -> xr.Dataset:
    """Area-weighted means over EASE-Grid cells, NaN where more than a fifth of the covering cells are missing.

    Parameters
    ----------
    dataset : xarray.Dataset
        (time, lat, lon) as from `open_forcing`.
    grid_km : {36, 9, 3}
        Size of the cells.
    row, col : array_like of int, (pixel,)
        Cells of the global grid.

    Returns
    -------
    xarray.Dataset
        (time, pixel), float32, with the coordinates row, col, lat, lon; the attributes stay.

    Raises
    ------
    GridError
        Cells outside the grid.
    """
    coordinates = pixel_coordinates(grid_km, row, col)
    weights = weights_to(grid_km, row, col, dataset["lat"].to_numpy(), dataset["lon"].to_numpy())
    out = {}
    for name, array in dataset.data_vars.items():
        values = array.transpose("time", "lat", "lon")
        pieces = [
            weights(values[i : i + DAYS_A_PIECE].to_numpy()) for i in range(0, values.sizes["time"], DAYS_A_PIECE)
        ]
        out[name] = (("time", "pixel"), np.concatenate(pieces))
    attrs = dataset.attrs | {"grid": f"EASE-Grid 2.0 global, {grid_km} km", "grid_crs": "EPSG:6933"}
    result = xr.Dataset(out, coords={"time": dataset["time"].to_numpy(), **coordinates}, attrs=attrs)
    result = variables.describe(result)
    variables.check(result, f"{dataset.attrs.get('title', 'NLDAS')} on {grid_km} km")
    return result


def _open(
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
    attrs = _attrs(product, day, min_hours, counts) | _gaps(counts, days, where)
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


def _attrs(product: str, day: DayRule, min_hours: int, counts: Counts) -> dict[str, str | int]:
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
