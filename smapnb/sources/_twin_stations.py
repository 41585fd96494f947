"""The twin's stations put together: the truth at each place, read by its probes, under the project's names.

It takes the simulated world and the plan of sites as given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import __version__, variables
from smapnb.grid import unproject
from smapnb.sources._twin_probes import Readings, liquid_water, read, warmth
from smapnb.sources._twin_sites import (
    COASTAL_SHARE,
    CRN_DEPTHS,
    Box,
    Place,
    Plan,
    box_bounds,
    site_names,
)
from smapnb.sources._twin_subpixel import Departure, depart, nugget

if TYPE_CHECKING:
    from smapnb.sources.twin import World

Array = NDArray[np.floating]

HALF_SLAB = 2.5  # cm above and below its depth that a probe senses
BOTTOM = 100.0  # cm, where the soil of the truth ends
VARIABLES = ("soil_moisture", "soil_temperature")
GROUPS = {
    "crn": "CRN-like sites",
    "core": "dense sites",
    "reference_pixels": "reference pixels of dense sites",
    "truth": "true means of reference pixels",
}


class Ground:
    """The truth at the places and in the boxes, one pixel at a time."""

    def __init__(self, world: World, plan: Plan, layers_cm: Sequence[tuple[float, float]], seed: int) -> None:
        self.world, self.plan, self.seed = world, plan, seed
        self.layers = layers_cm
        self.places = [place for _, place in plan.core] + list(plan.crn)
        self.core_depths = sorted({depth for _, place in plan.core for depth in place.depths})
        self._slabs: dict[tuple[str, float, float], Array] = {}

    def slab(self, what: str, top: float, bottom: float) -> Array:
        """Mean ``moisture`` or ``temperature`` of the pixels between two depths (cm), (time, pixel)."""
        if (what, top, bottom) not in self._slabs:
            truth = self.world.truth
            mean = truth.layer_mean if what == "moisture" else truth.layer_temperature
            self._slabs[what, top, bottom] = mean(top, bottom)
        return self._slabs[what, top, bottom]

    def sensed(self, what: str, depth: float, position: int) -> Array:
        """Mean of the pixel over what a probe at that depth senses, (time,)."""
        return self.slab(what, max(depth - HALF_SLAB, 0.0), min(depth + HALF_SLAB, BOTTOM))[:, position]

    def by_pixel(self) -> Iterator[tuple[list[tuple[Place, Array]], list[tuple[Box, dict[str, Array]]]]]:
        """Give, pixel by pixel, its places with their true moisture (time, depth), and its boxes with their truth."""
        for position in range(self.world.place.cell.size):
            places = [place for place in self.places if place.position == position]
            boxes = [box for box in self.plan.boxes if box.position == position]
            lon, lat = (np.array([getattr(place, name) for place in places]) for name in ("lon", "lat"))
            cell, days = int(self.world.place.cell[position]), len(self.world.time)
            departure = Departure(cell, lon, lat, boxes, days, self.seed)
            depths = {depth for place in places for depth in place.depths}
            depths |= {self._middle(layer) for layer in self.layers} | set(self.core_depths) if boxes else set()
            found = {depth: departure.at(depth) for depth in sorted(depths)}
            yield (
                [(place, self._at_place(place, i, found)) for i, place in enumerate(places)],
                [(box, self._in_box(box, i, found)) for i, box in enumerate(boxes)],
            )

    @staticmethod
    def _middle(layer: tuple[float, float]) -> float:
        return (layer[0] + layer[1]) / 2

    def _at_place(self, place: Place, number: int, found: dict[float, tuple[Array, Array]]) -> Array:
        porosity = float(self.world.ground.soil.porosity[place.position])
        fine = nugget(len(place.depths), self.seed, place.name)
        columns = []
        for depth, nearby in zip(place.depths, fine, strict=True):
            around = depart(self.sensed("moisture", depth, place.position), found[depth][0][:, number], porosity)
            columns.append(depart(around, nearby, porosity))
        return np.stack(columns, axis=1)

    def _in_box(self, box: Box, number: int, found: dict[float, tuple[Array, Array]]) -> dict[str, Array]:
        porosity = float(self.world.ground.soil.porosity[box.position])
        at_depths = [
            depart(self.sensed("moisture", depth, box.position), found[depth][1][:, number], porosity)
            for depth in self.core_depths
        ]
        by_layer = [
            depart(self.slab("moisture", *layer)[:, box.position], found[self._middle(layer)][1][:, number], porosity)
            for layer in self.layers
        ]
        thickness = np.diff(np.array(self.layers), axis=1)[:, 0]
        return {
            "soil_moisture_truth": np.stack(at_depths, axis=1),
            "ssm_truth": by_layer[0],
            "rzsm_truth": np.average(by_layer, axis=0, weights=thickness),
        }

    def liquid(self, place: Place, moisture: Array) -> tuple[Array, Array]:
        """Liquid water and temperature at a place, both (time, depth)."""
        pixel = [self.sensed("temperature", depth, place.position) for depth in place.depths]
        temperature = np.stack(pixel, axis=1) + warmth(place, self.seed)
        soil = self.world.ground.soil
        porosity, suction, exponent = (
            float(values[place.position]) for values in (soil.porosity, soil.suction, soil.exponent)
        )
        return liquid_water(moisture, temperature, porosity, suction, exponent), temperature


def observe(
    world: World, plan: Plan, days: slice, layers_cm: Sequence[tuple[float, float]], seed: int
) -> dict[str, xr.Dataset]:
    """Let every station of the plan measure the world; returns the datasets of `twin.stations`."""
    ground = Ground(world, plan, layers_cm, seed)
    kept = world.time.slice_indexer(days.start, days.stop)
    dense = _Record([place for _, place in plan.core], ground.core_depths, world.time[kept])
    sparse = _Record(plan.crn, list(CRN_DEPTHS), world.time[kept])
    truth: dict[str, dict[str, NDArray[np.float32]]] = {}
    for places, boxes in ground.by_pixel():
        for place, moisture in places:
            readings = read(place, world.time, *ground.liquid(place, moisture), seed)
            (dense if place.name in dense.number else sparse).put(place, readings, kept)
        truth |= {box.name: {name: v[kept].astype(np.float32) for name, v in found.items()} for box, found in boxes}
    groups = {}
    if plan.crn:
        groups["crn"] = _crn(world, plan, sparse)
    if plan.core:
        groups["core"] = _core(plan, dense)
        groups["reference_pixels"] = _reference_pixels(plan)
        groups["truth"] = _truth(truth, dense, groups["reference_pixels"])
    return {name: _finish(dataset, name, seed) for name, dataset in groups.items()}


class _Record:
    """Readings of several places on one axis of depths, each (time, place, depth, probe); NaN where no probe is."""

    def __init__(self, places: Sequence[Place], depths: list[float], time: pd.DatetimeIndex) -> None:
        self.time, self.depths = time, np.array(depths, dtype=float)
        self.number = {place.name: number for number, place in enumerate(places)}
        shape = (len(time), len(places), len(depths), max((place.probes for place in places), default=0))
        self.values = {name: np.full(shape, np.nan, dtype=np.float32) for name in VARIABLES}

    def put(self, place: Place, readings: Readings, kept: slice) -> None:
        column = np.searchsorted(self.depths, place.depths)
        for name, values in zip(VARIABLES, (readings.moisture, readings.temperature), strict=True):
            self.values[name][:, self.number[place.name], column] = values[kept]


def coastal(water_fraction: Array, positions: Sequence[int]) -> NDArray[np.bool_]:
    """Flag the sites whose pixels hold most water, one in eleven or so: in the twin they stand for the coast.

    Parameters
    ----------
    water_fraction : array, (pixel,)
    positions : sequence of int, (site,)
        Pixel of each site.
    """
    flags = np.zeros(len(positions), dtype=bool)
    order = np.argsort(-water_fraction[list(positions)], kind="stable")
    flags[order[: max(1, round(COASTAL_SHARE * len(positions)))]] = True
    return flags


def _crn(world: World, plan: Plan, record: _Record) -> xr.Dataset:
    water = world.ground.statics["water_fraction"]
    return xr.Dataset(
        {name: (("time", "site", "depth", "probe"), values) for name, values in record.values.items()},
        coords={
            "time": record.time,
            "site": [place.name for place in plan.crn],
            "name": ("site", site_names(plan.crn)),
            "lat": ("site", [place.lat for place in plan.crn]),
            "lon": ("site", [place.lon for place in plan.crn]),
            "coastal": ("site", coastal(water, [place.position for place in plan.crn])),
            "depth": record.depths,
            "probe": [1, 2, 3],
        },
    )


def _core(plan: Plan, record: _Record) -> xr.Dataset:
    return xr.Dataset(
        {name: (("time", "station", "depth"), values[..., 0]) for name, values in record.values.items()},
        coords={
            "time": record.time,
            "station": [place.name for _, place in plan.core],
            "site": ("station", [site.site for site, _ in plan.core]),
            "site_name": ("station", [site.name for site, _ in plan.core]),
            "lat": ("station", [place.lat for _, place in plan.core]),
            "lon": ("station", [place.lon for _, place in plan.core]),
            "depth": record.depths,
        },
    )


def _reference_pixels(plan: Plan) -> xr.Dataset:
    x_min, y_min, x_max, y_max = np.array([box_bounds(box.row, box.col) for box in plan.boxes]).T
    lon, lat = unproject((x_min + x_max) / 2, (y_min + y_max) / 2)
    edges = {"x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max}
    columns = {"site": [box.site.site for box in plan.boxes], "site_name": [box.site.name for box in plan.boxes]}
    dim = "reference_pixel"
    coords = {name: (dim, values) for name, values in (columns | {"lat": lat, "lon": lon} | edges).items()}
    dataset = xr.Dataset(coords={dim: [box.name for box in plan.boxes]} | coords)
    for name in edges:
        dataset[name].attrs.update(units="m", long_name=f"edge of the box in EPSG:6933, {name}")
    return dataset


def _truth(truth: dict[str, dict[str, NDArray[np.float32]]], record: _Record, boxes: xr.Dataset) -> xr.Dataset:
    def stacked(name: str) -> NDArray[np.float32]:
        return np.stack([truth[box][name] for box in boxes["reference_pixel"].to_numpy()], axis=1)

    dims = ("time", "reference_pixel")
    return xr.Dataset(
        {
            "soil_moisture_truth": ((*dims, "depth"), stacked("soil_moisture_truth")),
            "ssm_truth": (dims, stacked("ssm_truth")),
            "rzsm_truth": (dims, stacked("rzsm_truth")),
        },
        coords={**boxes[["site", "site_name", "lat", "lon"]].coords, "time": record.time, "depth": record.depths},
    )


def _finish(dataset: xr.Dataset, group: str, seed: int) -> xr.Dataset:
    """Describe a dataset, say that it is synthetic, and hold it to the table of variables."""
    dataset = variables.describe(dataset)
    for name in dataset.data_vars:
        if "synthetic" not in dataset[name].attrs["long_name"]:
            dataset[name].attrs["long_name"] += " (synthetic)"
    dataset["lat"].attrs["units"], dataset["lon"].attrs["units"] = "degrees_north", "degrees_east"
    if "depth" in dataset.coords:
        dataset["depth"].attrs.update(units="cm", long_name="depth below the surface", positive="down")
    dataset.attrs.update(
        source=f"smapnb simulation experiment, {GROUPS[group]}, seed {seed} (synthetic)",
        synthetic="true",
        provenance="synthetic",
        day="UTC day",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        smapnb_version=__version__,
    )
    variables.check(dataset, f"twin, {group}")
    return dataset
