"""Trends of every pixel of a hindcast, and which of so many tests may be believed.

Slopes are in volumetric per cent per year.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.trends import PER_CENT, mann_kendall
from smapnb.trends_experiment import VARIANTS
from smapnb.trends_sites import field_significance

# What counts each day as independent, what takes memory into account, and what needs many years.
MAP_VARIANTS = ("original", "seasonal_correlated", "annual")


def pixel_slopes(
    moisture: xr.DataArray, *, variants: Sequence[str] = MAP_VARIANTS, alpha: float = 0.05, workers: int = 1
) -> pd.DataFrame:
    """Tabulate slope and p of every pixel by several variants, with p adjusted for the number of pixels.

    Parameters
    ----------
    moisture : xarray.DataArray
        (time, pixel), m3 m-3, with the coordinates ``lat, lon``.
    variants : sequence of str
        Names of `smapnb.trends_experiment.VARIANTS`.
    alpha : float
        False discovery rate.
    workers : int
        Threads.

    Returns
    -------
    pandas.DataFrame
        One row a pixel and variant: ``pixel, lat, lon, variant, value`` (volumetric % per year), ``p_value,
        p_adjusted, significant, n``.
    """
    y = moisture.transpose("pixel", "time").to_numpy()
    time = moisture.indexes["time"].to_numpy()
    places = {name: moisture[name].to_numpy() for name in ("pixel", "lat", "lon")}
    tables = []
    for name in variants:
        found = mann_kendall(y, time, alpha=alpha, workers=workers, **VARIANTS[name])
        field = field_significance(found.p, alpha)
        numbers = {"value": PER_CENT * found.slope, "p_value": found.p, "p_adjusted": field.p_adjusted}
        tables.append(
            pd.DataFrame({**places, "variant": name, **numbers, "significant": field.significant, "n": found.n})
        )
    return pd.concat(tables, ignore_index=True)


def counts(table: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Count the pixels with a trend: at `alpha` each for itself, and after control of the false discovery rate.

    Returns
    -------
    pandas.DataFrame
        Index ``variant``; ``pixels`` (with a test), ``alone``, ``field`` (significant), ``rising`` (of ``field``).
    """
    rows = {}
    for name, part in table.groupby("variant", sort=False):
        sure = part["significant"]
        rows[name] = {
            "pixels": int(part["p_value"].notna().sum()),
            "alone": int((part["p_value"] < alpha).sum()),
            "field": int(sure.sum()),
            "rising": int((sure & (part["value"] > 0)).sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def as_map(table: pd.DataFrame, variant: str, column: str = "value") -> xr.DataArray:
    """Give a column of one variant as an array along ``pixel`` with ``lat, lon``.

    Raises
    ------
    ValueError
        The table has no such variant.
    """
    rows = table[table["variant"] == variant]
    if rows.empty:
        raise ValueError(f"variant {variant!r}: one of {list(pd.unique(table['variant']))}")
    coords = {name: ("pixel", rows[name].to_numpy()) for name in ("pixel", "lat", "lon")}
    return xr.DataArray(np.asarray(rows[column]), dims="pixel", coords=coords, name=column)
