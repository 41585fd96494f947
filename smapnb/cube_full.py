"""The cube of full size: pixels chosen once, then blocks of days by product, in one process or by Dask in many.

What is done is kept when a build is stopped: the next one of the same files and profile does what is left. It is told
apart by names, sizes and times of change of the files, and by the version of this package, since reading terabytes for
a checksum, or again for an edited comment, would take a day.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from tqdm import tqdm

import smapnb
from smapnb import cluster, cube_pixels, cube_statics, cube_store, cube_tasks, cube_weather, places, variables
from smapnb.cube_archive import Files, digest, find
from smapnb.cube_pixels import Pixels
from smapnb.cube_store import CubeError
from smapnb.cube_tasks import Site, Tally, Task
from smapnb.profile import Profile

log = logging.getLogger(__name__)

TARGETS = {"surface": "SPL3SMP", "rootzone": "SPL4SMGP"}
IDENTITY = ("data_section", "holds", "source_sha256")
READY = "store.json"
SOURCE = (
    "SMAP level 3 and 4 (NASA NSIDC DAAC), NLDAS-2 (NASA GES DISC; Xia et al. 2012, doi:10.1029/2011JD016048), "
    "ISRIC-WISE30sec (Batjes 2016, doi:10.1016/j.geoderma.2016.01.034)"
)


def products(profile: Profile) -> list[str]:
    """Products that a profile needs; static inputs of the 36 km grid are needed by both targets."""
    names = [TARGETS[target] for target in profile.targets]
    names += ["FORA", *(name.upper() for name in profile.archive.land_models), *cube_statics.products(profile)]
    return list(dict.fromkeys(names))


def identity(profile: Profile, found: dict[str, Files], end: object = None) -> dict[str, str]:
    """Name what a cube is made of; `end` asks for the name of a shorter one."""
    data = profile.data.model_dump(mode="json")
    held = {"targets": profile.targets, "statics": profile.inputs.statics, "version": smapnb.__version__}
    last = end or profile.data.end
    return {
        "data_section": json.dumps(data | {"end": str(last)}),
        "holds": json.dumps(held),
        "source_sha256": digest(found, profile.data.start, last),
    }


def open_archive(profile: Profile, root: Path) -> dict[str, Files]:
    """Find the files of all that a profile needs.

    Raises
    ------
    CubeError
        As `smapnb.cube_archive.find`.
    """
    return find(profile, root, products(profile))


def write(
    profile: Profile,
    found: dict[str, Files],
    root: Path,
    partial: Path,
    attrs: Mapping[str, str],
    scheduler: str | None = None,
    after: xr.Dataset | None = None,
) -> Path:
    """Write a store, or go on with one that was stopped; the marker comes last.

    Parameters
    ----------
    profile : Profile
    found : dict of Files
        As from `open_archive`.
    root : Path
        Folder of the data.
    partial : Path
        The store; notes of what is done lie beside it until `clear`.
    attrs : mapping
        Attributes of the cube, with those of `identity`.
    scheduler : str, optional
        Address of a Dask scheduler, ``serial`` or ``local``; default `local` if there is more than one block.
    after : xarray.Dataset, optional
        A cube whose pixels are to be taken, and after whose last day the store begins.

    Raises
    ------
    CubeError
        A file that cannot be read; what is done is kept.
    smapnb.cluster.ClusterError
        No scheduler answers, or its workers die.
    """
    notes = notes_of(partial)
    if not _goes_on(partial, notes, attrs):
        clear(partial)
        notes.mkdir(parents=True)
        _create(profile, found, root, partial, attrs, after)
        (notes / READY).write_text("{}", encoding="utf-8")
    site = Site(partial.resolve(), notes.resolve(), profile.archive)
    tasks = _tasks(profile, found, partial)
    left = [task for task in tasks if not (notes / task.note).exists()]
    _run(site, left, len(tasks), scheduler)
    _close(site, tasks, found)
    return partial


def notes_of(partial: Path) -> Path:
    """Folder of the notes that tell what is done."""
    return partial.with_name(f"{partial.name}.done")


def clear(partial: Path) -> None:
    """Remove a store that is being written, and its notes."""
    shutil.rmtree(notes_of(partial), ignore_errors=True)  # first: without notes the store is not gone on with
    shutil.rmtree(partial, ignore_errors=True)


def _goes_on(partial: Path, notes: Path, attrs: Mapping[str, str]) -> bool:
    if not (notes / READY).is_file() or not (partial / "zarr.json").is_file():
        return False
    there = zarr.open_group(partial, mode="r").attrs
    return all(there.get(name) == attrs[name] for name in IDENTITY)


def _create(
    profile: Profile,
    found: dict[str, Files],
    root: Path,
    partial: Path,
    attrs: Mapping[str, str],
    after: xr.Dataset | None,
) -> None:
    """Write coordinates and statics, and lay out the variables of the days without a value."""
    fixed = xr.Dataset()
    if after is None:
        try:
            pixels, counts = cube_pixels.choose(profile, found, root)
            fixed = cube_statics.read(profile, found, pixels, partial.parent)
        except (ValueError, OSError) as error:  # the readers' own errors are of these kinds
            raise CubeError(str(error)) from error
        start = pd.Timestamp(profile.data.start)
        counts |= cube_weather.approximation(profile.archive, pixels.by_grid())
        told: dict[str, Any] = {"pixels": json.dumps(counts), **fixed.attrs}
    else:
        pixels = Pixels.of(after)
        start = pd.Timestamp(after["time"].values[-1]) + pd.Timedelta(days=1)
        told = {name: after.attrs[name] for name in ("pixels", "statics_start", "statics_end") if name in after.attrs}
    days = pd.date_range(start, profile.data.end, unit="ns")
    shape = (days.size, pixels.km.size)
    empty = dask.array.full(shape, np.nan, dtype=np.float32, chunks=shape)
    held = {name for product in found for name in cube_tasks.VARIABLES.get(product, ())}
    if "surface" not in profile.targets:
        held.discard("ssm_smap")  # its granules are here for the flags alone
    daily = {name: (("time", "pixel"), empty) for name in variables.TABLE if name in held}
    dataset = xr.Dataset(daily, {"time": days, **pixels.coordinates()}).assign(fixed.data_vars)
    grids = " and ".join(f"{km} km" for km in dict.fromkeys(pixels.km.tolist()))
    about = {"source": SOURCE, "synthetic": "false", "day": "UTC day", "grid_crs": "EPSG:6933"}
    about |= {"license": "NASA open data policy; ISRIC's terms", "grid": f"EASE-Grid 2.0 global, {grids}"}
    dataset = cube_store.described(variables.describe(dataset), {**attrs, **about, **told})
    if fixed:
        variables.check(dataset[list(fixed.data_vars)], str(partial))  # leaves its counts at the variables
    encoding = cube_store.encoding_of(dataset)
    partial.parent.mkdir(parents=True, exist_ok=True)
    dataset.to_zarr(partial, mode="w", compute=False, zarr_format=3, consolidated=False, encoding=encoding)


def _tasks(profile: Profile, found: dict[str, Files], partial: Path) -> list[Task]:
    """One task a product and block; none where SMAP had not been launched yet."""
    with xr.open_zarr(partial, consolidated=False) as store:
        days, held, pixels = store.indexes["time"], set(store.data_vars), Pixels.of(store)
    tasks = _of_series(profile, found, days, pixels)
    for offset in range(0, days.size, cube_store.TIME_CHUNK):
        block = days[offset : offset + cube_store.TIME_CHUNK]
        for product, names in cube_tasks.VARIABLES.items():
            if product not in found or found[product].of_cell or not held.intersection(names):
                continue
            files = found[product]
            paths = tuple(str(path.relative_to(files.folder)) for path in files.of(block))
            if paths:
                folder = str(files.folder.resolve())
                tasks.append(Task(product, str(block[0].date()), block.size, offset, folder, paths))
    return tasks


def _of_series(profile: Profile, found: dict[str, Files], days: pd.DatetimeIndex, pixels: Pixels) -> list[Task]:
    """Where the weather comes in series: one task a product and a chunk's width of pixels, over all days."""
    tasks: list[Task] = []
    cover = profile.archive.nldas
    if cover == "grids":
        return tasks
    for first in range(0, pixels.km.size, cube_store.PIXEL_CHUNK):
        span = first, min(first + cube_store.PIXEL_CHUNK, pixels.km.size)
        some = pixels.some(slice(*span))
        for product, files in found.items():
            if files.of_cell:
                cells = places.nldas_cells(some.by_grid(), cover)
                paths = tuple(path.name for cell in cells for path in files.of_cell[int(cell)])
                folder = str(files.folder.resolve())
                tasks.append(Task(product, str(days[0].date()), days.size, 0, folder, paths, span))
    return tasks


def _run(site: Site, tasks: Sequence[Task], n_all: int, scheduler: str | None) -> None:
    if scheduler is None and len({task.offset for task in tasks}) > 1:
        scheduler = cluster.LOCAL
    done = cluster.results(cube_tasks.run, site, tasks, scheduler)
    for _ in tqdm(done, desc="cube", unit="part", total=n_all, initial=n_all - len(tasks)):
        pass


def _close(site: Site, tasks: Sequence[Task], found: dict[str, Files]) -> None:
    """Add up what all blocks counted, and set the marker."""
    group = zarr.open_group(site.store, mode="r+")
    by_product: dict[str, Tally] = {}
    total = Tally()
    for task in tasks:
        tally = Tally.load(site.notes / task.note)
        by_product.setdefault(task.product, Tally()).merge(tally)
        total.merge(tally)
    held = {name for names in cube_tasks.VARIABLES.values() for name in names}
    for name, array in group.arrays():
        if name in held:
            array.attrs["n_out_of_range"] = total.n_out_of_range.get(name, 0)
    told = {product: tally.attributes() for product, tally in by_product.items()}
    with xr.open_zarr(site.store, consolidated=False) as store:
        start, end = (str(store.indexes["time"][i].date()) for i in (0, -1))
    for product in told.keys() & set(TARGETS.values()):
        lacking = found[product].lacking(start, end)
        told[product]["n_days_without_granule"] = len(lacking)
        if len(lacking):
            log.warning("%s: %d days without a granule, the first is %s", product, len(lacking), lacking[0].date())
    group.attrs["read"] = json.dumps(told)
    group.attrs[cube_store.MARKER] = cube_store.inventory(site.store)
