"""A few sites by the commands that a person types: series at points from a server, cube, training, hindcast.

What the point service answers, and what the cube must hold of it, is said by `conus_archive`.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import conus_archive as archive
import granules
import numpy as np
import pandas as pd
import pyproj
import pytest
import requests
import xarray as xr
import yaml
from misbehaving_server import Server, loopback_only, other  # noqa: F401
from served_archives import SOILS, command, look_at
from test_nldas_points import HEADER

from smapnb import cube, cube_full, cube_store, fetch, fetch_earthdata, fetch_products, hindcast
from smapnb.cube import CubeError
from smapnb.grid import EaseGrid
from smapnb.profile import Profile

pytest.importorskip("rasterio", reason="ISRIC's soils need the extra soils")
N_DAYS = 5
DAYS = pd.date_range(archive.FIRST, periods=N_DAYS)
STAMPS = pd.date_range(DAYS[0] + pd.Timedelta("90min"), periods=8 * N_DAYS, freq="3h")
# Two sites in one cell of 36 km, one in another; of 9 km each has its own.
SITES = [{"lat": 34.2, "lon": -99.7}, {"lat": 34.3, "lon": -99.55}, {"lat": 33.4, "lon": -98.1}]
EAST = {"lat": 45.2, "lon": -66.3}
OURS = {name: ours for product in archive.NLDAS.values() for name, (ours, _, _) in product.items()}


def values(sites=SITES, **how) -> dict:
    first, last = (str(DAYS[i].date()) for i in (0, -1))
    network = {"hidden_size": 8, "dropout": 0.0, "seq_length": [2], "device": "cpu"}
    steps = {"batch_size": 8, "epochs": 1, "iterations_per_epoch": 5, "validation": {"pixel_fraction": 0}}
    return {
        "name": "sites",
        "title": "A few sites",
        "targets": how.pop("targets", ["surface", "rootzone"]),
        "data": {"source": "conus", "start": first, "end": last, "archive": {"sites": sites, **how}},
        "inputs": {"statics": ["sand", "albedo"]},
        "training": {"start": first, "end": str(DAYS[2].date()), **network, **steps},
        "hindcast": {"start": first, "end": last, "spinup_days": 0},
        "evaluation": {"start": str(DAYS[3].date()), "end": last},
    }


# The archives -----------------------------------------------------------------------------------------------------


hourly = cache(archive.hourly)


def hour(name: str, stamp, lat: float, lon: float) -> float:
    """Value of an hourly field in the NLDAS cell with this centre."""
    at = [np.flatnonzero(axis == value) for axis, value in ((archive.LAT, lat), (archive.LON, lon))]
    return float(hourly(name, stamp)[at[0][0], at[1][0]])


def reply(data: str, location: str, span: str) -> bytes:
    """Answer of the point service, as its address asks for it."""
    product, name = re.fullmatch(r"NLDAS_([A-Z]+)0125_H_2_0_(\w+)", data).groups()
    lat, lon = json.loads(location)
    stamps = pd.date_range(*span.split("/"), freq="h")
    fields = {"product": product, "name": name, "unit": archive.NLDAS[product][name][1], "lat": lat, "lon": lon}
    head = HEADER.format(begin=stamps[0], end=stamps[-1], **fields)
    return (head + "".join(f"{t:%Y-%m-%d %H:%M},{hour(name, t, lat, lon)!r}\n" for t in stamps)).encode()


class Always(list):
    """Faults that never come to an end: one answer for every request."""

    def __init__(self, answer) -> None:
        super().__init__([answer])

    def pop(self, _):
        return self[0]


def answer(handler, file) -> None:
    query = {key: value[0] for key, value in parse_qs(urlsplit(handler.path).query).items()}
    other(reply(query["data"], query["location"], query["time"]))(handler, file)


def rootzone(stamp, rows: slice, cols: slice) -> np.ndarray:
    row, col = np.mgrid[rows, cols]
    hours = (pd.Timestamp(stamp) - archive.FIRST) / pd.Timedelta(hours=1)
    return (0.05 + 0.5 * ((row * 3856 + col + 977 * hours) % 700_000) / 700_000).astype(np.float32)


def box9() -> tuple[slice, slice]:
    """Rows and columns of 9 km from the first to the last site, by PROJ."""
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True).transform
    x, y = to_metres([site["lon"] for site in SITES], [site["lat"] for site in SITES])
    col = np.floor((np.array(x) + 17367530.4451615) / 9008.055210146).astype(int)
    row = np.floor((7314540.8306386 - np.array(y)) / 9008.055210146).astype(int)
    return slice(row.min(), row.max() + 1), slice(col.min(), col.max() + 1)


class Granule(dict):
    """What earthaccess gives for a file of the catalogue."""

    def __init__(self, url: str) -> None:
        super().__init__(umm={})
        self.url = url

    def data_links(self, access: str) -> list[str]:
        return [self.url]


@pytest.fixture(scope="module")
def smap_files(tmp_path_factory) -> Path:
    """Granules of level 3, windows of level 4 and soils, flat in one folder."""
    folder = tmp_path_factory.mktemp("files")
    for day in DAYS:
        archive.write_l3(folder, day)
    for stamp in STAMPS:
        granules.write_l4_window(folder, stamp, rootzone(stamp, *box9()), box9())
    archive.write_soils(folder)
    return folder


@pytest.fixture(scope="module")
def world(smap_files, tmp_path_factory):
    """All archives on 127.0.0.1, and where data and runs go."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, Server() as server:
        catalogue: dict[str, list[Granule]] = {"SPL3SMP": [], "SPL4SMGP": []}
        windows = f"/collections/{fetch_products.PRODUCTS['SPL4SMGP'].collection}/granules"
        for path in sorted(smap_files.iterdir()):
            if path.suffix == ".nc4":
                server.put(f"{windows}/{path.stem}.h5.dap.nc4", path.read_bytes())
                catalogue["SPL4SMGP"].append(Granule(f"https://example.org/{path.stem}.h5"))
            elif path.suffix == ".h5":
                catalogue["SPL3SMP"].append(Granule(server.put(f"/files/{path.name}", path.read_bytes())))
            else:
                server.put(f"/files/{path.name}", path.read_bytes())
        server.put("/signin", b'"token"')
        server.put("/timeseries", b"")
        server.files["/timeseries"].faults = Always(answer)
        head = "WBAN\tCOUNTRY\tSTATE\tLOCATION\tVECTOR\tNAME\tLATITUDE\tLONGITUDE\tOPERATION\tNETWORK\n"
        server.put("/uscrn/stations.tsv", f"{head}1\tUS\tTX\tA\t1 N\tA\t34.9\t-98.3\tOperational\tUSCRN\n".encode())
        server.put("/uscrn/daily01/2016/", b'<a href="CRND0103-2016-TX_A_1_N.txt">', content_type="text/html")
        server.put("/uscrn/daily01/2016/CRND0103-2016-TX_A_1_N.txt", b"1 20160226\n")
        look_at(server, patch, catalogue, {fetch_products.NCEI: "/uscrn", SOILS: "/files"})
        patch.setattr(fetch_earthdata, "GIOVANNI", server.address)
        environment = {"SMAPNB_DATA": home / "data", "SMAPNB_RUNS": home / "runs", "NO_PROXY": "127.0.0.1"}
        environment |= {"EARTHDATA_USERNAME": "me", "EARTHDATA_PASSWORD": "secret"}
        for name, value in environment.items():
            patch.setenv(name, str(value))
        patch.delenv("EARTHDATA_TOKEN", raising=False)
        yield server, home


@pytest.fixture(scope="module")
def made(world) -> Path:
    """Folder of the run of the sites, each pixel by one series."""
    server, home = world
    path = home / "sites.yml"
    path.write_text(yaml.safe_dump(values(nldas="centre")), encoding="utf-8")
    said = command("fetch", "plan", str(path), "--window")
    n_series = {product: int(re.search(rf"NLDAS_{product}\S+ \(points\).* (\d+) +\S+ kB", said)[1]) for product in OPEN}
    command("fetch", "get", str(path), "--window", "--parallel", "2")
    asked = server.asked("/timeseries")
    assert len(asked) == sum(n_series.values()) == len({request.query for request in asked})
    command("cube", str(path), "--scheduler", "serial")
    command("train", str(path))
    command("hindcast", str(path))
    return home / "runs" / "sites"


OPEN = ("FORA", "NOAH", "VIC")


@pytest.fixture(scope="module")
def data(made) -> xr.Dataset:
    return cube.open_cube(made / "cube.zarr").load()


def cells(data: xr.Dataset, km: int) -> list[tuple[int, int, int]]:
    at = np.flatnonzero(data["grid_km"].values == km)
    return [(int(i), int(data["row"][i]), int(data["col"][i])) for i in at]


# What was put in --------------------------------------------------------------------------------------------------


def test_pixels_are_the_cells_that_hold_the_sites(data):
    """By PROJ; the station whose files were fetched is no site, and no pixel."""
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True).transform
    for km, size, n in ((36, 36032.220840584, 2), (9, 9008.055210146, 3)):
        due = set()
        for site in SITES:
            x, y = to_metres(site["lon"], site["lat"])
            due.add((int((7314540.8306386 - y) // size), int((x + 17367530.4451615) // size)))
        assert {(row, col) for _, row, col in cells(data, km)} == due and len(due) == n


def test_smap_at_the_pixels(data):
    for i, row, col in cells(data, 36):
        due = [archive.l3_field(day)[row, col] for day in DAYS]
        np.testing.assert_array_equal(data["ssm_smap"][:, i], np.where(np.array(due) < 0, np.nan, due))
    rows, cols = box9()
    for i, row, col in cells(data, 9):
        fields = [rootzone(stamp, rows, cols)[row - rows.start, col - cols.start] for stamp in STAMPS]
        due = np.float64(fields).reshape(N_DAYS, 8).mean(axis=1)
        np.testing.assert_allclose(data["rzsm_smap"][:, i], due, rtol=1e-6)


@pytest.mark.parametrize("name", OURS)
def test_a_pixel_holds_the_series_of_the_nldas_cell_at_its_centre(data, name):
    """A neighbouring cell, a day before or an hour later are another value."""
    if name == "SoilM_0_100cm":
        np.testing.assert_array_equal(data["rzsm_vic"], data["rzsm_noah"])  # the same fields were put in
    factor = next(entry[2] for product in archive.NLDAS.values() for key, entry in product.items() if key == name)
    lonlat = pyproj.Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True).transform
    for km, size in ((36, 36032.220840584), (9, 9008.055210146)):
        for i, row, col in cells(data, km):
            lon, lat = lonlat(-17367530.4451615 + size * (col + 0.5), 7314540.8306386 - size * (row + 0.5))
            place = archive.LAT[np.abs(archive.LAT - lat).argmin()], archive.LON[np.abs(archive.LON - lon).argmin()]
            due = [
                factor * np.mean([hour(name, day + pd.Timedelta(hours=h), *place) for h in range(24)]) for day in DAYS
            ]
            np.testing.assert_allclose(data[OURS[name]][:, i], due, rtol=2e-7)


def test_the_cube_says_what_stands_for_a_pixel(data):
    """A cell of NLDAS is 11.4 by 13.9 km here: at most 0.13 of one of 36 km, which is 29.7 km wide and 43.6 high."""
    told = json.loads(data.attrs["pixels"])
    assert told["nldas"].startswith("series of the one NLDAS cell that holds the pixel's centre: not the mean")
    lowest, mean = told["share_of_area_36_km"]
    assert 0.10 < lowest <= mean < 0.14
    assert 0.4 < told["share_of_area_9_km"][0] <= 1
    assert 3 <= told["n_nldas_cells"] <= 5
    read = json.loads(data.attrs["read"])
    assert read["FORA"]["files_read"] == 7 * told["n_nldas_cells"] and read["FORA"]["hours_missing"] == 0


def test_windows_are_cut_around_the_sites(world, made):
    rows, cols = box9()
    asked = next(r for r in world[0].log if r.path.startswith("/collections"))
    here = f"[{rows.start}:1:{rows.stop - 1}][{cols.start}:1:{cols.stop - 1}]"
    assert f"/Geophysical_Data/sm_rootzone{here}" in requests.utils.unquote(asked.query)
    folder = f"SPL4SMGP.008-window-{rows.start}-{rows.stop - 1}-{cols.start}-{cols.stop - 1}"
    assert len(list((world[1] / "data/smap" / folder).rglob("*.nc4"))) == 8 * N_DAYS


def test_the_hindcast_has_every_pixel_and_day(made, data):
    result = hindcast.open_hindcast(made / "hindcast.zarr").load()
    for name, km in (("ssm_lstm", 36), ("rzsm_lstm", 9)):
        here = data["grid_km"].values == km
        assert result[name][:, here].notnull().all() and result[name][:, ~here].isnull().all()
        assert float(result[name].std()) > 0 and result[name].sizes["time"] == N_DAYS


# Other ways ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grids(smap_files, tmp_path_factory) -> Path:
    """The same world as hourly grids, with one land model."""
    root = tmp_path_factory.mktemp("grids")
    shutil.copytree(smap_files, root / "smap/SPL3SMP.009", ignore=shutil.ignore_patterns("*.nc4", "wise*"))
    for product in ("FORA", "NOAH"):
        for stamp in pd.date_range(DAYS[0], periods=24 * N_DAYS + 1, freq="h"):
            archive.write_hour(root, product, stamp)
    return root


def settings(sites=SITES, **how) -> Profile:
    """The surface of two cells with one land model and no statics: no files but of level 3 and NLDAS."""
    profile = values(sites, targets=["surface"], land_models=["noah"], **how)
    profile["inputs"]["statics"] = []
    return Profile.model_validate(profile)


def put_series(profile: Profile, root: Path) -> list[Path]:
    """Write what the point service answers to all that fetch asks it for."""
    folder = root / "nldas_points"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for product in ("FORA", "NOAH"):
        row, asked = fetch_products.PRODUCTS[f"NLDAS_{product}0125_H"], fetch.wish(profile)
        for job in fetch_earthdata.points(row, asked.places, *asked.period):
            query = {key: value[0] for key, value in parse_qs(urlsplit(job.url).query).items()}
            paths.append(folder / job.path)
            paths[-1].write_bytes(reply(query["data"], query["location"], query["time"]))
    return paths


def with_series(grids: Path, root: Path, profile: Profile) -> list[Path]:
    (root / "smap").mkdir(parents=True)
    (root / "smap/SPL3SMP.009").symlink_to(grids / "smap/SPL3SMP.009")
    return put_series(profile, root)


@pytest.mark.parametrize("day", ["author", "exact"])
def test_all_series_over_a_pixel_are_what_the_grids_are(grids, tmp_path, day):
    profile = settings(SITES[2:], nldas="covering", nldas_day=day)
    paths = with_series(grids, tmp_path / "data", profile)
    by_points = cube.open_cube(cube.build(profile, tmp_path / "points.zarr", tmp_path / "data", "serial")).load()
    by_grids = cube.open_cube(
        cube.build(settings(SITES[2:], nldas_day=day), tmp_path / "grids.zarr", grids, "serial")
    ).load()
    assert set(by_points) == set(by_grids) and by_points.sizes["pixel"] == 1
    for name in by_points:
        np.testing.assert_allclose(by_points[name], by_grids[name], rtol=2e-7, err_msg=str(name))
    told = json.loads(by_points.attrs["pixels"])
    assert told["share_of_area_36_km"] == [1.0, 1.0] and told["n_nldas_cells"] * 9 == len(paths)
    assert json.loads(by_grids.attrs["pixels"])["nldas"].startswith("mean over the NLDAS cells that cover the pixel")


def test_another_version_of_level_3(world, tmp_path, monkeypatch):
    """Version 008 holds half of what 009 does: it is asked for, lies in a folder of its own, and is what is read."""
    server = world[0]
    catalogue = []
    for day in DAYS:
        field = archive.l3_field(day)
        made = granules.write_l3(
            tmp_path, str(day.date()), {"soil_moisture_scav": np.where(field < 0, field, field / 2)}
        )
        catalogue.append(Granule(server.put(f"/version008/{made.name}", made.read_bytes())))
    found = {("SPL3SMP", "008"): catalogue}
    monkeypatch.setattr(
        sys.modules["earthaccess"], "search_data", lambda **query: found[query["short_name"], query["version"]]
    )
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"SMAPNB_{name}", str(tmp_path / name))
    mine = settings(SITES[2:], nldas="centre", smap_l3_version="008")
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(mine.model_dump(mode="json")), encoding="utf-8")
    command("fetch", "get", str(path))
    assert [folder.name for folder in (tmp_path / "DATA/smap").iterdir()] == ["SPL3SMP.008"]
    data = cube.open_cube(Path(command("cube", str(path), "--scheduler", "serial").strip())).load()
    ((i, row, col),) = cells(data, 36)
    due = np.array([archive.l3_field(day)[row, col] for day in DAYS]) / np.float32(2)
    np.testing.assert_array_equal(data["ssm_smap"][:, i], np.where(due < 0, np.nan, due))
    assert np.isfinite(data["ssm_smap"]).any()
    assert json.loads(data.attrs["read"])["SPL3SMP"]["product_version"] == "008"
    with pytest.raises(CubeError, match=r"no folder .*SPL3SMP\.009"):
        cube.build(settings(SITES[2:], nldas="centre"), tmp_path / "usual.zarr", tmp_path / "DATA", "serial")


def test_a_site_east_of_nldas_is_left_out_with_one_line(grids, tmp_path, caplog):
    profile = settings([*SITES, EAST], nldas="centre", min_hours=20)
    with_series(grids, tmp_path / "data", profile)
    with caplog.at_level(logging.WARNING):
        data = cube.open_cube(cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")).load()
    assert data.sizes["pixel"] == 2 and float(data["lon"].max()) < -97
    row, col = EaseGrid(36).cell(EAST["lon"], EAST["lat"])
    (line,) = [record.message for record in caplog.records if "weather" in record.message]
    assert line.startswith(f"1 cells left out, as NLDAS has no weather there: 36 km ({row}, {col}) at 45.")
    told = json.loads(data.attrs["pixels"])
    assert told["cells_36_km_without_weather"] == [[row, col]] and told["n_cells_36_km_without_weather"] == 1
    assert data[["air_temperature", "precipitation", "ssm_noah"]].notnull().all()
    only = settings([EAST], nldas="centre")
    with pytest.raises(CubeError, match=r"no cell of 36 km .* n_cells_36_km_without_weather 1"):
        cube.build(only, tmp_path / "east.zarr", tmp_path / "data", "serial")


def test_sites_that_smap_seldom_sees(grids, tmp_path, caplog):
    """Of five days each cell is seen on three or four: on more than 0.85 of them none."""
    profile = settings(SITES, nldas="centre", least_observed=0.85)
    with_series(grids, tmp_path / "data", profile)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(CubeError, match=r"seldom_observed 2, .* n_pixels_36_km 0"),
    ):
        cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")
    assert "cells of sites left out, as SMAP saw them on too few of the days: 36 km (" in caplog.text


def test_series_that_lack_or_end_early(grids, tmp_path):
    profile = settings(nldas="centre")
    paths = with_series(grids, tmp_path / "data", profile)
    path = next(p for p in paths if "Wind_E" in p.name)
    lat, lon = path.name.split("_")[7:9]
    whole = path.read_bytes()
    path.unlink()
    message = (
        rf"1 of 14 series of FORA are not here .* first is Wind_E at {lat}N {lon[1:]}W; get it by: smapnb fetch get"
    )
    with pytest.raises(CubeError, match=message):
        cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")
    path.write_bytes(whole)
    later = settings(nldas="centre")
    later.data.start = later.data.start.replace(day=25)
    with pytest.raises(CubeError, match="14 of 14 series of FORA are not here for all days 2016-02-25"):
        cube.build(later, tmp_path / "cube.zarr", tmp_path / "data", "serial")
    lines = whole.decode().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("2016-02-28 07")))
    with pytest.raises(
        CubeError, match=rf"{path.name}: 1 of 5 days have fewer than 24 hours of wind_u.* 2016-02-28 with 23"
    ):
        cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")
    assert not (tmp_path / "cube.zarr").exists()
    path.write_text("".join(re.sub("^(2016-02-28 07:00),.*", r"\1,-9999", line) for line in lines))
    data = cube.open_cube(cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial"))
    assert int(data["wind_u"].isnull().sum()) == 1 and bool(data["wind_u"][2].isnull().any())
    assert json.loads(data.attrs["read"])["FORA"]["hours_missing"] == 1


def test_many_pixels_in_blocks_and_a_killed_build(grids, tmp_path, monkeypatch):
    """One pixel a block: two tasks a product, which share no chunk; what is done before a stop is not done again."""
    profile = settings(nldas="centre")
    with_series(grids, tmp_path / "data", profile)
    plain = cube.open_cube(cube.build(profile, tmp_path / "plain.zarr", tmp_path / "data", "serial")).load()
    monkeypatch.setattr(cube_store, "PIXEL_CHUNK", 1)
    done = []
    run = cube_full.cube_tasks.run

    def stopping(site, task):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(task.note)
        run(site, task)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cube_full.cube_tasks, "run", stopping)
        cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")
    monkeypatch.setattr(cube_full.cube_tasks, "run", lambda site, task: (done.append(task.note), run(site, task)))
    data = cube.open_cube(cube.build(profile, tmp_path / "cube.zarr", tmp_path / "data", "serial")).load()
    assert len(done) == len(set(done)) == 5 and {"FORA_000000_000000.json", "FORA_000000_000001.json"} <= set(done)
    xr.testing.assert_equal(data, plain)
