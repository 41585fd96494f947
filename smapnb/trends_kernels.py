"""Kendall's score and ranks of pairwise slopes in n log n, compiled by Numba; every result is exact.

`smapnb.trends_reference` says the same in a few lines of NumPy and n squared memory. Series come without gaps, times
rise strictly. Neither time stamps nor tests are known here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

COMPILED: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
RUN = 16  # runs of this length are sorted by insertion before they are merged
ENUMERATED = 4  # pairs left in the bracket, as a multiple of n, when they are enumerated at last
CAPACITY = 64  # most pairs ever held in memory, as a multiple of n
ROUNDS = 24
EPSILON = float(np.finfo(np.float64).eps)


@njit(**COMPILED)
def sort_counting(keys, spare):
    """Sort `keys` in place by merging and return the number of pairs i < j with keys[i] > keys[j]."""
    n = keys.size
    inversions = 0
    for start in range(0, n, RUN):
        for i in range(start + 1, min(start + RUN, n)):
            key = keys[i]
            j = i
            while j > start and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
            inversions += i - j
    source, target = keys, spare
    width = RUN
    while width < n:
        for start in range(0, n, 2 * width):
            middle, end = min(start + width, n), min(start + 2 * width, n)
            i, j, k = start, middle, start
            while i < middle and j < end:
                left, right = source[i], source[j]
                later = 1 if right < left else 0  # without a branch: which of the two comes is a coin toss
                target[k] = right if later else left
                inversions += later * (middle - i)
                j += later
                i += 1 - later
                k += 1
            while i < middle:
                target[k] = source[i]
                i += 1
                k += 1
            while j < end:
                target[k] = source[j]
                j += 1
                k += 1
        source, target = target, source
        width *= 2
    if n > RUN and source is not keys:
        keys[:] = source
    return inversions


@njit(**COMPILED)
def kendall_score(y):
    """Score S of `y` in time order, and what its variance and the slopes need.

    Returns S, the number of falling pairs, the number of tied pairs, the sum of u (u - 1) (2 u + 5) over groups of u
    tied values, and the smallest difference between two different values (0: there are none).
    """
    n = y.size
    keys = y.copy()
    falling = sort_counting(keys, np.empty(n))
    tied, term, gap = 0, 0, np.inf
    group = 1
    for i in range(1, n + 1):
        if i < n and keys[i] == keys[i - 1]:
            group += 1
            continue
        tied += group * (group - 1) // 2
        term += group * (group - 1) * (2 * group + 5)
        group = 1
        if i < n:
            gap = min(gap, keys[i] - keys[i - 1])
    score = n * (n - 1) // 2 - tied - 2 * falling
    return score, falling, tied, term, (gap if gap < np.inf else 0.0)


@njit(**COMPILED)
def _count_below(t, y, slope, keys, spare):
    """Pairs whose slope is below `slope`: those that the line's removal turns round."""
    for i in range(t.size):
        keys[i] = y[i] - slope * t[i]
    return sort_counting(keys, spare)


@njit(**COMPILED)
def _sample_slopes(t, y, size):
    """Sorted slopes of pseudo-random pairs; the same for every series of a length (Knuth's MMIX generator)."""
    n = t.size
    state = np.uint64(0x9E3779B97F4A7C15)
    sample = np.empty(size)
    for k in range(size):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        i = np.int64((state >> np.uint64(33)) % np.uint64(n))
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        j = np.int64((state >> np.uint64(33)) % np.uint64(n - 1))
        j += 1 if j >= i else 0
        sample[k] = (y[j] - y[i]) / (t[j] - t[i])
    sort_counting(sample, np.empty(size))
    return sample


@njit(**COMPILED)
def _slopes_between(t, y, low, high, expected):
    """Slopes of the pairs that change order between the removal of `low` and of `high`.

    Sorted by what `low` leaves and then, by insertion, by what `high` leaves: each step of the insertion is one such
    pair. An empty array where their number is not `expected`.
    """
    n = t.size
    order = np.argsort(y - low * t, kind="mergesort")  # stable: equal keys stay in time order, as in the count
    keys = np.empty(n)
    for i in range(n):
        keys[i] = y[order[i]] - high * t[order[i]]
    slopes = np.empty(expected)
    found = 0
    for i in range(1, n):
        key, point = keys[i], order[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            if found == expected:
                return np.empty(0)
            other = order[j - 1]
            # The later point first: rounding is then that of the definition.
            first, last = min(point, other), max(point, other)
            slopes[found] = (y[last] - y[first]) / (t[last] - t[first])
            found += 1
            keys[j], order[j] = keys[j - 1], other
            j -= 1
        keys[j], order[j] = key, point
    return slopes if found == expected else np.empty(0)


@njit(**COMPILED)
def two_smallest_from(values, rank):
    """Give the value of `rank` (from 0) and that of the next rank; the last one stands for its own successor."""
    parted = np.partition(values, rank)
    after = parted[rank]
    if rank + 1 < values.size:
        after = parted[rank + 1 :].min()
    return parted[rank], after


@njit(**COMPILED)
def select_by_passes(t, y, bounds, rank):
    """Slope of `rank` (from 0) among the pairs within each stretch bounds[g]:bounds[g + 1], with no pair in memory.

    Bisection between slopes that occur; each pass looks at all pairs. Slow (n squared a pass) and never wrong.
    """
    low, high = np.inf, -np.inf
    middle = 0.0
    first = True
    while first or low < high:
        below, largest, smallest = 0, -np.inf, np.inf
        for g in range(bounds.size - 1):
            for i in range(bounds[g], bounds[g + 1]):
                for j in range(i + 1, bounds[g + 1]):
                    slope = (y[j] - y[i]) / (t[j] - t[i])
                    if first:
                        low, high = min(low, slope), max(high, slope)
                    if slope <= middle:
                        below += 1
                        largest = max(largest, slope)
                    else:
                        smallest = min(smallest, slope)
        if below > rank:
            high = largest
        else:
            low = smallest
        first = False
        middle = low + (high - low) / 2
        if middle >= high:
            middle = low
    return low


@njit(**COMPILED)
def _narrow(t, y, rank, low, high, below_low, below_high, noise, spread):
    """Draw the bracket (low, high) round the slopes of `rank` and its successor; returns it with its counts."""
    n = t.size
    pairs = n * (n - 1) // 2
    keys, spare = np.empty(n), np.empty(n)
    size = min(pairs, max(64, n))
    sample = _sample_slopes(t, y, size)
    centre = (rank + 0.5) / pairs * size
    reach = 3 * np.sqrt(centre * (1 - centre / size)) + 1
    probes = np.empty(2)
    probes[0] = sample[max(0, int(np.floor(centre - reach)))]
    probes[1] = sample[min(size - 1, int(np.ceil(centre + reach)))]
    for turn in range(ROUNDS):
        for probe in probes:
            margin = 2 * noise * (1 + abs(probe) * spread)
            if not low + margin < probe < high - margin:
                continue
            below = _count_below(t, y, probe, keys, spare)
            if below <= rank:
                low, below_low = probe, below
            elif below > min(rank + 1, pairs - 1):
                high, below_high = probe, below
        inside = below_high - below_low
        if inside <= ENUMERATED * n or high - low <= 8 * noise * (1 + max(abs(low), abs(high)) * spread):
            break
        # The distribution of slopes is smooth: aim at both sides of where a straight line puts the rank.
        share = (rank - below_low) / inside
        half = max(0.05, 0.25 * ENUMERATED * n / inside) if turn < 6 else 0.25
        probes[0] = low + max(share - half, 0.02) * (high - low)
        probes[1] = low + min(share + half, 0.98) * (high - low)
    return low, high, below_low, below_high


@njit(**COMPILED)
def select_slope(t, y, rank, falling, tied, gap):
    """Slopes of `rank` (from 0) and of the next rank among all pairs of one series.

    A pair's slope is below b when removing the line of slope b turns its order round, so ranks are counted by
    inversions. Two slopes are found that enclose the ranks, by a sample and then by interpolation; the pairs between
    them are enumerated (after Matousek 1991, doi 10.1016/0020-0190(91)90177-J). Rounding can misplace only pairs whose
    slope is within `margin` of an end, so the answer is exact when it lies inside by more than that; otherwise, as
    with a straight line, where all slopes are one, the pairs are looked through one by one.

    `falling, tied, gap` are those of `kendall_score`.
    """
    n = t.size
    pairs = n * (n - 1) // 2
    successor = min(rank + 1, pairs - 1)
    if falling <= rank and successor < falling + tied:
        return 0.0, 0.0
    step = np.inf
    for i in range(1, n):
        step = min(step, t[i] - t[i - 1])
    largest = max(np.abs(y).max(), 1e-300)
    noise = 8 * EPSILON * largest / step
    spread = np.abs(t).max() / largest  # the margin at slope b is noise * (1 + |b| * spread)
    high = 1.001 * (y.max() - y.min()) / step + 4 * noise
    low = -high
    below_low, below_high = 0, pairs
    # A slope that is not 0 is at least this steep; between it and 0 only the tied pairs are shut out.
    least = 0.5 * gap / (t[-1] - t[0])
    if least > 2 * noise:
        if rank >= falling + tied:
            low, below_low = least, falling + tied
        elif successor < falling:
            high, below_high = -least, falling
    low, high, below_low, below_high = _narrow(t, y, rank, low, high, below_low, below_high, noise, spread)
    if below_high - below_low <= CAPACITY * n:
        between = _slopes_between(t, y, low, high, below_high - below_low)
        if between.size:
            one, two = two_smallest_from(between, rank - below_low)
            inner_low = low + noise * (1 + abs(low) * spread)
            inner_high = high - noise * (1 + abs(high) * spread)
            if inner_low <= one and two <= inner_high and successor < below_high:
                return one, two
    bounds = np.array([0, n])
    return select_by_passes(t, y, bounds, rank), select_by_passes(t, y, bounds, successor)


@njit(**COMPILED)
def median_slope(t, y, falling, tied, gap):
    """Median of all pairwise slopes of one series of at least two values."""
    n = t.size
    pairs = n * (n - 1) // 2
    one, two = select_slope(t, y, (pairs - 1) // 2, falling, tied, gap)
    return one if pairs % 2 else (one + two) / 2


@njit(**COMPILED)
def median_slope_within(t, y, bounds):
    """Median slope of the pairs within each stretch bounds[g]:bounds[g + 1]; NaN where there is no pair."""
    pairs = 0
    for g in range(bounds.size - 1):
        size = bounds[g + 1] - bounds[g]
        pairs += size * (size - 1) // 2
    if pairs == 0:
        return np.nan
    rank = (pairs - 1) // 2
    if pairs > CAPACITY * max(t.size, 1024):
        one = select_by_passes(t, y, bounds, rank)
        two = one if pairs % 2 else select_by_passes(t, y, bounds, rank + 1)
        return (one + two) / 2
    slopes = np.empty(pairs)
    found = 0
    for g in range(bounds.size - 1):
        for i in range(bounds[g], bounds[g + 1]):
            for j in range(i + 1, bounds[g + 1]):
                slopes[found] = (y[j] - y[i]) / (t[j] - t[i])
                found += 1
    one, two = two_smallest_from(slopes, rank)
    return one if pairs % 2 else (one + two) / 2
