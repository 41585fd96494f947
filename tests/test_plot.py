"""Figures: drawn without warnings, labelled with units and, where it is so, with "synthetic"."""

import re
import warnings

import matplotlib as mpl

mpl.use("Agg")

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import plot
from smapnb.plot.interactive import _packed
from smapnb.plot.style import borders, colours, unit_text

TIME = pd.date_range("2016-01-01", periods=90)


@pytest.fixture(scope="module")
def cube():
    """Six pixels whose moisture is a sine with gaps, made by hand."""
    coords = {
        "time": TIME,
        "pixel": np.arange(6) + 10,
        "lat": ("pixel", [31.0, 34, 37, 40, 43, 46]),
        "lon": ("pixel", [-120.0, -112, -104, -96, -88, -80]),
    }
    wave = 0.2 + 0.1 * np.sin(np.arange(90)[:, None] / 9 + np.arange(6))
    gaps = np.where(np.arange(90)[:, None] % 2, np.nan, wave)
    values = {"ssm_smap": gaps, "ssm_lstm": wave, "precipitation": wave * 10}
    return xr.Dataset({k: (("time", "pixel"), v.astype(np.float32)) for k, v in values.items()}, coords)


@pytest.fixture(scope="module")
def score(cube):
    score = cube["ssm_lstm"].mean("time").rename("rmse")
    return score.assign_attrs(long_name="root-mean-square error", units="m3 m-3")


def texts(chart):
    chart.canvas.draw()
    return [t.get_text() for t in chart.findobj(mpl.text.Text)]


def static_figures(cube, score, synthetic):
    scores = xr.Dataset({"rmse": score, "pearson_r": score.assign_attrs(long_name="correlation", units="1")})
    history = pd.DataFrame(
        {
            "member": [0, 0, 1, 1],
            "epoch": [1, 2, 1, 2],
            "loss": [1, 0.5, 1, 0.4],
            "validation_rmse": [0.1] * 4,
        }
    )
    years = pd.DataFrame(
        {
            "product": ["lstm"] * 2,
            "year": [2015, 2016],
            "median": [0.1, 0.2],
            "q25": [0, 0.1],
            "q75": [0.2, 0.3],
            "n_pixels": [5, 6],
        }
    )
    monthly = np.isfinite(cube["ssm_smap"]).resample(time="MS").mean()
    return {
        "maps": plot.static_maps({"a": score, "b": score, "c": score}, synthetic=synthetic),
        "gaps": plot.observation_gaps(monthly, synthetic=synthetic),
        "panels": plot.series_panels(cube.isel(pixel=0), ["precipitation", "ssm_lstm"], title="t", synthetic=synthetic),
        "loss": plot.loss_curves(history, title="t", units="m3 m-3", synthetic=synthetic),
        "boxes": plot.boxes({"lstm": score, "noah": score}, title="t", synthetic=synthetic),
        "score boxes": plot.score_boxes({"lstm": scores}, ["rmse", "pearson_r"], title="t", synthetic=synthetic),
        "by year": plot.by_year(years, "rmse", title="t", attrs=score.attrs, synthetic=synthetic),
    }


def test_static_figures_say_units_and_whether_synthetic(cube, score):
    for name, chart in static_figures(cube, score, True).items():
        words = texts(chart)
        assert any("(synthetic)" in w for w in words), name
        assert any("(m³ m⁻³)" in w or "(-)" in w for w in words), name
    for name, chart in static_figures(cube, score, False).items():
        assert not any("synthetic" in w for w in texts(chart)), name


def test_static_map_draws_every_pixel_inside_the_shown_borders(cube, score):
    chart = plot.static_maps({"a": score}, synthetic=False)
    (drawn,) = [c for c in chart.axes[0].collections if hasattr(c, "get_offsets") and len(c.get_offsets()) == 6]
    np.testing.assert_allclose(np.asarray(drawn.get_offsets())[:, 1], score["lat"])
    np.testing.assert_allclose(drawn.get_array(), score)


def test_map_of_nothing_is_drawn(score):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts(plot.static_maps({"a": score * np.nan}, synthetic=False))


def test_number_of_pixels_stands_in_the_legend(cube, score):
    assert any("lstm (n=5-6 pixels)" in w for w in texts(static_figures(cube, score, True)["by year"]))


def test_a_validation_that_is_taken_every_few_epochs_is_seen():
    found = pd.DataFrame({"member": 0, "epoch": [1, 2, 3], "loss": 0.5, "validation_rmse": [np.nan, 0.2, np.nan]})
    (line,) = plot.loss_curves(found, title="t", units="m3 m-3", synthetic=False).axes[1].get_lines()
    assert (line.get_xdata(), line.get_ydata()) == ([2], [0.2]) and line.get_marker() == "o"


def test_a_table_says_whether_it_is_synthetic():
    frame = pd.DataFrame({"twin (synthetic)": [1.0], "real sample": [2.0]})
    assert plot.table(frame, title="t", synthetic=None).caption == "t"
    assert plot.table(frame, title="t", synthetic=True).caption == "t (synthetic)"
    with pytest.raises(ValueError, match=r"'t': no column says .*\['a'\]"):
        plot.table(frame[["real sample"]].set_axis(["a"], axis=1), title="t", synthetic=None)


def test_a_table_shows_counts_whole_metrics_by_name_and_depths_without_idle_zeros():
    rows = pd.MultiIndex.from_tuples([("lstm", 5.0, "pearson_r"), ("lstm", 12.5, "ubrmse")])
    frame = pd.DataFrame({"n": [41.0, np.nan], "share": [0.0, 1.0], "value": [0.5, 2.0]}, index=rows)
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", plot.table(frame, title="t", synthetic=False).to_html()))
    assert " lstm 5 R 41 0.0000 0.5000 " in shown
    assert " 12.5 ubRMSE - 1.0000 2.0000 " in shown


def test_cells_of_a_table_of_words_break_and_know_their_heading():
    frame = pd.DataFrame({"id": ["a"], "reason": ["no " * 21]}).set_index("id")
    html = plot.table(frame, title="t", synthetic=False, words=True).to_html()
    assert 'class="words"' in html and "--heading: 'reason'" in html and "min-width: 11rem" in html
    assert "words" not in plot.table(frame, title="t", synthetic=False).to_html()


def test_labels_and_colours():
    assert unit_text("m3 m-3") == "m³ m⁻³"
    assert unit_text("kg kg-1") == "kg kg⁻¹"
    assert plot.label("ssm_smap") == "SMAP surface soil moisture (m³ m⁻³)"
    assert plot.label("mine", {"long_name": "my own", "units": "K"}) == "my own (K)"
    assert plot.colour("ssm_noah") == plot.colour("Noah") == plot.COLOURS["noah"]
    assert plot.colour("one", 0) != plot.colour("two", 1)
    both = colours(["ssm_smap", "rzsm_smap"])
    assert both["ssm_smap"] == plot.COLOURS["smap"] != both["rzsm_smap"]
    assert len(set(plot.COLOURS.values())) == len(plot.COLOURS)


def test_borders_are_shipped_and_cover_the_lower_48():
    shapes = borders(0.02)
    assert len(shapes) == 50  # 48 states, the District of Columbia, the coastline
    west, east = min(s.bounds[0] for s in shapes[:49]), max(s.bounds[2] for s in shapes[:49])
    assert west == pytest.approx(-124.7, abs=0.2)  # Cape Alava
    assert east == pytest.approx(-66.9, abs=0.2)  # West Quoddy Head


def bokeh_models(drawn, kind):
    root = hv.render(drawn) if isinstance(drawn, hv.Element | hv.Overlay) else drawn.object
    return list(root.select({"type": kind}))


def test_interactive_figures_are_responsive_and_labelled(cube, score):
    from bokeh.models import Plot

    drawn = [
        plot.interactive_map(score, title="t", synthetic=True),
        plot.interactive_series(cube.isel(pixel=0), ["ssm_smap", "ssm_lstm"], title="t", synthetic=True),
        plot.explorer(score, cube[["ssm_smap", "ssm_lstm"]], title="t", synthetic=True),
    ]
    for one in drawn:
        plots = bokeh_models(one, Plot)
        assert plots
        for chart in plots:
            assert chart.sizing_mode in {"stretch_width", "stretch_both", "scale_width"}
            assert "(synthetic)" in chart.title.text
            axes = [axis.axis_label for axis in chart.below + chart.left if hasattr(axis, "axis_label")]
            assert all(axes) and any("(" in text for text in axes)


def test_explorer_keeps_values_and_gaps_to_a_ten_thousandth(cube, score):
    packed = _packed(cube["ssm_smap"].to_numpy())
    back = np.where(packed < 0, np.nan, packed / 10000)
    np.testing.assert_allclose(back, cube["ssm_smap"], atol=5.1e-5)
    with pytest.raises(ValueError, match="not of the same pixels"):
        plot.explorer(score.isel(pixel=slice(1, None)), cube[["ssm_lstm"]], title="t", synthetic=False)


@pytest.mark.browser
def test_a_click_in_the_explorer_shows_that_pixel_without_a_kernel(cube, score, tmp_path):
    from browser import FLAGS, chromium
    from playwright.sync_api import sync_playwright

    page_file = tmp_path / "explorer.html"
    plot.explorer(score, cube[["ssm_smap", "ssm_lstm"]], title="t", synthetic=True).save(page_file, resources="inline")
    columns = """() => [...Bokeh.documents[0]._all_models.values()].find(
        (m) => m.type == "ColumnDataSource" && m.data.time && m.data.ssm_lstm).data"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_function("() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        middle = page.evaluate("""() => {
          const below = (views) => views.flatMap((view) => [view, ...view.children()]);
          const view = below(below(below([...Bokeh.index.roots])))
            .find((v) => v.frame && v.model.title.text.startsWith("t ("));
          const box = view.el.getBoundingClientRect(), frame = view.frame;
          return [box.x + frame.x_scale.compute(-96), box.y + frame.y_scale.compute(40)];
        }""")
        page.mouse.click(*middle)
        page.wait_for_timeout(500)
        shown = page.evaluate(f"() => {{ const d = ({columns})(); return [...d.ssm_lstm].concat([...d.ssm_smap]); }}")
        browser.close()
    assert not errors
    clicked = cube.sel(pixel=13)
    expected = np.concatenate([clicked["ssm_lstm"], clicked["ssm_smap"]])
    np.testing.assert_allclose(np.array(shown, dtype=float), expected, atol=5.1e-5)
