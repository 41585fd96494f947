"""The simulation experiment: a synthetic CONUS with a known truth and flawed observers of it.

Everything it returns is synthetic; it holds no stations, which are later drawn from the truth by layer.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray

from smapnb import __version__, variables
from smapnb.grid import EaseGrid
from smapnb.sources import _twin_observers as observers
from smapnb.sources._twin_land import Land, green_cover, land
from smapnb.sources._twin_soil import Balance, reference_evaporation, root_shares, water_balance
from smapnb.sources._twin_weather import Climate, climate, latent_fields, weather

log = logging.getLogger(__name__)

Array = NDArray[np.floating]

# The weather always begins here, so that a day's values do not depend on the period asked for; the first two
# years fill the soil and are never given out.
EPOCH = pd.Timestamp("1998-01-01")
FIRST_DAY = pd.Timestamp("2000-01-01")
ROWS, COLUMNS = range(47, 117), range(147, 305)  # CONUS window of the 36-km grid
THICKNESS = np.array([20.0, 30.0, 50.0, 100.0, 300.0, 500.0])  # mm, layers of the truth
SKIN = np.array([0.65, 0.35, 0.0, 0.0, 0.0, 0.0])  # share of the bare-soil evaporation asked of each
LAGS = range(1, 61)  # days
BINS = np.linspace(0, 0.5, 26)  # m3 m-3
LEAST_PAIRS = 30  # observed pairs a pixel must have to count in an autocorrelation
WET_DAY = 1.0  # mm, the threshold of a wet day in climate statistics
LAYERS_CM = ((0, 5), (5, 10), (10, 20), (20, 50), (50, 100))  # as given out


class TwinError(ValueError):
    """The simulation cannot give what was asked for."""


@cache
def pixels_of_conus() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, longitude, latitude of the pixels: every fourth row and column, centre inside a state."""
    text = resources.files("smapnb").joinpath("data/us_states_conus.geojson").read_text(encoding="utf-8")
    states = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in json.loads(text)["features"]])
    rows, cols = ([i for i in window if i % 4 == 3] for window in (ROWS, COLUMNS))
    row, col = (axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij"))
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
    if pixels < 1:
        raise TwinError(f"twin: {pixels} pixels asked for; there must be one")
    if pixels > n_all:
        log.info("twin: %d pixels asked for, there are %d: all are given", pixels, n_all)
        return np.arange(n_all)
    return np.linspace(0, n_all - 1, pixels).round().astype(int) if pixels > 1 else np.array([n_all // 2])


def simulate_world(end: date | str, pixels: int | None = None, seed: int = 2019) -> World:
    """Simulate weather and truth from EPOCH to `end`: the inner part of `simulate`, with all fluxes."""
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
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    if last < first:
        raise TwinError(f"twin: period ends on {last:%Y-%m-%d}, before it starts on {first:%Y-%m-%d}")
    if first < FIRST_DAY:
        raise TwinError(f"twin: period starts on {first:%Y-%m-%d}; the simulation starts on {FIRST_DAY:%Y-%m-%d}")
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


def realism(dataset: xr.Dataset) -> xr.Dataset:
    """Summarise SMAP surface moisture and precipitation, of the twin or of real data, to compare them.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``ssm_smap`` and ``precipitation`` on (time, pixel), daily. Cut it to the period to be compared.

    Returns
    -------
    xarray.Dataset
        By ``month``: ssm_seasonal_cycle, precipitation_seasonal_cycle. By ``moisture`` (middle of a bin):
        ssm_histogram, a density. By ``lag`` (days): ssm_autocorrelation, the median over the pixels of the
        correlation of observed pairs. Scalars: ssm_mean, ssm_std, ssm_temporal_std (median over pixels),
        fraction_observed (pixel-years without any observation are left out: they were held back or are not
        yet flown), precipitation_mean, wet_day_fraction, wet_day_p95, wet_day_persistence (lag-1
        autocorrelation of wet and dry).

    Raises
    ------
    TwinError
        Nothing of ``ssm_smap`` is observed.
    """
    ssm = dataset["ssm_smap"].transpose("time", "pixel").to_numpy().astype(float)
    rain = dataset["precipitation"].transpose("time", "pixel").to_numpy().astype(float)
    if not np.isfinite(ssm).any():
        raise TwinError(f"realism: ssm_smap of {dataset.attrs.get('source', 'the dataset')} has no observation")
    time = pd.DatetimeIndex(dataset.indexes["time"])
    wet = (rain > WET_DAY).astype(float)
    persistence = [_correlation(column[:-1], column[1:]) for column in wet.T]
    spread = [np.nanstd(column) for column in ssm.T if np.isfinite(column).any()]
    histogram = np.histogram(ssm[np.isfinite(ssm)], BINS, density=True)[0]
    statistics = {
        "ssm_seasonal_cycle": ("month", _by_month(ssm, time), "m3 m-3"),
        "precipitation_seasonal_cycle": ("month", _by_month(rain, time), "mm d-1"),
        "ssm_histogram": ("moisture", histogram, "1"),
        "ssm_autocorrelation": ("lag", [_lagged(ssm, lag) for lag in LAGS], "1"),
        "ssm_mean": ((), np.nanmean(ssm), "m3 m-3"),
        "ssm_std": ((), np.nanstd(ssm), "m3 m-3"),
        "ssm_temporal_std": ((), np.median(spread), "m3 m-3"),
        "fraction_observed": ((), _fraction_observed(np.isfinite(ssm), time), "1"),
        "precipitation_mean": ((), rain.mean(), "mm d-1"),
        "wet_day_fraction": ((), wet.mean(), "1"),
        "wet_day_p95": ((), np.percentile(rain[rain > WET_DAY], 95), "mm d-1"),
        "wet_day_persistence": ((), np.nanmean(persistence), "1"),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": units}) for name, (dims, values, units) in statistics.items()},
        coords={"month": range(1, 13), "moisture": 0.5 * (BINS[1:] + BINS[:-1]), "lag": list(LAGS)},
        attrs={key: dataset.attrs[key] for key in ("source", "synthetic") if key in dataset.attrs},
    )


def _by_month(values: Array, time: pd.DatetimeIndex) -> list[float]:
    """Mean over the present values of each calendar month; NaN where there are none."""
    picked = (values[np.asarray(time.month == month)] for month in range(1, 13))
    return [float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else np.nan for v in picked]


def _correlation(a: Array, b: Array) -> float:
    """Pearson correlation; NaN where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else np.nan


def _lagged(ssm: Array, lag: int) -> float:
    """Median over pixels of the correlation of values `lag` days apart; NaN: no pixel has enough pairs."""
    values = []
    for column in ssm.T:
        both = np.isfinite(column[:-lag]) & np.isfinite(column[lag:])
        if both.sum() >= LEAST_PAIRS:
            values.append(_correlation(column[:-lag][both], column[lag:][both]))
    values = [value for value in values if np.isfinite(value)]
    return float(np.median(values)) if values else np.nan


def _fraction_observed(seen: NDArray[np.bool_], time: pd.DatetimeIndex) -> float:
    """Share of pixel-days observed in years from the first observed day on, without unseen pixel-years."""
    first = time[int(np.argmax(seen.any(axis=1)))]
    before = (time.month < first.month) | ((time.month == first.month) & (time.day < first.day))
    year = np.asarray(time.year - first.year - before)
    whole = [y for y in range(year.max() + 1) if (year == y).sum() >= 365] or [0]
    blocks = [seen[(year == y) & (time >= first)] for y in whole]
    possible = sum(len(block) * block.any(axis=0).sum() for block in blocks)
    return float(sum(block.sum() for block in blocks) / possible)
