"""Sen's slope of block-bootstrap samples of one series; what the limits are is decided in `smapnb.trends`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smapnb import trends_kernels as kernels
from smapnb.trends_axis import Axis

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def block_bootstrap_slopes(axis: Axis, y: Floats, slope: float, block: int | str, n_boot: int, seed: int) -> Floats:
    """Slopes, per unit of `axis.elapsed`, of `n_boot` samples; NaN for a sample with fewer than two values.

    Raises
    ------
    ValueError
        A block that is not positive or longer than the record; "year" where there are not two years.
    """
    length = int(axis.position[-1]) + 1
    period = round(axis.per_year / (axis.elapsed[-1] / max(length - 1, 1))) if block == "year" else 0
    if block == "year" and not 0 < 2 * period <= length:
        raise ValueError(f"blocks of a year need two years; the record has {length} steps, {period} a year")
    if block != "year" and (isinstance(block, str) or not 0 < block <= length):
        raise ValueError(f'block={block!r}: "year", or 1 to {length} steps')
    left = np.full(length, np.nan)
    left[axis.position] = y - slope * axis.elapsed
    generator = np.random.default_rng(seed)
    slopes = np.full(n_boot, np.nan)
    for k in range(n_boot):
        if block == "year":
            source = _years(axis.position, length, period, generator)
        else:
            source = _anywhere(length, int(block), generator)[axis.position]
        sample = left[source] + slope * axis.elapsed
        valid = ~np.isnan(sample)
        values, elapsed = sample[valid], axis.elapsed[valid]
        if values.size > 1:
            _, falling, tied, _, gap = kernels.kendall_score(values)
            slopes[k] = kernels.median_slope(elapsed - elapsed[0], values, falling, tied, gap)
    return slopes


def _anywhere(length: int, block: int, generator: np.random.Generator) -> Ints:
    """Blocks begun anywhere, running on from the last step to the first."""
    starts = generator.integers(length, size=-(-length // block))
    return ((starts[:, None] + np.arange(block)) % length).ravel()[:length]


def _years(position: Ints, length: int, period: int, generator: np.random.Generator) -> Ints:
    """Blocks of a year moved by whole years, cut at a time of the year that each sample draws anew."""
    whole = length // period
    number = (position + generator.integers(period)) // period
    moved = generator.integers(whole, size=int(number[-1]) + 1)
    return (position + moved[number] * period) % (whole * period)
