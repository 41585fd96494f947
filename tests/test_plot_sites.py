"""Maps, stations and series of sites: what is drawn is the data, and it works without a kernel."""

import json
import re
import warnings

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from bokeh.embed import json_item
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, Legend, LinearColorMapper, MultiPolygons, Plot, Select

from smapnb import plot
from smapnb.plot.stations import GAP, SCALE, packed
from smapnb.plot.style import COLOURS

SITES = ["03047", "23907", "53974"]
TIME = pd.date_range("2015-01-01", periods=60)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def sites():
    """Three sites with the series of two products, made by hand."""
    coords = {
        "time": TIME,
        "site": SITES,
        "lat": ("site", [31.62, 30.62, 39.1]),
        "lon": ("site", [-102.81, -98.08, -96.61]),
        "name": ("site", ["TX Monahans 6 ENE", "TX Austin 33 NW", "KS Manhattan 6 SSW"]),
    }
    wave = 0.2 + 0.1 * np.sin(np.arange(60)[:, None] / 9 + np.arange(3))
    gaps = np.where(np.arange(60)[:, None] % 3, np.nan, wave)
    return xr.Dataset({"ssm_insitu": (("time", "site"), wave), "ssm_smap": (("time", "site"), gaps)}, coords)


def score(sites, values, name):
    return sites["ssm_insitu"].isel(time=0, drop=True).copy(data=values).rename(name)


def texts(chart):
    chart.canvas.draw()
    return [t.get_text() for t in chart.findobj(mpl.text.Text)]


def points(axis):
    """Scatters of a map: those with colours, those without."""
    found = [c for c in axis.collections if isinstance(c, mpl.collections.PathCollection) and len(c.get_offsets())]
    return [c for c in found if c.get_array() is not None], [c for c in found if c.get_array() is None]


def test_site_maps_put_each_metric_in_a_column_under_one_bar(sites):
    error, r = score(sites, [0.03, np.nan, 0.12], "ubrmse"), score(sites, [0.5, 0.9, 0.7], "pearson_r")
    panels = {"LSTM PL, ubRMSE": error, "LSTM PL, R": r, "SMAP AL, ubRMSE": error - 0.01, "SMAP AL, R": r}
    chart = plot.site_maps(panels, title="t", synthetic=True)
    maps, bars = chart.axes[:4], chart.axes[4:]
    assert [a.get_title() for a in maps] == [f"{name}, n={2 if 'RMSE' in name else 3}" for name in panels]
    assert [a.get_xlabel() for a in bars] == ["ubRMSE (m³ m⁻³)", "R (-)"]
    for axis, values in zip(maps, panels.values(), strict=True):
        ((drawn,), crosses) = points(axis)
        known = values.dropna("site")
        np.testing.assert_allclose(drawn.get_offsets(), np.column_stack([known["lon"], known["lat"]]))
        np.testing.assert_allclose(drawn.get_array(), known)
        assert drawn.get_clim() == ((0, 0.1) if values.name == "ubrmse" else (0, 1))
        absent = values[values.isnull().to_numpy()]
        np.testing.assert_allclose(
            [c.get_offsets()[0] for c in crosses], list(zip(absent["lon"], absent["lat"], strict=True))
        )
        # Bright is good: the smallest error and the largest R have the brightest colour.
        best = (-known if values.name == "ubrmse" else known).argmax("site")
        light = drawn.to_rgba(drawn.get_array()) @ [0.3, 0.6, 0.1, 0]
        assert light.argmax() == best
    assert "t (synthetic)" in texts(chart)


def test_site_maps_of_one_metric_or_of_nothing(sites):
    r = score(sites, [0.5, 0.9, 0.7], "pearson_r")
    chart = plot.site_maps(
        {"a": r, "b": r, "c": r * np.nan}, title="t", synthetic=False, limits={"pearson_r": (0.2, 0.8)}
    )
    texts(chart)
    assert len(chart.axes) == 4  # three maps, one bar
    assert all(drawn.get_clim() == (0.2, 0.8) for axis in chart.axes[:3] for drawn in points(axis)[0])
    assert chart.axes[2].get_title() == "c, n=0"
    texts(plot.site_maps({"a": (r * np.nan).rename("rmse")}, title="t", synthetic=False))
    with pytest.raises(ValueError, match="no panels for 't'"):
        plot.site_maps({}, title="t", synthetic=False)


def test_uncertain_mean_draws_band_coverage_and_truth(sites):
    one = sites.isel(site=0)
    one = one.assign(ssm_insitu=one["ssm_insitu"].where(one["time"].dt.day != 5))
    one = one.assign(ssm_insitu_error=one["ssm_insitu"] * 0 + 0.01, coverage=one["ssm_insitu"] * 0 + 0.75)
    chart = plot.uncertain_mean(one, "ssm_insitu", title="t", synthetic=True, errors=2, truth=one["ssm_insitu"] + 0.05)
    upper, lower = chart.axes
    (band,) = upper.collections
    edges = np.concatenate([path.vertices for path in band.get_paths()])[:, 1]
    assert edges.max() == pytest.approx(float(one["ssm_insitu"].max()) + 0.02)
    assert edges.min() == pytest.approx(float(one["ssm_insitu"].min()) - 0.02)
    mean, truth = upper.lines
    np.testing.assert_allclose(mean.get_ydata(), one["ssm_insitu"])
    np.testing.assert_allclose(truth.get_ydata(), one["ssm_insitu"] + 0.05)
    assert np.concatenate([p.vertices for p in lower.collections[0].get_paths()])[:, 1].max() == pytest.approx(0.75)
    words = texts(chart)
    assert {"t (synthetic)", "soil moisture (m³ m⁻³)", "covered (-)", "± 2 sampling errors", "day"} <= set(words)
    assert len(plot.uncertain_mean(one.drop_vars("coverage"), "ssm_insitu", title="t", synthetic=True).axes) == 1


@pytest.fixture(scope="module")
def anomalies(sites):
    return sites - sites.mean("time")


def roots(pane, kind):
    return list(pane.object.select({"type": kind}))


def test_anomalies_are_kept_to_half_a_step_with_their_gaps(anomalies):
    pane = plot.anomaly_series(anomalies, ["ssm_insitu", "ssm_smap"], title="t", synthetic=True)
    (source,) = roots(pane, ColumnDataSource)
    for name in ("ssm_insitu", "ssm_smap"):
        for k in range(3):
            kept = source.data[f"{name} {k}"]
            assert kept.dtype == np.int16
            back = np.where(kept == GAP, np.nan, kept / SCALE)
            np.testing.assert_allclose(back, anomalies[name].isel(site=k), atol=0.5 / SCALE + 1e-12)


def test_anomaly_panels_share_time_and_have_one_legend(anomalies):
    pane = plot.anomaly_series(
        anomalies, ["ssm_insitu", "ssm_smap"], title="t", synthetic=True, shown=("2015-01-10", "2015-02-10")
    )
    panels = pane.object.children
    assert [p.title.text for p in panels] == [
        "t: TX Monahans 6 ENE 03047 (synthetic)",
        "TX Austin 33 NW 23907 (synthetic)",
        "KS Manhattan 6 SSW 53974 (synthetic)",
    ]
    assert len({p.x_range.id for p in panels}) == 1
    assert pd.to_datetime(panels[0].x_range.end, unit="ms") == pd.Timestamp("2015-02-10")
    assert all(p.left[0].axis_label == "anomaly (m³ m⁻³)" and p.sizing_mode == "stretch_width" for p in panels)
    (legend,) = roots(pane, Legend)
    assert [item.label.value for item in legend.items] == ["in situ", "SMAP"] and legend.click_policy == "hide"
    assert [p.renderers[0].glyph.line_color for p in panels] == [COLOURS["insitu"]] * 3


def test_anomaly_series_of_the_papers_size_stay_small():
    time, n = pd.date_range("2000-01-01", periods=6900), 6
    values = np.random.default_rng(0).normal(0, 0.1, (6900, n)).clip(-0.6, 0.6)
    names = [f"ssm_{product}" for product in ("insitu", "smap", "lstm", "noah", "comb")]
    dataset = xr.Dataset({name: (("time", "site"), values) for name in names}, {"time": time, "site": list("abcdef")})
    pane = plot.anomaly_series(dataset, names, title="t", synthetic=True)
    assert len(json.dumps(json_item(pane.object))) < 0.7e6


def test_what_anomaly_series_cannot_draw_is_an_error(anomalies):
    with pytest.raises(ValueError, match=r"x: an anomaly beyond 1.64 m3 m-3: 1.7"):
        packed(np.array([0.1, 1.7, np.nan]), "x")
    with pytest.raises(ValueError, match="no site for 't'"):
        plot.anomaly_series(anomalies.isel(site=[]), ["ssm_smap"], title="t", synthetic=True)
    assert packed(np.full(3, np.nan), "x").tolist() == [GAP] * 3


@pytest.fixture(scope="module")
def dense():
    """Two boxes that overlap at one site, three stations; the half of the first box is its western station's."""
    degrees = pyproj.Transformer.from_crs(6933, 4326, always_xy=True)
    x, y, half = -10_600_000.0, 3_860_000.0, 18_000.0
    lon, lat = degrees.transform([x, x + 9000], [y, y])
    box = {"site": "1601", "site_name": "Walnut Gulch", "y_min": y - half, "y_max": y + half}
    boxes = pd.DataFrame(
        [
            box | {"reference_pixel": p, "lon": o, "lat": a, "x_min": c - half, "x_max": c + half}
            for p, o, a, c in (("16013603", lon[0], lat[0], x), ("16013604", lon[1], lat[1], x + 9000))
        ]
    )
    at = dict(zip("ABC", ((x - 9000, y), (x + 9000, y), (x - 30000, y)), strict=True))
    stations = pd.DataFrame(
        [
            {"site": "1601", "station": f"1601/{s}", "depths": "5, 25 cm"}
            | dict(zip(("lon", "lat"), degrees.transform(*xy), strict=True))
            for s, xy in at.items()
        ]
    )
    cells = [
        ("16013603", "A", 0.5, shapely.box(x - half, y - half, x, y + half)),
        ("16013603", "B", 0.5, shapely.box(x, y - half, x + half, y + half)),
        ("16013604", "B", 1.0, shapely.box(x + 9000 - half, y - half, x + 9000 + half, y + half)),
    ]
    polygons = pd.DataFrame(
        [
            {"reference_pixel": p, "station": f"1601/{s}", "weight": w}
            | {"polygon": shapely.transform(g, degrees.transform, interleaved=False)}
            for p, s, w, g in cells
        ]
    )
    return polygons, stations, boxes


def sources(pane):
    """Sources of the station map: polygons, stations, chosen box, other boxes."""
    (chart,) = roots(pane, Plot)
    (cells,) = [r for r in chart.renderers if isinstance(r.glyph, MultiPolygons)]
    rest = [r.data_source for r in chart.renderers if r is not cells]  # and at the end what the legend only draws
    return cells.data_source.data, rest[2].data, rest[1].data, rest[0].data


def test_station_map_is_in_true_kilometres_from_the_centre(dense):
    _, stations, boxes = dense
    cells, places, box, others = sources(plot.thiessen_map(*dense, title="t", synthetic=True))
    geod = pyproj.Geod(ellps="WGS84")
    centre = boxes.iloc[0]
    for k, row in stations.iterrows():
        azimuth, _, metres = geod.inv(centre["lon"], centre["lat"], row["lon"], row["lat"])
        place = places["station"].index(row["station"])
        east, north = metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))
        assert (places["x"][place], places["y"][place]) == pytest.approx((east / 1000, north / 1000), abs=0.002), k
    assert cells["station"] == ["1601/A", "1601/B"] and cells["weight"] == [0.5, 0.5]
    outline = np.array([cells["x"][0][0][0], cells["y"][0][0][0]])  # the western half
    assert outline[0].max() == pytest.approx(0, abs=0.01)
    assert outline[0].min() == pytest.approx(min(box["x"][0]), abs=0.01)
    # The box of an equal-area grid: its area is 36 km times 36 km, though it is no square.
    corners = shapely.Polygon(np.column_stack([box["x"][0], box["y"][0]]))
    assert corners.area == pytest.approx(36**2, rel=2e-3)
    assert len(others["x"]) == 1
    weight = dict(zip(places["station"], places["weight"], strict=True))
    assert weight == {"1601/A": "0.500", "1601/B": "0.500", "1601/C": "none in this pixel"}
    assert dict(zip(places["station"], places["alpha"], strict=True))["1601/C"] == 0


def test_station_map_is_labelled(dense):
    pane = plot.thiessen_map(*dense, title="t", synthetic=True)
    (chart,), (choice,), (bar,) = roots(pane, Plot), roots(pane, Select), roots(pane, ColorBar)
    assert chart.title.text == "t: Walnut Gulch 16013603 (synthetic)"
    assert choice.options == ["Walnut Gulch 16013603", "Walnut Gulch 16013604"]
    assert chart.match_aspect and "(km)" in chart.below[0].axis_label and "(km)" in chart.left[0].axis_label
    assert bar.title == "weight (-)" and bar.color_mapper.high == 1.0  # of the second pixel: one scale for all
    tips = [dict(tool.tooltips) for tool in roots(pane, HoverTool)]
    assert any({"station", "weight", "depths"} == set(tip) for tip in tips)


def test_the_legend_of_a_station_map_draws_every_item_of_a_lone_box(dense):
    polygons, stations, boxes = dense
    lone = boxes.iloc[:1]
    kept = polygons[polygons["reference_pixel"].isin(lone["reference_pixel"])]
    (legend,) = roots(plot.thiessen_map(kept, stations, lone, title="t", synthetic=True), Legend)
    rows = {item.label.value: [r.data_source.length for r in item.renderers] for item in legend.items}
    assert len(rows) == 3 and all(all(n) for n in rows.values())


def test_station_map_refuses_what_does_not_fit(dense):
    polygons, stations, boxes = dense
    with pytest.raises(ValueError, match=r"unknown station: \['1601/B'\]"):
        plot.thiessen_map(polygons, stations.drop(1), boxes, title="t", synthetic=True)
    with pytest.raises(ValueError, match=r"unknown reference_pixel: \['16013604'\]"):
        plot.thiessen_map(polygons, stations, boxes.iloc[:1], title="t", synthetic=True)
    with pytest.raises(ValueError, match="no reference pixel"):
        plot.thiessen_map(polygons.iloc[:0], stations, boxes.iloc[:0], title="t", synthetic=True)
    plot.thiessen_map(polygons.iloc[:0], stations, boxes, title="t", synthetic=True)  # pixels without a station


def test_explorer_and_map_take_sites(sites):
    r = score(sites, [0.5, np.nan, 0.7], "pearson_r")
    pane = plot.explorer(r, sites, title="t", synthetic=True, start=1, limits=(0, 1))
    below = pane.object.children[1]
    assert below.title.text == "TX Austin 33 NW 23907\n30.62°N 98.08°W (synthetic)"
    (mapper,) = roots(pane, LinearColorMapper)
    assert (mapper.low, mapper.high) == (0, 1)
    (bar,) = roots(pane, ColorBar)
    assert bar.title == "R (-)"
    assert ("site", "@text") in roots(pane, HoverTool)[0].tooltips
    with pytest.raises(ValueError, match="not of the same sites"):
        plot.explorer(r, sites.isel(site=[1, 0, 2]), title="t", synthetic=True)
    with pytest.raises(ValueError, match="not of the same sites"):
        plot.explorer(r, sites.rename(site="pixel"), title="t", synthetic=True)
    overlay = plot.interactive_map(r, title="t", synthetic=True)
    table = overlay.get(0).dframe()
    assert set(table["site"]) == set(SITES) and set(table["name"]) == set(sites["name"].to_numpy())


@pytest.fixture(scope="module")
def browser():
    from browser import FLAGS, chromium
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


def opened(browser, pane, path):
    pane.save(path, resources="inline")
    page = browser.new_page(viewport={"width": 390, "height": 1200})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    return page


MODELS = "[...Bokeh.documents[0]._all_models.values()]"


@pytest.mark.browser
def test_another_reference_pixel_is_shown_without_a_kernel(browser, dense, tmp_path):
    page = opened(browser, plot.thiessen_map(*dense, title="t", synthetic=True), tmp_path / "stations.html")
    read = f"""() => {{
      const sources = {MODELS}.filter((m) => m.type == "ColumnDataSource");
      const with_ = (name) => sources.find((s) => s.data[name]).data;
      const chart = {MODELS}.find((m) => m.type == "Figure");
      return [[...with_("depths").x], [...with_("depths").weight], chart.title.text, chart.x_range.end]; }}"""
    before = page.evaluate(read)
    # Who has zoomed is shown the whole of the next pixel all the same. A turn of the wheel may never be answered.
    page.evaluate(f'() => {{ {MODELS}.find((m) => m.type == "Figure").x_range.end += 5; }}')
    assert abs(page.evaluate(read)[3] - before[3]) > 1
    page.locator("select").select_option("Walnut Gulch 16013604")
    page.wait_for_timeout(500)
    x, weights, title, east = page.evaluate(read)
    assert not page.errors
    assert title == "t: Walnut Gulch 16013604 (synthetic)" != before[2]
    assert weights == ["1.000", "none in this pixel", "none in this pixel"]  # those without a part stand last
    assert x[0] == pytest.approx(0, abs=0.01) and 17 < east < 35
    page.close()


@pytest.mark.browser
def test_a_product_that_the_legend_hides_is_hidden_in_all_panels(browser, anomalies, tmp_path):
    pane = plot.anomaly_series(anomalies, ["ssm_insitu", "ssm_smap"], title="t", synthetic=True)
    page = opened(browser, pane, tmp_path / "anomalies.html")
    visible = f"""() => {MODELS}.filter((m) => m.type == "GlyphRenderer").map((r) => [r.glyph.type, r.visible])"""
    assert all(shown for _, shown in page.evaluate(visible))
    page.evaluate(f"""() => {{ const legend = {MODELS}.find((m) => m.type == "Legend");
                               legend.items[1].renderers[0].visible = false; }}""")
    after = page.evaluate(visible)
    assert sorted(map(tuple, after)) == [("Line", True)] * 3 + [("Scatter", False)] * 3
    drawn = page.evaluate("""() => {
      const found = [];
      const walk = (view) => { if (view.model.type == "GlyphRenderer" && view.model.glyph.type == "Line")
        found.push([...view.glyph.y]); for (const child of view.children()) walk(child); };
      for (const root of [...Bokeh.index.roots]) walk(root);
      return found; }""")
    assert not page.errors and len(drawn) == 3
    np.testing.assert_allclose(np.array(drawn, float).T, anomalies["ssm_insitu"], atol=0.6 / SCALE)
    page.close()


@pytest.mark.browser
def test_choosing_a_site_in_the_explorer_shows_its_series(browser, sites, tmp_path):
    r = score(sites, [0.5, 0.6, 0.7], "pearson_r")
    page = opened(browser, plot.explorer(r, sites, title="t", synthetic=True), tmp_path / "explorer.html")
    page.evaluate(
        f"""() => {{ {MODELS}.find((m) => m.type == "ColumnDataSource" && m.data.lon).selected.indices = [2]; }}"""
    )
    shown, title = page.evaluate(f"""() => [
      [...{MODELS}.find((m) => m.type == "ColumnDataSource" && m.data.time).data.ssm_insitu],
      {MODELS}.filter((m) => m.type == "Title").map((m) => m.text).join("|")]""")
    assert not page.errors and re.search(r"KS Manhattan 6 SSW 53974\n39.10°N 96.61°W \(synthetic\)", title)
    np.testing.assert_allclose(shown, sites["ssm_insitu"].isel(site=2), atol=5.1e-5)
    page.close()
