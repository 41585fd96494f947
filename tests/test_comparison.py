"""Products against site series: periods and samplings by hand, identities of scores and differences, tables."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import pearsonr
from scipy.stats import t as student

from smapnb import comparison, metrics

NAN = np.nan
RULES = "author-code"
QUICK = {"rules": RULES, "n_boot": 20}
KEY = ["quantity", "product", "period", "sampling", "metric"]


def make_series(values, start, *, lat=None, lon=None, group=None, rzsm=None, synthetic="false"):
    values = np.asarray(values, np.float32)
    n = values.shape[1]
    days = pd.date_range(start, periods=len(values))
    coords = {"time": days, "site": [f"s{k}" for k in range(n)]}
    coords |= {"lat": ("site", 40.0 + np.arange(n) if lat is None else lat)}
    coords |= {"lon": ("site", -100.0 + np.zeros(n) if lon is None else lon)}
    coords |= {"group": ("site", group)} if group else {}
    data = {"ssm_insitu": (("time", "site"), values)}
    data |= {"rzsm_insitu": (("time", "site"), np.asarray(rzsm, np.float32))} if rzsm is not None else {}
    return xr.Dataset(data, coords, {"synthetic": synthetic})


def make_products(start, lat=None, lon=None, **values):
    n = np.shape(next(iter(values.values())))[1]
    days = pd.date_range(start, periods=len(next(iter(values.values()))))
    coords = {"time": days, "pixel": np.arange(n) + 10}
    coords |= {"lat": ("pixel", 40.0 + np.arange(n) if lat is None else lat)}
    coords |= {"lon": ("pixel", -100.0 + np.zeros(n) if lon is None else lon)}
    return xr.Dataset({k: (("time", "pixel"), np.asarray(v, np.float32)) for k, v in values.items()}, coords)


@pytest.fixture(scope="module")
def world():
    """Three sites, two of one group, 2013-2017; SMAP from launch on every third day; site s2 ends before launch."""
    generator = np.random.default_rng(0)
    days = pd.date_range("2013-01-01", "2017-12-31")
    truth = 0.25 + 0.05 * generator.standard_normal((days.size, 3))

    def seen(error):
        return truth + error * generator.standard_normal(truth.shape)

    launched, passes = days >= "2015-04-01", np.arange(days.size) % 3 == 0
    ssm = np.where((days > "2013-03-01")[:, None], seen(0.01), NAN)
    ssm[days >= "2015-02-01", 2] = NAN
    products = {
        "ssm_smap": np.where((launched & passes)[:, None], seen(0.03), NAN),
        "ssm_lstm": seen(0.03),
        "ssm_noah": seen(0.04) + 0.02,
        "ssm_vic": seen(0.05),
    }
    site = make_series(ssm, "2013-01-01", group=["g", "g", "h"], synthetic="true")
    return comparison.collocate(site, make_products("2013-01-01", **products))[0]


# Collocation


def test_nearest_pixel_by_hand():
    # |dlat| + |dlon|: s0 has 0.3 + 0.3 to pixel 10 and 0.5 to pixel 11, which the straight line would have reversed;
    # s1 lies across the date line from pixel 12.
    site = make_series(np.full((2, 3), 0.2), "2015-04-01", lat=[40.3, 10, 60], lon=[-99.7, 179.9, -100])
    lstm = make_products("2015-04-02", [40, 40.8, 10], [-100, -99.7, -179.9], ssm_lstm=[[0.1, 0.2, 0.3]] * 2)
    got, table = comparison.collocate(site, lstm, farthest=0.5)
    assert table["pixel"].tolist() == [11, 12, 11]
    np.testing.assert_allclose(table["distance"], [0.5, 0.2, 19.2 + 0.3], atol=1e-9)
    assert table["kept"].tolist() == [True, True, False]
    assert table["reason"].tolist() == ["", "", "nearest pixel farther than 0.5 degrees"]
    assert got["site"].values.tolist() == ["s0", "s1"] and got["pixel"].values.tolist() == [11, 12]
    # Days of either; a product keeps its own.
    assert got.sizes["time"] == 3
    np.testing.assert_allclose(got["ssm_lstm"], [[NAN, NAN], [0.2, 0.3], [0.2, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(got["ssm_insitu"], [[0.2, 0.2], [0.2, 0.2], [NAN, NAN]], rtol=1e-6)
    assert got["group"].values.tolist() == ["s0", "s1"]
    assert got["ssm_lstm"].dtype == got["ssm_insitu"].dtype == np.float32
    np.testing.assert_allclose(got["lat"], [40.3, 10])


@pytest.fixture
def two_grids():
    """Two cells of 36 km, then three of 9 km; each value is the pixel's place: its products are told apart by it."""
    lat, lon = [40.0, 41.0, 40.3, 40.9, 42.0], [-100.0] * 5
    own = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]] * 2)
    surface, rootzone = own.copy(), own.copy()
    surface[:, 2:], rootzone[:, :2] = NAN, NAN
    noah = own + 0.01
    values = {"ssm_smap": surface, "rzsm_smap": rootzone, "ssm_lstm": surface, "rzsm_lstm": rootzone}
    values |= {"ssm_noah": noah, "rzsm_noah": noah, "precipitation": own * 10}
    cube = make_products("2015-04-01", lat, lon, **values)
    return cube.assign_coords(grid_km=("pixel", [36, 36, 9, 9, 9]))


def test_each_quantity_is_taken_from_its_own_grid(two_grids):
    # s0 stands 0.25 from the first cell of 36 km, though one of 9 km is nearer; s1 0.1 from the second of 9 km, and 0.2
    # from the second of 36 km.
    here = np.full((2, 2), 0.2)
    site = make_series(here, "2015-04-01", lat=[40.25, 40.8], lon=[-100, -100], rzsm=here)
    got, table = comparison.collocate(site, two_grids)
    expected = {"ssm": [0.1, 0.2], "rzsm": [0.3, 0.4]}
    for prefix, values in expected.items():
        np.testing.assert_allclose(got[f"{prefix}_lstm"], [values] * 2, rtol=1e-6)
        np.testing.assert_allclose(got[f"{prefix}_smap"], [values] * 2, rtol=1e-6)
        # Noah is there at all cells, and taken where the quantity's own SMAP is.
        np.testing.assert_allclose(got[f"{prefix}_noah"], [np.add(values, 0.01)] * 2, rtol=1e-6)
        np.testing.assert_allclose(got[f"{prefix}_comb"], [np.add(values, 0.005)] * 2, rtol=1e-6)
    np.testing.assert_allclose(got["precipitation"], [[1, 2]] * 2, rtol=1e-6)  # of the surface
    assert got["pixel"].values.tolist() == table["pixel"].tolist() == [10, 11]
    assert got["pixel_rootzone"].values.tolist() == table["pixel_rootzone"].tolist() == [12, 13]
    np.testing.assert_allclose(table["distance"], [0.25, 0.2], atol=1e-9)
    np.testing.assert_allclose(got["distance_rootzone"], [0.05, 0.1], atol=1e-9)
    assert table["kept"].all() and (table["reason"] == "").all()


def test_a_quantity_whose_grid_is_far_has_no_products(two_grids):
    # s0 is near both grids, s1 near the root zone's alone, s2 near none.
    here = np.full((2, 3), 0.2)
    site = make_series(here, "2015-04-01", lat=[40.2, 42.1, 50.0], lon=[-100] * 3, rzsm=here)
    got, table = comparison.collocate(site, two_grids, farthest=0.5)
    assert got["site"].values.tolist() == ["s0", "s1"]
    far = "nearest pixel farther than 0.5 degrees"
    assert table["reason"].tolist() == ["", f"surface left out: {far}.", far]
    np.testing.assert_allclose(got["ssm_lstm"], [[0.1, NAN]] * 2, rtol=1e-6)
    np.testing.assert_allclose(got["rzsm_lstm"], [[0.3, 0.5]] * 2, rtol=1e-6)
    assert np.isnan(got["ssm_noah"].sel(site="s1")).all()


def test_cells_of_one_grid_serve_one_quantity_only(two_grids):
    here = np.full((2, 1), 0.2)
    site = make_series(here, "2015-04-01", lat=[40.0], rzsm=here)
    got, table = comparison.collocate(site, two_grids.isel(pixel=slice(2, None)))
    assert "ssm_lstm" not in got and got["rzsm_lstm"].values.tolist() == [[np.float32(0.3)]] * 2
    assert table["pixel"].tolist() == [12] and got["pixel"].values.tolist() == [12]
    lost = two_grids.assign_coords(grid_km=("pixel", [3] * 5))
    with pytest.raises(ValueError, match=r"no pixel of \{'surface': 36, 'rootzone': 9\} km among the 5"):
        comparison.collocate(site, lost)


def test_gathered_products_keep_the_grids(two_grids):
    hindcast = two_grids[["ssm_lstm", "rzsm_lstm"]]
    both = comparison.gather(two_grids.drop_vars(["ssm_lstm", "rzsm_lstm"]), hindcast)
    assert both["grid_km"].values.tolist() == [36, 36, 9, 9, 9]
    assert {"ssm_lstm", "rzsm_noah", "precipitation"} <= set(both.data_vars)
    # A hindcast written without them has those of the cube.
    assert "grid_km" in comparison.gather(two_grids[["ssm_smap"]], hindcast.drop_vars("grid_km")).coords


def test_comb_and_controls(world):
    np.testing.assert_allclose(world["ssm_comb"], (world["ssm_lstm"] + world["ssm_noah"]) / 2)
    assert world.attrs["synthetic"] == "true"
    days = comparison.sample(world, "surface", "PL", rules=RULES, sampling="author")
    assert list(days.products) == ["lstm", "noah", "comb", "vic", "noah_vic", "lstm_vic"]
    expected = ((world["ssm_noah"] + world["ssm_vic"]) / 2).sel(time=days.obs["time"]).where(days.obs > 0)
    np.testing.assert_allclose(days.products["noah_vic"], expected)


def test_flat_hindcasts_are_left_out_and_listed():
    wave = 0.2 + 0.05 * np.sin(np.arange(60.0))
    flat = 0.2 + 0.0005 * np.sin(np.arange(60.0))
    values = np.column_stack([wave, wave])
    site = make_series(values, "2016-01-01", rzsm=values)
    both = {"ssm_lstm": np.column_stack([wave, flat]), "ssm_noah": values, "rzsm_lstm": values}
    got, table = comparison.collocate(site, make_products("2016-01-01", **both), flat=0.002)
    for name in ("ssm_lstm", "ssm_noah", "ssm_comb"):
        assert np.isnan(got[name]).all("time").values.tolist() == [False, True], name
    assert not np.isnan(got["rzsm_lstm"]).any()
    assert table["reason"].tolist() == ["", "surface left out: hindcast varies less than 0.002 m3 m-3."]
    kept, _ = comparison.collocate(site, make_products("2016-01-01", **both), flat=0.0)
    assert not np.isnan(kept["ssm_lstm"]).any()


def test_collocation_refuses():
    site, lstm = make_series(np.ones((3, 2)), "2016-01-01"), make_products("2016-01-01", ssm_lstm=np.ones((3, 2)))
    with pytest.raises(ValueError, match="site series: site s1 has no lat"):
        comparison.collocate(site.assign_coords(lat=("site", [40.0, NAN])), lstm)
    with pytest.raises(ValueError, match="products: no coordinate 'lon'"):
        comparison.collocate(site, lstm.drop_vars("lon"))
    with pytest.raises(ValueError, match="products: time must be days at midnight"):
        comparison.collocate(site, lstm.assign_coords(time=lstm["time"] + np.timedelta64(12, "h")))
    with pytest.raises(ValueError, match="hold no in-situ"):
        comparison.collocate(site.drop_vars("ssm_insitu"), lstm)


# Periods and samplings


def test_periods_by_hand():
    days = pd.date_range("2013-01-01", "2018-12-31")
    obs = np.full((days.size, 4), 0.2)
    obs[days < "2013-03-01", 0] = NAN  # begins after the hindcast, ends after AL
    obs[days > "2016-06-30", 1] = NAN  # begins before the hindcast, ends within AL
    obs[days < "2016-01-01", 2] = NAN  # no PL
    obs[days > "2013-01-15", 3] = NAN  # nothing within the hindcast
    lstm = np.where((days < "2013-02-01")[:, None], NAN, np.ones((days.size, 4)))
    got, _ = comparison.collocate(make_series(obs, "2013-01-01"), make_products("2013-01-01", ssm_lstm=lstm))
    for rules, end in (("author-code", "2018-03-31"), ("paper-text", "2017-04-01")):
        table = comparison.periods(got, rules=rules).set_index(["site", "period"])
        spans = table[["start", "end"]].apply(lambda column: column.dt.strftime("%Y-%m-%d"))
        assert spans.loc["s0", "PL"].tolist() == ["2013-03-01", "2015-03-31"]
        assert spans.loc["s0", "AL"].tolist() == ["2015-04-01", end]
        assert spans.loc["s1", "PL"].tolist() == ["2013-02-01", "2015-03-31"]
        assert spans.loc["s1", "AL"].tolist() == ["2015-04-01", "2016-06-30"]
        assert table.loc["s2", "PL"].isna().tolist() == [True, True, False]
        assert table["days"].loc[["s2", "s3"]].loc[:, ["PL"]].tolist() == [0, 0]
        assert table.loc[("s0", "PL"), "days"] == 31 + 30 + 31 + 30 + 31 + 31 + 30 + 31 + 30 + 31 + 365 + 90
        assert table.loc[("s3", "AL"), "days"] == 0
    with pytest.raises(ValueError, match="rules 'mine'"):
        comparison.periods(got, rules="mine")
    with pytest.raises(ValueError, match="rzsm_insitu is not among"):
        comparison.periods(got, "rootzone", rules=RULES)


def test_no_day_is_in_both_periods(world):
    days = {p: comparison.sample(world, "surface", p, rules=RULES, sampling="author").obs for p in comparison.PERIODS}
    times = {p: obs.indexes["time"] for p, obs in days.items()}
    assert times["PL"].max() == pd.Timestamp("2015-03-31") and times["AL"].min() == pd.Timestamp("2015-04-01")


def test_samplings_by_hand():
    # Days from 2015-04-01: in situ 1 1 1 1 0 1, SMAP 1 0 1 0 1 1, Noah 1 1 1 1 1 0, LSTM always.
    def on(pattern):
        return np.where(np.array(pattern)[:, None] > 0, 0.2 + 0.01 * np.arange(6)[:, None], NAN)

    site = make_series(on([1, 1, 1, 1, 0, 1]), "2015-04-01")
    products = {"ssm_smap": on([1, 0, 1, 0, 1, 1]), "ssm_noah": on([1, 1, 1, 1, 1, 0]), "ssm_lstm": on([1] * 6)}
    got, _ = comparison.collocate(site, make_products("2015-04-01", **products))
    n = {}
    for sampling in ("author", "matched"):
        days = comparison.sample(got, "surface", "AL", rules=RULES, sampling=sampling)
        n[sampling] = {name: int((days.obs.notnull() & x.notnull()).sum()) for name, x in days.products.items()}
    assert n["author"] == {"smap": 3, "lstm": 5, "noah": 4, "comb": 4}
    assert n["matched"] == {"smap": 2, "lstm": 2, "noah": 2, "comb": 2}
    # A product without a value at the site binds no other, unless it is SMAP: then no day is matched.
    for name, left in (("ssm_noah", 3), ("ssm_smap", 0)):
        bare, _ = comparison.collocate(site, make_products("2015-04-01", **products | {name: on([0] * 6)}))
        days = comparison.sample(bare, "surface", "AL", rules=RULES, sampling="matched")
        assert int(np.isfinite(days.products["lstm"]).sum()) == left


# Scores


@pytest.fixture(scope="module")
def table(world):
    return comparison.scores(world, **QUICK)


def test_table_of_scores(world, table):
    assert list(table.columns) == comparison.SCORE_COLUMNS
    series = {(p, name) for p, name in zip(table["period"], table["product"], strict=True)}
    assert {tuple(label.split()) for label in comparison.SERIES} < series and ("PL", "smap") not in series
    assert len(table) == 3 * 2 * (6 + 7) * 5 and not table.duplicated(["site", *KEY]).any()
    assert set(table["synthetic"]) == {"true"} and set(table["rules"]) == {RULES}
    # By hand from the definition, at site s1: the days from 2015-04-01 to 2017-12-30, SMAP's last, are 1005, a third
    # of them SMAP's.
    rows = table[(table["site"] == "s1") & (table["period"] == "AL")].set_index(["product", "sampling", "metric"])
    assert rows.loc[("lstm", "author", "bias"), "n"] == 1005
    smap = np.isfinite(world["ssm_smap"].sel(site="s1", time=slice("2015-04-01", "2017-12-30")).to_numpy())
    assert rows.loc[("lstm", "matched", "bias"), "n"] == rows.loc[("smap", "author", "bias"), "n"] == smap.sum()
    data = world.sel(site="s1", time=slice("2015-04-01", "2017-12-30"))
    noah, obs = data["ssm_noah"].to_numpy().astype(float), data["ssm_insitu"].to_numpy().astype(float)
    for sampling, days in (("author", slice(None)), ("matched", smap)):
        error = noah[days] - obs[days]
        expected = {"bias": error.mean(), "rmse": np.sqrt((error**2).mean()), "ubrmse": error.std()}
        expected["pearson_r"] = pearsonr(noah[days], obs[days]).statistic
        for metric, value in expected.items():
            np.testing.assert_allclose(rows.loc[("noah", sampling, metric), "value"], value, rtol=1e-5)
    assert (table["lower"].dropna() <= table["upper"].dropna()).all()


def test_sites_without_a_day_have_rows(table):
    rows = table[(table["site"] == "s2") & (table["period"] == "AL")]
    assert len(rows) == 2 * 7 * 5 and (rows["n"] == 0).all()
    assert rows[["value", "lower", "upper", "start", "end"]].isna().all(axis=None)
    before = table[(table["site"] == "s2") & (table["period"] == "PL") & (table["metric"] == "bias")]
    assert set(before["start"]) == {pd.Timestamp("2013-03-02")} and set(before["end"]) == {pd.Timestamp("2015-01-31")}


def test_anomaly_r_is_blind_to_seasons_and_true_without_error():
    days = np.arange(1000)
    generator = np.random.default_rng(1)
    weather = 0.03 * generator.standard_normal((1000, 2))
    season = 0.08 * np.cos(2 * np.pi * days / 365)[:, None]
    smap = np.where(generator.random((1000, 2)) < 0.4, weather + season + 0.3, NAN)
    noah = 0.03 * generator.standard_normal((1000, 2)) + season + 0.3
    site = make_series(weather + season + 0.3, "2015-04-01")
    got, _ = comparison.collocate(site, make_products("2015-04-01", ssm_smap=smap, ssm_noah=noah))
    rows = comparison.scores(got, sampling=["author"], **QUICK)
    rows = rows[rows["period"] == "AL"].set_index(["product", "metric"]).sort_index()["value"]
    # SMAP without error has R = 1 in spite of its gaps, since the moving means are of the same days.
    np.testing.assert_allclose(rows["smap", "anomaly_r"], 1)
    assert (rows["noah", "pearson_r"] > 0.7).all() and (np.abs(rows["noah", "anomaly_r"]) < 0.12).all()


def test_missing_products_and_order_of_sites(world, table):
    """The real sample has SMAP and LSTM only; a site has its scores wherever it stands."""
    few = comparison.scores(world[["ssm_insitu", "ssm_smap", "ssm_lstm"]], **QUICK)
    assert set(few["product"]) == {"smap", "lstm"}
    shared = ["site", *KEY]
    merged = few[few["sampling"] == "author"].merge(table, on=shared)
    np.testing.assert_array_equal(merged["value_x"], merged["value_y"])
    turned = comparison.scores(world.isel(site=[2, 0, 1]), **QUICK)
    left, right = (x.sort_values(shared).reset_index(drop=True) for x in (turned, table))
    pd.testing.assert_frame_equal(left, right)
    wanted = comparison.differences(world[["ssm_insitu", "ssm_smap", "ssm_lstm"]], sampling="author", **QUICK)
    assert {(a, b) for a, b in zip(wanted["one"], wanted["two"], strict=True)} == {
        ("AL smap", "AL lstm"),
        ("PL lstm", "AL lstm"),
        ("PL lstm", "AL smap"),
    }


def test_nothing_to_score(world):
    nowhere = comparison.scores(world.isel(site=[]), **QUICK)
    assert nowhere.empty and list(nowhere.columns) == comparison.SCORE_COLUMNS
    late = world.assign_coords(time=world["time"] + np.timedelta64(20 * 365, "D"))
    rows = comparison.scores(late, **QUICK)
    assert (rows["n"] == 0).all() and rows["value"].isna().all()
    gone = comparison.differences(late, sampling="matched", **QUICK)
    assert (gone["n"] == 0).all() and gone[["difference", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert (comparison.effect(gone)["n_sites"] == 0).all()
    with pytest.raises(ValueError, match="products \\['era5'\\]"):
        comparison.scores(world, products=["era5"], **QUICK)


def test_seasons_part_the_days(world, table):
    seasons = comparison.seasonal_scores(world, **QUICK)
    assert list(seasons.columns).index("season") == list(seasons.columns).index("period") + 1
    keys = ["site", *KEY]
    whole = table.set_index(keys)["n"].sort_index()
    pd.testing.assert_series_equal(seasons.groupby(keys)["n"].sum().drop("anomaly_r", level="metric"),
                                   whole.drop("anomaly_r", level="metric"))  # fmt: skip
    row = seasons[(seasons["season"] == "JJA") & (seasons["period"] == "AL") & (seasons["site"] == "s0")]
    assert set(row["start"].dt.month) <= {6} and set(row["end"].dt.month) <= {8}


# Differences


def test_difference_is_score_less_score_on_the_same_days(world, table):
    got = comparison.differences(world, sampling="matched", **QUICK)
    assert list(got.columns) == comparison.DIFFERENCE_COLUMNS
    values = table[table["sampling"] == "matched"].set_index(["period", "product", "site", "metric"])
    assert len(got) == len(comparison.PAIRS) * 3 * 5
    for row in got[got["site"] != "s2"].itertuples():
        one, two = (values.loc[(*label.split(), row.site, row.metric)] for label in (row.one, row.two))
        np.testing.assert_allclose(row.difference, one["value"] - two["value"], atol=1e-12)
        assert (row.n, row.n_two) == (one["n"], two["n"])
    assert (got["lower"].dropna() <= got["upper"].dropna()).all()
    # Adjusted over the sites of one comparison: three sites, or two where s2 has no day.
    for _, rows in got.groupby(["one", "two", "metric"]):
        np.testing.assert_allclose(rows["p_adjusted"], metrics.false_discovery(rows["p_value"]))
    by_group = comparison.differences(world, sampling="matched", by="group", **QUICK)
    assert by_group["site"].unique().tolist() == ["g", "h"]
    pair = got[(got["group"] == "g") & (got["two"] == "AL noah")].groupby(["one", "metric"])["difference"].mean()
    groups = by_group[(by_group["site"] == "g") & (by_group["two"] == "AL noah")].set_index(["one", "metric"])
    np.testing.assert_allclose(groups["difference"].sort_index(), pair.sort_index())


def test_author_sampling_pairs_on_common_days_and_periods_on_their_own(world):
    pairs = [("AL smap", "AL noah"), ("PL lstm", "AL smap")]
    got = comparison.differences(world, pairs, sampling="author", **QUICK)
    rows = got[(got["site"] == "s0") & (got["metric"] == "rmse")].set_index("one")
    smap = int(np.isfinite(world["ssm_smap"].sel(site="s0", time=slice(None, "2017-12-31"))).sum())
    assert rows.loc["AL smap", ["n", "n_two"]].tolist() == [smap, smap]
    assert rows.loc["PL lstm", ["n", "n_two"]].tolist() == [365 - 60 + 365 + 90, smap]
    with pytest.raises(ValueError, match="series 'AL modis'"):
        comparison.differences(world, [("AL modis", "AL noah")], sampling="author", **QUICK)


def test_comb_of_identical_products_is_no_better():
    values = 0.2 + 0.03 * np.random.default_rng(0).standard_normal((200, 2))
    same = {"ssm_lstm": values, "ssm_noah": values}
    site = make_series(values + 0.01 * np.sin(np.arange(200))[:, None], "2016-01-01")
    got, _ = comparison.collocate(site, make_products("2016-01-01", **same))
    rows = comparison.differences(got, [("AL comb", "AL noah")], sampling="matched", **QUICK)
    np.testing.assert_allclose(rows["difference"], 0, atol=1e-9)
    assert (rows["p_value"] == 1).all() and (rows["p_adjusted"] == 1).all()


# Tables over sites


def test_site_means_are_plain(table):
    got = comparison.site_means(table)
    assert set(got["site"]) == {"g", "h"} and list(got.columns) == [*table.columns, "n_pixels"]
    row = got[(got["site"] == "g") & (got["product"] == "comb") & (got["period"] == "PL")].set_index(
        ["sampling", "metric"]
    )
    own = table[(table["group"] == "g") & (table["product"] == "comb") & (table["period"] == "PL")]
    np.testing.assert_allclose(
        row["value"].sort_index(), own.groupby(["sampling", "metric"])["value"].mean().sort_index()
    )
    assert (row["n_pixels"] == 2).all()
    empty = got[(got["site"] == "h") & (got["period"] == "AL")]
    assert (empty["n_pixels"] == 0).all() and (empty["n"] == 0).all() and empty["value"].isna().all()


def difference_table(values, groups=None, p=None, **more):
    n = len(values)
    labels = {"quantity": "surface", "one": "AL comb", "two": "AL noah", "metric": "pearson_r"}
    columns = {"site": [f"s{k}" for k in range(n)], "group": groups or [f"s{k}" for k in range(n)]}
    columns |= {"difference": values, "p_adjusted": p if p is not None else [1.0] * n}
    return pd.DataFrame(columns | labels | {"rules": RULES, "sampling": "matched", "synthetic": "false"} | more)


def test_effect_by_hand():
    got = comparison.effect(difference_table([0.1, 0.3, -0.1, NAN], p=[0.01, 0.2, 0.04, NAN])).iloc[0]
    assert (got["n_higher"], got["n_lower"], got["n_sites"], got["n_groups"]) == (2, 1, 3, 3)
    assert (got["n_higher_significant"], got["n_lower_significant"]) == (1, 1)
    np.testing.assert_allclose([got["mean"], got["median"]], [0.1, 0.1])
    # The least and the greatest mean of three draws are those of one site three times; each comes up 1 in 27.
    np.testing.assert_allclose([got["lower"], got["upper"]], [-0.1, 0.3])
    one = comparison.effect(difference_table([0.1, 0.2], groups=["g", "g"])).iloc[0]
    assert one["n_groups"] == 1 and np.isnan([one["lower"], one["upper"]]).all()


def test_effect_draws_groups_and_holds_the_truth():
    generator = np.random.default_rng(0)
    hits = []
    for seed in range(150):
        shared = np.repeat(generator.standard_normal(30), 3)  # pixels of a group are alike
        values = 0.5 + shared + 0.1 * generator.standard_normal(90)
        groups = np.repeat([f"g{k}" for k in range(30)], 3).tolist()
        row = comparison.effect(difference_table(values, groups), n_boot=200, seed=seed).iloc[0]
        hits.append(row["lower"] <= 0.5 <= row["upper"])
    assert 0.86 < np.mean(hits) <= 1  # drawn one by one, the pixels would reach about 0.75


def test_clusters_and_their_means():
    # One degree of latitude is 111.19 km: s0-s1 111 km, s0-s2 333 km, s3 far away.
    places = make_series(np.zeros((1, 4)), "2016-01-01", lat=[40.0, 41.0, 43.0, 30.0], lon=[-100.0] * 4)
    assert len(set(comparison.clusters(places, widest_km=112)[["s0", "s1"]])) == 1
    assert len(set(comparison.clusters(places, widest_km=111)[["s0", "s1"]])) == 2
    number = comparison.clusters(places, widest_km=300)  # s2 is within reach of s1 but not of s0
    assert number["s0"] == number["s1"] != number["s2"]
    number = comparison.clusters(places, widest_km=334)
    assert number["s0"] == number["s1"] == number["s2"] != number["s3"]
    # A degree of longitude at 60 degrees is half as long.
    north = make_series(np.zeros((1, 2)), "2016-01-01", lat=[60.0, 60.0], lon=[179.5, -179.5])
    assert comparison.clusters(north, widest_km=56).max() == 1
    assert comparison.clusters(north, widest_km=55).max() == 2

    labels = {"quantity": "surface", "product": "lstm", "period": "PL", "sampling": "matched", "metric": "rmse"}
    scores = pd.DataFrame({"site": ["s0", "s1", "s2", "s3"], "value": [1.0, 2.0, NAN, 4.0]} | labels)
    got = comparison.cluster_mean(scores, places, widest_km=334).iloc[0]
    assert (got["n_clusters"], got["n_sites"]) == (2, 3)
    np.testing.assert_allclose([got["mean"], got["mean_of_sites"]], [2.75, 7 / 3])
    assert np.isnan(got["lower"])  # two clusters tell nothing of their spread
    got = comparison.cluster_mean(scores.fillna(3.0), places, widest_km=112).iloc[0]
    centre = np.mean([1.5, 3.0, 4.0])
    half = student.ppf(0.975, 2) * np.std([1.5, 3.0, 4.0], ddof=1) / np.sqrt(3)
    np.testing.assert_allclose([got["lower"], got["upper"]], [centre - half, centre + half])
    alone = comparison.cluster_mean(scores, places, widest_km=5000).iloc[0]
    assert alone["n_clusters"] == 1 and np.isnan(alone["lower"])
    with pytest.raises(ValueError, match="lack 1 sites of the table, such as s3"):
        comparison.cluster_mean(scores, places.isel(site=slice(3)))


# Dry spells


def test_drydown_ratio_on_the_same_days():
    generator = np.random.default_rng(2)
    days = pd.date_range("2013-01-01", "2018-03-31")
    rain = np.where(generator.random((days.size, 2)) < 0.12, 1.01 + generator.exponential(8, (days.size, 2)), 0)

    def soil(tau):
        store = np.zeros(rain.shape)
        for day in range(1, days.size):
            store[day] = np.minimum(0.3, store[day - 1] * np.exp(-1 / tau) + 0.006 * rain[day])
        return 0.1 + store

    obs, fast = soil(8.0), soil(4.0)
    obs[:, 1] = NAN
    obs[-30:, 1] = 0.2
    launched = days >= "2015-04-01"
    passes = launched & (np.arange(days.size) % 2 == 0)
    obs[launched & ~passes, 0] = 0.4  # probes between the passes must not count beside SMAP
    products = {"ssm_smap": np.where(passes[:, None], fast, NAN), "ssm_lstm": obs, "precipitation": rain}
    got, _ = comparison.collocate(make_series(obs, "2013-01-01"), make_products("2013-01-01", **products))
    table = comparison.drydown(got, rules=RULES, n_boot=50).set_index(["site", "product", "period"])
    smap, lstm = table.loc[("s0", "smap", "AL")], table.loc[("s0", "lstm", "PL")]
    np.testing.assert_allclose([smap["drydown_days"], smap["insitu_days"], smap["ratio"]], [4, 8, 0.5], rtol=0.05)
    assert smap["ratio_lower"] <= smap["ratio"] <= smap["ratio_upper"] < 0.6
    assert lstm["ratio"] == 1 and lstm["ratio_lower"] == 1 and lstm["n_spells"] > 20
    assert ("s0", "smap", "PL") not in table.index
    few = table.loc[("s1", "lstm", "AL")]
    assert np.isnan(few["ratio"]) and "usable in both; 5 are needed" in few["reason"]
    given = comparison.drydown(got.drop_vars("precipitation"), got["precipitation"][:, ::-1], rules=RULES, n_boot=50)
    np.testing.assert_allclose(given.set_index(["site", "product", "period"])["ratio"], table["ratio"])
    with pytest.raises(ValueError, match="no precipitation"):
        comparison.drydown(got.drop_vars("precipitation"), rules=RULES)
    with pytest.raises(ValueError, match="precipitation lacks 1 sites, such as s1"):
        comparison.drydown(got, got["precipitation"].isel(site=[0]), rules=RULES)
