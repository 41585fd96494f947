"""The authors' CSV layout: a tiny one written here, every way in which it can be broken, the real sample."""

import csv

import numpy as np
import pandas as pd
import pytest

from smapnb import fetch_lists, variables
from smapnb.grid import EaseGrid
from smapnb.sources import authors_csv
from smapnb.sources.authors_csv import LayoutError, open_sample

OWN = variables.own_names("authors_csv")
CELLS = [(47, 151), (99, 219), (115, 299)]  # of the fixture `layout`


def test_a_broken_download_is_not_the_sample(layout, tmp_path):
    assert authors_csv.at_hand(layout)
    (tmp_path / "begun" / "CONUSv4f1" / "2015").mkdir(parents=True)
    assert not authors_csv.at_hand(tmp_path / "begun")
    assert f"{authors_csv.ROOT_NAME}/{authors_csv.PLACES}" == fetch_lists.LAST  # what fetch puts there last tells


def test_reads_names_units_and_order(layout):
    sample = open_sample(layout)
    assert set(sample.data_vars) == set(OWN.values())
    assert dict(sample.sizes) == {"time": 366 + 365, "pixel": 3}
    assert pd.DatetimeIndex(sample["time"].values).equals(pd.date_range("2015-04-01", "2017-03-31"))
    assert list(zip(sample["row"].values, sample["col"].values, strict=True)) == CELLS
    lon, lat = EaseGrid(36).center(*np.transpose(CELLS))
    np.testing.assert_array_equal(sample["lon"], lon)
    np.testing.assert_array_equal(sample["lat"], lat)
    wind = sample["wind_v"]
    assert wind.dtype == np.float32
    assert wind.attrs["units"] == "m s-1"
    np.testing.assert_allclose(wind[10, 2], 2.010, rtol=1e-6)
    np.testing.assert_allclose(wind[366 + 10, 1], 1.010, rtol=1e-6)
    assert sample.attrs["synthetic"] == "false"
    assert "10.1109/TGRS.2018.2872131" in sample.attrs["source"]


def test_precipitation_is_per_day(layout):
    """The files hold the mean of 24 hourly totals, so that a day's total is 24 times it."""
    sample = open_sample(layout)
    np.testing.assert_allclose(sample["precipitation"], 24 * sample["wind_u"], rtol=1e-6)
    assert sample["precipitation"].attrs["units"] == "mm d-1"


def test_missing_values_and_years_without_target(layout):
    sample = open_sample(layout)
    smap = sample["ssm_smap"].values
    assert np.isnan(smap[:366:2]).all()
    np.testing.assert_allclose(smap[1:366:2], np.tile([0.1, 0.2, 0.3], (183, 1)), rtol=1e-6)
    assert np.isnan(smap[366:]).all()
    assert sample.attrs["targets_without_file"] == "ssm_smap: 2016"
    np.testing.assert_array_equal(sample["sand"], np.float32([0.5, np.nan, 1]))
    assert open_sample(layout, years=[2015]).attrs["targets_without_file"] == "none"


def test_a_target_may_end_early_but_has_no_hole(layout):
    folder = layout / "CONUSv4f1"
    days = len((folder / "2016" / "timeStr.csv").read_text().split())
    (folder / "2016" / "SMAP_AM.csv").write_text("\n".join([",".join(["0.2"] * days)] * 3) + "\n")
    (folder / "2015" / "SMAP_AM.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*2015/SMAP_AM.csv"):
        open_sample(layout)


def test_years_are_chosen(layout):
    one = open_sample(layout, years=[2016])
    assert str(one["time"].values[0])[:10] == "2016-04-01"
    np.testing.assert_array_equal(one["wind_u"], open_sample(layout)["wind_u"][366:])
    with pytest.raises(FileNotFoundError, match=r"CONUSv4f1: no folder of year 2017; there are \[2015, 2016\]"):
        open_sample(layout, years=[2016, 2017])
    with pytest.raises(LayoutError, match="2016 is left out"):
        open_sample(layout, years=[2015, 2017])


def test_a_hole_between_years(layout):
    (layout / "CONUSv4f1" / "2016").rename(layout / "CONUSv4f1" / "2017")
    with pytest.raises(FileNotFoundError, match="no folder of year 2016"):
        open_sample(layout)


def test_no_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match="CONUSv4f1"):
        open_sample(tmp_path)
    (tmp_path / "CONUSv4f1").mkdir()
    with pytest.raises(FileNotFoundError, match="no year folder"):
        open_sample(tmp_path)


@pytest.mark.parametrize(
    "name", ["crd.csv", "2016/TMP_2_FORA.csv", "const/Sand.csv", "2015/time.csv", "2015/timeStr.csv"]
)
def test_missing_file_is_named(layout, name):
    (layout / "CONUSv4f1" / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        open_sample(layout)


def edit(path, line: int, column: int | None, text: str) -> None:
    """Replace one cell, or the whole line, both counted from 1."""
    lines = path.read_text().splitlines()
    if column is None:
        lines[line - 1] = text
    else:
        cells = lines[line - 1].split(",")
        cells[column - 1] = text
        lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(line for line in lines if line is not None) + "\n")


@pytest.mark.parametrize(
    ("name", "line", "column", "text", "message"),
    [
        ("2015/TMP_2_FORA.csv", 2, 7, "28o.1", r"TMP_2_FORA.csv, line 2, column 7: '28o.1' is not a number"),
        ("2015/TMP_2_FORA.csv", 3, 366, "", r"TMP_2_FORA.csv, line 3, column 366: '' is not a number"),
        ("2015/SMAP_AM.csv", 1, 4, "nan", r"SMAP_AM.csv, line 1, column 4: not a finite number"),
        ("2016/APCP_FORA.csv", 1, 1, "inf", r"APCP_FORA.csv, line 1, column 1: not a finite number"),
        ("2016/APCP_FORA.csv", 2, 1, "1,1", r"APCP_FORA.csv, line 2: 366 columns, the lines before have 365"),
        ("const/Clay.csv", 2, 1, "x", r"const/Clay.csv, line 2, column 1: 'x' is not a number"),
        ("const/Clay.csv", 2, 1, "#", r"const/Clay.csv, line 2, column 1: '#' is not a number"),
        ("2016/timeStr.csv", 5, 1, "2016-04-06", r"timeStr.csv, line 5: 2016-04-06, where 2016-04-05"),
        ("2016/time.csv", 5, 1, "736424", r"time.csv, line 5: 736424.0, where 736425 \(2016-04-05\)"),
        ("crd.csv", 2, 1, "91.0", r"crd.csv: 1 of 3 points .* point 1: .* lat 91.0"),
    ],
)
def test_fault_is_named(layout, name, line, column, text, message):
    edit(layout / "CONUSv4f1" / name, line, column, text)
    with pytest.raises(LayoutError, match=message):
        open_sample(layout)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2015/SMAP_AM.csv", r"SMAP_AM.csv: 2 rows x 366 columns, due are 3 x 366"),
        ("const/Sand.csv", r"const/Sand.csv: 2 rows x 1 columns, due are 3 x 1"),
        ("2016/time.csv", r"time.csv: 364 dates, the year from 1 April 2016 has 365 days"),
        ("2016/timeStr.csv", r"timeStr.csv: 364 dates, the year from 1 April 2016 has 365 days"),
    ],
)
def test_lost_line_is_named(layout, name, message):
    path = layout / "CONUSv4f1" / name
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(LayoutError, match=message):
        open_sample(layout)


def test_dates_that_are_no_text(layout):
    (layout / "CONUSv4f1" / "2016" / "timeStr.csv").write_bytes(b"\xff\xfe\n2016-04-02\n")
    with pytest.raises(LayoutError, match=r"2016/timeStr.csv: 2 dates"):
        open_sample(layout)


def test_year_of_the_wrong_length(layout):
    """A file of 365 columns in the year that has a 29 February."""
    path = layout / "CONUSv4f1" / "2015" / "UGRD_10_FORA.csv"
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines()))
    with pytest.raises(LayoutError, match=r"UGRD_10_FORA.csv: 3 rows x 365 columns, due are 3 x 366"):
        open_sample(layout)


def test_empty_file(layout):
    (layout / "CONUSv4f1" / "const" / "NDVI.csv").write_text("\n")
    with pytest.raises(LayoutError, match=r"NDVI.csv: empty"):
        open_sample(layout)


@pytest.mark.parametrize(
    ("cell", "shift", "message"),
    [
        ((48, 151), 0.0, "line 2.*row 48, column 151"),  # not a pixel of the sample
        ((47, 152), 0.0, "line 2.*row 47, column 152"),
        ((51, 151), 0.01, "line 2.*0.01 degrees from its centre"),
        ((47, 151), 0.0, "line 2.*of its own"),  # pixel 1 again
    ],
)
def test_coordinates_that_do_not_fit(layout, cell, shift, message):
    lon, lat = EaseGrid(36).center(*cell)
    edit(layout / "CONUSv4f1" / "crd.csv", 2, None, f"{lat + shift:.10f},{lon:.10f}")
    with pytest.raises(LayoutError, match=message):
        open_sample(layout)


# The real sample ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(data_root):
    return open_sample(data_root / "conus412")


@pytest.mark.data
def test_real_sample_is_whole(sample):
    assert dict(sample.sizes) == {"time": 1096, "pixel": 412}
    assert (sample["row"].min(), sample["row"].max()) == (47, 115)
    assert (sample["col"].min(), sample["col"].max()) == (151, 299)
    forcing = sample[variables.names("forcing")]
    assert all(bool(np.isfinite(array).all()) for array in forcing.data_vars.values())
    missing = {n: int(np.isnan(sample[n]).sum()) for n in variables.names("static")}
    assert {n for n, count in missing.items() if count} == {
        "sand", "silt", "clay", "bulk_density", "water_capacity"
    }  # fmt: skip
    assert max(missing.values()) == 1  # one pixel has no soil
    assert not any(array.attrs["n_out_of_range"] for array in sample.data_vars.values())


@pytest.mark.data
def test_real_sample_against_the_text(sample, data_root):
    """Single cells, read by the csv module."""
    base = data_root / "conus412" / "CONUSv4f1"
    for year, offset in ((2015, 0), (2016, 366), (2017, 731)):
        for own, factor in (("APCP_FORA", 24), ("TMP_2_FORA", 1), ("SPFH_2_FORA", 1)):
            with (base / str(year) / f"{own}.csv").open() as file:
                line = list(csv.reader(file))[321]
            expected = factor * np.array(line, dtype=float)
            ours = sample[OWN[own]].values[offset : offset + len(line), 321]
            np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.data
def test_real_smap(sample, data_root):
    """42.1 % observed in the first year; in the second as many pixels as its file has; no third year."""
    smap = sample["ssm_smap"].values
    assert np.isfinite(smap[:366]).mean() == pytest.approx(0.421, abs=5e-4)
    text = (data_root / "conus412/CONUSv4f1/2016/SMAP_AM.csv").read_text().splitlines()
    seen = [any(float(cell) != -9999 for cell in line.split(",")) for line in text]
    assert sum(seen) > 100
    np.testing.assert_array_equal(np.isfinite(smap[366:731]).any(axis=0), seen)
    assert np.isnan(smap[731:]).all()
    assert sample.attrs["targets_without_file"] == "ssm_smap: 2017"


@pytest.mark.data
def test_real_sample_against_the_authors_statistics(sample, data_root):
    """Theirs are of all CONUS pixels, of which one in sixteen is here: near, not the same."""
    for own, name in OWN.items():
        row = variables.TABLE[name]
        if row.kind == "static" or name == "precipitation":
            continue
        stat = np.loadtxt(data_root / f"conus412/Statistics/{own}_stat.csv")
        values = sample[name].values
        values = values[np.isfinite(values)].astype(float)
        p10, p90 = np.percentile(values, [10, 90])
        inner = values[(values >= p10) & (values <= p90)]
        np.testing.assert_allclose([p10, p90], stat[:2], atol=0.35 * stat[3], err_msg=name)
        np.testing.assert_allclose([inner.mean(), inner.std()], stat[2:], atol=0.12 * stat[3], err_msg=name)
    stat = 24 * np.loadtxt(data_root / "conus412/Statistics/APCP_FORA_stat.csv")
    rain = sample["precipitation"].values
    assert np.percentile(rain, 90) == pytest.approx(stat[1], rel=0.1)


@pytest.mark.data
def test_real_pixel_order_is_that_of_the_files(sample, data_root):
    crd = np.loadtxt(data_root / "conus412/CONUSv4f1/crd.csv", delimiter=",")
    np.testing.assert_allclose(sample["lat"], crd[:, 0], atol=authors_csv.CENTRE_TOLERANCE)
    np.testing.assert_allclose(sample["lon"], crd[:, 1], atol=authors_csv.CENTRE_TOLERANCE)
