"""Tables of stations and of site means, by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import insitu

DAYS = pd.date_range("2015-01-01", periods=4)


def test_station_table_names_the_depths_that_have_records():
    values = np.full((4, 2, 2), 0.2, np.float32)
    values[:, 1, 1] = np.nan
    core = xr.Dataset(
        {"soil_moisture": (("time", "station", "depth"), values)},
        {"time": DAYS, "station": ["s/1", "s/2"], "depth": [5.0, 15.0], "site": ("station", ["s", "s"])}
        | {"lat": ("station", [40.0, 40.1]), "lon": ("station", [-100.0, -100.1])},
    )
    assert insitu.station_table(core)["depths"].tolist() == ["5, 15 cm", "5 cm"]


@pytest.fixture
def series():
    nan = np.nan
    mean = np.array([[0.20, 0.22, nan, 0.24], [0.3, 0.3, 0.3, 0.3]]).T
    names = {"ssm_insitu": mean, "ssm_insitu_error": mean * 0 + 0.01, "coverage": mean * 0 + 0.75}
    names["degrees_of_freedom"] = mean * 0 + 1e6  # so many that Student's t is the normal distribution
    coords = {"time": DAYS, "site": ["p", "q"], "name": ("site", ["P", "Q"]), "n_stations": ("site", [7, 8])}
    return xr.Dataset({n: (("time", "site"), v) for n, v in names.items()}, coords)


def test_site_limits_are_those_of_the_normal_distribution(series):
    limits = insitu.site_limits(series)
    half = 1.959964 * 0.01
    np.testing.assert_allclose(limits.sel(site="q", limit="upper"), 0.3 + half, rtol=1e-6)
    np.testing.assert_allclose(limits.sel(site="p", limit="lower").values[0], 0.2 - half, rtol=1e-6)


def test_the_truth_is_counted_inside_the_limits(series):
    truth = xr.DataArray(
        np.array([[0.21, 0.26, 0.9, 0.24], [0.3, 0.31, 0.33, 0.27]]).T,
        {"time": DAYS, "reference_pixel": ["p", "q"], "site": ("reference_pixel", ["1601", "1602"])},
        ("time", "reference_pixel"),
    )
    table = insitu.upscaling_table(series, insitu.site_limits(series), truth)
    # p: departures 0.01, 0.04, (no mean), 0 against 0.0196; q: 0, 0.01, 0.03, 0.03.
    assert table.loc["p", "inside"] == pytest.approx(2 / 3) and table.loc["q", "inside"] == pytest.approx(1 / 2)
    assert table.loc["p", "error"] == pytest.approx(np.sqrt((0.01**2 + 0.04**2) / 3))
    assert table.loc["p", "n_days"] == 3 and table.loc["q", "n_stations"] == 8
    assert table.loc["p", "coverage"] == pytest.approx(0.75)
    assert "inside" not in insitu.upscaling_table(series, insitu.site_limits(series))


def test_two_sets_of_rules_by_hand(series):
    nan = np.nan
    other = series.copy(deep=True)
    # p: 0.20, -, 0.25, 0.21 against 0.20, 0.22, -, 0.24; q is on the same days as before, 0.01 lower on the first.
    other["ssm_insitu"].values[:, 0] = [0.20, nan, 0.25, 0.21]
    other["ssm_insitu"].values[0, 1] = 0.29
    other["coverage"].values[:, 0] = [1.0, 0.4, 0.6, 0.8]
    one, two = series.assign_attrs(rules="paper-text"), other.assign_attrs(rules="author-code")
    table = insitu.rule_set_table(one, two)
    assert table.index.tolist() == ["p", "q"] and table["name"].tolist() == ["P", "Q"]
    assert table["days, paper-text"].tolist() == [3, 4] and table["days, author-code"].tolist() == [3, 4]
    # Coverage counts on days with a mean only: 0.4 is the day without.
    np.testing.assert_allclose(table["coverage, author-code"], [(1.0 + 0.6 + 0.8) / 3, 0.75])
    np.testing.assert_allclose(table["sampling error, paper-text"], 0.01)
    assert table["days in both"].tolist() == [2, 4]
    np.testing.assert_allclose(table["difference"], [0.03 / 2, 0.01 / 4], atol=1e-12)
    np.testing.assert_allclose(table["largest"], [0.03, 0.01], atol=1e-12)
    gone = [each.assign(ssm_insitu=each["ssm_insitu"].where(each["site"] == "q")) for each in (one, two)]
    assert insitu.rule_set_table(*gone).index.tolist() == ["q"]


def test_removed_records_are_those_noted():
    told = {
        "depth": [5.0, 15.5],
        "records": [9, 8],
        "colder": [2, 0],
        "kept": [7, 8],
        "kept_without_temperature": [1, 0],
    }
    table = insitu.removed_records(xr.Dataset(attrs={"quality": json.dumps(told)}))
    assert table.index.tolist() == ["5", "15.5"] and table["colder"].tolist() == [2, 0]
    assert table.columns.tolist() == ["records", "colder", "kept", "kept_without_temperature"]
