"""One product over one block of days, read at the cube's pixels and written to its part of the store.

Parts of different tasks share no chunk, so that any number of processes may work at once and a stopped build goes on
where it was. A task leaves a note of what it met when its part is written, and no note otherwise.

Memory of a task is that of its block, 366 days x pixels x 4 bytes x variables (0.14 GB for the seven of forcing at
13,700 pixels), about twice for a moment, and 16 days of the hourly grid. Where the weather comes in series at points, a
series is read once: a block is then all days of 256 pixels.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from smapnb import cube_weather, variables
from smapnb.cube_archive import HOURLY, Files
from smapnb.cube_pixels import Pixels, read_l3
from smapnb.cube_store import CubeError
from smapnb.profile import Archive
from smapnb.sources import smap

VARIABLES = {
    "SPL3SMP": ("ssm_smap",),
    "SPL4SMGP": ("rzsm_smap",),
    **cube_weather.VARIABLES,
}
GRIDS = {"SPL3SMP": variables.GRID_KM["surface"], "SPL4SMGP": variables.GRID_KM["rootzone"]}
# Whole numbers of the readers' attributes that add up over blocks.
COUNTS = (
    "n_granules",
    "n_superseded_granules",
    "n_partial",
    "n_out_of_range_masked",
    "n_rejected_by_quality",
    "files_read",
    "hours_missing",
    "duplicates_left_out",
)
# Texts of them that may differ between blocks.
TEXTS = ("product_version", "composite_release", "source_fields", "versions", "vic_layer_depth")


@dataclass(frozen=True)
class Site:
    """What all tasks of a cube share: the store that is written, the folder of the notes, how files are read."""

    store: Path
    notes: Path
    archive: Archive


@dataclass(frozen=True)
class Task:
    """One product, one block of days.

    Attributes
    ----------
    product : str
        Key of `VARIABLES`.
    start, n_days, offset : str, int, int
        First day, number of days, place of the first day in the store.
    folder, files : str, tuple of str
        Folder of the product, and the block's files in it.
    pixels : (int, int), optional
        First pixel and the one behind the last; None: all.
    """

    product: str
    start: str
    n_days: int
    offset: int
    folder: str
    files: tuple[str, ...]
    pixels: tuple[int, int] | None = None

    @property
    def note(self) -> str:
        """Name of the note that is there when the task is done."""
        some = f"_{self.pixels[0]:06d}" if self.pixels else ""
        return f"{self.product}_{self.offset:06d}{some}.json"

    @property
    def span(self) -> slice:
        """Pixels of the block."""
        return slice(*(self.pixels or (None,)))

    @property
    def days(self) -> pd.DatetimeIndex:
        """Days of the block."""
        return pd.date_range(self.start, periods=self.n_days, unit="ns")


def run(site: Site, task: Task) -> None:
    """Read and write a block.

    Raises
    ------
    CubeError
        A file that cannot be read, or is not what it must be; the message names it. The store is not where this
        process looks for it.
    """
    if not (site.store / "zarr.json").is_file():
        raise CubeError(f"{site.store}: not seen by the worker; it and the data must lie on a disk that all share")
    with xr.open_zarr(site.store, consolidated=False) as store:
        pixels = Pixels.of(store.isel(pixel=task.span))
    shape = (task.n_days, pixels.km.size)
    block = {name: np.full(shape, np.nan, np.float32) for name in VARIABLES[task.product]}
    tally = Tally()
    try:
        READERS[task.product](site.archive, task, pixels, block, tally)
    except (ValueError, OSError) as error:  # the readers' own errors are of these kinds
        raise CubeError(f"{task.product} from {task.start}: {error}") from error
    for name, values in block.items():
        array = zarr.open_array(site.store / name, mode="r+")
        array[task.offset : task.offset + task.n_days, task.span] = values
        tally.n_out_of_range[name] = variables.count_out_of_range(xr.DataArray(values), name)
    tally.save(site.notes / task.note)


class Tally:
    """What the readers counted, summed over the pieces of a block."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.texts: dict[str, set[str]] = {}
        self.n_out_of_range: dict[str, int] = {}

    def add(self, attrs: dict) -> None:
        """Take a reader's attributes."""
        self.counts.update({name: int(attrs[name]) for name in COUNTS if name in attrs})
        for name in TEXTS:
            if name in attrs:
                text = attrs[name]
                parts = json.loads(text) if name == "versions" else str(text).split(", ")
                self.texts.setdefault(name, set()).update(parts)

    def merge(self, other: Tally) -> None:
        """Take another block's."""
        self.counts.update(other.counts)
        for name, texts in other.texts.items():
            self.texts.setdefault(name, set()).update(texts)
        for name, n in other.n_out_of_range.items():
            self.n_out_of_range[name] = self.n_out_of_range.get(name, 0) + n

    def attributes(self) -> dict[str, int | str]:
        """Give counts and texts for a person to read."""
        return {**self.counts, **{name: ", ".join(sorted(texts)) for name, texts in self.texts.items()}}

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        texts = {name: sorted(values) for name, values in self.texts.items()}
        whole = {"counts": dict(self.counts), "texts": texts, "n_out_of_range": self.n_out_of_range}
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(whole), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Tally:
        """Read what `save` wrote."""
        whole = json.loads(path.read_text(encoding="utf-8"))
        tally = cls()
        tally.counts.update(whole["counts"])
        tally.texts = {name: set(values) for name, values in whole["texts"].items()}
        tally.n_out_of_range = whole["n_out_of_range"]
        return tally


Block = dict[str, NDArray[np.float32]]


def _files(task: Task) -> Files:
    """Files of the task by their days again, or by their NLDAS cells."""
    folder = Path(task.folder)
    paths = [folder / name for name in task.files]
    return (
        Files.listed(task.product, folder, paths)
        if task.pixels is None
        else Files.at_points(task.product, folder, paths)
    )


def _smap(archive: Archive, task: Task, pixels: Pixels, block: Block, tally: Tally) -> None:
    """Soil moisture of SMAP at the pixels of its grid, from its first granule of the block to its last day."""
    files = _files(task)
    days = files.days(task.start, task.days[-1].date())
    if days.empty:
        return
    first = task.days.get_loc(days[0])
    span = task.days[first:]
    km = GRIDS[task.product]
    if task.product == "SPL3SMP":
        dataset = read_l3(files, archive, pixels.cells(km), span)
    else:
        dataset = smap.open_l4(files.of(span), cells=pixels.cells(km), start=span[0], end=span[-1])
    tally.add(dataset.attrs)
    for name, values in block.items():
        values[first:, pixels.at(km)] = dataset[name].to_numpy()


def _nldas(archive: Archive, task: Task, pixels: Pixels, block: Block, tally: Tally) -> None:
    """Means of the hours at all pixels; each file is read once for both grids."""
    for days, datasets, counted in cube_weather.read(archive, _files(task), pixels.by_grid(), task.days):
        tally.add(counted)
        at = slice(*task.days.slice_locs(days[0], days[-1]))
        for km, dataset in datasets.items():
            for name, values in block.items():
                values[at, pixels.at(km)] = dataset[name].to_numpy()


READERS = {"SPL3SMP": _smap, "SPL4SMGP": _smap, **dict.fromkeys(HOURLY, _nldas)}
