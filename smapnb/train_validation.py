"""What training keeps from itself: pixels and months of the training period, and the error of a network on them.

The test period plays no part here; it is scored in notebook 03.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from smapnb.batch import Tensors
from smapnb.lstm import SoilMoistureLSTM
from smapnb.profile import Profile
from smapnb.train_checkpoint import TrainingError
from smapnb.train_ranks import Ranks

PIXEL_BLOCK = 128  # pixels run at once, so that memory does not grow with the grid


def held_back(data: xr.Dataset, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (pixel,) and days (time,) of the training period that validation keeps from training, as booleans.

    Raises
    ------
    TrainingError
        A month that is not in the training period, or nothing left to train on.
    """
    validation = profile.training.validation
    pixels = data.sizes["pixel"]
    held = np.zeros(pixels, bool)
    rng = np.random.default_rng(profile.training.seed)
    held[rng.permutation(pixels)[: round(validation.pixel_fraction * pixels)]] = True
    month_of_day = pd.DatetimeIndex(data.indexes["time"]).strftime("%Y-%m")
    absent = sorted(set(validation.months) - set(month_of_day))
    if absent:
        raise TrainingError(f"training.validation.months {absent} lie outside the training period")
    days = np.asarray(month_of_day.isin(validation.months))
    if held.all() or days.all():
        raise TrainingError("training.validation holds back everything: nothing is left to train on")
    return held, days


@dataclass
class HeldBack:
    """Which pixels (pixel,) and days (time,) are held back, as boolean tensors."""

    pixels: Tensor
    days: Tensor

    def check(self, observed: Tensor, target: str) -> None:
        """Refuse to hold back what nobody observed: a score of nothing would silently stop nothing.

        Parameters
        ----------
        observed : Tensor (time, pixel)
            1 where the target was observed.
        """
        held = self.pixels | self.days[:, None]
        if held.any() and not (observed.bool() & held).any():
            raise TrainingError(
                f"training.validation holds back {int(self.pixels.sum())} pixels and {int(self.days.sum())} days "
                f"without any value of {target}: nothing to validate on"
            )

    def rmse(
        self,
        model: SoilMoistureLSTM,
        data: Tensors,
        std: float,
        device: torch.device,
        ranks: Ranks,
    ) -> dict[str, float]:
        """Score a network on what is held back, without dropout and from a zero state; nothing held back: empty.

        Parameters
        ----------
        data : Tensors
            All pixels and days of the training period, scaled.
        std : float
            The target's scale, m3 m-3.
        ranks : Ranks
            The processes that share the work; all get the score.

        Returns
        -------
        dict
            RMSE, m3 m-3, over the held-back pixels (``validation_rmse_pixels``), the held-back months of the other
            pixels (``validation_rmse_months``), and both together (``validation_rmse``).
        """
        groups = {
            "validation_rmse_pixels": self.pixels.expand(len(self.days), -1),
            "validation_rmse_months": self.days[:, None] & ~self.pixels,
        }
        groups["validation_rmse"] = groups["validation_rmse_pixels"] | groups["validation_rmse_months"]
        scored = {name: mask & data.observed.bool() for name, mask in groups.items()}
        if not scored["validation_rmse"].any():
            return {}
        squares = self._squared_errors(model, data, device, ranks)
        return {name: std * float(squares[mask].mean().sqrt()) for name, mask in scored.items() if mask.any()}

    @torch.no_grad()
    def _squared_errors(self, model: SoilMoistureLSTM, data: Tensors, device: torch.device, ranks: Ranks) -> Tensor:
        model.to(device).eval()
        needed = torch.ones_like(self.pixels) if self.days.any() else self.pixels
        out = torch.zeros_like(data.target)
        blocks = torch.nonzero(needed)[:, 0].split(PIXEL_BLOCK)
        for block in blocks[ranks.rank :: ranks.size]:
            y = model(data.inputs(slice(None), block).to(device)).cpu()
            out[:, block] = (y - data.target[:, block]) ** 2
        ranks.add_up([out])  # zero where another process computes
        return out
