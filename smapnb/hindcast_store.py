"""The store of a hindcast while it is written: laid out first, filled block by block, moved into place when whole.

It keeps what an interrupted run has finished, of the very same job only, and computes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr

from smapnb import variables
from smapnb.folders import put_in_place
from smapnb.hindcast_block import Job, block_dataset
from smapnb.train_checkpoint import Checkpoint

log = logging.getLogger(__name__)

PIXEL_COORDINATES = ("pixel", "row", "col", "lat", "lon", "grid_km")
IDENTITY = "identity"
CODE = ("batch.py", "hindcast*.py", "lstm*.py")

Done = dict[str, dict[str, int]]  # first pixel of a block to the number of impossible values of each variable


def identity(cube: xr.Dataset, name: str, settings: Any, checkpoints: dict[str, Checkpoint], device: str) -> str:
    """Say what must be equal for the blocks, or the whole, of another run to be kept.

    The cube and its days, the settings, the weights and scaling of every target, the device, and the code that runs it.
    """
    digest = hashlib.sha256()
    for file in sorted(file for pattern in CODE for file in Path(__file__).parent.glob(pattern)):
        digest.update(file.read_bytes())
    for quantity, checkpoint in checkpoints.items():
        digest.update(json.dumps([quantity, checkpoint.scaler.to_json(), checkpoint.forcing_range]).encode())
        for weights in checkpoint.weights:
            for key in sorted(weights):
                digest.update(weights[key].contiguous().numpy().tobytes())
    of_cube = [str(cube.attrs.get(key)) for key in ("created", "source_sha256")]
    of_cube += [str(cube.sizes["pixel"]), *(str(day) for day in cube.indexes["time"][[0, -1]])]
    about = {"name": name, "hindcast": settings.model_dump(mode="json"), "cube": of_cube, "device": device}
    return json.dumps({**about, "sha256": digest.hexdigest()})


def part_of(path: Path, identity: str) -> Path:
    """Name under which the store is written, one for each job: a worker left over from another cannot spoil it."""
    return path.with_name(f".{path.name}.{hashlib.sha256(identity.encode()).hexdigest()[:12]}.part").absolute()


def take_up(job: Job, path: Path, identity: str, about: dict[str, Any]) -> Done:
    """Prepare the unfinished store, or take up that of an interrupted run; returns the blocks already in it."""
    part, progress = job.store, _progress(job.store)
    if part.exists() and progress.exists():
        stored = json.loads(progress.read_text(encoding="utf-8"))
        if stored[IDENTITY] == identity:
            return dict(stored["done"])
    # First of all: what it says must never be believed of the store that is written next.
    for old in path.parent.glob(f".{path.name}.*.progress.json"):
        old.unlink()
    for old in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(old, ignore_errors=True)
    _lay_out(job, about)
    write_progress(part, identity, {})
    return {}


def write_progress(part: Path, identity: str, done: Done) -> None:
    """Say which blocks are done."""
    temporary = _progress(part).with_suffix(".part")
    temporary.write_text(json.dumps({IDENTITY: identity, "done": done}), encoding="utf-8")
    temporary.replace(_progress(part))


def finish(path: Path, identity: str, done: Done) -> None:
    """Count what cannot be, move the store into place, and remove the one before."""
    part = part_of(path, identity)
    _report(part, identity, done)
    put_in_place(part, path)
    _progress(part).unlink()


def _progress(part: Path) -> Path:
    """File that says what is done, beside the store: within it, Zarr warns of a file that it does not know."""
    return part.with_suffix(".progress.json")


def _report(part: Path, identity: str, done: Done) -> None:
    """Keep the number of values outside the valid range as an attribute of each variable, and log it once."""
    impossible = sum((Counter(counts) for counts in done.values()), Counter[str]())
    store = zarr.open_group(part, mode="r+")
    store.attrs[IDENTITY] = identity
    for name, array in store.arrays():
        if name in variables.TABLE:  # a coordinate has no valid range
            array.attrs["n_out_of_range"] = impossible[name]
    if impossible:
        log.warning("hindcast: values outside the valid range, kept as they are: %s", dict(impossible))


def _lay_out(job: Job, about: dict[str, Any]) -> None:
    """Write names, units and coordinates; every value is missing until its block is written."""
    cube = job.cube
    days, pixels = cube.indexes["time"][job.first_kept :], cube.sizes["pixel"]
    chunks = (job.settings.time_block, job.settings.pixel_block)
    empty = dask.array.full((len(days), pixels), np.nan, chunks=chunks, dtype=np.float32)
    nowhere = dict.fromkeys(job.checkpoints, np.arange(0))
    one = cube.isel(time=slice(1), pixel=slice(1)).load()
    sample = block_dataset(one, {}, job.checkpoints, nowhere)
    filled = {name: (array.dims, empty, array.attrs) for name, array in sample.data_vars.items()}
    coords = {name: cube[name].load() for name in PIXEL_COORDINATES if name in cube.coords}
    template = xr.Dataset(filled, coords={"time": ("time", days, cube["time"].attrs), **coords})
    template.attrs = {**about, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    # A chunk that is never written reads as the fill value, for which xarray takes NaN; Zarr's own is 0.
    template.to_zarr(job.store, compute=False, consolidated=False, zarr_format=3)
