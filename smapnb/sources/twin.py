"""The simulation experiment: a synthetic CONUS with a known truth and flawed observers of it.

Everything it returns is synthetic. `simulate` gives the pixels, `stations` what stands on the ground in them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray

from smapnb import __version__, variables
from smapnb.grid import EaseGrid
from smapnb.sources import _twin_observers as observers
from smapnb.sources import _twin_sites as sites
from smapnb.sources import _twin_stations as ground_network
from smapnb.sources._twin_land import Land, green_cover, land
from smapnb.sources._twin_realism import realism
from smapnb.sources._twin_soil import Balance, reference_evaporation, root_shares, water_balance
from smapnb.sources._twin_states import states
from smapnb.sources._twin_weather import Climate, TwinError, climate, latent_fields, weather

__all__ = ["TwinError", "World", "climate_of", "pixels_of_conus", "realism", "simulate", "simulate_world", "stations"]

log = logging.getLogger(__name__)

# The weather always begins here, so that a day's values do not depend on the period asked for; the first two
# years fill the soil and are never given out.
EPOCH = pd.Timestamp("1998-01-01")
FIRST_DAY = pd.Timestamp("2000-01-01")
ROWS, COLUMNS = range(47, 117), range(147, 305)  # CONUS window of the 36-km grid
THICKNESS = np.array([20.0, 30.0, 50.0, 100.0, 300.0, 500.0])  # mm, layers of the truth
SKIN = np.array([0.65, 0.35, 0.0, 0.0, 0.0, 0.0])  # share of the bare-soil evaporation asked of each
LAYERS_CM = ((0, 5), (5, 10), (10, 20), (20, 50), (50, 100))  # as given out


@cache
def pixels_of_conus() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, longitude, latitude of the pixels: every fourth row and column, centre inside a state."""
    land_mass = shapely.union_all(list(states().values()))
    rows, cols = ([i for i in window if i % 4 == 3] for window in (ROWS, COLUMNS))
    row, col = (axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij"))
    lon, lat = EaseGrid(36).center(row, col)
    inside = shapely.contains_xy(land_mass, lon, lat)
    return row[inside], col[inside], lon[inside], lat[inside]


def climate_of(pixels: int | None = None, seed: int = 2019, positions: NDArray[np.integer] | None = None) -> Climate:
    """Climate of the pixels that `simulate` gives, with the true trends of precipitation and temperature.

    ``precipitation_trend`` is relative and ``temperature_trend`` in K, both per decade and constant in time.
    ``positions`` picks some of these pixels, by their number along the dimension ``pixel`` of `simulate`.
    """
    row, col, lon, lat = pixels_of_conus()
    chosen = _choose(pixels, lon.size)
    if positions is not None:
        chosen = chosen[positions]
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
    if pixels < 1:
        raise TwinError(f"twin: {pixels} pixels asked for; there must be one")
    if pixels > n_all:
        log.info("twin: %d pixels asked for, there are %d: all are given", pixels, n_all)
        return np.arange(n_all)
    return np.linspace(0, n_all - 1, pixels).round().astype(int) if pixels > 1 else np.array([n_all // 2])


def simulate_world(
    end: date | str,
    pixels: int | None = None,
    seed: int = 2019,
    positions: NDArray[np.integer] | None = None,
) -> World:
    """Simulate weather and truth from EPOCH to `end`: the inner part of `simulate`, with all fluxes.

    ``positions`` picks some of the pixels, as in `climate_of`.
    """
    time = pd.date_range(EPOCH, pd.Timestamp(end))
    place = climate_of(pixels, seed, positions)
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
        At most so many pixels, evenly taken from all; none: all (about 380).
    seed : int
        Seed of every random process. Each process has a stream of its own, made from the seed and its name;
        to rounding, a pixel and a day have the same values whatever the number of pixels and the period.

    Returns
    -------
    xarray.Dataset
        (time, pixel[, depth]) in the names and units of smapnb.variables: forcing as observed (with errors),
        statics, the SMAP targets, the two land models, and the truth: ssm_truth (0-5 cm), rzsm_truth
        (0-100 cm), soil_moisture_truth and soil_temperature by layer (`depth`: middle of the layer, cm),
        snow_water_equivalent.
        ``attrs["synthetic"]`` is ``"true"``.

    Raises
    ------
    TwinError
        The period is empty or begins too early, or less than one pixel is asked for.
    """
    first, last = _period(start, end)
    world = simulate_world(last, pixels, seed)
    dataset = _as_dataset(world, _products(world, seed), seed)
    dataset = variables.describe(dataset.sel(time=slice(first, last)))
    for model in ("Noah", "VIC"):  # here they are not those models, only like them
        for name in (f"ssm_{model.lower()}", f"rzsm_{model.lower()}"):
            attrs = dataset[name].attrs
            attrs["long_name"] = attrs["long_name"].replace(model, f"{model}-like model's")
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
    data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
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
            "grid": "EASE-Grid 2.0 global, 36 km",
            "grid_crs": "EPSG:6933",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "smapnb_version": __version__,
        },
    )
    dataset["depth"].attrs.update(units="cm", long_name="depth of the middle of the soil layer", positive="down")
    return dataset


def _period(start: date | str, end: date | str) -> tuple[pd.Timestamp, pd.Timestamp]:
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    if last < first:
        raise TwinError(f"twin: period ends on {last:%Y-%m-%d}, before it starts on {first:%Y-%m-%d}")
    if first < FIRST_DAY:
        raise TwinError(f"twin: period starts on {first:%Y-%m-%d}; the simulation starts on {FIRST_DAY:%Y-%m-%d}")
    return first, last


def stations(
    start: date | str,
    end: date | str,
    pixels: int | None = None,
    seed: int = 2019,
    core_sites: int = 9,
    crn_sites: int = 110,
) -> dict[str, xr.Dataset]:
    """Put stations on the ground of the simulated world and let them measure.

    Parameters
    ----------
    start, end, pixels, seed
        As in `simulate`. The stations see the truth of the pixels that `simulate` gives for the same ``pixels`` and
        ``seed``, at a place and with an error of their own; to rounding, a day has the same values whatever the period.
    core_sites : int
        Dense sites, 0 to 9, each within the pixel nearest to the real site of that name; the first three hold two
        that measure the root zone.
    crn_sites : int
        Sites of the sparse network, 0 to 999.

    Returns
    -------
    dict of xarray.Dataset
        ``crn``: soil_moisture (m3 m-3) and soil_temperature (K) on (time, site, depth, probe), coordinates name, lat,
        lon, coastal. ``core``: the same on (time, station, depth), coordinates site, site_name, lat, lon; NaN where a
        station has no probe. ``reference_pixels``: the boxes of 36 km over the dense sites, all as coordinates of
        ``reference_pixel``: site, site_name, lat, lon, x_min, x_max, y_min, y_max (EPSG:6933, m). ``truth``: on
        (time, reference_pixel[, depth]) the mean over each box: soil_moisture_truth at the depths of the probes,
        ssm_truth (0-5 cm), rzsm_truth (0-100 cm). Depths in cm. A group without a site is left out.
        ``attrs["synthetic"]`` is ``"true"``.

    Raises
    ------
    TwinError
        The period is empty or begins too early, less than one pixel is asked for, no site, or more than there are.
    """
    first, last = _period(start, end)
    _, _, lon, lat = pixels_of_conus()
    chosen = _choose(pixels, lon.size)
    plan = sites.plan(lon[chosen], lat[chosen], core_sites, crn_sites, seed)
    world = simulate_world(last, pixels, seed, plan.positions)
    return ground_network.observe(world, plan, slice(first, last), LAYERS_CM, seed)
