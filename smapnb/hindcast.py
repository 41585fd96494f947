"""Run a trained checkpoint, or its ensemble, over any period of the cube: soil moisture in m3 m-3 with its spread.

Memory is bounded by ``hindcast.pixel_block x hindcast.time_block``, whatever the length of the record: the state is
carried from block to block of time. It trains nothing and scores nothing.

Start-up rule: the state begins at zero and is run over ``hindcast.spinup_days`` days before ``hindcast.start``, or over
as many as the cube has (attribute ``spinup_days``); those days are thrown away. Notebook 03 measures what a start from
zero costs.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import dask.array
import numpy as np
import torch
import xarray as xr
import zarr
from tqdm import tqdm

from smapnb.batch import impossible_values, moisture_dataset, out_of_range, tensors
from smapnb.lstm import Masks, SoilMoistureLSTM, State
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, choose_device

log = logging.getLogger(__name__)

PIXEL_COORDINATES = ("pixel", "row", "col", "lat", "lon")


class Run(Protocol):
    """What a hindcast needs to know of a profile."""

    name: str
    rules: Any
    targets: Any
    inputs: Any
    training: Any
    hindcast: Any

    @property
    def synthetic(self) -> bool:
        """Whether the data are synthetic."""


class HindcastError(RuntimeError):
    """A hindcast cannot be run; the message says what is missing."""


def run(cube: xr.Dataset, profile: Run, folder: Path, path: Path, *, progress: bool = True) -> xr.Dataset:
    """Hindcast every target of the profile and write one Zarr store.

    Parameters
    ----------
    cube : xarray.Dataset
        Forcing and statics, dimensions (time, pixel), lazily opened.
    folder : Path
        Folder of the run, with ``<target>/checkpoint.safetensors``.
    path : Path
        The store to write. Blocks of pixels that an interrupted run of the same checkpoints has finished are kept.

    Returns
    -------
    xarray.Dataset
        For each target ``<ssm|rzsm>_lstm`` and ``.._lstm_spread`` (time, pixel), m3 m-3: mean and standard deviation
        over members and dropout passes (spread missing when there is only one of them); ``forcing_out_of_range``
        (time, pixel): how many forcing variables leave the range that the networks were trained on.

    Raises
    ------
    HindcastError
        A forcing of the checkpoint is not in the cube, the cube has no day of the period, or the checkpoint was trained
        under other settings than the profile's, whose test period it may have seen.
    smapnb.train.TrainingError
        No checkpoint.
    """
    checkpoints = {quantity: Checkpoint.load(folder / quantity / CHECKPOINT) for quantity in profile.targets}
    days, first_kept = _days(cube, profile)
    for quantity, checkpoint in checkpoints.items():
        lacking = [n for n in [*checkpoint.forcing, *checkpoint.statics] if n not in cube]
        if lacking:
            raise HindcastError(f"the cube lacks {lacking}, which the {quantity} checkpoint needs")
        _refuse_other_training(profile, checkpoint)
    part = path.with_name(f".{path.name}.part")
    done = _open_part(part, cube, days[first_kept:], first_kept, profile, checkpoints)
    blocks = list(_slices(0, cube.sizes["pixel"], profile.hindcast.pixel_block))
    for pixels in tqdm(blocks, desc="hindcast", unit="block", disable=not progress):
        if str(pixels.start) in done:
            continue
        done[str(pixels.start)] = _run_pixels(cube, days, first_kept, pixels, profile, checkpoints, part)
        _write_progress(part, _identity(cube, profile, checkpoints), done)
    _report(part, done)
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.replace(old)
    part.replace(path)
    _progress(part).unlink()
    shutil.rmtree(old, ignore_errors=True)
    return open_hindcast(path)


def open_hindcast(path: str | Path) -> xr.Dataset:
    """Open a finished hindcast lazily, (time, pixel).

    Raises
    ------
    HindcastError
        There is none at `path`.
    """
    if not (Path(path) / "zarr.json").is_file():
        raise HindcastError(f"no hindcast at {path}: notebook 03 writes it")
    return xr.open_zarr(path, consolidated=False)


def _refuse_other_training(profile: Run, checkpoint: Checkpoint) -> None:
    """Hold the checkpoint to the profile's rules, inputs and training; on which device it runs is free."""
    theirs = checkpoint.profile
    differing = ["rules"] if profile.rules != theirs["rules"] else []
    for section in ("inputs", "training"):
        ours = getattr(profile, section).model_dump(mode="json")
        keys = [key for key in ours if key not in ("device", "mixed_precision")]
        differing += [f"{section}.{key}" for key in keys if ours[key] != theirs[section].get(key)]
    if differing:
        raise HindcastError(
            f"the {checkpoint.quantity} checkpoint was trained with other settings than the profile's "
            f"({', '.join(differing)}): train again"
        )


def predict(
    models: list[SoilMoistureLSTM], x: Iterator[torch.Tensor], passes: int, seed: int, pixels: slice, total: int
) -> Iterator[torch.Tensor]:
    """Scaled predictions (realisation, time, batch) for successive blocks of time, the state carried between them.

    Parameters
    ----------
    models : list of SoilMoistureLSTM
        Members of the ensemble.
    x : iterator of Tensor (time, batch, n_inputs)
        Blocks of time, in order.
    passes : int
        0: dropout off; n: every member runs n times, each with its own masks, constant over the whole record.
    pixels, total : slice, int
        Which of the `total` pixels the batch is: masks are drawn for all of them, so that blocks do not matter.
    """
    masks: list[tuple[SoilMoistureLSTM, Masks | None]] = []
    for member, model in enumerate(models):
        model.train(passes > 0)
        masks += (
            [(model, None)]
            if not passes
            else [(model, _masks(model, total, seed, member, k, pixels)) for k in range(passes)]
        )
    states: list[State | None] = [None] * len(masks)
    for block in x:
        out = torch.empty(len(masks), block.shape[0], block.shape[1])
        for r, (model, mask) in enumerate(masks):
            with torch.no_grad():
                y, states[r] = model.run(block, mask, states[r])
            out[r] = y.cpu()
        yield out


def _masks(model: SoilMoistureLSTM, total: int, seed: int, member: int, k: int, pixels: slice) -> Masks:
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, member, k]).generate_state(1)[0]))
    return Masks(*(mask[pixels].contiguous() for mask in model.draw_masks(total, generator)))


def _run_pixels(
    cube: xr.Dataset,
    days: np.ndarray,
    first_kept: int,
    pixels: slice,
    profile: Run,
    checkpoints: dict[str, Checkpoint],
    part: Path,
) -> dict[str, int]:
    """Run one block of pixels through all blocks of time and write what is kept; count values that cannot be."""
    settings = profile.hindcast
    # Spin-up ends with a block of its own, so that a block is kept whole or not at all.
    blocks = [*_slices(0, first_kept, settings.time_block), *_slices(first_kept, len(days), settings.time_block)]
    runs = {}
    impossible = Counter[str]()
    for quantity, checkpoint in checkpoints.items():
        device = choose_device(profile.training.device)
        x = _input_blocks(cube, [days[block] for block in blocks], pixels, checkpoint, device)
        models = checkpoint.models(device)
        runs[quantity] = predict(models, x, _passes(profile), profile.training.seed, pixels, cube.sizes["pixel"])
    for block in blocks:
        scaled = {quantity: next(predictions) for quantity, predictions in runs.items()}
        if block.start < first_kept:
            continue
        kept = _block_dataset(cube.sel(time=days[block]).isel(pixel=pixels), scaled, checkpoints)
        region = {"time": slice(block.start - first_kept, block.stop - first_kept), "pixel": pixels}
        kept.drop_vars(list(kept.coords)).to_zarr(part, region=region, consolidated=False)
        impossible.update(impossible_values(kept))
    return dict(impossible)


def _input_blocks(
    cube: xr.Dataset, blocks: list[np.ndarray], pixels: slice, checkpoint: Checkpoint, device: torch.device
) -> Iterator[torch.Tensor]:
    names = [*checkpoint.forcing, *checkpoint.statics]
    for days in blocks:
        block = cube[names].sel(time=days).isel(pixel=pixels).load()
        scaled = tensors(block, checkpoint.scaler, checkpoint.forcing, checkpoint.statics)
        yield scaled.inputs(slice(None), slice(None)).to(device)


def _block_dataset(
    block: xr.Dataset, scaled: dict[str, torch.Tensor], checkpoints: dict[str, Checkpoint]
) -> xr.Dataset:
    realisations: dict[str, np.ndarray] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for quantity, values in scaled.items():
        checkpoint = checkpoints[quantity]
        realisations[checkpoint.output] = checkpoint.scaler.unscale(checkpoint.target, values.numpy())
        ranges |= checkpoint.forcing_range
    return moisture_dataset(realisations, block).merge(out_of_range(block, ranges))


def _days(cube: xr.Dataset, profile: Run) -> tuple[np.ndarray, int]:
    """Days to run, and the number of leading ones that only spin the state up."""
    time = cube.indexes["time"]
    settings = profile.hindcast
    start, end = np.datetime64(settings.start), np.datetime64(settings.end)
    wanted = time[(time >= start) & (time <= end)]
    if not len(wanted):
        raise HindcastError(f"the cube has no day in {settings.start}..{settings.end}")
    before = time[(time < start) & (time >= start - np.timedelta64(settings.spinup_days, "D"))]
    return np.concatenate([before.to_numpy(), wanted.to_numpy()]), len(before)


def _passes(profile: Run) -> int:
    """Count the passes with dropout; a network without dropout has but one way to run."""
    training = profile.training
    return profile.hindcast.dropout_passes if training.dropout and training.dropout_on else 0


def _slices(first: int, end: int, step: int) -> Iterator[slice]:
    for start in range(first, end, step):
        yield slice(start, min(start + step, end))


def _identity(cube: xr.Dataset, profile: Run, checkpoints: dict[str, Checkpoint]) -> dict[str, Any]:
    """Say what must be equal for finished blocks of an interrupted run to be kept."""
    sums = {q: [float(sum(w.double().sum() for w in m.values())) for m in c.weights] for q, c in checkpoints.items()}
    return {
        "name": profile.name,
        "hindcast": profile.hindcast.model_dump(mode="json"),
        "weights": sums,
        "cube": [
            str(cube.attrs.get("created")),
            cube.sizes["pixel"],
            *(str(day) for day in cube.indexes["time"][[0, -1]]),
        ],
    }


def _progress(part: Path) -> Path:
    """File that says what is done, beside the store: within it, Zarr warns of a file that it does not know."""
    return part.with_suffix(".progress.json")


def _write_progress(part: Path, identity: dict[str, Any], done: dict[str, dict[str, int]]) -> None:
    temporary = _progress(part).with_suffix(".part")
    temporary.write_text(json.dumps({"identity": identity, "done": done}), encoding="utf-8")
    temporary.replace(_progress(part))


def _report(part: Path, done: dict[str, dict[str, int]]) -> None:
    """Keep the number of values outside the valid range as an attribute of each variable, and log it once."""
    impossible = sum((Counter(counts) for counts in done.values()), Counter[str]())
    store = zarr.open_group(part, mode="r+")
    for name, array in store.arrays():
        array.attrs["n_out_of_range"] = impossible[name]
    if impossible:
        log.warning("hindcast: values outside the valid range, kept as they are: %s", dict(impossible))


def _open_part(
    part: Path,
    cube: xr.Dataset,
    days: np.ndarray,
    spinup: int,
    profile: Run,
    checkpoints: dict[str, Checkpoint],
) -> dict[str, dict[str, int]]:
    """Prepare the unfinished store, or take up that of an interrupted run.

    Returns the blocks of pixels already in it: first pixel to the number of impossible values of each variable.
    """
    identity = _identity(cube, profile, checkpoints)
    if part.exists() and _progress(part).exists():
        stored = json.loads(_progress(part).read_text(encoding="utf-8"))
        if stored["identity"] == identity:
            return dict(stored["done"])
    # First of all: what it says must never be believed of the store that is written next.
    _progress(part).unlink(missing_ok=True)
    if part.exists():
        shutil.rmtree(part)
    chunks = (profile.hindcast.time_block, profile.hindcast.pixel_block)
    empty = dask.array.full((len(days), cube.sizes["pixel"]), np.nan, chunks=chunks, dtype=np.float32)
    one_day = cube.sel(time=days[:1])
    nothing = {q: torch.full((1, 1, cube.sizes["pixel"]), torch.nan) for q in checkpoints}
    sample = _block_dataset(one_day, nothing, checkpoints)  # names, units and coordinates of the store
    variables = {name: (array.dims, empty, array.attrs) for name, array in sample.data_vars.items()}
    coords = {name: cube[name].load() for name in PIXEL_COORDINATES}
    template = xr.Dataset(variables, coords={"time": days, **coords})
    first = next(iter(checkpoints.values()))
    template.attrs = {
        "source": f"hindcast by an LSTM of smapnb, trained on and driven by: {cube.attrs.get('source', 'unknown')}",
        "profile": profile.name,
        "synthetic": str(profile.synthetic).lower(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "smapnb_version": first.versions["smapnb"],
        "versions": json.dumps(first.versions),
        "spinup_days": spinup,
        "realisations": len(first.weights) * max(1, _passes(profile)),
        "dropout_passes": _passes(profile),
    }
    template.to_zarr(part, compute=False, consolidated=False)
    _write_progress(part, identity, {})
    return {}
