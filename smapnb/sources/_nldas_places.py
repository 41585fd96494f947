"""Where NLDAS-2 values stand: cells of the EASE-Grid by area, or the NLDAS cells that a point service was asked for.

A helper of `smapnb.sources.nldas`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from smapnb import variables
from smapnb.grid import AreaWeights, EaseGrid, area_weights

# Daily series by our name and by latitude and longitude of the NLDAS cell.
Series = dict[tuple[str, tuple[float, float]], pd.Series]


def weights_to(km: int, row: ArrayLike, col: ArrayLike, lat: ArrayLike, lon: ArrayLike) -> AreaWeights:
    """Weights from a part of the NLDAS grid to EASE-Grid cells."""
    return area_weights(EaseGrid(km), np.ravel(row), np.ravel(col), lon, lat)


def pixel_coordinates(km: int, row: ArrayLike, col: ArrayLike) -> dict[str, tuple]:
    """Coordinates of EASE-Grid cells, for a Dataset."""
    rows, cols = np.broadcast_arrays(np.ravel(row), np.ravel(col))
    lon, lat = EaseGrid(km).center(rows, cols)
    return {
        "pixel": ("pixel", np.arange(rows.size)),
        "row": ("pixel", rows.astype(np.int64)),
        "col": ("pixel", cols.astype(np.int64)),
        "lat": ("pixel", lat, {"units": "degrees_north", "long_name": "latitude of the cell centre"}),
        "lon": ("pixel", lon, {"units": "degrees_east", "long_name": "longitude of the cell centre"}),
    }


def _table(series: Series) -> dict[str, pd.DataFrame]:
    """Days by points of each variable, all of one shape."""
    points = sorted({point for _, point in series}, key=lambda point: (-point[0], point[1]))
    days = pd.DatetimeIndex(np.unique(np.concatenate([one.index.to_numpy() for one in series.values()])))
    days = pd.date_range(days[0], days[-1], freq="D", unit="ns")
    tables = {}
    for name in [row for row in variables.TABLE if any(row == one for one, _ in series)]:
        lacking = pd.Series(np.nan, index=days)
        columns = {point: series.get((name, point), lacking).reindex(days) for point in points}
        tables[name] = pd.DataFrame(columns, index=days)
    return tables


def by_site(series: Series) -> xr.Dataset:
    """Each NLDAS cell is a site, named after its centre: (time, site)."""
    tables = _table(series)
    any_table = next(iter(tables.values()))
    lat, lon = (np.array([point[i] for point in any_table.columns]) for i in (0, 1))
    names = [f"{y:.4f}N {-x:.4f}W" for y, x in zip(lat, lon, strict=True)]  # the grid lies north and west
    coords = {
        "time": any_table.index,
        "site": ("site", np.array(names, dtype=str), {"long_name": "centre of the NLDAS cell"}),
        "lat": ("site", lat, {"units": "degrees_north", "long_name": "latitude of the NLDAS cell's centre"}),
        "lon": ("site", lon, {"units": "degrees_east", "long_name": "longitude of the NLDAS cell's centre"}),
    }
    return xr.Dataset({n: (("time", "site"), t.to_numpy(dtype=np.float32)) for n, t in tables.items()}, coords)


def by_pixel(series: Series, grid: EaseGrid) -> xr.Dataset:
    """Mean of the NLDAS cells whose centres lie in each cell of the EASE-Grid: (time, pixel)."""
    tables = _table(series)
    points = np.array(list(next(iter(tables.values())).columns))
    row, col = grid.cell(points[:, 1], points[:, 0])
    cells, member, count = np.unique(np.stack([row, col], axis=1), axis=0, return_inverse=True, return_counts=True)
    coords = pixel_coordinates(grid.km, cells[:, 0], cells[:, 1])
    coords["points"] = ("pixel", count, {"long_name": "NLDAS cells that stand for the pixel"})
    fields = {}
    for name, table in tables.items():
        values = table.to_numpy()
        # A point without a value takes its pixel with it: the mean is always of the same points.
        means_of = [values[:, member.ravel() == i].mean(axis=1) for i in range(len(cells))]
        fields[name] = (("time", "pixel"), np.stack(means_of, axis=1).astype(np.float32))
    return xr.Dataset(fields, coords={"time": next(iter(tables.values())).index, **coords})
