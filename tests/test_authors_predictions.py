"""The authors' published output: scaling, shape, errors."""

import numpy as np
import pytest
import xarray as xr

from smapnb.sources import authors_csv

PIXELS = xr.DataArray([0, 2], {"pixel": [0, 2], "lat": ("pixel", [40.0, 41.0])}, ["pixel"])["pixel"]


def write(folder, rows, columns=365):
    values = np.arange(rows)[:, None] + np.zeros(columns)
    np.savetxt(folder / authors_csv.PREDICTIONS, values, delimiter=",")


def test_undoes_the_scaling_and_keeps_the_pixels(tmp_path):
    write(tmp_path, 3)
    given = authors_csv.open_predictions(tmp_path, PIXELS)
    assert given.dims == ("time", "pixel") and given.attrs["units"] == "m3 m-3"
    assert str(given["time"].to_numpy()[-1])[:10] == "2017-03-31"
    # a scaled 0 is the mean, a scaled 2 two standard deviations above it
    np.testing.assert_allclose(given[100], [0.18420095, 0.18420095 + 2 * 0.08857838], rtol=1e-6)
    np.testing.assert_array_equal(given["lat"], [40.0, 41.0])


def test_what_is_wrong_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=authors_csv.PREDICTIONS):
        authors_csv.open_predictions(tmp_path, PIXELS)
    write(tmp_path, 3, columns=366)
    with pytest.raises(authors_csv.LayoutError, match="366 columns"):
        authors_csv.open_predictions(tmp_path, PIXELS)
    write(tmp_path, 2)
    with pytest.raises(authors_csv.LayoutError, match="2 lines, pixel 2 has none"):
        authors_csv.open_predictions(tmp_path, PIXELS)
