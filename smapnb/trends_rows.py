"""What every trend of many series shares: series and their time as they are given, and threads over them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from smapnb.trends_axis import Axis

Floats = NDArray[np.float64]

ROWS_AT_ONCE = 16
LARGEST = 1e300  # slopes between larger values may be infinite, and a search among infinite slopes has no end


def read(y: ArrayLike, time: ArrayLike | None) -> tuple[Floats, Axis]:
    """Values as float64 and the axis of their time; an error where they have none or hold an infinite or huge value."""
    dates = own_dates(y)
    time = dates if time is None else time
    # asarray alone would show what stands behind a mask, a fill value as -9999.
    if isinstance(y, np.ma.MaskedArray):
        y = np.ma.filled(y.astype(np.float64), np.nan)
    values = np.asarray(y, np.float64)
    if values.ndim == 0:
        raise ValueError("y has no time axis")
    infinite = np.isinf(values)
    if infinite.any():
        place = tuple(int(i) for i in np.argwhere(infinite)[0])
        raise ValueError(f"y holds an infinite value at index {place}; a gap is NaN")
    huge = np.abs(values) > LARGEST
    if huge.any():
        place = tuple(int(i) for i in np.argwhere(huge)[0])
        raise ValueError(f"y holds {values[place]:g} at index {place}, too large for differences; a gap is NaN")
    return values, Axis.of(time, values.shape[-1])


def own_dates(y: ArrayLike) -> pd.DatetimeIndex | None:
    """Dates that a pandas Series or an xarray DataArray brings along; an error where its time is not the last axis."""
    if isinstance(y, pd.DataFrame):
        raise ValueError("y is a DataFrame, whose columns are series: give y.T.to_numpy() and time=y.index")
    index = y.index if isinstance(y, pd.Series) else None
    if isinstance(y, xr.DataArray) and y.dims:
        if "time" in y.dims[:-1]:
            raise ValueError(f"y has the dimensions {y.dims}; time must be the last")
        index = y.indexes.get(y.dims[-1])
    return index if isinstance(index, pd.DatetimeIndex) else None


def over_rows(
    work: Callable[..., Any], values: Floats, workers: int, progress: bool, *more: Floats
) -> list[tuple[Any, ...]]:
    """Apply `work` to each series, some at a time, in threads; the order is kept."""
    rows = values.reshape(-1, values.shape[-1])
    arguments = [rows, *more]
    starts = range(0, len(rows), ROWS_AT_ONCE)

    def part(start: int) -> list[tuple[Any, ...]]:
        stop = min(start + ROWS_AT_ONCE, len(rows))
        return [work(*(argument[k] for argument in arguments)) for k in range(start, stop)]

    results: list[tuple[Any, ...]] = []
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        tqdm(total=len(rows), unit="series", disable=not progress) as bar,
    ):
        for done in pool.map(part, starts):
            results += done
            bar.update(len(done))
    return results
