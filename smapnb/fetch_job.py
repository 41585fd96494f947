"""What one download is, and how patient it may be."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

# What a file of each kind begins with; text and CSV have no signature, but are no web page.
SIGNATURES = {
    "hdf5": (b"\x89HDF\r\n\x1a\n",),  # HDF5 and netCDF-4
    "grib": (b"GRIB",),
    "zip": (b"PK\x03\x04",),
    "text": (),
    "listing": (),  # a web page, and meant to be one
}


@dataclass(frozen=True)
class Job:
    """One file to fetch.

    Attributes
    ----------
    url : str
    path : str
        Where it goes, relative to the folder of the data.
    kind : str
        Key of `SIGNATURES`.
    size : int, optional
        Length in bytes, where its owner publishes it.
    sha256 : str, optional
        Checksum, where its owner publishes it.
    about : int, optional
        Length thought likely; for progress and room on the disk, never held against the file.
    product, version : str
        For the manifest.
    earthdata : bool
        An Earthdata account is needed; decides the advice in messages.
    grows_until : date, optional
        The owner adds to the file up to this day; one that was fetched before is fetched again.
    """

    url: str
    path: str
    kind: str = "text"
    size: int | None = None
    sha256: str | None = None
    about: int | None = None
    product: str = ""
    version: str = ""
    earthdata: bool = False
    grows_until: date | None = None


@dataclass(frozen=True)
class Settings:
    """How patient a download is; times in seconds, rates in bytes per second."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 300.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    slowest: float = 1024.0
    slow_for: float = 60.0
    jitter: Callable[[], float] = field(default=random.random)


@dataclass(frozen=True)
class Fetched:
    """A file that lies under its final name."""

    size: int
    sha256: str
