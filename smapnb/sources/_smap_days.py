"""Level 3 day by day: which granule stands for a day, one overpass of it read, and what went missing counted.

It holds one granule's window at a time, so that memory grows with the result only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smapnb.grid import EaseGrid
from smapnb.sources._smap_fields import FILL_FLAG, Cells, Quality, field_names, j2000_to_datetime, passes, without_fill
from smapnb.sources._smap_files import (
    DamagedError,
    Granule,
    Paths,
    SmapError,
    by_stamp,
    dataset_of,
    group_of,
    list_granules,
    open_file,
    shown,
    version_of,
)

log = logging.getLogger(__name__)

L3 = ("SPL3SMP", "SPL3SMP_E")
GRID_KM = {"SPL3SMP": 36, "SPL3SMP_E": 9, "SPL2SMP": 36, "SPL2SMP_E": 9}
OVERPASSES = {"AM": ("AM",), "PM": ("PM",), "both": ("AM", "PM")}
CITATION = "SMAP radiometer soil moisture, {}, NASA NSIDC DAAC; Entekhabi et al. (2010)"
LICENCE = "NASA open data policy"
Day = str | date | pd.Timestamp | None
Read = TypeVar("Read")


@dataclass
class Tally:
    """What a reader met on its way; it ends up in the attributes of the Dataset."""

    read: int = 0
    superseded: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    out_of_range: int = 0
    rejected: int = 0
    versions: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)

    def close(self) -> None:
        """Put the missing days in order.

        Raises
        ------
        SmapError
            Nothing was read at all, as every granule is damaged.
        """
        self.missing.sort()
        if not self.read:
            raise SmapError(f"all {len(self.damaged)} granules are damaged, the first is {self.damaged[0]}")

    def attributes(self) -> dict[str, str | int]:
        """Give counts and lists as attributes that netCDF and Zarr take."""
        return {
            "n_granules": self.read,
            "n_superseded_granules": self.superseded,
            "n_missing": len(self.missing),
            "missing": shown(self.missing),
            "n_damaged_granules": len(self.damaged),
            "damaged_granules": shown(self.damaged),
            "n_out_of_range_masked": self.out_of_range,
            "n_rejected_by_quality": self.rejected,
            "product_version": ", ".join(sorted(self.versions)) or "unknown",
            "composite_release": ", ".join(sorted(self.releases)),
            "source_fields": ", ".join(sorted(self.fields)),
        }


@dataclass(frozen=True)
class Overpass:
    """One overpass of one granule at the cells, (pixel,)."""

    moisture: NDArray[np.float32]
    out_of_range: int
    rejected: int
    field: str
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
    first = pd.Timestamp(start) if start is not None else min(groups)
    last = pd.Timestamp(end) if end is not None else max(groups)
    if first > last:
        raise SmapError(f"no day from {first.date()} to {last.date()}")
    inside = {stamp: group for stamp, group in groups.items() if first <= stamp <= last}
    if not inside:
        raise SmapError(
            f"{product}: no granule from {first.date()} to {last.date()}; there are {min(groups).date()} to "
            f"{max(groups).date()}"
        )
    return product, inside, pd.date_range(first, last, freq="D", unit="ns")


def read_group(
    group: list[Granule], damaged: str, tally: Tally, read: Callable[[h5py.File, Granule], Read]
) -> Read | None:
    """Read the highest reprocessing of a granule, or a lower one where files may be damaged; None: all are."""
    if damaged not in ("error", "gap"):
        raise SmapError(f"damaged granules are an 'error' or a 'gap', not {damaged!r}")
    for granule in group:
        try:
            with open_file(granule.path) as file:
                result = read(file, granule)
        except DamagedError as error:
            if damaged == "error":
                raise
            log.warning("left out: %s", error)
            tally.damaged.append(granule.path.name)
            continue
        tally.read += 1
        tally.superseded += len(group) - group.index(granule) - 1
        tally.releases.add(release_text(granule))
        return result
    return None


def release_text(granule: Granule) -> str:
    """Release as the name has it."""
    return f"Vv{granule.crid:04d}" if granule.product.startswith("SPL4") else f"R{granule.crid:05d}"


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


class Checker:
    """Holds each granule to its product, its version and its grid; what is costly is done once a release."""

    def __init__(self, tally: Tally, mixed_versions: bool = False) -> None:
        self.tally, self.mixed_versions = tally, mixed_versions
        self._first: tuple[str, Path] | None = None
        self._indexed: set[tuple[int, str]] = set()

    def version(self, file: h5py.File, granule: Granule) -> None:
        """Refuse a second version, as a retrieval changes between versions.

        Raises
        ------
        SmapError
            Not the product that the name says; another version than the granules before.
        """
        version = version_of(file, granule) or f"of {release_text(granule)[:3]}"
        self._first = self._first or (version, granule.path)
        if version != self._first[0] and not self.mixed_versions:
            raise SmapError(
                f"{granule.path}: version {version}, while {self._first[1]} is version {self._first[0]}; read one "
                "version at a time, or allow mixed_versions"
            )
        self.tally.versions.add(version)

    def indices(self, group: h5py.Group, suffix: str, cells: Cells, granule: Granule) -> None:
        """Compare the file's own row and column numbers with ours, so that a turned file cannot pass.

        Raises
        ------
        SmapError
            Shape of another grid, or numbers that differ where the file has any.
        """
        key = (granule.crid, suffix)
        if key in self._indexed:
            return
        self._indexed.add(key)
        for name, wanted in (("EASE_row_index", cells.row), ("EASE_column_index", cells.col)):
            dataset = group.get(name + suffix)
            if dataset is None:
                continue
            check_shape(dataset, cells.km, granule.path)
            found = cells.read(dataset)
            wrong = np.flatnonzero((found != FILL_FLAG) & (found != wanted))
            if wrong.size:
                i = wrong[0]
                raise SmapError(
                    f"{granule.path}: {dataset.name} is {found[i]} at row {cells.row[i]}, column {cells.col[i]}; "
                    "the array is not on the grid as NSIDC lays it"
                )


def check_shape(dataset: h5py.Dataset, km: int, path: Path) -> None:
    """Raise `SmapError` if a dataset is not of the grid's shape."""
    if dataset.shape[:2] != EaseGrid(km).shape:
        raise SmapError(
            f"{path}: {dataset.name} has the shape {dataset.shape}, the {km} km grid {EaseGrid(km).shape}; level 3 is "
            "read from whole granules"
        )


def read_overpass(
    file: h5py.File,
    granule: Granule,
    overpass: str,
    algorithm: str,
    masks: dict[str, int],
    cells: Cells,
    flags: bool,
    times: bool,
    checker: Checker,
) -> Overpass:
    """Read one overpass of a level-3 granule at the cells.

    Raises
    ------
    SmapError
        Lacking group or field, wrong shape.
    """
    group = group_of(file, f"Soil_Moisture_Retrieval_Data_{overpass}", granule.path)
    suffix = "_pm" if overpass == "PM" else ""
    checker.indices(group, suffix, cells, granule)

    def find(names: list[str]) -> h5py.Dataset:
        dataset = dataset_of(group, [name + suffix for name in names], granule.path)
        check_shape(dataset, cells.km, granule.path)
        return dataset

    source = find(field_names("soil_moisture", algorithm, granule.crid // 1000))
    moisture, out_of_range = without_fill(source, cells.read(source), granule.path)
    wanted = {"retrieval_qual_flag", "surface_flag"} if flags else set(masks)
    found = {}
    for name in sorted(wanted):
        names = field_names(name, algorithm, granule.crid // 1000) if name == "retrieval_qual_flag" else [name]
        found[name] = cells.read(find(names))
    moisture, rejected = apply_masks(moisture, found, masks)
    seconds = cells.read(find(["tb_time_seconds"])) if times else None
    return Overpass(
        moisture,
        out_of_range,
        rejected,
        source.name.rsplit("/", 1)[1],
        found if flags else {},
        None if seconds is None else j2000_to_datetime(seconds),
    )


def apply_masks(
    moisture: NDArray[np.float32], flags: dict[str, NDArray], masks: dict[str, int]
) -> tuple[NDArray[np.float32], int]:
    """Moisture where all bits asked for are 0, NaN elsewhere, and the number of values that this took away."""
    keep = np.ones(moisture.shape, bool)
    for name, mask in masks.items():
        keep &= passes(flags[name], mask)
    rejected = int((~keep & ~np.isnan(moisture)).sum())
    return np.where(keep, moisture, np.float32(np.nan)), rejected


def each_day(
    groups: dict[pd.Timestamp, list[Granule]], days: pd.DatetimeIndex, tally: Tally
) -> Iterator[tuple[int, list[Granule]]]:
    """Yield (place in `days`, granules) of the days that have any; the others are counted as missing."""
    for place, day in enumerate(days):
        if day in groups:
            yield place, groups[day]
        else:
            tally.missing.append(str(day.date()))
