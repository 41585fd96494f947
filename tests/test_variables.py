"""The table of variables is one whole, and the check that holds every Dataset to it sees what breaks it."""

import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import variables
from smapnb.variables import TABLE, SchemaError, check, describe

KINDS = {"forcing", "static", "target", "land_model", "truth", "state", "hindcast", "in_situ", "combination"}


def dataset(**fields) -> xr.Dataset:
    """Two pixels, three days; fields as name -> (dims, values)."""
    data = {
        "air_temperature": (("time", "pixel"), np.full((3, 2), 280.0, dtype=np.float32)),
        "sand": (("pixel",), np.array([40.0, np.nan], dtype=np.float32)),
    }
    coordinates = {
        "time": pd.date_range("2015-04-01", periods=3),
        "pixel": [0, 1],
        **{name: ("pixel", [1.0, 2.0]) for name in variables.PIXEL_COORDINATES},
    }
    return describe(xr.Dataset(data | fields, coords=coordinates))


def test_every_row_is_complete():
    for name, row in TABLE.items():
        assert name == row.name
        assert row.units
        assert row.long_name
        assert row.kind in KINDS
        assert row.valid_range[0] < row.valid_range[1]
        assert row.dims in (variables.CUBE, variables.STATIC, variables.PROFILE)
        assert (row.dims == variables.STATIC) == (row.kind == "static")


@pytest.mark.parametrize("source", ["authors_csv", "nldas"])
def test_own_names_lead_back(source):
    names = variables.own_names(source)
    assert len(set(names.values())) == len(names)
    assert all(TABLE[ours].sources[source] == own for own, ours in names.items())


def test_every_forcing_and_static_comes_from_the_authors():
    """Seven forcing variables and twelve statics, as in the paper's table."""
    ours = set(variables.own_names("authors_csv").values())
    assert len(variables.names("forcing")) == 7
    assert len(variables.names("static")) == 12
    assert set(variables.names("forcing")) | set(variables.names("static")) | {"ssm_smap"} == ours


def test_names_keep_the_order_of_the_table():
    every = [name for kind in KINDS for name in variables.names(kind)]
    assert sorted(every) == sorted(TABLE)
    order = list(TABLE)
    for kind in KINDS:
        assert variables.names(kind) == sorted(variables.names(kind), key=order.index)


def test_targets_have_all_products():
    for quantity in variables.TARGETS.values():
        for product in ("smap", "lstm", "noah", "vic", "truth"):
            assert TABLE[f"{quantity}_{product}"].units == "m3 m-3"


def test_describe_leaves_its_argument_alone():
    bare = xr.Dataset({"sand": ("pixel", np.zeros(2, dtype=np.float32))})
    described = describe(bare)
    assert described["sand"].attrs["units"] == "%"
    assert bare["sand"].attrs == {}


def test_counts_are_those_made_by_hand(caplog):
    values = np.array([[280, np.nan], [np.inf, 199], [335.5, 335]], dtype=np.float32)
    tested = dataset(air_temperature=(("time", "pixel"), values))
    before = values.copy()
    with caplog.at_level(logging.WARNING):
        table = check(tested, "here")
    # Of 200..335 K: 199, 335.5 and the infinite one are beyond, 335 is not.
    assert table.loc["air_temperature", ["n", "n_missing", "n_out_of_range"]].tolist() == [6, 1, 3]
    assert table.loc["sand", ["n", "n_missing", "minimum", "maximum"]].tolist() == [2, 1, 40, 40]
    assert tested["air_temperature"].attrs["n_out_of_range"] == 3
    np.testing.assert_array_equal(tested["air_temperature"].values, before)
    assert "here" in caplog.text
    assert '"air_temperature": 3' in caplog.text
    assert "sand" not in caplog.text


def test_all_missing_is_counted():
    tested = dataset(sand=(("pixel",), np.full(2, np.nan, dtype=np.float32)))
    table = check(tested, "here")
    assert table.loc["sand", "n_missing"] == 2
    assert np.isnan(table.loc["sand", "minimum"])


def wrong_units(good):
    good["sand"].attrs["units"] = "1"
    return good


CUBE_OF_ZEROS = (("time", "pixel"), np.zeros((3, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda d: d.assign(sandiness=CUBE_OF_ZEROS), "'sandiness' is not in the table"),
        (wrong_units, "sand has units '1'"),
        (lambda d: d.assign(sand=d["sand"].drop_attrs()), "sand has units None"),
        (lambda d: d.assign(sand=d["sand"].astype("float64")), "sand is float64"),
        (lambda d: d.transpose(), r"air_temperature has dimensions \('pixel', 'time'\)"),
        (lambda d: d.isel(time=[0, 2, 1]), "time is not strictly increasing"),
        (lambda d: d.isel(time=[0, 1, 1]), "time is not strictly increasing"),
        (lambda d: d.drop_vars(["lat", "row"]), r"pixel lacks the coordinates \['row', 'lat'\]"),
    ],
)
def test_what_breaks_the_table_is_named(broken, message):
    check(dataset(), "here")
    with pytest.raises(SchemaError, match=f"here: .*{message}"):
        check(broken(dataset()), "here")


@pytest.mark.parametrize(("place", "probes"), [("site", 0), ("site", 3), ("station", 0)])
def test_a_site_or_station_stands_where_a_pixel_stands(place, probes):
    dims = ("time", place, "depth") + (("probe",) if probes else ())
    values = np.full((3, 2, 1) + ((probes,) if probes else ()), 0.3, np.float32)
    coords = {
        "time": pd.date_range("2015-04-01", periods=3),
        "lat": (place, [40.0, 41.0]),
        "lon": (place, [-99.0, -98]),
    }
    ground = variables.describe(xr.Dataset({"soil_moisture": (dims, values)}, coords))
    assert check(ground, "here").loc["soil_moisture", "n"] == values.size
    with pytest.raises(SchemaError, match=f"here: {place} lacks the coordinates .*'lon'"):
        check(ground.drop_vars("lon"), "here")
    with pytest.raises(SchemaError, match="dimensions"):
        check(ground.transpose("depth", ...), "here")


def test_pixels_belong_to_the_target_of_their_grid():
    one_grid = dataset()
    assert variables.pixels_of(one_grid, "surface").tolist() == [True, True]
    assert variables.pixels_of(one_grid, "rootzone").tolist() == [True, True]
    both = one_grid.assign_coords(grid_km=("pixel", [36, 9]))
    assert variables.pixels_of(both, "surface").tolist() == [True, False]
    assert variables.pixels_of(both, "rootzone").tolist() == [False, True]
