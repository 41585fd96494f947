"""The paper's statements as checks: hand-made tables whose verdicts are known, and every rule of a verdict."""

from __future__ import annotations

import re
from functools import cache
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smapnb import claims, comparison, comparison_drydown, comparison_sampling, insitu_exclusions
from smapnb.claims_measure import Measure, estimate
from smapnb.claims_select import Rows, Table
from smapnb.claims_tables import NotTestable, Run

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("Ash", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple", "Oak")
SITES = {f"{number:04d}": name for number, name in enumerate(NAMES)}
SCORES = {"quantity": "surface", "metric": "pearson_r", "sampling": "author", "rules": "author-code", "synthetic": True}


def scores(period, product, values, **more):
    """Rows of a score table, one a site with one pixel."""
    return pd.DataFrame(
        {
            "site": [f"{site}3601" for site in list(SITES)[: len(values)]],
            "group": list(SITES)[: len(values)],
            "period": period,
            "product": product,
            "value": values,
            "lower": np.array(values, float) - 0.01,
            "upper": np.array(values, float) + 0.01,
        }
        | SCORES
        | more
    )


def book(claim, **series):
    """A claims.yml of one claim about the table `core_scores`."""
    rows = {"smap": {"period": "AL", "product": "smap"}, "noah": {"period": "AL", "product": "noah"}}
    rows |= {"early": {"period": "PL", "product": "lstm"}}
    chosen = {
        name: {"table": "core_scores", "where": {"quantity": "surface", "metric": "pearson_r"} | where}
        for name, where in rows.items()
    }
    claim = {"id": "E1.1", "place": "Sec. III", "statement": "What it says."} | claim
    return {
        "sites": SITES,
        "tables": {"core_scores": {"unit": "group"}, "crn_scores": {"unit": "site"}},
        "series": chosen | series,
        "figures": [],
        "claims": [claim],
    }


def facts(tables, **changed):
    known = {"synthetic": True, "targets": ["surface"], "rules": "author-code", "sampling": "author"}
    return claims.facts(tables, **(known | changed))


def verdict(claim, *frames, changed=None, **series):
    """The one row that `check` gives."""
    tables = {"core_scores": pd.concat(frames)} if frames else {}
    notebook = claims.Notebook.model_validate(book(claim, **series))
    return claims.check(tables, facts(tables, **(changed or {})), book=notebook).iloc[0]


NUMBER = {"kind": "number", "paper": 0.5, "tolerance": 0.02, "reading": "why"}
MEDIAN = {"reduce": "median", "of": "smap"}


# Verdicts, kind by kind


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5] * 9, "reproduced"),
        ([0.519] * 9, "reproduced"),
        ([0.6] * 9, "differs"),
        # The median 0.47 is beyond the tolerance; drawn sites give anything from 0.1 to 0.9, which tells nothing.
        ([0.1, 0.1, 0.1, 0.1, 0.47, 0.9, 0.9, 0.9, 0.9], "not testable"),
        # Nine values from 0.47 to 0.52: the limits hold 0.5 and span less than four tolerances (0.08).
        ([0.470, 0.472, 0.474, 0.476, 0.478, 0.505, 0.51, 0.515, 0.52], "reproduced"),
    ],
)
def test_number(values, expected):
    row = verdict(NUMBER | {"measure": MEDIAN}, scores("AL", "smap", values))
    assert row["verdict"] == expected
    assert float(row["ours"]) == pytest.approx(np.median(values), abs=1e-4)
    assert row["n"] == 9 and row["reason"].endswith("; why")


@pytest.mark.parametrize(
    ("kind", "strict", "paper", "expected"),
    [
        ("at_most", False, 0.72, "reproduced"),
        ("at_most", False, 0.71, "reproduced"),  # the upper limit touches the bound
        ("at_most", False, 0.705, "not testable"),
        ("at_most", True, 0.695, "not testable"),
        ("at_most", False, 0.69, "differs"),
        ("at_least", False, 0.68, "reproduced"),
        ("at_least", True, 0.69, "reproduced"),
        ("at_least", False, 0.695, "not testable"),
        ("at_least", False, 0.71, "differs"),
    ],
)
def test_bound(kind, strict, paper, expected):
    measure = {"reduce": "maximum", "of": "smap"}
    claim = {"kind": kind, "strict": strict, "paper": paper, "measure": measure}
    # The table's limits of that site, a little inside of 0.69 and 0.71 so that rounding does not decide.
    limits = {"lower": [0.19, 0.69000001, 0.29], "upper": [0.21, 0.70999999, 0.31]}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.7, 0.3], **limits))
    assert row["verdict"] == expected
    assert (row["lower"], row["upper"]) == pytest.approx((0.69, 0.71)) and "at Birch" in row["reason"]
    if expected == "not testable":
        would = "reproduce" if (kind == "at_most") == (paper > 0.7) else "differ"
        told = f"this run cannot tell: limits 0.69..0.71 hold the bound; the point value would {would};"
        assert row["reason"].startswith(told)


@pytest.mark.parametrize(
    ("paper", "strict", "expected"), [(0.7, False, "reproduced"), (0.7, True, "differs"), (0.69, False, "differs")]
)
def test_a_bound_on_what_has_no_limits_is_judged_by_the_value_alone(paper, strict, expected):
    claim = {"kind": "at_most", "strict": strict, "paper": paper, "measure": {"reduce": "maximum", "of": "smap"}}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.7, 0.3], lower=np.nan, upper=np.nan))
    assert row["verdict"] == expected and "ours has no limits" in row["reason"]


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=9),
    st.floats(-1, 1),
    st.sampled_from(["at_most", "at_least"]),
    st.booleans(),
    st.sampled_from(["median", "maximum", "minimum"]),
)
def test_a_violated_bound_is_never_reproduced(values, paper, kind, strict, reduce):
    claim = {"kind": kind, "paper": paper, "strict": strict, "measure": {"reduce": reduce, "of": "smap"}}
    row = verdict(claim, scores("AL", "smap", values))
    ours = {"median": np.median, "maximum": np.max, "minimum": np.min}[reduce](values)
    obeyed = (ours <= paper if kind == "at_most" else ours >= paper) and not (strict and ours == paper)
    if row["verdict"] == "not testable":
        assert row["lower"] < paper < row["upper"] or (reduce == "median" and len(values) < 6)
    else:
        assert row["verdict"] == ("reproduced" if obeyed else "differs")
        assert not row["lower"] < paper < row["upper"]


@pytest.mark.parametrize(
    ("higher", "paper", "of", "expected"),
    [
        (5, 6, 9, "reproduced"),  # 5/9 and 6/9 are both more than half, and within Wilson's 0.27 to 0.81
        (4, 6, 9, "not testable"),  # less than half against more, and the paper's share within 0.19 to 0.73
        (9, 6, 9, "differs"),  # Wilson's lower limit of 9 of 9 is 0.70
        (8, 6, 9, "reproduced"),  # that of 8 of 9 is 0.57
        (0, 2, 9, "reproduced"),  # the upper limit of none of 9 is 0.30
        (0, 3, 9, "differs"),
    ],
)
def test_count(higher, paper, of, expected):
    smap = scores("AL", "smap", [0.8] * higher + [0.6] * (9 - higher))
    noah = scores("AL", "noah", [0.7] * 9)
    measure = {"reduce": "share", "of": {"minus": ["smap", "noah"]}, "above": 0}
    row = verdict({"kind": "count", "paper": paper, "of": of, "measure": measure}, smap, noah)
    assert row["verdict"] == expected, row["reason"]
    assert row["ours"] == f"{higher} of 9" and row["paper"] == f"{paper} of {of}"
    # Wilson (1927), by the formula.
    z = stats.norm.ppf(0.975)
    centre, half = (higher + z**2 / 2) / (9 + z**2), z / (9 + z**2) * np.sqrt(higher * (9 - higher) / 9 + z**2 / 4)
    assert (row["lower"], row["upper"]) == pytest.approx((centre - half, centre + half), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "of", "expected", "told"),
    [
        ([0.6] * 3, 9, "not testable", "3 sites are too few to set beside the paper's 9"),
        ([0.6] * 7, 9, "not testable", "7 sites are too few to set beside the paper's 9"),
        ([0.6] * 8, 9, "reproduced", "within our limits"),
        ([0.6] * 4, 5, "reproduced", "within our limits"),  # Wilson's limits of 0 of 4 span 0.49
        ([0.8, 0.8, 0.8, 0.6, 0.6], 5, "not testable", "span 0.65"),  # of 3 of 5: 0.23 to 0.88
        ([0.8, 0.6, 0.6, 0.6, 0.6], 5, "reproduced", "within our limits"),  # of 1 of 5: 0.04 to 0.62
    ],
)
def test_a_count_on_few_sites_is_not_judged(values, of, expected, told):
    measure = {"reduce": "share", "of": "smap", "above": 0.7}
    claim = {"kind": "count", "paper": 2 if of == 9 else 1, "of": of, "measure": measure}
    row = verdict(claim, scores("AL", "smap", values))
    assert row["verdict"] == expected and told in row["reason"], row["reason"]


@pytest.mark.parametrize(
    ("paper", "relation", "expected", "told"),
    [
        (["0001", "0002"], "equal", "reproduced", "the same sites"),
        (["0001"], "equal", "differs", "here as well: Cedar"),
        (["0001"], "contains", "reproduced", "here as well: Cedar"),
        (["0000", "0001", "0002"], "contains", "differs", "not here: Ash"),
        (["0001", "0008"], "equal", "not testable", "no value at Oak"),
    ],
)
def test_sites(paper, relation, expected, told):
    measure = {"reduce": "sites", "of": "smap", "above": 0.5}
    claim = {"kind": "sites", "paper": paper, "relation": relation, "measure": measure}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.6, 0.7]))
    assert row["verdict"] == expected and told in row["reason"]
    assert row["ours"] == "Birch, Cedar"


@pytest.mark.parametrize(
    ("named", "expected", "told"),
    [
        (["0002"], "reproduced", "the same sites"),
        (["0001"], "not testable", "this run cannot tell: the limits hold the bound at Birch; here as well: Cedar"),
        (["0001", "0002"], "not testable", "the limits hold the bound at Birch"),
        (["0000", "0002"], "differs", "not here: Ash"),
        (["0000", "0001"], "differs", "not here: Ash; here as well: Cedar"),
        (["0003"], "not testable", "no value at Elm"),  # it has a value, but no limits
    ],
)
def test_sites_by_their_own_limits(named, expected, told):
    measure = {"reduce": "sites", "of": "smap", "above": 0.5, "surely": True}
    claim = {"kind": "sites", "paper": named, "relation": "contains", "measure": measure}
    limits = {"lower": [0.1, 0.4, 0.6, np.nan], "upper": [0.3, 0.8, 0.8, np.nan]}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.6, 0.7, 0.9], **limits))
    assert row["verdict"] == expected and told in row["reason"], row["reason"]
    assert row["ours"] == "Cedar"
    without = verdict(claim, scores("AL", "smap", [0.9], lower=np.nan))
    assert without["reason"] == "no site has the limits that are asked for"


def test_a_share_by_the_limits_of_each_site():
    claim = {"kind": "at_least", "paper": 0, "strict": True}
    claim |= {"measure": {"reduce": "share", "of": "smap", "above": 0.5, "surely": True}}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.505, 0.7]))  # limits are 0.01 to either side
    assert row["ours"] == "0.333 (1 of 3)" and row["verdict"] == "reproduced"


def test_a_weak_test_says_so():
    claim = {"kind": "at_most", "paper": 1, "weak": True, "measure": {"reduce": "maximum", "of": "smap"}}
    row = verdict(claim, scores("AL", "smap", [0.2, 0.7, 0.3]))
    assert row["verdict"] == "reproduced" and row["reason"].startswith("0.3 inside the bound (weak test)")


@pytest.mark.parametrize(
    ("values", "paper", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "positive", "reproduced"),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "negative", "differs"),
        ([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6], "negative", "reproduced"),
        ([-0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "positive", "not testable"),  # 5 of 6 signs: p = 0.22
        ([-0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "positive", "reproduced"),  # 8 of 9 signs: p = 0.04
        ([0.01, 0.02, -0.02, 0.01, 0.0, 0.0], "none", "reproduced"),
        ([0.4, 0.5, 0.6, 0.4, 0.5, 0.5], "none", "differs"),
        ([-0.5, -0.1, 0.1, 0.5, 0.1, 0.1], "none", "not testable"),
    ],
)
def test_pattern(values, paper, expected):
    claim = {"kind": "pattern", "paper": paper, "measure": MEDIAN}
    claim |= {"margin": 0.3, "reading": "within 0.3"} if paper == "none" else {}
    row = verdict(claim, scores("AL", "smap", values))
    assert row["verdict"] == expected, row["reason"]
    assert row["lower"] <= float(row["ours"]) <= row["upper"]
    if expected == "not testable":
        assert "hold zero" in row["reason"]


@pytest.mark.parametrize(
    "claim", [{"kind": "pattern", "paper": "positive"}, {"kind": "at_least", "paper": 0.1}, NUMBER | {"paper": 0.3}]
)
def test_five_sites_are_too_few_for_any_median(claim):
    row = verdict(claim | {"measure": MEDIAN}, scores("AL", "smap", [0.3] * 5))
    assert row["verdict"] == "not testable" and row["n"] == 5 and row["ours"] == "0.3"
    assert row["reason"].startswith("5 sites cannot give 95 % limits of a median: 6 are needed")


def test_a_pattern_without_limits_is_not_judged():
    claim = {"kind": "pattern", "paper": "positive", "measure": {"reduce": "site", "of": "smap", "at": "0000"}}
    row = verdict(claim, scores("AL", "smap", [0.4], lower=np.nan))
    assert row["verdict"] == "not testable" and "no limits" in row["reason"]


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=9), st.sampled_from(["positive", "negative"]))
def test_a_pattern_is_reproduced_only_with_all_of_its_limits_on_that_side(values, paper):
    row = verdict({"kind": "pattern", "paper": paper, "measure": MEDIAN}, scores("AL", "smap", values))
    if row["verdict"] == "reproduced":
        assert (row["lower"] > 0) if paper == "positive" else (row["upper"] < 0)
        agree = sum(value > 0 if paper == "positive" else value < 0 for value in values)
        assert stats.binomtest(agree, len(values)).pvalue <= 0.05  # the sign test, which knows no limits


# What is computed


def run_of(**tables):
    series = {
        "a": Rows(table="one", where={"product": "a"}),
        "b": Rows(table="one", where={"product": "b"}),
        "c": Rows(table="two", where={"product": "c"}),
        "start": Rows(table="one", where={"product": "a"}, column="start"),
        "box": Rows(table="one", where={"product": "a"}, region={"lat": (40, 50), "lon": (-80, -70)}),
        "p": Rows(table="one", where={"product": "a"}, p="p_adjusted"),
        "span": Rows(table="one", where={"product": "a"}, column="ratio", limits=("ratio_lower", "ratio_upper")),
    }
    forms = {"one": Table(unit="group"), "two": Table(unit="site")}
    return Run(tables, forms, series, {"sampling": "author"})


def frame(product, values, sites=None, groups=None, **more):
    sites = sites or [f"s{i}" for i in range(len(values))]
    return pd.DataFrame({"site": sites, "group": groups or sites, "product": product, "value": values} | more)


def test_a_site_is_the_plain_mean_of_its_pixels_and_pixels_are_paired():
    one = frame("a", [0.2, 0.4, 0.9], groups=["x", "x", "y"], lower=[0.1, 0.2, 0.8], upper=[0.3, 0.6, 1.0])
    two = frame("b", [0.1, np.nan, 0.7], groups=["x", "x", "y"])
    run = run_of(one=pd.concat([one, two]))
    units = run.units("a")
    assert units["value"].to_dict() == pytest.approx({"x": 0.3, "y": 0.9})
    assert (units.loc["x", "lower"], units.loc["x", "upper"]) == pytest.approx((0.15, 0.45))
    # The second pixel of x has no b: the difference is that of the first alone, 0.2 - 0.1, not 0.3 - 0.1.
    apart = run.units(Measure(reduce="median", of={"minus": ["a", "b"]}).of)
    assert apart["value"].to_dict() == pytest.approx({"x": 0.1, "y": 0.2})
    assert apart[["lower", "upper"]].isna().all(axis=None)


def test_other_pixels_of_the_same_sites_are_paired_by_site():
    one = frame("a", [0.2, 0.4], sites=["x36", "y36"], groups=["x", "y"])
    two = frame("b", [0.1, 0.2, 0.3], sites=["x09a", "x09b", "y09"], groups=["x", "x", "y"])
    apart = run_of(one=pd.concat([one, two])).units(Measure(reduce="median", of={"minus": ["a", "b"]}).of)
    assert apart["value"].to_dict() == pytest.approx({"x": 0.05, "y": 0.1})


def test_largest_absolute_and_condition():
    run = run_of(one=pd.concat([frame("a", [-0.5, 0.2, 0.1]), frame("b", [0.3, 0.1, -0.9])]))
    largest = Measure(reduce="median", of={"largest": ["a", "b"]}).of
    assert run.units(largest)["value"].tolist() == [0.3, 0.2, 0.1]
    smallest = Measure(reduce="median", of={"smallest": ["a", "b"]}).of
    assert run.units(smallest)["value"].tolist() == [-0.5, 0.1, -0.9]
    assert run.named(smallest) == run.named(largest) == ["a", "b"]
    size = Measure(reduce="median", of={"absolute": "b"}, only={"of": "a", "above": 0.1})
    assert run.units(size.of, size.only)["value"].to_dict() == {"s1": 0.1}
    nowhere = Measure(reduce="median", of="a", only={"of": "b", "above": 2})
    with pytest.raises(NotTestable, match="no site of 3 is above 2"):
        run.units(nowhere.of, nowhere.only)


def test_correlation_is_scipys_with_fishers_limits():
    x, y = np.array([0.1, 0.2, 0.4, 0.7, 0.9]), np.array([0.2, 0.1, 0.5, 0.6, 1.0])
    run = run_of(one=pd.concat([frame("a", x), frame("b", y)]))
    got = estimate(Measure(reduce="correlation", of="a", against="b"), run)
    r = np.corrcoef(x, y)[0, 1]
    half = stats.norm.ppf(0.975) / np.sqrt(5 - 3)
    assert (got.value, got.lower, got.upper) == pytest.approx(
        (r, np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half))
    )
    flat = run_of(one=pd.concat([frame("a", x), frame("b", [0.5] * 5)]))
    with pytest.raises(NotTestable, match="the same at all 5 sites"):
        estimate(Measure(reduce="correlation", of="a", against="b"), flat)
    with pytest.raises(NotTestable, match="only 3 sites, 4 are needed"):
        estimate(
            Measure(reduce="correlation", of="a", against="b"),
            run_of(one=pd.concat([frame("a", x[:3]), frame("b", y[:3])])),
        )


def test_quantiles_of_the_same_sites_are_drawn_together_and_of_others_apart():
    values = np.linspace(0, 1, 20)
    run = run_of(
        one=pd.concat([frame("a", values), frame("b", values - 0.1)]),
        two=frame("c", values - 0.1, [f"t{i}" for i in range(20)]),
    )
    paired = estimate(Measure(reduce="quantile_difference", of="a", against="b", quantile=0.75), run)
    # A constant shift is the same in every sample of sites, so its limits have no width.
    assert (paired.value, paired.lower, paired.upper) == pytest.approx((0.1, 0.1, 0.1))
    others = estimate(Measure(reduce="quantile_difference", of="a", against="c", quantile=0.75), run)
    assert others.value == pytest.approx(0.1) and others.upper - others.lower > 0.3
    assert others.note == "20 sites against 20 others"


@pytest.mark.parametrize("n", [6, 7, 9, 20, 72])
def test_median_limits_are_the_widest_signs_that_chance_gives(n):
    values = np.arange(1.0, n + 1)
    got = estimate(Measure(reduce="median", of="a"), run_of(one=frame("a", values)))
    # Distribution-free: the median lies below the k-th value if fewer than k of n signs are on that side.
    tails = np.array([sum(comb(n, i) for i in range(k)) / 2**n for k in range(n // 2 + 1)])
    k = int(np.flatnonzero(tails <= 0.025).max())
    assert (got.lower, got.upper) == (k, n + 1 - k) and k >= 1 and not got.too_few
    assert 1 - 2 * tails[k] >= 0.95 > 1 - 2 * tails[k + 1]


@pytest.mark.parametrize(
    ("n", "quantile", "enough"), [(5, 0.5, False), (6, 0.5, True), (12, 0.75, False), (13, 0.75, True)]
)
def test_a_quantile_needs_sites_on_either_side(n, quantile, enough):
    """The chance that all of n sites lie on one side of it: 1/32 and 1/64; 0.75 to the powers 12 and 13: 0.03, 0.02."""
    run = run_of(one=pd.concat([frame("a", np.linspace(0, 1, n)), frame("b", np.linspace(0, 2, n))]))
    got = estimate(Measure(reduce="quantile_difference", of="a", against="b", quantile=quantile), run)
    assert np.isfinite(got.lower) == enough and bool(got.too_few) == (not enough)
    if not enough:
        assert f"{n} sites cannot give 95 % limits" in got.too_few and f"{n + 1} are needed" in got.too_few


def test_dates_become_years_and_regions_and_chance_are_read():
    more = {"start": ["2010-01-01", "2011-07-02"], "lat": [45, 30], "lon": [-75, -75], "p_adjusted": [0.01, 0.2]}
    run = run_of(one=frame("a", [0.1, 0.2], **more))
    assert run.units("start")["value"].tolist() == pytest.approx([2010, 2011.5], abs=0.01)
    assert list(run.units("box").index) == ["s0"]
    p = [0.01, 0.2, 0.04, 0.03, 0.05]
    five = frame("a", [0.1, 0.2, -0.3, 0.4, -0.5], p_adjusted=p)
    got = estimate(Measure(reduce="share", of="a", above=0.15, tested="p"), run_of(one=five))
    assert got.count == 2
    assert got.note == "of 5 sites 2 are higher and 1 lower by more than chance (false discovery rate 0.05)"
    spans = frame("a", [5.0, 6.0], ratio=[0.5, 1.2], ratio_lower=[0.4, 0.9], ratio_upper=[0.7, 1.5])
    found = run_of(one=spans).units("span")[["value", "lower", "upper"]]
    assert found.to_numpy().tolist() == [[0.5, 0.4, 0.7], [1.2, 0.9, 1.5]]
    with pytest.raises(NotTestable, match=r"one\.csv has no column 'ratio_upper'"):
        run_of(one=spans.drop(columns="ratio_upper")).units("span")
    with pytest.raises(ValueError, match=r"tables/one\.csv, column 'start': 'soon' is neither a number nor a date"):
        run_of(one=frame("a", [0.1, 0.2], start=["soon", "2010-01-01"])).units("start")


def test_rows_of_the_other_rules_and_days_are_not_taken():
    both = pd.concat([scores("AL", "smap", [0.5] * 3), scores("AL", "smap", [0.9] * 3, sampling="matched")])
    claim = NUMBER | {"measure": MEDIAN}
    assert verdict(claim, both)["ours"] == "0.5"
    assert verdict(claim, both, changed={"sampling": "matched"})["ours"] == "0.9"
    assert "no row with rules paper-text" in verdict(claim, both, changed={"rules": "paper-text"})["reason"]
    with pytest.raises(ValueError, match=r"tables/core_scores\.csv: several rows for site '00003601' with"):
        verdict(claim, scores("AL", "smap", [0.5] * 3), scores("AL", "smap", [0.9] * 3))


# What cannot be tested


def test_missing_tables_columns_rows_values_and_sites_are_named():
    claim = NUMBER | {"measure": MEDIAN}
    table = scores("AL", "smap", [0.5] * 3)
    assert verdict(claim)["reason"] == "this run has no tables/core_scores.csv"
    assert verdict(claim, table.drop(columns="value"))["reason"] == "tables/core_scores.csv has no column 'value'"
    assert verdict(claim, table.drop(columns="metric"))["reason"] == "tables/core_scores.csv has no column 'metric'"
    reason = verdict(claim, scores("AL", "noah", [0.5] * 3))["reason"]
    assert reason.startswith("tables/core_scores.csv has no row with") and "product smap" in reason
    assert "has no value with" in verdict(claim, scores("AL", "smap", [np.nan] * 3))["reason"]
    row = verdict(claim, scores("AL", "smap", [0.5] * 2))
    assert row["reason"] == "only 2 sites, 3 are needed"
    assert row["verdict"] == "not testable" and row["ours"] == "" and np.isnan(row["lower"]) and row["n"] == 0
    at = {"measure": {"reduce": "site", "of": "smap", "at": "0008"}}
    assert verdict(NUMBER | at, table)["reason"] == "this run has no value at site 0008"


@pytest.mark.parametrize(
    ("requirement", "changed", "told"),
    [
        ("real_sites", {}, "synthetic sites"),
        ("root_zone", {}, "no root-zone target"),
        ("pre_launch", {}, r"core_scores\.csv has no days before the launch$"),
        ("pre_launch", {"synthetic": False}, r"core_scores\.csv has no days before the launch \(the core stations"),
        ("noah", {}, r"core_scores\.csv has no noah"),
        ("vic", {}, r"core_scores\.csv has no noah_vic"),
    ],
)
def test_requirements(requirement, changed, told):
    claim = NUMBER | {"requires": [requirement]}
    claim["measure"] = {"reduce": "median", "of": {"largest": ["smap", "early", "noah", "vic"]}}
    vic = {"table": "core_scores", "where": {"period": "PL", "product": "noah_vic"}}
    smap = scores("AL", "smap", [0.5] * 6, synthetic=changed.get("synthetic", True))
    row = verdict(claim, smap, changed=changed, vic=vic)
    assert row["verdict"] == "not testable" and re.search(told, row["reason"])
    others = [("PL", "lstm"), ("AL", "noah"), ("PL", "noah_vic")]
    real = [scores(*series, [0.5] * 6, synthetic=False) for series in [("AL", "smap"), *others]]
    met = verdict(claim, *real, changed={"synthetic": False, "targets": ["surface", "rootzone"]}, vic=vic)
    assert met["verdict"] == "reproduced"
    if requirement == "noah":  # Comb is made of it
        comb_ = {"table": "core_scores", "where": {"period": "AL", "product": "comb"}}
        made = NUMBER | {"requires": ["noah"], "measure": {"reduce": "median", "of": "mean"}}
        assert verdict(made, scores("AL", "smap", [0.5] * 6), mean=comb_)["reason"].endswith("has no noah")
    # A table that is used, but not for that period or product, need not hold it.
    alone = NUMBER | {"measure": MEDIAN, "requires": [requirement]}
    if requirement in ("pre_launch", "noah", "vic"):
        assert verdict(alone, scores("AL", "smap", [0.5] * 6))["verdict"] == "reproduced"


def test_a_run_without_core_stations_says_why():
    claim = NUMBER | {"measure": MEDIAN, "requires": ["core_stations"]}
    row = verdict(claim, changed={"synthetic": False})
    assert row["verdict"] == "not testable"
    assert row["reason"] == "this run has no core stations (their daily records are not public)"
    assert verdict(claim)["reason"] == "this run has no core stations"


def test_synthetic_and_real_rows_are_not_mixed():
    table = scores("AL", "smap", [0.5] * 3)
    with pytest.raises(ValueError, match=r"tables/core_scores\.csv holds rows with synthetic other"):
        facts({"core_scores": table}, synthetic=False)
    without = pd.concat([table, scores("PL", "lstm", [np.nan] * 3)])
    assert facts({"core_scores": without}).periods["core_scores"] == {"AL"}  # rows without a value hold nothing
    pairs = pd.DataFrame({"one": ["AL comb", "PL lstm"], "two": ["AL noah_vic", "AL lstm"]})
    known = facts({"core_differences": pairs})
    assert known.periods["core_differences"] == {"AL", "PL"}
    assert known.products["core_differences"] == {"comb", "lstm", "noah_vic"}


# The file


def broken(change):
    content = book(NUMBER | {"measure": dict(MEDIAN)})
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["claims"][0].update(verdict="reproduced"), "verdict"),
        (lambda c: c["claims"][0].update(ours=0.5), "ours"),
        (lambda c: c["claims"][0].update(kind="guess"), "kind"),
        (lambda c: c["claims"][0].pop("place"), "place"),
        (lambda c: c["claims"][0].pop("tolerance"), "needs tolerance"),
        (lambda c: c["claims"][0].pop("reading"), "needs reading"),
        (lambda c: c["claims"][0].update(of=9), "takes no of"),
        (lambda c: c["claims"][0].update(paper="positive"), "cannot have paper"),
        (lambda c: c["claims"][0].update(id="X1.1"), "id"),
        (lambda c: c["claims"][0].update(requires=["luck"]), "requires"),
        (lambda c: c["claims"][0]["measure"].update(of="modis"), r"E1\.1: unknown series \['modis'\]"),
        (lambda c: c["claims"][0]["measure"].update(below=0.1), "takes no a bound"),
        (lambda c: c["claims"][0]["measure"].update(reduce="correlation"), "needs against"),
        (lambda c: c["claims"][0]["measure"].update(reduce="site", at="9999"), r"unknown sites \['9999'\]"),
        (lambda c: c["claims"][0]["measure"].update(of={"minus": ["smap"]}), "minus"),
        (lambda c: c["claims"][0]["measure"].update(surely=True), "takes no surely"),
        (
            lambda c: (
                c["claims"][0].update(
                    measure={"reduce": "sites", "of": "smap", "above": 0, "surely": True}, kind="sites", paper=["0001"]
                )
                or [c["claims"][0].pop(name) for name in ("tolerance", "reading")]
            ),
            "surely needs relation 'contains'",
        ),
        (lambda c: c["claims"].append(c["claims"][0]), r"given twice: \['E1\.1'\]"),
        (lambda c: c["series"]["smap"].update(table="modis"), "unknown table 'modis'"),
        (lambda c: c.update(verdicts={}), "verdicts"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, change, told):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(broken(change)), encoding="utf-8")
    with pytest.raises(claims.ClaimsError, match=rf"(?s)^claims\.yml: .*{told}"):
        claims.read(path)


def test_a_sound_file_is_read(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(broken(lambda c: None)), encoding="utf-8")
    assert [claim.id for claim in claims.read(path).claims] == ["E1.1"]
    path.write_text("claims: [", encoding="utf-8")
    with pytest.raises(claims.ClaimsError, match=r"claims\.yml"):
        claims.read(path)


# The paper's own statements

EXPERIMENTS = [*(f"E{i}" for i in range(1, 12)), "C"]


def test_no_experiment_of_the_paper_is_missing():
    found = {claim.experiment for claim in claims.load()}
    assert set(EXPERIMENTS) <= found
    drawn = {figure.id: figure for figure in claims.read().figures}
    assert {"F1", "F2"} <= set(drawn)
    for figure in drawn.values():
        page = (ROOT / "book" / figure.page).read_text(encoding="utf-8")
        assert f"{{{figure.directive}}}" in page


# Every number of the results, as the paper prints it (its sections II-C to IV and captions).
STATED = {
    "E1": [5, 0.04, 0.006, 0.028, 0.035, 0.059, 0.069, 0.038, 0.048, 0.054, 0.061, 0.011],
    "E2": [4, 2],
    "E3": [6, 5],
    "E4": [0.04, 3, 4, 5, 1, 2],
    "E5": [6],
    "E9": [0.05, 0.72, 0.75],
    "E10": [0.5],
    "E11": [0.88, 0.89, 0.53, 0.82, 0.5, 2000],
    "C": [0.01],
    "D9": [114, 10, 104, 82, 22, 72],
    "D10": [6321],
    "D11": [7365],
}


@pytest.mark.parametrize("experiment", STATED)
def test_every_number_of_the_paper_is_checked(experiment):
    own = [claim for claim in claims.load() if claim.experiment == experiment]
    given_ = {claim.paper for claim in own if isinstance(claim.paper, float)}
    for claim in own:
        thresholds = [claim.measure.bound(), claim.measure.only.bound() if claim.measure.only else None]
        given_ |= {bound[1] for bound in thresholds if bound} | {claim.measure.quantile}
    assert [number for number in STATED[experiment] if number not in given_] == []


def test_sites_that_the_paper_names_are_asked_of_real_sites_only():
    for claim in claims.load():
        if claim.kind == "sites" or claim.measure.at:
            assert "real_sites" in claim.requires, claim.id


def test_each_selector_is_used_and_what_needs_a_period_or_product_asks_for_it():
    own = claims.read()
    used = {name for claim in own.claims for name in own.used(claim)}
    assert set(own.series) - used == set()
    for claim in own.claims:
        where = [own.series[name].where for name in own.used(claim) if own.series[name].table.endswith("_scores")]
        assert ("pre_launch" in claim.requires) >= any(w.get("period") == "PL" for w in where), claim.id
        assert ("noah" in claim.requires) >= any(w.get("product") in ("noah", "comb") for w in where), claim.id
        assert ("root_zone" in claim.requires) >= any(w.get("quantity") == "rootzone" for w in where), claim.id


def test_a_run_without_tables_can_test_nothing_and_says_why():
    table = claims.check({}, facts({}))
    assert list(table.columns) == [*claims.COLUMNS, "synthetic"]
    assert len(table) == len(claims.load())
    assert set(table["verdict"]) == {"not testable"} and table["reason"].str.len().gt(10).all()
    trends = table[table["id"].str.startswith("E11.") & ~table["reason"].str.contains("synthetic")]
    assert set(trends["reason"]) == {"this run has no tables/trends.csv"} and len(trends) == 9


# A whole run as the paper describes it: nine core sites, the stated differences, 20 sites of the network.
CORE = ["0401", "0901", "1601", "1602", "1603", "1604", "1606", "1607", "4801"]
COMB_LESS_NOAH = [0.02, 0.03, 0.01, 0.02, 0.04, 0.02, -0.01, -0.02, -0.01]  # higher at six of nine


def whole(synthetic):
    pieces = []
    for product, change in (("smap", 0.0), ("lstm", 0.0), ("noah", 0.0), ("comb", COMB_LESS_NOAH)):
        r = 0.7 + np.zeros(9) + np.array(change)
        error = np.array([0.03, 0.06, 0.03, 0.03, 0.035, 0.03, 0.05, 0.055, 0.045])
        for metric, values in (("pearson_r", r), ("ubrmse", error), ("bias", error - 0.04)):
            rows = {"site": [f"{s}3601" for s in CORE], "group": CORE, "metric": metric, "value": values}
            rows |= {"lower": values - 0.005, "upper": values + 0.005, "period": "AL", "product": product}
            pieces.append(pd.DataFrame(SCORES | rows | {"synthetic": synthetic}))
    return {"core_scores": pd.concat(pieces)}


def test_the_own_claims_are_judged_on_a_run_of_known_values():
    tables = whole(synthetic=False)
    table = claims.check(tables, facts(tables, synthetic=False)).set_index("id")
    assert table.loc["E1.1", ["ours", "verdict"]].tolist() == ["5 of 9", "reproduced"]  # five are below 0.04
    assert table.loc["E1.16", ["ours", "verdict"]].tolist() == ["Carman, St. Josephs, South Fork, TxSON", "reproduced"]
    assert table.loc["E3.1", ["ours", "verdict"]].tolist() == ["6 of 9", "reproduced"]
    assert table.loc["E3.3", ["ours", "verdict"]].tolist() == ["-0.02", "reproduced"]
    assert table.loc["E1.6", ["ours", "verdict"]].tolist() == ["0.03", "reproduced"]
    assert table.loc["E1.8", ["ours", "verdict"]].tolist() == ["0.06", "reproduced"]
    assert table.loc["E1.10", ["ours", "verdict"]].tolist() == ["0.05", "differs"]  # 0.038 stated
    assert "not public" in table.loc["E1.3", "reason"] and table.loc["E1.3", "verdict"] == "not testable"
    assert table.loc["E4.1", "reason"] == "this run has no root-zone target"
    on_twin = whole(synthetic=True)
    twin = claims.check(on_twin, facts(on_twin)).set_index("id")
    assert twin.loc["E3.1", "verdict"] == "reproduced" and twin.loc["E1.16", "verdict"] == "not testable"
    assert "synthetic sites" in twin.loc["E1.6", "reason"]


# A complete run: every table, product and period that the chapters write, with the paper's numbers of sites.
ROOT_ZONE = ["1602", "1603", "1604", "1607", "4801"]
NETWORK = [f"{number:05d}" for number in range(3000, 3104)]
SHAPES = ["low", "high", "daily_change", "winter_daily_change", "missing", "winter_missing"]
SHARED = {"rules": "author-code", "synthetic": False}


def product_of(columns, fill):
    """Rows of every combination of the columns' values, without SMAP before its launch, with `fill` values."""
    table = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    if {"product", "period"} <= {*columns}:
        table = table[(table["product"] != "smap") | (table["period"] == "AL")]
    if "quantity" in columns:
        sites = {"core": ROOT_ZONE, "crn": NETWORK[:72]}["core" if table["site"].isin(CORE).all() else "crn"]
        table = table[(table["quantity"] == "surface") | table["site"].isin(sites)]
    return fill(table.reset_index(drop=True).assign(group=table["site"].to_numpy(), **SHARED))


@cache
def _complete():
    draw = np.random.default_rng(1).uniform

    def scored(table):
        value = draw(0.02, 0.9, len(table))
        start = [f"20{year:02d}-05-01" for year in np.random.default_rng(3).integers(2, 12, len(value))]
        return table.assign(value=value, lower=value - 0.02, upper=value + 0.02, start=start)

    def located(table):
        place = {site: (39 + 10 * draw(), -115 + 45 * draw()) for site in NETWORK}
        place |= {site: (40.5, -109.0 - number) for number, site in enumerate(NETWORK[:3])}  # the mountains
        place |= {site: (44.0, -70.0 - number) for number, site in enumerate(NETWORK[3:6])}  # the north-east
        lat, lon = zip(*table["site"].map(place), strict=True)
        return scored(table).assign(lat=lat, lon=lon)

    every = {"quantity": ["surface", "rootzone"], "product": comparison.ALL_PRODUCTS, "period": ["PL", "AL"]}
    metrics = {"metric": comparison.METRICS, "sampling": ["author", "matched"]}
    core = product_of({"site": CORE, **every, **metrics}, scored)
    small = (core["metric"] == "ubrmse") & (core["product"] == "smap")
    core.loc[small, "value"] = core.loc[small, "site"].map(dict(zip(CORE, np.linspace(0.02, 0.07, 9), strict=True)))
    pairs = {"quantity": every["quantity"], "pair": range(len(comparison.PAIRS)), "metric": comparison.METRICS}
    differences = product_of({"site": CORE, **pairs}, scored).assign(sampling="matched", p_adjusted=0.03)
    for side, name in enumerate(("one", "two")):
        differences[name] = [comparison.PAIRS[pair][side] for pair in differences["pair"]]
    differences["difference"] = differences["value"] - 0.4
    author = {"sampling": ["author"]}
    one_year = {"product": ["lstm"], "period": ["AL 1-year test"], "metric": comparison.METRICS, **author}
    hindcast = {"quantity": ["surface"], "product": ["lstm"], "period": ["PL", "AL"], "metric": ["ubrmse"]}
    hindcast |= {"sampling": ["matched"], "season": ["DJF", "JJA"]}
    shape = every | {"product": ["insitu", *comparison.ALL_PRODUCTS], "metric": SHAPES}
    steps = [
        ("all sites", 0, 150),
        ("outside CONUS", 36, 114),
        ("coastal", 10, 104),
        ("no record at one of 5, 10, 20, 50, 100 cm", 22, 82),
    ]
    exclusions = pd.DataFrame(steps, columns=["rule", "dropped", "left"]).assign(**SHARED)
    trained = pd.DataFrame({"target": ["surface", "rootzone"], "n_pixels": [6321, 7365]})
    sloped = {"site": [*ROOT_ZONE, *NETWORK[:40]], "product": ["insitu", "lstm"]}
    slopes = pd.MultiIndex.from_product(sloped.values(), names=sloped).to_frame(index=False).assign(**SHARED)
    slopes["value"], slopes["p_value"] = draw(-1, 1, len(slopes)), draw(0, 1, len(slopes))
    slopes["start"] = [f"20{year:02d}-03-01" for year in np.random.default_rng(2).integers(0, 12, len(slopes))]
    days = {"drydown_days": 4.0, "insitu_days": 6.0, "ratio": 0.6, "ratio_lower": 0.5, "ratio_upper": 0.8}
    dry = product_of({"site": CORE, **every}, scored)
    return {
        "core_scores": core,
        "core_differences": differences.drop(columns=["value", "pair"]),
        "core_one_year": product_of({"site": CORE, "quantity": ["surface"], **one_year}, scored),
        "core_shape": product_of({"site": CORE, **shape}, scored).assign(lower=np.nan, upper=np.nan),
        "drydown": dry.assign(**{name: value * dry["value"] for name, value in days.items()}),
        "crn_scores": product_of({"site": NETWORK, **every, "metric": ["ubrmse", "pearson_r"], **author}, located),
        "crn_seasons": product_of({"site": NETWORK, **hindcast}, located),
        "crn_exclusions": exclusions,
        "scores": trained.assign(product="LSTM", metric="rmse", median=0.03, synthetic=False),
        "trends": slopes.assign(
            network=np.where(slopes["site"].isin(CORE), "core", "crn"),
            quantity="rootzone",
            metric="sen_slope",
            variant="original",
            lower=slopes["value"] - 0.1,
            upper=slopes["value"] + 0.1,
        ),
    }


def complete():
    return {name: table.copy() for name, table in _complete().items()}


# Statements that rest on the five root-zone sites, the four sites above 0.04 or the three of the western ellipse.
BY_FEW = {"E10.6", "E4.5", "E4.6", "E4.9", "E4.10", "E4.11", "E8.5", "E8.6", "E8.7", "E8.8", "C.1"}


def test_every_claim_can_be_tested_on_a_complete_run():
    tables = complete()
    known = facts(tables, synthetic=False, targets=["surface", "rootzone"])
    table = claims.check(tables, known).set_index("id")
    assert table.index[table["n"] == 0].tolist() == [], table.loc[table["n"] == 0, "reason"].tolist()
    cannot = table[table["verdict"] == "not testable"]
    assert {*cannot.index[cannot["reason"].str.contains("cannot give 95 % limits")]} == BY_FEW
    told = cannot["reason"].str.contains("limits hold|cannot tell|too wide to tell|limits of our share|95 % limits")
    assert told.all(), cannot.loc[~told, "reason"].tolist()
    assert len(cannot) < len(table) / 2


@pytest.mark.parametrize("gone", ["PL", "noah", "noah_vic", "smap"])
def test_without_a_period_or_product_only_its_claims_cannot_be_tested(gone):
    tables, own = complete(), claims.read()
    for table in tables.values():
        words = [table[column].str.split() for column in ("one", "two") if column in table]
        words += [table[column].map(lambda word: [word]) for column in ("period", "product") if column in table]
        hit = np.array([[gone in word for word in column] for column in words], bool).any(axis=0)
        values = [name for name in ("value", "difference", "drydown_days", "ratio") if name in table]
        if words and values:
            table.loc[hit, values] = np.nan
    known = facts(tables, synthetic=False, targets=["surface", "rootzone"])
    table = claims.check(tables, known).set_index("id")
    asking = {
        claim.id
        for claim in own.claims
        for rows in (own.series[name] for name in own.used(claim))
        if gone in (*rows.periods, *rows.products) and rows.column not in ("insitu_days", "start")
    }
    named = {
        claim.id for claim in own.claims if {"PL": "pre_launch", "noah_vic": "vic"}.get(gone, gone) in claim.requires
    }
    lost = {*table.index[table["n"] == 0]}
    assert asking <= lost <= asking | named and asking


# Files


def test_tables_are_read_by_name_with_sites_as_text(tmp_path):
    scores("AL", "smap", [0.5]).to_csv(tmp_path / "core_scores.csv", index=False)
    assert claims.read_tables(tmp_path)["core_scores"].loc[0, "group"] == "0000"
    assert claims.read_tables(tmp_path / "absent") == {}
    (tmp_path / "none.csv").write_text("\n")
    assert claims.read_tables(tmp_path)["none"].empty
    (tmp_path / "odd.csv").write_text("a,b\n1,2,3,4\n1,2\n1,2,3,4,5\n")
    with pytest.raises(ValueError, match=r"odd\.csv: not a table"):
        claims.read_tables(tmp_path)


def test_the_table_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    table = claims.check({}, facts({}))
    path = claims.write(table, tmp_path / "run" / "claims.csv")
    assert pd.read_csv(path).shape == table.shape and list(path.parent.iterdir()) == [path]
    before = path.read_text(encoding="utf-8")

    def stops(self, target, **options):
        Path(target).write_text("half", encoding="utf-8")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", stops)
    with pytest.raises(OSError, match="disk full"):
        claims.write(table, path)
    assert path.read_text(encoding="utf-8") == before


# What the chapters write is what the selectors ask for


def test_selectors_ask_for_columns_products_pairs_and_rules_that_the_package_writes():
    own = claims.read()
    columns = {
        "drydown": comparison_drydown.COLUMNS,
        "crn_seasons": [*comparison.SCORE_COLUMNS, "season", "lat", "lon"],
    }
    columns |= {name: comparison.DIFFERENCE_COLUMNS for name in ("core_differences", "crn_differences")}
    columns |= {name: comparison.SCORE_COLUMNS for name in ("core_scores", "crn_scores", "core_one_year")}
    asked = [(name, rows) for name, rows in own.series.items() if rows.table in columns]
    assert len(asked) > 40
    for name, rows in asked:
        form = own.tables[rows.table]
        needed = {*rows.where, rows.column or form.value, *(form.limits or ()), "site", form.unit}
        assert needed <= {*columns[rows.table]}, name
        assert rows.where.get("product", "lstm") in comparison.ALL_PRODUCTS, name
        assert rows.where.get("metric", "rmse") in comparison.METRICS, name
        assert rows.where.get("season", "DJF") in comparison_sampling.SEASONS, name
        if "one" in rows.where:
            assert (rows.where["one"], rows.where["two"]) in comparison.PAIRS, name
    rules_of_sites = {rows.where["rule"] for rows in own.series.values() if rows.table == "crn_exclusions"}
    source = (ROOT / "smapnb" / "insitu_exclusions.py").read_text(encoding="utf-8")
    depths = ", ".join(f"{depth:g}" for depth in insitu_exclusions.DEPTHS)
    assert rules_of_sites == {"outside CONUS", "coastal", f"no record at one of {depths} cm"}
    assert all(f'"{rule}"' in source for rule in ("outside CONUS", "coastal"))


@pytest.mark.parametrize(("sites", "verdict"), [(112, "reproduced"), (2, "not testable")])
def test_counts_of_the_archive_are_asked_of_whole_archives(sites, verdict):
    """Two sites at hand say nothing on how many the network has; nor 206 scored pixels on how many were trained on."""
    steps = pd.DataFrame(
        {
            "quantity": ["surface", "surface"],
            "rule": ["outside CONUS", "coastal"],
            "dropped": [0, 10],
            "left": [sites] * 2,
        }
    ).assign(rules="author-code", synthetic=False)
    pixels = {"target": "surface", "product": "LSTM", "metric": "rmse", "median": 0.03, "n_pixels": 206}
    tables = {"crn_exclusions": steps, "scores": pd.DataFrame([pixels | {"synthetic": False}])}
    known = claims.facts(tables, synthetic=False, targets=["surface"], rules="author-code", sampling="author")
    told = claims.check(tables, known).set_index("id")
    assert told.loc["D9.1", "verdict"] == verdict
    assert told.loc["D10.1", "verdict"] == "not testable"
    assert told.loc["D10.1", "reason"] == "this run scores 206 pixels, a sample"
