"""Dense sites from all the folders that a user may have, brought to days, with the pixels that stand for them.

Only what no sensor can measure is taken out, since one such record would spoil the mean of its day; it is counted.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import grid, insitu, variables
from smapnb.folders import files_below
from smapnb.sources import core_sites, ismn

log = logging.getLogger(__name__)

OPEN, GULCH, CALVAL, ISMN = "core_sites", "walnut_gulch", "calval", "ismn"
FOLDERS = (GULCH, OPEN, CALVAL, ISMN)
KM = 36
LEAST_OF_A_DAY = 0.5  # part of a day's records that a daily mean needs
LEAST_STATIONS = {"exact": 1, "substitute": 2}  # a cell of a public network with one station is no dense site
COLD_SOIL = "judged by the daily mean soil temperature of each probe, not record by record"


class DenseError(ValueError):
    """Records in other units than the table of variables says, or weights that fit no station."""


def read(root: Path) -> dict[str, xr.Dataset]:
    """Give the groups ``core``, ``reference_pixels`` and ``weights`` of a folder of data; none where it has none."""
    parts = [_daily(core_sites.open_walnut_gulch(root / GULCH))] if (root / GULCH).is_dir() else []
    files = sorted(p for p in (root / OPEN).glob("*") if p.suffix in {".csv", ".parquet"})
    parts += [_daily(core_sites.read_open(file)) for file in files]
    if (root / CALVAL).is_dir():
        parts.append(_daily(core_sites.open_calval(root / CALVAL)))
    # Network by network: the reader holds all stations at all times and depths of what it is given.
    networks = sorted(p for p in (root / ISMN).glob("*") if files_below(p, "*.stm"))
    parts += [_daily(ismn.open_archive(network)) for network in networks]
    if not parts:
        return {}
    core = _joined(parts)
    weights = provided_weights(root / CALVAL)
    groups = {"core": core, "reference_pixels": _reference_pixels(core, weights)}
    return groups | ({"weights": _as_group(weights)} if weights else {})


def provided_weights(folder: Path) -> dict[str, dict[str, float]]:
    """Read the weights of the pixels of 36 km: ``voronoi_*.txt``, else the first layer of ``refpix_*.txt``."""
    found: dict[str, dict[str, float]] = {}
    others = []
    for word in ("refpix", "voronoi"):
        for path in files_below(folder, f"{word}_*.txt"):
            if word == "voronoi":
                shares = core_sites.read_voronoi(path)
                pixel = str(shares.name)
            else:
                table = core_sites.read_reference_pixel(path)
                shares = table[table["layer"] == 0].set_index("station")["weight"]
                pixel = path.name.removeprefix("refpix_")[:8]
            if pixel[4:6] != str(KM):
                others.append(path.name)
                continue
            found[pixel] = {f"{pixel[:4]}/{station}": float(share) for station, share in shares.items()}
    if others:
        log.info("%s: weights of pixels of other grids than %d km, not used: %s", folder, KM, ", ".join(others))
    return found


def _as_group(weights: dict[str, dict[str, float]]) -> xr.Dataset:
    """One row a pixel and station."""
    rows = [(pixel, station, share) for pixel, own in weights.items() for station, share in own.items()]
    pixels, stations, shares = zip(*rows, strict=True)
    attrs = {"long_name": "weight of the station in its reference pixel, by the provider", "units": "1"}
    coords = {"reference_pixel": ("row", list(pixels)), "station": ("row", list(stations))}
    return xr.Dataset({"weight": ("row", np.array(shares), attrs)}, coords)


def _daily(records: xr.Dataset) -> xr.Dataset:
    """Bring a dense site's records to UTC days."""
    means, removed = {}, {}
    for name in ("soil_moisture", "soil_temperature"):
        if name not in records:
            continue
        low, high = variables.TABLE[name].valid_range
        inside = records[name].where((records[name] >= low) & (records[name] <= high))
        records_of = records[name].count()
        if int(records_of) and not int(inside.count()):
            raise DenseError(
                f"{records.attrs['source']}: no {name} of {int(records_of)} lies in {low:g} to {high:g} "
                f"{variables.TABLE[name].units}; other units?"
            )
        removed[name] = int(records_of) - int(inside.count())
        means[name] = insitu.daily_mean(inside, least_fraction=LEAST_OF_A_DAY)
    if any(removed.values()):
        log.warning("%s: records out of range, taken out of the daily means: %s", records.attrs["source"], removed)
    attrs = {"day": "UTC day", "records_out_of_range": json.dumps(removed), "cold_soil": COLD_SOIL}
    out = xr.Dataset(means).drop_vars("sensor", errors="ignore").assign_attrs({**records.attrs, **attrs})
    provenance = np.full(out.sizes["station"], records.attrs["provenance"])
    return variables.describe(out.assign_coords(provenance=("station", provenance)))


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    """All stations at all days, depths and probes of any."""
    if len(parts) == 1:
        return parts[0]
    if any("probe" in part.dims for part in parts):
        parts = [part if "probe" in part.dims else part.expand_dims("probe", axis=-1) for part in parts]
        parts = [part.assign_coords(probe=np.arange(part.sizes["probe"])) for part in parts]
    core = xr.concat(parts, "station", join="outer", combine_attrs="drop_conflicts")
    twice = core.indexes["station"][core.indexes["station"].duplicated()].tolist()
    if twice:
        raise DenseError(f"stations that stand in two sources: {twice}")
    told = {name: [part.attrs[name] for part in parts] for name in ("source", "provenance")}
    counted = {part.attrs["source"]: json.loads(part.attrs["records_out_of_range"]) for part in parts}
    attrs = {name: "; ".join(dict.fromkeys(texts)) for name, texts in told.items()}
    return variables.describe(core.assign_attrs({**attrs, "records_out_of_range": json.dumps(counted)}))


def _reference_pixels(core: xr.Dataset, weights: dict[str, dict[str, float]]) -> xr.Dataset:
    """Give the pixels that the provider weighs, and for other sites the cells that hold their stations."""
    columns = ("site", "site_name", "lat", "lon", "provenance")
    places = pd.DataFrame({c: core[c].to_numpy() for c in columns}, index=core["station"].to_numpy())
    placed = places.dropna(subset=["lat", "lon"])
    rows = [_provided(pixel, own, placed) for pixel, own in weights.items()]
    rest = placed[~placed["site"].isin([pixel[:4] for pixel in weights])]
    table = pd.DataFrame([*rows, *_cells(rest)])
    dim = "reference_pixel"
    names = table.pop(dim).to_list()
    row, column = (table.pop(name).to_numpy() for name in ("row", "col"))
    ease = grid.EaseGrid(KM)
    x_min, y_min, x_max, y_max = ease.bounds(row, column)
    lon, lat = ease.center(row, column)
    own = {"x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max, "lat": lat, "lon": lon}
    own |= {str(name): table[name].to_numpy().astype(str) for name in table}
    return xr.Dataset(coords={dim: names} | {name: (dim, np.asarray(v)) for name, v in own.items()})


def _provided(pixel: str, weights: dict[str, float], places: pd.DataFrame) -> dict:
    """Give a provider's pixel the cell at the weighted middle of its stations: its own box is in no file known here."""
    there = places.loc[places.index.intersection(list(weights))]
    share = np.array([weights[station] for station in there.index])
    if there.empty or not share.sum() > 0:
        raise DenseError(f"weights of pixel {pixel}: none of its stations {list(weights)} has coordinates")
    lon, lat = (float(np.average(there[name], weights=share)) for name in ("lon", "lat"))
    row, column = grid.EaseGrid(KM).cell(lon, lat)
    names = {"site": there["site"].iloc[0], "site_name": there["site_name"].iloc[0]}
    box = "cell at the weighted middle of the stations"
    return {"reference_pixel": pixel, "row": int(row), "col": int(column), **names, "box": box}


def _cells(places: pd.DataFrame) -> list[dict]:
    """Give the cells of the grid that hold stations, one reference pixel each, most stations first.

    Their ids (``1601-36a``) are ours, and cannot be taken for those of the calibration and validation team
    (``16013601``).
    """
    if places.empty:
        return []
    places = places.assign(n=1)
    places["row"], places["col"] = grid.EaseGrid(KM).cell(places["lon"].to_numpy(), places["lat"].to_numpy())
    keys = ["site", "site_name", "provenance", "row", "col"]
    cells = (
        places.groupby(keys)["n"].sum().reset_index().sort_values(["site", "n"], ascending=[True, False], kind="stable")
    )
    few = cells["n"] < cells["provenance"].map(LEAST_STATIONS)
    if few.any():
        log.info("%d cells with a single station of a public network are no reference pixels", int(few.sum()))
    cells = cells[~few]
    number = cells.groupby("site").cumcount()
    return [
        {"reference_pixel": f"{c.site}-{KM}{_letters(n)}", "row": c.row, "col": c.col, "site": c.site}
        | {"site_name": c.site_name, "box": "cell of the grid"}
        for c, n in zip(cells.itertuples(), number, strict=True)
    ]


def _letters(n: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    return (_letters(n // 26 - 1) if n >= 26 else "") + chr(ord("a") + n % 26)
