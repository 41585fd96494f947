"""Trends as figures: their map, a station by every test, and what each test is worth.

Slopes are in volumetric per cent per year throughout. Nothing is computed here; lines come with their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smapnb.plot.scores_parts import LETTERS, WIDTH, plain
from smapnb.plot.style import CONUS, borders, titled

UNITS = "volumetric % per year"
CASES = (("o", "#D55E00"), ("s", "#0072B2"), ("D", "#009E73"), ("^", "#CC79A7"))
# How the tests are called in a figure.
TESTS = {
    "author_code": "authors' scripts",
    "hamed_rao": "Hamed-Rao",
    "yue_wang, lags of 90 steps": "Yue-Wang, 90 days",
    "trend_free_pre_whitening": "pre-whitening",
    "seasonal": "months",
    "seasonal_correlated": "months, correlated",
    "deseasonalised": "anomalies of months",
    "annual": "years",
    "year_blocks": "blocks of years",
}
SMALLEST_P = 0.001
PLATE = ccrs.PlateCarree()


def trend_map(slopes: xr.DataArray, significant: xr.DataArray, *, title: str, synthetic: bool) -> Figure:
    """Draw slopes of pixels; a dot marks those that are significant.

    Parameters
    ----------
    slopes : xarray.DataArray
        Dimension ``pixel``, coordinates ``lon, lat``; volumetric % per year.
    significant : xarray.DataArray of bool
        Of the same pixels, after control of the false discovery rate.
    title : str
        Heading.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    """
    projection = ccrs.AlbersEqualArea(central_longitude=-96, standard_parallels=(29.5, 45.5))
    chart, axis = plt.subplots(figsize=(WIDTH, 5.0), subplot_kw={"projection": projection}, layout="constrained")
    plt.close(chart)
    axis.set_extent(CONUS, PLATE)  # type: ignore[attr-defined]
    axis.add_geometries(borders(0.02), PLATE, facecolor="none", edgecolor="0.55", linewidth=0.4, zorder=1)  # type: ignore[attr-defined]
    known = slopes.to_numpy()[np.isfinite(slopes)]
    reach = float(np.percentile(np.abs(known), 98)) if known.size else 1.0
    size = 42 if slopes.size > 100 else 110
    style: dict[str, Any] = {"transform": PLATE, "linewidths": 0}
    place = (slopes["lon"].to_numpy(), slopes["lat"].to_numpy())
    drawn = axis.scatter(*place, c=slopes, s=size, marker="s", cmap="BrBG", vmin=-reach, vmax=reach, zorder=2, **style)
    sure = significant.to_numpy().astype(bool)
    axis.scatter(place[0][sure], place[1][sure], s=size / 6, marker="o", color="0.05", zorder=3, **style)
    told = f"dots: significant at 5 % (false discovery rate), {int(sure.sum())} of {known.size} pixels"
    bar = chart.colorbar(drawn, ax=axis, orientation="horizontal", shrink=0.85, pad=0.02, aspect=26, extend="both")
    bar.set_label(f"slope ({UNITS})\n{told}", fontsize=LETTERS["plain"])
    bar.ax.tick_params(labelsize=LETTERS["small"])
    axis.set_title(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def variant_forest(slopes: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw one station's slopes by every test, with limits and p, a panel a depth.

    Parameters
    ----------
    slopes : pandas.DataFrame
        Columns ``panel`` (its text), ``variant, value, lower, upper, p_value``; one row a panel and variant.
    title, synthetic
        As in `trend_map`.

    Raises
    ------
    ValueError
        No row; a panel has a variant twice.
    """
    _once(slopes, ["panel", "variant"], "variant_forest")
    panels, variants = list(pd.unique(slopes["panel"])), list(pd.unique(slopes["variant"]))
    height = len(panels) * (0.27 * len(variants) + 0.75) + 0.6
    chart, axes = plt.subplots(
        len(panels), 1, figsize=(WIDTH, height), squeeze=False, sharex=True, layout="constrained"
    )
    plt.close(chart)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        rows = slopes[slopes["panel"] == panel].set_index("variant").reindex(variants)
        at = np.arange(len(variants))
        axis.axvline(0, color="0.4", linewidth=1, linestyle="--", zorder=0)
        axis.hlines(at, rows["lower"], rows["upper"], color="0.25", linewidth=1.4)
        sure = (rows["p_value"] < 0.05).to_numpy()
        for mask, face in ((sure, "0.1"), (~sure, "white")):
            axis.plot(rows["value"][mask], at[mask], "o", color="0.1", markersize=6, markerfacecolor=face)
        axis.set_yticks(at, [_test(name) + _p(p) for name, p in rows["p_value"].items()])
        axis.set_ylim(len(variants) - 0.5, -0.5)
        axis.set_title(panel, fontsize=LETTERS["small"], loc="right")
        plain(axis, "x")
    axes[-1, 0].set_xlabel(f"slope ({UNITS})\nlines: 95 % limits; filled: p < 0.05", fontsize=LETTERS["plain"])
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _test(name: Any) -> str:
    return TESTS.get(str(name), str(name).replace("_", " "))


def _p(value: Any) -> str:
    if np.isnan(value):
        return ""
    return f", p < {SMALLEST_P:g}" if value < SMALLEST_P else f", p {value:.2g}"


def rejections(rates: pd.DataFrame, *, title: str, synthetic: bool, alpha: float = 0.05) -> Figure:
    """Draw how often each test rejects, a mark a case, beside the level that it should keep where there is no trend.

    Parameters
    ----------
    rates : pandas.DataFrame
        Columns ``case`` (its text), ``variant, rate, lower, upper, tests``; parts of 1.
    title, synthetic
        As in `trend_map`.
    alpha : float
        The level, a dashed line.

    Raises
    ------
    ValueError
        No row; a case has a variant twice.
    """
    _once(rates, ["case", "variant"], "rejections")
    cases, variants = list(pd.unique(rates["case"])), list(pd.unique(rates["variant"]))
    chart, axis = plt.subplots(figsize=(WIDTH, 0.2 * len(variants) * (len(cases) + 0.8) + 1.6), layout="constrained")
    plt.close(chart)
    axis.axvline(100 * alpha, color="0.3", linewidth=1.2, linestyle="--", zorder=0)
    for k, case in enumerate(cases):
        rows = rates[rates["case"] == case].set_index("variant").reindex(variants)
        at = np.arange(len(variants)) + (k - (len(cases) - 1) / 2) * 0.75 / len(cases)
        marker, own = CASES[k % len(CASES)]
        axis.hlines(at, 100 * rows["lower"], 100 * rows["upper"], color=own, linewidth=1.4)
        n = int(rows["tests"].max())
        axis.plot(100 * rows["rate"], at, marker, color=own, markersize=6, label=f"{case}, n={n}")
    for place in range(1, len(variants)):
        axis.axhline(place - 0.5, color="0.88", linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(variants)), [_test(name) for name in variants])
    axis.set_ylim(len(variants) - 0.5, -0.5)
    axis.set_xlim(-2, 102)
    axis.set_xlabel(f"series with a trend found (%); dashed: level {100 * alpha:g} %", fontsize=LETTERS["plain"])
    plain(axis, "x")
    chart.legend(loc="outside lower center", fontsize=LETTERS["small"], frameon=False)
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def slope_errors(errors: pd.DataFrame, *, title: str, synthetic: bool, threshold: float = 0.5) -> Figure:
    """Draw the error of a slope against the length of its record: root mean square, and the middle 90 % as a band.

    Parameters
    ----------
    errors : pandas.DataFrame
        Columns ``error`` (its text), ``years, rmse, q05, q95, series``; volumetric % per year.
    title, synthetic
        As in `trend_map`.
    threshold : float
        A slope that counts as large (paper: 0.5), a dashed line.

    Raises
    ------
    ValueError
        No row; an error has a length twice.
    """
    _once(errors, ["error", "years"], "slope_errors")
    kinds = list(pd.unique(errors["error"]))
    chart, axes = plt.subplots(len(kinds), 1, figsize=(WIDTH, 2.4 * len(kinds) + 0.6), sharex=True, squeeze=False,
                               sharey=True, layout="constrained")  # fmt: skip
    plt.close(chart)
    for k, (axis, kind) in enumerate(zip(axes[:, 0], kinds, strict=True)):
        rows, own = errors[errors["error"] == kind].sort_values("years"), CASES[k % len(CASES)][1]
        axis.fill_between(rows["years"], rows["q05"], rows["q95"], color=own, alpha=0.25, linewidth=0)
        axis.plot(rows["years"], rows["rmse"], "o-", color=own, markersize=5)
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.axhline(threshold, color="0.3", linewidth=1, linestyle="--")
        axis.set_title(f"{kind}, n={int(rows['series'].max())}", fontsize=LETTERS["plain"])
        axis.set_xticks(rows["years"])
        plain(axis, "y")
    axes[-1, 0].set_xlabel("length of the record (years)", fontsize=LETTERS["plain"])
    chart.supylabel(f"error of the slope ({UNITS})", fontsize=LETTERS["plain"])
    marks = [
        Line2D([], [], marker="o", color="0.3", label="root mean square"),
        Line2D([], [], color="0.3", linewidth=8, alpha=0.3, label="5 to 95 %"),
        Line2D([], [], color="0.3", linestyle="--", label=f"{threshold:g}"),
    ]
    chart.legend(handles=marks, loc="outside lower center", ncols=3, fontsize=LETTERS["small"], frameon=False)
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _once(table: pd.DataFrame, keys: Sequence[str], where: str) -> None:
    if table.empty:
        raise ValueError(f"{where}: the table has no row")
    twice = table[table.duplicated(list(keys))]
    if len(twice):
        raise ValueError(f"{where}: {', '.join(map(str, twice.iloc[0][list(keys)]))} stands twice in the table")
