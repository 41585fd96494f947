"""One block of pixels of a hindcast, from the cube's forcing to the store: what a worker does alone.

It needs the job and the number of the pixels, and writes only the chunks of the store that are the block's own.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from smapnb.batch import impossible_values, moisture_dataset, out_of_range, tensors
from smapnb.lstm import Masks, SoilMoistureLSTM, State
from smapnb.train_checkpoint import Checkpoint, choose_device
from smapnb.variables import pixels_of

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What all blocks of a hindcast share. A lazily opened cube travels to a worker as the way to its files."""

    cube: xr.Dataset  # lazily opened: the inputs of all checkpoints on the days to run, spin-up first
    first_kept: int  # number of days that only spin the state up
    checkpoints: dict[str, Checkpoint]
    settings: Any  # the profile's section hindcast
    passes: int
    seed: int
    device: str
    store: Path

    def pixel_blocks(self) -> list[slice]:
        """Blocks of the store's chunks in which a target has pixels."""
        blocks = slices(0, self.cube.sizes["pixel"], self.settings.pixel_block)
        covered = np.any([pixels_of(self.cube, quantity) for quantity in self.checkpoints], axis=0)
        return [block for block in blocks if covered[block].any()]

    def day_blocks(self) -> list[slice]:
        """Spin-up ends with a block of its own, so that a block is kept whole or not at all."""
        step, end = self.settings.time_block, self.cube.sizes["time"]
        return [*slices(0, self.first_kept, step), *slices(self.first_kept, end, step)]


def slices(first: int, end: int, step: int) -> Iterator[slice]:
    """Blocks of `step`, the last one shorter where it does not fit."""
    for start in range(first, end, step):
        yield slice(start, min(start + step, end))


def run_pixels(job: Job, pixels: slice) -> dict[str, int]:
    """Run one block of pixels through all blocks of time and write what is kept.

    Each target runs at the pixels of its own grid and is missing elsewhere.

    Returns
    -------
    dict
        Name of a variable to the number of its values that cannot be (outside the table's valid range).
    """
    cube = job.cube.isel(pixel=pixels)
    total = job.cube.sizes["pixel"]
    own = {quantity: np.flatnonzero(pixels_of(cube, quantity)) for quantity in job.checkpoints}
    runs = {
        quantity: Forecast(checkpoint, job, pixels.start + own[quantity], total)
        for quantity, checkpoint in job.checkpoints.items()
        if own[quantity].size
    }
    impossible = Counter[str]()

    def started() -> Iterator[tuple[slice, xr.Dataset, dict[str, torch.Tensor]]]:
        for days in job.day_blocks():
            # In this thread: a worker of Dask's would hand the reading back to the scheduler.
            block = cube.isel(time=days).load(scheduler="synchronous")
            yield days, block, {quantity: run.start(block.isel(pixel=own[quantity])) for quantity, run in runs.items()}

    on_gpu = any(run.device.type == "cuda" for run in runs.values())
    for days, block, scaled in one_ahead(started()) if on_gpu else started():
        if days.start < job.first_kept:
            continue
        values = {quantity: runs[quantity].moisture(part) for quantity, part in scaled.items()}
        kept = block_dataset(block, values, job.checkpoints, own)
        region = {"time": slice(days.start - job.first_kept, days.stop - job.first_kept), "pixel": pixels}
        kept.drop_vars(list(kept.coords)).to_zarr(job.store, region=region, consolidated=False)
        impossible.update(impossible_values(kept))
    return dict(impossible)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Give each item when the next one is there: a GPU computes a block while the next is read and sent."""
    waiting = list(itertools.islice(items, 1))
    for item in items:
        yield waiting.pop()
        waiting.append(item)
    yield from waiting


class Forecast:
    """Members and dropout passes of one target at some pixels, their states carried from block to block of time.

    Parameters
    ----------
    checkpoint : Checkpoint
    job : Job
        With 0 passes dropout is off; with n every member runs n times, each with its own masks, constant over the
        whole record.
    numbers : array (batch,)
        Which of the `total` pixels these are: masks are drawn for all of them, so that blocks do not matter.
    """

    def __init__(self, checkpoint: Checkpoint, job: Job, numbers: npt.NDArray[np.intp], total: int):
        self.checkpoint, self.precision = checkpoint, job.settings.precision
        self.device = choose_device(job.device)
        self.realisations: list[tuple[SoilMoistureLSTM, Masks | None]] = []
        for member, model in enumerate(checkpoint.models(self.device)):
            model.train(job.passes > 0)
            drawn = (draw_masks(model, total, job.seed, member, k, numbers) for k in range(job.passes))
            self.realisations += [(model, masks) for masks in (drawn if job.passes else [None])]
        self.states: list[State | None] = [None] * len(self.realisations)

    def start(self, block: xr.Dataset) -> torch.Tensor:
        """Predict the days that follow those of the start before: scaled, (realisation, time, pixel), on the device.

        A GPU may not have computed them yet: nothing here waits for it.
        """
        checkpoint = self.checkpoint
        scaled = tensors(block, checkpoint.scaler, checkpoint.forcing, checkpoint.statics)
        x = scaled.inputs(slice(None), slice(None))
        if self.device.type == "cuda":
            x = x.pin_memory()  # which a GPU reads by itself
        x = x.to(self.device, non_blocking=True)
        out = torch.empty(len(self.realisations), *x.shape[:2], device=self.device)
        for r, (model, masks) in enumerate(self.realisations):
            with torch.no_grad():
                y, self.states[r] = model.run(x, masks, self.states[r], self.precision)
            out[r] = y
        return out

    def moisture(self, scaled: torch.Tensor) -> npt.NDArray[np.float32]:
        """Soil moisture (realisation, time, pixel), m3 m-3, from what `start` gave."""
        return self.checkpoint.scaler.unscale(self.checkpoint.target, scaled.cpu().numpy())


def draw_masks(
    model: SoilMoistureLSTM, total: int, seed: int, member: int, k: int, numbers: npt.NDArray[np.intp]
) -> Masks:
    """Masks of pass `k` of a member at the pixels of these numbers, each (batch, hidden)."""
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, member, k]).generate_state(1)[0]))
    return Masks(*(mask[torch.from_numpy(numbers)] for mask in model.draw_masks(total, generator)))


def block_dataset(
    block: xr.Dataset,
    values: dict[str, npt.NDArray[np.float32]],
    checkpoints: dict[str, Checkpoint],
    own: dict[str, npt.NDArray[np.intp]],
) -> xr.Dataset:
    """Mean and spread of each target, and the count of forcing out of range, (time, pixel); missing where none is run.

    Parameters
    ----------
    block : xarray.Dataset
        Forcing (time, pixel).
    values : dict
        Quantity to soil moisture (realisation, time, own pixel), m3 m-3; none where it has no pixel here.
    own : dict
        Quantity to the places of its pixels in the block.
    """
    shape = block.sizes["time"], block.sizes["pixel"]
    everywhere = {}
    for quantity, checkpoint in checkpoints.items():
        known = values.get(quantity, np.empty((2, shape[0], 0), np.float32))
        whole = np.full((len(known), *shape), np.nan, np.float32)
        whole[:, :, own[quantity]] = known
        everywhere[checkpoint.output] = whole
    return moisture_dataset(everywhere, block).merge(_beyond(block, checkpoints, own))


def _beyond(block: xr.Dataset, checkpoints: dict[str, Checkpoint], own: dict[str, npt.NDArray[np.intp]]) -> xr.Dataset:
    """`out_of_range`, each pixel held to the ranges of the targets that are run there."""
    runs_at = np.zeros((len(checkpoints), block.sizes["pixel"]), bool)
    for k, quantity in enumerate(checkpoints):
        runs_at[k, own[quantity]] = True
    count = np.full((block.sizes["time"], block.sizes["pixel"]), np.nan, np.float32)
    found = xr.Dataset()
    for targets in np.unique(runs_at, axis=1).T:
        ranges: dict[str, tuple[float, float]] = {}
        for runs, checkpoint in zip(targets, checkpoints.values(), strict=True):
            ranges |= checkpoint.forcing_range if runs else {}
        at = np.flatnonzero((runs_at == targets[:, None]).all(axis=0))
        found = out_of_range(block.isel(pixel=at), ranges)
        if targets.any():
            count[:, at] = found["forcing_out_of_range"].to_numpy()
    return xr.Dataset({"forcing_out_of_range": (("time", "pixel"), count, found["forcing_out_of_range"].attrs)})
