"""Which files of the agencies lie in the folder of the data, by product and day, as `smapnb fetch get` leaves them.

It reads names, sizes and times of change, and opens no file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from smapnb import nldas_grid, places
from smapnb.cube_store import CubeError
from smapnb.folders import files_below
from smapnb.profile import Profile
from smapnb.sources import nldas

# Product -> the folder that fetch gives its files; SMAP's follow from their versions. A test holds them to fetch's.
FOLDERS = {
    "FORA": "nldas/NLDAS_FORA0125_H.2.0",
    "NOAH": "nldas/NLDAS_NOAH0125_H.2.0",
    "VIC": "nldas/NLDAS_VIC0125_H.2.0",
    "WISE30sec": "wise",
}
HOURLY = ("FORA", "NOAH", "VIC")
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
    """Files of one product.

    Attributes
    ----------
    product : str
    folder : Path
    by_day : dict
        A day (that of the name) to its files.
    of_cell : dict
        Of series at points: an NLDAS cell (its place in the flattened grid) to its files.
    always : tuple of Path
        Files of no day: soils, and all series at points.
    """

    product: str
    folder: Path
    by_day: dict[pd.Timestamp, list[Path]] = field(default_factory=dict)
    of_cell: dict[int, list[Path]] = field(default_factory=dict)
    always: tuple[Path, ...] = ()

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

    @classmethod
    def at_points(cls, product: str, folder: Path, paths: Iterable[Path]) -> Files:
        """Put replies of the point service to their NLDAS cells, by their names."""
        of_cell: dict[int, list[Path]] = {}
        for path in sorted(paths):
            reply = places.reply_of(path.name)
            if reply is not None:
                of_cell.setdefault(reply.cell, []).append(path)
        return cls(product, folder, of_cell=of_cell, always=tuple(p for own in of_cell.values() for p in own))

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
    smapnb.grid.GridError
        As `smapnb.places.box`.
    """
    places.box(profile)  # a region that does not hold is told before files are looked for
    found = {}
    for product in products:
        names = folders(profile, product)
        there = [root / name for name in names if (root / name).is_dir()]
        if not there:
            due = " or ".join(str(root / name) for name in names)
            raise CubeError(f"no folder {due}: {product} is not here; {_how(profile)}{_beside(profile, product, root)}")
        folder = there[0]
        if product == "WISE30sec":
            files = Files(product, folder, always=tuple(files_below(folder)))
        elif product in HOURLY and profile.archive.nldas != "grids":
            files = _series(profile, product, folder)
        else:
            listed = [Files.listed(product, one, _granules(one)) for one in there]
            files = max(listed, key=lambda one: len(one.days(profile.data.start, profile.data.end)))
            _check_days(files, profile)
        found[product] = files
    return found


def folders(profile: Profile, product: str) -> list[str]:
    """Folders where the files of a product may lie; the one with the most days is taken, of equals the first.

    So a few granules that were fetched for a try do not hide all windows. Of windows those that were cut for this
    profile come first, then the large ones.
    """
    if product in HOURLY and profile.archive.nldas != "grids":
        return [places.POINTS]
    if product in FOLDERS:
        return [FOLDERS[product]]
    folder = places.smap_folder(product, places.smap_versions(profile.archive)[product])
    if product != "SPL4SMGP":
        return [folder]
    endings = ["", places.window_suffix(places.box(profile)), places.WINDOW]
    return [folder + ending for ending in dict.fromkeys(endings)]


def _beside(profile: Profile, product: str, root: Path) -> str:
    """Say what of a product lies there in the other form."""
    if product in HOURLY and profile.archive.nldas == "grids" and (root / places.POINTS).is_dir():
        return f"; {root / places.POINTS} holds series at points: take them by -p data.archive.nldas=centre or covering"
    if product in HOURLY and (root / FOLDERS[product]).is_dir():
        return f"; {root / FOLDERS[product]} holds grids: take them by -p data.archive.nldas=grids"
    return ""


def _check_days(files: Files, profile: Profile) -> None:
    start, end = profile.data.start, profile.data.end
    if files.product in HOURLY:
        _check_hours(files, profile)
    elif files.days(start, end).empty:
        raise CubeError(f"{files.folder}: no granule of {files.product} from {start} to {end}; {_how(profile)}")


def _series(profile: Profile, product: str, folder: Path) -> Files:
    """List the replies for the NLDAS cells that the profile's pixels take, by their names.

    Raises
    ------
    CubeError
        A series, or days of one, lack.
    """
    start, end, cover = profile.data.start, profile.data.end, profile.archive.nldas
    assert cover != "grids", "asked by find"
    wanted = places.nldas_cells(places.cells(profile), cover)
    spans: dict[tuple[str, int], list[tuple[date, date]]] = {}
    due = [(one.netcdf, cell) for one in nldas.fields_of(product) for cell in wanted.tolist()]
    wanted_keys, paths = set(due), []
    for path in folder.iterdir():
        reply = places.reply_of(path.name)
        here = reply is not None and reply.product == product and reply.first <= end and reply.last >= start
        if reply is not None and here and (reply.field, reply.cell) in wanted_keys:
            paths.append(path)
            spans.setdefault((reply.field, reply.cell), []).append((reply.first, reply.last))
    lacking = [key for key in due if not _covered(spans.get(key, []), start, end)]
    if lacking:
        name, cell = lacking[0]
        raise CubeError(
            f"{folder}: {len(lacking)} of {len(due)} series of {product} are not here for all days {start}..{end}, the "
            f"first is {name} at {nldas_grid.place_of(cell)}; {_how(profile)}"
        )
    return Files.at_points(product, folder, paths)


def _covered(spans: list[tuple[date, date]], start: date, end: date) -> bool:
    """Whether pieces of a series, put together, have every day."""
    for first, last in sorted(spans):
        if first > start:
            return False
        start = max(start, last + timedelta(days=1))
    return start > end


def digest(found: dict[str, Files], start: object, end: object) -> str:
    """SHA-256 of names, sizes and times of change (whole seconds) of the files of these days: not of terabytes."""
    lines = []
    for product, files in sorted(found.items()):
        dated = (path for day in files.days(start, end) for path in files.by_day[day])
        for path in sorted({*files.always, *dated}):
            status = path.stat()
            lines.append(f"{product} {path.relative_to(files.folder)} {status.st_size} {int(status.st_mtime)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _how(profile: Profile) -> str:
    return f"get it by: smapnb fetch get {profile.name} (SMAPNB_DATA names the folder of the data)"


def _granules(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.suffix in SUFFIXES]


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
