"""Cells of text files to numbers, and times in their order: what several readers ask of a line.

Each reader makes errors of its own out of what is wrong; no file and no layout is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Makes the error of a row (from 0) out of what is wrong with it.
Fault = Callable[[int, str], Exception]


def number_or_nan(cell: str) -> float:
    """Give the number that a cell holds, NaN where it holds none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def numbers(cells: Sequence[str], fault: Fault, empty: bool = False) -> NDArray[np.float64]:
    """Cells to numbers; a row that is no finite number is a fault. With `empty`, nothing and NaN are missing."""
    texts = [cell or "nan" for cell in cells] if empty else list(cells)
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array([number_or_nan(cell) for cell in texts])
    missing = np.array([empty and cell.lower() in {"", "nan"} for cell in cells], dtype=bool)
    # Python takes 1_0 for ten.
    good = (np.isfinite(values) | missing) & np.array(["_" not in cell for cell in cells], dtype=bool)
    if not good.all():
        row = int(np.argmin(good))
        raise fault(row, f"{cells[row]!r} is not a finite number")
    return values


def times_of(calendar: Mapping[str, NDArray[np.float64]], fault: Fault) -> pd.DatetimeIndex:
    """Year, month, day, hour and minute of each row to times; a row that is none is a fault."""
    table = pd.DataFrame(dict(calendar))
    times = pd.DatetimeIndex(pd.to_datetime(table, errors="coerce")).as_unit("ns")
    if times.hasnans:
        row = int(np.argmax(times.isna()))
        raise fault(row, f"{', '.join(f'{part} {value:g}' for part, value in table.iloc[row].items())} is no time")
    return times


def in_order(times: pd.DatetimeIndex, fault: Fault) -> None:
    """Hold times to rise from row to row; the first that does not is a fault."""
    back = np.flatnonzero(times[1:] <= times[:-1])
    if back.size:
        row = int(back[0]) + 1
        raise fault(row, f"{times[row]} follows {times[row - 1]}: out of order or repeated")
