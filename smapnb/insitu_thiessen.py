"""Thiessen polygons of stations, clipped to a pixel, and the part of the pixel that each station stands for.

Distances are those of the plane that the coordinates are given in; `true_scale` brings EPSG:6933, which is equal-area
but stretches shapes, to a plane where distances around a pixel are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import Voronoi
from shapely.geometry.base import BaseGeometry

from smapnb.grid import FLATTENING, SEMI_MAJOR, project

Floats = NDArray[np.float64]
Cell: TypeAlias = "BaseGeometry | Sequence[float]"

# Stations nearer to each other than this part of the cell's size are one place (4 cm in a pixel of 36 km).
SAME_PLACE = 1e-6
# Polygons must fill the cell to this part of its area.
AREA_ROUNDING = 1e-6
GUARDS = 8


class ThiessenError(ValueError):
    """Stations or a cell from which no polygons can be made."""


def true_scale(latitude: float) -> float:
    """Tell by how much EPSG:6933 stretches eastward distances at a latitude, and shrinks northward ones.

    ``(x / k, y * k)`` is the plane in which distances near that latitude are true; areas are the same in both. Within a
    pixel of 36 km at 50 degrees north the stretch differs by 0.5 % between the middle and an edge. At 45 degrees north
    k is 1.22: without it a neighbour to the east would look 1.5 times as far as one to the north.

    Parameters
    ----------
    latitude : float
        Degrees north.

    Returns
    -------
    float
        Length in the projection of one metre eastward (Snyder 1987, eq. 10-14); 1 at 30 degrees.
    """
    phi = np.radians(latitude)
    e2 = FLATTENING * (2 - FLATTENING)
    parallel = SEMI_MAJOR * np.cos(phi) / np.sqrt(1 - e2 * np.sin(phi) ** 2)  # metres a radian of longitude
    return float(project(np.degrees(1), 0)[0] / parallel)


def thiessen_polygons(x: ArrayLike, y: ArrayLike, cell: Cell, *, only_inside: bool = False) -> NDArray[np.object_]:
    """Cut a cell into the parts that are nearest to each station.

    Parameters
    ----------
    x, y : array_like, (stations,)
        Coordinates in a plane with true distances, metres.
    cell : shapely polygon, or (x_min, y_min, x_max, y_max)
        In the same plane.
    only_inside : bool
        Whether a station outside the cell owns nothing. By default it owns what of the cell is nearest to it.

    Returns
    -------
    numpy.ndarray of shapely geometries, (stations,)
        Stations at one place have the same polygon; a station that owns nothing has an empty one.

    Raises
    ------
    ThiessenError
        No station (or none inside, where that is asked for), coordinates that are not finite, a cell without area.
    """
    return _polygons(x, y, cell, only_inside)[0]


def thiessen_weights(x: ArrayLike, y: ArrayLike, cell: Cell, *, only_inside: bool = False) -> Floats:
    """Give each station the part of the cell's area that is nearest to it (Thiessen 1911, Mon. Weather Rev. 39).

    Parameters are those of `thiessen_polygons`. Stations at one place share their polygon's weight equally.

    Returns
    -------
    numpy.ndarray, (stations,)
        At least 0 and of sum 1.
    """
    polygons, sharing, area = _polygons(x, y, cell, only_inside)
    weights = np.where(sharing > 0, shapely.area(polygons) / np.maximum(sharing, 1), 0.0) / area
    return weights / weights.sum()


def _polygons(x: ArrayLike, y: ArrayLike, cell: Cell, only_inside: bool) -> tuple[NDArray[np.object_], Floats, float]:
    """Polygons, how many stations share each (0: it owns nothing by rule), and the area of the cell."""
    shape = _shape(cell)
    points = _points(x, y)
    taken = shapely.covers(shape, shapely.points(points)) if only_inside else np.ones(len(points), dtype=bool)
    if not taken.any():
        raise ThiessenError(f"none of {len(points)} stations stands inside the cell {shape.bounds}")
    # Counted in cells from the middle of the cell: in metres of the projection the rounding would be felt.
    x_min, y_min, x_max, y_max = shape.bounds
    size, middle = max(x_max - x_min, y_max - y_min), np.array([(x_min + x_max) / 2, (y_min + y_max) / 2])
    near = (points[taken] - middle) / size
    _, place, count = np.unique(np.round(near / SAME_PLACE), axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    # The mean of the stations of a place, so that their order does not matter.
    places = np.column_stack([np.bincount(place, column) / count for column in near.T])
    diagram = shapely.transform(_voronoi(places), lambda xy: xy * size + middle)
    owned = shapely.intersection(diagram, shape)
    if abs(shapely.area(owned).sum() / shape.area - 1) > AREA_ROUNDING:
        part = shapely.area(owned).sum() / shape.area
        raise ThiessenError(f"polygons of {len(points)} stations fill {part:.6f} of the cell {shape.bounds}")
    polygons = np.full(len(points), shapely.Polygon(), dtype=object)
    polygons[taken] = owned[place]
    sharing = np.zeros(len(points))
    sharing[taken] = count[place]
    return polygons, sharing, float(shape.area)


def _voronoi(places: Floats) -> NDArray[np.object_]:
    """Voronoi cells of distinct places, in their order, that hold at least the unit square around the origin.

    Guards stand around everything, so far off that no point of the square is nearer to them than to a place. With them
    one place, two, and a row of them are no special cases, and every cell that matters is closed.
    """
    reach = 1 + np.abs(places).max()
    angle = 2 * np.pi * (np.arange(GUARDS) + 0.3) / GUARDS
    guards = 8 * reach * np.column_stack([np.cos(angle), np.sin(angle)])
    diagram = Voronoi(np.concatenate([places, guards]))
    corners = [diagram.vertices[diagram.regions[diagram.point_region[i]]] for i in range(len(places))]
    # The diagram of GEOS is wrong or invalid where several stations lie on one circle, as on a mesh.
    return shapely.convex_hull([shapely.multipoints(c) for c in corners])


def _points(x: ArrayLike, y: ArrayLike) -> Floats:
    columns = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y)]
    if columns[0].shape != columns[1].shape or columns[0].ndim != 1:
        raise ThiessenError(f"x {columns[0].shape} and y {columns[1].shape} must be as many, in one dimension")
    points = np.column_stack(columns)
    if not len(points):
        raise ThiessenError("no station")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise ThiessenError(f"station {int(np.flatnonzero(~finite)[0])} has no finite coordinates")
    return points


def _shape(cell: Cell) -> BaseGeometry:
    shape = cell if isinstance(cell, BaseGeometry) else shapely.box(*np.asarray(cell, dtype=np.float64))
    if not shape.is_valid or not np.isfinite(shape.area) or shape.area <= 0:
        raise ThiessenError(f"cell {shape.bounds} is no valid polygon with an area")
    if not isinstance(cell, BaseGeometry) and (cell[0] >= cell[2] or cell[1] >= cell[3]):
        raise ThiessenError(f"cell {tuple(cell)} must be (x_min, y_min, x_max, y_max)")
    return shape
