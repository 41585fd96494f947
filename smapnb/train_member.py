"""One member of an ensemble at work: its network, draws, optimiser and averaged weights, step by step.

When to stop, what the held-back data say and what lies on disk is `smapnb.train`'s.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from smapnb.batch import Places, cut_windows, draw_places, iterations_per_epoch, scored_days
from smapnb.lstm import Masks, SoilMoistureLSTM
from smapnb.profile import Profile, Training
from smapnb.train_checkpoint import TrainingError, network
from smapnb.train_data import TrainingData
from smapnb.train_graph import dice_for, replayed
from smapnb.train_ranks import Ranks

LEARNING_RATE_RISE = 0.05  # share of the steps over which the cosine schedule first rises
# Steps between two looks at whether their losses are numbers: a look makes a GPU wait for what it was given to do.
LOOK_EVERY = 50


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


class Member:
    """A network in training; member `number` of the ensemble draws from ``training.seed + number``."""

    def __init__(self, number: int, profile: Profile, data: TrainingData, device: torch.device, ranks: Ranks):
        settings = profile.training
        self.number, self.settings, self.data, self.device, self.ranks = number, settings, data, device, ranks
        self.share = ranks.share(settings.batch_size)
        self.n_forcing = len(profile.inputs.forcing)
        self.generator = torch.Generator().manual_seed(settings.seed + number)
        n_inputs = self.n_forcing + len(profile.inputs.statics)
        self.model = network(n_inputs, settings, self.generator).to(device).train()
        self.dice = dice_for(device, self.generator)
        self.gradient = replayed(self._set_gradient, device, self.dice)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = _optimiser(self.model, settings)
        self.seq_length = settings.seq_length[number % len(settings.seq_length)]
        self.iterations = settings.iterations_per_epoch or iterations_per_epoch(
            len(data.pixels), len(data.held.days), settings.batch_size, self.seq_length
        )

    def run_epoch(self, epoch: int) -> float:
        """Train for one epoch, counted from 0, and return the mean loss over its steps.

        Raises
        ------
        TrainingError
            A loss or gradient that is not finite.
        """
        first, losses = epoch * self.iterations, []
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

    def weights(self) -> dict[str, Tensor]:
        """Averaged weights as they are now, on the CPU."""
        return {k: v.detach().cpu().clone() for k, v in self.average.items()}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Tensors by group and name, from which `restore` goes on; on CPU with the very same bits."""
        moments = self.optimiser.state_dict()["state"]
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": {f"{i}.{k}": v for i, state in moments.items() for k, v in state.items()},
            "generator": {"": self.generator.get_state(), "dice": self.dice.get_state()},
        }

    def restore(self, groups: dict[str, dict[str, Tensor]]) -> None:
        """Take up what `state` gave, here or on another device."""
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
            n = self.n_forcing
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

    def _why_not_finite(self, places: Places, step: int) -> str:
        worst = self.data.worst_value(places, self.seq_length, self.settings.warmup)
        return (
            f"the loss or its gradient is not finite at step {step} of "
            f"member {self.number + 1} ({self.data.quantity}); the largest value of the batch is {worst}. "
            "If that value is sound, lower training.learning_rate or set training.gradient_clip."
        )


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
