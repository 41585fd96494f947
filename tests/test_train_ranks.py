"""Several processes train as one does: same losses, each goes on with what the other began, none is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reservoir import make_cube, make_profile
from typer.testing import CliRunner

import smapnb.train as module
from smapnb import cli
from smapnb.cube import build, open_cube
from smapnb.profile import Profile, load
from smapnb.train import HISTORY, train
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, TrainingError, read_tensors
from smapnb.train_member import Member, masked_loss
from smapnb.train_ranks import Ranks
from smapnb.train_state import STATE

HERE = Path(__file__).parent

# -- shares --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size", "lengths"), [(6, 2, [3, 3]), (7, 2, [3, 4]), (7, 3, [2, 2, 3]), (3, 3, [1] * 3)])
def test_shares_leave_nothing_over(n, size, lengths):
    shares = [range(n)[Ranks(rank, size).share(n)] for rank in range(size)]
    assert [len(share) for share in shares] == lengths
    assert [i for share in shares for i in share] == list(range(n))


def test_a_batch_smaller_than_the_processes_is_refused():
    with pytest.raises(TrainingError, match="batch_size 3 is smaller than the number of processes, 4"):
        Ranks(0, 4).share(3)


@pytest.mark.parametrize("per", ["rho", "observation"])
def test_losses_and_gradients_of_shares_add_up_to_those_of_the_batch(per):
    """Unequal shares, one of them without any observation."""
    generator = torch.Generator().manual_seed(0)
    simulated, observed = torch.randn(2, 10, 7, generator=generator, dtype=torch.float64)
    scored = (torch.rand(10, 7, generator=generator) < 0.4).double()
    scored[:, 5:] = 0
    simulated.requires_grad_()
    whole = masked_loss(simulated, observed, scored, 10, per)
    (gradient,) = torch.autograd.grad(whole, simulated)
    shares = [slice(0, 4), slice(4, 5), slice(5, 7)]
    parts = [masked_loss(simulated[:, p], observed[:, p], scored[:, p], 10, per, scored) for p in shares]
    (of_parts,) = torch.autograd.grad(sum(parts), simulated)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(of_parts, gradient, rtol=1e-12, atol=0)
    assert float(parts[2].detach()) == 0


@pytest.mark.parametrize(
    ("wish", "gpus", "local", "device"),
    [("auto", 0, 1, "cpu"), ("cpu", 2, 1, "cpu"), ("auto", 2, 1, "cuda:1"), ("cuda", 2, 0, "cuda:0")],
)
def test_each_process_has_a_gpu_of_its_own_or_the_cpu(monkeypatch, wish, gpus, local, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert Ranks(local, 2, local).device(wish) == torch.device(device)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("cuda", "process 2 of this machine finds 2 GPUs.*--nproc-per-node"),
        ("cuda:1", "training.device=cuda:1: several"),
        ("mps", "training.device=mps: several"),
    ],
)
def test_two_processes_on_one_gpu_are_refused(monkeypatch, wish, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match=message):
        Ranks(2, 3, 2).device(wish)


# -- torchrun ------------------------------------------------------------------------------------------------------

# Batches that two processes share unevenly; observations that the first half of a batch may lack; all that is drawn.
SETTINGS = {
    "even": {},
    "uneven, per observation": {"batch_size": 7, "loss_per": "observation", "gradient_clip": 0.5},
    "all that is drawn": {
        "members": 2,
        "seq_length": [20, 35],
        "warmup": 5,
        "forcing_noise": 0.05,
        "weight_average": 0.5,
        "optimiser": "adadelta",
        "learning_rate": 1.0,
        "validation": {"pixel_fraction": 0.3, "months": ["2015-06"], "patience": 2},
    },
    "bfloat16": {"mixed_precision": True},
}

SCRIPT = """
import json, sys
from pathlib import Path
import torch
import smapnb.train as module
from reservoir import make_cube, make_profile
from smapnb import train_validation
from smapnb.train import TrainingError, joined, train
from smapnb.train_member import Member

folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
train_validation.PIXEL_BLOCK = 1  # so that each process has one of the two held-back pixels
torch.set_num_threads(1)
cube, said, Run = make_cube(), {}, module._Run
step, save = Member._step, Run._save_state

class Stopped(Exception):
    pass

def stop(self):  # both processes after the same epoch, as when torchrun is killed
    save(self)
    raise Stopped

def another_step(self, number):
    done = step(self, number)
    self.model.output.bias.data += ranks.rank
    return done

def failing(name, error, cube, changes, *patched):
    if patched:
        setattr(*patched)
    try:
        train(cube, make_profile(changes), "surface", folder / name, progress=False, ranks=ranks)
    except error as problem:
        said[name] = str(problem)
    Member._step, Run._save_state = step, save

with joined() as ranks:
    for name, changes in settings.items():
        train(cube, make_profile(changes), "surface", folder / name, progress=False, ranks=ranks)
    train(cube, make_profile(), "surface", folder / "begun alone", progress=False, ranks=ranks)
    failing("begun by two", Stopped, cube, {}, Run, "_save_state", stop)
    failing("other weights", TrainingError, cube, {}, Member, "_step", another_step)
    failing("other data", TrainingError, cube if ranks.first else make_cube(seed=1), {})
    failing("diverging", TrainingError, cube, {"learning_rate": 1e30})
    failing("too few", TrainingError, cube, {"batch_size": 1})
    (folder / f"said{ranks.rank}.json").write_text(json.dumps(said))
"""


@contextmanager
def torchrun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes of a script or module, which the end of the block ends, however it is reached."""
    with subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.terminate()  # torchrun then ends its workers, within 30 s; nothing where it has ended
            try:
                running.wait(timeout=60)
            except subprocess.TimeoutExpired:
                running.kill()


@pytest.fixture(scope="module")
def cube():
    return make_cube()


@pytest.fixture(scope="module")
def by_two(cube, tmp_path_factory):
    """What two processes of torchrun left behind, having gone on with what one began; and what each said."""
    folder = tmp_path_factory.mktemp("ranks")
    stop_after_one_epoch(cube, folder / "begun alone")
    (folder / "script.py").write_text(SCRIPT)
    with torchrun(str(folder / "script.py"), str(folder), json.dumps(SETTINGS)) as running:
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    return folder


def stop_after_one_epoch(cube, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        save = module._Run._save_state

        def stop(self):
            save(self)
            raise KeyboardInterrupt

        patch.setattr(module._Run, "_save_state", stop)
        with pytest.raises(KeyboardInterrupt):
            train(cube, make_profile(), "surface", folder, progress=False)


def check_same_training(folder: Path, alone: Path) -> None:
    """Losses to 1e-5 of their size, as the issue of several processes asks; weights and validation likewise."""
    ours, theirs = (pd.read_csv(f / HISTORY).drop(columns="seconds") for f in (folder, alone))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=0)
    for weights, others in zip(*(Checkpoint.load(f / CHECKPOINT).weights for f in (folder, alone)), strict=True):
        for name in weights:
            torch.testing.assert_close(weights[name], others[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_train_as_one(cube, by_two, tmp_path, name):
    train(cube, make_profile(SETTINGS[name]), "surface", tmp_path, progress=False)
    if name == "bfloat16":
        # Products in bfloat16 are rounded to 1/256 and the sums of unequal shares round differently.
        ours, theirs = (pd.read_csv(f / HISTORY)["loss"] for f in (by_two / name, tmp_path))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    else:
        check_same_training(by_two / name, tmp_path)


def test_two_go_on_with_what_one_began_and_one_with_what_two_began(cube, by_two, tmp_path):
    train(cube, make_profile(), "surface", tmp_path, progress=False)
    check_same_training(by_two / "begun alone", tmp_path)
    _, about = read_tensors(by_two / "begun by two" / STATE)
    assert len(json.loads(about)["history"]) == 1
    result = train(cube, make_profile(), "surface", by_two / "begun by two", progress=False)
    assert result.device == "cpu, 2 processes, then cpu"
    check_same_training(by_two / "begun by two", tmp_path)


def test_what_two_finished_is_not_trained_again(cube, by_two, monkeypatch):
    before = (by_two / "even" / CHECKPOINT).read_bytes()
    monkeypatch.setattr(Member, "_step", lambda *_: pytest.fail("trained again"))
    result = train(cube, make_profile(), "surface", by_two / "even", progress=False)
    assert result.device == "cpu, 2 processes"
    assert (by_two / "even" / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other weights", "the weights differ between the processes by"),
        ("other data", "the settings or the data of process 1 differ from those of process 0"),
        ("diverging", "not finite at step"),
        ("too few", "batch_size 1 is smaller than the number of processes, 2"),
    ],
)
def test_what_goes_wrong_is_said_by_all(by_two, name, words):
    first, second = (json.loads((by_two / f"said{rank}.json").read_text())[name] for rank in (0, 1))
    assert words in first
    assert first == second
    assert not (by_two / name / CHECKPOINT).exists()


def test_a_lost_process_is_told(monkeypatch):
    def lost(*_):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("torch.distributed.all_reduce", lost)
    with pytest.raises(TrainingError, match=r"process 0 of 2 lost another one.*closed by peer.*the same command"):
        Ranks(0, 2).add_up([torch.ones(1)])


# -- the command ---------------------------------------------------------------------------------------------------

PROFILE = """
name: few
title: Two years of the twin
data: {source: twin, start: 2015-01-01, end: 2015-12-31, pixels: 2}
targets: [surface, rootzone]
training:
  start: 2015-04-01
  end: 2015-09-30
  hidden_size: 8
  seq_length: [20]
  batch_size: 6
  epochs: 30
  iterations_per_epoch: 10
  device: cpu
  validation: {pixel_fraction: 0}
hindcast: {start: 2015-01-01, end: 2015-12-31}
evaluation: {start: 2015-10-01, end: 2015-12-31}
"""


def test_a_killed_process_of_the_command_ends_all_and_the_same_command_goes_on(tmp_path, monkeypatch):
    """One of two processes is killed as soon as an epoch is on disk; torchrun must end the other and say so."""
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path))
    path, folder = tmp_path / "few.yml", tmp_path / "few" / "rootzone"
    path.write_text(PROFILE)
    build(load(path), tmp_path / "few" / "cube.zarr")
    command = ["train", str(path), "--only", "rootzone"]
    with torchrun("-m", "smapnb", *command) as running:
        deadline = time.monotonic() + 120
        while not (folder / STATE).exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(workers[1]), signal.SIGKILL)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "SIGKILL" in errors
    assert {file.name for file in folder.iterdir()} == {STATE}
    result = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "min on cpu, 2 processes, then cpu" in result.stdout
    assert not (tmp_path / "few" / "surface").exists()
    check_same_training(folder, train_alone(load(path), tmp_path))


def train_alone(profile: Profile, runs: Path) -> Path:
    data = open_cube(runs / profile.name / "cube.zarr")
    return train(data, profile, "rootzone", runs / "alone", progress=False).checkpoint.parent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["twin", "--only", "rootsone"], "twin has no target rootsone; its targets: surface, rootzone"),
        (["twin"], "no cube at"),
        (["twin", "-p", "training.batch=3"], "training.batch"),
    ],
)
def test_errors_of_the_command_are_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path))
    result = CliRunner().invoke(cli.app, ["train", *arguments], catch_exceptions=False)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
