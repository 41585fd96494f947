"""Figures of trends: what is drawn is the data, with units, and it works without a kernel."""

import warnings

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, Legend, Title

from smapnb import plot
from smapnb.plot.stations import SCALE
from smapnb.plot.style import COLOURS
from smapnb.trends_agreement import by_network
from smapnb.trends_table import SITE_VARIANTS

UNITS = "volumetric % per year"


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def texts(chart):
    chart.canvas.draw()
    return [t.get_text() for t in chart.findobj(mpl.text.Text) if t.get_text()]


@pytest.fixture(scope="module")
def pairs():
    generator = np.random.default_rng(0)
    x = generator.normal(0, 0.5, 20)
    frame = pd.DataFrame({"x": x, "y": 0.8 * x + generator.normal(0, 0.1, 20)}, [f"s{k}" for k in range(20)])
    for axis in "xy":
        frame[f"{axis}_lower"], frame[f"{axis}_upper"] = frame[axis] - 0.1, frame[axis] + 0.2
    return frame.assign(network=["core"] * 6 + ["crn"] * 14)


def test_scatter_draws_points_limits_and_the_line_with_errors_in_both(pairs):
    agreements = by_network(pairs, n_boot=50)
    counted = np.arange(20) % 5 > 0
    chart = plot.slope_scatter(pairs.assign(counted=counted), agreements, title="t", synthetic=True)
    (axis,) = chart.axes
    drawn = [line for line in axis.lines if line.get_marker() in ("o", "^")]
    for network, (hollow, filled) in zip(("core", "crn"), (drawn[:2], drawn[2:]), strict=True):
        own = (pairs["network"] == network).to_numpy()
        np.testing.assert_allclose(filled.get_xydata(), pairs.loc[own & counted, ["x", "y"]])
        np.testing.assert_allclose(hollow.get_xydata(), pairs.loc[own & ~counted, ["x", "y"]])
        assert hollow.get_markerfacecolor() == "white" != filled.get_markerfacecolor()
    bars = axis.collections
    across = np.concatenate([bar.get_segments() for bar in bars if len(bar.get_segments())])
    ends = {tuple(np.round(segment.ravel(), 9)) for segment in across}
    row = pairs.iloc[0]
    assert tuple(np.round([row["x_lower"], row["y"], row["x_upper"], row["y"]], 9)) in ends
    assert tuple(np.round([row["x"], row["y_lower"], row["x"], row["y_upper"]], 9)) in ends
    line = next(one for one in axis.lines if one.get_color() == "0.1")
    fit = agreements["both"].loc["all"]
    np.testing.assert_allclose(line.get_ydata(), fit["intercept"] + fit["slope"] * line.get_xdata())
    words = "\n".join(texts(chart))
    r = agreements["core"].loc["all"]
    assert f"core sites: all n=6, r {r['r']:.2f} ({r['r_lower']:.2f} to {r['r_upper']:.2f})" in words
    assert "hollow: 4 sites" in words and "t (synthetic)" in words
    assert f"slope in situ ({UNITS})" in words and f"slope of the LSTM ({UNITS})" in words


def test_scatter_of_few_sites_has_no_line(pairs):
    few = pairs.iloc[:2]
    chart = plot.slope_scatter(few, by_network(few), title="t", synthetic=False)
    words = "\n".join(texts(chart))
    assert "too few for r" in words and "errors in both" not in words and "synthetic" not in words
    with pytest.raises(ValueError, match="no site for 't'"):
        plot.slope_scatter(pairs.iloc[:0], {}, title="t", synthetic=False)


def test_map_marks_what_is_significant():
    coords = {"pixel": range(3), "lat": ("pixel", [40.0, 41.0, 42.0]), "lon": ("pixel", [-100.0, -99.0, -98.0])}
    slopes = xr.DataArray([0.5, -1.0, np.nan], coords, ("pixel",))
    chart = plot.trend_map(slopes, xr.DataArray([False, True, False], coords, ("pixel",)), title="t", synthetic=True)
    words = "\n".join(texts(chart))
    assert "1 of 2 pixels" in words and f"slope ({UNITS})" in words and "t (synthetic)" in words
    squares, dots = (c for c in chart.axes[0].collections if isinstance(c, mpl.collections.PathCollection))
    np.testing.assert_allclose(squares.get_array().filled(np.nan), slopes)
    low, high = squares.get_clim()
    assert low == -high < 0  # no trend is the middle of the colours
    np.testing.assert_allclose(dots.get_offsets(), [[-99, 41]])
    nothing = plot.trend_map(slopes * np.nan, slopes.notnull() & False, title="t", synthetic=False)
    assert any("0 of 0 pixels" in word for word in texts(nothing))


def test_forest_shows_every_test_and_what_it_says():
    rows = [
        {"panel": panel, "variant": name, "value": k / 10, "lower": k / 10 - 1, "upper": k / 10 + 1, "p_value": p}
        for panel, p in (("5 cm", 1e-9), ("10 cm", 0.31))
        for k, name in enumerate(SITE_VARIANTS)
    ]
    frame = pd.DataFrame(rows)
    frame.loc[frame["variant"] == "year_blocks", "p_value"] = np.nan
    chart = plot.variant_forest(frame, title="t", synthetic=True)
    upper, lower = chart.axes
    assert [a.get_title(loc="right") for a in chart.axes] == ["5 cm", "10 cm"]
    labels = [t.get_text() for t in upper.get_yticklabels()]
    assert labels[0] == "original, p < 0.001" and labels[-1] == "blocks of years"
    assert len(set(labels)) == len(SITE_VARIANTS)
    (filled, _), (_, hollow) = ([m for m in a.lines if m.get_marker() == "o"] for a in (upper, lower))
    assert len(filled.get_xdata()) == len(SITE_VARIANTS) - 1
    assert len(hollow.get_xdata()) == len(SITE_VARIANTS)
    np.testing.assert_allclose(hollow.get_xdata(), frame.loc[frame["panel"] == "10 cm", "value"])
    assert upper.yaxis_inverted()
    np.testing.assert_allclose(lower.collections[0].get_segments()[2][:, 0], [-0.8, 1.2])
    with pytest.raises(ValueError, match="5 cm, original stands twice"):
        plot.variant_forest(pd.concat([frame, frame.iloc[:1]]), title="t", synthetic=True)
    with pytest.raises(ValueError, match="no row"):
        plot.variant_forest(frame.iloc[:0], title="t", synthetic=True)


def test_rejections_stand_beside_the_level():
    rows = [
        {"case": case, "variant": name, "rate": rate, "lower": rate - 0.02, "upper": rate + 0.03, "tests": 400}
        for case, rate in (("none", 0.06), ("some", 0.5))
        for name in ("original", "annual")
    ]
    chart = plot.rejections(pd.DataFrame(rows), title="t", synthetic=True, alpha=0.1)
    (axis,) = chart.axes
    marks = {line.get_label(): line for line in axis.lines if line.get_linestyle() == "None"}
    np.testing.assert_allclose(marks["none, n=400"].get_xdata(), [6, 6])
    np.testing.assert_allclose(marks["some, n=400"].get_xdata(), [50, 50])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["original", "years"]
    np.testing.assert_allclose(axis.collections[0].get_segments()[0][:, 0], [4, 9])
    level = next(line for line in axis.lines if line.get_linestyle() == "--")
    assert level.get_xdata()[0] == 10
    assert any("level 10 %" in word for word in texts(chart)) and "t (synthetic)" in texts(chart)


def test_errors_by_length_have_a_panel_each():
    rows = [
        {"error": kind, "years": n, "rmse": 1 / n, "q05": -1 / n, "q95": 2 / n, "series": 30}
        for kind in ("short record", "hindcast")
        for n in (9, 3)
    ]
    chart = plot.slope_errors(pd.DataFrame(rows), title="t", synthetic=True, threshold=0.4)
    assert [a.get_title() for a in chart.axes] == ["short record, n=30", "hindcast, n=30"]
    line = chart.axes[1].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[3, 1 / 3], [9, 1 / 9]])
    band = chart.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((-1 / 3, 2 / 3))
    words = texts(chart)
    assert {"0.4", "root mean square", f"error of the slope ({UNITS})", "t (synthetic)"} <= set(words)


def test_series_and_lines_are_kept_in_the_page():
    time = pd.date_range("2010-01-01", periods=50, freq="7D")
    values = np.linspace(0.1, 0.3, 100).reshape(50, 2)
    values[3, 1] = np.nan
    dataset = xr.Dataset(
        {name: (("time", "site"), values) for name in ("rzsm_insitu", "rzsm_lstm")},
        {"time": time, "site": ["a", "b"], "name": ("site", ["A", "B"])},
    )
    lines = pd.DataFrame(
        [{"site": "b", "variable": "rzsm_lstm", "start": "2010-01-05", "end": "2010-11-01", "first": 0.12, "last": 0.2,
          "text": "+0.80 (+0.10 to +1.00) % a year"}]
    )  # fmt: skip
    pane = plot.trend_series(dataset, lines, ["rzsm_insitu", "rzsm_lstm"], title="t", synthetic=True)
    first, second = pane.object.children
    assert json_item(pane.object)  # it can be embedded
    assert first.x_range is second.x_range
    titles = [[t.text for t in chart.select(Title)] for chart in (first, second)]
    assert "t: A a (synthetic)" in titles[0] and "B b (synthetic)" in titles[1]
    assert "LSTM +0.80 (+0.10 to +1.00) % a year" in titles[1]
    assert len(first.renderers) == 2 and len(second.renderers) == 3
    ends = second.renderers[2]
    assert list(ends.data_source.data["y"]) == [0.12, 0.2]
    assert list(pd.to_datetime(ends.data_source.data["x"])) == list(pd.to_datetime(["2010-01-05", "2010-11-01"]))
    assert ends.glyph.line_color == COLOURS["lstm"]
    store = next(s for s in second.select(ColumnDataSource) if "rzsm_lstm 1" in s.data).data["rzsm_lstm 1"]
    known = np.arange(50) != 3
    np.testing.assert_allclose(store[known] / SCALE, values[known, 1], atol=1 / SCALE)
    assert store.dtype == np.int16
    (legend,) = second.select(Legend)
    assert [item.label.value for item in legend.items] == ["in situ", "LSTM"]
    with pytest.raises(ValueError, match="no site for 't'"):
        plot.trend_series(dataset.isel(site=[]), lines, ["rzsm_lstm"], title="t", synthetic=True)
