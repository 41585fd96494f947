"""Files of the U.S. Climate Reference Network to typed tables: every field under its own name, missing codes as NaN.

Each line is held to the layout and the first that breaks it is named; nothing here selects, converts or averages.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.sources._text_cells import in_order, numbers

DEPTHS = (5, 10, 20, 50, 100)  # cm
# Moisture has a code of its own; the long ones are taken for it too, as no moisture can have such a value.
MISSING = (-9999.0, -99999.0)
MISSING_MOISTURE = (-99.0, *MISSING)
UNKNOWN_LOGGER = -9.0  # CRX_VN before the station reported its program
SURFACE_TYPES = {"R": "raw", "C": "corrected", "U": "unknown"}


class UscrnError(ValueError):
    """A file does not obey the layout of its product; the message names the file and the line."""


@dataclass(frozen=True)
class Product:
    """One product of the archive: its fields in order, and what is not a plain number among them."""

    name: str
    columns: tuple[str, ...]
    dates: tuple[str, ...]
    clocks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    surface_type: str = ""
    width: int | None = None  # characters of a line in the archive's fixed columns, where known

    @property
    def moisture(self) -> list[str]:
        """Names of the five columns of soil moisture, from the top."""
        return [c for c in self.columns if c.startswith("SOIL_MOISTURE_")]

    @property
    def temperature(self) -> list[str]:
        """Names of the five columns of soil temperature, from the top."""
        return [c for c in self.columns if c.startswith("SOIL_TEMP_")]


def _three(name: str) -> list[str]:
    return [f"{name}_{part}" for part in ("MAX", "MIN", "AVG")]


def _flagged(*names: str) -> list[str]:
    return [column for name in names for column in (name, f"{name}_FLAG")]


DAILY = Product(
    name="daily01",
    columns=(
        *("WBANNO", "LST_DATE", "CRX_VN", "LONGITUDE", "LATITUDE"),
        *("T_DAILY_MAX", "T_DAILY_MIN", "T_DAILY_MEAN", "T_DAILY_AVG", "P_DAILY_CALC", "SOLARAD_DAILY"),
        *("SUR_TEMP_DAILY_TYPE", *_three("SUR_TEMP_DAILY"), *_three("RH_DAILY")),
        *(f"SOIL_MOISTURE_{depth}_DAILY" for depth in DEPTHS),
        *(f"SOIL_TEMP_{depth}_DAILY" for depth in DEPTHS),
    ),
    dates=("LST_DATE",),
    surface_type="SUR_TEMP_DAILY_TYPE",
    width=216,
)
_RADIATION = _flagged("SOLARAD", "SOLARAD_MAX", "SOLARAD_MIN")
_SURFACE = _flagged("SUR_TEMP", "SUR_TEMP_MAX", "SUR_TEMP_MIN")
HOURLY = Product(
    name="hourly02",
    columns=(
        *("WBANNO", "UTC_DATE", "UTC_TIME", "LST_DATE", "LST_TIME", "CRX_VN", "LONGITUDE", "LATITUDE"),
        *("T_CALC", "T_HR_AVG", "T_MAX", "T_MIN", "P_CALC", *_RADIATION),
        *("SUR_TEMP_TYPE", *_SURFACE, *_flagged("RH_HR_AVG")),
        *(f"SOIL_MOISTURE_{depth}" for depth in DEPTHS),
        *(f"SOIL_TEMP_{depth}" for depth in DEPTHS),
    ),
    dates=("UTC_DATE", "LST_DATE"),
    clocks=("UTC_TIME", "LST_TIME"),
    flags=tuple(c for c in (*_RADIATION, *_SURFACE, *_flagged("RH_HR_AVG")) if c.endswith("_FLAG")),
    surface_type="SUR_TEMP_TYPE",
)


def read_table(path: str | Path, product: Product) -> pd.DataFrame:
    """Read every field of a file of one station.

    Parameters
    ----------
    path : str or Path
        Raw text as the archive has it (no header, fields between blanks), or a CSV with the product's names in its
        first line, in any order.
    product : Product
        `DAILY` or `HOURLY`.

    Returns
    -------
    pandas.DataFrame
        One row a line, columns in the product's order: station number, logger version, surface type and clock times as
        text, dates as datetime64[ns], flags as Int16, everything else as float64; missing is NaN, NaT or NA.

    Raises
    ------
    UscrnError
        Empty file; wrong number of fields; a line shorter or longer than the fixed columns; a field that is no number,
        date, time, flag or type; another station's number; a date out of order or repeated.
    """
    path = Path(path)
    rows, first, comma = _rows(path, product)
    columns = dict(zip(product.columns, zip(*rows, strict=True), strict=True))

    def fault(row: int, text: str) -> UscrnError:
        return UscrnError(f"{path}, line {first + row}: {text}")

    table = {name: _column(name, cells, product, comma, fault) for name, cells in columns.items()}
    frame = pd.DataFrame(table)
    _one_station(frame["WBANNO"], fault)
    _on_earth(frame, fault)
    in_order(instants(frame, product), fault)
    return frame


def instants(frame: pd.DataFrame, product: Product) -> pd.DatetimeIndex:
    """Time of each line: the local standard day of daily01, the end of the hour in UTC of hourly02."""
    days = pd.DatetimeIndex(frame[product.dates[0]], name="time")
    if not product.clocks:
        return days
    clock = frame[product.clocks[0]]
    minutes = 60 * clock.str[:2].astype(int) + clock.str[2:].astype(int)
    return pd.DatetimeIndex(days + pd.to_timedelta(minutes.to_numpy(), unit="m")).as_unit("ns")


def first_station(path: Path, product: Product) -> str | None:
    """Tell the station number of a file of `product` from its first lines; None: it is no such file."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = [file.readline() for _ in range(2)]
    comma = "," in head[0]
    rows = [_cells(line, comma) for line in head]
    if rows[0] and rows[0][0] in product.columns:
        named = dict(zip(rows[0], rows[1], strict=False))
        return _wban(named.get("WBANNO", ""), comma) if set(product.columns) <= set(rows[0]) else None
    # One of the two lines may be the one that is broken, which only reading the file will tell.
    whole = [row for row in rows if len(row) == len(product.columns)]
    return _wban(whole[0][0], comma) if whole else None


def _wban(cell: str, comma: bool) -> str | None:
    # Programs that write CSV take the number for one and drop its leading zeros.
    cell = cell.zfill(5) if comma else cell
    return cell if len(cell) == 5 and cell.isascii() and cell.isdigit() else None


def _rows(path: Path, product: Product) -> tuple[list[list[str]], int, bool]:
    """Cells of each line in the product's order, the number of the first of these lines, whether commas part them."""
    lines = [line.rstrip("\r") for line in path.read_text(encoding="utf-8-sig", errors="replace").split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UscrnError(f"{path}: empty file")
    comma = "," in lines[0]
    rows = [_cells(line, comma) for line in lines]
    order, first = None, 1
    if rows[0] and rows[0][0] in product.columns:
        order, first = _order(rows.pop(0), path, product), 2
    if not rows:
        raise UscrnError(f"{path}: a header and no data")
    for number, row in enumerate(rows, start=first):
        if len(row) != len(product.columns):
            fields = f"{len(row)} fields, {product.name} has {len(product.columns)}"
            raise UscrnError(f"{path}, line {number}: {fields}")
    if not comma:
        _fixed_width(lines[first - 1 :], first, path, product)
    return ([[row[i] for i in order] for row in rows] if order else rows), first, comma


def _cells(line: str, comma: bool) -> list[str]:
    if not comma:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line]), [])]


def _order(header: list[str], path: Path, product: Product) -> list[int]:
    lacking = [c for c in product.columns if c not in header]
    unknown = sorted(set(header) - set(product.columns))
    twice = [name for name, count in Counter(header).items() if count > 1]
    if lacking or unknown or twice:
        raise UscrnError(f"{path}, line 1: columns lacking {lacking}, unknown {unknown}, twice {twice}")
    return [header.index(c) for c in product.columns]


def _fixed_width(lines: list[str], first: int, path: Path, product: Product) -> None:
    """Catch a number cut short: it still has all its fields, but no longer the width of the archive's lines.

    Only where most lines have that width, since a file may have passed through a program that changes blanks.
    """
    off = [n for n, line in enumerate(lines, start=first) if len(line) != product.width]
    if product.width and off and len(off) * 2 < len(lines):
        found = len(lines[off[0] - first])
        raise UscrnError(f"{path}, line {off[0]}: {found} characters, the other lines have {product.width}")


def _column(
    name: str, cells: Sequence[str], product: Product, comma: bool, fault: Callable[[int, str], UscrnError]
) -> pd.Series:
    if name == "WBANNO":
        stations = [_wban(cell, comma) for cell in cells]
        if None in stations:
            row = stations.index(None)
            raise fault(row, f"WBANNO: {cells[row]!r} is not a number of five digits")
        return pd.Series(stations, dtype="str")
    if name in product.dates:
        return _dates(name, cells, fault)
    if name in product.clocks:
        return _clocks(name, [cell.zfill(4) for cell in cells] if comma else cells, fault)
    if name == product.surface_type:
        for row, cell in enumerate(cells):
            if cell not in SURFACE_TYPES:
                raise fault(row, f"{name}: {cell!r} is none of {', '.join(SURFACE_TYPES)}")
        return pd.Series(cells, dtype="str")
    values = numbers(cells, lambda row, text: fault(row, f"{name}: {text}"))
    if name == "CRX_VN":
        return pd.Series(cells, dtype="str").mask(np.isin(values, (UNKNOWN_LOGGER, *MISSING)))
    codes = MISSING_MOISTURE if name in product.moisture else MISSING
    values[np.isin(values, codes)] = np.nan
    if name not in product.flags:
        return pd.Series(values)
    whole = np.isnan(values) | ((values == np.round(values)) & (np.abs(values) < 100))
    if not whole.all():
        row = int(np.argmin(whole))
        raise fault(row, f"{name}: {cells[row]!r} is no flag")
    return pd.Series(values).astype("Int16")


def _dates(name: str, cells: Sequence[str], fault: Callable[[int, str], UscrnError]) -> pd.Series:
    days = pd.Series(pd.to_datetime(pd.Series(cells), format="%Y%m%d", errors="coerce")).astype("datetime64[ns]")
    # The format alone would also take a date of seven digits.
    good = days.notna().to_numpy() & np.array([len(cell) == 8 for cell in cells])
    if not good.all():
        row = int(np.argmin(good))
        raise fault(row, f"{name}: {cells[row]!r} is no date YYYYMMDD")
    return days


def _clocks(name: str, cells: Sequence[str], fault: Callable[[int, str], UscrnError]) -> pd.Series:
    for row, cell in enumerate(cells):
        digits = len(cell) == 4 and cell.isascii() and cell.isdigit()
        if not (digits and int(cell[:2]) < 24 and int(cell[2:]) < 60):
            raise fault(row, f"{name}: {cell!r} is no time HHMM")
    return pd.Series(cells, dtype="str")


def _one_station(numbers: pd.Series, fault: Callable[[int, str], UscrnError]) -> None:
    other = (numbers != numbers.iloc[0]).to_numpy()
    if other.any():
        row = int(np.argmax(other))
        raise fault(row, f"station {numbers.iloc[row]} in a file of station {numbers.iloc[0]}")


def _on_earth(frame: pd.DataFrame, fault: Callable[[int, str], UscrnError]) -> None:
    for name, limit in (("LONGITUDE", 180), ("LATITUDE", 90)):
        beyond = (frame[name].abs() > limit).to_numpy()
        if beyond.any():
            row = int(np.argmax(beyond))
            raise fault(row, f"{name} {frame[name].iloc[row]} is beyond {limit} degrees")
