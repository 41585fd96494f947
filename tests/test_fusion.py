"""Averages of estimates: by hand and by identities."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smapnb import fusion


def estimate(values, start="2016-01-01", name="ssm_lstm", **attrs):
    values = np.asarray(values, np.float32)
    coords = {"time": pd.date_range(start, periods=len(values)), "pixel": np.arange(values.shape[1])}
    return xr.DataArray(values, coords, ("time", "pixel"), name, attrs)


def test_by_hand():
    one = estimate([[0.1, 0.2], [np.nan, 0.4]], units="m3 m-3", long_name="LSTM")
    two = estimate([[0.3, 0.6], [0.2, np.nan]], name="ssm_noah", units="m3 m-3")
    got = fusion.average(one, two.transpose())
    np.testing.assert_allclose(got, [[0.2, 0.4], [np.nan, np.nan]])
    assert (got.dtype, got.dims, got.attrs, got.name) == (np.float32, one.dims, {"units": "m3 m-3"}, None)
    np.testing.assert_allclose(fusion.average(one, two, estimate([[0.5, 0.1], [1, 1]]))[0], [0.3, 0.3], rtol=1e-6)


@given(hnp.arrays(np.float32, (4, 3), elements=st.one_of(st.floats(0, 1, width=32), st.just(np.nan))))
def test_identical_estimates_are_their_average(values):
    one = estimate(values)
    np.testing.assert_array_equal(fusion.average(one, one), values)
    np.testing.assert_allclose(fusion.average(one, one, one), values, rtol=1e-6)


def test_common_days_only():
    got = fusion.average(estimate(np.zeros((5, 2))), estimate(np.ones((5, 2)), "2016-01-03"))
    assert got.sizes["time"] == 3 and (got == 0.5).all()


def test_refused():
    one = estimate(np.zeros((2, 2)), units="m3 m-3")
    with pytest.raises(ValueError, match="1 estimate"):
        fusion.average(one)
    with pytest.raises(ValueError, match="different units"):
        fusion.average(one, one.assign_attrs(units="%"))
    with pytest.raises(ValueError, match="have dimensions"):
        fusion.average(one, one[0])
    with pytest.raises(ValueError, match="no time in common"):
        fusion.average(one, estimate(np.zeros((2, 2)), "2020-01-01"))
    with pytest.raises(ValueError, match="differ in the coordinate 'pixel'"):
        fusion.average(one, one.assign_coords(pixel=[0, 2]))
    with pytest.raises(ValueError, match="differ in the coordinate 'lat'"):
        fusion.average(*(one.assign_coords(lat=("pixel", [35.0, lat])) for lat in (36.0, 46.0)))
    with pytest.raises(ValueError, match="only some of them have labels of 'time'"):
        fusion.average(one, one.shift(time=1).drop_vars("time"))
    with pytest.raises(TypeError, match="is a ndarray"):
        fusion.average(one.to_numpy(), one.to_numpy())


def test_whole_numbers_have_halves_between_them():
    whole = estimate([[1.0, 2.0]]).astype(int)
    np.testing.assert_array_equal(fusion.average(whole, whole + 1), [[1.5, 2.5]])
