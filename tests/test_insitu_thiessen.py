"""Thiessen weights: by hand, by what any stations must obey, and against counting the nearest station."""

from random import Random

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from smapnb import insitu
from smapnb.grid import EaseGrid, project

SQUARE = (0.0, 0.0, 1.0, 1.0)
PIXEL = tuple(float(b) for b in EaseGrid(36).bounds(99, 219))


def weights(points, cell=SQUARE, **options):
    x, y = np.array(points, float).T
    return insitu.thiessen_weights(x, y, cell, **options)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.3, 0.9)], [1]),
        ([(0.25, 0.5), (0.75, 0.5)], [0.5, 0.5]),
        ([(0.0, 0.5), (0.5, 0.5)], [0.25, 0.75]),
        # A row: borders half-way, at 0.2 and 0.6.
        ([(0.1, 0.5), (0.3, 0.5), (0.9, 0.5)], [0.2, 0.4, 0.4]),
        ([(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)], [0.25] * 4),
        # One in the middle of four corners: the border with each is x + y = 1/2 and its likes, four triangles of 1/8.
        ([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)], [0.125] * 4 + [0.5]),
        # Two at one place share what it has.
        ([(0.25, 0.5), (0.75, 0.5), (0.75, 0.5)], [0.5, 0.25, 0.25]),
        ([(0.5, 0.5)] * 3, [1 / 3] * 3),
    ],
)
def test_by_hand(points, expected):
    np.testing.assert_allclose(weights(points), expected, atol=1e-9)


def test_stations_outside():
    points = [(0.25, 0.5), (1.25, 0.5), (9, 9)]
    # The border is at x = 0.75; the third station is nowhere the nearest.
    np.testing.assert_allclose(weights(points), [0.75, 0.25, 0], atol=1e-9)
    np.testing.assert_allclose(weights(points, only_inside=True), [1, 0, 0])
    np.testing.assert_allclose(weights([(1, 0.5), (5, 0.5)], only_inside=True), [1, 0])  # on the edge is inside
    polygons = insitu.thiessen_polygons(*np.array(points).T, SQUARE, only_inside=True)
    assert polygons[1].is_empty and polygons[0].equals(shapely.box(*SQUARE))
    with pytest.raises(insitu.ThiessenError, match="none of 2 stations stands inside"):
        weights([(2, 2), (3, 3)], only_inside=True)


def test_a_cell_of_any_shape():
    triangle = shapely.Polygon([(0, 0), (1, 0), (0, 1)])
    # Border x = 0.5: right of it a triangle of sides 0.5 is left, a quarter of the area.
    np.testing.assert_allclose(weights([(0.25, 0.1), (0.75, 0.1)], triangle), [0.75, 0.25])


@pytest.mark.parametrize(
    ("points", "cell", "message"),
    [
        ([(0.5, np.nan)], SQUARE, "station 0 has no finite"),
        ([(0.5, 0.5), (np.inf, 0)], SQUARE, "station 1 has no finite"),
        (np.empty((0, 2)), SQUARE, "no station"),
        ([(0.5, 0.5)], (0, 0, 0, 1), "no valid polygon"),
        ([(0.5, 0.5)], (1, 0, 0, 1), r"must be \(x_min, y_min, x_max, y_max\)"),
        ([(0.5, 0.5)], shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "no valid polygon"),
    ],
)
def test_what_has_no_polygons(points, cell, message):
    with pytest.raises(insitu.ThiessenError, match=message):
        weights(points, cell)
    with pytest.raises(insitu.ThiessenError, match="as many"):
        insitu.thiessen_weights([0.5, 0.6], [0.5], SQUARE)


# A coarse mesh makes stations coincide, stand in rows and on circles more often than real ones do.
MESH = st.integers(-4, 24).map(lambda k: k / 20)
ANY = st.floats(-0.2, 1.2, allow_nan=False)
CLOUD = st.one_of(
    st.lists(st.tuples(MESH, MESH), min_size=1, max_size=12), st.lists(st.tuples(ANY, ANY), min_size=1, max_size=12)
)


def in_pixel(points):
    x_min, y_min, x_max, y_max = PIXEL
    return np.array(points) * [x_max - x_min, y_max - y_min] + [x_min, y_min]


def nearest_counts(points, cell, n=120):
    """Part of a fine raster of the cell that is nearest to each station; ties go to any."""
    x_min, y_min, x_max, y_max = cell
    ticks = (np.arange(n) + 0.5) / n
    gx, gy = np.meshgrid(x_min + ticks * (x_max - x_min), y_min + ticks * (y_max - y_min))
    nearest = cKDTree(points).query(np.column_stack([gx.ravel(), gy.ravel()]))[1]
    return np.bincount(nearest, minlength=len(points)) / n**2


@settings(deadline=None, max_examples=150)
@given(CLOUD, st.randoms(use_true_random=False))
@example([(0.0, 0.875), (0.0, 0.890625), (6e-8, 0.875)], Random(2))  # one place: whichever of the two comes first
def test_any_stations(points, random):
    metres = in_pixel(points)
    got = weights(metres, PIXEL)
    assert (got >= 0).all() and got.sum() == pytest.approx(1)
    order = list(range(len(points)))
    random.shuffle(order)
    np.testing.assert_allclose(weights(metres[order], PIXEL), got[order], atol=1e-6)
    shift = np.array([5e5, -3e5])
    moved = weights(metres + shift, tuple(np.array(PIXEL) + np.tile(shift, 2)))
    np.testing.assert_allclose(moved, got, atol=1e-6)
    np.testing.assert_allclose(weights(np.array(points)), got, atol=1e-6)  # of any unit of length


@settings(deadline=None, max_examples=100)
@given(CLOUD)
def test_the_nearest_station_owns(points):
    places = np.unique(np.round(points, 4), axis=0)
    expected = nearest_counts(places, SQUARE)
    # A border of length 1.5 crosses about 180 of 14400 cells; each station has few borders.
    np.testing.assert_allclose(weights(places), expected, atol=0.02)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ANY, ANY), min_size=2, max_size=8))
def test_polygons_fill_the_cell_and_do_not_overlap(points):
    places = np.unique(np.round(points, 4), axis=0)
    polygons = insitu.thiessen_polygons(*places.T, SQUARE)
    assert shapely.union_all(polygons).symmetric_difference(shapely.box(*SQUARE)).area < 1e-6
    assert shapely.area(polygons).sum() == pytest.approx(1)
    inside = ((places >= 0) & (places <= 1)).all(axis=1)
    for place, polygon in zip(places[inside], polygons[inside], strict=True):
        assert polygon.distance(shapely.Point(place)) < 1e-5


# True distances


def geodesic_scale(lat):
    """Stretch of EPSG:6933 along a parallel, from pyproj's own geodesics."""
    pyproj = pytest.importorskip("pyproj")
    geod = pyproj.Geod(ellps="WGS84")
    metres = geod.inv(-100, lat, -99.99, lat)[2]
    x, _ = project([-100, -99.99], lat)
    return (x[1] - x[0]) / metres


@pytest.mark.parametrize("lat", [25.0, 30.0, 42.4, 49.6])
def test_true_scale_is_that_of_geodesics(lat):
    assert insitu.true_scale(lat) == pytest.approx(geodesic_scale(lat), rel=1e-6)
    assert insitu.true_scale(30.0) == pytest.approx(1)


def test_borders_are_half_way_on_the_ground():
    pyproj = pytest.importorskip("pyproj")
    # Carman, 49.6 degrees north, where a square of the projection is 1.8 times as high as wide.
    grid = EaseGrid(36)
    row, col = grid.cell(-98.0, 49.6)
    left, bottom, right, top = (float(b) for b in grid.bounds(row, col))
    generator = np.random.default_rng(5)
    x, y = generator.uniform(left, right, 7), generator.uniform(bottom, top, 7)
    k = insitu.true_scale(49.6)
    got = insitu.thiessen_weights(x / k, y * k, (left / k, bottom * k, right / k, top * k))
    # The nearest by geodesic, counted over a raster of equal areas.
    back = pyproj.Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    ticks = (np.arange(60) + 0.5) / 60
    gx, gy = (a.ravel() for a in np.meshgrid(left + ticks * (right - left), bottom + ticks * (top - bottom)))
    lon, lat = back.transform(gx, gy)
    geod = pyproj.Geod(ellps="WGS84")
    distance = []
    for station in zip(*back.transform(x, y), strict=True):
        distance.append(geod.inv(lon, lat, *(np.full(lon.size, c) for c in station))[2])
    counted = np.bincount(np.argmin(distance, axis=0), minlength=7) / lon.size
    np.testing.assert_allclose(got, counted, atol=0.012)
    assert np.abs(insitu.thiessen_weights(x, y, (left, bottom, right, top)) - counted).max() > 0.04
