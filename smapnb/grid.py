"""EASE-Grid 2.0 global (EPSG:6933) at 36, 9 and 3 km: cells, coordinates, polygons, area-weighted regridding.

Pure NumPy formulas on the WGS84 ellipsoid; it reads no file, and it leaves out the polar EASE-Grids and any
source grid that is not regular in longitude and latitude.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import shapely
from numpy.typing import ArrayLike, NDArray

from smapnb.grid_overlaps import SLIVER, GridError, Integers, Overlaps, latitude_overlaps, longitude_overlaps
from smapnb.grid_projection import FLATTENING, SEMI_MAJOR, Floats, project, unproject

__all__ = [
    "CONUS",
    "FLATTENING",
    "MAX_MISSING",
    "SEMI_MAJOR",
    "AreaWeights",
    "EaseGrid",
    "GridError",
    "area_weights",
    "project",
    "unproject",
]

# EASE2_M36km.gpd of NSIDC's mapx library. The grids nest exactly, so that everything is counted in cells of
# the finest one, 12 x 12 of which make one cell of 36 km.
LEFT = -17367530.4451615
TOP = 7314540.8306386
CELL_36 = 36032.220840584
FINEST_SHAPE = (4872, 11568)
FINEST_PER_CELL = {36: 12, 9: 3, 3: 1}
FINEST_CELL = CELL_36 / 12

# Fang, Pan & Shen (2019), https://doi.org/10.1109/TGRS.2018.2872131, by the first author's published scripts:
# a cell is missing where more than this part of the source cells over it is missing, by number, not by area.
MAX_MISSING = 0.2

# The authors' box around the conterminous United States: west, east, south, north in degrees.
CONUS = (-125.0, -66.0, 25.0, 50.0)


class EaseGrid:
    """One global EASE-Grid 2.0; row 0 is the northernmost, column 0 the westernmost, both start at 180 W.

    Parameters
    ----------
    km : {36, 9, 3}
        Nominal cell size; the true sizes are 36032.22, 9008.06 and 3002.69 m.

    Raises
    ------
    GridError
        Any other size.
    """

    def __init__(self, km: int) -> None:
        if km not in FINEST_PER_CELL:
            raise GridError(f"no EASE-Grid 2.0 of {km!r} km here; known: {sorted(FINEST_PER_CELL)}")
        self.km = int(km)
        self.factor = FINEST_PER_CELL[km]
        self.shape = (FINEST_SHAPE[0] // self.factor, FINEST_SHAPE[1] // self.factor)
        self.cell_size = FINEST_CELL * self.factor

    def __repr__(self) -> str:
        return f"EaseGrid({self.km})"

    @property
    def longitudes(self) -> Floats:
        """Centres of the columns, degrees east, (columns,)."""
        return unproject(LEFT + self.cell_size * (np.arange(self.shape[1]) + 0.5), 0)[0]

    @property
    def latitudes(self) -> Floats:
        """Centres of the rows, degrees north, descending, (rows,)."""
        return unproject(0, TOP - self.cell_size * (np.arange(self.shape[0]) + 0.5))[1]

    def cell(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Integers, Integers]:
        """Row and column of the cell that holds each point.

        Parameters
        ----------
        lon, lat : array_like
            Degrees east in -180..180 and degrees north; broadcast against each other.

        Returns
        -------
        row, col : numpy.int64 or array of it
            A point on an edge between cells belongs to the cell south and east of it; the outer edges of the
            grid belong to the outermost cells.

        Raises
        ------
        GridError
            A point that is not finite or lies outside the grid (beyond 85.0446 degrees north or south).
        """
        lon, lat = np.broadcast_arrays(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
        # NaN compares false; latitude is bounded before the projection, which is periodic beyond the poles.
        inside = (np.abs(lon) <= 180) & (np.abs(lat) <= 90)
        x, y = project(np.where(inside, lon, 0), np.where(inside, lat, 0))
        col = np.floor((x - LEFT) / FINEST_CELL).astype(np.int64)
        row = np.floor((TOP - y) / FINEST_CELL).astype(np.int64)
        row = np.where((row == FINEST_SHAPE[0]) & (y >= -TOP), FINEST_SHAPE[0] - 1, row)
        col = np.minimum(col, FINEST_SHAPE[1] - 1)  # only 180 E itself can reach the edge
        inside &= (row >= 0) & (row < FINEST_SHAPE[0])
        if not inside.all():
            bad = np.flatnonzero(~inside.ravel())
            raise GridError(
                f"{bad.size} of {inside.size} points lie outside EASE-Grid 2.0; the first is point {bad[0]}: "
                f"lon {lon.ravel()[bad[0]]}, lat {lat.ravel()[bad[0]]}"
            )
        return (row // self.factor)[()], (col // self.factor)[()]

    def center(self, row: ArrayLike, col: ArrayLike) -> tuple[Floats, Floats]:
        """Longitude and latitude in degrees of cell centres.

        Raises
        ------
        GridError
            Row or column outside the grid (negative ones included), or not an integer.
        """
        west, south, east, north = self.bounds(row, col)
        lon, lat = unproject((west + east) / 2, (south + north) / 2)
        return lon[()], lat[()]

    def bounds(self, row: ArrayLike, col: ArrayLike) -> tuple[Floats, ...]:
        """Left, bottom, right, top of cells, EPSG:6933 metres; neighbours share their edges bit for bit."""
        row, col = self._indices(row, col)
        left, right = (LEFT + FINEST_CELL * (self.factor * (col + side)) for side in (0, 1))
        top, bottom = (TOP - FINEST_CELL * (self.factor * (row + side)) for side in (0, 1))
        return left, bottom, right, top

    def bounds_degrees(self, row: ArrayLike, col: ArrayLike) -> tuple[Floats, ...]:
        """West, south, east and north of cells in degrees."""
        left, bottom, right, top = self.bounds(row, col)
        west, south = unproject(left, bottom)
        east, north = unproject(right, top)
        return west, south, east, north

    def polygons(self, row: ArrayLike, col: ArrayLike) -> NDArray[np.object_]:
        """Cells as shapely boxes in degrees; exact, as the edges of the cells are meridians and parallels."""
        return shapely.box(*self.bounds_degrees(row, col))

    def window(self, west: float, east: float, south: float, north: float) -> tuple[slice, slice]:
        """Rows and columns of the cells whose centre lies strictly inside a box in degrees.

        Returns
        -------
        rows, cols : slice
            To index any array of the grid's shape.

        Raises
        ------
        GridError
            Box without a cell centre; a box across 180 degrees must be asked for in two parts.
        """
        lon, lat = self.longitudes, self.latitudes
        rows = np.flatnonzero((lat > south) & (lat < north))
        cols = np.flatnonzero((lon > west) & (lon < east))
        if not (rows.size and cols.size):
            raise GridError(f"no cell of {self!r} has its centre in lon {west}..{east}, lat {south}..{north}")
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)

    def _indices(self, row: ArrayLike, col: ArrayLike) -> tuple[Integers, Integers]:
        row, col = np.broadcast_arrays(row, col)
        for name, values, limit in (("row", row, self.shape[0]), ("column", col, self.shape[1])):
            if values.size and not np.issubdtype(values.dtype, np.integer):
                raise GridError(f"{name} must be an integer, not {values.dtype}")
            outside = (values < 0) | (values >= limit)
            if outside.any():
                raise GridError(f"{name} {values[outside][0]} is not in 0..{limit - 1} of {self!r}")
        return row.astype(np.int64), col.astype(np.int64)


@dataclass(frozen=True)
class AreaWeights:
    """Area-weighted means of a regular longitude-latitude field over EASE-Grid cells; made by `area_weights`.

    Attributes
    ----------
    weights : scipy.sparse.csr_array, (cells, source cells)
        Part of each EASE cell's area that each source cell covers; a row sums to 1 where the cell is wholly
        covered.
    covering : scipy.sparse.csr_array, (cells, source cells)
        1 where a source cell covers a part of the EASE cell.
    n_covering : array, (cells,)
        Number of source cells that cover the EASE cell, with those that the source lacks beyond its edge.
    source_shape, target_shape : tuple of int
        (latitudes, longitudes) of the source, shape of the row and column asked for.
    """

    weights: scipy.sparse.csr_array
    covering: scipy.sparse.csr_array
    n_covering: Integers
    source_shape: tuple[int, int]
    target_shape: tuple[int, ...]

    def __call__(self, values: ArrayLike) -> Floats:
        """Means over the EASE cells.

        Parameters
        ----------
        values : array_like, (..., latitude, longitude)
            Source field; NaN is missing.

        Returns
        -------
        array, (..., *target_shape)
            NaN where more than `MAX_MISSING` of the covering source cells are missing, else the mean over
            those present, weighted by the area of overlap; floating dtype of `values`.

        Raises
        ------
        GridError
            The last two dimensions are not those of the source grid.
        """
        field = np.asarray(values)
        if field.shape[-2:] != self.source_shape:
            raise GridError(f"field {field.shape} does not end in the source's shape {self.source_shape}")
        dtype = field.dtype if np.issubdtype(field.dtype, np.floating) else np.dtype(np.float64)
        n_fields = int(np.prod(field.shape[:-2]))
        flat = field.reshape(n_fields, self.weights.shape[1]).T.astype(np.float64)  # (source cells, fields)
        present = ~np.isnan(flat)
        area = self.weights @ present.astype(np.float64)
        total = self.weights @ np.where(present, flat, 0)
        n_missing = self.n_covering[:, None] - self.covering @ present.astype(np.int64)
        known = (n_missing <= MAX_MISSING * self.n_covering[:, None]) & (area > 0)
        mean = np.divide(total, area, out=np.full(total.shape, np.nan), where=known)
        return mean.T.reshape((*field.shape[:-2], *self.target_shape)).astype(dtype)

    def narrowed(self) -> tuple[AreaWeights, Integers]:
        """Leave out the source cells that cover nothing.

        Returns
        -------
        AreaWeights
            The same means, of a source of shape (1, n).
        source : array, (n,)
            Places of its n cells in the flattened source.
        """
        source = np.unique(np.concatenate([self.covering.indices, self.weights.indices])).astype(np.int64)
        kept = {"weights": self.weights[:, source], "covering": self.covering[:, source]}
        return replace(self, **kept, source_shape=(1, source.size)), source


def area_weights(grid: EaseGrid, row: ArrayLike, col: ArrayLike, lon: ArrayLike, lat: ArrayLike) -> AreaWeights:
    """Build once the weights from a regular longitude-latitude grid to cells of an EASE-Grid.

    Parameters
    ----------
    grid : EaseGrid
        Target.
    row, col : array_like of int
        Target cells, of any shape.
    lon, lat : array_like, (longitudes,), (latitudes,)
        Centres of the source cells in degrees, evenly spaced; longitude ascends, in -180..180 or 0..360,
        latitude ascends or descends.

    Returns
    -------
    AreaWeights
        Overlaps are measured in the equal-area projection, so that they are exact on the ellipsoid. Where a
        cell is not wholly covered, the source grid is thought to go on and its cells there count as missing.

    Raises
    ------
    GridError
        Source coordinates that are not evenly spaced, or leave the sphere, or overlap themselves.
    """
    row, col = np.broadcast_arrays(row, col)
    west, south, east, north = (b.ravel() for b in grid.bounds_degrees(row, col))
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    along_y = latitude_overlaps(south, north, lat)
    along_x = longitude_overlaps(west, east, lon)
    return _combine(along_y, along_x, (lat.size, lon.size), row.shape)


def _combine(
    along_y: Overlaps, along_x: Overlaps, source_shape: tuple[int, int], target_shape: tuple[int, ...]
) -> AreaWeights:
    """All pairs of a cell's latitude and longitude overlaps (a row-wise Kronecker product)."""
    n_cells = along_y.count.size
    pairs = along_y.count * along_x.count
    cell = np.repeat(np.arange(n_cells), pairs)
    within = np.arange(cell.size) - (np.cumsum(pairs) - pairs)[cell]
    iy = along_y.first[cell] + within // along_x.count[cell]
    ix = along_x.first[cell] + within % along_x.count[cell]
    part = along_y.part[iy] * along_x.part[ix]
    # A sliver on either axis covers nothing, whatever the width on the other.
    covers = (along_y.part[iy] > SLIVER) & (along_x.part[ix] > SLIVER)
    known = (along_y.source[iy] >= 0) & (along_x.source[ix] >= 0)
    source = along_y.source[iy] * source_shape[1] + along_x.source[ix]
    shape = (n_cells, source_shape[0] * source_shape[1])

    def matrix(values: NDArray, chosen: NDArray[np.bool_]) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array((values[chosen], (cell[chosen], source[chosen])), shape=shape)

    return AreaWeights(
        weights=matrix(part, known & (part > 0)),
        covering=matrix(np.ones(cell.size, dtype=np.int64), known & covers),
        n_covering=np.bincount(cell[covers], minlength=n_cells),
        source_shape=source_shape,
        target_shape=target_shape,
    )
