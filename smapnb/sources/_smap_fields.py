"""What the fields of a SMAP granule mean: missing and out-of-range values, flag bits, algorithms, times, cells.

Flags are whole numbers from the file to the last bit test; they never pass through a float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from smapnb.grid import CONUS, EaseGrid, GridError
from smapnb.sources._smap_chunks import read_window
from smapnb.sources._smap_files import SmapError

FILL = -9999.0
FILL_FLAG = 65534
# Part of a limit of the valid range by which a value may lie beyond it: retrievals that stop at a limit are stored with
# rounding, 0.01999998 in a real half orbit where 0.02 is the limit. Without it the driest would be taken away.
LIMIT_TOLERANCE = 2e-6
# Seconds of SMAP count from here (J2000); tb_time_utc of the same cells agrees to a millisecond, so that no leap
# seconds are in them.
J2000 = np.datetime64("2000-01-01T12:00:00", "ns")
Region = str | tuple[float, float, float, float] | None
CellList = tuple[ArrayLike, ArrayLike] | None

# Bits of the flags, from the attribute flag_meanings of SPL3SMP version 8; a set bit is the bad state.
RETRIEVAL_BITS = {"not_recommended": 0, "not_attempted": 1, "not_successful": 2, "freeze_thaw_not_successful": 3}
SURFACE_BITS = {
    "static_water_body": 0,
    "radar_water_body": 1,
    "coastal_proximity": 2,
    "urban_area": 3,
    "precipitation": 4,
    "snow_or_ice": 5,
    "permanent_snow_or_ice": 6,
    "frozen_ground_radiometer": 7,
    "frozen_ground_model": 8,
    "mountainous_terrain": 9,
    "dense_vegetation": 10,
    "nadir_region": 11,
}
BITS = {"retrieval_qual_flag": RETRIEVAL_BITS, "surface_flag": SURFACE_BITS}
Quality = str | Mapping[str, Sequence[int | str]]

# Level 3 names an algorithm, level 2 numbers it: option 1 is SCA-H, 2 is SCA-V, 3 is DCA.
ALGORITHMS = {"scah": "option1", "scav": "option2", "dca": "option3", "baseline": ""}
# `soil_moisture` is the baseline algorithm: SCA-V up to release R17, DCA from R18 on (SPL3SMP version 8, SPL3SMP_E
# version 5). That R14..R17 are SCA-V is said by the product documents and not by the files.
FIRST_DCA_RELEASE = 18


def flag_set(flag: ArrayLike, bit: int) -> NDArray[np.bool_]:
    """Where a bit of an integer flag is 1; a fill value has no bits, so that it is nowhere set.

    Raises
    ------
    SmapError
        Flags that are not whole numbers (they went through a float somewhere), or no such bit.
    """
    values = integers(flag)
    if not 0 <= bit < 16:
        raise SmapError(f"a flag has the bits 0..15, not {bit}")
    return ((values >> bit) & 1 == 1) & (values != FILL_FLAG)


def integers(flag: ArrayLike) -> NDArray[np.integer]:
    """Give flags as they are.

    Raises
    ------
    SmapError
        They are not integers.
    """
    values = np.asarray(flag)
    if not np.issubdtype(values.dtype, np.integer):
        raise SmapError(f"flags are {values.dtype}; bits can be tested in whole numbers only")
    return values


def masks_of(quality: Quality) -> dict[str, int]:
    """Bits that must be 0, by flag, of a quality profile.

    Parameters
    ----------
    quality : {"none", "recommended", "attempted"} or mapping
        `recommended`: bit 0 of retrieval_qual_flag is 0; `attempted`: its bits 1 and 2 are; a mapping from
        "retrieval_qual_flag" and "surface_flag" to the bits, by number or by the names of `BITS`, that must be 0.

    Raises
    ------
    SmapError
        Unknown profile, flag or bit.
    """
    profiles: dict[str, dict[str, Sequence[int | str]]] = {
        "none": {},
        "recommended": {"retrieval_qual_flag": [0]},
        "attempted": {"retrieval_qual_flag": [1, 2]},
    }
    if isinstance(quality, str):
        if quality not in profiles:
            raise SmapError(f"no quality profile {quality!r}; there are {sorted(profiles)}, or a mapping of bits")
        quality = profiles[quality]
    masks = {}
    for flag, bits in quality.items():
        if flag not in BITS:
            raise SmapError(f"no flag {flag!r} to select by; there are {sorted(BITS)}")
        masks[flag] = sum({1 << _bit(bit, flag) for bit in bits})
    return {flag: mask for flag, mask in masks.items() if mask}


def _bit(bit: int | str, flag: str) -> int:
    if isinstance(bit, str):
        if bit not in BITS[flag]:
            raise SmapError(f"{flag} has no bit {bit!r}; there are {', '.join(BITS[flag])}")
        return BITS[flag][bit]
    if isinstance(bit, bool) or not 0 <= bit < 16:
        raise SmapError(f"{flag} has the bits 0..15, not {bit!r}")
    return int(bit)


def passes(flag: ArrayLike, mask: int) -> NDArray[np.bool_]:
    """Where all bits of `mask` are 0; a fill value, whose bit 0 is 0 by chance, never passes."""
    values = integers(flag)
    return (values & mask == 0) & (values != FILL_FLAG)


def field_names(quantity: str, algorithm: str, release: int) -> list[str]:
    """Names under which a quantity of an algorithm may stand, the best first.

    Parameters
    ----------
    quantity : str
        ``soil_moisture``, ``retrieval_qual_flag``, ``albedo`` or ``roughness_coefficient``.
    algorithm : {"scav", "scah", "dca", "baseline"}
    release : int
        First two digits of the composite release (R18290: 18), which decides what the baseline is.

    Raises
    ------
    SmapError
        Unknown algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise SmapError(f"no algorithm {algorithm!r}; there are {sorted(ALGORITHMS)}")
    if algorithm == "baseline":
        return [quantity]
    names = [f"{quantity}_{algorithm}", f"{quantity}_{ALGORITHMS[algorithm]}"]
    return [*names, quantity] if algorithm == baseline(release) else names


def baseline(release: int) -> str:
    """Algorithm behind the plain field names of a release."""
    return "dca" if release >= FIRST_DCA_RELEASE else "scav"


def j2000_to_datetime(seconds: ArrayLike) -> NDArray[np.datetime64]:
    """Convert seconds since 2000-01-01 12:00:00 UTC to UTC times; -9999 and NaN become NaT.

    The attribute valid_max is not looked at: in version 4 it is 999999.9, which is 12 January 2000.
    """
    values = np.asarray(seconds, dtype=np.float64)
    known = np.isfinite(values) & (values != FILL)
    steps = np.where(known, values, 0.0)
    times = J2000 + np.round(steps * 1e6).astype("timedelta64[us]").astype("timedelta64[ns]")
    return np.where(known, times, np.datetime64("NaT", "ns"))


@dataclass(frozen=True)
class Cells:
    """Cells wanted of a grid: `row`, `col` (pixel,) and the smallest window that holds them.

    `whole` says that they are all cells of the window, row by row.
    """

    km: int
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    rows: slice
    cols: slice
    whole: bool = False

    def read(self, dataset: h5py.Dataset, origin: tuple[int, int] = (0, 0)) -> NDArray:
        """Values at the cells, (pixel[, layer]); only the window is read. `origin`: cell of the file's first value."""
        rows = slice(self.rows.start - origin[0], self.rows.stop - origin[0])
        cols = slice(self.cols.start - origin[1], self.cols.stop - origin[1])
        block = read_window(dataset, rows, cols)
        if self.whole:
            return block.reshape(self.row.size, *block.shape[2:])
        return block[self.row - self.rows.start, self.col - self.cols.start]

    def coordinates(self) -> dict[str, tuple]:
        """Coordinates of the dimension pixel, whose values number the cells of the whole grid row by row."""
        grid = EaseGrid(self.km)
        lon, lat = grid.center(self.row, self.col)
        number = self.row * grid.shape[1] + self.col
        return {
            "pixel": ("pixel", number, {"long_name": f"row * {grid.shape[1]} + col", "units": "1"}),
            "row": ("pixel", self.row),
            "col": ("pixel", self.col),
            "lat": ("pixel", lat, {"units": "degrees_north", "long_name": "latitude of the cell centre"}),
            "lon": ("pixel", lon, {"units": "degrees_east", "long_name": "longitude of the cell centre"}),
        }


def choose_cells(km: int, region: Region, cells: CellList) -> Cells:
    """Cells of a region in degrees (those whose centre lies inside), of the whole grid, or those named.

    Parameters
    ----------
    km : {36, 9}
    region : "conus", (west, east, south, north) or None
        "conus" is the authors' box, longitude -125..-66, latitude 25..50; None is the whole grid.
    cells : (row, col), optional
        Cells by row and column, in this order; `region` is not looked at.

    Raises
    ------
    SmapError
        Cells outside the grid, repeated, or none; region without a cell.
    """
    grid = EaseGrid(km)
    try:
        if cells is not None:
            row, col = (np.atleast_1d(np.asarray(part)) for part in cells)
            grid.center(row, col)
            if row.shape != col.shape or row.ndim != 1 or not row.size:
                raise SmapError(f"cells need as many rows as columns, at least one: {row.shape} and {col.shape}")
            if pd.Series(row.astype(np.int64) * grid.shape[1] + col).duplicated().any():
                raise SmapError("a cell is named twice")
        else:
            box = _box(region)
            window = grid.window(*box) if box else (slice(0, grid.shape[0]), slice(0, grid.shape[1]))
            row, col = (part.ravel() for part in np.mgrid[window])
    except GridError as error:
        raise SmapError(str(error)) from error
    row, col = row.astype(np.int64), col.astype(np.int64)
    rows, cols = (slice(int(part.min()), int(part.max()) + 1) for part in (row, col))
    return Cells(km, row, col, rows, cols, whole=cells is None)


def _box(region: Region) -> tuple[float, float, float, float] | None:
    if region is None:
        return None
    if region == "conus":
        return CONUS
    if isinstance(region, str) or len(region) != 4:
        raise SmapError(f"a region is 'conus', None or (west, east, south, north), not {region!r}")
    return region


def scalar(dataset: h5py.Dataset, name: str) -> Any:
    """Attribute of a dataset as a scalar, None if it has none."""
    value = dataset.attrs.get(name)
    return None if value is None else np.asarray(value).ravel()[0]


def without_fill(dataset: h5py.Dataset, values: NDArray, path: Path) -> tuple[NDArray[np.floating], int]:
    """Values as float32 (float64 stays), missing and out-of-range ones NaN, and the number out of range.

    The fill is the attribute _FillValue, never the one of the HDF5 dataset, which is 0 in SMAP's own files.

    Raises
    ------
    SmapError
        The dataset does not hold numbers.
    """
    if not np.issubdtype(values.dtype, np.number):
        raise SmapError(f"{path}: {dataset.name} holds {values.dtype}, not numbers")
    fill = scalar(dataset, "_FillValue")
    missing = np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.zeros(values.shape, bool)
    if np.issubdtype(values.dtype, np.floating):
        missing |= values == values.dtype.type(FILL)
    if fill is not None:
        missing |= values == fill
    outside = np.zeros(values.shape, bool)
    low, high = scalar(dataset, "valid_min"), scalar(dataset, "valid_max")
    if low is not None:
        outside |= values < float(low) - abs(float(low)) * LIMIT_TOLERANCE
    if high is not None:
        outside |= values > float(high) + abs(float(high)) * LIMIT_TOLERANCE
    outside &= ~missing
    dtype = np.float64 if values.dtype == np.float64 else np.float32
    return np.where(missing | outside, np.nan, values).astype(dtype), int(outside.sum())
