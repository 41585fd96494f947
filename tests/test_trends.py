"""Mann-Kendall and Sen: by hand, against the n squared definitions, pymannkendall and SciPy, by invariants."""

import numpy as np
import pandas as pd
import pymannkendall
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, theilslopes

from smapnb import trends
from smapnb import trends_kernels as kernels
from smapnb import trends_reference as reference
from smapnb.trends import METHODS, Reason, mann_kendall, sen_slope
from smapnb.trends_axis import Axis
from smapnb.trends_correlation import autocorrelation, seasonal_covariance
from smapnb.trends_experiment import autoregressive

NAN = np.nan
YEAR = 365.25
# A coarse mesh makes ties, the other numbers make none.
MESH = st.integers(-20, 20).map(lambda k: k / 100)
WIDE = st.floats(-1e3, 1e3, allow_subnormal=False)


@st.composite
def series(draw, fewest=3, most=60, values=None):
    """(elapsed time, y): whole days with gaps."""
    elements = draw(st.sampled_from([MESH, WIDE])) if values is None else values
    y = np.array(draw(st.lists(elements, min_size=fewest, max_size=most)))
    steps = draw(st.lists(st.integers(1, 4), min_size=y.size, max_size=y.size))
    return np.cumsum(steps).astype(float), y


def soil(n, seed=0, digits=3, memory=20.0):
    """A daily series with season, memory and the ties of a record with few digits."""
    year = np.arange(n) / YEAR
    return np.round(0.25 + autoregressive(1, n, memory, season=0.06, seed=seed)[0] + 0.001 * year, digits)


def dates(n, start="2000-01-01"):
    return pd.date_range(start, periods=n).to_numpy()


# Kernels against the definitions


@settings(max_examples=300, deadline=None)
@given(series(fewest=1))
def test_score_and_variance_are_those_of_the_definition(points):
    _, y = points
    score, falling, tied, term, _ = kernels.kendall_score(y)
    n = y.size
    assert score == reference.score(y)
    assert (n * (n - 1) * (2 * n + 5) - term) / 18 == reference.variance(y)
    assert falling + tied + (score + falling) == n * (n - 1) // 2


@settings(max_examples=300, deadline=None)
@given(series(fewest=2), st.floats(0, 1))
def test_slope_of_every_rank_is_that_of_the_sorted_slopes(points, place):
    t, y = points
    _, falling, tied, _, gap = kernels.kendall_score(y)
    every = reference.slopes(t, y)
    rank = int(place * (every.size - 1))
    got = kernels.select_slope(t, y, rank, falling, tied, gap)
    assert got == (every[rank], every[min(rank + 1, every.size - 1)])
    assert kernels.median_slope(t, y, falling, tied, gap) == reference.median_slope(t, y)


LONG = {
    "soil, three digits": soil(1500),
    "no ties": soil(1500, digits=17),
    "two levels": np.where(np.random.default_rng(1).random(1500) < 0.5, 0.1, 0.3),
    "a straight line": 0.3 - 1.7e-5 * np.arange(700.0),
    "a line and a jump": np.where(np.arange(900) < 450, 0.1, 0.4) + 1e-6 * np.arange(900.0),
    "far from 0": 1e6 + soil(900, digits=6),
    "an outlier": np.concatenate([soil(899), [1e9]]),
    "mostly the same": np.where(np.arange(1200) % 29 == 0, soil(1200), 0.2),
    "rising steps": np.floor(np.arange(1200) / 100) * 0.01,
}


@pytest.mark.parametrize("name", LONG)
def test_long_series_agree_with_the_definitions(name):
    y = LONG[name]
    keep = np.random.default_rng(2).random(y.size) < 0.8
    t, y = np.flatnonzero(keep).astype(float), y[keep]
    score, falling, tied, _, gap = kernels.kendall_score(y)
    every = reference.slopes(t, y)
    assert score == reference.score(y)
    for rank in (0, every.size // 10, every.size // 2, every.size - 1):
        assert kernels.select_slope(t, y, rank, falling, tied, gap)[0] == every[rank]
    assert kernels.median_slope(t, y, falling, tied, gap) == np.median(every)


def test_no_pair_is_looked_at_one_by_one_in_ordinary_series(monkeypatch):
    # With the compiled fallback cut out of the Python code, a bracket that does not hold would raise.
    def never(*_):
        raise AssertionError("the slow path was taken")

    monkeypatch.setattr(kernels, "select_by_passes", never)
    plain = kernels.select_slope.py_func
    for seed in range(3):
        y = soil(300, seed)
        t = np.arange(300.0)
        _, falling, tied, _, gap = kernels.kendall_score(y)
        assert plain(t, y, 22424, falling, tied, gap)[0] == reference.slopes(t, y)[22424]


def test_median_within_stretches_takes_the_same_values_by_either_way():
    y, t = soil(400), np.arange(400.0)
    bounds = np.array([0, 150, 151, 400])
    every = np.concatenate([reference.slopes(t[a:b], y[a:b]) for a, b in ((0, 150), (151, 400))])
    assert kernels.median_slope_within(t, y, bounds) == np.median(every)
    assert kernels.select_by_passes(t, y, bounds, 777) == np.sort(every)[777]
    assert np.isnan(kernels.median_slope_within(t[:2], y[:2], np.array([0, 1, 2])))


# By hand


def test_by_hand():
    # Pairs of 1, 3, 2, 4: all six rise but 3 -> 2, so S = 5 - 1 = 4; var S = 4 * 3 * 13 / 18 = 26 / 3.
    # Slopes 2, 1/2, 1, -1, 1/2, 2; sorted -1, 1/2, 1/2, 1, 2, 2: median 3/4 a day.
    got = mann_kendall([1.0, 3.0, 2.0, 4.0])
    assert got.s == 4
    assert got.var_s == pytest.approx(26 / 3)
    assert got.z == pytest.approx(3 / np.sqrt(26 / 3))
    assert got.tau == got.tau_b == pytest.approx(4 / 6)
    assert got.slope == pytest.approx(0.75 * YEAR)
    assert got.intercept == pytest.approx(2.5 - 1.5 * 0.75)  # medians of y and of the days, line at day 0
    assert (got.n, got.reason, got.h) == (4, Reason.TESTED, False)
    assert got.units == "per year"


def test_slopes_go_by_elapsed_time_not_by_index():
    # A line seen on days 0, 1, 400: by index its slope would change from pair to pair.
    time = dates(401)[[0, 1, 400]]
    assert sen_slope([0.0, 0.5, 200.0], time, level=None).slope == pytest.approx(0.5 * YEAR)
    years = 2000 + np.array([0.0, 0.25, 4.0])
    assert sen_slope([1.0, 1.25, 5.0], years, level=None).slope == pytest.approx(1.0)
    with_gap = sen_slope(np.array([0.0, NAN, 1.0, NAN, NAN, 2.5]), level=None)
    assert with_gap.slope == pytest.approx(0.5 * YEAR)  # slopes 1/2, 1/2, 1/2


def test_dates_that_the_values_bring_along_count():
    """One value a year, rising by 0.1: taken for one a day it would rise by 36.5 a year."""
    stamps = pd.date_range("2001-01-01", periods=12, freq="YS")
    y = 0.1 * np.asarray((stamps - stamps[0]) / pd.Timedelta(days=365.25))
    labelled = xr.DataArray([y, 2 * y], {"time": stamps}, ("pixel", "time"))
    assert sen_slope(pd.Series(y, stamps)).slope == pytest.approx(0.1)
    assert mann_kendall(labelled).slope == pytest.approx([0.1, 0.2])
    assert sen_slope(y).slope == pytest.approx(0.1 * 365.25, rel=1e-3)
    assert sen_slope(labelled.drop_vars("time")[0]).slope == sen_slope(y).slope
    with pytest.raises(ValueError, match=r"\('time', 'pixel'\); time must be the last"):
        sen_slope(labelled.transpose())


def test_masked_values_are_gaps():
    y = np.ma.masked_equal([0.0, 1.0, -9999.0, 3.0, 4.0], -9999.0)
    assert mann_kendall(y).n == 4
    assert sen_slope(y).slope == pytest.approx(365.25)


def test_shape_is_kept_and_series_are_independent():
    y = np.stack([soil(60, seed) for seed in range(6)]).reshape(2, 3, 60)
    y[0, 1, 5:40] = NAN
    whole = mann_kendall(y, workers=2)
    assert whole.p.shape == whole.reason.shape == (2, 3)
    for place in np.ndindex(2, 3):
        one = mann_kendall(y[place])
        assert (one.s, one.slope, one.p, one.n) == tuple(x[place] for x in (whole.s, whole.slope, whole.p, whole.n))


def test_an_array_without_series_gives_empty_results():
    assert mann_kendall(np.empty((0, 5))).p.shape == (0,)


# Oracles


ORACLES = {
    "original": pymannkendall.original_test,
    "hamed_rao": pymannkendall.hamed_rao_modification_test,
    "yue_wang": pymannkendall.yue_wang_modification_test,
    "trend_free_pre_whitening": pymannkendall.trend_free_pre_whitening_modification_test,
}


def assert_agrees(got, oracle, per_year=YEAR):
    pairs = {"p": "p", "z": "z", "tau": "Tau", "s": "s", "var_s": "var_s"}
    for ours, theirs in pairs.items():
        assert getattr(got, ours) == pytest.approx(getattr(oracle, theirs), rel=1e-10, abs=1e-10), ours
    assert got.slope / per_year == pytest.approx(oracle.slope, rel=1e-10, abs=1e-14)
    assert bool(got.h) == bool(oracle.h)


@pytest.mark.parametrize("method", ORACLES)
@pytest.mark.parametrize("digits", [2, 17])
def test_agrees_with_pymannkendall(method, digits):
    for seed, n in enumerate((30, 200, 731)):
        y = soil(n, seed, digits)
        got, oracle = mann_kendall(y, dates(n), method), ORACLES[method](y)
        if oracle.var_s > 0:
            assert_agrees(got, oracle)
            assert got.intercept == pytest.approx(oracle.intercept, rel=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESH, min_size=4, max_size=40), st.sampled_from(sorted(ORACLES)))
def test_agrees_with_pymannkendall_on_made_series(values, method):
    y = np.array(values)
    if method != "original":  # residuals of values on a mesh tie or not by rounding alone, here as there
        y = y + np.random.default_rng(y.size).normal(0, 1e-4, y.size)
    got = mann_kendall(y, None, method)
    if got.reason != Reason.TESTED:
        return
    assert not np.isnan(got.p)
    slope = got.slope / YEAR
    if np.ptp(y - np.arange(y.size) * slope) < 1e-9:  # only rounding is left of the residuals, and the oracle ranks it
        return
    assert_agrees(got, ORACLES[method](y))


def test_lags_can_be_limited_as_in_pymannkendall():
    y = soil(300)
    for method in ("hamed_rao", "yue_wang"):
        assert_agrees(mann_kendall(y, None, method, lags=3), ORACLES[method](y, lag=3))


def test_seasonal_agrees_with_pymannkendall():
    n = 12 * 9
    month = pd.date_range("2001-01-01", periods=n, freq="MS")
    y = np.round(0.3 + 0.1 * np.sin(np.arange(n) * np.pi / 6) + np.random.default_rng(0).normal(0, 0.02, n), 2)
    season = np.asarray(month.month)
    for given_season in (None, season):
        got = mann_kendall(y, 2001 + np.arange(n) / 12, "seasonal", season=given_season)
        assert_agrees(got, pymannkendall.seasonal_test(y, period=12), per_year=1.0)
        got = mann_kendall(y, 2001 + np.arange(n) / 12, "seasonal_correlated", season=given_season)
        assert_agrees(got, pymannkendall.correlated_seasonal_test(y, period=12), per_year=1.0)
    gappy = np.where(np.random.default_rng(1).random(n) < 0.2, NAN, y)
    assert_agrees(
        mann_kendall(gappy, 2001 + np.arange(n) / 12, "seasonal"), pymannkendall.seasonal_test(gappy), per_year=1.0
    )


def test_seasonal_with_dates_takes_calendar_months_of_daily_values():
    days = pd.date_range("2004-03-10", "2009-08-20")
    y = pd.Series(soil(days.size, digits=6), days)
    y[y.index.month == 1] = NAN
    y["2006-07-01":"2006-07-16"] = NAN  # 15 of 31 days are left: below half
    y["2007-07-01":"2007-07-15"] = NAN  # 16 of 31 are left
    monthly = y.resample("MS").mean()
    full = y.resample("MS").count()
    monthly[full < 0.5 * 31] = NAN
    table = np.full((6, 12), NAN)
    table[monthly.index.year - 2004, monthly.index.month - 1] = monthly
    got = mann_kendall(y.to_numpy(), days.to_numpy(), "seasonal")
    assert got.s == sum(reference.score(c[~np.isnan(c)]) for c in table.T)
    assert got.var_s == pytest.approx(sum(reference.variance(c[~np.isnan(c)]) for c in table.T if (~np.isnan(c)).any()))
    assert got.n == np.isfinite(table).sum()
    assert np.isnan(table[2, 6])
    assert not np.isnan(table[3, 6])


def test_covariance_of_seasons_with_gaps_has_the_variance_on_its_diagonal():
    table = np.round(np.random.default_rng(3).random((9, 4)), 1)
    table[np.random.default_rng(4).random(table.shape) < 0.2] = NAN
    diagonal = np.diag(seasonal_covariance(table))
    assert diagonal == pytest.approx([reference.variance(c[~np.isnan(c)]) for c in table.T])


@settings(max_examples=60, deadline=None)
@given(series(fewest=4))
def test_gaps_leave_score_and_variance_to_the_values(points):
    t, y = points
    with_gaps = np.full(int(t[-1]) + 1, NAN)
    with_gaps[t.astype(int)] = y
    got, oracle = mann_kendall(with_gaps), pymannkendall.original_test(y)
    assert (got.s, got.n) == (oracle.s, y.size)
    assert got.slope / YEAR == pytest.approx(reference.median_slope(t, y), rel=1e-12, abs=0)
    if got.reason == Reason.TESTED:
        assert got.var_s == pytest.approx(oracle.var_s, rel=1e-12)
        assert got.p == pytest.approx(oracle.p, abs=1e-12)
        assert got.tau_b == pytest.approx(kendalltau(t, y).statistic, rel=1e-10, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(series(fewest=4), st.sampled_from([0.5, 0.9, 0.95]))
def test_limits_agree_with_scipy(points, level):
    t, y = points
    got = sen_slope(y, dates(500)[t.astype(int)], level=level)
    oracle = theilslopes(y, t, alpha=level)
    for ours, theirs in (
        (got.slope, oracle.slope),
        (got.lower, oracle.low_slope),
        (got.upper, oracle.high_slope),
    ):
        assert ours / YEAR == pytest.approx(theirs, rel=1e-10, abs=1e-300)


def test_a_factor_widens_the_limits_as_that_many_fewer_values_would():
    y = soil(500)
    plain, wide = sen_slope(y), sen_slope(y, factor=9.0)
    assert wide.lower < plain.lower < plain.slope < plain.upper < wide.upper
    every = reference.slopes(np.arange(500.0), y)
    reach = 1.959963984540054 * 3 * np.sqrt(reference.variance(y))
    assert wide.upper == pytest.approx(every[round((every.size + reach) / 2)] * YEAR)
    with pytest.raises(ValueError, match="1 of 1 are not positive"):
        sen_slope(y, factor=0.0)


# Invariants


@settings(max_examples=100, deadline=None)
@given(series(fewest=3))
def test_score_turns_with_the_sign_and_with_time(points):
    t, y = points
    one = mann_kendall(y)
    for other in (mann_kendall(-y), mann_kendall(y[::-1])):
        assert other.s == -one.s
        assert other.var_s == one.var_s
        assert other.p == one.p or np.isnan(one.p)
    assert sen_slope(-y, t).slope == -sen_slope(y, t).slope


@settings(max_examples=100, deadline=None)
@given(
    series(fewest=3, values=st.integers(-50, 50).map(float)), st.sampled_from([-4.0, 0.5, 8.0]), st.integers(-64, 64)
)
def test_slope_follows_scale_and_added_line(points, scale, line):
    # Whole numbers and powers of two keep the arithmetic exact.
    t, y = points
    time = 2000 + t / 8
    slope = sen_slope(y, time, level=None).slope
    moved = sen_slope(scale * y + line * (t / 8), time, level=None).slope
    assert moved == pytest.approx(scale * slope + line, rel=1e-12, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(series(fewest=4, values=st.integers(-9, 9).map(float)))
def test_p_does_not_change_under_a_monotone_transform(points):
    _, y = points
    one, other = mann_kendall(y), mann_kendall(np.exp(y / 3) + y)
    np.testing.assert_array_equal([one.p, one.z, one.s], [other.p, other.z, other.s])


# Gaps, memory, and why there is no p


def test_autocorrelation_goes_by_time():
    # Lag 2 only where both days have a value: (0, 2) and (2, 4); by index it would be another matter.
    x, position = np.array([1.0, -1.0, 2.0, -2.0]), np.array([0, 2, 4, 7])
    r, pairs = autocorrelation(x, position)
    assert pairs.tolist() == [4, 0, 2, 1, 1, 1, 0, 1]
    assert r[0] == pytest.approx(1)
    assert r[1] == r[6] == 0
    assert r[2] == pytest.approx((1 - 2 / 8) * ((-1 - 2) / 2) / (10 / 4))


def test_autocorrelation_survives_gaps():
    y = autoregressive(1, 20000, 15.0, seed=3)[0]
    keep = np.random.default_rng(0).random(y.size) < 0.4
    r, _ = autocorrelation(y[keep], np.flatnonzero(keep))
    assert r[1] == pytest.approx(np.exp(-1 / 15), abs=0.03)
    assert r[15] == pytest.approx(np.exp(-1), abs=0.07)
    squeezed = autocorrelation(y[keep], np.arange(keep.sum()))[0]
    assert squeezed[1] < 0.88  # by index the memory is lost, which is why it is not done


def test_corrections_by_time_agree_with_those_of_the_whole_series():
    y = 0.2 + autoregressive(40, 2500, 15.0, seed=5)
    gappy = np.where(np.random.default_rng(6).random(y.shape) < 0.4, NAN, y)
    whole, part = (np.sqrt(np.median(mann_kendall(v, None, "hamed_rao", lags=120).factor)) for v in (y, gappy))
    # A sample of 60 % of the days has 60 % of the neighbours, so 60 % of the excess variance over independence.
    assert part**2 - 1 == pytest.approx(0.6 * (whole**2 - 1), rel=0.1)


REPORTED = [  # a series whose corrected variance is negative in pymannkendall (its issue 29)
    0.35257984, 0.38692909, 0.39669828, 0.36296244, 0.42035612, 0.39374964,
    0.41100085, 0.43182076, 0.40815853, 0.45394297, 0.41584767, 0.47399517,
]  # fmt: skip


def test_a_factor_that_is_not_positive_is_set_to_one_and_flagged():
    with np.errstate(invalid="ignore"):
        assert pymannkendall.hamed_rao_modification_test(REPORTED).var_s < 0
    got, plain = mann_kendall(REPORTED, None, "hamed_rao"), mann_kendall(REPORTED)
    assert got.reason == Reason.FACTOR_BOUNDED
    assert (got.factor, got.var_s, got.p) == (1, plain.var_s, plain.p)
    assert got.counts() == {"factor_bounded": 1}
    alternating = np.tile([0.1, 0.3], 30) + np.random.default_rng(0).normal(0, 0.2, 60)
    free = mann_kendall(alternating, None, "yue_wang", lags=1)
    assert 0 < free.factor < 1
    bounded = mann_kendall(alternating, None, "yue_wang", lags=1, least_factor=1.0)
    assert (bounded.factor, bounded.reason) == (1, Reason.FACTOR_BOUNDED)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_why_it_has_no_p(method):
    n = 5 * 366
    y = np.stack([np.full(n, NAN), np.full(n, 0.2), soil(n), np.r_[0.1, np.full(n - 1, NAN)], soil(n)])
    y[2, 2:] = NAN
    got = mann_kendall(y, dates(n), method)
    expected = [Reason.NO_VALUES, Reason.CONSTANT, Reason.TOO_SHORT, Reason.TOO_SHORT]
    if method in ("annual", "deseasonalised", "seasonal", "seasonal_correlated"):
        # Two days make no month or year; in the deseasonalised series one day is its own climatology.
        assert got.reason[2] in (Reason.NO_VALUES, Reason.TOO_SHORT)
        assert got.reason[3] in (Reason.NO_VALUES, Reason.TOO_SHORT)
    else:
        assert got.reason[:4].tolist() == expected
    assert got.reason[0] == Reason.NO_VALUES
    assert got.reason[1] == Reason.CONSTANT
    assert got.reason[4] in (Reason.TESTED, Reason.FACTOR_BOUNDED)
    assert np.isnan(got.p[:4]).all()
    assert not got.h[:4].any()
    assert 0 <= got.p[4] <= 1
    assert got.slope[1] == 0


def test_whitening_needs_neighbours():
    y = soil(300)
    y[1::2] = NAN
    got = mann_kendall(y, dates(300), "trend_free_pre_whitening")
    assert (got.reason, np.isnan(got.p)) == (Reason.NO_NEIGHBOURS, True)
    assert got.slope == mann_kendall(y).slope
    sparse = np.where(np.random.default_rng(0).random(300) < 0.5, NAN, soil(300))
    assert mann_kendall(sparse, None, "trend_free_pre_whitening").reason == Reason.TESTED


@settings(max_examples=60, deadline=None)
@given(series(fewest=1, most=80, values=MESH), st.sampled_from(sorted(METHODS)))
def test_no_method_gives_nan_without_a_reason(points, method):
    t, y = points
    got = mann_kendall(y, dates(400)[t.astype(int)], method)
    assert np.isnan(got.p) == (got.reason not in (Reason.TESTED, Reason.FACTOR_BOUNDED))


# Blocks and windows


def test_annual_takes_the_means_of_whole_years():
    days = pd.date_range("2001-07-15", "2008-01-31")
    y = soil(days.size, digits=17)
    y[400:640] = NAN  # more than half of the second year
    got = mann_kendall(y, days.to_numpy(), "annual")
    means = [y[(days >= f"{k}-07-15") & (days < f"{k + 1}-07-15")].mean() for k in (2001, 2003, 2004, 2005, 2006)]
    assert got.n == 5
    assert got.s == reference.score(np.array(means))
    assert got.slope == pytest.approx(reference.median_slope(np.array([0.0, 2, 3, 4, 5]), np.array(means)), rel=2e-3)


@pytest.mark.parametrize(("last", "whole"), [("2010-01-09", 3), ("2010-01-08", 2), ("2010-12-31", 3)])
def test_years_end_before_the_anniversary(last, whole):
    days = pd.date_range("2007-01-10", last)
    number, count = Axis.of(days.to_numpy(), days.size).years()
    assert count == whole
    assert number[364] == 0
    assert number[365] == 1
    assert (number == 1).sum() == 366  # holds 29 February 2008
    assert (number[np.asarray(days >= f"{2007 + whole}-01-10")] == -1).all()


def test_author_code_tests_whole_years_and_gives_per_cent():
    days = pd.date_range("2001-01-01", "2006-12-31")
    y = soil(days.size)
    y[:100] = NAN
    y[-20:] = NAN
    got = mann_kendall(y, days.to_numpy(), "author_code")
    inside = y[100 : 100 + 365 * 3 + 366 + 365]  # 11 April 2001 to 10 April 2006, over one 29 February
    oracle = pymannkendall.original_test(inside)
    assert days[100] == pd.Timestamp("2001-04-11")
    assert (got.n, got.s) == (inside.size, oracle.s)
    assert got.slope == pytest.approx(oracle.slope * 365 * 100, rel=1e-12)
    assert got.units == "volumetric % per year"


def test_deseasonalised_removes_season_and_keeps_trend():
    days = pd.date_range("2000-01-01", "2011-12-31")
    year = np.arange(days.size) / YEAR
    y = 0.25 + 0.1 * np.sin(2 * np.pi * year) + 0.002 * year + autoregressive(1, days.size, 3.0, seed=1)[0] * 0.1
    # Winters are missing in the first half only: plain means would see a trend of season.
    y[(days.month <= 3) & (days.year < 2006)] = NAN
    got = mann_kendall(y, days.to_numpy(), "deseasonalised")
    assert got.slope == pytest.approx(0.002, abs=0.0004)
    assert got.h
    assert got.n == 144 - 18


def test_deseasonalised_does_not_take_the_trend_of_incomplete_years_for_season():
    days = pd.date_range("2004-04-01", "2007-10-15")
    year = np.arange(days.size) / YEAR
    y = 0.2 + 0.02 * year + 0.1 * np.sin(2 * np.pi * year)
    assert mann_kendall(y, days, "deseasonalised").slope == pytest.approx(0.02, rel=0.01)


def test_deseasonalised_looks_at_six_months_unless_told():
    y = soil(365 * 8, memory=60.0)
    default, six, every = (mann_kendall(y, None, "deseasonalised", lags=k).factor for k in (None, 6, 10**6))
    assert default == six != every


# Bootstrap


@pytest.mark.parametrize(("block", "season"), [("year", 0.05), (180, 0.0)])
def test_block_limits_hold_the_slope_of_series_with_memory(block, season):
    n, slope = 5 * 365, 0.003
    y = autoregressive(30, n, 20.0, season=season, seed=8) + slope * np.arange(n) / YEAR
    y[:, 100:160] = NAN
    got = trends.block_limits(y, None, block=block, n_boot=30, level=0.9)
    naive = sen_slope(y, level=0.9)
    held, naively = (((x.lower <= slope) & (slope <= x.upper)).mean() for x in (got, naive))
    # The limits are narrow on short records (75 to 80 of 100 at five years), as `block_limits` says.
    # Three standard deviations of 30 series below that; limits for independent values hold far fewer.
    assert held > 0.54
    assert naively < 0.5
    assert held > naively + 0.2
    assert (got.slope == naive.slope).all()


def test_blocks_of_a_year_make_up_for_a_season_that_leans():
    # A sine of amplitude 0.05 over four years leans by about -1.9 * 0.05 / 16 = -0.006 a year.
    n = 4 * 365
    y = autoregressive(8, n, 5.0, standard_deviation=0.005, season=0.05, seed=1)
    got = trends.block_limits(y, None, n_boot=30, level=0.9)
    assert np.median(got.slope) == pytest.approx(-0.006, abs=0.0015)
    assert (np.abs((got.lower + got.upper) / 2) < 0.0015).all()


def test_block_limits_of_a_line_are_the_line():
    got = trends.block_limits(0.2 + 1e-4 * np.arange(800.0), None, n_boot=5)
    assert (got.lower, got.upper) == pytest.approx((got.slope, got.slope))


def test_block_limits_refuse_what_makes_no_blocks():
    with pytest.raises(ValueError, match="need two years; the record has 700 steps"):
        trends.block_limits(soil(700))
    with pytest.raises(ValueError, match="1 to 50 steps"):
        trends.block_limits(soil(50), block=51)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [1.0, np.inf, 2.0]}, r"infinite value at index \(1,\)"),
        ({"y": [0.0, 1e308, -1e308, 1e307]}, r"1e\+308 at index \(1,\), too large"),
        ({"y": 1.0}, "no time axis"),
        ({"y": np.empty((2, 0))}, "no time steps"),
        ({"method": "kendal"}, "'kendal': one of"),
        ({"time": [2000.0, 2001.0]}, r"shape \(2,\); the series have 3"),
        ({"time": [2000.0, 2001.0, 2001.0]}, "2001.0 at index 2"),
        ({"time": ["a", "b", "c"]}, "datetime64 without a time zone, or decimal years"),
        ({"time": pd.to_datetime(["2001-01-02", "2001-01-01", "2001-01-03"])}, "does not rise strictly: 2001-01-01"),
        ({"time": pd.to_datetime(["2001-01-02", None, "2001-01-03"])}, "does not rise strictly"),
        ({"alpha": 1.0}, "fractions"),
        ({"lags": 0}, "at least 1"),
        ({"season": [1, 2, 1]}, "knows no seasons"),
        ({"season": [1, 2], "method": "seasonal"}, "2 labels"),
        ({"season": [1, 1, 1], "method": "seasonal_correlated"}, "one value a season and year"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mann_kendall(**({"y": [1.0, 2.0, 3.0]} | arguments))


def test_levels_are_fractions():
    with pytest.raises(ValueError, match=r"level=95"):
        sen_slope([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match=r"n_boot=0"):
        trends.block_limits([1.0, 2.0], n_boot=0)


@pytest.mark.parametrize("least", [0.5, 0.95, 1.0])
def test_complete_months_and_years_count_whatever_their_length(least):
    """February has 28 days of 28, and a year of 365 lacks none."""
    days = pd.date_range("2001-01-01", "2012-12-31")
    y = soil(days.size)
    for stamps in (days, None):
        assert mann_kendall(y, stamps, "seasonal", least_valid=least).n == 144
        assert mann_kendall(y, stamps, "annual", least_valid=least).n == 12
    monthly = pd.date_range("2001-01-01", "2012-12-01", freq="MS")
    assert mann_kendall(soil(144), monthly, "annual", least_valid=least).n == 12
    y[days == "2001-02-10"] = NAN
    assert mann_kendall(y, days, "seasonal", least_valid=1).n == 143


def test_half_of_february_is_fourteen_days():
    days = pd.date_range("2001-01-01", "2005-12-31")
    y = soil(days.size)
    february = np.flatnonzero(days.month == 2)
    y[february[:14]] = NAN  # 14 of 28 are left
    assert mann_kendall(y, days, "seasonal").n == 60
    y[february[14]] = NAN
    assert mann_kendall(y, days, "seasonal").n == 59


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.35, 0.5, 0.8])
def test_absent_days_are_gaps(method, share):
    days = pd.date_range("2003-03-01", "2012-06-01")
    y = np.where(np.random.default_rng(1).random(days.size) < share, soil(days.size), NAN)
    y[[0, -1]] = 0.2  # else the axis would begin on another day
    whole, dense = mann_kendall(y, days, method), mann_kendall(pd.Series(y, days).dropna(), method=method)
    assert (whole.n, whole.reason) == (dense.n, dense.reason)
    for name in ("s", "var_s", "p"):  # a month stands at the mean time of its stamps, which are fewer here
        np.testing.assert_allclose(getattr(whole, name), getattr(dense, name), rtol=2e-3)


@pytest.mark.parametrize(
    ("kind", "stamps"),
    [
        ("dekads", [f"{month:02}-{day:02}" for month in range(1, 13) for day in (1, 11, 21)]),
        ("half months", [f"{month:02}-{day:02}" for month in range(1, 13) for day in (1, 16)]),
        ("8 days", [f"{day:%m-%d}" for day in pd.date_range("2001-01-01", "2001-12-31", freq="8D")]),
    ],
)
def test_composites_have_whole_months_and_years(kind, stamps):
    """Their stamps share but a day, which is no step of theirs; the month or year that has most of them is whole."""
    days = pd.DatetimeIndex([f"{year}-{stamp}" for year in range(2001, 2013) for stamp in stamps])
    y = soil(days.size)
    assert mann_kendall(y, days, "annual").n in (11, 12)
    assert mann_kendall(y, days, "seasonal").n == 144
    if kind == "dekads":
        y[:2] = NAN  # one of three is left
        assert mann_kendall(y, days, "seasonal").n == 143


def test_stamps_without_regular_steps_are_months_by_what_the_fullest_has():
    hours = np.cumsum(np.random.default_rng(0).uniform(30, 90, 2000))
    hours[1] = hours[0] + 0.5  # were this the step, no month would be half full
    stamps = pd.Timestamp("2001-01-01") + pd.to_timedelta(hours, unit="h").floor("s")
    assert mann_kendall(soil(2000), stamps, "seasonal").n > 100


def test_values_whose_time_is_not_their_last_axis_are_refused():
    square = xr.DataArray(np.eye(5), {"time": dates(5)}, ("time", "pixel"))
    for time in (None, dates(5)):
        with pytest.raises(ValueError, match="time must be the last"):
            mann_kendall(square, time)
    for test in (mann_kendall, sen_slope):
        with pytest.raises(ValueError, match="y is a DataFrame, whose columns are series"):
            test(pd.DataFrame(np.eye(5), dates(5)))
