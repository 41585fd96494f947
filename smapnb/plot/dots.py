"""Differences between series, speed of drying and sensitivity to a rule: a dot and its span, a row a site.

The tables are drawn as they come; a row that would stand twice in one place is an error, never an average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smapnb.plot.scores_parts import LETTERS, WHISKERS, WIDTH, legend, named, plain, product_of, select
from smapnb.plot.style import colour, metric_label, series_label, titled

MEAN = "mean"  # the `site` of a row that is the mean over sites
BETTER = {"rmse": "left", "ubrmse": "left", "pearson_r": "right", "anomaly_r": "right"}


def difference_forest(
    differences: pd.DataFrame,
    *,
    title: str,
    synthetic: bool,
    names: Mapping[str, str] | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Draw differences between two series, a line a site with its limits, a panel a comparison.

    Markers are filled where the adjusted p-value is below `alpha`. A row whose ``site`` is `MEAN` stands at the
    bottom as a grey diamond; `mean_rows` makes such rows of a table of effects.

    Parameters
    ----------
    differences : pandas.DataFrame
        Columns ``site, one, two, metric, difference, lower, upper, p_adjusted``, perhaps ``quantity`` and ``group``.
    title, synthetic, names
        As in `score_bars`.
    alpha : float
        Level of the filled markers.

    Raises
    ------
    ValueError
        The table is empty, or a site stands twice in one comparison.
    """
    keys = [key for key in ("quantity", "metric", "one", "two") if key in differences]
    groups = list(differences.groupby(keys, sort=False))
    if not groups:
        raise ValueError(f"difference_forest: no rows for {title!r}")
    sites = [site for site in pd.unique(differences["site"]) if site != MEAN]
    with_mean = (differences["site"] == MEAN).any()
    n_rows = -(-len(groups) // 2)
    height = (0.34 * (len(sites) + with_mean) + 1.3) * n_rows + 0.9
    chart, axes = plt.subplots(
        n_rows, min(2, len(groups)), figsize=(WIDTH, height), squeeze=False, sharey=True, layout="constrained"
    )
    plt.close(chart)
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    several = len(set(differences["quantity"])) > 1 if "quantity" in differences else False
    for axis, (key, rows) in zip(axes.flat, groups, strict=False):
        if rows["site"].duplicated().any():
            raise ValueError(f"difference_forest: a site stands twice in {key}; choose one sampling and set of rules")
        _forest(axis, rows, [*sites, *([MEAN] if with_mean else [])], alpha)
        first = rows.iloc[0]
        above = f"{first['quantity'].replace('rootzone', 'root zone')}\n" if several else ""
        axis.set_title(above + _comparison(first["one"], first["two"]), fontsize=LETTERS["plain"])
        axis.set_xlabel(_direction(first["metric"], first["one"]), fontsize=LETTERS["small"])
    texts = [named(differences, site, names).replace("\n", " ") for site in sites]
    axes[0, 0].set_yticks(range(len(sites) + with_mean), texts + (["mean of sites"] if with_mean else []))
    axes[0, 0].set_ylim(len(sites) + with_mean - 0.5, -0.5)
    _forest_legend(chart, alpha, with_mean=bool(with_mean))
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _forest_legend(chart: Figure, alpha: float, *, with_mean: bool) -> None:
    kinds = [("o", "0.1", f"adjusted p < {alpha:g}"), ("o", "white", f"p ≥ {alpha:g}"), ("D", "0.6", "mean of sites")]
    marks = [
        Line2D([], [], marker=marker, linestyle="", color="0.1", markerfacecolor=face, markersize=7, label=text)
        for marker, face, text in kinds[: 3 if with_mean else 2]
    ]
    chart.legend(
        handles=marks,
        loc="outside lower center",
        ncols=3,
        fontsize=LETTERS["small"],
        frameon=False,
        title="lines: 95 % limits",
        title_fontsize=LETTERS["small"],
    )


def mean_rows(effects: pd.DataFrame) -> pd.DataFrame:
    """Give the means of a table of `smapnb.comparison.effect` the columns that `difference_forest` draws.

    Parameters
    ----------
    effects : pandas.DataFrame
        Columns ``mean, lower, upper`` and those that name the comparison.

    Returns
    -------
    pandas.DataFrame
        The same rows with ``site`` (`MEAN`), ``difference`` and ``p_adjusted`` (none).
    """
    return effects.rename(columns={"mean": "difference"}).assign(site=MEAN, p_adjusted=np.nan)


def _forest(axis: Axes, rows: pd.DataFrame, order: Sequence[str], alpha: float) -> None:
    rows = rows[np.isfinite(rows["difference"].astype(float))]
    at = rows["site"].map({site: place for place, site in enumerate(order)}).to_numpy(float)
    axis.hlines(at, rows["lower"], rows["upper"], color="0.25", linewidth=1.4)
    sure, mean = rows["p_adjusted"].to_numpy(float) < alpha, (rows["site"] == MEAN).to_numpy()
    for part, marker, face in ((sure & ~mean, "o", "0.1"), (~sure & ~mean, "o", "white"), (mean, "D", "0.6")):
        axis.plot(rows["difference"][part], at[part], marker, color="0.1", markersize=7, markerfacecolor=face)
    axis.axvline(0, color="0.4", linewidth=1, linestyle="--", zorder=0)
    if MEAN in order:
        axis.axhline(len(order) - 1.5, color="0.4", linewidth=0.8)
    plain(axis, "x")
    axis.locator_params(axis="x", nbins=5)


def _comparison(one: str, two: str) -> str:
    period, _, product = one.rpartition(" ")
    other_period, _, other = two.rpartition(" ")
    if period == other_period:
        return f"{period}: {series_label(product)} − {series_label(other)}"
    return f"{series_label(one)} − {series_label(two)}"


def _direction(metric: str, one: str) -> str:
    """Text of the axis of a difference, and on which side of 0 the first of the two is better."""
    side = BETTER.get(metric)
    better = f"\n{side} of 0: {series_label(one)} is better" if side else ""
    return f"difference in {metric_label(metric)}{better}"


def drydown_bars(
    scores: pd.DataFrame,
    *,
    title: str,
    synthetic: bool,
    series: Sequence[str] = ("AL insitu", "AL smap", "AL lstm", "AL noah", "AL comb"),
    metric: str = "drydown_days",
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Draw how fast the soil dries: a bar from the lower to the upper quartile and a dot, by site and series.

    Parameters
    ----------
    scores : pandas.DataFrame
        As in `score_bars`; ``value`` is the median e-folding time in days, ``lower`` and ``upper`` its quartiles over
        the dry spells, ``n`` their number.
    title, synthetic, names
        As in `score_bars`.
    series : sequence of str
        Which, in order.
    metric : str
        Name in the column ``metric``.

    Raises
    ------
    ValueError
        As in `score_bars`.
    """
    rows = select(scores, [metric], series, "drydown_bars")
    styles: dict[str, Any] = {
        one: {"color": colour(product_of(rows, one), k), "marker": "o"} for k, one in enumerate(series)
    }
    chart, (axis,) = _dot_panels(1, rows, len(series))
    _dots(axis, rows.rename(columns={"series": "row"}), styles, 3.5, names)
    axis.set_xlabel(metric_label(metric), fontsize=LETTERS["plain"])
    entries = [(one, Line2D([], [], linewidth=3.5, **style)) for one, style in styles.items()]
    legend(chart, entries, "dot: median of dry spells; bar: quartiles; n: spells")
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def sensitivity_dots(
    scores: pd.DataFrame,
    metrics: Sequence[str],
    setting: str,
    *,
    title: str,
    synthetic: bool,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Draw scores of one series under several settings of a rule: a panel a metric, a row a site, a mark a setting.

    Parameters
    ----------
    scores : pandas.DataFrame
        As in `score_bars`, of one product and period, with one more column.
    metrics : sequence of str
        One panel each, one below the other.
    setting : str
        Name of that column, as ``temperature rule``; it becomes the legend's heading.
    title, synthetic, names
        As in `score_bars`.

    Raises
    ------
    ValueError
        No rows; a site has a metric twice under one setting, as when series are mixed.
    """
    rows = scores[scores["metric"].isin(list(metrics))].reset_index(drop=True)
    rows["row"] = rows[setting].astype(str)
    if rows.empty:
        raise ValueError(f"sensitivity_dots: no score of {list(metrics)}")
    twice = rows[rows.duplicated(["site", "metric", "row"])]
    if len(twice):
        raise ValueError(
            f"sensitivity_dots: site {twice['site'].iloc[0]}, {twice['metric'].iloc[0]} stands twice under "
            f"{setting} {twice['row'].iloc[0]!r}; choose one series"
        )
    own = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
    styles: dict[str, Any] = {
        one: {"color": own[k % len(own)], "marker": "osD^v"[k % 5]} for k, one in enumerate(pd.unique(rows["row"]))
    }
    chart, axes = _dot_panels(len(metrics), rows, len(styles))
    for axis, metric in zip(axes, metrics, strict=True):
        _dots(axis, rows[rows["metric"] == metric], styles, 1.4, names)
        axis.set_xlabel(metric_label(metric), fontsize=LETTERS["plain"])
    chart.legend(
        [Line2D([], [], linewidth=1.4, **style) for style in styles.values()],
        list(styles),
        loc="outside lower center",
        ncols=2,
        fontsize=LETTERS["small"],
        frameon=False,
        title=f"{setting} ({WHISKERS})" if rows[["lower", "upper"]].notna().to_numpy().any() else setting,
        title_fontsize=LETTERS["small"],
    )
    chart.suptitle(titled(title, synthetic), fontsize=LETTERS["large"])
    return chart


def _dot_panels(n_panels: int, rows: pd.DataFrame, n_marks: int) -> tuple[Figure, list[Axes]]:
    height = n_panels * (rows["site"].nunique() * (0.14 * n_marks + 0.22) + 0.7) + 1.2
    chart, axes = plt.subplots(n_panels, 1, figsize=(WIDTH, height), squeeze=False, layout="constrained")
    plt.close(chart)
    return chart, list(axes[:, 0])


def _dots(
    axis: Axes,
    rows: pd.DataFrame,
    styles: Mapping[str, Mapping[str, Any]],
    linewidth: float,
    names: Mapping[str, str] | None,
) -> None:
    """One band a site, in it one mark with its span for each value of the column ``row``."""
    sites = list(pd.unique(rows["site"]))
    for k, (one, style) in enumerate(styles.items()):
        part = rows[(rows["row"] == one) & np.isfinite(rows["value"].astype(float))]
        at = part["site"].map({site: place for place, site in enumerate(sites)}).to_numpy(float)
        at = at + (k - (len(styles) - 1) / 2) * 0.78 / len(styles)
        axis.hlines(at, part["lower"], part["upper"], color=style["color"], linewidth=linewidth, alpha=0.55)
        axis.plot(part["value"], at, linestyle="", markersize=6, label=one, **style)
    for place in range(1, len(sites)):
        axis.axhline(place - 0.5, color="0.85", linewidth=0.8)
    n = rows[np.isfinite(rows["value"].astype(float))].groupby("site")["n"].agg(["min", "max"]).astype(int)
    counts = {site: "-".join(map(str, sorted({low, high}))) for site, low, high in n.itertuples()}
    texts = [f"{named(rows, site, names)}\nn={counts.get(site, '0')}" for site in sites]
    axis.set_yticks(range(len(sites)), texts)
    axis.set_ylim(len(sites) - 0.5, -0.5)
    plain(axis, "x")
