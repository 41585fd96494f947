"""Stations to site series: the parts put together, by hand on small networks."""

import json
import logging
import time as clock
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from smapnb import insitu, rules, variables
from smapnb.grid import EaseGrid, unproject

NAN = np.nan
WARM, COOL, FROST = 283.15, 275.15, 270.15  # 10, 2 and -3 degrees
LEFT, BOTTOM, RIGHT, TOP = (float(b) for b in EaseGrid(36).bounds(99, 219))


def place(east, north):
    """Longitude and latitude at parts of the width and height of the pixel."""
    lon, lat = unproject(LEFT + np.array(east) * (RIGHT - LEFT), BOTTOM + np.array(north) * (TOP - BOTTOM))
    return np.atleast_1d(lon), np.atleast_1d(lat)


def pixels(*names, site="1601"):
    dim = "reference_pixel"
    lon, lat = place(0.5, 0.5)
    each = {"site": site, "site_name": "Walnut Gulch", "lat": lat[0], "lon": lon[0]}
    each |= {"x_min": LEFT, "x_max": RIGHT, "y_min": BOTTOM, "y_max": TOP}
    return xr.Dataset(coords={dim: list(names)} | {k: (dim, [v] * len(names)) for k, v in each.items()})


def dense(moisture, east, north, depths=(5.0,), temperature=None, site="1601"):
    """Core stations from (time, station, depth)."""
    moisture = np.array(moisture, np.float32)
    days, n, _ = moisture.shape
    lon, lat = place(east, north)
    coords = {
        "time": pd.date_range("2015-04-01", periods=days),
        "station": [f"{site}/{i}" for i in range(n)],
        "depth": np.array(depths, float),
        "site": ("station", np.broadcast_to(site, n).astype("U4")),
        "lat": ("station", lat),
        "lon": ("station", lon),
    }
    data = {"soil_moisture": (("time", "station", "depth"), moisture)}
    if temperature is not None:
        warm = np.broadcast_to(np.array(temperature, np.float32), moisture.shape)
        data["soil_temperature"] = (("time", "station", "depth"), warm, {"units": "K"})
    return xr.Dataset(data, coords=coords, attrs={"synthetic": "true", "day": "UTC day"})


# Core sites


def test_surface_of_a_pixel_by_hand():
    # West and east of x = 0.5, a third station just outside; on the second day only the western half operates.
    core = dense([[[0.1], [0.3], [0.5]], [[0.1], [NAN], [0.5]]], [0.25, 0.75, 1.01], [0.5, 0.5, 0.5])
    out = insitu.core_series(core, pixels("16013603"))
    np.testing.assert_allclose(out["ssm_insitu"][:, 0], [0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(out["coverage"][:, 0], [1, 0.5])
    # Two stations a 0.2 apart: standard deviation 0.2 / sqrt(2), over sqrt(2) stations.
    np.testing.assert_allclose(out["ssm_insitu_error"][0, 0], 0.1, rtol=1e-6)
    assert np.isnan(out["rzsm_insitu"]).all() and np.isnan(out["rzsm_insitu_error"]).all()
    assert out["n_stations"].values.tolist() == [2] and out["n_stations_rootzone"].values.tolist() == [0]
    assert out["site"].values.tolist() == ["16013603"] and out["group"].values.tolist() == ["1601"]
    assert out.attrs["rules"] == "paper-text" and out.attrs["synthetic"] == "true"
    assert variables.check(out, "core")["n_out_of_range"].sum() == 0


def test_distances_are_those_of_the_ground():
    # Four corners are symmetric in any plane; with the north-eastern gone the others' borders depend on the stretch.
    east, north = np.array([0.1, 0.9, 0.2]), np.array([0.1, 0.3, 0.9])
    table = insitu.pixel_stations(dense(np.full((1, 3, 1), 0.2), east, north), pixels("16013603"))
    k = insitu.true_scale(float(place(0.5, 0.5)[1][0]))
    width, height = (RIGHT - LEFT) / k, (TOP - BOTTOM) * k
    expected = insitu.thiessen_weights(east * width, north * height, (0, 0, width, height))
    np.testing.assert_allclose(table["weight"], expected, atol=1e-6)
    assert table["station"].tolist() == ["1601/0", "1601/1", "1601/2"]
    # On the map: polygons in degrees, around their stations, that fill the pixel.
    for row in table.itertuples():
        assert row.polygon.contains(shapely.Point(row.lon, row.lat))
    cell = EaseGrid(36).polygons(99, 219)
    assert shapely.union_all(table["polygon"]).symmetric_difference(cell).area / cell.area < 1e-4


def test_frozen_and_unknown_records_by_rule_set():
    moisture = np.full((4, 2, 1), 0.2)
    temperature = [[[WARM]] * 2, [[COOL]] * 2, [[FROST]] * 2, [[NAN]] * 2]
    core = dense(moisture, [0.25, 0.75], [0.5, 0.5], temperature=temperature)
    expected = {"paper-text": [0.2, NAN, NAN, 0.2], "author-code": [0.2, 0.2, NAN, NAN]}
    for name, values in expected.items():
        out = insitu.core_series(core, pixels("16013603"), rules=name)
        np.testing.assert_allclose(out["ssm_insitu"][:, 0], values, rtol=1e-6)
    assert json.loads(out.attrs["quality"])["no_temperature"] == [2]
    varied = replace(rules.PAPER_TEXT, core_coldest=0.0)  # one choice alone
    out = insitu.core_series(core, pixels("16013603"), rules=varied)
    np.testing.assert_allclose(out["ssm_insitu"][:, 0], [0.2, 0.2, NAN, 0.2], rtol=1e-6)


DEPTHS = (5.0, 15.0, 30.0, 150.0)


def test_root_zone_of_stations_with_three_depths():
    # The first has 5, 15 and 30 cm, and one below the root zone; the second only two; the third all, but 30 cm breaks.
    one, two, three = [0.1, 0.2, 0.4, 0.9], [0.3, 0.3, NAN, NAN], [0.2, 0.2, 0.2, NAN]
    core = dense([[one, two, three], [one, two, [0.2, 0.2, NAN, NAN]]], [0.25, 0.5, 0.75], [0.5, 0.5, 0.5], DEPTHS)
    out = insitu.core_series(core, pixels("16013603"))
    # 0.1 * 0.1 + 0.125 * 0.2 + 0.775 * 0.4 = 0.345, half of the pixel each without the second.
    np.testing.assert_allclose(out["rzsm_insitu"][:, 0], [(0.345 + 0.2) / 2, 0.345], rtol=1e-5)
    # The surface has all three: borders at 0.375 and 0.625.
    np.testing.assert_allclose(out["ssm_insitu"][0, 0], 0.375 * 0.1 + 0.25 * 0.3 + 0.375 * 0.2, rtol=1e-5)
    assert out["n_stations"].item() == 3 and out["n_stations_rootzone"].item() == 2
    author = insitu.core_series(core, pixels("16013603"), rules="author-code")
    assert np.isnan(author["rzsm_insitu"]).all()  # no temperature: all dropped
    author = insitu.core_series(core, pixels("16013603"), rules=replace(rules.PAPER_TEXT, bottom_layer="to_midpoint"))
    np.testing.assert_allclose(author["rzsm_insitu"][1, 0], (10 * 0.1 + 12.5 * 0.2 + 42.5 * 0.4) / 65, rtol=1e-5)


def test_a_probe_frozen_all_the_time_is_still_part_of_its_profile():
    temperature = np.full((2, 1, 3), WARM)
    temperature[:, :, 1] = FROST
    core = dense(np.full((2, 1, 3), 0.2), [0.5], [0.5], (5.0, 15.0, 30.0), temperature)
    out = insitu.core_series(core, pixels("16013603"))
    assert np.isnan(out["rzsm_insitu"]).all() and out["n_stations_rootzone"].item() == 1
    np.testing.assert_allclose(out["ssm_insitu"], 0.2)


def test_the_surface_is_the_probe_nearest_to_five_centimetres():
    # 2.5 and 5.08 cm at the first station, 5.08 cm at the second, 10 cm only at the third.
    core = dense([[[0.1, 0.2, NAN], [NAN, 0.4, NAN], [NAN, NAN, 0.9]]], [0.25, 0.75, 0.5], [0.5] * 3, (2.5, 5.08, 10.0))
    out = insitu.core_series(core, pixels("16013603"))
    np.testing.assert_allclose(out["ssm_insitu"], 0.3, rtol=1e-6)
    assert out["n_stations"].item() == 2


def test_probes_of_a_station_are_judged_alone_and_averaged():
    one = dense(np.full((2, 2, 3), 0.2), [0.25, 0.75], [0.5, 0.5], (5.0, 15.0, 30.0), WARM)
    core = xr.concat([one, one], "probe").transpose("station", "time", "depth", "probe")
    core["soil_moisture"][{"station": 0, "probe": 1}] = 0.4
    core["soil_temperature"][{"station": 0, "probe": 1, "time": 1}] = FROST  # this probe alone is too cold on day 2
    core["soil_moisture"][{"station": 1, "probe": 1}] = NAN
    out = insitu.core_series(core, pixels("16013603"))
    for name in ("ssm_insitu", "rzsm_insitu"):
        np.testing.assert_allclose(out[name][:, 0], [(0.3 + 0.2) / 2, 0.2], rtol=1e-6)
    assert json.loads(out.attrs["quality"])["colder"] == [1, 1, 1]
    assert len(insitu.pixel_stations(core, pixels("16013603"), "rootzone")) == 2
    assert insitu.station_table(core)["depths"].tolist() == ["5, 15, 30 cm"] * 2


@pytest.mark.parametrize("name", rules.SETS)
def test_days_before_the_start_do_not_count(name):
    rule = replace(rules.of(name), core_start="2015-04-03", crn_start="2012-01-02", core_unknown_temperature="keep")
    out = insitu.core_series(dense(np.full((4, 1, 1), 0.2), [0.5], [0.5]), pixels("16013603"), rules=rule)
    assert out["ssm_insitu"].notnull().values[:, 0].tolist() == [False, False, True, True]
    told = json.loads(out.attrs["quality"])
    assert (told["records"], told["before_start"], told["kept"]) == ([4], [2], [2])
    out, _ = insitu.crn_series(sparse(end="2012-01-03", a="deep"), rules=rule)
    assert out["ssm_insitu"].notnull().values[:, 0].tolist() == [False, True, True]
    assert json.loads(out.attrs["quality"])["before_start"] == [3] * 5  # three probes at each depth


def test_provider_weights_and_what_they_name(caplog):
    core = dense([[[0.1], [0.3], [0.5]]], [0.25, 0.75, 1.01], [0.5] * 3)
    given = {"16013603": {"1601/0": 20, "1601/2": 60, "1601/gone": 20}}
    with caplog.at_level(logging.WARNING, "smapnb.insitu"):
        out = insitu.core_series(core, pixels("16013603", "16013604"), weights=given)
    # The provider's station outside the box counts; the pixel that it does not name has Thiessen weights.
    np.testing.assert_allclose(out["ssm_insitu"][0], [0.4, 0.2], rtol=1e-6)
    np.testing.assert_allclose(out["coverage"][0], [0.8, 1])
    assert "16013603, surface: weights of stations without data" in caplog.text and "1601/gone" in caplog.text
    with pytest.raises(insitu.InsituError, match=r"not there: \['99993601'\]"):
        insitu.core_series(core, pixels("16013603"), weights={"99993601": {}})


def test_a_pixel_without_stations_is_named(caplog):
    core = dense([[[0.1]]], [1.5], [0.5])
    with caplog.at_level(logging.WARNING, "smapnb.insitu"):
        out = insitu.core_series(core, pixels("16013603"))
    assert "16013603, surface: no station" in caplog.text
    assert "rootzone" not in caplog.text  # no station at all is that deep: nothing to warn of
    assert np.isnan(out["ssm_insitu"]).all() and out["coverage"].item() == 0
    assert insitu.pixel_stations(core, pixels("16013603")).empty
    # A station in the box, but of another site, is none of its own.
    other = insitu.core_series(dense([[[0.1]]], [0.5], [0.5], site="1602"), pixels("16013603"))
    assert np.isnan(other["ssm_insitu"]).all()
    with caplog.at_level(logging.WARNING, "smapnb.insitu"):
        insitu.core_series(core.assign_coords(depth=[50.0]), pixels("16013603"))
    assert caplog.text.count("16013603, surface: no station") == 3  # a site without any surface probe is told of
    with caplog.at_level(logging.WARNING, "smapnb.insitu"):
        insitu.core_series(dense([[[0.1, 0.1, 0.1]]], [1.5], [0.5], (5.0, 20.0, 50.0)), pixels("16013603"))
    assert "16013603, rootzone: no station" in caplog.text  # it is deep, but stands elsewhere


# Sparse network


CRN = (5.0, 10.0, 20.0, 50.0, 100.0)
# Weights of CRN's depths, worked by hand: 0.075, 0.075, 0.2, 0.4, 0.25.
PROFILE = np.array([0.1, 0.2, 0.3, 0.4, 0.2])
ROOT = 0.0075 + 0.015 + 0.06 + 0.16 + 0.05


def sparse(start="2012-01-01", end="2016-12-31", **sites):
    """CRN sites from a name and either "deep" or "shallow"; all of `PROFILE`, in three probes around it."""
    time = pd.date_range(start, end)
    values = (
        np.broadcast_to(PROFILE[:, None] + [-0.01, 0, 0.01], (len(time), len(sites), 5, 3)).astype(np.float32).copy()
    )
    for i, kind in enumerate(sites.values()):
        if kind == "shallow":
            values[:, i, 2:] = NAN
    dims = ("time", "site", "depth", "probe")
    coords = {"time": time, "site": list(sites), "depth": list(CRN), "probe": [1, 2, 3]}
    coords |= {"lat": ("site", 40.0 + np.arange(len(sites))), "lon": ("site", np.full(len(sites), -100.0))}
    data = {"soil_moisture": (dims, values)}
    data["soil_temperature"] = (dims[:3], np.full(values.shape[:3], WARM, np.float32), {"units": "K"})
    return xr.Dataset(data, coords=coords)


def test_a_sparse_site_by_hand():
    crn = sparse(a="deep", b="shallow")
    crn["soil_moisture"][0, 0, 0, 0] = NAN  # the two probes left average 0.105
    crn["soil_moisture"][1, 0, 3] = NAN  # 50 cm is gone: no root zone on that day
    crn["soil_temperature"][2, 0, 0] = FROST
    out, table = insitu.crn_series(crn)
    np.testing.assert_allclose(out["ssm_insitu"][:4, 0], [0.105, 0.1, NAN, 0.1], rtol=1e-5)
    first = ROOT + 0.075 * 0.005
    np.testing.assert_allclose(out["rzsm_insitu"][:4, 0], [first, NAN, NAN, ROOT], rtol=1e-5)
    np.testing.assert_allclose(out["ssm_insitu"][:, 1], 0.1, rtol=1e-6)
    assert np.isnan(out["rzsm_insitu"][:, 1]).all()
    assert out["name"].values.tolist() == ["a", "b"]
    variables.check(out, "crn")
    assert table["left"].tolist() == [2, 2, 2, 2, 1, 1, 1]


def test_sparse_temperature_rules():
    crn = sparse(a="deep")
    crn["soil_temperature"][0], crn["soil_temperature"][1], crn["soil_temperature"][2] = 277.15, 273.15, 273.25
    got = {name: insitu.crn_series(crn, rules=name)[0]["ssm_insitu"][:3, 0] for name in rules.SETS}
    np.testing.assert_allclose(got["paper-text"], [0.1, NAN, NAN], rtol=1e-6)  # 4 degrees stays
    np.testing.assert_allclose(got["author-code"], [0.1, NAN, 0.1], rtol=1e-6)  # 0 degrees goes


def test_exclusions_step_by_step():
    sites = ["ok", "sea", "two", "late", "gappy", "dead", "alaska"]
    crn = sparse(**dict.fromkeys(sites, "deep") | {"two": "shallow"})
    crn = crn.assign_coords(coastal=("site", [s == "sea" for s in sites]))
    crn["lat"][6] = 64.97
    moisture = crn["soil_moisture"]
    moisture.loc[{"site": "late", "time": slice(None, "2014-04-01")}] = NAN  # 364 days before launch
    moisture.loc[{"site": "dead"}] = NAN
    moisture.loc[{"site": "gappy", "time": slice("2013-01-01", "2015-03-31"), "depth": 50}] = (
        NAN  # 366 of 1186 days left
    )
    out, table = insitu.crn_series(crn)
    assert table.index.name == "step"
    assert table["quantity"].tolist() == ["surface"] * 4 + ["rootzone"] * 3
    assert table["sites"].tolist() == [(), ("alaska",), ("sea",), ("dead",), ("two",), ("late",), ("gappy",)]
    assert table["dropped"].tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert table["left"].tolist() == [7, 6, 5, 4, 3, 2, 1]
    assert table["rule"].tolist()[:3] == ["all sites", "outside CONUS", "coastal"]
    assert out["site"].values.tolist() == ["ok", "two", "late", "gappy"]
    has_root = (~np.isnan(out["rzsm_insitu"].values)).any(axis=0)
    assert has_root.tolist() == [True, False, False, False]
    # One day more is a year.
    moisture.loc[{"site": "late", "time": "2014-04-01"}] = moisture.loc[{"site": "ok", "time": "2014-04-01"}]
    assert insitu.crn_series(crn)[1]["sites"].tolist()[5] == ()


@pytest.mark.parametrize(("first", "kept"), [("2014-12-31", True), ("2015-01-01", False)])
def test_the_scripts_ask_for_a_root_zone_before_2015_not_for_a_year(first, kept):
    crn = sparse("2014-12-01", "2015-12-31", a="deep")
    crn["soil_moisture"].loc[{"time": slice(None, pd.Timestamp(first) - pd.Timedelta("1D"))}] = NAN
    table = insitu.crn_series(crn, rules="author-code")[1]
    assert table["rule"][5] == "no root zone before 2015-01-01"
    assert table["left"].tolist()[5] == int(kept)


def test_half_of_the_days_are_enough():
    crn = sparse("2014-01-01", "2015-12-31", a="deep", b="deep")
    days = pd.date_range("2014-01-01", "2015-03-31")
    assert len(days) == 455
    for site, n in (("a", 228), ("b", 227)):  # 0.501 and 0.499
        crn["soil_moisture"].loc[{"site": site, "time": days[n:]}] = NAN
    table = insitu.crn_series(crn)[1]
    assert table["sites"].tolist()[6] == ("b",)
    varied = replace(rules.PAPER_TEXT, rootzone_least_valid=0.4)
    assert insitu.crn_series(crn, rules=varied)[1]["left"].tolist()[6] == 2


def test_coastal_sites_by_id_or_not_at_all():
    crn = sparse(a="deep", b="deep")
    out, table = insitu.crn_series(crn)
    assert "not known" in table["rule"][2] and table["left"].tolist() == [2] * 7
    assert insitu.crn_exclusions(crn, out, coastal=["b"])["sites"].tolist()[2] == ("b",)
    with pytest.raises(ValueError, match=r"\['c'\]"):
        insitu.crn_exclusions(crn, out, coastal=["c"])
    with pytest.raises(ValueError, match="sites of the series"):
        insitu.crn_exclusions(crn, out.isel(site=[0]))


def seen(part, rows=(98, 99, 100), cols=(218, 219, 220), days=8):
    """SMAP at pixels of the 36-km grid, on the first `part` of the days, and nowhere in the two days around them."""
    row, col = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    lon, lat = EaseGrid(36).center(row, col)
    values = np.full((days + 2, row.size), NAN, np.float32)
    for i, own in enumerate(np.broadcast_to(part, row.size)):
        values[1 : 1 + round(own * days), i] = 0.2
    values[-2, 0] = 0.2  # the period is as long as any pixel's
    coords = {"time": pd.date_range("2015-04-01", periods=days + 2), "lat": ("pixel", lat), "lon": ("pixel", lon)}
    return xr.DataArray(values, dims=("time", "pixel"), coords=coords, name="ssm_smap")


def at(*cells):
    """Sites a little off the centres of cells."""
    lon, lat = EaseGrid(36).center(*np.array(cells).T)
    names = [f"s{i}" for i in range(len(cells))]
    return xr.Dataset(coords={"site": names, "lat": ("site", lat + 0.1), "lon": ("site", lon - 0.1)})


def test_part_of_days_with_smap_at_sites_by_hand():
    sites = at((99, 219), (98, 218), (99, 221))
    smap = seen([0, 0, 0, 0, 0.25, 0, 0, 0, 0.5])
    # Two of eight days at the middle, one at the corner; the third site has no pixel in a grid without gaps.
    np.testing.assert_allclose(insitu.observed_fraction(sites, smap), [2 / 8, 1 / 8, 0])
    assert insitu.own_cell(sites, smap).values.tolist() == ["inside", "inside", "no pixel"]
    with pytest.raises(insitu.InsituError, match="ssm_smap has no value at any pixel"):
        insitu.observed_fraction(sites, smap * NAN)


def test_cells_that_a_thinned_sample_does_not_take_are_not_held_against_a_site():
    # Every fourth row and column: (99, 219) lies between them, (104, 216) on them, but has no pixel.
    smap = seen([0.5, 0, 0, 1.0], rows=(96, 100), cols=(216, 220))
    sites = at((100, 220), (99, 219), (104, 216))
    assert insitu.own_cell(sites, smap).values.tolist() == ["inside", "not sampled", "no pixel"]
    np.testing.assert_allclose(insitu.observed_fraction(sites, smap), [1, 1, 0])


def test_cells_of_the_root_zones_grid_are_no_footprints():
    # Of a cube with two grids, the 9-km cell at the site itself says nothing of the 36-km cell in which it stands.
    smap = seen([0.5, 1, 1, 0, 0.25, 1, 0, 1, 1])
    site = at((99, 219), (98, 219))
    fine = smap.isel(pixel=[0, 0]).assign_coords(lat=("pixel", site["lat"].values), lon=("pixel", site["lon"].values))
    both = xr.concat([fine * 0 + 0.2, smap], "pixel").assign_coords(grid_km=("pixel", [9] * 2 + [36] * 9))
    np.testing.assert_allclose(insitu.observed_fraction(site, both), insitu.observed_fraction(site, smap))
    without = both.isel(pixel=np.flatnonzero(np.arange(11) != 6))  # (99, 219) itself
    assert insitu.own_cell(site, without).values.tolist() == ["no pixel", "inside"]


def test_a_year_kept_back_is_not_held_against_a_pixel():
    days = 3 * 366
    smap = seen([0.25] * 9, days=days)
    smap[:] = NAN
    smap[:, 0] = 0.2  # the period: three years and two days
    smap[:366, 4][::2] = 0.2  # the middle has every other day of the first year, and no more
    smap[0, 8] = 0.2  # the last pixel a single day
    part = insitu.observed_fraction(at((98, 218), (99, 219), (100, 220), (98, 219)), smap)
    np.testing.assert_allclose(part, [1, 0.5, 1 / 366, 0])


def test_coastal_sites_by_what_smap_sees():
    crn = sparse(a="deep", b="deep", c="deep")
    observed = xr.DataArray([0.25, 0.0, 0.24], {"site": ["a", "b", "c"]}, "site")
    out, table = insitu.crn_series(crn, observed=observed[::-1])
    assert table["rule"][2] == "coastal" and table["sites"][2] == ("b", "c")
    assert table["note"].tolist()[1:4] == ["", "no SMAP footprint, or SMAP missing on more than 75% of days", ""]
    assert out["site"].values.tolist() == ["a"]
    # A network that knows its coastal sites is believed.
    told = crn.assign_coords(coastal=("site", [True, False, False]))
    assert insitu.crn_series(told, observed=observed)[1]["sites"][2] == ("a",)
    with pytest.raises(ValueError, match=r"observed: no part of days of the sites \['a'\]"):
        insitu.crn_series(crn, observed=observed[1:])
    with pytest.raises(ValueError, match="NaN"):
        insitu.crn_series(crn, observed=observed * NAN)


@pytest.mark.parametrize("west_north", [(-125.01, 40), (-65.99, 40), (-100, 24.99), (-100, 50.01)])
def test_the_box_of_the_conterminous_states(west_north):
    crn = sparse("2014-01-01", "2015-12-31", a="deep", b="deep")
    crn["lon"][0], crn["lat"][0] = west_north
    crn["lon"][1], crn["lat"][1] = np.clip(west_north[0], -125, -66), np.clip(west_north[1], 25, 50)
    table = insitu.crn_series(crn)[1]
    assert table["rule"][1] == "outside CONUS" and table["sites"][1] == ("a",)


def test_networks_without_some_depths():
    crn = sparse(a="deep")
    out, table = insitu.crn_series(crn.isel(depth=[0, 1]))
    assert np.isnan(out["rzsm_insitu"]).all() and table["left"].tolist() == [1, 1, 1, 1, 0, 0, 0]
    with pytest.raises(insitu.InsituError, match=r"no depth of 5.0 cm in the network, only \[10.0\]"):
        insitu.crn_series(crn.isel(depth=[1]))


def test_a_record_after_launch_alone_has_no_root_zone():
    out, table = insitu.crn_series(sparse("2015-04-01", "2016-12-31", a="deep"))
    assert table["sites"].tolist()[5] == ("a",)
    assert np.isnan(out["rzsm_insitu"]).all() and not np.isnan(out["ssm_insitu"]).any()


def test_input_is_left_as_it_was():
    crn = sparse(a="deep", b="shallow")
    crn["soil_temperature"][5] = FROST
    before = crn.copy(deep=True)
    insitu.crn_series(crn)
    xr.testing.assert_identical(crn, before)


def test_full_size_takes_seconds():
    generator = np.random.default_rng(0)
    names = {f"{i}": "deep" for i in range(20)}
    crn = sparse("2000-01-01", "2018-12-31", **names)
    n, days = 60, crn.sizes["time"]
    moisture = generator.random((days, n, 3), np.float32) * 0.5
    core = dense(moisture, generator.random(n), generator.random(n), (5.0, 15.0, 30.0))
    begun = clock.perf_counter()
    insitu.crn_series(crn)
    insitu.core_series(core, pixels(*(f"160136{i:02d}" for i in range(3))))
    assert clock.perf_counter() - begun < 8  # a fifth of the whole network, with room for a busy machine
