"""The twin's stations: where they stand, what they see of the truth, and what is wrong with their readings."""

from itertools import pairwise
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from scipy.special import kv
from scipy.stats import linregress

from smapnb import variables
from smapnb.grid import EaseGrid, project
from smapnb.sources import _twin_land as land
from smapnb.sources import _twin_probes as probes
from smapnb.sources import _twin_sites as sites
from smapnb.sources import _twin_stations as network
from smapnb.sources import _twin_subpixel as subpixel
from smapnb.sources import twin
from smapnb.sources._twin_states import states

FINE_KM = 36032.220840584 / 12 / 1000
ROOT_ZONE = {"1602", "1603", "1604", "1607", "4801"}
# Surface pixels by site, as listed in the first author's published scripts (github fkwai/MatlabScripts).
REFERENCE_PIXELS = {
    "0401": {"04013602"},
    "0901": {"09013601", "09013610"},
    "1601": {"16013604", "16013603"},
    "1602": {"16023603", "16023602"},
    "1603": {"16033603", "16033604", "16033602"},
    "1604": {"16043603", "16043604", "16043602"},
    "1606": {"16063603", "16063602"},
    "1607": {"16073603", "16073602"},
    "4801": {"48013601"},
}


@pytest.fixture(scope="module")
def small():
    return twin.stations("2013-01-01", "2017-12-31", 12, core_sites=3, crn_sites=12)


@pytest.fixture(scope="module")
def cube():
    return twin.simulate("2013-01-01", "2017-12-31", 12)


@pytest.fixture(scope="module")
def whole():
    """Plan of the whole twin, with the centres of its pixels."""
    _, _, lon, lat = twin.pixels_of_conus()
    return SimpleNamespace(plan=sites.plan(lon, lat, 9, 110, 2019), lon=lon, lat=lat)


def place(**changes):
    """A station that stands since 2000, with one probe at 5 cm."""
    values = {"name": "test", "position": 0, "lon": -98.0, "lat": 38.0, "depths": (5.0,), "probes": 1}
    return sites.Place(**(values | {"first": pd.Timestamp("2000-01-01")} | changes))


def nearest(cube, lon, lat):
    """Number of the pixel that is nearest by |dlat| + |dlon|."""
    return int(np.argmin(np.abs(cube.lon.to_numpy() - float(lon)) + np.abs(cube.lat.to_numpy() - float(lat))))


def departure_of_pixel(boxes=(), n_days=40, seed=3):
    """Departures at the centres of all 3-km cells of a pixel, given as places; its number and cells."""
    row, col = 75, 211
    rows, cols = (axis.ravel() for axis in np.mgrid[row * 12 : row * 12 + 12, col * 12 : col * 12 + 12])
    cell = row * EaseGrid(36).shape[1] + col
    return subpixel.Departure(cell, *EaseGrid(3).center(rows, cols), boxes, n_days, seed), row * 12, col * 12


# -- the promise of stations ---------------------------------------------------------------------------------


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    asked = {"start": "2010-01-01", "end": "2010-12-31", "pixels": 4, "core_sites": 1, "crn_sites": 10}
    first, again, other = (twin.stations(**asked, seed=seed) for seed in (7, 7, 8))
    for group, dataset in first.items():
        assert dataset.drop_attrs().identical(again[group].drop_attrs()), group
    for name in network.VARIABLES:
        assert np.isfinite(first["crn"][name]).mean() > 0.2
        assert not np.array_equal(first["crn"][name], other["crn"][name], equal_nan=True)
    assert not np.allclose(first["crn"].lat, other["crn"].lat)


def test_a_day_does_not_depend_on_the_period(small):
    early = twin.stations("2013-06-01", "2014-06-30", 12, core_sites=3, crn_sites=12)
    for group, names in (("crn", network.VARIABLES), ("core", network.VARIABLES), ("truth", ("rzsm_truth",))):
        for name in names:
            found, same = early[group][name], small[group][name].sel(time=early[group].time)
            np.testing.assert_allclose(found, same, rtol=1e-4, atol=1.1e-3, err_msg=f"{group} {name}")


def test_a_pixel_does_not_depend_on_which_others_are_simulated():
    every = twin.simulate_world("2002-12-31", 12)
    few = twin.simulate_world("2002-12-31", 12, positions=np.array([3, 8]))
    np.testing.assert_array_equal(few.place.cell, every.place.cell[[3, 8]])
    assert few.truth.moisture.shape[0] == 2
    for name in ("moisture", "temperature"):
        near = np.isclose(getattr(few.truth, name), getattr(every.truth, name)[[3, 8]], rtol=2e-3, atol=2e-3)
        assert near.mean() > 0.999, name


def test_every_group_obeys_the_table_and_says_that_it_is_synthetic(small):
    assert list(small) == ["crn", "core", "reference_pixels", "truth"]
    for name, dataset in small.items():
        report = variables.check(dataset, name)
        assert report.empty or (report["n_out_of_range"] == 0).all()
        assert {"source", "synthetic", "provenance", "day", "created", "smapnb_version"} <= set(dataset.attrs)
        assert dataset.attrs["synthetic"] == "true"
        assert dataset.attrs["provenance"] == "synthetic"
        assert dataset.attrs["day"] == "UTC day"
        assert "synthetic" in dataset.attrs["source"]
        assert all("synthetic" in array.attrs["long_name"] for array in dataset.data_vars.values())


def test_the_small_case_has_what_was_asked_for(small):
    crn, core, boxes, truth = small.values()
    assert crn.soil_moisture.dims == ("time", "site", "depth", "probe")
    assert crn.soil_moisture.shape == (1826, 12, 5, 3)
    np.testing.assert_array_equal(crn.depth, [5, 10, 20, 50, 100])
    assert all(len(site) == 5 and site.startswith("9") for site in crn.site.to_numpy())
    assert all(name.split()[0] == "Twin" and name.split()[1] in states() for name in crn.name.to_numpy())
    assert crn.coastal.dtype == bool
    assert crn.coastal.sum() == 1
    assert core.soil_moisture.dims == ("time", "station", "depth")
    assert sorted(set(core.site.to_numpy())) == ["0901", "1602", "1607"]
    np.testing.assert_array_equal(core.depth, [5, 15, 25, 30, 45])
    assert all(s.startswith(f"{site}/") for s, site in zip(core.station.to_numpy(), core.site.to_numpy(), strict=True))
    np.testing.assert_array_equal(truth.reference_pixel, boxes.reference_pixel)
    assert truth.soil_moisture_truth.dims == ("time", "reference_pixel", "depth")
    for dataset in (crn, core):
        seen = np.isfinite(dataset.soil_moisture).any("time")
        assert (seen.any("probe") if "probe" in seen.dims else seen).isel(depth=0).sum() > 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"core_sites": 10}, "10 dense sites"),
        ({"crn_sites": 1000}, "1000 CRN-like sites"),
        ({"core_sites": 0, "crn_sites": 0}, "no site"),
        ({"start": "1999-12-31"}, "starts on 1999-12-31"),
        ({"start": "2016-02-01"}, "before it starts"),
        ({"pixels": 0}, "0 pixels"),
    ],
)
def test_impossible_requests_are_refused_by_name(changes, message):
    asked = {"start": "2016-01-01", "end": "2016-01-02", "pixels": 4, "core_sites": 1, "crn_sites": 2} | changes
    with pytest.raises(twin.TwinError, match=message):
        twin.stations(**asked)


def test_a_group_without_sites_is_left_out():
    asked = {"start": "2001-01-01", "end": "2001-01-31", "pixels": 2}
    assert list(twin.stations(**asked, core_sites=0, crn_sites=2)) == ["crn"]
    assert list(twin.stations(**asked, core_sites=1, crn_sites=0)) == ["core", "reference_pixels", "truth"]


# -- where they stand ----------------------------------------------------------------------------------------


def test_nine_dense_sites_with_their_numbers_depths_and_reference_pixels(whole):
    stations = {site.site: [p for s, p in whole.plan.core if s is site] for site, _ in whole.plan.core}
    assert set(stations) == set(REFERENCE_PIXELS)
    assert all(6 <= len(places) <= 20 for places in stations.values())
    assert len({len(places) for places in stations.values()}) > 3
    for site, places in stations.items():
        assert len(places[0].depths) == (3 if site in ROOT_ZONE else 1)
        assert places[0].depths[0] == 5.0
    assert {s.depths for s, _ in whole.plan.core if s.site in ROOT_ZONE} == {(5.0, 15.0, 30.0), (5.0, 25.0, 45.0)}
    found = {site: {box.name for box in whole.plan.boxes if box.site.site == site} for site in stations}
    assert found == REFERENCE_PIXELS


def test_each_dense_site_is_near_the_real_one_and_alone_in_its_pixel(whole):
    pixels = {box.site.site: box.position for box in whole.plan.boxes}
    assert len(set(pixels.values())) == 9
    for site in sites.CORE_SITES:
        chosen = whole.plan.positions[pixels[site.site]]
        # Pixels are 144 km apart; Carman lies north of all of them, and two neighbours may not share one.
        assert abs(whole.lat[chosen] - site.lat) < 1.5, site.name
        assert abs(whole.lon[chosen] - site.lon) < 1.6, site.name


def test_sites_share_a_pixel_only_when_there_are_too_few():
    taken = sites.nearest_pixels(sites.CORE_SITES, np.array([-98.0, -110.0]), np.array([35.0, 32.0]))
    assert sorted(np.bincount(list(taken.values()))) == [4, 5]


def test_reference_pixels_are_shifted_by_whole_cells_and_overlap(whole):
    for site in sites.CORE_SITES:
        boxes = [box for box in whole.plan.boxes if box.site is site]
        first = np.array(sites.box_bounds(boxes[0].row, boxes[0].col))
        centre = whole.plan.positions[boxes[0].position]
        own = EaseGrid(36).bounds(*EaseGrid(36).cell(whole.lon[centre], whole.lat[centre]))
        np.testing.assert_allclose(first, own, atol=1e-6)
        for box in boxes[1:]:
            bounds = np.array(sites.box_bounds(box.row, box.col))
            assert bounds[2] - bounds[0] == pytest.approx(36032.220840584, abs=1e-3)
            shift = (bounds - first) / 1000 / FINE_KM
            np.testing.assert_allclose(shift, shift.round(), atol=1e-6)
        for one, two in ((a, b) for a in boxes for b in boxes if a is not b):
            assert max(abs(one.row - two.row), abs(one.col - two.col)) < 12
            assert (one.row, one.col) != (two.row, two.col)


def test_stations_lie_irregularly_over_all_boxes_of_their_site(whole):
    for site in sites.CORE_SITES:
        places = [p for s, p in whole.plan.core if s is site]
        x, y = project([p.lon for p in places], [p.lat for p in places])
        bounds = np.array([sites.box_bounds(b.row, b.col) for b in whole.plan.boxes if b.site is site])[:, :, None]
        inside = (x > bounds[:, 0]) & (x < bounds[:, 2]) & (y > bounds[:, 1]) & (y < bounds[:, 3])
        assert inside.any(axis=0).all(), site.name
        assert (inside.sum(axis=1) >= 2).all(), site.name
        assert np.unique(x.round()).size == len(places)
    # Clumped: the nearest neighbour is closer than among points thrown evenly, 0.5 / sqrt(density) (Clark & Evans).
    ratios = []
    for site in sites.CORE_SITES:
        places = [p for s, p in whole.plan.core if s is site]
        x, y = project([p.lon for p in places], [p.lat for p in places])
        apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.diag(np.full(x.size, np.inf))
        ratios.append(apart.min(axis=1).mean() / (0.5 * np.sqrt(36e3**2 / x.size)))
    assert np.mean(ratios) < 0.95


def test_the_sparse_network_is_dense_in_the_east_and_clustered(whole):
    plan = whole.plan
    assert len(plan.crn) == 110
    assert [p.name for p in plan.crn] == [str(90001 + i) for i in range(110)]
    assert sum(len(p.depths) == 2 for p in plan.crn) == 22
    assert all(p.probes == 3 for p in plan.crn)
    lon, lat = (np.array([getattr(p, name) for p in plan.crn]) for name in ("lon", "lat"))
    east = whole.lon > -100
    rate = [(lon > -100).sum() / east.sum(), (lon <= -100).sum() / (~east).sum()]
    assert rate[0] > 1.4 * rate[1]
    x, y = (np.deg2rad(lon) * np.cos(np.deg2rad(38)) * 6371, np.deg2rad(lat) * 6371)
    apart = np.hypot(x[:, None] - x, y[:, None] - y)
    others = [(row < 350).sum() - 1 for row in apart]
    assert np.std(others) > 1.5 * np.sqrt(np.mean(others)) / 1.5  # spread of a count above that of chance alone
    assert max(others) > 2 * np.mean(others)


def test_some_sites_lie_off_the_grid_and_every_site_belongs_to_its_nearest_pixel(whole):
    off = 0
    for p in whole.plan.crn:
        far = np.abs(whole.lon - p.lon) + np.abs(whole.lat - p.lat)
        assert far.argmin() == whole.plan.positions[p.position], p.name
        assert not 0.45 < far.min() < 0.55
        off += far.min() > 0.5
    assert off == 4


def test_about_ten_sites_are_coastal(whole):
    place_of = twin.climate_of(positions=whole.plan.positions)
    water = land.land(place_of, 2019).statics["water_fraction"]
    positions = [p.position for p in whole.plan.crn]
    flags = network.coastal(water, positions)
    assert flags.sum() == 10
    assert water[positions][flags].min() >= water[positions][~flags].max()
    assert water[positions][flags].min() > 0.01


def test_days_vary_so_that_every_rule_of_exclusion_acts(whole):
    launch = pd.Timestamp("2015-03-31")
    begins = pd.Series([p.first for p in whole.plan.crn])
    late = begins > launch - pd.DateOffset(years=1)
    assert 3 <= late.sum() <= 10
    assert begins[~late].between("2009-01-01", "2011-12-31").all()
    assert begins[~late].nunique() > 70
    deep = [p for p in whole.plan.crn if p.last_deep < launch]
    assert 3 <= len(deep) <= 10
    for p in deep:
        assert (p.last_deep - p.first) / (launch - p.first) < 0.5
        assert len(p.depths) == 5
    core = pd.Series([p.first for _, p in whole.plan.core])
    assert core.between("2002-01-01", "2014-12-31").all()
    assert core.dt.year.nunique() > 6
    assert 2 <= sum(p.last < pd.Timestamp("2018-01-01") for _, p in whole.plan.core) <= 30


# -- moisture within a pixel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2.5, 5.0, 25.0, 100.0])
def test_the_mean_of_the_pixel_is_kept(depth):
    departure, _, _ = departure_of_pixel()
    found = departure.at(depth)[0].astype(float)
    assert found.std() > 0.2
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    mean = np.linspace(0.05, 0.40, len(found))[:, None]
    np.testing.assert_allclose(subpixel.depart(mean, found, 0.45).mean(axis=1), mean[:, 0], atol=1e-6)


def test_the_truth_of_a_shifted_box_is_the_mean_over_its_own_cells():
    site = sites.CORE_SITES[0]
    _, row, col = departure_of_pixel()
    box = sites.Box("x", site, 0, row + 4, col - 5)
    rows, cols = (axis.ravel() for axis in np.mgrid[box.row : box.row + 12, box.col : box.col + 12])
    cell = row // 12 * EaseGrid(36).shape[1] + col // 12
    departure = subpixel.Departure(cell, *EaseGrid(3).center(rows, cols), [box], 40, 3)
    places, boxes = departure.at(15.0)
    np.testing.assert_allclose(boxes[:, 0], places.mean(axis=1), atol=1e-6)
    assert np.abs(boxes).max() > 0.02


def test_the_first_box_has_the_truth_of_its_pixel(small, cube):
    boxes = small["reference_pixels"]
    for site in ("0901", "1602", "1607"):
        first = next(box for s in sites.CORE_SITES for box in s.pixels if s.site == site)
        lon, lat = (float(boxes[name].sel(reference_pixel=first)) for name in ("lon", "lat"))
        pixel = nearest(cube, lon, lat)
        assert float(np.abs(cube.lon - lon)[pixel]) < 1e-6
        for name in ("ssm_truth", "rzsm_truth"):
            found, same = small["truth"][name].sel(reference_pixel=first), cube[name].isel(pixel=pixel)
            near = np.isclose(found, same, atol=1e-4)
            assert near.mean() > 0.999, (site, name)
    others = small["truth"].ssm_truth.diff("reference_pixel")
    assert float(np.abs(others).max()) > 0.005


def test_a_probe_senses_the_soil_around_it_down_to_the_bottom():
    world = twin.simulate_world("2000-12-31", 1)
    _, _, lon, lat = (v[twin._choose(1, v.size)] for v in twin.pixels_of_conus())
    plan = sites.plan(lon, lat, 1, 1, 2019)
    ground = network.Ground(world, plan, twin.LAYERS_CM, 2019)
    for what, mean in (("moisture", world.truth.layer_mean), ("temperature", world.truth.layer_temperature)):
        for depth, slab in {5.0: (2.5, 7.5), 45.0: (42.5, 47.5), 100.0: (97.5, 100)}.items():
            np.testing.assert_array_equal(ground.sensed(what, depth, 0), mean(*slab)[:, 0])
    places, boxes = next(iter(ground.by_pixel()))
    assert ground.core_depths == [5.0, 25.0, 45.0]
    # The first box is the pixel itself: what the boxes are told is the mean of the pixel at each depth.
    found = boxes[0][1]["soil_moisture_truth"]
    for column, slab in enumerate(((2.5, 7.5), (22.5, 27.5), (42.5, 47.5))):
        np.testing.assert_allclose(found[:, column], world.truth.layer_mean(*slab)[:, 0], atol=1e-6)
    for place_, moisture in places:
        assert moisture.shape == (len(world.time), len(place_.depths))
        for column, depth in enumerate(place_.depths):
            likeness = np.corrcoef(moisture[:, column], ground.sensed("moisture", depth, 0))[0, 1]
            assert likeness > 0.3, (place_.name, depth)
        warm = ground.liquid(place_, moisture)[1] - ground.sensed("temperature", 5.0, 0)[:, None]
        assert np.ptp(warm[:, 0]) < 1e-9


def test_what_differs_within_a_cell_of_3_km_has_the_stated_size():
    found = np.concatenate([subpixel.nugget(5, 2019, f"test {i}") for i in range(400)])
    # The standard deviation of 0.3 tanh(n / 2) for a normal n, by Gauss-Hermite quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    expected = 0.3 * np.sqrt(np.average(np.tanh(nodes / 2) ** 2, weights=weights))
    assert found.std() == pytest.approx(expected, rel=0.05)
    assert abs(found.mean()) < 4 * expected / np.sqrt(found.size)
    warmth = [probes.warmth(place(name=f"test {i}"), 2019) for i in range(400)]
    assert np.std(warmth) == pytest.approx(0.8, rel=0.15)


def test_the_field_has_the_stated_correlation_length():
    # The semivariogram 1 - C(r) of a field does not change when a constant is taken from the field.
    along = np.arange(0, 36.0, 3.0)
    x, y = (axis.ravel() for axis in np.meshgrid(along, along))
    fields = np.array([subpixel._static(x, y, seed, "test") for seed in range(600)]).reshape(600, 12, 12)
    for lag in (1, 2, 3, 5, 8):
        apart = lag * 3.0 / subpixel.LENGTH_KM
        expected = 1 - apart * kv(1, apart)
        found = (
            np.mean(
                [
                    (fields[:, :, lag:] - fields[:, :, :-lag]) ** 2,
                    (fields[:, lag:] - fields[:, :-lag]).swapaxes(1, 2) ** 2,
                ]
            )
            / 2
        )
        assert found == pytest.approx(expected, abs=0.05), lag
    assert 9.1 / subpixel.LENGTH_KM * kv(1, 9.1 / subpixel.LENGTH_KM) == pytest.approx(np.exp(-1), abs=0.005)


def test_the_evolving_part_forgets_in_days():
    x, y = np.meshgrid(np.arange(0, 36.0, 3.0), np.arange(0, 36.0, 3.0))
    z = subpixel._evolving(x.ravel(), y.ravel(), 6000, 0.9, 1, "test")
    assert np.mean(z[1:] * z[:-1]) / np.mean(z**2) == pytest.approx(0.9, abs=0.01)
    assert np.mean(z[20:] * z[:-20]) / np.mean(z**2) == pytest.approx(0.9**20, abs=0.05)
    # Unit variance less the variance of the pixel's mean, which is the mean of the covariance over all pairs.
    apart = np.hypot(x.ravel()[:, None] - x.ravel(), y.ravel()[:, None] - y.ravel()) / subpixel.LENGTH_KM
    inner = np.where(apart > 0, apart * kv(1, np.maximum(apart, 1e-9)), 1.0)
    assert z.var() == pytest.approx(1 - inner.mean(), abs=0.08)


@pytest.mark.parametrize(("depth", "share"), [(5.0, 0.3), (100.0, 0.1 + 0.2 * np.exp(-95 / 50))])
def test_the_stated_share_of_the_departure_evolves(depth, share):
    found = []
    for seed in range(12):
        x = np.arctanh(departure_of_pixel(seed=seed, n_days=300)[0].at(depth)[0].astype(float))
        found.append((x.var(axis=0).mean(), x.var()))
    within, total = np.mean(found, axis=0)
    assert within / total == pytest.approx(share, rel=0.25)


def test_spread_is_largest_at_middling_moisture_and_of_the_stated_size():
    # Famiglietti et al. (2008): convex upward against the mean over 50 km, largest near 0.19 m3 m-3.
    spread = {}
    for mean in (0.05, 0.10, 0.20, 0.25, 0.35, 0.42):
        found = [
            subpixel.depart(mean, departure_of_pixel(seed=seed, n_days=10)[0].at(5.0)[0], 0.45).std(axis=1).mean()
            for seed in range(12)
        ]
        spread[mean] = np.mean(found)
    assert 0.045 < spread[0.20] < 0.07
    assert 0.045 < spread[0.25] < 0.07
    assert all(spread[a] < spread[b] for a, b in pairwise((0.05, 0.10, 0.20)))
    assert all(spread[a] > spread[b] for a, b in pairwise((0.25, 0.35, 0.42)))
    assert spread[0.05] < 0.5 * spread[0.20]


@settings(max_examples=200, deadline=None)
@given(mean=st.floats(0, 1), porosity=st.floats(0.3, 0.6), around=st.floats(-1, 1), nearby=st.floats(-0.3, 0.3))
def test_no_place_is_drier_than_dry_or_wetter_than_saturated(mean, porosity, around, nearby):
    moisture = subpixel.depart(subpixel.depart(mean * porosity, around, porosity), nearby, porosity)
    assert -1e-12 <= moisture <= porosity + 1e-12


def test_departures_stay_below_one_and_patterns_change_with_depth():
    depths, likeness = (10.0, 20.0, 50.0, 100.0), []
    for seed in range(30):
        departure = departure_of_pixel(seed=seed)[0]
        at = {depth: departure.at(depth)[0].astype(float) for depth in (5.0, *depths)}
        assert all(np.abs(values).max() < 1 for values in at.values())
        likeness.append([np.corrcoef(at[5.0].ravel(), at[depth].ravel())[0, 1] for depth in depths])
    np.testing.assert_allclose(np.mean(likeness, axis=0), np.exp(-(np.array(depths) - 5) / 50), atol=0.07)


# -- probes --------------------------------------------------------------------------------------------------


def test_liquid_water_by_hand():
    # At -5 C ice holds back L * 5 / (g * 268.15) = 634.8 m of water; 0.45 (634 842 / 200)^(-1/5) = 0.08973.
    found = probes.liquid_water(np.array([0.30, 0.05, 0.30]), np.array([268.15, 268.15, 274.0]), 0.45, 200.0, 5.0)
    np.testing.assert_allclose(found, [0.0897, 0.05, 0.30], atol=1e-4)
    just = probes.liquid_water(np.full(2, 0.3), np.array([273.15, 273.15 - 1e-5]), 0.45, 200.0, 5.0)
    np.testing.assert_allclose(just, 0.3)


def test_readings_of_frozen_soil_are_low(small, cube):
    crn = small["crn"].isel(depth=0)
    part = []
    for site in range(crn.sizes["site"]):
        # The truth is all water, ice included.
        total = cube.ssm_truth.isel(pixel=nearest(cube, crn.lon[site], crn.lat[site]))
        seen = (crn.soil_moisture.isel(site=site).mean("probe") / total).to_numpy()
        warmth = crn.soil_temperature.isel(site=site).mean("probe").to_numpy()
        frozen, cool = (seen[mask & np.isfinite(seen)] for mask in (warmth < 269, (warmth > 275) & (warmth < 280)))
        if min(frozen.size, cool.size) > 60:
            part.append(np.median(frozen) / np.median(cool))
    assert len(part) >= 4
    assert max(part) < 0.8
    assert np.median(part) < 0.6


def test_probes_of_a_triplicate_share_the_truth_and_differ_by_their_calibration(small):
    moisture = small["crn"].soil_moisture.isel(depth=0).astype(float)
    levels, noise = [], []
    for site in moisture.site.to_numpy():
        log = np.log(moisture.sel(site=site).dropna("time").where(lambda m: m.min("probe") > 0.1, drop=True))
        if log.sizes["time"] < 500:
            continue
        between = log.isel(probe=0) - log.isel(probe=1)
        years = (between.time - between.time[0]).dt.days / 365.25
        line = linregress(years, between)
        levels.append(line.intercept)
        noise.append(np.std(between - line.intercept - line.slope * years))
    assert len(noise) > 5
    np.testing.assert_allclose(noise, probes.NOISE * np.sqrt(2), rtol=0.15)  # resolution adds a little
    assert 0.4 < np.std(levels) / (probes.BIAS * np.sqrt(2)) < 1.8


def test_drift_and_calibration_are_recovered_from_many_probes():
    time = pd.date_range("2000-01-01", "2011-12-31")
    years = np.asarray((time - time[0]).days / 365.25)
    found, true = [], []
    for number in range(40):
        here = place(name=f"test {number}", probes=3)
        readings = probes.read(here, time, np.full((len(time), 1), 0.25), np.full((len(time), 1), 290.0), 2019)
        for probe in range(3):
            error = np.log(readings.moisture[:, 0, probe].astype(float) / 0.25)
            seen = np.isfinite(error)
            line = linregress(years[seen], error[seen])
            found.append((line.slope, line.intercept))
            true.append((probes.drift(here, 2019)[0, probe], probes.calibration(here, 2019)[0, probe]))
    np.testing.assert_allclose(found, true, atol=2.5e-3)
    slope, level = np.array(found).T
    assert slope.std() == pytest.approx(probes.DRIFT, rel=0.25)
    assert level.std() == pytest.approx(probes.BIAS, rel=0.25)
    assert abs(slope.mean()) < 4 * probes.DRIFT / np.sqrt(slope.size)


def test_the_thermometer_has_errors_of_its_own():
    time = pd.date_range("2000-01-01", "2005-12-31")
    here = place(probes=3)
    readings = probes.read(here, time, np.full((len(time), 1), 0.25), np.full((len(time), 1), 290.0), 1)
    error = readings.temperature - 290.0
    assert np.nanstd(error, axis=0) == pytest.approx(probes.THERMOMETER_NOISE, rel=0.1)
    assert 0 < np.nanstd(np.nanmean(error, axis=0)) < 0.5
    gaps = np.isnan(readings.temperature) != np.isnan(readings.moisture)
    assert 0.005 < gaps.mean() < 0.5


def test_outages_come_more_often_in_winter_and_last_as_stated():
    time = pd.date_range("2000-01-01", "2019-12-31")
    down = probes.outages(time, 400, 0.5, 12.0, 5, "test")
    begins = down[1:] & ~down[:-1]
    month = time[1:].month
    winter, summer = (begins[month.isin(months)].sum() for months in ((12, 1, 2), (6, 7, 8)))
    assert winter > 2.5 * summer
    # The mean of cos(2 pi d / 365.25) over the 90 days around mid-January, and its opposite: 0.9.
    assert winter / summer == pytest.approx((1 + 0.9 * probes.WINTER) / (1 - 0.9 * probes.WINTER), rel=0.12)
    assert begins.sum() / (400 * 20) == pytest.approx(0.5, rel=0.06)
    # One day and the whole days of an exponential time of mean m: 1 + 1 / (exp(1 / m) - 1).
    assert down.sum() / begins.sum() == pytest.approx(1 + 1 / np.expm1(1 / 12.0), rel=0.08)


def test_probes_fail_one_by_one_and_sometimes_all_together(small):
    seen = np.isfinite(small["crn"].soil_moisture).isel(depth=[0, 1]).to_numpy()
    some = seen.any(axis=(2, 3)) & ~seen.all(axis=(2, 3))
    assert 0.05 < some.mean() < 0.7
    none = ~seen.any(axis=(2, 3))
    late = none.mean(axis=0) < 0.3  # sites that stand through most of the period
    assert 0.002 < none[:, late].mean() < 0.2
    across = seen[:, late].any(axis=-1)
    assert (across[..., 0] != across[..., 1]).any()


def test_nothing_is_read_before_the_first_day_nor_after_the_last():
    time = pd.date_range("2008-01-01", "2012-12-31")
    here = place(
        depths=sites.CRN_DEPTHS,
        first=pd.Timestamp("2009-03-05"),
        last=pd.Timestamp("2011-08-09"),
        last_deep=pd.Timestamp("2010-02-03"),
    )
    whole = np.ones((len(time), 5))
    seen = np.isfinite(probes.read(here, time, 0.2 * whole, 285.0 * whole, 4).moisture)[..., 0]
    days = [time[column] for column in seen.T]
    for column, last in zip(days, ("2011-08-09",) * 3 + ("2010-02-03",) * 2, strict=True):
        assert pd.Timestamp("2009-03-05") <= column.min() < pd.Timestamp("2009-12-31")
        assert pd.Timestamp(last) - pd.Timedelta(days=200) < column.max() <= pd.Timestamp(last)


def test_readings_follow_the_truth_of_their_pixel(small, cube):
    crn = small["crn"].isel(depth=0)
    warm = crn.soil_moisture.where(crn.soil_temperature > 276).mean("probe")
    r = []
    for site in range(crn.sizes["site"]):
        truth = cube.ssm_truth.isel(pixel=nearest(cube, crn.lon[site], crn.lat[site])).to_numpy()
        found = warm.isel(site=site).to_numpy()
        both = np.isfinite(found)
        if both.sum() > 300:
            r.append(np.corrcoef(found[both], truth[both])[0, 1])
            assert abs(np.mean(found[both] - truth[both])) < 0.2
    assert len(r) >= 10
    assert 0.6 < np.median(r) < 0.99
