"""The paper's network (equations 1-8) over packed weights, as passes over NumPy arrays, in Numba: the way forward.

It promises the numbers of `smapnb.lstm.reference_recurrence` between its two layers; it knows no torch. The gradient is
in lstm_packed_gradient.

A unit that D(g) drops and that starts from zero keeps s = h = 0, so an instance needs of W_x the rows of kept gates and
the columns of kept x, and of W_h the columns kept by both D(h) and D(g). Gates are stacked i, f, g, o.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from smapnb.lstm_kernel import FAST, _sigmoid, _tanh
from smapnb.lstm_pack import (
    INNER,
    PLAIN,
    SIDE_BY_SIDE,
    START,
    TILE,
    clear,
    lanes_of,
    of_instance,
    pack_gates,
    pack_row,
    picked,
    places,
    product,
    room,
    row_product,
    step_of,
    step_of_inputs,
    unpack_row,
    up,
    width_of,
    zeros,
)


class Plan(NamedTuple):
    """What the masks of a batch mean: masks (batch, hidden), `lstm_pack.kept_units` of each, places in flat arrays.

    An instance's gates (time, 4 width) begin at gates_at, rows `step_of` apart; its D(x) and D(h) at inputs_at, rows
    `step_of_inputs` apart.
    """

    mask_x: Any
    mask_h: Any
    mask_g: Any
    x: Any
    h: Any
    g: Any
    gates_at: Any
    inputs_at: Any


class Network(NamedTuple):
    """The weights as a pass reads them: forward transposes of W_x and W_h, backward themselves.

    Where a group of instances shares its products, all of W_h is packed, by `pack_gates` or `pack_units`.
    """

    first: Any  # (inputs + 1, hidden): transpose of the input layer's weight, then its bias
    x: Any
    h: Any
    bias: Any  # (1, 4 hidden)
    out: Any  # (hidden,)
    out_bias: Any  # (1,)


@njit(**PLAIN)
def places_of(rows, lanes, n_x, n_h, n_g):
    """Where the gates and the inputs of each instance begin, and after them the end, from the numbers of kept units."""
    gates_at, inputs_at = np.zeros(n_x.size + 1, np.int64), np.zeros(n_x.size + 1, np.int64)
    for b in range(n_x.size):
        gates_at[b + 1] = gates_at[b] + rows * step_of(4 * width_of(n_g[b], lanes), lanes)
        inputs_at[b + 1] = inputs_at[b] + rows * step_of_inputs(n_x[b], n_h[b], lanes)
    return gates_at, inputs_at


@njit(fastmath=FAST, **INNER)
def _day(a, width, mask_g, s, h):
    """Equations 2-7 of one day and instance: a holds the arguments of the gates on entry, i, f, g, o on exit."""
    # One short loop a gate: with all of them in one the compiler cannot rule out overlap and gives up vectors. Each
    # counts from 0: an index that might be negative, from the end, stops it too.
    i, f, g, o = a[:width], a[width : 2 * width], a[2 * width : 3 * width], a[3 * width :]
    both = a[: 2 * width]
    for c in range(2 * width):
        both[c] = _sigmoid(both[c])  # equations 3 and 4: i, f
    for c in range(width):
        g[c] = _tanh(g[c])  # equation 2
    for c in range(width):
        o[c] = _sigmoid(o[c])  # equation 5
    for c in range(width):
        s[c] = mask_g[c] * g[c] * i[c] + s[c] * f[c]  # equation 6
    for c in range(width):
        h[c] = _tanh(s[c]) * o[c]  # equation 7


@njit(fastmath=FAST, **INNER)
def _dot(a, b, n):
    total = a.dtype.type(0)
    for c in range(n):
        total += a[c] * b[c]
    return total


@njit(**INNER)
def take_days(x, b, rows):
    """Instance b of x (time, batch, inputs), a 1 behind each day for the bias: (rows, step), days beyond the last 0."""
    days, _, inputs = x.shape
    step = step_of(inputs + 1, lanes_of(x))
    taken = zeros(rows * step + lanes_of(x), x)
    for t in range(days):
        for c in range(inputs):
            taken[t * step + c] = x[t, b, c]
        taken[t * step + inputs] = 1
    return taken


@njit(**INNER)
def input_layer(b, rows, taken, net, plan, packed, dropped, start, across):
    """D(x) = D(ReLU(W x + b)) of all days, equation 1: (rows, kept) in `dropped` from start; the mask is in W and b."""
    units, lanes, many = of_instance(plan.x, b), lanes_of(taken), net.first.shape[0]
    n, hidden, flat = units[0].size, net.first.shape[1], net.first.reshape(-1)
    step = step_of(n, lanes)
    mask, zero = picked(plan.mask_x[b], units[0], n), taken.dtype.type(0)
    for r in range(many):
        pack_row(flat, r * hidden, units, packed, r * step)
        for c in range(n):
            packed[r * step + c] *= mask[c]
    for t in range(rows):
        clear(dropped, start + t * across, start + t * across + up(n, lanes))
    left = step_of(many, lanes)
    product(rows, many, taken, START, left, SIDE_BY_SIDE, packed, START, step, dropped, start, across, n)
    for t in range(rows):
        row = dropped[start + t * across : start + t * across + n]
        for c in range(n):
            row[c] = zero if row[c] < zero else row[c]  # and not the larger of both, which might hide a NaN


@njit(**PLAIN)
def forward(low, high, shared, x, net, plan, gates, h, s, y):
    """Equations 1-8 of instances low to high, all days, from a zero start.

    Parameters
    ----------
    shared : bool
        W_h D(h) of the whole group is one product, which reads all of W_h once a day; else each instance has one with
        the part of W_h that it keeps.
    x, y : arrays (time, batch, inputs), (time, batch)
        Input and output of the network; y is filled here.
    gates : flat array
        i, f, g, o of each instance are left here.
    h, s : arrays (batch, hidden)
        The state after the last day, is left here.
    """
    days, hidden = x.shape[0], net.x.shape[0]
    lanes = lanes_of(x)
    rows, most = up(days, TILE), step_of(4 * width_of(hidden, lanes), lanes)
    packed = room(max(hidden + 1, net.first.shape[0] + 1) * most, x)
    row, only = room(most + lanes, x), np.zeros(1, np.int64)
    dropped = room(rows * step_of(hidden, lanes) + lanes, x)
    for b in range(low, high):
        k, g = of_instance(plan.x, b), of_instance(plan.g, b)
        width, across = width_of(g[0].size, lanes), step_of(k[0].size, lanes)
        step, start = step_of(4 * width, lanes), plan.gates_at[b]
        input_layer(b, rows, take_days(x, b, rows), net, plan, packed, dropped, START, across)
        pack_gates(net.x, k[0], g, packed, step)
        pack_gates(net.bias, only, g, row, step)
        for t in range(rows):
            for c in range(4 * width):
                gates[start + t * step + c] = row[c]
        # W_x D(x) + b of all days, the part of equations 2-5 that does not wait for the day before.
        product(
            rows, k[0].size, dropped, START, across, SIDE_BY_SIDE, packed, START, step, gates, start, step, 4 * width
        )
        if not shared:
            _days_own(b, net, plan, gates, h, s, y, packed)
    if shared:
        _days_shared(low, high, net, plan, gates, h, s, y)


@njit(**INNER)
def _days_own(b, net, plan, gates, h, s, y, packed):
    """All days of one instance with its own part of W_h, which stays in the cache."""
    days, lanes = y.shape[0], lanes_of(h)
    k, g = of_instance(plan.h, b), of_instance(plan.g, b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, place = step_of(4 * width, lanes), places(k[0], g[0])
    pack_gates(net.h, k[0], g, packed, step)
    mask_g, mask_h = picked(plan.mask_g[b], g[0], width), picked(plan.mask_h[b], k[0], n)
    now, cell = np.zeros(width + lanes, h.dtype), np.zeros(width + lanes, h.dtype)
    out, dropped = picked(net.out, g[0], width), np.empty(n, h.dtype)
    for t in range(days):
        at = plan.gates_at[b] + t * step
        if t > 0:
            for c in range(n):
                dropped[c] = now[place[c]] * mask_h[c]
            row_product(n, dropped, START, packed, step, gates, at, 4 * width, t % 2 == 0)
        _day(gates[at : at + 4 * width], width, mask_g, cell, now)
        y[t, b] = _dot(now, out, width) + net.out_bias[0]  # equation 8
    _leave(now, g, h[b])
    _leave(cell, g, s[b])


@njit(**INNER)
def _leave(packed, units, row):
    """Write the state of an instance's units to where it is asked for; 0 for those that are dropped."""
    whole = np.empty(row.size + lanes_of(row), row.dtype)
    unpack_row(packed, START, units, whole, START)
    for c in range(row.size):
        row[c] = whole[c]


@njit(**INNER)
def _days_shared(low, high, net, plan, gates, h, s, y):
    """All days of a group of instances, day by day, with the whole of W_h."""
    days, hidden = y.shape[0], h.shape[1]
    lanes, group = lanes_of(h), high - low
    full_width, rows, step_h = width_of(hidden, lanes), up(group, TILE), step_of(hidden, lanes)
    full, whole = step_of(4 * full_width, lanes), net.h.reshape(-1)
    dropped, from_h, part = zeros(rows * step_h + lanes, h), zeros(rows * full + lanes, h), room(full + lanes, h)
    now = np.zeros((group, hidden + 2 * lanes), h.dtype)
    cell, mask_g, out = np.zeros_like(now), np.zeros_like(now), np.zeros_like(now)
    for j in range(group):
        b = low + j
        g = of_instance(plan.g, b)
        for c in range(g[0].size):
            unit = g[0][c]
            mask_g[j, c], out[j, c] = plan.mask_g[b, unit], net.out[unit]
    for t in range(days):
        if t > 0:
            clear(from_h, START, from_h.size)
            one = SIDE_BY_SIDE
            product(rows, hidden, dropped, START, step_h, one, whole, START, full, from_h, START, full, 4 * full_width)
        for j in range(group):
            b = low + j
            g = of_instance(plan.g, b)
            width = width_of(g[0].size, lanes)
            at = plan.gates_at[b] + t * step_of(4 * width, lanes)
            for q in range(4):
                pack_row(from_h, j * full + q * full_width, g, part, q * width)
            a = gates[at : at + 4 * width]
            for c in range(4 * width):
                a[c] += part[c]
            _day(a, width, mask_g[j], cell[j], now[j])
            y[t, b] = _dot(now[j], out[j], width) + net.out_bias[0]  # equation 8
            unpack_row(now[j], START, g, dropped, j * step_h)
            row, mask_h = dropped[j * step_h : j * step_h + hidden], plan.mask_h[b]
            for c in range(hidden):
                row[c] *= mask_h[c]
    for j in range(group):
        b = low + j
        _leave(now[j], of_instance(plan.g, b), h[b])
        _leave(cell[j], of_instance(plan.g, b), s[b])
