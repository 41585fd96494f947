"""Interactive figures of dense sites: where their stations stand, and their series beside those of the products.

Like all figures that readers can touch, they need no kernel, no server and no request once they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cartopy.crs as ccrs
import numpy as np
import pandas as pd
import panel as pn
import xarray as xr
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSTransform,
    DataRange1d,
    HoverTool,
    LinearColorMapper,
)
from bokeh.models.annotations import ColorBar, Legend, LegendItem, Title
from bokeh.models.widgets import Select
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from shapely import get_coordinates, get_parts

from smapnb.plot.style import colours, short_labels, titled, unit_text

KILOMETRE = 1000.0  # metres
MAP_HEIGHT, PANEL_HEIGHT = 430, 190  # pixels
SCALE, GAP = 20000, -32768  # an anomaly is kept as int16 of 1/20000 m3 m-3
UNPACK = f"return Float64Array.from(xs, (x) => x == {GAP} ? NaN : x / {SCALE});"


def thiessen_map(
    polygons: pd.DataFrame, stations: pd.DataFrame, boxes: pd.DataFrame, *, title: str, synthetic: bool
) -> pn.pane.Bokeh:
    """Draw a reference pixel with its stations and their Thiessen polygons; a list above chooses the pixel.

    The colour of a polygon is its weight, on one scale for all pixels. Stations of the site that have no polygon in
    the pixel are hollow. The pointer shows name, weight and depths.

    Parameters
    ----------
    polygons : pandas.DataFrame
        Columns ``reference_pixel, station, weight`` (parts of 1) and ``polygon`` (shapely, degrees), as
        `smapnb.insitu.pixel_stations` gives.
    stations : pandas.DataFrame
        Columns ``site, station, lat, lon, depths`` (text).
    boxes : pandas.DataFrame
        Columns ``reference_pixel, site, site_name, lat, lon`` (centre) and ``x_min, x_max, y_min, y_max`` (metres in
        EPSG:6933); one row a pixel that can be chosen, in the order of the list. A station belongs to the pixels of
        its ``site``. The map shows true distances from the centre, in which a box of the grid is no square.
    title : str
        Heading.
    synthetic : bool
        Whether the stations are those of the simulation experiment.

    Raises
    ------
    ValueError
        No boxes; or a polygon is of a pixel or a station that the other tables lack.
    """
    _check(polygons, stations, boxes)
    store = [_pixel(row, polygons, stations, boxes) for _, row in boxes.iterrows()]
    shown = {name: ColumnDataSource(store[0][name]) for name in ("polygons", "stations", "box", "others")}
    texts = [f"{row['site_name']} {row['reference_pixel']}" for _, row in boxes.iterrows()]
    caption = Title(text=titled(f"{title}: {texts[0]}", synthetic))
    chart = _station_map(shown, caption, float(polygons["weight"].max()) if len(polygons) else 1.0)
    choice = Select(title="Reference pixel", value=texts[0], options=list[Any](texts), sizing_mode="stretch_width")
    words = {"texts": texts, "before": f"{title}: ", "after": titled("", synthetic)}
    packed = {"store": store, "shown": shown, "caption": caption, "chart": chart}
    choice.js_on_change("value", CustomJS(args=packed | words, code=CHOOSE))
    return pn.pane.Bokeh(column(choice, chart, sizing_mode="stretch_width"), sizing_mode="stretch_width")


CHOOSE = """
const i = texts.indexOf(cb_obj.value);
const field = (from, name) => from instanceof Map ? from.get(name) : from[name];
const chosen = store[i];
for (const name of ["polygons", "stations", "box", "others"]) {
  const columns = field(chosen, name);
  field(shown, name).data = columns instanceof Map ? Object.fromEntries(columns) : {...columns};
}
caption.text = before + cb_obj.value + after;
chart.reset.emit();
"""


def _check(polygons: pd.DataFrame, stations: pd.DataFrame, boxes: pd.DataFrame) -> None:
    if boxes.empty:
        raise ValueError("thiessen_map: no reference pixel")
    for name, table in (("reference_pixel", boxes), ("station", stations)):
        unknown = sorted(set(polygons[name]) - set(table[name]))
        if unknown:
            raise ValueError(f"thiessen_map: polygons of an unknown {name}: {unknown}")


def _pixel(row: pd.Series, polygons: pd.DataFrame, stations: pd.DataFrame, boxes: pd.DataFrame) -> dict[str, Any]:
    """Columns of the four sources for one reference pixel, in km from the centre of its box."""
    local = ccrs.AzimuthalEquidistant(central_longitude=row["lon"], central_latitude=row["lat"])
    own = polygons[polygons["reference_pixel"] == row["reference_pixel"]]
    # One entry a station: its parts, each with its outer ring. A Thiessen polygon has no holes.
    rings = [
        [_km(local, ccrs.PlateCarree(), get_coordinates(part.exterior)) for part in get_parts(polygon)]
        for polygon in own["polygon"]
    ]
    weights = dict(zip(own["station"], own["weight"].astype(float), strict=True))
    here = stations[stations["site"] == row["site"]]
    here = here.assign(without=~here["station"].isin(list(weights))).sort_values(
        "without", kind="stable"
    )  # for the legend
    at = _km(local, ccrs.PlateCarree(), here[["lon", "lat"]].to_numpy(float))
    others = (boxes["site"] == row["site"]) & (boxes["reference_pixel"] != row["reference_pixel"])
    return {
        "polygons": {
            "x": [[[ring[:, 0].tolist()] for ring in parts] for parts in rings],
            "y": [[[ring[:, 1].tolist()] for ring in parts] for parts in rings],
            "station": own["station"].tolist(),
            "weight": list(weights.values()),
        },
        "stations": {
            "x": at[:, 0].tolist(),
            "y": at[:, 1].tolist(),
            "station": here["station"].tolist(),
            "weight": [f"{weights[s]:.3f}" if s in weights else "none in this pixel" for s in here["station"]],
            "depths": here["depths"].astype(str).tolist(),
            "alpha": [float(s in weights) for s in here["station"]],
        },
        "box": _outlines(local, boxes[boxes["reference_pixel"] == row["reference_pixel"]]),
        "others": _outlines(local, boxes[others]),
    }


def _km(local: ccrs.Projection, given: ccrs.CRS, points: np.ndarray) -> np.ndarray:
    """Points of shape (n, 2) in `given` as km east and north of the centre of `local`, to the metre."""
    if not len(points):
        return np.empty((0, 2))
    return np.round(local.transform_points(given, points[:, 0], points[:, 1])[:, :2] / KILOMETRE, 3)


def _outlines(local: ccrs.Projection, boxes: pd.DataFrame) -> dict[str, list[Any]]:
    """Corners of boxes; over 36 km their edges are straight to 20 m."""
    grid = ccrs.epsg(6933)
    corners = [
        _km(local, grid, np.array([[b.x_min, b.y_min], [b.x_max, b.y_min], [b.x_max, b.y_max], [b.x_min, b.y_max]]))
        for b in boxes.itertuples()
    ]
    return {"x": [c[:, 0].tolist() for c in corners], "y": [c[:, 1].tolist() for c in corners]}


def _station_map(shown: Mapping[str, ColumnDataSource], caption: Title, heaviest: float) -> Any:
    mapper = LinearColorMapper(palette=Viridis256, low=0.0, high=heaviest)
    chart: Any = figure(
        height=MAP_HEIGHT,
        sizing_mode="stretch_width",
        title=caption,
        x_axis_label="east of the centre (km)",
        y_axis_label="north of the centre (km)",
        match_aspect=True,
        tools="pan,wheel_zoom,reset",
        active_scroll="wheel_zoom",
    )
    cells = chart.multi_polygons(
        "x",
        "y",
        source=shown["polygons"],
        fill_color={"field": "weight", "transform": mapper},
        fill_alpha=0.75,
        line_color="white",
        line_width=1.5,
    )
    dashed: dict[str, Any] = {"fill_color": None, "line_color": "#666666", "line_dash": "dashed"}
    chart.patches("x", "y", source=shown["others"], **dashed)
    box = chart.patches("x", "y", source=shown["box"], fill_color=None, line_color="#D55E00", line_width=3)
    points = chart.scatter(
        "x", "y", source=shown["stations"], size=9, line_color="black", fill_color="white", line_width=1.5
    )
    dots = chart.scatter("x", "y", source=shown["stations"], size=4, fill_alpha="alpha", color=None, fill_color="black")
    # A legend draws the first row of a source, and the box that is shown first may have no other pixel beside it.
    other = chart.patches([[np.nan] * 3], [[np.nan] * 3], **dashed)
    # The frame follows the chosen box, its neighbours may run out of it.
    chart.x_range, chart.y_range = (DataRange1d(renderers=[box, points], range_padding=0.08) for _ in range(2))
    on_station = [("station", "@station"), ("weight", "@weight"), ("depths", "@depths")]
    chart.add_tools(
        HoverTool(renderers=[points], tooltips=on_station),
        HoverTool(renderers=[cells], tooltips=[("station", "@station"), ("weight", "@weight{0.000}")]),
    )
    items = [
        ("this pixel", [box]),
        ("other pixels of the site", [other]),
        ("station (hollow: no part in this pixel)", [points, dots]),
    ]
    chart.add_layout(Legend(items=items, orientation="vertical"), "below")
    chart.add_layout(ColorBar(color_mapper=mapper, title="weight (-)", width=10), "right")
    return chart


def anomaly_series(
    dataset: xr.Dataset,
    names: Sequence[str],
    *,
    title: str,
    synthetic: bool,
    shown: tuple[str, str] | None = None,
) -> pn.pane.Bokeh:
    """Draw series of anomalies, one panel a site under one time axis, as Figs. 5 and 6 of the paper.

    All panels zoom in time together; a click on the legend, below the last, hides a product in all of them. SMAP is
    dots, all else lines. Values are kept in the page to 0.00005 m3 m-3 in two bytes each: six sites, five series and
    6900 days are about 0.6 MB.

    Parameters
    ----------
    dataset : xarray.Dataset
        Dimensions ``time, site``; anomalies in m3 m-3, not all of a series missing. ``name`` (site), where there is
        one, is written before the identifier.
    names : sequence of str
        Variables to draw, as ``ssm_insitu``.
    title : str
        Heading of the first panel.
    synthetic : bool
        Whether the numbers come from the simulation experiment.
    shown : (first day, last day), optional
        What is seen before anybody zooms; without, all.

    Raises
    ------
    ValueError
        There is no site; or a value is too large to be kept, which an anomaly of soil moisture is not.
    """
    if not dataset.sizes["site"]:
        raise ValueError(f"anomaly_series: no site for {title!r}")
    stored: dict[str, Any] = {"time": dataset["time"].to_numpy()}
    for name in names:
        values = dataset[name].transpose("site", "time").to_numpy()
        stored |= {
            f"{name} {k}": packed(row, f"{name} at {dataset['site'].to_numpy()[k]}") for k, row in enumerate(values)
        }
    source, unpack = ColumnDataSource(stored), CustomJSTransform(v_func=UNPACK)
    own = colours(names)
    charts: list[Any] = []
    drawn: list[list[Any]] = []
    for k, site in enumerate(dataset["site"].to_numpy()):
        text = f"{dataset['name'].to_numpy()[k]} {site}" if "name" in dataset.coords else str(site)
        heading = titled(f"{title}: {text}" if k == 0 else text, synthetic)
        chart = _anomaly_panel(heading, charts[0] if charts else None, k == dataset.sizes["site"] - 1)
        drawn.append([_draw(chart, source, name, f"{name} {k}", unpack, own[name]) for name in names])
        charts.append(chart)
    if shown:
        charts[0].x_range.start, charts[0].x_range.end = (np.datetime64(day, "ms").astype(float) for day in shown)
    for above in drawn[:-1]:
        for last, other in zip(drawn[-1], above, strict=True):
            last.js_link("visible", other, "visible")
    texts = short_labels(names)
    items = [LegendItem(label=texts[name], renderers=[glyph]) for name, glyph in zip(names, drawn[-1], strict=True)]
    across = 3 if max(map(len, texts.values())) < 9 else 1  # what fits on a phone
    legend = Legend(items=items, orientation="horizontal", ncols=across, click_policy="hide")
    charts[-1].add_layout(legend, "below")
    return pn.pane.Bokeh(column(*charts, sizing_mode="stretch_width"), sizing_mode="stretch_width")


def packed(values: np.ndarray, where: str) -> np.ndarray:
    """Encode anomalies as whole steps of 1/20000, gaps as `GAP`: two bytes a value in the page."""
    known = np.isfinite(values)
    steps = np.round(np.where(known, values, 0.0) * SCALE)
    if np.abs(steps).max(initial=0) >= -GAP:
        raise ValueError(f"{where}: an anomaly beyond {-GAP / SCALE:.2f} m3 m-3: {values[np.abs(steps).argmax()]}")
    return np.where(known, steps, GAP).astype(np.int16)


def _anomaly_panel(heading: str, first: Any, last: bool) -> Any:
    shared = {"x_range": first.x_range} if first is not None else {}
    chart: Any = figure(
        height=PANEL_HEIGHT + (90 if last else 0),  # the legend and the axis's label take their part
        sizing_mode="stretch_width",
        title=heading,
        x_axis_type="datetime",
        y_axis_label=f"anomaly ({unit_text('m3 m-3')})",
        x_axis_label="day" if last else None,
        min_border_left=62,  # so that the days of all panels stand below each other
        min_border_right=10,
        toolbar_location="above" if first is None else None,
        tools="xpan,xbox_zoom,xwheel_zoom,reset",
        active_drag="xbox_zoom",
        **shared,
    )
    return chart


def _draw(chart: Any, source: ColumnDataSource, name: str, key: str, unpack: CustomJSTransform, own: str) -> Any:
    y = {"field": key, "transform": unpack}
    if name.endswith("_smap"):
        return chart.scatter("time", y, source=source, color=own, size=3)
    return chart.line("time", y, source=source, color=own, line_width=1.8 if name.endswith("_insitu") else 1.1)
