"""Stations to the mean of a pixel: weighted by area, renormalised over those that operate, with its sampling error.

It makes no weights and applies no rule of quality. The error is that of sampling the pixel at a few places: what all
sensors have in common, such as a bias of their calibration or of their depth, no station can tell of another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Weights = ArrayLike | xr.DataArray | pd.Series | Mapping[str, float]

LEAST_COVERAGE = 0.5  # Fang, Pan & Shen (2019), section II-C: at least half of the pixel
ROUNDING = 1e-9  # of sums of weights
POOL_DAYS = 15


def upscale(
    theta: xr.DataArray | ArrayLike,
    weights: Weights | None = None,
    *,
    provider_weights: Weights | None = None,
    least_coverage: float = LEAST_COVERAGE,
    pool_days: int = POOL_DAYS,
) -> xr.Dataset:
    r"""Average stations over a pixel.

    On each day, over the stations i that have a record,

    .. math:: \hat\theta = \sum_i w_i \theta_i / c, \qquad c = \sum_i w_i,

    and NaN where the coverage c is below `least_coverage`. With :math:`v_i = w_i / c` and :math:`q = \sum v_i^2`, the
    variance of stations around the pixel's mean and the sampling error are

    .. math:: s^2 = \sum_i v_i (\theta_i - \hat\theta)^2 / (1 - q), \qquad e = \sqrt{s^2 q} .

    The variance is unbiased if the stations deviate from the pixel's mean independently and alike; with weights by area
    a cluster of stations does not make it small. Where moisture is alike over distances as long as those between
    stations, each polygon is better known than that, and the error too large rather than too small. Each day's variance
    is pooled with those of `pool_days` before and after, as part of what sets stations apart passes within days. What
    stays (soil, place) is the same all along, and a longer record tells no more of it: so the degrees of freedom remain
    those of one day's stations, :math:`(1 - q)^2 / (q - 2 \sum v_i^3 + q^2)` (Satterthwaite 1946, doi 10.2307/3002019;
    n - 1 for equal weights).

    Parameters
    ----------
    theta : xarray.DataArray or array_like, (time, station)
        m3 m-3; NaN is a missing record.
    weights : array_like or xarray.DataArray, (station,), or mapping or pandas.Series of station to weight
        Parts of the pixel, of sum 1. What is missing from 1, and the weight of a station in the mapping that `theta`
        does not have, belongs to stations that do not operate. A station that the mapping does not name has no weight.
    provider_weights : as `weights`, optional
        Weights that the site's provider gives: taken in the place of `weights`, after division by their sum.
    least_coverage : float
        Coverage that a mean needs, 0..1.
    pool_days : int
        Half of the window over which the variance is pooled; 0: each day alone.

    Returns
    -------
    xarray.Dataset, (time,)
        ``value`` and ``error`` (m3 m-3), ``coverage``, ``n_stations`` (with a record and a weight) and
        ``degrees_of_freedom`` of the error, for `limits`. The error is NaN where no day of the window has two stations.

    Raises
    ------
    ValueError
        No weights; weights that are negative, missing, of sum 0 or above 1, or do not fit the stations; an infinite
        value, with its station and time.
    """
    if not 0 <= least_coverage <= 1 or pool_days < 0:
        raise ValueError(f"least_coverage={least_coverage} must lie in 0..1, pool_days={pool_days} not be negative")
    if not isinstance(theta, xr.DataArray) and np.ndim(theta) != 2:
        raise ValueError(f"theta has the shape {np.shape(theta)}, not (time, station)")
    array = theta if isinstance(theta, xr.DataArray) else xr.DataArray(np.asarray(theta), dims=("time", "station"))
    if set(array.dims) != {"time", "station"}:
        raise ValueError(f"{array.name}: dimensions {array.dims}, not time and station")
    array = array.transpose("time", "station")
    part = _weights(array, weights, provider_weights)
    values = array.to_numpy().astype(np.float64)
    _refuse_infinite(array, values)
    mean, coverage, n, variance, freedom, squares = _moments(values, part)
    pooled, pooled_freedom = _pool(variance, freedom, _days(array), pool_days)
    known = (coverage >= least_coverage - ROUNDING) & (n > 0)
    error = np.where(known, np.sqrt(pooled * squares), np.nan)
    return _labelled(
        array,
        value=np.where(known, mean, np.nan),
        error=error,
        coverage=np.clip(coverage, 0, 1),
        n_stations=n,
        degrees_of_freedom=np.where(np.isnan(error), np.nan, pooled_freedom),
    )


def limits(upscaled: xr.Dataset, level: float = 0.95) -> xr.DataArray:
    """Give the limits between which the pixel's mean lies, by Student's t.

    Parameters
    ----------
    upscaled : xarray.Dataset
        With ``value``, ``error`` and ``degrees_of_freedom``, as `upscale` returns.
    level : float
        Part of the cases in which the limits should hold the truth, between 0 and 1.

    Returns
    -------
    xarray.DataArray, (time, limit)
        ``limit`` is lower, upper; m3 m-3; NaN where there is no error. Days are not independent: limits that miss on
        one day tend to miss on the next, as stations stay where they are.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")
    half = stats.t.ppf((1 + level) / 2, upscaled["degrees_of_freedom"]) * upscaled["error"]
    both = xr.concat([upscaled["value"] - half, upscaled["value"] + half], pd.Index(["lower", "upper"], name="limit"))
    attrs = {"units": "m3 m-3", "long_name": f"limits of the pixel's mean, level {level:g}"}
    return both.transpose(..., "limit").rename("limits").assign_attrs(attrs)


def by_station(weights: pd.Series | Mapping[str, float]) -> dict[str, float]:
    """Weights as a mapping of station to weight; an error where a station has two."""
    if isinstance(weights, pd.Series) and not weights.index.is_unique:
        raise ValueError(f"two weights for station {weights.index[weights.index.duplicated()][0]}")
    return {str(station): float(weight) for station, weight in weights.items()}


def _weights(theta: xr.DataArray, own: Weights | None, provided: Weights | None) -> Floats:
    """Weights by station, in the order of `theta`."""
    given = own if provided is None else provided
    if given is None:
        raise ValueError("neither weights nor provider_weights are given")
    if isinstance(given, pd.Series):
        given = by_station(given)
    stations = theta["station"].to_numpy() if "station" in theta.coords else np.arange(theta.sizes["station"])
    if isinstance(given, Mapping):
        every = np.array(list(given.values()), dtype=np.float64)
        part = np.array([given.get(str(station), 0.0) for station in stations], dtype=np.float64)
    else:
        if isinstance(given, xr.DataArray) and "station" in given.coords:
            own_stations = given["station"].to_numpy()
            if not np.array_equal(own_stations, stations):
                raise ValueError(f"weights are of the stations {own_stations}, theta of {stations}")
        every = part = np.asarray(given, dtype=np.float64)
    if part.shape != stations.shape:
        raise ValueError(f"weights of shape {part.shape} for {stations.size} stations")
    wrong = ~(np.isfinite(every) & (every >= 0))
    if wrong.any():
        names = np.array(list(given)) if isinstance(given, Mapping) else stations
        raise ValueError(f"weight of station {names[wrong][0]} is {every[wrong][0]}")
    total = every.sum()
    if total <= 0 or not part.sum() > 0:
        named = f"; weights are given of {list(given)}" if isinstance(given, Mapping) else ""
        raise ValueError(f"the weights of the stations {stations} sum to 0{named}")
    if provided is None and total > 1 + 1e-6:
        raise ValueError(f"weights sum to {total}, more than the whole pixel")
    return part / total if provided is not None else part


def _refuse_infinite(theta: xr.DataArray, values: Floats) -> None:
    infinite = np.argwhere(np.isinf(values))
    if infinite.size:
        t, s = infinite[0]
        place = [theta[d].to_numpy()[i] if d in theta.coords else i for d, i in (("time", t), ("station", s))]
        raise ValueError(f"infinite moisture at time {place[0]}, station {place[1]}; a missing record is NaN")


def _moments(values: Floats, part: Floats) -> tuple[Floats, Floats, NDArray[np.int64], Floats, Floats, Floats]:
    """Mean, coverage, number of stations, variance, its degrees of freedom and the sum of squared weights, by day."""
    valid = ~np.isnan(values) & (part > 0)
    operates = valid.astype(np.float64)
    n = valid.sum(axis=1)
    coverage = operates @ part
    share = np.where(n > 0, coverage, np.nan)
    mean = np.where(valid, values, 0) @ part / share
    squares, cubes = (operates @ part**power / share**power for power in (2, 3))
    deviation = np.where(valid, values - mean[:, None], 0)
    several = n > 1
    rest = np.where(several, 1 - squares, np.nan)
    variance = deviation**2 @ part / share / rest
    freedom = rest**2 / (squares - 2 * cubes + squares**2)
    return mean, coverage, n, variance, freedom, squares


def _days(theta: xr.DataArray) -> NDArray[np.int64]:
    """Days since the first; the bare position where times are no dates."""
    index = theta.indexes.get("time")
    if not isinstance(index, pd.DatetimeIndex):
        return np.arange(theta.sizes["time"])
    return (index.normalize() - index.normalize().min()).days.to_numpy(np.int64)


def _pool(variance: Floats, freedom: Floats, day: NDArray[np.int64], half: int) -> tuple[Floats, Floats]:
    """Variance over the days of each window, weighted by degrees of freedom, and the mean of these."""
    known = ~np.isnan(variance)
    if half == 0:
        return variance, freedom
    length = int(day.max(initial=-1)) + 1

    def window(values: Floats) -> Floats:
        by_day = np.bincount(day, np.where(known, values, 0), minlength=length)
        padded = np.concatenate([np.zeros(half), by_day, np.zeros(half)])
        return np.convolve(padded, np.ones(2 * half + 1), mode="valid")[day]

    n, total = window(np.ones(len(day))), window(freedom)
    with_any = n > 0
    mean = np.divide(window(freedom * variance), total, out=np.full(len(day), np.nan), where=with_any)
    return mean, np.divide(total, n, out=np.full(len(day), np.nan), where=with_any)


def _labelled(theta: xr.DataArray, **columns: NDArray) -> xr.Dataset:
    coords = {name: c for name, c in theta.coords.items() if "station" not in c.dims}
    out = xr.Dataset({name: ("time", values) for name, values in columns.items()}, coords=coords)
    described = {
        "value": ("m3 m-3", "mean of the pixel by its stations"),
        "error": ("m3 m-3", "sampling error of that mean; a bias common to all sensors is not in it"),
        "coverage": ("1", "part of the pixel covered by stations that operate"),
        "n_stations": ("1", "stations that operate"),
        "degrees_of_freedom": ("1", "degrees of freedom of the sampling error"),
    }
    for name, (units, long_name) in described.items():
        out[name].attrs = {"units": units, "long_name": long_name}
    return out
