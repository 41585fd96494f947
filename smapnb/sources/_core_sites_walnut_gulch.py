"""The public soil sensors of the Walnut Gulch Experimental Watershed, one Parquet file a sensor and year.

A helper of `smapnb.sources.core_sites`; what the files do not say of themselves is assumed here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.sources._core_sites_table import SITE_NAMES, CoreSiteError, assemble
from smapnb.variables import ZERO_CELSIUS

SITE = "1601"
SOURCE = "USDA-ARS Southwest Watershed Research Center, Walnut Gulch Experimental Watershed; public domain"
SENSORS = "sensor_coords.csv"
FILE_NAME = re.compile(r"(rg\d+)vt\d{2}\.parquet")
CALENDAR = ("site", "year", "day", "hr", "mn")
MOISTURE, TEMPERATURE = "SM5", "SM15"
DEPTH = 5.0  # cm
STEP = pd.Timedelta(minutes=30)
# Arizona keeps Mountain Standard Time all year.
MST_TO_UTC = pd.Timedelta(hours=7)


def open_walnut_gulch(folder: str | Path) -> xr.Dataset:
    """Read the public soil sensors of the Walnut Gulch Experimental Watershed.

    Parameters
    ----------
    folder : str or Path
        ``sensor_coords.csv`` (sensor, lat, lon, has_data, ...) and files like ``rg13vt19.parquet``, one a sensor and
        year.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and ``soil_temperature`` (K), (time, station, depth), float32: every half hour from
        the first to the last (UTC), stations ``1601/rg13``, one depth, 5 cm. Values outside the valid range are kept,
        counted and logged. Attributes: ``empty_rows`` (without a value, some of them at a wrong time; left
        out), ``sensors_without_file`` (JSON, as the list says).

    Raises
    ------
    FileNotFoundError
        No such folder, no list of sensors, no file of a sensor that the list says to have data.
    CoreSiteError
        A column lacks; a file or a row is of another sensor; a row with values has a time that stood there before, runs
        back, is no half hour, or does not agree with its own year, day, hour and minute; a column that should be empty
        holds values. File and time are named.

    Notes
    -----
    The files come without a description. What is assumed, and what speaks for it:

    - ``SM5`` is volumetric soil moisture at 5 cm in whole per cent; it is divided by 100.
    - ``SM15`` is, despite its name, the temperature of the soil in degrees Celsius: in June it swings from 22 at dawn
      to 43 at 15 h, its monthly means go from 7 in December to 33 in June, and its departures from the daily mean agree
      between sensors (median R 0.97). It is taken to be of the same probe, at 5 cm.
    - Times are Mountain Standard Time, without daylight saving: the soil is warmest at 15 h. The hour 24 of a day is
      the hour 0 of the next.
    - ``SM30`` to ``SM200`` are empty.
    """
    root = Path(folder)
    sensors = _sensors(root / SENSORS)
    files: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*.parquet")):
        name = FILE_NAME.fullmatch(path.name)
        if name is None or name[1] not in sensors.index:
            raise CoreSiteError(f"{path}: of no sensor in {SENSORS}")
        files.setdefault(name[1], []).append(path)
    lacking = [s for s in sensors.index[sensors["has_data"]] if s not in files]
    if lacking:
        raise FileNotFoundError(f"{root}: no file of sensor {lacking[0]}, which has data by {SENSORS}")
    counts: Counter[str] = Counter()
    # In the order of the list: rg100 after rg92.
    there = [sensor for sensor in sensors.index if sensor in files]
    tables = [_series(sensor, files[sensor], counts).assign(station=f"{SITE}/{sensor}") for sensor in there]
    records = pd.concat(tables, ignore_index=True).assign(depth=DEPTH, probe=0)
    places = sensors.loc[there, ["lat", "lon"]].assign(site=SITE, site_name=SITE_NAMES[SITE])
    places.index = pd.Index([f"{SITE}/{sensor}" for sensor in there])
    attrs = {
        "title": "Soil moisture of Walnut Gulch",
        "source": SOURCE,
        "empty_rows": counts["empty"],
        "sensors_without_file": json.dumps([sensor for sensor in sensors.index if sensor not in files]),
    }
    return assemble(_whole_axis(records), places, attrs, str(root))


def _sensors(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: it must list the sensors and their coordinates")
    table = pd.read_csv(path)
    lacking = [c for c in ("sensor", "lat", "lon", "has_data") if c not in table]
    if lacking:
        raise CoreSiteError(f"{path}, line 1: lacks the columns {lacking}")
    for name, limit in (("lat", 90), ("lon", 180)):
        values = pd.to_numeric(table[name], errors="coerce")
        bad = ~(values.abs() <= limit)
        if bad.any():
            line = int(np.argmax(bad)) + 2
            raise CoreSiteError(f"{path}, line {line}: {name} {table[name].iloc[line - 2]!r} is no {name}")
        table[name] = values.astype(float)
    twice = table["sensor"].duplicated()
    if twice.any():
        raise CoreSiteError(f"{path}, line {int(np.argmax(twice)) + 2}: {table['sensor'][twice].iloc[0]} stands twice")
    flags = table["has_data"].astype(str).str.strip().str.lower()
    if not flags.isin({"true", "false"}).all():
        line = int(np.argmin(flags.isin({"true", "false"}))) + 2
        raise CoreSiteError(f"{path}, line {line}: has_data is neither True nor False")
    return table.assign(has_data=flags == "true").set_index("sensor")


def _series(sensor: str, files: list[Path], counts: Counter[str]) -> pd.DataFrame:
    """Values of one sensor by UTC, in order, none twice."""
    parts = [_rows(sensor, path, counts) for path in files]
    table = pd.concat(parts)
    time = pd.DatetimeIndex(table["time"])
    back = np.flatnonzero(time[1:] <= time[:-1])
    if back.size:
        row = int(back[0]) + 1
        names = " and ".join(map(str, files))
        raise CoreSiteError(f"{names}: {time[row]} MST follows {time[row - 1]}: out of order or repeated")
    return table.assign(time=time + MST_TO_UTC)


def _rows(sensor: str, path: Path, counts: Counter[str]) -> pd.DataFrame:
    """Rows of one file that hold a value, at their local times."""
    frame = pd.read_parquet(path, engine="pyarrow")
    if "datetime" not in frame:
        frame = frame.reset_index()
    depths = [str(c) for c in frame.columns if re.fullmatch(r"SM\d+", str(c))]
    lacking = [c for c in ("datetime", *CALENDAR, MOISTURE, TEMPERATURE) if c not in frame]
    if lacking:
        raise CoreSiteError(f"{path}: lacks the columns {lacking}")
    for name in depths:
        if name not in (MOISTURE, TEMPERATURE) and frame[name].notna().any():
            raise CoreSiteError(f"{path}: the column {name} is empty in the public files; what it holds is not known")
    empty = frame[[MOISTURE, TEMPERATURE]].isna().all(axis=1)
    counts["empty"] += int(empty.sum())
    frame = frame[~empty]
    time = pd.DatetimeIndex(frame["datetime"]).as_unit("ns")
    number = int(sensor.removeprefix("rg"))
    day = pd.to_datetime(frame["year"].astype(str), format="%Y") + pd.to_timedelta(frame["day"] - 1, unit="D")
    told = day + pd.to_timedelta(frame["hr"], unit="h") + pd.to_timedelta(frame["mn"], unit="m")
    for bad, text in (
        (time.isna(), "no time"),
        (told.to_numpy() != time.to_numpy(), "the time is not that of its year, day, hour and minute"),
        (time != time.floor(STEP), "the time is no half hour"),
        ((frame["site"] != number).to_numpy(), f"the row is not of sensor {number}"),
    ):
        if bad.any():
            raise CoreSiteError(f"{path}: {time[int(np.argmax(bad))]} MST: {text}")
    moisture = frame[MOISTURE].to_numpy(dtype=float) / 100
    temperature = frame[TEMPERATURE].to_numpy(dtype=float) + ZERO_CELSIUS
    return pd.DataFrame({"time": time, "soil_moisture": moisture, "soil_temperature": temperature})


def _whole_axis(records: pd.DataFrame) -> pd.DataFrame:
    """Add the half hours at which no sensor has a value, so that a day's share of records can be told."""
    time = pd.date_range(records["time"].min(), records["time"].max(), freq=STEP, unit="ns")
    absent = time.difference(pd.DatetimeIndex(records["time"].unique()))
    empty = records.iloc[[0] * len(absent)].assign(time=absent, soil_moisture=np.nan, soil_temperature=np.nan)
    return pd.concat([records, empty], ignore_index=True) if len(absent) else records
