"""Upscaling: by hand, by what must hold for any weights, and its limits against fields whose mean is known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smapnb import insitu

NAN = np.nan
NAMES = ("value", "error", "coverage", "n_stations", "degrees_of_freedom")


def stations(values, names=None, start="2015-04-01"):
    values = np.atleast_2d(np.array(values, float))
    coords = {"time": pd.date_range(start, periods=len(values))}
    coords["station"] = list(names or [f"s{i}" for i in range(values.shape[1])])
    return xr.DataArray(values, dims=("time", "station"), coords=coords, name="theta")


def test_by_hand():
    theta = stations([[0.1, 0.2, 0.4], [0.1, NAN, 0.4], [NAN, 0.2, NAN], [NAN, NAN, NAN], [0.1, 0.2, NAN]])
    out = insitu.upscale(theta, [0.5, 0.3, 0.2], pool_days=0)
    # Day 1: 0.05 + 0.06 + 0.08. Day 2: (0.05 + 0.08) / 0.7. Day 3 covers 0.3, which is below a half. Day 5: 0.11 / 0.8.
    np.testing.assert_allclose(out["value"], [0.19, 0.13 / 0.7, NAN, NAN, 0.1375])
    np.testing.assert_allclose(out["coverage"], [1, 0.7, 0.3, 0, 0.8])
    assert out["n_stations"].values.tolist() == [3, 2, 1, 0, 2]
    # Day 1: squares of weights 0.25 + 0.09 + 0.04 = 0.38; deviations -0.09, 0.01, 0.21 give
    # 0.5 * 0.0081 + 0.3 * 0.0001 + 0.2 * 0.0441 = 0.0129; over 1 - 0.38.
    variance = 0.0129 / 0.62
    assert out["error"][0].item() == pytest.approx(np.sqrt(0.38 * variance))
    # Cubes of weights 0.125 + 0.027 + 0.008 = 0.16: 0.62^2 / (0.38 - 0.32 + 0.38^2) degrees of freedom.
    assert out["degrees_of_freedom"][0].item() == pytest.approx(0.3844 / 0.2044)
    # Two stations have one degree of freedom, whatever their weights: day 2, weights 5/7 and 2/7, difference 0.3.
    assert out["degrees_of_freedom"][1].item() == pytest.approx(1)
    assert out["error"][1].item() == pytest.approx(0.3 / np.sqrt(2) * np.sqrt((25 + 4) / 49))
    assert np.isnan(out["error"][2:4]).all()
    assert [out[name].dims for name in NAMES] == [("time",)] * 5


def test_equal_weights_are_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).random((6, 9))
    out = insitu.upscale(stations(values), np.full(9, 1 / 9), pool_days=0)
    np.testing.assert_allclose(out["value"], values.mean(axis=1))
    np.testing.assert_allclose(out["error"], stats.sem(values, axis=1))
    np.testing.assert_allclose(out["degrees_of_freedom"], 8)
    low, high = stats.t.interval(0.9, 8, values.mean(axis=1), stats.sem(values, axis=1))
    np.testing.assert_allclose(insitu.limits(out, 0.9), np.stack([low, high], axis=1))


def test_the_coverage_rule():
    theta = stations([[0.1, NAN, NAN], [NAN, 0.2, 0.4]])
    third = np.full(3, 1 / 3)
    np.testing.assert_allclose(insitu.upscale(theta, third)["value"], [NAN, 0.3])
    np.testing.assert_allclose(insitu.upscale(theta, third, least_coverage=0.2)["value"], [0.1, 0.3])
    np.testing.assert_allclose(insitu.upscale(theta, third, least_coverage=0.9)["value"], [NAN, NAN])
    # Half of the pixel is kept, where its weights sum to a half but for rounding.
    for less, expected in ((1e-12, 0.1), (1e-6, NAN)):
        half = insitu.upscale(stations([[0.1, NAN]]), [0.5 - less, 0.5 + less])
        np.testing.assert_allclose(half["value"], [expected])


def test_variance_is_pooled_over_days_and_gaps_of_the_calendar():
    values = [[0.1, 0.3], [0.2, 0.2], [0.3, NAN], [0.0, 0.4]]
    theta = stations(values).assign_coords(
        time=pd.to_datetime(["2015-01-01", "2015-01-02", "2015-01-03", "2015-01-09"])
    )
    half = [0.5, 0.5]
    # Variances 0.02, 0, none, 0.08; errors are their roots over the root of 2, and of 1 where one station is alone.
    alone = insitu.upscale(theta, half, pool_days=0)
    np.testing.assert_allclose(alone["error"], [0.1, 0, NAN, 0.2])
    np.testing.assert_allclose(insitu.upscale(theta, half, pool_days=1)["error"], [np.sqrt(0.005)] * 2 + [0, 0.2])
    np.testing.assert_allclose(insitu.upscale(theta, half, pool_days=5)["error"], [np.sqrt(0.005)] * 2 + [0.1, 0.2])
    # Six days on, the third day reaches all; seven, the last reaches the second, whose variance is 0.
    six, seven = (insitu.upscale(theta, half, pool_days=days) for days in (6, 7))
    np.testing.assert_allclose(six["error"][2:], [np.sqrt(0.1 / 3), 0.2])
    np.testing.assert_allclose(seven["error"][3], np.sqrt(0.04 / 2))
    np.testing.assert_allclose(six["degrees_of_freedom"], 1)


def test_one_station_has_a_value_and_no_error():
    out = insitu.upscale(stations([[0.2], [0.3]]), [1.0])
    np.testing.assert_allclose(out["value"], [0.2, 0.3])
    assert np.isnan(out["error"]).all() and np.isnan(insitu.limits(out)).all()


def test_provider_weights_come_first_and_may_be_per_cent():
    theta = stations([[0.1, 0.2, 0.4], [NAN, 0.2, 0.4]])
    own = [1.0, 0.0, 0.0]
    by_name = {"s1": 30.0, "s2": 30.0, "gone": 40.0}
    out = insitu.upscale(theta, own, provider_weights=by_name)
    np.testing.assert_allclose(out["value"], [0.3, 0.3])
    np.testing.assert_allclose(out["coverage"], [0.6, 0.6])  # the station without data counts as not operating
    assert out["n_stations"].values.tolist() == [2, 2]
    np.testing.assert_allclose(insitu.upscale(theta, provider_weights=[20, 40, 40])["value"], [0.26, 0.3])
    shares = xr.DataArray([0.2, 0.4, 0.4], dims="station", coords={"station": theta["station"]})
    np.testing.assert_allclose(insitu.upscale(theta, shares)["value"], [0.26, 0.3])
    with pytest.raises(ValueError, match="weights are of the stations"):
        insitu.upscale(theta, shares[[1, 0, 2]])


def test_plain_arrays_serve():
    out = insitu.upscale(np.array([[0.1, 0.3], [0.2, NAN]]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(out["value"], [0.2, 0.2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.5, 0.6], r"sum to 1\.1"),
        ([0.5, -0.5], "weight of station s1 is -0.5"),
        ([NAN, 0.5], "weight of station s0 is nan"),
        ([0, 0], "sum to 0"),
        ([1.0], "shape"),
        ({"other": 1.0}, r"sum to 0; weights are given of \['other'\]"),
        ({"other": -1.0, "s0": 1}, "weight of station other is -1"),
        (None, "neither weights nor provider_weights"),
    ],
)
def test_weights_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        insitu.upscale(stations([[0.1, 0.2]]), given)


def test_arrays_that_are_none():
    with pytest.raises(ValueError, match=r"infinite moisture at time 2015-04-02.*station s1"):
        insitu.upscale(stations([[0.1, 0.2], [0.1, np.inf]]), [0.5, 0.5])
    with pytest.raises(ValueError, match="not time and station"):
        insitu.upscale(stations([[0.1]]).rename(station="site"), [1.0])
    with pytest.raises(ValueError, match="least_coverage=2"):
        insitu.upscale(stations([[0.1]]), [1.0], least_coverage=2)
    with pytest.raises(ValueError, match="level=95"):
        insitu.limits(insitu.upscale(stations([[0.1, 0.2]]), [0.5, 0.5]), 95)


@st.composite
def networks(draw):
    n, days = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    raw = np.array(draw(st.lists(st.integers(1, 100), min_size=n, max_size=n)), float)
    cell = st.one_of(st.integers(0, 60).map(lambda k: k / 100), st.just(NAN))
    values = draw(st.lists(st.lists(cell, min_size=n, max_size=n), min_size=days, max_size=days))
    return stations(values), raw / raw.sum()


@settings(deadline=None)
@given(networks(), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_any_network(network, hundredths, random):
    theta, weights = network
    out = insitu.upscale(theta, weights)
    known = ~np.isnan(out["value"].values)
    values = theta.values[known]
    assert (out["value"].values[known] >= np.nanmin(values, axis=1, initial=1) - 1e-12).all()
    assert (out["value"].values[known] <= np.nanmax(values, axis=1, initial=0) + 1e-12).all()
    assert (out["coverage"].values[known] >= 0.5 - 1e-9).all()
    assert not (out["error"].values < 0).any()
    assert not (out["degrees_of_freedom"].values < 1 - 1e-9).any()
    assert not (out["degrees_of_freedom"].values > theta.sizes["station"] - 1 + 1e-9).any()
    order = list(range(theta.sizes["station"]))
    random.shuffle(order)
    shuffled = insitu.upscale(theta.isel(station=order), weights[order])
    moved = insitu.upscale(theta + hundredths / 100, weights)
    for name in NAMES:
        np.testing.assert_allclose(shuffled[name], out[name], atol=1e-7)
        shift = hundredths / 100 if name == "value" else 0
        np.testing.assert_allclose(moved[name], out[name] + shift, atol=1e-7)


# Do the limits hold the truth as often as they say?


def fields(generator, cells, length, nugget, n):
    """Fields of variance 1 on a raster: exponential correlation of `length` cells (0: none) and a nugget."""
    if not length:
        return generator.standard_normal((n, cells, cells))
    period = 4 * cells
    lag = np.minimum(np.arange(period), period - np.arange(period))
    spectrum = np.fft.fft2(np.exp(-np.hypot(lag[:, None], lag) / length)).real.clip(0)
    noise = np.fft.fft2(generator.standard_normal((n, period, period)))
    smooth = np.fft.ifft2(np.sqrt(spectrum) * noise).real[:, :cells, :cells]
    return np.sqrt(1 - nugget) * smooth + np.sqrt(nugget) * generator.standard_normal((n, cells, cells))


def measured_coverage(length, nugget, n_stations, n=300, cells=24, level=0.95):
    """Part of `n` fields whose mean lies within the limits from stations at random places, each field with its own."""
    generator = np.random.default_rng([length, n_stations])
    hits = []
    for field in fields(generator, cells, length, nugget, n):
        place = generator.choice(cells**2, n_stations, replace=False)
        weights = insitu.thiessen_weights(place % cells + 0.5, place // cells + 0.5, (0, 0, cells, cells))
        low, high = insitu.limits(insitu.upscale(field.ravel()[place][None], weights), level).values[0]
        hits.append(low <= field.mean() <= high)
    return np.mean(hits)


@pytest.mark.parametrize("n_stations", [4, 10, 20])
def test_limits_hold_the_mean_of_a_field_without_correlation(n_stations):
    # The standard deviation of a part of 0.95 of 300 is 0.013; above, limits from few stations are somewhat wide.
    assert 0.91 <= measured_coverage(0, 1, n_stations) <= 0.99


def test_limits_are_no_wider_than_they_need_be_at_another_level():
    assert 0.43 <= measured_coverage(0, 1, 12, level=0.5) <= 0.6


@pytest.mark.parametrize(("length", "n_stations"), [(2, 6), (2, 20), (8, 6), (8, 20)])
def test_limits_are_safe_where_moisture_is_correlated(length, n_stations):
    assert measured_coverage(length, 0.3, n_stations) >= 0.91


def test_a_bias_common_to_all_sensors_is_not_seen():
    theta = stations(np.random.default_rng(1).normal(0.2, 0.02, (50, 12)))
    weights = np.full(12, 1 / 12)
    one, two = insitu.upscale(theta, weights), insitu.upscale(theta + 0.05, weights)
    np.testing.assert_allclose(two["error"], one["error"])


def test_a_pandas_series_is_taken_by_its_labels():
    theta = stations([[0.1, 0.2, 0.3]], names=["001", "002", "003"])
    weights = pd.Series([0.2, 0.5, 0.3], ["003", "001", "002"])
    for by_name in (weights, weights.to_dict()):
        assert insitu.upscale(theta, by_name)["value"].item() == pytest.approx(0.5 * 0.1 + 0.3 * 0.2 + 0.2 * 0.3)
        assert insitu.upscale(theta, provider_weights=by_name)["value"].item() == pytest.approx(0.17)
    with pytest.raises(ValueError, match="two weights for station 003"):
        insitu.upscale(theta, pd.concat([weights, weights[:1]]))
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(time, station\)"):
        insitu.upscale([0.1, 0.2, 0.3], [0.2, 0.5, 0.3])
