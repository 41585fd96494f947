"""The cube: whole or an error, appended without touching what is there, found again by its contents."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from smapnb import cube, variables
from smapnb.cube import CubeError
from smapnb.profile import Profile
from smapnb.sources import authors_csv


def make_profile(source: str = "conus412", start="2015-04-01", end="2016-12-31", **data) -> Profile:
    def days(first: int, last: int) -> dict:
        day = pd.Timestamp(start).date()  # the layout's target has values early in its first year
        return {"start": day + pd.Timedelta(days=first), "end": day + pd.Timedelta(days=last)}

    sections = {"training": {**days(0, 9), "seq_length": [5]}, "hindcast": days(10, 19), "evaluation": days(10, 14)}
    data = {"source": source, "start": start, "end": end, **data}
    return Profile.model_validate({"name": "test", "title": "A test", "data": data, **sections})


def state(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time and bytes of every file below a folder."""
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@pytest.fixture
def root(layout) -> Path:
    return layout.parent


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "runs" / "test" / "cube.zarr"


def test_holds_what_the_source_gives(root, path):
    profile = make_profile(start="2015-05-01", end="2016-12-31")
    assert cube.build(profile, path, root) == path
    made = cube.open_cube(path)
    source = authors_csv.open_sample(root / "conus412").sel(time=slice("2015-05-01", "2016-12-31"))
    xr.testing.assert_equal(made.load(), source)
    assert list(made.data_vars) == [name for name in variables.TABLE if name in source]
    assert all(array.dtype == np.float32 for array in made.data_vars.values())
    assert made["time"].values[0] == np.datetime64("2015-05-01")
    variables.check(made, "cube")


def test_is_one_ordinary_zarr_v3_store(root, path):
    cube.build(make_profile(), path, root)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    xr.testing.assert_equal(xr.open_zarr(path, consolidated=False)["wind_u"], cube.open_cube(path)["wind_u"])
    assert group["wind_u"].chunks == (cube.TIME_CHUNK, 3)
    assert sorted(p.name for p in path.parent.iterdir()) == ["cube.zarr"]


def test_cf_attributes(root, path):
    cube.build(make_profile(), path, root)
    made = cube.open_cube(path)
    assert made.attrs["Conventions"] == "CF-1.11"
    assert made.attrs["synthetic"] == "false"
    assert made.attrs["profile"] == "test"
    assert made.attrs["grid_crs"] == "EPSG:6933" and "36 km" in made.attrs["grid"]
    for name in ("title", "source", "created", "smapnb_version", "versions", "data_section"):
        assert made.attrs[name]
    assert made["lat"].attrs["standard_name"] == "latitude"
    assert made["lat"].attrs["units"] == "degrees_north"
    assert made["time"].attrs["standard_name"] == "time"
    assert made["ssm_smap"].attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert made["precipitation"].attrs["cell_methods"] == "time: mean"
    assert set(made["wind_u"].encoding["coordinates"].split()) == set(variables.PIXEL_COORDINATES)
    for name, variable in made.variables.items():
        assert variable.attrs.get("long_name"), name


def test_pixels_are_evenly_taken(root, path):
    cube.build(make_profile(pixels=2), path, root)
    assert cube.open_cube(path)["pixel"].values.tolist() == [0, 2]
    cube.build(make_profile(pixels=99), path, root)
    assert cube.open_cube(path).sizes["pixel"] == 3


def test_is_kept_when_made_from_the_same(root, path):
    profile = make_profile()
    cube.build(profile, path, root)
    before = state(path)
    cube.build(profile, path, root)
    assert state(path) == before


def test_is_built_anew_when_the_data_section_differs(root, path):
    cube.build(make_profile(), path, root)
    cube.build(make_profile(end="2016-11-30"), path, root)
    assert str(cube.open_cube(path)["time"].values[-1])[:10] == "2016-11-30"


def test_is_built_anew_when_the_files_differ(root, path):
    cube.build(make_profile(), path, root)
    file = root / "conus412/CONUSv4f1/const/Sand.csv"
    file.write_text("0.7\n-9999\n1\n")
    cube.build(make_profile(), path, root)
    np.testing.assert_array_equal(cube.open_cube(path)["sand"], np.float32([0.7, np.nan, 1]))


def test_a_change_behind_a_link_to_a_folder_is_seen(root, path, tmp_path):
    sample = root / "conus412/CONUSv4f1"
    sample.rename(tmp_path / "elsewhere")
    sample.symlink_to(tmp_path / "elsewhere")
    cube.build(make_profile(), path, root)
    (sample / "const/Sand.csv").write_text("0.7\n-9999\n1\n")
    cube.build(make_profile(), path, root)
    np.testing.assert_array_equal(cube.open_cube(path)["sand"], np.float32([0.7, np.nan, 1]))


def test_a_file_that_changes_its_year_is_seen(tmp_path):
    """Its name and contents are what they were, and so is its place among the files."""
    (tmp_path / "2015").mkdir()
    (tmp_path / "2015" / "SMAP_AM.csv").write_text("0.2")
    before = cube._identity(make_profile().data, tmp_path)
    (tmp_path / "2015").rename(tmp_path / "2016")
    assert cube._identity(make_profile().data, tmp_path) != before


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_is_no_file_where_one_is_due_is_named(root, path, kind):
    file = root / "conus412/CONUSv4f1/2015/TMP_2_FORA.csv"
    file.unlink()
    file.mkdir() if kind == "folder" else file.symlink_to(root / "nowhere")
    with pytest.raises(CubeError, match=r"2015/TMP_2_FORA\.csv"):
        cube.build(make_profile(), path, root)


def test_a_file_that_may_not_be_read_is_named(root, path, monkeypatch):
    read = Path.read_bytes

    def refused(self):  # an administrator may read everything
        if self.name == "TMP_2_FORA.csv":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(CubeError, match=r"2015/TMP_2_FORA\.csv: cannot be read \(Permission denied\)"):
        cube.build(make_profile(), path, root)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("section", ["training", "evaluation", "one_year_test.test"])
def test_a_period_without_any_value_of_the_target_is_named(root, path, kept, section):
    """The layout's target has no file of 2016; whether the cube is made for this profile or another's is kept."""
    values = make_profile().model_dump()
    year = {"start": pd.Timestamp("2016-06-01").date(), "end": pd.Timestamp("2016-06-30").date()}
    if section == "training":
        values["training"] |= year
    elif section == "evaluation":
        values |= {"evaluation": {**values["evaluation"], **year}, "hindcast": values["hindcast"] | year}
    else:
        values["one_year_test"] = {"training": {k: values["training"][k] for k in year}, "test": year}
    if kept:
        cube.build(make_profile(), path, root)
    message = rf"ssm_smap has no value in the period {section}, 2016-06-01\.\.2016-06-30; .*: ssm_smap: 2016"
    with pytest.raises(CubeError, match=message):
        cube.build(Profile.model_validate(values), path, root)


def test_days_that_the_source_lacks(root, path):
    with pytest.raises(CubeError, match="no folder of year 2017"):
        cube.build(make_profile(end="2017-04-01"), path, root)
    with pytest.raises(CubeError, match="no folder of year 2014"):
        cube.build(make_profile(start="2015-03-31"), path, root)
    (root / "conus412/CONUSv4f1/const/Sand.csv").write_text("0.7\n-9999\nx\n")
    with pytest.raises(CubeError, match=r"const/Sand.csv, line 3, column 1: 'x' is not a number"):
        cube.build(make_profile(), path, root)
    with pytest.raises(CubeError, match="no cube"):
        cube.open_cube(path)


def test_no_real_sample(tmp_path, path, monkeypatch):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(CubeError, match=r"nowhere/conus412: .*SMAPNB_DATA .*crd.csv"):
        cube.build(make_profile(), path)


def test_data_root_of_the_environment(root, path, monkeypatch):
    monkeypatch.setenv("SMAPNB_DATA", str(root))
    cube.build(make_profile(), path)
    assert cube.open_cube(path).sizes["pixel"] == 3


def test_a_folder_that_is_no_cube_is_left_alone(root, path):
    path.mkdir(parents=True)
    (path / "letter.txt").write_text("mine")
    with pytest.raises(CubeError, match="is not a cube"):
        cube.build(make_profile(), path, root)
    assert (path / "letter.txt").read_text() == "mine"


# A process that dies inside the second chunk row, as a killed one does.
KILLED = """
import os, sys
from smapnb import cube
from test_cube import make_profile

def dying(rows, **_):
    yield next(iter(rows))
    os._exit(9)

cube.tqdm = dying
getattr(cube, sys.argv[1])(make_profile(end=sys.argv[2]), sys.argv[3], sys.argv[4])
"""


def killed(function: str, end: str, path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", KILLED, function, end, str(path), str(root)]
    assert subprocess.run(command, env=environment, check=False).returncode == 9


def test_a_killed_build_leaves_no_cube_and_is_made_good(root, path):
    killed("build", "2016-12-31", path, root)
    assert path.with_name("cube.zarr.partial").is_dir()
    with pytest.raises(CubeError, match="building was stopped"):
        cube.open_cube(path)
    cube.build(make_profile(), path, root)
    assert cube.open_cube(path).sizes["time"] == 641  # 2015-04-01..2016-12-31
    assert sorted(p.name for p in path.parent.iterdir()) == ["cube.zarr"]


def test_a_killed_build_leaves_the_former_cube(root, path):
    cube.build(make_profile(end="2016-10-31"), path, root)
    before = state(path)
    killed("build", "2016-12-31", path, root)
    assert state(path) == before
    assert str(cube.open_cube(path)["time"].values[-1])[:10] == "2016-10-31"


def test_a_partial_folder_is_not_whole(root, path):
    """Even when it is taken for the cube by hand."""
    killed("build", "2016-12-31", path, root)
    path.with_name("cube.zarr.partial").rename(path)
    with pytest.raises(CubeError, match="not whole: its writing was stopped"):
        cube.open_cube(path)
    cube.build(make_profile(), path, root)
    assert cube.open_cube(path).sizes["time"] == 641


@pytest.mark.parametrize("damage", [Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:-1])])
def test_a_lost_or_cut_chunk_is_noticed(root, path, damage):
    """Zarr itself reads a chunk that is not there as missing values."""
    cube.build(make_profile(), path, root)
    damage(path / "wind_u" / "c" / "1" / "0")
    with pytest.raises(CubeError, match="not whole"):
        cube.open_cube(path)


@pytest.mark.parametrize("first_end", ["2015-12-31", "2016-04-01", "2016-11-30"])
def test_append_touches_nothing_that_is_there(root, path, tmp_path, first_end):
    """Whether the first block ends inside a chunk or on its edge."""
    cube.build(make_profile(end=first_end), path, root)
    before = state(path)
    assert cube.append(make_profile(), path, root) == path
    after = state(path)
    assert {name: after[name] for name in before} == before
    appended = cube.open_cube(path)
    whole = cube.open_cube(cube.build(make_profile(), tmp_path / "whole.zarr", root))
    xr.testing.assert_equal(appended.load(), whole.load())
    assert list(appended.data_vars) == list(whole.data_vars)
    for name in whole.variables:
        assert appended[name].attrs == whole[name].attrs
    assert whole["air_temperature"].attrs["n_out_of_range"] == 641 * 3  # the layout's values are no temperatures
    assert {k: v for k, v in appended.attrs.items() if k != "created"} == {
        k: v for k, v in whole.attrs.items() if k != "created"
    }
    # An appended cube is what `build` would make, and is kept.
    cube.build(make_profile(), path, root)
    assert state(path) == after


def test_append_twice(root, path):
    for end in ("2015-06-30", "2015-08-31", "2016-12-31"):
        (cube.append if path.exists() else cube.build)(make_profile(end=end), path, root)
    made = cube.open_cube(path)
    assert pd.DatetimeIndex(made["time"].values).equals(pd.date_range("2015-04-01", "2016-12-31"))
    source = authors_csv.open_sample(root / "conus412").sel(time=slice(None, "2016-12-31"))
    xr.testing.assert_equal(made.load(), source)


def test_a_killed_append_leaves_the_cube_and_is_made_good(root, path):
    cube.build(make_profile(end="2015-04-30"), path, root)
    before = state(path)
    killed("append", "2016-12-31", path, root)
    assert state(path) == before
    assert cube.open_cube(path).sizes["time"] == 30
    cube.append(make_profile(), path, root)
    assert cube.open_cube(path).sizes["time"] == 641


def test_append_refuses_what_does_not_continue(root, path):
    with pytest.raises(CubeError, match="no cube"):
        cube.append(make_profile(), path, root)
    cube.build(make_profile(end="2016-05-31"), path, root)
    with pytest.raises(CubeError, match="nothing to append, it already ends on 2016-05-31"):
        cube.append(make_profile(end="2016-05-31"), path, root)
    with pytest.raises(CubeError, match=r"differs in \['pixels'\]"):
        cube.append(make_profile(pixels=2), path, root)
    (root / "conus412/CONUSv4f1/const/Clay.csv").write_text("0.5\n-9999\n0.9\n")
    with pytest.raises(CubeError, match="clay differs in the source now, first at pixel 2;"):
        cube.append(make_profile(), path, root)


def test_append_refuses_a_day_long_past_that_differs(root, path):
    """Line 2, day 41 of the year from 1 April 2015: pixel 1, 11 May; the last day is as it was."""
    cube.build(make_profile(end="2016-05-31"), path, root)
    file = root / "conus412/CONUSv4f1/2015/UGRD_10_FORA.csv"
    lines = [line.split(",") for line in file.read_text().splitlines()]
    assert lines[1][40] == "1.04"
    lines[1][40] = lines[2][60] = "7"
    file.write_text("".join(",".join(line) + "\n" for line in lines))
    before = state(path)
    with pytest.raises(CubeError, match="wind_u differs in the source now, first at time 2015-05-11, pixel 1;"):
        cube.append(make_profile(), path, root)
    assert state(path) == before


def test_a_lost_block_is_noticed(root, path):
    for end in ("2015-06-30", "2015-08-31", "2016-12-31"):
        (cube.append if path.exists() else cube.build)(make_profile(end=end), path, root)
    shutil.rmtree(path / "block_20150701")
    with pytest.raises(CubeError, match="the day after 2015-06-30 is missing"):
        cube.open_cube(path)


def test_report_counts(root, path):
    """By hand: 641 days x 3 pixels; SMAP on 183 days of each; 1 static in 3 missing; one value out of range."""
    file = root / "conus412/CONUSv4f1/2015/DLWRF_FORA.csv"
    text = file.read_text()
    file.write_text("700.5," + text.partition(",")[2])
    cube.build(make_profile(), path, root)
    table = cube.report(cube.open_cube(path))
    assert table.loc["ssm_smap", ["n", "n_missing"]].tolist() == [1923, 1923 - 549]
    assert table.loc["ssm_smap", "missing_percent"] == pytest.approx(100 * (1923 - 549) / 1923)
    assert table.loc["sand", "n_missing"] == 1
    assert table.loc["longwave_down", "maximum"] == 700.5
    # All others lie below the 50 W m-2 of the valid range.
    assert table.loc["longwave_down", "n_out_of_range"] == 1923
    assert table.loc["wind_u", ["n_missing", "n_out_of_range"]].tolist() == [0, 0]
    assert table.loc["wind_u", "units"] == "m s-1"


def test_twin_is_labelled_synthetic(path):
    profile = make_profile("twin", start="2015-04-01", end="2015-12-31", pixels=4)
    cube.build(profile, path)
    made = cube.open_cube(path)
    assert made.attrs["synthetic"] == "true"
    assert "synthetic" in made.attrs["source"]
    assert dict(made.sizes) == {"time": 275, "pixel": 4, "depth": made.sizes["depth"]}
    assert made["soil_moisture_truth"].dims == ("time", "pixel", "depth")
    assert made["depth"].attrs["positive"] == "down"
    cube.append(make_profile("twin", start="2015-04-01", end="2016-02-29", pixels=4), path)
    assert cube.open_cube(path).sizes["time"] == 335
    np.testing.assert_array_equal(cube.open_cube(path)["sand"], made["sand"])


@pytest.mark.data
def test_real_sample(data_root, path):
    profile = make_profile(end="2018-03-31")
    cube.build(profile, path, data_root)
    table = cube.report(cube.open_cube(path))
    files = [(data_root / f"conus412/CONUSv4f1/{year}/SMAP_AM.csv").read_text() for year in (2015, 2016)]
    missing = [sum(float(cell) == -9999 for cell in text.replace("\n", ",").split(",") if cell) for text in files]
    assert missing[0] == 87349  # counted once with awk
    assert table.loc["ssm_smap", "n_missing"] == sum(missing) + 412 * 365  # no third file
    assert table["n_out_of_range"].sum() == 0
    assert (table.loc[variables.names("forcing"), "n_missing"] == 0).all()
