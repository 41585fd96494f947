"""Which pixel of a grid is a site's own, and on what part of the days a satellite sees it.

Pixels are those of EASE-Grid 2.0 at 36 km. A sample may hold only every n-th row and column: the cells between are not
missing, they were never asked for, and nothing is concluded from that. Of a cube with cells of two grids, those of the
surface count.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smapnb.grid import EaseGrid
from smapnb.variables import GRID_KM, pixels_of

DAYS_OF_A_YEAR = 366


class InsituError(ValueError):
    """Stations do not fit the pixels, or weights do not fit the stations."""


def own_cell(sites: xr.Dataset, pixels: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Tell whether the cell of the 36-km grid in which a site stands is one of the pixels.

    Parameters
    ----------
    sites : xarray.Dataset, (site,)
        Coordinates ``lat, lon``.
    pixels : xarray.Dataset or DataArray, (pixel,)
        Coordinates ``lat, lon`` of the centres.

    Returns
    -------
    xarray.DataArray, (site,)
        ``inside``: it is; ``no pixel``: the grid leaves it out, as at a coast; ``not sampled``: it lies between the
        rows and columns that a thinned sample takes, and nothing is known of it.

    Raises
    ------
    InsituError
        No pixel.
    """
    _, there, sampled = _look_up(sites, pixels.isel(pixel=_of_surface(pixels)))
    status = np.where(there, "inside", np.where(sampled, "no pixel", "not sampled"))
    return xr.DataArray(status, dims="site", coords={"site": sites["site"].to_numpy()}, name="own_cell")


def observed_fraction(sites: xr.Dataset, ssm_smap: xr.DataArray) -> xr.DataArray:
    """Give the part of the days on which SMAP has a value where a site stands.

    Of the site's own cell; 0 where the grid leaves that cell out; of the nearest pixel (|dlat| + |dlon|) where a
    thinned sample does not take it.

    Parameters
    ----------
    sites : xarray.Dataset, (site,)
        Coordinates ``lat, lon``.
    ssm_smap : xarray.DataArray, (time, pixel)
        Coordinates ``lat, lon`` of the centres. Days count from the first to the last on which any pixel has a value,
        by years from the first. A year in which a pixel has no value at all is held to be missing from the data (a
        sample may keep a year back for tests), and does not count for that pixel; where all are, the part is 0.

    Returns
    -------
    xarray.DataArray, (site,)
        Between 0 and 1.

    Raises
    ------
    InsituError
        No pixel, or no value at all.
    """
    ssm_smap = ssm_smap.isel(pixel=_of_surface(ssm_smap))
    index, there, sampled = _look_up(sites, ssm_smap)
    needed, place = np.unique(index, return_inverse=True)
    days = np.flatnonzero(ssm_smap.notnull().any("pixel").to_numpy())
    if not days.size:
        raise InsituError(f"{ssm_smap.name} has no value at any pixel: no days to count")
    period = ssm_smap.isel(time=slice(int(days[0]), int(days[-1]) + 1), pixel=needed)
    valid = period.notnull().transpose("time", "pixel").to_numpy()
    years = [slice(first, first + DAYS_OF_A_YEAR) for first in range(0, len(valid), DAYS_OF_A_YEAR)]
    seen = np.array([valid[year].sum(axis=0) for year in years])
    days_of = np.array([len(valid[year]) for year in years])[:, None] * (seen > 0)
    part = (seen.sum(axis=0) / np.maximum(days_of.sum(axis=0), 1))[place]
    values = np.where(there | ~sampled, part, 0.0)
    attrs = {"units": "1", "long_name": "part of the days on which SMAP has a value"}
    return xr.DataArray(values, {"site": sites["site"].to_numpy()}, "site", "observed_fraction", attrs)


def _of_surface(pixels: xr.Dataset | xr.DataArray) -> NDArray[np.bool_]:
    return pixels_of(pixels.coords.to_dataset(), "surface")


def _look_up(
    sites: xr.Dataset, pixels: xr.Dataset | xr.DataArray
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixel of each site (its own, else the nearest), whether it is its own, whether the sample takes that cell."""
    lat, lon = pixels["lat"].to_numpy(), pixels["lon"].to_numpy()
    if not lat.size:
        raise InsituError("no pixel to look up sites in")
    grid = EaseGrid(GRID_KM["surface"])
    rows, columns = grid.cell(lon, lat)
    row, column = grid.cell(sites["lon"].to_numpy(), sites["lat"].to_numpy())
    same = (row[:, None] == rows) & (column[:, None] == columns)
    there = same.any(axis=1)
    distance = np.abs(sites["lat"].to_numpy()[:, None] - lat) + np.abs(sites["lon"].to_numpy()[:, None] - lon)
    index = np.where(there, same.argmax(axis=1), distance.argmin(axis=1))
    return index, there, _on_lattice(row, rows) & _on_lattice(column, columns)


def _on_lattice(own: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether rows (or columns) are among those that lie whole steps apart, as the pixels' do."""
    step = int(np.gcd.reduce(np.abs(taken - taken[0])))
    return (own - taken[0]) % step == 0 if step else own == taken[0]
