"""The twin's flawed observers of its truth: SMAP's surface and root-zone products and two land models.

Each function says how it departs from the truth; none of them is told the truth where the real one is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from smapnb.sources._twin_land import Land
from smapnb.sources._twin_soil import Balance, Soil, hydraulics, root_shares, water_balance
from smapnb.sources._twin_weather import FREEZING, Climate, Field, evolving_field, pixel_noise, static_field

Array = NDArray[np.floating]

LAUNCH = pd.Timestamp("2015-03-31")  # first day of SMAP's radiometer products
ORBITS_PER_DAY = 14.625  # 117 orbits in the 8 days of the exact repeat (Entekhabi et al. 2010)
INCLINATION = np.deg2rad(98.12)
SWATH_HALF_WIDTH = 545.0  # km: half of 1000 km, and the reach of the outermost footprints into a 36-km cell
VALID_RANGE = (0.02, 0.50)  # m3 m-3, of the SPL3SMP retrieval


def overpass(lon: Array, lat: Array, time: pd.DatetimeIndex) -> NDArray[np.bool_]:
    """Whether the descending (06:00 local) swath covers each pixel on each UTC day, (time, pixel).

    Circular sun-synchronous orbit with SMAP's 8-day repeat; on the descending pass the track bends east of
    its node by the orbit's geometry less the turning of the Earth.
    """
    phi = np.deg2rad(lat)
    argument = np.pi - np.arcsin(np.sin(phi) / np.sin(INCLINATION))  # of latitude, descending
    inertial = np.arctan2(np.cos(INCLINATION) * np.sin(argument), np.cos(argument))
    since_node = (argument - np.pi) / (2 * np.pi) / ORBITS_PER_DAY  # days, negative north of the equator
    bend = np.rad2deg(np.angle(np.exp(1j * (inertial - np.pi)))) - 360 * since_node
    # Heading of the track against the meridian narrows its reach along the parallel.
    slant = np.clip(np.cos(INCLINATION) / np.cos(phi), -1, 1)
    reach = SWATH_HALF_WIDTH / (111.2 * np.cos(phi)) / np.sqrt(1 - slant**2)
    seen = np.zeros((8, lon.size), dtype=bool)
    for cycle_day in range(8):
        orbits = np.arange(np.ceil(ORBITS_PER_DAY * cycle_day), np.ceil(ORBITS_PER_DAY * (cycle_day + 1)))
        node = 90.0 - 360.0 * (orbits / ORBITS_PER_DAY - cycle_day)
        track = node[:, None] + bend[None, :]
        apart = np.abs((track - lon[None, :] + 180) % 360 - 180)
        seen[cycle_day] = (apart <= reach).any(axis=0)
    days = (time - LAUNCH).days.to_numpy()
    return seen[days % 8]


@dataclass(frozen=True)
class Retrieval:
    """SMAP's surface product and the parts it is made of, all (time, pixel) but `noise`, (pixel,)."""

    observed: Array  # m3 m-3, NaN where not retrieved
    sensed: Array  # m3 m-3, truth weighted over the sensing depth
    biased: Array  # m3 m-3, sensed with SMAP's bias and no noise
    noise: Array  # m3 m-3, standard deviation
    cold: NDArray[np.bool_]  # frozen ground or snow


def sensed_moisture(truth: Balance) -> Array:
    """Weight the truth as L-band does, (time, pixel): exp(-z/d), sensing depth d shrinking with moisture.

    d falls from about 5 cm in dry to 1 cm in wet soil (Escorihuela et al. 2010,
    doi 10.1016/j.rse.2009.12.011, for the wet end; Njoku & Entekhabi 1996,
    doi 10.1016/0022-1694(95)02970-2, for the dependence).
    """
    top = truth.layer_mean(0, 5)
    depth = 1.0 + 4.5 * np.clip(1 - top / 0.40, 0, 1) ** 2
    total, weights = np.zeros_like(top), np.zeros_like(top)
    lower = np.cumsum(truth.thickness) / 10
    for upper_cm, lower_cm in zip(lower - truth.thickness / 10, lower, strict=True):
        if upper_cm >= 10:
            break
        weight = np.exp(-upper_cm / depth) - np.exp(-lower_cm / depth)
        total += weight * truth.layer_mean(upper_cm, lower_cm)
        weights += weight
    return total / weights


def smap_surface(
    place: Climate,
    ground: Land,
    truth: Balance,
    cover: Array,
    time: pd.DatetimeIndex,
    seed: int,
) -> Retrieval:
    """Observe the surface as SPL3SMP does: swath, gaps, sensing depth, bias by vegetation and soil, noise."""
    sensed = sensed_moisture(truth)
    dense = ground.statics["dense_vegetation"] > 0.5
    green = ground.statics["ndvi"] - 0.25
    soil_error = static_field(place.lon, place.lat, 150, seed, "SMAP bias, soil")
    gain = np.clip(1.05 + 0.12 * static_field(place.lon, place.lat, 300, seed, "SMAP gain"), 0.7, 1.5)
    offset = 0.045 + 0.20 * green + 0.12 * (cover - 0.3) + 0.03 * soil_error
    mean = ground.soil.field_capacity * 0.75
    biased = mean + gain * (sensed - mean) + offset
    noise = 0.014 + 0.008 * np.clip(ground.vegetation_water / 5, 0, 1) + np.where(dense, 0.015, 0.0)
    noisy = biased + noise * pixel_noise(place.cell, len(time), seed, "SMAP noise")

    cold = (truth.snow.T > 1.0) | (truth.layer_temperature(0, 5) < FREEZING)
    missing = cold.copy()
    # Dropouts: interference, heavy rain, and more of them over dense vegetation and water.
    dropout = 0.03 + 0.05 * dense + 0.4 * ground.statics["water_fraction"]
    missing |= ndtr(pixel_noise(place.cell, len(time), seed, "SMAP dropout")) < dropout
    missing |= ~overpass(place.lon, place.lat, time) | (time < LAUNCH)[:, None]
    observed = np.where(missing, np.nan, np.clip(noisy, *VALID_RANGE))
    return Retrieval(observed, sensed, biased, noise, cold)


@dataclass(frozen=True)
class LandModel:
    """How a land model departs from the truth: its layers and its wrong parameters."""

    name: str
    thickness_mm: tuple[float, ...]
    sand_error: float  # per cent, standard deviation of a field
    clay_error: float
    conductivity_factor: float
    conductivity_spread: float  # standard deviation of a field of log factors
    cover_factor: float
    cover_spread: float
    root_extinction: float
    demand_factor: float
    runoff_curve: float
    porosity_shift: float  # m3 m-3, on porosity, field capacity and wilting point


NOAH = LandModel("noah", (100, 300, 600), 8, 5, 0.5, 0.5, 0.9, 0.15, 0.965, 0.95, 0.30, 0.00)
VIC = LandModel("vic", (100, 400, 500), 12, 8, 0.15, 1.0, 0.7, 0.30, 0.975, 0.80, 0.45, 0.035)
CATCHMENT = LandModel("catchment", (50, 250, 700), 7, 4, 0.7, 0.4, 1.0, 0.12, 0.966, 1.02, 0.25, 0.01)


def _wrong_soil(place: Climate, ground: Land, model: LandModel, seed: int) -> Soil:
    """Soil of a land model: from wrong texture, with wrong conductivity and shifted water contents."""
    fields = [static_field(place.lon, place.lat, 200, seed, f"{model.name} {i}") for i in range(3)]
    sand = np.nan_to_num(ground.statics["sand"], nan=48.0) + model.sand_error * fields[0]
    clay = np.nan_to_num(ground.statics["clay"], nan=22.0) + model.clay_error * fields[1]
    soil = hydraulics(sand, clay)
    return replace(
        soil,
        porosity=soil.porosity + model.porosity_shift,
        field_capacity=soil.field_capacity + model.porosity_shift,
        wilting_point=soil.wilting_point + model.porosity_shift,
        conductivity=soil.conductivity * model.conductivity_factor * np.exp(model.conductivity_spread * fields[2]),
    )


def land_model(
    model: LandModel,
    place: Climate,
    ground: Land,
    weather: dict[str, Array],
    demand: Array,
    cover: Array,
    seed: int,
) -> Balance:
    """Run a land model: the same balance with wrong parameters, under the observed (erroneous) forcing."""
    thickness = np.array(model.thickness_mm, dtype=float)
    error = static_field(place.lon, place.lat, 200, seed, f"{model.name} cover")
    green = np.clip(cover * model.cover_factor * (1 + model.cover_spread * error), 0.02, 0.95)
    skin = np.zeros(thickness.size)
    skin[0] = 1.0
    return water_balance(
        weather,
        demand * model.demand_factor,
        green,
        _wrong_soil(place, ground, model, seed),
        thickness,
        deep_temperature=place.temperature,
        roots=root_shares(thickness, np.full(place.lon.size, model.root_extinction)),
        skin=skin,
        runoff_curve=model.runoff_curve,
    )


def smap_root_zone(
    place: Climate, open_loop: Array, truth: Array, time: pd.DatetimeIndex, seed: int, gain: float = 0.35
) -> Array:
    """Estimate the root zone as SPL4SMGP does: a model with errors, drawn towards the truth, complete, daily.

    The assimilated part is the truth's anomaly from the model, seen through a 15-day memory with slow errors
    of its own; the model's climatology stays, as assimilation does not remove bias (Reichle et al. 2017,
    doi 10.1175/JHM-D-17-0063.1).
    """
    after = np.asarray(time >= LAUNCH)
    result = np.full(truth.shape, np.nan)
    if not after.any():
        return result
    # The mean difference over all days before the launch is what assimilation cannot see.
    innovation = truth - open_loop - (truth - open_loop)[~after].mean(axis=0)
    memory = np.exp(-1 / 15)
    increment = np.zeros(truth.shape[1])
    increments = np.empty_like(truth)
    for day in range(len(truth)):
        increment = memory * increment + (1 - memory) * innovation[day]
        increments[day] = increment
    slow = evolving_field(place.lon, place.lat, len(time), Field(300, 1.0, 0.97, modes=120), seed, "L4 error")
    result[after] = (open_loop + gain * increments + 0.006 * slow)[after]
    return np.clip(result, 0.01, 0.9)
