"""Limits that belong to each trend test: the slopes which the test, with its own variance, would not refute.

Of the pairs that went into a test's S, sorted by slope, those of rank (N -+ z sqrt(var S)) / 2 (Sen 1968, doi
10.2307/2285891; for seasons Gilbert 1987, ISBN 978-0-471-28878-7, section 17.4.2). Too narrow wherever var S is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from smapnb import trends_kernels as kernels
from smapnb.trends import AUTHOR_YEAR, PER_CENT, mann_kendall
from smapnb.trends_axis import Axis, Series
from smapnb.trends_methods import Reason, Settings, anomaly_months, author_years, score, within_seasons

Floats = NDArray[np.float64]

NONE = (np.nan, np.nan)
LEAST_VALID = 0.5  # of a month's or year's days, as `mann_kendall` has it


class Tested(NamedTuple):
    """One series by one test: slope and limits per year, in per cent of the unit of the series."""

    slope: float
    lower: float
    upper: float
    p: float
    n: int
    reason: Reason


def slope_with_limits(y: ArrayLike, time: ArrayLike, method: str, *, level: float = 0.95, **arguments: Any) -> Tested:
    """Run one test on one series and give its slope with limits.

    Parameters
    ----------
    y : array_like
        Shape (time,); NaN are gaps.
    time : array_like
        datetime64 or decimal years, as in `smapnb.trends.mann_kendall`.
    method : str
        As there.
    level : float
        Confidence level.
    **arguments
        ``lags``, ``least_factor``, ``least_valid`` as there.

    Returns
    -------
    Tested
        Limits are NaN where the test has no p; where the pairs are so few that none is shut out at this level; and for
        ``trend_free_pre_whitening``, which tests another series than it measures.

    Raises
    ------
    ValueError
        As in `smapnb.trends.mann_kendall`; `y` is no vector.
    """
    values = np.asarray(y, np.float64)
    if values.ndim != 1:
        raise ValueError(f"one series is a vector; y has the shape {values.shape}")
    trend = mann_kendall(values, time, method, alpha=1 - level, **arguments)
    axis = Axis.of(time, values.size)
    author = method == "author_code"
    scale = PER_CENT * (AUTHOR_YEAR if author and axis.per_year > 1 else axis.per_year)
    limits = NONE
    if np.isfinite(trend.p) and method != "trend_free_pre_whitening":
        settings = Settings(1 - level, None, 0.0, arguments.get("least_valid", LEAST_VALID), None)
        reach = float(norm.ppf((1 + level) / 2) * np.sqrt(float(trend.var_s)))
        limits = (_within if method.startswith("seasonal") else _among)(axis, values, method, settings, reach)
    slope = float(trend.slope) * (1 if author else PER_CENT)
    return Tested(slope, limits[0] * scale, limits[1] * scale, float(trend.p), int(trend.n), Reason(int(trend.reason)))


def _tested(axis: Axis, values: Floats, method: str, settings: Settings) -> Series:
    """Give the series whose pairs make S."""
    if method == "annual":
        return axis.yearly_means(values, settings.least_valid)
    if method == "deseasonalised":
        return anomaly_months(axis, values, score(axis.series(values)).slope, settings)
    if method == "author_code":
        return author_years(axis, values)[0]
    return axis.series(values)


def _ranks(pairs: int, reach: float) -> tuple[int, int] | None:
    """Ranks, from 0, of the limits; None where they lie beyond all pairs."""
    if reach >= pairs:
        return None
    return max(round((pairs - reach) / 2) - 1, 0), min(round((pairs + reach) / 2), pairs - 1)


def _among(axis: Axis, values: Floats, method: str, settings: Settings, reach: float) -> tuple[float, float]:
    series = _tested(axis, values, method, settings)
    n = series.y.size
    ranks = _ranks(n * (n - 1) // 2, reach)
    if ranks is None:
        return NONE
    _, falling, tied, _, gap = kernels.kendall_score(series.y)
    elapsed = series.elapsed - series.elapsed[0]
    low, high = (kernels.select_slope(elapsed, series.y, rank, falling, tied, gap)[0] for rank in ranks)
    return float(low), float(high)


def _within(axis: Axis, values: Floats, method: str, settings: Settings, reach: float) -> tuple[float, float]:
    """Limits from the pairs of the same month: a few thousand at most, so that they are listed."""
    _, ordered, bounds = within_seasons(axis, values, settings)
    parts = []
    for first, last in pairwise(bounds):
        y, t = ordered.y[first:last], ordered.elapsed[first:last]
        earlier, later = np.triu_indices(y.size, 1)
        parts.append((y[later] - y[earlier]) / (t[later] - t[earlier]))
    slopes = np.sort(np.concatenate(parts))
    ranks = _ranks(slopes.size, reach)
    return NONE if ranks is None else (float(slopes[ranks[0]]), float(slopes[ranks[1]]))
