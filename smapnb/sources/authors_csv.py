"""The authors' CSV layout (the real 412-pixel sample): text tables to one Dataset in our names and units.

It holds every file to the layout and names the file, line and column that breaks it; it fills no gap, and it
leaves out the layout's `Statistics`, `Subset` and `Variable` folders, which repeat what the data say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import variables
from smapnb.grid import EaseGrid

ROOT_NAME = "CONUSv4f1"
PLACES = "crd.csv"
MISSING = -9999.0
CITATION = (
    "Fang, Pan & Shen (2019), IEEE TGRS, doi:10.1109/TGRS.2018.2872131; Fang et al. (2017), GRL, "
    "doi:10.1002/2017GL075619; files from github.com/fkwai/geolearn, commit 11e7831; NASA NLDAS-2 and SMAP L3"
)
LICENCE = "MIT (files), NASA open data policy (data)"

# APCP is the mean of the day's 24 hourly totals, kg m-2 h-1; precipitation is mm d-1 here.
FACTORS = {"precipitation": 24.0}
# MATLAB's datenum of 1970-01-01.
DATENUM_EPOCH = 719529
# Their published output of the LSTM after 100 epochs, in scaled units; what undoes the scaling.
PREDICTIONS = "CONUSv4f1_20160401_20170401_ep100_SMAP_AM.csv"
PREDICTION_DAYS = ("2016-04-01", "2017-03-31")
PREDICTION_STD, PREDICTION_MEAN = 0.08857838, 0.18420095
# The authors keep one pixel in 4 x 4: the fourth row and column of each block.
SAMPLE_STEP, SAMPLE_OFFSET = 4, 3
# crd.csv holds the cell centres as float32 had them (4e-6 degrees off); a cell is 0.37 degrees wide.
CENTRE_TOLERANCE = 1e-4


class LayoutError(ValueError):
    """A file does not obey the authors' CSV layout."""


def at_hand(root: str | Path) -> bool:
    """Tell whether the sample lies whole in a folder, which holds ``CONUSv4f1/``.

    Its list of pixels says so: `smapnb fetch` puts it there when all other files are in place, so that what a broken
    download leaves behind is not taken for the sample.
    """
    return (Path(root) / ROOT_NAME / PLACES).is_file()


def open_sample(root: str | Path, years: Sequence[int] | None = None) -> xr.Dataset:
    """Read the sample: forcing, statics and SMAP surface soil moisture.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``CONUSv4f1/``.
    years : sequence of int, optional
        Years to read, without a hole; year 2015 is 1 April 2015 to 31 March 2016. None: all that are there.

    Returns
    -------
    xarray.Dataset
        (time, pixel) float32 in the names and units of `smapnb.variables`; missing values are NaN. A target
        whose files end before the forcing's is NaN from then on, which the attribute ``targets_without_file`` says.

    Raises
    ------
    FileNotFoundError
        Missing folder, year, or file of a variable; of a target, one before its last file.
    LayoutError
        Wrong shape, unparsable number, dates or coordinates that do not fit; file, line and column are named.
    """
    folder = Path(root) / ROOT_NAME
    chosen = _years(folder, years)
    coordinates = _pixels(folder / PLACES)
    n_pixels = coordinates["pixel"][1].size
    times = {year: _dates(folder / str(year), year) for year in chosen}
    fields: dict[str, tuple] = {}
    absent: list[str] = []
    for own, name in variables.own_names("authors_csv").items():
        row = variables.TABLE[name]
        if row.kind == "static":
            values = _read(folder / "const" / f"{own}.csv", (n_pixels, 1))[:, 0]
        else:
            parts = []
            for year, days in times.items():
                path = folder / str(year) / f"{own}.csv"
                if row.kind == "target" and not path.exists() and not _later(path):
                    absent.append(f"{name}: {year}")
                    parts.append(np.full((n_pixels, days.size), np.nan))
                else:
                    parts.append(_read(path, (n_pixels, days.size)))
            values = np.concatenate(parts, axis=1).T
        values = (values * FACTORS.get(name, 1.0)).astype(np.float32)
        fields[name] = (row.dims, np.ascontiguousarray(values))
    time = np.concatenate([days.to_numpy() for days in times.values()])
    attrs = {
        "title": "The authors' sample: one of 4 x 4 EASE-Grid 2.0 cells of 36 km over CONUS",
        "source": CITATION,
        "license": LICENCE,
        "synthetic": "false",
        "grid": "EASE-Grid 2.0 global, 36 km",
        "grid_crs": "EPSG:6933",
        "targets_without_file": "; ".join(absent) or "none",
    }
    dataset = variables.describe(xr.Dataset(fields, coords={"time": time, **coordinates}, attrs=attrs))
    variables.check(dataset, str(folder))
    return dataset


def open_predictions(root: str | Path, pixels: xr.DataArray) -> xr.DataArray:
    """Read the authors' published LSTM output for the sample, 2016-04-01 to 2017-03-31.

    Parameters
    ----------
    root : str or Path
        Folder that holds the file of `PREDICTIONS`.
    pixels : xarray.DataArray
        Coordinate ``pixel`` of the sample, or of a part of it, with its coordinates.

    Returns
    -------
    xarray.DataArray
        ``ssm_authors`` (time, pixel) in m3 m-3, at `pixels`.

    Raises
    ------
    FileNotFoundError, LayoutError
        No such file, or not 365 numbers in each of its lines; fewer lines than pixels.
    """
    path = Path(root) / PREDICTIONS
    days = pd.date_range(*PREDICTION_DAYS, unit="ns")
    scaled = _read(path, (None, days.size))
    if scaled.shape[0] <= int(pixels.max()):
        raise LayoutError(f"{path}: {scaled.shape[0]} lines, pixel {int(pixels.max())} has none")
    values = (scaled[pixels.to_numpy()].T * PREDICTION_STD + PREDICTION_MEAN).astype(np.float32)
    attrs = {"units": "m3 m-3", "long_name": "surface soil moisture, authors' published LSTM"}
    return xr.DataArray(values, {"time": days, **pixels.coords}, ("time", "pixel"), "ssm_authors", attrs)


def _years(folder: Path, years: Sequence[int] | None) -> list[int]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: it must hold the authors' CSV layout")
    there = sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
    chosen = there if years is None else sorted(set(years))
    if not chosen:
        raise FileNotFoundError(f"{folder}: holds no year folder")
    # A hole in the series would join days that do not follow each other.
    for year in range(chosen[0], chosen[-1] + 1):
        if year not in chosen and years is not None:
            raise LayoutError(f"years {chosen} do not follow each other: {year} is left out")
        if year not in there:
            raise FileNotFoundError(f"{folder}: no folder of year {year}; there are {there}")
    return chosen


def _pixels(path: Path) -> dict[str, tuple]:
    """Pixel coordinates from crd.csv, in the order of the lines of every file."""
    given = _read(path, (None, 2))
    grid = EaseGrid(36)
    try:
        row, col = grid.cell(given[:, 1], given[:, 0])
    except ValueError as error:
        raise LayoutError(f"{path}: {error}") from error
    lon, lat = grid.center(row, col)
    off = np.maximum(np.abs(lon - given[:, 1]), np.abs(lat - given[:, 0]))
    bad = (off > CENTRE_TOLERANCE) | (row % SAMPLE_STEP != SAMPLE_OFFSET) | (col % SAMPLE_STEP != SAMPLE_OFFSET)
    bad |= pd.Series(row * grid.shape[1] + col).duplicated().to_numpy()
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise LayoutError(
            f"{path}, line {i + 1}: lat {given[i, 0]}, lon {given[i, 1]} lies in row {row[i]}, "
            f"column {col[i]}, {off[i]:.2g} degrees from its centre; a pixel must be the centre of a cell of "
            f"its own with row and column {SAMPLE_OFFSET} modulo {SAMPLE_STEP}"
        )
    return {
        "pixel": ("pixel", np.arange(row.size), {"long_name": "line of the pixel in crd.csv, from 0"}),
        "row": ("pixel", row),
        "col": ("pixel", col),
        "lat": ("pixel", lat, {"units": "degrees_north", "long_name": "latitude of the cell centre"}),
        "lon": ("pixel", lon, {"units": "degrees_east", "long_name": "longitude of the cell centre"}),
    }


def _dates(folder: Path, year: int) -> pd.DatetimeIndex:
    """Days of one year, which timeStr.csv and time.csv must both hold."""
    days = pd.date_range(f"{year}-04-01", f"{year + 1}-03-31", freq="D", unit="ns")
    texts = _existing(folder / "timeStr.csv").read_text(encoding="utf-8", errors="replace").split()
    numbers = _read(folder / "time.csv", (None, 1))[:, 0]
    datenums = (days - pd.Timestamp("1970-01-01")).days.to_numpy() + DATENUM_EPOCH
    for path, found, expected in (
        (folder / "timeStr.csv", texts, days.strftime("%Y-%m-%d").to_list()),
        (folder / "time.csv", numbers.tolist(), datenums.tolist()),
    ):
        if len(found) != len(expected):
            raise LayoutError(f"{path}: {len(found)} dates, the year from 1 April {year} has {len(expected)} days")
        for line, (got, want) in enumerate(zip(found, expected, strict=True), start=1):
            if got != want:
                raise LayoutError(f"{path}, line {line}: {got}, where {want} ({days[line - 1].date()}) is due")
    return days


def _later(path: Path) -> list[Path]:
    """Files of the same name in folders of later years."""
    years = (p for p in path.parent.parent.iterdir() if p.name.isdigit() and int(p.name) > int(path.parent.name))
    return [year / path.name for year in years if (year / path.name).exists()]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: the authors' CSV layout needs it")
    return path


def _read(path: Path, shape: tuple[int | None, int]) -> NDArray[np.float64]:
    """Read a table of numbers of `shape` (rows None: any number); -9999 becomes NaN."""
    if not _existing(path).read_bytes().strip():
        raise LayoutError(f"{path}: empty file")
    try:
        values = np.loadtxt(path, delimiter=",", comments=None, ndmin=2, encoding="utf-8")
    except ValueError as error:
        raise LayoutError(_first_fault(path) or f"{path}: {error}") from error
    if not np.isfinite(values).all():
        line, column = np.argwhere(~np.isfinite(values))[0] + 1
        raise LayoutError(f"{path}, line {line}, column {column}: not a finite number (missing is -9999)")
    if values.shape[1] != shape[1] or shape[0] not in (None, values.shape[0]):
        raise LayoutError(
            f"{path}: {values.shape[0]} rows x {values.shape[1]} columns, due are {shape[0]} x {shape[1]}"
        )
    values[values == MISSING] = np.nan
    return values


def _first_fault(path: Path) -> str | None:
    """Say where a table first stops being one; loadtxt's own message does not name line and column alike."""
    width = None
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        cells = text.split(",")
        for column, cell in enumerate(cells, start=1):
            try:
                float(cell)
            except ValueError:
                return f"{path}, line {line}, column {column}: {cell!r} is not a number"
        width = width or len(cells)
        if len(cells) != width:
            return f"{path}, line {line}: {len(cells)} columns, the lines before have {width}"
    return None
