"""Run a trained checkpoint, or its ensemble, over any period of the cube: soil moisture in m3 m-3 with its spread.

Memory is bounded by ``hindcast.pixel_block x hindcast.time_block``, whatever the length of the record: the state is
carried from block to block of time. Blocks of pixels are independent, in one process or by Dask. It trains nothing and
scores nothing.

Start-up rule: the state begins at zero and is run over ``hindcast.spinup_days`` days before ``hindcast.start``, or over
as many as the cube has (attribute ``spinup_days``); those days are thrown away. Notebook 03 measures what a start from
zero costs.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from tqdm import tqdm

from smapnb import cluster, hindcast_store
from smapnb.folders import is_someone_elses
from smapnb.hindcast_block import Job, run_pixels
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, versions

log = logging.getLogger(__name__)

# Settings of the agencies' files that choose places, and change no value that a network sees.
PLACES = {"region", "sites", "nldas", "every_km9", "least_observed", "land_models", "smap_l4_collection"}


class Run(Protocol):
    """What a hindcast needs to know of a profile."""

    name: str
    rules: Any
    targets: Any
    data: Any
    inputs: Any
    training: Any
    hindcast: Any

    @property
    def synthetic(self) -> bool:
        """Whether the data are synthetic."""


class HindcastError(RuntimeError):
    """A hindcast cannot be run; the message says what is missing."""


def run(
    cube: xr.Dataset,
    profile: Run,
    folder: Path,
    path: Path,
    *,
    scheduler: str | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Hindcast every target of the profile and write one Zarr store.

    Parameters
    ----------
    cube : xarray.Dataset
        Forcing and statics, dimensions (time, pixel), lazily opened. Where it holds cells of two grids, each target is
        run at the cells of its own (`smapnb.variables.pixels_of`).
    folder : Path
        Folder of the run, with ``<target>/checkpoint.safetensors``.
    path : Path
        The store to write. One that is there of the very same job (cube, days, settings, weights, code) is kept, and so
        are the blocks of pixels that an interrupted run of it has finished.
    scheduler : str, optional
        ``serial`` (the default), ``local`` (a process for each core) or the address of a Dask scheduler whose workers
        see the cube and `path` under the same names; the numbers are the same bit for bit.

    Returns
    -------
    xarray.Dataset
        For each target ``<ssm|rzsm>_lstm`` and ``.._lstm_spread`` (time, pixel), m3 m-3: mean and standard deviation
        over members and dropout passes (spread missing when there is only one of them); ``forcing_out_of_range``
        (time, pixel): how many forcing variables are missing or leave the range that the networks were trained on. All
        of them are missing where no target is run.

    Raises
    ------
    HindcastError
        A forcing of the checkpoint is not in the cube, the cube lacks days of the period, the cube was made with other
        settings than the profile's, or the checkpoint was trained under others, whose test period it may have seen; or
        what lies at `path` is no hindcast.
    smapnb.train_checkpoint.TrainingError
        No checkpoint.
    smapnb.cluster.ClusterError
        No such scheduler, or its workers die.
    """
    if is_someone_elses(path):
        raise HindcastError(f"{path}: is not a hindcast and will not be replaced by one; move it away")
    job, identity = _job(cube, profile, folder, path)
    if (path / "zarr.json").is_file() and open_hindcast(path).attrs.get(hindcast_store.IDENTITY) == identity:
        log.info("%s: is there already", path)
        return open_hindcast(path)
    done = hindcast_store.take_up(job, path, identity, _about(cube, profile, job))
    blocks = job.pixel_blocks()
    left = [pixels for pixels in blocks if str(pixels.start) not in done]
    results = cluster.results(run_pixels, job, left, scheduler)
    bar: dict[str, Any] = {"desc": "hindcast", "unit": "block", "initial": len(blocks) - len(left)}
    for pixels, impossible in tqdm(results, total=len(blocks), disable=not progress, **bar):
        done[str(pixels.start)] = impossible
        hindcast_store.write_progress(job.store, identity, done)
    hindcast_store.finish(path, identity, done)
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


def _job(cube: xr.Dataset, profile: Run, folder: Path, path: Path) -> tuple[Job, str]:
    """Check that it can be run; what blocks need, and what makes it the same job another time."""
    settings = profile.hindcast
    checkpoints = {quantity: Checkpoint.load(folder / quantity / CHECKPOINT) for quantity in profile.targets}
    days, first_kept = _days(cube, settings)
    if misfit := profile.data.misfit(cube.attrs.get("data_section")):
        raise HindcastError(misfit)
    for quantity, checkpoint in checkpoints.items():
        lacking = [n for n in [*checkpoint.forcing, *checkpoint.statics] if n not in cube]
        if lacking:
            raise HindcastError(f"the cube lacks {lacking}, which the {quantity} checkpoint needs")
        _refuse_other_training(profile, checkpoint)
    training = profile.training
    identity = hindcast_store.identity(cube, profile.name, settings, checkpoints, training.device)
    # A network without dropout has but one way to run.
    passes = settings.dropout_passes if training.dropout and training.dropout_on else 0
    inputs = list(dict.fromkeys(name for c in checkpoints.values() for name in [*c.forcing, *c.statics]))
    lazy, part = cube[inputs].isel(time=days), hindcast_store.part_of(path, identity)
    return Job(lazy, first_kept, checkpoints, settings, passes, training.seed, training.device, part), identity


def _refuse_other_training(profile: Run, checkpoint: Checkpoint) -> None:
    """Hold the checkpoint to the profile's rules, inputs and training; on which device it runs is free."""
    theirs = checkpoint.profile
    differing = ["rules"] if profile.rules != theirs["rules"] else []
    # A network may be run at other places, but not in another world.
    data = profile.data.model_dump(mode="json")
    differing += [f"data.{key}" for key in ("source", "twin_seed") if data[key] != theirs["data"][key]]
    archive, trained = data.get("archive") or {}, theirs["data"].get("archive") or {}
    read = sorted({*archive, *trained} - PLACES)  # usual versions are left out
    differing += [f"data.archive.{key}" for key in read if archive.get(key) != trained.get(key)]
    for section in ("inputs", "training"):
        ours = getattr(profile, section).model_dump(mode="json")
        keys = [key for key in ours if key not in ("device", "mixed_precision")]
        differing += [f"{section}.{key}" for key in keys if ours[key] != theirs[section].get(key)]
    if differing:
        raise HindcastError(
            f"the {checkpoint.quantity} checkpoint was trained with other settings than the profile's "
            f"({', '.join(differing)}): train again"
        )


def _days(cube: xr.Dataset, settings: Any) -> tuple[slice, int]:
    """Days to run, as places on the cube's axis, and the number of leading ones that only spin the state up."""
    time = cube.indexes["time"]
    start, end = np.datetime64(settings.start), np.datetime64(settings.end)
    first, stop = time.searchsorted(start), time.searchsorted(end, side="right")
    if first == stop:
        raise HindcastError(f"the cube has no day in {settings.start}..{settings.end}")
    kept = time[int(first) : int(stop)]
    if kept[0] > start or kept[-1] < end:
        raise HindcastError(
            f"the cube holds {kept[0]:%Y-%m-%d}..{kept[-1]:%Y-%m-%d} of the hindcast's "
            f"{settings.start}..{settings.end} only: build the cube of these settings first"
        )
    spinup = time.searchsorted(start - np.timedelta64(settings.spinup_days, "D"))
    return slice(int(spinup), int(stop)), int(first - spinup)


def _about(cube: xr.Dataset, profile: Run, job: Job) -> dict[str, Any]:
    """Attributes of the result."""
    first, here = next(iter(job.checkpoints.values())), versions()
    where = {name: cube.attrs[name] for name in ("Conventions", "grid", "grid_crs") if name in cube.attrs}
    return where | {
        "source": f"hindcast by an LSTM of smapnb, trained on and driven by: {cube.attrs.get('source', 'unknown')}",
        "profile": profile.name,
        "synthetic": str(profile.synthetic).lower(),
        "smapnb_version": here["smapnb"],
        "versions": json.dumps(here),
        "versions_of_training": json.dumps(first.versions),
        "spinup_days": job.first_kept,
        "realisations": len(first.weights) * max(1, job.passes),
        "dropout_passes": job.passes,
        "precision": job.settings.precision,
    }
