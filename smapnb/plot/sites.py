"""Sites as figures for page and print: maps of scores, and the mean of a site with its sampling error.

They compute nothing and fetch nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from smapnb.plot.style import COLOURS, CONUS, borders, label, spread, titled, unit_text

WIDTH = 6.4  # inches
# Ranges of Fig. 8 of Fang, Pan & Shen (2019), as in its authors' scripts.
LIMITS = {"ubrmse": (0.0, 0.1), "pearson_r": (0.0, 1.0)}
ERRORS = ("bias", "rmse", "ubrmse")  # small is good: the colours are turned round, so that bright is good everywhere


def site_maps(
    panels: Mapping[str, xr.DataArray],
    *,
    title: str,
    synthetic: bool,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw maps of scores at sites: a column a metric under one colour bar, a row a product, as Fig. 8 of the paper.

    Bright is good: the colours of an error run from bright to dark, those of R from dark to bright. A site without a
    value is a grey cross; the number of sites with one stands in the title of its panel.

    Parameters
    ----------
    panels : mapping of title to DataArray
        Each with the dimension ``site``, the coordinates ``lon, lat`` and the name of its metric. Panels of one
        metric stand below each other; those of one metric alone, two in a row.
    title : str
        Heading.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    limits : mapping of metric to (low, high), optional
        Ranges of the colours; without, those of the paper for ubRMSE and R, else from the 2nd to the 98th percentile.

    Raises
    ------
    ValueError
        There are no panels.
    """
    if not panels:
        raise ValueError(f"site_maps: no panels for {title!r}")
    metrics = list(dict.fromkeys(str(values.name) for values in panels.values()))
    columns = {metric: [p for p in panels.items() if str(p[1].name) == metric] for metric in metrics}
    n_columns = len(metrics) if len(metrics) > 1 else min(2, len(panels))
    n_rows = max(map(len, columns.values())) if len(metrics) > 1 else -(-len(panels) // 2)
    projection = ccrs.AlbersEqualArea(central_longitude=-96, standard_parallels=(29.5, 45.5))
    chart, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(WIDTH, n_rows * (WIDTH / n_columns * 0.55 + 0.32) + 1.1),
        squeeze=False,
        subplot_kw={"projection": projection},
        layout="constrained",
    )
    plt.close(chart)
    for place, (metric, members) in enumerate(columns.items()):
        own = list(axes[:, place] if len(metrics) > 1 else axes.flat)
        range_ = (limits or {}).get(metric) or LIMITS.get(metric) or _common(members)
        for axis, (name, values) in zip(own, members, strict=False):
            drawn = _sites(axis, values, range_, 26 if n_columns > 1 else 40)
            axis.set_title(f"{name}, n={int(np.isfinite(values).sum())}", fontsize=11)
        seen = np.concatenate([values.to_numpy()[np.isfinite(values)] for _, values in members])
        _bar(chart, drawn, own[: len(members)], metric, members[0][1], _beyond(seen, range_))
        for axis in own[len(members) :]:
            axis.remove()
    chart.suptitle(titled(title, synthetic), fontsize=12.5)
    return chart


def _common(members: Sequence[tuple[str, xr.DataArray]]) -> tuple[float, float]:
    return spread(xr.DataArray(np.concatenate([values.to_numpy().ravel() for _, values in members])))


def _beyond(seen: np.ndarray, range_: tuple[float, float]) -> str:
    """Which ends of the colour bar are pointed: those beyond which there are values."""
    low, high = bool((seen < range_[0]).any()), bool((seen > range_[1]).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((low, high), "both")


def _sites(axis: Any, values: xr.DataArray, range_: tuple[float, float], size: float) -> Any:
    plate = ccrs.PlateCarree()
    axis.set_extent(CONUS, plate)
    axis.add_geometries(borders(0.02), plate, facecolor="none", edgecolor="0.6", linewidth=0.4, zorder=1)
    known = np.isfinite(values.to_numpy())
    absent = values[~known]
    axis.scatter(absent["lon"], absent["lat"], s=size / 2, marker="x", c="0.55", linewidths=0.9, transform=plate)
    seen = values[known]
    return axis.scatter(
        seen["lon"],
        seen["lat"],
        c=seen,
        s=size,
        cmap="viridis_r" if values.name in ERRORS else "viridis",
        vmin=range_[0],
        vmax=range_[1],
        edgecolors="0.15",
        linewidths=0.5,
        transform=plate,
        zorder=2,
    )


def _bar(chart: Figure, drawn: Any, axes: Sequence[Any], metric: str, values: xr.DataArray, extend: str) -> None:
    bar = chart.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.85, pad=0.02, aspect=26, extend=extend)
    bar.set_label(label(metric, values.attrs), fontsize=11)
    bar.ax.tick_params(labelsize=10)


def uncertain_mean(
    dataset: xr.Dataset,
    name: str,
    *,
    title: str,
    synthetic: bool,
    errors: float = 2.0,
    truth: xr.DataArray | None = None,
) -> Figure:
    """Draw the mean of a site with a band of its sampling error, below it the part of the pixel that is covered.

    Parameters
    ----------
    dataset : xarray.Dataset
        Only dimension ``time``; `name` and ``<name>_error`` in m3 m-3, and perhaps ``coverage`` (0 to 1).
    name : str
        ``ssm_insitu`` or ``rzsm_insitu``.
    title, synthetic
        As in `site_maps`.
    errors : float
        Half the width of the band, in sampling errors.
    truth : xarray.DataArray, optional
        The true mean of the pixel (time), drawn as a line; known to the simulation experiment only.
    """
    covered = "coverage" in dataset
    chart, axes = plt.subplots(
        1 + covered,
        1,
        figsize=(WIDTH, 3.4 + 1.3 * covered),
        sharex=True,
        squeeze=False,
        height_ratios=[3, 1][: 1 + covered],
        layout="constrained",
    )
    plt.close(chart)
    upper, time = axes[0, 0], dataset["time"].to_numpy()
    mean, half = dataset[name].to_numpy(), errors * dataset[f"{name}_error"].to_numpy()
    own = COLOURS["insitu"]
    upper.fill_between(
        time, mean - half, mean + half, color=own, alpha=0.3, linewidth=0, label=f"± {errors:g} sampling errors"
    )
    upper.plot(time, mean, color=own, linewidth=1.2, label="mean of the stations")
    if truth is not None:
        upper.plot(truth["time"], truth, color=COLOURS["truth"], linewidth=1.5, label="true mean of the pixel")
    upper.set_ylabel(label(name, {"long_name": "soil moisture"} | {"units": "m3 m-3"}), fontsize=11)
    if covered:
        lower = axes[1, 0]
        lower.fill_between(time, 0, dataset["coverage"], color="0.55", linewidth=0, step="mid")
        lower.set_ylim(0, 1.02)
        lower.set_ylabel(f"covered ({unit_text('1')})", fontsize=11)
    axes[-1, 0].set_xlabel("day", fontsize=11)
    for axis in axes.flat:
        axis.tick_params(labelsize=10)
        axis.grid(alpha=0.3)
    locator = AutoDateLocator(maxticks=7)  # more dates would run together on a phone
    axes[-1, 0].xaxis.set_major_locator(locator)
    axes[-1, 0].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    upper.set_title(titled(title, synthetic), fontsize=12.5)
    chart.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return chart
