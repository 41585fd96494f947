"""Where NLDAS-2 values stand: cells of the EASE-Grid by area, or the NLDAS cells that a point service was asked for.

A helper of `smapnb.sources.nldas`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from smapnb import nldas_grid, variables
from smapnb.grid import AreaWeights, EaseGrid, area_weights
from smapnb.nldas_grid import Cover
from smapnb.sources._nldas_names import NldasError

# Daily series by our name and by row and column of the NLDAS cell.
Series = dict[tuple[str, tuple[int, int]], pd.Series]


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


def _days(series: Series) -> pd.DatetimeIndex:
    """Every day from the first to the last of any series."""
    days = pd.DatetimeIndex(np.unique(np.concatenate([one.index.to_numpy() for one in series.values()])))
    return pd.date_range(days[0], days[-1], freq="D", unit="ns")


def by_site(series: Series) -> xr.Dataset:
    """Each NLDAS cell is a site, named after its centre, from north to south and west to east: (time, site)."""
    cells = sorted({cell for _, cell in series}, key=lambda cell: (-cell[0], cell[1]))
    days = _days(series)
    lacking = pd.Series(np.float32(np.nan), index=days)
    fields = {}
    for name in [row for row in variables.TABLE if any(row == one for one, _ in series)]:
        columns = [series.get((name, cell), lacking).reindex(days).to_numpy(dtype=np.float32) for cell in cells]
        fields[name] = (("time", "site"), np.stack(columns, axis=1))
    places = nldas_grid.flat(*np.array(cells).T)
    names = np.array([nldas_grid.place_of(place) for place in places], dtype=str)
    lon, lat = nldas_grid.centres(places)
    coords = {
        "time": days,
        "site": ("site", names, {"long_name": "centre of the NLDAS cell"}),
        "lat": ("site", lat, {"units": "degrees_north", "long_name": "latitude of the NLDAS cell's centre"}),
        "lon": ("site", lon, {"units": "degrees_east", "long_name": "longitude of the NLDAS cell's centre"}),
    }
    return xr.Dataset(fields, coords)


def at_cells(dataset: xr.Dataset, km: int, row: ArrayLike, col: ArrayLike, cover: Cover) -> xr.Dataset:
    """See `smapnb.sources.nldas.points_to_pixels`."""
    weights, source = nldas_grid.weights(EaseGrid(km), row, col, cover).narrowed()
    rows, cols = nldas_grid.cell(dataset["lon"].to_numpy(), dataset["lat"].to_numpy())
    site_of = {int(cell): i for i, cell in enumerate(nldas_grid.flat(rows, cols))}
    lacking = [int(cell) for cell in source if int(cell) not in site_of]
    if lacking:
        raise NldasError(
            f"{len(lacking)} of {source.size} NLDAS cells over the pixels have no series, the first is "
            f"{nldas_grid.place_of(lacking[0])}"
        )
    chosen = dataset.isel(site=[site_of[int(cell)] for cell in source]).transpose("time", "site")
    fields = {name: (("time", "pixel"), weights(array.to_numpy()[:, None, :])) for name, array in chosen.items()}
    attrs = dataset.attrs | {"grid": f"EASE-Grid 2.0 global, {km} km", "grid_crs": "EPSG:6933", "cover": cover}
    return variables.describe(
        xr.Dataset(fields, {"time": dataset["time"].to_numpy(), **pixel_coordinates(km, row, col)}, attrs)
    )
