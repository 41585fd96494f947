"""A training with replayed gradients, held on a CPU to one that computes them: a tape stands for the CUDA graph."""

import pytest
import torch
from reservoir import make_cube, make_profile
from tape import Tape

from smapnb import lstm, train, train_graph, train_member
from smapnb.train_checkpoint import Checkpoint

# All that a step can hold, and two members whose instances have different lengths.
SETTINGS = {
    "members": 2,
    "seq_length": [20, 12],
    "warmup": 5,
    "dropout": 0.4,
    "forcing_noise": 0.1,
    "gradient_clip": 0.5,
    "weight_average": 0.9,
    "loss_per": "observation",
}


@pytest.fixture(autouse=True)
def operators(monkeypatch):
    """The recurrence in torch's operators: Numba's kernels are on no tape."""
    monkeypatch.setattr(lstm, "recurrence", lstm.operator_recurrence)
    monkeypatch.setattr(lstm.lstm_packed, "pays", lambda x, masks: False)


@pytest.fixture
def tapes(monkeypatch):
    """Gradients are recorded on tapes, as on a GPU; the list of those made so far."""
    made = []

    def record(work, device, dice):
        with train_graph.part_of_another():
            work()  # before a real recording, too, it runs
            made.append(Tape(work))
        return lambda: (made[-1].replay(), made[-1].result)[1]

    monkeypatch.setattr(train_graph, "record", record)
    monkeypatch.setattr(train_member, "replayed", train_graph._Replayed)
    return made


def trained(folder, **settings):
    profile = make_profile(SETTINGS | settings)
    return train.train(make_cube(), profile, "surface", folder, progress=False)


def same(one, other):
    ours, theirs = Checkpoint.load(one.checkpoint), Checkpoint.load(other.checkpoint)
    assert len(ours.weights) == len(theirs.weights) == 2
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in b)
    columns = ["member", "epoch", "loss", "validation_rmse"]
    assert one.history[columns].equals(other.history[columns])


def test_replayed_gradients_train_to_the_same_bits(tmp_path, tapes, monkeypatch):
    replayed = trained(tmp_path / "replayed")
    assert len(tapes) == 2  # one a member, however many steps
    monkeypatch.setattr(train_member, "replayed", train_graph.replayed)
    same(replayed, trained(tmp_path / "plain"))


def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path, tapes, monkeypatch):
    whole = trained(tmp_path / "whole")
    epochs = []
    plain = train._Run._save_state

    def stop(run):
        plain(run)
        epochs.append(run.epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train._Run, "_save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut")
    monkeypatch.setattr(train._Run, "_save_state", plain)
    same(trained(tmp_path / "cut"), whole)
    assert len(tapes) == 5


def test_nothing_recorded_waits_for_the_host(tmp_path, tapes):
    trained(tmp_path)
    assert tapes[0].count("addmm_") == 25  # the days of the run, warm-up and instance
    assert not tapes[0].count("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "item", "masked_select")


def test_where_recording_fails_the_work_is_called(tmp_path, tapes, monkeypatch, caplog):
    def refuse(work, device, dice):
        torch.rand(3, generator=dice)  # what a recording draws before it fails must not count
        raise RuntimeError("operation not permitted\nmore lines")

    monkeypatch.setattr(train_graph, "record", refuse)
    called = trained(tmp_path / "called")
    line = "no CUDA graph of the training step, which makes it slower: operation not permitted"
    assert [r.getMessage() for r in caplog.records] == [line] * 2
    monkeypatch.setattr(train_member, "replayed", train_graph.replayed)
    same(called, trained(tmp_path / "plain"))


def test_lack_of_memory_is_not_taken_for_a_failed_recording(tmp_path, tapes, monkeypatch):
    def full(work, device, dice):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train_graph, "record", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained(tmp_path)


def test_on_the_cpu_all_draws_come_from_one_generator():
    generator = torch.Generator()
    assert train_graph.dice_for(torch.device("cpu"), generator) is generator


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_the_step_is_recorded_and_trains(tmp_path, caplog, monkeypatch):
    monkeypatch.undo()
    result = trained(tmp_path, device="cuda", epochs=8)
    assert not caplog.records
    losses = result.history[result.history.member == 0].loss
    assert losses.iloc[-1] < losses.iloc[0]
