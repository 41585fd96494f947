"""The twin's moisture within a pixel: how a place departs from the mean of its pixel, day by day and by depth.

The mean over the cells of 3 km in the pixel stays that of the pixel, and no value leaves the range from dry to
saturated; neither needs clipping.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from smapnb.grid import EaseGrid
from smapnb.sources._twin_sites import FINE, Box
from smapnb.sources._twin_weather import EARTH_RADIUS, Field, _wave_numbers, generator

Array = NDArray[np.floating]

LENGTH_KM = 5.5  # of a Matern covariance of smoothness 1: the correlation falls to 1/e at 9.1 km
SMOOTHNESS = 1.0
EVOLVING_SHARE = {"surface": 0.3, "deep": 0.1}  # of the variance; the rest never changes
STATIC_MODES, EVOLVING_MODES = 240, 48
MEMORY = {"upper": 0.90, "lower": 0.97}  # correlation of the evolving part from one day to the next
DEPTH_SCALE = 50.0  # cm over which the pattern of the surface gives way to that of the deeper soil
SURFACE = 5.0  # cm; above it the pattern is that of this depth
SCALE = 2.0  # standard deviations at which the departure bends towards its bound
NUGGET = 0.3  # bound of what differs within a cell of 3 km, as a part of the room


def room(mean: Array, porosity: Array | float) -> Array:
    """Give the greatest departure from a mean moisture, m3 m-3: (porosity / pi) sin(pi mean / porosity).

    It is nowhere more than the distance to dry or to saturated, and largest half-way between.
    """
    return porosity / np.pi * np.sin(np.pi * mean / porosity)


def depart(mean: Array, departure: Array, porosity: Array | float) -> Array:
    """Moisture of a place, m3 m-3, from the mean of its pixel and a relative departure between -1 and 1."""
    return mean + room(mean, porosity) * departure


def nugget(n_depths: int, seed: int, name: str) -> Array:
    """Relative departure of a place from its 3-km cell, (depth,): constant in time, within -NUGGET..NUGGET."""
    return NUGGET * np.tanh(generator(seed, f"{name} nugget").standard_normal(n_depths) / SCALE)


def local_km(lon: Array, lat: Array, lon_0: float, lat_0: float) -> tuple[Array, Array]:
    """Kilometres east and north of a point, on the plane that touches the sphere there."""
    east = np.deg2rad(lon - lon_0) * np.cos(np.deg2rad(lat_0)) * EARTH_RADIUS
    return east, np.deg2rad(lat - lat_0) * EARTH_RADIUS


class Departure:
    """Relative departure of places and boxes from the mean of one pixel of 36 km.

    Parameters
    ----------
    cell : int
        Number of the pixel in the 36-km grid; the fields depend on the seed and on this number only.
    lon, lat : array, (place,)
        Degrees; a place may lie beyond the pixel.
    boxes : sequence of Box
        Areas of 12 x 12 cells of 3 km around the pixel.
    n_days, seed : int
    """

    def __init__(self, cell: int, lon: Array, lat: Array, boxes: Sequence[Box], n_days: int, seed: int) -> None:
        row, col = (int(index) * FINE for index in divmod(cell, EaseGrid(36).shape[1]))
        rows, cols = _raster([(row, col), *((box.row, box.col) for box in boxes)])
        members = [
            (rows >= box.row) & (rows < box.row + FINE) & (cols >= box.col) & (cols < box.col + FINE) for box in boxes
        ]
        self.members = np.array(members, dtype=np.float32).reshape(len(boxes), rows.size)
        centres = EaseGrid(3).center(rows, cols)
        middle = (float(degrees) for degrees in EaseGrid(36).center(row // FINE, col // FINE))
        x, y = local_km(np.append(centres[0], lon), np.append(centres[1], lat), *middle)
        self.static = {name: _static(x, y, seed, f"within {cell}, {name}") for name in MEMORY}
        self.evolving = {
            name: _evolving(x, y, n_days, memory, seed, f"within {cell}, {name}, evolving")
            for name, memory in MEMORY.items()
        }

    def at(self, depth_cm: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Departures at a depth: of the places, (time, place), and the mean over each box, (time, box).

        With x a Gaussian field of unit variance less its mean over the pixel, and g = tanh(x / SCALE), the departure
        is g - c (1 - g^2), c = mean(g) / mean(1 - g^2): its mean over the pixel is zero, and it stays between -1 and 1
        as long as |c| < 1/2.
        """
        upper = np.exp(-max(depth_cm - SURFACE, 0.0) / DEPTH_SCALE)
        evolving = EVOLVING_SHARE["deep"] + (EVOLVING_SHARE["surface"] - EVOLVING_SHARE["deep"]) * upper
        part = {"upper": upper, "lower": np.sqrt(1 - upper**2)}
        still = np.sum(
            [np.sqrt(1 - evolving) * part[name] / SCALE * field for name, field in self.static.items()], axis=0
        )
        x = np.broadcast_to(np.float32(still), self.evolving["upper"].shape).copy()
        for name, field in self.evolving.items():
            if part[name] > 0:
                x += np.float32(np.sqrt(evolving) * part[name] / SCALE) * field
        g = np.tanh(x, out=x)
        pixel = g[:, : FINE**2]
        shift = pixel.mean(axis=1) / (1 - (pixel**2).mean(axis=1))
        g -= shift[:, None] * (1 - g**2)
        n_raster = self.members.shape[1]
        return g[:, n_raster:], g[:, :n_raster] @ (self.members.T / np.float32(FINE**2))


def _raster(corners: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the 3-km cells of all boxes, each once; those of the first box come first."""
    south, east = np.divmod(np.arange(FINE**2), FINE)
    cells = [(row + s, col + e) for row, col in corners for s, e in zip(south.tolist(), east.tolist(), strict=True)]
    rows, cols = np.array(list(dict.fromkeys(cells))).T
    return rows, cols


def _waves(x: Array, y: Array, modes: int, rng: np.random.Generator) -> Array:
    """Plane waves at the points, (2 modes, point), less the mean of each over the pixel's cells."""
    kx, ky = _wave_numbers(Field(LENGTH_KM, SMOOTHNESS, 0.0, modes=modes), rng)
    phase = np.outer(kx, x) + np.outer(ky, y)
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(modes)
    return waves - waves[:, : FINE**2].mean(axis=1, keepdims=True)


def _static(x: Array, y: Array, seed: int, name: str) -> Array:
    rng = generator(seed, name)
    waves = _waves(x, y, STATIC_MODES, rng)
    return rng.standard_normal(len(waves)) @ waves


def _evolving(x: Array, y: Array, n_days: int, memory: float, seed: int, name: str) -> NDArray[np.float32]:
    """Draw a field whose amplitudes each follow an AR(1) process of unit variance, (time, point)."""
    rng = generator(seed, name)
    waves = _waves(x, y, EVOLVING_MODES, rng).astype(np.float32)
    noise = rng.standard_normal((n_days, len(waves)), dtype=np.float32)
    noise[1:] *= np.float32(np.sqrt(1 - memory**2))
    recursion = np.array([1.0, -memory], dtype=np.float32)
    return lfilter(recursion[:1], recursion, noise, axis=0) @ waves
