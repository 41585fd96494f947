"""Level-3 SMAP: every cell where it belongs, the right overpass and algorithm, bits, ranges, days."""

import tracemalloc

import granules
import h5py
import numpy as np
import pandas as pd
import pytest
from granules import code, decode, write_l3
from hypothesis import given
from hypothesis import strategies as st

from smapnb import variables
from smapnb.grid import EaseGrid
from smapnb.sources import smap
from smapnb.sources._smap_fields import RETRIEVAL_BITS, SURFACE_BITS, field_names, masks_of

SHAPE = (406, 964)
CONUS = (slice(47, 117), slice(147, 305))
# A block of nine cells in the middle of CONUS.
ROW, COL = np.repeat([80, 81, 82], 3), np.tile([200, 201, 202], 3)


def full(value, dtype=np.float32):
    return np.full(SHAPE, value, dtype)


def at_cells(values, rest, dtype):
    """An array of the grid with the nine values at the nine cells."""
    field = full(rest, dtype)
    field[ROW, COL] = values
    return field


@pytest.mark.parametrize(
    ("version", "release", "name"),
    [
        ("004", "R14010", "soil_moisture"),
        ("008", "R18290", "soil_moisture_scav"),
        ("009", "R19240", "soil_moisture_scav"),
    ],
)
def test_every_cell_is_where_it_belongs(tmp_path, version, release, name):
    values = {name: code(SHAPE)} if version == "004" else {name: code(SHAPE), "soil_moisture": full(0.3)}
    path = write_l3(tmp_path, "2015-04-01", values, version=version, release=release)
    series = smap.open_l3(path)
    assert series["ssm_smap"].dims == ("time", "pixel") and series["ssm_smap"].dtype == np.float32
    assert series["time"].values.tolist() == [pd.Timestamp("2015-04-01").value]
    row, col = decode(series["ssm_smap"][0], SHAPE)
    np.testing.assert_array_equal(row, series["row"])
    np.testing.assert_array_equal(col, series["col"])
    # The authors' window: rows 47..116, columns 147..304.
    assert (row.min(), row.max(), col.min(), col.max(), row.size) == (47, 116, 147, 304, 70 * 158)
    lon, lat = EaseGrid(36).center(row, col)
    np.testing.assert_array_equal(lon, series["lon"])
    np.testing.assert_array_equal(lat, series["lat"])
    assert series.attrs["product_version"] == version and series.attrs["composite_release"] == release
    assert series.attrs["source_fields"] == name
    np.testing.assert_array_equal(smap.open_l3(path, region=None)["ssm_smap"].values[0], code(SHAPE).ravel())


def test_the_enhanced_product_is_on_the_9_km_grid(tmp_path):
    shape = (1624, 3856)
    field = np.full(shape, -9999, np.float32)
    window = (slice(180, 480), slice(580, 1230))
    field[window] = code(shape)[window]
    path = write_l3(
        tmp_path,
        "2021-10-30",
        {"soil_moisture_scav": field},
        enhanced=True,
        version="005",
        release="R18240",
        polar=True,
    )
    series = smap.open_l3(path)
    row, col = decode(series["ssm_smap"][0], shape)
    np.testing.assert_array_equal(row, series["row"])
    np.testing.assert_array_equal(col, series["col"])
    assert (row.min(), row.max(), col.min(), col.max()) == (189, 468, 589, 1220)
    assert series.attrs["grid"] == "EASE-Grid 2.0 global, 9 km"


def test_holes_in_the_files_coordinates_do_not_matter(tmp_path):
    seen = (np.arange(964) // 40 % 2 == 0) & np.ones(SHAPE, bool)
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": np.where(seen, code(SHAPE), -9999)}, seen=seen)
    series = smap.open_l3(path)
    assert not series["lon"].isnull().any()
    np.testing.assert_array_equal(series["ssm_smap"][0].notnull(), seen[CONUS].ravel())
    assert float(series["lat"].min()) > 25 and float(series["lon"].max()) < -66


def test_overpasses(tmp_path):
    am, pm = full(0.2), full(0.4)
    am[80, 200] = am[80, 202] = -9999
    pm[80, 201] = pm[80, 202] = -9999
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": am}, {"soil_moisture_scav": pm})
    cells = ([80, 80, 80, 80], [200, 201, 202, 203])

    def values(overpass):
        return smap.open_l3(path, overpass, cells=cells)["ssm_smap"].values[0]

    np.testing.assert_allclose(values("AM"), [np.nan, 0.2, np.nan, 0.2])
    np.testing.assert_allclose(values("PM"), [0.4, np.nan, np.nan, 0.4])
    np.testing.assert_allclose(values("both"), [0.4, 0.2, np.nan, 0.3])
    with pytest.raises(smap.SmapError, match="no overpass 'am'"):
        smap.open_l3(path, "am")


def test_algorithms(tmp_path):
    fields = {"soil_moisture": full(0.1), "soil_moisture_scav": full(0.2), "soil_moisture_scah": full(0.3)}
    new = write_l3(tmp_path / "8", "2015-04-01", fields)
    old = write_l3(tmp_path / "4", "2015-04-01", {"soil_moisture": full(0.4)}, version="004", release="R14010")

    def value(path, algorithm):
        return round(float(smap.open_l3(path, algorithm=algorithm, cells=([80], [200]))["ssm_smap"].item()), 6)

    # Version 8: the plain field is the dual-channel one; version 4: there is one, at V polarisation.
    assert [value(new, a) for a in ("scav", "scah", "dca", "baseline")] == [0.2, 0.3, 0.1, 0.1]
    assert [value(old, a) for a in ("scav", "baseline")] == [0.4, 0.4]
    for algorithm in ("dca", "scah"):
        with pytest.raises(smap.SmapError, match=f"{old.name}: no soil_moisture_{algorithm} or .* there are .*albedo"):
            value(old, algorithm)
    with pytest.raises(smap.SmapError, match="no algorithm 'sca'"):
        value(new, "sca")


def test_field_names_by_release():
    assert field_names("soil_moisture", "scav", 18) == ["soil_moisture_scav", "soil_moisture_option2"]
    assert field_names("soil_moisture", "scav", 17)[-1] == "soil_moisture"
    assert field_names("soil_moisture", "dca", 18) == ["soil_moisture_dca", "soil_moisture_option3", "soil_moisture"]
    assert "soil_moisture" not in field_names("soil_moisture", "dca", 17)
    assert field_names("retrieval_qual_flag", "scah", 19) == ["retrieval_qual_flag_scah", "retrieval_qual_flag_option1"]


# The flag's bits by hand: 5 = 0101, 7 = 0111, 8 = 1000, 9 = 1001, 13 = 1101, 15 = 1111; 65534 is fill.
VALUES = [0, 1, 5, 7, 8, 9, 13, 15, 65534]
KEPT = {
    "none": [1, 1, 1, 1, 1, 1, 1, 1, 1],
    "recommended": [1, 0, 0, 0, 1, 0, 0, 0, 0],
    "attempted": [1, 1, 0, 0, 1, 1, 0, 0, 0],
    "frozen": [1, 1, 1, 1, 0, 0, 0, 0, 0],
}


@pytest.mark.parametrize("profile", KEPT)
@pytest.mark.parametrize("overpass", ["AM", "PM"])
def test_quality_profiles_bit_by_bit(tmp_path, profile, overpass):
    flags = at_cells(VALUES, 15, np.uint16)
    group = {"soil_moisture_scav": full(0.25), "retrieval_qual_flag_scav": flags, "retrieval_qual_flag_scah": 15}
    path = write_l3(tmp_path, "2015-04-01", group, group)
    quality = {"retrieval_qual_flag": ["freeze_thaw_not_successful"]} if profile == "frozen" else profile
    series = smap.open_l3(path, overpass, quality=quality, cells=(ROW, COL))
    assert series["ssm_smap"].notnull().values[0].astype(int).tolist() == KEPT[profile]
    assert series.attrs["n_rejected_by_quality"] == 9 - sum(KEPT[profile])


def test_quality_by_surface_bits(tmp_path):
    # 5 snow or ice (32), 8 frozen ground by the model (256), 10 dense vegetation (1024)
    surface = at_cells([0, 32, 256, 1024, 32 + 1024, 256 + 1024, 1, 65534, 2048], 0, np.uint16)
    path = write_l3(
        tmp_path, "2015-04-01", {"soil_moisture": full(0.25), "surface_flag": surface, "retrieval_qual_flag": 0}
    )
    for bits in ([5, 8], ["snow_or_ice", "frozen_ground_model"]):
        series = smap.open_l3(path, algorithm="dca", quality={"surface_flag": bits}, cells=(ROW, COL))
        assert series["ssm_smap"].notnull().values[0].astype(int).tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 1]
    both = {"surface_flag": [10], "retrieval_qual_flag": [0]}
    series = smap.open_l3(path, algorithm="dca", quality=both, cells=(ROW, COL), flags=True)
    assert series["ssm_smap"].notnull().values[0].astype(int).tolist() == [1, 1, 1, 0, 0, 0, 1, 0, 1]
    assert series["surface_flag_am"].dtype == np.uint16
    assert series["surface_flag_am"].values[0].tolist() == surface[ROW, COL].tolist()


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ("best", "no quality profile 'best'"),
        ({"tb_qual_flag_h": [0]}, "no flag 'tb_qual_flag_h'"),
        ({"surface_flag": ["snow"]}, "no bit 'snow'"),
        ({"surface_flag": [16]}, "bits 0..15, not 16"),
        ({"surface_flag": [True]}, "bits 0..15, not True"),
    ],
)
def test_unknown_quality_is_an_error(quality, message):
    with pytest.raises(smap.SmapError, match=message):
        masks_of(quality)


@given(st.integers(0, 65533), st.integers(0, 15))
def test_a_bit_is_that_digit_of_the_number(flag, bit):
    digits = f"{flag:016b}"[::-1]
    for dtype in (np.uint16, np.int64):
        assert bool(smap.flag_set(np.array([flag], dtype), bit)[0]) == (digits[bit] == "1")


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=30), st.sets(st.integers(0, 11)))
def test_a_flag_passes_if_no_bit_asked_for_is_set(flags, bits):
    values = np.array(flags, np.uint16)
    mask = masks_of({"surface_flag": sorted(bits)}).get("surface_flag", 0)
    expected = [flag != 65534 and not any(flag // 2**bit % 2 for bit in bits) for flag in flags]
    assert smap.passes(values, mask).tolist() == expected
    # Names mean the same bits as numbers.
    names = {number: name for name, number in SURFACE_BITS.items()}
    assert masks_of({"surface_flag": [names[b] for b in bits]}).get("surface_flag", 0) == mask


def test_flags_that_went_through_a_float_are_refused():
    with pytest.raises(smap.SmapError, match="flags are float32"):
        smap.passes(np.array([0, np.nan], np.float32), 1)
    with pytest.raises(smap.SmapError, match=r"bits 0\.\.15, not 16"):
        smap.flag_set(np.array([1], np.uint16), 16)
    assert not smap.flag_set(np.array([65534], np.uint16), 1)[0]
    assert list(RETRIEVAL_BITS.values()) == [0, 1, 2, 3] and list(SURFACE_BITS.values()) == list(range(12))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_of_the_valid_range_belong_to_it(tmp_path, dtype):
    low, high = np.float32(0.02), np.float32(0.5)
    # The second is how a real file holds retrievals that stopped at the limit.
    inside = [low, np.float32(0.01999998), 0.3, high]
    outside = [np.float32(0.01999), np.float32(0.50001), np.inf]
    values = [*inside, *outside, -9999, np.nan]
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": at_cells(values, -9999, np.float32)})
    with h5py.File(path, "a") as file:
        # As 64-bit numbers the limits would lie beside those of the values.
        node = file["Soil_Moisture_Retrieval_Data_AM/soil_moisture_scav"]
        node.attrs["valid_min"], node.attrs["valid_max"] = dtype(0.02), dtype(0.5)
    series = smap.open_l3(path, cells=(ROW, COL))
    np.testing.assert_array_equal(series["ssm_smap"].values[0], np.float32([*inside, *[np.nan] * 5]))
    assert series.attrs["n_out_of_range_masked"] == 3


@pytest.mark.parametrize(("version", "release"), [("004", "R14010"), ("008", "R18290")])
def test_times_count_from_noon(tmp_path, version, release):
    # 492531682.473463 s and 2015-08-11T02:21:22.474Z stand side by side in a real granule. Version 4 gives the
    # valid range of these seconds as up to 999999.9.
    seconds = full(-9999, np.float64)
    seconds[80, 200], seconds[80, 201] = 492531682.473463, 0
    field = "soil_moisture" if version == "004" else "soil_moisture_scav"
    path = write_l3(tmp_path, "2015-08-11", {"tb_time_seconds": seconds, field: 0.2}, version=version, release=release)
    times = smap.open_l3(path, cells=([80, 80, 80], [200, 201, 202]), times=True)["observation_time_am"].values[0]
    assert abs(times[0] - np.datetime64("2015-08-11T02:21:22.474")) < np.timedelta64(1, "ms")
    assert times[1] == np.datetime64("2000-01-01T12:00") and np.isnat(times[2])


@given(st.integers(0, 2_000_000_000))
def test_seconds_agree_with_pandas(seconds):
    expected = pd.Timestamp("2000-01-01T12:00") + pd.Timedelta(seconds=seconds)
    assert pd.Timestamp(smap.j2000_to_datetime(float(seconds))[()]) == expected


def test_missing_days_are_counted_gaps(tmp_path, caplog):
    for day, value in (("2016-02-27", 0.1), ("2016-03-01", 0.2)):
        write_l3(tmp_path / day, day, {"soil_moisture_scav": full(value)})
    with caplog.at_level("WARNING"):
        series = smap.open_l3(tmp_path, start="2016-02-26", end="2016-03-02", cells=([80], [200]))
    assert "4 of 6 days have no granule" in caplog.text
    assert pd.DatetimeIndex(series["time"]).strftime("%m-%d").tolist() == [
        "02-26",
        "02-27",
        "02-28",
        "02-29",
        "03-01",
        "03-02",
    ]
    np.testing.assert_allclose(series["ssm_smap"].values[:, 0], [np.nan, 0.1, np.nan, np.nan, 0.2, np.nan])
    assert series.attrs["n_missing"] == 4
    assert series.attrs["missing"] == "2016-02-26; 2016-02-28; 2016-02-29; 2016-03-02"
    inner = smap.open_l3(tmp_path, cells=([80], [200]))
    assert inner.sizes["time"] == 4 and inner.attrs["n_granules"] == 2
    with pytest.raises(smap.SmapError, match="no granule from 2017-01-01 to 2017-01-02; there are 2016-02-27 to"):
        smap.open_l3(tmp_path, start="2017-01-01", end="2017-01-02")
    with pytest.raises(smap.SmapError, match="no day from"):
        smap.open_l3(tmp_path, start="2016-03-01", end="2016-02-01")


def test_a_day_is_a_day_at_any_hour(tmp_path):
    for day, value in (("2015-04-01", 0.1), ("2015-04-02", 0.2), ("2015-04-03", 0.3)):
        write_l3(tmp_path, day, {"soil_moisture_scav": full(value)})
    series = smap.open_l3(tmp_path, start="2015-04-01T06:00", end=pd.Timestamp("2015-04-02 18:00"), cells=([80], [200]))
    np.testing.assert_allclose(series["ssm_smap"].values[:, 0], [0.1, 0.2])


def test_the_highest_reprocessing_wins(tmp_path):
    writes = [("R18240", 11, 0.1), ("R18290", 1, 0.2), ("R18290", 10, 0.4), ("R18290", 2, 0.3)]
    for release, counter, value in writes:
        write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": full(value)}, release=release, counter=counter)
    series = smap.open_l3(tmp_path, cells=([80], [200]))
    np.testing.assert_allclose(series["ssm_smap"].values, [[0.4]])
    assert series.attrs["n_superseded_granules"] == 3 and series.attrs["n_granules"] == 1


def test_cells_come_in_the_order_asked_for(tmp_path):
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": code(SHAPE)})
    row, col = np.array([300, 5, 120]), np.array([2, 960, 480])
    series = smap.open_l3(path, cells=(row, col))
    got = decode(series["ssm_smap"][0], SHAPE)
    np.testing.assert_array_equal(got, [row, col])
    assert series["pixel"].values.tolist() == (row * 964 + col).tolist()
    box = smap.open_l3(path, region=(-100, -99, 39, 40))
    assert ((box["lon"] > -100) & (box["lon"] < -99) & (box["lat"] > 39) & (box["lat"] < 40)).all() and box["row"].size


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"cells": ([406], [0])}, "row 406 is not in 0..405"),
        ({"cells": ([-1], [0])}, "row -1"),
        ({"cells": ([1.5], [0])}, "row must be an integer"),
        ({"cells": ([1, 1], [2, 2])}, "named twice"),
        ({"cells": ([1, 2], [3])}, "as many rows as columns"),
        ({"cells": (np.array([], int), np.array([], int))}, "at least one"),
        ({"region": "europe"}, "a region is 'conus'"),
        ({"region": (-100, -99, 40)}, "a region is 'conus'"),
        ({"region": (-100, -99.99, 40, 40.01)}, "no cell of"),
    ],
)
def test_unknown_places_are_errors(tmp_path, choice, message):
    path = write_l3(tmp_path, "2015-04-01")
    with pytest.raises(smap.SmapError, match=message):
        smap.open_l3(path, **choice)


def test_too_large_a_result_is_refused_before_it_is_made(tmp_path):
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": full(0.2)})
    with pytest.raises(smap.SmapError, match=r"4018 days of 391384 cells take 5\.9 GiB"):
        smap.open_l3(path, region=None, start="2015-01-01", end="2025-12-31")


def test_memory_grows_with_the_result_only(tmp_path):
    for day in pd.date_range("2015-04-01", periods=6):
        write_l3(tmp_path, f"{day:%Y-%m-%d}", {"soil_moisture_scav": full(0.2), "retrieval_qual_flag_scav": 0})
    smap.open_l3(tmp_path, region=None, end="2015-04-01")  # what imports and caches take does not count
    peaks = []
    for last in ("2015-04-02", "2015-04-06"):
        tracemalloc.start()
        smap.open_l3(tmp_path, quality="recommended", region=None, end=last)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    cells = 406 * 964
    # Four days more cost four days of float32 and what the check of the table takes of them, no more.
    assert peaks[1] - peaks[0] <= 4 * cells * 4 * 2.5


def test_the_result_obeys_the_table(tmp_path):
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": full(0.2)})
    series = smap.open_l3(path)
    report = variables.check(series, "test")
    assert report.loc["ssm_smap", "n_missing"] == 0 and report.loc["ssm_smap", "n_out_of_range"] == 0
    assert series["ssm_smap"].attrs["units"] == "m3 m-3"


def test_sparse_pixels_are_dropped_and_counted(tmp_path):
    for n, day in enumerate(pd.date_range("2015-04-01", periods=4)):
        field = at_cells([0.2 if n < present else -9999 for present in range(9)], -9999, np.float32)
        write_l3(tmp_path, f"{day:%Y-%m-%d}", {"soil_moisture_scav": field})
    series = smap.open_l3(tmp_path, cells=(ROW, COL))
    kept = smap.drop_sparse(series)
    # Present on 0, 1, 2, 3, 4, 4, ... of four days; more than a quarter is two days or more.
    assert kept["pixel"].values.tolist() == (ROW * 964 + COL)[2:].tolist()
    assert kept.attrs["n_pixels_dropped"] == 2


STATIC_DAYS = ["2015-04-01", "2015-04-02", "2015-04-03", "2015-04-04"]


def statics(folder, version="004", **options):
    """Four days at nine cells; day by day the flag, the class and the albedo change, and cell 8 has no retrieval."""
    flags = np.zeros((4, 9), np.uint16)
    flags[:, 1] = 4  # coast
    flags[:2, 2] = 64  # permanent ice on two of four days
    flags[0, 3] = 512  # mountain on one day of four
    flags[:, 4] = 1 + 8  # static water and urban
    flags[:, 5] = 8  # urban
    flags[:, 6] = 1 + 32 + 16  # static water, with snow and rain that count for nothing
    flags[:3, 7] = [512 + 1024, 1024, 0]  # on the fourth day there is no flag
    flags[3, 7] = 65534
    for n, day in enumerate(STATIC_DAYS):
        moisture = at_cells([0.2] * 8 + [-9999], -9999, np.float32)
        if n == 3:
            moisture[ROW[0], COL[0]] = 0.6  # out of range: not a day of this cell
        albedo = at_cells([0.05 + 0.01 * n] * 9, -9999, np.float32)
        classes = np.full((*SHAPE, 3), 254, np.uint8)
        classes[ROW, COL, 0] = [[10, 12][n > 1], 5, 99, 12, 1, 1, 1, 1, 1]
        if n == 3:
            classes[ROW[0], COL[0], 0] = 10
        classes[ROW, COL, 1] = 16
        names = {"soil_moisture": moisture} if version == "004" else {"soil_moisture_scav": moisture}
        suffix = "" if version == "004" else "_scav"
        names |= {f"albedo{suffix}": albedo, f"roughness_coefficient{suffix}": 0.1, "surface_flag": 0}
        names |= {"static_water_body_fraction": 0.25, "landcover_class": classes}
        names["surface_flag"] = at_cells(flags[n], 65534, np.uint16)
        write_l3(folder, day, names, version=version, release="R14010" if version == "004" else "R18290")
    return smap.flag_statics(folder, STATIC_DAYS[0], STATIC_DAYS[-1], cells=(ROW, COL), **options)


@pytest.mark.parametrize("version", ["004", "008"])
def test_statics_are_time_means_where_there_is_moisture(tmp_path, version):
    result = statics(tmp_path, version)
    nan = np.nan
    # Two of four days make half, which rounds up; one of four does not count; two conditions are 6.
    np.testing.assert_array_equal(result["surface_condition"], [0, 1, 2, 0, 6, 5, 4, 0, nan])
    np.testing.assert_allclose(result["dense_vegetation"], [0, 0, 0, 0, 0, 0, 0, 2 / 3, nan], rtol=1e-6)
    # Cell 0 has no moisture on the fourth day: 0.05, 0.06, 0.07.
    np.testing.assert_allclose(result["albedo"], [0.06, *[0.065] * 7, nan], rtol=1e-6)
    # Cell 0 is class 10 on two of its three days; 99 is no class.
    np.testing.assert_array_equal(result["landcover_class"], [10, 5, nan, 12, 1, 1, 1, 1, nan])
    np.testing.assert_allclose(result["water_fraction"], [0.25] * 8 + [nan])
    np.testing.assert_allclose(result["roughness"], [0.1] * 8 + [nan])
    assert result.attrs["n_granules"] == 4 and result.attrs["n_out_of_range_masked"] == 1
    assert set(result.data_vars) <= set(variables.names("static"))
    with pytest.raises(smap.SmapError, match="one overpass"):
        smap.flag_statics(tmp_path, overpass="both")


def test_statics_of_the_enhanced_product_have_no_classes(tmp_path):
    write_l3(
        tmp_path,
        "2021-10-30",
        {"soil_moisture_scav": 0.2, "albedo_scav": 0.07, "surface_flag": 8},
        enhanced=True,
        version="005",
        release="R18240",
    )
    result = smap.flag_statics(tmp_path, "2021-10-30", "2021-10-30", cells=([300], [900]))
    assert "landcover_class" not in result and float(result["surface_condition"][0]) == 5


def test_written_values_have_names_of_their_own():
    """The encoding itself: all cells differ, and it comes back."""
    for shape, low, high in ((SHAPE, 0.02, 0.5), ((1624, 3856), 0.02, 0.5), ((1624, 3856), 0.0, 0.9)):
        row, col = decode(code(shape, low, high), shape, low, high)
        assert (row == np.arange(shape[0])[:, None]).all() and (col == np.arange(shape[1])).all()
    assert len(granules.table("8")) == 53 and len(granules.table("4", "PM")) == 31
