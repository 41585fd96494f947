"""A small archive of the agencies' files in the folders that fetch gives them, with a value of its own in each cell.

Granules are those of `granules`; hourly NLDAS files and ISRIC's soils are written here. What a cube must hold of them
is said by formulas that share nothing with the package but the edges of the cells.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import granules
import h5py
import numpy as np
import pandas as pd

from smapnb.grid import EaseGrid

# Degrees west, east, south, north: 8 x 7 cells of 36 km, away from the edges of what the files hold.
REGION = (-100.5, -97.5, 33.0, 35.5)
LAT = 32.0625 + 0.125 * np.arange(40)
LON = -101.9375 + 0.125 * np.arange(48)
NLDAS = {
    "FORA": {
        "Rainf": ("precipitation", "kg m-2", 24),
        "Tair": ("air_temperature", "K", 1),
        "LWdown": ("longwave_down", "W m-2", 1),
        "SWdown": ("shortwave_down", "W m-2", 1),
        "Qair": ("specific_humidity", "kg kg-1", 1),
        "Wind_E": ("wind_u", "m s-1", 1),
        "Wind_N": ("wind_v", "m s-1", 1),
    },
    "NOAH": {"SoilM_0_10cm": ("ssm_noah", "kg m-2", 1 / 100), "SoilM_0_100cm": ("rzsm_noah", "kg m-2", 1 / 1000)},
    "VIC": {"SoilM_layer1": ("ssm_vic", "kg m-2", 1 / 100), "SoilM_0_100cm": ("rzsm_vic", "kg m-2", 1 / 1000)},
}
NAMES = [name for product in NLDAS.values() for name in product]
WINDOW9 = tuple(slice(4 * axis.start - 8, 4 * axis.stop + 8) for axis in EaseGrid(36).window(*REGION))
FIRST = pd.Timestamp("2016-02-26")


def l3_field(day) -> np.ndarray:
    """Surface soil moisture of a day, every cell and day another value; two thirds of the cells are seen a day."""
    shape = EaseGrid(36).shape
    row, col = np.indices(shape)
    n = (pd.Timestamp(day) - FIRST).days
    values = 0.03 + 0.4 * ((row * shape[1] + col + 7919 * n) % 400_000) / 400_000
    return np.where((row + col + n) % 3 == 0, -9999.0, values).astype(np.float32)


def l4_field(stamp) -> np.ndarray:
    """Root-zone soil moisture of three hours in the window; the easternmost columns are sea."""
    row, col = np.mgrid[WINDOW9]
    hours = (pd.Timestamp(stamp) - FIRST) / pd.Timedelta(hours=1)
    values = 0.05 + 0.5 * ((row * 3856 + col + 977 * hours) % 700_000) / 700_000
    return np.where(col >= WINDOW9[1].stop - 16, -9999.0, values).astype(np.float32)


def hourly(name: str, stamp) -> np.ndarray:
    """One hour of one variable, (lat, lon), in the file's units and within what the table allows."""
    hours = (pd.Timestamp(stamp) - FIRST) / pd.Timedelta(hours=1)
    row, col = np.indices((LAT.size, LON.size))
    wave = (np.sin(0.9 * row + 0.1 * NAMES.index(name)) + np.cos(1.3 * col) + np.sin(0.2 * hours) + 3.5) / 7
    low, high = {
        "Rainf": (0, 4),
        "Tair": (270, 300),
        "LWdown": (250, 400),
        "SWdown": (0, 400),
        "Qair": (0.002, 0.02),
        "Wind_E": (-5, 5),
        "Wind_N": (-5, 5),
        "SoilM_0_10cm": (10, 40),
        "SoilM_layer1": (10, 40),
        "SoilM_0_100cm": (100, 400),
    }[name]
    return (low + (high - low) * wave).astype(np.float32)


def write(root: Path, days: int, first=FIRST) -> pd.DatetimeIndex:
    """Write all products for some days (and the hour that closes the last one); give the days."""
    made = pd.date_range(first, periods=days)
    for day in made:
        write_day(root, day)
    for product in NLDAS:
        write_hour(root, product, made[-1] + pd.Timedelta(days=1))
    write_soils(root / "wise")
    return made


def write_day(root: Path, day: pd.Timestamp) -> None:
    write_l3(root / "smap/SPL3SMP.009" / f"{day:%Y}", day)
    for hour in range(8):
        stamp = day + pd.Timedelta(hours=3 * hour + 1.5)
        granules.write_l4(
            root / "smap/SPL4SMGP.008-window" / f"{day:%Y}",
            f"{stamp:%Y%m%dT%H%M%S}",
            {"sm_rootzone": l4_field(stamp)},
            window=WINDOW9,
            leave_out=tuple(name for name in granules.LEVEL4_FIELDS.split() if name != "sm_rootzone"),
        )
    for product in NLDAS:
        for hour in range(24):
            write_hour(root, product, day + pd.Timedelta(hours=hour))


def write_l3(folder: Path, day: pd.Timestamp) -> Path:
    flags = {"albedo_scav": 0.05, "roughness_coefficient_scav": 0.1, "static_water_body_fraction": 0.02}
    row, col = np.indices(EaseGrid(36).shape)
    fields = {"soil_moisture_scav": l3_field(day), **flags, "surface_flag": 1024 * (row % 2), "landcover_class": 10}
    fields["albedo_scav"] = (row * 1000 + col) / 1e6
    return granules.write_l3(folder, f"{day:%Y%m%d}", fields, version="009", release="R19240")


def write_hour(root: Path, product: str, stamp: pd.Timestamp) -> Path:
    name = f"NLDAS_{product}0125_H"
    folder = root / "nldas" / f"{name}.2.0" / f"{stamp:%Y}" / f"{stamp:%j}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.A{stamp:%Y%m%d}.{stamp:%H}00.020.nc"
    with h5py.File(path, "w") as file:
        hours = (stamp - pd.Timestamp("1979-01-01")) / pd.Timedelta(hours=1)
        for axis, values in (("time", np.array([hours])), ("lat", LAT), ("lon", LON)):
            file.create_dataset(axis, data=values)
            file[axis].make_scale(axis)
        file["time"].attrs["units"] = np.bytes_("hours since 1979-01-01 00:00:00")
        for variable, (_, units, _) in NLDAS[product].items():
            data = file.create_dataset(variable, data=hourly(variable, stamp)[None])
            for axis, dim in enumerate(("time", "lat", "lon")):
                data.dims[axis].attach_scale(file[dim])
            data.attrs["_FillValue"] = np.float32([-9999.0])
            data.attrs["units"] = np.bytes_(units)
    return path


SOIL_STEP = 1 / 16
SOIL_SHAPE = (80, 96)  # from 37 N and 102 W


def sand_field() -> np.ndarray:
    row, col = np.indices(SOIL_SHAPE)
    return 10 + (row + 2 * col) % 60


def write_soils(folder: Path) -> None:
    """WISE30sec as ISRIC packs it: one zip with a folder in it."""
    import rasterio
    from rasterio.transform import Affine

    folder.mkdir(parents=True, exist_ok=True)
    codes = np.arange(1, SOIL_SHAPE[0] * SOIL_SHAPE[1] + 1, dtype="int32").reshape(SOIL_SHAPE)
    raster = folder / "wise_30sec_v1.tif"
    shape = {"height": SOIL_SHAPE[0], "width": SOIL_SHAPE[1], "count": 1, "dtype": "int32"}
    transform = Affine(SOIL_STEP, 0, -102.0, 0, -SOIL_STEP, 37.0)
    with rasterio.open(raster, "w", driver="GTiff", crs="EPSG:4326", transform=transform, **shape) as file:
        file.write(codes, 1)
    names = "".join(f"{code}\tWD{code}\n" for code in codes.ravel())
    columns = "NEWSUID,SCID,PROP,Layer,TopDep,BotDep,SDTO,STPC,CLPC,BULK,TAWC\n"
    rows = [
        f"WD{code},1,100,D1,0,20,{sand},{90 - sand},10,1.3,15\n"
        for code, sand in zip(codes.ravel(), sand_field().ravel(), strict=True)
    ]
    with zipfile.ZipFile(folder / "wise_30sec_v1.zip", "w") as packed:
        inside = "wise_30sec_v1/Interchangeable_format"
        packed.write(raster, f"{inside}/{raster.name}")
        packed.writestr(f"{inside}/wise_30sec_v1.tsv", "pixel_vaue\tdescription\n" + names)
        packed.writestr(f"{inside}/HW30s_FULL.txt", columns + "".join(rows))
    raster.unlink()


def by_area(values: np.ndarray, south: np.ndarray, west: np.ndarray, step: float, row: int, col: int, km: int) -> float:
    """Mean over a cell of a field whose cells begin in `south` and `west`, weighted by overlap.

    Overlaps are degrees of longitude times differences of the sine of latitude, that is areas on a sphere: not the
    package's ellipsoid.
    """
    left, bottom, right, top = EaseGrid(km).bounds_degrees(row, col)
    wide = np.clip(np.minimum(west + step, right) - np.maximum(west, left), 0, None)
    high, low = np.minimum(south + step, top), np.maximum(south, bottom)
    tall = np.where(high > low, np.sin(np.radians(high)) - np.sin(np.radians(low)), 0)
    return float(tall @ values @ wide / (tall.sum() * wide.sum()))


def expected_hours(name: str, stamps, row: int, col: int, km: int) -> float:
    """Mean over the cell and over the hours, in our units."""
    factor = next(entry[2] for product in NLDAS.values() for key, entry in product.items() if key == name)
    mean = np.mean([hourly(name, stamp).astype(np.float64) for stamp in stamps], axis=0)
    return factor * by_area(mean, LAT - 0.0625, LON - 0.0625, 0.125, row, col, km)


def expected_sand(row: int, col: int, km: int) -> float:
    """Mean sand of a cell."""
    south = 37.0 - SOIL_STEP * (np.arange(SOIL_SHAPE[0]) + 1)
    west = -102.0 + SOIL_STEP * np.arange(SOIL_SHAPE[1])
    return by_area(sand_field().astype(float), south, west, SOIL_STEP, row, col, km)
