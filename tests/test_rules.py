"""The two sets of rules: complete, apart, and told."""

from dataclasses import fields, replace

import pytest

from smapnb import rules
from smapnb.profile import Profile


def test_every_choice_has_its_place():
    assert set(rules.PLACES) == {field.name for field in fields(rules.Rules)} - {"name"}


def test_the_profile_knows_the_same_sets():
    assert set(rules.SETS) == set(Profile.model_fields["rules"].annotation.__args__)


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match=r"rules 'mine': one of \['author-code', 'paper-text'\]"):
        rules.of("mine")


def test_values_of_the_paper_and_of_the_scripts():
    """Paper: section II-C; scripts: as paper.md S2-S8 sums them up."""
    paper, scripts = rules.of("paper-text"), rules.of("author-code")
    assert (paper.core_coldest, scripts.core_coldest) == (4, 0)
    assert (paper.after_launch_end, scripts.after_launch_end) == ("2017-04-01", "2018-03-31")
    assert scripts.crn_farthest == 0.5 and scripts.flat_pixel == 0.002
    assert (paper.core_start, paper.crn_start) == ("2012-01-01", "2010-01-01")
    assert (scripts.core_start, scripts.crn_start) == ("2000-04-01", "2000-04-01")
    assert paper.crn_inside_cell and not scripts.crn_inside_cell
    assert (paper.rootzone_least_years, scripts.rootzone_least_years) == (1, 0)
    assert scripts.rootzone_first_before == "2015-01-01"
    assert paper.trend_least_years == 3 and scripts.trend_least_years == 2


def test_differences_hold_just_what_differs(monkeypatch):
    table = rules.differences(in_effect="author-code")
    assert "core_coldest" in table.index and "rootzone_least_valid" not in table.index
    assert (table["paper-text"] != table["author-code"]).all()
    assert (table["in this run"] == table["author-code"]).all()
    assert "in this run" not in rules.differences()
    monkeypatch.setattr(rules, "AUTHOR_CODE", replace(rules.PAPER_TEXT, name="author-code", scaling="central"))
    assert list(rules.differences().index) == ["scaling"]
