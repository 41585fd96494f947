"""What only a simulated world can tell of trends: false alarms of known nothing, and how far slopes are from the truth.

The truth comes from the caller; nothing here knows how it was made.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smapnb.trends import PER_CENT, mann_kendall
from smapnb.trends_agreement import fisher_limits
from smapnb.trends_experiment import slope_error_by_length

Floats = NDArray[np.float64]

LONGEST_YEAR = 366


def without_trend(
    y: ArrayLike, time: ArrayLike, *, years_a_block: int = 1, seed: int = 0, workers: int = 1
) -> tuple[Floats, NDArray]:
    """Make series that have no trend but keep season, memory and gaps: calendar years in a random order.

    First Sen's slope is taken out; then whole calendar years are shuffled, each series by itself, so that the slopes
    which chance brings about come back. Removing the slope alone would leave series whose slope is zero, which no test
    would ever reject. What a year remembers of the year before is lost where blocks meet: in truth there are more false
    alarms than these series raise. A test of annual means, whose order is random here, keeps its level by construction
    where a block is a year.

    Parameters
    ----------
    y : array_like
        Shape (series, days).
    time : array_like
        Days, datetime64; only whole calendar years are used.
    years_a_block : int
        Years that stay together.
    seed : int
        Of the order.
    workers : int
        Threads.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Series of the whole years (29 February is NaN where an ordinary year stands in for a leap year), and their days.

    Raises
    ------
    ValueError
        Shapes that do not fit; fewer than two blocks, or a year between them that is not whole.
    """
    values, stamps = np.asarray(y, np.float64), pd.DatetimeIndex(np.asarray(time))
    if values.ndim != 2 or values.shape[1] != stamps.size:
        raise ValueError(f"y has the shape {values.shape}, not (series, {stamps.size} days)")
    numbers, counts = np.unique(stamps.year.to_numpy(), return_counts=True)
    full = [int(year) for year, n in zip(numbers, counts, strict=True) if n == LONGEST_YEAR - (not isleap(int(year)))]
    blocks = len(full) // years_a_block
    if blocks < 2 or full[-1] - full[0] + 1 != len(full):
        raise ValueError(f"whole years {full}: two blocks of {years_a_block}, without a gap, are needed to shuffle")
    first = full[len(full) - blocks * years_a_block]
    chosen = np.asarray((stamps.year >= first) & (stamps.year <= full[-1]))
    days, part = stamps[chosen], values[:, chosen]
    elapsed = np.asarray((days - days[0]) / pd.Timedelta(days=365.25))
    slope = np.nan_to_num(mann_kendall(part, days.to_numpy(), workers=workers).slope)
    flat = part - slope[:, None] * (elapsed - elapsed.mean())
    # A day's place in a leap year, so that 1 March is 1 March of every year.
    place = days.day_of_year.to_numpy() - 1 + (~days.is_leap_year & (days.month > 2))
    year = (days.year - first).to_numpy()
    table = np.full((len(flat), blocks * years_a_block, LONGEST_YEAR), np.nan)
    table[:, year, place] = flat
    generator = np.random.default_rng(seed)
    within = np.arange(years_a_block)
    for row in table:
        order = generator.permutation(blocks)
        row[:] = row[(order[:, None] * years_a_block + within).ravel()]
    return table[:, year, place], days.to_numpy()


def errors_by_length(
    hindcast: ArrayLike, truth: ArrayLike, time: ArrayLike, years: Sequence[int], *, workers: int = 1
) -> pd.DataFrame:
    """Two errors of a slope by the length of its record: what a short record misses, and what the hindcast adds.

    Parameters
    ----------
    hindcast, truth : array_like
        Shape (pixels, days), m3 m-3.
    time : array_like
        Days, datetime64.
    years : sequence of int
        Lengths; always the last years of the record.
    workers : int
        Threads.

    Returns
    -------
    pandas.DataFrame
        Columns ``error, years, series, bias, rmse, q05, q95``, volumetric % per year. ``short record``: slope of the
        truth over these years less that over all days. ``hindcast``: slope of the hindcast less that of the truth, both
        over these years.

    Raises
    ------
    ValueError
        The record is shorter than asked for.
    """
    estimate, true = np.asarray(hindcast, np.float64), np.asarray(truth, np.float64)
    stamps = pd.DatetimeIndex(np.asarray(time))
    whole = mann_kendall(true, stamps.to_numpy(), workers=workers).slope
    short = slope_error_by_length(true, stamps, years, truth=whole, workers=workers)
    rows = []
    for length in years:
        part = np.asarray(stamps >= stamps[-1] + pd.Timedelta(days=1) - pd.DateOffset(years=length))
        own = mann_kendall(true[:, part], stamps[part].to_numpy(), workers=workers).slope
        rows.append(slope_error_by_length(estimate, stamps, [length], truth=own, workers=workers))
    both = {"short record": short, "hindcast": pd.concat(rows)}
    table = pd.concat(both, names=["error"]).reset_index()
    scaled = ["bias", "rmse", "q05", "q95"]
    table[scaled] *= PER_CENT
    return table


def with_truth(collocated: xr.Dataset, truth: xr.DataArray) -> xr.Dataset:
    """Set the true moisture of each site's pixel beside its other series.

    Parameters
    ----------
    collocated : xarray.Dataset
        (time, site), as `smapnb.comparison.collocate` gives, with the coordinate ``pixel`` (site).
    truth : xarray.DataArray
        (time, pixel), named as it shall be, such as ``rzsm_truth``; days that it lacks are NaN.
    """
    place = truth.indexes["pixel"].get_indexer(collocated["pixel"].to_numpy())
    if (place < 0).any():
        raise ValueError(f"{truth.name} lacks the pixel of site {collocated['site'].to_numpy()[place < 0][0]}")
    values = truth.reindex(time=collocated["time"]).transpose("time", "pixel").to_numpy()[:, place]
    return collocated.assign({str(truth.name): (("time", "site"), values)})


def split(windows: pd.DataFrame, years: int) -> pd.DataFrame:
    """Cut the windows that are kept into consecutive ones of so many years; what is left over at the end is dropped.

    Parameters
    ----------
    windows : pandas.DataFrame
        As `smapnb.trends.site_windows` gives: ``start, years, kept``.
    years : int
        Length of each.

    Returns
    -------
    pandas.DataFrame
        The same columns; `valid` and `missing` are those of the uncut window.
    """
    kept = windows[windows["kept"]]
    parts = []
    for k in range(int(kept["years"].max()) // years if len(kept) else 0):
        part = kept[kept["years"] >= (k + 1) * years]
        start, end = (part["start"] + pd.DateOffset(years=n * years) for n in (k, k + 1))
        parts.append(part.assign(start=start, end=end, years=years))
    return pd.concat(parts, ignore_index=True) if parts else kept


def selection(table: pd.DataFrame, quantity: str, threshold: float = 0.5, level: float = 0.95) -> pd.DataFrame:
    """Show what choosing sites by the size of the measured slope does to the correlation, where the truth is known.

    Parameters
    ----------
    table : pandas.DataFrame
        As `smapnb.trends_table.site_slopes` gives, of one variant, with the products ``insitu, lstm, truth``; a window
        without one of them is left out.
    quantity : str
        ``surface`` or ``rootzone``.
    threshold : float
        Sites whose slope exceeds it in size are chosen (paper: 0.5).
    level : float
        Level of the limits of r (Fisher); they take the windows for independent.

    Returns
    -------
    pandas.DataFrame
        Index ``sites``: all, chosen by the measured slope, and by the true one. Columns ``n``; ``r, r_lower, r_upper``
        of LSTM and in situ; ``r_truth`` of LSTM and truth; ``difference``, the root mean square of LSTM less in situ;
        ``error_lstm, error_insitu``, of each less the truth; ``size_insitu, size_truth``, the mean sizes.
    """
    rows = table[table["quantity"] == quantity]
    wide = rows.pivot_table(index=["network", "site", "start"], columns="product", values="value")
    known = wide.reindex(columns=["insitu", "lstm", "truth"]).dropna()
    chosen = {"all": known}
    for name, text in (("insitu", "in situ"), ("truth", "truth")):
        chosen[f"|{text}| > {threshold:g}"] = known[known[name].abs() > threshold]
    agreed = {name: _agreement(part, level) for name, part in chosen.items()}
    return pd.DataFrame.from_dict(agreed, orient="index").rename_axis("sites")


def _agreement(part: pd.DataFrame, level: float) -> dict[str, float]:
    def r_of(other: str) -> float:
        varied = len(part) > 2 and np.ptp(part["lstm"]) > 0 and np.ptp(part[other]) > 0
        return float(np.corrcoef(part["lstm"], part[other])[0, 1]) if varied else np.nan

    def root_mean_square(one: str, two: str) -> float:
        return float(np.sqrt(((part[one] - part[two]) ** 2).mean()))

    low, high = fisher_limits(r_of("insitu"), len(part), level)
    return {
        "n": len(part),
        "r": r_of("insitu"),
        "r_lower": low,
        "r_upper": high,
        "r_truth": r_of("truth"),
        "difference": root_mean_square("lstm", "insitu"),
        "error_lstm": root_mean_square("lstm", "truth"),
        "error_insitu": root_mean_square("insitu", "truth"),
        "size_insitu": float(part["insitu"].abs().mean()),
        "size_truth": float(part["truth"].abs().mean()),
    }
