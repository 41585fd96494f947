"""The simulation experiment: a synthetic CONUS with a known truth and flawed observers of it, in our names and units.

Everything it returns is synthetic; it holds no stations, which are later drawn from the truth by layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd
import shapely
import xarray as xr

from smapnb import __version__, variables
from smapnb.grid import EaseGrid
from smapnb.sources import _twin_observers as observers
from smapnb.sources._twin_land import Land, green_cover, land
from smapnb.sources._twin_soil import Balance, reference_evaporation, root_shares, water_balance
from smapnb.sources._twin_weather import Climate, climate, latent_fields, weather

# The weather always begins here, so that a day's values do not depend on the period asked for; the first two
# years fill the soil and are never given out.
EPOCH = pd.Timestamp("1998-01-01")
FIRST_DAY = pd.Timestamp("2000-01-01")
ROWS, COLUMNS = range(47, 117), range(147, 305)  # CONUS window of the 36-km grid
THICKNESS = np.array([20.0, 30.0, 50.0, 100.0, 300.0, 500.0])  # mm, layers of the truth
SKIN = np.array([0.65, 0.35, 0.0, 0.0, 0.0, 0.0])  # share of the bare-soil evaporation asked of each
LAYERS_CM = ((0, 5), (5, 10), (10, 20), (20, 50), (50, 100))  # as given out


class TwinError(ValueError):
    """The simulation cannot give what was asked for."""


@cache
def pixels_of_conus() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, longitude and latitude of the pixels: every fourth row and column, centre inside a state."""
    text = resources.files("smapnb").joinpath("data/us_states_conus.geojson").read_text(encoding="utf-8")
    states = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in json.loads(text)["features"]])
    row, col = np.meshgrid([r for r in ROWS if r % 4 == 3], [c for c in COLUMNS if c % 4 == 3], indexing="ij")
    row, col = row.ravel(), col.ravel()
    lon, lat = EaseGrid(36).center(row, col)
    inside = shapely.contains_xy(states, lon, lat)
    return row[inside], col[inside], lon[inside], lat[inside]


def climate_of(pixels: int | None = None, seed: int = 2019) -> Climate:
    """Climate of the pixels that `simulate` gives, with the true trends of precipitation and temperature.

    ``precipitation_trend`` is relative and ``temperature_trend`` in K, both per decade and constant in time.
    """
    row, col, lon, lat = pixels_of_conus()
    chosen = _choose(pixels, lon.size)
    cell = row * EaseGrid(36).shape[1] + col
    return climate(cell[chosen], lon[chosen], lat[chosen], seed)


@dataclass(frozen=True)
class World:
    """A simulated truth and the observed forcing, from EPOCH on; arrays are (time, pixel)."""

    time: pd.DatetimeIndex
    place: Climate
    ground: Land
    true_weather: dict[str, np.ndarray]
    observed_weather: dict[str, np.ndarray]
    cover: np.ndarray
    truth: Balance


def _choose(pixels: int | None, n_all: int) -> np.ndarray:
    if pixels is None:
        return np.arange(n_all)
    if not 1 <= pixels <= n_all:
        raise TwinError(f"twin: {pixels} pixels asked for, there are 1 to {n_all}")
    return np.linspace(0, n_all - 1, pixels).round().astype(int) if pixels > 1 else np.array([n_all // 2])


def simulate_world(end: date | str, pixels: int | None = None, seed: int = 2019) -> World:
    """Simulate weather and truth from EPOCH to `end`; the inner part of `simulate`, with fluxes and all states."""
    time = pd.date_range(EPOCH, pd.Timestamp(end))
    place = climate_of(pixels, seed)
    ground = land(place, seed)
    latents = latent_fields(place.lon, place.lat, len(time), seed)
    true_weather, observed_weather = (weather(place, time, latent) for latent in latents)
    cover = green_cover(ground.cover, true_weather["air_temperature"])
    truth = water_balance(
        true_weather,
        reference_evaporation(true_weather, place.elevation),
        cover,
        ground.soil,
        THICKNESS,
        deep_temperature=place.temperature,
        roots=root_shares(THICKNESS, ground.root_extinction),
        skin=SKIN,
    )
    return World(time, place, ground, true_weather, observed_weather, cover, truth)


def simulate(start: date | str, end: date | str, pixels: int | None = None, seed: int = 2019) -> xr.Dataset:
    """Run the simulation experiment.

    Parameters
    ----------
    start, end : date or str
        First and last day, both inclusive, not before 2000-01-01.
    pixels : int, optional
        So many pixels, evenly taken from all; none: all (about 400).
    seed : int
        Seed of every random process. Each process has a stream of its own, made from the seed and its name; a pixel
        and a day have the same values whatever the number of pixels and the period asked for (to rounding).

    Returns
    -------
    xarray.Dataset
        (time, pixel[, depth]) in the names and units of smapnb.variables: forcing as observed (with errors), statics,
        the SMAP targets, the two land models, and the truth: ssm_truth (0-5 cm), rzsm_truth (0-100 cm),
        soil_moisture_truth and soil_temperature by layer (`depth`: middle of the layer, cm), snow_water_equivalent.
        ``attrs["synthetic"]`` is ``"true"``.

    Raises
    ------
    TwinError
        The period is empty or begins too early, or there are not so many pixels.
    """
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    if last < first:
        raise TwinError(f"twin: period ends on {last:%Y-%m-%d}, before it starts on {first:%Y-%m-%d}")
    if first < FIRST_DAY:
        raise TwinError(
            f"twin: period starts on {first:%Y-%m-%d}; the simulation starts on {FIRST_DAY:%Y-%m-%d}"
        )
    world = simulate_world(last, pixels, seed)
    dataset = _as_dataset(world, _products(world, seed), seed)
    dataset = variables.describe(dataset.sel(time=slice(first, last)))
    variables.check(dataset, "twin")
    return dataset


def _products(world: World, seed: int) -> dict[str, np.ndarray]:
    """Let every observer look at the world; returns name -> (time, pixel)."""
    place, ground, observed = world.place, world.ground, world.observed_weather
    demand = reference_evaporation(observed, place.elevation)
    cover = green_cover(ground.cover, observed["air_temperature"])
    products = {}
    for model in (observers.NOAH, observers.VIC):
        run = observers.land_model(model, place, ground, observed, demand, cover, seed)
        products[f"ssm_{model.name}"] = run.layer_mean(0, 10)
        products[f"rzsm_{model.name}"] = run.layer_mean(0, 100)
    catchment = observers.land_model(observers.CATCHMENT, place, ground, observed, demand, cover, seed)
    products["rzsm_truth"] = world.truth.layer_mean(0, 100)
    products["ssm_truth"] = world.truth.layer_mean(0, 5)
    products["rzsm_smap"] = observers.smap_root_zone(
        place, catchment.layer_mean(0, 100), products["rzsm_truth"], world.time, seed
    )
    retrieval = observers.smap_surface(place, ground, world.truth, world.cover, world.time, seed)
    return products | {"ssm_smap": retrieval.observed, "snow_water_equivalent": world.truth.snow.T}


def _as_dataset(world: World, products: dict[str, np.ndarray], seed: int) -> xr.Dataset:
    """Put the world and the products on it under our names."""
    place = world.place
    data = {
        name: (variables.CUBE, values.astype(np.float32)) for name, values in world.observed_weather.items()
    }
    data |= {name: (variables.STATIC, v.astype(np.float32)) for name, v in world.ground.statics.items()}
    data |= {name: (variables.CUBE, values.astype(np.float32)) for name, values in products.items()}
    by_layer = {
        "soil_moisture_truth": world.truth.layer_mean,
        "soil_temperature": world.truth.layer_temperature,
    }
    for name, slab in by_layer.items():
        layers = [slab(top, bottom).astype(np.float32) for top, bottom in LAYERS_CM]
        data[name] = (variables.PROFILE, np.stack(layers, axis=-1))
    columns = EaseGrid(36).shape[1]
    dataset = xr.Dataset(
        data,
        coords={
            "time": world.time,
            "pixel": np.arange(place.cell.size),
            "row": ("pixel", place.cell // columns),
            "col": ("pixel", place.cell % columns),
            "lat": ("pixel", place.lat),
            "lon": ("pixel", place.lon),
            "depth": [(top + bottom) / 2 for top, bottom in LAYERS_CM],
        },
        attrs={
            "source": f"smapnb simulation experiment, seed {seed} (synthetic)",
            "synthetic": "true",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "smapnb_version": __version__,
        },
    )
    dataset["depth"].attrs.update(
        units="cm", long_name="depth of the middle of the soil layer", positive="down"
    )
    return dataset
