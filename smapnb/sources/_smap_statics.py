"""Static attributes of the pixels as time means of level-3 fields and flags, as the paper's authors made them.

It leaves out soil texture and NDVI, which come from elsewhere.
"""

from __future__ import annotations

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smapnb import variables
from smapnb.sources._smap_days import (
    GRID_KM,
    OVERPASSES,
    Day,
    IndexCheck,
    check_shape,
    read_days,
    read_overpass,
    select_days,
)
from smapnb.sources._smap_fields import (
    FILL_FLAG,
    SURFACE_BITS,
    CellList,
    Cells,
    Region,
    choose_cells,
    field_names,
    flag_set,
    without_fill,
)
from smapnb.sources._smap_files import Granule, Paths, SmapError, dataset_of, group_of
from smapnb.sources._smap_granules import Tally

# Fang, Pan & Shen (2019) by the first author's published scripts: means over these days, of the morning overpass,
# where soil moisture was retrieved.
START, END = "2015-03-31", "2017-06-14"
CLASSES = 18  # IGBP classes 0 to 17
# Order of the numbers 1 to 5 of surface_condition; 6 is more than one of them. "Ice" is taken to be the permanent
# one, as the authors sought flags that do not change.
CONDITIONS = (
    "coastal_proximity",
    "permanent_snow_or_ice",
    "mountainous_terrain",
    "static_water_body",
    "urban_area",
)
MEANS = {
    "albedo": "albedo",
    "roughness": "roughness_coefficient",
    "water_fraction": "static_water_body_fraction",
}
BY_ALGORITHM = {"albedo", "roughness_coefficient"}


def flag_statics(
    paths: Paths,
    start: Day = START,
    end: Day = END,
    *,
    overpass: str = "AM",
    algorithm: str = "scav",
    region: Region = "conus",
    cells: CellList = None,
    damaged: str = "error",
    mixed_versions: bool = False,
) -> xr.Dataset:
    """Time means of level-3 fields and flags over the days on which a cell has soil moisture.

    Parameters
    ----------
    paths, algorithm, region, cells, damaged, mixed_versions
        As in `smapnb.sources.smap.open_l3`.
    start, end : date-like
        First and last day; by default those of the authors. Days without a granule are left out and counted.
    overpass : {"AM", "PM"}

    Returns
    -------
    xarray.Dataset
        (pixel) float32: ``albedo``, ``roughness``, ``water_fraction`` (means), ``dense_vegetation`` (part of the days
        with the flag), ``landcover_class`` (the most frequent first class; the lowest of equals), ``surface_condition``
        (0 none, 1 coast, 2 permanent ice, 3 mountain, 4 static water, 5 urban, 6 several; from flags set on half the
        days or more). NaN where a cell has no soil moisture on any day. SPL3SMP_E has no land-cover classes, so that
        ``landcover_class`` is not there.

    Raises
    ------
    FileNotFoundError, SmapError
        As in `open_l3`.
    """
    if overpass not in ("AM", "PM"):
        raise SmapError(f"statics are of one overpass, 'AM' or 'PM', not {overpass!r}")
    field_names("soil_moisture", algorithm, 0)
    product, groups, days = select_days(paths, start, end)
    chosen = choose_cells(GRID_KM[product], region, cells)
    sums = _Sums(chosen.row.size)
    tally = Tally()
    check = IndexCheck()

    def read(file: h5py.File, granule: Granule, own: Tally) -> _Fields:
        return _Fields(file, OVERPASSES[overpass][0], granule, algorithm, chosen, check, own)

    for _, fields in read_days(groups, days, damaged, read, tally, mixed_versions):
        sums.add(fields)
    tally.close()
    attrs = {
        "title": f"{product}: time means of fields and flags, overpass {overpass}",
        "source": f"SMAP radiometer soil moisture, {product}, NASA NSIDC DAAC",
        "synthetic": "false",
        "grid": f"EASE-Grid 2.0 global, {chosen.km} km",
        "grid_crs": "EPSG:6933",
        "algorithm": algorithm,
        "statics_start": str(days[0].date()),
        "statics_end": str(days[-1].date()),
        **tally.attributes(),
    }
    result = {name: ("pixel", values) for name, values in sums.result().items()}
    dataset = variables.describe(xr.Dataset(result, coords=chosen.coordinates(), attrs=attrs))
    variables.check(dataset, f"{product} statics")
    return dataset


class _Fields:
    """What one granule adds, (pixel,)."""

    def __init__(
        self,
        file: h5py.File,
        overpass: str,
        granule: Granule,
        algorithm: str,
        cells: Cells,
        check: IndexCheck,
        tally: Tally,
    ) -> None:
        part = read_overpass(file, overpass, granule, algorithm, {}, cells, True, False, check, tally)
        group = group_of(file, f"Soil_Moisture_Retrieval_Data_{overpass}", granule.path)
        suffix = "_pm" if overpass == "PM" else ""
        release = granule.crid // 1000
        self.valid = ~np.isnan(part.moisture)
        self.surface = part.flags["surface_flag"]
        self.means: dict[str, NDArray[np.floating]] = {}
        for ours, theirs in MEANS.items():
            # Version 4 has one albedo for all; later ones may have one for each algorithm.
            names = [*field_names(theirs, algorithm, release), theirs] if theirs in BY_ALGORITHM else [theirs]
            dataset = dataset_of(group, [name + suffix for name in names], granule.path)
            check_shape(dataset, cells.km, granule.path)
            self.means[ours], outside = without_fill(dataset, cells.read(dataset), granule.path)
            tally.out_of_range += outside
            tally.fields.add(dataset.name.rsplit("/", 1)[1])
        self.landcover: NDArray[np.integer] | None = None
        # SPL3SMP_E has no land-cover classes (version 5).
        if granule.product != "SPL3SMP_E" or f"landcover_class{suffix}" in group:
            classes = dataset_of(group, [f"landcover_class{suffix}"], granule.path)
            check_shape(classes, cells.km, granule.path)
            values = cells.read(classes)
            self.landcover = values if values.ndim == 1 else values[:, 0]


class _Sums:
    """Running sums and counts over days, (pixel,)."""

    def __init__(self, n: int) -> None:
        self.sums = {name: np.zeros(n) for name in MEANS}
        self.counts = {name: np.zeros(n, np.int64) for name in MEANS}
        self.bits = {name: np.zeros(n, np.int64) for name in (*CONDITIONS, "dense_vegetation")}
        self.flagged = np.zeros(n, np.int64)
        self.classes = np.zeros((CLASSES, n), np.int32)
        self.without_classes = False

    def add(self, fields: _Fields) -> None:
        for name, values in fields.means.items():
            use = fields.valid & ~np.isnan(values)
            self.sums[name][use] += values[use]
            self.counts[name] += use
        known = fields.valid & (fields.surface != FILL_FLAG)
        self.flagged += known
        for name in self.bits:
            self.bits[name] += known & flag_set(fields.surface, SURFACE_BITS[name])
        if fields.landcover is None:
            self.without_classes = True
            return
        # 254 is fill; 99 stands in old files where there is no class.
        use = np.flatnonzero(fields.valid & (fields.landcover < CLASSES))
        self.classes[fields.landcover[use], use] += 1

    def result(self) -> dict[str, NDArray[np.float32]]:
        out = {name: _ratio(self.sums[name], self.counts[name]) for name in MEANS}
        out["dense_vegetation"] = _ratio(self.bits["dense_vegetation"], self.flagged)
        if not self.without_classes:
            most = self.classes.argmax(axis=0).astype(np.float32)
            out["landcover_class"] = np.where(self.classes.any(axis=0), most, np.float32(np.nan))
        out["surface_condition"] = self._condition()
        return out

    def _condition(self) -> NDArray[np.float32]:
        # Half the days round up, as in MATLAB, not to even.
        present = np.array([2 * self.bits[name] >= self.flagged for name in CONDITIONS]) & (self.flagged > 0)
        number = np.arange(1, len(CONDITIONS) + 1)[:, None]
        single = (present * number).sum(axis=0)
        condition = np.where(present.sum(axis=0) > 1, len(CONDITIONS) + 1, single)
        return np.where(self.flagged > 0, condition, np.nan).astype(np.float32)


def _ratio(total: NDArray, count: NDArray) -> NDArray[np.float32]:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).astype(np.float32)
