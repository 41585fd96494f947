"""Anomalies of daily series against their own moving mean.

What two series have in common through the seasons is taken out of both before they are correlated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.metrics_labels import calendar


def anomaly(values: xr.DataArray, *, window: int = 31, minimum: int = 5, dim: str = "time") -> xr.DataArray:
    """Subtract the mean of the `window` calendar days around each day.

    Albergel et al. (2009, Hydrol. Earth Syst. Sci. 13, doi 10.5194/hess-13-115-2009) take five weeks and ask for five
    values; they divide by the standard deviation of the window as well, which is not done here. For the correlation
    of two anomalies, blank both series on the days that either lacks *first*: both are then measured against the mean
    of the same days, and an estimate without error has R = 1 whatever its gaps.

    Parameters
    ----------
    values : xarray.DataArray
        Daily values with NaN or absent days as gaps; dates may stand in any order.
    window : int
        Odd number of calendar days; at the ends of the series what there is of them.
    minimum : int
        Values that the window must hold, the day's own among them; else the anomaly is NaN.
    dim : str
        Dimension of the days.

    Returns
    -------
    xarray.DataArray
        As `values`, float64; NaN where `values` is, or where the window holds too few.

    Raises
    ------
    ValueError
        An even window, a minimum that does not fit into it, or a day that occurs twice.
    """
    if window < 1 or window % 2 == 0 or not 1 <= minimum <= window:
        raise ValueError(f"window={window} must be odd and minimum={minimum} between 1 and {window}")
    series = values.transpose(dim, ...)
    if series.sizes[dim] == 0:
        return values.astype(np.float64)
    offset = calendar(series, dim)
    repeated = np.flatnonzero(np.bincount(offset) > 1)
    if repeated.size:
        raise ValueError(f"{values.name}: day {repeated[0]} after the first of {dim!r} occurs more than once")
    columns = series.to_numpy().reshape(offset.size, -1).astype(np.float64)
    every_day = np.full((offset.max() + 1, columns.shape[1]), np.nan)
    every_day[offset] = columns
    moving = pd.DataFrame(every_day).rolling(window, center=True, min_periods=minimum).mean().to_numpy()
    out = series.copy(data=(columns - moving[offset]).reshape(series.shape))
    return out.transpose(*values.dims)
