"""Slopes of a hindcast against slopes in situ, with limits of both (Fig. 9 of Fang, Pan & Shen 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smapnb.plot.scores_parts import LETTERS, WIDTH, plain
from smapnb.plot.style import titled
from smapnb.plot.trends import UNITS

NETWORKS = {"core": ("core sites", "o", "#D55E00"), "crn": ("sparse network", "^", "#0072B2")}


def slope_scatter(
    pairs: pd.DataFrame,
    agreements: Mapping[str, pd.DataFrame],
    *,
    title: str,
    synthetic: bool,
    threshold: float = 0.5,
) -> Figure:
    """Draw slopes of the hindcast against those in situ, with limits of both, as Fig. 9 of the paper.

    Parameters
    ----------
    pairs : pandas.DataFrame
        One row a site: ``network`` (core or crn), ``x, x_lower, x_upper`` (in situ), ``y, y_lower, y_upper`` (LSTM),
        and perhaps ``counted``: sites that are not, and have no part in the agreements, are hollow.
    agreements : mapping of network to DataFrame
        As `smapnb.trends_agreement.agreement` gives, for ``core``, ``crn`` and ``both``; the line is that of ``both``
        over all sites, and is left out where there is none. r of all sites stands in the legend, and of the steep.
    title : str
        Heading.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    threshold : float
        The band of small in-situ slopes is grey.

    Raises
    ------
    ValueError
        There is no site.
    """
    if pairs.empty:
        raise ValueError(f"slope_scatter: no site for {title!r}")
    chart, axis = plt.subplots(figsize=(WIDTH, WIDTH + 1.0), layout="constrained")
    plt.close(chart)
    # A site with limits beyond all others must not make the rest a dot: the frame follows the slopes.
    reach = 1.25 * max(np.nanmax(np.abs(pairs[["x", "y"]].to_numpy(float))), threshold)
    axis.axvspan(-threshold, threshold, color="0.93", zorder=0)
    axis.plot([-reach, reach], [-reach, reach], color="0.5", linewidth=1, linestyle=":", zorder=1)
    handles = [*_points(axis, pairs, agreements, threshold), *_line(axis, agreements.get("both"), reach, threshold)]
    if "counted" in pairs and not pairs["counted"].all():
        n = int((~pairs["counted"].astype(bool)).sum())
        style: dict[str, Any] = {"marker": "o", "linestyle": "", "color": "0.3", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label=f"hollow: {n} sites that the rules remove, without part in r", **style))
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axis.set_xlabel(f"slope in situ ({UNITS})", fontsize=LETTERS["plain"])
    axis.set_ylabel(f"slope of the LSTM ({UNITS})", fontsize=LETTERS["plain"])
    plain(axis, "both")
    chart.legend(
        handles=handles,
        title="lines at the points: 95 % limits",
        loc="outside lower center",
        fontsize=LETTERS["small"],
        frameon=False,
    )
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _points(axis: Axes, pairs: pd.DataFrame, agreements: Mapping[str, pd.DataFrame], threshold: float) -> list[Line2D]:
    """Sites of each network with their limits; one mark of the legend a network that has any."""
    marks = []
    for network, (text, marker, own) in NETWORKS.items():
        part = pairs[pairs["network"] == network]
        if part.empty:
            continue
        counted = part["counted"].to_numpy(bool) if "counted" in part else np.ones(len(part), bool)
        axis.hlines(part["y"], part["x_lower"], part["x_upper"], color=own, linewidth=0.8, alpha=0.35)
        axis.vlines(part["x"], part["y_lower"], part["y_upper"], color=own, linewidth=0.8, alpha=0.35)
        for mask, face in ((~counted, "white"), (counted, own)):
            x, y = part["x"][mask], part["y"][mask]
            axis.plot(x, y, marker, markerfacecolor=face, markersize=6, markeredgecolor=own)
        told = _correlations(agreements.get(network), threshold)
        marks.append(Line2D([], [], marker=marker, linestyle="", color=own, label=f"{text}: {told}"))
    return marks


def _line(axis: Axes, both: pd.DataFrame | None, reach: float, threshold: float) -> list[Line2D]:
    """Line with errors in both slopes and its marks in the legend; none where no line was fitted."""
    line = pd.Series(dtype=float) if both is None else both.loc["all"].astype(float)
    if not np.isfinite(line.get("slope", np.nan)):
        return []
    at = np.array([-reach, reach])
    axis.plot(at, line["intercept"] + line["slope"] * at, color="0.1", linewidth=1.6, zorder=2)
    limits = f"({line['slope_boot_lower']:.2f} to {line['slope_boot_upper']:.2f})"
    text = f"line with errors in both: slope {line['slope']:.2f} {limits}"
    told = f"both networks: {_correlations(both, threshold)}"
    return [Line2D([], [], color="0.1", linewidth=1.6, label=text), Line2D([], [], linestyle="", label=told)]


def _correlations(agreement: pd.DataFrame | None, threshold: float) -> str:
    if agreement is None:
        return "too few sites for r"
    texts = []
    for row, what in (("all", "all"), ("selected", f"|slope| > {threshold:g}")):
        n, r, low, high = agreement.loc[row, ["n", "r", "r_lower", "r_upper"]].to_numpy(float)
        told = f"r {r:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(r) else "too few for r"
        texts.append(f"{what} n={int(n)}, {told}")
    return texts[0] + "\n" + texts[1]
