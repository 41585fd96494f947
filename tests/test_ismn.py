"""International Soil Moisture Network: archives written here in both layouts, as its data may not be passed on."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import variables
from smapnb.sources import ismn
from smapnb.sources.ismn import IsmnError

A, B = "Hydraprobe-Analog-(2.5-Volt)-A", "Hydraprobe-Analog-(2.5-Volt)-B"
ROWS = [
    ("2015/04/01 00:00", 0.117, "G", "V"),
    ("2015/04/01 01:00", 0.119, "D01,D03", "V"),
    ("2015/04/01 02:00", -0.02, "C01", "M"),
    ("2015/04/02 00:30", 0.121, "G", "V"),
]
PLACE = ("SCAN", "Kemole_Gulch", 19.91475, -155.59102)


def write(root, layout, rows, variable="sm", depths=(0.0508, 0.0508), sensor=A, place=PLACE):
    """One sensor's file; folder and file are named without the underscore of the station, as the network does."""
    network, station, lat, lon = place
    plain = station.replace("_", "")
    top, bottom = depths
    name = f"{network}_{network}_{plain}_{variable}_{top:.6f}_{bottom:.6f}_{sensor}_20150401_20150430.stm"
    path = root / network / plain / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout == "header":
        head = f"{network}       {network}       {station}    {lat:.5f} {lon:.5f}                 1269.0"
        lines = [f"{head} {top:.4f} {bottom:.4f} {sensor}"]
        lines += [f"{time} {value} {flag} {own}" for time, value, flag, own in rows]
    else:
        lines = [
            f"{time} {time} {network}     {network}          {station}             {lat:.5f}   {lon:.5f} 1269.00    "
            f"{top:.2f}    {bottom:.2f}   {value:.4f} {flag} {own}"
            for time, value, flag, own in rows
        ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return path


LAYOUTS = pytest.mark.parametrize("layout", ["header", "ceop"])


@LAYOUTS
def test_a_sensor(tmp_path, layout):
    sensor = ismn.read_sensor(write(tmp_path, layout, ROWS))
    assert (sensor.network, sensor.station, sensor.variable, sensor.sensor) == ("SCAN", "Kemole_Gulch", "sm", A)
    assert (sensor.lat, sensor.lon, sensor.elevation) == (19.91475, -155.59102, 1269)
    assert (sensor.top, sensor.bottom) == (0.0508, 0.0508)
    expected = pd.DatetimeIndex(["2015-04-01T00", "2015-04-01T01", "2015-04-01T02", "2015-04-02T00:30"])
    assert pd.DatetimeIndex(sensor.table["time"]).equals(expected.as_unit("ns"))
    assert sensor.table["value"].to_list() == [0.117, 0.119, -0.02, 0.121]  # nothing is taken out
    assert sensor.table["flag"].to_list() == ["G", "D01,D03", "C01", "G"]
    assert sensor.table["provider_flag"].to_list() == ["V", "V", "M", "V"]


@LAYOUTS
def test_names_with_blanks(tmp_path, layout):
    """A station's name ends where the numbers begin."""
    place = ("RISMA", "MB 1 (No. 3)", 49.6, -98.0)
    sensor = ismn.read_sensor(write(tmp_path, layout, ROWS, place=place))
    assert (sensor.station, sensor.lat) == ("MB 1 (No. 3)", 49.6)


@LAYOUTS
def test_flags_take_values_out_and_are_counted(tmp_path, layout):
    write(tmp_path, layout, ROWS)
    data = ismn.open_archive(tmp_path)
    assert data["soil_moisture"].dims == ("time", "station", "depth")
    assert data["station"].to_numpy().tolist() == ["SCAN/Kemole_Gulch"]
    assert data["site"].to_numpy().tolist() == ["SCAN"]
    assert data["depth"].to_numpy().tolist() == [5.08]
    np.testing.assert_array_equal(data["soil_moisture"][:, 0, 0], np.float32([0.117, np.nan, np.nan, 0.121]))
    counts = {"soil_moisture": {"C01": 1, "D01": 1, "D03": 1}, "soil_temperature": {}}
    assert json.loads(data.attrs["flagged"]) == counts
    variables.check(data, "ismn")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (("G", "D01"), [0.117, np.nan, np.nan, 0.121]),  # a value with D03 as well stays out
        (("G", "D01", "D03"), [0.117, 0.119, np.nan, 0.121]),
        (("C01",), [np.nan, np.nan, -0.02, np.nan]),
    ],
)
def test_other_flags_are_kept_on_request(tmp_path, keep, expected, caplog):
    write(tmp_path, "header", ROWS)
    with caplog.at_level(logging.WARNING):
        data = ismn.open_archive(tmp_path, keep=keep)
    np.testing.assert_array_equal(data["soil_moisture"][:, 0, 0], np.float32(expected))
    assert data["soil_moisture"].attrs["n_out_of_range"] == ("C01" in keep)
    assert ("soil_moisture" in caplog.text) == ("C01" in keep)


def good(*values):
    return [(f"2015/04/01 {hour:02d}:00", value, "G", "V") for hour, value in enumerate(values)]


@LAYOUTS
def test_several_sensors_and_depths(tmp_path, layout):
    """Temperature stands beside the moisture of the same instrument, another thermometer where there is room."""
    write(tmp_path, layout, good(0.2, 0.21), sensor=B)
    write(tmp_path, layout, good(0.1, 0.11), sensor=A)
    write(tmp_path, layout, good(8, 9), "ts", sensor=B)
    write(tmp_path, layout, good(0.3, 0.31), depths=(0.0, 0.3), sensor="CS616")
    write(tmp_path, layout, good(5, -5), "ts", depths=(0.0, 0.3), sensor="Thermistor")
    write(tmp_path, layout, good(1, 2), "p", depths=(0.0, 0.0), sensor="n.s.")
    data = ismn.open_archive(tmp_path)
    assert data["soil_moisture"].dims == ("time", "station", "depth", "probe")
    assert data["depth"].to_numpy().tolist() == [5.08, 15]  # 0 to 30 cm stands at its middle
    assert data["sensor"][0].to_numpy().tolist() == [[A, B], ["CS616", ""]]
    moisture = [[[0.1, 0.2], [0.3, np.nan]], [[0.11, 0.21], [0.31, np.nan]]]
    np.testing.assert_array_equal(data["soil_moisture"][:, 0], np.float32(moisture))
    celsius = np.array([[[np.nan, 8], [5, np.nan]], [[np.nan, 9], [-5, np.nan]]])
    np.testing.assert_array_equal(data["soil_temperature"][:, 0], np.float32(celsius + 273.15))
    assert (data.attrs["files_read"], data.attrs["files_of_other_variables"]) == (5, 1)
    variables.check(data, "ismn")


def test_a_thermometer_of_another_name_takes_the_free_probe(tmp_path):
    write(tmp_path, "header", good(0.1))
    write(tmp_path, "header", good(0.2), sensor=B)
    write(tmp_path, "header", good(7), "ts", sensor=A)
    write(tmp_path, "header", good(3), "ts", sensor="0-Thermistor")
    data = ismn.open_archive(tmp_path)
    np.testing.assert_array_equal(data["soil_temperature"][0, 0, 0], np.float32([280.15, 276.15]))


def test_networks_and_stations_are_chosen(tmp_path):
    write(tmp_path, "header", good(0.1))
    write(tmp_path, "ceop", good(0.2), place=("TxSON", "CR200-1", 30.3, -98.8))
    write(tmp_path, "ceop", good(0.3, 0.4), place=("TxSON", "CR200-2", 30.4, -98.7))
    data = ismn.open_archive(tmp_path)
    assert data["station"].to_numpy().tolist() == ["SCAN/Kemole_Gulch", "TxSON/CR200-1", "TxSON/CR200-2"]
    np.testing.assert_allclose(data["lat"], [19.91475, 30.3, 30.4])
    assert ismn.open_archive(tmp_path, networks=["TxSON"]).sizes["station"] == 2
    assert ismn.open_archive(tmp_path / "SCAN")["station"].item() == "SCAN/Kemole_Gulch"
    one = ismn.open_archive(tmp_path, stations=["CR200-2"])
    np.testing.assert_array_equal(one["soil_moisture"].squeeze(), np.float32([0.3, 0.4]))
    for asked in ({"networks": ["ARM"]}, {"stations": ["CR200-1"], "networks": ["SCAN"]}):
        with pytest.raises(FileNotFoundError, match="no file of the"):
            ismn.open_archive(tmp_path, **asked)
    with pytest.raises(FileNotFoundError, match="no folder"):
        ismn.open_archive(tmp_path / "nothing")


def test_no_soil_moisture(tmp_path):
    write(tmp_path, "header", good(1), "p")
    with pytest.raises(FileNotFoundError, match=r"no \.stm file of soil moisture"):
        ismn.open_archive(tmp_path)


@LAYOUTS
@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.integers(0, 9999).map(lambda n: n / 10000), min_size=1, max_size=20),
    flags=st.lists(st.sampled_from(["G", "C03", "D02,D03", "U"]), min_size=20, max_size=20),
)
def test_what_is_written_is_read(tmp_path_factory, layout, values, flags):
    rows = [(f"2015/04/{day + 1:02d} 06:00", v, flags[day], "x") for day, v in enumerate(values)]
    folder = tmp_path_factory.mktemp("ismn")
    write(folder, layout, rows)
    everything = ismn.open_archive(folder, keep=list(ismn.FLAGS))["soil_moisture"]
    np.testing.assert_array_equal(everything.squeeze(["station", "depth"]), np.float32(values))
    expected = np.where(np.array(flags[: len(values)]) == "G", values, np.nan)
    ours = ismn.open_archive(folder)["soil_moisture"].squeeze(["station", "depth"])
    np.testing.assert_array_equal(ours, np.float32(expected))


def test_a_missing_value_is_missing_whatever_is_kept(tmp_path):
    rows = [("2015/04/01 00:00", -9999, "M", "M"), ("2015/04/01 01:00", 0.1, "G", "V")]
    write(tmp_path, "header", rows)
    data = ismn.open_archive(tmp_path, keep=("G", "M"))
    np.testing.assert_array_equal(data["soil_moisture"].squeeze(), np.float32([np.nan, 0.1]))


# Broken files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "old", "new", "message"),
    [
        ("header", " 0.119 D01,D03 V", " 0.119 V", r"\.stm, line 3: 4 fields, 5 are due"),
        ("header", " 0.119 D01,D03 V", " 0.119 D01, D03 V", r"\.stm, line 3: 6 fields, 5 are due"),
        ("header", "0.119", "0.1l9", r"\.stm, line 3: value '0.1l9' is not a finite number"),
        ("header", "0.119", "inf", r"\.stm, line 3: value 'inf' is not a finite number"),
        ("header", "2015/04/01 01:00", "2015/04/31 01:00", r"\.stm, line 3: '2015/04/31 01:00' is no time"),
        ("header", "2015/04/01 01:00", "2015/4/1 01:00", r"\.stm, line 3: '2015/4/1 01:00' is no time"),
        ("header", "2015/04/01 01:00", "2015/04/01 00:00", r"\.stm, line 3: 2015-04-01 .* out of order or repeated"),
        ("header", "2015/04/01 01:00 0.119 D01,D03 V", "", r"\.stm, line 3: 0 fields, 5 are due"),
        ("header", "19.91475", "north", r"\.stm, line 1: no network, station, latitude"),
        ("header", "19.91475", "99.5", r"\.stm, line 1: latitude 99.5, longitude -155.591 are no place"),
        ("header", "0.0508 0.0508", "0.1016 0.1016", r"line 1: depth 0.1016 to 0.1016 m, the name says 0.0508"),
        ("header", "C01", "C09", r"flag 'C09' at 2015-04-01 02:00:00 is none of the network's"),
        ("ceop", "0.1190 D01", "0.1190 1 D01", r"\.stm, line 2: 16 fields, 15 are due"),
        ("ceop", "0.1190", "", r"\.stm, line 2: 14 fields, 15 are due"),
    ],
)
def test_a_broken_line_is_named(tmp_path, layout, old, new, message):
    path = write(tmp_path, layout, ROWS)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(IsmnError, match=message):
        ismn.open_archive(tmp_path)


def test_another_place_half_way(tmp_path):
    path = write(tmp_path, "ceop", ROWS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("19.91475", "19.91476"), lines[3]]))
    with pytest.raises(IsmnError, match=r"\.stm, line 3: another place or depth than in the first line"):
        ismn.read_sensor(path)


def test_files_without_data_or_name(tmp_path):
    path = write(tmp_path, "header", [])
    with pytest.raises(IsmnError, match="a header and no data"):
        ismn.read_sensor(path)
    path.write_text("")
    with pytest.raises(IsmnError, match="line 1: empty"):
        ismn.read_sensor(path)
    path.rename(tmp_path / "other.stm")
    for read in (ismn.open_archive, lambda folder: ismn.read_sensor(folder / "other.stm")):
        with pytest.raises(IsmnError, match=r"other\.stm: its name does not end in"):
            read(tmp_path)


def test_sensors_that_do_not_fit_together(tmp_path):
    one = write(tmp_path, "header", ROWS)
    twin = one.with_name(one.name.replace("20150430", "20150531"))
    twin.write_text(one.read_text())
    with pytest.raises(IsmnError, match="one sensor in two files"):
        ismn.open_archive(tmp_path)
    twin.unlink()
    write(tmp_path, "header", ROWS, sensor=B, place=(*PLACE[:2], 19.93, PLACE[3]))
    with pytest.raises(IsmnError, match=r"sensors of one station, 0\.015 degrees apart"):
        ismn.open_archive(tmp_path)


def test_unknown_flags_are_not_asked_for(tmp_path):
    write(tmp_path, "header", ROWS)
    with pytest.raises(IsmnError, match=r"keep: flags \['g'\]"):
        ismn.open_archive(tmp_path, keep=["g"])


# What is known of a station -------------------------------------------------------------------

STATIC = """\
quantity_name;unit;depth_from[m];depth_to[m];value;description;quantity_source_name;quantity_source_resolution;
clay fraction;% weight;0.00;0.30;23.00;;HWSD;30";
organic carbon;% weight;-99.90;-99.90;0.59;;insitu;;
climate classification;;;;Cfa;Temperate;koeppen_geiger_2007;0.1;
"""


def test_static_variables(tmp_path):
    path = tmp_path / "SCAN_SCAN_KemoleGulch_static_variables.csv"
    path.write_text(STATIC)
    table = ismn.read_static_variables(path)
    assert table["quantity_name"].to_list() == ["clay fraction", "organic carbon", "climate classification"]
    assert table["value"].to_list() == ["23.00", "0.59", "Cfa"]
    np.testing.assert_array_equal(table["depth_to[m]"], [0.3, np.nan, np.nan])
    assert table["quantity_source_resolution"].iloc[0] == '30"'
    path.write_text(STATIC.replace("Temperate;", ""))
    with pytest.raises(IsmnError, match=r"variables\.csv, line 4: 7 fields, the header has 8"):
        ismn.read_static_variables(path)
    path.write_text(STATIC.partition("\n")[2])
    with pytest.raises(IsmnError, match=r"line 1: 'clay fraction', where quantity_name is due"):
        ismn.read_static_variables(path)
