"""Training: it learns, it stops and goes on with the same bits, and it never looks where it must not."""

import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reservoir import FORCING, STATICS, make_cube, make_profile
from safetensors.torch import save_file

import smapnb.train as module
from smapnb import train_member, train_state
from smapnb.batch import BatchError, Scaler
from smapnb.lstm import Masks, SoilMoistureLSTM, recurrence
from smapnb.profile import Training
from smapnb.train import HISTORY, held_back, train
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, TrainingError, network, read_tensors
from smapnb.train_member import Member, learning_rate, masked_loss
from smapnb.train_state import STATE

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cube():
    return make_cube()


def run(cube, folder: Path, quantity="surface", sections=None, **training):
    return train(cube, make_profile(training, **(sections or {})), quantity, folder, progress=False)


def trained(cube, folder: Path, **training) -> bytes:
    """The bytes of the checkpoint: weights, scaler and all that stands beside them."""
    return run(cube, folder, **training).checkpoint.read_bytes()


def weights(content: Path | Checkpoint, member: int = 0) -> torch.Tensor:
    checkpoint = Checkpoint.load(content) if isinstance(content, Path) else content
    return torch.cat([v.flatten() for v in checkpoint.weights[member].values()])


def without_seconds(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="seconds")


class Stopped(Exception):
    """Stands for whatever ends a run."""


# -- equation 9 ----------------------------------------------------------------------------------------------------


def test_loss_by_hand():
    """Instance 1: errors 1 and 2 on 2 of 4 days; instance 2: error 3 on 1 day; instance 3: no day."""
    simulated = torch.tensor([[1.0, 3, 9], [2, 8, 9], [7, 8, 9], [7, 8, 9]])
    observed = torch.zeros(4, 3)
    scored = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert float(masked_loss(simulated, observed, scored, 4)) == pytest.approx((5 / 4 + 9 / 4 + 0) / 3)
    assert float(masked_loss(simulated, observed, scored, 2)) == pytest.approx((5 / 2 + 9 / 2 + 0) / 3)
    assert float(masked_loss(simulated, observed, scored, 4, "observation")) == pytest.approx(14 / 3)
    nothing = torch.zeros(4, 3)
    assert float(masked_loss(simulated, observed, nothing, 4)) == 0
    assert float(masked_loss(simulated, observed, nothing, 4, "observation")) == 0


@pytest.mark.parametrize("per", ["rho", "observation"])
def test_days_that_are_not_scored_do_not_matter(per):
    generator = torch.Generator().manual_seed(0)
    simulated, observed = torch.randn(2, 10, 4, generator=generator)
    scored = (torch.rand(10, 4, generator=generator) < 0.4).float()
    simulated.requires_grad_()
    loss = masked_loss(simulated, observed, scored, 10, per)
    loss.backward()
    assert torch.equal(simulated.grad != 0, scored == 1)
    other = torch.where(scored == 1, observed, 1e3)
    assert float(masked_loss(simulated, other, scored, 10, per).detach()) == float(loss.detach())


# -- it learns -----------------------------------------------------------------------------------------------------


def test_learns_a_reservoir_and_says_truly_how_well(cube, tmp_path):
    """Loss falls; pixels it never saw are simulated far better than by their mean; the stated error is that error."""
    result = run(cube, tmp_path, epochs=10, iterations_per_epoch=25, learning_rate=0.02, schedule="cosine")
    history = result.history
    assert history["loss"].iloc[-1] < 0.4 * history["loss"].iloc[0]

    profile = make_profile()
    data = cube.sel(time=slice("2015-04-01", "2015-09-30"))
    held, _ = held_back(data, profile)
    assert held.sum() == 2
    observed = data["ssm_smap"].to_numpy()
    constant = np.sqrt(np.nanmean((observed[:, held] - np.nanmean(observed[:, ~held])) ** 2))
    stated = history["validation_rmse_pixels"].iloc[-1]
    assert stated < 0.5 * constant

    checkpoint = Checkpoint.load(result.checkpoint)
    scaler = checkpoint.scaler
    forcing = np.stack([(data[n].to_numpy()[:, held] - scaler.mean[n]) / scaler.std[n] for n in FORCING], axis=2)
    sand = (data["sand"].to_numpy()[held] - scaler.mean["sand"]) / scaler.std["sand"]
    x = np.concatenate([forcing, np.broadcast_to(sand[:, None], (len(forcing), held.sum(), 1))], axis=2)
    with torch.no_grad():
        y = checkpoint.models()[0](torch.from_numpy(x.astype(np.float32))).numpy()
    y = y * scaler.std["ssm_smap"] + scaler.mean["ssm_smap"]
    assert stated == pytest.approx(np.sqrt(np.nanmean((y - observed[:, held]) ** 2)), rel=1e-4)
    assert history["validation_rmse"].iloc[-1] == pytest.approx(stated)


def test_rootzone_is_trained_on_its_own_target(cube, tmp_path):
    checkpoint = Checkpoint.load(run(cube, tmp_path, "rootzone").checkpoint)
    assert (checkpoint.quantity, checkpoint.target, checkpoint.output) == ("rootzone", "rzsm_smap", "rzsm_lstm")
    assert "ssm_smap" not in checkpoint.scaler.mean
    # The mean of what is trained on lies between its extremes, which those of the surface exceed on both sides.
    assert checkpoint.scaler.mean["rzsm_smap"] == pytest.approx(
        float(cube["rzsm_smap"].sel(time=slice("2015-04-01", "2015-09-30")).mean()), abs=0.05
    )


@pytest.mark.parametrize("optimiser", ["adadelta", "adamw"])
def test_optimisers_are_torchs(cube, tmp_path, optimiser):
    """One step from the same weights and gradients, by hand: both begin with a step that gradients' size hardly moves.

    ADADELTA: E = (1 - 0.9) g^2, step = sqrt(1e-6) / sqrt(E + 1e-6) g. AdamW: decay by lr * wd, then lr * sign(g).
    """
    grads = {}
    step = {"adadelta": torch.optim.Adadelta, "adamw": torch.optim.AdamW}[optimiser].step

    def spy(self, *args, **kwargs):
        grads["g"] = torch.cat([p.grad.flatten() for p in self.param_groups[0]["params"]]).clone()
        return step(self, *args, **kwargs)

    settings = {"optimiser": optimiser, "learning_rate": 0.01, "weight_decay": 0.1 if optimiser == "adamw" else 0.0}
    once = {"epochs": 1, "iterations_per_epoch": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr({"adadelta": torch.optim.Adadelta, "adamw": torch.optim.AdamW}[optimiser], "step", spy)
        result = run(cube, tmp_path, **settings, **once)
    profile = make_profile()
    before = network(3, profile.training, torch.Generator().manual_seed(0)).state_dict()
    start = torch.cat([v.flatten() for v in before.values()])
    g = grads["g"]
    if optimiser == "adadelta":
        expected = start - 0.01 * g * (1e-6 / (0.1 * g**2 + 1e-6)) ** 0.5
    else:
        expected = start * (1 - 0.01 * 0.1) - 0.01 * g / (g.abs() + 1e-8)
    # The checkpoint's keys come back in alphabetical order.
    names = sorted(before)
    sizes = {k: v.numel() for k, v in before.items()}
    parts = dict(zip(before, expected.split([sizes[k] for k in before]), strict=True))
    stored = Checkpoint.load(result.checkpoint).weights[0]
    for name in names:
        torch.testing.assert_close(stored[name].flatten(), parts[name], rtol=1e-4, atol=1e-7)


def test_cosine_schedule_by_hand():
    """105 steps: 5 of rise, then half a cosine over 100."""
    settings = Training.model_validate(
        {"start": "2015-04-01", "end": "2015-09-30", "schedule": "cosine", "learning_rate": 2.0}
    )
    rates = [learning_rate(step, 105, settings) for step in range(105)]
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rates[5] == pytest.approx(2)
    assert rates[30] == pytest.approx(1 + math.sqrt(0.5))
    assert rates[55] == pytest.approx(1)
    assert rates[80] == pytest.approx(1 - math.sqrt(0.5))
    assert 0 < rates[104] < 0.001
    assert all(a >= b for a, b in pairwise(rates[4:]))
    constant = settings.model_copy(update={"schedule": "constant"})
    assert {learning_rate(step, 105, constant) for step in range(105)} == {2.0}
    assert learning_rate(0, 1, settings) == 2.0


def test_the_schedule_spans_the_whole_training(cube, tmp_path, monkeypatch):
    """3 epochs of 4 steps: a rise of one step, then half a cosine over 11 steps."""
    seen = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (seen.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    run(cube, tmp_path, schedule="cosine", learning_rate=1.0)
    assert seen == pytest.approx([1, *(0.5 * (1 + math.cos(math.pi * k / 11)) for k in range(11))])


@pytest.mark.parametrize("clip", [None, 0.01])
def test_gradients_are_clipped_to_the_norm(cube, tmp_path, monkeypatch, clip):
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *args):
        norms.append(float(torch.stack([p.grad.norm() for p in self.param_groups[0]["params"]]).norm()))
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    run(cube, tmp_path, gradient_clip=clip)
    assert len(norms) == 12
    if clip is None:
        assert min(norms) > 0.01
    else:
        assert norms == pytest.approx([0.01] * 12, rel=1e-3)


def test_averaged_weights_by_hand(cube, tmp_path):
    """The decay is 1/10 at the first step and 2/11 at the second, from the random start w0."""
    one = weights(run(cube, tmp_path / "1", epochs=1, iterations_per_epoch=1).checkpoint)
    two = weights(run(cube, tmp_path / "2", epochs=1, iterations_per_epoch=2).checkpoint)
    average = weights(run(cube, tmp_path / "a", epochs=1, iterations_per_epoch=2, weight_average=0.99).checkpoint)
    model = network(3, make_profile().training, torch.Generator().manual_seed(0)).state_dict()
    start = torch.cat([model[k].flatten() for k in sorted(model)])
    expected = 2 / 11 * (0.1 * start + 0.9 * one) + 9 / 11 * two
    torch.testing.assert_close(average, expected, rtol=0, atol=1e-6)
    assert float((average - two).abs().max()) > 1e-4


def test_settings_that_act_change_the_weights(cube, tmp_path):
    """Each of these settings reaches the training."""
    changes = [
        {},
        {"dropout": 0.4},
        {"dropout_on": ["x"]},
        {"seq_length": [25]},
        {"warmup": 7},
        {"batch_size": 7},
        {"forcing_noise": 0.1},
        {"loss_per": "observation"},
        {"mixed_precision": True},
        {"weight_decay": 0.5},
        {"seed": 1},
    ]
    made = [weights(run(cube, tmp_path / str(k), epochs=1, **change).checkpoint) for k, change in enumerate(changes)]
    for k, first in enumerate(made):
        assert torch.isfinite(first).all(), changes[k]
        for m, second in enumerate(made[:k]):
            assert not torch.equal(first, second), (changes[k], changes[m])


def test_iterations_follow_the_authors_rule(cube, tmp_path, monkeypatch):
    """8 training pixels x 183 days, 6 x 20 at a time: ln 0.01 / ln(1 - 120 / 1464) = 53.9."""
    steps = []
    step = Member._step
    monkeypatch.setattr(Member, "_step", lambda self, n: (steps.append(n), step(self, n))[1])
    run(cube, tmp_path, epochs=1, iterations_per_epoch=None)
    assert steps == list(range(54))


# -- early stopping ------------------------------------------------------------------------------------------------


def test_stops_when_scores_get_no_better(cube, tmp_path):
    """A learning rate that changes nothing: the first score, after 2 epochs, stays best; two more are waited for."""
    validation = {"pixel_fraction": 0.2, "every": 2, "patience": 2}
    history = run(cube, tmp_path, epochs=20, learning_rate=1e-12, validation=validation).history
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["validation_rmse"].notna().tolist() == [False, True] * 3


def test_stopping_keeps_the_weights_of_the_best_epoch(cube, tmp_path):
    validation = {"pixel_fraction": 0.2, "patience": 3}
    result = run(cube, tmp_path / "p", epochs=30, learning_rate=0.1, validation=validation)
    scores = result.history["validation_rmse"]
    best = int(scores.argmin()) + 1
    assert len(scores) == best + 3 < 30
    until = run(cube, tmp_path / "u", epochs=best, learning_rate=0.1)
    assert torch.equal(weights(result.checkpoint), weights(until.checkpoint))


# -- the same bits -------------------------------------------------------------------------------------------------


def test_same_seed_same_bits(cube, tmp_path):
    first, same = (trained(cube, tmp_path / name) for name in "ab")
    assert first == same
    assert not torch.equal(weights(tmp_path / "a" / CHECKPOINT), weights(run(cube, tmp_path / "c", seed=1).checkpoint))


def test_the_global_generator_plays_no_part(cube, tmp_path):
    torch.manual_seed(1)
    first = trained(cube, tmp_path / "a")
    torch.manual_seed(2)
    assert trained(cube, tmp_path / "b") == first


ENSEMBLE = {"members": 2, "seq_length": [20, 35], "schedule": "cosine", "forcing_noise": 0.05, "weight_average": 0.5}


@pytest.fixture(scope="module")
def uninterrupted(cube, tmp_path_factory):
    """Folder of an ensemble of two members, 3 epochs each, trained without interruption: 8 states are written."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(cube, folder, **ENSEMBLE)
    return folder


def check_equal_to(uninterrupted: Path, folder: Path) -> None:
    assert (folder / CHECKPOINT).read_bytes() == (uninterrupted / CHECKPOINT).read_bytes()
    histories = (without_seconds(pd.read_csv(f / HISTORY)) for f in (folder, uninterrupted))
    pd.testing.assert_frame_equal(*histories, check_exact=True)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import smapnb.train as module
import smapnb.train_checkpoint as files
import smapnb.train_state as states
from reservoir import make_cube, make_profile

folder, how, training = Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
written, write, save = 0, states.write_tensors, files.save_file

def whole(path, *rest):
    global written
    write(path, *rest)
    written += 1
    if how == "parent":
        time.sleep(60)
    elif how == f"after {written}":
        os.kill(os.getpid(), signal.SIGKILL)

def half(flat, path, **rest):
    save(flat, path, **rest)
    if how == f"within {written + 1}":
        path.write_bytes(path.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

states.write_tensors, files.save_file = whole, half
module.train(make_cube(), make_profile(training), "surface", folder, progress=False)
"""


@pytest.mark.parametrize(
    ("how", "epochs"),
    [("parent", 1), ("after 3", 3), ("within 6", 4)],
    ids=["from outside", "between members", "writing"],
)
def test_a_killed_process_goes_on_to_the_same_bits(cube, tmp_path, uninterrupted, how, epochs):
    """SIGKILL after the first epochs, between two members, and while the state of the fifth epoch is written."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), how, repr(ENSEMBLE)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        stderr=subprocess.PIPE,
        text=True,
    )
    if how == "parent":
        deadline = time.monotonic() + 300
        while not (folder / STATE).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors
    assert not (folder / CHECKPOINT).exists()
    _, text = read_tensors(folder / STATE)
    rows = json.loads(text)["history"]
    assert len(rows) == epochs
    result = run(cube, folder, **ENSEMBLE)
    check_equal_to(uninterrupted, folder)
    # It went on rather than began again: seconds of the epochs before the kill are those of the killed process.
    assert result.history["seconds"].tolist()[:epochs] == [row["seconds"] for row in rows]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("stop_after", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("change", [{"optimiser": "adadelta"}, {"validation": {"pixel_fraction": 0.2, "patience": 1}}])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(cube, tmp_path, monkeypatch, change, stop_after):
    settings = ENSEMBLE | {"learning_rate": 0.3} | change
    whole = run(cube, tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        write, written = train_state.write_tensors, []

        def stop(*args):
            write(*args)
            written.append(1)
            if len(written) == stop_after:
                raise Stopped

        patch.setattr(train_state, "write_tensors", stop)
        with pytest.raises(Stopped):
            run(cube, tmp_path / "stopped", **settings)
    result = run(cube, tmp_path / "stopped", **settings)
    check_equal_to(tmp_path / "whole", tmp_path / "stopped")
    pd.testing.assert_frame_equal(without_seconds(result.history), without_seconds(whole.history))


def test_a_member_that_is_done_is_let_go(cube, tmp_path, monkeypatch):
    """A recorded step holds memory of the GPU for as long as its member lives."""
    made, start = [], module._Run._start_member
    monkeypatch.setattr(module._Run, "_start_member", lambda self: (start(self), made.append(weakref.ref(self.member))))
    gc.disable()
    try:
        run(cube, tmp_path, members=2, epochs=1)
        assert len(made) == 2 and made[0]() is None
    finally:
        gc.enable()


def test_a_finished_run_is_not_repeated(cube, tmp_path, monkeypatch):
    first = run(cube, tmp_path)
    before = first.checkpoint.read_bytes()
    monkeypatch.setattr(Member, "_step", lambda *_: pytest.fail("trained again"))
    second = run(cube, tmp_path)
    assert second.checkpoint.read_bytes() == before
    pd.testing.assert_frame_equal(second.history, first.history)
    assert (second.seconds, second.parameters) == (first.seconds, first.parameters)


def test_changed_settings_or_data_begin_anew(cube, tmp_path):
    run(cube, tmp_path / "a", epochs=2)
    assert trained(cube, tmp_path / "a", seed=3) == trained(cube, tmp_path / "fresh", seed=3)
    drier = cube.assign(precipitation=cube["precipitation"] * np.float32(0.9))
    other = trained(drier, tmp_path / "a", seed=3)
    assert other == trained(drier, tmp_path / "other", seed=3)
    assert other != trained(cube, tmp_path / "fresh", seed=3)


def test_the_same_values_at_other_pixels_begin_anew(cube, tmp_path):
    """The scaler cannot tell the two apart; the training must."""
    run(cube, tmp_path / "a", epochs=2)
    reversed_targets = cube.assign(ssm_smap=cube["ssm_smap"].copy(data=cube["ssm_smap"].to_numpy()[:, ::-1]))
    swapped = trained(reversed_targets, tmp_path / "a", epochs=2)
    assert swapped == trained(reversed_targets, tmp_path / "fresh", epochs=2)


def test_a_finished_checkpoint_is_left_as_it_is(cube, tmp_path, monkeypatch):
    """Made once, with the versions of that day: running again must not claim today's."""
    path = run(cube, tmp_path, epochs=2).checkpoint
    before = path.read_bytes()
    monkeypatch.setattr(module, "versions", lambda: {"torch": "another"})
    assert run(cube, tmp_path, epochs=2).checkpoint.read_bytes() == before


def test_a_broken_state_is_named(cube, tmp_path):
    run(cube, tmp_path)
    (tmp_path / STATE).write_bytes(b"not a state")
    with pytest.raises(TrainingError, match=STATE):
        run(cube, tmp_path)


def changed(identity, section, **keys):
    """An identity whose section has other keys; a value None takes the key away, as if it had not been known."""
    values = {k: v for k, v in (identity[section] | keys).items() if v is not None}
    return identity | {section: values}


def test_which_state_belongs_to_a_run():
    """Keys that came later have their default in an old state; the device is free; all else must be equal."""
    due = train_state.identity(make_profile({"device": "cpu"}), "surface", ["a", "b"])
    same = [
        changed(due, "training", device="cuda"),
        due | {"device": "cuda"},
        changed(due, "training", loss_per=None, forcing_noise=None),  # those of the profile are the defaults
        changed(due, "data", twin_seed=None),
    ]
    other = [
        changed(due, "training", hidden_size=None),  # 8 in the profile, 256 by default
        changed(due, "training", seed=1),
        changed(due, "data", twin_seed=1),
        changed(due, "inputs", statics=["clay"]),
        changed(due, "training", of_another_world=1),
        {k: v for k, v in due.items() if k != "data"},
        due | {"quantity": "rootzone"},
        due | {"rules": "paper-text"},
        due | {"values": ["a", "c"]},
    ]
    for stored in same:
        assert train_state.same_training(json.loads(json.dumps(stored)), due), stored
    for stored in other:
        assert not train_state.same_training(stored, due), stored


# -- what it must not see ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_days_outside_the_training_period_play_no_part(cube, tmp_path, poison):
    """Forcing and targets before and after the training period may be anything: the same bits come out."""
    outside = (cube.indexes["time"] < "2015-04-01") | (cube.indexes["time"] > "2015-09-30")
    assert outside.sum() > 200
    poisoned = cube.copy(deep=True)
    for name in [*FORCING, "ssm_smap", "rzsm_smap"]:
        poisoned[name][outside] = np.float32(poison)
    assert trained(poisoned, tmp_path / "poisoned") == trained(cube, tmp_path / "clean")


HELD = {"pixel_fraction": 0.2, "months": ["2015-06", "2015-09"]}


def test_held_back_targets_play_no_part(cube, tmp_path):
    """Targets of held-back months, and all of held-back pixels, may be anything; those of any other may not."""
    data = cube.sel(time=slice("2015-04-01", "2015-09-30"))
    pixels, days = held_back(data, make_profile({"validation": HELD}))
    assert days.sum() == 60
    clean = trained(cube, tmp_path / "clean", validation=HELD)
    poisoned = cube.copy(deep=True)
    in_months = poisoned.indexes["time"].strftime("%Y-%m").isin(HELD["months"])
    poisoned["ssm_smap"][in_months] = 0.9
    for name in [*FORCING, "ssm_smap"]:
        poisoned[name][:, pixels] = 0.9
    poisoned["sand"][pixels] = 1e4
    assert trained(poisoned, tmp_path / "poisoned", validation=HELD) == clean
    poisoned["ssm_smap"][~in_months, ~pixels] += 0.01
    assert trained(poisoned, tmp_path / "trained_on", validation=HELD) != clean


def test_errors_of_pixels_and_months_are_told_apart(cube, tmp_path):
    """A target off by 1 in held-back months, or of held-back pixels, shows in its own column only."""
    data = cube.sel(time=slice("2015-04-01", "2015-09-30"))
    pixels, _ = held_back(data, make_profile({"validation": HELD}))
    in_months = cube.indexes["time"].strftime("%Y-%m").isin(HELD["months"])
    rows = []
    for days, off in ((slice(0), slice(0)), (in_months, ~pixels), (slice(None), pixels)):
        changed = cube.copy(deep=True)
        changed["ssm_smap"][days, off] += 1
        rows.append(run(changed, tmp_path / str(len(rows)), epochs=1, validation=HELD).history.iloc[-1])
    of_pixels, of_months = ([row[f"validation_rmse_{k}"] for row in rows] for k in ("pixels", "months"))
    assert of_pixels[1] == pytest.approx(of_pixels[0], abs=1e-6)
    assert of_months[2] == pytest.approx(of_months[0], abs=1e-6)
    assert of_months[1] == pytest.approx(1, abs=0.2)
    assert of_pixels[2] == pytest.approx(1, abs=0.2)
    assert all(row["validation_rmse"] <= max(a, b) for row, a, b in zip(rows, of_pixels, of_months, strict=True))


def test_missing_days_of_the_target_are_not_scored(cube, tmp_path):
    """The loss of a network that always gives 0 is the mean square of the observed targets alone."""
    settings = {"seq_length": [183], "batch_size": 40, "epochs": 1, "iterations_per_epoch": 1}
    settings |= {"loss_per": "observation", "dropout": 0.0, "validation": {"pixel_fraction": 0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoilMoistureLSTM, "reset_parameters", lambda self, _: [p.data.zero_() for p in self.parameters()])
        result = run(cube, tmp_path, **settings)
    observed = cube["ssm_smap"].sel(time=slice("2015-04-01", "2015-09-30")).to_numpy()
    scaler = Checkpoint.load(result.checkpoint).scaler
    scaled = (observed - scaler.mean["ssm_smap"]) / scaler.std["ssm_smap"]
    drawn = torch.randint(10, (40,), generator=torch.Generator().manual_seed(0))  # first draw of the pixels
    assert result.history["loss"][0] == pytest.approx(np.nanmean(scaled[:, drawn] ** 2), rel=1e-4)
    assert not {"validation_rmse", "validation_rmse_pixels"} & set(result.history)


# -- cells of two grids, cubes on disk -----------------------------------------------------------------------------


def of_two_grids(cube):
    """The cube with six cells of 36 km, at places 0, 2, 3, 5, 6 and 9, and four of 9 km."""
    return cube.assign_coords(grid_km=("pixel", [36, 9, 36, 36, 9, 36, 36, 9, 9, 36]))


@pytest.mark.parametrize(("quantity", "own"), [("surface", [0, 2, 3, 5, 6, 9]), ("rootzone", [1, 4, 7, 8])])
def test_a_target_is_trained_on_the_cells_of_its_grid_alone(cube, tmp_path, quantity, own):
    """Values of the others may be anything: scaler, validation, ranges and weights are those of its own cells."""
    both = of_two_grids(cube).copy(deep=True)
    others = np.setdiff1d(np.arange(10), own)
    for name in [*FORCING, "ssm_smap", "rzsm_smap"]:
        both[name][:, others] = np.nan if name.endswith("smap") else 1e30
    both["sand"][others] = 1e30
    result = run(both, tmp_path / "both", quantity, validation={"pixel_fraction": 0.25})
    alone = run(cube.isel(pixel=own), tmp_path / "alone", quantity, validation={"pixel_fraction": 0.25})
    assert result.checkpoint.read_bytes() == alone.checkpoint.read_bytes()
    pd.testing.assert_frame_equal(without_seconds(result.history), without_seconds(alone.history))


def test_a_cube_without_cells_of_the_grid_is_refused(cube, tmp_path):
    only_36 = of_two_grids(cube).isel(pixel=[0, 2, 3])
    with pytest.raises(TrainingError, match="no pixel of the grid of rootzone"):
        run(only_36, tmp_path, "rootzone")


def test_a_cube_on_disk_gives_the_same_bits(cube, tmp_path):
    pytest.importorskip("dask")
    lazy = cube.chunk({"time": 50, "pixel": 3})
    assert trained(lazy, tmp_path / "lazy") == trained(cube, tmp_path / "loaded")
    assert lazy["precipitation"].chunks  # nothing of it was kept in memory


# -- bfloat16 ------------------------------------------------------------------------------------------------------


def test_mixed_precision_rounds_products_only(cube, tmp_path, monkeypatch):
    """bfloat16 keeps 8 bits: gradients move by parts of a per cent, in float32; so are weights and moments."""
    steps = []
    step = torch.optim.AdamW.step

    def spy(self, *args):
        parameters = self.param_groups[0]["params"]
        steps.append(torch.cat([p.grad.flatten() for p in parameters]))
        step(self, *args)
        moments = [v for state in self.state.values() for v in state.values()]
        assert {v.dtype for v in [*parameters, *moments, steps[-1]]} == {torch.float32}

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    for mixed in (False, True):
        run(cube, tmp_path / str(mixed), epochs=1, iterations_per_epoch=1, mixed_precision=mixed)
    exact, rounded = steps
    assert 1e-4 < float((rounded - exact).norm() / exact.norm()) < 0.02


# -- errors --------------------------------------------------------------------------------------------------------


def test_an_infinite_forcing_is_named(cube, tmp_path):
    bad = cube.copy(deep=True)
    bad["air_temperature"].loc[{"time": "2015-05-17", "pixel": 24}] = np.inf
    with pytest.raises(BatchError, match="air_temperature is infinite on 2015-05-17 at pixel 24"):
        run(bad, tmp_path)


def spoilt(cube, name, value):
    """The cube with one odd value at a pixel that is trained on, and that pixel."""
    bad = cube.copy(deep=True)
    pixels, _ = held_back(cube, make_profile())
    pixel = int(cube["pixel"].to_numpy()[~pixels][3])
    bad[name].loc[{"time": "2015-07-03", "pixel": pixel}] = np.float32(value)
    return bad, pixel


def test_a_target_that_makes_the_loss_infinite_is_named(cube, tmp_path):
    bad, pixel = spoilt(cube, "ssm_smap", 1e30)
    with pytest.raises(TrainingError, match=rf"not finite at step .* ssm_smap at pixel {pixel} on 2015-07-03"):
        run(bad, tmp_path, seq_length=[180], batch_size=30)


@pytest.mark.parametrize(("name", "value"), [("precipitation", 1e37), ("air_temperature", -1e37)])
def test_the_input_behind_a_loss_that_is_not_finite_is_named(cube, tmp_path, monkeypatch, name, value):
    """Gates saturate, so that an enormous input alone gives a finite loss; here the network breaks on it."""
    bad, pixel = spoilt(cube, name, value)
    forward = SoilMoistureLSTM.forward

    def breaking(self, x, masks=None):
        y = forward(self, x, masks)
        return y * torch.nan if x.abs().max() > 1e20 else y

    monkeypatch.setattr(SoilMoistureLSTM, "forward", breaking)
    with pytest.raises(TrainingError, match=rf"not finite at step .* {name} at pixel {pixel} on 2015-07-03"):
        run(bad, tmp_path, seq_length=[180], batch_size=30)


def test_nan_passes_through_the_fast_path():
    """Were it to turn into a number on the way, a broken training would go on unnoticed."""
    u = torch.rand(5, 3, 8)
    u[2, 1, 4] = torch.nan
    weights = [torch.rand(32, 8), torch.rand(32, 8), torch.rand(32)]
    h, _ = recurrence(u, *weights, Masks(*torch.ones(3, 3, 8)))
    assert h[2:, 1].isnan().all()
    assert not h[:, [0, 2]].isnan().any()


def test_a_learning_rate_that_diverges_stops(cube, tmp_path):
    with pytest.raises(TrainingError, match=r"not finite at step .*lower training.learning_rate"):
        run(cube, tmp_path, learning_rate=1e30, epochs=5)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"months": [f"2015-{m:02}" for m in range(4, 10)]}, "nothing is left to train on"),
        ({"pixel_fraction": 0.99}, "nothing is left to train on"),
    ],
)
def test_impossible_validation_is_refused(cube, tmp_path, validation, message):
    with pytest.raises(TrainingError, match=message):
        run(cube, tmp_path, validation=validation)


def test_a_cube_without_the_training_period_is_refused(cube, tmp_path):
    with pytest.raises(TrainingError, match=r"no day in the training period 2015-04-01\.\.2015-09-30"):
        run(cube.sel(time=slice("2015-10-01", None)), tmp_path)


def test_a_cube_of_other_data_is_refused(cube, tmp_path):
    profile = make_profile()
    section = profile.data.model_dump(mode="json")
    longer = cube.assign_attrs(data_section=json.dumps(section | {"end": "2019-12-31"}))
    train(longer, profile, "surface", tmp_path, progress=False)
    other = cube.assign_attrs(data_section=json.dumps(section | {"pixels": 3, "twin_seed": 7}))
    with pytest.raises(TrainingError, match=r"\(data.pixels, data.twin_seed\): build it anew"):
        train(other, profile, "surface", tmp_path, progress=False)


def test_a_cube_that_ends_within_the_training_period_is_refused(cube, tmp_path):
    with pytest.raises(TrainingError, match=r"2015-04-01\.\.2015-08-15 of the training period .*2015-09-30 only"):
        run(cube.sel(time=slice(None, "2015-08-15")), tmp_path)


@pytest.mark.skipif(torch.cuda.device_count() > 9, reason="this machine has a tenth GPU")
def test_a_device_that_is_not_there_is_named(cube, tmp_path):
    with pytest.raises(TrainingError, match=r"training.device is cuda:9, but PyTorch .* finds no such device"):
        run(cube, tmp_path, device="cuda:9")


def test_a_cube_without_what_the_profile_asks_for_is_refused(cube, tmp_path):
    with pytest.raises(TrainingError, match="the cube holds no sand, ssm_smap:"):
        run(cube.drop_vars(["sand", "ssm_smap"]), tmp_path)


def test_the_first_broken_step_is_named(cube, tmp_path, monkeypatch):
    """Losses are looked at every few steps only; the weights are long lost by then."""
    monkeypatch.setattr(train_member, "LOOK_EVERY", 7)
    step = Member._step

    def breaking(self, number):
        if number == 16:
            self.model.output.weight.data *= torch.inf
        return step(self, number)

    monkeypatch.setattr(Member, "_step", breaking)
    with pytest.raises(TrainingError, match="not finite at step 16 of member 1"):
        run(cube, tmp_path, epochs=1, iterations_per_epoch=30)


def test_held_back_pixels_are_the_asked_share(cube):
    for share, count in ((0, 0), (0.1, 1), (0.25, 2), (0.5, 5)):
        held, days = held_back(cube, make_profile({"validation": {"pixel_fraction": share}}))
        assert held.sum() == count
        assert not days.any()
    first, other = (
        held_back(cube, make_profile({"seed": s, "validation": {"pixel_fraction": 0.5}}))[0] for s in (0, 1)
    )
    assert not np.array_equal(first, other)


# -- files ---------------------------------------------------------------------------------------------------------


def test_what_a_training_leaves_behind(cube, tmp_path, uninterrupted):
    names = {CHECKPOINT, "checkpoint.json", HISTORY, STATE}
    assert {p.name for p in uninterrupted.iterdir()} == names
    history = pd.read_csv(uninterrupted / HISTORY)
    columns = ["member", "epoch", "loss", "validation_rmse_pixels", "validation_rmse", "seconds"]
    assert history.columns.tolist() == columns
    assert history["member"].tolist() == [0, 0, 0, 1, 1, 1]
    assert history["epoch"].tolist() == [1, 2, 3, 1, 2, 3]
    assert history["seconds"].is_monotonic_increasing
    assert (history[["loss", "validation_rmse"]] > 0).all(axis=None)
    result = run(cube, tmp_path)
    # Input layer 8 x 3 + 8, LSTM 2 x 32 x 8 + 32, output 8 + 1.
    assert result.parameters == 32 + 544 + 9
    assert result.device == "cpu"
    assert result.seconds == pytest.approx(result.history["seconds"].iloc[-1])


def test_checkpoint_holds_all_that_a_hindcast_needs(cube, uninterrupted):
    path = uninterrupted / CHECKPOINT
    checkpoint = Checkpoint.load(path)
    profile = make_profile(ENSEMBLE)
    assert len(checkpoint.weights) == 2
    assert not torch.equal(weights(checkpoint, 0), weights(checkpoint, 1))
    assert (checkpoint.quantity, checkpoint.forcing, checkpoint.statics) == ("surface", FORCING, STATICS)
    assert checkpoint.profile == profile.model_dump(mode="json")
    assert set(checkpoint.versions) == {"smapnb", "torch", "numpy", "xarray", "python"}
    assert checkpoint.versions["torch"].startswith(torch.__version__.split("+")[0])
    data = cube.sel(time=slice("2015-04-01", "2015-09-30"))
    pixels, _ = held_back(data, profile)
    part = data.isel(pixel=~pixels)
    names = [*FORCING, *STATICS, "ssm_smap"]
    assert checkpoint.scaler == Scaler.fit(part, names, "author-code")
    assert checkpoint.forcing_range == {n: (float(part[n].min()), float(part[n].max())) for n in FORCING}
    beside = json.loads((uninterrupted / "checkpoint.json").read_text(encoding="utf-8"))
    assert beside["scaler"] == checkpoint.scaler.to_json()
    assert beside["profile"] == checkpoint.profile


def test_checkpoint_comes_back_as_it_was_saved(uninterrupted, tmp_path):
    first = Checkpoint.load(uninterrupted / CHECKPOINT)
    first.save(tmp_path / "new" / "copy.safetensors")
    again = Checkpoint.load(tmp_path / "new" / "copy.safetensors")
    for a, b in zip(first.weights, again.weights, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert vars(first) | {"weights": 0} == vars(again) | {"weights": 0}
    models = again.models()
    assert [model.training for model in models] == [False, False]
    assert all(torch.equal(models[1].state_dict()[k], first.weights[1][k]) for k in first.weights[1])


def test_a_failed_save_leaves_the_old_checkpoint(cube, tmp_path, monkeypatch):
    result = run(cube, tmp_path)
    before = result.checkpoint.read_bytes()

    def broken(flat, path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("smapnb.train_checkpoint.save_file", broken)
    with pytest.raises(OSError, match="no space left"):
        Checkpoint.load(result.checkpoint).save(result.checkpoint)
    assert result.checkpoint.read_bytes() == before


@pytest.mark.parametrize("content", ["absent", "text", "truncated", "foreign", "state"])
def test_what_is_not_a_checkpoint_is_named(uninterrupted, tmp_path, content):
    path = tmp_path / "some.safetensors"
    if content == "text":
        path.write_text("weights", encoding="ascii")
    elif content == "truncated":
        path.write_bytes((uninterrupted / CHECKPOINT).read_bytes()[:-100])
    elif content == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    elif content == "state":
        path.write_bytes((uninterrupted / STATE).read_bytes())
    with pytest.raises(TrainingError, match=r"some\.safetensors: no"):
        Checkpoint.load(path)
