"""What a training sees of the cube: the pixels of its target, the training period, scaled; and what is held back of it.

It draws nothing and trains nothing. A cube on disk is read one variable after another, so that memory holds the tensors
once and one variable besides.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import xarray as xr

from smapnb.batch import Places, Scaler, Tensors, cut_windows, tensors
from smapnb.profile import Profile, Quantity, variable
from smapnb.train_checkpoint import TrainingError
from smapnb.train_validation import HeldBack, held_back
from smapnb.variables import pixels_of


class TrainingData:
    """Tensors of one target, with scaler and labels.

    Attributes
    ----------
    all : Tensors
        All pixels of the target and all days of the training period, on the CPU: validation looks at these.
    training : Tensors
        The same, on the training's device, with nothing observed in held-back months; pixels are drawn from `pixels`.
    pixels : Tensor
        Numbers of the pixels that are trained on.
    """

    def __init__(self, cube: xr.Dataset, profile: Profile, quantity: Quantity, device: torch.device):
        inputs = profile.inputs
        self.quantity = quantity
        self.target = variable(quantity, "smap")
        self.names = [*inputs.forcing, *inputs.statics, self.target]
        data = _part_of(cube, profile, quantity, self.names)
        held_pixels, held_months = held_back(data, profile)
        trained_on = data.isel(pixel=~held_pixels)
        trained_on[self.target] = trained_on[self.target].where(xr.DataArray(~held_months, dims="time"))
        self.scaler = Scaler.fit(trained_on, self.names, profile.rules)
        self.ranges = {name: _extremes(trained_on[name].compute()) for name in inputs.forcing}
        self.labels = data[["time", "pixel"]]
        self.all = tensors(data, self.scaler, inputs.forcing, inputs.statics, self.target)
        self.held = HeldBack(torch.from_numpy(held_pixels), torch.from_numpy(held_months))
        self.held.check(self.all.observed, self.target)
        self.pixels = torch.nonzero(~self.held.pixels)[:, 0]
        seen = self.all._replace(observed=self.all.observed * ~self.held.days[:, None])
        self.training = Tensors(*(part.to(device) for part in seen))

    def digests(self) -> list[str]:
        """SHA-256 of each tensor: forcing, statics, target, observed."""
        return [hashlib.sha256(part.contiguous().numpy().data).hexdigest() for part in self.all]

    def worst_value(self, places: Places, seq_length: int, warmup: int) -> str:
        """Name the value of a batch that lies farthest from the training mean, for the message of a failed step."""
        windows = cut_windows(self.all, places, seq_length, warmup)
        values = torch.cat([windows.x, (windows.y * windows.scored)[..., None]], dim=2)
        worst = values.abs().nan_to_num(nan=torch.inf)
        t, b, k = (int(i) for i in np.unravel_index(int(worst.argmax()), worst.shape))
        day = self.labels.time.to_numpy()[int(places.first_day[b]) + t]
        pixel = self.labels.pixel.to_numpy()[int(places.pixel[b])]
        return (
            f"{self.names[k]} at pixel {pixel} on {np.datetime_as_string(day, 'D')}: "
            f"{float(values[t, b, k]):.4g} standard deviations from the training mean"
        )


def _extremes(array: xr.DataArray) -> tuple[float, float]:
    return float(array.min()), float(array.max())


def _part_of(cube: xr.Dataset, profile: Profile, quantity: Quantity, names: list[str]) -> xr.Dataset:
    """Variables, pixels and days of the cube that belong to this training, not read yet where they lie on disk."""
    if misfit := profile.data.misfit(cube.attrs.get("data_section")):  # the network will bear the profile's name
        raise TrainingError(misfit)
    lacking = [name for name in names if name not in cube]
    if lacking:
        raise TrainingError(
            f"the cube holds no {', '.join(lacking)}: the profile asks for other data than it was made of"
        )
    start, end = str(profile.training.start), str(profile.training.end)
    data = cube[names].sel(time=slice(start, end))
    days = data.indexes["time"]
    if not len(days):
        raise TrainingError(f"the cube has no day in the training period {start}..{end}")
    if (str(days[0])[:10], str(days[-1])[:10]) != (start, end):
        raise TrainingError(
            f"the cube holds {days[0]:%Y-%m-%d}..{days[-1]:%Y-%m-%d} of the training period {start}..{end} only"
        )
    own = pixels_of(cube, quantity)
    if not own.any():
        raise TrainingError(f"the cube holds no pixel of the grid of {quantity}")
    return data if own.all() else data.isel(pixel=own)
