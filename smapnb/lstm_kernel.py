"""One day of the paper's LSTM (equations 2-7) and of its gradient as single passes over NumPy arrays, in Numba.

It promises the arithmetic of `smapnb.lstm.reference_recurrence` between the matrix products, which stay in torch; it
knows no torch, no time loop, no input and no output layer. Gates are stacked i, f, g, o along the last axis.
"""

import math
from typing import Any

import numpy as np
from numba import float32, njit
from numba.extending import overload

# Constants in the narrow type: a Python float would pull float32 arithmetic up to float64.
ONE, TWO = np.float32(1), np.float32(2)
# numpy's error model: Python's checks each division for zero, and that branch alone stops vectorisation.
# Of fast arithmetic only what keeps NaN and infinity as they are: a loss that is not finite must be seen.
FAST = {"reassoc", "contract", "arcp", "afn", "nsz"}
COMPILED: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy", "nogil": True, "cache": True}


def _exp(x):
    """Exponential; the compiled body comes from the overload below."""
    return math.exp(x)


@overload(_exp, inline="always")
def _exp_overload(x):
    """Cephes' polynomial in float32, which vectorises (relative error below 2e-7); the C library's in float64."""
    if x != float32:
        return lambda x: math.exp(x)

    def polynomial(x):
        not_finite = x * np.float32(0)  # 0, or NaN, which the limits below would turn into a number
        x = min(max(x, np.float32(-87.0)), np.float32(87.0))
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        p = p * r * r + r + np.float32(1.0)
        return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32) + not_finite

    return polynomial


@njit(fastmath=FAST, inline="always", error_model="numpy")
def _sigmoid(x):
    return ONE / (ONE + _exp(-x))


@njit(fastmath=FAST, inline="always", error_model="numpy")
def _tanh(x):
    return TWO / (ONE + _exp(-TWO * x)) - ONE


@njit(**COMPILED)
def day_forward(gates, from_h, mask_h, mask_g, cell, new_cell, h, dropped_h):
    """Equations 2-7 of one day for all instances.

    gates (batch, 4 hidden) holds W D(x) + b on entry and i, f, g, o on exit; from_h (batch, 4 hidden) is W D(h) of the
    day before. Fills new_cell, h and D(h), each (batch, hidden).
    """
    batch, hidden = h.shape
    for b in range(batch):
        a, r = gates[b], from_h[b]
        i, f, g, o = a[:hidden], a[hidden : 2 * hidden], a[2 * hidden : 3 * hidden], a[3 * hidden :]
        r_g, r_o = r[2 * hidden : 3 * hidden], r[3 * hidden :]
        # One short loop a gate: with all of them in one the compiler cannot rule out overlap and gives up vectors. Each
        # counts from 0: an index that might be negative, from the end, stops it too.
        for c in range(2 * hidden):
            a[c] = _sigmoid(a[c] + r[c])  # equations 3 and 4: i, f
        for c in range(hidden):
            g[c] = _tanh(g[c] + r_g[c])  # equation 2
        for c in range(hidden):
            o[c] = _sigmoid(o[c] + r_o[c])  # equation 5
        old, new, mg = cell[b], new_cell[b], mask_g[b]
        for c in range(hidden):
            new[c] = mg[c] * g[c] * i[c] + old[c] * f[c]  # equation 6
        out, dropped, mh = h[b], dropped_h[b], mask_h[b]
        for c in range(hidden):
            out[c] = _tanh(new[c]) * o[c]  # equation 7
        for c in range(hidden):
            dropped[c] = out[c] * mh[c]


@njit(**COMPILED)
def day_backward(gates, from_next, dh, mask_h, mask_g, cell, cell_before, ds):
    """Chain rule through equations 2-7 of one day.

    gates (batch, 4 hidden) holds i, f, g, o on entry and the gradient at their arguments on exit; from_next (batch,
    hidden) is the gradient that the next day sends to D(h); dh the loss's own; ds carries the cell's gradient.
    """
    batch, hidden = dh.shape
    for b in range(batch):
        a, mg, mh, now, before, carried = gates[b], mask_g[b], mask_h[b], cell[b], cell_before[b], ds[b]
        for c in range(hidden):
            i, f, g, o = a[c], a[hidden + c], a[2 * hidden + c], a[3 * hidden + c]
            d = dh[b, c] + from_next[b, c] * mh[c]
            ts = _tanh(now[c])
            v = carried[c] + d * o * (ONE - ts * ts)
            a[c] = v * g * mg[c] * i * (ONE - i)
            a[hidden + c] = v * before[c] * f * (ONE - f)
            a[2 * hidden + c] = v * i * mg[c] * (ONE - g * g)
            a[3 * hidden + c] = d * ts * o * (ONE - o)
            carried[c] = v * f
