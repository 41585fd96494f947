"""The grid of NLDAS-2, and which of its cells stand for a cell of the EASE-Grid: one, or all that cover it.

Rows count from the south, columns from the west. It reads no file.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike

from smapnb.grid import AreaWeights, EaseGrid, Floats, Integers, area_weights

# NASA's README of the NLDAS-2 products (2014): centre of the first cell, number of cells; size of a cell in degrees.
AXES = {"lat": (25.0625, 224), "lon": (-124.9375, 464)}
CELL = 0.125
Cover = Literal["centre", "covering"]


def cell(lon: ArrayLike, lat: ArrayLike) -> tuple[Integers, Integers]:
    """Row (from the south) and column (from the west) of the NLDAS-2 cell that holds each point; -1 both if none does.

    A point on an edge belongs to the cell north and east of it.
    """
    places = []
    for axis, given in (("lat", lat), ("lon", lon)):
        first, n = AXES[axis]
        index = np.floor((np.asarray(given, dtype=np.float64) - first) / CELL + 0.5)
        places.append(np.where((index >= 0) & (index < n), index, -1).astype(np.int64))
    outside = (places[0] < 0) | (places[1] < 0)
    row, col = (np.where(outside, -1, place) for place in places)
    return row, col


def flat(row: ArrayLike, col: ArrayLike) -> Integers:
    """Places of cells in the flattened grid (lat, lon)."""
    return np.asarray(row, dtype=np.int64) * AXES["lon"][1] + np.asarray(col, dtype=np.int64)


def centres(places: ArrayLike) -> tuple[Floats, Floats]:
    """Longitude and latitude of the centres of NLDAS-2 cells by what `flat` gives."""
    row, col = np.divmod(np.asarray(places, dtype=np.int64), AXES["lon"][1])
    return AXES["lon"][0] + CELL * col, AXES["lat"][0] + CELL * row


def place_of(place: int) -> str:
    """Name a cell after its centre, by what `flat` gives; the grid lies north and west."""
    lon, lat = centres(place)
    return f"{lat:.4f}N {-lon:.4f}W"


def edges(axis: Literal["lat", "lon"]) -> tuple[float, float]:
    """Southern and northern, or western and eastern edge of the grid, degrees."""
    first, n = AXES[axis]
    return first - CELL / 2, first + (n - 0.5) * CELL


def weights(grid: EaseGrid, row: ArrayLike, col: ArrayLike, cover: Cover) -> AreaWeights:
    """Weights from the NLDAS-2 grid (lat, lon), both ascending, to cells of an EASE-Grid.

    Parameters
    ----------
    grid, row, col
        As in `area_weights`.
    cover : {"covering", "centre"}
        covering: all that `area_weights` finds; centre: the one NLDAS cell that holds the centre of the EASE cell, by
        which a single series stands for the cell. A cell whose centre lies beyond the grid has none, and no value.
    """
    shape = AXES["lat"][1], AXES["lon"][1]
    if cover == "covering":
        lat, lon = (first + CELL * np.arange(n) for first, n in AXES.values())
        return area_weights(grid, row, col, lon, lat)
    row, col = np.broadcast_arrays(row, col)
    own_row, own_col = cell(*(axis.ravel() for axis in grid.center(row, col)))
    cells = np.flatnonzero(own_row >= 0)
    place = (cells, flat(own_row[cells], own_col[cells]))
    size = row.size, shape[0] * shape[1]
    return AreaWeights(
        weights=scipy.sparse.csr_array((np.ones(cells.size), place), shape=size),
        covering=scipy.sparse.csr_array((np.ones(cells.size, dtype=np.int64), place), shape=size),
        n_covering=np.ones(row.size, dtype=np.int64),
        source_shape=shape,
        target_shape=row.shape,
    )
