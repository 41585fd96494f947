"""Sen's slope of many series with its limits: by normal theory, or by resampling what the line leaves.

`smapnb.trends` gives both; the tests of trends stand there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from smapnb import trends_kernels as kernels
from smapnb.trends_axis import Series
from smapnb.trends_bootstrap import block_bootstrap_slopes
from smapnb.trends_methods import FEWEST, score
from smapnb.trends_rows import over_rows, read

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sen:
    """Results of `sen_slope`: arrays of the input's shape without time; slopes per year.

    ``slope, lower, upper``: median slope and its limits; ``intercept`` at the first time stamp; ``n`` values;
    ``reason`` as in `Trend`: NO_VALUES and TOO_SHORT (one value) have no slope, CONSTANT has the slope 0.
    """

    slope: Floats
    lower: Floats
    upper: Floats
    intercept: Floats
    n: Ints
    reason: NDArray[np.int8]


def sen_slope(
    y: ArrayLike,
    time: ArrayLike | None = None,
    *,
    level: float | None = 0.95,
    factor: ArrayLike = 1.0,
    workers: int = 1,
    progress: bool = False,
) -> Sen:
    """Give the median slope of all pairs, with limits by normal theory from var S.

    The limits are the slopes of rank (N -+ z sqrt(var S)) / 2 of N (Sen 1968, doi 10.2307/2285891; ranks as in
    `scipy.stats.theilslopes`), exact like the median. They take the values for independent, unless `factor` widens
    them; `block_limits` gives limits that know of autocorrelation.

    Parameters
    ----------
    y, time, workers, progress
        As in `mann_kendall`.
    level : float or None
        Confidence level; None: no limits, which is three times faster.
    factor : array_like
        What var S is multiplied by, such as the `factor` of a corrected test; broadcast over the series.

    Returns
    -------
    Sen

    Raises
    ------
    ValueError
        As in `mann_kendall`; a level outside 0 .. 1; a factor that is not positive.
    """
    if level is not None and not 0 < level < 1:
        raise ValueError(f"level={level} is not between 0 and 1")
    values, axis = read(y, time)
    shape = values.shape[:-1]
    wide = np.broadcast_to(np.asarray(factor, np.float64), shape).reshape(-1)
    if not (wide > 0).all():
        raise ValueError(f"factor: {int((~(wide > 0)).sum())} of {wide.size} are not positive")
    z = None if level is None else float(norm.ppf((1 + level) / 2))
    rows = over_rows(lambda row, wider: _sen(axis.series(row), z, wider), values, workers, progress, wide)
    columns = [np.array(column).reshape(shape) for column in zip(*rows, strict=True)]
    slope, lower, upper, intercept = (columns[k] for k in range(4))
    scale = axis.per_year
    return Sen(slope * scale, lower * scale, upper * scale, intercept, columns[4], columns[5].astype(np.int8))


def _sen(series: Series, z: float | None, factor: float) -> tuple[float, float, float, float, int, int]:
    result = score(series)
    limits = (np.nan, np.nan)
    if z is not None and result.n >= FEWEST:
        limits = slope_limits(series, z * np.sqrt(result.var_s * factor))
    return result.slope, *limits, result.intercept, result.n, int(result.reason)


def slope_limits(series: Series, reach: float) -> tuple[float, float]:
    """Slopes at (N -+ reach) / 2 of the N sorted slopes of one series; the outermost where `reach` exceeds N."""
    n = series.y.size
    pairs = n * (n - 1) // 2
    upper = min(round((pairs + reach) / 2), pairs - 1)
    lower = max(round((pairs - reach) / 2) - 1, 0)
    _, falling, tied, _, gap = kernels.kendall_score(series.y)
    elapsed = series.elapsed - series.elapsed[0]
    one, two = (kernels.select_slope(elapsed, series.y, rank, falling, tied, gap)[0] for rank in (lower, upper))
    return one, two


def block_limits(
    y: ArrayLike,
    time: ArrayLike | None = None,
    *,
    block: int | str = "year",
    n_boot: int = 500,
    level: float = 0.95,
    seed: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> Sen:
    """Give Sen's slope with limits by a circular block bootstrap of the residuals.

    What is left of the series without its trend line is resampled in blocks (Kunsch 1989, doi
    10.1214/aos/1176347265), gaps and all, laid on the line again, and the slope b* taken anew, exactly. The limits are
    the basic ones, 2 b - quantiles of b*: a season that biases b (a sine of amplitude A that begins at 0 shifts the
    slope of N whole years by about -1.9 A / N^2 a year) biases b* alike, and the limits make up for it. They may then
    leave b itself out.

    On short records they are too narrow, as few blocks vary less than the years that they stand for: limits of 90 %
    held the slope of 75 to 80 of 100 made series of five years with a memory of 20 days.

    Parameters
    ----------
    y, time, workers, progress
        As in `mann_kendall`.
    block : int or "year"
        Length of a block in steps, begun anywhere; "year": one year, begun at the same time of year as the place that
        it fills, so that the season stays in place.
    n_boot, level, seed
        Samples, confidence level, and seed; all series are resampled alike.

    Returns
    -------
    Sen
        NaN limits where there are fewer than three values.

    Raises
    ------
    ValueError
        As in `mann_kendall`; a block that is not positive or longer than the record; "year" and less than two years.
    """
    if n_boot < 1 or not 0 < level < 1:
        raise ValueError(f"n_boot={n_boot} must be positive and level={level} between 0 and 1")
    values, axis = read(y, time)

    def one(row: Floats) -> tuple[float, float, float, float, int, int]:
        series = axis.series(row)
        result = score(series)
        limits = (np.nan, np.nan)
        if result.n >= FEWEST:
            samples = block_bootstrap_slopes(axis, row, result.slope, block, n_boot, seed)
            low, high = np.nanquantile(samples, [(1 - level) / 2, (1 + level) / 2])
            limits = (2 * result.slope - float(high), 2 * result.slope - float(low))
        return result.slope, *limits, result.intercept, result.n, int(result.reason)

    rows = over_rows(one, values, workers, progress)
    columns = [np.array(column).reshape(values.shape[:-1]) for column in zip(*rows, strict=True)]
    slope, lower, upper = (columns[k] * axis.per_year for k in range(3))
    return Sen(slope, lower, upper, columns[3], columns[4], columns[5].astype(np.int8))
