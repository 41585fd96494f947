"""Which cells a cube of full size holds: 36 km where SMAP sees enough, one 9 km cell of a few and those under sites.

Cells of 36 km come first, each grid's from north to south and west to east.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import cube_store, grid
from smapnb.cube_archive import SMAP_FIRST, Files
from smapnb.cube_store import CubeError
from smapnb.profile import Archive, Profile
from smapnb.sources import core_sites, smap, uscrn
from smapnb.variables import GRID_KM

log = logging.getLogger(__name__)

STATIONS = "uscrn/stations.tsv"
# Readers of the dense sites that know where their stations stand, by folder.
OPEN, GULCH, CALVAL = "core_sites", "walnut_gulch", "calval"

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Pixels:
    """Cells by row and column of the grid of `km`, (pixel,)."""

    km: Integers
    row: Integers
    col: Integers

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Pixels:
        """Cells of a cube, or of one that is being written."""
        return cls(*(dataset[name].to_numpy().astype(np.int64) for name in ("grid_km", "row", "col")))

    def at(self, km: int) -> NDArray[np.bool_]:
        """Which of the pixels belong to a grid."""
        return np.asarray(self.km == km)

    def cells(self, km: int) -> tuple[Integers, Integers]:
        """Rows and columns in one grid."""
        return self.row[self.at(km)], self.col[self.at(km)]

    def coordinates(self) -> dict[str, tuple[str, NDArray]]:
        """Coordinates of the dimension pixel."""
        lon, lat = np.empty(self.km.size), np.empty(self.km.size)
        for km in np.unique(self.km):
            lon[self.at(km)], lat[self.at(km)] = grid.EaseGrid(int(km)).center(*self.cells(km))
        numbered = {"pixel": np.arange(self.km.size), "row": self.row, "col": self.col, "lat": lat, "lon": lon}
        return {name: ("pixel", values) for name, values in {**numbered, "grid_km": self.km}.items()}


def choose(profile: Profile, found: dict[str, Files], root: Path) -> tuple[Pixels, dict[str, int]]:
    """Choose the cells of a profile's targets.

    Parameters
    ----------
    profile : Profile
        Of the source conus.
    found : dict of Files
        With SPL3SMP for the surface and SPL4SMGP for the root zone.
    root : Path
        Folder of the data, where the stations may lie.

    Returns
    -------
    Pixels
    dict of str to int
        How many cells were looked at and why some are left out, for the attributes of the cube.

    Raises
    ------
    CubeError
        No cell is left.
    """
    archive, data = profile.archive, profile.data
    parts: list[tuple[int, Integers, Integers]] = []
    counts: dict[str, int] = {}
    if "surface" in profile.targets:
        row, col = _observed(archive, found["SPL3SMP"], profile, counts)
        parts.append((GRID_KM["surface"], row, col))
    if "rootzone" in profile.targets:
        row, col = _sampled(archive, found["SPL4SMGP"], profile, root, counts)
        parts.append((GRID_KM["rootzone"], row, col))
    if data.pixels:
        parts = [(km, _evenly(row, data.pixels), _evenly(col, data.pixels)) for km, row, col in parts]
    for km, row, _ in parts:
        counts[f"n_pixels_{km}_km"] = row.size
        if not row.size:
            raise CubeError(f"no cell of {km} km has SMAP's soil moisture often enough in {data.start}..{data.end}")
    sizes = np.concatenate([np.full(row.size, km, dtype=np.int64) for km, row, _ in parts])
    return Pixels(sizes, *(np.concatenate([part[i] for part in parts]) for i in (1, 2))), counts


def _box(archive: Archive) -> tuple[float, float, float, float]:
    return archive.region or grid.CONUS


def _window(km: int, box: tuple[float, float, float, float]) -> tuple[Integers, Integers]:
    rows, cols = grid.EaseGrid(km).window(*box)
    row, col = np.mgrid[rows, cols].astype(np.int64)
    return row.ravel(), col.ravel()


def _evenly(values: Integers, most: int) -> Integers:
    return values[np.linspace(0, values.size - 1, min(most, values.size)).round().astype(int)]


def _observed(archive: Archive, files: Files, profile: Profile, counts: dict[str, int]) -> tuple[Integers, Integers]:
    """Cells of 36 km with a value on more than a part of the days since SMAP began; one without a granule counts."""
    row, col = _window(GRID_KM["surface"], _box(archive))
    days = pd.date_range(max(str(profile.data.start), SMAP_FIRST), profile.data.end)
    seen = np.zeros(row.size, dtype=np.int64)
    for start in range(0, days.size, cube_store.TIME_CHUNK):
        piece = days[start : start + cube_store.TIME_CHUNK]
        if files.of(piece):
            seen += read_l3(files, archive, (row, col), piece)["ssm_smap"].notnull().sum("time").to_numpy()
    keep = seen > archive.least_observed * days.size
    counts |= {"n_cells_36_km": row.size, "n_cells_36_km_seldom_observed": int((~keep).sum())}
    return row[keep], col[keep]


def read_l3(files: Files, archive: Archive, cells: tuple[Integers, Integers], days: pd.DatetimeIndex) -> xr.Dataset:
    """Surface soil moisture at cells of 36 km, as the profile wants it."""
    return smap.open_l3(
        files.of(days),
        archive.smap_overpass,
        archive.smap_algorithm,
        quality=archive.smap_quality,
        cells=cells,
        start=days[0],
        end=days[-1],
    )


def _sampled(
    archive: Archive, files: Files, profile: Profile, root: Path, counts: dict[str, int]
) -> tuple[Integers, Integers]:
    """Every so manieth row and column of 9 km and the cells under sites, where level 4 has land.

    Rows and columns count from the corner of the whole box, so that a region's cells are some of all.
    """
    km = GRID_KM["rootzone"]
    box = _box(archive)
    row, col = _window(km, box)
    north, west = (axis.start for axis in grid.EaseGrid(km).window(*grid.CONUS))
    chosen = ((row - north) % archive.every_km9 == 0) & ((col - west) % archive.every_km9 == 0)
    lon, lat = _places(root)
    inside = (lon > box[0]) & (lon < box[1]) & (lat > box[2]) & (lat < box[3])
    n_cols = grid.EaseGrid(km).shape[1]
    site_row, site_col = grid.EaseGrid(km).cell(lon[inside], lat[inside])
    under = np.isin(row * n_cols + col, site_row * n_cols + site_col)
    row, col = row[chosen | under], col[chosen | under]
    there = files.days(profile.data.start, profile.data.end)
    full = [day for day in there if len(files.by_day[day]) >= smap.FIELDS_A_DAY] or list(there)
    day = pd.DatetimeIndex(full[:1])
    land = smap.open_l4(files.of(day), cells=(row, col), minimum=1)["rzsm_smap"].notnull().any("time").to_numpy()
    counts |= {
        "n_cells_9_km": row.size,
        "n_cells_9_km_under_sites_only": int((under & ~chosen).sum()),
        "n_cells_9_km_without_land": int((~land).sum()),
    }
    return row[land], col[land]


def _places(root: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of the stations that lie in the folder of the data."""
    lon, lat = [], []
    if (root / STATIONS).is_file():
        table = uscrn.read_stations(root / STATIONS)
        own = table[(table["NETWORK"] == uscrn.NETWORK) & ~uscrn.on_trial(table)]
        own = own[own["LONGITUDE"].notna() & own["LATITUDE"].notna()]
        lon.append(own["LONGITUDE"].to_numpy())
        lat.append(own["LATITUDE"].to_numpy())
    dense = [core_sites.open_walnut_gulch(root / GULCH)] if (root / GULCH).is_dir() else []
    dense += [core_sites.read_open(p) for p in sorted((root / OPEN).glob("*")) if p.suffix in {".csv", ".parquet"}]
    dense += [core_sites.open_calval(root / CALVAL)] if (root / CALVAL).is_dir() else []
    for site in dense:
        known = site["lon"].notnull().to_numpy() & site["lat"].notnull().to_numpy()
        lon.append(site["lon"].to_numpy()[known])
        lat.append(site["lat"].to_numpy()[known])
    if not lon:
        log.warning("%s: no stations here, so that no cell of 9 km is taken for a site", root)
        return np.empty(0), np.empty(0)
    return np.concatenate(lon).astype(np.float64), np.concatenate(lat).astype(np.float64)
