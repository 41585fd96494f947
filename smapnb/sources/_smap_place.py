"""Where a level-4 array lies in the 9 km grid, whole or cut to a window, and which cells it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smapnb.grid import LEFT, TOP, EaseGrid
from smapnb.sources._smap_fields import Cells, choose_cells
from smapnb.sources._smap_files import Granule, SmapError, dataset_of, group_of
from smapnb.sources._smap_granules import Tally, read_group

# x and y of a cut file may be off by rounding (7e-5 of a cell in a real one).
PLACE_TOLERANCE = 0.01
GROUPS = {"SPL4SMGP": "Geophysical_Data", "SPL4SMAU": "Analysis_Data", "SPL4SMLM": "Land-Model-Constants_Data"}


@dataclass(frozen=True)
class Placement:
    """Where a file's array lies in the grid: cell of its first value, and its shape."""

    row: int
    col: int
    shape: tuple[int, int]

    def covers(self, cells: Cells) -> NDArray[np.bool_]:
        """Which cells the file holds."""
        inside = (cells.row >= self.row) & (cells.row < self.row + self.shape[0])
        return inside & (cells.col >= self.col) & (cells.col < self.col + self.shape[1])


def place_file(file: h5py.File, dataset: h5py.Dataset, path: Path) -> Placement:
    """Place of a file's arrays in the 9 km grid.

    By x and y (EPSG:6933 metres) where they are there, by cell_row and cell_column otherwise or for the axis that
    lacks one; all that are there must agree. An array of the whole grid's shape needs neither.

    Raises
    ------
    SmapError
        A cut file without them; steps that are not one cell; a disagreement.
    """
    shape = dataset.shape
    if len(shape) != 2:
        raise SmapError(f"{path}: {dataset.name} has the shape {shape}, not (rows, columns)")
    grid = EaseGrid(9)
    starts = []
    for axis, metres, numbers in ((0, "y", "cell_row"), (1, "x", "cell_column")):
        found: dict[str, NDArray] = {}
        if metres in file:
            values = file[metres][:]
            away = TOP - values if axis == 0 else values - LEFT
            found[metres] = away / grid.cell_size - 0.5
        if numbers in file:
            line = file[numbers][:, 0] if axis == 0 else file[numbers][0, :]
            found[numbers] = line.astype(np.float64)
        if not found and shape == grid.shape:
            found["shape"] = np.arange(shape[axis], dtype=np.float64)
        if not found:
            raise SmapError(f"{path}: cut to {shape}, but neither {metres} nor {numbers} says where it lies")
        starts.append(_first_cell(found, shape[axis], grid.shape[axis], path))
    return Placement(starts[0], starts[1], (shape[0], shape[1]))


def _first_cell(found: dict[str, NDArray], size: int, limit: int, path: Path) -> int:
    firsts = {}
    for name, index in found.items():
        near = np.round(index)
        if index.size != size or (np.abs(index - near) > PLACE_TOLERANCE).any() or (np.diff(near) != 1).any():
            raise SmapError(
                f"{path}: {name} does not number {size} cells of the 9 km grid one by one from the north-west"
            )
        if near[0] < 0 or near[-1] >= limit:
            raise SmapError(f"{path}: {name} runs from cell {near[0]:.0f} to {near[-1]:.0f}, the grid to {limit - 1}")
        firsts[name] = int(near[0])
    if len(set(firsts.values())) > 1:
        raise SmapError(f"{path}: {' and '.join(firsts)} disagree, the first cell is {firsts}")
    return next(iter(firsts.values()))


def first_placement(groups: dict[pd.Timestamp, list[Granule]], damaged: str) -> Placement:
    """Place of the first granule that can be read."""
    tally = Tally()
    for group in groups.values():

        def place(file: h5py.File, granule: Granule, own: Tally) -> Placement:
            node = group_of(file, GROUPS[granule.product], granule.path)
            grid_sized = [name for name, item in node.items() if isinstance(item, h5py.Dataset) and item.ndim == 2]
            return place_file(file, dataset_of(node, grid_sized or ["a field"], granule.path), granule.path)

        found, own = read_group(group, damaged, place)
        tally.add(own)
        if found is not None:
            return found
    raise SmapError(f"all {len(tally.damaged)} granules are damaged, the first is {tally.damaged[0]}")


def covered(
    wanted: Cells, placement: Placement, named: bool, groups: dict[pd.Timestamp, list[Granule]]
) -> tuple[Cells, int]:
    """Cells that the files hold, and the number of those that they do not."""
    covers = placement.covers(wanted)
    path = next(iter(groups.values()))[0].path
    if not covers.any() or (named and not covers.all()):
        i = int(np.flatnonzero(~covers)[0])
        raise SmapError(
            f"{path}: holds rows {placement.row}..{placement.row + placement.shape[0] - 1}, columns {placement.col}.."
            f"{placement.col + placement.shape[1] - 1}; asked for is row {wanted.row[i]}, column {wanted.col[i]}"
        )
    if covers.all():
        return wanted, 0
    return choose_cells(9, None, (wanted.row[covers], wanted.col[covers])), int((~covers).sum())
