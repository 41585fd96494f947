"""A week of the agencies' files at true size, for a server, and what each cell must hold in the end.

Level 3 and 4 have a value of their own in every cell and at every time. Hourly fields and soils are sums of a part of
the row and a part of the column, each in an order drawn at random, so that a mean over a cell of another grid is the
sum of two means along one axis: every cell can be computed, by PROJ's coordinates and the published edges of the grid,
without anything of the package.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import granules
import numpy as np
import pandas as pd
import pyproj

DAYS = pd.date_range("2015-12-28", periods=7)  # over the end of a year
HOURS = pd.date_range(DAYS[0], periods=7 * 24 + 1, freq="h")  # the last one closes the last day
STAMPS = pd.date_range(DAYS[0] + pd.Timedelta("90min"), periods=7 * 8, freq="3h")

# EASE-Grid 2.0 as NSIDC publishes it: edges of the first cell and sizes of the cells, metres. Rows and columns of the
# authors' box of the conterminous U.S., whose cells were counted by PROJ.
LEFT, TOP = -17367530.4451615, 7314540.8306386
SIZE = {36: 36032.220840584, 9: 9008.055210146}
BOX = {36: (range(47, 117), range(147, 305)), 9: (range(189, 469), range(589, 1221))}
SHAPE36 = (406, 964)
WINDOW9 = (slice(189, 469), slice(589, 1221))


def seen(row, col, n: int):
    """Where the satellite was on day n: strips from pole to pole."""
    return (col + row // 3 + 31 * n) % 66 < 40


def surface(row, col, n: int):
    """Level 3 of day n, float32, NaN where there is none: 391 384 values, each in one cell."""
    cells = SHAPE36[0] * SHAPE36[1]
    values = 0.03 + 0.4 * ((row * SHAPE36[1] + col + 7919 * n) % cells) / cells
    return np.where(seen(row, col, n), values, np.nan).astype(np.float32)


def rootzone(row, col, k: int):
    """Level 4 at time k, NaN on the sea; some cells lack two fields a day, some three."""
    cells = 280 * 632
    values = 0.05 + 0.7 * (((row - 189) * 632 + col - 589 + 977 * k) % cells) / cells
    sea = (row // 20 + col // 30) % 5 == 0
    lacking = ((row + col) % 11 == 0) & (k % 8 < 2) | ((row + 2 * col) % 13 == 0) & (k % 8 > 4)
    return np.where(sea | lacking, np.nan, values).astype(np.float32)


@dataclass(frozen=True)
class Hourly:
    """One variable of an hourly file: our name, lowest and highest value, what a daily mean is multiplied by."""

    ours: str
    low: float
    high: float
    factor: float = 1.0


WEATHER = {
    ("FORA", "Rainf"): Hourly("precipitation", 0, 4, 24),
    ("FORA", "Tair"): Hourly("air_temperature", 250, 310),
    ("FORA", "Qair"): Hourly("specific_humidity", 0.001, 0.02),
    ("FORA", "LWdown"): Hourly("longwave_down", 150, 450),
    ("FORA", "SWdown"): Hourly("shortwave_down", 0, 600),
    ("FORA", "Wind_E"): Hourly("wind_u", -10, 10),
    ("FORA", "Wind_N"): Hourly("wind_v", -12, 9),
    ("NOAH", "SoilM_0_10cm"): Hourly("ssm_noah", 5, 45, 1 / 100),
    ("NOAH", "SoilM_0_100cm"): Hourly("rzsm_noah", 50, 450, 1 / 1000),
    ("VIC", "SoilM_layer1"): Hourly("ssm_vic", 4, 44, 1 / 100),
    ("VIC", "SoilM_0_100cm"): Hourly("rzsm_vic", 60, 460, 1 / 1000),
}
# Rows and columns that a model lacks: the southernmost ten, the westernmost eight.
LACKS = {"FORA": (0, 0), "NOAH": (10, 0), "VIC": (0, 8)}
SOIL_STEP = 1 / 8
SOIL_SHAPE = (216, 488)  # from 51 N and 126 W
BLOCK = 4  # raster cells on a side that share a soil


def parts(key: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Parts of the rows (south first) and columns of a field, 0 to 1, in an order of their own."""
    rng = np.random.default_rng(list(WEATHER).index(key))
    return rng.permutation(224) / 224, rng.permutation(464) / 464


def field(key: tuple[str, str], hour: float, row_part, col_part):
    """Value of an hourly field, in the file's units."""
    about = WEATHER[key]
    share = 0.35 * row_part + 0.35 * col_part + 0.3 * hour / HOURS.size
    return about.low + (about.high - about.low) * share


def soil_parts() -> tuple[np.ndarray, np.ndarray]:
    """Parts of sand, whole per cent, of the raster's blocks of rows (north first) and columns."""
    rng = np.random.default_rng(77)
    return rng.integers(0, 40, SOIL_SHAPE[0] // BLOCK), rng.integers(5, 45, SOIL_SHAPE[1] // BLOCK)


def write(folder: Path) -> None:
    """Write all files flat into one folder."""
    row, col = np.indices(SHAPE36)
    for n, day in enumerate(DAYS):
        there = seen(row, col, n)
        am = {
            "soil_moisture_scav": np.nan_to_num(surface(row, col, n), nan=-9999.0),
            "soil_moisture": np.full(SHAPE36, 0.45, "f4"),  # another algorithm's
            "albedo_scav": ((row * 1000 + col) / 1e6).astype("f4"),
            "surface_flag": np.where((row + col) % 2, 1024, 2048).astype("u2"),
        }
        pm = {"soil_moisture_scav": np.full(SHAPE36, 0.05, "f4")}
        granules.write_l3(folder, f"{day:%Y%m%d}", am, pm, version="009", release="R19240", seen=there)
    row, col = np.mgrid[WINDOW9]
    for k, stamp in enumerate(STAMPS):
        granules.write_l4_window(folder, stamp, np.nan_to_num(rootzone(row, col, k), nan=-9999.0), WINDOW9)
    write_weather(folder)
    write_soils(folder)


def write_weather(folder: Path) -> None:
    still = {}
    for key in WEATHER:
        row_part, col_part = parts(key)
        still[key] = field(key, 0, row_part[:, None], col_part[None, :])
    for product, (south, west) in LACKS.items():
        keys = [key for key in WEATHER if key[0] == product]
        for hour, stamp in enumerate(HOURS):
            fields = {}
            for key in keys:
                values = still[key] + field(key, hour, 0, 0) - WEATHER[key].low
                values[:south], values[:, :west] = -9999, -9999
                fields[key[1]] = values
            granules.write_nldas(folder, product, stamp, fields)


def write_soils(folder: Path) -> None:
    """WISE30sec as ISRIC packs it, on a coarser raster: one zip with a folder in it."""
    import rasterio
    from rasterio.transform import Affine

    row_part, col_part = soil_parts()
    sand = row_part[:, None] + col_part
    codes = np.arange(1, sand.size + 1, dtype="int32").reshape(sand.shape)
    raster = folder / "wise_30sec_v1.tif"
    shape = {"height": SOIL_SHAPE[0], "width": SOIL_SHAPE[1], "count": 1, "dtype": "int32"}
    place = Affine(SOIL_STEP, 0, -126.0, 0, -SOIL_STEP, 51.0)
    with rasterio.open(raster, "w", driver="GTiff", crs="EPSG:4326", transform=place, **shape) as file:
        file.write(np.kron(codes, np.ones((BLOCK, BLOCK), "int32")), 1)
    names = "".join(f"{code}\tWD{code}\n" for code in codes.ravel())
    rows = [f"WD{code},1,100,D1,0,20,{x},{90 - x},10,1.3,15\n" for code, x in zip(codes.flat, sand.flat, strict=True)]
    head = "NEWSUID,SCID,PROP,Layer,TopDep,BotDep,SDTO,STPC,CLPC,BULK,TAWC\n"
    inside = "wise_30sec_v1/Interchangeable_format"
    with zipfile.ZipFile(folder / "wise_30sec_v1.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(raster, f"{inside}/{raster.name}")
        packed.writestr(f"{inside}/wise_30sec_v1.tsv", "pixel_vaue\tdescription\n" + names)
        packed.writestr(f"{inside}/HW30s_FULL.txt", head + "".join(rows))
    raster.unlink()


@dataclass(frozen=True)
class Axis:
    """One axis of a source under one axis of cells: mean of a part over each cell, and how much of it is there."""

    mean: np.ndarray
    n_covering: np.ndarray
    n_present: np.ndarray


def along(cells: range, km: int, which: str, first: float, step: float, part: np.ndarray, absent: int = 0) -> Axis:
    """Mean of `part`, whose cells begin at `first` degrees and follow by `step`, over rows or columns of the grid.

    Both are laid out in metres of EPSG:6933, in which areas are true. The source is thought to go on beyond its ends,
    where it is absent, as are the first `absent` of its own.
    """
    more = 80
    edges = first + step * np.arange(-more, part.size + more + 1)
    flat = np.zeros(edges.size)
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)
    x, y = to_metres.transform(edges if which == "col" else flat, flat if which == "col" else edges)
    own = np.asarray(x if which == "col" else y)
    numbers = np.array([*cells, cells.stop])
    there = LEFT + SIZE[km] * numbers if which == "col" else TOP - SIZE[km] * numbers
    low, high = np.minimum(there[:-1], there[1:])[:, None], np.maximum(there[:-1], there[1:])[:, None]
    near, far = np.minimum(own[:-1], own[1:]), np.maximum(own[:-1], own[1:])
    overlap = np.clip(np.minimum(high, far) - np.maximum(low, near), 0, None)
    overlap[overlap < 1e-3] = 0  # a millimetre is rounding
    present = np.zeros(edges.size - 1)
    present[more + absent : more + part.size] = 1
    values = np.zeros(edges.size - 1)
    values[more : more + part.size] = part
    total = overlap @ present
    mean = np.divide(overlap @ (present * values), total, out=np.zeros(total.size), where=total > 0)
    return Axis(mean, (overlap > 0).sum(axis=1), ((overlap > 0) & (present > 0)).sum(axis=1))


def on_box(km: int, rows: Axis, cols: Axis) -> np.ndarray:
    """Where enough of a source lies over a cell of the box: at most a fifth of what covers it is absent."""
    covering = rows.n_covering[:, None] * cols.n_covering
    present = rows.n_present[:, None] * cols.n_present
    return (covering - present <= covering / 5) & (present > 0)


def weather(key: tuple[str, str], km: int) -> np.ndarray:
    """Daily means in our units, (day, row, col) of the box: files of the hours 00 to 23."""
    about, (south, west) = WEATHER[key], LACKS[key[0]]
    row_part, col_part = parts(key)
    rows = along(BOX[km][0], km, "row", 25.0, 0.125, row_part, south)
    cols = along(BOX[km][1], km, "col", -125.0, 0.125, col_part, west)
    hours = 24 * np.arange(DAYS.size)[:, None, None] + 11.5
    means = about.factor * field(key, hours, rows.mean[:, None], cols.mean)
    return np.where(on_box(km, rows, cols), means, np.nan)


def sand(km: int) -> np.ndarray:
    """Sand in the cells of the box, per cent."""
    row_part, col_part = (np.repeat(part, BLOCK) for part in soil_parts())
    # The raster begins in the north, the axis here in the south.
    rows = along(BOX[km][0], km, "row", 51.0 - SOIL_STEP * SOIL_SHAPE[0], SOIL_STEP, row_part[::-1])
    cols = along(BOX[km][1], km, "col", -126.0, SOIL_STEP, col_part)
    return rows.mean[:, None] + cols.mean
