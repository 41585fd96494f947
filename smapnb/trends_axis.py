"""Time as the trend tests need it: elapsed time, regular steps for lags, and blocks of months and of years.

Nothing is tested here and nothing is interpolated; gaps stay gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAYS_PER_YEAR = 365.25
CLIMATOLOGY_WINDOW = 31  # days of the year averaged round each, as in smapnb.metrics_baselines
DAYS_OF_YEAR = 366
OFF_STEP = 0.3  # of a step that stamps may be off a multiple of it: hours of an overpass


@dataclass(frozen=True)
class Series:
    """Valid values of one series: `elapsed` in units of which `per_year` make a year, `position` in steps."""

    y: Floats
    elapsed: Floats
    position: Ints
    per_year: float


@dataclass(frozen=True)
class Axis:
    """Time stamps shared by all series of an array.

    Attributes
    ----------
    elapsed : numpy.ndarray
        Time since the first stamp, in days or years.
    per_year : float
        How many of those units make a year: 365.25 or 1.
    position : numpy.ndarray
        Number of steps since the first stamp; where the stamps are regular, a gap leaves its numbers out. Lags are
        differences of it.
    step : float or None
        Mean length of a step; None where the stamps fall on no regular ones.
    dates : pandas.DatetimeIndex or None
        The stamps, if they are dates.
    """

    elapsed: Floats
    per_year: float
    position: Ints
    step: float | None
    dates: pd.DatetimeIndex | None

    @classmethod
    def of(cls, time: ArrayLike | None, length: int) -> Self:
        """Read time stamps: dates, decimal years, or None for daily steps.

        Raises
        ------
        ValueError
            Stamps that are missing, do not rise strictly, or are not as many as the values.
        """
        if length == 0:
            raise ValueError("the series have no time steps")
        if time is None:
            return cls(np.arange(length, dtype=np.float64), DAYS_PER_YEAR, np.arange(length), 1.0, None)
        stamps = np.asarray(time)
        if stamps.shape != (length,):
            raise ValueError(f"time has the shape {stamps.shape}; the series have {length} values")
        if not (stamps.dtype.kind == "M" or np.issubdtype(stamps.dtype, np.number)):
            raise ValueError(
                f"time is of type {stamps.dtype}; it must be datetime64 without a time zone, or decimal years"
            )
        dates = pd.DatetimeIndex(stamps) if stamps.dtype.kind == "M" else None
        if dates is not None:
            elapsed, per_year = np.asarray((dates - dates[0]) / pd.Timedelta(days=1), np.float64), DAYS_PER_YEAR
        else:
            elapsed, per_year = stamps.astype(np.float64) - (stamps[0] if length else 0), 1.0
        wrong = np.flatnonzero(~(np.diff(elapsed) > 0))
        if wrong.size or not np.isfinite(elapsed).all():
            at = int(wrong[0]) + 1 if wrong.size else 0
            raise ValueError(f"time does not rise strictly: {stamps[at]} at index {at}")
        return cls(elapsed, per_year, *_steps(elapsed, dates), dates)

    def until(self, index: int) -> Self:
        """Give the stamps up to one, that one included."""
        dates = None if self.dates is None else self.dates[: index + 1]
        return replace(self, elapsed=self.elapsed[: index + 1], position=self.position[: index + 1], dates=dates)

    def series(self, y: Floats) -> Series:
        """Values of one series without its gaps."""
        valid = ~np.isnan(y)
        return Series(y[valid], self.elapsed[valid], self.position[valid], self.per_year)

    def years(self, from_index: int = 0) -> tuple[Ints, int]:
        """Whole years from a stamp on.

        Returns
        -------
        (numpy.ndarray, int)
            Number of the year of each stamp, -1 outside the whole years; number of whole years. A year ends before
            the anniversary of its first stamp; the last one is whole when the stamps reach its last step.
        """
        elapsed = self.elapsed - self.elapsed[from_index]
        step = float(np.median(np.diff(self.elapsed))) if elapsed.size > 1 else 0.0
        reach = elapsed[-1] + step
        ends = self._anniversaries(from_index, int(reach / self.per_year) + 2)[1:]
        # Half a step, for a year counted as 365.25 days and for months of different lengths.
        whole = int((ends <= reach + step / 2).sum())
        number = np.searchsorted(ends, elapsed, side="right")
        return np.where((elapsed >= 0) & (number < whole), number, -1).astype(np.int64), whole

    def _anniversaries(self, from_index: int, count: int) -> Floats:
        """Time from a stamp to itself and to its next `count` anniversaries."""
        if self.dates is None:
            return self.per_year * np.arange(count + 1, dtype=np.float64)
        start = self.dates[from_index]
        days = [(start + pd.DateOffset(years=k) - start) / pd.Timedelta(days=1) for k in range(count + 1)]
        return np.asarray(days, np.float64)

    def months(self) -> tuple[Ints, Ints]:
        """Give the running number of each stamp's month, from 0, and its month of the year (0-11).

        Where there are no dates, twelfths of the year.
        """
        if self.dates is not None:
            running = self.dates.year.to_numpy(np.int64) * 12 + self.dates.month.to_numpy(np.int64) - 1
        else:
            # 1e-6: a stamp on the border of a month, as in decimal years, must not fall back by rounding.
            running = np.floor(self.elapsed / self.per_year * 12 + 1e-6).astype(np.int64)
        return running - running[0], running % 12

    def day_of_year(self) -> Ints:
        """Day of the year, 0-365; where there are no dates, counted from the first stamp's."""
        if self.dates is not None:
            return self.dates.day_of_year.to_numpy(np.int64) - 1
        return np.floor(self.elapsed / self.per_year % 1 * DAYS_OF_YEAR).astype(np.int64)

    def monthly_means(self, y: Floats, least_valid: float) -> Series:
        """Means of `y` over months, each at the mean time of the month's stamps, valid or not.

        A month counts where at least `least_valid` of its steps are valid; a step without a stamp is a gap. Where there
        are no regular steps, the fullest month has them all. `position` is the running number of the month.
        """
        month = self.months()[0]
        lengths = np.full(int(month[-1]) + 1, self.per_year / 12)
        if self.dates is not None:
            first = self.dates[0].to_period("M")
            lengths = pd.period_range(first, periods=lengths.size, freq="M").days_in_month.to_numpy(np.float64)
        return self._means(y, month, lengths, least_valid)

    def yearly_means(self, y: Floats, least_valid: float) -> Series:
        """Means of `y` over the whole years from the first stamp, as `monthly_means` makes them of months."""
        year, whole = self.years()
        return self._means(y, year, np.diff(self._anniversaries(0, whole)), least_valid)

    def _means(self, y: Floats, block: Ints, lengths: Floats, least_valid: float) -> Series:
        inside, size = block >= 0, lengths.size
        stamps = np.bincount(block[inside], minlength=size)
        centre = np.bincount(block[inside], self.elapsed[inside], minlength=size) / np.maximum(stamps, 1)
        valid = inside & ~np.isnan(y)
        n = np.bincount(block[valid], minlength=size)
        total = np.bincount(block[valid], y[valid], minlength=size)
        # 0.05: twelve mean months are a hair longer than a year of 365 days.
        due = stamps.max(initial=0) if self.step is None else np.floor(lengths / self.step + 0.05).clip(min=1)
        keep = np.flatnonzero((n > 0) & (n >= least_valid * due))
        return Series(total[keep] / n[keep], centre[keep], keep.astype(np.int64), self.per_year)

    def anomalies(self, y: Floats, slope: float) -> Floats:
        """`y` less the mean of its days of the year (window of 31, the year a circle).

        The line of `slope` (per unit of `elapsed`) is taken out before the climatology is made, and is left in the
        anomalies: where years are incomplete, the trend would else be taken for season.
        """
        valid = ~np.isnan(y)
        day = self.day_of_year()
        plain = (y - slope * self.elapsed)[valid]
        total = _circular_sum(np.bincount(day[valid], plain, minlength=DAYS_OF_YEAR).astype(np.float64))
        n = _circular_sum(np.bincount(day[valid], minlength=DAYS_OF_YEAR).astype(np.float64))
        # The sums of counts are whole numbers, but for rounding.
        cycle = np.divide(total, n, out=np.full(DAYS_OF_YEAR, np.nan), where=n > 0.5)
        return y - cycle[day]


def _circular_sum(by_day: Floats) -> Floats:
    half = CLIMATOLOGY_WINDOW // 2
    padded = np.concatenate([by_day[-half:], by_day, by_day[:half]])
    return np.convolve(padded, np.ones(CLIMATOLOGY_WINDOW), "valid")


def _steps(elapsed: Floats, dates: pd.DatetimeIndex | None) -> tuple[Ints, float | None]:
    """Give each stamp its number of steps since the first, and the mean length of a step; None where none is regular.

    Months and years of a calendar are steps. Else the usual distance is the step, where every stamp is near a multiple
    of it; else the greatest common divisor of whole days; else the smallest distance, which is no regular step.
    """
    if elapsed.size < 2:
        return np.zeros(elapsed.size, np.int64), None
    position = _regular_steps(elapsed, dates)
    if position is not None:
        # Composites (dekads; 8 days, anew each January) share but a divisor, and no two stamps stand that near.
        regular = np.diff(position).min() == 1
        return position, float(elapsed[-1] / position[-1]) if regular else None
    # A hair less than the smallest distance, so that rounding puts no two stamps into one step.
    return np.floor(elapsed / (np.diff(elapsed).min() * (1 - 1e-9)) + 0.5).astype(np.int64), None


def _regular_steps(elapsed: Floats, dates: pd.DatetimeIndex | None) -> Ints | None:
    usual = float(np.median(np.diff(elapsed)))
    if dates is not None:
        year = dates.year.to_numpy(np.int64)
        month = year * 12 + dates.month.to_numpy(np.int64)
        for near, number in ((28 <= usual <= 31, month), (365 <= usual <= 366, year)):
            if near and (np.diff(number) > 0).all():
                return number - number[0]
    position = np.floor(elapsed / usual + 0.5).astype(np.int64)
    if (np.diff(position) > 0).all() and np.abs(elapsed / usual - position).max() < OFF_STEP:
        return position
    whole = np.rint(elapsed).astype(np.int64)
    if dates is not None and (whole == elapsed).all():
        return whole // np.gcd.reduce(np.diff(whole))
    return None
