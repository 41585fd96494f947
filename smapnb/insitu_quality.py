"""Rules of quality for single probes, the mean of a triplicate, and daily means; each says what it removed.

It decides no threshold, which belong to `smapnb.rules`, fills no gap, and knows nothing of stations or pixels.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smapnb.variables import ZERO_CELSIUS

# A file gives tenths of a degree; a float32 in kelvin is exact to 0.00003. Without this a record at exactly the
# threshold would fall to either side by its rounding.
TEMPERATURE_ROUNDING = 1e-3
COLDEST_SOIL_KNOWN = 150.0  # K; below it stand degrees Celsius and codes of missing values
DAY = pd.Timedelta("1D")


def quality(
    moisture: xr.DataArray,
    temperature: xr.DataArray | None = None,
    *,
    coldest: float,
    unknown: Literal["keep", "drop"] = "keep",
    coldest_kept: bool = True,
    valid_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Set to NaN what no probe can have measured, and what was measured in soil too cold.

    Each probe at each depth is judged by its own temperature (Fang, Pan & Shen 2019, section II-C). The rules are
    applied in the order of the table's columns; a record counts for the first rule that removes it.

    Parameters
    ----------
    moisture : xarray.DataArray
        Any dimensions, m3 m-3; NaN is a missing record.
    temperature : xarray.DataArray, optional
        Soil temperature in K, with some or all of the dimensions of `moisture` and the same labels. None: no record
        has one.
    coldest : float
        Degrees Celsius; a record is removed where its soil is colder.
    unknown : {"keep", "drop"}
        What happens to a record that has no temperature.
    coldest_kept : bool
        Whether a record at exactly `coldest` stays.
    valid_range : pair of float
        Inclusive, m3 m-3; an infinite value is outside.

    Returns
    -------
    xarray.DataArray
        `moisture` with NaN for what was removed.
    pandas.DataFrame
        One row a depth (or one, ``all``): ``records``; removed by each rule ``out_of_range, colder, no_temperature``;
        ``kept``; and, of these, ``kept_without_temperature``.

    Raises
    ------
    ValueError
        A temperature in other units than K, or one that no soil has; labels or dimensions that do not fit.
    """
    if unknown not in ("keep", "drop"):
        raise ValueError(f"unknown={unknown!r}: 'keep' or 'drop'")
    values = moisture.to_numpy()
    records = ~np.isnan(values)
    low, high = valid_range
    inside = records & (values >= low) & (values <= high)
    kelvin = _kelvin(moisture, temperature)
    if kelvin is None:
        cold, untold = np.zeros_like(records), inside
    else:
        limit = coldest + ZERO_CELSIUS + (-TEMPERATURE_ROUNDING if coldest_kept else TEMPERATURE_ROUNDING)
        cold, untold = inside & (kelvin < limit), inside & np.isnan(kelvin)
    drop = unknown == "drop"
    kept = inside & ~cold & ~untold if drop else inside & ~cold
    counted = {
        "records": records,
        "out_of_range": records & ~inside,
        "colder": cold,
        "no_temperature": untold & drop,
        "kept": kept,
        "kept_without_temperature": untold & (not drop),
    }
    return moisture.copy(data=np.where(kept, values, np.nan).astype(values.dtype)), _by_depth(moisture, counted)


def since(moisture: xr.DataArray, start: str) -> tuple[xr.DataArray, pd.Series]:
    """Set to NaN what was measured before a day.

    Parameters
    ----------
    moisture : xarray.DataArray, (time, depth, ...)
        NaN is a missing record.
    start : str
        The first day that stays.

    Returns
    -------
    xarray.DataArray
        `moisture`, on the same days.
    pandas.Series
        Records taken out, by depth.
    """
    early = moisture["time"] < np.datetime64(start)
    others = [dim for dim in moisture.dims if dim != "depth"]
    return moisture.where(~early), moisture.where(early).count(others).to_series()


def _kelvin(moisture: xr.DataArray, temperature: xr.DataArray | None) -> NDArray[np.floating] | None:
    """Temperatures that broadcast against the values of `moisture`."""
    if temperature is None:
        return None
    labels = f"soil temperature ({temperature.name}) and moisture ({moisture.name})"
    if not set(temperature.dims) <= set(moisture.dims):
        raise ValueError(f"{labels}: dimensions {temperature.dims} are not among {moisture.dims}")
    for dim in temperature.dims:
        if temperature.sizes[dim] != moisture.sizes[dim] or not _same_labels(moisture, temperature, str(dim)):
            raise ValueError(f"{labels} differ in the labels of {dim!r}")
    if temperature.attrs.get("units", "K") != "K":
        raise ValueError(f"{labels}: temperature in {temperature.attrs['units']!r}, not K")
    ordered = temperature.transpose(*(dim for dim in moisture.dims if dim in temperature.dims))
    kelvin = ordered.to_numpy()
    absurd = kelvin < COLDEST_SOIL_KNOWN
    if absurd.any():
        raise ValueError(
            f"{labels}: {int(absurd.sum())} temperatures below {COLDEST_SOIL_KNOWN} K, the first is "
            f"{kelvin[absurd][0]}; degrees Celsius, or a code of missing values?"
        )
    return kelvin.reshape([moisture.sizes[d] if d in temperature.dims else 1 for d in moisture.dims])


def _same_labels(one: xr.DataArray, two: xr.DataArray, dim: str) -> bool:
    return dim not in one.indexes or dim not in two.indexes or one.indexes[dim].equals(two.indexes[dim])


def _by_depth(moisture: xr.DataArray, counted: dict[str, NDArray[np.bool_]]) -> pd.DataFrame:
    if "depth" not in moisture.dims:
        return pd.DataFrame({name: [int(mask.sum())] for name, mask in counted.items()}, index=["all"])
    axis = moisture.get_axis_num("depth")
    others = tuple(i for i in range(moisture.ndim) if i != axis)
    index = pd.Index(moisture["depth"].to_numpy(), name="depth")
    return pd.DataFrame({name: mask.sum(axis=others) for name, mask in counted.items()}, index=index)


def average_probes(moisture: xr.DataArray, minimum: int = 1) -> xr.DataArray:
    """Average the probes of one depth (three of them at a CRN site).

    Parameters
    ----------
    moisture : xarray.DataArray, (..., probe)
        NaN is a probe without a record.
    minimum : int
        Probes that a mean needs, else it is NaN.

    Returns
    -------
    xarray.DataArray
        Without the dimension ``probe``; the coordinate ``n_probes`` says how many made each mean.

    Raises
    ------
    ValueError
        No dimension ``probe``; `minimum` not between 1 and the number of probes.
    """
    if "probe" not in moisture.dims:
        raise ValueError(f"{moisture.name}: no dimension 'probe' among {moisture.dims}")
    if not 1 <= minimum <= moisture.sizes["probe"]:
        raise ValueError(f"minimum={minimum}: from 1 to the {moisture.sizes['probe']} probes of {moisture.name}")
    axis = moisture.get_axis_num("probe")
    values = moisture.to_numpy()
    valid = ~np.isnan(values)
    n = valid.sum(axis=axis)
    mean = np.where(valid, values, 0).sum(axis=axis, dtype=np.float64)
    np.divide(mean, n, out=mean, where=n >= minimum)
    mean[n < minimum] = np.nan
    first = moisture.isel(probe=0, drop=True)
    out = first.copy(data=mean.astype(values.dtype))
    return out.assign_coords(n_probes=(first.dims, n.astype(np.int8)))


def daily_mean(
    subdaily: xr.DataArray,
    *,
    least_fraction: float = 0.5,
    expected: int | None = None,
    offset: str | pd.Timedelta = "0h",
    stamp: Literal["begin", "end"] = "begin",
) -> xr.DataArray:
    """Average the records of each day where enough of them exist.

    Parameters
    ----------
    subdaily : xarray.DataArray, (time, ...)
        Records at UTC times; NaN is a missing record.
    least_fraction : float
        Part of a day's expected records that a mean needs, else it is NaN.
    expected : int, optional
        Records of a full day. None: by the median step between the records that each series has, so that series of
        different sensors may share one time axis; where a series has fewer than two, by the steps of that axis.
    offset : str or pandas.Timedelta
        Local time less UTC, such as ``"-7h"``: days are then local days. Default: UTC days.
    stamp : {"begin", "end"}
        Whether a record's time begins its interval, or ends it, as in NCEI's hourly files; then midnight belongs to
        the day that it ends.

    Returns
    -------
    xarray.DataArray
        Every day from the first record's to the last's, dtype of the input; attribute ``day``.

    Raises
    ------
    ValueError
        No times, or times that do not ascend; `expected` not given where a single time cannot tell it.
    """
    if not 0 < least_fraction <= 1 or (expected is not None and expected < 1):
        raise ValueError(f"least_fraction={least_fraction} must lie in 0..1, expected={expected} be positive")
    if stamp not in ("begin", "end"):
        raise ValueError(f"stamp={stamp!r}: 'begin' or 'end'")
    times = subdaily.indexes.get("time")
    if not isinstance(times, pd.DatetimeIndex) or not times.size:
        raise ValueError(f"{subdaily.name}: a daily mean needs dates on the dimension 'time'")
    if not (times.is_monotonic_increasing and times.is_unique):
        late = times[1:][np.diff(times.asi8) <= 0][0]
        raise ValueError(f"{subdaily.name}: time does not ascend at {late}")
    values = subdaily.transpose("time", ...).to_numpy()
    valid = ~np.isnan(values)
    full = _records_a_day(times, valid, str(subdaily.name)) if expected is None else expected
    local = times.as_unit("ns") + pd.Timedelta(offset) - pd.Timedelta(int(stamp == "end"), "ns")
    days = local.normalize()
    code = (days - days[0]).days.to_numpy()
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    n = np.add.reduceat(valid, starts, axis=0, dtype=np.int64)
    total = np.add.reduceat(np.where(valid, values, 0), starts, axis=0, dtype=np.float64)
    enough = (n > 0) & (n >= least_fraction * full)
    mean = np.full((code[-1] + 1, *values.shape[1:]), np.nan, values.dtype)
    mean[code[starts]] = np.divide(total, n, out=np.full(total.shape, np.nan), where=enough)
    return _as_days(subdaily, mean, pd.date_range(days[0], days[-1], unit="ns"), pd.Timedelta(offset))


def _records_a_day(times: pd.DatetimeIndex, valid: NDArray[np.bool_], name: str) -> NDArray[np.float64]:
    """Give the records of a full day of each series, in the shape of one day; at least one."""
    stamps = times.as_unit("ns").asi8
    steps = np.full(valid.shape[1:], np.nan)
    for place in np.ndindex(steps.shape):
        own = stamps[valid[(slice(None), *place)]]
        source = own if own.size > 1 else stamps
        if source.size < 2:
            raise ValueError(f"{name}: one time alone does not tell how many records a day has; give `expected`")
        steps[place] = np.median(np.diff(source))
    return np.maximum(np.round(DAY.as_unit("ns").value / steps), 1)


def _as_days(subdaily: xr.DataArray, mean: NDArray[Any], days: pd.DatetimeIndex, offset: pd.Timedelta) -> xr.DataArray:
    coords = {name: c for name, c in subdaily.coords.items() if "time" not in c.dims}
    dims = subdaily.transpose("time", ...).dims
    day = "UTC day" if not offset else f"day of UTC{offset / pd.Timedelta('1h'):+g} h"
    out = xr.DataArray(mean, dims=dims, coords=coords | {"time": days}, name=subdaily.name)
    return out.transpose(*subdaily.dims).assign_attrs({**subdaily.attrs, "day": day})
