"""Which files of the agencies lie in the folder of the data, by product and day, as `smapnb fetch get` leaves them.

It reads names, sizes and times of change, and opens no file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from smapnb.cube_store import CubeError
from smapnb.profile import Profile
from smapnb.sources import nldas

# Product -> the folders that fetch gives its files; the first that is there is taken. A test holds them to fetch's.
FOLDERS = {
    "SPL3SMP": ("smap/SPL3SMP.009",),
    "SPL4SMGP": ("smap/SPL4SMGP.008", "smap/SPL4SMGP.008-window"),
    "FORA": ("nldas/NLDAS_FORA0125_H.2.0",),
    "NOAH": ("nldas/NLDAS_NOAH0125_H.2.0",),
    "VIC": ("nldas/NLDAS_VIC0125_H.2.0",),
    "WISE30sec": ("wise",),
}
HOURLY = ("FORA", "NOAH", "VIC")
# What the point service gave; a cell of 9 km holds the centre of no NLDAS cell as a rule.
POINTS = "nldas_points"
# First day of SMAP's products, as in fetch's table.
SMAP_FIRST = "2015-03-31"
SUFFIXES = {".h5", ".hdf5", ".nc", ".nc4", ".grb", ".grib"}
# SMAP_L3_SM_P_20150406_R19240_001.h5, SMAP_L4_SM_gph_20150406T013000_Vv8011_001.h5,
# NLDAS_FORA0125_H.A20150406.0000.020.nc
DAY = re.compile(r"[_.]A?(\d{8})[_.T]")
HOUR = pd.Timedelta(hours=1)
ONE_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Files:
    """Files of one product: `by_day` maps a day (that of the name) to its files; of WISE30sec there is no day."""

    product: str
    folder: Path
    by_day: dict[pd.Timestamp, list[Path]]

    @classmethod
    def listed(cls, product: str, folder: Path, paths: Iterable[Path]) -> Files:
        """Put files in the order of their days, by their names; those whose name tells no day are passed by."""
        by_day: dict[pd.Timestamp, list[Path]] = {}
        for path in sorted(paths):
            match = DAY.search(path.name)
            day = pd.to_datetime(match[1], format="%Y%m%d", errors="coerce") if match else pd.NaT
            if not pd.isna(day):
                by_day.setdefault(day, []).append(path)
        return cls(product, folder, by_day)

    def of(self, days: pd.DatetimeIndex) -> list[Path]:
        """Files of these days, in their order; hourly ones with those of the day after, whose hour 00 may belong."""
        wanted = days.union([days[-1] + ONE_DAY]) if self.product in HOURLY else days
        return [path for day in wanted for path in self.by_day.get(day, [])]

    def lacking(self, start: object, end: object) -> pd.DatetimeIndex:
        """Days of SMAP's record from `start` to `end` without a file."""
        return pd.date_range(max(str(start), SMAP_FIRST), str(end)).difference(self.days(start, end))

    def days(self, start: object, end: object) -> pd.DatetimeIndex:
        """Days from `start` to `end` that have files."""
        there = pd.DatetimeIndex(sorted(self.by_day))
        return there[(there >= pd.Timestamp(str(start))) & (there <= pd.Timestamp(str(end)))]


def find(profile: Profile, root: Path, products: Sequence[str]) -> dict[str, Files]:
    """List the files of the products below the folder of the data.

    Raises
    ------
    CubeError
        A product without a folder, or without a file in the profile's days; hourly files that are lacking. The message
        names the folder and the command that fetches.
    """
    found = {}
    for product in products:
        folder = next((root / name for name in FOLDERS[product] if (root / name).is_dir()), None)
        if folder is None:
            due = " or ".join(str(root / name) for name in FOLDERS[product])
            points = product in HOURLY and (root / POINTS).is_dir()
            beside = f"; {root / POINTS} holds series at points, of which no cells can be made" if points else ""
            raise CubeError(f"no folder {due}: {product} is not here; {_how(profile)}{beside}")
        files = Files.listed(product, folder, _walk(folder) if product != "WISE30sec" else [])
        start, end = profile.data.start, profile.data.end
        if product in HOURLY:
            _check_hours(files, profile)
        elif product != "WISE30sec" and files.days(start, end).empty:
            raise CubeError(f"{folder}: no granule of {product} from {start} to {end}; {_how(profile)}")
        found[product] = files
    return found


def digest(found: dict[str, Files], start: object, end: object) -> str:
    """SHA-256 of names, sizes and times of change (whole seconds) of the files of these days: not of terabytes."""
    lines = []
    for product, files in sorted(found.items()):
        if product == "WISE30sec":
            paths = sorted(p for p in files.folder.rglob("*") if p.is_file())
        else:
            paths = sorted(path for day in files.days(start, end) for path in files.by_day[day])
        for path in paths:
            status = path.stat()
            lines.append(f"{product} {path.relative_to(files.folder)} {status.st_size} {int(status.st_mtime)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _how(profile: Profile) -> str:
    return f"get it by: smapnb fetch get {profile.name} (SMAPNB_DATA names the folder of the data)"


def _walk(folder: Path) -> Iterator[Path]:
    for here, _, names in os.walk(folder):
        yield from (Path(here) / name for name in names if Path(name).suffix in SUFFIXES)


def _check_hours(files: Files, profile: Profile) -> None:
    """Refuse days with fewer hourly files than the profile asks for: the weather has no gaps at its source."""
    archive, data = profile.archive, profile.data
    days = pd.date_range(data.start, data.end)
    stamps: set[pd.Timestamp] = set()
    for path in files.of(days):
        granule = nldas.granule_of(path)
        if granule is not None:
            stamps.add(granule.stamp - (HOUR if archive.nldas_day == "exact" else pd.Timedelta(0)))
    hours = pd.DatetimeIndex(sorted(stamps)).normalize().value_counts().reindex(days, fill_value=0)
    short = hours[hours < archive.min_hours]
    if len(short):
        raise CubeError(
            f"{files.folder}: {len(short)} of {len(days)} days have fewer than {archive.min_hours} hourly files, the "
            f"first is {short.index[0].date()} with {short.iloc[0]}; {_how(profile)}"
        )
