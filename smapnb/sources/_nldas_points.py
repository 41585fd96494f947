"""Replies of the point services, in the layout of either, to hourly series, and those to days.

A helper of `smapnb.sources.nldas`. A reply is a header of keys and values, of no fixed length, a line that names the
two columns, and one line an hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb import nldas_grid
from smapnb.sources._nldas_daily import HOUR, HOURS_A_DAY, DayRule, days_of, span
from smapnb.sources._nldas_files import clean
from smapnb.sources._nldas_names import FIELDS, PRODUCT, Field, NldasError, check_units, key_of, keys

SUFFIXES = {".csv", ".txt", ".asc"}
HEADER_LINES = 500  # more than any header has; what the columns are called must stand in them
TABLE = re.compile(r"^\s*(?:Timestamp\b.*,\s*Data|Date&Time\s+Data)\s*$", re.IGNORECASE)
# 2019-05-28 20Z 6.1600E-02 (version 002); 2024-01-01 00:00,269.81 and 2024-01-01T00:00:00Z,269.81 (version 2.0)
ROW = re.compile(r"^\s*(\d{4}-\d\d-\d\d)[T ](\d\d)(?::00)?(?::00)?Z?\s*[\s,]\s*(\S+)\s*$")
BEGIN_END = ("begin_time", "end_time")


@dataclass(frozen=True)
class Reply:
    """One reply by its header: an hourly series of one field at one point, read when asked for.

    Attributes
    ----------
    path : Path
    field : Field
    cell : (int, int)
        Row and column of the NLDAS cell; the service may repeat the point asked for, or give the cell's centre.
    header : dict
        Keys in lower case, and values.
    first_line : int
        Number of lines before the data.
    """

    path: Path
    field: Field
    cell: tuple[int, int]
    header: dict[str, str]
    first_line: int

    def hours(self) -> pd.Series:
        """Values by hour, in the file's units.

        Raises
        ------
        NldasError
            A line that is no hour and number, hours out of order, fewer of them than the header says.
        """
        lines = _lines(self.path)
        values = _rows(self.path, lines, self.first_line, _optional(self.path, self.header, "undef"))
        _whole(self.path, self.header, pd.DatetimeIndex(values.index))
        return values


def files_of(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the replies in a folder, or those given."""
    found: list[Path] = []
    for one in [paths] if isinstance(paths, str | Path) else paths:
        root = Path(one)
        if root.is_dir():
            found += sorted(file for file in root.iterdir() if file.suffix in SUFFIXES)
        elif root.is_file():
            found.append(root)
        else:
            raise FileNotFoundError(f"no file or folder {root}")
    if not found:
        raise FileNotFoundError(f"{paths}: no reply of the point service ({', '.join(sorted(SUFFIXES))})")
    return found


def _lines(path: Path, most: int | None = None) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [line.rstrip("\n") for line in islice(file, most)]


def read_header(path: Path) -> Reply:
    """Read what stands above the data; see `smapnb.sources.nldas.open_points`."""
    lines = _lines(path, HEADER_LINES)
    if not any(line.strip() for line in lines):
        raise NldasError(f"{path}: empty file")
    if lines[0].lstrip().startswith("<"):
        raise NldasError(f"{path}: a web page, most likely a login page, in place of data; fetch it anew")
    start = next((i for i, line in enumerate(lines) if TABLE.match(line)), None)
    if start is None:
        raise NldasError(f"{path}: no line that names the columns (Timestamp (UTC),Data or Date&Time Data)")
    header = _header(lines[:start])
    field = _field(path, header)
    check_units(field, header.get("unit", ""), str(path))
    place = {axis: _number(path, header, axis) for axis in ("lat", "lon")}
    row, col = nldas_grid.cell(place["lon"], place["lat"])
    if row < 0:
        raise NldasError(f"{path}: lat {place['lat']}, lon {place['lon']} lies outside the NLDAS grid")
    return Reply(path, field, (int(row), int(col)), header, start + 1)


def _header(lines: list[str]) -> dict[str, str]:
    """Keys and values; version 002 gives the whole record's first and then the request's, which stays."""
    header: dict[str, str] = {}
    for line in lines:
        found = re.match(r"^\s*([\w\[\]() ]+?)\s*([=,])(.*)$", line)
        if found:
            header[found[1].lower()] = found[3].strip()
    return header


def _field(path: Path, header: dict[str, str]) -> Field:
    product = next((m for value in header.values() if (m := PRODUCT.search(value))), None)
    name = key_of(header.get("param_short_name", ""))
    if product is None or not name:
        raise NldasError(f"{path}: the header tells no product or variable; it has {sorted(header)}")
    if product["period"] != "H":
        raise NldasError(f"{path}: {product[0]} is not hourly")
    found = [f for f in FIELDS if f.product == product["product"].upper() and name in keys(f)]
    if not found:
        known = sorted(f.netcdf for f in FIELDS if f.product == product["product"].upper())
        raise NldasError(f"{path}: {header['param_short_name']} of {product[0]} is not used here; known are {known}")
    return found[0]


def _rows(path: Path, lines: list[str], start: int, undef: float | None) -> pd.Series:
    # Version 002 ends with the mean of all rows.
    rows = [(n, line) for n, line in enumerate(lines[start:], start + 1) if line.strip() and line[:5] != "MEAN="]
    if not rows:
        raise NldasError(f"{path}: a header and no data")
    found = [ROW.match(line) for _, line in rows]
    stamps = pd.to_datetime([f"{m[1]} {m[2]}" if m else "" for m in found], format="%Y-%m-%d %H", errors="coerce")
    values = [_value(m[3]) if m else None for m in found]
    for (number, line), stamp, value in zip(rows, stamps.isna(), values, strict=True):
        if stamp or value is None:
            raise NldasError(f"{path}, line {number}: {line.strip()!r} is no hour and number")
    behind = np.flatnonzero(np.diff(stamps) <= np.timedelta64(0))
    if behind.size:
        i = int(behind[0]) + 1
        raise NldasError(f"{path}, line {rows[i][0]}: {stamps[i]} follows {stamps[i - 1]}: out of order or repeated")
    cleaned = clean(np.array(values, dtype=np.float64), *([] if undef is None else [undef]))
    return pd.Series(cleaned.astype(np.float64), index=stamps.as_unit("ns"))


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(path: Path, header: dict[str, str], stamps: pd.DatetimeIndex) -> None:
    """Refuse a reply that breaks off: the header says how many rows there are, or until when."""
    records = _optional(path, header, "tot_record")
    if records is not None and records != stamps.size:
        raise NldasError(f"{path}: {stamps.size} hours, the header says {records:g}: cut off, fetch it anew")
    for key, stamp in zip(BEGIN_END, (stamps[0], stamps[-1]), strict=True):
        text = header.get(key, "")
        due = pd.to_datetime(
            re.sub(r"^(\d{4})/(\d\d)/(\d\d)/(\d\d)$", r"\1-\2-\3 \4:00", text), errors="coerce", utc=True
        )
        # A request to 23:59:59 ends with hour 23.
        if text and not pd.isna(due) and abs(due.tz_localize(None) - stamp) > HOUR:
            raise NldasError(f"{path}: {key} is {text}, the data have {stamp}: cut off, fetch it anew")


def _optional(path: Path, header: dict[str, str], key: str) -> float | None:
    return _number(path, header, key) if key in header else None


def _number(path: Path, header: dict[str, str], key: str) -> float:
    try:
        return float(header[key])
    except (KeyError, ValueError) as error:
        raise NldasError(f"{path}: {key} in the header is {header.get(key)!r}, a number is due") from error


def joined(replies: list[Reply]) -> tuple[pd.Series, int]:
    """Put the pieces of one series together; hours that two pieces share must have one value, and are counted.

    Raises
    ------
    NldasError
        Two values at one hour.
    """
    whole = pd.concat([reply.hours() for reply in replies]).sort_index(kind="stable")
    again = whole.index.duplicated(keep="first")
    first = whole[~again]
    differs = ~np.isclose(whole[again], first.reindex(whole.index[again]), rtol=0, atol=0, equal_nan=True)
    if differs.any():
        files = " and ".join(str(reply.path) for reply in replies)
        raise NldasError(f"{files}: two values of {replies[0].field.name} at {whole.index[again][differs][0]}")
    return first, int(again.sum())


def check_names(names: Iterable[str], found: Iterable[tuple[str, tuple[int, int]]], where: Path) -> None:
    """Refuse replies in which a cell lacks one of our names.

    Raises
    ------
    NldasError
        Variable and cell are named.
    """
    there = set(found)
    lacking = [
        (name, cell) for cell in sorted({cell for _, cell in there}) for name in names if (name, cell) not in there
    ]
    if lacking:
        name, cell = lacking[0]
        place = nldas_grid.place_of(int(nldas_grid.flat(*cell)))
        raise NldasError(f"{where}: no series of {name} for the NLDAS cell at {place}")


def check_days(
    values: pd.Series, replies: list[Reply], day: DayRule, min_hours: int, start: str | None, end: str | None
) -> None:
    """Refuse a series with too few lines on a day that is asked for: the weather has no gaps at its source.

    Raises
    ------
    NldasError
        Fewer than `min_hours` on a day; file and day are named.
    """
    own = days_of(pd.DatetimeIndex(values.index), day)
    days = pd.date_range(start or own[0], end or own[-1], freq="D")
    lines = own.value_counts().reindex(days, fill_value=0)
    short = lines[lines < min_hours]
    if len(short):
        files = " and ".join(str(reply.path) for reply in replies)
        raise NldasError(
            f"{files}: {len(short)} of {len(days)} days have fewer than {min_hours} hours of {replies[0].field.name}, "
            f"the first is {short.index[0].date()} with {short.iloc[0]}"
        )


def daily(values: pd.Series, day: DayRule, min_hours: int) -> tuple[pd.Series, pd.Series]:
    """Mean of the hours of each day and number of hours with a value; NaN below `min_hours`."""
    days = span(pd.DatetimeIndex(values.index), day)
    groups = values.groupby(days_of(pd.DatetimeIndex(values.index), day))
    count = groups.count().reindex(days, fill_value=0)
    assert count.max() <= HOURS_A_DAY
    return groups.mean().reindex(days).where(count >= min_hours), count
