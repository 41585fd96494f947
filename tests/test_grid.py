"""EASE-Grid 2.0 against PROJ, NSIDC's arrays and shapely; regridding against brute force and identities."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from smapnb.grid import MAX_MISSING, EaseGrid, GridError, area_weights, project, unproject

SIZES = (36, 9, 3)
SHAPES = {36: (406, 964), 9: (1624, 3856), 3: (4872, 11568)}  # NSIDC's .gpd files
SOUTH_EDGE = -85.0445664
FORWARD = pyproj.Transformer.from_crs(4326, 6933, always_xy=True)
INVERSE = pyproj.Transformer.from_crs(6933, 4326, always_xy=True)

lons = st.floats(-180, 180, allow_nan=False)
lats = st.floats(-85.04, 85.04, allow_nan=False)


def everything(grid: EaseGrid) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(grid.shape[0]), np.arange(grid.shape[1]), indexing="ij")


@pytest.mark.parametrize("km", SIZES)
def test_shape_and_corners(km):
    grid = EaseGrid(km)
    assert grid.shape == SHAPES[km]
    left, _, _, top = grid.bounds(0, 0)
    _, bottom, right, _ = grid.bounds(grid.shape[0] - 1, grid.shape[1] - 1)
    assert (left, top) == (-17367530.4451615, 7314540.8306386)
    np.testing.assert_allclose([right, bottom], [17367530.4451615, -7314540.8306386], rtol=1e-13)


def test_unknown_size():
    with pytest.raises(GridError, match="25"):
        EaseGrid(25)


@pytest.mark.parametrize(
    ("km", "cell", "centre"),
    [
        (36, (0, 0), (-179.81327800830007, 83.63197527893537)),
        (36, (100, 200), (-105.12448132780165, 30.311826193618177)),
        (36, (405, 963), (179.8132780082998, -83.63197527892879)),
        (9, (0, 0), (-179.953319502076, 84.65641879712508)),
        (9, (400, 900), (-95.92842323651527, 30.434171915711648)),
    ],
)
def test_centres_computed_with_proj_beforehand(km, cell, centre):
    np.testing.assert_allclose(EaseGrid(km).center(*cell), centre, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("km", "point", "cell"),
    [
        (36, (-98.6, 35.38), (85, 217)),
        (9, (-98.6, 35.38), (341, 871)),
        (36, (-110.05, 31.70), (96, 187)),
        (9, (-110.05, 31.70), (385, 749)),
    ],
)
def test_cells_of_known_points(km, point, cell):
    assert EaseGrid(km).cell(*point) == cell


@pytest.mark.parametrize("km", SIZES)
def test_all_centres_agree_with_proj(km):
    grid = EaseGrid(km)
    rows, cols = np.arange(grid.shape[0]), np.arange(grid.shape[1])
    size = 36032.220840584 / (36 / km)
    x = -17367530.4451615 + size * (cols + 0.5)
    y = 7314540.8306386 - size * (rows + 0.5)
    np.testing.assert_allclose(grid.longitudes, INVERSE.transform(x, 0 * x)[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(grid.latitudes, INVERSE.transform(0 * y, y)[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(grid.center(0 * cols, cols)[0], grid.longitudes, rtol=0, atol=1e-11)
    np.testing.assert_allclose(grid.center(rows, 0 * rows)[1], grid.latitudes, rtol=0, atol=1e-11)


@given(lons, st.floats(-90, 90))
def test_projection_agrees_with_proj(lon, lat):
    np.testing.assert_allclose(project(lon, lat), FORWARD.transform(lon, lat), rtol=0, atol=1e-6)


@given(lons, lats)
def test_projection_inverts(lon, lat):
    np.testing.assert_allclose(unproject(*project(lon, lat)), (lon, lat), rtol=0, atol=2e-8)


@pytest.mark.data
def test_all_centres_agree_with_the_official_arrays(data_root):
    grid = EaseGrid(36)
    lon, lat = grid.center(*everything(grid))
    for name, ours in (("lons", lon), ("lats", lat)):
        official = np.fromfile(data_root / f"ease2_grid/EASE2_M36km.{name}.964x406x1.double").reshape(406, 964)
        np.testing.assert_allclose(ours, official, rtol=0, atol=1e-5)
    official = loadmat(data_root / "ease2_grid/LatLon_SMAP_9km.mat")
    np.testing.assert_allclose(EaseGrid(9).latitudes, official["latitude_a"].ravel(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(EaseGrid(9).longitudes, official["longitude_a"].ravel(), rtol=0, atol=1e-5)


@given(st.sampled_from(SIZES), st.data())
def test_a_centre_lies_in_its_cell(km, data):
    grid = EaseGrid(km)
    row = data.draw(st.integers(0, grid.shape[0] - 1))
    col = data.draw(st.integers(0, grid.shape[1] - 1))
    lon, lat = grid.center(row, col)
    assert grid.cell(lon, lat) == (row, col)
    assert grid.cell(np.float32(lon), np.float32(lat)) == (row, col)


@given(lons, lats)
def test_grids_nest(lon, lat):
    row, col = EaseGrid(3).cell(lon, lat)
    assert EaseGrid(9).cell(lon, lat) == (row // 3, col // 3)
    assert EaseGrid(36).cell(lon, lat) == (row // 12, col // 12)


@given(lons, lats, st.sampled_from(SIZES))
def test_a_point_lies_in_the_polygon_of_its_cell(lon, lat, km):
    grid = EaseGrid(km)
    polygon = grid.polygons(*grid.cell(lon, lat))
    assert polygon.distance(shapely.Point(lon, lat)) < 1e-7  # rounding of edges is all that may part them


def test_outer_edges_belong_to_the_grid():
    grid = EaseGrid(36)
    assert grid.cell(-180, 0)[1] == 0
    assert grid.cell(180, 0)[1] == 963
    assert grid.cell(np.nextafter(180, 0), 0)[1] == 963
    assert grid.cell(0, -SOUTH_EDGE)[0] == 0
    assert grid.cell(0, SOUTH_EDGE)[0] == 405
    # The equator is an edge between rows and the prime meridian one between columns: south and east of it.
    assert grid.cell(0, 0) == (203, 482)


OUTSIDE = [(0, 85.0446), (0, -85.0446), (180.001, 0), (250, 40), (-180.1, 0), (0, 100), (0, 265)]
OUTSIDE += [(np.nan, 0), (0, np.nan), (0, np.inf), (np.inf, 0)]


@pytest.mark.parametrize(("lon", "lat"), OUTSIDE)
def test_points_outside_are_named(lon, lat):
    with pytest.raises(GridError, match=rf"1 of 3 .*point 1: lon {float(lon)}, lat {float(lat)}"):
        EaseGrid(36).cell([10, lon, 20], [10, lat, 20])


def test_scalars_arrays_and_broadcasting():
    grid = EaseGrid(36)
    for scalar in (-98.6, np.float32(-98.6), np.array(-98.6)):
        row, col = grid.cell(scalar, 35.38)
        assert np.ndim(row) == np.ndim(col) == 0
        assert (int(row), int(col)) == (85, 217)
    row, col = grid.cell([[-98.6, -98.6]], [[35.38], [31.70]])
    assert row.tolist() == [[85, 85], [96, 96]]
    assert col.tolist() == [[217, 217], [217, 217]]
    lon, lat = grid.center(85, 217)
    assert np.ndim(lon) == np.ndim(lat) == 0
    assert grid.cell([], [])[0].shape == (0,)


@pytest.mark.parametrize(
    ("row", "col", "message"),
    [
        (-1, 0, "row -1"),
        (406, 0, "row 406"),
        (0, -1, "column -1"),
        (0, [3, 964], "column 964"),
        (1.5, 0, "integer"),
    ],
)
def test_cells_outside_are_named(row, col, message):
    for method in (EaseGrid(36).center, EaseGrid(36).polygons, EaseGrid(36).bounds):
        with pytest.raises(GridError, match=message):
            method(row, col)


def test_neighbours_share_their_edges_exactly():
    grid = EaseGrid(3)
    _, south, east, _ = grid.bounds_degrees(1200, 4000)
    assert south == grid.bounds_degrees(1201, 4000)[3]
    assert east == grid.bounds_degrees(1200, 4001)[0]
    assert grid.bounds(1200, 3996)[0] == EaseGrid(36).bounds(100, 333)[0]
    assert grid.bounds(1200, 3996)[3] == EaseGrid(36).bounds(100, 333)[3]


def test_windows_of_conus():
    """Rows and columns as the paper's first author cut them."""
    assert EaseGrid(36).window(-125, -66, 25, 50) == (slice(47, 117), slice(147, 305))
    assert EaseGrid(9).window(-125, -66, 25, 50) == (slice(189, 469), slice(589, 1221))
    with pytest.raises(GridError, match="no cell"):
        EaseGrid(36).window(170, -170, -10, 10)


# Regridding --------------------------------------------------------------------------------


def window_cells(grid: EaseGrid, west, east, south, north):
    rows, cols = grid.window(west, east, south, north)
    return np.meshgrid(np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop), indexing="ij")


def brute_force(grid, row, col, lon, lat, field):
    """Means by polygons: overlaps in degrees, cut by shapely, whose areas are measured in the projection."""
    dlon, dlat = lon[1] - lon[0], abs(lat[1] - lat[0])
    total = area = missing = n = 0.0
    cell = grid.polygons(row, col)
    for i, j in np.ndindex(field.shape):
        box = shapely.box(lon[j] - dlon / 2, lat[i] - dlat / 2, lon[j] + dlon / 2, lat[i] + dlat / 2)
        part = cell.intersection(box)
        if part.area > 1e-9:
            n += 1
            missing += np.isnan(field[i, j])
            if not np.isnan(field[i, j]):
                w, s, e, t = part.bounds
                (x0, x1), (y0, y1) = FORWARD.transform([w, e], [s, t])
                total += (x1 - x0) * (y1 - y0) * field[i, j]
                area += (x1 - x0) * (y1 - y0)
    return np.nan if missing / n > 0.2 else total / area


@pytest.mark.parametrize("descends", [False, True])
def test_against_polygons(descends):
    rng = np.random.default_rng(3)
    lon, lat = -100.0625 + 0.125 * np.arange(24), 37.0625 + 0.125 * np.arange(20)
    field = rng.normal(size=(20, 24))
    field[rng.random(field.shape) < 0.17] = np.nan
    if descends:
        lat, field = lat[::-1], field[::-1]
    grid = EaseGrid(36)
    row, col = window_cells(grid, -99.7, -97.7, 37.5, 38.9)
    ours = area_weights(grid, row, col, lon, lat)(field)
    expected = [brute_force(grid, r, c, lon, lat, field) for r, c in zip(row.flat, col.flat, strict=True)]
    expected = np.reshape(expected, row.shape)
    assert 0 < np.isnan(expected).sum() < expected.size  # both branches of the rule are met
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def global_source(n_lon: int, n_lat: int, start: float, north_first: bool):
    lon = start + 360 / n_lon * (np.arange(n_lon) + 0.5)
    lat = -90 + 180 / n_lat * (np.arange(n_lat) + 0.5)
    return lon, lat[::-1] if north_first else lat


source_grids = st.tuples(st.integers(50, 1300), st.integers(25, 700), st.sampled_from([-180.0, 0.0]), st.booleans())


@settings(deadline=None, max_examples=50)
@given(source_grids, st.floats(-1e3, 1e3), st.integers(0, 2**32 - 1))
def test_a_constant_stays_constant(source, value, seed):
    grid, rng = EaseGrid(36), np.random.default_rng(seed)
    row, col = rng.integers(0, grid.shape[0], 500), rng.integers(0, grid.shape[1], 500)
    col[:2] = 0, grid.shape[1] - 1
    lon, lat = global_source(*source)
    means = area_weights(grid, row, col, lon, lat)(np.full((lat.size, lon.size), value))
    np.testing.assert_allclose(means, value, rtol=1e-11, atol=1e-12)


@settings(deadline=None, max_examples=5)
@given(source_grids)
def test_the_integral_is_kept(source):
    """Where nothing lies beyond the grid's north and south edges, the two integrals are the same."""
    grid = EaseGrid(36)
    lon, lat = global_source(*source)
    half = 90 / lat.size
    inside = np.abs(lat) + half < 85
    field = np.random.default_rng(0).uniform(1, 2, size=(lat.size, lon.size)) * inside[:, None]
    ease = area_weights(grid, *everything(grid), lon, lat)(field).sum() * 36032.220840584**2
    edges = [FORWARD.transform(0 * lat, np.clip(lat + side * half, -90, 90))[1] for side in (-1, 1)]
    area = (edges[1] - edges[0]) * 2 * FORWARD.transform(180, 0)[0] / lon.size
    np.testing.assert_allclose(ease, (field * area[:, None]).sum(), rtol=1e-9)


def test_longitudes_of_either_convention_give_the_same():
    grid = EaseGrid(36)
    row, col = np.meshgrid(np.arange(150, 160), np.arange(0, 964), indexing="ij")
    lat = -89.5 + np.arange(180)
    field = np.random.default_rng(1).normal(size=(180, 360))
    east = area_weights(grid, row, col, 0.5 + np.arange(360), lat)(field)
    both = area_weights(grid, row, col, -179.5 + np.arange(360), lat)(np.roll(field, 180, axis=1))
    np.testing.assert_allclose(east, both, rtol=1e-9, atol=1e-12)


def aligned_cell(n_lon: int, n_lat: int):
    """One 36-km cell at the equator, cut into n_lon x n_lat source cells of about equal area."""
    grid = EaseGrid(36)
    west, south, east, north = grid.bounds_degrees(202, 500)
    lon = west + (east - west) / n_lon * (np.arange(n_lon) + 0.5)
    lat = south + (north - south) / n_lat * (np.arange(n_lat) + 0.5)
    return area_weights(grid, 202, 500, lon, lat)


def test_rule_of_missing_cells_is_more_than_one_in_five():
    assert MAX_MISSING == 0.2
    weights = aligned_cell(5, 2)
    assert weights.n_covering.tolist() == [10]  # edges that fall together make no further covering cell
    field = np.ones((2, 5))
    field[0, :2] = np.nan
    assert weights(field) == 1.0  # 2 of 10 is not more than 20 %
    field[1, 4] = np.nan
    assert np.isnan(weights(field))


def test_weights_are_those_of_the_cells_present():
    weights = aligned_cell(5, 2)
    field = np.arange(10.0).reshape(2, 5)
    field[0, 0] = np.nan
    np.testing.assert_allclose(weights(field), np.mean(np.arange(1, 10)), rtol=1e-4)  # rows of nearly one area
    area = weights.weights.toarray().ravel()
    np.testing.assert_allclose(weights(field), (area[1:] * np.arange(1, 10)).sum() / area[1:].sum(), rtol=1e-12)


def test_uncovered_area_counts_as_missing():
    grid = EaseGrid(36)
    west, south, east, north = grid.bounds_degrees(202, 500)
    dlon, dlat = (east - west) / 10, (north - south) / 2
    lat = south + dlat * (np.arange(2) + 0.5)
    for columns, known in ((10, True), (8, True), (7, False)):
        lon = west + dlon * (np.arange(columns) + 0.5)
        weights = area_weights(grid, 202, 500, lon, lat)
        assert weights.n_covering == 20
        assert np.isfinite(weights(np.ones((2, columns)))) == known
    # Far from the source there is nothing.
    assert np.isnan(area_weights(grid, 10, 10, lon, lat)(np.ones((2, 7))))


def test_stacks_dtype_and_shapes():
    grid = EaseGrid(36)
    row, col = window_cells(grid, -110, -105, 35, 38)
    lon, lat = np.arange(-112, -102, 0.5, dtype=np.float32), np.arange(33, 41, 0.5, dtype=np.float32)
    weights = area_weights(grid, row, col, lon, lat)
    stack = np.random.default_rng(2).normal(size=(3, 2, lat.size, lon.size)).astype(np.float32)
    out = weights(stack)
    assert out.shape == (3, 2, *row.shape)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[2, 1], weights(stack[2, 1]))
    assert weights(np.ones((lat.size, lon.size), dtype=int)).dtype == np.float64


@pytest.mark.parametrize(
    ("lon", "lat", "message"),
    [
        ([0, 1, 3], [0, 1], "longitude .* not evenly spaced"),
        ([0, 1], [0, 1, np.nan], "latitude"),
        ([3, 2, 1], [0, 1], "must ascend"),
        ([0, 1], [89, 91], "latitude .* 91"),
        (np.arange(0, 361), [0, 1], "overlaps itself"),
        ([0], [0, 1], "at least two"),
        ([1, 1], [0, 1], "not evenly spaced"),
        ([400, 401], [0, 1], "leaves"),
    ],
)
def test_source_grids_that_are_refused(lon, lat, message):
    with pytest.raises(GridError, match=message):
        area_weights(EaseGrid(36), 200, 500, lon, lat)


def test_field_of_another_shape_is_refused():
    with pytest.raises(GridError, match=r"\(3, 2\)"):
        aligned_cell(3, 3)(np.ones((3, 2)))
