"""The twin's weather: random fields in space and time, climate, and the seven forcing variables.

It knows no soil and no satellite; everything here is synthetic.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gamma, ndtr, ndtri

Array = NDArray[np.floating]

FREEZING = 273.15
STEFAN_BOLTZMANN = 5.670374e-8  # W m-2 K-4
EARTH_RADIUS = 6371.0  # km
RAIN_SHAPE = 0.60  # Weibull shape of wet-day amounts (Wilson & Toumi 2005: stretched exponential)
TREND_CENTRE = 2009.5  # the year on which the climate trends pivot

# Share of the error variance of each field in the observed forcing: the observed latent field is
# sqrt(1 - share) * truth + sqrt(share) * error, so that its distribution is that of the truth.
FORCING_ERROR = {"front": 0.05, "convection": 0.15, "cloud": 0.20, "heat": 0.02, "humidity": 0.15}


class TwinError(ValueError):
    """The simulation cannot give what was asked for."""


def generator(seed: int, name: str) -> np.random.Generator:
    """Open the random stream of one process: it depends on the seed and the name only."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def pixel_noise(cells: NDArray[np.integer], n_days: int, seed: int, name: str) -> NDArray[np.float32]:
    """White noise, standard normal, one stream a pixel, (time, pixel)."""
    streams = [generator(seed, f"{name} {cell}").standard_normal(n_days, dtype=np.float32) for cell in cells]
    return np.stack(streams, axis=1)


@dataclass(frozen=True)
class Field:
    """A Gaussian field of unit variance: Matern covariance in space; AR(1) and drift in time."""

    length_km: float
    smoothness: float
    lag1: float
    drift_km: tuple[float, float] = (0.0, 0.0)  # eastward, northward, a day
    modes: int = 240


FIELDS = {
    "front": Field(420, 1.0, 0.62, (270, 45)),
    "convection": Field(110, 0.8, 0.45, (50, 10)),
    "cloud": Field(450, 1.0, 0.50, (250, 30)),
    "heat": Field(540, 1.5, 0.83, (130, 0)),
    "humidity": Field(450, 1.0, 0.85, (100, 0)),
    "wind_u": Field(420, 0.8, 0.50, (200, 0)),
    "wind_v": Field(420, 0.8, 0.45, (200, 0)),
    "wetness": Field(600, 1.5, 0.980, modes=200),
    "warmth": Field(700, 1.5, 0.980, modes=200),
}


def plane_km(lon: Array, lat: Array) -> tuple[Array, Array]:
    """Project degrees to kilometres east and north on a plane tangent along 38 N (sinusoidal about 96 W)."""
    x = np.deg2rad(lon + 96.0) * np.cos(np.deg2rad(lat)) * EARTH_RADIUS
    return x, np.deg2rad(lat - 38.0) * EARTH_RADIUS


def _wave_numbers(field: Field, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw wave vectors (rad km-1) from the Matern spectrum, stratified in both size and direction.

    The radial distribution of the two-dimensional Matern spectrum has the closed form
    F(k) = 1 - (1 + (k L)^2)^(-nu), which is inverted here.
    """
    strata = (np.arange(field.modes) + rng.uniform(size=field.modes)) / field.modes
    size = np.sqrt((1 - strata) ** (-1 / field.smoothness) - 1) / field.length_km
    angle = np.pi * (rng.permutation(field.modes) + rng.uniform(size=field.modes)) / field.modes
    return size * np.cos(angle), size * np.sin(angle)


def static_field(lon: Array, lat: Array, length_km: float, seed: int, name: str, smoothness: float = 1.0) -> Array:
    """Draw one Gaussian field of unit variance at the given points, shape (pixel,)."""
    rng = generator(seed, name)
    x, y = plane_km(lon, lat)
    kx, ky = _wave_numbers(Field(length_km, smoothness, 0.0, modes=400), rng)
    cosine, sine = rng.standard_normal((2, kx.size))
    phase = np.outer(x, kx) + np.outer(y, ky)
    return (np.cos(phase) @ cosine + np.sin(phase) @ sine) / np.sqrt(kx.size)


def evolving_field(lon: Array, lat: Array, n_days: int, field: Field, seed: int, name: str) -> NDArray[np.float32]:
    """Draw a Gaussian field of unit variance that moves and forgets, shape (time, pixel).

    Spectral representation (Shinozuka & Deodatis 1991, doi 10.1115/1.3119501): a sum of plane waves whose
    complex amplitudes follow an AR(1) process and turn with the drift:
    a(t+1) = lag1 exp(-i k.U) a(t) + noise.
    """
    rng = generator(seed, name)
    x, y = plane_km(lon, lat)
    kx, ky = _wave_numbers(field, rng)
    turn = field.lag1 * np.exp(-1j * (kx * field.drift_km[0] + ky * field.drift_km[1]))
    noise = rng.standard_normal((n_days, 2, kx.size))
    amplitude = np.empty((n_days, kx.size), dtype=np.complex128)
    amplitude[0] = noise[0, 0] + 1j * noise[0, 1]
    fresh = np.sqrt(1 - field.lag1**2)
    for day in range(1, n_days):
        amplitude[day] = turn * amplitude[day - 1] + fresh * (noise[day, 0] + 1j * noise[day, 1])
    phase = np.outer(kx, x) + np.outer(ky, y)
    waves = np.concatenate([np.cos(phase), -np.sin(phase)]).astype(np.float32) / np.float32(np.sqrt(kx.size))
    return np.concatenate([amplitude.real, amplitude.imag], axis=1).astype(np.float32) @ waves


def latent_fields(lon: Array, lat: Array, n_days: int, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draw the latent fields of the true weather and of the observed forcing; each (time, pixel)."""
    true = {name: evolving_field(lon, lat, n_days, field, seed, name) for name, field in FIELDS.items()}
    observed = dict(true)
    for name, share in FORCING_ERROR.items():
        kind = Field(250, 1.0, 0.2, modes=160)
        error = evolving_field(lon, lat, n_days, kind, seed, f"error of {name}")
        observed[name] = np.float32(np.sqrt(1 - share)) * true[name] + np.float32(np.sqrt(share)) * error
    return true, observed


@dataclass(frozen=True)
class Climate:
    """Static climate of each pixel, all (pixel,); trends per decade."""

    cell: NDArray[np.integer]  # number of the grid cell, the pixel's identity in random streams
    lon: Array
    lat: Array
    elevation: Array  # m
    temperature: Array  # K, annual mean
    amplitude: Array  # K, half the annual range
    precipitation: Array  # mm d-1, annual mean
    precipitation_trend: Array  # 1 per decade, relative
    temperature_trend: Array  # K per decade
    wind: Array  # m s-1, (2, pixel): mean departure of the wind from that of the whole country
    pacific: Array  # weights of seasonal regimes, 0-1
    monsoon: Array
    plains: Array


def _bump(value: Array, centre: float, width: float) -> Array:
    return np.exp(-(((value - centre) / width) ** 2))


def _rise(value: Array, centre: float, width: float) -> Array:
    return 1 / (1 + np.exp(-(value - centre) / width))


def climate(cell: NDArray[np.integer], lon: Array, lat: Array, seed: int) -> Climate:
    """Lay down elevation, mean climate and trends: smooth functions of place plus random fields.

    The functions are ours; they follow the gross pattern of North America (wet Pacific north-west, dry
    interior, the gradient at 100 W, wet Gulf coast, summer rain in the plains, monsoon in the south-west) and
    nothing finer.
    """
    rough = static_field(lon, lat, 150, seed, "elevation")
    appalachian = _bump((lat - 34) - 0.76 * (lon + 84.5), 0, 2.2) * _rise(lon, -86, 1.0)
    plateau = 1750 * _bump(lon, -109.5, 6.5) + 900 * _bump(lon, -119.5, 2.2) + 550 * appalachian
    elevation = np.maximum(120 + plateau * (1 + 0.25 * rough) + 60 * rough, 1.0)
    coast = _rise(-lon, 121.5, 1.0)
    temperature = FREEZING + 24.0 - 0.9 * (lat - 30) - 4.0e-3 * elevation + 1.5 * coast * (lat > 42)
    amplitude = (9.0 + 0.44 * (lat - 30)) * (1 - 0.45 * coast)
    pacific = _rise(-lon, 117, 1.5)
    monsoon = _bump(lon, -109.5, 4.5) * _rise(-lat, -36.5, 1.2)
    plains = _rise(-lon, 90, 2.0) * (1 - pacific) * (1 - monsoon)
    spots = static_field(lon, lat, 250, seed, "precipitation climate")
    east = _rise(lon, -98.5, 1.8)
    wet = 0.85 + 1.9 * east + 0.5 * east * _bump(lat, 31.0, 3.5) - 0.6 * _bump(lat, 46, 4) * _bump(lon, -96, 7)
    wet += 4.5 * _bump(lon, -124, 2.3) * _rise(lat, 41, 1.5) + 0.35 * _bump(lon, -114, 4) * _rise(lat, 44, 1)
    trend = static_field(lon, lat, 500, seed, "precipitation trend", smoothness=2.0)
    drift = static_field(lon, lat, 700, seed, "temperature trend", smoothness=2.0)
    return Climate(
        cell=cell,
        lon=lon,
        lat=lat,
        elevation=elevation,
        temperature=temperature,
        amplitude=amplitude,
        precipitation=wet * np.exp(0.14 * spots),
        # A dead zone: half of the country has no trend of precipitation at all.
        precipitation_trend=np.clip(0.22 * np.sign(trend) * np.maximum(np.abs(trend) - 0.67, 0), -0.3, 0.3),
        temperature_trend=0.20 + 0.15 * drift,
        wind=np.stack([static_field(lon, lat, 250, seed, f"wind {i}") for i in "uv"]),
        pacific=pacific,
        monsoon=monsoon,
        plains=plains,
    )


def _cycle(day: Array, peak: float) -> Array:
    """Annual cosine with its maximum on day of year `peak`, shape (time, 1)."""
    return np.cos(2 * np.pi * (day - peak) / 365.25)[:, None]


def rain_climate(place: Climate, time: pd.DatetimeIndex, wetness: Array) -> tuple[Array, Array]:
    """Give the probability of a wet day and the mean precipitation (mm d-1), each (time, pixel).

    Season, region, slow anomaly (`wetness`) and trend multiply the annual mean.
    """
    day = time.day_of_year.to_numpy(dtype=float)
    season = 0.62 * place.pacific * _cycle(day, 5) + 0.48 * place.plains * _cycle(day, 165)
    season = season + 0.65 * place.monsoon * _cycle(day, 220) + 0.05 * _cycle(day, 170)
    decades = ((time.year + day / 365.25).to_numpy() - TREND_CENTRE)[:, None] / 10
    trend = np.maximum(1 + decades * place.precipitation_trend, 0.3)
    slow = np.exp(0.25 * wetness - 0.25**2 / 2)
    mean = place.precipitation * (1 + season) * trend * slow
    often = 0.235 + 0.075 * place.precipitation + 0.10 * _rise(place.lon, -88, 3) * _rise(place.lat, 37, 2)
    probability = often * (1 + 0.55 * season) * (trend * slow) ** 0.5
    return np.clip(probability, 0.02, 0.85), mean


def rain_amount(latent: Array, probability: Array, mean: Array) -> Array:
    """Turn a Gaussian latent field into precipitation (mm d-1): wet above a threshold, amounts Weibull.

    The exceedance of the threshold keeps its rank (Wilks 1998, doi 10.1016/S0022-1694(98)00186-3, with one
    latent field in place of two), so neighbours that are wet together are also heavy together.
    """
    dryness = ndtr(-latent) / probability  # below 1: wet, and uniform there
    scale = mean / probability / gamma(1 + 1 / RAIN_SHAPE)
    wet = dryness < 1
    depth = np.where(wet, -np.log(np.where(wet, dryness, 1.0)), 0.0)
    return scale * depth ** (1 / RAIN_SHAPE)


def saturation_pressure(temperature: Array) -> Array:
    """Saturation vapour pressure over water, hPa (Tetens; FAO-56 equation 11)."""
    celsius = temperature - FREEZING
    return 6.108 * np.exp(17.27 * celsius / (celsius + 237.3))


def surface_pressure(elevation: Array) -> Array:
    """Mean surface pressure, hPa (FAO-56 equation 7)."""
    return 1013.0 * ((293 - 0.0065 * elevation) / 293) ** 5.26


def extraterrestrial_radiation(lat: Array, day: Array) -> Array:
    """Give the daily mean solar radiation above the atmosphere, W m-2 (FAO-56 eq. 21-25), (time, pixel)."""
    angle = 2 * np.pi * day[:, None] / 365.25
    declination = 0.409 * np.sin(angle - 1.39)
    phi = np.deg2rad(lat)[None, :]
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1, 1))
    geometry = sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    return 1367 / np.pi * (1 + 0.033 * np.cos(angle)) * geometry


def weather(place: Climate, time: pd.DatetimeIndex, latent: dict[str, Array]) -> dict[str, Array]:
    """Make the seven forcing variables in our names and units, each (time, pixel).

    Radiation: FAO-56 clear sky dimmed by cloud in the form of Kasten & Czeplak (1980,
    doi 10.1016/0038-092X(80)90391-6); clear-sky emissivity of Prata (1996, doi 10.1002/qj.49712253306) with
    the cloud term of Crawford & Duchon (1999, doi 10.1175/1520-0450(1999)038<0474:AIPFEE>2.0.CO;2). Humidity
    is a fraction of saturation by construction.
    """
    day = time.day_of_year.to_numpy(dtype=float)
    winter, summer = (1 + _cycle(day, 15)) / 2, (1 - _cycle(day, 15)) / 2
    convective = 0.15 + 0.35 * summer
    storm = np.sqrt(1 - convective) * latent["front"] + np.sqrt(convective) * latent["convection"]
    probability, mean = rain_climate(place, time, latent["wetness"])
    rain = rain_amount(storm, probability, mean)

    moist = 0.72 * storm + 0.69 * latent["cloud"]
    cloud = ndtr((moist - ndtri(np.clip(1 - 1.15 * probability, 0.15, 0.9)) - 0.25 + 0.5 * winter) / 1.3)
    temperature = _temperature(place, time, latent, moist, winter)
    shade = 1 - 0.70 * cloud**2.0
    clear = 0.75 + 2e-5 * place.elevation
    shortwave = extraterrestrial_radiation(place.lat, day) * clear * shade

    dryness = 1.35 - 2.9 * probability + 0.85 * summer + 0.4 * summer * place.pacific
    humid = 0.85 - dryness + 0.42 * moist + 0.55 * latent["humidity"] - 0.2 * latent["heat"]
    relative_humidity = 0.06 + 0.93 / (1 + np.exp(-humid))
    vapour = relative_humidity * saturation_pressure(temperature)
    specific_humidity = 0.622 * vapour / (surface_pressure(place.elevation) - 0.378 * vapour)

    column = 46.5 * vapour / temperature
    emissivity = 1 - (1 + column) * np.exp(-np.sqrt(1.2 + 3 * column))
    dim = 1 - shade
    longwave = (dim + (1 - dim) * emissivity) * STEFAN_BOLTZMANN * temperature**4
    gust = 0.85 + 0.3 * winter
    southerly = 0.85 * latent["wind_v"] + 0.53 * latent["heat"]
    forcing = {
        "precipitation": rain,
        "air_temperature": temperature,
        "longwave_down": longwave,
        "shortwave_down": shortwave,
        "specific_humidity": specific_humidity,
        "wind_u": 0.35 + 0.7 * winter + 0.85 * place.wind[0] + 2.3 * gust * latent["wind_u"],
        "wind_v": 0.5 + 0.3 * summer + 0.55 * place.wind[1] + 2.55 * gust * southerly,
    }
    return {name: values.astype(np.float32) for name, values in forcing.items()}


def _temperature(
    place: Climate, time: pd.DatetimeIndex, latent: dict[str, Array], moist: Array, winter: Array
) -> Array:
    """Air temperature, K: cycle, trend, slow and synoptic anomaly; cloud warms winter, cools summer."""
    day = time.day_of_year.to_numpy(dtype=float)
    decades = ((time.year + day / 365.25).to_numpy() - TREND_CENTRE)[:, None] / 10
    spread = (2.3 + 2.6 * winter) * (0.7 + 0.028 * (place.lat - 28))
    anomaly = spread * latent["heat"] + 0.7 * latent["warmth"] + (2.0 * winter - 1.3) * moist
    mean = place.temperature + decades * place.temperature_trend
    return mean + place.amplitude * _cycle(day, 202) + anomaly
