"""Anomalies: by hand, by brute force over the calendar, and what they are blind to."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import metrics

NAN = np.nan


def series(values, days=None, name="ssm"):
    values = np.asarray(values, float)
    days = pd.date_range("2016-01-01", periods=len(values)) if days is None else pd.DatetimeIndex(days)
    return xr.DataArray(values, {"time": days}, ("time", "site")[: values.ndim], name)


def brute_force(values, days, window, minimum):
    out = np.full(len(values), NAN)
    for i, day in enumerate(days):
        near = values[np.abs((days - day).days) <= window // 2]
        if np.isfinite(near).sum() >= minimum:
            out[i] = values[i] - np.nanmean(near)
    return out


def test_by_hand():
    # Windows of three days: (1, 4) mean 2.5; (1, 4, 10) mean 5; (4, 10) and a gap, mean 7; around the last two, one
    # value only.
    got = metrics.anomaly(series([1, 4, 10, NAN, NAN, 8]), window=3, minimum=2)
    np.testing.assert_allclose(got, [-1.5, -1, 3, NAN, NAN, NAN])
    np.testing.assert_allclose(metrics.anomaly(series([1, 4, 10, NAN, NAN, 8]), window=3, minimum=1)[-1], 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 11, 31]), st.integers(1, 5))
def test_absent_days_are_gaps_of_the_calendar(seed, window, minimum):
    generator = np.random.default_rng(seed)
    days = pd.date_range("2015-12-01", periods=80)[np.sort(generator.permutation(80)[:50])]
    values = np.where(generator.random((50, 2)) < 0.3, NAN, generator.random((50, 2)))
    minimum = min(minimum, window)
    got = metrics.anomaly(series(values, days), window=window, minimum=minimum)
    for column in range(2):
        expected = brute_force(values[:, column], days, window, minimum)
        np.testing.assert_allclose(got[:, column], expected, atol=1e-12)


def test_the_season_is_gone_and_the_days_stay():
    days = np.arange(730)
    weather = 0.02 * np.random.default_rng(0).standard_normal(730)
    season = 0.1 * np.cos(2 * np.pi * days / 365)
    both, alone = (metrics.anomaly(series(x)) for x in (season + weather + 0.3, weather))
    # A window of 31 days cannot follow the curve of the year wholly: 0.1 (1 - sinc(31 / 365)) = 0.0012 is left.
    assert float(np.abs(both - alone)[15:-15].max()) < 0.0013
    assert both.dims == ("time",) and both.dtype == np.float64


def test_order_of_dimensions_and_days():
    values = series(np.random.default_rng(1).random((60, 3)))
    expected = metrics.anomaly(values)
    xr.testing.assert_allclose(metrics.anomaly(values.transpose()), expected.transpose())
    shuffled = values.isel(time=np.random.default_rng(2).permutation(60))
    xr.testing.assert_allclose(metrics.anomaly(shuffled).sortby("time"), expected)
    assert metrics.anomaly(values[:0]).shape == (0, 3)


def test_refused():
    values = series(np.ones(40))
    for bad in ({"window": 30}, {"minimum": 0}, {"window": 3, "minimum": 4}):
        with pytest.raises(ValueError, match="must be odd and minimum"):
            metrics.anomaly(values, **bad)
    with pytest.raises(ValueError, match="ssm: day 0 after the first of 'time' occurs more than once"):
        metrics.anomaly(xr.concat([values, values[:1]], "time"))
