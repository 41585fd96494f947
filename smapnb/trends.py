"""Mann-Kendall's test and Sen's slope for many series at once: gaps are NaN, time is elapsed time, slopes are per year.

Nothing is filled in, no gap or autocorrelation leads to a silent NaN: `Reason` says why a test has no p or was bounded.
Maps, site rules and experiments are the business of `smapnb.trends_*`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from smapnb.trends_axis import Axis
from smapnb.trends_methods import METHODS, Reason, Result, Settings
from smapnb.trends_rows import over_rows, read
from smapnb.trends_sen import Sen, block_limits, sen_slope
from smapnb.trends_sites import field_significance, removals, site_windows, trend_rules, usable

__all__ = [
    "METHODS",
    "Reason",
    "Sen",
    "Trend",
    "block_limits",
    "field_significance",
    "mann_kendall",
    "removals",
    "sen_slope",
    "site_windows",
    "trend_rules",
    "usable",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AUTHOR_YEAR, PER_CENT = 365, 100


@dataclass(frozen=True)
class Trend:
    """Results of `mann_kendall`: arrays of the input's shape without time.

    Attributes
    ----------
    h : numpy.ndarray of bool
        Whether a trend is found at the level asked for; False where p is NaN.
    p, z : numpy.ndarray
        Two-sided p and the standard normal statistic, with the continuity correction (S -+ 1) unless noted.
    tau, tau_b : numpy.ndarray
        S / (n (n - 1) / 2), and Kendall's tau-b, whose denominator leaves tied pairs out.
    s : numpy.ndarray
        Kendall's score, a whole number.
    var_s : numpy.ndarray
        Its variance, with ties, after any correction.
    factor : numpy.ndarray
        What the variance for independent values was multiplied by.
    slope : numpy.ndarray
        Sen's slope, in `units`.
    intercept : numpy.ndarray
        Of the line of that slope through the medians, at the first time stamp.
    n : numpy.ndarray of int
        Values that went into S: days, months or years.
    reason : numpy.ndarray of int8
        A `Reason`.
    method, units : str
        Name of the test; units of the slope, those of the input "per year" but for ``author_code``.
    """

    h: NDArray[np.bool_]
    p: Floats
    z: Floats
    tau: Floats
    tau_b: Floats
    s: Floats
    var_s: Floats
    factor: Floats
    slope: Floats
    intercept: Floats
    n: Ints
    reason: NDArray[np.int8]
    method: str
    units: str

    def counts(self) -> dict[str, int]:
        """How many series ended with which reason; only those that occur."""
        return {reason.name.lower(): int(k) for reason in Reason if (k := (self.reason == reason).sum())}


def mann_kendall(
    y: ArrayLike,
    time: ArrayLike | None = None,
    method: str = "original",
    *,
    alpha: float = 0.05,
    lags: int | None = None,
    least_factor: float = 0.0,
    least_valid: float = 0.5,
    season: ArrayLike | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Trend:
    """Test each series for a monotonic trend and measure it by Sen's slope.

    Parameters
    ----------
    y : array_like
        Shape (..., time), any units; NaN are gaps.
    time : array_like, optional
        Stamps of the last axis, strictly rising: datetime64, or decimal years. None: the dates that a pandas Series or
        an xarray DataArray brings along, else one value a day; a year has 365.25 days.
    method : str
        ``original`` (Mann 1945, Kendall 1975). ``author_code``: the same over whole years from the first valid day,
        slope x 365 x 100 (volumetric per cent per year; reference `smapnb.rules`). ``hamed_rao``, ``yue_wang``: var S
        corrected for autocorrelation. ``trend_free_pre_whitening`` (Yue et al. 2002, doi 10.1002/hyp.1095): one step's
        autocorrelation is taken out after the trend and before the test. ``seasonal`` (Hirsch, Slack and Smith 1982,
        doi 10.1029/WR018i001p00107): pairs of the same calendar month of monthly means, or of the same `season`;
        ``seasonal_correlated`` (Hirsch and Slack 1984, doi 10.1029/WR020i006p00727): with the covariance of the
        seasons, without continuity correction. ``annual``: means of whole years from the first stamp.
        ``deseasonalised``: monthly means of anomalies from the day-of-year climatology, then ``hamed_rao``.
    alpha : float
        Level of `h`, and at which ``hamed_rao`` takes a lag for significant.
    lags : int, optional
        Largest lag, in steps, of ``hamed_rao`` and ``yue_wang``, in months of ``deseasonalised``. None: all, but six
        months for ``deseasonalised``.
    least_factor : float
        A variance factor that is not above it is set to 1 and flagged FACTOR_BOUNDED. At 0 every factor that can be
        used is; at 1 a correction can never make a trend more significant.
    least_valid : float
        Least valid fraction of the days of a month or year for its mean to count; days that are absent from `time` are
        not valid either, so that daily stamps of a satellite that comes every third day need less than a third. Where
        no two stamps are one step apart, as of composites, the fullest month or year counts as whole.
    season : array_like, optional
        Labels of the stamps, of length time, for the seasonal tests in place of months.
    workers : int
        Threads; the kernels release the interpreter.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Trend
        In memory; no series is left out, and each has its `reason`.

    Raises
    ------
    ValueError
        An unknown method, infinite values, `time` or `season` that do not fit, or more than one value a season and
        year for ``seasonal_correlated``.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r}: one of {sorted(METHODS)}")
    if not 0 < alpha < 1 or not 0 <= least_valid <= 1 or (lags is not None and lags < 1):
        raise ValueError(f"alpha={alpha} and least_valid={least_valid} are fractions, lags={lags} is at least 1")
    values, axis = read(y, time)
    labels = _labels(season, axis, method)
    settings = Settings(alpha, lags, least_factor, least_valid, labels)
    run = METHODS[method]
    results = over_rows(lambda row: run(axis, row, settings), values, workers, progress)
    # The authors' year has 365 days; decimal years are years already.
    author = method == "author_code"
    scale = axis.per_year if not author else PER_CENT * (AUTHOR_YEAR if axis.per_year > 1 else 1)
    units = "volumetric % per year" if author else "per year"
    return _collect(results, values.shape[:-1], alpha, scale, method, units)


def _labels(season: ArrayLike | None, axis: Axis, method: str) -> Ints | None:
    if season is None:
        return None
    if not method.startswith("seasonal"):
        raise ValueError(f"season is given, but method {method!r} knows no seasons")
    labels = np.unique(np.asarray(season), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if labels.size != axis.elapsed.size:
        raise ValueError(f"season has {labels.size} labels; the series have {axis.elapsed.size} values")
    if method == "seasonal_correlated":
        year = np.concatenate([[0], np.cumsum(np.diff(labels) <= 0)])
        if year[-1] + 1 > labels.size // 2:
            raise ValueError("season: seasonal_correlated needs one value a season and year, in the labels' order")
    return labels


def _collect(
    results: list[tuple[Any, ...]], shape: tuple[int, ...], alpha: float, scale: float, method: str, units: str
) -> Trend:
    columns = zip(*results, strict=True) if results else [()] * len(Result._fields)
    by_name = {name: np.array(c).reshape(shape) for name, c in zip(Result._fields, columns, strict=True)}
    s, var_s, pairs = by_name["s"], by_name["var_s"], by_name["pairs"]
    tested = np.isin(by_name["reason"], (Reason.TESTED, Reason.FACTOR_BOUNDED)) & (var_s > 0)
    reduced = np.sign(s) * np.maximum(np.abs(s) - by_name["continuity"], 0)
    z = np.divide(reduced, np.sqrt(var_s), out=np.full(shape, np.nan), where=tested)
    untied = np.sqrt((pairs - by_name["tied"]) * pairs)
    author = method == "author_code"
    trend: dict[str, Any] = {
        "h": np.abs(np.nan_to_num(z)) > norm.ppf(1 - alpha / 2),
        "p": 2 * norm.sf(np.abs(z)),
        "z": z,
        "tau": np.divide(s, pairs, out=np.full(shape, np.nan), where=pairs > 0),
        "tau_b": np.divide(s, untied, out=np.full(shape, np.nan), where=untied > 0),
        "s": s,
        "var_s": var_s,
        "factor": by_name["factor"],
        "slope": by_name["slope"] * scale,
        "intercept": by_name["intercept"] * (PER_CENT if author else 1),
        "n": by_name["n"].astype(np.int64),
        "reason": by_name["reason"].astype(np.int8),
    }
    assert set(trend) | {"method", "units"} == {field.name for field in fields(Trend)}
    return Trend(**trend, method=method, units=units)
