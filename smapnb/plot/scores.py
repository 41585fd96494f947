"""Scores of sites as bars and boxes, by series.

The tables are drawn as they come: no mean, no limit and no p-value is made here, and a row that would stand twice
in one place is an error, never an average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from smapnb.plot.scores_parts import (
    LETTERS,
    SERIES,
    WHISKERS,
    WIDTH,
    days,
    filling,
    legend,
    named,
    plain,
    product_of,
    select,
    with_value,
)
from smapnb.plot.style import metric_label, series_label, titled

PER_BLOCK = 5  # sites side by side


def score_bars(
    scores: pd.DataFrame,
    metrics: Sequence[str],
    *,
    title: str,
    synthetic: bool,
    series: Sequence[str] = SERIES,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Draw scores of each site as bars: one panel a metric, one bar a series, as Figs. 3 and 4 of the paper.

    The colour is the product's; bars of PL are light and hatched, those of AL full. Whiskers end at the limits of
    the table; number of days stand below, a range where they differ between the products. What is missing is a gap.

    Parameters
    ----------
    scores : pandas.DataFrame
        Long table of scores: columns ``site, product, period, metric, value, lower, upper, n``; one quantity, one
        sampling, one set of rules.
    metrics : sequence of str
        As in `metric_label`: ``bias``, ``ubrmse``, ``pearson_r``, ...
    title : str
        Heading.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    series : sequence of str
        Which bars, in order, as ``PL lstm``; or a period alone, as ``AL 1-year test``.
    names : mapping of site or group to name, optional
        What is written over the identifier of a site.

    Raises
    ------
    ValueError
        As in `select`; a metric is unknown.
    """
    rows = select(scores, metrics, series, "score_bars")
    sites = list(pd.unique(rows["site"]))
    blocks = [list(b) for b in np.array_split(np.array(sites, object), -(-len(sites) // PER_BLOCK))]
    widest = max(map(len, blocks))
    n_rows = len(blocks) * len(metrics)
    chart, axes = plt.subplots(
        n_rows, 1, figsize=(WIDTH, 1.75 * n_rows + 1.1 * len(blocks) + 1.0), squeeze=False, layout="constrained"
    )
    plt.close(chart)
    for position, (block, metric) in enumerate((b, m) for b in blocks for m in metrics):
        axis, row = axes[position, 0], position % len(metrics)
        if position >= len(metrics):
            axis.sharey(axes[row, 0])
        for k, one in enumerate(series):
            offset = (k - (len(series) - 1) / 2) * 0.86 / len(series)
            _bars(axis, with_value(rows, one, metric, block), one, offset, 0.86 / len(series))
        axis.axhline(0, color="0.3", linewidth=0.8)
        axis.set_xlim(-0.5, widest - 0.5)
        axis.set_ylabel(metric_label(metric), fontsize=LETTERS["plain"])
        last = row == len(metrics) - 1
        below = [f"{named(rows, site, names)}\n{days(rows[rows['site'] == site], series)}" for site in block]
        axis.set_xticks(range(len(block)), below if last else [""] * len(block))
        plain(axis, "y")
        axis.tick_params(axis="x", labelsize=LETTERS["small"] - 0.5, length=0)
    legend(chart, [(one, Patch(**filling(product_of(rows, one), one))) for one in series], f"{WHISKERS}; numbers: days")
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _bars(axis: Axes, rows: pd.DataFrame, series: str, offset: float, width: float) -> None:
    if rows.empty:
        return
    x = rows["at"].to_numpy() + offset
    axis.bar(x, rows["value"], width, label=series, **filling(product_of(rows, series), series))
    # Limits of a bootstrap need not lie on both sides of the value, so they are drawn as ends and not as lengths.
    outline = [withStroke(linewidth=2.4, foreground="white")]  # else they would drown in a black bar
    axis.vlines(x, rows["lower"], rows["upper"], color="0.1", linewidth=1, path_effects=outline)


def score_boxes_by_series(
    scores: pd.DataFrame,
    metrics: Sequence[str],
    *,
    title: str,
    synthetic: bool,
    series: Sequence[str] = SERIES,
) -> Figure:
    """Draw scores of many sites as boxes: one panel a metric, one box a series, as Fig. 7 of the paper.

    A box spans the quartiles, its line is the median, its whiskers span 5 to 95 % of the sites; the number of sites
    stands beside it. The boxes lie, so that their names can be read.

    Parameters
    ----------
    scores : pandas.DataFrame
        As in `score_bars`.
    metrics : sequence of str
        One panel each, two in a row.
    title, synthetic, series
        As in `score_bars`.

    Raises
    ------
    ValueError
        As in `score_bars`.
    """
    rows = select(scores, metrics, series, "score_boxes_by_series")
    n_rows = -(-len(metrics) // 2)
    chart, axes = plt.subplots(
        n_rows,
        min(2, len(metrics)),
        figsize=(WIDTH, (0.36 * len(series) + 0.8) * n_rows + 0.8),
        squeeze=False,
        layout="constrained",
    )
    plt.close(chart)
    for axis in axes.flat[len(metrics) :]:
        axis.remove()
    for position, metric in enumerate(metrics):
        axis = axes.flat[position]
        known = [with_value(rows, one, metric, rows["site"])["value"].to_numpy(float) for one in series]
        _lying_boxes(axis, known, {one: product_of(rows, one) for one in series})
        name = [f"{series_label(one)}  " if position % 2 == 0 else "" for one in series]
        axis.set_yticks(range(1, len(series) + 1), [f"{n}n={len(v)}" for n, v in zip(name, known, strict=True)])
        axis.invert_yaxis()
        axis.set_xlabel(metric_label(metric), fontsize=LETTERS["plain"])
        if metric == "bias":
            axis.axvline(0, color="0.4", linewidth=1, linestyle="--", zorder=0)
        plain(axis, "x")
        axis.locator_params(axis="x", nbins=4)
    chart.suptitle(
        f"{titled(title, synthetic)}\nbox: quartiles of the sites; whiskers: 5-95 %", fontsize=LETTERS["plain"]
    )
    return chart


def _lying_boxes(axis: Axes, values: Sequence[NDArray[np.float64]], products: Mapping[str, str]) -> None:
    """One box a series, from the top; `products` maps each series, such as ``PL lstm``, to its product."""
    drawn = axis.boxplot(
        values,
        orientation="horizontal",
        whis=(5, 95),
        widths=0.62,
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 1.8},
    )
    for box, median, (one, product) in zip(drawn["boxes"], drawn["medians"], products.items(), strict=True):
        box.set(**filling(product, one))
        # The median of a full box is white, of a light one black: it is what readers look for.
        median.set_color("black" if one.startswith("PL") else "white")
