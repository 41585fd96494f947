"""International Soil Moisture Network: an unpacked archive in either of its layouts to soil moisture and temperature.

Values that the network's own quality control flags are taken out and counted by flag; every sensor stays for itself,
and daily means are left to `smapnb.insitu`. Zip files are to be unpacked first. The data may not be passed on: none are
part of this package or of its tests.

The package `ismn` (1.5.4 was tried) reads the same files to the same values. It is not used: before it reads, it writes
an index into the folder of the data; a file that it takes for malformed it leaves out, with a line in a log there; it
gives one sensor a call, and needs two dozen packages more. Here a file that does not fit is an error with its line.

References
----------
Dorigo et al. (2021), https://doi.org/10.5194/hess-25-5749-2021; the flags: Dorigo et al. (2013),
https://doi.org/10.2136/vzj2012.0097.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import variables
from smapnb.folders import files_below
from smapnb.sources._ismn_text import IsmnError, Sensor, names_of, read_file, variable_of

__all__ = ["FLAGS", "IsmnError", "open_archive", "read_sensor", "read_static_variables"]

log = logging.getLogger(__name__)

SOURCE = "International Soil Moisture Network, https://ismn.earth; Dorigo et al. (2021)"
LICENCE = "registered users, not to be passed on; cite the network of each station"
MISSING = -9999.0
OURS = {"sm": "soil_moisture", "ts": "soil_temperature"}
SAME_PLACE = 0.01  # degrees; sensors of a station may have coordinates of their own
FLAGS = {
    "G": "good",
    "C01": "soil moisture below 0",
    "C02": "soil moisture above 0.60 m3 m-3",
    "C03": "soil moisture above saturation",
    "D01": "soil colder than 0 degrees Celsius, in situ",
    "D02": "air colder than 0 degrees Celsius, in situ",
    "D03": "soil colder than 0 degrees Celsius, GLDAS",
    "D04": "rise without rain, in situ",
    "D05": "rise without rain, GLDAS",
    "D06": "spike",
    "D07": "negative break",
    "D08": "positive break",
    "D09": "constant low values",
    "D10": "saturated plateau",
    "M": "missing",
    "U": "not checked",
}


def read_sensor(path: str | Path) -> Sensor:
    """Read one sensor's file in the layout header and values, or CEOP in separate files.

    Parameters
    ----------
    path : str or Path
        ``<network>_<network>_<station>_<variable>_<from>_<to>_<sensor>_<start>_<end>.stm``.

    Returns
    -------
    Sensor
        Its place, depths (m) and names, and a table of time (UTC; of the two times of CEOP the nominal), value (the
        file's unit: m3 m-3, degrees Celsius), flag and provider_flag (text, several joined by commas). Nothing is taken
        out.

    Raises
    ------
    IsmnError
        The name or a line breaks the layout: wrong number of fields, unparsable number, bad time, out of order or
        repeated. File and line are named.
    """
    return read_file(path)


def open_archive(
    folder: str | Path,
    networks: Collection[str] | None = None,
    stations: Collection[str] | None = None,
    keep: Collection[str] = ("G",),
) -> xr.Dataset:
    """Read the soil moisture and soil temperature of the networks in a folder.

    Parameters
    ----------
    folder : str or Path
        Unpacked archive, ``<network>/<station>/*.stm``, or one network's or station's folder of it.
    networks, stations : collection of str, optional
        Names as in the files; None: all that are there. The array holds all stations at all times and depths, so that
        an archive of many networks is better read network by network.
    keep : collection of str
        Flags of `FLAGS` whose values stay; a value with several flags stays if all of them are here. Soil temperature
        is filtered alike.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and ``soil_temperature`` (K): (time, station, depth[, probe]), float32, at every time
        that any sensor has (UTC). Station is ``<network>/<station>``; coordinates site (network), site_name, lat, lon,
        and ``sensor`` (station, depth[, probe]). Depth is the middle of the sensor's interval in cm (0 to 5 cm: 2.5).
        Where a station has several sensors at a depth each is a probe, in the order of their names; temperature goes to
        the probe of the same sensor, or else to the first probe without one. Attributes: ``flagged`` (JSON, values of
        each variable taken out, by flag), ``files_read``, ``files_of_other_variables``.

    Raises
    ------
    FileNotFoundError
        No such folder, no file of the networks and stations.
    IsmnError
        As `read_sensor`; a flag that the network does not have; two sensors of one name at one depth; sensors of a
        station that stand apart.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: it must hold an unpacked archive of the ISMN")
    unknown = sorted(set(keep) - set(FLAGS))
    if unknown:
        raise IsmnError(f"keep: flags {unknown}; there are {list(FLAGS)}")
    sensors, others = _sensors(root, networks, stations)
    flagged: dict[str, Counter[str]] = {name: Counter() for name in OURS.values()}
    series = [_kept(sensor, frozenset(keep), flagged[OURS[sensor.variable]]) for sensor in sensors]
    attrs = {
        "title": "Soil moisture and temperature of the International Soil Moisture Network",
        "source": SOURCE,
        "license": LICENCE,
        "day": "UTC, as measured",
        "provenance": "substitute",
        "synthetic": "false",
        "flagged": json.dumps({name: dict(sorted(counts.items())) for name, counts in flagged.items()}),
        "files_read": len(sensors),
        "files_of_other_variables": others,
    }
    dataset = _stack(sensors, series).assign_attrs(attrs)
    dataset = variables.describe(dataset)
    variables.check(dataset, str(root))
    return dataset


def read_static_variables(path: str | Path) -> pd.DataFrame:
    """Read what the network knows of a station's soil, land cover and climate, ``*_static_variables.csv``.

    Returns
    -------
    pandas.DataFrame
        One row a quantity, source and layer, the file's own columns: depth_from[m] and depth_to[m] are float64 (NaN
        where there is none, -99.9 in the file), all else is text; a value may be a number or a class.

    Raises
    ------
    IsmnError
        No header, or a line with another number of fields.
    """
    path = Path(path)
    # A resolution of 30" is not the start of a quotation, so the lines are split plainly.
    lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    header, *rows = [line.rstrip("\r").removesuffix(";").split(";") for line in lines]
    if header[0] != "quantity_name":
        raise IsmnError(f"{path}, line 1: {header[0]!r}, where quantity_name is due")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise IsmnError(f"{path}, line {number}: {len(row)} fields, the header has {len(header)}")
    table = pd.DataFrame(rows, columns=header, dtype="str")
    for name in ("depth_from[m]", "depth_to[m]"):
        depths = pd.to_numeric(table[name].replace("", "nan"), errors="coerce")
        table[name] = depths.where(depths > -99).astype(float)
    return table


def _sensors(
    root: Path, networks: Collection[str] | None, stations: Collection[str] | None
) -> tuple[list[Sensor], int]:
    """Sensors of our variables, of the networks and stations asked for, and the number of files of other variables."""
    files = files_below(root, "*.stm")
    ours = [path for path in files if variable_of(path) in OURS]
    unnamed = [path for path in files if variable_of(path) is None]
    if unnamed:
        read_file(unnamed[0])  # says what is wrong with the name
    places = {path: names_of(path) for path in ours}
    for i, (asked, what) in enumerate(((networks, "network"), (stations, "station"))):
        lacking = sorted(set(asked or ()) - {place[i] for place in places.values()})
        if lacking:
            raise FileNotFoundError(f"{root}: no file of the {what} {lacking[0]}")
        places = {path: place for path, place in places.items() if asked is None or place[i] in asked}
    found = [read_file(path) for path in places]
    if not any(sensor.variable == "sm" for sensor in found):
        raise FileNotFoundError(f"{root}: no .stm file of soil moisture of networks {networks}, stations {stations}")
    return found, len(files) - len(ours)


def _kept(sensor: Sensor, keep: frozenset[str], flagged: Counter[str]) -> pd.Series:
    """Values by time; those with a flag that is not kept are taken out and counted under each such flag."""
    table = sensor.table
    values = table["value"].where(table["value"] != MISSING)
    for text, rows in table.groupby("flag").groups.items():
        flags = set(str(text).split(","))
        unknown = sorted(flags - set(FLAGS))
        if unknown:
            raise IsmnError(
                f"{sensor.path}: flag {unknown[0]!r} at {table.loc[rows[0], 'time']} is none of the network's"
            )
        if not flags <= keep:
            values[rows] = np.nan
            flagged.update({flag: len(rows) for flag in flags - keep})
    values = values + (variables.ZERO_CELSIUS if sensor.variable == "ts" else 0.0)
    return pd.Series(values.to_numpy(dtype=np.float32), index=pd.DatetimeIndex(table["time"]))


def _depth(sensor: Sensor) -> float:
    return round(50 * (sensor.top + sensor.bottom), 4)


def _key(sensor: Sensor) -> tuple[str, float]:
    return f"{sensor.network}/{sensor.station}", _depth(sensor)


def _probes(sensors: list[Sensor]) -> list[int]:
    """Probe of each sensor: moisture in the order of names, temperature beside the moisture of the same instrument."""
    probes: dict[int, int] = {}
    for key in dict.fromkeys(map(_key, sensors)):
        own = [i for i, sensor in enumerate(sensors) if _key(sensor) == key]
        by_name: dict[str, int] = {}
        for kind in OURS:
            ordered = sorted((i for i in own if sensors[i].variable == kind), key=lambda i: sensors[i].sensor)
            for one, two in itertools.pairwise(ordered):
                if sensors[one].sensor == sensors[two].sensor:
                    raise IsmnError(f"{sensors[one].path} and {sensors[two].path}: one sensor in two files")
            beside = {i: by_name[sensors[i].sensor] for i in ordered if sensors[i].sensor in by_name}
            free = iter(n for n in range(len(own)) if n not in beside.values())
            probes |= {i: beside[i] if i in beside else next(free) for i in ordered}
            by_name |= {sensors[i].sensor: probes[i] for i in ordered if kind == "sm"}
    return [probes[i] for i in range(len(sensors))]


def _places(sensors: list[Sensor]) -> dict[str, Sensor]:
    """First sensor of each station, whose place is the station's; the others must stand there too."""
    places: dict[str, Sensor] = {}
    for sensor in sensors:
        first = places.setdefault(_key(sensor)[0], sensor)
        apart = max(abs(first.lat - sensor.lat), abs(first.lon - sensor.lon))
        if apart > SAME_PLACE:
            raise IsmnError(f"{first.path} and {sensor.path}: sensors of one station, {apart:.3f} degrees apart")
    return dict(sorted(places.items()))


def _stack(sensors: list[Sensor], series: list[pd.Series]) -> xr.Dataset:
    places, probes = _places(sensors), _probes(sensors)
    stations, depths = list(places), sorted({_depth(sensor) for sensor in sensors})
    time = pd.DatetimeIndex(np.unique(np.concatenate([one.index.to_numpy() for one in series]))).as_unit("ns")
    shape = (time.size, len(stations), len(depths), max(probes) + 1)
    fields = {OURS[v]: np.full(shape, np.nan, dtype=np.float32) for v in dict.fromkeys(s.variable for s in sensors)}
    names = np.full(shape[1:], "", dtype=f"<U{max(len(s.sensor) for s in sensors)}")
    for sensor, values, probe in zip(sensors, series, probes, strict=True):
        station, depth = _key(sensor)
        at = (stations.index(station), depths.index(depth), probe)
        fields[OURS[sensor.variable]][(time.get_indexer(values.index), *at)] = values
        names[at] = names[at] if sensor.variable == "ts" and names[at] else sensor.sensor
    one = shape[-1] == 1
    dims = ("time", "station", "depth") if one else ("time", "station", "depth", "probe")
    networks = np.array([sensor.network for sensor in places.values()], dtype=str)
    lat, lon = ([getattr(sensor, name) for sensor in places.values()] for name in ("lat", "lon"))
    coords = {
        "time": time,
        "station": ("station", np.array(stations, dtype=str), {"long_name": "network and station"}),
        "depth": ("depth", np.array(depths), {"units": "cm", "long_name": "middle of the sensor's interval"}),
        "site": ("station", networks, {"long_name": "network"}),
        "site_name": ("station", networks, {"long_name": "network"}),
        "lat": ("station", lat, {"units": "degrees_north", "long_name": "latitude"}),
        "lon": ("station", lon, {"units": "degrees_east", "long_name": "longitude"}),
        "sensor": (dims[1:], names[..., 0] if one else names, {"long_name": "instrument"}),
    }
    return xr.Dataset({n: (dims, a[..., 0] if one else a) for n, a in fields.items()}, coords=coords)
