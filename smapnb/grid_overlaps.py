"""Overlaps of intervals with the cells of a regular axis, in longitude or latitude: one factor of an area weight.

The intervals are the sides of EASE-Grid cells, whatever their size; a source that is not regular is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smapnb.grid_projection import Floats, project

Integers = NDArray[np.int64]

# An overlap below this part of a cell is rounding of a shared edge, not a covering cell.
SLIVER = 1e-6


class GridError(ValueError):
    """A point, a cell or a source grid does not fit the EASE-Grid."""


@dataclass(frozen=True)
class Overlaps:
    """Overlaps of cells with source intervals on one axis, cell by cell; source -1 is beyond the source."""

    source: Integers
    part: Floats
    first: Integers
    count: Integers


def _regular(name: str, centres: Floats) -> tuple[float, float]:
    """Lower edge of the first source cell and the step, in degrees."""
    if centres.ndim != 1 or centres.size < 2 or not np.isfinite(centres).all():
        raise GridError(f"{name} of the source grid must be at least two finite numbers in one dimension")
    step = (centres[-1] - centres[0]) / (centres.size - 1)
    # Coordinates are often stored as float32, whose rounding at 360 degrees is 3e-5.
    off = np.abs(centres - (centres[0] + step * np.arange(centres.size)))
    if step == 0 or off.max() > 0.01 * abs(step):
        raise GridError(f"{name} of the source grid is not evenly spaced near {centres[int(off.argmax())]}")
    return float(centres[0] - step / 2), float(step)


def _overlaps(low: Floats, high: Floats, start: float, step: float, measure: Callable[[Floats], Floats]) -> Overlaps:
    """Intervals ``start + i * step`` that touch [low, high], and the part of its measure that each covers."""
    begin = np.floor((low - start) / step).astype(np.int64)
    count = np.maximum(np.ceil((high - start) / step).astype(np.int64) - begin, 1)
    first = np.cumsum(count) - count
    cell = np.repeat(np.arange(low.size), count)
    source = np.arange(cell.size) - first[cell] + begin[cell]
    bottom, top = measure(low), measure(high)
    lower, upper = measure(start + step * source), measure(start + step * (source + 1))
    overlap = np.minimum(upper, top[cell]) - np.maximum(lower, bottom[cell])
    return Overlaps(source, np.maximum(overlap, 0) / (top - bottom)[cell], first, count)


def latitude_overlaps(south: Floats, north: Floats, lat: Floats) -> Overlaps:
    """Parts of each cell's area by latitude, exact on the ellipsoid; `lat` ascends or descends, degrees."""
    start, step = _regular("latitude", lat)
    if np.abs(lat).max() > 90 + SLIVER:
        raise GridError(f"latitude of the source grid reaches {lat[np.abs(lat).argmax()]}")
    n, descends = lat.size, step < 0
    if descends:
        start, step = start + n * step, -step
    touched = _overlaps(south, north, start, step, lambda edge: project(0, np.clip(edge, -90, 90))[1])
    return _named(touched, n - 1 - touched.source if descends else touched.source, n)


def longitude_overlaps(west: Floats, east: Floats, lon: Floats) -> Overlaps:
    """Parts of each cell's width; `lon` ascends in -180..180 or 0..360 degrees and may go round the globe."""
    start, step = _regular("longitude", lon)
    n = lon.size
    if step < 0:
        raise GridError("longitude of the source grid must ascend; roll a grid that breaks inside first")
    if lon[0] < -180 - step or lon[-1] > 360 + step or n * step > 360 + 0.01 * step:
        raise GridError(f"longitude of the source, {lon[0]}..{lon[-1]}, leaves -180..360 or overlaps itself")
    # Cells are moved by whole turns to lie around the middle of the source.
    turn = 360 * np.round((start + n * step / 2 - (west + east) / 2) / 360)
    touched = _overlaps(west + turn, east + turn, start, step, lambda edge: edge)
    cyclic = abs(n * step - 360) <= 0.01 * step
    return _named(touched, touched.source % n if cyclic else touched.source, n)


def _named(touched: Overlaps, source: Integers, n: int) -> Overlaps:
    return replace(touched, source=np.where((source >= 0) & (source < n), source, -1))
