"""From one value a site to one number with limits: the reductions that claims.yml may name.

Limits hold 95 %. They are those of the table where one site is taken, Wilson's for a share, Fisher's for a correlation,
and percentiles of a bootstrap over sites for medians and quantiles. Sites are taken as independent: neighbours that are
alike make the limits too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import stats

from smapnb.claims_tables import Condition, NotTestable, Number, Operand, Run, Threshold

LEVEL = 0.95
BOOTSTRAP_SAMPLES = 2000
SEED = 0
FEWEST_SITES = 3  # below this a count or a median says nothing of sites in general
FEWEST_PAIRS = 4  # Fisher's limits need n - 3 > 0
CHANCE = 0.05
Reduction = Literal[
    "median", "maximum", "minimum", "share", "sites", "site", "number", "single", "correlation", "quantile_difference"
]
BOUNDED = ("share", "sites")
TWO = ("correlation", "quantile_difference")


class Measure(Threshold):
    """What is computed: `of` reduced over the sites that obey `only`.

    ``median, maximum, minimum`` over sites; ``share`` and ``sites``: how many, and which, obey the bound; ``site``: the
    value at the site `at`; ``number`` of sites; ``single``: of a table that is not about sites, its one row;
    ``correlation`` with `against`; ``quantile_difference``: quantile `quantile` of `of` less that of `against`.
    `tested` names a series of adjusted p-values, which are counted among the sites of a share.
    """

    reduce: Reduction
    of: Operand
    against: Operand | None = None
    only: Condition | None = None
    at: str | None = None
    quantile: Number = Field(0.5, gt=0, lt=1)
    tested: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Measure:
        wanted = {
            "a bound (below, above, at_most or at_least)": (self.bound(), self.reduce in BOUNDED),
            "against": (self.against, self.reduce in TWO),
            "at": (self.at, self.reduce == "site"),
        }
        for name, (value, needed) in wanted.items():
            if (value is not None) != needed:
                raise ValueError(f"reduce {self.reduce!r} {'needs' if needed else 'takes no'} {name}")
        if self.tested and self.reduce != "share":
            raise ValueError(f"reduce {self.reduce!r} takes no tested")
        return self


@dataclass(frozen=True)
class Estimate:
    """Our value, its limits (NaN where there are none) and the number of sites.

    A share also has the `count` of those that obey its bound; ``sites`` the `members` of those `considered`.
    """

    value: float
    lower: float
    upper: float
    n: int
    count: int | None = None
    members: tuple[str, ...] = ()
    considered: tuple[str, ...] = ()
    note: str = ""


def estimate(measure: Measure, run: Run) -> Estimate:
    """Compute what a claim asks of a run.

    Raises
    ------
    NotTestable
        Tables, columns, rows or sites that it needs are not there, or too few.
    ValueError
        A table contradicts itself.
    """
    if measure.reduce in TWO:
        return _of_two(measure, run)
    frame = run.units(measure.of, measure.only)
    n = len(frame)
    if measure.reduce == "single":
        if n > 1:
            raise ValueError(f"{measure.of}: {n} rows where one is expected")
        return _one(frame.iloc[0], n)
    if measure.reduce == "site":
        if measure.at not in frame.index:
            raise NotTestable(f"this run has no value at site {measure.at}")
        return _one(frame.iloc[int(np.flatnonzero(frame.index == measure.at)[0])], 1)
    if measure.reduce == "number":
        return Estimate(float(n), np.nan, np.nan, n)
    if measure.reduce == "sites":
        members = tuple(frame.index[measure.holds(frame["value"])])
        considered = tuple(run.units(measure.of).index)
        return Estimate(float(len(members)), np.nan, np.nan, n, members=members, considered=considered)
    if n < FEWEST_SITES:
        raise NotTestable(f"only {n} site{'s' * (n > 1)}, {FEWEST_SITES} are needed")
    if measure.reduce == "share":
        return _share(measure, frame, run)
    if measure.reduce in ("maximum", "minimum"):
        values = frame["value"].to_numpy()
        place = int(values.argmax() if measure.reduce == "maximum" else values.argmin())
        return _one(frame.iloc[place], n, note=f"at {frame.index[place]}")
    values = frame["value"].to_numpy()
    return Estimate(float(np.median(values)), *limits_of(np.median, values), n)


def _one(row: pd.Series, n: int, note: str = "") -> Estimate:
    return Estimate(float(row["value"]), float(row["lower"]), float(row["upper"]), n, note=note)


def _share(measure: Measure, frame: pd.DataFrame, run: Run) -> Estimate:
    holds = measure.holds(frame["value"])
    count, n = int(holds.sum()), len(frame)
    limits = stats.binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    note = ""
    if measure.tested:
        try:
            p = run.rows(measure.tested)
        except NotTestable as reason:
            note = f"chance was not tested: {reason}"
        else:
            beyond = int((p["value"] < CHANCE).sum())
            note = f"{beyond} of {len(p)} pixels or sites differ by more than chance (false discovery rate {CHANCE})"
    return Estimate(count / n, float(limits.low), float(limits.high), n, count=count, note=note)


def _of_two(measure: Measure, run: Run) -> Estimate:
    assert measure.against is not None
    one = run.units(measure.of, measure.only)["value"]
    two = run.units(measure.against)["value"]
    if measure.reduce == "correlation" or measure.only is not None or len(one.index.intersection(two.index)):
        shared = one.index.intersection(two.index)
        one, two = one.loc[shared], two.loc[shared]
    fewest = FEWEST_PAIRS if measure.reduce == "correlation" else FEWEST_SITES
    n = min(len(one), len(two))
    if n < fewest:
        raise NotTestable(f"only {n} sites, {fewest} are needed")
    if measure.reduce == "correlation":
        if np.ptp(one) == 0 or np.ptp(two) == 0:
            raise NotTestable(f"no correlation: a quantity is the same at all {n} sites")
        result = stats.pearsonr(one, two)
        limits = result.confidence_interval(LEVEL)
        return Estimate(float(result.statistic), float(limits.low), float(limits.high), n)
    paired = one.index.equals(two.index)
    first, second = one.to_numpy(), two.to_numpy()
    value = float(np.quantile(first, measure.quantile) - np.quantile(second, measure.quantile))
    samples = [_resampled(first, SEED), _resampled(second, SEED if paired else SEED + 1)]  # same seed, same sites
    moved = np.quantile(samples[0], measure.quantile, axis=1) - np.quantile(samples[1], measure.quantile, axis=1)
    note = "" if paired else f"{len(one)} sites against {len(two)} others"
    return Estimate(value, *_percentiles(moved), n, note=note)


def limits_of(statistic: Callable[..., NDArray[np.float64]], values: NDArray[np.float64]) -> tuple[float, float]:
    """Limits of a statistic by drawing sites with replacement.

    Parameters
    ----------
    statistic : callable
        Takes an array and ``axis``.
    values : numpy.ndarray
        One value a site.
    """
    return _percentiles(statistic(_resampled(values, SEED), axis=1))


def _resampled(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draws with replacement, shape (samples, sites)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAP_SAMPLES, len(values)))
    return values[draws]


def _percentiles(samples: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
