"""How often each trend test cries wolf, and how often it sees a wolf, on series whose trend is known.

The series come from the caller (twin pixels) or from `autoregressive`; verdicts are left to the reader of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter
from scipy.stats import binomtest

from smapnb.trends import Reason, mann_kendall
from smapnb.trends_axis import Axis

Floats = NDArray[np.float64]

# Name in the table -> arguments of `mann_kendall`.
VARIANTS: dict[str, dict[str, Any]] = {
    "original": {"method": "original"},
    "hamed_rao": {"method": "hamed_rao"},
    "hamed_rao, factor at least 1": {"method": "hamed_rao", "least_factor": 1.0},
    "yue_wang": {"method": "yue_wang"},
    "yue_wang, lags of 90 steps": {"method": "yue_wang", "lags": 90},
    "trend_free_pre_whitening": {"method": "trend_free_pre_whitening"},
    "seasonal": {"method": "seasonal"},
    "seasonal_correlated": {"method": "seasonal_correlated"},
    "deseasonalised": {"method": "deseasonalised"},
    "deseasonalised, all lags": {"method": "deseasonalised", "lags": 10**6},
    "annual": {"method": "annual"},
}


def autoregressive(
    n_series: int,
    days: int,
    memory: float,
    *,
    standard_deviation: float = 0.05,
    season: float = 0.0,
    missing: float = 0.0,
    seed: int = 0,
) -> Floats:
    """Make daily series without a trend: first-order autoregression about 0, begun in its stationary state.

    Parameters
    ----------
    n_series, days : int
        Shape of the result.
    memory : float
        Days after which the autocorrelation is 1/e; 0: white noise.
    standard_deviation : float
        Of the noise, m3 m-3.
    season : float
        Amplitude of an added sine of 365.25 days, m3 m-3.
    missing : float
        Fraction of days, drawn independently, that are NaN.
    seed : int

    Returns
    -------
    numpy.ndarray
        Shape (n_series, days).
    """
    generator = np.random.default_rng(seed)
    lag_one = np.exp(-1 / memory) if memory > 0 else 0.0
    noise = generator.standard_normal((n_series, days))
    noise[:, 1:] *= np.sqrt(1 - lag_one**2)
    series = standard_deviation * lfilter([1.0], [1.0, -lag_one], noise, axis=-1)
    series += season * np.sin(2 * np.pi * np.arange(days) / 365.25)
    series[generator.random(series.shape) < missing] = np.nan
    return np.asarray(series, np.float64)


def rejection_rates(
    y: ArrayLike,
    time: ArrayLike | None = None,
    *,
    trends: Sequence[float] = (0.0,),
    variants: Mapping[str, Mapping[str, Any]] = VARIANTS,
    alpha: float = 0.05,
    level: float = 0.95,
    workers: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Count how often each variant finds a trend in series to which known trends are added.

    At trend 0 the rate is that of false alarms, and should be `alpha`; at others it is the power, which means nothing
    for a variant that fails at 0.

    Parameters
    ----------
    y, time, workers, progress
        Series without a trend, as in `smapnb.trends.mann_kendall`.
    trends : sequence of float
        Slopes to add, in the units of `y` per year.
    variants : mapping
        Name to arguments of `mann_kendall`.
    alpha : float
        Level of the tests.
    level : float
        Level of the limits of the rate (Wilson 1927, doi 10.1080/01621459.1927.10502953); they take series for
        independent, which neighbouring pixels are not.

    Returns
    -------
    pandas.DataFrame
        Columns ``variant, trend, tests`` (series with a p), ``rejected, rate, lower, upper, right_sign`` (of the
        rejected, where there is a trend), ``untested`` (no p), ``bounded`` (see `Reason`), ``median_slope,
        slope_rmse`` (per year, against the trend).
    """
    values = np.asarray(y, np.float64)
    axis = Axis.of(time, values.shape[-1])
    years = axis.elapsed / axis.per_year
    rows = []
    for trend in trends:
        for name, arguments in variants.items():
            found = mann_kendall(
                values + trend * years, time, alpha=alpha, workers=workers, progress=progress, **arguments
            )
            tested = ~np.isnan(found.p)
            tests, rejected = int(tested.sum()), int(found.h.sum())
            limits: tuple[float, float] = (np.nan, np.nan)
            if tests:
                interval = binomtest(rejected, tests).proportion_ci(level, method="wilson")
                limits = (float(interval.low), float(interval.high))
            right = int((found.h & (np.sign(found.z) == np.sign(trend))).sum())
            slopes = found.slope[~np.isnan(found.slope)]
            rows.append(
                {
                    "variant": name,
                    "trend": trend,
                    "tests": tests,
                    "rejected": rejected,
                    "rate": rejected / tests if tests else np.nan,
                    "lower": limits[0],
                    "upper": limits[1],
                    "right_sign": right / rejected if trend and rejected else np.nan,
                    "untested": int((~tested).sum()),
                    "bounded": int((found.reason == Reason.FACTOR_BOUNDED).sum()),
                    "median_slope": float(np.median(slopes)) if slopes.size else np.nan,
                    "slope_rmse": float(np.sqrt(np.mean((slopes - trend) ** 2))) if slopes.size else np.nan,
                }
            )
    return pd.DataFrame(rows)


def slope_error_by_length(
    y: ArrayLike, time: ArrayLike, years: Sequence[int], *, truth: ArrayLike = 0.0, workers: int = 1
) -> pd.DataFrame:
    """Error of Sen's slope when only the last so many years of the record are known.

    Parameters
    ----------
    y : array_like
        Shape (series, time).
    time : array_like
        datetime64 stamps.
    years : sequence of int
        Lengths of record.
    truth : array_like
        True slope of each series, units of `y` per year.
    workers : int
        Threads.

    Returns
    -------
    pandas.DataFrame
        Index ``years``; ``series`` (with a slope), ``bias``, ``rmse``, ``q05``, ``q95`` of slope - truth.

    Raises
    ------
    ValueError
        The record is shorter than asked for.
    """
    values, stamps = np.asarray(y, np.float64), pd.DatetimeIndex(np.asarray(time))
    true = np.broadcast_to(np.asarray(truth, np.float64), values.shape[:-1])
    rows = {}
    for length in years:
        start = stamps[-1] + (stamps[-1] - stamps[-2]) - pd.DateOffset(years=length)
        if start < stamps[0]:
            raise ValueError(f"the record begins on {stamps[0].date()}, less than {length} years before its end")
        part = np.asarray(stamps >= start)
        slope = mann_kendall(values[..., part], stamps[part], workers=workers).slope
        error = (slope - true)[~np.isnan(slope)]
        row: dict[str, float] = {"series": error.size}
        if error.size:
            low, high = np.quantile(error, [0.05, 0.95])
            row |= {"bias": error.mean(), "rmse": np.sqrt(np.mean(error**2)), "q05": low, "q95": high}
        rows[length] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("years")
