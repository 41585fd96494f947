"""Mann-Kendall and Sen as their definitions read, over the matrix of all pairs: what the fast kernels are held against.

Memory and time grow with n squared; nothing but the tests and a curious reader needs it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def score(y: Floats) -> int:
    """Return S, the sum over pairs i < j of sign(y_j - y_i) (Mann 1945, doi 10.2307/1907187)."""
    return int(np.triu(np.sign(y[None, :] - y[:, None]), 1).sum())


def variance(y: Floats) -> float:
    """Return var S of independent values, (n (n - 1) (2 n + 5) - sum of u (u - 1) (2 u + 5)) / 18, u tied alike."""
    n, groups = y.size, np.unique(y, return_counts=True)[1]
    return float(n * (n - 1) * (2 * n + 5) - (groups * (groups - 1) * (2 * groups + 5)).sum()) / 18


def slopes(t: Floats, y: Floats) -> Floats:
    """Return all (y_j - y_i) / (t_j - t_i), i < j, sorted (Sen 1968, doi 10.2307/2285891)."""
    earlier, later = np.triu_indices(t.size, 1)
    return np.sort((y[later] - y[earlier]) / (t[later] - t[earlier]))


def median_slope(t: Floats, y: Floats) -> float:
    """Return Sen's slope: the median of `slopes`."""
    return float(np.median(slopes(t, y)))
