"""The NLDAS-2 grid: corners as its README gives them, edges by hand, and the same means from a part of the grid."""

import numpy as np
import pytest

from smapnb import nldas_grid
from smapnb.grid import EaseGrid


def test_corners_and_edges():
    """Centres of the first and the last cell; a point on an edge belongs north and east; nothing beyond."""
    row, col = nldas_grid.cell([-124.9375, -67.0625, -124.875, -125.0], [25.0625, 52.9375, 25.125, 25.0])
    assert row.tolist() == [0, 223, 1, 0] and col.tolist() == [0, 463, 1, 0]
    row, col = nldas_grid.cell([-125.001, -67.0, -100, -100, np.nan], [30, 30, 53.0, 24.999, 30])
    assert (row == -1).all() and (col == -1).all()


def test_places_in_the_flattened_grid():
    every = np.arange(224 * 464)
    lon, lat = nldas_grid.centres(every)
    row, col = nldas_grid.cell(lon, lat)
    np.testing.assert_array_equal(nldas_grid.flat(row, col), every)
    assert (lon[:2].tolist(), lat[:2].tolist()) == ([-124.9375, -124.8125], [25.0625, 25.0625])


@pytest.mark.parametrize("cover", ["centre", "covering"])
@pytest.mark.parametrize("km", [36, 9])
def test_the_cells_that_cover_give_the_same_means(cover, km):
    """Of a field with holes, at cells in the middle and over the edges of the grid."""
    rng = np.random.default_rng(3)
    field = np.where(rng.random((2, 224, 464)) < 0.05, np.nan, rng.random((2, 224, 464)))
    row, col = EaseGrid(km).cell([-98.0, -124.99, -67.02, -66.0, -80.3], [35.0, 30.0, 44.0, 45.0, 25.01])
    whole = nldas_grid.weights(EaseGrid(km), row, col, cover)
    part, source = whole.narrowed()
    np.testing.assert_allclose(part(field.reshape(2, 1, -1)[..., source]), whole(field), rtol=1e-15)
    assert np.isnan(whole(field)[:, 3]).all() and np.isfinite(whole(np.ones((224, 464)))[0])
    assert source.size == np.unique(source).size < 100


def test_the_centre_is_one_cell():
    """The centre of (85, 217), by PROJ at 98.776W 35.335N, lies in the cell of 98.8125W 35.3125N."""
    weights, source = nldas_grid.weights(EaseGrid(36), [85], [217], "centre").narrowed()
    assert [float(axis[0]) for axis in nldas_grid.centres(source)] == [-98.8125, 35.3125]
    assert weights(np.array([[[7.0]]])).tolist() == [[7.0]]
