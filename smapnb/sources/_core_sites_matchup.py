"""In-situ and SMAP match-ups of NSIDC-0712, one pixel a file, at the times of the overpasses.

A helper of `smapnb.sources.core_sites`. The moisture is a mean over the pixel already; no flag is applied to it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from smapnb import variables
from smapnb.sources._core_sites_table import SITE_NAMES, TIME, CoreSiteError, lines_of
from smapnb.sources._text_cells import in_order, numbers, times_of

MATCHUP_NAME = re.compile(r"NSIDC-0712_(\d{4})(\d{2})(\d{2})_([^_]+)_([^_]+)_(\d{8})_(\d{8})\.txt$")
FLAG_FILL = 65534  # as in SMAP's own files


def read_matchup(path: str | Path, option: int = 1, center: tuple[float, float] | None = None) -> xr.Dataset:
    """Read an in-situ and SMAP match-up of NSIDC-0712.

    Parameters
    ----------
    path : str or Path
        ``NSIDC-0712_<SSSSRRNN>_<product>_<version>_<start>_<end>.txt``: names of the columns in the second line, data
        from the first line that is all numbers.
    option : int
        Which of the retrievals, columns ``SM-<option>`` and ``Q-FLG-<option>``; the first is the product's own.
    center : (float, float), optional
        Longitude and latitude of the pixel, which the file does not give; NaN where None.

    Returns
    -------
    xarray.Dataset
        ``ssm_insitu`` and ``ssm_smap`` (m3 m-3), (time, site), float32, at the times of the overpasses (UTC); site is
        the pixel's id of eight digits; coordinates lat, lon, name and group (of the site), and ``quality_flag``
        (time, site), int32, the retrieval quality flag of SMAP, 65534 where the file has none. Negative moisture is
        missing; its number stands in the attribute ``n_negative`` of the variable.

    Raises
    ------
    FileNotFoundError
        No such file.
    CoreSiteError
        The name is not of this form; a column lacks; no line of numbers; a line with a wrong number of fields or a
        field that is no number; a bad date, out of order or repeated.

    References
    ----------
    https://doi.org/10.5067/DXAVIXLY18KM
    """
    path = Path(path)
    parts = MATCHUP_NAME.match(path.name)
    if parts is None:
        raise CoreSiteError(f"{path}: its name is not NSIDC-0712_<pixel>_<product>_<version>_<start>_<end>.txt")
    site, resolution, number, product, version, *_ = parts.groups()
    header, rows, first = _matchup_rows(path)

    def fault(row: int, text: str) -> CoreSiteError:
        return CoreSiteError(f"{path}, line {first + row}: {text}")

    def column(name: str, empty: bool = False) -> np.ndarray:
        i = header.index(name)
        return numbers([row[i] for row in rows], lambda row, text: fault(row, f"{name} {text}"), empty)

    wanted = (*TIME, "WASM", f"SM-{option}", f"Q-FLG-{option}")
    lacking = [name for name in wanted if name not in header]
    if lacking:
        raise CoreSiteError(f"{path}, line 2: lacks the columns {lacking}; there are {header}")
    times = times_of({key: column(name) for name, key in TIME.items()}, fault)
    in_order(times, fault)
    flag = column(f"Q-FLG-{option}", empty=True)
    fields = {
        "ssm_insitu": _moisture(column("WASM", empty=True)),
        "ssm_smap": _moisture(column(f"SM-{option}", empty=True)),
    }
    flags = (("time", "site"), np.where(flag >= 0, flag, FLAG_FILL).astype(np.int32)[:, None])
    coords = {"time": times, "quality_flag": flags, **_place(site, resolution + number, center)}
    attrs = {
        "title": f"Match-up of {product} {version} with in-situ soil moisture",
        "source": "NSIDC-0712, https://doi.org/10.5067/DXAVIXLY18KM",
        "day": "UTC, time of the overpass",
        "provenance": "exact",
        "synthetic": "false",
    }
    dataset = variables.describe(xr.Dataset(fields, coords=coords, attrs=attrs))
    variables.check(dataset, str(path))
    return dataset


def _moisture(values: np.ndarray) -> tuple:
    """Moisture of one pixel, negative values missing and counted."""
    count = {"n_negative": int((values < 0).sum())}
    return ("time", "site"), np.where(values < 0, np.nan, values).astype(np.float32)[:, None], count


def _place(site: str, pixel: str, center: tuple[float, float] | None) -> dict[str, tuple]:
    """Coordinates of the one site: its id of eight digits, its group and name, and its place."""
    lon, lat = center or (np.nan, np.nan)
    return {
        "site": ("site", np.array([site + pixel])),
        "group": ("site", np.array([site])),
        "name": ("site", np.array([SITE_NAMES.get(site, site)])),
        "lat": ("site", [float(lat)], {"units": "degrees_north", "long_name": "latitude"}),
        "lon": ("site", [float(lon)], {"units": "degrees_east", "long_name": "longitude"}),
    }


def _matchup_rows(path: Path) -> tuple[list[str], list[list[str]], int]:
    """Names of the columns, cells of the data, number of the first line of data."""
    lines = lines_of(path, quotes=False)
    start = next((i for i, row in enumerate(lines) if i > 1 and row and _all_numbers(row)), None)
    if start is None:
        raise CoreSiteError(f"{path}: no line of numbers after the names in line 2")
    header = [name.replace(" ", "") for name in lines[1]]
    for number, row in enumerate(lines[start:], start=start + 1):
        if len(row) != len(header):
            raise CoreSiteError(f"{path}, line {number}: {len(row)} fields, line 2 has {len(header)} names")
    return header, lines[start:], start + 1


def _all_numbers(row: list[str]) -> bool:
    try:
        [float(cell) for cell in row]
    except ValueError:
        return False
    return True
