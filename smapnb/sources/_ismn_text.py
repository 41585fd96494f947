"""One sensor's file of the International Soil Moisture Network, in either layout, to a table held to that layout.

A helper of `smapnb.sources.ismn`; it keeps every value and every flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.sources._text_cells import Fault, in_order, number_or_nan, numbers

# Station and sensor may hold any mark, underscores too, so the name is read from its end.
FILE_NAME = re.compile(
    r"_(?P<variable>[a-z0-9]+)_(?P<top>-?\d+\.\d+)_(?P<bottom>-?\d+\.\d+)_(?P<sensor>.+)_\d{8}_\d{8}\.stm$"
)
DATE = re.compile(r"\d{4}/\d{2}/\d{2}")
ROW_TOKENS = 5  # date, time, value, flag, provider's flag
CEOP_TOKENS = (
    15  # nominal and actual date and time, network twice, station, lat, lon, elevation, from, to, and the last 3
)
PLACE_NUMBERS = 5  # lat, lon, elevation, from, to


class IsmnError(ValueError):
    """A file does not obey the network's layout; the message names the file and the line."""


@dataclass(frozen=True)
class Sensor:
    """What a file says of its sensor; depths in metres, `table` has time (UTC), value, flag, provider_flag."""

    path: Path
    variable: str
    network: str
    station: str
    lat: float
    lon: float
    elevation: float
    top: float
    bottom: float
    sensor: str
    table: pd.DataFrame


def variable_of(path: Path) -> str | None:
    """Tell the variable of a file by its name (``sm``, ``ts``, ...); None: it is not named like a sensor's file."""
    found = FILE_NAME.search(path.name)
    return found["variable"] if found else None


def names_of(path: Path) -> tuple[str, str]:
    """Tell network and station of a file from its first line; folders and names of files leave out odd marks."""
    with path.open(encoding="utf-8", errors="replace") as file:
        tokens = file.readline().split()
    ceop = bool(tokens) and bool(DATE.fullmatch(tokens[0]))
    place, _ = _place(tokens[4:-3] if ceop else tokens, ceop, lambda text: IsmnError(f"{path}, line 1: {text}"))
    return place["network"], place["station"]


def read_file(path: str | Path) -> Sensor:
    """Read one sensor's file; see `smapnb.sources.ismn.read_sensor`."""
    path = Path(path)
    name = FILE_NAME.search(path.name)
    if name is None:
        raise IsmnError(f"{path}: its name does not end in _<variable>_<from>_<to>_<sensor>_<start>_<end>.stm")
    rows = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").split("\n")]
    while rows and not rows[-1]:
        rows.pop()
    if not rows or not rows[0]:
        raise IsmnError(f"{path}, line 1: empty")

    def fault(line: int, text: str) -> IsmnError:
        return IsmnError(f"{path}, line {line}: {text}")

    ceop = bool(DATE.fullmatch(rows[0][0]))
    first, due = (1, CEOP_TOKENS) if ceop else (2, ROW_TOKENS)
    # CEOP repeats the place in each row, where a name may hold blanks; a header has the sensor after the numbers.
    place, spare = _place(rows[0][4:-3] if ceop else rows[0], ceop, lambda text: fault(1, text))
    if ceop:
        due += spare
    for line, row in enumerate(rows[first - 1 :], start=first):
        if len(row) != due:
            raise fault(line, f"{len(row)} fields, {due} are due")
        if ceop and row[4:-3] != rows[0][4:-3]:
            raise fault(line, "another place or depth than in the first line")
    data = rows[first - 1 :]
    if not data:
        raise IsmnError(f"{path}: a header and no data")
    table = _table(data, lambda row, text: fault(first + row, text))
    sensor = place.pop("sensor") or name["sensor"]
    depths = (float(name["top"]), float(name["bottom"]))
    # File names have six decimals, the files two to four.
    if max(abs(depths[0] - place["top"]), abs(depths[1] - place["bottom"])) > 0.01:
        raise fault(1, f"depth {place['top']:g} to {place['bottom']:g} m, the name says {depths[0]:g} to {depths[1]:g}")
    place |= {"top": depths[0], "bottom": depths[1]}
    return Sensor(path=path, variable=name["variable"], sensor=sensor, table=table, **place)


def _place(tokens: list[str], ceop: bool, fault: Callable[[str], IsmnError]) -> tuple[dict, int]:
    """Network, station, coordinates and depths, and how many tokens the station's name has beyond one.

    The name ends where five numbers in a row begin.
    """
    for i in range(3, len(tokens) - PLACE_NUMBERS + 1):
        found = [number_or_nan(token) for token in tokens[i : i + PLACE_NUMBERS]]
        rest = tokens[i + PLACE_NUMBERS :]
        if np.isfinite(found).all() and not (ceop and rest):
            lat, lon, elevation, top, bottom = found
            if not (abs(lat) <= 90 and abs(lon) <= 180):
                raise fault(f"latitude {lat:g}, longitude {lon:g} are no place on Earth")
            station = " ".join(tokens[2:i])
            names = {"network": tokens[1], "station": station, "sensor": " ".join(rest).strip("'")}
            return names | {"lat": lat, "lon": lon, "elevation": elevation, "top": top, "bottom": bottom}, i - 3
    raise fault("no network, station, latitude, longitude, elevation and two depths")


def _table(data: list[list[str]], fault: Fault) -> pd.DataFrame:
    """Columns time, value, flag and provider_flag of the rows of data; `fault` counts these from 0."""
    values = numbers([row[-3] for row in data], lambda row, text: fault(row, f"value {text}"), empty=True)
    flags = {
        name: pd.Series([row[k] for row in data], dtype="str") for name, k in (("flag", -2), ("provider_flag", -1))
    }
    return pd.DataFrame({"time": _times([f"{row[0]} {row[1]}" for row in data], fault), "value": values, **flags})


def _times(texts: list[str], fault: Fault) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(pd.to_datetime(texts, format="%Y/%m/%d %H:%M", errors="coerce")).as_unit("ns")
    good = times.notna() & np.array([len(text) == 16 for text in texts])
    if not good.all():
        row = int(np.argmin(good))
        raise fault(row, f"{texts[row]!r} is no time YYYY/MM/DD HH:MM")
    in_order(times, fault)
    return times
