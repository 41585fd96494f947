"""Figures of scores: what is drawn is what stands in the table, no more and no less."""

import warnings
from itertools import pairwise

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from smapnb import plot
from smapnb.plot.dots import MEAN
from smapnb.plot.scores_parts import SERIES, filling
from smapnb.plot.style import COLOURS, metric_label, series_label, short_labels

METRICS = ["bias", "ubrmse", "pearson_r"]
SITES = ["16013604", "16013603", "16023603", "09013601", "48013601", "16063603"]
NAMES = {"1601": "Walnut Gulch", "16023603": "Little Washita"}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def scores():
    """Six sites, seven series, three metrics; each value tells where it belongs."""
    rows = []
    for i, site in enumerate(SITES):
        for j, one in enumerate(SERIES):
            period, product = one.split(" ")
            for k, metric in enumerate(METRICS):
                value = 0.01 * (i + 1) + 0.1 * (j + 1) + k - 1
                limits = {"value": value, "lower": value - 0.02, "upper": value + 0.05, "n": 100 * (period == "AL") + j}
                rows.append(
                    {"site": site, "group": site[:4], "product": product, "period": period, "metric": metric} | limits
                )
    return pd.DataFrame(rows)


def texts(chart):
    chart.canvas.draw()
    return [t.get_text() for t in chart.findobj(mpl.text.Text)]


def of(scores, series, metric):
    period, product = series.split(" ")
    rows = scores[(scores["period"] == period) & (scores["product"] == product) & (scores["metric"] == metric)]
    return rows.set_index("site")


def bars_of(axis):
    return {c.get_label(): {round(p.get_x() + p.get_width() / 2): p.get_height() for p in c} for c in axis.containers}


def test_bars_and_whiskers_are_the_table(scores):
    chart = plot.score_bars(scores, METRICS, title="t", synthetic=True, names=NAMES)
    assert len(chart.axes) == 6  # three metrics, the six sites in two blocks
    for position, axis in enumerate(chart.axes):
        metric, block = METRICS[position % 3], SITES[:3] if position < 3 else SITES[3:]
        assert axis.get_ylabel() == metric_label(metric)
        drawn = bars_of(axis)
        assert set(drawn) == set(SERIES)
        for one in SERIES:
            assert list(drawn[one].values()) == pytest.approx(list(of(scores, one, metric).loc[block, "value"]))
        whiskers = [line for c in axis.collections if isinstance(c, LineCollection) for line in c.get_segments()]
        ends = sorted((round(low[0]), round(low[1], 4), round(high[1], 4)) for low, high in whiskers)
        rows = scores[(scores["metric"] == metric) & scores["site"].isin(block)]
        expected = sorted((block.index(r.site), round(r.lower, 4), round(r.upper, 4)) for r in rows.itertuples())
        assert ends == expected


def test_bars_stand_in_the_papers_order_and_do_not_overlap(scores):
    (axis, *_) = plot.score_bars(scores, METRICS, title="t", synthetic=True).axes
    at = [(c[0].get_x(), c[0].get_x() + c[0].get_width()) for c in axis.containers]
    assert [c.get_label() for c in axis.containers] == list(SERIES)
    assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(at))
    assert at[0][0] > -0.5 and at[-1][1] < 0.5


def test_sites_are_named_with_their_days(scores):
    words = texts(plot.score_bars(scores, METRICS, title="t", synthetic=True, names=NAMES))
    assert "Walnut Gulch\n16013604\nPL 0-2\nAL 103-106" in words  # by group; n differs between the products
    assert "Little Washita\n16023603\nPL 0-2\nAL 103-106" in words  # by site
    assert "09013601\nPL 0-2\nAL 103-106" in words  # no name
    assert "t (synthetic)" in words and any("m³ m⁻³" in w for w in words)
    assert {series_label(one) for one in SERIES} <= set(words)
    assert not any("synthetic" in w for w in texts(plot.score_bars(scores, METRICS, title="t", synthetic=False)))


def test_missing_bars_are_gaps(scores):
    gone = scores[~((scores["site"] == SITES[1]) & (scores["period"] == "PL"))].copy()
    gone.loc[(gone["site"] == SITES[0]) & (gone["product"] == "noah"), ["value", "lower", "upper"]] = np.nan
    gone.loc[gone["product"] == "comb", ["lower", "upper"]] = np.nan
    chart = plot.score_bars(gone, METRICS, title="t", synthetic=True)
    drawn = bars_of(chart.axes[0])
    assert list(drawn["PL noah"]) == [2] and list(drawn["PL lstm"]) == [0, 2] and list(drawn["AL noah"]) == [1, 2]
    assert f"{SITES[1]}\nPL 0\nAL 103-106" in texts(chart)


def test_a_series_may_be_a_period_of_its_own(scores):
    test = scores[(scores["product"] == "lstm") & (scores["period"] == "AL")].assign(period="AL 1-year test")
    other = scores[scores["product"] == "noah"].assign(product="noah_vic")
    chart = plot.score_bars(
        pd.concat([scores, test, other]),  # with repeated labels of rows, as tables that are put together have
        ["pearson_r"],
        series=("AL comb", "AL noah_vic", "AL 1-year test"),
        title="t",
        synthetic=True,
    )
    containers = {c.get_label(): c for c in chart.axes[0].containers}
    assert set(containers) == {"AL comb", "AL noah_vic", "AL 1-year test"}
    lstm, both = containers["AL 1-year test"][0], containers["AL noah_vic"][0]
    assert mpl.colors.to_hex(lstm.get_edgecolor()).upper() == COLOURS["lstm"] and lstm.get_hatch()
    assert mpl.colors.to_hex(both.get_facecolor()).upper() == COLOURS["noah_vic"]
    assert {"AL Noah+VIC", "AL 1-year test"} <= set(texts(chart))


def test_period_and_product_can_both_be_seen():
    looks = {one: filling(one.split(" ")[1], one) for one in SERIES}
    assert {one for one, look in looks.items() if "hatch" in look} == {one for one in SERIES if one.startswith("PL")}
    assert looks["PL noah"]["edgecolor"] == looks["AL noah"]["facecolor"] == COLOURS["noah"]
    assert len({(str(look["facecolor"]), look.get("hatch")) for look in looks.values()}) == 7


def test_what_stands_twice_or_not_at_all_is_refused(scores):
    with pytest.raises(ValueError, match="site 16013604, PL lstm, bias stands twice"):
        plot.score_bars(pd.concat([scores, scores]), METRICS, title="t", synthetic=True)
    with pytest.raises(ValueError, match=r"no score of \['rmse'\]"):
        plot.score_boxes_by_series(scores, ["rmse"], title="t", synthetic=True)
    with pytest.raises(ValueError, match="units unknown"):
        plot.score_bars(scores.replace({"metric": {"bias": "kge"}}), ["kge"], title="t", synthetic=True)
    with pytest.raises(ValueError, match="choose one sampling"):
        pairs = differences(scores)
        plot.difference_forest(pd.concat([pairs, pairs]), title="t", synthetic=True)
    with pytest.raises(ValueError, match="no rows for 't'"):
        plot.difference_forest(differences(scores).iloc[:0], title="t", synthetic=True)


def test_boxes_hold_median_quartiles_and_number_of_sites(scores):
    gone = scores.copy()
    gone.loc[(gone["site"] == SITES[0]) & (gone["metric"] == "bias") & (gone["product"] == "smap"), "value"] = np.nan
    gone = gone[~((gone["metric"] == "pearson_r") & (gone["product"] == "comb"))]
    chart = plot.score_boxes_by_series(gone, METRICS, title="t", synthetic=True)
    assert len(chart.axes) == 3
    for axis, metric in zip(chart.axes, METRICS, strict=True):
        boxes = [p for p in axis.patches if isinstance(p, mpl.patches.PathPatch)]
        counts = [t.get_text().split("n=")[1] for t in axis.get_yticklabels()]
        assert len(boxes) == len(counts) == 7
        for box, one, count in zip(boxes, SERIES, counts, strict=True):
            values = of(gone, one, metric)["value"].dropna()
            assert int(count) == len(values)
            if len(values):
                x = box.get_path().vertices[:, 0]
                assert (x.min(), x.max()) == pytest.approx(tuple(np.percentile(values, [25, 75])))
        assert axis.get_xlabel() == metric_label(metric)
    assert {"PL LSTM  n=6", "AL SMAP  n=5", "n=6"} <= set(texts(chart))
    assert any("(synthetic)" in w for w in texts(chart))
    assert any(
        w == "n=0" for w in texts(plot.score_boxes_by_series(gone, ["bias", "pearson_r"], title="t", synthetic=True))
    )


def differences(scores):
    rows = []
    for one, two in (("AL comb", "AL noah"), ("PL lstm", "AL lstm")):
        for i, site in enumerate(SITES):
            limits = {"difference": 0.01 * i, "lower": 0.01 * i - 0.02, "upper": 0.01 * i + 0.03}
            place = {"site": site, "group": site[:4], "quantity": "surface", "one": one, "two": two, "metric": "ubrmse"}
            rows.append(place | limits | {"p_adjusted": 0.01 if i > 3 else 0.5})
    return pd.DataFrame(rows)


def marks(axis):
    return [
        (line.get_marker(), line.get_markerfacecolor(), *place)
        for line in axis.lines
        if line.get_marker() in "oD"
        for place in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_forest_fills_what_is_significant_and_ends_lines_at_the_limits(scores):
    effects = pd.DataFrame(
        {"quantity": ["surface"], "one": ["AL comb"], "two": ["AL noah"], "metric": ["ubrmse"]}
        | {"mean": [0.025], "lower": [0.01], "upper": [0.04]}
    )
    table = pd.concat([differences(scores), plot.mean_rows(effects)])
    chart = plot.difference_forest(table, title="t", synthetic=True, names=NAMES)
    first, second = chart.axes
    drawn = {round(y): (marker, face, x) for marker, face, x, y in marks(first)}
    assert {place: face for place, (_, face, _) in drawn.items()} == dict.fromkeys(range(4), "white") | {
        4: "0.1",
        5: "0.1",
        6: "0.6",
    }
    assert [drawn[i][2] for i in range(7)] == pytest.approx([0.01 * i for i in range(6)] + [0.025])
    assert drawn[6][0] == "D" and len(marks(second)) == 6  # the second comparison has no mean
    (lines,) = [c for c in first.collections if isinstance(c, LineCollection)]
    ends = [(a[0], b[0], a[1]) for a, b in lines.get_segments()]
    expected = [(0.01 * i - 0.02, 0.01 * i + 0.03, i) for i in range(6)] + [(0.01, 0.04, 6)]
    np.testing.assert_allclose(ends, expected, atol=1e-9)
    words = texts(chart)
    assert first.get_ylim()[0] > first.get_ylim()[1]  # the first site on top
    assert {"t (synthetic)", "Walnut Gulch 16013604", "mean of sites", "AL: Comb − Noah", "PL LSTM − AL LSTM"} <= set(
        words
    )
    assert "difference in ubRMSE (m³ m⁻³)\nleft of 0: AL Comb is better" in words
    assert MEAN not in words


def test_drydown_draws_median_and_quartiles_of_each_product():
    rows = [
        {
            "site": site,
            "product": p,
            "period": "AL",
            "metric": "drydown_days",
            "n": 7 + i,
            "value": v,
            "lower": v - 1,
            "upper": v + 2,
        }
        for i, site in enumerate(SITES[:2])
        for p, v in (("insitu", 6.0 + i), ("smap", 4.0), ("lstm", np.nan))
    ]
    chart = plot.drydown_bars(pd.DataFrame(rows), title="t", synthetic=True)
    (axis,) = chart.axes
    dots = {line.get_label(): line for line in axis.lines if line.get_marker() == "o"}
    assert dots["AL insitu"].get_xdata() == pytest.approx([6, 7]) and dots["AL smap"].get_xdata() == pytest.approx(
        [4, 4]
    )
    assert len(dots["AL lstm"].get_xdata()) == 0
    spans = sorted((a[0], b[0]) for c in axis.collections if isinstance(c, LineCollection) for a, b in c.get_segments())
    assert spans == [(3, 6), (3, 6), (5, 8), (6, 9)]
    words = texts(chart)
    assert {"e-folding time (d)", "AL in situ", "t (synthetic)", f"{SITES[1]}\nn=8"} <= set(words)


def test_sensitivity_draws_a_mark_a_setting(scores):
    one = scores[(scores["product"] == "lstm") & (scores["period"] == "PL")]
    table = pd.concat([one.assign(rule="4 °C"), one.assign(rule="0 °C", value=one["value"] + 0.1)])
    chart = plot.sensitivity_dots(table, ["bias", "pearson_r"], "rule", title="t", synthetic=True)
    for axis, metric in zip(chart.axes, ["bias", "pearson_r"], strict=True):
        dots = {line.get_label(): line.get_xdata() for line in axis.lines if line.get_label() in ("4 °C", "0 °C")}
        np.testing.assert_allclose(dots["4 °C"], of(scores, "PL lstm", metric)["value"])
        np.testing.assert_allclose(dots["0 °C"], dots["4 °C"] + 0.1)
        assert axis.get_xlabel() == metric_label(metric)
    assert {"rule (whiskers: 95 % limits)", "t (synthetic)"} <= set(texts(chart))
    bare = plot.sensitivity_dots(table.assign(lower=np.nan, upper=np.nan), ["bias"], "rule", title="t", synthetic=True)
    assert "rule" in texts(bare)
    with pytest.raises(ValueError, match=r"site 16013604, bias stands twice under rule '4 °C'"):
        plot.sensitivity_dots(scores.assign(rule="4 °C"), ["bias"], "rule", title="t", synthetic=True)


def test_colours_and_labels_of_combinations():
    assert plot.colour("ssm_noah_vic") == plot.colour("PL noah_vic") == COLOURS["noah_vic"] != plot.colour("PL noah")
    assert plot.colour("AL lstm_vic") == COLOURS["lstm_vic"]
    assert series_label("PL lstm_vic") == "PL LSTM+VIC"
    assert short_labels(["ssm_insitu", "ssm_smap"]) == {"ssm_insitu": "in situ", "ssm_smap": "SMAP"}
    assert short_labels(["ssm_smap", "rzsm_smap"])["rzsm_smap"] == "SMAP root-zone soil moisture, 0-100 cm"
    assert plot.label("ubrmse") == "ubRMSE (m³ m⁻³)" and plot.label("pearson_r") == "R (-)"
