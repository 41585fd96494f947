"""The hindcast: blocks that do not matter, a stated start, members and dropout by hand, stopped and taken up again."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from datetime import date
from pathlib import Path

import dask.array
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from reservoir import FORCING, STATICS, make_cube, make_profile

import smapnb.hindcast as module
import smapnb.hindcast_block as block_module
from smapnb import __version__, hindcast, hindcast_store, variables
from smapnb.batch import Scaler
from smapnb.hindcast import HindcastError
from smapnb.lstm import SoilMoistureLSTM
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, TrainingError, network

HERE = Path(__file__).parent
START, END = "2015-07-01", "2016-03-31"
MEAN = {"precipitation": 3.0, "air_temperature": 285.0, "sand": 50.0, "ssm_smap": 0.2, "rzsm_smap": 0.3}
STD = {"precipitation": 6.0, "air_temperature": 8.0, "sand": 20.0, "ssm_smap": 0.05, "rzsm_smap": 0.02}
RANGE = {"precipitation": (0.0, 1e3), "air_temperature": (200.0, 330.0)}


def make_checkpoint(quantity="surface", members=1, forcing=FORCING, mean=MEAN, std=STD, **training) -> Checkpoint:
    """Untrained networks, of large weights so that they answer to their input."""
    profile = make_profile({"dropout": 0.25, **training})
    nets = []
    for member in range(members):
        generator = torch.Generator().manual_seed(10 * member + (quantity == "rootzone"))
        net = network(len(forcing) + 1, profile.training, generator)
        nets.append({k: 2 * v.detach() for k, v in net.state_dict().items()})
    versions = {"smapnb": "0.0.1", "torch": torch.__version__}
    settings = profile.model_dump(mode="json")
    return Checkpoint(nets, Scaler(mean, std), quantity, list(forcing), STATICS, settings, versions, RANGE)


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return make_cube(pixels=11)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run's folder with a checkpoint of two members."""
    make_checkpoint(members=2).save(tmp_path / "surface" / CHECKPOINT)
    return tmp_path


def trained_with(folder: Path) -> dict:
    """Settings of the training that the folder's checkpoint states: a profile must have the same."""
    path = folder / "surface" / CHECKPOINT
    try:
        return Checkpoint.load(path).profile["training"]
    except TrainingError:
        return {"dropout": 0.25}


def run(
    cube, folder: Path, name="hindcast.zarr", source="twin", targets=("surface",), end=END, **settings
) -> xr.Dataset:
    profile = make_profile(trained_with(folder), hindcast=settings, source=source, targets=list(targets))
    ending = profile.hindcast.model_copy(update={"end": date.fromisoformat(end)})
    profile = profile.model_copy(update={"hindcast": ending})
    return hindcast.run(cube, profile, folder, folder / name, progress=False)


def direct(cube, checkpoint: Checkpoint, first: str, member: int = 0) -> xr.DataArray:
    """One network over all days from `first` at once, from a zero state, scaled there and back by hand."""
    data = cube.sel(time=slice(first, END))
    parts = []
    for name in [*checkpoint.forcing, *checkpoint.statics]:
        values = (data[name] - checkpoint.scaler.mean[name]) / checkpoint.scaler.std[name]
        parts.append(values.broadcast_like(data["precipitation"]).transpose("time", "pixel").fillna(0))
    x = torch.from_numpy(np.stack(parts, axis=2).astype(np.float32))
    with torch.no_grad():
        y = checkpoint.models()[member](x).numpy()
    target = checkpoint.target
    y = y * checkpoint.scaler.std[target] + checkpoint.scaler.mean[target]
    return data["precipitation"].copy(data=y).sel(time=slice(START, END))


def same(a, b, atol=2e-6) -> None:
    assert a.sizes == b.sizes
    np.testing.assert_array_equal(a["time"], b["time"])
    np.testing.assert_array_equal(a["pixel"], b["pixel"])
    np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=0, atol=atol)


# -- blocks and start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pixel_block", "time_block"), [(1000, 1000), (4, 50), (1, 366), (11, 1), (3, 7)])
def test_blocks_do_not_matter(cube, folder, pixel_block, time_block):
    """The same as each network run in one go over the whole record, for blocks that fit and that do not."""
    end = END
    if time_block < 10:
        end = "2015-08-10"
        cube = cube.sel(time=slice("2015-06-20", end))
    result = run(cube, folder, pixel_block=pixel_block, time_block=time_block, spinup_days=365, end=end)
    checkpoint = make_checkpoint(members=2)
    members = [direct(cube, checkpoint, "2015-01-01", member) for member in (0, 1)]
    assert float(abs(members[0] - members[1]).mean()) > 0.01
    same(result["ssm_lstm"], (members[0] + members[1]) / 2)
    # Standard deviation of two values: |a - b| / sqrt(2).
    same(result["ssm_lstm_spread"], abs(members[0] - members[1]) / 2**0.5)


@pytest.mark.parametrize(
    ("spinup_days", "first", "stated"),
    [(0, START, 0), (1, "2015-06-30", 1), (30, "2015-06-01", 30), (365, "2015-01-01", 181)],
)
def test_the_state_starts_from_zero_before_the_days_kept(cube, folder, spinup_days, first, stated):
    """Run over `spinup_days` days more, or over as many as the cube has, which the result states."""
    result = run(cube, folder, spinup_days=spinup_days, time_block=40)
    assert result.attrs["spinup_days"] == stated
    assert str(result["time"].values[0])[:10] == START
    assert str(result["time"].values[-1])[:10] == END
    checkpoint = make_checkpoint(members=2)
    same(result["ssm_lstm"], (direct(cube, checkpoint, first, 0) + direct(cube, checkpoint, first, 1)) / 2)


def test_the_start_shows_on_the_first_days(cube, folder):
    """Otherwise the test above could not tell one start from another."""
    cold, warm = (run(cube, folder, spinup_days=days)["ssm_lstm"].load() for days in (0, 90))
    apart = abs(cold - warm).mean("pixel").to_numpy()
    assert apart[0] > 1e-3
    assert apart[-30:].max() < 1e-3 * apart[0]


def test_two_targets_each_by_its_own_checkpoint(cube, tmp_path):
    """Other inputs, in another order and with another scaler, for the root zone than for the surface."""
    mean, std = MEAN | {"precipitation": 0.0, "sand": 0.0}, STD | {"precipitation": 20.0, "sand": 100.0}
    checkpoints = {
        "surface": make_checkpoint(),
        "rootzone": make_checkpoint("rootzone", forcing=FORCING[::-1], mean=mean, std=std),
    }
    for quantity, checkpoint in checkpoints.items():
        checkpoint.save(tmp_path / quantity / CHECKPOINT)
    result = run(cube, tmp_path, targets=["surface", "rootzone"], pixel_block=4, time_block=100)
    same(result["ssm_lstm"], direct(cube, checkpoints["surface"], "2015-01-01"))
    same(result["rzsm_lstm"], direct(cube, checkpoints["rootzone"], "2015-01-01"))
    assert set(result.data_vars) == {
        "ssm_lstm",
        "ssm_lstm_spread",
        "rzsm_lstm",
        "rzsm_lstm_spread",
        "forcing_out_of_range",
    }


def test_missing_forcing_is_the_training_mean(cube, folder):
    gaps = cube.copy(deep=True)
    gaps["precipitation"][200:210, 3] = np.nan
    gaps["sand"][5] = np.nan
    filled = gaps.fillna({"precipitation": MEAN["precipitation"], "sand": MEAN["sand"]})
    result = run(gaps, folder)
    same(result["ssm_lstm"], run(filled, folder, "filled.zarr")["ssm_lstm"])
    filled_in = gaps["precipitation"].isnull().sel(time=slice(START, None))
    assert int(filled_in.sum()) == 10
    np.testing.assert_array_equal(result["forcing_out_of_range"], filled_in)


def test_the_target_is_not_needed(cube, folder):
    """Before the satellite there is none; a hindcast that looked at it would be no hindcast."""
    result = run(cube, folder).load()
    without = run(cube.drop_vars(["ssm_smap", "rzsm_smap"]), folder, "without.zarr")
    xr.testing.assert_equal(result, without.load())


# -- dropout passes ------------------------------------------------------------------------------------------------


def test_passes_do_not_depend_on_blocks(cube, folder):
    """Masks constant over the record and drawn by pixel: else other blocks would give other numbers."""
    whole = run(cube, folder, dropout_passes=3, pixel_block=1000, time_block=1000)
    blocks = run(cube, folder, "blocks.zarr", dropout_passes=3, pixel_block=4, time_block=60)
    same(whole["ssm_lstm"], blocks["ssm_lstm"])
    same(whole["ssm_lstm_spread"], blocks["ssm_lstm_spread"], atol=1e-5)
    again = run(cube, folder, "again.zarr", dropout_passes=3, pixel_block=4, time_block=60)
    xr.testing.assert_identical(again["ssm_lstm"].load(), blocks["ssm_lstm"].load())
    assert whole.attrs["realisations"] == 6
    assert whole.attrs["dropout_passes"] == 3
    assert float(abs(whole["ssm_lstm"] - run(cube, folder, "off.zarr")["ssm_lstm"]).mean()) > 1e-3


def test_passes_follow_the_seed_of_the_training(cube, tmp_path):
    results = []
    for seed in (0, 1):
        make_checkpoint(seed=seed).save(tmp_path / "surface" / CHECKPOINT)
        results.append(run(cube, tmp_path, f"{seed}.zarr", dropout_passes=2)["ssm_lstm"].load())
    assert float(abs(results[0] - results[1]).mean()) > 1e-3


def test_one_pass_is_the_network_with_constant_masks(cube, tmp_path):
    """A forward pass in training mode over the whole record with one set of masks, whatever the blocks."""
    checkpoint = make_checkpoint()
    seen = []
    checkpoint.save(tmp_path / "surface" / CHECKPOINT)
    draw = block_module.draw_masks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "draw_masks", lambda *args: seen.append(draw(*args)) or seen[-1])
        result = run(cube, tmp_path, dropout_passes=1, pixel_block=1000, time_block=40)
    assert len(seen) == 1
    for mask in seen[0]:
        assert mask.shape == (11, 8)
        assert set(mask.unique().tolist()) == {0.0, float(np.float32(1) / np.float32(0.75))}
    model = checkpoint.models()[0]
    forward = type(model).forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "forward", lambda self, x: forward(self.train(), x, seen[0]))
        expected = direct(cube, checkpoint, "2015-01-01")
    same(result["ssm_lstm"], expected)
    assert np.isnan(result["ssm_lstm_spread"]).all()


def test_every_member_pass_and_pixel_has_masks_of_its_own(folder):
    model = make_checkpoint().models()[0]
    draw, every = block_module.draw_masks, np.arange(6)
    drawn = [draw(model, 6, 0, member, k, every) for member in (0, 1) for k in (0, 1)]
    drawn += [draw(model, 6, 1, 0, 0, every)]
    rows = torch.cat([torch.cat(list(masks), dim=1) for masks in drawn])
    assert len(rows.unique(dim=0)) == 5 * 6
    part = draw(model, 6, 0, 0, 0, np.arange(2, 5))
    assert all(torch.equal(a, b[2:5]) for a, b in zip(part, drawn[0], strict=True))


def test_passes_of_a_network_without_dropout_are_one(cube, tmp_path):
    make_checkpoint(dropout=0.0).save(tmp_path / "surface" / CHECKPOINT)
    result = run(cube, tmp_path, dropout_passes=3)
    assert (result.attrs["dropout_passes"], result.attrs["realisations"]) == (0, 1)
    assert np.isnan(result["ssm_lstm_spread"]).all()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("training.start", {"start": "2015-02-01"}),
        ("training.hidden_size", {"hidden_size": 9}),
        ("rules", {}),
        ("inputs.forcing", {}),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(cube, folder, key, change):
    """Its test period may have been another's training period."""
    profile = make_profile(trained_with(folder) | change)
    if key == "rules":
        profile = profile.model_copy(update={"rules": "paper-text"})
    if key == "inputs.forcing":
        inputs = profile.inputs.model_copy(update={"forcing": FORCING[::-1]})
        profile = profile.model_copy(update={"inputs": inputs})
    with pytest.raises(HindcastError, match=f"other settings .*{key}"):
        hindcast.run(cube, profile, folder, folder / "hindcast.zarr", progress=False)


def test_the_profile_says_on_which_device(cube, tmp_path):
    """A checkpoint that was trained on a GPU runs on a machine without one."""
    make_checkpoint(device="cuda").save(tmp_path / "surface" / CHECKPOINT)
    profile = make_profile(trained_with(tmp_path) | {"device": "cpu"})
    result = hindcast.run(cube, profile, tmp_path, tmp_path / "hindcast.zarr", progress=False)
    assert not np.isnan(result["ssm_lstm"]).any()


# -- forcing beyond the training range -----------------------------------------------------------------------------


def test_forcing_beyond_the_training_range_is_flagged(cube, folder):
    odd = cube.copy(deep=True)
    odd["precipitation"].loc[{"time": "2015-08-03", "pixel": 10}] = 1000.5
    odd["precipitation"].loc[{"time": "2015-08-04", "pixel": 10}] = 1000
    odd["precipitation"].loc[{"time": "2015-09-05", "pixel": 73}] = 2000
    odd["air_temperature"].loc[{"time": "2015-09-05", "pixel": 73}] = 199
    odd["air_temperature"].loc[{"time": "2015-05-05", "pixel": 73}] = 199  # a day that only spins up
    flagged = run(odd, folder, pixel_block=4, time_block=30)["forcing_out_of_range"].load()
    assert float(flagged.sum()) == 3
    assert float(flagged.sel(time="2015-08-03", pixel=10)) == 1
    assert float(flagged.sel(time="2015-09-05", pixel=73)) == 2


# -- names, units, provenance --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "synthetic"), [("twin", "true"), ("conus412", "false")])
def test_result_obeys_the_table_and_says_where_it_comes_from(cube, folder, source, synthetic):
    named = cube.assign_attrs(grid="EASE-Grid 2.0 global, 36 km").assign_coords(
        time=cube["time"].assign_attrs(axis="T")
    )
    checkpoint = make_checkpoint(members=2)
    checkpoint.profile["data"]["source"] = source
    checkpoint.save(folder / "surface" / CHECKPOINT)
    result = run(named, folder, source=source)
    assert result.attrs["grid"] == "EASE-Grid 2.0 global, 36 km"
    assert result["time"].attrs == {"axis": "T"}  # and no count of values out of range, which a coordinate cannot have
    report = variables.check(result, "hindcast")
    assert set(report.index) == {"ssm_lstm", "ssm_lstm_spread", "forcing_out_of_range"}
    for name in report.index:
        assert result[name].attrs["long_name"] == variables.TABLE[name].long_name
    for name in ("row", "col", "lat", "lon", "pixel"):
        np.testing.assert_array_equal(result[name], cube[name])
    attrs = result.attrs
    assert (attrs["profile"], attrs["synthetic"]) == ("reservoir", synthetic)
    assert attrs["smapnb_version"] == __version__ != "0.0.1"
    assert json.loads(attrs["versions_of_training"]) == {"smapnb": "0.0.1", "torch": torch.__version__}
    assert "reservoir" in attrs["source"]
    assert json.loads(attrs["versions"])["torch"] == torch.__version__
    assert pd.Timestamp(attrs["created"]).tzinfo is not None
    assert (attrs["realisations"], attrs["dropout_passes"]) == (2, 0)


def test_a_cube_or_a_training_of_another_world_is_refused(cube, folder):
    """By their attributes a cube of other settings, and networks of another simulation, look like any other."""
    section = make_profile().data.model_dump(mode="json")
    run(cube.assign_attrs(data_section=json.dumps(section | {"end": "2030-01-01"})), folder)  # longer is free
    for key, value in (("twin_seed", 7), ("pixels", 3)):
        with pytest.raises(HindcastError, match=rf"the cube was made with other settings .*\(data\.{key}\)"):
            run(cube.assign_attrs(data_section=json.dumps(section | {key: value})), folder)
    with pytest.raises(HindcastError, match="by a version of smapnb with other settings than this one knows"):
        run(cube.assign_attrs(data_section=json.dumps(section | {"weather": "fair"})), folder)
    checkpoint = make_checkpoint()
    checkpoint.profile["data"]["twin_seed"] = 7
    checkpoint.save(folder / "surface" / CHECKPOINT)
    with pytest.raises(HindcastError, match=r"trained with other settings than the profile's \(data\.twin_seed\)"):
        run(cube, folder)


def test_a_network_runs_at_other_places_but_not_on_files_read_otherwise():
    days = {"start": "2015-01-01", "end": "2016-03-31"}
    archive = {"source": "conus", **days, "archive": {"smap_algorithm": "dca", "region": [-100, 30, -99, 31]}}
    checkpoint = make_checkpoint()
    checkpoint.profile["data"] = make_profile(data=archive).data.model_dump(mode="json")
    trained = checkpoint.profile["training"]
    elsewhere = make_profile(trained, data=archive | {"archive": {"smap_algorithm": "dca", "every_km9": 2}})
    module._refuse_other_training(elsewhere, checkpoint)
    otherwise = make_profile(trained, data=archive | {"archive": {"smap_algorithm": "scav", "every_km9": 2}})
    with pytest.raises(HindcastError, match=r"\(data\.archive\.smap_algorithm\)"):
        module._refuse_other_training(otherwise, checkpoint)


def test_what_is_no_hindcast_is_left_alone(cube, folder):
    (folder / "hindcast.zarr").mkdir()
    (folder / "hindcast.zarr" / "letter.txt").write_text("mine")
    with pytest.raises(HindcastError, match=r"hindcast\.zarr: is not a hindcast and will not be replaced"):
        run(cube, folder)
    (folder / "hindcast.zarr" / "letter.txt").unlink()
    run(cube, folder)


def test_impossible_values_are_kept_counted_and_logged_once(cube, tmp_path, caplog):
    """A network whose output bias lies far above 1 m3 m-3."""
    checkpoint = make_checkpoint()
    checkpoint.weights[0]["output.bias"] += 100
    checkpoint.save(tmp_path / "surface" / CHECKPOINT)
    result = run(cube, tmp_path, pixel_block=4, time_block=50)
    assert float(result["ssm_lstm"].min()) > 1
    assert result["ssm_lstm"].attrs["n_out_of_range"] == result["ssm_lstm"].size
    assert result["forcing_out_of_range"].attrs["n_out_of_range"] == 0
    warnings = [r.getMessage() for r in caplog.records if "outside the valid range" in r.getMessage()]
    assert len(warnings) == 1
    assert str(result["ssm_lstm"].size) in warnings[0]


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["air_temperature", "sand"])
def test_a_missing_input_is_named(cube, folder, name):
    with pytest.raises(HindcastError, match=rf"the cube lacks \['{name}'\], which the surface checkpoint needs"):
        run(cube.drop_vars(name), folder)


def test_a_missing_checkpoint_is_named(cube, folder):
    with pytest.raises(TrainingError, match=r"rootzone/checkpoint\.safetensors: no such file"):
        run(cube, folder, targets=["surface", "rootzone"])


def test_a_cube_without_the_period_is_refused(cube, folder):
    with pytest.raises(HindcastError, match=r"no day in 2015-07-01\.\.2016-03-31"):
        run(cube.sel(time=slice(None, "2015-06-30")), folder)
    with pytest.raises(HindcastError, match=r"2015-07-01\.\.2016-03-30 of the hindcast's 2015-07-01\.\.2016-03-31"):
        run(cube.sel(time=slice(None, "2016-03-30")), folder)
    with pytest.raises(HindcastError, match=r"holds 2015-07-02\.\.2016-03-31 of"):
        run(cube.sel(time=slice("2015-07-02", None)), folder)


# -- stopped and taken up again ------------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys
from pathlib import Path
import xarray as xr
from reservoir import make_cube, make_profile
from smapnb import hindcast

folder, blocks, write = Path(sys.argv[1]), 0, xr.Dataset.to_zarr

def killing(self, *args, **kwargs):
    global blocks
    if "region" in kwargs:
        blocks += 1
        if blocks == 8:
            os.kill(os.getpid(), signal.SIGKILL)
    return write(self, *args, **kwargs)

xr.Dataset.to_zarr = killing
profile = make_profile({"dropout": 0.25}, hindcast={"pixel_block": 4, "time_block": 60})
hindcast.run(make_cube(pixels=11), profile, folder, folder / "hindcast.zarr", progress=False)
"""
BLOCKS = {"pixel_block": 4, "time_block": 60}


def pixels_run(patch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[int]:
    """First pixels of the blocks that are run from now on; stops before the block `stop_at`."""
    seen: list[int] = []
    block = module.run_pixels

    def spy(job, pixels):
        if pixels.start == stop_at:
            raise KeyboardInterrupt
        seen.append(pixels.start)
        return block(job, pixels)

    patch.setattr(module, "run_pixels", spy)
    return seen


def test_a_killed_hindcast_goes_on_to_the_same_values(cube, folder, monkeypatch):
    """5 blocks of time a block of pixels: SIGKILL while the third of the second is to be written."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (folder / "hindcast.zarr").exists()
    whole = run(cube, folder, "whole.zarr", **BLOCKS).load()
    seen = pixels_run(monkeypatch)
    result = run(cube, folder, **BLOCKS).load()
    assert seen == [4, 8]
    xr.testing.assert_identical(result.drop_attrs(), whole.drop_attrs())
    assert not list(folder.glob(".*"))


def test_an_interrupted_hindcast_keeps_the_old_result_until_the_new_is_whole(cube, folder, monkeypatch):
    old = run(cube, folder, **BLOCKS).load()
    make_checkpoint(members=1).save(folder / "surface" / CHECKPOINT)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        pixels_run(patch, stop_at=8)
        run(cube, folder, **BLOCKS)
    xr.testing.assert_identical(xr.open_zarr(folder / "hindcast.zarr", consolidated=False).load(), old)
    seen = pixels_run(monkeypatch)
    new = run(cube, folder, **BLOCKS)
    assert seen == [8]
    same(new["ssm_lstm"], direct(cube, make_checkpoint(), "2015-01-01"))


def retrained(cube, folder):
    make_checkpoint(members=1).save(folder / "surface" / CHECKPOINT)
    return cube, {}


def rebuilt(cube, folder):
    other = cube.assign_attrs(created="2026-02-02T00:00:00+00:00")
    return other.assign(precipitation=cube["precipitation"] * np.float32(0.5)), {}


def shorter(cube, folder):
    return cube.sel(time=slice("2015-05-01", None)), {}


def later(cube, folder):
    return cube, {"spinup_days": 0}


@pytest.mark.parametrize("change", [retrained, rebuilt, shorter, later])
def test_blocks_of_another_run_are_not_taken_up(cube, folder, monkeypatch, change):
    """Stopped after two blocks of pixels; then the checkpoint, the cube or a setting is another one."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        pixels_run(patch, stop_at=8)
        run(cube, folder, **BLOCKS)
    changed, settings = change(cube, folder)
    seen = pixels_run(monkeypatch)
    result = run(changed, folder, **BLOCKS, **settings)
    assert seen == [0, 4, 8]
    same(result["ssm_lstm"], run(changed, folder, "fresh.zarr", **BLOCKS, **settings)["ssm_lstm"], atol=0)


def test_finished_blocks_are_never_believed_of_another_store(cube, folder, monkeypatch):
    """Stopped; begun anew with other settings and stopped at once; then the first settings again."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        pixels_run(patch, stop_at=8)
        run(cube, folder, **BLOCKS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stopped(*_):
            raise KeyboardInterrupt

        patch.setattr(hindcast_store, "write_progress", stopped)
        run(cube, folder, **BLOCKS, spinup_days=0)
    result = run(cube, folder, **BLOCKS)
    assert not np.isnan(result["ssm_lstm"]).any()


# -- memory --------------------------------------------------------------------------------------------------------


def endless(years: int, pixels: int) -> xr.Dataset:
    """A cube that is made as it is read, in chunks of a year."""
    time = pd.date_range("2015-01-01", periods=365 * years)

    def lazy(mean: float):
        shape, chunks = (len(time), pixels), (365, pixels)
        return ("time", "pixel"), mean + dask.array.random.default_rng(1).random(shape, np.float32, chunks=chunks)

    small = make_cube(end="2015-01-02", pixels=pixels)
    cube = xr.Dataset({"precipitation": lazy(3), "air_temperature": lazy(280), "sand": small["sand"]})
    return cube.assign_coords(time=time, **{c: small[c] for c in ("pixel", "row", "col", "lat", "lon")})


def test_memory_does_not_grow_with_the_record(folder, monkeypatch):
    """NumPy's peak over 9 years exceeds that over 2 by less than one variable.

    Torch's memory is not traced: there each block of both members is written before the next one is run, and none is
    larger than asked.
    """
    pixels, peaks, events = 60, [], []
    run_block, write = SoilMoistureLSTM.run, xr.Dataset.to_zarr

    def running(self, x, *rest):
        events.append(x.shape[:2])
        return run_block(self, x, *rest)

    def writing(self, *args, **kwargs):
        events.extend(["written"] * ("region" in kwargs))
        return write(self, *args, **kwargs)

    monkeypatch.setattr(SoilMoistureLSTM, "run", running)
    monkeypatch.setattr(xr.Dataset, "to_zarr", writing)
    for years in (1, 2, 9):  # the first also pays for what is only loaded once
        profile = make_profile(
            trained_with(folder), hindcast={"pixel_block": pixels, "time_block": 365, "spinup_days": 0}
        )
        end = pd.Timestamp("2015-01-01") + pd.Timedelta(days=365 * years - 1)
        period = profile.hindcast.model_copy(update={"start": pd.Timestamp("2015-01-01").date(), "end": end.date()})
        profile = profile.model_copy(update={"hindcast": period})
        cube = endless(years, pixels)
        events.clear()
        tracemalloc.start()
        result = hindcast.run(cube, profile, folder, folder / f"{years}.zarr", progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert result.sizes["time"] == 365 * years
        assert not np.isnan(result["ssm_lstm"][-1]).any()
        assert events == [(365, pixels), (365, pixels), "written"] * years
    one_variable = 365 * 9 * pixels * 4
    assert peaks[2] - peaks[1] < one_variable
