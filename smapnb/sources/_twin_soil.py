"""The twin's ground: soil hydraulics, reference evaporation, a layered daily water and heat balance.

The water balance closes; it serves the truth and the land models alike. Nothing here observes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smapnb.sources._twin_weather import FREEZING, STEFAN_BOLTZMANN, saturation_pressure, surface_pressure

Array = NDArray[np.floating]

HEAT_DIFFUSIVITY = 4.3e4  # mm2 d-1, 5e-7 m2 s-1: a loam of middling moisture
DEEP_DISTANCE = 2000.0  # mm from the lowest layer to the depth of constant temperature
SNOW_AS_SOIL = 30.0  # mm of soil that insulate like 1 mm of snow water
MELT_FACTOR = 3.5  # mm K-1 d-1 (Hock 2003, doi 10.1016/S0022-1694(03)00257-9: 2-6)
FROZEN_CONDUCTIVITY = 0.1  # share of the conductivity left in frozen ground
EVAPORATION, TRANSPIRATION, RUNOFF, DRAINAGE = range(4)


@dataclass(frozen=True)
class Soil:
    """Hydraulic properties of each pixel, all (pixel,), the same in all layers; the kernels count on their order."""

    porosity: Array  # m3 m-3
    field_capacity: Array  # m3 m-3, at -33 kPa
    wilting_point: Array  # m3 m-3, at -1500 kPa
    residual: Array  # m3 m-3, no evaporation below it
    exponent: Array  # Campbell's b
    conductivity: Array  # mm d-1 at saturation
    suction: Array  # mm of water at saturation


def hydraulics(sand: Array, clay: Array, organic: Array | float = 2.0) -> Soil:
    """Soil hydraulics from texture by Saxton & Rawls (2006), equations 1-3, 5 and 15-18.

    Reference: doi 10.2136/sssaj2005.0117.

    Parameters
    ----------
    sand, clay : array, shape (pixel,)
        Per cent by mass.
    organic : array or float
        Organic matter, per cent by mass.
    """
    s, c = np.clip(sand, 5, 92) / 100, np.clip(clay, 4, 58) / 100
    t = -0.024 * s + 0.487 * c + 0.006 * organic + 0.005 * s * organic - 0.013 * c * organic + 0.068 * s * c + 0.031
    wilting = 1.14 * t - 0.02
    t = -0.251 * s + 0.195 * c + 0.011 * organic + 0.006 * s * organic - 0.027 * c * organic + 0.452 * s * c + 0.299
    capacity = t + 1.283 * t**2 - 0.374 * t - 0.015
    t = 0.278 * s + 0.034 * c + 0.022 * organic - 0.018 * s * organic - 0.027 * c * organic - 0.584 * s * c + 0.078
    porosity = capacity + 1.636 * t - 0.107 - 0.097 * s + 0.043
    exponent = np.log(1500 / 33) / np.log(capacity / wilting)
    kpa = 33 * (capacity / porosity) ** exponent
    return Soil(
        porosity=porosity,
        field_capacity=capacity,
        wilting_point=wilting,
        residual=0.35 * wilting,
        exponent=exponent,
        conductivity=1930 * (porosity - capacity) ** (3 - 1 / exponent) * 24,
        suction=kpa / 9.81 * 1000,
    )


def reference_evaporation(weather: dict[str, Array], elevation: Array) -> Array:
    """Give the FAO-56 Penman-Monteith reference evaporation (Allen et al. 1998, eq. 6), mm d-1.

    Wind is brought from 10 m to 2 m (equation 47); albedo 0.23; long-wave radiation is the forcing's own.
    """
    kelvin = weather["air_temperature"]
    celsius = kelvin - FREEZING
    saturation = saturation_pressure(kelvin) / 10  # kPa
    pressure = surface_pressure(elevation) / 10
    vapour = weather["specific_humidity"] * pressure / (0.622 + 0.378 * weather["specific_humidity"])
    slope = 4098 * saturation / (celsius + 237.3) ** 2
    psychrometric = 0.665e-3 * pressure
    wind = 0.748 * np.hypot(weather["wind_u"], weather["wind_v"])
    upward = 0.98 * STEFAN_BOLTZMANN * kelvin**4
    net = (0.77 * weather["shortwave_down"] + 0.98 * weather["longwave_down"] - upward) * 0.0864
    demand = 0.408 * slope * net + psychrometric * 900 / kelvin * wind * (saturation - vapour)
    return np.maximum(demand / (slope + psychrometric * (1 + 0.34 * wind)), 0.0)


def root_shares(thickness_mm: Array, extinction: Array) -> Array:
    """Share the roots among the layers, (pixel, layer): 1 - beta^depth(cm) (Jackson et al. 1996)."""
    bottom_cm = np.cumsum(thickness_mm) / 10
    above = 1 - extinction[:, None] ** bottom_cm[None, :]
    shares = np.diff(above, axis=1, prepend=0.0)
    return shares / shares.sum(axis=1, keepdims=True)


@njit(cache=True)
def _implicit_diffusion(x, size, between, top, top_value, bottom, bottom_value):
    """One implicit day of diffusion between layers; `top` and `bottom` are conductances to the outside."""
    n = x.size
    right = np.empty(n)
    upper = np.empty(n)
    for i in range(n):
        above = between[i - 1] if i > 0 else 0.0
        below = between[i] if i < n - 1 else 0.0
        diagonal = size[i] + above + below
        value = size[i] * x[i]
        if i == 0:
            diagonal += top
            value += top * top_value
        if i == n - 1:
            diagonal += bottom
            value += bottom * bottom_value
        if i > 0:
            diagonal -= above * upper[i - 1]
            value += above * right[i - 1]
        upper[i] = below / diagonal
        right[i] = value / diagonal
    x[n - 1] = right[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] = right[i] + upper[i] * x[i + 1]


@njit(cache=True)
def _infiltrate(theta, size, porosity, water):
    """Fill the layers from above; return what finds no room, mm."""
    for i in range(theta.size):
        taken = min(water, (porosity - theta[i]) * size[i])
        theta[i] += taken / size[i]
        water -= taken
    return water


@njit(cache=True)
def _drain(theta, size, frozen, porosity, conductivity, exponent):
    """One day of gravity drainage from the top layer down; return what leaves the lowest layer, mm.

    Exact for one layer: dS/dt = -k S^m with k = K / (porosity size) has the solution
    S = (S0^(1-m) + (m-1) k t)^(1/(1-m)). A layer gives no more than the next has room for.
    """
    m = 2 * exponent + 3
    n = theta.size
    leaving = 0.0
    for i in range(n):
        saturation = theta[i] / porosity
        if saturation < 0.15:
            continue
        speed = conductivity * (FROZEN_CONDUCTIVITY if frozen[i] else 1.0) / (porosity * size[i])
        log_power = (1 - m) * np.log(saturation)
        if log_power > 60:  # too dry to move
            continue
        after = (np.exp(log_power) + (m - 1) * speed) ** (1 / (1 - m))
        out = (saturation - after) * porosity * size[i]
        if i < n - 1:
            out = min(out, (porosity - theta[i + 1]) * size[i + 1])
            theta[i + 1] += out / size[i + 1]
        else:
            leaving = out
        theta[i] -= out / size[i]
    return leaving


@njit(cache=True)
def _redistribute(theta, size, porosity, conductivity, exponent, suction):
    """One implicit day of capillary flow with the diffusivity that follows from Campbell (1974).

    D = K b psi / theta of doi 10.1097/00010694-197406000-00001; no water crosses the outer faces.
    """
    n = theta.size
    between = np.empty(n)
    for i in range(n - 1):
        middle = (theta[i] * size[i] + theta[i + 1] * size[i + 1]) / (size[i] + size[i + 1])
        saturation = middle / porosity
        diffusivity = conductivity * exponent * suction / porosity * saturation ** (exponent + 2)
        between[i] = min(diffusivity, 1e5) / (0.5 * (size[i] + size[i + 1]))
    _implicit_diffusion(theta, size, between, 0.0, 0.0, 0.0, 0.0)


@njit(cache=True)
def _take_up(theta, size, frozen, soil, roots, skin, evaporation_demand, transpiration_demand):
    """Take evaporation and transpiration from the layers; return both, mm.

    Evaporation falls below field capacity after Lee & Pielke (1992), transpiration below half of the
    available water linearly down to the wilting point (Feddes et al. 1978).
    """
    capacity, wilting, residual = soil[1], soil[2], soil[3]
    evaporated = 0.0
    transpired = 0.0
    for i in range(theta.size):
        if frozen[i]:
            continue
        wet = min(max(theta[i] / capacity, 0.0), 1.0)
        ease = 0.25 * (1 - np.cos(np.pi * wet)) ** 2
        taken = min(skin[i] * ease * evaporation_demand, max((theta[i] - residual) * size[i], 0.0))
        theta[i] -= taken / size[i]
        evaporated += taken
        ease = min(max((theta[i] - wilting) / (0.5 * (capacity - wilting)), 0.0), 1.0)
        taken = min(roots[i] * ease * transpiration_demand, max((theta[i] - wilting) * size[i], 0.0))
        theta[i] -= taken / size[i]
        transpired += taken
    return evaporated, transpired


@njit(cache=True)
def _one_pixel(rain, air, demand, cover, soil, size, roots, skin, curve, interception, deep, theta, heat, flux, snow):
    """Run one pixel; fills theta, heat (time, layer), flux (time, 4) and snow (time,) in place."""
    n_days, n = theta.shape
    water = np.full(n, 0.5 * (soil[1] + soil[2]))
    warmth = np.full(n, deep)
    pack = 0.0
    conduct = np.empty(n)
    for i in range(n - 1):
        conduct[i] = HEAT_DIFFUSIVITY / (0.5 * (size[i] + size[i + 1]))
    frozen = np.zeros(n, dtype=np.bool_)
    for day in range(n_days):
        liquid = min(max((air[day] - FREEZING + 1) / 2, 0.0), 1.0)
        pack += rain[day] * (1 - liquid)
        melt = min(pack, MELT_FACTOR * max(air[day] - FREEZING, 0.0))
        pack -= melt
        caught = min(rain[day] * liquid, interception * cover[day], demand[day])
        supply = rain[day] * liquid - caught + melt
        left = demand[day] - caught if pack <= 0.0 else 0.0

        wet = 0.0
        for i in range(n):
            wet += water[i] * size[i]
        wet = min(wet / (soil[0] * size.sum()), 1.0)
        fast = supply * (1 - (1 - wet) ** (curve / (1 + curve)))
        runoff = fast + _infiltrate(water, size, soil[0], supply - fast)
        drainage = _drain(water, size, frozen, soil[0], soil[5], soil[4])
        _redistribute(water, size, soil[0], soil[5], soil[4], soil[6])
        evaporated, transpired = _take_up(
            water, size, frozen, soil, roots, skin, left * (1 - cover[day]), left * cover[day]
        )
        insulation = 0.5 * size[0] + SNOW_AS_SOIL * pack
        _implicit_diffusion(
            warmth,
            size,
            conduct,
            HEAT_DIFFUSIVITY / insulation,
            air[day],
            HEAT_DIFFUSIVITY / DEEP_DISTANCE,
            deep,
        )
        for i in range(n):
            frozen[i] = warmth[i] < FREEZING
            theta[day, i] = water[i]
            heat[day, i] = warmth[i]
        snow[day] = pack
        flux[day, EVAPORATION] = evaporated + caught
        flux[day, TRANSPIRATION] = transpired
        flux[day, RUNOFF] = runoff
        flux[day, DRAINAGE] = drainage


@dataclass(frozen=True)
class Balance:
    """State at the end of each day and fluxes over it; thickness (mm) of the layers."""

    moisture: Array  # (pixel, time, layer), m3 m-3
    temperature: Array  # (pixel, time, layer), K
    snow: Array  # (pixel, time), mm
    flux: Array  # (pixel, time, 4), mm d-1: evaporation, transpiration, runoff, drainage
    thickness: Array  # (layer,), mm

    def layer_mean(self, top_cm: float, bottom_cm: float) -> Array:
        """Moisture of a slab of soil, mean of the day's first and last state, (time, pixel)."""
        lower = np.cumsum(self.thickness) / 10
        upper = lower - self.thickness / 10
        weight = np.clip(np.minimum(lower, bottom_cm) - np.maximum(upper, top_cm), 0, None)
        slab = self.moisture @ (weight / weight.sum())
        return middle_of_day(slab).T

    def layer_temperature(self, top_cm: float, bottom_cm: float) -> Array:
        """Temperature of a slab of soil at the end of the day, (time, pixel)."""
        lower = np.cumsum(self.thickness) / 10
        weight = np.clip(np.minimum(lower, bottom_cm) - np.maximum(lower - self.thickness / 10, top_cm), 0, None)
        return (self.temperature @ (weight / weight.sum())).T


def middle_of_day(state: Array) -> Array:
    """Mean of the states at the beginning and the end of each day; time is axis 1."""
    before = np.concatenate([state[:, :1], state[:, :-1]], axis=1)
    return 0.5 * (before + state)


def water_balance(
    weather: dict[str, Array],
    demand: Array,
    cover: Array,
    soil: Soil,
    thickness_mm: Array,
    *,
    deep_temperature: Array,
    roots: Array,
    skin: Array,
    runoff_curve: float = 0.25,
    interception: float = 1.2,
) -> Balance:
    """Run the layered water and heat balance over all pixels, one day a step.

    Parameters
    ----------
    weather : dict of array, shape (time, pixel)
        ``precipitation`` (mm d-1) and ``air_temperature`` (K).
    demand, cover : array, shape (time, pixel)
        Reference evaporation (mm d-1) and green cover (0-1).
    soil : Soil
    thickness_mm : array, shape (layer,)
    deep_temperature : array, shape (pixel,)
        Constant temperature (K) below the lowest layer.
    roots : array, shape (pixel, layer)
        Share of the roots in each layer.
    skin : array, shape (layer,)
        Share of the bare-soil evaporation asked of each layer.
    runoff_curve : float
        Shape of the saturated area (Wood et al. 1992, doi 10.1029/91JD01786).
    interception : float
        Water that full cover can hold, mm a day.

    Returns
    -------
    Balance
        It closes to rounding: precipitation = change of soil water and snow + the sum of the four fluxes.
    """
    rain = np.ascontiguousarray(weather["precipitation"].T, dtype=np.float64)
    air = np.ascontiguousarray(weather["air_temperature"].T, dtype=np.float64)
    demand, cover = (np.ascontiguousarray(a.T, dtype=np.float64) for a in (demand, cover))
    properties = np.stack([getattr(soil, field.name) for field in fields(Soil)], axis=1)
    n_pixels, n_days = rain.shape
    shape = (n_pixels, n_days, thickness_mm.size)
    moisture, heat = np.empty(shape), np.empty(shape)
    flux, snow = np.empty((n_pixels, n_days, 4)), np.empty((n_pixels, n_days))
    for p in range(n_pixels):
        _one_pixel(
            rain[p], air[p], demand[p], cover[p], properties[p], thickness_mm, roots[p], skin, runoff_curve,
            interception, deep_temperature[p], moisture[p], heat[p], flux[p], snow[p],
        )  # fmt: skip
    return Balance(moisture, heat, snow, flux, thickness_mm)
