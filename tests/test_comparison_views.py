"""Shape of series, and tables of scores as figures want them."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import comparison

DAYS = pd.date_range("2015-04-01", "2017-03-31")


@pytest.fixture
def collocated():
    """Two sites: probes are a ramp from 0.1 to 0.3; SMAP sees every third day of it; the LSTM alternates."""
    ramp = np.linspace(0.1, 0.3, len(DAYS))
    probes = np.stack([ramp, ramp + 0.1], axis=1).astype(np.float32)
    smap = np.where(np.arange(len(DAYS))[::-1, None] % 3 == 0, probes, np.nan)
    lstm = 0.2 + 0.01 * (-1.0) ** np.arange(len(DAYS))[:, None] * np.ones(2)
    data = {"ssm_insitu": probes, "ssm_smap": smap, "ssm_lstm": lstm}
    coords = {"time": DAYS, "site": ["a", "b"], "group": ("site", ["g", "g"])}
    coords |= {"lat": ("site", [40.0, 41.0]), "lon": ("site", [-100.0, -99.0])}
    return xr.Dataset({n: (("time", "site"), v.astype(np.float32)) for n, v in data.items()}, coords)


def value(table, **where):
    rows = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_shape_of_a_ramp_and_of_a_saw(collocated):
    table = comparison.shape(collocated, rules="author-code")
    assert set(table["period"]) == {"AL"} and set(table["product"]) == {"insitu", "smap", "lstm"}
    low = value(table, site="a", product="insitu", metric="low")
    # A uniform ramp of range 0.2: its 5 % quantile lies 0.45 x 0.2 below the mean.
    assert low["value"] == pytest.approx(-0.09, abs=1e-4) and low["n"] == len(DAYS)
    assert value(table, site="b", product="insitu", metric="high")["value"] == pytest.approx(0.09, abs=1e-4)
    change = value(table, site="a", product="lstm", metric="daily_change")["value"]
    assert change == pytest.approx(0.02, rel=1e-2)  # up and down by 0.02
    assert value(table, site="a", product="insitu", metric="daily_change")["value"] == pytest.approx(0, abs=1e-6)
    missing = value(table, site="a", product="smap", metric="missing")
    assert missing["value"] == pytest.approx(2 / 3, abs=1e-3) and missing["n"] == len(DAYS)
    winter = value(table, site="a", product="smap", metric="winter_missing")
    assert winter["n"] == 91 + 90  # two winters, the first with a 29 February


def test_changes_are_of_days_that_are_near(collocated):
    """Of SMAP's days, three apart, a step of a white series counts with its root: sd sqrt(2) / sqrt(3)."""
    noise = np.random.default_rng(1).standard_normal((len(DAYS), 2)) * 0.03
    collocated["ssm_smap"] = collocated["ssm_smap"].where(collocated["ssm_smap"].isnull(), 0.2 + noise)
    table = comparison.shape(collocated, rules="author-code")
    change = value(table, site="a", product="smap", metric="daily_change")
    assert change["value"] == pytest.approx(0.03 * np.sqrt(2 / 3), rel=0.1)
    collocated["ssm_smap"] = collocated["ssm_smap"].where(np.arange(len(DAYS))[::-1, None] % 6 == 0)
    table = comparison.shape(collocated, rules="author-code")
    assert np.isnan(value(table, site="a", product="smap", metric="daily_change")["value"])


def test_too_few_values_give_no_shape(collocated):
    collocated["ssm_lstm"] = collocated["ssm_lstm"].where(np.arange(len(DAYS))[:, None] < 29)
    row = value(comparison.shape(collocated, rules="author-code"), site="a", product="lstm", metric="low")
    assert np.isnan(row["value"]) and row["n"] == 29


def test_site_values_lie_on_their_sites():
    scores = pd.DataFrame(
        {"site": ["b", "a"], "metric": "ubrmse", "value": [0.04, np.nan], "lat": [41.0, 40.0], "lon": [-99.0, -100.0]}
    )
    values = comparison.site_values(scores, "ubrmse")
    assert values.name == "ubrmse" and values.attrs["units"] == "m3 m-3"
    assert float(values.sel(site="b")) == 0.04 and float(values.sel(site="a").lat) == 40.0
    with pytest.raises(ValueError, match="site b twice"):
        comparison.site_values(pd.concat([scores, scores]), "ubrmse")
    with pytest.raises(ValueError, match="bias: no rows"):
        comparison.site_values(scores, "bias")


def test_drydown_scores_hold_probes_beside_products():
    keys = {"site": "a", "group": "g", "quantity": "surface", "period": "AL", "rules": "author-code"}
    rows = [
        {"product": p, "drydown_days": d, "lower_quartile": d - 1, "upper_quartile": d + 1, "insitu_days": 8.0 + i}
        for i, (p, d) in enumerate([("smap", 4.0), ("lstm", 5.0)])
    ]
    long = comparison.drydown_scores(pd.DataFrame(rows).assign(**keys, n_spells=12, synthetic="true"))
    got = {row["product"]: (row["value"], row["lower"], row["n"]) for _, row in long.iterrows()}
    assert got["smap"] == (4.0, 3.0, 12) and got["lstm"] == (5.0, 4.0, 12)
    assert got["insitu"][0] == 9.0 and np.isnan(got["insitu"][1])
    assert set(long["metric"]) == {"drydown_days"}


def test_products_are_gathered_side_by_side():
    pixel = {"time": DAYS[:3], "pixel": [7, 8], "lat": ("pixel", [40.0, 41.0]), "lon": ("pixel", [-100.0, -99.0])}
    field = (("time", "pixel"), np.zeros((3, 2), np.float32))
    cube = xr.Dataset({"ssm_smap": field, "precipitation": field, "air_temperature": field}, pixel)
    later = xr.Dataset({"ssm_lstm": field, "ssm_lstm_spread": field}, pixel | {"time": DAYS[1:4]})
    both = comparison.gather(cube, later)
    assert set(both.data_vars) == {"ssm_smap", "precipitation", "ssm_lstm"} and both.sizes["time"] == 4
    assert both["ssm_smap"].isnull().sum() == 2  # the day that only the hindcast has


def test_effects_on_a_page_count_sites_and_in_brackets_the_sure_ones():
    row = {"quantity": "surface", "one": "PL comb", "two": "PL noah", "mean": 0.01, "lower": -0.02, "upper": 0.03}
    counts = {"n_higher": 6, "n_lower": 3, "n_higher_significant": 2, "n_lower_significant": 0}
    shown = comparison.effect_table(pd.DataFrame([row | counts]))
    assert shown.loc[("surface", "PL comb", "PL noah"), "higher at"] == "6 (2)"
    assert shown.iloc[0].to_list() == [0.01, -0.02, 0.03, "6 (2)", "3 (0)"]


def test_panels_of_maps_are_one_a_series_and_metric():
    rows = [("PL", "lstm", 0.7), ("AL", "smap", 0.8)]
    tables = [
        pd.DataFrame({"site": ["a", "b"], "lat": [40.0, 41.0], "lon": [-100.0, -99.0], "value": [r, r + 0.1]})
        .assign(period=period, product=product, metric=metric)
        for period, product, r in rows
        for metric in ("pearson_r", "ubrmse")
    ]  # fmt: skip
    wanted = [("PL", "lstm"), ("PL", "noah"), ("AL", "smap")]
    panels = comparison.site_panels(pd.concat(tables), wanted, ["ubrmse", "pearson_r"])
    assert list(panels) == ["LSTM PL, ubRMSE", "LSTM PL, R", "SMAP AL, ubRMSE", "SMAP AL, R"]
    np.testing.assert_allclose(panels["SMAP AL, R"], [0.8, 0.9])
    assert panels["LSTM PL, R"]["lat"].values.tolist() == [40.0, 41.0]
