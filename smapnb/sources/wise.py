"""ISRIC-WISE soils of 30 arc-seconds or 5 arc-minutes: topsoil texture, bulk density and water capacity in cells.

A raster of map units and a table of their soils are joined, the topmost layer (0 to 20 cm) is averaged over the soils
of a unit by their proportions, then over a cell of the EASE-Grid by area. Deeper layers and other properties are left
out. Negative values are codes for what has no soil (water, rock, ice) or no measurement; they are dropped before any
mean, with their weight.

What is assumed, as the files could not be had when this was written: the columns NEWSUID or SUID, PROP, Layer (D1),
SDTO, STPC, CLPC, BULK and TAWC in their units, and pixel_vaue (so written) and description in the list of codes. Public
scripts that read the files agree on them. A file that has others is an error that names both.

References
----------
Batjes (2016), https://doi.org/10.1016/j.geoderma.2016.01.034 (WISE30sec); Batjes (2006, 2012), ISRIC reports 2006/02
and 2012/01 (5 by 5 arc-minutes, which the paper's authors took).
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smapnb import variables
from smapnb.folders import files_below
from smapnb.grid import EaseGrid, area_weights
from smapnb.sources._wise_tables import OURS, Units, WiseError, read_codes, read_units

__all__ = ["WiseError", "open_5min", "open_30sec"]

log = logging.getLogger(__name__)

LICENCE = "ISRIC; see the terms beside the files, and cite the source"
FILES_30SEC = {"raster": "wise_30sec*.tif", "codes": "wise_30sec*.tsv", "table": "HW30s_FULL.txt"}


def open_30sec(folder: str | Path, grid_km: int, row: ArrayLike, col: ArrayLike) -> xr.Dataset:
    """Read WISE30sec onto EASE-Grid cells.

    Parameters
    ----------
    folder : str or Path
        Unpacked archive, or its ``Interchangeable_format``: ``wise_30sec_v1.tif``, ``wise_30sec_v1.tsv`` and
        ``HW30s_FULL.txt`` are looked for in it and below.
    grid_km : {36, 9, 3}
        Size of the cells.
    row, col : array_like of int, (pixel,)
        Cells of the global grid.

    Returns
    -------
    xarray.Dataset
        ``sand``, ``silt``, ``clay`` (%), ``bulk_density`` (kg dm-3) and ``water_capacity`` (cm m-1), (pixel,) float32,
        with the coordinates row, col, lat, lon. NaN where more than a fifth of the raster cells over a pixel have no
        soil; the mean is of the others. Attributes: soil components dropped for a negative code, by variable; codes of
        the raster and map units that lead to no row.

    Raises
    ------
    FileNotFoundError
        No folder, or not one of each of the three files in it.
    WiseError
        A table without the columns, or with values that are no numbers; a raster that is no single band of whole
        numbers on a grid of longitude and latitude, or that is damaged; rasterio is not installed. The file is named.
    """
    files = _find(Path(folder), FILES_30SEC)
    units, codes = read_units(files["table"]), read_codes(files["codes"])
    table = units.table.reindex(codes.to_numpy()).set_axis(codes.index)
    lost = sorted(set(codes) - set(units.table.index) - {"nodata", ""})
    nodata = codes.index[codes.isin(["nodata", ""])]
    return _open(files["raster"], units, table, set(nodata), lost, "WISE30sec", grid_km, row, col)


def open_5min(raster: str | Path, table: str | Path, grid_km: int, row: ArrayLike, col: ArrayLike) -> xr.Dataset:
    """Read WISE 5 by 5 arc-minutes onto EASE-Grid cells.

    Parameters
    ----------
    raster : str or Path
        Map units (SUID): the grid ``smw5by5min`` of the archive, or a copy of it as GeoTIFF or ASCII grid.
    table : str or Path
        ``WISEsummaryFile`` of the archive's data base, exported to text with a header.
    grid_km, row, col
        As in `open_30sec`, like the result and the errors. A code of 0 or less in the raster is no soil.
    """
    units = read_units(Path(table))
    by_code = units.table.set_axis(_whole_numbers(Path(table), units.table.index))
    return _open(Path(raster), units, by_code, set(), [], "WISE 5 by 5 arc-minutes", grid_km, row, col)


def _open(
    raster: Path,
    units: Units,
    table: pd.DataFrame,
    no_soil: set[int],
    lost: list[str],
    version: str,
    km: int,
    row: ArrayLike,
    col: ArrayLike,
) -> xr.Dataset:
    rows, cols = np.broadcast_arrays(np.ravel(row), np.ravel(col))
    grid = EaseGrid(km)
    lon, lat = grid.center(rows, cols)
    values, unknown, assumed = _means(raster, table.sort_index(), no_soil, grid, rows, cols)
    if unknown:
        log.warning("%s: codes without a row in the table: %s", raster, sorted(unknown))
    attrs = {
        "title": f"Topsoil of ISRIC-{version}, 0-20 cm",
        "source": f"ISRIC-{version} (Batjes), doi:10.1016/j.geoderma.2016.01.034",
        "license": LICENCE,
        "synthetic": "false",
        "grid": f"EASE-Grid 2.0 global, {km} km",
        "grid_crs": "EPSG:6933",
        "raster_crs": assumed,
        "components_dropped": json.dumps(units.n_dropped),
        "units_with_texture_off_100": units.n_texture_off,
        "codes_without_row": json.dumps(sorted(unknown)),
        "units_without_row": json.dumps(lost),
    }
    coords = {
        "pixel": ("pixel", np.arange(rows.size)),
        "row": ("pixel", rows.astype(np.int64)),
        "col": ("pixel", cols.astype(np.int64)),
        "lat": ("pixel", lat, {"units": "degrees_north", "long_name": "latitude of the cell centre"}),
        "lon": ("pixel", lon, {"units": "degrees_east", "long_name": "longitude of the cell centre"}),
    }
    fields = {name: (("pixel",), values[i].astype(np.float32)) for i, name in enumerate(OURS)}
    dataset = variables.describe(xr.Dataset(fields, coords, attrs))
    variables.check(dataset, str(raster))
    return dataset


def _means(
    path: Path, table: pd.DataFrame, no_soil: set[int], grid: EaseGrid, rows: NDArray, cols: NDArray
) -> tuple[NDArray[np.float64], set[int], str]:
    """Means over the cells (variable, cell), codes that the table lacks, and the raster's reference system.

    Cells of one row of the grid are done together, from the strip of the raster that they lie on: all of it would be
    several GiB.
    """
    out = np.full((len(OURS), rows.size), np.nan)
    unknown: set[int] = set()
    # Code to values, with a last row for what has none.
    codes = table.index.to_numpy(dtype=np.int64)
    properties = np.vstack([table[list(OURS)].to_numpy(dtype=np.float64), np.full(len(OURS), np.nan)])
    with _raster(path) as (source, crs):
        edges = _Edges(path, source)
        for one in np.unique(rows):
            own = np.flatnonzero(rows == one)
            west, south, east, north = grid.bounds_degrees(rows[own], cols[own])
            part = edges.window(west.min(), east.max(), south.min(), north.max())
            if part is None:
                continue
            (top, bottom), (left, right) = part
            found = np.asarray(source.read(1, window=((top, bottom), (left, right))), dtype=np.int64)
            place = np.searchsorted(codes, found).clip(max=max(codes.size - 1, 0))
            there = codes[place] == found
            if source.nodata is not None:
                there &= found != source.nodata
            seen = set(np.unique(found[~there]).tolist()) - no_soil - {source.nodata}
            unknown |= {code for code in seen if code > 0}
            values = properties[np.where(there, place, -1)].transpose(2, 0, 1)
            weights = area_weights(grid, rows[own], cols[own], edges.lon[left:right], edges.lat[top:bottom])
            out[:, own] = weights(values)
    return out, unknown, crs


class _Edges:
    """Where the cells of the raster lie."""

    def __init__(self, path: Path, source: Any) -> None:
        a = source.transform
        if a.b or a.d or not (a.a > 0 > a.e):
            raise WiseError(
                f"{path}: rows do not run from north to south and columns from west to east ({tuple(a)[:6]})"
            )
        self.lon = a.c + a.a * (np.arange(source.width) + 0.5)
        self.lat = a.f + a.e * (np.arange(source.height) + 0.5)
        self.step = (a.a, -a.e)
        # A grid that ends in 180 by rounding may have half a cell beyond it.
        if self.lon[0] < -181 or self.lon[-1] > 361 or abs(self.lat).max() > 90:
            raise WiseError(
                f"{path}: reaches from {self.lon[0]} to {self.lon[-1]} and {self.lat[-1]} to {self.lat[0]}, which "
                "are no degrees"
            )

    def window(
        self, west: float, east: float, south: float, north: float
    ) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Rows and columns over a box and a cell around; None where there are fewer than two."""
        rows = np.flatnonzero((self.lat < north + 1.5 * self.step[1]) & (self.lat > south - 1.5 * self.step[1]))
        cols = np.flatnonzero((self.lon > west - 1.5 * self.step[0]) & (self.lon < east + 1.5 * self.step[0]))
        if rows.size < 2 or cols.size < 2:
            return None
        return (int(rows[0]), int(rows[-1]) + 1), (int(cols[0]), int(cols[-1]) + 1)


@contextmanager
def _raster(path: Path) -> Iterator[tuple[Any, str]]:
    """Open a raster of codes; gives it and what is known of its reference system."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        rasterio = importlib.import_module("rasterio")
        errors = importlib.import_module("rasterio.errors")
    except ImportError as error:
        raise WiseError(
            f"{path}: reading it needs rasterio, which is not installed ({error}): "
            "pip install -e '.[soils]' in the project's folder"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)  # below it is an error
            source = rasterio.open(path)
    except errors.RasterioIOError as error:
        raise WiseError(f"{path}: damaged, truncated or no raster ({error})") from error
    with source:
        if source.transform.is_identity:
            raise WiseError(f"{path}: does not say where it lies (no georeference)")
        if source.count != 1 or not np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
            raise WiseError(f"{path}: {source.count} bands of {source.dtypes[0]}, due is one of whole numbers")
        if source.crs is not None and not source.crs.is_geographic:
            raise WiseError(f"{path}: is in {source.crs}, due are longitude and latitude")
        try:
            yield source, str(source.crs or "none in the file; WGS 84 assumed")
        except errors.RasterioIOError as error:
            raise WiseError(f"{path}: damaged or truncated ({error}); fetch it anew") from error


def _find(folder: Path, patterns: dict[str, str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: it must hold the unpacked archive of WISE30sec")
    found = {what: files_below(folder, pattern) for what, pattern in patterns.items()}
    for what, files in found.items():
        if len(files) != 1:
            raise FileNotFoundError(f"{folder}: {len(files)} files {patterns[what]}, one is due: {files}")
    return {what: files[0] for what, files in found.items()}


def _whole_numbers(path: Path, units: pd.Index) -> pd.Index:
    numbers = pd.to_numeric(pd.Series(units), errors="coerce")
    bad = ~(numbers % 1 == 0)
    if bad.any():
        raise WiseError(
            f"{path}: map unit {units[bad.to_numpy()][0]!r} is no whole number, so that no raster can hold it"
        )
    return pd.Index(numbers.astype(np.int64))
