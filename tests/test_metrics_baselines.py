"""The climatology: by hand and by brute force."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb.metrics_baselines import climatology


def series(values, start):
    days = pd.date_range(start, periods=len(values))
    return xr.DataArray(np.asarray(values, float), {"time": days}, ["time"], "ssm_smap", {"units": "m3 m-3"})


def test_by_hand():
    """31 December, 1 and 2 January are neighbours; the gap counts for nothing."""
    obs = series([0.1, np.nan, 0.4], "2015-12-31")
    days = pd.DatetimeIndex(["2016-12-31", "2017-01-01", "2017-01-02", "2017-01-05", "2017-07-01"])
    given = climatology(obs, days, window=3)
    # 31 December is day 366 of 2016 but day 365 of 2015: around 366 lie 365 (0.1), 366 and 1 (a gap).
    np.testing.assert_allclose(given, [0.1, 0.4, 0.4, np.nan, np.nan])
    assert given.attrs == obs.attrs and list(given["time"].to_numpy()) == list(days.to_numpy())


def test_brute_force_over_two_years_and_pixels():
    rng = np.random.default_rng(0)
    days = pd.date_range("2015-04-01", "2017-03-31")
    values = np.where(rng.random((days.size, 3)) < 0.4, rng.random((days.size, 3)), np.nan)
    obs = xr.DataArray(values, {"time": days, "pixel": [4, 5, 6]}, ["time", "pixel"])
    wanted = pd.date_range("2018-01-01", "2018-12-31", freq="17D")
    given = climatology(obs, wanted, window=31)
    for i, day in enumerate(wanted.day_of_year):
        apart = np.abs(days.day_of_year.to_numpy() - day)
        near = np.minimum(apart, 366 - apart) <= 15
        np.testing.assert_allclose(given[i], np.nanmean(values[near], axis=0))


def test_a_constant_stays_itself_and_one_day_is_a_window():
    given = climatology(series(np.full(366, 0.25), "2016-01-01"), pd.date_range("2020-01-01", "2020-12-31"), 1)
    np.testing.assert_allclose(given, 0.25)


@pytest.mark.parametrize("window", [0, 2, 367])
def test_windows_that_are_none(window):
    with pytest.raises(ValueError, match=f"window={window}"):
        climatology(series([0.1], "2016-01-01"), pd.date_range("2020-01-01", periods=1), window)


@pytest.mark.data
def test_published_score_of_the_climatology(data_root):
    """31-day climatology of year 1 against year 2: RMSE 0.0559 and R 0.283 (medians over 412 pixels)."""
    from smapnb import metrics
    from smapnb.sources import authors_csv

    smap = authors_csv.open_sample(data_root / "conus412", [2015, 2016])["ssm_smap"]
    second = smap.sel(time=slice("2016-04-01", None))
    expected = climatology(smap.sel(time=slice(None, "2016-03-31")), second.indexes["time"])
    table = metrics.summarise(metrics.evaluate(sim=expected, obs=second, n_boot=1))
    assert table.loc["rmse", "n_pixels"] == int(np.isfinite(second).any("time").sum()) > 100
    assert table.loc["rmse", "median"] == pytest.approx(0.0559, abs=0.003)
    assert table.loc["pearson_r", "median"] == pytest.approx(0.283, abs=0.05)
