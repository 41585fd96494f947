"""Replies of the point services: six real ones of the old, and the layout of the new written here."""

import json
import re

import numpy as np
import pandas as pd
import pyproj
import pytest
from conus_archive import by_area
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb.grid import EaseGrid
from smapnb.sources import _nldas_points, nldas
from smapnb.sources.nldas import NldasError

HEADER = """prod_name,NLDAS_{product}0125_H.2.0
doi,10.5067/THUF4J1RLSYG
param_short_name,{name}
param_name,"2-meter above ground, Temperature"
unit,{unit}
undef,-9999
begin_time,{begin}
end_time,{end}
lat,{lat}
lon,{lon}
lat_resolution,0.125
lon_resolution,0.125
mean,2.6839e+02
Request_time,2026-07-14 12:21:23

Timestamp (UTC),Data
"""


def write(folder, first, values, name="Tair", unit="K", product="FORA", lat=44.9375, lon=-93.3125, extra="", **text):
    """A reply of version 2.0; `extra` lengthens the header."""
    stamps = pd.date_range(first, periods=len(values), freq="h")
    header = HEADER.format(
        product=product,
        name=name,
        unit=unit,
        lat=lat,
        lon=lon,
        begin=f"{stamps[0]}",
        end=text.get("end", f"{stamps[-1]}"),
    )
    rows = [
        f"{stamp:{text.get('format', '%Y-%m-%d %H:%M')}},{value}" for stamp, value in zip(stamps, values, strict=True)
    ]
    path = folder / f"{product}_{name}_{lat}_{lon}_{stamps[0]:%Y%m%d%H}.csv"
    path.write_text(extra + header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_both_rules_at_the_end_of_a_year(tmp_path):
    # Hours 0 to 48 from 31 December 2015: the means of 0..23 and 24..47, and of 1..24 and 25..48.
    path = write(tmp_path, "2015-12-31", range(49))
    author, exact = nldas.open_points(path), nldas.open_points(path, day="exact")
    for data, means in ((author, [11.5, 35.5]), (exact, [12.5, 36.5])):
        assert data["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2015-12-31", "2016-01-01"]
        assert data["air_temperature"][:, 0].to_numpy().tolist() == means
    assert author["site"].to_numpy().tolist() == ["44.9375N 93.3125W"]
    assert (float(author["lat"][0]), float(author["lon"][0])) == (44.9375, -93.3125)
    assert author["air_temperature"].attrs["units"] == "K" and author.attrs["day_rule"] == "author"


@given(
    hours=st.lists(st.one_of(st.none(), st.floats(0, 50)), min_size=2, max_size=100),
    first=st.integers(0, 23),
    min_hours=st.integers(1, 24),
)
@settings(max_examples=100, deadline=None)
def test_the_rules_are_one_hour_apart(hours, first, min_hours):
    """What one rule makes of a series, the other makes of the series an hour earlier; and no water is lost."""
    stamps = pd.date_range("2015-12-30", periods=len(hours), freq="h") + pd.Timedelta(hours=first)
    series = pd.Series([np.nan if one is None else one for one in hours], index=stamps, dtype=float)
    exact, n = _nldas_points.daily(series, "exact", min_hours)
    author, _ = _nldas_points.daily(series.set_axis(stamps - pd.Timedelta(hours=1)), "author", min_hours)
    both = exact.index.intersection(author.index)
    np.testing.assert_allclose(exact[both], author[both])
    assert (exact.isna() == (n < min_hours)).all() and n.max() <= 24
    inside = series[series.index.map(lambda stamp: (stamp - pd.Timedelta(hours=1)).normalize() in exact.index)]
    every, count = _nldas_points.daily(series, "exact", 1)
    assert (every * count).sum() == pytest.approx(inside.sum())


def test_rain_is_the_total_of_the_day(tmp_path):
    write(tmp_path, "2016-01-01", [0.0] * 20 + [1.5, 0, 0, 0.25], name="Rainf", unit="kg m-2")
    assert nldas.open_points(tmp_path)["precipitation"].to_numpy().tolist() == [[1.75]]


def test_soil_moisture_of_both_models(tmp_path):
    write(tmp_path, "2016-01-01", [25.0] * 24, "SoilM_0_10cm", "kg m-2", "NOAH")
    write(tmp_path, "2016-01-01", [300.0] * 24, "SoilM_0_100cm", "kg m-2", "NOAH")
    write(tmp_path, "2016-01-01", [20.0] * 24, "SoilM_layer1", "kg m-2", "VIC")
    write(tmp_path, "2016-01-01", [400.0] * 24, "SoilM_0_100cm", "kg m-2", "VIC")
    data = nldas.open_points(tmp_path)
    found = {name: float(array[0, 0]) for name, array in data.items()}
    assert found == pytest.approx({"ssm_noah": 0.25, "rzsm_noah": 0.3, "ssm_vic": 0.2, "rzsm_vic": 0.4})


def test_the_header_says_what_is_missing(tmp_path):
    path = write(tmp_path, "2016-01-01", [*range(23), -7777])
    path.write_text(path.read_text().replace("undef,-9999", "undef,-7777"))
    assert float(nldas.open_points(path, min_hours=23)["air_temperature"][0, 0]) == 11.0


@pytest.mark.parametrize("missing", ["-9999", "-9999.0", "9999.9", "9.999e+20", "nan"])
def test_missing_hours(tmp_path, missing):
    path = write(tmp_path, "2016-01-01", [*range(23), missing])
    assert np.isnan(nldas.open_points(path)["air_temperature"]).all()
    assert float(nldas.open_points(path, min_hours=23)["air_temperature"][0, 0]) == 11.0
    assert nldas.open_points(path).attrs["days_incomplete"] == 1


def test_the_header_may_be_longer_and_times_be_written_otherwise(tmp_path):
    for n, shape in enumerate(("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M")):
        folder = tmp_path / str(n)
        folder.mkdir()
        write(folder, "2016-01-01", range(24), extra="title,Time, Series\nversion,7\n" * n, format=shape)
        assert float(nldas.open_points(folder)["air_temperature"][0, 0]) == 11.5


def test_pieces_of_one_series_are_joined(tmp_path):
    write(tmp_path, "2016-01-01", range(24))
    write(tmp_path, "2016-01-01T23", range(23, 48))  # both have the hour 23
    data = nldas.open_points(tmp_path)
    assert data["air_temperature"][:, 0].to_numpy().tolist() == [11.5, 35.5]
    assert data.attrs["duplicates_left_out"] == 1
    write(tmp_path, "2016-01-02T20", [1, 2, 3])
    with pytest.raises(NldasError, match="two values of air_temperature at 2016-01-02 20:00:00"):
        nldas.open_points(tmp_path)


def test_the_series_at_the_centre_stands_for_the_pixel(tmp_path):
    """By PROJ, cells of 36 km have their centres at 98.776W and 66.660W, 35.335N; NLDAS ends at 67W."""
    edge, size = np.array([-17367530.4451615, 7314540.8306386]), 36032.220840584
    lonlat = pyproj.Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True).transform
    for col, due in ((217, (-98.776, 35.335)), (303, (-66.660, 35.335))):
        assert lonlat(*(edge + size * np.array([col + 0.5, -85.5]))) == pytest.approx(due, abs=5e-4)
    write(tmp_path, "2016-01-01", [280.0] * 48, lat=35.3125, lon=-98.8125)
    write(tmp_path, "2016-01-01", [290.0] * 48, lat=35.4375, lon=-98.8125)
    write(tmp_path, "2016-01-01", [300.0] * 48, lat=35.3125, lon=-98.6875)
    points = nldas.open_points(tmp_path)
    data = nldas.points_to_pixels(points, 36, [85, 85], [217, 303])
    assert data["row"].to_numpy().tolist() == [85, 85] and data["col"].to_numpy().tolist() == [217, 303]
    np.testing.assert_array_equal(data["air_temperature"], [[280, np.nan]] * 2)
    assert data.attrs["cover"] == "centre" and data.attrs["hours_missing"] == 0
    with pytest.raises(NldasError, match=r"1 of 1 NLDAS cells over .* no series, the first is 40\.0625N 98\.8125W"):
        nldas.points_to_pixels(points, 9, *EaseGrid(9).cell([-98.8125], [40.0625]))
    only_east = nldas.points_to_pixels(points, 36, [85], [303])
    assert only_east["air_temperature"].isnull().all()


def test_all_series_over_a_pixel_are_weighted_by_area(tmp_path):
    """By overlaps on the sphere; of 16 cells or 12 over the pixel a fifth may be missing, and no more."""
    row, col = 85, 217
    west, south, east, north = EaseGrid(36).bounds_degrees(row, col)
    lat = 25.0625 + 0.125 * np.arange(224)
    lon = -124.9375 + 0.125 * np.arange(464)
    over = [(lat - 0.0625 < north) & (lat + 0.0625 > south), (lon - 0.0625 < east) & (lon + 0.0625 > west)]
    places = [(y, x) for y in lat[over[0]] for x in lon[over[1]]]
    values = np.zeros((lat.size, lon.size))
    for n, (y, x) in enumerate(places):
        hours = [270.0 + n * n % 37] * 24
        values[lat == y, lon == x] = hours[0]
        write(tmp_path, "2016-01-01", hours + (hours if n >= len(places) // 5 else [-9999] * 24), lat=y, lon=x)
    points = nldas.open_points(tmp_path, start="2016-01-01", end="2016-01-02")
    data = nldas.points_to_pixels(points, 36, [row], [col], "covering")
    due = by_area(values, lat - 0.0625, lon - 0.0625, 0.125, row, col, 36)
    found = data["air_temperature"].to_numpy()[:, 0]
    assert found[0] == pytest.approx(due, abs=0.02)  # sphere and ellipsoid differ by so much
    assert np.isfinite(found[1]) and abs(found[1] - found[0]) > 0.1
    n, gone = len(places), len(places) // 5
    assert n in (12, 16) and data.attrs["hours_missing"] == 24 * gone
    y, x = places[gone]
    path = tmp_path / f"FORA_Tair_{y}_{x}_2016010100.csv"
    path.unlink()
    write(tmp_path, "2016-01-01", [280.0] * 24 + [-9999] * 24, lat=y, lon=x)
    data = nldas.points_to_pixels(nldas.open_points(tmp_path), 36, [row], [col], "covering")
    assert np.isnan(data["air_temperature"][1, 0])
    path.unlink()
    with pytest.raises(NldasError, match=f"1 of {n} NLDAS cells over the pixels have no series"):
        nldas.points_to_pixels(nldas.open_points(tmp_path), 36, [row], [col], "covering")


def test_days_that_are_asked_for_must_have_their_hours(tmp_path):
    path = write(tmp_path, "2016-01-01", [*range(23), -9999, *range(48)])
    half = nldas.open_points(tmp_path, start="2016-01-02", end="2016-01-03", day="author")
    assert half["air_temperature"][:, 0].to_numpy().tolist() == [11.5, 35.5]
    assert np.isnan(nldas.open_points(tmp_path, start="2016-01-01", end="2016-01-01")["air_temperature"][0, 0])
    for days, message in (
        (("2016-01-01", "2016-01-04"), "1 of 4 days have fewer than 24 hours of air_temperature, .* 2016-01-04 with 0"),
        (("2015-12-31", "2016-01-01"), "1 of 2 days .* the first is 2015-12-31 with 0"),
    ):
        with pytest.raises(NldasError, match=f"{re.escape(path.name)}: {message}"):
            nldas.open_points(tmp_path, start=days[0], end=days[1])
    with pytest.raises(NldasError, match="2016-01-03 with 23"):
        nldas.open_points(tmp_path, day="exact", start="2016-01-02", end="2016-01-03")
    assert nldas.open_points(tmp_path, names=["air_temperature"]).sizes["time"] == 3
    with pytest.raises(NldasError, match=r"no series of wind_u for the NLDAS cell at 44\.9375N 93\.3125W"):
        nldas.open_points(tmp_path, names=["air_temperature", "wind_u"])


def test_the_cell_is_found_from_the_point_that_was_asked_for(tmp_path):
    # Both points lie in the cell whose centre is 44.9375N 93.3125W, on either side of it.
    write(tmp_path, "2016-01-01", range(24), lat=44.99, lon=-93.26)
    write(tmp_path, "2016-01-01", range(24), lat=44.88, lon=-93.37)
    assert nldas.open_points(tmp_path)["site"].to_numpy().tolist() == ["44.9375N 93.3125W"]
    write(tmp_path, "2016-01-01", range(24), lat=54.0)
    with pytest.raises(NldasError, match=r"lat 54\.0, lon -93\.3125 lies outside"):
        nldas.open_points(tmp_path)


BAD = [
    ("Timestamp (UTC),Data", "", "no line that names the columns"),
    ("01:00,1\n", "01:00,x\n", r"line 18: '2016-01-01 01:00,x' is no hour and number"),
    ("01:00,1\n", "01:30,1\n", "is no hour and number"),
    ("01:00,1\n", "01:00,1,2\n", "is no hour and number"),
    ("01:00,1\n", "00:00,1\n", "line 18: 2016-01-01 00:00:00 follows 2016-01-01 00:00:00"),
    ("unit,K", "unit,degC", "Tair is in 'degC'"),
    ("Tair", "PSurf", "PSurf of NLDAS_FORA0125_H is not used"),
    ("param_short_name,Tair\n", "", "tells no product or variable"),
    ("0125_H.2.0", "0125_M.2.0", "is not hourly"),
    ("lat,44.9375", "lat,north", "lat in the header is 'north'"),
    ("lat,44.9375\n", "", "lat in the header is None"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_replies_are_named(tmp_path, old, new, message):
    path = write(tmp_path, "2016-01-01", range(24))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(NldasError, match=f"{re.escape(path.name)}.*{message}"):
        nldas.open_points(tmp_path)


def test_what_is_no_reply(tmp_path):
    with pytest.raises(FileNotFoundError, match="no reply"):
        nldas.open_points(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nldas.open_points(tmp_path / "nowhere")
    for text, message in (("\n", "empty file"), ("<!DOCTYPE html>", "a web page")):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(NldasError, match=rf"a\.csv: {message}"):
            nldas.open_points(tmp_path)
    header = HEADER.format(product="FORA", name="Tair", unit="K", lat=40, lon=-90, begin="", end="")
    (tmp_path / "a.csv").write_text(header)
    with pytest.raises(NldasError, match="a header and no data"):
        nldas.open_points(tmp_path)


def test_a_reply_that_breaks_off(tmp_path):
    write(tmp_path, "2016-01-01", range(24), end="2016-01-02 23:00:00")
    with pytest.raises(NldasError, match="end_time is 2016-01-02 23:00:00, the data have 2016-01-01 23:00:00: cut off"):
        nldas.open_points(tmp_path)
    write(tmp_path, "2016-01-01", range(24), end="2016-01-01 23:59:59")
    assert nldas.open_points(tmp_path).sizes["time"] == 1


# The real replies ---------------------------------------------------------------------------


@pytest.fixture
def real(data_root):
    folder = data_root / "nldas" / "datarods_ascii"
    if not folder.is_dir():
        pytest.skip(f"no NLDAS sample: {folder} is not there")
    return folder


def test_six_real_replies(real):
    data = nldas.open_points(real)
    assert dict(data.sizes) == {"time": 1, "site": 6}
    assert data["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2019-05-28"]
    # From north to south and west to east; only in the northernmost did it rain: 0.0616 mm in hour 20.
    assert data["site"].to_numpy().tolist()[:2] == ["39.0625N 94.6875W", "38.9375N 94.6875W"]
    rain = dict(zip(data["site"].to_numpy().tolist(), data["precipitation"][0].to_numpy().tolist(), strict=True))
    text = (real / "APCPsfc-X242-Y112.txt").read_text()
    by_hand = [float(line.split()[2]) for line in text.splitlines() if re.match(r"\s+2019-05-28 \d\dZ", line)]
    assert len(by_hand) == 24 and by_hand[20] == 0.0616
    assert rain["39.0625N 94.6875W"] == pytest.approx(sum(by_hand), rel=1e-6) == pytest.approx(0.0616, rel=1e-6)
    assert json.loads(data.attrs["versions"]) == {} and data.attrs["files_read"] == 6
    # Each file says its mean in its last line.
    for path in sorted(real.iterdir()):
        text = path.read_text()
        place = [re.search(rf"{axis}=\s*([-\d.]+)\s", text.split("Requested")[1])[1] for axis in ("lat", "lon")]
        mean = float(re.search(r"MEAN=(\S+)", text)[1])
        site = f"{float(place[0]):.4f}N {-float(place[1]):.4f}W"
        assert rain[site] / 24 == pytest.approx(mean, abs=5e-7)
    # The 24 hours 00 to 23 are 23 of the one UTC day and one of the day before.
    exact = nldas.open_points(real, day="exact")
    assert np.isnan(exact["precipitation"]).all() and exact.sizes["time"] == 1
    some = nldas.open_points(real, day="exact", min_hours=23)
    assert float(some["precipitation"][0, 0]) == pytest.approx(0.0616 * 24 / 23, rel=1e-6)


def test_a_real_reply_that_was_cut(real, tmp_path):
    text = (real / "APCPsfc-X242-Y112.txt").read_text()
    (tmp_path / "a.txt").write_text(text[: text.index("2019-05-28 20Z")].rstrip() + "\n")
    with pytest.raises(NldasError, match="20 hours, the header says 24: cut off"):
        nldas.open_points(tmp_path)
    # Fewer lines in the header do not matter, while what is needed stays.
    (tmp_path / "a.txt").write_text(text.replace("elevation[m]=277.013885\n", "").replace("dlat=0.125000\n", ""))
    assert float(nldas.open_points(tmp_path)["precipitation"][0, 0]) == pytest.approx(0.0616, rel=1e-6)
