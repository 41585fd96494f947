"""The twin's land: static attributes of a pixel, as observed and as they are, and the green cover of a day.

It follows from climate and random fields; everything here is synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from smapnb.sources._twin_soil import Soil, hydraulics
from smapnb.sources._twin_weather import FREEZING, Climate, static_field

Array = NDArray[np.floating]

EVERGREEN, DECIDUOUS, MIXED, OPEN_SHRUB, SAVANNA, GRASS, CROP, URBAN, MOSAIC, BARREN = (
    1,
    4,
    5,
    7,
    9,
    10,
    12,
    13,
    14,
    16,
)
FORESTS = (EVERGREEN, DECIDUOUS, MIXED)
MOST_WATER = 0.36
DENSE_WATER_CONTENT = 5.0  # kg m-2: above it SMAP calls vegetation dense (O'Neill et al., SPL3SMP ATBD)
# Extinction of roots per cm of depth by biome (Jackson et al. 1996, doi 10.1007/BF00333714, table 1; mixed
# forest, town and mosaic are ours).
ROOT_EXTINCTION = {EVERGREEN: 0.976, DECIDUOUS: 0.966, MIXED: 0.970, OPEN_SHRUB: 0.975, SAVANNA: 0.972}
ROOT_EXTINCTION |= {GRASS: 0.943, CROP: 0.961, URBAN: 0.955, MOSAIC: 0.961, BARREN: 0.975}


@dataclass(frozen=True)
class Land:
    """What a pixel is, all (pixel,): the static attributes as published, and the truth behind them."""

    statics: dict[str, Array]  # names of smapnb.variables
    soil: Soil
    root_extinction: Array
    cover: Array  # greatest green cover, 0-1
    vegetation_water: Array  # kg m-2


def land(place: Climate, seed: int) -> Land:
    """Make statics and truth: soils by random fields, vegetation by the ratio of rain to warmth."""
    texture = _texture(place, seed)
    density = (
        1.33 + 0.06 * (texture["sand"] - 48) / 10 + 0.06 * static_field(place.lon, place.lat, 200, seed, "bulk density")
    )
    surveyed = hydraulics(texture["sand"], texture["clay"])
    patches = static_field(place.lon, place.lat, 150, seed, "water capacity")
    capacity = 100 * (surveyed.field_capacity - surveyed.wilting_point) + 1.0 + 1.8 * patches

    celsius = place.temperature - FREEZING
    supply = place.precipitation / (1.0 + 0.09 * np.maximum(celsius, 2.0))
    leaf = static_field(place.lon, place.lat, 180, seed, "vegetation")
    ndvi = np.clip(0.02 + 0.47 * (1 - np.exp(-1.1 * supply**2)) * (1 + 0.28 * leaf), 0.03, 0.66)
    # Organic matter follows the greenness, per cent by mass.
    organic = 1.0 + 4.5 * np.clip(ndvi / 0.45, 0, 1)
    wrong = [static_field(place.lon, place.lat, 120, seed, f"soil survey error {i}") for i in range(2)]
    true_soil = hydraulics(texture["sand"] + 5.0 * wrong[0], texture["clay"] + 3.0 * wrong[1], organic)
    classes = _land_cover(place, ndvi, leaf, seed)
    forest = np.isin(classes, FORESTS)
    vegetation_water = np.where(forest, 3.5 + 14 * np.maximum(ndvi - 0.2, 0), 7 * np.maximum(ndvi - 0.05, 0))
    water = _water_fraction(place, seed)
    statics = texture | {
        "bulk_density": density,
        "water_capacity": np.clip(capacity, 6, 33),
        "ndvi": ndvi,
        "albedo": np.where(forest, 0.06, 0.05) + 0.003 * static_field(place.lon, place.lat, 150, seed, "albedo"),
        "roughness": np.clip(np.where(forest, 0.155, 0.125) - 0.015 * (ndvi < 0.12) + 0.01 * leaf, 0.04, 0.16),
        "water_fraction": water,
        "dense_vegetation": (vegetation_water > DENSE_WATER_CONTENT).astype(float),
        "landcover_class": classes.astype(float),
        "surface_condition": _surface_condition(place, classes, water, seed),
    }
    # As in the soil map of the real sample, a pixel with very much water has no soil.
    for name in ("sand", "silt", "clay", "bulk_density", "water_capacity"):
        statics[name] = np.where(water >= MOST_WATER, np.nan, statics[name])
    extinction = np.array([ROOT_EXTINCTION[int(c)] for c in classes])
    # Fraction of green cover from NDVI, linear (Gutman & Ignatov 1998, doi 10.1080/014311698215333).
    cover = np.clip((ndvi - 0.04) / 0.46, 0.05, 0.92)
    return Land(statics, true_soil, extinction, cover, vegetation_water)


def _texture(place: Climate, seed: int) -> dict[str, Array]:
    """Sand, silt and clay, per cent: additive log-ratios as random fields, so that they sum to 100."""
    fine = static_field(place.lon, place.lat, 260, seed, "silt to sand")
    heavy = static_field(place.lon, place.lat, 260, seed, "clay to sand")
    midwest = np.exp(-(((place.lon + 92) / 6) ** 2) - ((place.lat - 40) / 5) ** 2)
    silt = np.exp(-0.52 + 0.36 * fine + 0.35 * midwest)
    clay = np.exp(-0.86 + 0.26 * fine + 0.36 * heavy + 0.15 * midwest)
    total = 1 + silt + clay
    sand, silt = 100 / total, 100 * silt / total
    return {"sand": sand, "silt": silt, "clay": 100 - sand - silt}


def _land_cover(place: Climate, ndvi: Array, leaf: Array, seed: int) -> Array:
    """Land-cover class (IGBP) by greenness, climate and chance."""
    chance = ndtr(static_field(place.lon, place.lat, 90, seed, "land cover", smoothness=0.6))
    west = place.lon < -104
    classes = np.full(ndvi.shape, GRASS)
    classes[ndvi < 0.105] = OPEN_SHRUB
    classes[ndvi < 0.055] = BARREN
    farmed = ~west & (ndvi > 0.2)
    classes[farmed] = np.where(chance < 0.7, CROP, MOSAIC)[farmed]
    classes[west & (ndvi > 0.22)] = SAVANNA
    wooded = (ndvi > 0.31) & (chance + 1.6 * (ndvi - 0.38) > 0.36)
    classes[wooded] = np.select([place.lat < 34, place.lat > 43], [EVERGREEN, MIXED], DECIDUOUS)[wooded]
    classes[west & (ndvi > 0.26) & (leaf > -0.3)] = EVERGREEN
    classes[chance > 0.985] = URBAN
    return classes


def _water_fraction(place: Climate, seed: int) -> Array:
    """Draw the static water fraction: log-normal, more of it in the wet north and east."""
    lakes = static_field(place.lon, place.lat, 60, seed, "lakes", smoothness=0.6)
    wet = 1.1 * (place.precipitation - 2) + 0.08 * (place.lat - 38)
    return np.clip(np.exp(-6.8 + wet + 2.2 * lakes), 0, MOST_WATER)


def _surface_condition(place: Climate, classes: Array, water: Array, seed: int) -> Array:
    """Set the categories of smapnb.variables; the twin has no coast (1) and no ice (2)."""
    relief = static_field(place.lon, place.lat, 80, seed, "relief")
    flags = {
        3: (place.elevation > 1500) & (relief > 0.9),
        4: water > 0.10,
        5: (classes == URBAN) | (static_field(place.lon, place.lat, 50, seed, "towns", smoothness=0.6) > 1.9),
    }
    conditions = np.zeros(classes.shape)
    for category, flag in flags.items():
        conditions[flag] = category
    conditions[np.sum(list(flags.values()), axis=0) > 1] = 6
    return conditions


def green_cover(greatest: Array, temperature: Array) -> Array:
    """Let the cover follow the warmth of the past month between 4 and 17 degrees C, (time, pixel).

    After the temperature term of the growing-season index (Jolly et al. 2005,
    doi 10.1111/j.1365-2486.2005.00930.x).
    """
    memory = np.exp(-1 / 25)
    warmth = np.empty_like(temperature)
    warmth[0] = temperature[0]
    for day in range(1, len(temperature)):
        warmth[day] = memory * warmth[day - 1] + (1 - memory) * temperature[day]
    return greatest * (0.2 + 0.8 * np.clip((warmth - FREEZING - 4) / 13, 0, 1))
