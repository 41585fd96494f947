"""The lists that come with the U.S. Climate Reference Network: its stations, and the soil around their probes.

They are read as they stand; choosing a network or a station is left to `smapnb.sources.uscrn`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.sources._text_cells import number_or_nan
from smapnb.sources._uscrn_text import UscrnError

TEXT_MISSING = ("", "NA", "UN")
NUMBERS = ("LATITUDE", "LONGITUDE", "ELEVATION")
NEEDED = ("WBAN", "STATE", "LOCATION", "VECTOR", "LATITUDE", "LONGITUDE", "OPERATION", "NETWORK")
SOIL_LAYERS = range(1, 10)
NETWORK = "USCRN"
COMMISSIONED = "Commissioned"  # the list's word


def on_trial(table: pd.DataFrame) -> pd.Series:
    """Tell which stations of USCRN the list does not call commissioned: tests and experiments.

    The paper's 114 are the others. Where the list lacks the column STATUS, none is on trial.
    """
    if "STATUS" not in table:
        return pd.Series(False, index=table.index)
    return (table["NETWORK"] == NETWORK) & (table["STATUS"] != COMMISSIONED)


def read_stations(path: str | Path) -> pd.DataFrame:
    """Read the network's list of stations, stations.tsv.

    Parameters
    ----------
    path : str or Path
        Text parted by tabs, with a header.

    Returns
    -------
    pandas.DataFrame
        One row a station, the file's own column names; LATITUDE and LONGITUDE (degrees) and ELEVATION (feet, as the
        file has it) are float64, all else text, so that the numbers WBAN, PAIRING and STATION_ID keep their leading
        zeros. ``NA``, ``UN`` and nothing are missing; a planned or closed station may have no WBAN. PAIRING and
        STATION_ID are not in every version of the file.

    Raises
    ------
    UscrnError
        A column lacks, a line has another number of fields, a coordinate is no number, a WBAN stands twice.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    header, *rows = [[cell.strip() for cell in line.rstrip("\r").split("\t")] for line in lines]
    lacking = [c for c in NEEDED if c not in header]
    if lacking:
        raise UscrnError(f"{path}, line 1: lacks the columns {lacking}")
    table: dict[str, list] = {name: [] for name in header}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UscrnError(f"{path}, line {number}: {len(row)} fields, the header has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            missing = cell in TEXT_MISSING
            if name in NUMBERS:
                value = float("nan") if missing else number_or_nan(cell)
                if not missing and not np.isfinite(value):
                    raise UscrnError(f"{path}, line {number}: {name} {cell!r} is not a number")
                table[name].append(value)
            else:
                table[name].append(None if missing else cell)
    frame = pd.DataFrame({n: pd.Series(v, dtype="float64" if n in NUMBERS else "str") for n, v in table.items()})
    twice = frame["WBAN"].notna() & frame["WBAN"].duplicated()
    if twice.any():
        at = int(np.argmax(twice))
        raise UscrnError(f"{path}, line {at + 2}: WBAN {frame['WBAN'].iloc[at]} stands there twice")
    return frame


def read_site_info(path: str | Path) -> pd.DataFrame:
    """Read crn_site_info.csv: depths of the probes and texture of the soil around them.

    Parameters
    ----------
    path : str or Path
        CSV of the U.S. Geological Survey, one line a station, nine blocks of columns for as many layers.

    Returns
    -------
    pandas.DataFrame
        One row a station and layer that has a depth: station_id, name, state (text), lat, lon (degrees), depth (cm),
        sand, silt, clay (%), texture (text), bulk_density (g cm-3); NaN where the file says nothing or no single
        number.

    Raises
    ------
    UscrnError
        A column lacks, or a line has another number of fields.
    """
    path = Path(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        header = [cell.strip() for cell in next(reader)]
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    own = {"station_id": "StationID", "name": "StationName", "state": "State", "lat": "Latitude", "lon": "Longitude"}
    layers = [_layer_columns(i) for i in SOIL_LAYERS]
    lacking = [c for c in (*own.values(), *(c for layer in layers for c in layer.values())) if c not in header]
    if lacking:
        raise UscrnError(f"{path}, line 1: lacks the columns {lacking}")
    found = []
    for number, row in rows:
        if len(row) != len(header):
            raise UscrnError(f"{path}, line {number}: {len(row)} fields, the header has {len(header)}")
        cells = {name: row[header.index(column)].strip() for name, column in own.items()}
        station: dict = cells | {"lat": number_or_nan(cells["lat"]), "lon": number_or_nan(cells["lon"])}
        for layer in layers:
            soil = {name: row[header.index(column)].strip() for name, column in layer.items()}
            texture = {"texture": soil.pop("texture") or None}
            numbers = {name: number_or_nan(cell) for name, cell in soil.items()}
            if np.isfinite(numbers["depth"]):
                found.append(station | numbers | texture)
    return pd.DataFrame(found)


def _layer_columns(i: int) -> dict[str, str]:
    percent = {part: f"Percent{part.capitalize()}{i}" for part in ("sand", "silt", "clay")}
    return {"depth": f"Depth{i}(cm)", **percent, "texture": f"SoilType{i}", "bulk_density": f"BulkDensity{i}(g/cc)"}
