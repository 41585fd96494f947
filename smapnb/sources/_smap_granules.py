"""Many granules: several read at a time, in order, with what was met on the way counted.

A granule is a task of its own that changes nothing outside it. Memory holds the windows of a handful of granules.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import h5py

from smapnb.sources._smap_files import DamagedError, Granule, SmapError, open_file, shown, version_of

log = logging.getLogger(__name__)

# Under HDF5's lock are a sixth of the work (an array in one chunk) to a third (in eight), so that more gain nothing.
THREADS = min(4, os.cpu_count() or 1)
Result = TypeVar("Result")


@dataclass
class Tally:
    """What a reader met on its way; it ends up in the attributes of the Dataset."""

    read: int = 0
    superseded: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    out_of_range: int = 0
    rejected: int = 0
    versions: dict[str, Path] = field(default_factory=dict)  # and the first file of each
    releases: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)

    def add(self, other: Tally) -> None:
        """Add what was met in a later granule."""
        self.read += other.read
        self.superseded += other.superseded
        self.missing += other.missing
        self.damaged += other.damaged
        self.out_of_range += other.out_of_range
        self.rejected += other.rejected
        self.versions = {**other.versions, **self.versions}
        self.releases |= other.releases
        self.fields |= other.fields

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


# Reads an open granule; counts go to the tally, which is the granule's own.
Read = Callable[[h5py.File, Granule, Tally], Result]


def release_text(granule: Granule) -> str:
    """Release as the name has it."""
    return f"Vv{granule.crid:04d}" if granule.product.startswith("SPL4") else f"R{granule.crid:05d}"


def read_group(group: list[Granule], damaged: str, read: Read[Result]) -> tuple[Result | None, Tally]:
    """Read the highest reprocessing of a granule, or a lower one where files may be damaged; None: all are.

    Raises
    ------
    SmapError
        Not the product that the name says; whatever `read` raises.
    """
    if damaged not in ("error", "gap"):
        raise SmapError(f"damaged granules are an 'error' or a 'gap', not {damaged!r}")
    left_out: list[str] = []
    for place, granule in enumerate(group):
        tally = Tally(read=1, superseded=len(group) - place - 1, damaged=left_out, releases={release_text(granule)})
        try:
            with open_file(granule.path) as file:
                version = version_of(file, granule) or f"of {release_text(granule)[:3]}"
                tally.versions[version] = granule.path
                return read(file, granule, tally), tally
        except DamagedError as error:
            if damaged == "error":
                raise
            log.warning("left out: %s", error)
            left_out.append(granule.path.name)
    return None, Tally(damaged=left_out)


def read_groups(
    groups: Iterable[list[Granule]], damaged: str, read: Read[Result], total: Tally, mixed_versions: bool = False
) -> Iterator[Result | None]:
    """Read granules as `read_group` does, several at a time, and yield what was read in their order.

    Parameters
    ----------
    groups : iterable of list of Granule
        Reprocessings of each granule, the highest first.
    damaged : {"error", "gap"}
    read : callable
        Called in several threads at once; it may change its tally only.
    total : Tally
        Grows by each granule that is yielded.
    mixed_versions : bool
        Allow several versions, though a retrieval changes between versions.

    Raises
    ------
    SmapError
        Of the first granule that has a fault, even if a later one was read before; another version than before.
    """
    waiting: deque[Future[tuple[Result | None, Tally]]] = deque()

    def finish() -> Result | None:
        result, tally = waiting.popleft().result()
        first = next(iter(total.versions.items()), None)
        for version, path in tally.versions.items():
            if first and version != first[0] and not mixed_versions:
                raise SmapError(
                    f"{path}: version {version}, while {first[1]} is version {first[0]}; read one version at a time, "
                    "or allow mixed_versions"
                )
        total.add(tally)
        return result

    with ThreadPoolExecutor(THREADS, "granules") as pool:
        try:
            for group in groups:
                waiting.append(pool.submit(read_group, group, damaged, read))
                if len(waiting) > 2 * THREADS:
                    yield finish()
            while waiting:
                yield finish()
        finally:
            for task in waiting:
                task.cancel()
