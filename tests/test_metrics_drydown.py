"""Dry spells and their e-folding time: by hand, exact on exponentials, and true on noisy and gappy ones."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.optimize import curve_fit

from smapnb import metrics
from smapnb.metrics_drydown import LONGEST

NAN = np.nan


def wet_and_dry(tau, days=1500, floor=0.1, seed=1):
    """Rain, and a soil that loses 1 - exp(-1 / tau) of what is above `floor` each day."""
    generator = np.random.default_rng(seed)
    rain = np.where(generator.random(days) < 0.15, 1.01 + generator.exponential(8, days), 0.0)
    store = np.empty(days)
    now = 0.1
    for day in range(days):
        now = min(0.3, now * np.exp(-1 / tau) + (0.006 * rain[day] if rain[day] else 0.0))
        store[day] = now
    return rain, floor + store


def test_spells_by_hand():
    rain = [0, 0, 5, 0, 0.2, 1.0, 0, 3, 0, 0, NAN, 0, 0]
    assert metrics.dry_spells(rain, fewest=2).tolist() == [[0, 1], [3, 6], [8, 9], [11, 12]]
    assert metrics.dry_spells(rain).tolist() == [[3, 6]]
    assert metrics.dry_spells(rain, threshold=0.1, fewest=2).tolist() == [[0, 1], [8, 9], [11, 12]]
    assert metrics.dry_spells([5.0, 5.0]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        metrics.dry_spells(np.zeros((2, 2)))


def test_own_spells_by_hand():
    # Falling 0, 1, 3, 4; a step of 0.005 at 4 is noise; up at 5; 5, 6, 8 are three observations only.
    values = [0.30, 0.25, NAN, 0.20, 0.205, 0.40, 0.30, NAN, 0.20]
    assert metrics.own_spells(values).tolist() == [[0, 4]]
    assert metrics.own_spells(values, fewest=3).tolist() == [[0, 4], [5, 8]]
    assert metrics.own_spells(values, rise=0.001, fewest=3).tolist() == [[0, 3], [5, 8]]
    assert metrics.own_spells([NAN, NAN]).shape == (0, 2)


@pytest.mark.parametrize("tau", [1.5, 4.0, 11.0, 30.0])
def test_exact_on_exponentials_with_gaps(tau):
    generator = np.random.default_rng(0)
    amplitude = generator.uniform(0.1, 0.3, (12, 1))
    theta = (0.08 + amplitude * np.exp(-np.arange(20) / tau)).ravel()
    spells = np.array([[20 * k, 20 * k + 19] for k in range(12)])
    gappy = theta.copy()
    gappy[generator.random(theta.size) < 0.5] = NAN
    for values in (theta, gappy):
        known = metrics.efolding_days(values, spells, floor=0.08)
        assert np.isfinite(known).sum() >= 8
        np.testing.assert_allclose(known[np.isfinite(known)], tau, rtol=1e-5)
        fitted = metrics.efolding_days(values, spells)
        np.testing.assert_allclose(np.nanmedian(fitted), tau, rtol=0.04)


def test_fit_is_scipys():
    """With a known floor the times are those of SciPy's nonlinear least squares."""
    generator = np.random.default_rng(3)
    since = np.arange(15)
    theta = 0.1 + 0.2 * np.exp(-since / 6) + 0.01 * generator.standard_normal((8, 15))
    theta[generator.random(theta.shape) < 0.3] = NAN
    spells = np.array([[15 * k, 15 * k + 14] for k in range(8)])
    got = metrics.efolding_days(theta.ravel(), spells, floor=0.1)
    for row, tau in zip(theta, got, strict=True):
        seen = np.isfinite(row)
        (_, expected), _ = curve_fit(lambda t, a, tau: 0.1 + a * np.exp(-t / tau), since[seen], row[seen], [0.2, 5])
        np.testing.assert_allclose(tau, expected, rtol=1e-4)


@pytest.mark.parametrize(("noise", "gaps"), [(0.0, 0.0), (0.005, 0.0), (0.02, 0.6)])
@pytest.mark.parametrize("tau", [4.0, 10.0])
def test_truth_is_found_through_noise_and_gaps(tau, noise, gaps):
    rain, theta = wet_and_dry(tau, days=3000)
    generator = np.random.default_rng(5)
    theta = theta + noise * generator.standard_normal(theta.size)
    theta[generator.random(theta.size) < gaps] = NAN
    days = pd.date_range("2010-01-01", periods=theta.size)
    values, rain = (xr.DataArray(x, {"time": days}, ["time"], "ssm") for x in (theta, rain))
    got = metrics.drydown_days(values, rain)
    assert got["reason"] == "" and got["n_spells"] >= 20
    np.testing.assert_allclose(got["drydown_days"], tau, rtol=0.005 if noise == 0 else 0.25)
    assert got["lower_quartile"] <= got["drydown_days"] <= got["upper_quartile"]


def test_unusable_spells_are_left_out():
    fall = 0.1 + 0.2 * np.exp(-np.arange(10) / 3)
    flat = np.full(10, 0.1)
    rising = fall[::-1]
    few = np.where(np.arange(10) % 4 == 0, fall, NAN)  # three observations
    jagged = 0.1 + 0.2 * np.array([1, 0, 0.9, 0, 0.8, 0.1, 0.9, 0, 0.8, 0.3])
    values = np.concatenate([fall, flat, rising, few, jagged])
    spells = np.array([[10 * k, 10 * k + 9] for k in range(5)])
    got = metrics.efolding_days(values, spells, floor=0.1)
    np.testing.assert_allclose(got, [3, NAN, NAN, NAN, NAN], rtol=1e-5)
    assert np.isfinite(metrics.efolding_days(values, spells, floor=0.1, fewest=3)[3])
    assert np.isfinite(metrics.efolding_days(values, spells, floor=0.1, least_fit=-1)[4])
    assert np.isnan(metrics.efolding_days(values, spells, floor=0.1, least_drop=1.1)).all()
    # A straight line has no end to tend to: its time runs to the end of the search, which is no time.
    line = np.linspace(0.4, 0.399, 20)
    assert np.isnan(metrics.efolding_days(line, np.array([[0, 19]]), floor=0.0, least_fit=-np.inf)).all()
    with pytest.raises(ValueError, match="the series has 20 days"):
        metrics.efolding_days(line, np.array([[0, 20]]))


def test_only_the_first_days_of_a_long_spell_count():
    since = np.arange(60)
    theta = np.where(since < LONGEST, 0.1 + 0.2 * np.exp(-since / 5), 0.5)
    np.testing.assert_allclose(metrics.efolding_days(theta, np.array([[0, 59]]), floor=0.1), 5, rtol=1e-5)


def test_places_gaps_of_the_calendar_and_reasons():
    rain, theta = wet_and_dry(5.0, days=800)
    days = pd.date_range("2010-01-01", periods=800)
    table = np.column_stack([theta, np.where(np.arange(800) < 60, theta, NAN), np.full(800, NAN)])
    values = xr.DataArray(table, {"time": days, "site": ["a", "b", "c"]}, ["time", "site"], "ssm")
    rains = xr.DataArray(np.repeat(rain[:, None], 3, 1), values.coords, values.dims)
    got = metrics.drydown_days(values, rains, fewest_spells=6)
    assert np.isfinite(got["drydown_days"]).values.tolist() == [True, False, False]
    assert got["reason"][1].item().endswith(f"usable of {got['n_found'].values[1]} dry spells; 6 are needed")
    assert got["reason"][2] == "no observations"
    # Days that are absent from the values are gaps, not the next day.
    holes = np.random.default_rng(0).random(800) < 0.3
    absent = metrics.drydown_days(values.isel(time=~holes), rains)
    blank = metrics.drydown_days(values.where(xr.DataArray(~holes, dims="time")), rains)
    xr.testing.assert_allclose(absent.drop_vars("reason"), blank.drop_vars("reason"))
    # Without precipitation the rises of the series tell the spells.
    own = metrics.drydown_days(values)
    np.testing.assert_allclose(own["drydown_days"][0], 5, rtol=0.02)
    with pytest.raises(ValueError, match="precipitation does not fit ssm"):
        metrics.drydown_days(values, rains.assign_coords(site=["a", "b", "x"]))


def test_a_series_below_zero_does_not_stop_the_fit():
    values = -0.2 + 0.1 * np.exp(-np.arange(60) / 8.0)
    tau = metrics.efolding_days(values, np.array([[0, 29], [30, 59]]))
    assert tau.shape == (2,)
