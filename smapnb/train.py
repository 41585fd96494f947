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

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from smapnb import train_state
from smapnb.batch import BatchError, Places, cut_windows, draw_places, iterations_per_epoch, scored_days
from smapnb.lstm import Masks, SoilMoistureLSTM
from smapnb.profile import Profile, Quantity, Training
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, TrainingError, network, replace_file, versions
from smapnb.train_data import TrainingData
from smapnb.train_graph import dice_for, replayed
from smapnb.train_ranks import Ranks, joined
from smapnb.train_validation import held_back

__all__ = ["BatchError", "Ranks", "TrainingError", "TrainingResult", "held_back", "joined", "train"]

HISTORY = "history.csv"
LEARNING_RATE_RISE = 0.05  # share of the steps over which the cosine schedule first rises
# Steps between two looks at whether their losses are numbers: a look makes a GPU wait for what it was given to do.
LOOK_EVERY = 50


@dataclass
class TrainingResult:
    """What a training leaves behind."""

    checkpoint: Path
    history: pd.DataFrame = field(repr=False)  # one row an epoch and member
    seconds: float
    parameters: int
    device: str  # where it was trained, as "cpu" or "cuda, 8 processes"; joined by "then" where it moved


def masked_loss(
    simulated: Tensor, observed: Tensor, scored: Tensor, rho: int, per: str = "rho", whole: Tensor | None = None
) -> Tensor:
    """Equation 9, mean over the batch: squared error on scored days, divided by rho or by the number of those days.

    Parameters
    ----------
    simulated, observed, scored : Tensor (time, batch)
        `scored` is 1 where SMAP observed and the day counts, else 0.
    rho : int
        Length of the instance, days.
    per : {"rho", "observation"}
    whole : Tensor (time, whole batch), optional
        `scored` of the whole batch where the others hold a share of it: the shares' losses then add up to that of the
        batch, and so do their gradients, however unequal they are.
    """
    whole = scored if whole is None else whole
    squares = scored * (simulated - observed) ** 2
    if per == "rho":
        return squares.sum(0).sum() / whole.shape[1] / rho
    return squares.sum() / whole.sum().clamp(min=1)


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
    while run.member < profile.training.members:
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
        self.share = ranks.share(self.settings.batch_size)
        self.device = ranks.device(self.settings.device)
        self.data = TrainingData(cube, profile, quantity, self.device)
        self.versions = versions()
        self.member, self.epoch, self.seconds = 0, 0, 0.0
        self.devices: list[str] = []
        self.weights_of_members: list[dict[str, Tensor]] = []
        self.history: list[dict[str, float]] = []
        self._start_member()

    # -- one member ------------------------------------------------------------------------------------------------

    def _start_member(self) -> None:
        settings = self.settings
        self.generator = torch.Generator().manual_seed(settings.seed + self.member)
        self.model = network(self._n_inputs, settings, self.generator).to(self.device).train()
        self.dice = dice_for(self.device, self.generator)
        self.gradient = replayed(self._set_gradient, self.device, self.dice)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = _optimiser(self.model, settings)
        self.seq_length = settings.seq_length[self.member % len(settings.seq_length)]
        self.iterations = settings.iterations_per_epoch or iterations_per_epoch(
            len(self.data.pixels), len(self.data.held.days), settings.batch_size, self.seq_length
        )
        self.best: tuple[float, int] = (math.inf, 0)
        self.best_weights: dict[str, Tensor] = {}

    @property
    def _n_inputs(self) -> int:
        return len(self.inputs.forcing) + len(self.inputs.statics)

    def train_member(self, progress: bool) -> None:
        """Train the member at work to its end, from the epoch where it stands."""
        settings = self.settings
        self._note_device()
        label = f"{self.quantity} {self.member + 1}/{settings.members}"
        shown = progress and self.ranks.first
        bar = tqdm(total=settings.epochs, initial=self.epoch, desc=label, disable=not shown, unit="epoch")
        while self.epoch < settings.epochs and not self._out_of_patience():
            started = time.perf_counter()
            loss = self._run_epoch()
            self.epoch += 1
            row = {"member": self.member, "epoch": self.epoch, "loss": loss}
            if self.epoch % settings.validation.every == 0 or self.epoch == settings.epochs:
                row |= self._validate()
            self.seconds += time.perf_counter() - started
            self.history.append(row | {"seconds": self.seconds})
            self._save_state()
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}")
        bar.close()
        self.weights_of_members.append(self.best_weights or self._weights())
        self.member, self.epoch = self.member + 1, 0
        if self.member < settings.members:
            self._start_member()
        self._save_state()

    def _run_epoch(self) -> float:
        """Mean loss over the steps of an epoch."""
        first, losses = self.epoch * self.iterations, []
        for begin in range(first, first + self.iterations, LOOK_EVERY):
            steps = range(begin, min(begin + LOOK_EVERY, first + self.iterations))
            places, measured = zip(*(self._step(step) for step in steps), strict=True)
            numbers = torch.stack(measured).cpu()
            broken = torch.nonzero(~numbers.isfinite().all(1))[:, 0]
            if len(broken):
                raise TrainingError(self._why_not_finite(places[broken[0]], steps[broken[0]]))
            losses += numbers[:, 0].tolist()
        self.ranks.check_close(torch.cat([p.detach().flatten() for p in self.model.parameters()]), "the weights")
        return float(np.mean(losses))

    def _step(self, step: int) -> tuple[Places, Tensor]:
        """One step of the optimiser: the instances of the whole batch, its loss and the norm of its gradient."""
        settings = self.settings
        # Every process draws all of the batch, so that the draws do not depend on how many there are.
        places = draw_places(
            len(self.data.held.days),
            self.data.pixels,
            settings.batch_size,
            self.seq_length,
            settings.warmup,
            self.generator,
        )
        total = self.gradient(places)
        self.ranks.add_up([total, *(p.grad for p in self.model.parameters() if p.grad is not None)])
        # An enormous input saturates the gates, so that the loss may stay finite while the gradient does not.
        clip = math.inf if settings.gradient_clip is None else settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.iterations * settings.epochs, settings)
        self.optimiser.step()
        self._update_average(step)
        return places, torch.stack([total, norm])

    def _set_gradient(self, here: Places) -> Tensor:
        """Loss of this process's share of a batch at places on the device, its gradient left at the parameters."""
        settings, length = self.settings, self.seq_length + self.settings.warmup
        windows = cut_windows(self.data.training, here.part(self.share), self.seq_length, settings.warmup)
        if settings.forcing_noise:
            n = len(self.inputs.forcing)
            size = length, settings.batch_size, n
            noise = torch.randn(size, generator=self.dice, device=self.dice.device)[:, self.share]
            windows.x[..., :n] += settings.forcing_noise * noise.to(self.device)
        masks = Masks(*(m[self.share] for m in self.model.draw_masks(settings.batch_size, self.dice)))
        # Products in bfloat16; weights, cell state, loss and optimiser stay float32.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.mixed_precision):
            y = self.model(windows.x, masks)
        whole = None  # a share of one process is the batch
        if self.ranks.size > 1:
            whole = scored_days(self.data.training, here, self.seq_length, settings.warmup)
        loss = masked_loss(y.float(), windows.y, windows.scored, self.seq_length, settings.loss_per, whole)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def _update_average(self, step: int) -> None:
        # The decay grows with the steps, so that the first weights, which are random, are soon forgotten.
        decay = min(self.settings.weight_average, (1 + step) / (10 + step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.average.items()}

    def _why_not_finite(self, places: Places, step: int) -> str:
        return (
            f"the loss or its gradient is not finite at step {step} of member {self.member + 1} ({self.quantity}); "
            f"the largest value of the batch is {self.data.worst_value(places, self.seq_length, self.settings.warmup)}."
            " If that value is sound, lower training.learning_rate or set training.gradient_clip."
        )

    def _note_device(self) -> None:
        processes = f", {self.ranks.size} processes" if self.ranks.size > 1 else ""
        here = f"{self.device.type}{processes}"
        if self.devices[-1:] != [here]:
            self.devices.append(here)

    # -- validation ------------------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        model = network(self._n_inputs, self.settings)
        model.load_state_dict(self._weights())
        std = self.data.scaler.std[self.data.target]
        row = self.data.held.rmse(model, self.data.all, std, self.device, self.ranks)
        if row.get("validation_rmse", math.inf) < self.best[0]:
            self.best = (row["validation_rmse"], self.epoch)
            self.best_weights = self._weights() if self.settings.validation.patience else {}
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
        groups |= {"best": self.best_weights, "model": self.model.state_dict(), "average": self.average}
        moments = self.optimiser.state_dict()["state"]
        groups["optimiser"] = {f"{i}.{k}": v for i, state in moments.items() for k, v in state.items()}
        groups["generator"] = {"": self.generator.get_state(), "dice": self.dice.get_state()}
        about = {
            "identity": self._identity,
            "member": self.member,
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
        self.member, self.epoch, self.seconds = about["member"], about["epoch"], about["seconds"]
        self.history, self.versions = about["history"], about["versions"]
        self.devices = about.get("devices") or [about["identity"]["device"]]  # states of old name one device
        self.weights_of_members = [groups[f"member{m}"] for m in range(self.member)]
        if self.member == self.settings.members:
            return
        self._start_member()
        self.best, self.best_weights = tuple(about["best"]), groups.get("best", {})
        self.model.load_state_dict(groups["model"])
        self.average = {k: v.to(self.device) for k, v in groups["average"].items()}
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in groups.get("optimiser", {}).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.generator.set_state(groups["generator"][""])
        dice = groups["generator"].get("dice")
        if dice is not None and len(dice) == len(self.dice.get_state()):  # else it moved between CPU and GPU
            self.dice.set_state(dice)


def learning_rate(step: int, steps: int, settings: Training) -> float:
    """Rate of one step: constant, or a short linear rise and a half cosine down to zero."""
    if settings.schedule == "constant":
        return settings.learning_rate
    rise = max(1, round(LEARNING_RATE_RISE * steps))
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _optimiser(model: SoilMoistureLSTM, settings: Training) -> torch.optim.Optimizer:
    kind = {"adadelta": torch.optim.Adadelta, "adamw": torch.optim.AdamW}[settings.optimiser]
    return kind(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
