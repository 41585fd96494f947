"""A week of the agencies' files at true size by the commands that a person types, from a server to the hindcast.

No reader may shift, turn or lose a cell, a day or an hour: at every cell of every product the cube holds what was put
into the files. What is expected is said by `week_archive`, which shares nothing with the package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import week_archive as week
import xarray as xr
import yaml
from misbehaving_server import Server, loopback_only, short, status  # noqa: F401
from served_archives import SOILS, command, look_at

from smapnb import cube, fetch_products, hindcast, places
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.full_size]
STATICS = ["sand", "albedo", "dense_vegetation"]
DAILY = {about.ours: key for key, about in week.WEATHER.items()}
FIRST, LAST = (str(week.DAYS[i].date()) for i in (0, -1))


def profile() -> dict:
    """Every cell of both grids, a network of 16 units, a few steps of training."""
    archive = {"every_km9": 1, "least_observed": 0.0}
    network = {"hidden_size": 16, "dropout": 0.0, "seq_length": [2], "device": "cpu"}
    steps = {"batch_size": 500, "epochs": 1, "iterations_per_epoch": 20, "optimiser": "adamw", "learning_rate": 0.02}
    return {
        "name": "week",
        "title": "A generated week at true size",
        "targets": ["surface", "rootzone"],
        "data": {"source": "conus", "start": FIRST, "end": LAST, "archive": archive},
        "inputs": {"statics": STATICS},
        "training": {"start": FIRST, "end": "2015-12-31", **network, **steps},
        "hindcast": {"start": FIRST, "end": LAST, "spinup_days": 0, "pixel_block": 8192},
        "evaluation": {"start": "2016-01-01", "end": LAST},
    }


# From the server to the hindcast --------------------------------------------------------------------------------


@dataclass
class OnDisk:
    """A file of the server that is read when it is asked for."""

    path: Path
    faults: list = field(default_factory=list)
    ranges: bool = True
    etag: str = '"v1"'
    content_type: str = "application/octet-stream"

    @property
    def body(self) -> bytes:
        return self.path.read_bytes()


class Granule(dict):
    """What earthaccess gives for a file of the catalogue."""

    def __init__(self, url: str, path: Path, length: int | None, sha256: str | None) -> None:
        entry = {"Name": path.name, "SizeInBytes": length, "Checksum": {"Value": sha256, "Algorithm": "SHA-256"}}
        super().__init__(umm={"DataGranule": {"ArchiveAndDistributionInformation": [entry]}})
        self.url = url

    def data_links(self, access: str) -> list[str]:
        return [self.url]


def put_on(server: Server, folder: Path) -> dict[str, list[Granule]]:
    """Hand out the archive by the paths that the agencies use; give the catalogue."""
    catalogue: dict[str, list[Granule]] = {"SPL3SMP": [], "SPL4SMGP": []}
    opendap = f"/collections/{fetch_products.PRODUCTS['SPL4SMGP'].collection}/granules"
    for path in sorted(folder.iterdir()):
        if path.name.startswith("NLDAS_"):
            product, day = path.name.split(".")[:2]
            folder_of_day = datetime.strptime(day, "A%Y%m%d").strftime("%Y/%j")
            where = f"/nldas/{product}.2.0/{folder_of_day}/{path.name}"
        elif path.suffix == ".nc4":
            # Windows are cut out of granules, of which the catalogue tells length and checksum: not those of a window.
            where = f"{opendap}/{path.stem}.h5.dap.nc4"
            catalogue["SPL4SMGP"].append(Granule(f"https://example.org/{path.stem}.h5", path, 143_000_000, "0" * 64))
        else:
            where = f"/files/{path.name}"
        server.files[where] = OnDisk(path)
        if "SMAP_L3" in path.name:
            body = path.read_bytes()
            granule = Granule(server.address + where, path, len(body), hashlib.sha256(body).hexdigest())
            catalogue["SPL3SMP"].append(granule)
    head = "WBAN\tCOUNTRY\tSTATE\tLOCATION\tVECTOR\tNAME\tLATITUDE\tLONGITUDE\tOPERATION\tNETWORK\n"
    server.put("/uscrn/stations.tsv", f"{head}1\tUS\tTX\tA\t1 N\tA\t34.2\t-99.7\tOperational\tUSCRN\n".encode())
    for year in (2015, 2016):
        name = f"CRND0103-{year}-TX_A_1_N.txt"
        server.put(f"/uscrn/daily01/{year}/", f'<a href="{name}">'.encode(), content_type="text/html")
        server.put(f"/uscrn/daily01/{year}/{name}", b"1 20151228\n")
    return catalogue


def misbehave(server: Server) -> int:
    """Some files fail once, as at any archive on any day; give their number."""
    paths = [path for path in server.files if path.startswith("/nldas/")]
    for path in paths[3:9:2]:
        server.files[path].faults = [status(503)]
    for path in [p for p in server.files if "SMAP_L3" in p][:2]:
        server.files[path].faults = [short(1000)]
    return 5


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(scope="module")
def archives(tmp_path_factory, patch) -> Iterator[tuple[Server, Path, int]]:
    """All archives on 127.0.0.1, a stand-in of `earthaccess`, a profile and an empty folder for the data."""
    pytest.importorskip("rasterio", reason="ISRIC's soils need the extra soils")
    folder = tmp_path_factory.mktemp("archives")
    week.write(folder)
    home = tmp_path_factory.mktemp("home")
    (home / "week.yml").write_text(yaml.safe_dump(profile()), encoding="utf-8")
    for name, value in {"SMAPNB_DATA": home / "data", "SMAPNB_RUNS": home / "runs", "NO_PROXY": "127.0.0.1"}.items():
        patch.setenv(name, str(value))
    with Server() as server:
        catalogue = put_on(server, folder)
        look_at(
            server,
            patch,
            catalogue,
            {fetch_products.GES_DISC: "/nldas", fetch_products.NCEI: "/uscrn", SOILS: "/files"},
        )
        yield server, home, misbehave(server)


@pytest.fixture(scope="module")
def fetched(archives) -> Path:
    """Folder of the data after ``smapnb fetch get``; the week and no more."""
    server, home, n_faults = archives
    said = command("fetch", "get", str(home / "week.yml"), "--window", "--parallel", "2")
    n_files = 7 + 56 + 3 * 169 + 1 + 2 + 1
    assert said == f"{n_files} files fetched, 0 were there, in {home / 'data'}\n"
    assert len(server.log) == n_files + 2 + n_faults  # two listings of stations
    return home / "data"


@pytest.fixture(scope="module")
def made(archives, fetched) -> Path:
    """Folder of the run with its cube, networks and hindcast."""
    profile_path = str(archives[1] / "week.yml")
    command("cube", profile_path, "--scheduler", "serial")
    command("train", profile_path)
    command("hindcast", profile_path)
    return archives[1] / "runs" / "week"


@pytest.fixture(scope="module")
def data(made) -> xr.Dataset:
    return cube.open_cube(made / "cube.zarr").load()


def on_grid(data: xr.Dataset, name: str, km: int) -> np.ndarray:
    """A variable on rows and columns of the box, NaN where the cube has no pixel."""
    at = np.flatnonzero(data["grid_km"].values == km)
    rows, cols = week.BOX[km]
    values = data[name].values[..., at]
    out = np.full((*values.shape[:-1], len(rows), len(cols)), np.nan, np.float32)
    out[..., data["row"].values[at] - rows.start, data["col"].values[at] - cols.start] = values
    return out


def cells(km: int) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = week.BOX[km]
    return np.mgrid[rows.start : rows.stop, cols.start : cols.stop]


def held(data: xr.Dataset, km: int) -> np.ndarray:
    """Which cells of the box the cube has."""
    return np.isfinite(on_grid(data.assign(one=data["row"] * 0.0), "one", km))


# What was put in ------------------------------------------------------------------------------------------------


def test_fetched_files_are_those_of_the_archives(archives, fetched):
    assert sorted(p.name for p in fetched.rglob("*") if p.suffix in {".h5", ".nc", ".nc4", ".zip"}) == sorted(
        p.name for p in archives[0].files.values() for p in ([p.path] if isinstance(p, OnDisk) else [])
    )
    manifest = json.loads((fetched / "smap/SPL3SMP.009/fetch-manifest.json").read_text())
    assert len(manifest["files"]) == 7
    assert (fetched / f"smap/SPL4SMGP.008{places.WINDOW}/2016").is_dir()


def test_the_cube_has_every_cell_with_land_and_weather_and_no_other(data):
    """The box reaches a degree farther east than NLDAS: three columns of 36 km and eleven of 9 km at the most.

    Its westernmost and southernmost cells lie half beyond.
    """
    assert data.indexes["time"].equals(week.DAYS)
    told = json.loads(data.attrs["pixels"])
    row, col = cells(9)
    land = {36: np.ones((70, 158), bool), 9: np.isfinite([week.rootzone(row, col, k) for k in range(8)]).any(axis=0)}
    for km, few in ((36, 3), (9, 11)):
        reached = np.isfinite(week.weather(("FORA", "Tair"), km)).all(axis=0)
        np.testing.assert_array_equal(held(data, km), land[km] & reached)
        assert (land[km] & reached).sum() == (data["grid_km"] == km).sum()
        beyond = land[km] & ~reached
        assert told[f"n_cells_{km}_km_without_weather"] == beyond.sum() > 0
        start = np.array([axis.start for axis in week.BOX[km]])
        assert {tuple(cell) for cell in told[f"cells_{km}_km_without_weather"]} == set(
            map(tuple, np.argwhere(beyond) + start)
        )
        assert reached[:-1, 1:-few].all() and not reached[:, -1].any()
    assert (data["grid_km"] == 9).sum() > 0.7 * 280 * 632


def test_surface_of_smap(data):
    row, col = cells(36)
    found = on_grid(data, "ssm_smap", 36)
    for n in range(7):
        np.testing.assert_array_equal(found[n], np.where(held(data, 36), week.surface(row, col, n), np.nan))
    assert np.isnan(on_grid(data, "ssm_smap", 9)).all()
    assert 0.5 < np.isfinite(found).mean() < 0.7


def test_root_zone_of_smap(data):
    """The mean of a day's eight fields, of six where two lack; five are too few."""
    row, col = cells(9)
    found = on_grid(data, "rzsm_smap", 9)
    for n in range(7):
        fields = np.array([week.rootzone(row, col, k) for k in range(8 * n, 8 * n + 8)], np.float64)
        count = np.isfinite(fields).sum(axis=0)
        mean = np.where((count >= 6) & held(data, 9), np.nansum(fields, axis=0) / np.maximum(count, 1), np.nan)
        np.testing.assert_allclose(found[n], mean, rtol=1e-7, atol=0)
        assert set(np.unique(count).tolist()) >= {0, 5, 6, 8}
    assert np.isnan(on_grid(data, "rzsm_smap", 36)).all()


@pytest.mark.parametrize("km", [36, 9])
@pytest.mark.parametrize("name", DAILY)
def test_weather_and_land_models(data, name, km):
    """A cell beside the right one differs by 1/464 of a third of the range, an hour by 1/169: a hundred times this."""
    about = week.WEATHER[DAILY[name]]
    due = np.where(held(data, km), week.weather(DAILY[name], km), np.nan)
    tolerance = 1e-6 * about.factor * max(abs(about.low), about.high)
    np.testing.assert_allclose(on_grid(data, name, km), due, rtol=0, atol=tolerance)
    assert np.isfinite(due).mean() > 0.6


@pytest.mark.parametrize("km", [36, 9])
def test_statics(data, km):
    there = held(data, km)
    np.testing.assert_allclose(on_grid(data, "sand", km), np.where(there, week.sand(km), np.nan), rtol=1e-6)
    row, col = (numbers * km // 36 for numbers in cells(km))  # of the 36 km cell around
    albedo = ((row * 1000 + col) / 1e6).astype(np.float32)
    np.testing.assert_allclose(on_grid(data, "albedo", km), np.where(there, albedo, np.nan), rtol=1e-7)
    dense = np.where(there, (row + col) % 2, np.nan)
    np.testing.assert_array_equal(on_grid(data, "dense_vegetation", km), dense)


# What comes out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "km"), [("surface", 36), ("rootzone", 9)])
def test_hindcast(data, made, quantity, km):
    """The trained network by torch.nn.LSTM on inputs scaled here, at every cell of its grid."""
    checkpoint = Checkpoint.load(made / quantity / CHECKPOINT)
    scaler, weights = checkpoint.scaler, checkpoint.weights[0]
    at = np.flatnonzero(data["grid_km"].values == km)
    columns = []
    for name in [*checkpoint.forcing, *checkpoint.statics]:
        values = data[name].values[..., at].astype(np.float64)
        scaled = np.nan_to_num((values - scaler.mean[name]) / scaler.std[name], nan=0.0)
        columns.append(np.broadcast_to(scaled, (7, at.size)))
    x = torch.from_numpy(np.stack(columns, axis=-1).astype(np.float32))
    peer = torch.nn.LSTM(16, 16)
    bias = {"bias_ih_l0": weights["lstm.bias"], "bias_hh_l0": torch.zeros(64)}
    peer.load_state_dict({"weight_ih_l0": weights["lstm.weight_ih"], "weight_hh_l0": weights["lstm.weight_hh"], **bias})
    with torch.no_grad():
        h, _ = peer(torch.relu(x @ weights["input.weight"].T + weights["input.bias"]))
        y = (h @ weights["output.weight"].T + weights["output.bias"])[..., 0].numpy()
    due = y * scaler.std[checkpoint.target] + scaler.mean[checkpoint.target]
    result = hindcast.open_hindcast(made / "hindcast.zarr")[checkpoint.output].load()
    np.testing.assert_allclose(result.values[:, at], due, rtol=0, atol=2e-6)
    others = np.setdiff1d(np.arange(data.sizes["pixel"]), at)
    assert np.isnan(result.values[:, others]).all()
    assert result.indexes["time"].equals(week.DAYS) and due.std() > 1e-3
