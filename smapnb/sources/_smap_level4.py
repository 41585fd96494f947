"""Level 4 on the 9 km grid: daily means of three-hourly fields, single analyses, and the land model's constants.

Files that are cut to a window are placed by their own x and y, or by their cell_row and cell_column.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import variables
from smapnb.sources._smap_days import Day
from smapnb.sources._smap_fields import CellList, Cells, Region, choose_cells, without_fill
from smapnb.sources._smap_files import (
    Granule,
    Paths,
    SmapError,
    by_stamp,
    dataset_of,
    group_of,
    list_granules,
    open_file,
    shown,
    text,
    version_of,
)
from smapnb.sources._smap_granules import Tally, read_groups
from smapnb.sources._smap_place import GROUPS, Placement, covered, first_placement, place_file

log = logging.getLogger(__name__)

CITATION = "SMAP L4 9 km soil moisture, {}, NASA NSIDC DAAC; Reichle et al. (2017)"
SUFFIX = {"SPL4SMGP": "", "SPL4SMAU": "_analysis"}
# Our names; soil moisture of level 4's top 5 cm is a model's, so that it is not called ssm_smap.
QUANTITIES = {"rootzone": ("rzsm_smap", "sm_rootzone"), "surface": ("ssm_smap_l4", "sm_surface")}
LONG_NAMES = {"ssm_smap_l4": "SMAP level 4 surface soil moisture, 0-5 cm"}
FIELDS_A_DAY = 8
# Middles of the means of SPL4SMGP: 01:30, 04:30, ..., 22:30.
FIRST_FIELD, FIELD_STEP = pd.Timedelta("90min"), pd.Timedelta("3h")
MIN_FIELDS = 6
# Peak memory is twice the result: the check against the table takes as much again for a moment.
MAX_BYTES = 1024**3
# The files count from 11:58:55.816, some of them in time that starts at 12:00.
TIME_TOLERANCE = pd.Timedelta("2min")


def open_l4(
    path: Paths,
    *,
    quantities: Sequence[str] = ("rootzone",),
    daily: bool = True,
    minimum: int = MIN_FIELDS,
    region: Region = "conus",
    cells: CellList = None,
    start: Day = None,
    end: Day = None,
    damaged: str = "error",
    mixed_versions: bool = False,
) -> xr.Dataset:
    """Read root-zone soil moisture: SPL4SMGP versions 3 to 8 (means of three hours), or SPL4SMAU (analyses).

    Parameters
    ----------
    path : str, Path or sequence of them
        Granule, granules, or a folder (with all folders below it); whole granules or windows cut from them.
    quantities : sequence of {"rootzone", "surface"}
        ``rzsm_smap`` from sm_rootzone (0-100 cm), ``ssm_smap_l4`` from sm_surface (0-5 cm).
    daily : bool
        Mean of the fields of a UTC day; otherwise every field at its own time (for SPL4SMGP the middle of three hours).
    minimum : int, 1 to 8
        Fewer fields in a day than this make it NaN; in single cells too.
    region, cells, start, end, damaged, mixed_versions
        As in `smapnb.sources.smap.open_l3`. Of a region, cells that a cut file lacks are left out and counted.

    Returns
    -------
    xarray.Dataset
        (time, pixel) float32, m3 m-3; daily without a hole. Days without a granule or with too few fields are NaN and
        counted in the attributes.

    Raises
    ------
    FileNotFoundError
        A path that is not there.
    SmapError
        As in `open_l3`; cells that the file does not hold; a file whose place is not said, or not that of the others.
    """
    names = _names(quantities)
    if not 1 <= minimum <= FIELDS_A_DAY:
        raise SmapError(f"a day has {FIELDS_A_DAY} fields, the minimum cannot be {minimum}")
    groups = by_stamp(list_granules(path, ("SPL4SMGP", "SPL4SMAU")))
    groups, days = _span(groups, start, end)
    product = next(iter(groups.values()))[0].product
    _check_stamps(groups)
    placement = first_placement(groups, damaged)
    chosen, n_left_out = covered(choose_cells(9, region, cells), placement, cells is not None, groups)
    steps = days if daily else pd.DatetimeIndex(sorted(groups)).as_unit("ns")
    tally = Tally()
    reader = _Reader(product, names, chosen, placement)
    if len(steps) * chosen.row.size * 4 * len(names) > MAX_BYTES:
        raise SmapError(
            f"{len(steps)} times of {chosen.row.size} cells take more than {MAX_BYTES / 1024**3:.0f} GiB; ask for a "
            "smaller region, for cells, or for fewer days at a time"
        )
    out = {name: np.full((len(steps), chosen.row.size), np.nan, np.float32) for name in names}
    by_day: dict[pd.Timestamp, list[list[Granule]]] = {}
    for stamp, group in groups.items():
        by_day.setdefault(stamp.normalize() if daily else stamp, []).append(group)
    partial = []
    in_order = (group for step in steps for group in by_day.get(step, []))
    granules = read_groups(in_order, damaged, reader, tally, mixed_versions)
    for place, step in enumerate(steps):
        due = itertools.islice(granules, len(by_day.get(step, [])))
        n_read = _fill(out, place, due, minimum if daily else 1)
        if n_read == 0:
            tally.missing.append(str(step.date()) if daily else str(step))
        elif daily and n_read < minimum:
            partial.append(f"{step.date()} ({n_read})")
    tally.close()
    if tally.missing or partial:
        log.warning("%s: %d days without a field, %d with too few", product, len(tally.missing), len(partial))
    attrs = {
        "title": f"{product}, " + ("daily means" if daily else "three-hourly"),
        **_attributes(product),
        "min_fields_a_day": minimum if daily else 1,
        "n_partial": len(partial),
        "partial": shown(partial),
        "n_cells_outside_file": n_left_out,
        **tally.attributes(),
    }
    fields = {name: (("time", "pixel"), values) for name, values in out.items()}
    dataset = xr.Dataset(fields, coords={"time": steps, **chosen.coordinates()}, attrs=attrs)
    dataset = variables.describe(dataset)
    for name in LONG_NAMES.keys() & set(names):
        dataset[name].attrs = {"units": "m3 m-3", "long_name": LONG_NAMES[name]}
    known = [name for name in names if name in variables.TABLE]
    if known:
        variables.check(dataset[known], f"{product} from {steps[0].date()}")
    return dataset


def open_constants(
    path: str | Path,
    names: Sequence[str] | None = None,
    *,
    region: Region = "conus",
    cells: CellList = None,
) -> xr.Dataset:
    """Read the land model's constants (SPL4SMLM).

    Parameters
    ----------
    path : str or Path
        The file, or a folder that holds it; of several reprocessings the highest is read.
    names : sequence of str, optional
        The file's own names, such as ``clsm_poros`` or ``mwrtm_sand``; None: all two-dimensional ones.
    region, cells
        As in `smapnb.sources.smap.open_l3`.

    Returns
    -------
    xarray.Dataset
        (pixel) float32 in the file's own names, units and long names; NaN where missing or outside the file's own
        valid range, the number of which is the attribute ``n_out_of_range`` of the variable.

    Raises
    ------
    FileNotFoundError, SmapError
        No such file or name; as in `open_l4`.
    """
    groups = by_stamp(list_granules(path, ("SPL4SMLM",)))
    granule = next(iter(groups.values()))[0]
    with open_file(granule.path) as file:
        version = version_of(file, granule)
        group = group_of(file, GROUPS["SPL4SMLM"], granule.path)
        grid_sized = [str(name) for name, node in group.items() if isinstance(node, h5py.Dataset) and node.ndim == 2]
        wanted = list(names) if names is not None else grid_sized
        if not wanted:
            raise SmapError(f"{granule.path}: no two-dimensional field in {group.name}")
        placement = place_file(file, dataset_of(group, wanted[:1], granule.path), granule.path)
        chosen, n_left_out = covered(choose_cells(9, region, cells), placement, cells is not None, groups)
        fields = {}
        for name in wanted:
            dataset = dataset_of(group, [name], granule.path)
            if dataset.shape != placement.shape:
                raise SmapError(f"{granule.path}: {dataset.name} has the shape {dataset.shape}, not {placement.shape}")
            read = chosen.read(dataset, (placement.row, placement.col))
            values, outside = without_fill(dataset, read, granule.path)
            labels = {key: text(dataset.attrs[key]) for key in ("units", "long_name") if key in dataset.attrs}
            fields[name] = ("pixel", values.astype(np.float32), {**labels, "n_out_of_range": outside})
    attrs: dict[str, str | int] = {
        "title": "SPL4SMLM, constants of the land model",
        **_attributes("SPL4SMLM"),
        "product_version": version or "unknown",
        "n_cells_outside_file": n_left_out,
    }
    return xr.Dataset(fields, coords=chosen.coordinates(), attrs=attrs)


def _names(quantities: Sequence[str]) -> dict[str, str]:
    """Our names to the files' names."""
    if isinstance(quantities, str) or not quantities or set(quantities) - QUANTITIES.keys():
        raise SmapError(f"quantities are a list of some of {sorted(QUANTITIES)}, not {quantities!r}")
    return dict(QUANTITIES[quantity] for quantity in quantities)


def _span(
    groups: dict[pd.Timestamp, list[Granule]], start: Day, end: Day
) -> tuple[dict[pd.Timestamp, list[Granule]], pd.DatetimeIndex]:
    first = (pd.Timestamp(start) if start is not None else min(groups)).normalize()
    last = (pd.Timestamp(end) if end is not None else max(groups)).normalize()
    inside = {stamp: group for stamp, group in groups.items() if first <= stamp.normalize() <= last}
    if not inside:
        raise SmapError(
            f"no level-4 granule from {first.date()} to {last.date()}; there are {min(groups)} to {max(groups)}"
        )
    return inside, pd.date_range(first, last, freq="D", unit="ns")


class _Reader:
    """Reads the wanted fields of one granule, (pixel,) each."""

    def __init__(self, product: str, names: dict[str, str], cells: Cells, placement: Placement) -> None:
        self.product, self.names, self.cells, self.placement = product, names, cells, placement
        self._placed: set[tuple[int, tuple]] = set()

    def __call__(self, file: h5py.File, granule: Granule, tally: Tally) -> dict[str, NDArray[np.float32]]:
        _check_time(file, granule)
        group = group_of(file, GROUPS[self.product], granule.path)
        out = {}
        for ours, theirs in self.names.items():
            dataset = dataset_of(group, [theirs + SUFFIX[self.product]], granule.path)
            self._check_place(file, dataset, granule)
            read = self.cells.read(dataset, (self.placement.row, self.placement.col))
            values, outside = without_fill(dataset, read, granule.path)
            out[ours] = values.astype(np.float32)
            tally.out_of_range += outside
            tally.fields.add(theirs + SUFFIX[self.product])
        return out

    def _check_place(self, file: h5py.File, dataset: h5py.Dataset, granule: Granule) -> None:
        """Place a file anew only if its release or its corners are new: cell_row and cell_column are large."""
        corners = (dataset.shape, *(float(file[n][i]) for n in ("x", "y") if n in file for i in (0, -1)))
        if len(corners) < 5:
            corners += tuple(int(file[n][i, i]) for n in ("cell_row", "cell_column") if n in file for i in (0, -1))
        key = (granule.crid, corners)
        if key in self._placed:
            return
        if place_file(file, dataset, granule.path) != self.placement:
            raise SmapError(f"{granule.path}: cut to another window than the granules before")
        self._placed.add(key)


def _fill(
    out: dict[str, NDArray[np.float32]],
    place: int,
    due: Iterable[dict[str, NDArray[np.float32]] | None],
    minimum: int,
) -> int:
    """Put the mean of the fields of one step into `out`; give the number of fields read."""
    n = next(iter(out.values())).shape[1]
    total = {name: np.zeros(n) for name in out}
    count = {name: np.zeros(n, np.int64) for name in out}
    n_read = 0
    for fields in due:
        if fields is None:
            continue
        n_read += 1
        for name, values in fields.items():
            present = ~np.isnan(values)
            total[name] += np.where(present, values, 0)
            count[name] += present
    for name in out:
        enough = count[name] >= minimum
        mean = np.divide(total[name], count[name], out=np.full(n, np.nan), where=enough)
        out[name][place] = mean
    return n_read


def _check_stamps(groups: dict[pd.Timestamp, list[Granule]]) -> None:
    """Refuse a mean of three hours whose name tells another time than the eight of a day: it would count as a ninth."""
    for stamp, (granule, *_) in groups.items():
        if granule.product == "SPL4SMGP" and (stamp - stamp.normalize() - FIRST_FIELD) % FIELD_STEP:
            raise SmapError(
                f"{granule.path}: its name tells {stamp:%H:%M:%S}; fields of SPL4SMGP are of 01:30, 04:30, ... 22:30"
            )


def _check_time(file: h5py.File, granule: Granule) -> None:
    """Hold the file's own time to the one in its name."""
    if "time" not in file or "units" not in file["time"].attrs:
        return
    epoch = text(file["time"].attrs["units"]).partition("since")[2].strip()
    values = np.asarray(file["time"][...]).ravel()
    if not epoch or values.size != 1:
        return
    found = pd.Timestamp(epoch) + pd.Timedelta(seconds=float(values[0]))
    if abs(found - granule.stamp) > TIME_TOLERANCE:
        raise SmapError(f"{granule.path}: its time is {found}, its name says {granule.stamp}")


def _attributes(product: str) -> dict[str, str]:
    return {
        "source": CITATION.format(product),
        "license": "NASA open data policy",
        "synthetic": "false",
        "grid": "EASE-Grid 2.0 global, 9 km",
        "grid_crs": "EPSG:6933",
    }
