"""Climate Reference Network: lines written here in the archive's own columns, each way to break one, the real files."""

import csv
import json
import logging
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb import variables
from smapnb.sources import uscrn
from smapnb.sources.uscrn import UscrnError


def words(text):
    return text.split()


# First line of the real file of Austin 33 NW in 2015, and what the archive's description says of its 28 fields.
AUSTIN = (
    "23907 20150101  2.423  -98.08   30.62     2.2    -0.6     0.8     0.9     7.0     1.47 C     3.7     1.1     2.5"
    "    99.9    85.4    97.2   0.369   0.308 -99.000 -99.000 -99.000     7.0     8.1 -9999.0 -9999.0 -9999.0"
)
NAMES = words(
    "WBANNO LST_DATE CRX_VN LONGITUDE LATITUDE T_DAILY_MAX T_DAILY_MIN T_DAILY_MEAN T_DAILY_AVG P_DAILY_CALC "
    "SOLARAD_DAILY SUR_TEMP_DAILY_TYPE SUR_TEMP_DAILY_MAX SUR_TEMP_DAILY_MIN SUR_TEMP_DAILY_AVG RH_DAILY_MAX "
    "RH_DAILY_MIN RH_DAILY_AVG SOIL_MOISTURE_5_DAILY SOIL_MOISTURE_10_DAILY SOIL_MOISTURE_20_DAILY "
    "SOIL_MOISTURE_50_DAILY SOIL_MOISTURE_100_DAILY SOIL_TEMP_5_DAILY SOIL_TEMP_10_DAILY SOIL_TEMP_20_DAILY "
    "SOIL_TEMP_50_DAILY SOIL_TEMP_100_DAILY"
)
HOURLY_NAMES = words(
    "WBANNO UTC_DATE UTC_TIME LST_DATE LST_TIME CRX_VN LONGITUDE LATITUDE T_CALC T_HR_AVG T_MAX T_MIN P_CALC SOLARAD "
    "SOLARAD_FLAG SOLARAD_MAX SOLARAD_MAX_FLAG SOLARAD_MIN SOLARAD_MIN_FLAG SUR_TEMP_TYPE SUR_TEMP SUR_TEMP_FLAG "
    "SUR_TEMP_MAX SUR_TEMP_MAX_FLAG SUR_TEMP_MIN SUR_TEMP_MIN_FLAG RH_HR_AVG RH_HR_AVG_FLAG SOIL_MOISTURE_5 "
    "SOIL_MOISTURE_10 SOIL_MOISTURE_20 SOIL_MOISTURE_50 SOIL_MOISTURE_100 SOIL_TEMP_5 SOIL_TEMP_10 SOIL_TEMP_20 "
    "SOIL_TEMP_50 SOIL_TEMP_100"
)
FORMATS = (
    "{:5} {:8} {:>6} {:7.2f} {:7.2f} {:7.1f} {:7.1f} {:7.1f} {:7.1f} {:7.1f} {:8.2f} {:1} {:7.1f} {:7.1f} {:7.1f} "
    "{:7.1f} {:7.1f} {:7.1f} {:7.3f} {:7.3f} {:7.3f} {:7.3f} {:7.3f} {:7.1f} {:7.1f} {:7.1f} {:7.1f} {:7.1f}"
)


def line(station="23907", day=date(2015, 1, 1), moisture=(0.3,) * 5, temperature=(10.0,) * 5, place=(-98.08, 30.62)):
    air = (12.0, -3.0, 4.5, 4.6, 0.0, 7.77, "C", 20.0, -5.0, 6.0, 99.0, 20.0, 60.0)
    return FORMATS.format(station, f"{day:%Y%m%d}", "2.423", *place, *air, *moisture, *temperature)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in lines), encoding="ascii")
    return path


def days(n, first=date(2015, 1, 1)):
    return [first + timedelta(i) for i in range(n)]


def test_the_lines_written_here_are_those_of_the_archive():
    values = AUSTIN.split()
    again = FORMATS.format(*values[:3], *map(float, values[3:11]), values[11], *map(float, values[12:]))
    assert again == AUSTIN
    assert len(values) == len(NAMES) == 28
    assert len(HOURLY_NAMES) == 38


def test_the_real_line(tmp_path):
    path = write(tmp_path / "a.txt", [AUSTIN])
    daily = uscrn.read_daily(path)
    assert dict(daily.sizes) == {"time": 1, "site": 1, "depth": 5}
    assert daily["site"].to_numpy().tolist() == ["23907"]
    assert daily["depth"].to_numpy().tolist() == [5, 10, 20, 50, 100]
    assert daily["time"].to_numpy()[0] == np.datetime64("2015-01-01")
    np.testing.assert_array_equal(daily["soil_moisture"][0, 0], np.float32([0.369, 0.308, np.nan, np.nan, np.nan]))
    # 273.15 + 7.0 and + 8.1
    np.testing.assert_array_equal(daily["soil_temperature"][0, 0], np.float32([280.15, 281.25, *[np.nan] * 3]))
    assert (float(daily["lat"][0]), float(daily["lon"][0])) == (30.62, -98.08)
    assert daily.attrs["day"] == "local standard day"
    assert daily["soil_moisture"].dtype == daily["soil_temperature"].dtype == np.float32
    assert variables.check(daily, "daily")["n_missing"].to_list() == [3, 3]


def test_every_column_has_its_name_and_type(tmp_path):
    table = uscrn.read_daily_table(write(tmp_path / "a.txt", [AUSTIN]))
    assert list(table.columns) == NAMES
    row = table.iloc[0]
    assert (row["WBANNO"], row["CRX_VN"], row["SUR_TEMP_DAILY_TYPE"]) == ("23907", "2.423", "C")
    assert row["LST_DATE"] == pd.Timestamp("2015-01-01")
    for name, cell in zip(NAMES, AUSTIN.split(), strict=True):
        if name not in ("WBANNO", "LST_DATE", "CRX_VN", "SUR_TEMP_DAILY_TYPE"):
            assert table[name].dtype == np.float64
            np.testing.assert_equal(row[name], np.nan if cell in ("-99.000", "-9999.0") else float(cell))


def test_each_code_is_missing_where_it_means_it(tmp_path):
    """-99 is missing moisture but a temperature, if an impossible one; -9999 and -99999 are missing everywhere."""
    moisture, temperature = (-99.0, -9999.0, -99999.0, 1.2, -0.02), (-9999.0, -99999.0, -99.0, 0.0, -1.5)
    text = line(moisture=moisture, temperature=temperature).replace("  2.423", " -9.000")
    path = write(tmp_path / "a.txt", [text])
    daily = uscrn.read_daily(path)
    np.testing.assert_array_equal(daily["soil_moisture"][0, 0], np.float32([np.nan] * 3 + [1.2, -0.02]))
    expected = np.float32([np.nan, np.nan, 273.15 - 99, 273.15, 271.65])
    np.testing.assert_array_equal(daily["soil_temperature"][0, 0], expected)
    assert pd.isna(uscrn.read_daily_table(path)["CRX_VN"].iloc[0])


def test_values_out_of_range_are_kept_and_counted(tmp_path, caplog):
    path = write(tmp_path / "a.txt", [line(moisture=(1.2, -0.02, 0.3, 0.3, 0.3))])
    with caplog.at_level(logging.WARNING):
        daily = uscrn.read_daily(path)
    assert daily["soil_moisture"].attrs["n_out_of_range"] == 2
    assert "a.txt" in caplog.text
    assert '"soil_moisture": 2' in caplog.text


def as_csv(path, rows, order=NAMES):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, order)
        writer.writeheader()
        writer.writerows(dict(zip(NAMES, row.split(), strict=True)) for row in rows)
    return path


def test_a_csv_says_the_same_in_any_order(tmp_path):
    texts = [line(day=d, moisture=(0.1 + i / 50, 0.2, -99, -99, -99)) for i, d in enumerate(days(4))]
    raw = uscrn.read_daily(write(tmp_path / "a.txt", texts))
    for order in (NAMES, NAMES[::-1]):
        assert raw.identical(uscrn.read_daily(as_csv(tmp_path / "a.csv", texts, order)))


def test_a_csv_that_lost_leading_zeros(tmp_path):
    path = as_csv(tmp_path / "a.csv", [line(station="03047")])
    path.write_text(path.read_text().replace("\n03047,", "\n3047,"))
    assert uscrn.read_daily(path)["site"].to_numpy().tolist() == ["03047"]
    with pytest.raises(UscrnError, match=r"b.txt, line 1: WBANNO: '3047' is not a number of five digits"):
        uscrn.read_daily(write(tmp_path / "b.txt", [line(station="3047")]))


cell = st.one_of(st.just(-99.0), st.integers(0, 700).map(lambda n: n / 1000))
warmth = st.one_of(st.just(-9999.0), st.integers(-400, 500).map(lambda n: n / 10))
record = st.tuples(st.tuples(*[cell] * 5), st.tuples(*[warmth] * 5))


@settings(max_examples=60, deadline=None)
@given(records=st.lists(record, min_size=1, max_size=8), station=st.integers(0, 99999), gaps=st.integers(1, 400))
def test_what_is_written_is_read(tmp_path_factory, records, station, gaps):
    dates = [date(2010, 12, 30) + timedelta(gaps * i) for i in range(len(records))]
    texts = [line(f"{station:05d}", d, m, t) for d, (m, t) in zip(dates, records, strict=True)]
    daily = uscrn.read_daily(write(tmp_path_factory.mktemp("crn") / "a.txt", texts))
    moisture = np.array([m for m, _ in records])
    temperature = np.array([t for _, t in records])
    expected = np.where(moisture == -99, np.nan, moisture).astype(np.float32)
    np.testing.assert_array_equal(daily["soil_moisture"][:, 0], expected)
    expected = np.where(temperature == -9999, np.nan, temperature + 273.15).astype(np.float32)
    np.testing.assert_array_equal(daily["soil_temperature"][:, 0], expected)
    assert pd.DatetimeIndex(daily["time"]).date.tolist() == dates
    assert daily["site"].item() == f"{station:05d}"


# Broken files -------------------------------------------------------------------------------


def broken(tmp_path, edit):
    texts = [line(day=d) for d in days(6)]
    return write(tmp_path / "b.txt", edit(texts))


def at(i, change):
    return lambda texts: [change(t) if n == i else t for n, t in enumerate(texts)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (at(3, lambda t: t[:150]), r"b.txt, line 4: 2\d fields, daily01 has 28"),
        (at(5, lambda t: t[:-2]), r"b.txt, line 6: 214 characters, the other lines have 216"),
        (at(2, lambda t: t + " 1.0"), r"b.txt, line 3: 29 fields, daily01 has 28"),
        (at(2, lambda t: ""), r"b.txt, line 3: 0 fields, daily01 has 28"),
        (
            at(1, lambda t: t.replace("  0.300", "  0.3o0", 1)),
            r"line 2: SOIL_MOISTURE_5_DAILY: '0.3o0' is not a finite",
        ),
        (at(1, lambda t: t.replace("  0.300", "    nan", 1)), r"line 2: SOIL_MOISTURE_5_DAILY: 'nan' is not a finite"),
        (
            at(1, lambda t: t.replace("  0.300", "  0_300", 1)),
            r"line 2: SOIL_MOISTURE_5_DAILY: '0_300' is not a finite",
        ),
        (at(0, lambda t: t.replace("20150101", "20150132")), r"line 1: LST_DATE: '20150132' is no date YYYYMMDD"),
        (at(0, lambda t: t.replace("20150101", " 2015011")), r"line 1: LST_DATE: '2015011' is no date YYYYMMDD"),
        (at(4, lambda t: t.replace("20150105", "20150104")), r"line 5: 2015-01-04 .* follows 2015-01-04 .* repeated"),
        (at(4, lambda t: t.replace("20150105", "20141231")), r"line 5: 2014-12-31 .* follows .*: out of order"),
        (at(3, lambda t: t.replace("23907", "23908")), r"line 4: station 23908 in a file of station 23907"),
        (at(3, lambda t: t.replace(" C ", " X ")), r"line 4: SUR_TEMP_DAILY_TYPE: 'X' is none of R, C, U"),
        (at(3, lambda t: t.replace("  2.423", "  2.4x3")), r"line 4: CRX_VN: '2.4x3' is not a finite number"),
        (at(3, lambda t: t.replace("  30.62", " 130.62")), r"line 4: LATITUDE 130.62 is beyond 90 degrees"),
        (lambda texts: [], r"b.txt: empty file"),
    ],
)
def test_a_broken_line_is_named(tmp_path, edit, message):
    with pytest.raises(UscrnError, match=message):
        uscrn.read_daily(broken(tmp_path, edit))


def test_lines_parted_by_single_blanks_are_no_fault(tmp_path):
    """The width counts only where the lines have the archive's own."""
    path = write(tmp_path / "b.txt", [" ".join(line(day=d).split()) for d in days(3)])
    assert uscrn.read_daily(path).sizes["time"] == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LATITUDE", "LAT", r"line 1: columns lacking \['LATITUDE'\], unknown \['LAT'\], twice \[\]"),
        ("LATITUDE", "CRX_VN", r"line 1: columns lacking \['LATITUDE'\], unknown \[\], twice \['CRX_VN'\]"),
        ("0.300", "", r"c.csv, line 2: SOIL_MOISTURE_5_DAILY: '' is not a finite number"),
        ("0.300,", "", r"c.csv, line 2: 27 fields, daily01 has 28"),
    ],
)
def test_a_broken_csv_is_named(tmp_path, old, new, message):
    path = as_csv(tmp_path / "c.csv", [line(day=d) for d in days(2)])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UscrnError, match=message):
        uscrn.read_daily(path)


def test_a_header_alone(tmp_path):
    with pytest.raises(UscrnError, match=r"c.csv: a header and no data"):
        uscrn.read_daily(as_csv(tmp_path / "c.csv", []))


# Hourly -------------------------------------------------------------------------------------


def hourly(utc, local, moisture="  0.281", flag="0"):
    head = f"53974 {utc} {local}  2.423  -96.61   39.10"
    air = f"    10.1    10.0    10.4     9.8     0.0    123 {flag}    200 0     50 0"
    surface = f"C    12.5 0    13.0 0    12.0 3    {'55':>4} 0"
    return f"{head} {air} {surface} {moisture}   0.300   0.310 -99.000 -99.000    14.1    14.0    13.9 -9999.0 -9999.0"


def test_hourly_time_is_the_end_of_the_hour_in_utc(tmp_path):
    """0000 of a UTC date closes the day before, so the date and the clock as printed are the instant."""
    texts = [hourly("20150601 2300", "20150601 1700"), hourly("20150602 0000", "20150601 1800", " -99.000", "3")]
    path = write(tmp_path / "h.txt", texts)
    table = uscrn.read_hourly_table(path)
    assert list(table.columns) == HOURLY_NAMES
    assert table["UTC_TIME"].to_list() == ["2300", "0000"]
    assert table["SOLARAD_FLAG"].to_list() == [0, 3]
    assert str(table["SOLARAD_FLAG"].dtype) == "Int16"
    assert table["SUR_TEMP_MIN_FLAG"].to_list() == [3, 3]
    assert table["SUR_TEMP_TYPE"].to_list() == ["C", "C"]
    data = uscrn.read_hourly(path)
    expected = pd.DatetimeIndex(["2015-06-01T23:00", "2015-06-02T00:00"])
    assert pd.DatetimeIndex(data["time"].values).equals(expected.as_unit("ns"))
    np.testing.assert_array_equal(data["soil_moisture"][:, 0, 0], np.float32([0.281, np.nan]))
    np.testing.assert_allclose(data["soil_temperature"][0, 0, :3], [287.25, 287.15, 287.05], rtol=1e-6)
    assert "end of the hour" in data.attrs["day"]
    variables.check(data, "hourly")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("20150602 0000", "20150602 2400", r"h.txt, line 2: UTC_TIME: '2400' is no time HHMM"),
        ("20150602 0000", "20150601 2300", r"h.txt, line 2: 2015-06-01 23:00:00 follows .*: out of order or repeated"),
        ("    13.0 0", "    13.0 .5", r"h.txt, line 1: SUR_TEMP_MAX_FLAG: '.5' is no flag"),
        ("-9999.0", "", r"h.txt, line 1: 37 fields, hourly02 has 38"),
    ],
)
def test_a_broken_hour_is_named(tmp_path, old, new, message):
    texts = [hourly("20150601 2300", "20150601 1700"), hourly("20150602 0000", "20150601 1800")]
    path = write(tmp_path / "h.txt", texts)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UscrnError, match=message):
        uscrn.read_hourly(path)


# A folder -----------------------------------------------------------------------------------

HEADER = "WBAN COUNTRY STATE LOCATION VECTOR NAME LATITUDE LONGITUDE ELEVATION STATUS COMMISSIONING CLOSING OPERATION"
READY = "Commissioned"
STATIONS = [
    [*words(HEADER), "PAIRING", "NETWORK", "STATION_ID"],
    ["03047", "US", "TX", "Monahans", "6 ENE", "Sandhills", "31.62", "-102.8", "2724", READY, "x", "NA", "Operational"],
    ["23907", "US", "TX", "Austin", "33 NW", "Balcones", "30.6208", "-98.0829", "1361", READY, "x", "", "Closed"],
    ["53011", "US", "AZ", "Tsaile", "1 SSW", "College", "36.29", "-109.21", "UN", "N", "x", "UN", "Closed"],
    ["UN", "US", "AK", "Tok", "70 SE", "Tetlin", "62.74", "-141.21", "2000", "N", "x", "", "Operational"],
    ["UN", "US", "AK", "Nowhere", "1 N", "Later", "NA", "NA", "UN", "N", "x", "", "Operational"],
]
TAIL = [["53877", "USCRN", "01010"], ["NA", "USCRN", "1020"], ["UN", "USRCRN", "UN"], *[["", "USCRN", "NA"]] * 2]


def stations_tsv(path):
    rows = [STATIONS[0], *[row + tail for row, tail in zip(STATIONS[1:], TAIL, strict=True)]]
    return write(path, ["\t".join(row) for row in rows])


@pytest.fixture
def archive(tmp_path):
    """Two stations of the network and one of another, years in folders and one file flat."""
    stations_tsv(tmp_path / "stations.tsv")
    name = "CRND0103-{}-TX_Austin_33_NW.txt"
    for year in (2014, 2015):
        texts = [line(day=d, moisture=((year - 2000) / 1000,) * 5) for d in days(5, date(year, 12, 27))]
        write(tmp_path / str(year) / name.format(year), texts)
    place = (-102.81, 31.62)
    monahans = [line("03047", d, (0.05,) * 5, (-9999,) * 5, place) for d in days(3, date(2015, 12, 30))]
    write(tmp_path / "CRND0103-2015-TX_Monahans_6_ENE.txt", monahans)
    tsaile = [line("53011", d, place=(-109.21, 36.29)) for d in days(2)]
    write(tmp_path / "2015" / "CRND0103-2015-AZ_Tsaile_1_SSW.txt", tsaile)
    write(tmp_path / "2015" / "CRNH0203-2015-TX_Austin_33_NW.txt", [hourly("20150601 2300", "20150601 1700")])
    write(tmp_path / "updates" / "2015" / "CRND0103-201501010500.txt", [line(), line("03047", place=place)])
    return tmp_path


def test_a_folder_becomes_one_array(archive):
    data = uscrn.open_folder(archive)
    assert data["site"].to_numpy().tolist() == ["03047", "23907"]
    assert data["name"].to_numpy().tolist() == ["TX Monahans 6 ENE", "TX Austin 33 NW"]
    # Coordinates are those of the list, not the two decimals of the files.
    np.testing.assert_array_equal(data["lat"], [31.62, 30.6208])
    np.testing.assert_array_equal(data["lon"], [-102.8, -98.0829])
    assert data["network"].to_numpy().tolist() == ["USCRN", "USCRN"]
    assert data["operation"].to_numpy().tolist() == ["Operational", "Closed"]
    # From 27 December 2014 to 1 January 2016, every day.
    assert pd.DatetimeIndex(data["time"]).equals(pd.date_range("2014-12-27", "2016-01-01", unit="ns"))
    austin = data["soil_moisture"].sel(site="23907")
    assert int(austin.count()) == 2 * 5 * 5
    np.testing.assert_array_equal(austin.sel(time="2015-12-27"), np.float32([0.015] * 5))
    assert np.isnan(austin.sel(time="2015-06-01")).all()
    monahans = data.sel(site="03047").dropna("time", how="all", subset=["soil_moisture"])
    assert monahans.sizes["time"] == 3
    assert np.isnan(monahans["soil_temperature"]).all()
    assert data.attrs["files_read"] == 3
    assert data.attrs["sites_of_other_networks"] == 1
    left_out = [str(p) for p in json.loads(data.attrs["files_left_out"])]
    assert [p.split("/")[-1][:5] for p in left_out] == ["CRNH0", "CRND0"]
    variables.check(data, "folder")


def test_a_network_a_station_and_years_are_chosen(archive):
    assert uscrn.open_folder(archive, network="USRCRN")["site"].to_numpy().tolist() == ["53011"]
    assert uscrn.open_folder(archive, network=None).sizes["site"] == 3
    one = uscrn.open_folder(archive, stations=["23907"], years=[2014])
    assert one["site"].to_numpy().tolist() == ["23907"]
    assert pd.DatetimeIndex(one["time"]).equals(pd.date_range("2014-12-27", "2014-12-31", unit="ns"))
    # The file of 2015 of Monahans reaches into 2016.
    assert pd.DatetimeIndex(uscrn.open_folder(archive, years=[2015])["time"])[-1] == pd.Timestamp("2015-12-31")
    with pytest.raises(FileNotFoundError, match="no daily01 file of station 99999"):
        uscrn.open_folder(archive, stations=["99999"])
    with pytest.raises(UscrnError, match="station 53011 is of the network USRCRN, not of USCRN"):
        uscrn.open_folder(archive, stations=["53011"])
    with pytest.raises(FileNotFoundError, match=r"no daily01 lines of network USCRN, stations None, years \[1999\]"):
        uscrn.open_folder(archive, years=[1999])


def test_stations_that_are_not_commissioned_are_left_out_unless_named(archive):
    text = (archive / "stations.tsv").read_text(encoding="utf-8")
    line = next(row for row in text.split("\n") if row.startswith("03047"))
    assert line.count("Commissioned") == 1
    (archive / "stations.tsv").write_text(
        text.replace(line, line.replace("Commissioned", "Test-site")), encoding="utf-8"
    )
    data = uscrn.open_folder(archive)
    assert data["site"].to_numpy().tolist() == ["23907"] and data.attrs["sites_not_commissioned"] == 1
    assert uscrn.open_folder(archive, stations=["03047"])["site"].to_numpy().tolist() == ["03047"]


def test_lists_of_stations(archive, tmp_path):
    table = uscrn.read_stations(archive / "stations.tsv")
    assert table["WBAN"].fillna("-").to_list() == ["03047", "23907", "53011", "-", "-"]
    assert table["STATION_ID"].fillna("-").to_list() == ["01010", "1020", "-", "-", "-"]
    assert table["PAIRING"].fillna("-").to_list() == ["53877", "-", "-", "-", "-"]
    assert table["LATITUDE"].isna().to_list() == [False] * 4 + [True]
    assert table["ELEVATION"].isna().sum() == 2
    moved = table.assign(LATITUDE=table["LATITUDE"] + 0.01)
    np.testing.assert_allclose(uscrn.open_folder(archive, metadata=moved)["lat"], [31.63, 30.6308])
    (archive / "stations.tsv").rename(archive / "other.tsv")
    with pytest.raises(FileNotFoundError, match=r"stations\.tsv"):
        uscrn.open_folder(archive)
    assert uscrn.open_folder(archive, metadata=archive / "other.tsv").sizes["site"] == 2
    with pytest.raises(UscrnError, match="station 23907 is not in the list"):
        uscrn.open_folder(archive, metadata=table[table["WBAN"] != "23907"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tNETWORK", "\tNET", r"s.tsv, line 1: lacks the columns \['NETWORK'\]"),
        ("\t31.62\t", "\t3I.62\t", r"s.tsv, line 2: LATITUDE '3I.62' is not a number"),
        ("\t1361\t", "\t", r"s.tsv, line 3: 15 fields, the header has 16"),
        ("53011", "23907", r"s.tsv, line 4: WBAN 23907 stands there twice"),
    ],
)
def test_a_broken_list_is_named(tmp_path, old, new, message):
    path = stations_tsv(tmp_path / "s.tsv")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UscrnError, match=message):
        uscrn.read_stations(path)


def test_a_day_in_two_files(archive):
    """The same values count once; other values are an error that names both files."""
    again = [line(day=d, moisture=(0.014,) * 5) for d in days(3, date(2014, 12, 30))]
    path = as_csv(archive / "extra.csv", again)
    data = uscrn.open_folder(archive, stations=["23907"])
    assert data.attrs["repeated_days"] == 2
    assert int(data["soil_moisture"].count()) == 11 * 5
    path.write_text(path.read_text().replace("0.014", "0.015"))
    with pytest.raises(UscrnError) as error:
        uscrn.open_folder(archive, stations=["23907"])
    text = str(error.value)
    assert "station 23907, 2014-12-30" in text
    assert "CRND0103-2014-TX_Austin_33_NW.txt" in text
    assert "extra.csv" in text
    assert "SOIL_MOISTURE_5_DAILY is 0.014 and 0.015" in text


def test_coordinates_that_are_off_are_told(archive, caplog):
    texts = [line(day=date(2016, 1, 1), place=(-98.08, 30.69))]
    write(archive / "CRND0103-2016-TX_Austin_33_NW.txt", texts)
    with caplog.at_level(logging.WARNING):
        uscrn.open_folder(archive)
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1
    assert "CRND0103-2016-TX_Austin_33_NW.txt: station 23907 prints a LATITUDE up to 0.07 degrees" in told[0]


def test_a_broken_file_in_a_folder_is_not_left_out(archive):
    path = archive / "2014" / "CRND0103-2014-TX_Austin_33_NW.txt"
    path.write_text("23907 20141227 2.423\n23907 20141228\n")
    with pytest.raises(UscrnError, match=r"CRND0103-2014-TX_Austin_33_NW.txt, line 1: 3 fields"):
        uscrn.open_folder(archive)
    with pytest.raises(FileNotFoundError, match="no folder"):
        uscrn.open_folder(archive / "nothing")


# The real files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(data_root):
    folder = data_root / "uscrn"
    if not folder.is_dir():
        pytest.skip(f"no USCRN files: {folder} is not there (SMAPNB_DATA names its parent)")
    return folder


@pytest.mark.data
def test_real_raw_file(real):
    daily = uscrn.read_daily(real / "CRND0103-2015-TX_Austin_33_NW.txt")
    assert pd.DatetimeIndex(daily["time"]).equals(pd.date_range("2015-01-01", "2015-12-31", unit="ns"))
    np.testing.assert_array_equal(daily["soil_moisture"][0, 0, :2], np.float32([0.369, 0.308]))
    np.testing.assert_array_equal(daily["soil_moisture"][-1, 0, :2], np.float32([0.435, 0.384]))
    np.testing.assert_array_equal(daily["soil_temperature"][-1, 0, :2], np.float32([273.15 + 9.8, 273.15 + 10.3]))
    # By grep: -99.000 stands twice in columns 19 and 20, always in 21 to 23.
    assert np.isnan(daily["soil_moisture"]).sum(["time", "site"]).to_numpy().tolist() == [2, 2, 365, 365, 365]
    assert daily["soil_moisture"].attrs["n_out_of_range"] == daily["soil_temperature"].attrs["n_out_of_range"] == 0
    table = uscrn.read_daily_table(real / "CRND0103-2015-TX_Austin_33_NW.txt")
    assert int(table["RH_DAILY_AVG"].isna().sum()) == 207
    assert table["SUR_TEMP_DAILY_TYPE"].value_counts().to_dict() == {"C": 363, "U": 2}


@pytest.mark.data
def test_real_csv(real):
    daily = uscrn.read_daily(real / "KS_Manhattan_6_SSW.csv")
    assert daily["site"].item() == "53974"
    times = pd.DatetimeIndex(daily["time"])
    assert (len(times), times[0], times[-1]) == (5118, pd.Timestamp("2003-10-01"), pd.Timestamp("2017-10-04"))
    # Lines 2832, 4277 and 5119 of the file.
    for day, moisture, temperature in (
        ("2011-07-01", [0.113, 0.191, 0.185, np.nan, np.nan], [28.6, 27.2, 25.7, 22.6, 19.3]),
        ("2015-06-15", [0.554, 0.508, 0.549, np.nan, np.nan], [23.5, 23.3, 23.1, 21.3, 19.1]),
        ("2017-10-04", [0.151, 0.183, np.nan, np.nan, np.nan], [18.7, 19.5, 20.4, 21.0, np.nan]),
    ):
        np.testing.assert_array_equal(daily["soil_moisture"].sel(time=day)[0], np.float32(moisture))
        np.testing.assert_allclose(daily["soil_temperature"].sel(time=day)[0], np.array(temperature) + 273.15, 1e-6)
    missing = np.isnan(daily["soil_moisture"]).sum(["time", "site"]).to_numpy().tolist()
    assert missing == [2277, 2185, 2894, 5118, 5118]
    table = uscrn.read_daily_table(real / "KS_Manhattan_6_SSW.csv")
    assert table["CRX_VN"].value_counts(dropna=False).to_dict()[np.nan] == 6


@pytest.mark.data
def test_real_folder(real):
    """Every file parses: two stations, their list, and the soil of 114; only the last is no file of a station."""
    data = uscrn.open_folder(real)
    assert data["site"].to_numpy().tolist() == ["23907", "53974"]
    assert data["name"].to_numpy().tolist() == ["TX Austin 33 NW", "KS Manhattan 6 SSW"]
    np.testing.assert_array_equal(data["lon"], [-98.08, -96.6])
    assert json.loads(data.attrs["files_left_out"]) == ["crn_site_info.csv"]
    stations = uscrn.read_stations(real / "stations.tsv")
    assert len(stations) == 242
    assert (stations["NETWORK"] == "USCRN").sum() == 150
    assert stations["WBAN"].isna().sum() == 11
    assert set(stations["WBAN"].dropna().str.len()) == {5}
    assert stations["PAIRING"].notna().sum() == 14
    soil = uscrn.read_site_info(real / "crn_site_info.csv")
    assert soil["station_id"].nunique() == 114
    first = soil.iloc[0]
    assert first[["name", "depth", "sand", "silt", "clay", "bulk_density"]].to_list() == [
        "Fairhope 3NE", 5.0, 78.1, 16.6, 5.3, 1.27
    ]  # fmt: skip


@pytest.mark.data
def test_real_soil_info_broken(real, tmp_path):
    lines = (real / "crn_site_info.csv").read_text(errors="replace").split("\n")
    path = tmp_path / "info.csv"
    path.write_text("\n".join([lines[0], lines[1].replace(",", "", 1)]))
    with pytest.raises(UscrnError, match=r"info.csv, line 2: 471 fields, the header has 472"):
        uscrn.read_site_info(path)
    path.write_text("\n".join([lines[0].replace("PercentClay1", "Clay1"), lines[1]]))
    with pytest.raises(UscrnError, match=r"info.csv, line 1: lacks the columns \['PercentClay1'\]"):
        uscrn.read_site_info(path)
