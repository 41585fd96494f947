"""Train the LSTM on the cube's training period: masked loss, optimiser, held-back validation, checkpoints, resume.

It never looks at a day outside ``training.start .. training.end``. Reference: Fang, Pan & Shen (2019), section II-B,
doi:10.1109/TGRS.2018.2872131.
"""

from __future__ import annotations

import hashlib
import json
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

from smapnb.batch import Scaler, Tensors, Windows, draw_windows, iterations_per_epoch, tensors
from smapnb.lstm import SoilMoistureLSTM
from smapnb.profile import Profile, Quantity, Training, variable
from smapnb.train_checkpoint import (
    CHECKPOINT,
    Checkpoint,
    TrainingError,
    choose_device,
    network,
    read_tensors,
    replace_file,
    versions,
    write_tensors,
)
from smapnb.train_validation import HeldBack, held_back

STATE, HISTORY = "training_state.safetensors", "history.csv"
LEARNING_RATE_RISE = 0.05  # share of the steps over which the cosine schedule first rises


@dataclass
class TrainingResult:
    """What a training leaves behind."""

    checkpoint: Path
    history: pd.DataFrame = field(repr=False)  # one row an epoch and member
    seconds: float
    parameters: int
    device: str


def masked_loss(simulated: Tensor, observed: Tensor, scored: Tensor, rho: int, per: str = "rho") -> Tensor:
    """Equation 9, mean over the batch: squared error on scored days, divided by rho or by the number of those days.

    Parameters
    ----------
    simulated, observed, scored : Tensor (time, batch)
        `scored` is 1 where SMAP observed and the day counts, else 0.
    rho : int
        Length of the instance, days.
    per : {"rho", "observation"}
    """
    squares = scored * (simulated - observed) ** 2
    if per == "rho":
        return squares.sum(0).mean() / rho
    return squares.sum() / scored.sum().clamp(min=1)


def train(
    cube: xr.Dataset, profile: Profile, quantity: Quantity, folder: Path, *, progress: bool = True
) -> TrainingResult:
    """Train every member for one target and write ``folder/checkpoint.safetensors`` and ``folder/history.csv``.

    After each epoch the whole state is written, so that a killed run goes on where it was and, on CPU, ends with the
    very same bits. A finished run of the same profile is not repeated.

    Parameters
    ----------
    cube : xarray.Dataset
        Forcing, statics and the target, dimensions (time, pixel).
    quantity : {"surface", "rootzone"}

    Raises
    ------
    TrainingError
        A loss that is not finite (with pixel, variable and date of the offending input where there is one).
    BatchError
        Values of the cube that no tensor may be made of.
    """
    run = _Run(cube, profile, quantity, folder)
    run.resume()
    while run.member < profile.training.members:
        run.train_member(progress)
    if not run.is_saved():
        run.checkpoint().save(folder / CHECKPOINT)
        run.save_history()
    parameters = sum(p.numel() for p in run.weights_of_members[0].values())
    return TrainingResult(
        folder / CHECKPOINT,
        run.history_frame(),
        run.seconds,
        parameters,
        str(run.device),
    )


class _Run:
    """The state of a training: data, the member at work, and what is already done."""

    def __init__(self, cube: xr.Dataset, profile: Profile, quantity: Quantity, folder: Path):
        self.profile, self.quantity, self.folder = profile, quantity, folder
        self.settings, self.inputs = profile.training, profile.inputs
        self.device = choose_device(self.settings.device)
        target = variable(quantity, "smap")
        names = [*self.inputs.forcing, *self.inputs.statics, target]
        span = slice(str(self.settings.start), str(self.settings.end))
        data = cube[names].sel(time=span).load()
        if not data.sizes["time"]:
            raise TrainingError(f"the cube has no day in the training period {span.start}..{span.stop}")
        held_pixels, held_months = held_back(data, profile)
        self.labels = data[["time", "pixel"]]
        training_pixels = data.isel(pixel=~held_pixels)
        training_pixels[target] = training_pixels[target].where(xr.DataArray(~held_months, dims="time"))
        self.scaler = Scaler.fit(training_pixels, names, profile.rules)
        self.ranges = {
            n: (float(training_pixels[n].min()), float(training_pixels[n].max())) for n in self.inputs.forcing
        }
        self.all = tensors(data, self.scaler, self.inputs.forcing, self.inputs.statics, target)
        self.held = HeldBack(torch.from_numpy(held_pixels), torch.from_numpy(held_months))
        self.pixels = torch.nonzero(~self.held.pixels)[:, 0]
        self.data = Tensors(
            self.all.forcing[:, self.pixels],
            self.all.statics[self.pixels],
            self.all.target[:, self.pixels],
            self.all.observed[:, self.pixels] * ~self.held.days[:, None],
        )
        self.held.check(self.all.observed, target)
        self.versions = versions()
        self.member, self.epoch, self.seconds = 0, 0, 0.0
        self.weights_of_members: list[dict[str, Tensor]] = []
        self.history: list[dict[str, float]] = []
        self._start_member()

    # -- one member ------------------------------------------------------------------------------------------------

    def _start_member(self) -> None:
        settings = self.settings
        self.generator = torch.Generator().manual_seed(settings.seed + self.member)
        n_inputs = len(self.inputs.forcing) + len(self.inputs.statics)
        self.model = network(n_inputs, settings, self.generator).to(self.device).train()
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = _optimiser(self.model, settings)
        self.seq_length = settings.seq_length[self.member % len(settings.seq_length)]
        days, pixels = self.data.target.shape
        self.iterations = settings.iterations_per_epoch or iterations_per_epoch(
            pixels, days, settings.batch_size, self.seq_length
        )
        self.best: tuple[float, int] = (math.inf, 0)
        self.best_weights: dict[str, Tensor] = {}

    def train_member(self, progress: bool) -> None:
        """Train the member at work to its end, from the epoch where it stands."""
        settings = self.settings
        label = f"{self.quantity} {self.member + 1}/{settings.members}"
        bar = tqdm(total=settings.epochs, initial=self.epoch, desc=label, disable=not progress, unit="epoch")
        while self.epoch < settings.epochs and not self._out_of_patience():
            started = time.perf_counter()
            loss = float(np.mean([self._step(self.epoch * self.iterations + k) for k in range(self.iterations)]))
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

    def _step(self, step: int) -> float:
        settings = self.settings
        windows = draw_windows(self.data, settings.batch_size, self.seq_length, settings.warmup, self.generator)
        x = windows.x
        if settings.forcing_noise:
            n = len(self.inputs.forcing)
            x[..., :n] += settings.forcing_noise * torch.randn(x[..., :n].shape, generator=self.generator)
        masks = self.model.draw_masks(settings.batch_size, self.generator)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.iterations * settings.epochs, settings)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.mixed_precision):
            y = self.model(x.to(self.device), masks)
        loss = masked_loss(
            y.float(),
            windows.y.to(self.device),
            windows.scored.to(self.device),
            self.seq_length,
            settings.loss_per,
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        # An enormous input saturates the gates, so that the loss may stay finite while the gradient does not.
        clip = math.inf if settings.gradient_clip is None else settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise TrainingError(self._why_not_finite(windows, step))
        self.optimiser.step()
        self._update_average(step)
        return loss.item()

    def _update_average(self, step: int) -> None:
        # The decay grows with the steps, so that the first weights, which are random, are soon forgotten.
        decay = min(self.settings.weight_average, (1 + step) / (10 + step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.average.items()}

    def _why_not_finite(self, windows: Windows, step: int) -> str:
        where = f"the loss or its gradient is not finite at step {step} of member {self.member + 1} ({self.quantity})"
        values = torch.cat([windows.x, (windows.y * windows.scored)[..., None]], dim=2)
        worst = values.abs().nan_to_num(nan=math.inf)
        t, b, k = (int(i) for i in np.unravel_index(int(worst.argmax()), worst.shape))
        name = [*self.inputs.forcing, *self.inputs.statics, self._target][k]
        day = self.labels.time.to_numpy()[int(windows.first_day[b]) + t]
        pixel = self.labels.pixel.to_numpy()[int(self.pixels[windows.pixel[b]])]
        return (
            f"{where}; the largest value of the batch is {name} at pixel {pixel} on {np.datetime_as_string(day, 'D')}: "
            f"{float(values[t, b, k]):.4g} standard deviations from the training mean. If that value is sound, "
            "lower training.learning_rate or set training.gradient_clip."
        )

    # -- validation ------------------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        model = network(len(self.inputs.forcing) + len(self.inputs.statics), self.settings)
        model.load_state_dict(self._weights())
        row = self.held.rmse(model, self.all, self.scaler.std[self._target], self.device)
        if row.get("validation_rmse", math.inf) < self.best[0]:
            self.best = (row["validation_rmse"], self.epoch)
            self.best_weights = self._weights() if self.settings.validation.patience else {}
        return row

    @property
    def _target(self) -> str:
        return variable(self.quantity, "smap")

    def _out_of_patience(self) -> bool:
        patience = self.settings.validation.patience
        waited = (self.epoch - self.best[1]) / self.settings.validation.every
        return patience is not None and self.best[1] > 0 and waited >= patience

    # -- on disk ---------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Put the finished members together with all that a hindcast needs."""
        return Checkpoint(
            self.weights_of_members,
            self.scaler,
            self.quantity,
            self.inputs.forcing,
            self.inputs.statics,
            self.profile.model_dump(mode="json"),
            self.versions,
            self.ranges,
        )

    def history_frame(self) -> pd.DataFrame:
        """One row an epoch and member: loss, validation errors, seconds since the start."""
        return pd.DataFrame(self.history)

    def is_saved(self) -> bool:
        """Whether the checkpoint on disk holds these very weights: a finished training leaves it untouched."""
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

    def save_history(self) -> None:
        """Write the history as CSV."""
        replace_file(self.folder / HISTORY, self.history_frame().to_csv(index=False).encode())

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """Say what must be equal for a stored state to belong to this run."""
        return {
            "quantity": self.quantity,
            "rules": self.profile.rules,
            "data": self.profile.data.model_dump(mode="json"),
            "inputs": self.inputs.model_dump(mode="json"),
            "training": self.settings.model_dump(mode="json"),
            "device": self.device.type,
            "values": [hashlib.sha256(part.contiguous().numpy().data).hexdigest() for part in self.all],
        }

    def _save_state(self) -> None:
        parts: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for m, weights in enumerate([*self.weights_of_members, self.best_weights]):
            done = m < len(self.weights_of_members)
            parts |= {f"{f'member{m}' if done else 'best'}.{k}": v for k, v in weights.items()}
        parts |= {f"model.{k}": v.cpu() for k, v in self.model.state_dict().items()}
        parts |= {f"average.{k}": v.cpu() for k, v in self.average.items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            parts |= {f"optimiser.{i}.{k}": v.cpu() for k, v in state.items()}
        about = {
            "identity": self._identity,
            "member": self.member,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": self.best,
            "history": self.history,
            "versions": self.versions,
        }
        write_tensors(self.folder / STATE, {k: v.contiguous().clone() for k, v in parts.items()}, json.dumps(about))

    def resume(self) -> None:
        """Take up a state that an earlier run of the same settings left in the folder; else start anew."""
        path = self.folder / STATE
        if not path.exists():
            return
        flat, text = read_tensors(path)
        about = json.loads(text)
        if about["identity"] != self._identity:
            return
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in flat.items():
            head, _, tail = key.partition(".")
            groups.setdefault(head, {})[tail] = value
        self.member, self.epoch, self.seconds = about["member"], about["epoch"], about["seconds"]
        self.history, self.versions = about["history"], about["versions"]
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
