"""What the figures of scores share: choosing rows of the long table, texts, colours, patterns and the legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from smapnb.plot.style import colour, series_label

# The seven series of Figs. 3 and 7 of Fang, Pan & Shen (2019), in their order.
SERIES = ("PL lstm", "PL noah", "PL comb", "AL smap", "AL lstm", "AL noah", "AL comb")
WIDTH = 6.4  # inches; narrower than the book's column, so that a phone shrinks the letters less
LETTERS = {"small": 10, "plain": 11, "large": 12.5}  # points
WHISKERS = "whiskers: 95 % limits"


def select(scores: pd.DataFrame, metrics: Sequence[str], series: Sequence[str], where: str) -> pd.DataFrame:
    """Take the rows of some metrics and series out of the long table of scores.

    Parameters
    ----------
    scores : pandas.DataFrame
        Columns ``site, product, period, metric, value, lower, upper, n``.
    metrics : sequence of str
        Names in the column ``metric``.
    series : sequence of str
        Period and product, as ``PL noah_vic``, or a period alone where it holds one product.
    where : str
        Name of the figure, for the messages.

    Returns
    -------
    pandas.DataFrame
        Those rows with a column ``series``, sites in the order of the table.

    Raises
    ------
    ValueError
        No such row; or one site has a series and metric twice, as when quantities or samplings are mixed.
    """
    period, product = scores["period"].astype(str), scores["product"].astype(str)
    both = period + " " + product
    rows = scores.assign(series=both.where(~period.isin(list(series)), period))
    rows = rows[rows["series"].isin(list(series)) & rows["metric"].isin(list(metrics))]
    if rows.empty:
        raise ValueError(f"{where}: no score of {list(metrics)} for {list(series)}")
    place = ["site", "series", "metric"]
    twice = rows[rows.duplicated(place)]
    if len(twice):
        raise ValueError(
            f"{where}: site {', '.join(twice.iloc[0][place].astype(str))} stands twice in the table; "
            "choose one quantity, sampling and set of rules"
        )
    return rows


def with_value(rows: pd.DataFrame, series: str, metric: str, sites: Iterable[str]) -> pd.DataFrame:
    """Rows of one series and metric that have a value, with their place among `sites` in the column ``at``."""
    places = {site: at for at, site in enumerate(sites)}
    rows = rows[(rows["series"] == series) & (rows["metric"] == metric) & rows["site"].isin(list(places))]
    return rows.assign(at=rows["site"].map(places).astype(float))[np.isfinite(rows["value"].astype(float))]


def product_of(rows: pd.DataFrame, series: str) -> str:
    """Product of a series; it gives the colour also where a series is named by its period alone."""
    products = rows.loc[rows["series"] == series, "product"]
    return str(products.iloc[0]) if len(products) else series


def filling(product: str, series: str) -> dict[str, Any]:
    """Colour by product, pattern by period: both stay readable in print and to the colour-blind."""
    own = colour(product)
    if series.startswith("PL"):
        return {"facecolor": _light(own), "edgecolor": own, "hatch": "//////", "linewidth": 0.6}
    if series.count(" ") > 1:  # neither of the two periods: the test of one year
        return {"facecolor": "white", "edgecolor": own, "hatch": "....", "linewidth": 0.9}
    return {"facecolor": own, "edgecolor": own, "linewidth": 0.6}


def _light(own: str) -> tuple[float, float, float]:
    red, green, blue = (0.3 * part + 0.7 for part in to_rgb(own))
    return red, green, blue


def named(rows: pd.DataFrame, site: str, names: Mapping[str, str] | None) -> str:
    """Name of a site, or of its group, over its identifier."""
    groups = rows.loc[rows["site"] == site, "group"] if "group" in rows else pd.Series(dtype=str)
    name = next((names[key] for key in (site, *groups) if key in names), "") if names else ""
    return f"{name}\n{site}" if name and name != site else site


def days(rows: pd.DataFrame, series: Sequence[str]) -> str:
    """Write the number of days by period, a range where the products do not share them."""
    lines = []
    rows = rows[np.isfinite(rows["value"].astype(float))]
    periods = dict.fromkeys(one.rpartition(" ")[0] if one.count(" ") == 1 else one for one in series)
    for period in periods:
        known = rows.loc[rows["period"].astype(str) == period, "n"].astype(int)
        text = "-".join(map(str, sorted({known.min(), known.max()}))) if len(known) else "0"
        lines.append(f"{period}{chr(10) if len(period) > 8 else ' '}{text}")
    return "\n".join(lines)


def legend(chart: Figure, entries: Sequence[tuple[str, Any]], note: str = WHISKERS) -> None:
    """Write the legend below: a column a product, its periods one below the other."""
    products = [one.rpartition(" ")[2] for one, _ in entries]
    # Those of two periods first: a legend is filled by columns, and so each product has one of its own.
    order = sorted(dict.fromkeys(products), key=lambda product: -products.count(product))
    entries = sorted(entries, key=lambda entry: order.index(entry[0].rpartition(" ")[2]))
    columns = len(entries) if len(entries) < 5 else -(-len(entries) // 2)
    chart.legend(
        [handle for _, handle in entries],
        [series_label(one) for one, _ in entries],
        loc="outside lower center",
        ncols=columns,
        fontsize=LETTERS["small"],
        title=note,
        title_fontsize=LETTERS["small"],
        frameon=False,
        handlelength=1.6,
        columnspacing=1.2,
    )


def plain(axis: Axes, grid: str) -> None:
    """Set letters, grid and frame of a panel."""
    axis.tick_params(labelsize=LETTERS["small"])
    axis.grid(axis=grid, alpha=0.3)  # type: ignore[arg-type]
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
