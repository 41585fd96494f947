"""NLDAS-2 files: written here in the structure of either generation, and the real ones; every hour and cell counts.

The number in a cell of a written file is its hour plus a part that tells the cell, so that a shift by one hour, one row
or one column gives another number.
"""

import fcntl
import json
import logging
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import variables
from smapnb.grid import EaseGrid
from smapnb.sources import _nldas_daily, _nldas_files, nldas
from smapnb.sources.nldas import NldasError

LAT = 25.0625 + 0.125 * np.arange(224)
LON = -124.9375 + 0.125 * np.arange(464)
UNITS = {"Rainf": "kg m-2", "Tair": "K", "Qair": "kg kg-1", "LWdown": "W m-2", "SWdown": "W m-2"}
UNITS |= {"Wind_E": "m s-1", "Wind_N": "m s-1"}
SOIL = {"SoilM_0_10cm": "kg m-2", "SoilM_0_100cm": "kg m-2", "RootMoist": "kg m-2"}
VIC = {"SoilM_layer1": "kg m-2", "SoilM_0_100cm": "kg m-2"}
# A corner of the grid, not square.
SMALL = (LAT[100:103], LON[200:204])


def cells(lat, lon):
    """What tells a cell: exact in float32 beside an hour below 64."""
    row, col = np.round((lat - LAT[0]) / 0.125), np.round((lon - LON[0]) / 0.125)
    return (row[:, None] * 464 + col) / 2**17


def write(folder, stamp, product="FORA", units=UNITS, grid=SMALL, hour=None, version="020", **changes):
    """One file of version 2.0: (time, lat, lon) with dimension scales, deflated, -9999 where there is none.

    All variables hold `hour` (default: hours since 31 December 2015) + cell, each with its place in the order added.
    """
    stamp = pd.Timestamp(stamp)
    hour = (stamp - pd.Timestamp("2015-12-31")) / pd.Timedelta(hours=1) if hour is None else hour
    path = folder / f"NLDAS_{product}0125_H.A{stamp:%Y%m%d}.{stamp:%H}00.{version}.nc"
    path.parent.mkdir(parents=True, exist_ok=True)
    lat, lon = grid
    dims = changes.get("dims", ("time", "lat", "lon"))
    inside = changes.get("time", stamp)
    with h5py.File(path, "w") as file:
        scales = {
            "time": np.array([(inside - pd.Timestamp("1979-01-01")) / pd.Timedelta(hours=1)]),
            "lat": lat,
            "lon": lon,
        }
        for name, values in scales.items():
            file.create_dataset(name, data=values)
            file[name].make_scale(name)
        file["time"].attrs["units"] = np.bytes_("hours since 1979-01-01 00:00:00")
        file["lat"].attrs["units"] = np.bytes_("degrees_north")
        for i, (name, unit) in enumerate(units.items()):
            values = np.float32(hour + i + cells(lat, lon))[None]
            values = changes.get("mask", lambda name, values: values)(name, values)
            order = [("time", "lat", "lon").index(dim) for dim in dims]
            data = file.create_dataset(name, data=values.transpose(order), compression="gzip", compression_opts=2)
            for axis, dim in enumerate(dims):
                data.dims[axis].attach_scale(file[dim])
            data.attrs["_FillValue"] = data.attrs["missing_value"] = np.float32([-9999.0])
            data.attrs["units"] = np.bytes_(unit)
    return path


def write_days(folder, first, hours, **keys):
    return [write(folder, stamp, **keys) for stamp in pd.date_range(first, periods=hours, freq="h")]


@pytest.fixture(scope="module")
def hourly(tmp_path_factory):
    """Files of 31 December 2015, hour 00, to 3 January 2016, hour 00: the hours 0 to 72."""
    return write_days(tmp_path_factory.mktemp("hourly"), "2015-12-31", 73)


# Days ---------------------------------------------------------------------------------------


def test_the_two_rules_at_the_end_of_a_year(hourly):
    author = nldas.open_forcing(hourly[:49])
    exact = nldas.open_forcing(hourly[:49], day="exact")
    # Hours 0..23 have the mean 11.5, hours 1..24 have 12.5. Hour 48 is no day to the one, hour 0 none to the other.
    for data, first in ((author, 11.5), (exact, 12.5)):
        assert data["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2015-12-31", "2016-01-01"]
        for n, mean in enumerate((first, first + 24)):
            np.testing.assert_array_equal(data["precipitation"][n], np.float32(24 * (mean + cells(*SMALL))))
            np.testing.assert_array_equal(data["air_temperature"][n], np.float32(mean + 1 + cells(*SMALL)))
            np.testing.assert_array_equal(data["wind_v"][n], np.float32(mean + 6 + cells(*SMALL)))
    assert author.attrs["day_rule"] == "author" and exact.attrs["day_rule"] == "exact"
    assert author.attrs["hours_missing"] == exact.attrs["hours_missing"] == 0
    assert author.attrs["files_read"] == exact.attrs["files_read"] == 48
    # The sum of the hours that end in the UTC day, in mm: the same by hand.
    total = sum(np.float64(hour) + cells(*SMALL) for hour in range(1, 25))
    np.testing.assert_allclose(exact["precipitation"][0], total, rtol=1e-6)


def test_all_seven_names_and_units(hourly):
    data = nldas.open_forcing(hourly[24:48])
    assert list(data.data_vars) == variables.names("forcing")
    assert {n: a.attrs["units"] for n, a in data.items()} == {n: variables.TABLE[str(n)].units for n in data}
    assert {a.dtype for a in data.values()} == {np.dtype("float32")}
    # Each variable came from its own: Rainf is the first that was written, Tair the second, and so on.
    order = [
        "precipitation",
        "air_temperature",
        "specific_humidity",
        "longwave_down",
        "shortwave_down",
        "wind_u",
        "wind_v",
    ]
    for i, name in enumerate(order):
        factor = 24 if name == "precipitation" else 1
        assert data[name][0, 0, 0] == np.float32(factor * (24 + 11.5 + i + cells(*SMALL)[0, 0]))


def test_the_table_agrees_with_that_of_the_variables():
    forcing = {field.netcdf: field.name for field in nldas.FIELDS if field.product == "FORA"}
    assert forcing == variables.own_names("nldas")
    assert {field.name for field in nldas.FIELDS} <= set(variables.TABLE)


@pytest.mark.parametrize("day", ["author", "exact"])
def test_a_missing_hour_is_a_gap_unless_fewer_are_asked_for(hourly, day, caplog):
    files = hourly[:5] + hourly[6:49]
    with caplog.at_level(logging.WARNING):
        data = nldas.open_forcing(files, day=day)
    assert np.isnan(data["precipitation"][0]).all() and not np.isnan(data["precipitation"][1]).any()
    assert json.loads(data.attrs["days_incomplete"]) == {"2015-12-31": 23} and data.attrs["hours_missing"] == 1
    assert "2015-12-31" in caplog.text
    some = nldas.open_forcing(files, day=day, min_hours=23)
    hours = [h for h in range(24) if h != 5] if day == "author" else [h for h in range(1, 25) if h != 5]
    np.testing.assert_allclose(some["precipitation"][0], 24 * (np.mean(hours) + cells(*SMALL)), rtol=1e-6)


def test_a_day_without_any_file_stays_in_the_series(hourly):
    data = nldas.open_forcing(hourly[:24] + hourly[48:72])
    assert data.sizes["time"] == 3 and np.isnan(data["wind_u"][1]).all() and not np.isnan(data["wind_u"][2]).any()
    assert json.loads(data.attrs["days_incomplete"]) == {"2016-01-01": 0}


def test_a_cell_needs_its_own_hours(tmp_path):
    def mask(name, values):
        if name == "Tair":
            values[0, 1, 2] = -9999
        return values

    write_days(tmp_path, "2015-12-31", 23)
    write(tmp_path, "2015-12-31T23", mask=mask)
    data = nldas.open_forcing(tmp_path)
    lacking = np.isnan(data["air_temperature"][0].to_numpy())
    assert lacking[1, 2] and lacking.sum() == 1
    assert not np.isnan(data["precipitation"]).any() and data.attrs["hours_missing"] == 0
    assert nldas.open_forcing(tmp_path, min_hours=23)["air_temperature"][0, 1, 2] == np.float32(
        np.mean(np.arange(23)) + 1 + cells(*SMALL)[1, 2]
    )


def test_start_and_end(hourly):
    folder = hourly[0].parent
    data = nldas.open_forcing(folder, start="2016-01-01", end="2016-01-01", day="exact")
    assert data["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2016-01-01"]
    np.testing.assert_array_equal(data["air_temperature"][0], np.float32(37.5 + cells(*SMALL)))
    assert data.attrs["files_read"] == 24
    wide = nldas.open_forcing(folder, start="2015-12-30", end="2016-01-05")
    assert wide.sizes["time"] == 7 and int(np.isnan(wide["wind_u"][:, 0, 0]).sum()) == 4
    with pytest.raises(NldasError, match="no hour of NLDAS FORA from 2017"):
        nldas.open_forcing(folder, start="2017-01-01", end="2017-01-02")
    with pytest.raises(NldasError, match="leave no day"):
        nldas.open_forcing(folder, start="2016-01-02", end="2016-01-01")


@given(
    first=st.integers(0, 60),
    gone=st.sets(st.integers(0, 95), max_size=80),
    rule=st.sampled_from(["author", "exact"]),
)
@settings(max_examples=200, deadline=None)
def test_each_hour_is_in_one_day_and_no_day_is_left_out(first, gone, rule):
    stamps = pd.date_range("2015-12-29", periods=200, freq="h")[first : first + 96]
    stamps = stamps[[i not in gone for i in range(stamps.size)]]
    days = _nldas_daily.days_of(stamps, rule)
    # By the definition: the day of files 01..23 and 00 of the next, or of files 00..23.
    for stamp, day in zip(stamps, days, strict=True):
        begin = 0 if rule == "author" else 1
        assert pd.Timedelta(hours=begin) <= stamp - day <= pd.Timedelta(hours=begin + 23)
    found = _nldas_daily.span(stamps, rule)
    assert (found[1:] - found[:-1] == pd.Timedelta(days=1)).all()
    outside = stamps[~days.isin(found)]
    assert outside.size <= 1 and all(stamp.hour == 0 for stamp in outside)


def test_bad_rules():
    with pytest.raises(NldasError, match="day is 'utc'"):
        nldas.open_forcing("nowhere", day="utc")
    with pytest.raises(NldasError, match="min_hours is 25"):
        nldas.open_forcing("nowhere", min_hours=25)
    with pytest.raises(NldasError, match=r"has no .*'rain'"):
        nldas.open_forcing("nowhere", names=["rain"])
    with pytest.raises(NldasError, match="empty list"):
        nldas.open_forcing("nowhere", names=[])


# The grid -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", ["lat", "lon", "order", "360", "float32"])
def test_the_order_of_the_file_does_not_matter(tmp_path, turned):
    grid, dims = SMALL, ("time", "lat", "lon")
    if turned == "lat":
        grid = (SMALL[0][::-1], SMALL[1])
    elif turned == "lon":
        grid = (SMALL[0], SMALL[1][::-1])
    elif turned == "order":
        dims = ("time", "lon", "lat")
    write_days(tmp_path, "2015-12-31", 24, grid=grid, dims=dims)
    for file in tmp_path.iterdir():
        with h5py.File(file, "r+") as data:
            if turned == "360":
                data["lon"][:] += 360
            if turned == "float32":
                data["lat"][:] = np.float32(data["lat"][:] + 2e-4)
    data = nldas.open_forcing(tmp_path)
    assert data["lat"].to_numpy().tolist() == SMALL[0].tolist() and data["lon"].to_numpy().tolist() == SMALL[1].tolist()
    np.testing.assert_array_equal(data["wind_u"][0], np.float32(16.5 + cells(*SMALL)))


def test_the_whole_grid(tmp_path):
    write_days(tmp_path, "2015-12-31", 24, grid=(LAT, LON), units={"Rainf": "kg m-2"})
    data = nldas.open_forcing(tmp_path, names=["precipitation"])
    assert data["precipitation"].shape == (1, 224, 464)
    assert data["lat"].to_numpy().tolist() == LAT.tolist() and data["lon"].to_numpy().tolist() == LON.tolist()
    np.testing.assert_array_equal(data["precipitation"][0], np.float32(24 * (11.5 + cells(LAT, LON))))


def test_another_grid_is_refused(tmp_path):
    write(tmp_path, "2015-12-31", grid=(SMALL[0] + 0.03, SMALL[1]))
    with pytest.raises(NldasError, match=r"A20151231\.0000.*lat holds .* not centres"):
        nldas.open_forcing(tmp_path)
    write(tmp_path, "2015-12-31", grid=(LAT[:3] - 0.125, SMALL[1]))
    with pytest.raises(NldasError, match=r"lat holds 24\.9375"):
        nldas.open_forcing(tmp_path)
    write(tmp_path, "2015-12-31", grid=(SMALL[0][[0, 0, 1]], SMALL[1]))
    with pytest.raises(NldasError, match="a repeated value"):
        nldas.open_forcing(tmp_path)
    write(tmp_path, "2015-12-31")
    write(tmp_path, "2015-12-31T01", grid=(SMALL[0], SMALL[1] + 0.125))
    with pytest.raises(NldasError, match=r"0100\.020\.nc: covers another part of the grid than .*0000\.020\.nc"):
        nldas.open_forcing(tmp_path)


# Cells --------------------------------------------------------------------------------------


def field(lat, lon, values):
    coords = {"time": pd.date_range("2016-01-01", periods=len(values)), "lat": lat, "lon": lon}
    return xr.Dataset({"air_temperature": (("time", "lat", "lon"), np.float32(values))}, coords)


def test_a_plane_becomes_its_value_at_the_middle_of_the_cell():
    # A plane in longitude has its value at the cell's middle longitude as its mean, whatever the weights by latitude.
    plane = 250 + 0.5 * (LON - LON[0]) + 0 * LAT[:, None]
    data = nldas.to_pixels(field(LAT, LON, [plane, plane + 1]), 36, [60, 99], [180, 219])
    lon, lat = EaseGrid(36).center([60, 99], [180, 219])
    np.testing.assert_allclose(data["air_temperature"][0], 250 + 0.5 * (lon - LON[0]), rtol=2e-6)
    np.testing.assert_allclose(data["air_temperature"][1], 251 + 0.5 * (lon - LON[0]), rtol=2e-6)
    np.testing.assert_array_equal(data["lat"], lat)
    assert data["row"].to_numpy().tolist() == [60, 99] and data["col"].to_numpy().tolist() == [180, 219]
    assert data["air_temperature"].dims == ("time", "pixel")


def test_regridding_by_hand():
    # EASE cell (99, 219): the overlaps in longitude are differences of degrees, those in latitude of sines (Lambert).
    west, south, east, north = EaseGrid(36).bounds_degrees(99, 219)
    values = cells(LAT, LON) * 100 + 250
    wx = np.clip(np.minimum(LON + 0.0625, east) - np.maximum(LON - 0.0625, west), 0, None)
    low, high = np.maximum(LAT - 0.0625, south), np.minimum(LAT + 0.0625, north)
    wy = np.where(high > low, np.sin(np.radians(high)) - np.sin(np.radians(low)), 0)
    due = wy @ values @ wx / (wy.sum() * wx.sum())
    data = nldas.to_pixels(field(LAT, LON, [values]), 36, [99], [219])
    assert float(data["air_temperature"][0, 0]) == pytest.approx(due, rel=1e-6)  # sphere against ellipsoid: 1e-8
    shifted = nldas.to_pixels(field(LAT, LON, [np.roll(values, 1, axis=1)]), 36, [99], [219])
    assert abs(float(shifted["air_temperature"][0, 0]) - due) > 1e-4


def test_a_fifth_of_the_cells_may_be_missing():
    west, south, east, north = EaseGrid(36).bounds_degrees(99, 219)
    rows = np.flatnonzero((south < LAT + 0.0625) & (north > LAT - 0.0625))
    cols = np.flatnonzero((west < LON + 0.0625) & (east > LON - 0.0625))
    covering = [(r, c) for r in rows for c in cols]
    values = np.full((2, 224, 464), 280.0)
    allowed = int(0.2 * len(covering))
    for day, n in enumerate((allowed, allowed + 1)):
        for r, c in covering[:n]:
            values[day, r, c] = np.nan
    data = nldas.to_pixels(field(LAT, LON, values), 36, [99], [219])
    assert data["air_temperature"][0, 0] == np.float32(280) and np.isnan(data["air_temperature"][1, 0])


def test_cells_day_by_day_are_those_of_the_whole(tmp_path):
    grid = (LAT[100:112], LON[200:214])
    row, col = EaseGrid(9).cell([LON[205], LON[208]], [LAT[105], LAT[106]])
    write_days(tmp_path, "2015-12-31", 48, grid=grid)
    whole = nldas.to_pixels(nldas.open_forcing(tmp_path), 9, row, col)
    at_once = nldas.open_forcing(tmp_path, cells=(9, row, col))
    assert dict(at_once.sizes) == {"time": 2, "pixel": 2}
    xr.testing.assert_identical(at_once.drop_attrs(deep=False), whole.drop_attrs(deep=False))
    assert at_once.attrs["grid"] == "EASE-Grid 2.0 global, 9 km" == whole.attrs["grid"]


def test_long_series_go_through_in_pieces(monkeypatch):
    values = np.random.default_rng(1).uniform(250, 300, (5, 224, 464))
    one = nldas.to_pixels(field(LAT, LON, values), 36, [60, 99], [180, 219])
    monkeypatch.setattr(nldas, "DAYS_A_PIECE", 2)
    xr.testing.assert_identical(nldas.to_pixels(field(LAT, LON, values), 36, [60, 99], [180, 219]), one)


# Soil moisture ------------------------------------------------------------------------------


def test_noah_is_divided_by_the_thickness_of_its_layers(tmp_path):
    write_days(tmp_path, "2015-12-31", 24, product="NOAH", units=SOIL)
    data = nldas.open_noah(tmp_path)
    assert list(data.data_vars) == ["ssm_noah", "rzsm_noah"]
    # The mean of the hours is 11.5 kg m-2, and RootMoist, the third, is not the 0-100 cm, the second.
    np.testing.assert_allclose(data["ssm_noah"][0], (11.5 + cells(*SMALL)) / 100, rtol=1e-6)
    np.testing.assert_allclose(data["rzsm_noah"][0], (12.5 + cells(*SMALL)) / 1000, rtol=1e-6)
    assert data["ssm_noah"].attrs["units"] == "m3 m-3"


def test_vic_with_ten_centimetres_or_a_map(tmp_path):
    write_days(tmp_path, "2015-12-31", 24, product="VIC", units=VIC)
    data = nldas.open_vic(tmp_path)
    np.testing.assert_allclose(data["ssm_vic"][0], (11.5 + cells(*SMALL)) / 100, rtol=1e-6)
    np.testing.assert_allclose(data["rzsm_vic"][0], (12.5 + cells(*SMALL)) / 1000, rtol=1e-6)
    assert data.attrs["vic_layer_depth"] == "0.1 m, assumed"
    # A map, upside down and larger than the files: 0.2 m in one cell, 0.1 elsewhere.
    depth = xr.DataArray(np.full((224, 464), 0.1), {"lat": LAT, "lon": LON}, ("lat", "lon"))
    depth[101, 203] = 0.2
    depth[102, 200] = np.nan
    mapped = nldas.open_vic(tmp_path, layer_depth=depth[::-1])
    due = np.full((3, 4), 1.0)
    due[1, 3], due[2, 0] = 0.5, np.nan
    np.testing.assert_allclose(mapped["ssm_vic"] / data["ssm_vic"], due[None], rtol=1e-6)
    np.testing.assert_array_equal(mapped["rzsm_vic"], data["rzsm_vic"])
    assert mapped.attrs["vic_layer_depth"] == "map"
    with pytest.raises(NldasError, match="does not hold every cell"):
        nldas.open_vic(tmp_path, layer_depth=depth[:101])
    for not_metres in (0.0, 10.0, depth * 100):
        with pytest.raises(NldasError, match="is it in metres"):
            nldas.open_vic(tmp_path, layer_depth=not_metres)


# What files can be --------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [-9999.0, 9999.0, 9999.9, 9.999e20, np.nan])
def test_fills_are_missing(tmp_path, fill):
    def mask(name, values):
        values[0, 2, 1] = fill
        return values

    write_days(tmp_path, "2015-12-31", 24, mask=mask)
    data = nldas.open_forcing(tmp_path)
    for name in data.data_vars:
        lacking = np.isnan(data[name][0].to_numpy())
        assert lacking[2, 1] and lacking.sum() == 1, name


def test_a_file_may_declare_a_fill_of_its_own(tmp_path):
    for file in write_days(tmp_path, "2015-12-31", 24):
        with h5py.File(file, "r+") as data:
            data["Tair"][0, 0, 0] = -77
            data["Tair"].attrs["_FillValue"] = np.float32([-77])
    assert np.isnan(nldas.open_forcing(tmp_path)["air_temperature"][0, 0, 0])


def test_out_of_range_values_are_counted_not_clipped(hourly, caplog):
    with caplog.at_level(logging.WARNING):
        data = nldas.open_forcing(hourly[:24])  # the temperatures are near 12 K
    assert data["air_temperature"].attrs["n_out_of_range"] == 12 and data["precipitation"].attrs["n_out_of_range"] == 0
    assert "air_temperature" in caplog.text and float(data["air_temperature"].max()) < 20


def test_other_products_and_names_are_counted(tmp_path):
    write_days(tmp_path / "2015" / "365", "2015-12-31", 24)
    write(tmp_path / "2015" / "365", "2015-12-31", product="NOAH", units=SOIL)
    write(tmp_path, "2015-12-31", product="FORB")
    (tmp_path / "NLDAS_FORA0125_M.A201512.020.nc").write_bytes(b"monthly")
    (tmp_path / "notes.txt").write_text("not data")
    data = nldas.open_forcing(tmp_path)
    assert data.sizes["time"] == 1
    assert (data.attrs["files_of_other_products"], data.attrs["files_of_other_names"]) == (2, 1)
    assert json.loads(data.attrs["versions"]) == {"020": 24}


def test_wrong_product_is_named(tmp_path):
    write(tmp_path, "2015-12-31", product="NOAH", units=SOIL)
    with pytest.raises(NldasError, match=r"no hourly file of NLDAS FORA; there are \{'NOAH': 1\}"):
        nldas.open_forcing(tmp_path)
    with pytest.raises(NldasError, match="there are none of NLDAS"):
        nldas.open_forcing([])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nldas.open_forcing(tmp_path / "nowhere")
    # Noah's fields under the name of the forcing.
    file = write(tmp_path / "b", "2015-12-31", units=SOIL)
    with pytest.raises(NldasError, match=rf"{file.name}: no Rainf, Tair.*'SoilM_0_10cm'"):
        nldas.open_forcing(tmp_path / "b")


def test_a_lacking_variable_is_named(tmp_path):
    write(tmp_path, "2015-12-31", units={name: unit for name, unit in UNITS.items() if name != "Qair"})
    with pytest.raises(NldasError, match=r"0000\.020\.nc: no Qair of NLDAS FORA; there are .*'Tair'"):
        nldas.open_forcing(tmp_path)


def test_the_highest_version_wins_and_copies_are_counted(tmp_path):
    files = write_days(tmp_path, "2015-12-31", 24)
    write(tmp_path / "old", "2015-12-31T05", version="019", hour=60)
    write(tmp_path / "new", "2015-12-31T06", version="021", hour=30)
    shutil.copy(files[7], tmp_path / "new")
    data = nldas.open_forcing(tmp_path)
    assert data.attrs["duplicates_left_out"] == 3
    assert json.loads(data.attrs["versions"]) == {"020": 23, "021": 1}
    np.testing.assert_allclose(data["air_temperature"][0], 11.5 + 1 + 1 + cells(*SMALL), rtol=1e-6)  # 24 more, over 24
    write(tmp_path / "new", "2015-12-31T07", hour=1)
    with pytest.raises(
        NldasError, match=r"0700\.020\.nc and .*0700\.020\.nc: the same hour and version, and they differ"
    ):
        nldas.open_forcing(tmp_path)


BROKEN = {
    "empty": (b"", "empty file"),
    "a login page": (b"\n<!DOCTYPE html><html>", "a web page"),
    "text": (b"hello", "neither netCDF nor GRIB"),
    "cut": (None, "damaged or truncated"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_files_are_named(hourly, tmp_path, how):
    content, message = BROKEN[how]
    whole = hourly[13].read_bytes()
    (tmp_path / hourly[13].name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(NldasError, match=rf"A20151231\.1300\.020\.nc: .*{message}"):
        nldas.open_forcing([*hourly[10:13], tmp_path, *hourly[14:20]])


def test_a_file_is_read_where_locks_fail(tmp_path):
    files = write_days(tmp_path, "2015-12-31", 2)
    with files[0].open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert nldas.open_forcing(tmp_path, min_hours=1).attrs["files_read"] == 2


def test_a_damaged_chunk_is_named(tmp_path):
    files = write_days(tmp_path, "2015-12-31", 4)
    with h5py.File(files[3]) as data:
        chunk = data["Tair"].id.get_chunk_info(0)
    raw = bytearray(files[3].read_bytes())
    raw[chunk.byte_offset + 2 : chunk.byte_offset + chunk.size] = b"\xff" * (chunk.size - 2)
    files[3].write_bytes(raw)
    with pytest.raises(NldasError, match=r"0300\.020\.nc: damaged"):
        nldas.open_forcing(tmp_path)


def test_units_are_held_to(tmp_path):
    write(tmp_path, "2015-12-31", units=UNITS | {"Rainf": "kg m-2 s-1"})
    with pytest.raises(NldasError, match=r"Rainf is in 'kg m-2 s-1', where .* is due"):
        nldas.open_forcing(tmp_path)
    for unit in ("kg/m^2", "kg m^-2", "mm", ""):
        file = write(tmp_path, "2015-12-31", units={"Rainf": unit})
        assert not np.isnan(nldas.open_forcing(file, names=["precipitation"], min_hours=1)["precipitation"]).any()


def test_a_packed_variable_is_refused(tmp_path):
    file = write(tmp_path, "2015-12-31")
    with h5py.File(file, "r+") as data:
        data["Tair"].attrs["scale_factor"] = 0.01
    with pytest.raises(NldasError, match="Tair is packed"):
        nldas.open_forcing(tmp_path)


def test_the_time_inside_may_not_contradict_the_name(tmp_path):
    hour = pd.Timedelta(hours=1)
    for n, off in enumerate((-hour, -hour / 2, 0 * hour)):
        file = write(tmp_path / str(n), "2015-12-31T07", time=pd.Timestamp("2015-12-31T07") + off)
        data = nldas.open_forcing(file, min_hours=1)
        np.testing.assert_array_equal(data["air_temperature"][0], np.float32(8 + cells(*SMALL)))
    write(tmp_path, "2015-12-31", time=pd.Timestamp("2015-12-30"))
    with pytest.raises(NldasError, match="named 2015-12-31 00:00:00, the file holds 2015-12-30"):
        nldas.open_forcing(list(tmp_path.glob("*.nc")))


def test_a_bad_date_in_the_name(tmp_path):
    (tmp_path / "NLDAS_FORA0125_H.A20151331.0000.020.nc").write_bytes(b"x")
    with pytest.raises(NldasError, match=r"20151331\.0000 in the name is no date"):
        nldas.open_forcing(tmp_path)


def test_files_of_any_name_with_several_hours(tmp_path):
    """A cut by an OPeNDAP server: as it likes to be called, with a day of hours in it."""
    path = tmp_path / "my cut.nc"
    with h5py.File(path, "w") as file:
        for name, values in {"time": np.arange(25) * 60.0, "lat": SMALL[0], "lon": SMALL[1]}.items():
            file[name] = values
            file[name].make_scale(name)
        file["time"].attrs["units"] = "minutes since 2015-12-31"
        file["Tair"] = np.float32(np.arange(25)[:, None, None] + cells(*SMALL))
    data = nldas.open_forcing(path, names=["air_temperature"], day="exact")
    np.testing.assert_array_equal(data["air_temperature"], np.float32(12.5 + cells(*SMALL))[None])
    # In a folder it is counted only; beside files that hold the same hours it is an error.
    with pytest.raises(NldasError, match="no hourly file"):
        nldas.open_forcing(tmp_path)
    write_days(tmp_path / "a", "2015-12-31T23", 1)
    with pytest.raises(NldasError, match="both hold air_temperature of 2015-12-31 23:00:00"):
        nldas.open_forcing([path, tmp_path / "a"], names=["air_temperature"])
    with h5py.File(path, "r+") as file:
        file["time"][3] = 181.0
    with pytest.raises(NldasError, match="03:01:00 is no full hour"):
        nldas.open_forcing(path, names=["air_temperature"])


def test_files_of_one_variable_each(tmp_path):
    """As the old Giovanni gave them: classic netCDF, a name that tells product, variable and hour."""
    short = {"tmp2m": ("K", 23), "apcpsfc": ("kg/m^2", 24), "pressfc": ("Pa", 24)}
    for name, (units, hours) in short.items():
        for hour in range(hours):
            path = tmp_path / f"scrubbed.NLDAS_FORA0125_H_002_{name}.20151231T{hour:02}00.nc"
            with scipy.io.netcdf_file(path, "w", version=2) as file:
                for axis, values in zip(("time", "lat", "lon"), ([0], *SMALL), strict=True):
                    file.createDimension(axis, len(values))
                    file.createVariable(axis, "d", (axis,))[:] = values
                file.variables["time"].units = f"seconds since 2015-12-31 {hour:02}:00:00"
                item = file.createVariable(f"NLDAS_FORA0125_H_002_{name}", "f", ("time", "lat", "lon"))
                item[:] = np.float32(hour + len(name) + cells(*SMALL))
                item.units = units
    data = nldas.open_forcing(tmp_path, names=["precipitation", "air_temperature"])
    np.testing.assert_array_equal(data["precipitation"][0], np.float32(24 * (11.5 + 7 + cells(*SMALL))))
    assert np.isnan(data["air_temperature"]).all()
    # The hour that one of the two lacks is lacking; pressure is not wanted.
    assert json.loads(data.attrs["days_incomplete"]) == {"2015-12-31": 23}
    assert data.attrs["files_of_other_products"] == 24 and data.attrs["files_read"] == 47
    some = nldas.open_forcing(tmp_path, names=["precipitation", "air_temperature"], min_hours=23)
    np.testing.assert_array_equal(some["air_temperature"][0], np.float32(11 + 5 + cells(*SMALL)))
    whole = path.read_bytes()
    path = path.with_name(path.name.replace("pressfc", "apcpsfc"))
    for cut in (5, 60, len(whole) - 40):
        path.write_bytes(path.read_bytes()[:-cut])
        with pytest.raises(NldasError, match=rf"{path.name}: damaged or truncated"):
            nldas.open_forcing(tmp_path, names=["precipitation"])
        path.write_bytes(whole)


def test_grib_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(_nldas_files.importlib, "import_module", absent)
    (tmp_path / "NLDAS_FORA0125_H.A20151231.0000.002.grb").write_bytes(b"GRIB....")
    with pytest.raises(NldasError, match=r"needs cfgrib.*\[grib\]"):
        nldas.open_forcing(tmp_path)


# The real files -----------------------------------------------------------------------------


@pytest.fixture
def real(data_root):
    folder = data_root / "nldas"
    if not folder.is_dir():
        pytest.skip(f"no NLDAS sample: {folder} is not there")
    return folder


def test_two_real_hours_of_rain(real):
    # Two hours of 1 March 2001; read here by scipy alone, row by row from the south.
    hours = []
    for path in sorted(real.glob("scrubbed*.nc")):
        with scipy.io.netcdf_file(path, mmap=False) as file:
            hours.append(file.variables["NLDAS_FORA0125_H_002_apcpsfc"][0].astype(np.float64))
    raw = np.stack(hours)
    raw[raw == -9999] = np.nan
    data = nldas.open_forcing(real, names=["precipitation"], min_hours=2)
    assert data.sizes == {"time": 1, "lat": 224, "lon": 464}
    assert json.loads(data.attrs["days_incomplete"]) == {"2001-03-01": 2} and data.attrs["hours_missing"] == 22
    np.testing.assert_allclose(data["precipitation"][0], 12 * raw.sum(axis=0), rtol=1e-6)
    # 23 497 cells of the ocean and the lakes; Kansas is land, the Pacific is not.
    assert int(np.isnan(data["precipitation"]).sum()) == 23497
    assert np.isnan(data["precipitation"].sel(lat=38.0625, lon=-124.9375)).all()
    assert not np.isnan(data["precipitation"].sel(lat=38.8125, lon=-94.8125)).any()
    by_hour = nldas.open_forcing(real, names=["precipitation"], min_hours=1, day="exact")
    # Hour 00 belongs to 28 February: it alone makes no day, and hour 01 stands for 1 March.
    np.testing.assert_allclose(by_hour["precipitation"][0], 24 * raw[1], rtol=1e-6)
    pixels = nldas.to_pixels(data, 36, *EaseGrid(36).cell([-94.7, -124.9], [38.9, 38.1]))
    near = data["precipitation"].sel(lat=slice(38.7, 39.1), lon=slice(-94.9, -94.5))
    assert float(near.min()) <= float(pixels["precipitation"][0, 0]) <= float(near.max())
    assert np.isnan(pixels["precipitation"][0, 1])


def from_cdl(text, path):
    """Write the netCDF file that a CDL text describes (of the one kind of text that is here)."""
    head, _, body = text.partition("data:")
    sizes = {"time": 3, "lat": 4, "lon": 4}
    with scipy.io.netcdf_file(path, "w") as file:
        for name, size in sizes.items():
            file.createDimension(name, size)
        for kind, name, dims in re.findall(r"^\t(float|double|int) (\w+)\(([\w, ]+)\) ;", head, re.MULTILINE):
            values = re.search(rf"^ {name} =([^;]*);", body, re.MULTILINE)[1].replace("_", "-9999").split(",")
            item = file.createVariable(name, {"float": "f", "double": "d", "int": "i"}[kind], dims.split(", "))
            item[:] = np.array([float(v) for v in values]).reshape([sizes[d] for d in dims.split(", ")])
            item.units = re.search(rf'{name}:units = "([^"]*)"', head)[1]
            if f"{name}:_FillValue" in head:
                item._FillValue = np.float32(-9999)
    return path


def test_three_real_hours_of_noah(real, tmp_path):
    text = next(real.glob("*.cdl")).read_text(encoding="ascii")
    file = from_cdl(text, tmp_path / "paired.nc")
    data = nldas.open_noah(file, min_hours=3)
    assert data["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2003-01-01"]
    # By hand from the text: the corner in the north-east is 22.78, 22.77, 22.76 and 242.1699, 242.1269, 242.0835.
    corner = data.sel(lat=38.4375, lon=-75.5625).isel(time=0)
    assert float(corner["ssm_noah"]) == pytest.approx(0.2277, rel=1e-6)
    assert float(corner["rzsm_noah"]) == pytest.approx((242.1699 + 242.1269 + 242.0835) / 3000, rel=1e-6)
    # The south-west has 28.7 in the north, 26.52 below it, and no land below that.
    west = data["ssm_noah"].isel(time=0).sel(lon=-75.9375).to_numpy()
    np.testing.assert_allclose(west[2:], [(26.52 + 26.53 + 26.54) / 300, (28.7 + 28.72 + 28.75) / 300], rtol=1e-6)
    assert np.isnan(west[:2]).all()
    with pytest.raises(NldasError, match="no Rainf"):
        nldas.open_forcing(file)
    with pytest.raises(NldasError, match="no SoilM_layer1, SoilM_0_100cm of NLDAS VIC"):
        nldas.open_vic(file)


def test_many_files_are_named_by_the_first(tmp_path):
    files = write_days(tmp_path, "2016-01-01", 24)
    with pytest.raises(NldasError, match=r"A20160101\.0000\.020\.nc and 23 more: no hour .* from 2017-01-01"):
        nldas.open_forcing(files, start="2017-01-01", end="2017-01-02")
