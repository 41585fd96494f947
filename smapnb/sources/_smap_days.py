"""Level 3 day by day: which granule stands for a day, one overpass of it read, and what went missing counted.

It holds a few granules' windows at a time, so that memory grows with the result only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smapnb.grid import EaseGrid
from smapnb.sources._smap_fields import FILL_FLAG, Cells, Quality, field_names, j2000_to_datetime, passes, without_fill
from smapnb.sources._smap_files import Granule, Paths, SmapError, by_stamp, dataset_of, group_of, list_granules
from smapnb.sources._smap_granules import Read, Result, Tally, read_groups

L3 = ("SPL3SMP", "SPL3SMP_E")
GRID_KM = {"SPL3SMP": 36, "SPL3SMP_E": 9, "SPL2SMP": 36, "SPL2SMP_E": 9}
OVERPASSES = {"AM": ("AM",), "PM": ("PM",), "both": ("AM", "PM")}
CITATION = "SMAP radiometer soil moisture, {}, NASA NSIDC DAAC; Entekhabi et al. (2010)"
LICENCE = "NASA open data policy"
Day = str | date | pd.Timestamp | None


@dataclass(frozen=True)
class Overpass:
    """One overpass of one granule at the cells, (pixel,)."""

    moisture: NDArray[np.float32]
    flags: dict[str, NDArray[np.uint16]]
    times: NDArray[np.datetime64] | None


def select_days(paths: Paths, start: Day, end: Day) -> tuple[str, dict[pd.Timestamp, list[Granule]], pd.DatetimeIndex]:
    """Product, granules by day, and all days from `start` to `end` (default: from the first granule to the last).

    Raises
    ------
    SmapError
        No granule in these days; start after end.
    """
    groups = by_stamp(list_granules(paths, L3))
    product = next(iter(groups.values()))[0].product
    first = pd.Timestamp(start).normalize() if start is not None else min(groups)
    last = pd.Timestamp(end).normalize() if end is not None else max(groups)
    if first > last:
        raise SmapError(f"no day from {first.date()} to {last.date()}")
    inside = {stamp: group for stamp, group in groups.items() if first <= stamp <= last}
    if not inside:
        raise SmapError(
            f"{product}: no granule from {first.date()} to {last.date()}; there are {min(groups).date()} to "
            f"{max(groups).date()}"
        )
    return product, inside, pd.date_range(first, last, freq="D", unit="ns")


def describe_source(product: str, km: int, algorithm: str, quality: Quality) -> dict[str, str]:
    """Attributes that say what a series is and how it was chosen."""
    return {
        "source": CITATION.format(product),
        "license": LICENCE,
        "synthetic": "false",
        "grid": f"EASE-Grid 2.0 global, {km} km",
        "grid_crs": "EPSG:6933",
        "algorithm": algorithm,
        "quality": quality if isinstance(quality, str) else str({k: list(v) for k, v in quality.items()}),
    }


class IndexCheck:
    """Compares the row and column numbers of the files with ours; as that is costly, once a release and overpass."""

    def __init__(self) -> None:
        self._done: set[tuple[int, str]] = set()

    def __call__(self, group: h5py.Group, suffix: str, cells: Cells, granule: Granule) -> None:
        """Compare, so that a turned file cannot pass.

        Raises
        ------
        SmapError
            Shape of another grid, or numbers that differ where the file has any.
        """
        key = (granule.crid, suffix)
        if key in self._done:
            return
        compared = True
        for name, wanted in (("EASE_row_index", cells.row), ("EASE_column_index", cells.col)):
            dataset = group.get(name + suffix)
            if dataset is None:
                continue
            check_shape(dataset, cells.km, granule.path)
            found = cells.read(dataset)
            compared &= bool((found != FILL_FLAG).any())
            wrong = np.flatnonzero((found != FILL_FLAG) & (found != wanted))
            if wrong.size:
                i = wrong[0]
                raise SmapError(
                    f"{granule.path}: {dataset.name} is {found[i]} at row {cells.row[i]}, column {cells.col[i]}; "
                    "the array is not on the grid as NSIDC lays it"
                )
        if compared:  # a day on which no cell was seen says nothing
            self._done.add(key)


def check_shape(dataset: h5py.Dataset, km: int, path: Path) -> None:
    """Raise `SmapError` if a dataset is not of the grid's shape."""
    if dataset.shape[:2] != EaseGrid(km).shape:
        raise SmapError(
            f"{path}: {dataset.name} has the shape {dataset.shape}, the {km} km grid {EaseGrid(km).shape}; level 3 is "
            "read from whole granules"
        )


def read_overpass(
    file: h5py.File,
    overpass: str,
    granule: Granule,
    algorithm: str,
    masks: dict[str, int],
    cells: Cells,
    flags: bool,
    times: bool,
    check_indices: IndexCheck,
    tally: Tally,
) -> Overpass:
    """Read one overpass of a level-3 granule at the cells; the tally counts what it masks.

    Raises
    ------
    SmapError
        Lacking group or field, wrong shape.
    """
    group = group_of(file, f"Soil_Moisture_Retrieval_Data_{overpass}", granule.path)
    suffix = "_pm" if overpass == "PM" else ""
    check_indices(group, suffix, cells, granule)

    def find(names: list[str]) -> h5py.Dataset:
        dataset = dataset_of(group, [name + suffix for name in names], granule.path)
        check_shape(dataset, cells.km, granule.path)
        return dataset

    source = find(field_names("soil_moisture", algorithm, granule.crid // 1000))
    moisture, outside = without_fill(source, cells.read(source), granule.path)
    wanted = {"retrieval_qual_flag", "surface_flag"} if flags else set(masks)
    found = {}
    for name in sorted(wanted):
        names = field_names(name, algorithm, granule.crid // 1000) if name == "retrieval_qual_flag" else [name]
        found[name] = cells.read(find(names))
    moisture, rejected = apply_masks(moisture, found, masks)
    tally.out_of_range += outside
    tally.rejected += rejected
    tally.fields.add(source.name.rsplit("/", 1)[1])
    seconds = cells.read(find(["tb_time_seconds"])) if times else None
    return Overpass(moisture, found if flags else {}, None if seconds is None else j2000_to_datetime(seconds))


def apply_masks(
    moisture: NDArray[np.float32], flags: dict[str, NDArray], masks: dict[str, int]
) -> tuple[NDArray[np.float32], int]:
    """Moisture where all bits asked for are 0, NaN elsewhere, and the number of values that this took away."""
    keep = np.ones(moisture.shape, bool)
    for name, mask in masks.items():
        keep &= passes(flags[name], mask)
    rejected = int((~keep & ~np.isnan(moisture)).sum())
    return np.where(keep, moisture, np.float32(np.nan)), rejected


def read_days(
    groups: dict[pd.Timestamp, list[Granule]],
    days: pd.DatetimeIndex,
    damaged: str,
    read: Read[Result],
    tally: Tally,
    mixed_versions: bool,
) -> Iterator[tuple[int, Result]]:
    """Yield (place in `days`, what was read) of the days with a granule; the others are counted as missing."""
    results = read_groups((groups[day] for day in days if day in groups), damaged, read, tally, mixed_versions)
    for place, day in enumerate(days):
        result = next(results) if day in groups else None
        if result is None:
            tally.missing.append(str(day.date()))
        else:
            yield place, result
