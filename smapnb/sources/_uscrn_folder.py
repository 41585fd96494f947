"""Daily files of a folder: which there are, of which stations, and those of one station put together.

A helper of `smapnb.sources.uscrn`; a file that is named as one of the archive but cannot be read is an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.folders import files_below
from smapnb.sources._uscrn_stations import NETWORK, on_trial, read_stations
from smapnb.sources._uscrn_text import DAILY, UscrnError, first_station, read_table

log = logging.getLogger(__name__)

# Printed coordinates have two decimals, and a station's differ between years by hundredths; more is another place.
COORDINATE_TOLERANCE = 0.05
YEAR_IN_NAME = re.compile(r"CRND0103-(\d{4})-")


def known_stations(metadata: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Stations that have a number, by it."""
    if not isinstance(metadata, pd.DataFrame):
        if not Path(metadata).is_file():
            raise FileNotFoundError(f"no file {metadata}: it must list the stations and their coordinates")
        metadata = read_stations(metadata)
    return metadata[metadata["WBAN"].notna()].set_index("WBAN")


def daily_files(root: Path, years: Sequence[int] | None) -> tuple[dict[str, list[Path]], list[str]]:
    """Daily files by station, and the names of those that are no daily file of one station."""
    found: dict[str, list[Path]] = {}
    left_out = []
    for path in (p for p in files_below(root) if p.suffix.lower() in {".txt", ".csv"}):
        in_name = YEAR_IN_NAME.match(path.name)
        if in_name and years is not None and int(in_name.group(1)) not in years:
            continue
        # The archive's folder `updates` has files of one day and all stations.
        site = None if "updates" in path.relative_to(root).parts else first_station(path, DAILY)
        if site is not None:
            found.setdefault(site, []).append(path)
        elif in_name:
            read_table(path, DAILY)  # by its name a daily file: the reader says what is wrong with its first line
            raise UscrnError(f"{path}: its first line has no station number")
        else:
            left_out.append(str(path.relative_to(root)))
    return found, left_out


def choose(
    files: dict[str, list[Path]],
    known: pd.DataFrame,
    stations: Sequence[str] | None,
    network: str | None,
    root: Path,
) -> tuple[dict[str, list[Path]], list[str], list[str]]:
    """Files of the stations asked for; the stations that are of another network; those that are not commissioned.

    Where no stations are named, those of USCRN that are on trial do not count.
    """
    asked = sorted(files) if stations is None else sorted(set(stations))
    for site in asked:
        if site not in files:
            raise FileNotFoundError(f"{root}: no daily01 file of station {site}")
        if site not in known.index:
            raise UscrnError(f"{files[site][0]}: station {site} is not in the list of stations")
    network_of = known["NETWORK"].fillna("none").to_dict()
    others = [site for site in asked if network is not None and network_of[site] != network]
    if others and stations is not None:
        raise UscrnError(f"station {others[0]} is of the network {network_of[others[0]]}, not of {network}")
    if others:
        log.info("%s: %d stations of other networks than %s left out", root, len(others), network)
    trials = set(known.index[on_trial(known)]) if network == NETWORK and stations is None else set()
    tests = [site for site in asked if site in trials]
    if tests:
        log.info("%s: not commissioned and left out: %s", root, ", ".join(tests))
    return {site: files[site] for site in asked if site not in {*others, *tests}}, others, tests


def compare_coordinates(path: Path, table: pd.DataFrame, site: str, known: pd.DataFrame) -> None:
    """Warn where the coordinates that a file prints are far from those of the list, which are taken."""
    for name in ("LATITUDE", "LONGITUDE"):
        place = known.loc[[site], name].iloc[0]
        off = (table[name] - place).abs().max()
        if off > COORDINATE_TOLERANCE:
            at = f"{name} up to {off:.2f} degrees from the list of stations ({place}), which is taken"
            log.warning("%s: station %s prints a %s", path, site, at)


def join(site: str, parts: list[tuple[Path, pd.DataFrame]]) -> tuple[pd.DataFrame, int]:
    """One table of a station by day; a day in two files must have the same soil moisture and temperature in both."""
    columns = DAILY.moisture + DAILY.temperature
    whole = parts[0][1].set_index("LST_DATE")[columns]
    origin = dict.fromkeys(whole.index, parts[0][0])
    repeated = 0
    for path, table in parts[1:]:
        days = table.set_index("LST_DATE")[columns]
        both = days.index.intersection(whole.index)
        one, two = whole.loc[both].to_numpy(), days.loc[both].to_numpy()
        differ = np.argwhere((one != two) & ~(np.isnan(one) & np.isnan(two)))
        if len(differ):
            row, column = differ[0]
            values = f"{columns[column]} is {one[row, column]} and {two[row, column]}"
            raise UscrnError(f"station {site}, {both[row].date()}: {origin[both[row]]} and {path} differ: {values}")
        repeated += len(both)
        fresh = days.drop(index=both)
        origin |= dict.fromkeys(fresh.index, path)
        whole = pd.concat([whole, fresh])
    return whole.sort_index(), repeated
