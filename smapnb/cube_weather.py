"""NLDAS at the pixels of a cube, from hourly grids or from series at points: the same variables, days and rules.

What stands for a pixel differs: of grids the mean over all NLDAS cells that cover it, weighted by area; of series the
profile's ``data.archive.nldas`` says it. It fills no gap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import grid, nldas_grid, places, variables
from smapnb.cube_archive import Files
from smapnb.places import Cells, Integers
from smapnb.profile import Archive, Profile
from smapnb.sources import nldas

log = logging.getLogger(__name__)

# Days of the hourly grid that are held at once, before they are brought to the pixels.
PIECE = 16
VARIABLES = {
    "FORA": tuple(variables.names("forcing")),
    "NOAH": ("ssm_noah", "rzsm_noah"),
    "VIC": ("ssm_vic", "rzsm_vic"),
}
OPEN: dict[str, Callable[..., xr.Dataset]] = {
    "FORA": nldas.open_forcing,
    "NOAH": nldas.open_noah,
    "VIC": nldas.open_vic,
}
# All variables of FORA are taken to have one mask, so that one tells of all.
WITNESS = "air_temperature"
Read = Iterator[tuple[pd.DatetimeIndex, dict[int, xr.Dataset], dict]]


def read(
    archive: Archive, files: Files, parts: dict[int, Cells], days: pd.DatetimeIndex, names: list[str] | None = None
) -> Read:
    """Read one product at the cells of each grid, some days at a time.

    Parameters
    ----------
    archive : Archive
    files : Files
        Of FORA, NOAH or VIC, as from `smapnb.cube_archive.find`.
    parts : dict
        Size of the grid to rows and columns.
    days : pandas.DatetimeIndex
    names : list of str, optional
        Some of the product's variables; None: all.

    Yields
    ------
    days : pandas.DatetimeIndex
        Some of the days; all of them where the weather comes in series. Of cells that all lie off the NLDAS grid there
        are no series, and nothing is given.
    datasets : dict
        Size of the grid to the variables (time, pixel).
    counted : dict
        What the reader counted, in its attributes.
    """
    day, hours, cover = archive.nldas_day, archive.min_hours, archive.nldas
    names = names or list(VARIABLES[files.product])
    if cover == "grids":
        for i in range(0, days.size, PIECE):
            piece = days[i : i + PIECE]
            first, last = (str(piece[k].date()) for k in (0, -1))
            dataset = OPEN[files.product](files.of(piece), day, hours, names, first, last)
            yield piece, {km: nldas.to_pixels(dataset, km, *cells) for km, cells in parts.items()}, dataset.attrs
        return
    first, last = (str(days[k].date()) for k in (0, -1))
    paths = [path for cell in places.nldas_cells(parts, cover) for path in files.of_cell[int(cell)]]
    if paths:
        dataset = nldas.open_points(paths, day, hours, names, first, last)
        found = {km: nldas.points_to_pixels(dataset, km, *cells, cover) for km, cells in parts.items()}
        yield days, found, dataset.attrs


def those_with(profile: Profile, files: Files, parts: dict[int, Cells], counts: dict[str, Any]) -> dict[int, Cells]:
    """Leave out the cells that have no weather: on the sea, or where NLDAS does not reach.

    Of grids the first and the last day are looked at. The cells are counted by grid, named in `counts` by row and
    column, and told in one line.
    """
    days = pd.date_range(profile.data.start, profile.data.end)
    known = {km: np.zeros(row.size, bool) for km, (row, _) in parts.items()}
    some = {km: cells for km, cells in parts.items() if cells[0].size}
    spans = [days[:1], days[-1:]] if profile.archive.nldas == "grids" else [days]
    for span in spans if some else []:
        for _, datasets, _ in read(profile.archive, files, some, span, [WITNESS]):
            for km, dataset in datasets.items():
                known[km] |= dataset[WITNESS].notnull().any("time").to_numpy()
    kept, told = {}, []
    for km, (row, col) in parts.items():
        gone = ~known[km]
        counts[f"n_cells_{km}_km_without_weather"] = int(gone.sum())
        counts[f"cells_{km}_km_without_weather"] = np.stack([row[gone], col[gone]], axis=1).tolist()
        told += named(km, row[gone], col[gone])
        kept[km] = row[~gone], col[~gone]
    if told:
        log.warning("%d cells left out, as NLDAS has no weather there: %s", len(told), shortened(told))
    return kept


def named(km: int, row: Integers, col: Integers) -> list[str]:
    """Name cells by size, place in the grid, and centre."""
    lon, lat = grid.EaseGrid(km).center(row, col)
    cells = zip(row, col, lat, lon, strict=True)
    return [f"{km} km ({i}, {j}) at {y:.2f}N {-x:.2f}W" for i, j, y, x in cells]


def shortened(told: list[str], most: int = 5) -> str:
    """Join the first few; the cube's attribute ``pixels`` names all."""
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more


def approximation(archive: Archive, parts: dict[int, Cells]) -> dict[str, Any]:
    """Say what stands for a pixel, and of series how much of its area they cover, by grid."""
    if archive.nldas == "grids":
        return {"nldas": "mean over the NLDAS cells that cover the pixel, weighted by area"}
    if archive.nldas == "covering":
        text = "series of all NLDAS cells that cover the pixel, weighted by area"
    else:
        text = "series of the one NLDAS cell that holds the pixel's centre: not the mean over those that cover it"
    told: dict[str, Any] = {"nldas": text, "n_nldas_cells": int(places.nldas_cells(parts, archive.nldas).size)}
    for km, (row, col) in parts.items():
        taken = nldas_grid.weights(grid.EaseGrid(km), row, col, archive.nldas)
        over = nldas_grid.weights(grid.EaseGrid(km), row, col, "covering")
        share = over.weights.multiply(taken.covering > 0).sum(axis=1)
        told[f"share_of_area_{km}_km"] = [round(float(x), 4) for x in (share.min(), share.mean())]
    return told
