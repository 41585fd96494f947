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

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from smapnb import variables
from smapnb.nldas_grid import Cover
from smapnb.sources._nldas_daily import HOURS_A_DAY, Counts, DayRule, check_rule
from smapnb.sources._nldas_grids import Cells, Paths, attributes, open_grids
from smapnb.sources._nldas_names import FIELDS, Granule, NldasError, fields_of, granule_of
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

# Regridding holds a few copies of its input in float64, so that a long series goes through it in pieces.
DAYS_A_PIECE = 16


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
    return open_grids(path, "FORA", day, min_hours, names, start, end, cells, None)


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
    return open_grids(path, "NOAH", day, min_hours, names, start, end, cells, None)


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
    return open_grids(path, "VIC", day, min_hours, names, start, end, cells, layer_depth)


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
    attrs = attributes("+".join(sorted(products)), day, min_hours, counts)
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
