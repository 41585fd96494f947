"""From labelled data to tensors and back: the scaler, the policy for missing values, random training windows.

The one place where xarray becomes tensor. It knows no network and writes no file.

Missing values: a missing target is not scored (equation 9); a missing forcing or attribute becomes 0 after scaling, the
mean of the training period, and is counted and logged; an infinite value anywhere, or an input with no value at all, is
an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from smapnb import rules as rule_sets
from smapnb.variables import TABLE, count_out_of_range, describe

log = logging.getLogger(__name__)

# The authors' scaling ignores the tails: mean and standard deviation of the values between these percentiles.
TRIM_PERCENT = (10, 90)


class BatchError(ValueError):
    """Values that no tensor may be made of; the message names variable, pixel and date."""


@dataclass
class Scaler:
    """Mean and standard deviation of each variable over the training period."""

    mean: dict[str, float]
    std: dict[str, float]

    @classmethod
    def fit(cls, dataset: xr.Dataset, names: Sequence[str], rules: str = "author-code") -> Self:
        """Fit to a Dataset that holds the training period (and the training pixels) only.

        Parameters
        ----------
        dataset : xarray.Dataset
            Variables of dimensions (time, pixel) or (pixel).
        rules : {"author-code", "paper-text"}
            author-code: statistics of the values between the 10th and the 90th percentile, attributes that are only 0
            or 1 left as they are (the authors' scripts); paper-text: plain mean and standard deviation.

        Raises
        ------
        BatchError
            A variable without any value, or with an infinite one.
        """
        scaling = rule_sets.of(rules).scaling
        mean, std = {}, {}
        for name in names:
            values = _finite_or_missing(dataset[name].compute()).to_numpy().astype(np.float64).ravel()
            values = values[~np.isnan(values)]
            if not values.size:
                raise BatchError(f"{name}: no value in the training period")
            mean[name], std[name] = _statistics(values, scaling, static="time" not in dataset[name].dims)
        return cls(mean, std)

    def scale(self, name: str, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(values - mean) / std in float32; infinite beyond its range."""
        with np.errstate(over="ignore"):
            return ((values - self.mean[name]) / self.std[name]).astype(np.float32)

    def unscale(self, name: str, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Back to the units of the table."""
        return (values * self.std[name] + self.mean[name]).astype(np.float32)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Plain numbers for the checkpoint; ``Scaler(**scaler.to_json())`` is the way back."""
        return asdict(self)


def _statistics(values: npt.NDArray[np.float64], scaling: str, static: bool) -> tuple[float, float]:
    if scaling == "central":
        if static and np.isin(values, (0, 1)).all():
            return 0.0, 1.0
        low, high = np.percentile(values, TRIM_PERCENT)
        trimmed = values[(values >= low) & (values <= high)]
        values = trimmed if trimmed.size and trimmed.std() > 0 else values  # two values leave none between
    spread = float(values.std())
    # A constant input carries nothing: keep it, centred, rather than divide by zero.
    return float(values.mean()), spread if spread > 0 else 1.0


def _finite_or_missing(array: xr.DataArray) -> xr.DataArray:
    """Refuse an infinite value, naming where it stands."""
    infinite = np.isinf(array.to_numpy())
    if infinite.any():
        raise BatchError(f"{array.name} is infinite {_place(array, np.argwhere(infinite)[0])}")
    return array


def _place(array: xr.DataArray, index: npt.NDArray[np.intp]) -> str:
    parts = []
    for dim, i in zip(array.dims, index, strict=True):
        label = array[dim].to_numpy()[i] if dim in array.coords else i
        parts.append(
            f"{'on' if dim == 'time' else f'at {dim}'} {np.datetime_as_string(label, 'D') if dim == 'time' else label}"
        )
    return " ".join(parts)


class Tensors(NamedTuple):
    """Scaled data of some pixels and days, float32."""

    forcing: Tensor  # (time, pixel, n_forcing)
    statics: Tensor  # (pixel, n_statics)
    target: Tensor  # (time, pixel), 0 where not observed
    observed: Tensor  # (time, pixel), 1 where observed, else 0

    def inputs(self, days: slice, pixels: slice | Tensor) -> Tensor:
        """Network input (time, batch, n_forcing + n_statics) of a block."""
        forcing = self.forcing[days, pixels]
        statics = self.statics[pixels].expand(forcing.shape[0], -1, -1)
        return torch.cat([forcing, statics], dim=2)


def tensors(
    dataset: xr.Dataset,
    scaler: Scaler,
    forcing: Sequence[str],
    statics: Sequence[str],
    target: str | None = None,
) -> Tensors:
    """Scale a Dataset and turn it into tensors, by the policy for missing values at the top of this module.

    Raises
    ------
    BatchError
        An infinite value; the message names variable, pixel and date.
    """
    days, pixels = dataset.sizes["time"], dataset.sizes["pixel"]
    x = np.empty((days, pixels, len(forcing)), np.float32)
    c = np.empty((pixels, len(statics)), np.float32)
    for k, name in enumerate(forcing):
        x[:, :, k] = _filled(dataset[name].transpose("time", "pixel"), scaler)
    for k, name in enumerate(statics):
        c[:, k] = _filled(dataset[name], scaler)
    y, observed = np.zeros((days, pixels), np.float32), np.zeros((days, pixels), np.float32)
    if target is not None:
        values = _scaled(dataset[target].transpose("time", "pixel"), scaler)
        observed = (~np.isnan(values)).astype(np.float32)
        y = np.nan_to_num(values)
    return Tensors(*(torch.from_numpy(a) for a in (x, c, y, observed)))


def _scaled(array: xr.DataArray, scaler: Scaler) -> npt.NDArray[np.float32]:
    # Checked after scaling: a finite value can leave float32's range there.
    return _finite_or_missing(array.copy(data=scaler.scale(str(array.name), array.to_numpy()))).to_numpy()


def _filled(array: xr.DataArray, scaler: Scaler) -> npt.NDArray[np.float32]:
    values = _scaled(array, scaler)
    missing = int(np.isnan(values).sum())
    if missing:
        log.info(
            "%s (%s): %d of %d values missing, set to the training mean",
            array.name,
            TABLE[str(array.name)].long_name,
            missing,
            values.size,
        )
    return np.nan_to_num(values, copy=False)


class Places(NamedTuple):
    """Where the instances of a batch stand in the record: three small tensors (batch,) that say which numbers to cut.

    Apart from the numbers, so that each of several processes can draw the whole batch and cut its own share.
    """

    pixel: Tensor
    first_day: Tensor  # of the run
    scored_from: Tensor  # first day that counts

    def part(self, instances: slice) -> Places:
        """Take some of the instances."""
        return Places(*(values[instances] for values in self))


class Windows(NamedTuple):
    """A batch of training instances."""

    x: Tensor  # (time, batch, n_inputs)
    y: Tensor  # (time, batch)
    scored: Tensor  # (time, batch), 1 where the day counts in the loss


def draw_places(
    days: int,
    pixels: Tensor,
    batch: int,
    seq_length: int,
    warmup: int = 0,
    generator: torch.Generator | None = None,
) -> Places:
    """Draw `batch` random instances: each `seq_length` scored days of one pixel, run from `warmup` days before.

    Where the record begins less than `warmup` days before the scored days, the run starts with the record and goes on
    unscored after them, so that all instances have the same length and the scored days start on every day of the
    record, up to the last where they fit, with the same chance.

    Parameters
    ----------
    days : int
        Length of the record.
    pixels : Tensor
        Numbers of the pixels to draw from.

    Raises
    ------
    BatchError
        The record is shorter than warm-up and instance together.
    """
    length = seq_length + warmup
    if length > days:
        raise BatchError(f"an instance of {warmup} + {seq_length} days does not fit into {days} training days")
    pixel = pixels[torch.randint(len(pixels), (batch,), generator=generator)]
    scored_from = torch.randint(days - seq_length + 1, (batch,), generator=generator)
    return Places(pixel, (scored_from - warmup).clamp(0, days - length), scored_from)


def scored_days(data: Tensors, places: Places, seq_length: int, warmup: int = 0) -> Tensor:
    """Say on which days of the instances the loss counts, (time, batch): observed, and none of the warm-up."""
    t = _days(places, seq_length + warmup)
    inside = (t >= places.scored_from) & (t < places.scored_from + seq_length)
    return data.observed[t, places.pixel] * inside


def cut_windows(data: Tensors, places: Places, seq_length: int, warmup: int = 0) -> Windows:
    """Cut the instances out of the record, on the device that holds both."""
    t = _days(places, seq_length + warmup)
    statics = data.statics[places.pixel].expand(len(t), -1, -1)
    x = torch.cat([data.forcing[t, places.pixel], statics], dim=2)
    return Windows(x, data.target[t, places.pixel], scored_days(data, places, seq_length, warmup))


def _days(places: Places, length: int) -> Tensor:
    return places.first_day + torch.arange(length, device=places.first_day.device)[:, None]  # (time, batch)


def iterations_per_epoch(pixels: int, days: int, batch: int, seq_length: int) -> int:
    """Count the batches after which a given pixel-day has been drawn with probability 0.99 (the authors' rule).

    ``ceil(ln 0.01 / ln(1 - batch * seq_length / (pixels * days)))``; 1 when a batch covers everything.
    """
    share = batch * seq_length / (pixels * days)
    return 1 if share >= 0.99 else int(np.ceil(np.log(0.01) / np.log1p(-share)))


def moisture_dataset(realisations: dict[str, npt.NDArray[np.float32]], like: xr.Dataset) -> xr.Dataset:
    """Mean and spread of soil moisture as a Dataset of the table's names and units.

    Parameters
    ----------
    realisations : dict
        Name of the mean's variable (``ssm_lstm``) to values (realisation, time, pixel), m3 m-3.
    like : xarray.Dataset
        Gives the coordinates time and pixel.

    Returns
    -------
    xarray.Dataset
        ``<name>`` and ``<name>_spread`` (time, pixel): mean and standard deviation over realisations; the spread is
        missing when there is only one.
    """
    variables = {}
    for name, values in realisations.items():
        one = len(values) == 1
        spread = np.full(values.shape[1:], np.nan, np.float32) if one else values.std(axis=0, ddof=1)
        variables[name] = (("time", "pixel"), values.mean(axis=0))
        variables[f"{name}_spread"] = (("time", "pixel"), spread)
    coords = {name: like[name] for name in ("time", "pixel", "row", "col", "lat", "lon")}
    return describe(xr.Dataset(variables, coords=coords))


def impossible_values(dataset: xr.Dataset) -> dict[str, int]:
    """Count the values outside the valid range of the table, by variable; they are never clipped."""
    return {str(name): int(count_out_of_range(array, str(name))) for name, array in dataset.data_vars.items()}


def out_of_range(forcing: xr.Dataset, ranges: dict[str, tuple[float, float]]) -> xr.Dataset:
    """Count, per day and pixel, the forcing variables that are missing or outside `ranges` (name to minimum, maximum).

    A missing one is run with the training mean, so that the result looks as sound as any other.
    """
    count = np.zeros((forcing.sizes["time"], forcing.sizes["pixel"]), np.float32)
    for name, (low, high) in ranges.items():
        values = forcing[name].transpose("time", "pixel").to_numpy()
        count += ~((values >= low) & (values <= high))
    return describe(xr.Dataset({"forcing_out_of_range": (("time", "pixel"), count)}))
