"""Combinations of estimates. It knows neither products nor places, and weighs all estimates alike.

Comb of Fang, Pan and Shen (2019, section II-C) is the mean of LSTM and Noah; the controls that show whether a gain is
owed to averaging as such are the means of Noah and VIC, and of LSTM and VIC.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

DAYS = "time"


def average(*estimates: xr.DataArray) -> xr.DataArray:
    """Average estimates where all of them are present.

    Parameters
    ----------
    *estimates : xarray.DataArray
        Two or more, of the same quantity, units and places; of differing days (dimension time) the common ones are
        used.

    Returns
    -------
    xarray.DataArray
        Dimensions and dtype of the first (float32 at least); NaN where one is missing, since a mean of fewer is
        another estimate. It has no name; of the attributes the units are kept.

    Raises
    ------
    ValueError
        Less than two estimates, different dimensions, units or places, days labelled in some only, or no day in common.
    TypeError
        An estimate without labels.
    """
    if len(estimates) < 2:
        raise ValueError(f"{len(estimates)} estimate(s) given; an average needs two")
    for x in estimates:
        if not isinstance(x, xr.DataArray):
            raise TypeError(f"an estimate is a {type(x).__name__}, not a DataArray")
    first = estimates[0]
    labels = [str(x.name) for x in estimates]
    if any(set(x.dims) != set(first.dims) for x in estimates):
        raise ValueError(f"{labels} have dimensions {[x.dims for x in estimates]}")
    units = {x.attrs["units"] for x in estimates if "units" in x.attrs}
    if len(units) > 1:
        raise ValueError(f"{labels} have different units: {sorted(units)}")
    for other in estimates[1:]:
        for name in sorted({str(c) for c in first.coords} & {str(c) for c in other.coords}):
            if DAYS not in first[name].dims and not first[name].variable.equals(other[name].variable):
                raise ValueError(f"{labels} differ in the coordinate {name!r}")
    if len({DAYS in x.indexes for x in estimates}) > 1:
        raise ValueError(f"{labels}: only some of them have labels of {DAYS!r}, by which their days are matched")
    aligned = xr.align(*estimates, join="inner")
    empty = [str(dim) for dim in first.dims if aligned[0].sizes[dim] == 0 and first.sizes[dim] > 0]
    if empty:
        raise ValueError(f"{labels} have no {empty[0]} in common")
    total = aligned[0].copy(deep=False)
    for other in aligned[1:]:
        total = total + other
    mean = (total / len(aligned)).transpose(*first.dims).astype(np.result_type(first.dtype, np.float32)).rename(None)
    mean.attrs = {"units": units.pop()} if units else {}
    return mean
