"""Rules of quality, triplicates, daily means and depth weights: by hand, and by what must hold for any input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import insitu, rules

NAN = np.nan


def by_depth(values, depths, name="soil_moisture", dtype=np.float32, **attrs):
    """(time, depth) from one list a depth."""
    values = np.array(values, dtype).T
    coords = {"time": pd.date_range("2015-04-01", periods=len(values)), "depth": np.array(depths, float)}
    return xr.DataArray(values, dims=("time", "depth"), coords=coords, name=name, attrs=attrs)


def celsius(values, depths, dtype=np.float32):
    return by_depth(np.array(values) + 273.15, depths, "soil_temperature", dtype, units="K")


# Quality


MOISTURE = by_depth([[0.0, 1.0, -0.01, 1.01, np.inf, NAN, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]], [5, 50])
# At 5 cm the seventh record is at exactly 4 degrees, the eighth has no temperature; 50 cm is cold on two days.
SOIL = celsius([[9, 9, 9, 9, 9, 9, 4, NAN], [3.9, -5, 4.1, 9, 9, 9, 9, 9]], [5, 50])


def test_each_rule_and_its_count():
    clean, counts = insitu.quality(MOISTURE, SOIL, coldest=4.0)
    np.testing.assert_array_equal(clean.sel(depth=5), np.float32([0, 1, NAN, NAN, NAN, NAN, 0.2, 0.3]))
    np.testing.assert_array_equal(clean.sel(depth=50), np.float32([NAN, NAN, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]))
    assert counts.loc[5].to_dict() == {
        "records": 7,
        "out_of_range": 3,
        "colder": 0,
        "no_temperature": 0,
        "kept": 4,
        "kept_without_temperature": 1,
    }
    assert counts.loc[50].tolist() == [8, 0, 2, 0, 6, 0]
    assert clean.dtype == np.float32
    assert MOISTURE.sel(depth=5)[2] == np.float32(-0.01)  # the input stays as it was


def test_unknown_temperature_and_the_threshold_itself():
    clean, counts = insitu.quality(MOISTURE, SOIL, coldest=4.0, unknown="drop", coldest_kept=False)
    np.testing.assert_array_equal(clean.sel(depth=5), np.float32([0, 1, NAN, NAN, NAN, NAN, NAN, NAN]))
    assert counts.loc[5].tolist() == [7, 3, 1, 1, 2, 0]
    # No temperature at all: kept, or all removed and counted.
    clean, counts = insitu.quality(MOISTURE, None, coldest=4.0)
    assert counts["kept_without_temperature"].tolist() == [4, 8]
    clean, counts = insitu.quality(MOISTURE, None, coldest=4.0, unknown="drop")
    assert np.isnan(clean).all() and counts["no_temperature"].tolist() == [4, 8]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("coldest", [0.0, 4.0])
def test_the_threshold_is_a_tenth_of_a_degree_wide_not_a_rounding(coldest, dtype):
    tenths = [coldest - 0.1, coldest, coldest + 0.1]
    moisture, soil = by_depth([[0.2] * 3], [5]), celsius([tenths], [5], dtype)
    for kept, expected in ((True, [True, False, False]), (False, [True, True, False])):
        clean, _ = insitu.quality(moisture, soil, coldest=coldest, coldest_kept=kept)
        assert np.isnan(clean).values[:, 0].tolist() == expected
        # float32 in a file, float64 in memory
        again, _ = insitu.quality(moisture, soil.astype(np.float64), coldest=coldest, coldest_kept=kept)
        xr.testing.assert_identical(again, clean)


def test_probes_share_the_temperature_of_their_depth_or_have_their_own():
    moisture = MOISTURE.expand_dims(probe=[1, 2, 3], axis=-1)
    shared, counts = insitu.quality(moisture, SOIL, coldest=4.0)
    alone, one = insitu.quality(MOISTURE, SOIL, coldest=4.0)
    pd.testing.assert_frame_equal(counts, 3 * one)
    for probe in (1, 2, 3):
        xr.testing.assert_identical(shared.sel(probe=probe, drop=True), alone)
    own = xr.concat([SOIL, SOIL + 20, SOIL - 20], "probe").transpose("depth", "probe", "time")
    own.attrs["units"] = "K"
    each, _ = insitu.quality(moisture, own, coldest=4.0)
    assert each.sel(depth=50).count("time").values.tolist() == [6, 8, 0]


def test_temperatures_that_are_none():
    with pytest.raises(ValueError, match="'degC', not K"):
        insitu.quality(MOISTURE, SOIL.assign_attrs(units="degC"), coldest=4.0)
    with pytest.raises(ValueError, match=r"1 temperatures below 150.0 K, the first is -9999"):
        insitu.quality(MOISTURE, SOIL.fillna(-9999), coldest=4.0)
    with pytest.raises(ValueError, match="differ in the labels of 'depth'"):
        insitu.quality(MOISTURE, SOIL.assign_coords(depth=[5.0, 100.0]), coldest=4.0)
    with pytest.raises(ValueError, match="dimensions"):
        insitu.quality(MOISTURE.isel(depth=0, drop=True), SOIL, coldest=4.0)
    with pytest.raises(ValueError, match="'guess'"):
        insitu.quality(MOISTURE, SOIL, coldest=4.0, unknown="guess")  # type: ignore[arg-type]


# Triplicates


def test_mean_of_a_triplicate():
    values = [[0.1, 0.2, 0.6], [0.1, NAN, 0.3], [NAN, 0.4, NAN], [NAN] * 3]
    probes = xr.DataArray(values, dims=("time", "probe"), name="theta")
    mean = insitu.average_probes(probes)
    np.testing.assert_allclose(mean, [0.3, 0.2, 0.4, NAN])
    assert mean["n_probes"].values.tolist() == [3, 2, 1, 0]
    np.testing.assert_allclose(insitu.average_probes(probes, minimum=2), [0.3, 0.2, NAN, NAN])
    with pytest.raises(ValueError, match="minimum=4"):
        insitu.average_probes(probes, minimum=4)
    with pytest.raises(ValueError, match="no dimension 'probe'"):
        insitu.average_probes(mean)


# Daily means


def records(start, values, step="6h", name="theta"):
    return xr.DataArray(
        values, dims="time", coords={"time": pd.date_range(start, periods=len(values), freq=step)}, name=name
    )


def test_days_need_half_of_their_records():
    # Four records a day: 3, 2 and 1 of them; a day without any is there as well.
    daily = insitu.daily_mean(
        records("2019-01-01", [1.0, 2, 3, NAN, 4, NAN, NAN, 6, 7, NAN, NAN, NAN, *[NAN] * 4, 8, 9])
    )
    np.testing.assert_allclose(daily, [2, 5, NAN, NAN, 8.5])
    assert daily.indexes["time"].equals(pd.date_range("2019-01-01", periods=5))
    assert daily.attrs["day"] == "UTC day"


def test_a_hole_in_the_time_axis_is_a_hole_in_the_days():
    series = xr.concat([records("2019-01-01", [1.0] * 4), records("2019-01-04", [2.0] * 4)], "time")
    np.testing.assert_allclose(insitu.daily_mean(series), [1, NAN, NAN, 2])


def test_the_fraction_and_the_number_expected():
    series = records("2019-01-01", [1.0, 2, 3, NAN, 4, NAN, NAN, 6])
    np.testing.assert_allclose(insitu.daily_mean(series, least_fraction=0.75), [2, NAN])
    np.testing.assert_allclose(insitu.daily_mean(series, expected=5), [2, NAN])


def test_sensors_of_different_steps_share_an_axis():
    # One sensor records hourly, one every 20 minutes; on the second day the second gives a third of its records.
    time = pd.date_range("2019-01-01", periods=144, freq="20min")
    hourly = np.where(np.arange(144) % 3 == 0, 0.2, NAN)
    dense = np.where((np.arange(144) < 72 + 24), 0.4, NAN)
    both = xr.DataArray(np.stack([hourly, dense], 1), dims=("time", "station"), coords={"time": time})
    np.testing.assert_allclose(insitu.daily_mean(both), [[0.2, 0.4], [0.2, NAN]])
    assert insitu.daily_mean(both.transpose("station", "time")).dims == ("station", "time")


def test_local_days_and_times_that_end_an_interval():
    series = records("2019-01-01T07:00", np.arange(48.0), step="1h")
    local = insitu.daily_mean(series, offset="-7h")
    np.testing.assert_allclose(local, [11.5, 35.5])
    assert local.attrs["day"] == "day of UTC-7 h"
    # 24 hourly records that end at 01:00 ... 24:00 are one day.
    ending = insitu.daily_mean(records("2019-01-01T01:00", np.arange(24.0), step="1h"), stamp="end")
    np.testing.assert_allclose(ending, [11.5])
    assert insitu.daily_mean(records("2019-01-01T01:00", np.arange(24.0), step="1h")).sizes["time"] == 2


def test_times_that_cannot_be_averaged():
    with pytest.raises(ValueError, match="does not ascend at 2019-01-01 00:00"):
        insitu.daily_mean(records("2019-01-01", [1.0, 2])[[1, 0]])
    with pytest.raises(ValueError, match="needs dates"):
        insitu.daily_mean(xr.DataArray([1.0, 2], dims="time"))
    with pytest.raises(ValueError, match="give `expected`"):
        insitu.daily_mean(records("2019-01-01", [1.0]))
    assert insitu.daily_mean(records("2019-01-01", [1.0]), expected=1).item() == 1
    with pytest.raises(ValueError, match="stamp='middle'"):
        insitu.daily_mean(records("2019-01-01", [1.0, 2]), stamp="middle")  # type: ignore[arg-type]


# Depth weights


@pytest.mark.parametrize(
    ("depths", "name", "expected"),
    [
        # Fang, Pan & Shen (2019): layers 0-10, 10-22.5, 22.5-100 cm.
        ([5, 15, 30], "paper-text", [0.1, 0.125, 0.775]),
        ([5, 25, 45], "paper-text", [0.15, 0.2, 0.65]),
        # The authors' scripts: the last layer ends at 65 and 72.5 cm.
        ([5, 15, 30], "author-code", [0.154, 0.192, 0.654]),
        ([5, 25, 45], "author-code", [0.207, 0.276, 0.517]),
        ([5, 10, 20, 50, 100], "paper-text", [0.075, 0.075, 0.2, 0.4, 0.25]),
        ([5, 10, 20, 50, 100], "author-code", [0.075, 0.075, 0.2, 0.4, 0.25]),
        ([5], "paper-text", [1]),
    ],
)
def test_depth_weights_by_hand(depths, name, expected):
    np.testing.assert_allclose(insitu.depth_weights(depths, rules=name), expected, atol=5e-4)
    np.testing.assert_allclose(insitu.depth_weights(depths, rules=rules.of(name)), expected, atol=5e-4)


def test_depth_weights_take_one_choice_and_another_bottom():
    varied = replace(rules.PAPER_TEXT, bottom_layer="to_midpoint")
    np.testing.assert_allclose(insitu.depth_weights([5, 15, 30], rules=varied), [10 / 65, 12.5 / 65, 42.5 / 65])
    np.testing.assert_allclose(insitu.depth_weights([10, 30], bottom_cm=50), [0.4, 0.6])


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True).map(sorted),
    st.sampled_from(["paper-text", "author-code"]),
)
def test_depth_weights_of_any_probes(millimetres, name):
    depths = np.array(millimetres) / 10
    weights = insitu.depth_weights(depths, rules=name)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(insitu.depth_weights(2 * depths, 200, name), weights)  # of any unit
    # The two sets differ in the last layer alone: what is above keeps its proportions.
    other = insitu.depth_weights(depths, rules="author-code")
    np.testing.assert_allclose(weights[:-1] * other[:-1].sum(), other[:-1] * weights[:-1].sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ([], "at least one"),
        ([[5, 10]], "one dimension"),
        ([5, 5], "do not ascend"),
        ([10, 5], "do not ascend"),
        ([5, 150], "150.0 cm is not between"),
        ([0, 5], "0.0 cm is not between"),
        ([-5, 5], "-5.0 cm is not between"),
        ([5, NAN], "nan cm"),
    ],
)
def test_depths_that_make_no_profile(depths, message):
    with pytest.raises(ValueError, match=message):
        insitu.depth_weights(depths)
    with pytest.raises(ValueError, match="'third'"):
        insitu.depth_weights([5], rules="third")


def test_root_zone_needs_every_depth():
    theta = by_depth([[0.1, 0.1, NAN], [0.2, 0.2, 0.2], [0.4, NAN, 0.4], [NAN, NAN, NAN]], [5, 15, 30, 200])
    root = insitu.root_zone(theta, [5, 15, 30], [0.1, 0.125, 0.775])
    np.testing.assert_allclose(root, [0.01 + 0.025 + 0.31, NAN, NAN], rtol=1e-6)
    assert root.dims == ("time",) and root.dtype == np.float32
    with pytest.raises(ValueError, match=r"no depth 20.0 cm among \[5.0, 15.0"):
        insitu.root_zone(theta, [5, 20], [0.5, 0.5])
    with pytest.raises(ValueError, match="sum to 1"):
        insitu.root_zone(theta, [5, 15], [0.5, 0.6])


@settings(max_examples=30)
@given(st.floats(0, 1, width=32), st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted))
def test_root_zone_of_a_uniform_profile_is_that_moisture(moisture, depths):
    theta = by_depth([[moisture]] * len(depths), depths)
    root = insitu.root_zone(theta, depths, insitu.depth_weights(depths))
    assert root.item() == pytest.approx(moisture, rel=1e-6)
