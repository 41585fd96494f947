"""Which cells a profile of the source conus asks for, and the NLDAS cells over them: known before anything is read.

What is fetched and what the cube is made of follow from the same answers. Which of the cells have land, SMAP's values
and weather is found out later, by `cube_pixels`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smapnb import grid, nldas_grid
from smapnb.profile import Archive, Profile
from smapnb.variables import GRID_KM

Integers = NDArray[np.int64]
Cells = tuple[Integers, Integers]
Box = tuple[float, float, float, float]

# Folder of the replies of the point service, below that of the data.
POINTS = "nldas_points"
# What the folder of a product's windows is called after that of its granules; of other windows than the whole
# conterminous U.S. rows and columns of 9 km follow, so that windows of two places never mix.
WINDOW = "-window"
REPLY = re.compile(
    r"NLDAS_(?P<product>[A-Z]+)0125_H_\d+_\d+_(?P<field>\w+)_(?P<lat>-?\d+\.\d{4})_(?P<lon>-?\d+\.\d{4})"
    r"_(?P<first>\d{8})_(?P<last>\d{8})\.csv"
)


def cells(profile: Profile) -> dict[int, Cells]:
    """Cells that are asked for by size of the grid, 36 km (surface) first: rows and columns, (cell,) each.

    Those that hold the sites; else, of the region, all of 36 km and every so manieth row and column of 9 km, counted
    from the corner of the whole box of the conterminous U.S., so that a region's cells are some of all.

    Raises
    ------
    smapnb.grid.GridError
        A region without a cell.
    """
    archive = profile.archive
    found: dict[int, Cells] = {}
    for quantity, km in GRID_KM.items():
        if quantity not in profile.targets:
            continue
        if archive.sites is not None:
            found[km] = holding(km, [site.lon for site in archive.sites], [site.lat for site in archive.sites])
        else:
            row, col = inside(km, box(profile))
            if quantity == "rootzone":
                north, west = (axis.start for axis in grid.EaseGrid(km).window(*grid.CONUS))
                step = archive.every_km9
                chosen = ((row - north) % step == 0) & ((col - west) % step == 0)
                row, col = row[chosen], col[chosen]
            found[km] = row, col
    return found


def holding(km: int, lon: ArrayLike, lat: ArrayLike) -> Cells:
    """Cells that hold points, each once, from north to south and west to east."""
    row, col = np.unique(np.stack(grid.EaseGrid(km).cell(lon, lat)), axis=1)
    return row, col


def inside(km: int, within: Box) -> Cells:
    """Cells whose centre lies in a box, from north to south and west to east."""
    row, col = np.mgrid[grid.EaseGrid(km).window(*within)].astype(np.int64)
    return row.ravel(), col.ravel()


def box(profile: Profile) -> Box:
    """West, east, south and north in degrees of what is asked for.

    The region; with sites the edges of the cells that hold them, of the finest grid that the profile has.

    Raises
    ------
    smapnb.grid.GridError
        A region whose edges are not in this order, or that leaves both NLDAS-2 and the box of the conterminous U.S.
    """
    archive = profile.archive
    if archive.sites is None:
        return grid.CONUS if archive.region is None else _checked(archive.region)
    km, (row, col) = min(cells(profile).items())
    west, south, east, north = grid.EaseGrid(km).bounds_degrees(row, col)
    return float(west.min()), float(east.max()), float(south.min()), float(north.max())


def _checked(region: Box) -> Box:
    """Refuse edges in another order, which would be read as a box of half the Earth."""
    west, east, south, north = region
    lon, lat = (*nldas_grid.edges("lon"), *grid.CONUS[:2]), (*nldas_grid.edges("lat"), *grid.CONUS[2:])
    if not (min(lon) <= west < east <= max(lon) and min(lat) <= south < north <= max(lat)):
        raise grid.GridError(
            f"data.archive.region is {list(region)}, and must be [WEST, EAST, SOUTH, NORTH]: first both longitudes, "
            f"from {min(lon):g} to {max(lon):g}, then both latitudes, from {min(lat):g} to {max(lat):g}"
        )
    return region


def nldas_extent() -> str:
    """Say where the NLDAS grid lies."""
    (west, east), (south, north) = nldas_grid.edges("lon"), nldas_grid.edges("lat")
    return f"{-west:g} to {-east:g} W and {south:g} to {north:g} N"


def smap_folder(short_name: str, version: str) -> str:
    """Folder of a product of SMAP, below that of the data."""
    return f"smap/{short_name}.{version}"


def smap_versions(archive: Archive) -> dict[str, str]:
    """Versions of SMAP's products by their short names."""
    return {"SPL3SMP": archive.smap_l3_version, "SPL4SMGP": archive.smap_l4_version}


def nldas_cells(chosen: dict[int, Cells], cover: nldas_grid.Cover) -> Integers:
    """NLDAS cells that stand for cells of the EASE-Grids, each once: places in the flattened grid (lat, lon)."""
    parts = [nldas_grid.weights(grid.EaseGrid(km), *own, cover).narrowed()[1] for km, own in chosen.items()]
    return np.unique(np.concatenate(parts))


def nldas_points(profile: Profile) -> list[tuple[float, float]]:
    """Latitudes and longitudes at which the point service is to be asked; none where the profile takes grids."""
    cover = profile.archive.nldas
    if cover == "grids":
        return []
    lon, lat = nldas_grid.centres(nldas_cells(cells(profile), cover))
    return list(zip(lat.tolist(), lon.tolist(), strict=True))


@dataclass(frozen=True)
class Reply:
    """What the name of a reply says: product (FORA, NOAH, VIC) and field of it, NLDAS cell, first and last day."""

    product: str
    field: str
    cell: int
    first: date
    last: date


def reply_name(product: str, field: str, lat: float, lon: float, first: date, last: date) -> str:
    """Name the reply for a product (as ``NLDAS_FORA0125_H_2_0``), a field of it, a place and a period."""
    return f"{product}_{field}_{lat:.4f}_{lon:.4f}_{first:%Y%m%d}_{last:%Y%m%d}.csv"


def reply_of(name: str) -> Reply | None:
    """Read such a name; None: it is none, or of no place on the NLDAS grid."""
    found = REPLY.fullmatch(name)
    if found is None:
        return None
    row, col = nldas_grid.cell(float(found["lon"]), float(found["lat"]))
    try:
        first, last = (date.fromisoformat(found[key]) for key in ("first", "last"))
    except ValueError:
        return None
    cell = int(nldas_grid.flat(row, col))
    return Reply(found["product"], found["field"], cell, first, last) if row >= 0 else None


def window_suffix(within: Box) -> str:
    """End of the folder's name that holds windows of 9 km of a box."""
    fine = grid.EaseGrid(9)
    rows, cols = fine.window(*within)
    if (rows, cols) == fine.window(*grid.CONUS):
        return WINDOW
    return f"{WINDOW}-{rows.start}-{rows.stop - 1}-{cols.start}-{cols.stop - 1}"
