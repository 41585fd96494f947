"""Hours to UTC days, one day in memory at a time: which hours make a day, and when there are too few of them.

A helper of `smapnb.sources.nldas`.
"""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smapnb.folders import files_below
from smapnb.sources._nldas_files import Hours, read, stamps_of
from smapnb.sources._nldas_names import Field, Granule, NldasError, granule_of, keys

DayRule = Literal["author", "exact"]
HOURS_A_DAY = 24
HOUR = pd.Timedelta(hours=1)
SUFFIXES = {".nc", ".nc4", ".grb", ".grib"}


@dataclass
class Counts:
    """What was read and what was not; goes into the attributes of the Dataset."""

    files_read: int = 0
    files_of_other_products: int = 0
    files_of_other_names: int = 0
    duplicates_left_out: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    hours: dict[pd.Timestamp, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A file to be read, with what its name says and the hours that it holds."""

    path: Path
    granule: Granule | None
    stamps: pd.DatetimeIndex


def check_rule(day: str, min_hours: int) -> None:
    """Refuse a rule that is none.

    Raises
    ------
    NldasError
        Another name than ``author`` or ``exact``, a number of hours outside 1 to 24.
    """
    if day not in get_args(DayRule):
        raise NldasError(f"day is {day!r}; the rules are {list(get_args(DayRule))}")
    if not 1 <= min_hours <= HOURS_A_DAY:
        raise NldasError(f"min_hours is {min_hours}, outside 1..{HOURS_A_DAY}")


def days_of(stamps: pd.DatetimeIndex, day: DayRule) -> pd.DatetimeIndex:
    """Tell the day of each hour: hour 00 is the first of its own day (author) or the last of the one before (exact)."""
    return (stamps if day == "author" else stamps - HOUR).normalize()


def span(stamps: pd.DatetimeIndex, day: DayRule) -> pd.DatetimeIndex:
    """Days from the first to the last that the hours touch.

    One hour 00 more than whole days, before or after them, makes no day: it is there for the other rule.
    """
    stamps = stamps.unique().sort_values()
    days = days_of(stamps, day)
    edge = days[-1] if day == "author" else days[0]
    lone = days[0] != days[-1] and (days == edge).sum() == 1 and stamps[days == edge][0].hour == 0
    kept = days[days != edge] if lone else days
    return pd.date_range(kept[0], kept[-1], freq="D", unit="ns")


def sources_of(
    path: str | Path | Iterable[str | Path], product: str, fields: list[Field], counts: Counts
) -> list[Source]:
    """Files of one product below a folder, or those given, sorted by their first hour.

    Of one hour in several versions the highest is kept, of identical copies one. A file given by itself may have any
    name, if it is netCDF with a time in it; in a folder such files are counted and left out.

    Raises
    ------
    FileNotFoundError
        No such file or folder.
    NldasError
        No file of the product; two files of one hour and version that differ.
    """
    named, others = [], []
    products: Counter[str] = Counter()
    wanted = {key for one in fields for key in keys(one)}
    for file, given in _files(path):
        granule = granule_of(file)
        if granule is None and given:
            others.append(Source(file, None, stamps_of(file)))
        elif granule is None:
            counts.files_of_other_names += 1
        elif granule.product != product or (granule.variable and granule.variable not in wanted):
            products[f"{granule.product} {granule.variable}".strip()] += 1
        else:
            named.append(granule)
    counts.files_of_other_products = products.total()
    kept = _best(named, counts)
    found = others + [Source(one.path, one, pd.DatetimeIndex([one.stamp])) for one in kept]
    if not found:
        raise NldasError(f"{path}: no hourly file of NLDAS {product}; there are {dict(products) or 'none of NLDAS'}")
    return sorted(found, key=lambda source: source.stamps.min())


def _files(path: str | Path | Iterable[str | Path]) -> Iterator[tuple[Path, bool]]:
    """Files, each with whether it was asked for by its own name."""
    for one in [path] if isinstance(path, str | Path) else path:
        root = Path(one)
        if root.is_dir():
            yield from ((file, False) for file in files_below(root) if file.suffix in SUFFIXES)
        elif root.is_file():
            yield root, True
        else:
            raise FileNotFoundError(f"no file or folder {root}")


def _best(granules: list[Granule], counts: Counts) -> list[Granule]:
    best: dict[tuple[pd.Timestamp, str], Granule] = {}
    for granule in granules:
        key = granule.stamp, granule.variable
        other = best.setdefault(key, granule)
        if other is granule:
            continue
        same = other.version == granule.version and other.path.suffix == granule.path.suffix
        if same and other.path != granule.path and not filecmp.cmp(other.path, granule.path, shallow=False):
            raise NldasError(f"{other.path} and {granule.path}: the same hour and version, and they differ")
        counts.duplicates_left_out += 1
        best[key] = max(other, granule, key=lambda one: one.version)
    return list(best.values())


class _Day:
    """Sums of one day's hours, cell by cell."""

    def __init__(self) -> None:
        self.total: dict[str, NDArray[np.float64]] = {}
        self.n: dict[str, NDArray[np.int8]] = {}
        self.read: dict[tuple[str, pd.Timestamp], Path] = {}

    def add(self, name: str, stamp: pd.Timestamp, values: NDArray[np.float32], path: Path) -> None:
        if (name, stamp) in self.read:
            raise NldasError(f"{self.read[name, stamp]} and {path}: both hold {name} of {stamp}")
        self.read[name, stamp] = path
        if name not in self.total:
            self.total[name] = np.zeros(values.shape)
            self.n[name] = np.zeros(values.shape, dtype=np.int8)
        there = ~np.isnan(values)
        self.total[name] += np.where(there, values, 0)
        self.n[name] += there

    def mean(self, name: str, min_hours: int) -> NDArray[np.float64]:
        enough = self.n[name] >= min_hours
        return np.divide(self.total[name], self.n[name], out=np.full(enough.shape, np.nan), where=enough)


@dataclass(frozen=True)
class DayMean:
    """Mean of the hours of one day: by our name (lat, lon) float64, NaN where fewer than the rule asks for."""

    day: pd.Timestamp
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    means: dict[str, NDArray[np.float64]]


def means(
    sources: list[Source], fields: list[Field], day: DayRule, min_hours: int, days: pd.DatetimeIndex, counts: Counts
) -> Iterator[DayMean]:
    """Read the files in the order of time and give each of `days` that has hours, as soon as it is over.

    Raises
    ------
    NldasError
        As `smapnb.sources._nldas_files.read`; a file on another part of the grid than the first; an hour of a variable
        in two files.
    """
    held: dict[pd.Timestamp, _Day] = {}
    first: Hours | None = None
    for source in sources:
        own = days_of(source.stamps, day)
        if not own.isin(days).any():
            continue
        for over in sorted(one for one in held if one < own.min()):
            yield _finished(over, held.pop(over), first, fields, min_hours, counts)
        hours = read(source.path, _fields_in(source, fields), source.granule)
        counts.files_read += 1
        counts.versions[source.granule.version if source.granule else "unnamed"] += 1
        first = first or hours
        if not (np.array_equal(hours.lat, first.lat) and np.array_equal(hours.lon, first.lon)):
            raise NldasError(f"{source.path}: covers another part of the grid than {first.path}")
        for i, (stamp, own_day) in enumerate(zip(hours.stamps, days_of(hours.stamps, day), strict=True)):
            if own_day in days:
                for name, values in hours.values.items():
                    held.setdefault(own_day, _Day()).add(name, stamp, values[i], source.path)
    for over in sorted(held):
        yield _finished(over, held.pop(over), first, fields, min_hours, counts)


def _fields_in(source: Source, fields: list[Field]) -> list[Field]:
    variable = source.granule.variable if source.granule else ""
    return [one for one in fields if not variable or variable in keys(one)]


def _finished(
    day: pd.Timestamp, sums: _Day, first: Hours | None, fields: list[Field], min_hours: int, counts: Counts
) -> DayMean:
    assert first is not None  # a day without hours is never held
    by_name = Counter(name for name, _ in sums.read)
    counts.hours[day] = min(by_name[one.name] for one in fields)
    means = {name: sums.mean(name, min_hours) for name in sums.total}
    return DayMean(day, first.lat, first.lon, means)
