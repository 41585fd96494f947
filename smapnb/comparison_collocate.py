"""Site series and products on common days and places: each site beside the nearest pixel of each quantity's own grid.

What is left out, and why, stands in the table that comes with the result. It scores nothing.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb import fusion
from smapnb.variables import GRID_KM, TARGETS, pixels_of

log = logging.getLogger(__name__)

PRODUCTS = ("smap", "lstm", "noah", "vic")
# Comb of the paper, and its controls: product -> what it is the mean of.
COMBINATIONS = {"comb": ("lstm", "noah"), "noah_vic": ("noah", "vic"), "lstm_vic": ("lstm", "vic")}
IN_SITU = ("insitu", "insitu_error")


class _Place(NamedTuple):
    """Position of each site's pixel among all pixels, and |dlat| + |dlon| to its centre in degrees; both (site,)."""

    pixel: NDArray[np.int64]
    distance: NDArray[np.float64]


def collocate(
    series: xr.Dataset, products: xr.Dataset, *, farthest: float = float("inf"), flat: float = 0.0
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Set each site beside its pixel.

    Parameters
    ----------
    series : xarray.Dataset
        (time, site): ``ssm_insitu`` and perhaps ``rzsm_insitu``, their errors, ``coverage``; coordinates lat, lon
        and perhaps ``name`` and ``group`` (the site that several reference pixels belong to).
    products : xarray.Dataset
        (time, pixel), lazy or not: any of ``ssm_`` and ``rzsm_`` with smap, lstm, noah, vic, and ``precipitation``;
        coordinates lat, lon, and ``grid_km`` where a quantity has pixels of its own
        (`smapnb.variables.pixels_of`): its products are then those of the nearest of these.
    farthest : float
        Sites whose nearest pixel is farther than this, |dlat| + |dlon| in degrees, are left out
        (``Rules.crn_farthest``); where that holds for the grid of one quantity only, its products are NaN.
    flat : float
        Where the hindcast of a quantity varies less than this (standard deviation, m3 m-3), no product of that
        quantity is given (``Rules.flat_pixel``).

    Returns
    -------
    collocated : xarray.Dataset
        (time, site), in memory, on all days of either: in-situ variables as they were, ``<quantity>_<product>`` of
        the nearest pixel, and ``ssm_comb`` and ``rzsm_comb`` where LSTM and Noah are there. Coordinates ``group``
        (else the site itself), ``pixel`` and ``distance``; with two grids these are of the surface, as is the
        precipitation, and ``pixel_rootzone, distance_rootzone`` of the root zone. ``attrs["synthetic"]`` is ``"true"``
        if either is.
    table : pandas.DataFrame
        One row a site: ``pixel, pixel_lat, pixel_lon, distance, kept, reason``; with two grids also
        ``pixel_rootzone, pixel_lat_rootzone, pixel_lon_rootzone, distance_rootzone``.

    Raises
    ------
    ValueError
        Missing or unknown coordinates (the site is named), days that are not at midnight, no in-situ variable, no
        pixel of the grid of any quantity.
    """
    _check(series, "site series", "site")
    _check(products, "products", "pixel")
    places = {quantity: _nearest(series, products, quantity) for quantity in _with_pixels(products)}
    near = {quantity: place.distance <= farthest for quantity, place in places.items()}
    kept = np.any(list(near.values()), axis=0)
    table = _place_table(series, products, places).assign(kept=kept, reason=_reasons(near, farthest))
    labels = table[kept]
    at_sites = []
    for quantity, names in _names(products, list(places)).items():
        own = products[names].isel(pixel=places[quantity].pixel[kept]).load()
        own = own.drop_vars([name for name in own.coords if name != "time"]).rename_dims(pixel="site")
        own = own.where(xr.DataArray(near[quantity][kept], dims="site"))
        at_sites.append(own.assign_coords(site=labels.index.to_numpy()))
    out = _join(_in_situ(series).isel(site=kept), xr.merge(at_sites, join="exact"))
    degrees = {"units": "degrees", "long_name": "|dlat| + |dlon|"}
    for name, attrs in {"pixel": {}, "distance": degrees}.items():
        for column in (column for column in (name, f"{name}_rootzone") if column in table):
            out = out.assign_coords({column: ("site", labels[column].to_numpy(), attrs)})
    out, table = _without_flat(out, table, flat)
    for prefix in TARGETS.values():
        if (comb := product(out, prefix, "comb")) is not None:
            out[f"{prefix}_comb"] = comb
    synthetic = "true" in (series.attrs.get("synthetic"), products.attrs.get("synthetic"))
    log.info("collocated %d of %d sites, %d left out", kept.sum(), kept.size, (~kept).sum())
    return out.assign_attrs(synthetic=str(synthetic).lower()), table


def gather(cube: xr.Dataset, hindcast: xr.Dataset) -> xr.Dataset:
    """Put all products of a run, and the precipitation that finds dry spells, side by side, (time, pixel), lazily.

    Parameters
    ----------
    cube, hindcast : xarray.Dataset
        As `smapnb.cube.open_cube` and `smapnb.hindcast.open_hindcast` give them; of the same pixels.
    """
    names = [f"{prefix}_{name}" for prefix in TARGETS.values() for name in PRODUCTS]
    parts = [data[[n for n in (*names, "precipitation") if n in data]] for data in (cube, hindcast)]
    return xr.merge(parts, join="outer", compat="equals", combine_attrs="drop_conflicts")


def product(collocated: xr.Dataset, prefix: str, name: str) -> xr.DataArray | None:
    """Give a product of a quantity (prefix ``ssm`` or ``rzsm``), combined if it is a combination; None: not there."""
    own = f"{prefix}_{name}"
    if own in collocated:
        return collocated[own]
    parts = [f"{prefix}_{part}" for part in COMBINATIONS.get(name, ())]
    if not parts or any(part not in collocated for part in parts):
        return None
    return fusion.average(*(collocated[part] for part in parts)).rename(own)


def _check(dataset: xr.Dataset, what: str, place: str) -> None:
    for needed in ("time", place):
        if needed not in dataset.dims:
            raise ValueError(f"{what}: no dimension {needed!r} among {sorted(map(str, dataset.dims))}")
    for name in ("lat", "lon"):
        if name not in dataset.coords or dataset[name].dims != (place,):
            raise ValueError(f"{what}: no coordinate {name!r} along {place!r}")
        unknown = np.flatnonzero(~np.isfinite(dataset[name].to_numpy()))
        if unknown.size:
            raise ValueError(f"{what}: {place} {dataset.get_index(place)[unknown[0]]} has no {name}")
    days = dataset.indexes["time"]
    if not isinstance(days, pd.DatetimeIndex) or not days.is_unique or (days != days.normalize()).any():
        raise ValueError(f"{what}: time must be days at midnight, each once")


def _with_pixels(products: xr.Dataset) -> list[str]:
    """Quantities that have pixels: both where they share a grid."""
    found = [quantity for quantity in TARGETS if pixels_of(products, quantity).any()]
    if not found:
        raise ValueError(f"products: no pixel of {GRID_KM} km among the {products.sizes['pixel']} that there are")
    return found


def _nearest(series: xr.Dataset, products: xr.Dataset, quantity: str) -> _Place:
    """Nearest pixel to each site of those that belong to the quantity; of equally near ones the first."""
    own = np.flatnonzero(pixels_of(products, quantity))
    lat, lon = (
        series[name].to_numpy().astype(np.float64)[:, None] - products[name].to_numpy().astype(np.float64)[own]
        for name in ("lat", "lon")
    )
    distance = np.abs(lat) + np.abs((lon + 180) % 360 - 180)  # (site, pixel)
    nearest = distance.argmin(1)
    return _Place(own[nearest], distance[np.arange(len(nearest)), nearest])


def _place_table(series: xr.Dataset, products: xr.Dataset, places: dict[str, _Place]) -> pd.DataFrame:
    """Pixel and distance of each site; of the second quantity only where it has a grid of its own."""
    table = pd.DataFrame(index=pd.Index(series["site"].to_numpy(), name="site"))
    for number, (quantity, place) in enumerate(places.items()):
        if number and "grid_km" not in products.coords:
            break
        suffix = f"_{quantity}" if number else ""
        for column, name in (("pixel", "pixel"), ("pixel_lat", "lat"), ("pixel_lon", "lon")):
            table[column + suffix] = products[name].to_numpy()[place.pixel]
        table["distance" + suffix] = place.distance
    return table


def _reasons(near: dict[str, NDArray[np.bool_]], farthest: float) -> NDArray[np.str_]:
    """Why a site, or one of its quantities, is left out: empty where nothing is."""
    far = f"nearest pixel farther than {farthest:g} degrees"
    none = ~np.any(list(near.values()), axis=0)
    reason = np.where(none, far, "").astype(object)
    for quantity, own in near.items():
        reason[~own & ~none] += f"{quantity} left out: {far}. "
    return reason.astype(str)


def _in_situ(series: xr.Dataset) -> xr.Dataset:
    wanted = [f"{prefix}_{kind}" for prefix in TARGETS.values() for kind in IN_SITU if f"{prefix}_{kind}" in series]
    if not any(name.endswith("_insitu") for name in wanted):
        raise ValueError(f"site series hold no in-situ soil moisture: {sorted(map(str, series.data_vars))}")
    out = series[[*wanted, *({"coverage"} & set(series.data_vars))]]
    return out if "group" in out.coords else out.assign_coords(group=("site", out["site"].to_numpy()))


def _names(products: xr.Dataset, quantities: list[str]) -> dict[str, list[str]]:
    """Variables of each quantity that are there, those of the first with the precipitation."""
    found = {}
    for quantity in quantities:
        wanted = [f"{TARGETS[quantity]}_{name}" for name in PRODUCTS]
        wanted += ["precipitation"] if quantity == quantities[0] else []
        found[quantity] = [name for name in wanted if name in products]
    return {quantity: names for quantity, names in found.items() if names}


def _join(series: xr.Dataset, products: xr.Dataset) -> xr.Dataset:
    both = list(xr.align(series.load(), products, join="outer", exclude="site"))
    return xr.merge(both, join="exact", compat="equals", combine_attrs="drop_conflicts")


def _without_flat(data: xr.Dataset, table: pd.DataFrame, flat: float) -> tuple[xr.Dataset, pd.DataFrame]:
    """Blank the products of a quantity where its hindcast is flat, and say so in the table."""
    for quantity, prefix in TARGETS.items():
        if flat <= 0 or f"{prefix}_lstm" not in data:
            continue
        hindcast = data[f"{prefix}_lstm"].astype(np.float64)
        bad = (hindcast.max("time") > -np.inf) & (hindcast.std("time") < flat)
        for name in (f"{prefix}_{product}" for product in PRODUCTS):
            if name in data:
                data[name] = data[name].where(~bad)
        sites = data["site"].to_numpy()[bad.to_numpy()]
        table.loc[sites, "reason"] += f"{quantity} left out: hindcast varies less than {flat:g} m3 m-3. "
        log.info("%s: %d of %d sites stand in a pixel with a flat hindcast", quantity, sites.size, bad.size)
    return data, table.assign(reason=table["reason"].str.strip())
