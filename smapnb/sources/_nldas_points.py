"""Replies of the point services, in the layout of either, to hourly series, and those to days.

A helper of `smapnb.sources.nldas`. A reply is a header of keys and values, of no fixed length, a line that names the
two columns, and one line an hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.sources._nldas_daily import HOUR, HOURS_A_DAY, DayRule, days_of, span
from smapnb.sources._nldas_files import AXES, CELL, clean
from smapnb.sources._nldas_names import FIELDS, PRODUCT, Field, NldasError, check_units, key_of, keys

SUFFIXES = {".csv", ".txt", ".asc"}
TABLE = re.compile(r"^\s*(?:Timestamp\b.*,\s*Data|Date&Time\s+Data)\s*$", re.IGNORECASE)
# 2019-05-28 20Z 6.1600E-02 (version 002); 2024-01-01 00:00,269.81 and 2024-01-01T00:00:00Z,269.81 (version 2.0)
ROW = re.compile(r"^\s*(\d{4}-\d\d-\d\d)[T ](\d\d)(?::00)?(?::00)?Z?\s*[\s,]\s*(\S+)\s*$")
BEGIN_END = ("begin_time", "end_time")


@dataclass(frozen=True)
class Reply:
    """One reply: an hourly series of one field at one point, in the file's units."""

    path: Path
    field: Field
    lat: float
    lon: float
    values: pd.Series


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


def read_reply(path: Path) -> Reply:
    """Read one reply; see `smapnb.sources.nldas.open_points`."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
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
    values = _rows(path, lines, start + 1, _optional(path, header, "undef"))
    _whole(path, header, pd.DatetimeIndex(values.index))
    return Reply(path, field, _number(path, header, "lat"), _number(path, header, "lon"), values)


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
    times, values = [], []
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip() or line.startswith("MEAN="):  # version 002 ends with the mean of all rows
            continue
        found = ROW.match(line)
        try:
            if found is None:
                raise ValueError
            times.append(pd.Timestamp(f"{found[1]} {found[2]}:00"))
            values.append(float(found[3]))
        except ValueError as error:
            raise NldasError(f"{path}, line {number}: {line.strip()!r} is no hour and number") from error
        if len(times) > 1 and times[-1] <= times[-2]:
            raise NldasError(f"{path}, line {number}: {times[-1]} follows {times[-2]}: out of order or repeated")
    if not times:
        raise NldasError(f"{path}: a header and no data")
    cleaned = clean(np.array(values), *([] if undef is None else [undef]))
    return pd.Series(cleaned.astype(np.float64), index=pd.DatetimeIndex(times).as_unit("ns"))


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


def centre(reply: Reply) -> tuple[float, float]:
    """Latitude and longitude of the NLDAS cell that a reply is for; the service may repeat the point asked for."""
    place = []
    for axis, given in (("lat", reply.lat), ("lon", reply.lon)):
        first, n = AXES[axis]
        index = int(np.floor((given - first) / CELL + 0.5))
        if not 0 <= index < n:
            raise NldasError(f"{reply.path}: {axis} {given} lies outside the NLDAS grid")
        place.append(first + CELL * index)
    return place[0], place[1]


def joined(replies: list[Reply]) -> tuple[pd.Series, int]:
    """Put the pieces of one series together; hours that two pieces share must have one value, and are counted.

    Raises
    ------
    NldasError
        Two values at one hour.
    """
    whole = pd.concat([reply.values for reply in replies]).sort_index(kind="stable")
    again = whole.index.duplicated(keep="first")
    first = whole[~again]
    differs = ~np.isclose(whole[again], first.reindex(whole.index[again]), rtol=0, atol=0, equal_nan=True)
    if differs.any():
        files = " and ".join(str(reply.path) for reply in replies)
        raise NldasError(f"{files}: two values of {replies[0].field.name} at {whole.index[again][differs][0]}")
    return first, int(again.sum())


def daily(values: pd.Series, day: DayRule, min_hours: int) -> tuple[pd.Series, pd.Series]:
    """Mean of the hours of each day and number of hours with a value; NaN below `min_hours`."""
    days = span(pd.DatetimeIndex(values.index), day)
    groups = values.groupby(days_of(pd.DatetimeIndex(values.index), day))
    count = groups.count().reindex(days, fill_value=0)
    assert count.max() <= HOURS_A_DAY
    return groups.mean().reindex(days).where(count >= min_hours), count
