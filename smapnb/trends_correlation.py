"""Serial correlation in series with gaps, and what it does to the variance of S or to the series itself.

Lags are steps of time, never positions in the list of valid values. Without gaps all of it is what the cited papers
define.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def autocorrelation(x: Floats, position: Ints) -> tuple[Floats, Floats]:
    r"""Sample autocorrelation by lag, from the pairs that exist.

    .. math:: r_k = (1 - k/L) \frac{\sum (x_t - m)(x_{t+k} - m) / N_k}{\sum (x_t - m)^2 / n}

    over the N_k pairs k steps apart, of n values on L steps (Parzen 1963, Sankhya A 25, 383-392: series observed
    through an on-off mask). Without gaps N_k = L - k, and this is the usual biased estimate.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        r and N for lags 0 .. L - 1; r is 0 where there is no pair, and at every lag but 0 where `x` is constant.
    """
    length = int(position[-1] - position[0]) + 1
    n, size = x.size, next_fast_len(2 * length, real=True)
    on_grid, mask = np.zeros(length), np.zeros(length)
    on_grid[position - position[0]] = x - x.mean()
    mask[position - position[0]] = 1
    product = irfft(np.abs(rfft(on_grid, size)) ** 2, size)[:length]
    pairs = np.rint(irfft(np.abs(rfft(mask, size)) ** 2, size)[:length])
    if not product[0] > 0:
        return np.concatenate([[1.0], np.zeros(length - 1)]), pairs
    taper = 1 - np.arange(length) / length
    covariance = np.divide(product, pairs, out=np.zeros(length), where=pairs > 0)
    return taper * covariance / (product[0] / n), pairs


def residual(y: Floats, elapsed: Floats, slope: float) -> Floats:
    """`y` less the line of `slope`; all 0 where only rounding is left."""
    # Time is counted from 1, as in the papers, so that values which tie but for rounding rank as they do there.
    left = y - (elapsed + 1) * slope
    spread = np.ptp(left)
    return left if spread > 1e-12 * max(np.abs(y).max(), spread) else np.zeros(y.size)


def hamed_rao(left: Floats, position: Ints, alpha: float, lags: int | None) -> float:
    r"""Variance factor of Hamed and Rao (1998), doi 10.1016/S0022-1694(97)00125-X.

    .. math:: 1 + \frac{2}{n (n-1) (n-2)} \sum_k (n-k)(n-k-1)(n-k-2) r_k

    over the lags at which the autocorrelation r of the *ranks* of `left`, the series without its trend, is significant
    at `alpha` (a normal with variance 1/n). With gaps n is the number of steps L, and N_k / n stands for
    (L - k) / L: how many of the pairs at that lag there are.

    Parameters
    ----------
    left : numpy.ndarray
        Residuals of the trend line.
    position : numpy.ndarray
        Their steps.
    alpha : float
        Level at which a lag counts.
    lags : int or None
        Largest lag that is looked at; None: all.
    """
    r, pairs = autocorrelation(rankdata(left), position)
    length, n = r.size, left.size
    k = np.arange(1, length if lags is None else min(length, lags + 1))
    bound = norm.ppf(1 - alpha / 2) * np.sqrt((1 - k / length) / np.where(pairs[k] > 0, pairs[k], np.inf))
    significant = np.abs(r[k]) > bound
    weight = pairs[k] / n * (length - k - 1) * (length - k - 2) / ((length - 1) * (length - 2))
    return float(1 + 2 * (weight * r[k])[significant].sum())


def yue_wang(left: Floats, position: Ints, lags: int | None) -> float:
    r"""Variance factor of Yue and Wang (2004), doi 10.1023/B:WARM.0000043140.61082.60.

    .. math:: 1 + 2 \sum_k (1 - k/n) r_k

    r being the autocorrelation of the series without its trend. With gaps N_k / n stands for 1 - k/n. Summed over all
    lags it hardly depends on the series (the sum of all r_k is -1/2 whatever the series), so `lags` should be given.
    """
    r, pairs = autocorrelation(left, position)
    k = np.arange(1, r.size if lags is None else min(r.size, lags + 1))
    return float(1 + 2 * (pairs[k] / left.size * r[k]).sum())


def neighbours(position: Ints) -> Ints:
    """Find the values that have a value one step before."""
    return np.flatnonzero(np.diff(position) == 1) + 1


def seasonal_covariance(table: Floats) -> Floats:
    """Covariance of the seasons' scores (Hirsch and Slack 1984, doi 10.1029/WR020i006p00727, equations for gaps).

    Parameters
    ----------
    table : numpy.ndarray
        Shape (years, seasons); NaN are gaps.

    Returns
    -------
    numpy.ndarray
        Shape (seasons, seasons), (K + 4 sum R R - n (n_g + 1)(n_h + 1)) / 3 with ranks R among a season's years, a
        missing value having the middle rank. On the diagonal it is the variance with ties.
    """
    years = len(table)
    sign = np.nan_to_num(np.sign(table[None, :, :] - table[:, None, :]))  # (i, j, season): y_j - y_i
    n = (~np.isnan(table)).sum(0)
    rank = (n + 1 + sign.sum(0)) / 2  # a missing value is compared with none and so has the middle rank
    earlier, later = np.triu_indices(years, 1)
    pairs = sign[earlier, later]
    return (pairs.T @ pairs + 4 * rank.T @ rank - years * np.outer(n + 1, n + 1)) / 3
