"""SMAP: daily surface soil moisture (level 3), half orbits (level 2), root zone and constants (level 4), and statics.

A granule, a list or a folder becomes a Dataset in our names. Cells come from the grid and never from the files'
latitudes, which have holes; what is missing, damaged, superseded, out of range or rejected is counted in the
attributes. It fills no gap and downloads nothing; polar grids (of SPL3SMP_E) and freeze/thaw products are left out.

References
----------
Format: product documents of SPL2SMP, SPL3SMP (doi:10.5067/OMHVSRGFX38O) and SPL4SMGP at NSIDC; flags and algorithms:
O'Neill et al., SMAP level 2 and 3 passive soil moisture, algorithm theoretical basis document (JPL D-66480).
"""

from __future__ import annotations

import logging

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
    Overpass,
    describe_source,
    read_days,
    read_overpass,
    select_days,
)
from smapnb.sources._smap_fields import (
    ALGORITHMS,
    BITS,
    CellList,
    Cells,
    Quality,
    Region,
    choose_cells,
    field_names,
    flag_set,
    j2000_to_datetime,
    masks_of,
    passes,
)
from smapnb.sources._smap_files import DamagedError, Granule, Paths, SmapError
from smapnb.sources._smap_granules import Tally
from smapnb.sources._smap_level4 import FIELDS_A_DAY, open_constants, open_l4
from smapnb.sources._smap_orbits import open_l2
from smapnb.sources._smap_statics import flag_statics

__all__ = [
    "ALGORITHMS",
    "BITS",
    "FIELDS_A_DAY",
    "DamagedError",
    "SmapError",
    "drop_sparse",
    "flag_set",
    "flag_statics",
    "j2000_to_datetime",
    "open_constants",
    "open_l2",
    "open_l3",
    "open_l4",
    "passes",
]

log = logging.getLogger(__name__)

# Peak memory is twice the result: the check against the table takes as much again for a moment.
MAX_BYTES = 1024**3


def open_l3(
    path: Paths,
    overpass: str = "AM",
    algorithm: str = "scav",
    *,
    quality: Quality = "none",
    region: Region = "conus",
    cells: CellList = None,
    start: Day = None,
    end: Day = None,
    flags: bool = False,
    times: bool = False,
    damaged: str = "error",
    mixed_versions: bool = False,
) -> xr.Dataset:
    """Read daily surface soil moisture: SPL3SMP (36 km) versions 4 to 9, or SPL3SMP_E (9 km).

    Parameters
    ----------
    path : str, Path or sequence of them
        Granule, granules, or a folder (with all folders below it).
    overpass : {"AM", "PM", "both"}
        Descending half orbits (6 h local time), ascending ones (18 h), or the mean of those present.
    algorithm : {"scav", "scah", "dca", "baseline"}
        Single-channel algorithm at V polarisation (of the paper's version 4), at H, dual-channel, or whatever is
        the release's own choice (field ``soil_moisture``: SCA-V up to R17, DCA from R18, that is version 8).
    quality : {"none", "recommended", "attempted"} or mapping
        ``none`` as the paper's authors did; else as in `smapnb.sources._smap_fields.masks_of`: ``recommended`` is bit 0
        of retrieval_qual_flag, or a mapping such as ``{"surface_flag": ["snow_or_ice", "frozen_ground_model"]}``.
    region : "conus", (west, east, south, north) or None
        Cells whose centre lies inside, in degrees; None is the whole grid.
    cells : (row, col), optional
        These cells in this order, instead of a region.
    start, end : date-like, optional
        First and last day, both inclusive; default from the first granule to the last.
    flags, times : bool
        Add ``retrieval_qual_flag_am``, ``surface_flag_am`` (uint16, 65534 where there is none) and
        ``observation_time_am`` (UTC), or ``_pm``.
    damaged : {"error", "gap"}
        What an empty, truncated or corrupt file is; ``gap`` takes the next lower reprocessing of the day if there is
        one.
    mixed_versions : bool
        Allow granules of several versions in one series.

    Returns
    -------
    xarray.Dataset
        ``ssm_smap`` (time, pixel) float32, m3 m-3; `time` is the UTC day of the granule, without a hole; `pixel` has
        row, col, lat, lon. NaN: no retrieval, outside the file's own valid range, rejected by `quality`, or no granule
        that day, each counted in the attributes. Of several reprocessings of a day the highest release is read, of one
        release the highest counter.

    Raises
    ------
    FileNotFoundError
        A path that is not there.
    SmapError
        No granule, a file of another product or version or turned round, lacking group or field; unknown overpass,
        algorithm or quality; a result of more than 1 GiB. `DamagedError` where a file is empty, truncated or corrupt.
    """
    if overpass not in OVERPASSES:
        raise SmapError(f"no overpass {overpass!r}; there are {list(OVERPASSES)}")
    masks = masks_of(quality)
    field_names("soil_moisture", algorithm, 0)
    product, groups, days = select_days(path, start, end)
    chosen = choose_cells(GRID_KM[product], region, cells)
    passes_wanted = OVERPASSES[overpass]
    out = _Series(len(days), chosen, passes_wanted, flags, times)
    tally = Tally()
    check = IndexCheck()

    def read(file: h5py.File, granule: Granule, own: Tally) -> list[Overpass]:
        wanted = (granule, algorithm, masks, chosen, flags, times, check, own)
        return [read_overpass(file, overpass, *wanted) for overpass in passes_wanted]

    for place, parts in read_days(groups, days, damaged, read, tally, mixed_versions):
        out.put(place, parts)
    tally.close()
    if tally.missing:
        log.warning("%s: %d of %d days have no granule and are NaN", product, len(tally.missing), len(days))
    dataset = out.dataset(days, chosen)
    dataset.attrs = {
        "title": f"{product}, overpass {overpass}",
        **describe_source(product, chosen.km, algorithm, quality),
        "overpass": overpass if overpass != "both" else "mean of AM and PM where both are there",
        **tally.attributes(),
    }
    dataset = variables.describe(dataset)
    variables.check(dataset[["ssm_smap"]], f"{product} from {days[0].date()}")
    return dataset


def drop_sparse(dataset: xr.Dataset, name: str = "ssm_smap", more_than: float = variables.LEAST_OBSERVED) -> xr.Dataset:
    """Keep the pixels with a value on more than a part of the days (the paper: more than 25 %).

    Parameters
    ----------
    dataset : xarray.Dataset
        With `name` (time, pixel).
    more_than : float
        Part of the days, 0 to 1; days without a granule count as days.

    Returns
    -------
    xarray.Dataset
        With the attributes ``n_pixels_dropped`` and ``min_valid_fraction``.
    """
    keep = dataset[name].notnull().mean("time").to_numpy() > more_than
    kept = dataset.isel(pixel=np.flatnonzero(keep))
    return kept.assign_attrs(n_pixels_dropped=int((~keep).sum()), min_valid_fraction=more_than)


class _Series:
    """Arrays of the result, (time, pixel), filled day by day."""

    def __init__(self, days: int, cells: Cells, overpasses: tuple[str, ...], flags: bool, times: bool) -> None:
        shape = (days, cells.row.size)
        bytes_due = days * cells.row.size * (4 + len(overpasses) * (4 * flags + 8 * times))
        if bytes_due > MAX_BYTES:
            raise SmapError(
                f"{days} days of {cells.row.size} cells take {bytes_due / 1024**3:.1f} GiB, more than "
                f"{MAX_BYTES / 1024**3:.0f}; ask for a smaller region, for cells, or for fewer days at a time"
            )
        self.overpasses = [o.lower() for o in overpasses]
        self.moisture = np.full(shape, np.nan, np.float32)
        names = ("retrieval_qual_flag", "surface_flag") if flags else ()
        self.flags = {f"{n}_{o}": np.full(shape, 65534, np.uint16) for o in self.overpasses for n in names}
        no_time = np.datetime64("NaT", "ns")
        self.times = {f"observation_time_{o}": np.full(shape, no_time) for o in self.overpasses if times}

    def put(self, place: int, parts: list[Overpass]) -> None:
        for short, part in zip(self.overpasses, parts, strict=True):
            for name, values in part.flags.items():
                self.flags[f"{name}_{short}"][place] = values
            if part.times is not None:
                self.times[f"observation_time_{short}"][place] = part.times
        self.moisture[place] = _mean_of_present([part.moisture for part in parts])

    def dataset(self, days: object, cells: Cells) -> xr.Dataset:
        fields = {"ssm_smap": self.moisture, **self.flags, **self.times}
        dataset = xr.Dataset(
            {name: (("time", "pixel"), values) for name, values in fields.items()},
            coords={"time": days, **cells.coordinates()},
        )
        for name in self.flags:
            meanings = BITS[name.rsplit("_", 1)[0]]
            dataset[name].attrs = {"units": "1", "bits": ", ".join(f"{b} {m}" for m, b in meanings.items())}
        for name in self.times:
            dataset[name].attrs = {"long_name": "mean UTC time of the brightness temperatures"}
        return dataset


def _mean_of_present(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of one or two overpasses, of the one that is there where the other is not."""
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    mean = ((first.astype(np.float64) + second) / 2).astype(np.float32)
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, mean))
