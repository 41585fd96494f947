"""Dense sites: files written here in each of the four layouts, every way to break one, and the real Walnut Gulch."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import variables
from smapnb.sources import core_sites
from smapnb.sources.core_sites import CoreSiteError

# The open layout ----------------------------------------------------------------------------

OPEN = """\
site,station,lon,lat,depth,time,soil_moisture,soil_temperature
1601,rg1,-110.01,31.71,5,2019-07-01T00:00Z,0.125,300.5
1601,rg1,-110.01,31.71,15,2019-07-01T00:00Z,0.25,
1601,rg1,-110.01,31.71,5,2019-07-01T00:30Z,,301
x,"a, b",-98.5,35.5,5,2019-07-01T00:30:00,-0.02,290
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_open_layout(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = core_sites.read_open(write(tmp_path / "a.csv", OPEN))
    assert dict(data.sizes) == {"time": 2, "station": 2, "depth": 2}
    assert data["station"].to_numpy().tolist() == ["1601/rg1", "x/a, b"]
    assert data["site"].to_numpy().tolist() == ["1601", "x"]
    assert data["site_name"].to_numpy().tolist() == ["Walnut Gulch", "x"]
    assert data["lat"].to_numpy().tolist() == [31.71, 35.5]
    assert data["lon"].to_numpy().tolist() == [-110.01, -98.5]
    assert data["depth"].to_numpy().tolist() == [5, 15]
    expected = pd.DatetimeIndex(["2019-07-01T00:00", "2019-07-01T00:30"])
    assert pd.DatetimeIndex(data["time"]).equals(expected.as_unit("ns"))
    nan = np.nan
    moisture = [[[0.125, 0.25], [nan, nan]], [[nan, nan], [-0.02, nan]]]
    temperature = [[[300.5, nan], [nan, nan]], [[301, nan], [290, nan]]]
    np.testing.assert_array_equal(data["soil_moisture"], np.float32(moisture))
    np.testing.assert_array_equal(data["soil_temperature"], np.float32(temperature))
    assert data["soil_moisture"].attrs["n_out_of_range"] == 1  # kept, counted, told
    assert "a.csv" in caplog.text
    variables.check(data, "open")


def test_the_order_of_lines_and_columns_is_free(tmp_path):
    data = core_sites.read_open(write(tmp_path / "a.csv", OPEN))
    frame = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    frame.iloc[[0, 3, 2, 1], ::-1].to_csv(tmp_path / "b.csv", index=False)
    for name in ("soil_moisture", "soil_temperature"):
        xr.testing.assert_identical(data[name], core_sites.read_open(tmp_path / "b.csv")[name])


def test_a_time_with_an_offset_becomes_utc(tmp_path):
    data = core_sites.read_open(write(tmp_path / "a.csv", OPEN.replace("T00:00Z", "T00:00-07:00")))
    assert pd.DatetimeIndex(data["time"])[-1] == pd.Timestamp("2019-07-01T07:00")


def test_no_temperature_no_variable(tmp_path):
    text = "\n".join(line.rpartition(",")[0] for line in OPEN.splitlines())
    assert list(core_sites.read_open(write(tmp_path / "a.csv", text)).data_vars) == ["soil_moisture"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.25,", "0.2s,", r"a.csv, line 3: soil_moisture '0.2s' is not a finite number"),
        ("0.25,", "inf,", r"a.csv, line 3: soil_moisture 'inf' is not a finite number"),
        ("0.25,", "0.25", r"a.csv, line 3: 7 fields, the header has 8"),
        ("31.71,15", ",15", r"a.csv, line 3: lat '' is not a finite number"),
        ("31.71,15", "131.71,15", r"a.csv, line 3: lat 131.71 is beyond 90 degrees"),
        ("31.71,15", "31.72,15", r"a.csv, line 3: station 1601/rg1 stands at another place"),
        ("31.71,15", "31.71,-15", r"a.csv, line 3: depth -15 is negative"),
        ("31.71,15", "31.71,5", r"a.csv, line 3: station 1601/rg1, 5 cm, 2019-07-01 00:00:00 stands there twice"),
        ("2019-07-01T00:30Z", "01/07/2019", r"a.csv, line 4: time '01/07/2019' is not of ISO 8601"),
        ("x,", ",", r"a.csv, line 5: no site"),
        ("soil_moisture,", "theta,", r"lacking \['soil_moisture'\], unknown \['theta'\]"),
        ("lon,lat", "lon,lon", r"lacking \['lat'\]"),
    ],
)
def test_a_broken_open_file_is_named(tmp_path, old, new, message):
    path = write(tmp_path / "a.csv", OPEN.replace(old, new, 1))
    with pytest.raises(CoreSiteError, match=message):
        core_sites.read_open(path)


def test_no_rows_no_file(tmp_path):
    with pytest.raises(CoreSiteError, match=r"a\.csv: a header and no data"):
        core_sites.read_open(write(tmp_path / "a.csv", OPEN.splitlines()[0]))
    with pytest.raises(CoreSiteError, match=r"b\.csv: empty file"):
        core_sites.read_open(write(tmp_path / "b.csv", ""))
    for name in ("c.csv", "c.parquet"):
        with pytest.raises(FileNotFoundError, match=name):
            core_sites.read_open(tmp_path / name)


def test_a_fault_in_parquet_names_the_row(tmp_path):
    frame = pd.read_csv(write(tmp_path / "a.csv", OPEN))
    frame["lat"] = [31.71, 31.72, 31.71, 35.5]
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CoreSiteError, match=r"a\.parquet, row 2: station 1601/rg1 stands at another place"):
        core_sites.read_open(tmp_path / "a.parquet")


values = st.one_of(st.just(np.nan), st.floats(0, 1, width=32))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    suffix=st.sampled_from([".csv", ".parquet"]),
    data=st.data(),
)
def test_what_is_written_is_read(tmp_path_factory, shape, suffix, data):
    n = int(np.prod(shape))
    moisture = np.array(data.draw(st.lists(values, min_size=n, max_size=n)), dtype=np.float32).reshape(shape)
    temperature = np.float32(280) + 20 * moisture
    dims = ("time", "station", "depth", "probe")
    if shape[-1] == 1:
        moisture, temperature, dims = moisture[..., 0], temperature[..., 0], dims[:-1]
    names = [f"1601/s{i}" for i in range(shape[1])]
    coords = {
        "time": pd.date_range("2019-12-31T23:10", periods=shape[0], freq="17min", unit="ns"),
        "station": names,
        "depth": [5.08, 20.0][: shape[2]],
        "site": ("station", ["1601"] * shape[1]),
        "site_name": ("station", ["Walnut Gulch, Arizona"] * shape[1]),
        "lat": ("station", 31.7 + 0.013 * np.arange(shape[1])),
        "lon": ("station", -110.1 + 0.1 * np.arange(shape[1]) / 3),
    }
    fields = {"soil_moisture": (dims, moisture), "soil_temperature": (dims, temperature)}
    dataset = variables.describe(xr.Dataset(fields, coords=coords))
    path = tmp_path_factory.mktemp("open") / f"a{suffix}"
    back = core_sites.read_open(core_sites.write_open(dataset, path))
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing partly written is left
    for name in ("soil_moisture", "soil_temperature"):
        if np.isfinite(moisture).any():
            np.testing.assert_array_equal(back[name], dataset[name])
            assert back[name].dims == dims
    for name in coords:
        np.testing.assert_array_equal(back[name], dataset[name])


def test_another_suffix_leaves_nothing(tmp_path):
    data = core_sites.read_open(write(tmp_path / "a.csv", OPEN))
    with pytest.raises(CoreSiteError, match=r"b\.xls: the open layout is \.csv or \.parquet"):
        core_sites.write_open(data, tmp_path / "b.xls")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    data = core_sites.read_open(write(tmp_path / "a.csv", OPEN))

    def fails(self, path, **_):
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(OSError, match="no space"):
        core_sites.write_open(data, tmp_path / "a.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == OPEN


# NSIDC-0712 ---------------------------------------------------------------------------------

MATCHUP = "NSIDC-0712_16013603_SMAPL2SMP_T16500_20150401_20180323.txt"
COLUMNS = "Yr, Mo, Day, Hr, Min, WASM, SM-1, Q-FLG-1, SM-2, Q-FLG-2"
ROWS = ["2015,4,1,13,5,0.081,0.064,0,0.07,8", "2015,4,4,13,17,-9999,0.066,1,-1,7", "2015,4,6,1,2,0.1,-9999,-9999,0.2,0"]


@pytest.mark.parametrize("header", [["Walnut Gulch", COLUMNS, "-,m3/m3"], ["Walnut Gulch", COLUMNS, "units", "---"]])
def test_matchups_with_three_or_four_lines_of_header(tmp_path, header):
    path = write(tmp_path / MATCHUP, "\n".join([*header, *ROWS]) + "\n")
    data = core_sites.read_matchup(path, center=(-110.05, 31.7))
    assert data["site"].to_numpy().tolist() == ["16013603"]
    assert (data["group"].item(), data["name"].item()) == ("1601", "Walnut Gulch")
    assert (data["lat"].item(), data["lon"].item()) == (31.7, -110.05)
    expected = pd.DatetimeIndex(["2015-04-01T13:05", "2015-04-04T13:17", "2015-04-06T01:02"])
    assert pd.DatetimeIndex(data["time"]).equals(expected.as_unit("ns"))
    np.testing.assert_array_equal(data["ssm_insitu"][:, 0], np.float32([0.081, np.nan, 0.1]))
    np.testing.assert_array_equal(data["ssm_smap"][:, 0], np.float32([0.064, 0.066, np.nan]))
    assert data["quality_flag"][:, 0].to_numpy().tolist() == [0, 1, 65534]
    assert data["ssm_insitu"].attrs["n_negative"] == data["ssm_smap"].attrs["n_negative"] == 1
    variables.check(data, "matchup")
    other = core_sites.read_matchup(path, option=2)
    np.testing.assert_array_equal(other["ssm_smap"][:, 0], np.float32([0.07, np.nan, 0.2]))
    assert other["quality_flag"][:, 0].to_numpy().tolist() == [8, 7, 0]
    assert np.isnan(other["lat"].item())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.066", "0.0b6", r"\.txt, line 5: SM-1 '0.0b6' is not a finite number"),
        (",0.066", "", r"\.txt, line 5: 9 fields, line 2 has 10 names"),
        ("2015,4,4,", "2015,2,30,", r"\.txt, line 5: year 2015, month 2, day 30, hour 13, minute 17 is no time"),
        ("2015,4,4,", "2015,3,1,", r"\.txt, line 5: 2015-03-01 13:17:00 follows .*: out of order or repeated"),
        ("WASM", "SM0", r"\.txt, line 2: lacks the columns \['WASM'\]"),
    ],
)
def test_a_broken_matchup_is_named(tmp_path, old, new, message):
    text = "\n".join(["title", COLUMNS, "units", *ROWS])
    path = write(tmp_path / MATCHUP, text.replace(old, new, 1))
    with pytest.raises(CoreSiteError, match=message):
        core_sites.read_matchup(path)


def test_two_overpasses_of_a_day(tmp_path):
    text = "\n".join(["title", COLUMNS, "units", *ROWS]).replace("2015,4,4,", "2015,4,1,")
    assert core_sites.read_matchup(write(tmp_path / MATCHUP, text)).sizes["time"] == 3


def test_matchups_without_name_or_numbers(tmp_path):
    with pytest.raises(CoreSiteError, match=r"a\.txt: its name is not NSIDC-0712_"):
        core_sites.read_matchup(write(tmp_path / "a.txt", ""))
    with pytest.raises(CoreSiteError, match="no line of numbers after the names in line 2"):
        core_sites.read_matchup(write(tmp_path / MATCHUP, f"title\n{COLUMNS}\nunits\n"))
    with pytest.raises(FileNotFoundError, match="NSIDC-0712_16013604"):
        core_sites.read_matchup(tmp_path / MATCHUP.replace("3603", "3604"))


# The calibration and validation layout --------------------------------------------------------

STATION = """\
Station 1, Walnut Gulch
Yr,Mo,Day,Hr,Min,P,SM,SM,ST,ST
,,,,,,0.05,0.2,0.05,0.2
2013,5,1,0,0,0.0,0.10,0.21,20.5,18
2013,5,1,0,30,0.0,-99,0.20,-9999,-17.5
"""


@pytest.fixture
def calval(tmp_path):
    """One site of two stations, one with two files, and what belongs to it."""
    data = tmp_path / "1601_WalnutGulch" / "dataqc"
    write(data / "1601001" / "2013a.txt", STATION)
    later = STATION.replace("2013,5,1,0,30,0.0,-99,0.20,-9999,-17.5", "2013,5,1,1,0,0.0,0.09,0.19,21,17.25")
    write(data / "1601001" / "2013b.txt", later)
    write(data / "1601SF2" / "a.txt", STATION.replace(",ST,ST", "").replace(",0.05,0.2,0.05,0.2", ",0.05,0.05")
          .replace(",20.5,18", "").replace(",-9999,-17.5", ""))  # fmt: skip
    info = tmp_path / "coresiteinfo" / "16_Walnut"
    write(info / "1601_COORDv02.csv", "PointID,Latitude,Longitude\n1601001,31.72,-110.10\n1601SF2,31.75,-110.2\n")
    write(info / "1601_COORDv03.csv", "PointID,Latitude,Longitude\n1601001,31.73,-110.10\n1601999,31,-110\n")
    write(info / "voronoi" / "voronoi_16013603_a.txt", "title\n1,SF2\n0.75,0.25\n")
    write(
        info / "refpix_16013603.txt",
        "% a comment\n% another\n2\ndepths\n60,40\nids,001,SF2\n0.05,50,50\nids,1\n0.2,100\n",
    )
    return tmp_path


def test_the_calval_layout(calval, caplog):
    with caplog.at_level(logging.WARNING):
        data = core_sites.open_calval(calval)
    assert data["station"].to_numpy().tolist() == ["1601/001", "1601/SF2"]
    assert data["lat"].to_numpy().tolist() == [31.73, 31.75]  # the later list
    assert "1601_COORDv03.csv, line 2: station 1601/001 stood at (31.72" in caplog.text
    assert data["depth"].to_numpy().tolist() == [5, 20]
    assert pd.DatetimeIndex(data["time"]).strftime("%H:%M").to_list() == ["00:00", "00:30", "01:00"]
    nan = np.nan
    one = data.sel(station="1601/001")
    np.testing.assert_array_equal(one["soil_moisture"][..., 0], np.float32([[0.1, 0.21], [nan, 0.2], [0.09, 0.19]]))
    expected = np.float32(273.15 + np.array([[20.5, 18], [nan, -17.5], [21, 17.25]]))
    np.testing.assert_array_equal(one["soil_temperature"][..., 0], expected)
    assert data.sizes["probe"] == 2  # SF2 has two columns of moisture at 5 cm
    two = data.sel(station="1601/SF2", depth=5)
    np.testing.assert_array_equal(two["soil_moisture"], np.float32([[0.1, 0.21], [nan, 0.2], [nan, nan]]))
    assert np.isnan(two["soil_temperature"]).all()
    assert json.loads(data.attrs["missing_codes"]) == {"SM": 2, "ST": 1}
    assert data.attrs["repeated_records"] == 2  # two depths at 00:00, in both files
    variables.check(data, "calval")
    earlier = core_sites.open_calval(calval, ["1601"], utc_offset_hours=-7)
    assert pd.DatetimeIndex(earlier["time"])[0] == pd.Timestamp("2013-05-01T07:00")


def test_weights(calval):
    info = calval / "coresiteinfo" / "16_Walnut"
    weights = core_sites.read_voronoi(info / "voronoi" / "voronoi_16013603_a.txt")
    assert weights.name == "16013603"
    assert weights.to_dict() == {"001": 0.75, "SF2": 0.25}
    table = core_sites.read_reference_pixel(info / "refpix_16013603.txt")
    assert table.to_dict("list") == {
        "layer": [0, 0, 1],
        "depth": [0.05, 0.05, 0.2],
        "layer_weight": [0.6, 0.6, 0.4],
        "station": ["001", "SF2", "001"],
        "weight": [0.5, 0.5, 1.0],
    }
    short = write(calval / "refpix_16013604.txt", "1\n1\nids,1,2\n0.05,0.5,0.5\n")
    assert core_sites.read_reference_pixel(short)["weight"].to_list() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("voronoi_1601.txt", "t\n1\n1\n", r"voronoi_1601\.txt: its name does not begin with voronoi_ and the eight"),
        ("voronoi_16013603.txt", "t\n1,2\n1\n", r"line 3: 1 weights, 2 are due"),
        ("voronoi_16013603.txt", "t\n1,2\n0.5,0.2\n", r"line 3: weights that add up to 0.7"),
        ("voronoi_16013603.txt", "t\n1,2\n1.5,-0.5\n", r"line 3: weights that add up to 1, or below 0"),
        ("voronoi_16013603.txt", "t\n1,001\n0.5,0.5\n", r"line 2: stations \['001'\] stand there twice"),
        ("voronoi_16013603.txt", "t\n1,2\n0.5,x\n", r"line 3: weight 2: 'x' is not a finite number"),
        ("voronoi_16013603.txt", "t\n1,2\n", r"2 lines, stations are due in line 2"),
        ("refpix_16013603.txt", "% c\nx\n", r"the first line after the comments must be the number of layers"),
        ("refpix_16013603.txt", "2\n1,0\nids,1\n5,1\n", r"4 lines do not fit 2 layers"),
        ("refpix_16013603.txt", "%\n1\n1\nids,1,2\n5,1\n", r"line 5: 1 weights, 2 are due"),
        ("refpix_16013603.txt", "1\n1\nids,1\nd,1\n", r"line 4: depth 'd' is not a number"),
    ],
)
def test_broken_weights_are_named(tmp_path, name, text, message):
    read = core_sites.read_voronoi if name.startswith("voronoi") else core_sites.read_reference_pixel
    with pytest.raises(CoreSiteError, match=message):
        read(write(tmp_path / name, text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.20,", "0.2o,", r"2013a\.txt, line 5: SM, column 8: '0.2o' is not a finite number"),
        ("0.20,-9999,-17.5", "0.20,-9999", r"2013a\.txt, line 5: 9 fields, line 2 has 10 names"),
        ("2013,5,1,0,30", "2013,13,1,0,30", r"2013a\.txt, line 5: year 2013, month 13, .* is no time"),
        ("Yr,", "Year,", r"2013a\.txt, line 2: lacks the columns \['Yr'\]"),
        (",,,,,,0.05", ",,,,,,", r"2013a\.txt, line 3: depth of column 7: '' is not a finite number"),
        ("0.21,20.5", "0.22,20.5", r"2013a\.txt, line 4 and .*2013b\.txt, line 4 differ at 2013-05-01 .*, 20 cm"),
        ("0.21,20.5", "0.21,20.6", r"2013a\.txt, line 4 and .*2013b\.txt, line 4 differ at 2013-05-01 .*, 5 cm"),
        ("2013,5,1,0,30", "2013,5,1,0,0", r"2013a\.txt, line 4 and .*2013a\.txt, line 5 and .* differ"),
    ],
)
def test_a_broken_station_is_named(calval, old, new, message):
    path = calval / "1601_WalnutGulch" / "dataqc" / "1601001" / "2013a.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(CoreSiteError, match=message):
        core_sites.open_calval(calval)


def test_stations_and_sites_that_are_not_there(calval, caplog):
    with pytest.raises(FileNotFoundError, match=r"no folder of site 1602 with a folder dataqc; there are \['1601'\]"):
        core_sites.open_calval(calval, ["1602"])
    with pytest.raises(FileNotFoundError, match="no folder"):
        core_sites.open_calval(calval / "nothing")
    (calval / "coresiteinfo" / "16_Walnut" / "1601_COORDv02.csv").unlink()
    with caplog.at_level(logging.WARNING):
        data = core_sites.open_calval(calval)
    assert "no coordinates of 1 stations: 1601/SF2" in caplog.text
    assert np.isnan(data["lat"][1])


# Walnut Gulch -------------------------------------------------------------------------------


@pytest.fixture
def gulch(tmp_path):
    """Two sensors of a morning, and one of the list that has no data."""
    write(tmp_path / "sensor_coords.csv", "sensor,lat,lon,has_data\nrg9,31.7,-110.1,True\nrg18,31.71,-110.08,False\n"
          "rg100,31.67,-110.02,True\n")  # fmt: skip
    gulch_file(tmp_path, 9, [12, 13, 14, 15], [10.5, 10.25, 10, 9.75])
    gulch_file(tmp_path, 100, [np.nan, 0, 50, 20], [np.nan, -3, 50, np.nan])
    return tmp_path


def gulch_file(folder, number, moisture, temperature, change=None):
    # 23:30 of the last day of 2018, then midnight written as hour 24 of it, then 2019.
    frame = pd.DataFrame(
        {
            "datetime": pd.date_range("2018-12-31T23:30", periods=4, freq="30min"),
            "site": number,
            "year": [2018, 2018, 2019, 2019],
            "day": [365, 365, 1, 1],
            "hr": [23, 24, 0, 1],
            "mn": [30, 0, 30, 0],
            "SM5": np.array(moisture, dtype=float),
            "SM15": np.array(temperature, dtype=float),
            "SM30": np.nan,
        }
    )
    frame = frame if change is None else change(frame)
    frame.set_index("datetime").to_parquet(folder / f"rg{number}vt19.parquet")


def test_walnut_gulch(gulch):
    data = core_sites.open_walnut_gulch(gulch)
    assert data["station"].to_numpy().tolist() == ["1601/rg9", "1601/rg100"]
    assert data["lat"].to_numpy().tolist() == [31.7, 31.67]
    assert data["depth"].to_numpy().tolist() == [5]
    # Mountain Standard Time is seven hours behind.
    assert pd.DatetimeIndex(data["time"])[0] == pd.Timestamp("2019-01-01T06:30")
    assert data.sizes["time"] == 4
    np.testing.assert_array_equal(data["soil_moisture"][:, 0, 0], np.float32([0.12, 0.13, 0.14, 0.15]))
    np.testing.assert_array_equal(data["soil_moisture"][:, 1, 0], np.float32([np.nan, 0, 0.5, 0.2]))
    np.testing.assert_array_equal(data["soil_temperature"][:, 0, 0], np.float32([283.65, 283.4, 283.15, 282.9]))
    assert data.attrs["empty_rows"] == 1
    assert json.loads(data.attrs["sensors_without_file"]) == ["rg18"]
    variables.check(data, "gulch")


def test_half_hours_of_no_sensor_are_there_and_empty(gulch):
    """A day's share of records can only be told where the axis has no hole."""
    for number in (9, 100):
        gulch_file(gulch, number, [1, np.nan, 3, 4], [1, np.nan, 3, 4])
    data = core_sites.open_walnut_gulch(gulch)
    assert np.isnan(data["soil_moisture"][1]).all()
    assert data.sizes["time"] == 4


def test_impossible_percentages_are_kept_and_counted(gulch, caplog):
    gulch_file(gulch, 9, [-1, 101, 14, 15], [10, 10, 10, 10])
    with caplog.at_level(logging.WARNING):
        data = core_sites.open_walnut_gulch(gulch)
    np.testing.assert_array_equal(data["soil_moisture"][:2, 0, 0], np.float32([-0.01, 1.01]))
    assert data["soil_moisture"].attrs["n_out_of_range"] == 2
    assert '"soil_moisture": 2' in caplog.text


def test_an_empty_row_at_a_wrong_time_counts_for_nothing(gulch):
    """The real files have rows without values whose time runs back or stands there twice."""
    again = lambda f: pd.concat([f.iloc[:2], f.iloc[[1]].assign(SM5=np.nan, SM15=np.nan, site=0), f.iloc[2:]])  # noqa: E731
    before = core_sites.open_walnut_gulch(gulch)
    gulch_file(gulch, 9, [12, 13, 14, 15], [10.5, 10.25, 10, 9.75], again)
    after = core_sites.open_walnut_gulch(gulch)
    assert before["soil_moisture"].identical(after["soil_moisture"])
    assert after.attrs["empty_rows"] == before.attrs["empty_rows"] + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[[0, 2, 1, 3]], r"rg9vt19\.parquet: 2019-01-01 00:00:00 MST follows .*: out of order"),
        (lambda f: f.iloc[[0, 1, 1, 3]], r"rg9vt19\.parquet: 2019-01-01 00:00:00 MST follows .*: out of order or rep"),
        (lambda f: f.assign(site=[9, 9, 13, 9]), r"rg9vt19\.parquet: 2019-01-01 00:30:00 MST: the row is not of sens"),
        (lambda f: f.assign(hr=[23, 24, 1, 1]), r"2019-01-01 00:30:00 MST: the time is not that of its year, day"),
        (lambda f: f.assign(SM30=[np.nan, 1, np.nan, np.nan]), r"rg9vt19\.parquet: the column SM30 is empty in the"),
        (lambda f: f.drop(columns="SM15"), r"rg9vt19\.parquet: lacks the columns \['SM15'\]"),
        (
            lambda f: f.assign(datetime=f["datetime"] + pd.Timedelta("5min"), mn=f["mn"] + 5),
            r"2018-12-31 23:35:00 MST: the time is no half hour",
        ),
    ],
)
def test_a_broken_sensor_is_named(gulch, change, message):
    gulch_file(gulch, 9, [12, 13, 14, 15], [10.5, 10.25, 10, 9.75], change)
    with pytest.raises(CoreSiteError, match=message):
        core_sites.open_walnut_gulch(gulch)


def test_sensors_and_their_list_must_fit(gulch):
    (gulch / "rg100vt19.parquet").rename(gulch / "rg77vt19.parquet")
    with pytest.raises(CoreSiteError, match=r"rg77vt19\.parquet: of no sensor in sensor_coords\.csv"):
        core_sites.open_walnut_gulch(gulch)
    (gulch / "rg77vt19.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="no file of sensor rg100"):
        core_sites.open_walnut_gulch(gulch)
    path = gulch / "sensor_coords.csv"
    path.write_text(path.read_text().replace("31.71", "north"))
    with pytest.raises(CoreSiteError, match=r"sensor_coords\.csv, line 3: lat 'north' is no lat"):
        core_sites.open_walnut_gulch(gulch)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"sensor_coords\.csv"):
        core_sites.open_walnut_gulch(gulch)


@pytest.fixture(scope="module")
def real(data_root):
    folder = data_root / "walnut_gulch"
    if not folder.is_dir():
        pytest.skip(f"no Walnut Gulch sensors: {folder} is not there (SMAPNB_DATA names its parent)")
    return folder


@pytest.fixture(scope="module")
def real_gulch(real):
    return core_sites.open_walnut_gulch(real)


@pytest.mark.data
def test_real_walnut_gulch(real, real_gulch):
    assert dict(real_gulch.sizes) == {"time": 17519, "station": 15, "depth": 1}
    step = np.diff(real_gulch["time"].to_numpy())
    assert (step == np.timedelta64(30, "m")).all()
    assert json.loads(real_gulch.attrs["sensors_without_file"]) == ["rg18", "rg82", "rg83"]
    assert real_gulch["soil_moisture"].attrs["n_out_of_range"] == 0
    # Each value stands where the file has it, and there are as many.
    for sensor in ("rg13", "rg57", "rg100"):
        frame = pd.read_parquet(real / f"{sensor}vt19.parquet").dropna(subset=["SM5", "SM15"], how="all")
        ours = real_gulch.sel(station=f"1601/{sensor}", depth=5)
        assert int(ours["soil_moisture"].count()) == int(frame["SM5"].count())
        assert int(ours["soil_temperature"].count()) == int(frame["SM15"].count())
        there = ours.sel(time=(frame.index + pd.Timedelta("7h")).to_numpy())
        np.testing.assert_allclose(there["soil_moisture"], frame["SM5"] / 100, rtol=1e-6)
        np.testing.assert_allclose(there["soil_temperature"], frame["SM15"] + 273.15, rtol=1e-6)
    empty = sum(int(pd.read_parquet(p)[["SM5", "SM15"]].isna().all(axis=1).sum()) for p in real.glob("*.parquet"))
    assert real_gulch.attrs["empty_rows"] == empty


@pytest.mark.data
def test_the_second_column_of_walnut_gulch_is_a_temperature(real_gulch):
    """Called SM15, it has the days and the seasons of warmth, at the hours of Mountain Standard Time."""
    local = real_gulch.assign_coords(time=real_gulch["time"] - np.timedelta64(7, "h"))
    warmth = local["soil_temperature"].isel(depth=0) - 273.15
    june = warmth.sel(time="2019-06")
    by_hour = june.groupby("time.hour").mean().median("station")
    assert int(by_hour.idxmax("hour")) in (14, 15, 16)
    assert int(by_hour.idxmin("hour")) in (4, 5, 6)
    assert float(by_hour.max() - by_hour.min()) > 15
    by_month = warmth.groupby("time.month").mean().median("station")
    assert float(by_month.sel(month=[12, 1]).max()) < 10
    assert float(by_month.sel(month=[6, 7]).min()) > 29
    daily = warmth - warmth.rolling(time=48, center=True).mean()
    agreement = daily.to_pandas().corr(min_periods=5000).to_numpy()
    assert np.nanmedian(agreement[np.triu_indices_from(agreement, 1)]) > 0.95
    # Moisture does none of that: June is the driest month.
    moisture = local["soil_moisture"].isel(depth=0)
    assert int(moisture.groupby("time.month").mean().median("station").idxmin("month")) == 6
