"""Blocks of a hindcast: each target at the cells of its own grid, by Dask the same bits, finished ones kept."""

import pickle
from pathlib import Path

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from reservoir import make_cube, make_profile
from test_hindcast import END, START, direct, make_checkpoint, same, trained_with
from typer.testing import CliRunner

import smapnb.hindcast as module
from smapnb import cluster, cube_store, hindcast, profile
from smapnb.cli import app
from smapnb.train_checkpoint import CHECKPOINT

BLOCKS = {"pixel_block": 4, "time_block": 60}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run's folder with one member a target."""
    for quantity in ("surface", "rootzone"):
        make_checkpoint(quantity).save(tmp_path / quantity / CHECKPOINT)
    return tmp_path


@pytest.fixture
def grids() -> xr.Dataset:
    """Five cells of 36 km, then eight of 9 km: with blocks of four, the second holds both."""
    cube = make_cube(pixels=13)
    return cube.assign_coords(grid_km=("pixel", np.repeat([36, 9], [5, 8])))


def run(cube, folder, name="hindcast.zarr", targets=("surface", "rootzone"), scheduler=None, **settings) -> xr.Dataset:
    chosen = make_profile(trained_with(folder), hindcast={**BLOCKS, **settings}, targets=list(targets))
    return hindcast.run(cube, chosen, folder, folder / name, scheduler=scheduler, progress=False)


# -- two grids -----------------------------------------------------------------------------------------------------


def test_each_target_runs_at_the_cells_of_its_own_grid(grids, folder):
    result = run(grids, folder).load()
    np.testing.assert_array_equal(result["grid_km"], grids["grid_km"])
    for name, quantity, own in (("ssm", "surface", slice(0, 5)), ("rzsm", "rootzone", slice(5, 13))):
        expected = direct(grids, make_checkpoint(quantity), "2015-01-01")
        same(result[f"{name}_lstm"].isel(pixel=own), expected.isel(pixel=own))
        elsewhere = np.setdiff1d(np.arange(13), np.arange(13)[own])
        assert np.isnan(result[f"{name}_lstm"][:, elsewhere]).all()


def test_forcing_is_held_to_the_range_of_the_target_at_the_cell(grids, folder):
    """12 mm of rain leave the range of one target, 280 K that of the other; a value missing from a grid counts not."""
    checkpoints = {quantity: make_checkpoint(quantity) for quantity in ("surface", "rootzone")}
    checkpoints["surface"].forcing_range = {"precipitation": (0.0, 12.0), "air_temperature": (0.0, 400.0)}
    checkpoints["rootzone"].forcing_range = {"precipitation": (0.0, 1e3), "air_temperature": (280.0, 400.0)}
    for quantity, checkpoint in checkpoints.items():
        checkpoint.save(folder / quantity / CHECKPOINT)
    both, surface = run(grids, folder).load(), run(grids, folder, "surface.zarr", targets=["surface"]).load()
    kept = grids.sel(time=slice(START, END))
    rain = (kept["precipitation"] > 12).astype(np.float32).to_numpy()
    cold = (kept["air_temperature"] < 280).astype(np.float32).to_numpy()
    assert rain.any()
    assert cold.any()
    np.testing.assert_array_equal(both["forcing_out_of_range"], np.where(grids["grid_km"] == 36, rain, cold))
    np.testing.assert_array_equal(surface["forcing_out_of_range"][:, :5], rain[:, :5])
    assert np.isnan(surface["forcing_out_of_range"][:, 5:]).all()


def test_blocks_without_a_cell_of_a_target_are_not_run_and_missing(grids, folder, monkeypatch):
    """Nothing is written there, so what is read is the store's fill value: it must not be Zarr's zero."""
    seen, block = [], module.run_pixels
    monkeypatch.setattr(module, "run_pixels", lambda job, pixels: seen.append(pixels.start) or block(job, pixels))
    result = run(grids, folder, targets=["surface"])
    assert seen == [0, 4]
    assert np.isnan(result["ssm_lstm"][:, 8:].to_numpy()).all()
    assert not (folder / "hindcast.zarr" / "ssm_lstm" / "c" / "0" / "2").exists()


def test_masks_of_a_cell_do_not_depend_on_the_other_grid(grids, folder):
    """Dropout passes at mixed blocks: each pixel has the masks of its number in the cube."""
    whole = run(grids, folder, dropout_passes=2, pixel_block=100, time_block=1000)
    blocks = run(grids, folder, "blocks.zarr", dropout_passes=2)
    same(whole["ssm_lstm"], blocks["ssm_lstm"])
    same(whole["rzsm_lstm"], blocks["rzsm_lstm"])


# -- Dask ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(grids, tmp_path) -> xr.Dataset:
    """The cube from a store, in chunks that fit no block: what travels to a worker is the way to its files."""
    grids.chunk(time=100, pixel=5).to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    return xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)


def test_two_processes_give_the_same_bits_and_keep_what_is_done(stored, folder, monkeypatch):
    """Interrupted after the first finished block; the second process run does not do that one again."""
    serial = run(stored, folder, "serial.zarr", dropout_passes=2).load()
    finished, write = [], module.hindcast_store.write_progress

    def stop_after_one(part, identity, done):
        write(part, identity, done)
        finished[:] = done
        if len(done) == 1:
            raise KeyboardInterrupt

    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as processes:
        address = processes.scheduler_address
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module.hindcast_store, "write_progress", stop_after_one)
            run(stored, folder, scheduler=address, dropout_passes=2)
        left = []
        results = cluster.results
        monkeypatch.setattr(
            cluster,
            "results",
            lambda work, job, parts, scheduler: left.extend(parts) or results(work, job, parts, scheduler),
        )
        result = run(stored, folder, scheduler=address, dropout_passes=2).load()
        again = [str(pixels.start) for pixels in left]
        broken = stored.copy()
        broken["sand"] = stored["sand"].where(stored["sand"] < 70, np.inf)
        with pytest.raises(Exception, match=r"sand is infinite at pixel"):
            run(broken, folder, "broken.zarr", scheduler=address)
    assert len(finished) == 1
    assert again == [start for start in ("0", "4", "8", "12") if start not in finished]
    xr.testing.assert_identical(result.drop_attrs(deep=False), serial.drop_attrs(deep=False))


def test_a_job_takes_the_way_to_the_cube_not_the_cube(folder, tmp_path):
    """The root zone's and the surface's cells of the whole country over 19 years: 700 MB in two variables."""
    days, pixels = pd.date_range("2015-01-01", periods=6940), 12_600
    small = make_cube(end="2015-01-02", pixels=pixels)
    lazy = dask.array.zeros((len(days), pixels), np.float32, chunks=(366, 256))
    forcing = {name: (("time", "pixel"), lazy) for name in ("precipitation", "air_temperature", "ssm_smap")}
    large = xr.Dataset({"sand": small["sand"], **forcing}, {"time": days, **small.drop_vars("time").coords})
    large.to_zarr(tmp_path / "large.zarr", zarr_format=3, consolidated=False, compute=False)
    large = xr.open_zarr(tmp_path / "large.zarr", consolidated=False)
    chosen = make_profile(trained_with(folder), targets=["surface", "rootzone"])
    job, _ = module._job(large, chosen, folder, tmp_path / "hindcast.zarr")
    assert "ssm_smap" not in job.cube
    assert len(pickle.dumps(job)) < 2e6


def test_no_scheduler_is_one_line(stored, folder):
    with pytest.raises(cluster.ClusterError, match=r"no Dask scheduler answers at 'nonsense://there'"):
        run(stored, folder, scheduler="nonsense://there")


# -- kept when nothing has changed ---------------------------------------------------------------------------------


def test_a_finished_hindcast_of_the_same_job_is_kept(grids, folder, monkeypatch):
    first = run(grids, folder)
    before = first.load()
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_pixels", None)
        xr.testing.assert_identical(run(grids, folder).load(), before)
    # Scaling is part of the checkpoint: the same weights with another one are another hindcast.
    checkpoint = make_checkpoint("rootzone")
    checkpoint.scaler.std["precipitation"] *= 2
    checkpoint.save(folder / "rootzone" / CHECKPOINT)
    assert float(abs(run(grids, folder)["rzsm_lstm"] - before["rzsm_lstm"]).max()) > 1e-3


def test_command_runs_and_names_what_is_missing(grids, folder, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(folder))
    chosen = make_profile({"dropout": 0.25}, hindcast=BLOCKS, targets=["surface", "rootzone"])
    own = folder / "reservoir"
    own.mkdir()
    monkeypatch.setattr(profile, "load", lambda name, overrides: chosen)
    outcome = CliRunner().invoke(app, ["hindcast", "reservoir"])
    assert outcome.exit_code == 1
    assert "no cube at" in outcome.output
    grids.attrs["synthetic"] = "true"
    grids.to_zarr(own / "cube.zarr", zarr_format=3, consolidated=False)
    zarr.open_group(own / "cube.zarr", mode="r+").attrs[cube_store.MARKER] = cube_store.inventory(own / "cube.zarr")
    outcome = CliRunner().invoke(app, ["hindcast", "reservoir"])
    assert outcome.exit_code == 1
    assert "surface/checkpoint.safetensors: no such file" in outcome.output
    for quantity in ("surface", "rootzone"):
        (folder / quantity).rename(own / quantity)
    outcome = CliRunner().invoke(app, ["hindcast", "reservoir"])
    assert outcome.exit_code == 0, outcome.output
    assert (own / "hindcast.zarr" / "zarr.json").is_file()


# -- precision -----------------------------------------------------------------------------------------------------


def test_bfloat16_is_near_and_said(grids, folder):
    exact, near = run(grids, folder), run(grids, folder, "near.zarr", precision="bfloat16")
    apart = abs(exact["ssm_lstm"] - near["ssm_lstm"])
    assert 1e-6 < float(apart.mean()) < 1e-3
    assert (exact.attrs["precision"], near.attrs["precision"]) == ("float32", "bfloat16")
