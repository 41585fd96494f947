"""Confidence limits of scores by block bootstrap against a plain loop over samples, and against scipy.stats.bootstrap.

The loop takes the same days as ours and must give the same limits (checked before anything is timed). SciPy draws
single days, not blocks, so its limits are others; it stands here for its time. Times are printed, never asserted.
"""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import bootstrap

from benchmarks.common import interleave, rows_of
from smapnb import metrics
from smapnb.metrics import METRICS

SITES, SERIES = 104, 7  # Fig. 7 of Fang, Pan & Shen (2019): sites of the sparse network, series
DAYS = {"three years": ("2015-04-01", "2018-03-31"), "fifteen years": ("2000-04-01", "2015-03-31")}
SAMPLES, BLOCK, LEVEL = 1000, 30, 0.95
FEW = 2  # sites of the peers, whose times are scaled up to all
KERNELS = {name: getattr(metrics, name) for name in METRICS}


def scores_of(span: tuple[str, str], sites: int, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """An estimate and a reference with a tenth of the days missing, (time, site)."""
    days, generator = pd.date_range(*span), np.random.default_rng(seed)
    truth = (
        0.25 + 0.05 * np.sin(np.arange(days.size) / 58.0)[:, None] + 0.02 * generator.normal(size=(days.size, sites))
    )
    pair = [truth + 0.03 * generator.normal(size=truth.shape) for _ in range(2)]
    pair[1][generator.random(truth.shape) < 0.1] = np.nan
    sim, obs = (xr.DataArray(values, {"time": days}, ("time", "site"), name="ssm") for values in pair)
    return sim, obs


def plain_limits(sim: np.ndarray, obs: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Limits of one site by a loop over samples, (score, limit): the readable version."""
    samples = [[KERNELS[name](sim=sim[drawn], obs=obs[drawn]) for name in METRICS] for drawn in days]
    return np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T


def scipy_limits(sim: np.ndarray, obs: np.ndarray) -> np.ndarray:
    """Limits of one site by SciPy, from single days drawn with replacement, (score, limit)."""
    matched = ~np.isnan(obs)

    def statistic(one: np.ndarray, two: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.stack([KERNELS[name](sim=one, obs=two, axis=axis) for name in METRICS])

    found = bootstrap(
        (sim[matched], obs[matched]),
        statistic,
        n_resamples=SAMPLES,
        batch=100,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return np.stack(found.confidence_interval, axis=-1)


def limits_of_sites(what: str, repeats: int) -> list[dict]:
    """Limits of the four scores of all sites and series, ours whole, the peers for a few sites of one series."""
    sim, obs = scores_of(DAYS[what], SITES)
    length = sim.sizes["time"]
    days = metrics.resampled_days(length, BLOCK, SAMPLES, np.random.default_rng(0))
    one, two = (x.to_numpy()[:, :FEW].T for x in (sim, obs))

    def ours(sites: int) -> xr.Dataset:
        one, two = (x.isel(site=slice(sites)) for x in (sim, obs))
        return metrics.evaluate(sim=one, obs=two, n_boot=SAMPLES, block=BLOCK, level=LEVEL, seed=0)

    found = ours(FEW)
    for site, expected in enumerate(plain_limits(*pair, days) for pair in zip(one, two, strict=True)):
        got = np.stack([found[f"{name}_ci"].isel(site=site).to_numpy() for name in METRICS])
        if not np.allclose(got, expected, rtol=0, atol=1e-12):
            raise AssertionError(f"{what}, site {site}: limits {got} and {expected} of the plain loop")
    times = interleave(
        {
            "ours": lambda: [ours(SITES) for _ in range(SERIES)],
            "scipy": lambda: [scipy_limits(*pair) for pair in zip(one, two, strict=True)],
            "loop": lambda: [plain_limits(*pair, days) for pair in zip(one, two, strict=True)],
        },
        repeats,
    )
    scale, scaled = SITES * SERIES / FEW, f"({FEW} sites of one series, scaled up)"
    medians = {
        "smapnb, blocks of 30 days": times["ours"],
        f"scipy.stats.bootstrap, single days {scaled}": times["scipy"] * scale,
        f"plain NumPy loop, blocks of 30 days {scaled}": times["loop"] * scale,
    }
    return rows_of(f"limits of {SITES} sites x {SERIES} series x 4 scores, {SAMPLES} samples, {what} of days", medians)


def rows(repeats: int = 3) -> list[dict]:
    """All rows of the bootstrap benchmark, for the table that ``python -m benchmarks`` writes."""
    return [line for what in DAYS for line in limits_of_sites(what, repeats)]


if __name__ == "__main__":
    rows()
