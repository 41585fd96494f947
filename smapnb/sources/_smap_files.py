"""SMAP granules as files: their names, which of several wins, opening them, and whether they are what they say.

Nothing here reads a value of soil moisture. A file that is damaged is told from one that is of the wrong kind,
since only the first may become a gap.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from smapnb.folders import files_below

log = logging.getLogger(__name__)

Paths = str | Path | Sequence[str | Path]

# A tail may follow: cut-out services add one to the name that NSIDC gave.
_NAMES = {
    "L3": re.compile(r"SMAP_L3_SM_P(?P<kind>_E)?_(?P<stamp>\d{8})_R(?P<crid>\d{5})_(?P<counter>\d{3})"),
    "L2": re.compile(
        r"SMAP_L2_SM_P(?P<kind>_E)?_(?P<orbit>\d{5})_(?P<way>[AD])_(?P<stamp>\d{8}T\d{6})_R(?P<crid>\d{5})"
        r"_(?P<counter>\d{3})"
    ),
    "L4": re.compile(r"SMAP_L4_SM_(?P<kind>gph|aup|lmc)_(?P<stamp>\d{8}T\d{6})_Vv(?P<crid>\d{4,})_(?P<counter>\d{3})"),
}
_PRODUCTS = {
    ("L3", None): "SPL3SMP",
    ("L3", "_E"): "SPL3SMP_E",
    ("L2", None): "SPL2SMP",
    ("L2", "_E"): "SPL2SMP_E",
    ("L4", "gph"): "SPL4SMGP",
    ("L4", "aup"): "SPL4SMAU",
    ("L4", "lmc"): "SPL4SMLM",
}
SUFFIXES = {".h5", ".hdf5", ".nc", ".nc4"}
NO_TIME = pd.Timestamp(0)  # the constants carry no date: 00000000T000000
MAX_SHOWN = 12


class SmapError(ValueError):
    """A SMAP file or folder is not what it must be; the message names the file."""


class DamagedError(SmapError):
    """A SMAP file is empty, truncated, corrupt or not HDF5 at all; it may count as a gap."""


@dataclass(frozen=True)
class Granule:
    """One file by its name; `crid` and `counter` order reprocessings of the same `stamp`."""

    path: Path
    product: str
    stamp: pd.Timestamp
    crid: int
    counter: int
    orbit: int = 0
    way: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """Later reprocessings compare greater: release first, then the counter."""
        return self.crid, self.counter


def parse_name(name: str, path: Path) -> Granule | None:
    """Read a granule's name; None if it is no SMAP name that is known here."""
    for level, pattern in _NAMES.items():
        match = pattern.match(name)
        if match:
            parts = match.groupdict()
            constant = parts["stamp"].startswith("00000000")
            try:
                stamp = NO_TIME if constant else pd.Timestamp(parts["stamp"])
            except ValueError as error:
                raise SmapError(f"{path}: {parts['stamp']!r} in the name is no date") from error
            return Granule(
                path,
                _PRODUCTS[level, parts["kind"]],
                stamp,
                int(parts["crid"]),
                int(parts["counter"]),
                int(parts.get("orbit") or 0),
                parts.get("way") or "",
            )
    return None


def list_granules(paths: Paths, products: Sequence[str]) -> list[Granule]:
    """Find granules of the products in a file, a list of files, or a folder and all below it.

    A folder may hold other files too, which are passed by and counted in the log; a file that is named must be one of
    the products. A file whose name tells nothing is asked for the name it was born with.

    Raises
    ------
    FileNotFoundError
        A path that is not there.
    SmapError
        A file of another product; a folder without any of the products; the same granule twice; several products.
    """
    many = [paths] if isinstance(paths, str | Path) else list(paths)
    if not many:
        raise SmapError(f"no file given; due is at least one of {', '.join(products)}")
    found: list[Granule] = []
    for path in map(Path, many):
        if path.is_dir():
            found += _in_folder(path, products)
        elif path.is_file():
            found.append(_named(path, products))
        else:
            raise FileNotFoundError(f"no file or folder {path}; due is one of {', '.join(products)}")
    kinds = sorted({granule.product for granule in found})
    if len(kinds) > 1:
        firsts = "; ".join(f"{kind}: {next(g.path for g in found if g.product == kind)}" for kind in kinds)
        raise SmapError(f"several products together, read one at a time: {firsts}")
    return found


def by_stamp(granules: Sequence[Granule]) -> dict[pd.Timestamp, list[Granule]]:
    """Group granules by their time (and orbit), the highest reprocessing first, in order of time.

    Raises
    ------
    SmapError
        Two files are the same granule, so that none is the higher one.
    """
    groups: dict[pd.Timestamp, list[Granule]] = {}
    for granule in sorted(granules, key=lambda g: (g.stamp, g.rank), reverse=True):
        group = groups.setdefault(granule.stamp, [])
        if group and group[-1].rank == granule.rank:
            raise SmapError(f"the same granule twice: {group[-1].path} and {granule.path}")
        group.append(granule)
    return dict(sorted(groups.items()))


def _in_folder(folder: Path, products: Sequence[str]) -> list[Granule]:
    files = [p for p in files_below(folder) if p.suffix in SUFFIXES]
    parsed = [(path, parse_name(path.name, path)) for path in files]
    found = [granule for _, granule in parsed if granule is not None and granule.product in products]
    others = [path for path, granule in parsed if granule is None or granule.product not in products]
    if not found:
        tail = f", but {len(others)} other files, the first is {others[0]}" if others else ""
        raise SmapError(f"{folder}: holds no granule of {', '.join(products)}{tail}")
    if others:
        log.info("%s: %d files are not %s and are passed by", folder, len(others), " or ".join(products))
    return found


def _named(path: Path, products: Sequence[str]) -> Granule:
    granule = parse_name(path.name, path)
    if granule is None:
        with open_file(path) as file:
            born = identification(file).get("fileName", "")
        granule = parse_name(born, path)
        if granule is None:
            raise SmapError(
                f"{path}: neither its name nor Metadata/DatasetIdentification@fileName ({born!r}) is that of a SMAP "
                f"granule ({', '.join(products)})"
            )
    if granule.product not in products:
        raise SmapError(f"{path}: is {granule.product}, due is {' or '.join(products)}")
    return granule


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open a granule for reading; what goes wrong in the file below the names becomes a `DamagedError`."""
    if path.stat().st_size == 0:
        raise DamagedError(f"{path}: empty file (0 bytes); download it again")
    if not h5py.is_hdf5(path):
        with path.open("rb") as raw:
            head = raw.read(64).lstrip()
        what = "holds a web page or XML, perhaps a login page" if head.startswith(b"<") else "is no HDF5 file"
        raise DamagedError(f"{path}: {what}, {path.stat().st_size} bytes; download it again")
    try:
        # Archives often lie on read-only or network file systems, where locks fail.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise DamagedError(f"{path}: truncated or corrupt, download it again ({error})") from error


def text(value: Any) -> str:
    """Text of an HDF5 attribute, which is str, bytes or an array of one of them."""
    first = np.asarray(value).ravel()[0]
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def identification(file: h5py.File) -> Mapping[str, str]:
    """Give what Metadata/DatasetIdentification says of product, version and name; empty where a service cut it off."""
    node = file.get("Metadata/DatasetIdentification")
    found = {} if node is None else {key: node.attrs.get(key) for key in ("shortName", "ECSVersionID", "fileName")}
    return {key: text(value) for key, value in found.items() if value is not None}


def version_of(file: h5py.File, granule: Granule) -> str:
    """Version of the product ("008"; empty where the file does not say), after checking who the file says it is.

    Raises
    ------
    SmapError
        The file's own metadata name another product or another time than its name does.
    """
    says = identification(file)
    product = says.get("shortName", granule.product)
    if product != granule.product:
        raise SmapError(f"{granule.path}: named as {granule.product}, but its metadata say {product}")
    born = parse_name(says.get("fileName", ""), granule.path)
    if born is not None and (born.stamp, born.orbit) != (granule.stamp, granule.orbit):
        raise SmapError(f"{granule.path}: renamed, its metadata say {says['fileName']}")
    return says.get("ECSVersionID", "")


def group_of(file: h5py.File, name: str, path: Path) -> h5py.Group:
    """Group of the file.

    Raises
    ------
    SmapError
        No such group; the message lists those there.
    """
    group = file.get(name)
    if not isinstance(group, h5py.Group):
        hint = ""
        if name.startswith("Soil_Moisture_Retrieval_Data_") and "Soil_Moisture_Retrieval_Data" in file:
            hint = "; this is version 3 or older, versions 4 and later are read"
        raise SmapError(f"{path}: no group {name}, there are {sorted(file)}{hint}")
    return group


def dataset_of(group: h5py.Group, names: Sequence[str], path: Path) -> h5py.Dataset:
    """First of the names that the group holds.

    Raises
    ------
    SmapError
        None of them; the message lists what is there.
    """
    for name in names:
        node = group.get(name)
        if isinstance(node, h5py.Dataset):
            return node
    raise SmapError(f"{path}: no {' or '.join(names)} in {group.name}; there are {', '.join(sorted(group))}")


def shown(items: Sequence[object]) -> str:
    """Join as text, the first dozen of many."""
    more = f"; and {len(items) - MAX_SHOWN} more" if len(items) > MAX_SHOWN else ""
    return ("; ".join(map(str, items[:MAX_SHOWN])) + more) or "none"
