"""Differences of scores: identities, samples drawn one by one, and p-values and limits against a known truth."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import kstest

from smapnb import metrics

NAN = np.nan
KERNELS = {name: getattr(metrics, name) for name in metrics.METRICS}


def array(values, start="2016-04-01", name="ssm", group=None):
    values = np.asarray(values, float)
    coords = {"time": pd.date_range(start, periods=len(values)), "site": np.arange(values.shape[1])}
    coords |= {"group": ("site", group)} if group else {}
    return xr.DataArray(values, coords, ("time", "site"), name)


@pytest.fixture
def three():
    generator = np.random.default_rng(0)
    one, two, obs = 0.3 + 0.05 * generator.standard_normal((3, 160, 4))
    one[generator.random(one.shape) < 0.2] = NAN
    two[generator.random(two.shape) < 0.3] = NAN
    obs[generator.random(obs.shape) < 0.3] = NAN
    obs[:, 3] = NAN
    return one, two, obs


def test_difference_is_that_of_the_scores_on_days_that_all_have(three):
    one, two, obs = three
    got = metrics.compare(one=array(one), two=array(two), obs=array(obs), n_boot=20)
    common = np.isfinite(one + two + obs)
    np.testing.assert_array_equal(got["n"], common.sum(0))
    for name, kernel in KERNELS.items():
        scores = [kernel(sim=np.where(common, x, NAN), obs=obs, axis=0) for x in (one, two)]
        np.testing.assert_allclose(got[name], scores[0] - scores[1], err_msg=name)
    assert np.isnan(got["rmse_ci"][3]).all() and np.isnan(got["rmse_p"][3]) and got["n"][3] == 0


def test_sites_that_nobody_observed_have_no_difference(three):
    one, two, obs = (array(x[:, 3:]) for x in three)
    got = metrics.compare(one=one, two=two, obs=obs, n_boot=20)
    assert got["n"].item() == 0
    assert all(np.isnan(got[name]).all() for name in ("rmse", "rmse_ci", "rmse_p", "pearson_r_ci"))


def test_samples_are_paired_and_the_p_value_is_the_formula(three):
    one, two, obs = three
    got = metrics.compare(one=array(one), two=array(two), obs=array(obs), n_boot=50, block=20, level=0.8, seed=3)
    days = metrics.resampled_days(160, 20, 50, np.random.default_rng(3))
    common = np.isfinite(one + two + obs)
    one, two = (np.where(common, x, NAN) for x in (one, two))
    for name, kernel in KERNELS.items():
        samples = [kernel(sim=x[days][..., :3], obs=obs[days][..., :3], axis=1) for x in (one, two)]
        difference = samples[0] - samples[1]
        limits = np.quantile(difference, [0.1, 0.9], axis=0).T
        np.testing.assert_allclose(got[f"{name}_ci"][:3], limits, rtol=1e-7, atol=1e-12, err_msg=name)
        fewer = np.minimum((difference <= 0).sum(0), (difference >= 0).sum(0))
        np.testing.assert_allclose(got[f"{name}_p"][:3], np.minimum(1, 2 * (fewer + 1) / 51), err_msg=name)


def test_swapped_and_identical(three):
    one, two, obs = (array(x) for x in three)
    there, back = metrics.compare(one=one, two=two, obs=obs), metrics.compare(one=two, two=one, obs=obs)
    for name in metrics.METRICS:
        np.testing.assert_allclose(there[name], -back[name])
        np.testing.assert_allclose(there[f"{name}_ci"], -back[f"{name}_ci"][:, ::-1], atol=1e-12)
        np.testing.assert_allclose(there[f"{name}_p"], back[f"{name}_p"])
    same = metrics.compare(one=one, two=one, obs=obs)
    for name in metrics.METRICS:
        np.testing.assert_array_equal(same[name][:3], 0)
        np.testing.assert_array_equal(same[f"{name}_p"][:3], 1)


def test_pairing_cancels_what_both_share():
    """Two estimates with a common error of 0.05 and own ones of 0.005: paired limits see the latter only."""
    generator = np.random.default_rng(1)
    obs, shared = generator.standard_normal((2, 1000, 8))
    own = 0.1 * generator.standard_normal((2, 1000, 8))
    one, two = obs + shared + own[0] + 0.05, obs + shared + own[1]
    paired = metrics.compare(one=array(one), two=array(two), obs=array(obs), block=1)
    # Difference of biases: mean of 1000 numbers of standard deviation 0.1 sqrt(2).
    width = paired["bias_ci"].diff("limit").mean()
    np.testing.assert_allclose(width, 2 * 1.96 * 0.1 * np.sqrt(2 / 1000), rtol=0.1)
    late = array(two, "2020-04-01", "late")
    apart = metrics.compare_periods(
        one=array(one), obs_one=array(obs), two=late, obs_two=array(obs, "2020-04-01"), block=1
    )
    # Unpaired: two means of numbers of standard deviation sqrt(1 + 0.01).
    width = apart["bias_ci"].diff("limit").mean()
    np.testing.assert_allclose(width, 2 * 1.96 * np.sqrt(2 * 1.01 / 1000), rtol=0.1)


def test_p_values_are_level_and_limits_hold_the_truth():
    """No difference in truth: p-values are spread evenly, and below 0.05 about as often."""
    generator = np.random.default_rng(2)
    obs = generator.standard_normal((400, 600))
    one, two = obs + generator.standard_normal((2, 400, 600))
    got = metrics.compare(one=array(one), two=array(two), obs=array(obs), block=1, n_boot=400)
    for name in metrics.METRICS:
        p = got[f"{name}_p"].to_numpy()
        assert kstest(p, "uniform").pvalue > 0.001, name
        assert 0.02 < (p < 0.05).mean() < 0.085, name
        lower, upper = got[f"{name}_ci"].transpose("limit", "site").to_numpy()
        excluded = (lower > 0) | (upper < 0)
        assert abs(excluded.mean() - (p < 0.05).mean()) < 0.02, name
    apart = metrics.compare_periods(
        one=array(one), obs_one=array(obs), two=array(two[::-1], "2020-01-01"), obs_two=array(obs[::-1], "2020-01-01")
    )
    assert 0.02 < float((apart["pearson_r_p"] < 0.05).mean()) < 0.11
    # One estimate has seen the other's seed if both periods are resampled alike: mirrored days would then cancel.
    assert float(apart["bias_ci"].diff("limit").mean()) > 1.2 * 1.96 * np.sqrt(1 / 400)


def test_groups_are_means_of_their_sites(three):
    one, two, obs = three
    group = ["a", "b", "a", "b"]
    arrays = {"one": array(one, group=group), "two": array(two, group=group), "obs": array(obs, group=group)}
    single, grouped = metrics.compare(**arrays), metrics.compare(**arrays, by="group")
    assert grouped["group"].values.tolist() == ["a", "b"]
    for name in metrics.METRICS:
        np.testing.assert_allclose(grouped[name], [(single[name][0] + single[name][2]) / 2, single[name][1]])
        np.testing.assert_allclose(grouped[f"{name}_ci"][1], single[f"{name}_ci"][1])  # site 3 has no day
    assert grouped["n"].values.tolist() == [min(single["n"].values[[0, 2]]), single["n"][1]]
    # The sites of a group are resampled alike: were they the same site, nothing would be gained by having two.
    twice = {name: x.isel(site=[0, 0]).assign_coords(site=[0, 1]) for name, x in arrays.items()}
    np.testing.assert_allclose(metrics.compare(**twice, by="group")["rmse_ci"][0], single["rmse_ci"][0])
    with pytest.raises(ValueError, match="by='lat'"):
        metrics.compare(**arrays, by="lat")


def test_periods_by_hand_and_refused():
    generator = np.random.default_rng(4)
    obs_one, obs_two = array(generator.random((90, 2))), array(generator.random((60, 2)), "2018-01-01")
    got = metrics.compare_periods(one=obs_one + 0.5, obs_one=obs_one, two=obs_two + 0.2, obs_two=obs_two, n_boot=20)
    np.testing.assert_allclose(got["bias"], 0.3)
    np.testing.assert_allclose(got["bias_ci"], 0.3)
    np.testing.assert_allclose(got["bias_p"], 2 / 21)
    assert (got["n"] == 90).all() and (got["n_two"] == 60).all()
    by_site = metrics.compare_periods(
        one=obs_one, obs_one=obs_one, two=(obs_two + np.array([0.1, 0.2])).transpose(), obs_two=obs_two, n_boot=5
    )
    np.testing.assert_allclose(by_site["bias"], [-0.1, -0.2])
    with pytest.raises(ValueError, match="share 90 labels of 'time'"):
        metrics.compare_periods(one=obs_one, obs_one=obs_one, two=obs_one, obs_two=obs_one)
    with pytest.raises(ValueError, match="not of the same places"):
        metrics.compare_periods(one=obs_one, obs_one=obs_one, two=obs_two[:, ::-1], obs_two=obs_two[:, ::-1])
    with pytest.raises(ValueError, match="scores to compare"):
        metrics.compare(one=obs_one, two=obs_one, obs=obs_one, names=["nse"])


def test_false_discovery_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5, times 4 / rank: 0.04, 0.04, 0.04, 0.5, none above the next.
    np.testing.assert_allclose(
        metrics.false_discovery([0.03, NAN, 0.01, 0.5, 0.02]), [0.04, NAN, 0.04, 0.5, 0.04], rtol=1e-12
    )
    assert np.isnan(metrics.false_discovery([NAN, NAN])).all()
    assert metrics.false_discovery([]).shape == (0,)
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.false_discovery([1.5])
