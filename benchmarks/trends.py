"""Trend test and slope against pymannkendall and SciPy: contenders take turns on the same series in one run.

All give the same S and slope (checked before anything is timed); medians of several turns are compared, so that a
machine that slows down slows all. Absolute times are printed, never asserted.
"""

import statistics
import time

import numpy as np
import pymannkendall
from scipy.stats import theilslopes

from benchmarks.common import interleave, rows_of
from smapnb.trends import mann_kendall, sen_slope
from smapnb.trends_experiment import autoregressive
from smapnb.trends_kernels import kendall_score

YEARS = (1, 2, 4, 8, 19)
MAP = (6321, 3000)  # pixels of the study area, days


def soil_moisture(n_series: int, days: int, seed: int = 0) -> np.ndarray:
    """Daily series with season, memory, ties (three digits) and a tenth of the days missing."""
    series = 0.25 + autoregressive(n_series, days, 20.0, season=0.06, seed=seed)
    series = np.round(series, 3)
    series[np.random.default_rng(seed).random(series.shape) < 0.1] = np.nan
    return series


def one_series(days: int, repeats: int) -> list[dict]:
    """Test and slope of one daily series on one thread, against both peers."""
    y = soil_moisture(1, days)[0]
    t = np.flatnonzero(~np.isnan(y))
    ours, peer, slope = mann_kendall(y), pymannkendall.original_test(y), theilslopes(y[t], t).slope
    if ours.s != peer.s or not np.isclose(ours.slope / 365.25, slope, rtol=1e-12, atol=0):
        raise AssertionError(f"{days} days: S {ours.s} and {peer.s}, slopes {ours.slope / 365.25} and {slope}")
    medians = interleave(
        {
            "smapnb, test and slope": lambda: mann_kendall(y),
            "smapnb, slope with limits": lambda: sen_slope(y),
            "scipy theilslopes, slope with limits": lambda: theilslopes(y[t], t),
            "pymannkendall original_test, test and slope": lambda: pymannkendall.original_test(y),
        },
        repeats,
    )
    return rows_of(f"trend of one series, {days} days, ties, a tenth missing, one thread", medians)


def map_of_series(pixels: int, days: int, workers: int, repeats: int) -> list[dict]:
    """Test and slope of many series in threads; the peer is timed on four of them and scaled up."""
    y, few = soil_moisture(pixels, days), 4
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(repeats):
        for k in range(few):
            started = time.perf_counter()
            pymannkendall.original_test(y[k])
            times["peer"].append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        mann_kendall(y, workers=workers, progress=True)
        times["ours"].append(1000 * (time.perf_counter() - started))
    name = f"pymannkendall original_test ({few} series, scaled up)"
    medians = {
        f"smapnb, {workers} threads": statistics.median(times["ours"]),
        name: statistics.median(times["peer"]) * pixels,
    }
    return rows_of(f"trends of {pixels} series of {days} days", medians)


def growth_of_score(repeats: int) -> list[dict]:
    """Time of S alone against the length of the record: n log n would leave the last column constant."""
    rows = []
    print("\nKendall's S alone, against the length of the record")
    for years in YEARS:
        y = soil_moisture(1, round(365.25 * years))[0]
        y = y[~np.isnan(y)]
        inner = max(1, 20000 // y.size)

        def work(y: np.ndarray = y, inner: int = inner) -> None:
            for _ in range(inner):
                kendall_score(y)

        median = interleave({"S": work}, repeats)["S"] / inner
        per = 1e6 * median / (y.size * np.log2(y.size))
        print(f"  {years:2d} years {y.size:6d} values {median:9.4f} ms   {per:6.2f} ns per n log2 n")
        rows.append(
            {
                "measured": f"Kendall's S, {years} years of days",
                "contender": "smapnb",
                "median ms": round(median, 4),
                "ns per n log2 n": round(per, 2),
            }
        )
    return rows


def rows(repeats: int = 5, workers: int = 2, pixels: int = MAP[0]) -> list[dict]:
    """All rows of the trend benchmark, for the table that ``python -m benchmarks`` writes."""
    return [
        *(line for days in (2922, 4748) for line in one_series(days, repeats)),
        *growth_of_score(repeats),
        *map_of_series(pixels, MAP[1], workers, 1),
    ]


if __name__ == "__main__":
    rows()
