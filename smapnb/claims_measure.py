"""From one value a site to one number with limits: the reductions that claims.yml may name.

Limits hold at least 95 %. They are those of the table where one site is taken, Wilson's for a share, Fisher's for a
correlation, order statistics for a median (those of the sign test: exact for any distribution), and percentiles of a
bootstrap over sites for differences of quantiles. With fewer than six sites no limits of a median hold 95 %. Sites are
taken as independent: neighbours that are alike make the limits too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import stats

from smapnb.claims_select import Condition, Number, Operand, Threshold
from smapnb.claims_tables import NotTestable, Run

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
    `tested` names a series of differences with p-values; those beyond chance are counted by their sign beside a share.
    `surely`: a site obeys the bound only if its limits do.
    """

    reduce: Reduction
    of: Operand
    against: Operand | None = None
    only: Condition | None = None
    at: str | None = None
    quantile: Number = Field(0.5, gt=0, lt=1)
    tested: str | None = None
    surely: bool = False

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
        if self.surely and self.reduce not in BOUNDED:
            raise ValueError(f"reduce {self.reduce!r} takes no surely")
        return self


@dataclass(frozen=True)
class Estimate:
    """Our value, its limits (NaN where there are none) and the number of sites.

    A share also has the `count` of those that obey its bound; ``sites`` the `members` of those `considered`, and the
    `undecided` whose limits hold the bound. `too_few` says why no limits can be had of so few sites.
    """

    value: float
    lower: float
    upper: float
    n: int
    count: int | None = None
    members: tuple[str, ...] = ()
    considered: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    too_few: str = ""
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
        return _sites(measure, frame, run)
    if n < FEWEST_SITES:
        raise NotTestable(f"only {n} site{'s' * (n > 1)}, {FEWEST_SITES} are needed")
    if measure.reduce == "share":
        return _share(measure, frame, run)
    if measure.reduce in ("maximum", "minimum"):
        values = frame["value"].to_numpy()
        place = int(values.argmax() if measure.reduce == "maximum" else values.argmin())
        return _one(frame.iloc[place], n, note=f"at {frame.index[place]}")
    values = frame["value"].to_numpy()
    return Estimate(float(np.median(values)), *median_limits(values), n, too_few=_too_few(n, 0.5))


def _one(row: pd.Series, n: int, note: str = "") -> Estimate:
    return Estimate(float(row["value"]), float(row["lower"]), float(row["upper"]), n, note=note)


def _obeyed(measure: Measure, frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Whether each site obeys the bound, and whether its limits (if asked for) leave that open."""
    if not measure.surely:
        return measure.holds(frame["value"]), pd.Series(False, frame.index)
    low, high = measure.holds(frame["lower"]), measure.holds(frame["upper"])
    return low & high, low != high


def _with_limits(measure: Measure, frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.dropna(subset=["lower", "upper"]) if measure.surely else frame
    if frame.empty:
        raise NotTestable("no site has the limits that are asked for")
    return frame


def _sites(measure: Measure, frame: pd.DataFrame, run: Run) -> Estimate:
    frame = _with_limits(measure, frame)
    holds, unsure = _obeyed(measure, frame)
    members, undecided = tuple(frame.index[holds]), tuple(frame.index[unsure])
    considered = tuple(_with_limits(measure, run.units(measure.of)).index)
    value, n = float(len(members)), len(frame)
    return Estimate(value, np.nan, np.nan, n, members=members, considered=considered, undecided=undecided)


def _share(measure: Measure, frame: pd.DataFrame, run: Run) -> Estimate:
    frame = _with_limits(measure, frame)
    holds, _ = _obeyed(measure, frame)
    count, n = int(holds.sum()), len(frame)
    limits = stats.binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    note = ""
    if measure.tested:
        try:
            rows = run.rows(measure.tested)
        except NotTestable as reason:
            note = f"chance was not tested: {reason}"
        else:
            signs = np.sign(rows.loc[rows["p"] < CHANCE, "value"])
            note = f"of {len(rows)} sites {int((signs > 0).sum())} are higher and {int((signs < 0).sum())} lower"
            note += f" by more than chance (false discovery rate {CHANCE})"
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
    few = _too_few(n, measure.quantile)
    if few:
        return Estimate(value, np.nan, np.nan, n, too_few=few)
    moved = np.quantile(samples[0], measure.quantile, axis=1) - np.quantile(samples[1], measure.quantile, axis=1)
    note = "" if paired else f"{len(one)} sites against {len(two)} others"
    return Estimate(value, *_percentiles(moved), n, note=note)


def median_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Order statistics between which the median lies in at least 95 % of samples, of any continuous distribution.

    Parameters
    ----------
    values : numpy.ndarray
        One value a site.

    Returns
    -------
    tuple of float
        NaN for fewer than six values, of which not even the smallest and the largest hold it so often.

    References
    ----------
    Conover (1999), Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    limits = stats.quantile_test(values, p=0.5).confidence_interval(LEVEL)
    return float(limits.low), float(limits.high)


def _too_few(n: int, quantile: float) -> str:
    """Say so if the range of `n` values misses a quantile on one side more often than limits may."""
    tail = (1 - LEVEL) / 2
    if max(quantile, 1 - quantile) ** n <= tail:
        return ""
    needed = int(np.ceil(np.log(tail) / np.log(max(quantile, 1 - quantile))))
    what = "a median" if quantile == 0.5 else f"the quantile {quantile:g}"
    return f"{n} sites cannot give 95 % limits of {what}: {needed} are needed"


def _resampled(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draws with replacement, shape (samples, sites)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAP_SAMPLES, len(values)))
    return values[draws]


def _percentiles(samples: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
