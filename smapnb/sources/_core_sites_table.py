"""Long tables of a dense site's measurements to one Dataset, and text files to cells; each fault is named by its place.

A helper of `smapnb.sources.core_sites`: it knows no layout, only that a measurement has one place and one time.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import variables

DIMS = ("time", "station", "depth", "probe")
# Columns of the calendar in files of the calibration and validation team, and their parts.
TIME = {"Yr": "year", "Mo": "month", "Day": "day", "Hr": "hour", "Min": "minute"}
# Fang, Pan & Shen (2019), section II-C; the numbers are those of the calibration and validation team.
SITE_NAMES = {
    "0401": "Reynolds Creek",
    "0901": "Carman",
    "1601": "Walnut Gulch",
    "1602": "Little Washita",
    "1603": "Fort Cobb",
    "1604": "Little River",
    "1606": "St. Josephs",
    "1607": "South Fork",
    "4801": "TxSON",
}


class CoreSiteError(ValueError):
    """A file of a dense site does not obey its layout; the message names the file and the line."""


def assemble(records: pd.DataFrame, places: pd.DataFrame, attrs: dict, where: str) -> xr.Dataset:
    """Bring measurements to (time, station, depth), and probe where a station has more than one at some depth.

    Parameters
    ----------
    records : pandas.DataFrame
        One row a measurement: station (as in the index of `places`), depth (cm), probe (from 0), time (UTC,
        datetime64[ns]), soil_moisture (m3 m-3), soil_temperature (K). No station, depth, probe and time stands twice.
    places : pandas.DataFrame
        Index: the stations in their order, ``<site>/<station>``; columns site, site_name, lat, lon.
    attrs : dict
        Attributes of the Dataset.
    where : str
        File or folder, for the messages.

    Returns
    -------
    xarray.Dataset
        float32; soil_temperature is left out where it has no value at all.
    """
    time, i = np.unique(records["time"].to_numpy(), return_inverse=True)
    depth, k = np.unique(records["depth"].to_numpy(dtype=float), return_inverse=True)
    j = places.index.get_indexer(pd.Index(records["station"]))
    probe = records["probe"].to_numpy(dtype=int)
    shape = (time.size, len(places), depth.size, int(probe.max()) + 1)
    fields = {}
    for name in ("soil_moisture", "soil_temperature"):
        values = records[name].to_numpy(dtype=np.float32)
        if name == "soil_temperature" and not np.isfinite(values).any():
            continue
        cube = np.full(shape, np.nan, dtype=np.float32)
        cube[i, j, k, probe] = values
        fields[name] = (DIMS, cube) if shape[-1] > 1 else (DIMS[:-1], cube[..., 0])
    coords = {
        "time": time.astype("datetime64[ns]"),
        "station": ("station", places.index.to_numpy(dtype=str), {"long_name": "site and station"}),
        "depth": ("depth", depth, {"units": "cm", "long_name": "depth of the probe"}),
        "site": ("station", places["site"].to_numpy(dtype=str), {"long_name": "number of the site"}),
        "site_name": ("station", places["site_name"].to_numpy(dtype=str), {"long_name": "name of the site"}),
        "lat": ("station", places["lat"].to_numpy(dtype=float), {"units": "degrees_north", "long_name": "latitude"}),
        "lon": ("station", places["lon"].to_numpy(dtype=float), {"units": "degrees_east", "long_name": "longitude"}),
    }
    common = {"day": "UTC, as measured", "provenance": "exact", "synthetic": "false"}
    dataset = variables.describe(xr.Dataset(fields, coords=coords, attrs={**common, **attrs}))
    variables.check(dataset, where)
    return dataset


def first_repeated(records: pd.DataFrame) -> int | None:
    """Row of the first measurement whose station, depth, probe and time were there before; None: there is none."""
    again = records.duplicated(["station", "depth", "probe", "time"]).to_numpy()
    return int(np.argmax(again)) if again.any() else None


def lines_of(path: Path, quotes: bool) -> list[list[str]]:
    """Cells of a text file parted by commas, blank lines at the end left out.

    Without `quotes`, a quotation mark is a mark like any other and a comma at the end of a line counts for nothing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open(encoding="utf-8-sig", errors="replace", newline="" if quotes else None) as file:
        lines = csv.reader(file) if quotes else (line.rstrip().removesuffix(",").split(",") for line in file)
        rows = [[cell.strip() for cell in row] for row in lines]
    while rows and not any(rows[-1]):
        rows.pop()
    return rows
