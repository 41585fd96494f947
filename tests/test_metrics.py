"""Metrics: by hand, by identities, against SciPy, and confidence limits against a known truth."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr

from smapnb import metrics, metrics_kernels

KERNELS = {name: getattr(metrics, name) for name in metrics.METRICS}
NAN = np.nan
# Moisture-like numbers on a coarse mesh, so that a spread is either none or well above rounding.
MESH = st.integers(0, 1000).map(lambda k: k / 1000)


@st.composite
def pairs(draw, gaps=True):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=12))
    values = st.one_of(MESH, st.just(NAN)) if gaps else MESH
    return draw(hnp.arrays(float, shape, elements=values)), draw(hnp.arrays(float, shape, elements=values))


def array(values, start="2016-04-01", name="ssm", **attrs):
    values = np.asarray(values, float)
    time = pd.date_range(start, periods=values.shape[0])
    pixel = np.arange(values.shape[1])
    coords = {"time": time, "pixel": pixel, "lat": ("pixel", 40.0 + pixel)}
    return xr.DataArray(values, dims=("time", "pixel"), coords=coords, name=name, attrs=attrs)


def autoregressive(generator, phi, days, columns):
    """Series of variance 1 whose neighbouring days correlate by `phi`, begun in its stationary state."""
    out = np.empty((days, columns))
    out[0] = generator.standard_normal(columns)
    for t in range(1, days):
        out[t] = phi * out[t - 1] + np.sqrt(1 - phi**2) * generator.standard_normal(columns)
    return out


# Kernels


def test_by_hand():
    # Errors on the matched days 1, 2 and 4: 1, 3, -1; mean 1; squares 1, 9, 1; about their mean 0, 2, -2.
    sim, obs = [2.0, 5.0, 7.0, 3.0, NAN], [1.0, 2.0, NAN, 4.0, 9.0]
    assert metrics.count(sim=sim, obs=obs) == 3
    assert metrics.bias(sim=sim, obs=obs) == pytest.approx(1)
    assert metrics.rmse(sim=sim, obs=obs) == pytest.approx(np.sqrt(11 / 3))
    assert metrics.ubrmse(sim=sim, obs=obs) == pytest.approx(np.sqrt(8 / 3))
    # Anomalies of sim (-4, 5, -1) / 3 and obs (-4, -1, 5) / 3: products 16 - 5 - 5 = 6, squares 42 and 42.
    assert metrics.pearson_r(sim=sim, obs=obs) == pytest.approx(6 / 42)


def test_keywords_only():
    for kernel in KERNELS.values():
        with pytest.raises(TypeError):
            kernel([1.0, 2.0], [1.0, 2.0])


@settings(deadline=None)
@given(pairs())
def test_pearson_is_scipys(pair):
    sim, obs = np.atleast_2d(pair[0]), np.atleast_2d(pair[1])
    ours = metrics.pearson_r(sim=sim, obs=obs)
    for s, o, r in zip(sim, obs, ours, strict=True):
        both = ~np.isnan(s) & ~np.isnan(o)
        if both.sum() < 3 or np.ptp(s[both]) == 0 or np.ptp(o[both]) == 0:
            assert np.isnan(r)
        else:
            assert r == pytest.approx(pearsonr(s[both], o[both]).statistic, abs=1e-9)


@settings(deadline=None)
@given(pairs())
def test_identity_and_gaps(pair):
    sim, obs = pair
    scores = {name: kernel(sim=sim, obs=obs) for name, kernel in KERNELS.items()}
    n = metrics.count(sim=sim, obs=obs)
    np.testing.assert_array_equal(n, (~np.isnan(sim + obs)).sum(-1))
    for name in ("bias", "rmse", "ubrmse"):
        np.testing.assert_array_equal(np.isnan(scores[name]), n == 0)
    left, right = scores["ubrmse"] ** 2, scores["rmse"] ** 2 - scores["bias"] ** 2
    np.testing.assert_allclose(left, right, atol=1e-12)


@settings(deadline=None)
@given(pairs(gaps=False), st.integers(1, 50), st.integers(-50, 50))
def test_shift_and_scale(pair, scale, shift):
    sim, obs = pair
    moved = {"sim": scale * sim + shift, "obs": scale * obs + shift}
    for name, factor in {"bias": scale, "rmse": scale, "ubrmse": scale, "pearson_r": 1}.items():
        expected = factor * KERNELS[name](sim=sim, obs=obs)
        np.testing.assert_allclose(KERNELS[name](**moved), expected, rtol=1e-7, atol=1e-10)
    shifted = {"sim": sim + shift, "obs": obs}
    np.testing.assert_allclose(metrics.bias(**shifted), metrics.bias(sim=sim, obs=obs) + shift, rtol=1e-9, atol=1e-10)
    expected = metrics.ubrmse(sim=sim, obs=obs)
    np.testing.assert_allclose(metrics.ubrmse(**shifted), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(metrics.pearson_r(sim=-sim, obs=obs), -metrics.pearson_r(sim=sim, obs=obs), atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axes(axis):
    generator = np.random.default_rng(3)
    sim, obs = generator.random((2, 4, 5, 6))
    obs[generator.random(obs.shape) < 0.3] = NAN
    for kernel in (*KERNELS.values(), metrics.count):
        got = kernel(sim=sim, obs=obs, axis=axis)
        assert got.shape == tuple(np.delete((4, 5, 6), axis))
        one = kernel(sim=np.moveaxis(sim, axis, -1)[1, 2], obs=np.moveaxis(obs, axis, -1)[1, 2])
        assert got[1, 2] == pytest.approx(one, nan_ok=True)


def test_float32_is_summed_in_double_precision():
    generator = np.random.default_rng(4)
    sim, obs = (280 + generator.random((2, 100_000))).astype(np.float32)
    for name, kernel in KERNELS.items():
        got = kernel(sim=sim, obs=obs)
        assert got.dtype == np.float64
        assert got == kernel(sim=sim.astype(float), obs=obs.astype(float)), name


def test_too_few_days_give_nan_without_warning():  # warnings are errors
    assert np.isnan([kernel(sim=[NAN, 1.0], obs=[1.0, NAN]) for kernel in KERNELS.values()]).all()
    assert np.isnan([kernel(sim=[], obs=[]) for kernel in KERNELS.values()]).all()
    assert metrics.count(sim=[], obs=[]) == 0
    assert np.isnan(metrics.pearson_r(sim=[1.0, 2.0], obs=[1.0, 3.0]))
    # 0.1 has no exact mean in floating point, yet a constant must not correlate with anything.
    assert np.isnan(metrics.pearson_r(sim=np.full(7, 0.1), obs=np.arange(7.0)))


def test_masked_values_are_missing_days():
    """What stands behind a mask, here the fill value, is no value."""
    sim = np.ma.masked_equal([1, 2, -9999, 5], -9999)
    assert metrics.bias(sim=sim, obs=[0.0, 2.0, 3.0, 3.0]) == 1.0
    assert metrics.bias(sim=[0.0, 2.0, 3.0, 3.0], obs=sim) == -1.0
    assert metrics.count(sim=sim, obs=np.zeros(4)) == 3


def test_bad_arrays_are_named():
    with pytest.raises(ValueError, match=r"obs holds an infinite value at index \(1, 0\)"):
        metrics.bias(sim=np.zeros((2, 2)), obs=[[0.0, 0.0], [np.inf, 0.0]])
    with pytest.raises(ValueError, match=r"sim \(2, 3\) and obs \(3, 2\)"):
        metrics.rmse(sim=np.zeros((2, 3)), obs=np.zeros((3, 2)))


# Bootstrap


def test_samples_are_whole_blocks_and_use_every_day_alike():
    days = metrics.resampled_days(50, 15, 4000, np.random.default_rng(0))
    assert days.shape == (4000, 50)
    steps = np.diff(days, axis=1) % 50
    inside = np.arange(1, 50) % 15 != 0
    assert (steps[:, inside] == 1).all()
    assert (steps[:, ~inside] != 1).mean() > 0.9  # a new block follows on by chance only, 1 in 50
    share = np.bincount(days.ravel(), minlength=50) / 4000  # each day once a sample on average
    assert np.abs(share - 1).max() < 0.1


def test_limits_equal_those_of_days_resampled_one_by_one():
    generator = np.random.default_rng(1)
    sim, obs = 0.3 + 0.05 * autoregressive(generator, 0.8, 200, 6).reshape(200, 2, 3).swapaxes(0, 1)
    obs[generator.random(obs.shape) < 0.5] = NAN
    obs[:120, 2] = NAN  # some samples of this pixel hold next to no observation
    got = metrics.evaluate(sim=array(sim), obs=array(obs), n_boot=60, block=20, level=0.8, seed=5)
    days = metrics.resampled_days(200, 20, 60, np.random.default_rng(5))
    for name, kernel in KERNELS.items():
        samples = kernel(sim=sim[days], obs=obs[days], axis=1)  # (sample, pixel)
        expected = np.nanquantile(samples, [0.1, 0.9], axis=0).T
        np.testing.assert_allclose(got[f"{name}_ci"], expected, rtol=1e-8, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(got[name], kernel(sim=sim, obs=obs, axis=0), err_msg=name)


def test_absent_days_are_gaps_of_the_calendar():
    generator = np.random.default_rng(2)
    sim, obs = (array(x) for x in generator.random((2, 120, 2)))
    gap = np.isin(np.arange(120), np.arange(40, 75))
    left_out = metrics.evaluate(sim=sim.isel(time=~gap), obs=obs, n_boot=50)
    missing = metrics.evaluate(sim=sim.where(xr.DataArray(~gap, dims="time")), obs=obs, n_boot=50)
    xr.testing.assert_allclose(left_out, missing)


@pytest.mark.parametrize(("days", "low", "high"), [(365, 0.82, 0.98), (1500, 0.88, 0.98)])
def test_limits_hold_the_truth(days, low, high):
    """AR(1) series, half of the days observed: the true scores follow from the coefficients."""
    generator = np.random.default_rng(days)
    obs, noise = autoregressive(generator, 0.8, days, 800).reshape(days, 2, 400).swapaxes(0, 1)
    sim = 0.5 + 0.8 * obs + 0.6 * noise  # variance 0.64 + 0.36 = 1; error 0.5 - 0.2 obs + 0.6 noise
    variance = 0.2**2 + 0.6**2
    truth = {"bias": 0.5, "rmse": np.sqrt(0.25 + variance), "ubrmse": np.sqrt(variance), "pearson_r": 0.8}
    obs[generator.random(obs.shape) < 0.5] = NAN
    got = metrics.evaluate(sim=array(sim), obs=array(obs), level=0.95)
    for name, value in truth.items():
        lower, upper = got[f"{name}_ci"].transpose("limit", "pixel").to_numpy()
        covered = ((lower <= value) & (value <= upper)).mean()
        assert low < covered < high, name
    # Days drawn one by one would ignore the autocorrelation and promise too much.
    daily = metrics.evaluate(sim=array(sim), obs=array(obs), level=0.95, block=1)
    narrow = daily["bias_ci"].diff("limit").mean() / got["bias_ci"].diff("limit").mean()
    assert narrow < 0.8


def test_short_series_use_shorter_blocks():
    values = np.random.default_rng(0).random((20, 1))
    got = metrics.evaluate(sim=array(values), obs=array(values[::-1]), block=30)
    assert got.attrs["block"] == 5
    assert float(got["rmse_ci"].diff("limit").item()) > 0


# Labelled wrapper


def test_labels_units_and_n():
    generator = np.random.default_rng(6)
    sim, obs = generator.random((2, 100, 3))
    obs[:90, 1] = NAN
    obs[:, 2] = NAN
    sim, obs = (
        array(sim, name="ssm_lstm", units="m3 m-3"),
        array(obs, "2016-03-22", "ssm_smap", units="m3 m-3"),
    )
    got = metrics.evaluate(sim=sim, obs=obs.transpose(), n_boot=20, minimum_n=5)
    # 100 days from 04-01 and 100 days from 03-22 share 90; of pixel 1, the last ten days of obs remain.
    assert got["n"].values.tolist() == [90, 10, 0]
    assert got["rmse"].dims == ("pixel",)
    assert got["rmse_ci"].dims == ("pixel", "limit")
    assert got["limit"].values.tolist() == ["lower", "upper"]
    assert {got[v].attrs["units"] for v in ("bias", "rmse", "ubrmse", "bias_ci")} == {"m3 m-3"}
    assert got["pearson_r"].attrs["units"] == got["n"].attrs["units"] == "1"
    assert (got.attrs["sim"], got.attrs["obs"]) == ("ssm_lstm", "ssm_smap")
    xr.testing.assert_equal(got["lat"].drop_vars("lat"), sim["lat"].drop_vars("lat"))
    np.testing.assert_allclose(got["rmse"][0], np.sqrt(np.nanmean((sim - obs)[:, 0] ** 2)))
    assert np.isnan(got["rmse"][2])
    assert np.isnan(got["rmse_ci"][2]).all()
    few = metrics.evaluate(sim=sim, obs=obs, n_boot=20, minimum_n=11)
    assert np.isnan(few["bias"]).values.tolist() == [False, True, True]
    assert few["n"].values.tolist() == [90, 10, 0]


@pytest.mark.parametrize("known", [0, 1, 40])
def test_a_series_without_a_score_has_no_limits(known):
    """All missing, a single day, or a constant: nothing to correlate with, in any column."""
    obs = np.where(np.arange(40) < known, 0.3, NAN)[:, None]
    got = metrics.evaluate(sim=array(np.random.default_rng(1).random((40, 1))), obs=array(obs), n_boot=20)
    assert got["n"].item() == known
    assert np.isnan(got["pearson_r"]).all()
    assert np.isnan(got["pearson_r_ci"]).all()
    assert np.isnan(got["rmse_ci"]).all() == (known < 3)


def test_lazy_input_gives_the_same():
    generator = np.random.default_rng(7)
    sim, obs = (array(x) for x in generator.random((2, 150, 5)))
    whole = metrics.evaluate(sim=sim, obs=obs, n_boot=30)
    lazy = metrics.evaluate(sim=sim.chunk(time=40, pixel=2), obs=obs.chunk(time=70, pixel=3), n_boot=30)
    xr.testing.assert_allclose(whole, lazy)
    assert lazy.chunks == {}
    half = metrics.evaluate(sim=sim.chunk(time=40, pixel=2), obs=obs, n_boot=30)
    xr.testing.assert_allclose(whole, half)


def test_columns_in_parts_give_the_same(monkeypatch):
    sim, obs = (array(x) for x in np.random.default_rng(8).random((2, 100, 5)))
    whole = metrics.evaluate(sim=sim, obs=obs, n_boot=30)
    monkeypatch.setattr(metrics, "COLUMNS_AT_ONCE", 2)
    xr.testing.assert_allclose(whole, metrics.evaluate(sim=sim, obs=obs, n_boot=30))


def test_mismatches_are_named():
    one = array(np.random.default_rng(9).random((50, 2)), name="ssm_lstm", units="m3 m-3")
    with pytest.raises(ValueError, match="different units"):
        metrics.evaluate(sim=one, obs=one.assign_attrs(units="%"))
    with pytest.raises(ValueError, match="differ in the coordinate 'pixel'"):
        metrics.evaluate(sim=one, obs=one.assign_coords(pixel=[0, 7]))
    with pytest.raises(ValueError, match="differ in the coordinate 'lat'"):
        metrics.evaluate(sim=one, obs=one.assign_coords(lat=("pixel", [1.0, 2.0])))
    with pytest.raises(ValueError, match="no time in common"):
        metrics.evaluate(sim=one, obs=array(one.values, "2001-01-01"))
    with pytest.raises(ValueError, match="dimensions"):
        metrics.evaluate(sim=one, obs=one.isel(pixel=0, drop=True))
    with pytest.raises(ValueError, match=r"ssm_lstm: labels of 'time' are repeated"):
        metrics.evaluate(sim=xr.concat([one, one], "time"), obs=one)
    with pytest.raises(TypeError, match="obs is a ndarray, not a DataArray"):
        metrics.evaluate(sim=one, obs=one.values)
    with pytest.raises(ValueError, match="level=95"):
        metrics.evaluate(sim=one, obs=one, level=95)


# Tables over pixels


def scores(**values):
    data = {name: ("pixel", np.asarray(values[name], float), {"units": "u"}) for name in metrics.METRICS}
    return xr.Dataset(data, coords={"pixel": np.arange(len(values["bias"]))})


def test_summary_by_hand():
    five = [5.0, 1.0, 4.0, 2.0, 3.0]
    table = metrics.summarise(scores(bias=five, rmse=[*five[:4], NAN], ubrmse=five, pearson_r=[NAN] * 5))
    assert table.loc["bias"].tolist() == [3, 2, 4, 5, "u"]
    assert table.loc["rmse", ["median", "n_pixels"]].tolist() == [3, 4]  # of 1, 2, 4, 5
    assert table.loc["pearson_r", "n_pixels"] == 0
    assert np.isnan(table.loc["pearson_r", "median"])


def test_paired_difference():
    generator = np.random.default_rng(10)
    rough = generator.random(200)
    base = scores(bias=rough, rmse=rough, ubrmse=rough, pearson_r=rough)
    # The same pixel is better by 0.1 everywhere: a paired comparison is certain of it, whatever the spread.
    better = base.copy(deep=True) - 0.1
    table = metrics.difference(better, base)
    for column in ("difference", "lower", "upper"):
        np.testing.assert_allclose(table[column], -0.1)
    assert (table["n_pixels"] == 200).all()
    # Noise without a difference: the limits are on both sides of zero, and missing pixels are left out.
    noisy = base + xr.DataArray(0.02 * generator.standard_normal(200), dims="pixel")
    noisy["rmse"][:50] = NAN
    table = metrics.difference(noisy, base)
    assert (table["lower"] < 0).all()
    assert (table["upper"] > 0).all()
    assert table.loc["rmse", "n_pixels"] == 150
    with pytest.raises(ValueError, match="same pixels"):
        metrics.difference(base.isel(pixel=slice(5)), base)


def test_paired_difference_holds_the_truth():
    """Two normal products whose medians differ by 0.3: nominal 95 % limits must hold it nearly that often."""
    generator = np.random.default_rng(11)
    hits = []
    for _ in range(100):
        shared = generator.standard_normal(150)
        one, two = shared + 0.5 * generator.standard_normal((2, 150)) + [[0.3], [0.0]]
        product, baseline = (scores(bias=x, rmse=x, ubrmse=x, pearson_r=x) for x in (one, two))
        row = metrics.difference(product, baseline, n_boot=200).loc["bias"]
        hits.append(row["lower"] <= 0.3 <= row["upper"])
    assert np.mean(hits) > 0.88


# Real data


@pytest.mark.data
def test_published_predictions(data_root):
    """The authors' published LSTM output against SMAP, 2016-04-01 to 2017-03-31.

    Over all 412 pixels it scores R 0.841, RMSE 0.0332 and ubRMSE 0.0294 (medians); some copies of
    the sample hold SMAP of half of them.
    """
    smap = data_root / "conus412" / "CONUSv4f1" / "2016" / "SMAP_AM.csv"
    lstm = data_root / "authors_predictions" / "CONUSv4f1_20160401_20170401_ep100_SMAP_AM.csv"
    if not lstm.is_file():
        pytest.skip(f"no published predictions: {lstm} is not there (SMAPNB_DATA names {data_root})")
    obs = np.loadtxt(smap, delimiter=",")
    obs[obs == -9999] = NAN
    sim = np.loadtxt(lstm, delimiter=",") * 0.08857838 + 0.18420095
    assert sim.shape == obs.shape == (412, 365)
    table = metrics.summarise(metrics.evaluate(sim=array(sim.T), obs=array(obs.T)))
    # SMAP gives some pixels one and the same value all year, so that R does not exist there.
    seen = int((~np.isnan(obs)).any(1).sum())
    constant = np.array([np.ptp(row[~np.isnan(row)]) == 0 for row in obs[~np.isnan(obs).all(1)]])
    assert table["n_pixels"].tolist() == [seen, seen, seen, seen - constant.sum()]
    assert table.loc["pearson_r", "median"] == pytest.approx(0.841, abs=0.015)
    assert table.loc["rmse", "median"] == pytest.approx(0.0332, abs=0.002)
    assert table.loc["ubrmse", "median"] == pytest.approx(0.0294, abs=0.002)


def test_percentile_limits_count_no_sample_without_a_value():
    whole = np.arange(101.0)
    gaps = np.where(np.arange(101) % 5 == 0, np.arange(101.0), NAN)  # 0, 5, .. 100
    samples = np.stack([whole, gaps, np.full(101, NAN), whole[::-1] - 50], axis=1)
    np.testing.assert_allclose(
        metrics_kernels.percentile_limits(samples, 0.9), [[5, 95], [5, 95], [NAN, NAN], [-45, 45]], rtol=1e-14
    )
    assert metrics_kernels.percentile_limits(samples[:, 2:3], 0.9).shape == (1, 2)
    assert metrics_kernels.percentile_limits(samples[:, :0], 0.9).shape == (0, 2)


def test_labels_that_disagree_are_refused():
    """Kernels pair by position; a day's shift between two labelled series must not pass."""
    days = pd.date_range("2016-01-01", periods=4)
    one, two = pd.Series([0.1, 0.2, 0.3, 0.4], days), pd.Series([0.2, 0.3, 0.4, 0.5], days + pd.Timedelta(days=1))
    square = xr.DataArray(np.eye(4), {"time": days, "pixel": range(4)}, ("time", "pixel"))
    pairs = [(one, two), (one.to_xarray(), two.to_xarray()), (square, square.transpose())]
    pairs += [(one, two.to_xarray()), (one.to_xarray(), two)]
    for sim, obs in pairs:
        with pytest.raises(ValueError, match="differ in labels or their order"):
            metrics.rmse(sim=sim, obs=obs)
    assert metrics.rmse(sim=one, obs=two.to_numpy()) == pytest.approx(0.1)
    assert metrics.rmse(sim=one, obs=one[::1]) == 0


def test_days_without_dates_are_not_matched_with_dates():
    sim = array(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="only one of them has labels of 'time'"):
        metrics.evaluate(sim=sim, obs=sim.drop_vars("time"))
