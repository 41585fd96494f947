"""Tables of stations and of site means, by hand."""

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
