"""The calibration and validation team's station layout, for those who have it: measurements, coordinates, weights.

A helper of `smapnb.sources.core_sites`. The layout is known from the first author's published scripts alone, which were
read for facts; what they do not tell is named where it is assumed.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.sources._core_sites_table import SITE_NAMES, TIME, CoreSiteError, assemble, lines_of
from smapnb.sources._text_cells import number_or_nan, numbers, times_of
from smapnb.variables import ZERO_CELSIUS

log = logging.getLogger(__name__)

# Below these, a value stands for none.
LOWEST = {"SM": 0.0, "ST": -100.0}
SAME_PLACE = 1e-4  # degrees
WEIGHT_TOLERANCE = 0.1
KEY = ["depth", "probe", "time"]
VALUES = ["soil_moisture", "soil_temperature"]


def open_calval(folder: str | Path, sites: Sequence[str] | None = None, utc_offset_hours: float = 0.0) -> xr.Dataset:
    """Read the stations of core sites in the calibration and validation layout.

    Parameters
    ----------
    folder : str or Path
        Holds ``<SSSS...>/dataqc/<SSSSnnn>/*.txt`` (SSSS the site, nnn the station) and
        ``coresiteinfo/<SS...>/<SSSS>_COORD*.csv``.
    sites : sequence of str, optional
        Numbers of sites, as "1601"; None: all that are there.
    utc_offset_hours : float
        What local time is ahead of UTC, if the files are in local time. The layout does not say; 0 takes them as UTC.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3) and ``soil_temperature`` (K): (time, station, depth[, probe]), float32. In a file,
        line 2 names the columns (Yr, Mo, Day, Hr, Min, SM, ST), line 3 gives the depth of each SM and ST in metres,
        data follow; several columns of one kind and depth are probes. SM below 0 and ST below -100 degrees Celsius are
        missing. Stations whose coordinates are not given have NaN and are logged. Attributes: ``missing_codes`` and
        ``repeated_records`` (with the same values, taken once).

    Raises
    ------
    FileNotFoundError
        No such folder, site, or station.
    CoreSiteError
        A file breaks the layout, or a measurement stands twice with different values; file and line are named.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: it must hold the calibration and validation layout")
    there = {p.name[:4]: p for p in sorted(root.iterdir()) if (p / "dataqc").is_dir()}
    chosen = sorted(there) if sites is None else list(sites)
    for site in chosen:
        if site not in there:
            raise FileNotFoundError(f"{root}: no folder of site {site} with a folder dataqc; there are {sorted(there)}")
    counts: Counter[str] = Counter()
    tables, places = [], []
    for site in chosen:
        known = _coordinates(root, site)
        for station, files in _stations(there[site] / "dataqc", site):
            tables.append(_station_table(files, counts).assign(station=f"{site}/{station}"))
            lat, lon = known.get(station, (np.nan, np.nan))
            names = {"site": site, "site_name": SITE_NAMES.get(site, site)}
            places.append({"station": f"{site}/{station}", **names, "lat": lat, "lon": lon})
    if not tables:
        raise FileNotFoundError(f"{root}: no station in the sites {chosen}")
    table = pd.DataFrame(places).set_index("station")
    nowhere = table.index[table["lat"].isna()].to_list()
    if nowhere:
        log.warning("%s: no coordinates of %d stations: %s", root, len(nowhere), ", ".join(nowhere))
    records = pd.concat(tables, ignore_index=True)
    records["time"] -= pd.Timedelta(hours=utc_offset_hours)
    attrs = {
        "title": "Soil moisture of SMAP core validation sites",
        "source": "SMAP calibration and validation team; Colliander et al. (2017)",
        "missing_codes": json.dumps({name: counts[name] for name in LOWEST}),
        "repeated_records": counts["repeated"],
    }
    return assemble(records, table, attrs, str(root))


def read_voronoi(path: str | Path) -> pd.Series:
    """Read the area weights of a pixel's stations, ``voronoi_<pixel>*.txt``.

    Parameters
    ----------
    path : str or Path
        Line 2 holds the numbers of the stations, line 3 their weights, between commas; in per cent or not.

    Returns
    -------
    pandas.Series
        Weight by station (``001``), as parts of 1 as printed, not normalised; its name is the pixel's id.

    Raises
    ------
    FileNotFoundError, CoreSiteError
        No such file; no pixel's id in the name; as many weights as stations are not there, or no numbers; the weights
        add up to neither 1 nor 100 within a tenth.
    """
    path = Path(path)
    pixel = _pixel(path, "voronoi")
    lines = lines_of(path, quotes=False)
    if len(lines) < 3:
        raise CoreSiteError(f"{path}: {len(lines)} lines, stations are due in line 2 and weights in line 3")
    stations = [_station(cell, pixel[:4]) for cell in lines[1]]
    return pd.Series(_weights(lines[2], len(stations), path, 3), index=_once(stations, path, 2), name=pixel)


def read_reference_pixel(path: str | Path) -> pd.DataFrame:
    """Read the weights of layers and stations of a reference pixel, ``refpix_<pixel>.txt``.

    Parameters
    ----------
    path : str or Path
        Comment lines begin with %; then the number of layers, perhaps a line of labels, the weights of the layers, and
        for each layer a line of stations (after a label) and a line of their weights (after the layer's depth).

    Returns
    -------
    pandas.DataFrame
        One row a layer and station: layer (from 0), depth (as printed; its unit is not documented), layer_weight,
        station, weight. Weights are parts of 1 as printed, or a hundredth of it where they are in per cent.

    Raises
    ------
    FileNotFoundError, CoreSiteError
        No such file; the file breaks the layout, or weights add up to neither 1 nor 100 within a tenth.
    """
    path = Path(path)
    pixel = _pixel(path, "refpix")
    lines = list(enumerate(lines_of(path, quotes=False), start=1))
    lines = [(n, row) for n, row in lines if any(row) and not row[0].startswith("%")]
    if not lines or not (len(lines[0][1]) == 1 and lines[0][1][0].isdigit()):
        raise CoreSiteError(f"{path}: the first line after the comments must be the number of layers")
    layers = int(lines[0][1][0])
    head = len(lines) - 2 * layers
    if layers < 1 or head not in (2, 3):
        raise CoreSiteError(
            f"{path}: {len(lines)} lines do not fit {layers} layers of two lines each and their weights"
        )
    number, row = lines[head - 1]
    layer_weights = _weights(row, layers, path, number)
    parts = []
    for i in range(layers):
        (n_stations, stations), (n_weights, weights) = lines[head + 2 * i : head + 2 * i + 2]
        names = _once([_station(cell, pixel[:4]) for cell in stations[1:]], path, n_stations)
        depth = number_or_nan(weights[0])
        if not np.isfinite(depth):
            raise CoreSiteError(f"{path}, line {n_weights}: depth {weights[0]!r} is not a number")
        table = {"station": names, "weight": _weights(weights[1:], len(names), path, n_weights)}
        parts.append(pd.DataFrame({"layer": i, "depth": depth, "layer_weight": layer_weights[i], **table}))
    return pd.concat(parts, ignore_index=True)


def _pixel(path: Path, word: str) -> str:
    found = re.match(rf"{word}_(\d{{8}})", path.name)
    if found is None:
        raise CoreSiteError(f"{path}: its name does not begin with {word}_ and the eight digits of a pixel")
    return found.group(1)


def _weights(cells: list[str], n: int, path: Path, line: int) -> np.ndarray:
    if len(cells) != n or not n:
        raise CoreSiteError(f"{path}, line {line}: {len(cells)} weights, {n} are due")
    values = numbers(cells, lambda i, text: CoreSiteError(f"{path}, line {line}: weight {i + 1}: {text}"))
    total = float(values.sum())
    for whole in (1.0, 100.0):
        if abs(total / whole - 1) <= WEIGHT_TOLERANCE and (values >= 0).all():
            return values / whole
    raise CoreSiteError(f"{path}, line {line}: weights that add up to {total:g}, or below 0; due are 1 or 100")


def _once(stations: list[str], path: Path, line: int) -> list[str]:
    twice = [name for name, count in Counter(stations).items() if count > 1]
    if twice:
        raise CoreSiteError(f"{path}, line {line}: stations {twice} stand there twice")
    return stations


def _station(text: str, site: str) -> str:
    """Name of a station in its site: the three digits after the site's number, or the text as it is."""
    text = text.strip()
    if len(text) > 4 and text.startswith(site):
        return text[4:]
    # Site numbers that begin with 0 are also written without it.
    return f"{int(text) % 1000:03d}" if text.isascii() and text.isdigit() else text


def _coordinates(root: Path, site: str) -> dict[str, tuple[float, float]]:
    """Latitude and longitude by station; where two versions of the list differ, the later name wins."""
    places: dict[str, tuple[float, float]] = {}
    for path in sorted((root / "coresiteinfo").glob(f"{site[:2]}*/{site}_COORD*.csv")):
        header, *rows = lines_of(path, quotes=True)
        lacking = [c for c in ("PointID", "Latitude", "Longitude") if c not in header]
        if lacking:
            raise CoreSiteError(f"{path}, line 1: lacks the columns {lacking}")
        for line, row in enumerate(rows, start=2):
            cells = dict(zip(header, row, strict=False))

            def fault(i: int, text: str, at: str = f"{path}, line {line}") -> CoreSiteError:
                return CoreSiteError(f"{at}: {('Latitude', 'Longitude')[i]} {text}")

            lat, lon = numbers([cells.get("Latitude", ""), cells.get("Longitude", "")], fault)
            station = _station(cells["PointID"], site)
            before = places.get(station, (lat, lon))
            if max(abs(before[0] - lat), abs(before[1] - lon)) > SAME_PLACE:
                log.warning(
                    "%s, line %d: station %s/%s stood at %s, now at %s", path, line, site, station, before, (lat, lon)
                )
            places[station] = (float(lat), float(lon))
    return places


def _stations(folder: Path, site: str) -> Iterator[tuple[str, list[Path]]]:
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and p.name.startswith(site)):
        files = sorted(path.glob("*.txt"))
        if not files:
            raise FileNotFoundError(f"{path}: a station without files")
        yield _station(path.name, site), files


def _station_table(files: list[Path], counts: Counter[str]) -> pd.DataFrame:
    """Measurements of one station from its files, each once."""
    table = pd.concat([_file_table(path, counts).assign(file=i) for i, path in enumerate(files)], ignore_index=True)
    again = table.duplicated(KEY, keep=False).to_numpy()
    if again.any():
        groups = table[again].groupby(KEY, dropna=False)[VALUES]
        spread = groups.transform(lambda column: column.nunique(dropna=False))
        if (spread > 1).to_numpy().any():
            bad = table.loc[spread.index[(spread > 1).any(axis=1)]]
            bad = bad[(bad[KEY] == bad[KEY].iloc[0]).all(axis=1)]
            where = " and ".join(f"{files[i]}, line {n}" for i, n in zip(bad["file"], bad["line"], strict=True))
            raise CoreSiteError(f"{where} differ at {bad['time'].iloc[0]}, {bad['depth'].iloc[0]:g} cm")
        kept = table.drop_duplicates(KEY)
        counts["repeated"] += len(table) - len(kept)
        table = kept
    return table[[*KEY, *VALUES]]


def _file_table(path: Path, counts: Counter[str]) -> pd.DataFrame:
    lines = lines_of(path, quotes=False)
    if len(lines) < 4:
        raise CoreSiteError(f"{path}: {len(lines)} lines, data are due from line 4")
    names, depths, rows = lines[1], lines[2], lines[3:]
    lacking = [c for c in (*TIME, "SM") if c not in names]
    if lacking:
        raise CoreSiteError(f"{path}, line 2: lacks the columns {lacking}")
    for number, row in enumerate(rows, start=4):
        if len(row) != len(names):
            raise CoreSiteError(f"{path}, line {number}: {len(row)} fields, line 2 has {len(names)} names")

    def fault(row: int, text: str) -> CoreSiteError:
        return CoreSiteError(f"{path}, line {row + 4}: {text}")

    def column(i: int) -> np.ndarray:
        return numbers([row[i] for row in rows], lambda row, text: fault(row, f"{names[i]}, column {i + 1}: {text}"))

    times = times_of({key: column(names.index(name)) for name, key in TIME.items()}, fault)
    series: dict[tuple[float, int], dict[str, np.ndarray]] = {}
    seen: Counter[tuple[str, float]] = Counter()
    for i, name in enumerate(names):
        if name in LOWEST:
            depth = _depth(depths, i, path)
            probe = seen[name, depth]
            seen[name, depth] += 1
            values = column(i)
            missing = values < LOWEST[name]
            counts[name] += int(missing.sum())
            values[missing] = np.nan
            kelvin = name == "ST"
            series.setdefault((depth, probe), {})[VALUES[kelvin]] = values + (ZERO_CELSIUS if kelvin else 0.0)
    empty = np.full(len(rows), np.nan)
    line = np.arange(4, 4 + len(rows))
    tables = [
        pd.DataFrame({"depth": d, "probe": p, "time": times, "line": line, **{v: found.get(v, empty) for v in VALUES}})
        for (d, p), found in series.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _depth(cells: list[str], i: int, path: Path) -> float:
    """Depth in cm below the name of column `i`; the file has metres."""
    cell = cells[i] if i < len(cells) else ""
    metres = numbers([cell], lambda _, text: CoreSiteError(f"{path}, line 3: depth of column {i + 1}: {text}"))[0]
    return round(float(metres) * 100, 4)
