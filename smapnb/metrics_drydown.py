"""How fast the soil dries after rain: the e-folding time of dry spells.

Spells found from precipitation serve several products alike. Whether two series are fitted on the same days is the
caller's choice, and it matters: probes read only when the satellite passes seem to dry a fifth faster than probes read
daily (Shellito et al. 2016, Geophys. Res. Lett. 43, doi 10.1002/2016GL069946).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from smapnb.metrics_kernels import Floats
from smapnb.metrics_labels import calendar

Spells = NDArray[np.int64]

FEWEST_OBSERVATIONS = 4  # of a spell; a curve of two parameters needs more than two points to be judged
FEWEST_SPELLS = 5  # below that a median says nothing
FASTEST, SLOWEST = 0.3, 300.0  # days; a fit at either end of the search has found no time
LONGEST = 30  # days of a spell that are fitted; later on it is the season that dries the soil
COARSE = 161  # times tried before the search is refined: 4 % apart
TIMES = np.linspace(np.log(FASTEST), np.log(SLOWEST), COARSE)
DAYS = np.arange(LONGEST)
CURVES = np.exp(-DAYS[:, None] / np.exp(TIMES))  # (day, time)
FLOORS = 33
RANGE = (0.02, 0.98)  # quantiles; the extremes of a noisy series are errors of measurement
GOLDEN = (np.sqrt(5) - 1) / 2
REFINEMENTS = 30  # each narrows the bracket by 0.62


def dry_spells(precipitation: ArrayLike, *, threshold: float = 1.0, fewest: int = FEWEST_OBSERVATIONS) -> Spells:
    """Find the runs of dry days.

    Parameters
    ----------
    precipitation : array_like
        Daily sums of consecutive calendar days, mm d-1, shape (days,). A day of unknown rain ends a spell.
    threshold : float
        A day with more than this is wet.
    fewest : int
        Days that a spell must have.

    Returns
    -------
    numpy.ndarray
        Shape (spells, 2): first and last day, both dry.

    Raises
    ------
    ValueError
        More than one dimension.
    """
    rain = np.asarray(precipitation, np.float64)
    if rain.ndim != 1:
        raise ValueError(f"precipitation has shape {rain.shape}; one series of days is needed")
    edges = np.diff(np.concatenate([[False], rain <= threshold, [False]]).astype(np.int64))
    spells = np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1])
    return spells[spells[:, 1] - spells[:, 0] + 1 >= fewest]


def own_spells(values: ArrayLike, *, rise: float = 0.01, fewest: int = FEWEST_OBSERVATIONS) -> Spells:
    """Find the runs of observations in which a series does not rise, for want of precipitation.

    Noise above `rise` cuts spells short, so that spells of a noisy and of a smooth series are not alike.

    Parameters
    ----------
    values : array_like
        Soil moisture of consecutive calendar days, m3 m-3, shape (days,); NaN is a gap.
    rise : float
        A step up from the observation before by more than this begins a new spell.
    fewest : int
        Observations that a spell must have.

    Returns
    -------
    numpy.ndarray
        Shape (spells, 2): the days of the first and of the last observation.

    Raises
    ------
    ValueError
        More than one dimension.
    """
    series = np.asarray(values, np.float64)
    if series.ndim != 1:
        raise ValueError(f"values have shape {series.shape}; one series of days is needed")
    days = np.flatnonzero(~np.isnan(series))
    begins = np.flatnonzero(np.diff(series[days], prepend=np.inf) > rise)
    begins = np.union1d(begins, [0] if days.size else []).astype(np.int64)
    ends = np.append(begins[1:], days.size) - 1
    long_enough = ends - begins + 1 >= fewest
    return np.column_stack([days[begins[long_enough]], days[ends[long_enough]]]).astype(np.int64).reshape(-1, 2)


def efolding_days(
    values: ArrayLike,
    spells: Spells,
    *,
    floor: float | None = None,
    fewest: int = FEWEST_OBSERVATIONS,
    least_drop: float = 0.2,
    least_fit: float = 0.7,
) -> Floats:
    """Fit ``floor + A exp(-t / tau)`` to each spell by least squares and give tau.

    The exponential approach to a residual is that of McColl et al. (2017, Geophys. Res. Lett. 44, doi
    10.1002/2017GL072819). Here the residual is one for the series, since a spell of a few noisy retrievals cannot
    tell it, and it is fitted with the rest: a low quantile of a noisy series lies below it, which doubles short times.

    Parameters
    ----------
    values : array_like
        Soil moisture of consecutive calendar days, shape (days,); NaN is a gap.
    spells : numpy.ndarray
        First and last day of each, shape (spells, 2); of a long one the first 30 days are fitted.
    floor : float, optional
        The moisture that drying tends to; none: that which fits all usable spells together best, from 0 to the
        median of the series. Without noise the times are then right to a few per cent, with a floor exactly.
    fewest : int
        Observations that a spell must have.
    least_drop : float
        What a spell must lose from its first to its last observation, as a fraction of the range of the series (2nd
        to 98th percentile), so that a damped product is asked for no more than a lively one.
    least_fit : float
        Least coefficient of determination of the fit.

    Returns
    -------
    numpy.ndarray
        tau in days, shape (spells,); NaN where a spell is not usable or its tau is outside 0.3 to 300 days.

    Raises
    ------
    ValueError
        Spells that are not inside the series.
    """
    series, spells = np.asarray(values, np.float64), np.asarray(spells, np.int64).reshape(-1, 2)
    if spells.size and not (spells.min() >= 0 and spells.max() < series.size):
        raise ValueError(f"spells run from day {spells.min()} to {spells.max()}; the series has {series.size} days")
    out = np.full(len(spells), np.nan)
    if not len(spells) or np.isnan(series).all():
        return out
    low, high = np.nanquantile(series, RANGE)
    day = spells[:, :1] + DAYS  # (spell, day of the spell)
    theta = series[np.minimum(day, series.size - 1)]
    theta = np.where(day <= spells[:, 1:], theta, np.nan)
    seen = ~np.isnan(theta)
    rows = np.arange(len(theta))
    drop = theta[rows, seen.argmax(1)] - theta[rows, LONGEST - 1 - seen[:, ::-1].argmax(1)]
    usable = (seen.sum(1) >= fewest) & (drop > 0) & (drop >= least_drop * (high - low))
    if usable.any():
        theta, seen = np.where(seen, theta, 0.0)[usable], seen[usable]
        floor = _shared_floor(theta, seen, float(np.nanmedian(series))) if floor is None else floor
        tau, fit = _fit(np.where(seen, theta - floor, 0.0), seen)
        out[usable] = np.where(fit >= least_fit, tau, np.nan)
    return out


def _shared_floor(theta: Floats, seen: NDArray[np.bool_], highest: float) -> float:
    """Floor with the least sum of squares over all spells, each with its own best A and tau; gaps of `theta` are 0.

    The sum of squares of a spell needs only sums over its days, whatever the floor, so they are made once for all
    times of the coarse search; between those the best is taken from a parabola. A product that is not above zero half
    of the time, as an untrained one, has its median for a floor.
    """
    if highest <= 0:
        return highest
    falls, ones, power = theta @ CURVES, seen @ CURVES, seen @ CURVES**2  # (spell, time)
    n, total, squares = seen.sum(), theta.sum(), (theta**2).sum()
    rows = np.arange(len(theta))

    def misfit(floor: float) -> float:
        explained = np.maximum(falls - floor * ones, 0.0) ** 2 / power
        best = explained.argmax(1).clip(1, COARSE - 2)
        before, at, after = (explained[rows, best + step] for step in (-1, 0, 1))
        bend = 2 * at - before - after
        at = at + np.divide((after - before) ** 2, 8 * bend, out=np.zeros_like(at), where=bend > 0)
        return float(squares - 2 * floor * total + n * floor**2 - at.sum())

    tried = np.linspace(0.0, highest, FLOORS)
    best = int(np.argmin([misfit(floor) for floor in tried]))
    bounds = tried[max(best - 1, 0)], tried[min(best + 1, FLOORS - 1)]
    return float(minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)


def _fit(above: Floats, seen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Least-squares tau of ``A exp(-t / tau)`` and its coefficient of determination; arrays (spell, day), gaps 0.

    For a given tau the best A is known, so the search is over one number: a coarse one over all times, then golden
    sections around the best of it.
    """
    best = (np.maximum(above @ CURVES, 0.0) ** 2 / (seen @ CURVES**2)).argmax(1)  # growth explains nothing
    low, high = TIMES[np.maximum(best - 1, 0)], TIMES[np.minimum(best + 1, COARSE - 1)]

    def explained(log_tau: Floats) -> Floats:  # (spell,): what the best A takes from the sum of squares
        curve = np.exp(-DAYS / np.exp(log_tau)[:, None]) * seen
        return np.maximum((curve * above).sum(1), 0.0) ** 2 / (curve**2).sum(1)

    for _ in range(REFINEMENTS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        lower_is_better = explained(left) > explained(right)
        low, high = np.where(lower_is_better, low, left), np.where(lower_is_better, right, high)
    middle = (low + high) / 2
    n = seen.sum(1)
    residual = (above**2).sum(1) - explained(middle)
    spread = (above**2).sum(1) - above.sum(1) ** 2 / n
    inside = (best > 0) & (best < COARSE - 1)
    return np.where(inside, np.exp(middle), np.nan), 1 - residual / spread


def drydown_days(
    values: xr.DataArray,
    precipitation: xr.DataArray | None = None,
    *,
    dim: str = "time",
    threshold: float = 1.0,
    rise: float = 0.01,
    floor: float | None = None,
    least_drop: float = 0.2,
    least_fit: float = 0.7,
    fewest_spells: int = FEWEST_SPELLS,
) -> xr.Dataset:
    """Give the median e-folding time of the dry spells of each series.

    Parameters
    ----------
    values : xarray.DataArray
        Soil moisture, m3 m-3, by day; gaps are NaN or absent days.
    precipitation : xarray.DataArray, optional
        Daily precipitation with the same other dimensions, mm d-1: its dry spells (`dry_spells`, `threshold`) are
        fitted. None: those of the series itself (`own_spells`, `rise`).
    dim : str
        Dimension of the days.
    floor, least_drop, least_fit
        As in `efolding_days`.
    fewest_spells : int
        With fewer usable spells there is no median.

    Returns
    -------
    xarray.Dataset
        ``drydown_days, lower_quartile, upper_quartile`` (days), ``n_spells`` (usable), ``n_found`` and ``reason``
        (empty where there is a median), with the dimensions of `values` but `dim`.

    Raises
    ------
    ValueError
        A day that occurs twice, or places of `precipitation` that are not those of `values`.
    """
    rain = values * np.nan if precipitation is None else precipitation
    try:
        xr.align(*(x.isel({dim: 0}, drop=True) for x in (rain, values)), join="exact")
        rain, series = xr.align(rain, values, join="outer")
        rain = rain.broadcast_like(series).transpose(dim, ...)
        series = series.transpose(*rain.dims)
    except ValueError as error:
        raise ValueError(f"precipitation does not fit {values.name}: {error}") from error
    place = series.isel({dim: 0}, drop=True)
    columns, rains = (_every_day(x, dim) for x in (series, rain))
    rows = []
    for column in range(columns.shape[1]):
        own = columns[:, column]
        spells = (
            own_spells(own, rise=rise) if precipitation is None else dry_spells(rains[:, column], threshold=threshold)
        )
        taus = efolding_days(own, spells, floor=floor, least_drop=least_drop, least_fit=least_fit)
        rows.append(_summary(taus[~np.isnan(taus)], len(spells), not np.isnan(own).all(), fewest_spells))
    table = pd.DataFrame(
        rows, columns=["drydown_days", "lower_quartile", "upper_quartile", "n_spells", "n_found", "reason"]
    )
    out = xr.Dataset({name: (place.dims, table[name].to_numpy().reshape(place.shape)) for name in table})
    for name in ("drydown_days", "lower_quartile", "upper_quartile"):
        out[name].attrs["units"] = "d"
    return out.assign_coords(place.coords)


def _summary(taus: Floats, found: int, observed: bool, fewest: int) -> tuple[float, float, float, int, int, str]:
    if taus.size >= fewest:
        lower, median, upper = np.quantile(taus, [0.25, 0.5, 0.75])
        return median, lower, upper, taus.size, found, ""
    reason = f"{taus.size} usable of {found} dry spells; {fewest} are needed" if observed else "no observations"
    return np.nan, np.nan, np.nan, taus.size, found, reason


def _every_day(series: xr.DataArray, dim: str) -> Floats:
    """Columns on every calendar day from the first to the last, absent ones NaN."""
    offset = calendar(series, dim)
    if np.unique(offset).size < offset.size:
        raise ValueError(f"{series.name}: a day of {dim!r} occurs more than once")
    out = np.full((offset.max() + 1, max(1, series.size // offset.size)), np.nan)
    out[offset] = series.to_numpy().reshape(offset.size, -1)
    return out
