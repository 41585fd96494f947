"""Series of sites with their trend lines, to touch: once drawn they need no kernel, no server and no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import panel as pn
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJSTransform
from bokeh.models.annotations import Legend, LegendItem, Title
from bokeh.plotting import figure

from smapnb.plot.stations import PANEL_HEIGHT, UNPACK, packed
from smapnb.plot.style import colours, short_labels, titled, unit_text


def trend_series(
    dataset: xr.Dataset, lines: pd.DataFrame, names: Sequence[str], *, title: str, synthetic: bool
) -> pn.pane.Bokeh:
    """Draw series of soil moisture with their trend lines, a panel a site; all panels zoom in time together.

    A click on the legend, below the last panel, hides a product and its line in all of them.

    Parameters
    ----------
    dataset : xarray.Dataset
        Dimensions ``time, site``; m3 m-3, kept in the page to 0.00005 in two bytes a value. ``name`` (site), where
        there is one, is written before the identifier.
    lines : pandas.DataFrame
        Columns ``site, variable, start, end`` (dates), ``first, last`` (m3 m-3 at the two) and ``text`` (its slope).
    names : sequence of str
        Variables to draw, as ``rzsm_insitu``.
    title, synthetic
        As in `smapnb.plot.slope_scatter`.

    Raises
    ------
    ValueError
        There is no site.
    """
    if not dataset.sizes["site"]:
        raise ValueError(f"trend_series: no site for {title!r}")
    sites, own, texts = dataset["site"].to_numpy().astype(str), colours(names), short_labels(names)
    stored: dict[str, Any] = {"time": dataset["time"].to_numpy()}
    for name in names:
        values = dataset[name].transpose("site", "time").to_numpy()
        stored |= {f"{name} {k}": packed(row, f"{name} at {sites[k]}") for k, row in enumerate(values)}
    source, unpack = ColumnDataSource(stored), CustomJSTransform(v_func=UNPACK)
    charts: list[Any] = []
    drawn: dict[str, list[Any]] = {name: [] for name in names}
    for k, site in enumerate(sites):
        called = f"{dataset['name'].to_numpy()[k]} {site}" if "name" in dataset.coords else site
        here = lines[lines["site"] == site].set_index("variable")
        slopes = "\n".join(f"{texts[name]} {here.loc[name, 'text']}" for name in names if name in here.index)
        chart = _series_panel(titled(f"{title}: {called}" if not k else called, synthetic), slopes, charts)
        for name in names:
            y = {"field": f"{name} {k}", "transform": unpack}
            style: dict[str, Any] = {"color": own[name]}
            drawn[name].append(chart.line("time", y, source=source, line_width=1.0, line_alpha=0.55, **style))
            if name in here.index:
                line = here.loc[name]
                ends = (pd.to_datetime([line["start"], line["end"]]), [line["first"], line["last"]])
                drawn[name].append(chart.line(*ends, line_width=3, line_dash="dashed", **style))
        charts.append(chart)
    items = [LegendItem(label=texts[name], renderers=drawn[name][-1:]) for name in names]
    for glyphs in drawn.values():
        for other in glyphs[:-1]:
            glyphs[-1].js_link("visible", other, "visible")
    charts[-1].xaxis.axis_label = "day"
    charts[-1].height += 80  # the legend and the axis's label take their part
    charts[-1].add_layout(Legend(items=items, orientation="horizontal", ncols=3, click_policy="hide"), "below")
    return pn.pane.Bokeh(column(*charts, sizing_mode="stretch_width"), sizing_mode="stretch_width")


def _series_panel(heading: str, slopes: str, above: Sequence[Any]) -> Any:
    shared = {"x_range": above[0].x_range} if above else {}
    chart: Any = figure(
        height=PANEL_HEIGHT + 45,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        y_axis_label=unit_text("m3 m-3"),
        min_border_left=62,  # so that the days of all panels stand below each other
        min_border_right=10,
        toolbar_location=None if above else "above",
        tools="xpan,xbox_zoom,xwheel_zoom,reset",
        active_drag="xbox_zoom",
        **shared,
    )
    chart.add_layout(Title(text=slopes, text_font_style="normal", text_font_size="12px"), "above")
    chart.add_layout(Title(text=heading), "above")
    return chart
