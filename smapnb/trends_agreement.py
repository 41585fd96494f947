"""How far two sets of slopes agree when both are uncertain: a line with errors in both, and a correlation with limits.

Slopes and their limits come from `smapnb.trends`; nothing is plotted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm

Floats = NDArray[np.float64]

FEWEST = 4  # Fisher's limits have n - 3 in their denominator
ANGLES = 721  # a quarter of a degree apart
ITERATIONS = 200
TOLERANCE = 1e-13
NUMBERS = (
    *("r", "r_lower", "r_upper", "r_boot_lower", "r_boot_upper"),
    *("slope", "intercept", "slope_lower", "slope_upper", "slope_boot_lower", "slope_boot_upper", "scatter"),
)


class Line(NamedTuple):
    """y = intercept + slope x; standard errors; `scatter`: chi-squared over its degrees of freedom (1: as stated)."""

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    scatter: float


def york(x: ArrayLike, y: ArrayLike, x_error: ArrayLike, y_error: ArrayLike) -> Line:
    """Fit a line to points whose x and y both have errors, each its own (York et al. 2004, doi 10.1119/1.1632486).

    The fixed point of their equations 13 for errors of x and y that do not correlate or, where the iteration does not
    settle, the least sum of squares that these equations look for; the standard errors are those of the stated errors,
    not widened by the scatter. Equal errors give Deming's regression.

    Parameters
    ----------
    x, y : array_like
        Shape (n,).
    x_error, y_error : array_like
        Standard deviations, positive, broadcast over the points.

    Returns
    -------
    Line

    Raises
    ------
    ValueError
        Fewer than three points, values that are not finite, errors that are not positive.
    """
    points = [np.asarray(a, np.float64) for a in np.broadcast_arrays(x, y, x_error, y_error)]
    one, two, one_error, two_error = points
    if one.ndim != 1 or one.size < 3:
        raise ValueError(f"a line with errors needs three points or more, there are {one.size}")
    if not np.isfinite(points).all() or not (one_error > 0).all() or not (two_error > 0).all():
        raise ValueError("points must be finite and their errors positive")
    weight_x, weight_y = one_error**-2, two_error**-2
    slope = _first_slope(one, two, one_error, two_error)
    for _ in range(ITERATIONS):
        weight = weight_x * weight_y / (weight_x + slope**2 * weight_y)
        mean_x, mean_y = (weight @ one) / weight.sum(), (weight @ two) / weight.sum()
        u, v = one - mean_x, two - mean_y
        beta = weight * (u / weight_y + slope * v / weight_x)
        before, slope = slope, float((weight * beta) @ v / ((weight * beta) @ u))
        if abs(slope - before) <= TOLERANCE * max(abs(slope), 1e-300):
            break
    else:  # a fixed point that repels, as with points that hardly correlate
        slope = _least_misfit(one, two, weight_x, weight_y)
        weight = weight_x * weight_y / (weight_x + slope**2 * weight_y)
        mean_x, mean_y = (weight @ one) / weight.sum(), (weight @ two) / weight.sum()
        beta = weight * ((one - mean_x) / weight_y + slope * (two - mean_y) / weight_x)
    adjusted = mean_x + beta
    centre = (weight @ adjusted) / weight.sum()
    slope_variance = 1 / (weight @ (adjusted - centre) ** 2)
    intercept = float(mean_y - slope * mean_x)
    chi_squared = float(weight @ (two - slope * one - intercept) ** 2)
    return Line(
        slope,
        intercept,
        float(np.sqrt(slope_variance)),
        float(np.sqrt(1 / weight.sum() + centre**2 * slope_variance)),
        chi_squared / (one.size - 2),
    )


def _least_misfit(x: Floats, y: Floats, weight_x: Floats, weight_y: Floats) -> float:
    """Slope of the least weighted sum of squares, searched over all angles of the line."""

    def misfit(angle: float) -> float:
        slope = np.tan(angle)
        weight = weight_x * weight_y / (weight_x + slope**2 * weight_y)
        residual = y - slope * x
        return float(weight @ (residual - (weight @ residual) / weight.sum()) ** 2)

    angles = np.linspace(-np.pi / 2, np.pi / 2, ANGLES)[1:-1]
    step = angles[1] - angles[0]
    best = angles[int(np.argmin([misfit(angle) for angle in angles]))]
    found = minimize_scalar(misfit, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-12})
    return float(np.tan(found.x))


def _first_slope(x: Floats, y: Floats, x_error: Floats, y_error: Floats) -> float:
    """Deming's slope at the mean ratio of the error variances: begins the iteration on the right side of the pole."""
    ratio = float((y_error**2).mean() / (x_error**2).mean())
    covariance = np.cov(x, y)
    sxx, syy, sxy = covariance[0, 0], covariance[1, 1], covariance[0, 1]
    if sxy == 0:
        return 0.0
    lead = syy - ratio * sxx
    return float((lead + np.sqrt(lead**2 + 4 * ratio * sxy**2)) / (2 * sxy))


def fisher_limits(r: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Limits of a correlation by Fisher's transformation, tanh(artanh r -+ z / sqrt(n - 3)); NaN below 4 points."""
    if n < FEWEST or not np.isfinite(r):
        return np.nan, np.nan
    if abs(r) >= 1:
        return float(np.sign(r)), float(np.sign(r))
    reach = norm.ppf((1 + level) / 2) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def agreement(
    x: ArrayLike,
    y: ArrayLike,
    x_limits: ArrayLike | None = None,
    y_limits: ArrayLike | None = None,
    *,
    level: float = 0.95,
    selected: float = 0.5,
    n_boot: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare slopes `y` with reference slopes `x` of the same sites: all of them, and those with a steep reference.

    Selecting sites by the size of x widens the range of x and so raises r, whatever the agreement; hence both rows.

    Parameters
    ----------
    x, y : array_like
        Shape (sites,), the same units, such as volumetric % per year; a site with NaN in either is left out.
    x_limits, y_limits : array_like, optional
        Shape (sites, 2), limits of the slopes at `level`; half their distance over z is taken for the standard
        deviation. Where either is missing for the call, all errors are taken for equal (Deming's regression of ratio
        1) and the stated-error limits are NaN.
    level : float
        Level of all limits.
    selected : float
        A site counts as steep where x exceeds it in size (paper: 0.5 volumetric % per year).
    n_boot, seed
        Resamples of sites for the bootstrap limits; a resample that allows no line is left out and counted.

    Returns
    -------
    pandas.DataFrame
        Index ``sites``: "all", "selected". Columns ``n``; ``r, r_lower, r_upper`` (Fisher), ``r_boot_lower,
        r_boot_upper``; ``slope, intercept, slope_lower, slope_upper`` (from the stated errors, widened by the root of
        the scatter where that exceeds 1), ``slope_boot_lower, slope_boot_upper``, ``scatter``, ``resamples``.

    Raises
    ------
    ValueError
        Shapes that do not fit; limits that are turned round or equal where both slopes exist.
    """
    one, two = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"x and y need one value a site: shapes {one.shape} and {two.shape}")
    stated = x_limits is not None and y_limits is not None
    errors = [_errors(limits, one.size, level, name) for limits, name in ((x_limits, "x"), (y_limits, "y"))]
    if not stated:
        errors = [np.ones(one.size), np.ones(one.size)]
    points = np.stack([one, two, *errors])
    known = ~np.isnan(points).any(0)
    if not (points[2:, known] > 0).all():
        raise ValueError(f"limits: {int((points[2:, known] <= 0).any(0).sum())} sites have limits of no width")
    generator = np.random.default_rng(seed)
    rows = {
        name: _compare(points[:, chosen], stated, level, n_boot, generator)
        for name, chosen in (("all", known), ("selected", known & (np.abs(one) > selected)))
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("sites")


def by_network(pairs: pd.DataFrame, **settings: Any) -> dict[str, pd.DataFrame]:
    """Give `agreement` of the core sites, of the sparse network, and of both together.

    Parameters
    ----------
    pairs : pandas.DataFrame
        As `smapnb.trends_table.paired` gives: ``network`` (core or crn), ``x, x_lower, x_upper, y, y_lower, y_upper``.
    **settings
        Of `agreement`.
    """
    parts = {name: pairs[pairs["network"] == name] for name in ("core", "crn")} | {"both": pairs}
    limits = {axis: [f"{axis}_lower", f"{axis}_upper"] for axis in "xy"}
    return {
        name: agreement(
            *(part[axis].to_numpy(float) for axis in "xy"),
            *(part[columns].to_numpy(float) for columns in limits.values()),
            **settings,
        )
        for name, part in parts.items()
    }


def _errors(limits: ArrayLike | None, sites: int, level: float, name: str) -> Floats:
    if limits is None:
        return np.ones(sites)
    pairs = np.asarray(limits, np.float64)
    if pairs.shape != (sites, 2):
        raise ValueError(f"{name}_limits has the shape {pairs.shape}, not ({sites}, 2)")
    return (pairs[:, 1] - pairs[:, 0]) / (2 * norm.ppf((1 + level) / 2))


def _compare(
    points: Floats, stated: bool, level: float, n_boot: int, generator: np.random.Generator
) -> dict[str, float]:
    n = points.shape[1]
    row: dict[str, float] = {"n": n} | dict.fromkeys(NUMBERS, np.nan)
    row["resamples"] = 0
    if n < FEWEST or np.ptp(points[0]) == 0 or np.ptp(points[1]) == 0:
        return row
    line = york(*points)
    row["r"] = float(np.corrcoef(points[0], points[1])[0, 1])
    row["r_lower"], row["r_upper"] = fisher_limits(row["r"], n, level)
    row["slope"], row["intercept"] = line.slope, line.intercept
    if stated:
        reach = norm.ppf((1 + level) / 2) * line.slope_error * np.sqrt(max(1.0, line.scatter))
        row["slope_lower"], row["slope_upper"], row["scatter"] = line.slope - reach, line.slope + reach, line.scatter
    samples = []
    for drawn in generator.integers(n, size=(n_boot, n)):
        part = points[:, drawn]
        if np.ptp(part[0]) == 0 or np.ptp(part[1]) == 0:
            continue
        samples.append((np.corrcoef(part[0], part[1])[0, 1], york(*part).slope))
    row["resamples"] = len(samples)
    if samples:
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        row["r_boot_lower"], row["slope_boot_lower"] = low
        row["r_boot_upper"], row["slope_boot_upper"] = high
    return row
