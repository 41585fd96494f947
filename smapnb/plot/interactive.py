"""Figures that readers can touch: hvPlot and Bokeh. Once drawn they need no kernel and no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import hvplot.pandas  # noqa: F401  (gives tables .hvplot)
import numpy as np
import panel as pn
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, LinearColorMapper, Range1d, TapTool
from bokeh.models.annotations import ColorBar, Title
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from smapnb.plot.style import CONUS, border_lines, colours, label, short_labels, spread, titled, unit_text
from smapnb.variables import TABLE

HEIGHT = 340  # pixels
SIZE: dict[str, Any] = {"responsive": True, "min_height": HEIGHT}  # as wide as the page's column
BORDERS = 0.04  # degrees; coarse enough to weigh little in a page
LINES = "#888888"
# HoloViews asks for WebGL, which without a graphics card takes seconds a figure; a canvas is fast at these sizes.
hv.renderer("bokeh").webgl = False


def interactive_map(
    values: xr.DataArray, *, title: str, synthetic: bool, limits: tuple[float, float] | None = None
) -> hv.Overlay:
    """Draw pixels or sites over state borders; the pointer shows which one it is and its value, the wheel zooms.

    Parameters
    ----------
    values : xarray.DataArray
        Dimension ``pixel`` or ``site``, coordinates ``lon, lat`` and perhaps ``name``.
    title : str
        Heading.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    limits : (low, high), optional
        Range of the colours; without, from the 2nd to the 98th percentile.
    """
    dim = str(values.dims[0])
    named = ["name"] if "name" in values.coords else []
    table = values.to_dataframe(name="value")[["value", "lon", "lat", *named]].reset_index()
    points = table.hvplot.points(
        "lon",
        "lat",
        c="value",
        hover_cols=[dim, *named],
        cmap="viridis",
        clim=limits or spread(values),
        marker=_marker(dim),
        size=40 if values.size > 100 else 90,
        clabel=label(str(values.name), values.attrs),
        colorbar=True,
        **SIZE,
    )
    overlay = points * hv.Path(list(border_lines(BORDERS))).opts(color=LINES, line_width=0.7)
    return overlay.opts(
        title=titled(title, synthetic),
        xlabel="longitude (°E)",
        ylabel="latitude (°N)",
        xlim=CONUS[:2],
        ylim=CONUS[2:],
        **SIZE,
        active_tools=["wheel_zoom"],
    )


def interactive_series(dataset: xr.Dataset, names: Sequence[str], *, title: str, synthetic: bool) -> hv.Overlay:
    """Draw the series of one pixel, one colour a product, the satellite's days as dots; box and wheel zoom.

    Parameters
    ----------
    dataset : xarray.Dataset
        Only dimension ``time``.
    names : sequence of str
        Variables to draw, all of the same units.
    title, synthetic
        As in `interactive_map`.
    """
    drawn = []
    own = colours(names)
    for name in names:
        table = dataset[name].to_dataframe()[[name]].dropna()
        dots = name.endswith("_smap")
        kind = table.hvplot.scatter if dots else table.hvplot.line
        style: dict[str, Any] = {"size": 8} if dots else {"line_width": 1.2}
        drawn.append(
            kind(
                y=name,
                color=own[name],
                label=_legend(name, dataset[name].attrs),
                **style,
                **SIZE,
            )
        )
    units = unit_text(dataset[names[0]].attrs.get("units") or TABLE[names[0]].units)
    return hv.Overlay(drawn).opts(
        title=titled(title, synthetic),
        xlabel="day",
        ylabel=f"{'soil moisture' if len(names) > 1 else _legend(names[0], dataset[names[0]].attrs)} ({units})",
        legend_position="bottom",
        **SIZE,
        show_grid=True,
        active_tools=["box_zoom"],
    )


def explorer(
    score: xr.DataArray,
    series: xr.Dataset,
    *,
    title: str,
    synthetic: bool,
    start: int = 0,
    limits: tuple[float, float] | None = None,
) -> pn.pane.Bokeh:
    """Draw a map of a score above the series of one pixel or site: a click on the map chooses which.

    Parameters
    ----------
    score : xarray.DataArray
        Dimension ``pixel`` or ``site``, coordinates ``lon, lat`` and perhaps ``name``; colours the map.
    series : xarray.Dataset
        Soil moisture of the same places (time, pixel or site) in m3 m-3, by product; kept in the page to 0.0001 in two
        bytes a value. A hundred sites, five products and 18 years of days are 9 MB of page, of weeks 1.3 MB.
    title, synthetic
        As in `interactive_map`.
    start : int
        Position of the pixel or site that is shown at first.
    limits : (low, high), optional
        As in `interactive_map`.

    Raises
    ------
    ValueError
        The pixels or sites of `score` and `series` differ.
    """
    dim = str(score.dims[0])
    if dim not in series.dims or not np.array_equal(score[dim], series[dim]):
        raise ValueError(f"explorer: score and series are not of the same {dim}s")
    arrays = {str(name): series[name].transpose(dim, "time").to_numpy() for name in series.data_vars}
    places: dict[str, Any] = {name: score[name].to_numpy() for name in (dim, "lon", "lat")}
    places["text"] = [_place(score[i], dim) for i in range(score.size)]
    pixels = ColumnDataSource(places | {"value": score.to_numpy().astype(float)})
    first: dict[str, Any] = {name: values[start].astype(float) for name, values in arrays.items()}
    shown = ColumnDataSource(first | {"time": series["time"].to_numpy()})
    store = ColumnDataSource({name: _packed(values).ravel() for name, values in arrays.items()})
    heading = titled(title, synthetic)
    caption = Title(text=titled(places["text"][start], synthetic))
    used = {"pixels": pixels, "store": store, "shown": shown, "caption": caption}
    words = {"names": list(arrays), "note": titled("", synthetic)}
    pixels.selected.js_on_change("indices", CustomJS(args=used | words, code=PICK))
    above, below = (
        _score_map(pixels, score, heading, limits or spread(score)),
        _score_series(shown, short_labels(list(arrays)), caption),
    )
    return pn.pane.Bokeh(column(above, below, sizing_mode="stretch_width"), sizing_mode="stretch_width")


PICK = """
const i = pixels.selected.indices[0];
if (i === undefined) return;
const n = shown.data.time.length;
const columns = {time: shown.data.time};
for (const name of names) {
  const packed = store.data[name];  // Bokeh's arrays have no subarray or slice of their own
  const value = (_, t) => packed[i * n + t] < 0 ? NaN : packed[i * n + t] / 10000;
  columns[name] = Float64Array.from({length: n}, value);
}
shown.data = columns;
caption.text = pixels.data.text[i] + note;
"""


def _marker(dim: str) -> str:
    """Pixels are squares, sites are points."""
    return "square" if dim == "pixel" else "circle"


def _place(one: xr.DataArray, dim: str) -> str:
    """Caption of a pixel or site: what it is called and where it lies."""
    where = f"{float(one['lat']):.2f}°N {-float(one['lon']):.2f}°W"
    if "name" in one.coords:  # which is long, and a phone is narrow
        return f"{one['name'].item()} {one[dim].item()}\n{where}"
    return f"{dim.capitalize()} {one[dim].item()}, {where}"


def _legend(name: str, attrs: Any = None) -> str:
    return label(name, attrs).rsplit(" (", 1)[0]


def _packed(values: np.ndarray) -> np.ndarray:
    """Encode values of 0 to 1 as whole ten-thousandths, gaps as -1: two bytes a value in the page."""
    return np.where(np.isfinite(values), np.clip(np.round(values * 10000), 0, 32767), -1).astype(np.int16)


def _score_map(pixels: ColumnDataSource, score: xr.DataArray, heading: str, limits: tuple[float, float]) -> Any:
    dim = str(score.dims[0])
    mapper = LinearColorMapper(palette=Viridis256, low=limits[0], high=limits[1], nan_color="#bbbbbb")
    chart: Any = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        title=heading,
        x_range=Range1d(start=CONUS[0], end=CONUS[1]),
        y_range=Range1d(start=CONUS[2], end=CONUS[3]),
        x_axis_label="longitude (°E)",
        y_axis_label="latitude (°N)",
        tools="pan,wheel_zoom,reset",
        active_scroll="wheel_zoom",
    )
    lines = border_lines(BORDERS)
    chart.multi_line([a[:, 0] for a in lines], [a[:, 1] for a in lines], color=LINES, line_width=0.7)
    drawn = chart.scatter(
        "lon",
        "lat",
        source=pixels,
        marker=_marker(dim),
        size=(8 if dim == "pixel" else 9) if score.size > 100 else 12,
        color={"field": "value", "transform": mapper},
        selection_line_color="#D55E00",
        selection_line_width=3,
        nonselection_fill_alpha=0.8,
    )
    hover = [(dim, "@text"), (str(score.name), "@value{0.000}")]
    chart.add_tools(HoverTool(renderers=[drawn], tooltips=hover), TapTool(renderers=[drawn]))
    chart.add_layout(ColorBar(color_mapper=mapper, title=label(str(score.name), score.attrs), width=10), "right")
    return chart


def _score_series(shown: ColumnDataSource, legends: Mapping[str, str], caption: Title) -> Any:
    chart: Any = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        title=caption,
        x_axis_type="datetime",
        x_axis_label="day",
        y_axis_label=f"soil moisture ({unit_text('m3 m-3')})",
        tools="pan,box_zoom,wheel_zoom,reset",
        active_drag="box_zoom",
    )
    own = colours(list(legends))
    for name, legend in legends.items():
        style = {"source": shown, "color": own[name], "legend_label": legend}
        if name.endswith("_smap"):
            chart.scatter("time", name, size=3, **style)
        else:
            chart.line("time", name, line_width=1.2, **style)
    chart.legend.orientation = "horizontal"
    chart.legend.click_policy = "hide"
    chart.legend.ncols = 3 if max(map(len, legends.values())) < 9 else 1  # what fits on a phone
    chart.add_layout(chart.legend[0], "below")
    return chart
