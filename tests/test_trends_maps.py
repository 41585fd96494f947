"""Around the trend test: site rules, field significance, false alarms and power, agreement of two sets of slopes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest, pearsonr

from smapnb.rules import of
from smapnb.trends import field_significance, removals, usable
from smapnb.trends_agreement import agreement, fisher_limits, york
from smapnb.trends_experiment import VARIANTS, autoregressive, rejection_rates, slope_error_by_length

NAN = np.nan


# Site rules


DAYS = pd.date_range("2000-01-01", "2009-12-31")


def record(first, last, missing=()):
    y = pd.Series(NAN, DAYS)
    y[first:last] = 0.2
    for part in missing:
        y[part] = NAN
    return y.to_numpy(copy=True)


RECORDS = {
    # name: (record, kept by the paper's text, kept by the authors' scripts)
    "three years to the day": (record("2003-03-01", "2006-03-01"), True, True),
    "a day short of three years": (record("2003-03-01", "2006-02-28"), False, True),
    "over three new years": (record("2003-12-01", "2006-01-31"), False, True),
    "two years": (record("2003-03-01", "2005-03-01"), False, False),
    "a tenth missing": (record("2001-01-01", "2011-01-01", [slice("2001-06-01", "2001-06-01")]), True, True),
    "too many missing": (record("2001-01-01", "2009-12-31", [slice("2004-01-01", "2004-12-31")]), False, False),
    "no value": (record("2003-03-01", "2003-02-01"), False, False),
    "one day": (record("2003-03-01", "2003-03-01"), False, False),
}


@pytest.mark.parametrize("rules", ["paper-text", "author-code"])
def test_rules_keep_what_they_say(rules):
    table = usable(np.stack([x[0] for x in RECORDS.values()]), DAYS, list(RECORDS), rules)
    expected = [x[1 if rules == "paper-text" else 2] for x in RECORDS.values()]
    assert table["kept"].tolist() == expected
    counts = removals(table)["series"]
    assert counts["all"] == len(RECORDS) == counts[1:].sum()
    assert counts["no valid day"] == 1
    assert counts["kept"] == sum(expected)


def test_window_runs_to_the_last_anniversary():
    table = usable([record("2003-03-10", "2007-03-09"), record("2003-03-10", "2007-03-10")], DAYS)
    assert table["start"].tolist() == [pd.Timestamp("2003-03-10")] * 2
    assert table["end"].tolist() == [pd.Timestamp("2006-03-10"), pd.Timestamp("2007-03-10")]
    assert table["years"].tolist() == [3, 4]
    assert table["valid"].tolist() == [366 + 365 + 365, 366 + 3 * 365]
    assert (table["missing"] == 0).all()


def test_window_of_a_leap_day_is_whole_years():
    table = usable([record("2004-02-29", "2008-02-28")], DAYS)
    assert table["end"][0] == pd.Timestamp("2007-02-28")
    assert table["years"][0] == 3


def test_missing_counts_the_days_of_the_window_also_those_absent_from_the_axis():
    y = record("2001-01-01", "2004-01-01", [slice("2002-01-01", "2002-04-19")])  # 109 of 1095 days
    table = usable([y], DAYS)
    assert table["missing"][0] == pytest.approx(109 / 1095)
    assert table["kept"][0]
    there = ~np.isnan(y)
    assert usable([y[there]], DAYS[there])["missing"][0] == pytest.approx(109 / 1095)
    y[DAYS == "2002-04-20"] = NAN  # 110 of 1095 are more than a tenth
    assert usable([y], DAYS)["removed_by"][0] == "too many missing"


def test_exactly_a_tenth_missing_passes_the_text_and_not_the_scripts():
    # Two whole years over three new years: 730 days, 73 of them missing; too short for the text as it stands.
    y = record("2001-12-10", "2004-01-20", [slice("2002-03-01", "2002-05-12")])
    two_years = replace(of("paper-text"), trend_least_years=2.0)
    by_text, by_scripts = usable([y], DAYS, rules=two_years), usable([y], DAYS, rules="author-code")
    assert by_text["missing"][0] == by_scripts["missing"][0] == 0.1
    assert (by_text["removed_by"][0], by_scripts["removed_by"][0]) == ("", "too many missing")
    y[DAYS == "2002-05-12"] = 0.2
    assert usable([y], DAYS, rules="author-code")["kept"][0]


def test_window_is_cut_to_the_other_series():
    y = record("2001-06-01", "2009-12-31")
    table = usable([y], DAYS, since="2002-01-01", until="2005-12-31")
    assert (table["start"][0], table["end"][0]) == (pd.Timestamp("2002-01-01"), pd.Timestamp("2005-01-01"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.ones(5), "time": DAYS[:5]}, r"shape \(5,\)"),
        ({"y": np.ones((1, 4)), "time": DAYS[:5]}, "5 days"),
        ({"y": np.ones((1, 2)), "time": DAYS[[1, 0]]}, "rise strictly"),
        ({"y": np.ones((2, 2)), "time": DAYS[:2], "names": ["a"]}, "1 names for 2"),
        ({"y": np.ones((1, 2)), "time": DAYS[:2], "rules": "mine"}, "'mine'"),
    ],
)
def test_site_rules_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        usable(**arguments)


# Field significance


def test_field_significance_by_hand():
    # Sorted p: 0.01, 0.02, 0.04, 0.5; times 4 / rank: 0.04, 0.04, 0.16 / 3, 0.5.
    p = np.array([[0.5, NAN, 0.01], [0.04, 0.02, NAN]])
    got = field_significance(p, 0.05)
    np.testing.assert_allclose(got.p_adjusted, [[0.5, NAN, 0.04], [0.16 / 3, 0.04, NAN]])
    assert got.significant.tolist() == [[False, False, True], [False, True, False]]
    assert got.tests == 4


def test_field_without_tests_has_no_significance():
    got = field_significance(np.full((2, 2), NAN))
    assert not got.significant.any()
    assert got.tests == 0
    with pytest.raises(ValueError, match=r"outside 0 \.\. 1, the first 1\.5"):
        field_significance([0.1, 1.5])


# False alarms and power


def test_made_series_have_the_memory_that_was_asked_for():
    y = autoregressive(4, 40000, 12.0, standard_deviation=0.05, seed=2)
    assert y.std() == pytest.approx(0.05, rel=0.05)
    for lag in (1, 12):
        r = np.mean([pearsonr(row[:-lag], row[lag:])[0] for row in y])
        assert r == pytest.approx(np.exp(-lag / 12), abs=0.02)
    gaps = autoregressive(2, 5000, 0.0, missing=0.3, seed=3)
    assert np.isnan(gaps).mean() == pytest.approx(0.3, abs=0.02)


def test_white_noise_is_rejected_at_the_level_and_memory_far_above_it():
    names = ("original", "annual", "seasonal")
    variants = {name: VARIANTS[name] for name in names}
    white = rejection_rates(autoregressive(300, 365 * 3, 0.0, seed=1), variants={"original": VARIANTS["original"]})
    assert white["lower"][0] <= 0.05 <= white["upper"][0]
    memory = rejection_rates(
        autoregressive(80, 365 * 8, 30.0, seed=2), trends=(0.0, 0.02), variants=variants
    ).set_index(["variant", "trend"])
    assert memory.loc[("original", 0.0), "lower"] > 0.5
    assert memory.loc[("annual", 0.0), "lower"] <= 0.05
    assert memory.loc[("annual", 0.02), "rate"] > memory.loc[("annual", 0.0), "rate"] + 0.3
    assert memory.loc[("original", 0.02), "right_sign"] > 0.99
    row = memory.loc[("annual", 0.02)]
    interval = binomtest(int(row["rejected"]), int(row["tests"])).proportion_ci(0.95, method="wilson")
    assert (row["lower"], row["upper"]) == pytest.approx((interval.low, interval.high))
    assert row["median_slope"] == pytest.approx(0.02, abs=0.002)


def test_series_without_a_test_are_counted():
    y = autoregressive(5, 800, 3.0)
    y[0], y[1] = NAN, 0.3
    table = rejection_rates(y, variants={"original": VARIANTS["original"]})
    assert (table["tests"][0], table["untested"][0]) == (3, 2)


def test_every_variant_runs():
    table = rejection_rates(autoregressive(3, 365 * 6, 20.0, season=0.05, missing=0.1))
    assert table["variant"].tolist() == list(VARIANTS)
    assert (table["tests"] == 3).all()


def test_longer_records_have_smaller_slope_errors():
    days = pd.date_range("2003-01-01", periods=365 * 8 + 2)
    y = autoregressive(60, days.size, 20.0, seed=4) + 0.001 * np.arange(days.size) / 365.25
    table = slope_error_by_length(y, days, (2, 4, 8), truth=0.001)
    assert table["rmse"].is_monotonic_decreasing
    # The error of a slope in noise of short memory falls as the length to the power 3/2.
    assert table["rmse"][2] / table["rmse"][8] == pytest.approx(8, rel=0.45)
    with pytest.raises(ValueError, match="less than 9 years"):
        slope_error_by_length(y, days, (9,))


# Agreement


# Pearson's data with York's weights, the standard test of such fits (York 1966, doi 10.1139/p66-090).
PEARSON = {
    "x": [0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4],
    "y": [5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5],
    "x_error": np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1]) ** -0.5,
    "y_error": np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500]) ** -0.5,
}


def test_line_of_pearsons_data_is_the_published_one():
    line = york(**PEARSON)
    assert line.slope == pytest.approx(-0.480533407, abs=1e-8)
    assert line.intercept == pytest.approx(5.47991022, abs=1e-7)
    assert (line.slope_error, line.intercept_error) == pytest.approx((0.0579850090, 0.294970735), abs=1e-8)
    assert line.scatter == pytest.approx(1.483294149, abs=1e-8)


def chi_squared(parameters, x, y, x_error, y_error):
    slope, intercept = parameters
    return np.sum((y - slope * x - intercept) ** 2 / (y_error**2 + slope**2 * x_error**2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3).filter(lambda b: abs(b) > 0.1))
def test_line_minimises_the_distance_in_units_of_the_errors(seed, slope):
    generator = np.random.default_rng(seed)
    n = 40
    truth = generator.normal(0, 2, n)
    x_error, y_error = generator.uniform(0.1, 0.4, (2, n))
    x, y = truth + generator.normal(0, x_error), 0.5 + slope * truth + generator.normal(0, y_error)
    line = york(x, y, x_error, y_error)
    at = (line.slope, line.intercept)
    best = minimize(chi_squared, at, (x, y, x_error, y_error), method="Nelder-Mead", options={"xatol": 1e-9})
    assert chi_squared(at, x, y, x_error, y_error) <= best.fun * (1 + 1e-9)
    assert line.scatter == pytest.approx(best.fun / (n - 2))
    swapped = york(y, x, y_error, x_error)
    assert swapped.slope == pytest.approx(1 / line.slope, rel=1e-6)  # no side is the explained one


def made(n=60, seed=0, slope=1.0, error=0.2):
    generator = np.random.default_rng(seed)
    truth = generator.normal(0, 0.4, n)
    x, y = truth + generator.normal(0, error, n), slope * truth + generator.normal(0, error, n)
    reach = 1.959963984540054 * error
    return x, y, np.stack([x - reach, x + reach], 1), np.stack([y - reach, y + reach], 1)


def test_standard_errors_are_the_spread_of_repeated_fits():
    fits = []
    for seed in range(200):
        x, y, *_ = made(40, seed, error=0.1)
        fits.append(york(x, y, np.full(40, 0.1), np.full(40, 0.1)))
    slopes = np.array([fit.slope for fit in fits])
    assert slopes.mean() == pytest.approx(1, abs=0.02)  # ordinary least squares would give 0.94
    assert np.mean([fit.slope_error for fit in fits]) == pytest.approx(slopes.std(), rel=0.15)
    assert np.mean([fit.scatter for fit in fits]) == pytest.approx(1, abs=0.05)


def test_agreement_by_its_parts():
    x, y, x_limits, y_limits = made()
    x[3], y[4] = NAN, NAN
    table = agreement(x, y, x_limits, y_limits, n_boot=200)
    known = ~(np.isnan(x) | np.isnan(y))
    result = pearsonr(x[known], y[known])
    assert table.loc["all", "n"] == known.sum() == 58
    assert table.loc["all", "r"] == pytest.approx(result.statistic)
    interval = result.confidence_interval(0.95)
    assert (table.loc["all", "r_lower"], table.loc["all", "r_upper"]) == pytest.approx((interval.low, interval.high))
    line = york(x[known], y[known], 0.2, 0.2)
    assert table.loc["all", "slope"] == pytest.approx(line.slope)
    reach = 1.959963984540054 * line.slope_error * np.sqrt(max(1, line.scatter))
    assert table.loc["all", "slope_upper"] == pytest.approx(line.slope + reach)
    assert table.loc["all", "slope_boot_lower"] < line.slope < table.loc["all", "slope_boot_upper"]
    assert table.loc["all", "resamples"] == 200
    assert table.loc["selected", "n"] == (known & (np.abs(x) > 0.5)).sum()


def test_selecting_steep_sites_raises_the_correlation():
    x, y, *limits = made(400)
    table = agreement(x, y, *limits, n_boot=20)
    assert table.loc["selected", "r"] > table.loc["all", "r"] + 0.05


def test_without_limits_it_is_demings_line():
    x, y, *_ = made()
    table = agreement(x, y, n_boot=50)
    sxx, sxy, _, syy = np.cov(x, y).ravel()
    deming = (syy - sxx + np.sqrt((syy - sxx) ** 2 + 4 * sxy**2)) / (2 * sxy)
    assert table.loc["all", "slope"] == pytest.approx(deming)
    assert np.isnan(table.loc["all", "slope_lower"])
    assert table.loc["all", "slope_boot_lower"] < deming


def test_few_sites_have_a_count_and_nothing_else():
    table = agreement([0.1, 0.6, 0.2], [0.2, 0.5, 0.1])
    assert table.loc["all", "n"] == 3
    assert table.loc["all"].drop(["n", "resamples"]).isna().all()


def test_agreement_refuses():
    x, y, x_limits, y_limits = made()
    with pytest.raises(ValueError, match="60 sites have limits of no width"):
        agreement(x, y, x_limits[:, ::-1], y_limits)
    with pytest.raises(ValueError, match=r"y_limits has the shape \(5, 2\)"):
        agreement(x, y, x_limits, y_limits[:5])
    with pytest.raises(ValueError, match="one value a site"):
        agreement(x, y[:5])
    with pytest.raises(ValueError, match="three points"):
        york([1.0, 2.0], [1.0, 2.0], 1.0, 1.0)
    with pytest.raises(ValueError, match="finite and their errors positive"):
        york([1.0, 2.0, 3.0], [1.0, 2.0, 2.0], 1.0, 0.0)


def test_fisher_limits_of_the_extremes():
    assert np.isnan(fisher_limits(0.5, 3)).all()
    assert fisher_limits(1.0, 10) == (1.0, 1.0)
