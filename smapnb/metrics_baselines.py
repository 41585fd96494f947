"""What an estimate must beat: references that know the past of the observations and nothing of the weather.

They are made from the days they are given, which must be training days only; scoring is left to `smapnb.metrics`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

DAYS_OF_YEAR = np.arange(1, 367)


def climatology(obs: xr.DataArray, days: pd.DatetimeIndex, window: int = 31) -> xr.DataArray:
    """Expect on each day the mean of all that was observed around that day of the year.

    Parameters
    ----------
    obs : xarray.DataArray
        Observations with the dimension ``time``; gaps are NaN.
    days : pandas.DatetimeIndex
        Days to give the expectation for.
    window : int
        Odd number of days of the year over which is averaged; the year is a circle.

    Returns
    -------
    xarray.DataArray
        As `obs`, at `days`; NaN where nothing was observed within the window.

    Raises
    ------
    ValueError
        An even window, or one that does not fit into the year.
    """
    if window % 2 == 0 or not 0 < window < DAYS_OF_YEAR.size:
        raise ValueError(f"window={window} must be odd and shorter than a year")
    by_day = obs.groupby(obs["time"].dt.dayofyear)
    total, n = (
        around.reindex(dayofyear=DAYS_OF_YEAR, fill_value=0)
        .pad(dayofyear=window // 2, mode="wrap")
        .rolling(dayofyear=window, center=True)
        .sum()
        .isel(dayofyear=slice(window // 2, -(window // 2) or None))
        for around in (by_day.sum(), by_day.count())
    )
    cycle = (total / n.where(n > 0)).assign_coords(dayofyear=DAYS_OF_YEAR)
    dayofyear = xr.DataArray(days.day_of_year, coords={"time": days}, dims="time")
    expected = cycle.sel(dayofyear=dayofyear).drop_vars("dayofyear").transpose(*obs.dims)
    return expected.astype(obs.dtype).rename(obs.name).assign_attrs(obs.attrs)
