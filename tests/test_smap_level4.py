"""Level-4 SMAP: daily means, windows and where they lie, constants."""

import h5py
import numpy as np
import pandas as pd
import pytest
from granules import code, decode, write_l4

from smapnb.grid import EaseGrid
from smapnb.sources import smap

GRID = (1624, 3856)
STAMPS = [f"{hour:02d}3000" for hour in (1, 4, 7, 10, 13, 16, 19, 22)]
# A window of 6 x 5 cells inside CONUS.
WINDOW = (slice(300, 306), slice(900, 905))
SHAPE = (6, 5)
CELLS = tuple(part.ravel() for part in np.mgrid[WINDOW])


def field(value):
    return np.full(SHAPE, value, np.float32)


def write_day(folder, day, values, **options):
    """Three-hourly granules of a day; `values` by place 0..7, each a number or a field."""
    for place, value in values.items():
        content = value if isinstance(value, dict) else {"sm_rootzone": value}
        write_l4(folder, f"{day}T{STAMPS[place]}", content, window=WINDOW, **options)


@pytest.mark.parametrize(("release", "version"), [("3030", "003"), ("8011", "008")])
def test_every_cell_of_a_whole_granule_is_where_it_belongs(tmp_path, release, version):
    values = np.full(GRID, -9999, np.float32)
    wider = (slice(180, 480), slice(580, 1230))
    values[wider] = code(GRID, 0, 0.9)[wider]
    path = write_l4(tmp_path, "20150401T013000", {"sm_rootzone": values}, release=release, version=version)
    series = smap.open_l4(path, minimum=1)
    row, col = decode(series["rzsm_smap"][0], GRID, 0, 0.9)
    np.testing.assert_array_equal(row, series["row"])
    np.testing.assert_array_equal(col, series["col"])
    assert (row.min(), row.max(), col.min(), col.max(), row.size) == (189, 468, 589, 1220, 280 * 632)
    np.testing.assert_array_equal(series["lat"], EaseGrid(9).center(row, col)[1])
    assert series.attrs["n_cells_outside_file"] == 0 and series.attrs["product_version"] == version
    assert series["rzsm_smap"].dtype == np.float32 and series["rzsm_smap"].attrs["units"] == "m3 m-3"


@pytest.mark.parametrize(
    "leave_out", [(), ("x", "y"), ("cell_row", "cell_column"), ("cell_row", "x"), ("cell_column", "y")]
)
def test_a_cut_granule_lies_where_it_says(tmp_path, leave_out):
    values = code(GRID, 0, 0.9)[WINDOW]
    path = write_l4(
        tmp_path, "20150401T013000", {"sm_rootzone": values}, window=WINDOW, leave_out=leave_out, tail="_subset"
    )
    series = smap.open_l4(path, minimum=1)
    assert series.sizes["pixel"] == 30 and series.attrs["n_cells_outside_file"] == 280 * 632 - 30
    np.testing.assert_array_equal(decode(series["rzsm_smap"][0], GRID, 0, 0.9), [series["row"], series["col"]])
    assert (series["row"].values.min(), series["col"].values.max()) == (300, 904)
    one = smap.open_l4(path, minimum=1, cells=([305, 300], [900, 904]))
    np.testing.assert_array_equal(one["rzsm_smap"].values[0], values[[5, 0], [0, 4]])


def test_a_window_as_opendap_answers_it(tmp_path):
    """x, y, time and one field, without metadata; a name of the granule's with another suffix; attributes as text."""
    values = code(GRID, 0, 0.9)[WINDOW]
    path = tmp_path / "SMAP_L4_SM_gph_20150401T013000_Vv8011_001.nc4"
    whole = write_l4(tmp_path / "whole", "20150401T013000", {"sm_rootzone": values}, window=WINDOW)
    with h5py.File(whole) as file, h5py.File(path, "w") as cut:
        for name in ("x", "y", "time", "Geophysical_Data/sm_rootzone"):
            cut[name] = file[name][...]
        cut["time"].attrs["units"] = "seconds since 2000-01-01 11:58:55.816"
        node = cut["Geophysical_Data/sm_rootzone"]
        node[0, 0] = -9999
        node.attrs.update({"_FillValue": np.float32([-9999]), "valid_max": np.float32([0.9]), "units": "m3 m-3"})
    whole.unlink()
    series = smap.open_l4(tmp_path, minimum=1)
    got = decode(series["rzsm_smap"].values[0, 1:], GRID, 0, 0.9)
    np.testing.assert_array_equal(got, [series["row"][1:], series["col"][1:]])
    assert np.isnan(series["rzsm_smap"].values[0, 0]) and series.attrs["composite_release"] == "Vv8011"


def test_a_cut_granule_that_does_not_say_where_it_lies(tmp_path):
    def cut(*leave_out):
        return write_l4(tmp_path, "20150401T013000", {}, window=WINDOW, leave_out=leave_out)

    path = cut("x", "cell_column")
    with pytest.raises(smap.SmapError, match=rf"{path.name}: cut to \(6, 5\), but neither x nor cell_column"):
        smap.open_l4(path)
    with h5py.File(cut(), "a") as file:
        file["x"][...] += 9008.055210146
    with pytest.raises(smap.SmapError, match=r"x and cell_column disagree, the first cell is \{'x': 901, .*: 900\}"):
        smap.open_l4(path)
    with h5py.File(cut("cell_row"), "a") as file:
        file["y"][...] = file["y"][...][::-1]
    with pytest.raises(smap.SmapError, match="y does not number 6 cells of the 9 km grid"):
        smap.open_l4(path)
    with h5py.File(cut("cell_row"), "a") as file:
        file["y"][...] += 9008.055210146 / 2
    with pytest.raises(smap.SmapError, match="y does not number"):
        smap.open_l4(path)
    with h5py.File(cut("cell_row"), "a") as file:
        file["y"][...] += 9008.055210146 * 303
    with pytest.raises(smap.SmapError, match=r"y runs from cell -3 to 2, the grid to 1623"):
        smap.open_l4(path)


def test_cells_outside_a_cut_granule(tmp_path):
    path = write_l4(tmp_path, "20150401T013000", {}, window=WINDOW)
    with pytest.raises(smap.SmapError, match=r"holds rows 300\.\.305, columns 900\.\.904; asked for is row 306"):
        smap.open_l4(path, cells=([300, 306], [900, 900]))
    with pytest.raises(smap.SmapError, match="holds rows"):
        smap.open_l4(path, region=(0, 10, 40, 50))


def test_windows_are_not_mixed(tmp_path):
    write_l4(tmp_path, "20150401T013000", {}, window=WINDOW)
    other = write_l4(tmp_path, "20150401T043000", {}, window=(slice(300, 306), slice(901, 906)))
    with pytest.raises(smap.SmapError, match=f"{other.name}: cut to another window"):
        smap.open_l4(tmp_path)


def test_daily_mean_of_eight(tmp_path):
    write_day(tmp_path, "20150401", {n: field(0.1 + 0.01 * n) for n in range(8)})
    series = smap.open_l4(tmp_path)
    # (0.10 + ... + 0.17) / 8
    np.testing.assert_allclose(series["rzsm_smap"], 0.135, rtol=1e-6)
    assert series.attrs["n_granules"] == 8 and series.attrs["n_partial"] == 0
    assert series["time"].values.tolist() == [pd.Timestamp("2015-04-01").value]


def test_days_with_fewer_than_six_fields_are_gaps(tmp_path, caplog):
    write_day(tmp_path / "1", "20150401", {n: field(0.1) for n in range(5)})
    write_day(tmp_path / "2", "20150402", {n: field(0.2 + 0.02 * n) for n in range(2, 8)})
    write_day(tmp_path / "4", "20150404", {n: field(0.3) for n in range(8)})
    series = smap.open_l4(tmp_path)
    # (0.24 + 0.26 + ... + 0.34) / 6
    np.testing.assert_allclose(series["rzsm_smap"].values[:, 0], [np.nan, 0.29, np.nan, 0.3], rtol=1e-6)
    assert series.attrs["partial"] == "2015-04-01 (5)" and series.attrs["missing"] == "2015-04-03"
    assert "1 days without a field, 1 with too few" in caplog.text
    looser = smap.open_l4(tmp_path, minimum=5, end="2015-04-01")
    np.testing.assert_allclose(looser["rzsm_smap"].values[:, 0], [0.1], rtol=1e-6)
    for minimum in (0, 9):
        with pytest.raises(smap.SmapError, match=f"a day has 8 fields, the minimum cannot be {minimum}"):
            smap.open_l4(tmp_path, minimum=minimum)


def test_fields_are_counted_cell_by_cell(tmp_path):
    fields = {n: field(0.2) for n in range(8)}
    for n in (0, 1):
        fields[n][0, 0] = -9999  # six are left
    for n in (0, 1, 2):
        fields[n][0, 1] = -9999  # five are left
    fields[7][0, 2] = 0.95  # above valid_max
    fields[7][0, 3] = 0.9
    write_day(tmp_path, "20150401", fields)
    series = smap.open_l4(tmp_path)
    np.testing.assert_allclose(series["rzsm_smap"].values[0, :4], [0.2, np.nan, 0.2, 2.3 / 8], rtol=1e-6)
    assert series.attrs["n_out_of_range_masked"] == 1


@pytest.mark.parametrize("time", ["020000", "013001", "000000"])
def test_a_field_at_none_of_the_eight_times_is_refused(tmp_path, time):
    write_l4(tmp_path, "20150401T013000", {}, window=WINDOW)
    write_l4(tmp_path, f"20150401T{time}", {}, window=WINDOW)
    with pytest.raises(smap.SmapError, match=rf"gph_20150401T{time}_\w+\.h5: its name tells .* 01:30, 04:30, "):
        smap.open_l4(tmp_path)


def test_the_day_is_the_utc_day_of_the_stamp(tmp_path):
    write_day(tmp_path, "20151231", {7: field(0.1)})
    write_day(tmp_path, "20160101", {0: field(0.3)})
    series = smap.open_l4(tmp_path, minimum=1)
    np.testing.assert_allclose(series["rzsm_smap"].values[:, 0], [0.1, 0.3])
    instants = smap.open_l4(tmp_path, daily=False)
    assert [str(t)[:16] for t in instants["time"].values] == ["2015-12-31T22:30", "2016-01-01T01:30"]
    np.testing.assert_allclose(instants["rzsm_smap"].values[:, 0], [0.1, 0.3])
    only = smap.open_l4(tmp_path, minimum=1, start="2016-01-01")
    assert only.sizes["time"] == 1
    with pytest.raises(smap.SmapError, match="no level-4 granule from 2017-01-01"):
        smap.open_l4(tmp_path, start="2017-01-01", end="2017-02-01")


def test_reprocessings_and_damage(tmp_path):
    write_day(tmp_path, "20150401", {n: field(0.2) for n in range(8)}, release="8010")
    write_day(tmp_path, "20150401", {n: field(0.3) for n in range(3)}, release="8011")
    assert smap.open_l4(tmp_path).attrs["n_superseded_granules"] == 3
    mean = smap.open_l4(tmp_path, cells=([300], [900]))["rzsm_smap"].item()
    assert mean == pytest.approx((3 * 0.3 + 5 * 0.2) / 8)
    first = tmp_path / "SMAP_L4_SM_gph_20150401T013000_Vv8011_001.h5"
    first.write_bytes(first.read_bytes()[:2000])
    with pytest.raises(smap.DamagedError, match=first.name):
        smap.open_l4(tmp_path)
    series = smap.open_l4(tmp_path, cells=([300], [900]), damaged="gap")
    assert series["rzsm_smap"].item() == pytest.approx((2 * 0.3 + 6 * 0.2) / 8)
    assert series.attrs["damaged_granules"] == first.name
    for path in tmp_path.glob("*.h5"):
        path.write_bytes(b"")
    with pytest.raises(smap.SmapError, match="all 11 granules are damaged"):
        smap.open_l4(tmp_path, damaged="gap")


def test_versions_times_and_fields_are_checked(tmp_path):
    write_day(tmp_path, "20150401", {0: field(0.2)}, version="007", release="7032")
    write_day(tmp_path, "20150401", {1: field(0.2)})
    with pytest.raises(smap.SmapError, match=r"version 008, while .* is version 007"):
        smap.open_l4(tmp_path)
    late = write_l4(tmp_path / "b", "20150401T013000", {}, window=WINDOW)
    with h5py.File(late, "a") as file:
        file["time"][...] += 3 * 3600
    with pytest.raises(smap.SmapError, match=rf"{late.name}: its time is 2015-04-01 04:28:55"):
        smap.open_l4(late)
    lacking = write_l4(tmp_path / "c", "20150401T013000", {}, window=WINDOW, leave_out=("sm_rootzone",))
    with pytest.raises(
        smap.SmapError, match=f"{lacking.name}: no sm_rootzone in /Geophysical_Data; there are .*sm_surface"
    ):
        smap.open_l4(lacking)
    for wrong in ("rootzone", [], ["profile"]):
        with pytest.raises(smap.SmapError, match="quantities are a list of some of"):
            smap.open_l4(lacking, quantities=wrong)


def test_surface_and_root_zone_together(tmp_path):
    write_day(tmp_path, "20150401", {n: {"sm_rootzone": 0.2, "sm_surface": 0.1} for n in range(8)})
    series = smap.open_l4(tmp_path, quantities=["rootzone", "surface"])
    np.testing.assert_allclose(series["rzsm_smap"], 0.2)
    np.testing.assert_allclose(series["ssm_smap_l4"], 0.1)
    assert series["ssm_smap_l4"].attrs["units"] == "m3 m-3"


def test_analyses(tmp_path):
    for hour in range(0, 24, 3):
        stamp = f"20150401T{hour:02d}0000"
        write_l4(tmp_path, stamp, {"sm_rootzone_analysis": 0.1 + hour / 100}, kind="aup", window=WINDOW)
    series = smap.open_l4(tmp_path, cells=([300], [900]))
    # 0.1 + (0 + 3 + ... + 21) / 8 / 100
    assert series["rzsm_smap"].item() == pytest.approx(0.205)
    assert series.attrs["source_fields"] == "sm_rootzone_analysis"
    lacking = write_l4(
        tmp_path / "b", "20150401T000000", {}, kind="aup", window=WINDOW, leave_out=("sm_rootzone_analysis",)
    )
    with pytest.raises(
        smap.SmapError, match="no sm_rootzone_analysis in /Analysis_Data; there are sm_profile_analysis"
    ):
        smap.open_l4(lacking)


def test_constants(tmp_path):
    values = {"clsm_poros": code(GRID, 0.3, 0.9)[WINDOW].copy(), "mwrtm_vegcls": np.arange(30.0).reshape(SHAPE)}
    values["clsm_poros"][0, 0] = -9999
    path = write_l4(tmp_path, "00000000T000000", values, kind="lmc", release="4030", version="004", window=WINDOW)
    with h5py.File(path, "a") as file:
        node = file["Land-Model-Constants_Data/mwrtm_vegcls"]
        node.attrs["valid_max"], node.attrs["units"] = np.float32(28), b"dimensionless"
    constants = smap.open_constants(tmp_path, ["clsm_poros", "mwrtm_vegcls"])
    assert constants["clsm_poros"].dims == ("pixel",) and constants["clsm_poros"].dtype == np.float32
    got = decode(constants["clsm_poros"][1:], GRID, 0.3, 0.9)
    np.testing.assert_array_equal(got, [constants["row"][1:], constants["col"][1:]])
    assert np.isnan(constants["clsm_poros"][0])
    np.testing.assert_array_equal(constants["mwrtm_vegcls"], [*range(29), np.nan])
    assert constants["mwrtm_vegcls"].attrs == {"units": "dimensionless", "n_out_of_range": 1}
    assert len(smap.open_constants(path).data_vars) == 18
    assert smap.open_constants(path, cells=([301], [902]))["mwrtm_vegcls"].item() == 7
    with pytest.raises(smap.SmapError, match=r"no clsm_peat in /Land-Model-Constants_Data; there are .*clsm_wp"):
        smap.open_constants(path, ["clsm_peat"])
