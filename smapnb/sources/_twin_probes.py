"""The twin's probes: what is wrong with a reading of soil moisture or temperature, and when there is none.

Each flaw of each place has a random stream of its own; a reading is physical without being clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smapnb.sources._twin_sites import Place
from smapnb.sources._twin_weather import FREEZING, generator

Array = NDArray[np.floating]

# Moisture: log of the reading less log of the liquid water there, so that errors grow with moisture and no reading is
# negative.
BIAS = 0.08  # standard deviation over probes of the calibration
DRIFT = 0.004  # the same, per year since the station began
NOISE = 0.02  # the same, from day to day
RESOLUTION_DIGITS = 3  # readings are given to 0.001 m3 m-3
# Temperature, K: standard deviations.
SITE_WARMTH = 0.8  # of a place about its pixel
THERMOMETER_BIAS = 0.15
THERMOMETER_NOISE = 0.20

# Outages: how many a year, and how many days each on average.
PROBE_OUTAGES, PROBE_DAYS = 0.8, 30.0
THERMOMETER_OUTAGES, THERMOMETER_DAYS = 0.4, 25.0
STATION_OUTAGES, STATION_DAYS = 0.6, 10.0
WINTER = 0.6  # part by which failures are more frequent in mid-winter, and rarer in mid-summer
CARE = 0.4  # standard deviation over places of the log of how often things fail

LATENT_HEAT, GRAVITY = 3.34e5, 9.81  # J kg-1, m s-2
LEAST_BELOW = 1e-6  # K, keeps the potential of ice finite at the freezing point itself


@dataclass(frozen=True)
class Readings:
    """What the probes of one place give, (time, depth, probe); NaN where there is no reading."""

    moisture: NDArray[np.float32]  # m3 m-3
    temperature: NDArray[np.float32]  # K


def liquid_water(moisture: Array, temperature: Array, porosity: float, suction: float, exponent: float) -> Array:
    """Water that a dielectric probe sees, m3 m-3: all of it above freezing, what ice leaves liquid below.

    The soil's suction is that of water in equilibrium with ice, L (T0 - T) / (g T), and the water it leaves liquid
    follows from Campbell's curve (as in Niu & Yang 2006, doi 10.1175/JHM538.1). The weak signal of ice itself is
    left out.

    Parameters
    ----------
    moisture, temperature : array
        m3 m-3, ice included; K.
    porosity, suction, exponent : float
        m3 m-3; mm of water at saturation; Campbell's b.
    """
    below = np.maximum(FREEZING - temperature, LEAST_BELOW)
    head = 1000 * LATENT_HEAT / GRAVITY * below / temperature
    return np.where(
        temperature < FREEZING, np.minimum(moisture, porosity * (head / suction) ** (-1 / exponent)), moisture
    )


def warmth(place: Place, seed: int) -> float:
    """Difference of the place's soil temperature from that of its pixel, K, the same at all depths and times."""
    return SITE_WARMTH * float(generator(seed, f"{place.name} warmth").standard_normal())


def outages(
    time: pd.DatetimeIndex, number: int, a_year: float, mean_days: float, seed: int, name: str
) -> NDArray[np.bool_]:
    """Days on which each of some things fails, (time, number): failures come at random, more in winter.

    A failure lasts a day and an exponential time; one that comes during another adds nothing but its later end.
    """
    season = 1 + WINTER * np.cos(2 * np.pi * (time.day_of_year.to_numpy() - 15) / 365.25)
    chance = generator(seed, f"{name} failures").random((len(time), number), dtype=np.float32)
    day, which = np.nonzero(chance < a_year / 365.25 * season[:, None])
    length = 1 + generator(seed, f"{name} repairs").exponential(mean_days, day.size).astype(int)
    edges = np.zeros((len(time) + 1, number), dtype=np.int32)
    np.add.at(edges, (day, which), 1)
    np.add.at(edges, (np.minimum(day + length, len(time)), which), -1)
    return edges[:-1].cumsum(axis=0) > 0


def read(place: Place, time: pd.DatetimeIndex, liquid: Array, temperature: Array, seed: int) -> Readings:
    """Let the probes of a place measure; liquid water (m3 m-3) and temperature (K) are (time, depth)."""
    shape = (len(place.depths), place.probes)
    years = np.asarray((time - place.first).days, dtype=float) / 365.25
    error = NOISE * generator(seed, f"{place.name} noise").standard_normal((len(time), *shape), dtype=np.float32)
    error += calibration(place, seed).astype(np.float32)
    error += (years[:, None, None] * drift(place, seed)).astype(np.float32)
    moisture = (liquid[:, :, None] * np.exp(error)).round(RESOLUTION_DIGITS).astype(np.float32)

    noise = generator(seed, f"{place.name} thermometer noise").standard_normal((len(time), *shape), dtype=np.float32)
    offset = THERMOMETER_BIAS * generator(seed, f"{place.name} thermometer").standard_normal(shape)
    warm = (temperature[:, :, None] + offset + THERMOMETER_NOISE * noise).astype(np.float32)

    dead, blind = broken(place, time, seed)
    moisture[dead], warm[blind] = np.nan, np.nan
    return Readings(moisture, warm)


def calibration(place: Place, seed: int) -> Array:
    """Error of the calibration of each probe, log, (depth, probe)."""
    shape = (len(place.depths), place.probes)
    return BIAS * generator(seed, f"{place.name} calibration").standard_normal(shape)


def drift(place: Place, seed: int) -> Array:
    """Drift of each probe, log per year since the station began, (depth, probe)."""
    return DRIFT * generator(seed, f"{place.name} drift").standard_normal((len(place.depths), place.probes))


def broken(place: Place, time: pd.DatetimeIndex, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """When moisture and when temperature is not read, each (time, depth, probe)."""
    shape = (len(time), len(place.depths), place.probes)
    often = float(np.exp(CARE * generator(seed, f"{place.name} care").standard_normal()))
    count = len(place.depths) * place.probes
    station = outages(time, 1, STATION_OUTAGES * often, STATION_DAYS, seed, f"{place.name} station")[:, 0]
    station |= np.asarray((time < place.first) | (time > place.last))
    deep = np.asarray(time > place.last_deep)[:, None] & (np.array(place.depths) > 20)
    away = station[:, None, None] | deep[:, :, None]
    dead = outages(time, count, PROBE_OUTAGES * often, PROBE_DAYS, seed, f"{place.name} probes").reshape(shape)
    blind = outages(time, count, THERMOMETER_OUTAGES * often, THERMOMETER_DAYS, seed, f"{place.name} thermometers")
    return dead | away, blind.reshape(shape) | away
