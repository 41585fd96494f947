"""Train the LSTM on the cube's training period: masked loss, optimiser, held-back validation, checkpoints, resume.

It never looks at a day outside ``training.start .. training.end``. Reference: Fang, Pan & Shen (2019), section II-B,
doi:10.1109/TGRS.2018.2872131.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from smapnb import train_state
from smapnb.batch import BatchError
from smapnb.profile import Profile, Quantity
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, TrainingError, network, replace_file, versions
from smapnb.train_data import TrainingData
from smapnb.train_member import Member
from smapnb.train_ranks import Ranks, joined
from smapnb.train_validation import held_back

__all__ = ["BatchError", "Ranks", "TrainingError", "TrainingResult", "held_back", "joined", "train"]

HISTORY = "history.csv"


@dataclass
class TrainingResult:
    """What a training leaves behind."""

    checkpoint: Path
    history: pd.DataFrame = field(repr=False)  # one row an epoch and member
    seconds: float
    parameters: int
    device: str  # where it was trained, as "cpu" or "cuda, 8 processes"; joined by "then" where it moved


def train(
    cube: xr.Dataset,
    profile: Profile,
    quantity: Quantity,
    folder: Path,
    *,
    progress: bool = True,
    ranks: Ranks | None = None,
) -> TrainingResult:
    """Train every member for one target and write ``folder/checkpoint.safetensors`` and ``folder/history.csv``.

    After each epoch the whole state is written, so that a killed run goes on where it was and, on CPU, ends with the
    very same bits. A finished run of the same profile is not repeated.

    Parameters
    ----------
    cube : xarray.Dataset
        Forcing, statics and the target, dimensions (time, pixel). Of a cube of two grids only the target's own pixels
        are used.
    quantity : {"surface", "rootzone"}
    ranks : Ranks, optional
        The processes that do this together, from `joined`. Each draws the whole batch and computes its share; the
        losses are those of one process but for rounding. The first one writes the files. An interrupted training may
        go on with another number of them.

    Raises
    ------
    TrainingError
        A loss that is not finite (with pixel, variable and date of the offending input where there is one), a cube
        that lacks what the profile asks for, or a process that was lost or holds other data.
    BatchError
        Values of the cube that no tensor may be made of.
    """
    run = _Run(cube, profile, quantity, folder, ranks or Ranks())
    run.resume()
    while run.number < profile.training.members:
        run.train_member(progress)
    run.save_result()
    parameters = sum(p.numel() for p in run.weights_of_members[0].values())
    history = pd.DataFrame(run.history)
    return TrainingResult(folder / CHECKPOINT, history, run.seconds, parameters, ", then ".join(run.devices))


class _Run:
    """The state of a training: data, the member at work, and what is already done."""

    def __init__(self, cube: xr.Dataset, profile: Profile, quantity: Quantity, folder: Path, ranks: Ranks):
        self.profile, self.quantity, self.folder, self.ranks = profile, quantity, folder, ranks
        self.settings, self.inputs = profile.training, profile.inputs
        self.device = ranks.device(self.settings.device)
        self.data = TrainingData(cube, profile, quantity, self.device)
        self.versions = versions()
        self.number, self.epoch, self.seconds = 0, 0, 0.0
        self.devices: list[str] = []
        self.weights_of_members: list[dict[str, Tensor]] = []
        self.history: list[dict[str, float]] = []
        self._start_member()

    # -- one member ------------------------------------------------------------------------------------------------

    def _start_member(self) -> None:
        self.member = Member(self.number, self.profile, self.data, self.device, self.ranks)
        self.best: tuple[float, int] = (math.inf, 0)
        self.best_weights: dict[str, Tensor] = {}

    def train_member(self, progress: bool) -> None:
        """Train the member at work to its end, from the epoch where it stands."""
        settings = self.settings
        self._note_device()
        label = f"{self.quantity} {self.number + 1}/{settings.members}"
        shown = progress and self.ranks.first
        # Closed by an error too, whose message then has a line of its own.
        with tqdm(total=settings.epochs, initial=self.epoch, desc=label, disable=not shown, unit="epoch") as epochs:
            while self.epoch < settings.epochs and not self._out_of_patience():
                loss = self._train_epoch()
                epochs.update()
                epochs.set_postfix(loss=f"{loss:.4f}")
        self.weights_of_members.append(self.best_weights or self.member.weights())
        # It and its member hold each other and, on a GPU, a recorded step until the collector comes by.
        del self.member.gradient
        self.number, self.epoch = self.number + 1, 0
        if self.number < settings.members:
            self._start_member()
        self._save_state()

    def _train_epoch(self) -> float:
        settings, started = self.settings, time.perf_counter()
        loss = self.member.run_epoch(self.epoch)
        self.epoch += 1
        row = {"member": self.number, "epoch": self.epoch, "loss": loss}
        if self.epoch % settings.validation.every == 0 or self.epoch == settings.epochs:
            row |= self._validate()
        self.seconds += time.perf_counter() - started
        self.history.append(row | {"seconds": self.seconds})
        self._save_state()
        return loss

    def _note_device(self) -> None:
        processes = f", {self.ranks.size} processes" if self.ranks.size > 1 else ""
        here = f"{self.device.type}{processes}"
        if self.devices[-1:] != [here]:
            self.devices.append(here)

    # -- validation ------------------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        weights = self.member.weights()
        model = network(len(self.inputs.forcing) + len(self.inputs.statics), self.settings)
        model.load_state_dict(weights)
        std = self.data.scaler.std[self.data.target]
        row = self.data.held.rmse(model, self.data.all, std, self.device, self.ranks)
        if row.get("validation_rmse", math.inf) < self.best[0]:
            self.best = (row["validation_rmse"], self.epoch)
            self.best_weights = weights if self.settings.validation.patience else {}
        return row

    def _out_of_patience(self) -> bool:
        patience = self.settings.validation.patience
        waited = (self.epoch - self.best[1]) / self.settings.validation.every
        return patience is not None and self.best[1] > 0 and waited >= patience

    # -- on disk ---------------------------------------------------------------------------------------------------

    def save_result(self) -> None:
        """Write checkpoint and history, unless they are there already: a finished training leaves them untouched."""
        if self.ranks.first and not self._is_saved():
            Checkpoint(
                self.weights_of_members,
                self.data.scaler,
                self.quantity,
                self.inputs.forcing,
                self.inputs.statics,
                self.profile.model_dump(mode="json"),
                self.versions,
                self.data.ranges,
            ).save(self.folder / CHECKPOINT)
            replace_file(self.folder / HISTORY, pd.DataFrame(self.history).to_csv(index=False).encode())
        self.ranks.wait()

    def _is_saved(self) -> bool:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            stored = Checkpoint.load(path)
        except TrainingError:
            return False
        return stored.profile == self.profile.model_dump(mode="json") and all(
            torch.equal(ours[name], theirs[name])
            for ours, theirs in zip(self.weights_of_members, stored.weights, strict=True)
            for name in ours
        )

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return train_state.identity(self.profile, self.quantity, self.data.digests())

    def _save_state(self) -> None:
        if not self.ranks.first:
            return
        groups = {f"member{m}": weights for m, weights in enumerate(self.weights_of_members)}
        groups |= {"best": self.best_weights} | self.member.state()
        about = {
            "identity": self._identity,
            "member": self.number,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": self.best,
            "history": self.history,
            "devices": self.devices,
            "versions": self.versions,
        }
        train_state.write(self.folder, groups, about)

    def resume(self) -> None:
        """Take up a state that an earlier run of the same settings left in the folder; else start anew."""
        self.ranks.check_same(repr(self._identity), "the settings or the data")
        stored = self.ranks.from_first(lambda: train_state.read(self.folder, self._identity))
        if stored is None:
            return
        groups, about = stored
        self.number, self.epoch, self.seconds = about["member"], about["epoch"], about["seconds"]
        self.history, self.versions = about["history"], about["versions"]
        self.devices = about.get("devices") or [about["identity"]["device"]]  # states of old name one device
        self.weights_of_members = [groups[f"member{m}"] for m in range(self.number)]
        if self.number == self.settings.members:
            return
        self._start_member()
        self.best, self.best_weights = tuple(about["best"]), groups.get("best", {})
        self.member.restore(groups)
