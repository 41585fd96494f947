"""The simulation experiment: its physics against published values, its budget, its observers and its likeness."""

import json
from importlib import resources
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pymannkendall
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from pyproj import Geod
from scipy.integrate import solve_ivp
from scipy.special import gamma, kv

from smapnb import variables
from smapnb.sources import _twin_observers as observers
from smapnb.sources import _twin_soil as soil
from smapnb.sources import _twin_weather as weather
from smapnb.sources import authors_csv, twin

# Summary statistics of the public 412-pixel sample (github fkwai/geolearn, example/SMAP/data, commit 11e7831):
# SMAP 2015-04..2017-03, forcing 2015-04..2018-03; `test_stated_statistics_are_those_of_the_real_sample` recomputes
# them. Beside each stands how far the twin may be from it.
REAL = {
    "fraction_observed": (0.418, 0.03),
    "ssm_mean": (0.203, 0.02),
    "ssm_std": (0.125, 0.02),
    "ssm_temporal_std": (0.054, 0.008),
    "precipitation_mean": (2.04, 0.3),
    "wet_day_fraction": (0.238, 0.03),
    "wet_day_p95": (28.2, 3.0),
    "wet_day_persistence": (0.297, 0.06),
}
REAL_AUTOCORRELATION = {1: 0.802, 2: 0.678, 3: 0.553, 5: 0.440, 8: 0.374, 16: 0.265, 30: 0.137, 60: 0.012}
COMPARED = slice("2015-04-01", "2018-03-31")


@pytest.fixture(scope="module")
def whole():
    return twin.simulate("2000-01-01", "2018-12-31")


@pytest.fixture(scope="module")
def world():
    return twin.simulate_world("2017-03-31", pixels=60)


def kilometres(dataset):
    x, y = weather.plane_km(dataset.lon.to_numpy(), dataset.lat.to_numpy())
    return np.hypot(x[:, None] - x, y[:, None] - y)


# -- the promise of simulate ---------------------------------------------------------------------------------


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first, again, other = (twin.simulate("2015-03-01", "2015-06-30", 4, seed) for seed in (7, 7, 8))
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)
    assert not np.allclose(first.air_temperature, other.air_temperature, atol=0.1)
    assert not np.allclose(first.sand, other.sand, atol=0.1)


def test_a_pixel_does_not_depend_on_how_many_are_asked_for_nor_on_the_period(whole):
    few = twin.simulate("2015-01-01", "2016-02-29", 3)
    cells = list(zip(whole.row.to_numpy(), whole.col.to_numpy(), strict=True))
    index = [cells.index(cell) for cell in zip(few.row.to_numpy(), few.col.to_numpy(), strict=True)]
    same = whole.isel(pixel=index).sel(time=few.time)
    for name in few.data_vars:
        # float32 sums of waves in another order: a few units in the last place, grown by the soil.
        near = np.isclose(few[name].to_numpy(), same[name].to_numpy(), rtol=2e-3, atol=2e-3, equal_nan=True)
        assert near.mean() > 0.999, name


def test_the_schema_holds_and_no_value_is_out_of_range(whole):
    report = variables.check(whole, "twin")
    assert (report["n_out_of_range"] == 0).all()
    missing = report.index[report["n_missing"] > 0]
    soils = {"sand", "silt", "clay", "bulk_density", "water_capacity"}
    assert set(missing) <= {"ssm_smap", "rzsm_smap"} | soils
    assert set(variables.names("forcing") + variables.names("static")) <= set(whole.data_vars)
    assert whole.attrs["synthetic"] == "true"
    assert "synthetic" in whole.attrs["source"]
    assert whole.ssm_noah.attrs["long_name"] == "Noah-like model's soil moisture, 0-10 cm"
    assert "VIC-like" in whole.rzsm_vic.attrs["long_name"]
    assert 360 <= whole.sizes["pixel"] <= 430
    assert (whole.row % 4 == 3).all()
    assert (whole.col % 4 == 3).all()


@pytest.mark.parametrize(
    ("start", "end", "pixels", "message"),
    [
        ("1999-12-31", "2001-01-01", None, "starts on 1999-12-31"),
        ("2016-01-02", "2016-01-01", None, "before it starts"),
        ("2016-01-01", "2016-01-02", 0, "0 pixels"),
    ],
)
def test_impossible_requests_are_refused_by_name(start, end, pixels, message):
    with pytest.raises(twin.TwinError, match=message):
        twin.simulate(start, end, pixels)


def test_more_pixels_than_there_are_is_all_of_them_and_is_said(caplog):
    every = twin.pixels_of_conus()[0].size
    with caplog.at_level("INFO", logger="smapnb.sources.twin"):
        assert twin.climate_of(5000).cell.size == every
    assert f"5000 pixels asked for, there are {every}" in caplog.text
    np.testing.assert_array_equal(twin.climate_of(5000).cell, twin.climate_of().cell)


def test_the_shipped_states_are_polygons_of_the_right_size():
    text = resources.files("smapnb").joinpath("data/us_states_conus.geojson").read_text(encoding="utf-8")
    shapes = {f["properties"]["name"]: shapely.geometry.shape(f["geometry"]) for f in json.loads(text)["features"]}
    assert len(shapes) == 49
    assert {s.geom_type for s in shapes.values()} == {"Polygon", "MultiPolygon"}
    assert all(s.is_valid for s in shapes.values())
    # Census Bureau: Wyoming 253 335 km2, Colorado 269 601 km2, water included.
    for name, area in (("Wyoming", 253_335), ("Colorado", 269_601)):
        found = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapes[name])[0]) / 1e6
        assert found == pytest.approx(area, rel=0.005), name


# -- physics against published values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sand", "clay", "wilting", "capacity", "porosity", "mm_per_hour"),
    [  # Saxton & Rawls (2006), table 3: texture classes with 2.5 % organic matter
        (88, 5, 5, 10, 46, 108.1),
        (65, 10, 8, 18, 45, 50.3),
        (40, 20, 14, 28, 46, 15.5),
        (20, 15, 11, 31, 48, 16.1),
        (30, 35, 22, 36, 48, 4.3),
        (25, 50, 30, 42, 50, 1.1),
    ],
)
def test_soil_hydraulics_match_the_published_table(sand, clay, wilting, capacity, porosity, mm_per_hour):
    ground = soil.hydraulics(np.array([sand]), np.array([clay]), 2.5)
    found = 100 * np.concatenate([ground.wilting_point, ground.field_capacity, ground.porosity])
    np.testing.assert_allclose(found, [wilting, capacity, porosity], atol=0.8)
    np.testing.assert_allclose(ground.conductivity / 24, mm_per_hour, rtol=0.06)


def test_radiation_and_vapour_match_fao56():
    # FAO-56 example 8: 20 S, 3 September, 32.2 MJ m-2 d-1; table 2.3: 2.338 kPa at 20 C.
    found = weather.extraterrestrial_radiation(np.array([-20.0]), np.array([246.0]))
    np.testing.assert_allclose(found * 0.0864, 32.2, rtol=0.01)
    np.testing.assert_allclose(weather.saturation_pressure(np.array([293.15])) / 10, 2.338, rtol=1e-3)


def test_reference_evaporation_matches_fao56():
    # FAO-56 example 18, Brussels, 6 July: net radiation 13.28 MJ m-2 d-1, 16.9 C, 2.078 m s-1 at 2 m, vapour
    # pressure 1.409 kPa give 3.88 mm d-1. Ours takes saturation at the mean temperature, which the example does not.
    kelvin = 16.9 + 273.15
    pressure = weather.surface_pressure(np.array([100.0])) / 10
    humidity = 0.622 * 1.409 / (pressure - 0.378 * 1.409)
    downward = (13.28 / 0.0864 - 0.77 * 255 + 0.98 * weather.STEFAN_BOLTZMANN * kelvin**4) / 0.98
    day = {
        "air_temperature": np.array([[kelvin]]),
        "specific_humidity": humidity[None, :],
        "wind_u": np.array([[2.078 / 0.748]]),
        "wind_v": np.array([[0.0]]),
        "shortwave_down": np.array([[255.0]]),
        "longwave_down": np.array([[downward]]),
    }
    found = soil.reference_evaporation(day, np.array([100.0]))
    assert 3.88 - 0.25 < found.item() < 3.88


def test_the_waves_have_the_matern_covariance():
    field = weather.Field(300, 1.3, 0.0, modes=4000)
    kx, ky = weather._wave_numbers(field, np.random.default_rng(1))
    distance = np.array([50.0, 150.0, 400.0, 900.0])
    matern = 2 ** (1 - 1.3) / gamma(1.3) * (distance / 300) ** 1.3 * kv(1.3, distance / 300)
    for east, north in ((1, 0), (0, 1), (0.6, -0.8)):
        found = [np.cos(d * (east * kx + north * ky)).mean() for d in distance]
        np.testing.assert_allclose(found, matern, atol=0.04)


def test_evolving_fields_have_unit_variance_and_the_stated_memory():
    lon, lat = np.linspace(-120, -75, 40), np.full(40, 38.0)
    z = weather.evolving_field(lon, lat, 3000, weather.Field(200, 1.0, 0.7), 5, "test")
    assert z.std() == pytest.approx(1, abs=0.05)
    assert np.mean(z[1:] * z[:-1]) == pytest.approx(0.7, abs=0.03)


def test_rain_amounts_have_the_stated_wet_fraction_and_mean():
    latent = np.random.default_rng(3).standard_normal(400_000)
    rain = weather.rain_amount(latent, np.array(0.3), np.array(2.5))
    assert (rain > 0).mean() == pytest.approx(0.3, abs=0.005)
    assert rain.mean() == pytest.approx(2.5, rel=0.03)


def test_drainage_is_the_exact_solution():
    # dS/dt = -K S^m / (porosity z), solved by an independent integrator.
    porosity, size, conductivity, exponent, start = 0.45, 100.0, 300.0, 4.5, 0.40
    theta = np.array([start])
    leaving = soil._drain(theta, np.array([size]), np.array([False]), porosity, conductivity, exponent)
    right = lambda _, s: -conductivity / (porosity * size) * s ** (2 * exponent + 3)  # noqa: E731
    exact = solve_ivp(right, (0, 1), [start / porosity], rtol=1e-10, atol=1e-12, method="LSODA").y[0, -1]
    assert theta[0] / porosity == pytest.approx(exact, rel=1e-6)
    assert leaving == pytest.approx((start - theta[0]) * size, rel=1e-12)


def test_implicit_diffusion_solves_its_linear_system():
    x, size = np.array([1.0, 5.0, 2.0, 7.0]), np.array([10.0, 20.0, 40.0, 30.0])
    between, top, bottom = np.array([3.0, 8.0, 0.5]), 2.0, 0.7
    matrix = np.diag(size)
    for i, c in enumerate(between):
        matrix[i : i + 2, i : i + 2] += c * np.array([[1, -1], [-1, 1]])
    matrix[0, 0] += top
    matrix[-1, -1] += bottom
    right = size * x + np.array([top * 11.0, 0, 0, bottom * -4.0])
    soil._implicit_diffusion(x, size, between, top, 11.0, bottom, -4.0)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, right), rtol=1e-12)


# -- the water budget ----------------------------------------------------------------------------------------


def budget_error(balance, precipitation):
    """Largest daily error of the budget, mm; the first day is left out as its beginning is not stored."""
    store = balance.moisture @ balance.thickness + balance.snow
    change = np.diff(store, axis=1)
    return np.abs(change + balance.flux[:, 1:].sum(axis=-1) - precipitation.T[:, 1:].astype(float)).max()


def test_the_water_budget_of_the_truth_closes_to_rounding(world):
    assert budget_error(world.truth, world.true_weather["precipitation"]) < 1e-9
    assert (world.truth.flux >= 0).all()


def test_true_moisture_stays_between_residual_and_porosity(world):
    moisture = world.truth.moisture
    assert (moisture >= world.ground.soil.residual[:, None, None] - 1e-12).all()
    assert (moisture <= world.ground.soil.porosity[:, None, None] + 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sand=st.floats(5, 92),
    clay=st.floats(4, 58),
    rain=st.floats(0, 200),
    warmth=st.floats(245, 310),
    cover=st.floats(0, 1),
    thin=st.floats(5, 300),
)
def test_any_soil_under_any_weather_closes_its_budget(seed, sand, clay, rain, warmth, cover, thin):
    rng = np.random.default_rng(seed)
    shape = (80, 1)
    day = {
        "precipitation": rain * rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.3),
        "air_temperature": warmth + 8 * rng.standard_normal(shape),
    }
    ground = soil.hydraulics(np.array([sand]), np.array([min(clay, 96 - sand)]))
    thickness = np.array([thin, 100.0, 600.0])
    balance = soil.water_balance(
        day,
        rng.uniform(0, 12, shape),
        np.full(shape, cover),
        ground,
        thickness,
        deep_temperature=np.array([warmth]),
        roots=soil.root_shares(thickness, np.array([0.96])),
        skin=np.array([1.0, 0.0, 0.0]),
    )
    assert budget_error(balance, day["precipitation"]) < 1e-9
    assert (balance.flux >= 0).all()
    assert (balance.moisture >= ground.residual.item() - 1e-9).all()
    assert (balance.moisture <= ground.porosity.item() + 1e-9).all()


# -- weather and land ----------------------------------------------------------------------------------------


def test_humidity_stays_below_saturation(whole):
    temperature = whole.air_temperature.to_numpy().astype(float)
    elevation = twin.climate_of().elevation
    saturation = weather.saturation_pressure(temperature)
    limit = 0.622 * saturation / (weather.surface_pressure(elevation) - 0.378 * saturation)
    assert (whole.specific_humidity.to_numpy() < limit).all()
    assert (whole.specific_humidity > 0).all()


def test_texture_sums_to_100(whole):
    total = (whole.sand + whole.silt + whole.clay).to_numpy()
    np.testing.assert_allclose(total[np.isfinite(total)], 100, atol=1e-3)
    assert np.isnan(total).mean() < 0.02


def test_rain_is_less_alike_the_further_apart(whole):
    rain = whole.precipitation.sel(time=COMPARED).to_numpy()
    likeness, distance = np.corrcoef(rain.T), kilometres(whole)
    edges = (50, 180, 300, 500, 800, 1200, 2000)
    mean = [likeness[(distance > a) & (distance <= b)].mean() for a, b in pairwise(edges)]
    assert all(np.diff(mean) < 0)
    assert mean[0] > 0.5
    assert mean[-1] < 0.1


def test_seasons_have_the_right_sign(whole):
    monthly = whole[["air_temperature", "precipitation", "ssm_truth"]].groupby("time.month").mean()
    summer, winter = (monthly.sel(month=list(months)).mean("month") for months in ((6, 7, 8), (12, 1, 2)))
    assert ((summer - winter).air_temperature > 5).all()
    east, pacific = whole.lon.to_numpy() > -95, whole.lon.to_numpy() < -121
    southwest = (np.abs(whole.lon + 109) < 3).to_numpy() & (whole.lat < 34).to_numpy()
    plains = (np.abs(whole.lon + 98) < 3).to_numpy()
    difference = (summer - winter).to_array().to_numpy()  # variable, pixel
    assert np.mean(difference[2, east]) < -0.02
    assert np.mean(difference[1, pacific]) < -0.5
    assert np.mean(difference[1, southwest]) > 0.2
    assert np.mean(difference[1, plains]) > 0.5


def test_some_root_zones_have_a_significant_trend_and_the_others_do_not(whole):
    annual = whole.rzsm_truth.groupby("time.year").mean().to_numpy()
    tests = [pymannkendall.original_test(series) for series in annual.T]
    significant = np.array([t.p < 0.05 for t in tests])
    slopes = np.array([t.slope for t in tests])
    climate = twin.climate_of()
    without, strong = climate.precipitation_trend == 0, np.abs(climate.precipitation_trend) > 0.12
    assert min(without.sum(), strong.sum()) > 40
    assert significant[strong].mean() > 0.35
    assert significant[without].mean() < 0.15
    agree = np.sign(slopes[strong & significant]) == np.sign(climate.precipitation_trend[strong & significant])
    assert agree.mean() > 0.9
    assert {1.0, -1.0} <= set(np.sign(slopes[significant]))


# -- observers -----------------------------------------------------------------------------------------------


def test_nothing_is_observed_before_the_launch(whole):
    before, after = whole.sel(time=slice(None, "2015-03-30")), whole.sel(time=slice("2015-03-31", None))
    assert np.isnan(before.ssm_smap).all()
    assert np.isnan(before.rzsm_smap).all()
    assert np.isfinite(after.rzsm_smap).all()
    assert np.isfinite(after.ssm_smap).any()


def test_no_surface_moisture_over_frozen_ground_or_snow(whole):
    top = whole.soil_temperature.isel(depth=0)
    cold = (top < 273.14) | (whole.snow_water_equivalent > 1.001)
    assert cold.sel(time=COMPARED).mean() > 0.05
    assert np.isnan(whole.ssm_smap.where(cold)).all()


def test_the_swath_repeats_after_eight_days_and_returns_within_three():
    time = pd.date_range("2016-01-01", periods=64)
    lat = np.repeat(np.arange(25.0, 50.0, 1.0), 50)
    lon = np.tile(np.linspace(-124, -67, 50), 25)
    seen = observers.overpass(lon, lat, time)
    np.testing.assert_array_equal(seen[8:], seen[:-8])
    # A swath of 1000 km of orbits 24.6 degrees apart covers this much of a parallel in a day (AM passes only).
    spacing = 360 / 14.625 * 111.2 * np.cos(np.deg2rad(lat))
    assert seen.mean() == pytest.approx((2 * observers.SWATH_HALF_WIDTH / spacing).mean(), rel=0.08)
    gaps = [np.diff(np.flatnonzero(column)).max() for column in seen.T]
    assert max(gaps) <= 3


@pytest.fixture(scope="module")
def retrieval(world):
    return observers.smap_surface(world.place, world.ground, world.truth, world.cover, world.time, 2019)


def test_noise_is_larger_under_dense_vegetation(world, retrieval):
    low, high = observers.VALID_RANGE
    error = retrieval.observed - retrieval.biased
    # Where clipping is more than five standard deviations away, the error is the noise alone.
    margin = 5 * retrieval.noise
    clear = (retrieval.biased > low + margin) & (retrieval.biased < high - margin) & np.isfinite(error)
    dense = world.ground.statics["dense_vegetation"] > 0.5
    spread = [error[:, group][clear[:, group]].std() for group in (dense, ~dense)]
    assert spread[0] > 1.5 * spread[1]
    assert 0.01 < spread[1] < spread[0] < 0.06
    scaled = (error / retrieval.noise)[clear]
    assert scaled.mean() == pytest.approx(0, abs=4 / np.sqrt(scaled.size))
    assert scaled.std() == pytest.approx(1, abs=0.03)


def test_the_sensed_layer_is_shallower_than_the_truth(world, retrieval):
    layers = [world.truth.layer_mean(a, b) for a, b in ((0, 2), (2, 5), (5, 10))]
    assert (retrieval.sensed >= np.min(layers, axis=0) - 1e-9).all()
    assert (retrieval.sensed <= np.max(layers, axis=0) + 1e-9).all()
    # Wet soil: almost all from the uppermost 2 cm.
    wet = world.truth.layer_mean(0, 5) > 0.33
    assert wet.any()
    share = (retrieval.sensed - layers[1])[wet] / (layers[0] - layers[1])[wet]
    assert np.median(share) > 0.7


def test_smap_stays_in_its_valid_range(whole):
    assert float(whole.ssm_smap.min()) >= np.float32(0.02)
    assert float(whole.ssm_smap.max()) <= np.float32(0.50)


def test_land_models_share_their_forcing_error_and_differ_in_their_bias(whole):
    errors = {m: (whole[f"ssm_{m}"] - whole.ssm_truth).to_numpy() for m in ("noah", "vic")}
    assert errors["vic"].mean() - errors["noah"].mean() > 0.02
    first, second = (e - e.mean(axis=0) for e in errors.values())
    together = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
    assert 0.2 < together < 0.95
    for name, model in (("noah", errors["noah"]), ("vic", errors["vic"])):
        assert 0.005 < model.std(axis=0).mean() < 0.06, name


def test_the_observed_forcing_is_wrong_but_unbiased(world):
    true, observed = (w["precipitation"].astype(float) for w in (world.true_weather, world.observed_weather))
    daily = [np.corrcoef(true[:, p], observed[:, p])[0, 1] for p in range(true.shape[1])]
    assert 0.6 < np.median(daily) < 0.97
    assert observed.mean() == pytest.approx(true.mean(), rel=0.02)


def test_the_root_zone_product_is_smooth_and_imperfect(whole):
    al = whole.sel(time=slice("2015-03-31", None))
    estimate, truth = al.rzsm_smap.to_numpy(), al.rzsm_truth.to_numpy()
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(estimate.T, truth.T, strict=True)]
    assert 0.85 < np.median(r) < 0.995
    assert np.sqrt(np.mean((estimate - truth) ** 2)) > 0.01


# -- likeness ------------------------------------------------------------------------------------------------


def test_the_twin_is_like_the_real_sample(whole):
    found = twin.realism(whole.sel(time=COMPARED))
    for name, (value, margin) in REAL.items():
        assert float(found[name]) == pytest.approx(value, abs=margin), name
    for lag, value in REAL_AUTOCORRELATION.items():
        assert float(found.ssm_autocorrelation.sel(lag=lag)) == pytest.approx(value, abs=0.07), lag
    assert float((found.ssm_histogram * 0.02).sum()) == pytest.approx(1)
    assert found.attrs["synthetic"] == "true"


@pytest.mark.data
def test_stated_statistics_are_those_of_the_real_sample(data_root):
    found = twin.realism(authors_csv.open_sample(data_root / "conus412").load())
    # Stated for the sample with SMAP's second year open for half of the pixels; the whole differs by a little.
    for name, (value, _) in REAL.items():
        assert float(found[name]) == pytest.approx(value, rel=0.02), name
    for lag, value in REAL_AUTOCORRELATION.items():
        assert float(found.ssm_autocorrelation.sel(lag=lag)) == pytest.approx(value, abs=0.015), lag
    # counted in the files: 42.1 % of pixel-days in the first year, 41.2 % in the second
    assert 0.412 < float(found.fraction_observed) < 0.421


def test_realism_by_hand():
    time = pd.date_range("2015-04-01", "2017-03-31")
    rain = np.zeros((len(time), 2))
    rain[::2] = 4.0
    ssm = np.full((len(time), 2), np.nan)
    ssm[::2, 0] = np.tile([0.1, 0.3], len(time))[: len(ssm[::2])]
    ssm[:366:4, 1] = 0.25  # the second year of this pixel is held back
    dims = ("time", "pixel")
    data = xr.Dataset({"ssm_smap": (dims, ssm), "precipitation": (dims, rain)}, coords={"time": time})
    found = twin.realism(data)
    assert float(found.wet_day_fraction) == pytest.approx(366 / 731)
    assert float(found.wet_day_p95) == 4.0
    assert float(found.wet_day_persistence) == pytest.approx(-1, abs=0.01)
    assert float(found.fraction_observed) == pytest.approx((366 + 92) / (366 + 366 + 365))
    assert float(found.ssm_autocorrelation.sel(lag=2)) == pytest.approx(-1, abs=0.01)
    assert np.isnan(found.ssm_autocorrelation.sel(lag=1))
    with pytest.raises(twin.TwinError, match="no observation"):
        twin.realism(data.assign(ssm_smap=data.ssm_smap * np.nan))
