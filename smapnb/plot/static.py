"""Figures for page and print: matplotlib, maps by cartopy. They compute nothing and fetch nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smapnb.plot.style import CONUS, OTHERS, borders, colour, label, metric_label, spread, titled, unit_text
from smapnb.variables import TABLE

WIDTH = 8.0  # inches, the text column of the book
LONGEST_TICKS = 24  # letters of all products side by side below a third of it; more run into one another


def static_maps(
    panels: Mapping[str, xr.DataArray],
    *,
    synthetic: bool,
    limits: Mapping[str, tuple[float, float]] | None = None,
    cmap: str = "viridis",
) -> Figure:
    """Draw one map a panel, pixels as squares over state borders.

    Parameters
    ----------
    panels : mapping of title to DataArray
        Each with the dimension ``pixel`` and the coordinates ``lon, lat``.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    limits : mapping of title to (low, high), optional
        Range of the colours; without, from the 2nd to the 98th percentile.
    cmap : str
        Colour map of matplotlib.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    projection = ccrs.AlbersEqualArea(central_longitude=-96, standard_parallels=(29.5, 45.5))
    height = rows * WIDTH / columns * 0.68 + 0.5
    chart, axes = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, height),
        squeeze=False,
        subplot_kw={"projection": projection},
        layout="constrained",
    )
    plt.close(chart)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=False):
        _map(axis, values, cmap, (limits or {}).get(title), 26 / columns**2)
        axis.set_title(titled(title, synthetic), fontsize=12)
    return chart


def _map(axis: Any, values: xr.DataArray, cmap: str, limits: tuple[float, float] | None, size: float) -> None:
    axis.set_extent(CONUS, ccrs.PlateCarree())
    axis.add_geometries(borders(0.02), ccrs.PlateCarree(), facecolor="none", edgecolor="0.55", linewidth=0.4, zorder=1)
    low, high = limits or spread(values)
    drawn = axis.scatter(
        values["lon"],
        values["lat"],
        c=values,
        s=size if values.size > 100 else 2.5 * size,
        marker="s",
        cmap=cmap,
        vmin=low,
        vmax=high,
        linewidths=0,
        transform=ccrs.PlateCarree(),
        zorder=2,
    )
    bar = axis.figure.colorbar(drawn, ax=axis, orientation="horizontal", shrink=0.8, pad=0.03, extend="both")
    bar.set_label(label(str(values.name), values.attrs), fontsize=11)
    bar.ax.tick_params(labelsize=11)


def observation_gaps(fraction: xr.DataArray, *, synthetic: bool) -> Figure:
    """Draw the fraction of days with an observation: a column a month, a line a pixel from south to north.

    Parameters
    ----------
    fraction : xarray.DataArray
        Dimensions ``time`` (months) and ``pixel``, with the coordinate ``lat``.
    """
    ordered = fraction.sortby("lat").transpose("pixel", "time")
    chart, axis = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    plt.close(chart)
    drawn = axis.pcolormesh(ordered["time"], np.arange(ordered.sizes["pixel"]), ordered, cmap="cividis", vmin=0, vmax=1)
    ticks = np.linspace(0, ordered.sizes["pixel"] - 1, min(6, ordered.sizes["pixel"])).round().astype(int)
    axis.set_yticks(ticks, [f"{ordered['lat'].to_numpy()[i]:.0f}°N" for i in ticks])
    axis.set(xlabel="month", ylabel="pixels, south to north")
    axis.set_title(titled("Days with an observation", synthetic), fontsize=10)
    chart.colorbar(drawn, ax=axis, label="fraction of days (-)")
    return chart


def series_panels(dataset: xr.Dataset, names: Sequence[str], *, title: str, synthetic: bool) -> Figure:
    """Draw one panel a variable under a common time axis, for a Dataset whose only dimension is ``time``."""
    chart, axes = plt.subplots(
        len(names),
        1,
        figsize=(WIDTH, 1.3 * len(names) + 0.8),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    plt.close(chart)
    for axis, name in zip(axes.flat, names, strict=True):
        axis.plot(dataset["time"], dataset[name], color="#0072B2", linewidth=0.7)
        units = unit_text(dataset[name].attrs.get("units") or TABLE[name].units)
        axis.set_ylabel("\n".join([*name.split("_"), f"({units})"]), fontsize=9)
        axis.tick_params(labelsize=10)
    axes[-1, 0].set_xlabel("day", fontsize=11)
    axes[0, 0].set_title(titled(title, synthetic), fontsize=12)
    return chart


def loss_curves(history: pd.DataFrame, *, title: str, units: str, synthetic: bool) -> Figure:
    """Draw training loss and validation RMSE of every member against the epoch.

    Parameters
    ----------
    history : pandas.DataFrame
        Columns ``member, epoch, loss`` and any that begin with ``validation``.
    units : str
        Units of the validation scores; the loss is that of scaled values and has none.
    """
    scores = [c for c in history.columns if c.startswith("validation") and history[c].notna().any()]
    if len(scores) == 2 and history[scores[0]].equals(history[scores[1]]):
        scores = scores[:1]  # only pixels, or only months, are held back: the sum of both says nothing more
    chart, axes = plt.subplots(1, 1 + bool(scores), figsize=(WIDTH, 3.2), squeeze=False, layout="constrained")
    plt.close(chart)
    styles = ["-", "--", ":", "-."]
    means = {"validation_rmse": "all held back", "validation_rmse_pixels": "pixels", "validation_rmse_months": "months"}
    for position, (member, rows) in enumerate(history.groupby("member")):
        own = {"color": OTHERS[position % len(OTHERS)], "linewidth": 1.2}
        axes[0, 0].plot(rows["epoch"], rows["loss"], label=f"member {member}", **own)
        for style, name in zip(styles, scores, strict=False):
            text = f"member {member}, {means.get(name, name)}"
            looked = rows.dropna(subset=[name])  # a recipe may look every few epochs, or once at the end
            axes[0, 1].plot(looked["epoch"], looked[name], f"o{style}", markersize=3, label=text, **own)
    axes[0, 0].set(xlabel="epoch", ylabel="training loss, scaled (-)", yscale="log")
    if scores:
        axes[0, 1].set(xlabel="epoch", ylabel=f"RMSE on what is held back ({unit_text(units)})")
    for axis in axes.flat:
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    chart.suptitle(titled(title, synthetic), fontsize=10)
    return chart


def boxes(values: Mapping[str, xr.DataArray], *, title: str, synthetic: bool) -> Figure:
    """Draw one box a product: median, quartiles and 5-95 % of its pixels; their number stands below."""
    chart, axis = plt.subplots(figsize=(WIDTH / 2, 3.2), layout="constrained")
    plt.close(chart)
    _boxes(axis, values)
    axis.set_title(titled(title, synthetic), fontsize=10)
    return chart


def _boxes(axis: Axes, values: Mapping[str, xr.DataArray]) -> None:
    known = {name: array.to_numpy()[np.isfinite(array)] for name, array in values.items()}
    drawn = axis.boxplot(
        list(known.values()),
        tick_labels=[f"{name}\nn={array.size}" for name, array in known.items()],
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "white", "linewidth": 1.6},
    )
    for position, (box, name) in enumerate(zip(drawn["boxes"], known, strict=True)):
        box.set_facecolor(colour(name, position))
    first = next(iter(values.values()))
    axis.set_ylabel(label(str(first.name), first.attrs), fontsize=9)
    axis.tick_params(labelsize=8)
    if sum(map(len, known)) > LONGEST_TICKS:
        axis.tick_params(axis="x", rotation=40)
    axis.grid(axis="y", alpha=0.3)


def score_boxes(scores: Mapping[str, xr.Dataset], metrics: Sequence[str], *, title: str, synthetic: bool) -> Figure:
    """Draw `boxes` for several metrics side by side, from results of ``metrics.evaluate`` by product."""
    chart, axes = plt.subplots(1, len(metrics), figsize=(WIDTH, 3.4), squeeze=False, layout="constrained")
    plt.close(chart)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        _boxes(axis, {name: values[metric] for name, values in scores.items()})
        axis.set_ylabel(metric_label(metric), fontsize=9)  # the long name is taller than a panel
    chart.suptitle(titled(title, synthetic), fontsize=10)
    return chart


def by_year(table: pd.DataFrame, metric: str, *, title: str, attrs: Mapping[str, Any], synthetic: bool) -> Figure:
    """Draw a median and its quartiles by year, one line a product.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``product, year, median, q25, q75, n_pixels``; the number of pixels stands in the legend.
    attrs : mapping
        ``long_name`` and ``units`` of the metric.
    """
    chart, axis = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    plt.close(chart)
    for position, (product, rows) in enumerate(table.groupby("product", sort=False)):
        own = colour(str(product), position)
        counts = sorted({int(rows["n_pixels"].min()), int(rows["n_pixels"].max())})
        text = f"{product} (n={'-'.join(map(str, counts))} pixels)"
        axis.plot(rows["year"], rows["median"], "o-", color=own, label=text, markersize=4)
        axis.fill_between(rows["year"], rows["q25"], rows["q75"], color=own, alpha=0.15, linewidth=0)
    axis.set(xlabel="year", ylabel=label(metric, attrs))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    axis.set_title(titled(title, synthetic), fontsize=10)
    return chart


def masks(panels: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw dropout masks, one panel each of shape (instances, units): dark is dropped, light is kept."""
    chart, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.2), squeeze=False, layout="constrained")
    plt.close(chart)
    for axis, (name, values) in zip(axes.flat, panels.items(), strict=True):
        axis.imshow(values > 0, cmap="cividis", aspect="auto", interpolation="none", vmin=0, vmax=1)
        axis.set(xlabel="hidden unit", ylabel="training instance")
        axis.set_title(f"mask on {name}", fontsize=9)
    chart.suptitle(title, fontsize=10)
    return chart


def realism(statistics: Mapping[str, xr.Dataset]) -> Figure:
    """Draw what makes moisture and rain look real, one line a source, from results of ``twin.realism`` by name.

    The names must say which source is synthetic; its line is broken.
    """
    panels = {
        "ssm_seasonal_cycle": ("month", "soil moisture"),
        "ssm_autocorrelation": ("lag", "autocorrelation"),
        "ssm_histogram": ("moisture", "density"),
        "precipitation_seasonal_cycle": ("month", "precipitation"),
    }
    xlabels = {"month": "month", "lag": "lag (d)", "moisture": f"soil moisture ({unit_text('m3 m-3')})"}
    chart, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.4), layout="constrained")
    plt.close(chart)
    for axis, (name, (dim, text)) in zip(axes.flat, panels.items(), strict=True):
        for position, (source, values) in enumerate(statistics.items()):
            line = "--" if "synthetic" in source else "-"
            axis.plot(values[dim], values[name], line, color=OTHERS[position], label=source)
        units = next(iter(statistics.values()))[name].attrs["units"]
        axis.set(xlabel=xlabels[dim], ylabel=f"{text} ({unit_text(units)})")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    chart.suptitle("Surface soil moisture and precipitation", fontsize=10)
    return chart
