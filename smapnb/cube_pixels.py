"""Which cells a cube of full size holds: 36 km where SMAP sees enough, one 9 km cell of a few and those under sites.

A cell without weather is none of them: nothing could be trained or hindcast there but by making weather up.

Cells of 36 km come first, each grid's from north to south and west to east.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import cube_store, cube_weather, grid, places
from smapnb.cube_archive import SMAP_FIRST, Files
from smapnb.cube_store import CubeError
from smapnb.places import Cells, Integers
from smapnb.profile import Archive, Profile
from smapnb.sources import core_sites, smap, uscrn
from smapnb.variables import GRID_KM

log = logging.getLogger(__name__)

STATIONS = "uscrn/stations.tsv"
# Readers of the dense sites that know where their stations stand, by folder.
OPEN, GULCH, CALVAL = "core_sites", "walnut_gulch", "calval"


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

    def by_grid(self) -> dict[int, Cells]:
        """Rows and columns by size of the grid."""
        return {int(km): self.cells(int(km)) for km in dict.fromkeys(self.km.tolist())}

    def some(self, span: slice) -> Pixels:
        """Take some of the pixels."""
        return Pixels(self.km[span], self.row[span], self.col[span])

    def coordinates(self) -> dict[str, tuple[str, NDArray]]:
        """Coordinates of the dimension pixel."""
        lon, lat = np.empty(self.km.size), np.empty(self.km.size)
        for km in np.unique(self.km):
            lon[self.at(km)], lat[self.at(km)] = grid.EaseGrid(int(km)).center(*self.cells(km))
        numbered = {"pixel": np.arange(self.km.size), "row": self.row, "col": self.col, "lat": lat, "lon": lon}
        return {name: ("pixel", values) for name, values in {**numbered, "grid_km": self.km}.items()}


def choose(profile: Profile, found: dict[str, Files], root: Path) -> tuple[Pixels, dict[str, Any]]:
    """Choose the cells of a profile's targets.

    Parameters
    ----------
    profile : Profile
        Of the source conus.
    found : dict of Files
        With SPL3SMP for the surface, SPL4SMGP for the root zone, and FORA.
    root : Path
        Folder of the data, where the stations may lie.

    Returns
    -------
    Pixels
    dict
        How many cells were looked at and why some are left out, for the attributes of the cube.

    Raises
    ------
    CubeError
        No cell is left.
    """
    counts: dict[str, Any] = {}
    asked = places.cells(profile)
    parts: dict[int, Cells] = {}
    if "surface" in profile.targets:
        km = GRID_KM["surface"]
        parts[km] = _observed(asked[km], found["SPL3SMP"], profile, counts)
    if "rootzone" in profile.targets:
        km = GRID_KM["rootzone"]
        parts[km] = _with_land(_sampled(asked[km], profile, root, counts), found["SPL4SMGP"], profile, counts)
    parts = cube_weather.those_with(profile, found["FORA"], parts, counts)
    most = profile.data.pixels
    if most:
        parts = {km: (_evenly(row, most), _evenly(col, most)) for km, (row, col) in parts.items()}
    for km, (row, _) in parts.items():
        counts[f"n_pixels_{km}_km"] = row.size
        if not row.size:
            numbers = ", ".join(f"{name} {n}" for name, n in counts.items() if isinstance(n, int))
            raise CubeError(f"no cell of {km} km has SMAP's soil moisture often enough, land and weather: {numbers}")
    sizes = np.concatenate([np.full(row.size, km, dtype=np.int64) for km, (row, _) in parts.items()])
    return Pixels(sizes, *(np.concatenate([part[i] for part in parts.values()]) for i in (0, 1))), counts


def _evenly(values: Integers, most: int) -> Integers:
    return values[np.linspace(0, values.size - 1, min(most, values.size)).round().astype(int)]


def _observed(asked: Cells, files: Files, profile: Profile, counts: dict[str, Any]) -> Cells:
    """Cells of 36 km with a value on more than a part of the days since SMAP began; one without a granule counts."""
    row, col = asked
    archive = profile.archive
    days = pd.date_range(max(str(profile.data.start), SMAP_FIRST), profile.data.end)
    seen = np.zeros(row.size, dtype=np.int64)
    for start in range(0, days.size, cube_store.TIME_CHUNK):
        piece = days[start : start + cube_store.TIME_CHUNK]
        if files.of(piece):
            seen += read_l3(files, archive, asked, piece)["ssm_smap"].notnull().sum("time").to_numpy()
    keep = seen > archive.least_observed * days.size
    counts |= {"n_cells_36_km": row.size, "n_cells_36_km_seldom_observed": int((~keep).sum())}
    if archive.sites is not None and not keep.all():
        told = ", ".join(cube_weather.named(GRID_KM["surface"], row[~keep], col[~keep]))
        log.warning("cells of sites left out, as SMAP saw them on too few of the days: %s", told)
    return row[keep], col[keep]


def read_l3(files: Files, archive: Archive, cells: Cells, days: pd.DatetimeIndex) -> xr.Dataset:
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


def _sampled(asked: Cells, profile: Profile, root: Path, counts: dict[str, Any]) -> Cells:
    """Cells of 9 km that are asked for, and those under stations whose files lie in the folder of the data.

    Stations are not looked for where sites are named, nor where the weather comes in series, which were fetched for
    what is asked for before any station was known.
    """
    row, col = asked
    km = GRID_KM["rootzone"]
    if profile.archive.sites is None and profile.archive.nldas == "grids":
        box = west, east, south, north = places.box(profile)
        all_row, all_col = places.inside(km, box)
        lon, lat = _stations(root)
        here = (lon > west) & (lon < east) & (lat > south) & (lat < north)
        n_cols = grid.EaseGrid(km).shape[1]
        site_row, site_col = places.holding(km, lon[here], lat[here])
        wanted = np.isin(all_row * n_cols + all_col, [*(site_row * n_cols + site_col), *(row * n_cols + col)])
        row, col = all_row[wanted], all_col[wanted]
    counts |= {"n_cells_9_km": row.size, "n_cells_9_km_under_sites_only": row.size - asked[0].size}
    return row, col


def _with_land(cells: Cells, files: Files, profile: Profile, counts: dict[str, Any]) -> Cells:
    """Those of the cells where level 4 has a value on its first whole day."""
    row, col = cells
    there = files.days(profile.data.start, profile.data.end)
    full = [day for day in there if len(files.by_day[day]) >= smap.FIELDS_A_DAY] or list(there)
    day = pd.DatetimeIndex(full[:1])
    land = smap.open_l4(files.of(day), cells=cells, minimum=1)["rzsm_smap"].notnull().any("time").to_numpy()
    counts["n_cells_9_km_without_land"] = int((~land).sum())
    return row[land], col[land]


def _stations(root: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
