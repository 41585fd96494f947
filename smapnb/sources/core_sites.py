"""Dense validation sites, station by station: an open layout, Walnut Gulch's public sensors, and two SMAP team layouts.

Values come as they were measured, at their own times, in UTC and our units; range, frozen soil, daily means and weights
are the business of `smapnb.insitu`. Match-ups of NSIDC-0712 are already means of a site, and are read as such.

The open layout
---------------
One row a measurement, CSV (UTF-8, a header, commas) or Parquet, with these columns in any order and no others:

=================  =====================================================================================
site               number or id of the site, text (``1601``)
site_name          name of the site; optional
station            id of the station, text, unique in its site
lon, lat           degrees, WGS 84; the same in all rows of a station
depth              depth of the probe, cm
probe              number of the probe at that station and depth, from 0; optional, default 0
time               ISO 8601; UTC where it names no offset from it (``2019-07-01T12:30Z``)
soil_moisture      m3 m-3; an empty cell is missing
soil_temperature   K, at the same depth; an empty cell is missing; optional
=================  =====================================================================================

There is no code for missing values: -9999 would be kept, counted and reported as out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.sources._core_sites_calval import open_calval, read_reference_pixel, read_voronoi
from smapnb.sources._core_sites_matchup import read_matchup
from smapnb.sources._core_sites_table import SITE_NAMES, CoreSiteError, assemble, first_repeated, lines_of
from smapnb.sources._core_sites_walnut_gulch import open_walnut_gulch
from smapnb.sources._text_cells import numbers

__all__ = [
    "SITE_NAMES",
    "CoreSiteError",
    "open_calval",
    "open_walnut_gulch",
    "read_matchup",
    "read_open",
    "read_reference_pixel",
    "read_voronoi",
    "write_open",
]

REQUIRED = ("site", "station", "lon", "lat", "depth", "time", "soil_moisture")
OPTIONAL = {"site_name": "", "probe": "0", "soil_temperature": ""}
Fault = Callable[[int, str], CoreSiteError]
COORDINATES = {"lon": 180.0, "lat": 90.0}


def read_open(path: str | Path) -> xr.Dataset:
    """Read a file in the open layout.

    Parameters
    ----------
    path : str or Path
        ``.csv`` or ``.parquet``, of one site or several; the columns are those of the module's description.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and, where it is given, ``soil_temperature`` (K): (time, station, depth[, probe]),
        float32, at every time that any station has. Coordinates of station (``<site>/<station>``): site, site_name,
        lat, lon.

    Raises
    ------
    FileNotFoundError
        No such file.
    CoreSiteError
        Columns lacking or unknown, a cell that is no number or time, a station with two places, a measurement that
        stands twice; file and line (row, in Parquet) are named.
    """
    path = Path(path)
    cells, word, first = _open_cells(path)

    def fault(row: int, text: str) -> CoreSiteError:
        return CoreSiteError(f"{path}, {word} {first + row}: {text}")

    def numeric(name: str, empty: bool = False) -> np.ndarray:
        return numbers(cells[name], lambda row, text: fault(row, f"{name} {text}"), empty)

    records = pd.DataFrame(
        {
            "station": [f"{site}/{station}" for site, station in zip(cells["site"], cells["station"], strict=True)],
            "depth": numeric("depth"),
            "probe": numeric("probe"),
            "time": _times(cells["time"], fault),
            "soil_moisture": numeric("soil_moisture", empty=True),
            "soil_temperature": numeric("soil_temperature", empty=True),
        }
    )
    for name, bad in (
        ("depth", records["depth"] < 0),
        ("probe", (records["probe"] < 0) | (records["probe"] % 1 != 0)),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise fault(row, f"{name} {records[name].iloc[row]:g} is negative or no whole number")
    places = _places(cells, records["station"], {name: numeric(name) for name in COORDINATES}, fault)
    again = first_repeated(records)
    if again is not None:
        one = records.iloc[again]
        raise fault(again, f"station {one['station']}, {one['depth']:g} cm, {one['time']} stands there twice")
    attrs = {"title": "Soil moisture of dense sites", "source": f"{path.name}, open layout"}
    return assemble(records, places, attrs, str(path))


def write_open(dataset: xr.Dataset, path: str | Path) -> Path:
    """Write measurements in the open layout, so that `read_open` gives them back.

    Parameters
    ----------
    dataset : xarray.Dataset
        As from `read_open`.
    path : str or Path
        ``.csv`` or ``.parquet``. It is there only when it is whole.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    CoreSiteError
        Another suffix.
    """
    path = Path(path)
    names = [n for n in ("soil_moisture", "soil_temperature") if n in dataset]
    frame = dataset[names].to_dataframe().reset_index()
    frame["station"] = [s.removeprefix(f"{site}/") for s, site in zip(frame["station"], frame["site"], strict=True)]
    if "probe" in dataset.dims:
        frame["probe"] = frame["probe"] if "probe" in frame else frame.groupby(list(frame.columns[:3])).cumcount()
    order = ["site", "site_name", "station", "lon", "lat", "depth", "probe", "time", *names]
    frame = frame[[name for name in order if name in frame]]
    frame["time"] = pd.DatetimeIndex(frame["time"]).tz_localize("UTC")
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix == ".parquet":
            frame.to_parquet(partial, engine="pyarrow", index=False)
        elif path.suffix == ".csv":
            frame["time"] = [t.isoformat().replace("+00:00", "Z") for t in frame["time"]]
            frame.to_csv(partial, index=False, lineterminator="\n")
        else:
            raise CoreSiteError(f"{path}: the open layout is .csv or .parquet")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _open_cells(path: Path) -> tuple[dict[str, list], str, int]:
    """Cells by column, what a row is called, the number of the first; optional columns are filled."""
    if path.suffix == ".parquet":
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        frame = pd.read_parquet(path, engine="pyarrow")
        header = [str(c) for c in frame.columns]
        table = {str(name): ["" if pd.isna(v) else str(v) for v in frame[name]] for name in frame.columns}
        word, first, n = "row", 1, len(frame)
    else:
        rows = lines_of(path, quotes=True)
        if not rows:
            raise CoreSiteError(f"{path}: empty file")
        header = rows.pop(0)
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise CoreSiteError(f"{path}, line {number}: {len(row)} fields, the header has {len(header)}")
        table = {name: [row[i] for row in rows] for i, name in enumerate(header)}
        word, first, n = "line", 2, len(rows)
    lacking = [c for c in REQUIRED if c not in header]
    unknown = sorted(set(header) - {*REQUIRED, *OPTIONAL})
    if lacking or unknown or len(table) < len(header):
        raise CoreSiteError(f"{path}: columns lacking {lacking}, unknown {unknown}, or one of {header} twice")
    if not n:
        raise CoreSiteError(f"{path}: a header and no data")
    return {name: [default] * n for name, default in OPTIONAL.items()} | table, word, first


def _times(cells: list[str], fault: Fault) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce"))
    if times.hasnans:
        row = int(np.argmax(times.isna()))
        raise fault(row, f"time {cells[row]!r} is not of ISO 8601")
    return times.tz_localize(None).as_unit("ns")


def _places(
    cells: dict[str, list], stations: pd.Series, coordinates: dict[str, np.ndarray], fault: Fault
) -> pd.DataFrame:
    """One row a station, in the order of their first rows."""
    for name, limit in COORDINATES.items():
        beyond = np.abs(coordinates[name]) > limit
        if beyond.any():
            row = int(np.argmax(beyond))
            raise fault(row, f"{name} {coordinates[name][row]} is beyond {limit:g} degrees")
    names = [name or SITE_NAMES.get(site, site) for name, site in zip(cells["site_name"], cells["site"], strict=True)]
    table = pd.DataFrame({"station": stations, "site": cells["site"], "site_name": names, **coordinates})
    for column in ("site", "station"):
        if "" in cells[column]:
            raise fault(cells[column].index(""), f"no {column}")
    first = table.groupby("station", sort=False).transform("first")
    moved = (table[["lat", "lon", "site_name"]] != first[["lat", "lon", "site_name"]]).any(axis=1)
    if moved.any():
        row = int(np.argmax(moved))
        raise fault(row, f"station {stations.iloc[row]} stands at another place, or has another name, than before")
    return table.drop_duplicates("station").set_index("station")
