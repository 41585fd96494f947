"""The cube of the agencies' files: every cell holds what was put in for it, however it was built or extended."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import conus_archive as archive
import granules
import h5py
import numpy as np
import pandas as pd
import pydantic
import pytest
import xarray as xr

from smapnb import cube, cube_archive, cube_full, cube_statics, cube_store, fetch, grid, variables
from smapnb.cluster import ClusterError
from smapnb.cube import CubeError
from smapnb.places import POINTS
from smapnb.profile import Profile

pytest.importorskip("rasterio", reason="ISRIC's soils need the extra soils")
N_DAYS = 5
STATICS = ["sand", "clay", "albedo", "dense_vegetation", "landcover_class"]


def make_profile(n_days=N_DAYS, targets=("surface", "rootzone"), statics=STATICS, pixels=None, **settings) -> Profile:
    days = [str(day.date()) for day in pd.date_range(archive.FIRST, periods=n_days)]
    data = {"source": "conus", "start": days[0], "end": days[-1], "pixels": pixels}
    sections = {
        "data": data | {"archive": {"region": archive.REGION, **settings}},
        "inputs": {"statics": list(statics)},
        "training": {"start": days[-1], "end": days[-1], "seq_length": [1]},
        "hindcast": {"start": days[0], "end": days[-1]},
        "evaluation": {"start": days[-2], "end": days[-2]},
    }
    return Profile.model_validate({"name": "tiny", "title": "A test", "targets": list(targets), **sections})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The archive; no test may change it."""
    root = tmp_path_factory.mktemp("data")
    archive.write(root, N_DAYS)
    return root


@pytest.fixture
def root(files, tmp_path) -> Path:
    """A copy of the archive that a test may spoil."""
    return Path(shutil.copytree(files, tmp_path / "data"))


@pytest.fixture
def some(files, tmp_path) -> Path:
    """A copy of what the profiles of `PLAIN` need of it."""
    others = shutil.ignore_patterns("NLDAS_NOAH*", "NLDAS_VIC*", "SPL4SMGP*", "wise")
    return Path(shutil.copytree(files, tmp_path / "data", ignore=others))


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Two days a block, so that five days are three of them."""
    monkeypatch.setattr(cube_store, "TIME_CHUNK", 2)


@pytest.fixture(scope="module")
def made(files, tmp_path_factory) -> Path:
    """A cube built in one process; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cube_store, "TIME_CHUNK", 2)
        return build(make_profile(), tmp_path_factory.mktemp("run") / "cube.zarr", files)


PLAIN = {"targets": ["surface"], "statics": [], "land_models": []}


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory) -> Path:
    """The same with two products only, for what is built many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cube_store, "TIME_CHUNK", 2)
        return build(make_profile(**PLAIN), tmp_path_factory.mktemp("plain") / "cube.zarr", files)


@pytest.fixture(scope="module")
def data(made) -> xr.Dataset:
    return cube.open_cube(made).load()


def build(profile: Profile, path: Path, root: Path, scheduler: str = "serial") -> Path:
    return cube.build(profile, path, root, scheduler)


def places(dataset: xr.Dataset, km: int) -> list[tuple[int, int, int]]:
    """Pixel, row and column of the cells of one grid."""
    at = np.flatnonzero(dataset["grid_km"].values == km)
    return [(int(i), int(dataset["row"][i]), int(dataset["col"][i])) for i in at]


# What is in it ------------------------------------------------------------------------------------------------


def test_surface_at_every_cell_and_day(data):
    fields = [archive.l3_field(day) for day in data.indexes["time"]]
    for i, row, col in places(data, 36):
        due = [np.nan if field[row, col] < 0 else field[row, col] for field in fields]
        np.testing.assert_array_equal(data["ssm_smap"][:, i], np.float32(due))
    assert data["ssm_smap"][:, data["grid_km"] == 9].isnull().all()


def test_rootzone_is_the_mean_of_eight_fields(data):
    top, left = (axis.start for axis in archive.WINDOW9)
    for n, day in enumerate(data.indexes["time"]):
        stamps = day + pd.to_timedelta(1.5 + 3 * np.arange(8), unit="h")
        mean = np.mean([archive.l4_field(stamp).astype(np.float64) for stamp in stamps], axis=0)
        for i, row, col in places(data, 9):
            assert float(data["rzsm_smap"][n, i]) == pytest.approx(mean[row - top, col - left], rel=1e-6)
    assert data["rzsm_smap"][:, data["grid_km"] == 36].isnull().all()


@pytest.mark.parametrize("name", archive.NAMES)
def test_weather_and_land_models_at_every_pixel(data, name):
    ours = next(o for product in archive.NLDAS.values() for key, (o, _, _) in product.items() if key == name)
    if name == "SoilM_0_100cm":
        np.testing.assert_array_equal(data["rzsm_vic"], data["rzsm_noah"])  # the same fields were put in
    for day in data.indexes["time"][[0, 3]]:
        hours = day + pd.to_timedelta(np.arange(24), unit="h")
        for km in (36, 9):
            for i, row, col in places(data, km)[::7]:
                due = archive.expected_hours(name, hours, row, col, km)
                assert float(data[ours].sel(time=day)[i]) == pytest.approx(due, rel=2e-3, abs=2e-3)


def test_exact_days_end_with_the_hour_of_midnight(files, tmp_path, data):
    profile = make_profile(2, nldas_day="exact", land_models=["noah"])
    exact = cube.open_cube(build(profile, tmp_path / "cube.zarr", files)).load()
    assert "ssm_vic" not in exact
    day = exact.indexes["time"][1]
    i, row, col = places(exact, 36)[10]
    due = archive.expected_hours("Rainf", day + pd.to_timedelta(np.arange(1, 25), unit="h"), row, col, 36)
    assert float(exact["precipitation"].sel(time=day)[i]) == pytest.approx(due, rel=1e-3)
    assert abs(float(data["precipitation"].sel(time=day)[i]) - due) > 0.3


def test_statics(data):
    """Soils by area on each grid; flags of a 9 km cell are those of the 36 km cell around it."""
    for km in (36, 9):
        for i, row, col in places(data, km):
            around = (row * km // 36, col * km // 36)
            assert float(data["albedo"][i]) == pytest.approx((around[0] * 1000 + around[1]) / 1e6, rel=1e-6)
            assert float(data["dense_vegetation"][i]) == around[0] % 2
            assert float(data["sand"][i]) == pytest.approx(archive.expected_sand(row, col, km), rel=3e-3)
    assert set(data["landcover_class"].values) == {10}
    assert (data["clay"] == 10).all()


def test_every_static_has_one_product():
    assert sorted([*cube_statics.FLAGS, *cube_statics.SOILS, "ndvi"]) == sorted(variables.names("static"))


def test_cells_of_both_grids(data):
    """36 km: 8 x 7 in the box; 9 km: each fourth row and column from the corner of the whole box (189, 589)."""
    lon, lat = data["lon"].values, data["lat"].values
    west, east, south, north = archive.REGION
    assert ((lon > west) & (lon < east) & (lat > south) & (lat < north)).all()
    assert data["grid_km"].values.tolist() == sorted(data["grid_km"].values, reverse=True)
    assert (data["grid_km"] == 36).sum() == 56
    fine = data.isel(pixel=np.asarray(data["grid_km"] == 9))
    assert ((fine["row"] - 189) % 4 == 0).all() and ((fine["col"] - 589) % 4 == 0).all()
    assert fine["col"].max() < archive.WINDOW9[1].stop - 16  # the sea begins there
    counts = json.loads(data.attrs["pixels"])
    assert counts["n_cells_9_km_without_land"] == counts["n_cells_9_km"] - fine.sizes["pixel"] > 0
    for km in (36, 9):
        for i, row, col in places(data, km):
            assert (row, col) == tuple(grid.EaseGrid(km).cell(lon[i], lat[i]))
    for quantity, km in variables.GRID_KM.items():
        np.testing.assert_array_equal(variables.pixels_of(data, quantity), data["grid_km"] == km)


def test_is_described(data, made):
    assert data.attrs["synthetic"] == "false" and data.attrs["grid"] == "EASE-Grid 2.0 global, 36 km and 9 km"
    read = json.loads(data.attrs["read"])
    assert read["SPL3SMP"]["n_granules"] == N_DAYS and read["SPL4SMGP"]["n_granules"] == 8 * N_DAYS
    assert [read[product]["files_read"] for product in ("FORA", "NOAH", "VIC")] == [24 * N_DAYS] * 3
    assert (data.attrs["statics_start"], data.attrs["statics_end"]) == ("2016-02-26", "2016-03-01")
    assert (cube.report(data)["n_out_of_range"] == 0).all()
    assert sorted(path.name for path in made.parent.iterdir()) == ["cube.zarr"]
    variables.check(data, "cube")


# Which cells ----------------------------------------------------------------------------------------------------


def test_cells_seen_seldom_are_left_out(some, tmp_path):
    """A cell is seen on 3 or 4 of 5 days (2 of 3 in turn); more than 0.7 of them is 4."""
    profile = make_profile(least_observed=0.7, **PLAIN)
    kept = cube.open_cube(build(profile, tmp_path / "cube.zarr", some)).load()
    rows, cols = grid.EaseGrid(36).window(*archive.REGION)
    fields = [archive.l3_field(day)[rows, cols] > 0 for day in pd.date_range(archive.FIRST, periods=N_DAYS)]
    often = np.argwhere(np.sum(fields, axis=0) >= 4) + np.array([rows.start, cols.start])
    assert list(zip(kept["row"].values, kept["col"].values, strict=True)) == [tuple(cell) for cell in often]
    assert json.loads(kept.attrs["pixels"])["n_cells_36_km_seldom_observed"] == 56 - len(often) > 0
    assert "rzsm_smap" not in kept and set(kept["grid_km"].values) == {36}


def test_days_without_a_granule_count_as_days(some, tmp_path, caplog):
    """The last two of five days are left, the first of them inside a block: seen on both is seen on 0.4 of the days."""
    for day in ("20160226", "20160227", "20160228"):
        next((some / "smap/SPL3SMP.009").rglob(f"*_{day}_*")).unlink()
    profile = make_profile(least_observed=0.35, **PLAIN)
    with caplog.at_level(logging.WARNING):
        kept = cube.open_cube(build(profile, tmp_path / "cube.zarr", some)).load()
    two = [archive.l3_field(day)[kept["row"], kept["col"]] for day in ("2016-02-29", "2016-03-01")]
    assert (np.array(two) > 0).all() and 0 < kept.sizes["pixel"] < 56
    np.testing.assert_array_equal(kept["ssm_smap"][3:], two)
    assert kept["ssm_smap"][:3].isnull().all()
    assert json.loads(kept.attrs["read"])["SPL3SMP"]["n_granules"] == 2
    assert json.loads(kept.attrs["read"])["SPL3SMP"]["n_days_without_granule"] == 3
    assert "SPL3SMP: 3 days without a granule, the first is 2016-02-26" in caplog.text


def test_cells_under_stations_are_added(root, tmp_path, data):
    """Of a network one station of four counts: one is of another, one outside the box, one a test. And a dense site."""
    head = "WBAN\tCOUNTRY\tSTATE\tLOCATION\tVECTOR\tNAME\tLATITUDE\tLONGITUDE\tSTATUS\tOPERATION\tNETWORK\n"
    rows = [
        "00001\tUS\tTX\tA\t1 N\tA\t34.2\t-99.7\tCommissioned\tOperational\tUSCRN\n",
        "00002\tUS\tTX\tB\t1 N\tB\t34.5\t-99.2\tCommissioned\tOperational\tUSRCRN\n",
        "00003\tUS\tAK\tC\t1 N\tC\t64.5\t-149.2\tCommissioned\tOperational\tUSCRN\n",
        "00004\tUS\tTX\tD\t1 N\tD\t34.9\t-98.3\tTest\tOperational\tUSCRN\n",
    ]
    (root / "uscrn").mkdir()
    (root / "uscrn/stations.tsv").write_text(head + "".join(rows))
    (root / "core_sites").mkdir()
    text = "site,station,lon,lat,depth,time,soil_moisture\n4801,1,-99.05,33.4,5,2016-01-01T00:00Z,0.2\n"
    (root / "core_sites/a.csv").write_text(text)
    profile = make_profile(2, statics=[], targets=["rootzone"], land_models=[])
    more = cube.open_cube(build(profile, tmp_path / "cube.zarr", root)).load()
    before = {(row, col) for _, row, col in places(data, 9)}
    now = {(row, col) for _, row, col in places(more, 9)}
    fine = grid.EaseGrid(9)
    assert now - before == {tuple(map(int, fine.cell(-99.7, 34.2))), tuple(map(int, fine.cell(-99.05, 33.4)))}
    assert before < now
    assert "ssm_smap" not in more


def test_cells_without_weather_are_left_out_and_named(some, tmp_path, caplog):
    """The files' grid ends at 96W: cells wholly west of it stay, cells wholly east of it go; what is named is gone."""
    profile = make_profile(2, targets=["surface"], statics=[], land_models=[], region=(-98, -95, 33, 35))
    with caplog.at_level(logging.WARNING):
        kept = cube.open_cube(build(profile, tmp_path / "cube.zarr", some)).load()
    rows, cols = grid.EaseGrid(36).window(-98, -95, 33, 35)
    west, _, east, _ = grid.EaseGrid(36).bounds_degrees(rows.start, np.arange(cols.start, cols.stop))
    columns = np.arange(cols.start, cols.stop)
    end = archive.LON[-1] + 0.0625
    assert set(columns[east <= end]) <= set(kept["col"].values) and not set(columns[west >= end]) & set(
        kept["col"].values
    )
    assert (east <= end).sum() >= 4 and (west >= end).sum() >= 2
    assert kept["air_temperature"].notnull().all() and kept["ssm_smap"].notnull().any("time").all()
    told = json.loads(kept.attrs["pixels"])
    gone = {tuple(cell) for cell in told["cells_36_km_without_weather"]}
    here = set(zip(kept["row"].values.tolist(), kept["col"].values.tolist(), strict=True))
    assert not gone & here and len(gone) == told["n_cells_36_km_without_weather"] > 10
    assert len(gone) + len(here) == told["n_cells_36_km"] - told["n_cells_36_km_seldom_observed"]
    (line,) = [record.message for record in caplog.records if "no weather" in record.message]
    row, col = min(gone)
    lon, lat = grid.EaseGrid(36).center(row, col)
    assert line.startswith(f"{len(gone)} cells left out, as NLDAS has no weather there: ")
    assert f"36 km ({row}, {col}) at {lat:.2f}N {-lon:.2f}W" in line and line.endswith(f"and {len(gone) - 5} more")


def test_at_most_so_many_pixels_of_each_grid(files, tmp_path):
    profile = make_profile(2, pixels=4, statics=["albedo"], targets=["rootzone", "surface"], land_models=[])
    few = cube.open_cube(build(profile, tmp_path / "cube.zarr", files))
    assert few["grid_km"].values.tolist() == [36] * 4 + [9] * 4


# How it is built ------------------------------------------------------------------------------------------------


def chunks(path: Path) -> dict[str, bytes]:
    """Bytes of every chunk, by name."""
    return {
        str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file() and p.parent.name != path.name
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_processes_of_dask_write_the_same_bits(files, plain, tmp_path):
    distributed = pytest.importorskip("distributed", reason="many processes need the extra cluster")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        path = build(make_profile(**PLAIN), tmp_path / "cube.zarr", files, cluster.scheduler_address)
    assert chunks(path) == chunks(plain)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cube.zarr"]


def test_a_scheduler_that_does_not_answer(files, tmp_path, monkeypatch):
    with pytest.raises(ClusterError, match="no Dask scheduler answers at 'nowhere'"):
        build(make_profile(2), tmp_path / "cube.zarr", files, "nowhere")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install -e '.\[cluster\]'"):
        build(make_profile(2), tmp_path / "cube.zarr", files, "local")


KILLED = """
import os, sys
from smapnb import cube, cube_full, cube_store
from test_conus import PLAIN, make_profile

def dying(tasks, **_):
    for n, task in enumerate(tasks):
        if n == 2:
            os._exit(9)
        yield task

cube_store.TIME_CHUNK = 2
cube_full.tqdm = dying
cube.build(make_profile(**PLAIN), sys.argv[1], sys.argv[2], "serial")
"""


def killed(path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", KILLED, str(path), str(root)]
    assert subprocess.run(command, env=environment, check=False).returncode == 9


def test_a_killed_build_goes_on(files, plain, tmp_path, monkeypatch):
    path = tmp_path / "cube.zarr"
    killed(path, files)
    with pytest.raises(CubeError, match="building was stopped"):
        cube.open_cube(path)
    partial = cube_store.partial_of(path)
    assert len(list(cube_full.notes_of(partial).glob("*_*.json"))) == 3
    before = {p: p.stat().st_mtime_ns for p in partial.rglob("c/*/*") if p.is_file()}
    done = []
    run = cube_full.cube_tasks.run
    monkeypatch.setattr(cube_full.cube_tasks, "run", lambda site, task: (done.append(task.product), run(site, task)))
    build(make_profile(**PLAIN), path, files)
    assert len(done) == 6 - 3  # two products in three blocks
    after = {path / p.relative_to(partial): time for p, time in before.items()}
    assert before and {p: p.stat().st_mtime_ns for p in after} == after
    assert chunks(path) == chunks(plain)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cube.zarr"]


def test_what_was_stopped_is_not_gone_on_with_for_other_files(some, plain, tmp_path, monkeypatch):
    """The block that was done before the stop holds the hour as it was then."""
    path = tmp_path / "cube.zarr"

    def interrupted(tasks, **_):
        yield next(iter(tasks))
        yield next(iter(tasks))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cube_full, "tqdm", interrupted)
        build(make_profile(**PLAIN), path, some)
    assert (cube_full.notes_of(cube_store.partial_of(path)) / "FORA_000000.json").exists()
    with h5py.File(next(some.rglob("NLDAS_FORA0125_H.A20160226.0500*")), "r+") as file:
        file["Tair"][...] += 24
    os.utime(next(some.rglob("NLDAS_FORA0125_H.A20160226.0500*")), (0, 0))
    build(make_profile(**PLAIN), path, some)
    warmer = cube.open_cube(path)["air_temperature"] - cube.open_cube(plain)["air_temperature"]
    np.testing.assert_allclose(warmer[0], 1, atol=1e-4)
    assert (warmer[1:] == 0).all()


def test_is_kept_until_a_file_changes(some, tmp_path):
    profile = make_profile(2, **PLAIN)
    path = build(profile, tmp_path / "cube.zarr", some)
    created = [p.stat().st_ino for p in (path, path / "zarr.json")]
    build(profile, path, some)
    assert [p.stat().st_ino for p in (path, path / "zarr.json")] == created
    granules.write_l3(
        some / "smap/SPL3SMP.009/2016",
        "20160226",
        {"soil_moisture_scav": 0.25},
        version="009",
        release="R19240",
        counter=2,
    )
    build(profile, path, some)
    assert (cube.open_cube(path)["ssm_smap"][0] == 0.25).all()


def test_append(some, plain, tmp_path):
    """Two days, then three more: the same values, and no file of the first days is touched."""
    path = build(make_profile(2, **PLAIN), tmp_path / "cube.zarr", some)
    with pytest.raises(CubeError, match="nothing to append"):
        cube.append(make_profile(2, **PLAIN), path, some)
    before = {p: (p.stat().st_ino, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    cube.append(make_profile(**PLAIN), path, some, "serial")
    assert {p: (p.stat().st_ino, p.read_bytes()) for p in before} == before
    xr.testing.assert_equal(cube.open_cube(path).load(), cube.open_cube(plain).load())
    assert cube.open_cube(path).attrs["source_sha256"] == cube.open_cube(plain).attrs["source_sha256"]
    assert build(make_profile(**PLAIN), path, some) == path
    assert {p: (p.stat().st_ino, p.read_bytes()) for p in before} == before  # what is there is what is wanted
    assert sorted(p.name for p in path.parent.iterdir()) == ["cube.zarr", "data"]


def test_append_refuses_other_files_and_settings(some, tmp_path):
    path = build(make_profile(2, **PLAIN), tmp_path / "cube.zarr", some)
    with pytest.raises(CubeError, match=r"differs in \['archive'\]"):
        cube.append(make_profile(nldas_day="exact", **PLAIN), path, some)
    os.utime(next(some.rglob("NLDAS_FORA0125_H.A20160226.0500*")), (0, 0))
    with pytest.raises(CubeError, match=r"cannot append, the files of its days.*source_sha256"):
        cube.append(make_profile(**PLAIN), path, some)
    assert cube.open_cube(path).sizes["time"] == 2


# What goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "product"),
    [
        ("smap/SPL3SMP.009", "SPL3SMP"),
        ("smap/SPL4SMGP.008-window", "SPL4SMGP"),
        ("nldas/NLDAS_FORA0125_H.2.0", "FORA"),
        ("nldas/NLDAS_VIC0125_H.2.0", "VIC"),
        ("wise", "WISE30sec"),
    ],
)
def test_a_missing_product(files, tmp_path, folder, product):
    """The others are linked, not copied."""
    for top in files.iterdir():
        for own in [top] if top.name == "wise" else top.iterdir():
            if str(own.relative_to(files)) != folder:
                target = tmp_path / "data" / own.relative_to(files)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(own)
    with pytest.raises(CubeError, match=rf"{folder.split('-')[0]}.*: {product} is not here; .*smapnb fetch get tiny"):
        build(make_profile(), tmp_path / "cube.zarr", tmp_path / "data")
    assert not (tmp_path / "cube.zarr.partial").exists()
    (tmp_path / "data" / POINTS).mkdir()
    beside = "holds series at points: take them by" if product in cube_archive.HOURLY else "not here"
    with pytest.raises(CubeError, match=beside):
        build(make_profile(), tmp_path / "cube.zarr", tmp_path / "data")


def test_hours_that_lack(root, tmp_path):
    next(root.rglob("NLDAS_NOAH0125_H.A20160228.0700*")).unlink()
    with pytest.raises(
        CubeError, match=r"NOAH.*: 1 of 5 days have fewer than 24 .* first is 2016-02-28 with 23; get it"
    ):
        build(make_profile(), tmp_path / "cube.zarr", root)
    # The last hour closes the last day under the exact rule only.
    next(root.rglob("NLDAS_FORA0125_H.A20160302.0000*")).unlink()
    with pytest.raises(CubeError, match=r"FORA.*first is 2016-03-01 with 23"):
        build(make_profile(nldas_day="exact"), tmp_path / "cube.zarr", root)
    profile = make_profile(min_hours=23, statics=[], targets=["surface"], land_models=["noah"])
    some = cube.open_cube(build(profile, tmp_path / "cube.zarr", root))
    assert some["ssm_noah"].notnull().all()
    assert json.loads(some.attrs["read"])["NOAH"]["hours_missing"] == 1


def test_no_granule_in_these_days(root, tmp_path):
    for path in (root / "smap/SPL4SMGP.008-window").rglob("*.h5"):
        path.rename(path.with_name(path.name.replace("_2016", "_2015")))
    with pytest.raises(CubeError, match="no granule of SPL4SMGP from 2016-02-26 to 2016-03-01; get it by"):
        build(make_profile(), tmp_path / "cube.zarr", root)


def test_a_broken_file_is_named_and_the_rest_is_kept(some, plain, tmp_path):
    broken = next(some.rglob("NLDAS_FORA0125_H.A20160229.1100*"))
    good, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(good[:2000] + bytes(len(good) - 2000))
    os.utime(broken, (times.st_atime, times.st_mtime))
    path = tmp_path / "cube.zarr"
    with pytest.raises(CubeError, match=rf"FORA from 2016-02-28: .*{broken.name}: damaged"):
        build(make_profile(**PLAIN), path, some)
    done = list(cube_full.notes_of(cube_store.partial_of(path)).glob("*_*.json"))
    assert done and not any("FORA_000002" in note.name for note in done)
    broken.write_bytes(good)
    os.utime(broken, (times.st_atime, times.st_mtime))
    build(make_profile(**PLAIN), path, some)
    assert chunks(path) == chunks(plain)


def test_a_damaged_archive_of_soils(root, tmp_path):
    packed = root / "wise/wise_30sec_v1.zip"
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(CubeError, match=r"wise_30sec_v1\.zip: damaged or truncated"):
        build(make_profile(2), tmp_path / "cube.zarr", root)


def test_folders_are_those_of_fetch():
    short = {"FORA": "NLDAS_FORA0125_H", "NOAH": "NLDAS_NOAH0125_H", "VIC": "NLDAS_VIC0125_H"}
    for settings in ({}, {"smap_l3_version": "008", "smap_l4_version": "011"}):
        chosen = make_profile(**settings)
        products = {product.short_name: product for product in fetch.wish(chosen).products}
        for product in cube_full.products(chosen):
            theirs, folders = products[short.get(product, product)], cube_archive.folders(chosen, product)
            assert folders[0] == theirs.folder.split("/{")[0], product
            assert (len(folders) > 1) == bool(theirs.window_fields)
    assert [cube_archive.folders(chosen, name)[0] for name in ("SPL3SMP", "SPL4SMGP")] == [
        "smap/SPL3SMP.008",
        "smap/SPL4SMGP.011",
    ]
    assert {str(fetch.PRODUCTS[name].start) for name in ("SPL3SMP", "SPL4SMGP")} == {cube_archive.SMAP_FIRST}


@pytest.mark.parametrize("targets", [["surface"], ["rootzone"], ["surface", "rootzone"]])
def test_fetch_gets_all_that_the_cube_needs(targets):
    profile = make_profile(targets=targets)
    fetched = {product.folder.split("/{")[0] for product in fetch.wish(profile).products}
    assert {cube_archive.folders(profile, product)[0] for product in cube_full.products(profile)} <= fetched


def test_profiles_refuse_what_does_not_fit():
    twin = make_profile().model_dump()
    twin["data"]["source"] = "twin"
    with pytest.raises(pydantic.ValidationError, match="archive belongs to the source conus, not to twin"):
        Profile.model_validate(twin)
    with pytest.raises(pydantic.ValidationError, match="no product of the source conus gives ndvi"):
        make_profile(statics=["ndvi"])
    with pytest.raises(pydantic.ValidationError, match="extra"):
        make_profile(overpass="AM")
