"""Level 2: half orbits, one entry a cell seen, with the instant of each.

It makes no daily composite; level 3 is that.
"""

from __future__ import annotations

import h5py
import numpy as np
import xarray as xr

from smapnb import variables
from smapnb.grid import EaseGrid
from smapnb.sources._smap_days import GRID_KM, apply_masks, describe_source
from smapnb.sources._smap_fields import (
    Quality,
    Region,
    choose_cells,
    field_names,
    j2000_to_datetime,
    masks_of,
    without_fill,
)
from smapnb.sources._smap_files import Granule, Paths, SmapError, by_stamp, dataset_of, group_of, list_granules
from smapnb.sources._smap_granules import Tally, read_groups


def open_l2(
    path: Paths,
    algorithm: str = "scav",
    *,
    quality: Quality = "none",
    region: Region = "conus",
    damaged: str = "error",
    mixed_versions: bool = False,
) -> xr.Dataset:
    """Read half orbits: SPL2SMP (36 km) or SPL2SMP_E (9 km), one row a cell seen.

    Parameters
    ----------
    path, algorithm, quality, region, damaged, mixed_versions
        As in `open_l3`; level 2 calls SCA-H, SCA-V and DCA option 1, 2 and 3.

    Returns
    -------
    xarray.Dataset
        Dimension ``observation``, in order of half orbit and of the file: ``ssm_smap`` (float32, m3 m-3),
        ``retrieval_qual_flag`` and ``surface_flag`` (uint16), coordinates time (UTC of the observation), row, col, lat,
        lon, orbit and ascending. Cells without a retrieval are there with NaN. A half orbit wholly outside the region
        gives no rows.

    Raises
    ------
    FileNotFoundError, SmapError
        As in `open_l3`; a row or column number outside the grid.
    """
    masks = masks_of(quality)
    field_names("soil_moisture", algorithm, 0)
    groups = _by_orbit(list_granules(path, ("SPL2SMP", "SPL2SMP_E")))
    product = groups[0][0].product
    tally = Tally()

    def read(file: h5py.File, granule: Granule, own: Tally) -> xr.Dataset:
        return _half_orbit(file, granule, algorithm, masks, region, own)

    read_parts = read_groups(groups, damaged, read, tally, mixed_versions)
    parts = [part for part in read_parts if part is not None]
    tally.close()
    dataset = xr.concat(parts, "observation")
    dataset.attrs = {
        "title": f"{product}, half orbits",
        **describe_source(product, GRID_KM[product], algorithm, quality),
        **tally.attributes(),
    }
    return variables.describe(dataset)


def _by_orbit(granules: list[Granule]) -> list[list[Granule]]:
    """Reprocessings of each half orbit, the highest first, in order of time; two orbits may start together."""
    orbits = sorted({(g.orbit, g.way) for g in granules})
    groups = [g for o in orbits for g in by_stamp([x for x in granules if (x.orbit, x.way) == o]).values()]
    return sorted(groups, key=lambda group: (group[0].stamp, group[0].orbit))


def _half_orbit(
    file: h5py.File, granule: Granule, algorithm: str, masks: dict[str, int], region: Region, tally: Tally
) -> xr.Dataset:
    group = group_of(file, "Soil_Moisture_Retrieval_Data", granule.path)
    grid = EaseGrid(GRID_KM[granule.product])
    release = granule.crid // 1000

    def find(names: list[str]) -> h5py.Dataset:
        dataset = dataset_of(group, names, granule.path)
        if dataset.ndim != 1 or dataset.shape != group["EASE_row_index"].shape:
            raise SmapError(f"{granule.path}: {dataset.name} has the shape {dataset.shape}, a half orbit is one row")
        return dataset

    row = find(["EASE_row_index"])[:].astype(np.int64)
    col = find(["EASE_column_index"])[:].astype(np.int64)
    bad = (row >= grid.shape[0]) | (col >= grid.shape[1])
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise SmapError(f"{granule.path}: entry {i} lies in row {row[i]}, column {col[i]}, outside {grid!r}")
    window = choose_cells(grid.km, region, None)
    inside = (row >= window.rows.start) & (row < window.rows.stop)
    inside &= (col >= window.cols.start) & (col < window.cols.stop)
    source = find(field_names("soil_moisture", algorithm, release))
    moisture, outside = without_fill(source, source[:][inside], granule.path)
    flags = {
        "retrieval_qual_flag": find(field_names("retrieval_qual_flag", algorithm, release))[:][inside],
        "surface_flag": find(["surface_flag"])[:][inside],
    }
    moisture, rejected = apply_masks(moisture, flags, masks)
    tally.out_of_range += outside
    tally.rejected += rejected
    tally.fields.add(source.name.rsplit("/", 1)[1])
    row, col = row[inside], col[inside]
    lon, lat = grid.center(row, col)
    times = j2000_to_datetime(find(["tb_time_seconds"])[:][inside])
    places = {"row": row, "col": col, "lat": lat, "lon": lon, "time": times}
    places |= {"orbit": np.full(row.size, granule.orbit), "ascending": np.full(row.size, granule.way == "A")}
    return xr.Dataset(
        {name: ("observation", values) for name, values in {"ssm_smap": moisture, **flags}.items()},
        coords={name: ("observation", values) for name, values in places.items()},
    )
