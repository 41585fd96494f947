"""Statistics by which surface moisture and rain of the twin and of real data are compared.

They summarise; what is alike enough is for the reader, and for a test, to say.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb.sources._twin_weather import TwinError

Array = NDArray[np.floating]

LAGS = range(1, 61)  # days
BINS = np.linspace(0, 0.5, 26)  # m3 m-3
LEAST_PAIRS = 30  # observed pairs a pixel must have to count in an autocorrelation
WET_DAY = 1.0  # mm, the threshold of a wet day in climate statistics


def realism(dataset: xr.Dataset) -> xr.Dataset:
    """Summarise SMAP surface moisture and precipitation, of the twin or of real data, to compare them.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``ssm_smap`` and ``precipitation`` on (time, pixel), daily. Cut it to the period to be compared.

    Returns
    -------
    xarray.Dataset
        By ``month``: ssm_seasonal_cycle, precipitation_seasonal_cycle. By ``moisture`` (middle of a bin):
        ssm_histogram, a density. By ``lag`` (days): ssm_autocorrelation, the median over the pixels of the
        correlation of observed pairs. Scalars: ssm_mean, ssm_std, ssm_temporal_std (median over pixels),
        fraction_observed (pixel-years without any observation are left out: they were held back or are not
        yet flown), precipitation_mean, wet_day_fraction, wet_day_p95, wet_day_persistence (lag-1
        autocorrelation of wet and dry).

    Raises
    ------
    TwinError
        Nothing of ``ssm_smap`` is observed.
    """
    ssm = dataset["ssm_smap"].transpose("time", "pixel").to_numpy().astype(float)
    rain = dataset["precipitation"].transpose("time", "pixel").to_numpy().astype(float)
    if not np.isfinite(ssm).any():
        raise TwinError(f"realism: ssm_smap of {dataset.attrs.get('source', 'the dataset')} has no observation")
    time = pd.DatetimeIndex(dataset.indexes["time"])
    wet = (rain > WET_DAY).astype(float)
    persistence = [_correlation(column[:-1], column[1:]) for column in wet.T]
    spread = [np.nanstd(column) for column in ssm.T if np.isfinite(column).any()]
    histogram = np.histogram(ssm[np.isfinite(ssm)], BINS, density=True)[0]
    statistics = {
        "ssm_seasonal_cycle": ("month", _by_month(ssm, time), "m3 m-3"),
        "precipitation_seasonal_cycle": ("month", _by_month(rain, time), "mm d-1"),
        "ssm_histogram": ("moisture", histogram, "1"),
        "ssm_autocorrelation": ("lag", [_lagged(ssm, lag) for lag in LAGS], "1"),
        "ssm_mean": ((), np.nanmean(ssm), "m3 m-3"),
        "ssm_std": ((), np.nanstd(ssm), "m3 m-3"),
        "ssm_temporal_std": ((), np.median(spread), "m3 m-3"),
        "fraction_observed": ((), _fraction_observed(np.isfinite(ssm), time), "1"),
        "precipitation_mean": ((), rain.mean(), "mm d-1"),
        "wet_day_fraction": ((), wet.mean(), "1"),
        "wet_day_p95": ((), np.percentile(rain[rain > WET_DAY], 95), "mm d-1"),
        "wet_day_persistence": ((), np.nanmean(persistence), "1"),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": units}) for name, (dims, values, units) in statistics.items()},
        coords={"month": range(1, 13), "moisture": 0.5 * (BINS[1:] + BINS[:-1]), "lag": list(LAGS)},
        attrs={key: dataset.attrs[key] for key in ("source", "synthetic") if key in dataset.attrs},
    )


def _by_month(values: Array, time: pd.DatetimeIndex) -> list[float]:
    """Mean over the present values of each calendar month; NaN where there are none."""
    picked = (values[np.asarray(time.month == month)] for month in range(1, 13))
    return [float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else np.nan for v in picked]


def _correlation(a: Array, b: Array) -> float:
    """Pearson correlation; NaN where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else np.nan


def _lagged(ssm: Array, lag: int) -> float:
    """Median over pixels of the correlation of values `lag` days apart; NaN: no pixel has enough pairs."""
    values = []
    for column in ssm.T:
        both = np.isfinite(column[:-lag]) & np.isfinite(column[lag:])
        if both.sum() >= LEAST_PAIRS:
            values.append(_correlation(column[:-lag][both], column[lag:][both]))
    values = [value for value in values if np.isfinite(value)]
    return float(np.median(values)) if values else np.nan


def _fraction_observed(seen: NDArray[np.bool_], time: pd.DatetimeIndex) -> float:
    """Share of pixel-days observed in years from the first observed day on, without unseen pixel-years."""
    first = time[int(np.argmax(seen.any(axis=1)))]
    before = (time.month < first.month) | ((time.month == first.month) & (time.day < first.day))
    year = np.asarray(time.year - first.year - before)
    whole = [y for y in range(year.max() + 1) if (year == y).sum() >= 365] or [0]
    blocks = [seen[(year == y) & (time >= first)] for y in whole]
    possible = sum(len(block) * block.any(axis=0).sum() for block in blocks)
    return float(sum(block.sum() for block in blocks) / possible)
