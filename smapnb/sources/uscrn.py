"""U.S. Climate Reference Network: daily01 and hourly02 files, one or many, to soil moisture and temperature.

Values stay as the archive has them, layer means of up to three probes after its own quality control; frozen soil, range
and completeness are left to `smapnb.insitu`. A value outside its range is counted and kept.

References
----------
Bell et al. (2013), https://doi.org/10.1175/JHM-D-12-0146.1. Files and their description: National Centers for
Environmental Information, https://www.ncei.noaa.gov/pub/data/uscrn/products/ (daily01, hourly02). Public domain.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import variables
from smapnb.sources._uscrn_folder import (
    COORDINATE_TOLERANCE,
    choose,
    compare_coordinates,
    daily_files,
    join,
    known_stations,
)
from smapnb.sources._uscrn_stations import NETWORK, on_trial, read_site_info, read_stations
from smapnb.sources._uscrn_text import DAILY, DEPTHS, HOURLY, Product, UscrnError, instants, read_table

__all__ = [
    "NETWORK",
    "UscrnError",
    "on_trial",
    "open_folder",
    "read_daily",
    "read_daily_table",
    "read_hourly",
    "read_hourly_table",
    "read_site_info",
    "read_stations",
]

log = logging.getLogger(__name__)

SOURCE = "U.S. Climate Reference Network, {}, NOAA National Centers for Environmental Information; Bell et al. (2013)"
LICENCE = "public domain"
STATIONS = "stations.tsv"


def read_daily_table(path: str | Path) -> pd.DataFrame:
    """Read all 28 fields of a daily01 file.

    Parameters
    ----------
    path : str or Path
        Raw text, or a CSV with the fields' names in the first line.

    Returns
    -------
    pandas.DataFrame
        One row a local standard day, the archive's own names and units (degrees Celsius, mm, MJ m-2, %, m3 m-3);
        WBANNO, CRX_VN and SUR_TEMP_DAILY_TYPE are text, LST_DATE is datetime64[ns], all else float64. Missing is NaN:
        -99 in soil moisture, -9999 and -99999 everywhere, -9 in CRX_VN.

    Raises
    ------
    UscrnError
        The file breaks the layout: wrong number of fields, unparsable number, bad date, date out of order or repeated,
        another station's number. The message names file and line.
    """
    return read_table(path, DAILY)


def read_hourly_table(path: str | Path) -> pd.DataFrame:
    """Read all 38 fields of an hourly02 file, in the manner of `read_daily_table`.

    Returns
    -------
    pandas.DataFrame
        One row an hour; UTC_TIME and LST_TIME are text of four digits and mark the end of the hour, quality flags
        (0 good, 3 bad) are Int16. Flagged values stay; soil moisture and temperature have no flag.

    Raises
    ------
    UscrnError
        As `read_daily_table`.
    """
    return read_table(path, HOURLY)


def read_daily(path: str | Path) -> xr.Dataset:
    """Read soil moisture and temperature of one station from a daily01 file.

    Parameters
    ----------
    path : str or Path
        Raw text, or a CSV with the fields' names in the first line.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and ``soil_temperature`` (K), (time, site, depth), float32; the one site is its WBAN
        number of five digits, depth 5, 10, 20, 50, 100 cm; coordinates lat and lon are the last that the file prints.
        A day is the local standard day, and only days that the file has are there.

    Raises
    ------
    UscrnError
        As `read_daily_table`.
    """
    return _dataset(path, read_daily_table(path), DAILY, "local standard day")


def read_hourly(path: str | Path) -> xr.Dataset:
    """Read soil moisture and temperature of one station from an hourly02 file.

    Returns
    -------
    xarray.Dataset
        As `read_daily`, but ``time`` is the end of the hour in UTC: the value of 12:00 is of 11:00 to 12:00. An
        overpass at 6 a.m. local solar time is matched by the first time not before it.

    Raises
    ------
    UscrnError
        As `read_daily_table`.
    """
    dataset = _dataset(path, read_hourly_table(path), HOURLY, "UTC, end of the hour")
    dataset["time"].attrs["long_name"] = "end of the hour, UTC"
    return dataset


def open_folder(
    folder: str | Path,
    stations: Sequence[str] | None = None,
    years: Sequence[int] | None = None,
    network: str | None = "USCRN",
    metadata: str | Path | pd.DataFrame | None = None,
) -> xr.Dataset:
    """Read the daily01 files of a folder and of all folders in it: stations by days.

    Parameters
    ----------
    folder : str or Path
        Raw files, in folders of years or not, and CSV files with the fields' names; the files' names matter only in
        that a year in them saves reading those of other years.
    stations : sequence of str, optional
        WBAN numbers; None: all that are there and commissioned.
    years : sequence of int, optional
        Years of the local standard day; None: all.
    network : str, optional
        Keep the stations of this network alone ("USCRN", "USRCRN", ...); None: all. That network has stations in
        Alaska, Hawaii and abroad as well, which `smapnb.insitu.crn_exclusions` counts.
    metadata : str, Path or pandas.DataFrame, optional
        List of the stations, a file or what `read_stations` gives; default ``stations.tsv`` in `folder`.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and ``soil_temperature`` (K), (time, site, depth), float32; every day from the first
        to the last, NaN where a station has no line. Coordinates of site: name, lat, lon, network, operation, all from
        the list of stations. Attributes: ``files_read``, ``files_left_out`` (no daily01 file of one station),
        ``sites_of_other_networks``, ``sites_not_commissioned``, ``repeated_days`` (in two files, with the same values).

    Raises
    ------
    FileNotFoundError
        No such folder, no list of stations, no file of a station that was asked for, no file at all.
    UscrnError
        As `read_daily_table`; a station that is not in the list; a day with different values in two files.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: it must hold daily01 files")
    known = known_stations(root / STATIONS if metadata is None else metadata)
    files, left_out = daily_files(root, years)
    chosen, others, tests = choose(files, known, stations, network, root)
    tables, repeated = {}, 0
    for site, paths in chosen.items():
        parts = [(path, read_daily_table(path)) for path in paths]
        for path, table in parts:
            compare_coordinates(path, table, site, known)
        tables[site], again = join(site, parts)
        repeated += again
    if years is not None:
        tables = {site: t[np.isin(pd.DatetimeIndex(t.index).year, list(years))] for site, t in tables.items()}
        tables = {site: t for site, t in tables.items() if len(t)}
    if not tables:
        raise FileNotFoundError(f"{root}: no daily01 lines of network {network}, stations {stations}, years {years}")
    if left_out:
        log.info("%s: left out as no daily01 file of one station: %s", root, ", ".join(left_out))
    attrs = {
        "files_read": sum(len(paths) for paths in chosen.values()),
        "files_left_out": json.dumps(left_out),
        "sites_of_other_networks": len(others),
        "sites_not_commissioned": len(tests),
        "repeated_days": repeated,
    }
    dataset = _stack(tables, known, attrs)
    variables.check(dataset, str(root))
    return dataset


def _dataset(path: str | Path, table: pd.DataFrame, product: Product, day: str) -> xr.Dataset:
    """One station's table to a Dataset with the place that its lines print."""
    places = table[["LATITUDE", "LONGITUDE"]].dropna()
    if places.empty:
        raise UscrnError(f"{path}: no line has coordinates")
    if float((places.max() - places.min()).max()) > COORDINATE_TOLERANCE:
        log.warning("%s: the printed coordinates change; the last are taken", path)
    shape = (len(table), 1, len(DEPTHS))
    moisture = table[product.moisture].to_numpy().reshape(shape)
    temperature = table[product.temperature].to_numpy().reshape(shape) + variables.ZERO_CELSIUS
    last = places.iloc[-1]
    coords = {
        "time": instants(table, product),
        "site": _site([table["WBANNO"].iloc[0]]),
        "depth": _depth(),
        "lat": ("site", [float(last["LATITUDE"])], {"units": "degrees_north", "long_name": "latitude"}),
        "lon": ("site", [float(last["LONGITUDE"])], {"units": "degrees_east", "long_name": "longitude"}),
    }
    dataset = _describe({"soil_moisture": moisture, "soil_temperature": temperature}, coords, product, day)
    variables.check(dataset, str(path))
    return dataset


def _describe(values: dict, coords: dict, product: Product, day: str) -> xr.Dataset:
    fields = {name: (("time", "site", "depth"), array.astype(np.float32)) for name, array in values.items()}
    attrs = {
        "title": f"Soil moisture and temperature, {product.name}",
        "source": SOURCE.format(product.name),
        "license": LICENCE,
        "day": day,
        "provenance": "exact",
        "synthetic": "false",
    }
    return variables.describe(xr.Dataset(fields, coords=coords, attrs=attrs))


def _site(numbers: Sequence[str]) -> tuple:
    return ("site", np.array(numbers, dtype=str), {"long_name": "WBAN number"})


def _depth() -> tuple:
    return ("depth", np.array(DEPTHS, dtype=float), {"units": "cm", "long_name": "depth of the probes"})


def _stack(tables: dict[str, pd.DataFrame], known: pd.DataFrame, attrs: dict) -> xr.Dataset:
    """Tables of stations to one Dataset over all their days."""
    first = min(table.index[0] for table in tables.values())
    last = max(table.index[-1] for table in tables.values())
    time = pd.date_range(first, last, freq="D", unit="ns")
    whole = np.stack([table.reindex(time).to_numpy() for table in tables.values()], axis=1)
    values = {
        "soil_moisture": whole[..., : len(DEPTHS)],
        "soil_temperature": whole[..., len(DEPTHS) :] + variables.ZERO_CELSIUS,
    }
    rows = known.loc[list(tables)]
    lacking = rows[["LATITUDE", "LONGITUDE"]].isna().any(axis=1)
    if lacking.any():
        raise UscrnError(f"station {lacking.idxmax()} has no coordinates in the list of stations")
    names = [" ".join(row[["STATE", "LOCATION", "VECTOR"]].dropna()) for _, row in rows.iterrows()]

    def text(column: str) -> np.ndarray:
        return np.array(rows[column].fillna("").to_list(), dtype=str)

    coords = {
        "time": time,
        "site": _site(list(tables)),
        "depth": _depth(),
        "name": ("site", np.array(names, dtype=str), {"long_name": "state, place, distance and direction from it"}),
        "lat": ("site", rows["LATITUDE"].to_numpy(), {"units": "degrees_north", "long_name": "latitude"}),
        "lon": ("site", rows["LONGITUDE"].to_numpy(), {"units": "degrees_east", "long_name": "longitude"}),
        "network": ("site", text("NETWORK"), {"long_name": "network"}),
        "operation": ("site", text("OPERATION"), {"long_name": "operation"}),
    }
    return _describe(values, coords, DAILY, "local standard day").assign_attrs(attrs)
