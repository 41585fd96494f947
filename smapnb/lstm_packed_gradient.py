"""Gradient of the paper's network (equations 1-8) over packed weights, as passes over NumPy arrays, in Numba.

It goes with lstm_packed_kernel, which leaves it the gates i, f, g, o of every day; all else is computed again.
"""

import numpy as np
from numba import njit

from smapnb.lstm_kernel import FAST, _tanh
from smapnb.lstm_pack import (
    INNER,
    PLAIN,
    SIDE_BY_SIDE,
    START,
    TILE,
    clear,
    lanes_of,
    of_instance,
    pack_row,
    pack_units,
    picked,
    places,
    product,
    room,
    row_product,
    step_of,
    step_of_inputs,
    unpack_add,
    unpack_row,
    up,
    width_of,
    zeros,
)
from smapnb.lstm_packed_kernel import input_layer, take_days
from smapnb.lstm_vector import ROWS


@njit(fastmath=FAST, **INNER)
def _cell(a, width, mask_g, before, s, tanh_s):
    """Equation 6 and tanh(s) again, from the gates."""
    i, f, g = a[:width], a[width : 2 * width], a[2 * width : 3 * width]
    for c in range(width):
        s[c] = mask_g[c] * g[c] * i[c] + before[c] * f[c]
    for c in range(width):
        tanh_s[c] = _tanh(s[c])


@njit(fastmath=FAST, **INNER)
def _day_backward(a, width, mask_g, dh, tanh_s, before, ds):
    """Chain rule through equations 2-7: a holds i, f, g, o on entry, the gradient at their arguments on exit.

    dh is the gradient at the day's h, from the output and from the day after; ds carries the cell's.
    """
    one = a.dtype.type(1)
    a_i, a_f, a_g, a_o = a[:width], a[width : 2 * width], a[2 * width : 3 * width], a[3 * width : 4 * width]
    for c in range(width):
        i, f, g, o, th = a_i[c], a_f[c], a_g[c], a_o[c], tanh_s[c]
        v = ds[c] + dh[c] * o * (one - th * th)
        a_i[c] = v * g * mask_g[c] * i * (one - i)
        a_f[c] = v * before[c] * f * (one - f)
        a_g[c] = v * i * mask_g[c] * (one - g * g)
        a_o[c] = dh[c] * th * o * (one - o)
        ds[c] = v * f


@njit(**PLAIN)
def backward(low, high, part, shared, x, dy, net, plan, gates, inputs, inputs_at, d_first, d_bias, d_out):
    """Gradient of instances low to high at the gates' arguments, in place of gates, and at the small weights.

    Parameters
    ----------
    part : int
        Row of the sums that these instances are added to.
    x, dy : arrays (time, batch, inputs), (time, batch)
        Input of the network and gradient at its output.
    inputs, inputs_at : flat array, int
        D(x) and D(h) are left here, for `weights`; what `plan.inputs_at` counts from inputs_at.
    d_first, d_bias, d_out : arrays (parts, hidden, inputs + 1), (parts, 4 hidden), (parts, hidden)
        Sums of the gradient at the input layer's weight and bias, at the gates' bias, at the output layer's weight.
    The rest as in `lstm_packed_kernel.forward`, from a zero start.
    """
    days, hidden = dy.shape[0], net.out.size
    lanes, kind, group = lanes_of(dy), dy.dtype, high - low if shared else 1
    packed = room(max(4 * width_of(hidden, lanes) + 1, x.shape[2] + 2) * step_of(hidden, lanes), dy)
    dx = room(up(days, TILE) * step_of(hidden, lanes) + lanes, dy)
    s, tanh_s = np.zeros((group, days + 1, hidden + lanes), kind), np.empty((group, days, hidden + lanes), kind)
    if shared:
        for j in range(group):
            _replay(low + j, part, x, dy, net, plan, gates, inputs, inputs_at, s[j], tanh_s[j], d_out, packed)
        _days_shared(low, high, dy, net, plan, gates, s, tanh_s)
    for b in range(low, high):
        if not shared:
            _replay(b, part, x, dy, net, plan, gates, inputs, inputs_at, s[0], tanh_s[0], d_out, packed)
            _days_own(b, dy, net, plan, gates, s[0], tanh_s[0], packed)
        _input_path(b, part, x, net, plan, gates, inputs, inputs_at, d_first, d_bias, dx, packed)


@njit(**INNER)
def _replay(b, part, x, dy, net, plan, gates, inputs, inputs_at, s, tanh_s, d_out, packed):
    """D(x), s, tanh(s) and D(h) of one instance once more, and what they mean for the output layer's weight."""
    days, lanes = dy.shape[0], lanes_of(dy)
    n_x, k, g = plan.x[0][b], of_instance(plan.h, b), of_instance(plan.g, b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, place = step_of(4 * width, lanes), places(k[0], g[0])
    across, start = step_of_inputs(n_x, n, lanes), plan.inputs_at[b] - inputs_at
    rows = up(days, TILE)
    input_layer(b, rows, take_days(x, b, rows), net, plan, packed, inputs, start, across)
    mask_g, mask_h = picked(plan.mask_g[b], g[0], width), picked(plan.mask_h[b], k[0], n)
    total, h, beside = np.zeros(width, dy.dtype), np.zeros(width, dy.dtype), start + up(n_x, lanes)
    for t in range(days):
        for c in range(n):
            inputs[beside + t * across + c] = h[place[c]] * mask_h[c]
        at = plan.gates_at[b] + t * step
        _cell(gates[at : at + 4 * width], width, mask_g, s[t], s[t + 1], tanh_s[t])
        o, th = gates[at + 3 * width : at + 4 * width], tanh_s[t]
        for c in range(width):
            h[c] = th[c] * o[c]
            total[c] += dy[t, b] * h[c]
    for c in range(g[0].size):
        d_out[part, g[0][c]] += total[c]


@njit(**INNER)
def _days_own(b, dy, net, plan, gates, s, tanh_s, packed):
    """Gradient at the gates' arguments of one instance, from the last day to the first."""
    days, lanes, kind = dy.shape[0], lanes_of(dy), dy.dtype
    k, g = of_instance(plan.h, b), of_instance(plan.g, b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, step_h, place = step_of(4 * width, lanes), step_of(n, lanes), places(k[0], g[0])
    pack_units(net.h, g[0], k, packed, step_h)
    mask_g, mask_h = picked(plan.mask_g[b], g[0], width), picked(plan.mask_h[b], k[0], n)
    out, dh, ds = picked(net.out, g[0], width), np.empty(width, kind), np.zeros(width, kind)
    from_next = room(step_h + lanes, dy)
    for t in range(days - 1, -1, -1):
        at = plan.gates_at[b] + t * step
        for c in range(width):
            dh[c] = dy[t, b] * out[c]
        if t < days - 1:
            clear(from_next, START, from_next.size)
            row_product(4 * width, gates, at + step, packed, step_h, from_next, START, n, t % 2 == 0)
            for c in range(n):
                dh[place[c]] += from_next[c] * mask_h[c]
        _day_backward(gates[at : at + 4 * width], width, mask_g, dh, tanh_s[t], s[t], ds)


@njit(**INNER)
def _days_shared(low, high, dy, net, plan, gates, s, tanh_s):
    """Gradient at the gates' arguments of a group of instances, day by day, with the whole of W_h."""
    days, hidden = dy.shape[0], net.out.size
    lanes, kind, group = lanes_of(dy), dy.dtype, high - low
    full_width, rows, step_h = width_of(hidden, lanes), up(group, TILE), step_of(hidden, lanes)
    full, whole = step_of(4 * full_width, lanes), net.h.reshape(-1)
    d_full, from_next = zeros(rows * full + lanes, dy), zeros(rows * step_h + lanes, dy)
    dh, more = np.zeros(hidden + lanes, kind), np.zeros(hidden + 2 * lanes, kind)
    ds = np.zeros((group, hidden + lanes), kind)
    mask_g, mask_h, out = np.zeros_like(ds), np.zeros_like(ds), np.zeros_like(ds)
    for j in range(group):
        b = low + j
        units = plan.g[1][b]
        for c in range(plan.g[0][b]):
            unit = units[c]
            mask_g[j, c], mask_h[j, c], out[j, c] = plan.mask_g[b, unit], plan.mask_h[b, unit], net.out[unit]
    for t in range(days - 1, -1, -1):
        if t < days - 1:
            clear(from_next, START, from_next.size)
            one, many = SIDE_BY_SIDE, 4 * full_width
            product(rows, many, d_full, START, full, one, whole, START, step_h, from_next, START, step_h, hidden)
        for j in range(group):
            g = of_instance(plan.g, low + j)
            width = width_of(g[0].size, lanes)
            at = plan.gates_at[low + j] + t * step_of(4 * width, lanes)
            pack_row(from_next, j * step_h, g, more, START)
            for c in range(width):
                dh[c] = dy[t, low + j] * out[j, c] + more[c] * mask_h[j, c]
            _day_backward(gates[at : at + 4 * width], width, mask_g[j], dh, tanh_s[j, t], s[j, t], ds[j])
            for q in range(4):
                unpack_row(gates, at + q * width, g, d_full, j * full + q * full_width)


@njit(**INNER)
def _input_path(b, part, x, net, plan, gates, inputs, inputs_at, d_first, d_bias, dx, packed):
    """From the gates' arguments of one instance back through W_x, D and ReLU to the input layer."""
    days, many = x.shape[0], x.shape[2] + 1
    hidden, lanes, rows = net.out.size, lanes_of(x), up(days, TILE)
    k, g = of_instance(plan.x, b), of_instance(plan.g, b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, step_x, step_first = step_of(4 * width, lanes), step_of(n, lanes), step_of(many, lanes)
    across, start, gates_at = step_of_inputs(n, plan.h[0][b], lanes), plan.inputs_at[b] - inputs_at, plan.gates_at[b]
    pack_units(net.x, g[0], k, packed, step_x)
    clear(dx, START, rows * step_x)
    product(rows, 4 * width, gates, gates_at, step, SIDE_BY_SIDE, packed, START, step_x, dx, START, step_x, n)
    mask, total, zero = picked(plan.mask_x[b], k[0], n), np.zeros(4 * width, x.dtype), x.dtype.type(0)
    for t in range(days):
        d, dropped = dx[t * step_x : t * step_x + n], inputs[start + t * across : start + t * across + n]
        for c in range(n):
            d[c] = zero if dropped[c] == zero else d[c] * mask[c]
        a = gates[gates_at + t * step : gates_at + t * step + 4 * width]
        for c in range(4 * width):
            total[c] += a[c]
    for q in range(4):
        for c in range(g[0].size):
            d_bias[part, q * hidden + g[0][c]] += total[q * width + c]
    sums, taken, one = zeros((up(n, TILE) + 1) * step_first, x), take_days(x, b, rows), SIDE_BY_SIDE
    product(up(n, TILE), days, dx, START, one, step_x, taken, START, step_first, sums, START, step_first, many)
    for c in range(n):
        for r in range(many):
            d_first[part, k[0][c], r] += sums[c * step_first + r]
    _turn(gates, gates_at, days, step, 4 * width)


@njit(**INNER)
def _turn(a, start, days, step, n):
    """Days of n elements, `step` apart, become n rows of the days, in place: what `weights` reads in one sweep."""
    lanes = lanes_of(a)
    days_first = a[start : start + days * step].copy().reshape(days, step // lanes, lanes)
    units_first = a[start : start + n * days].reshape(n // lanes, lanes, days)
    for k in range(n // lanes):
        for t in range(days):
            for c in range(lanes):
                units_first[k, c, t] = days_first[t, k, c]


@njit(**PLAIN)
def weights(first, last, low, high, days, plan, gates, inputs, inputs_at, d_wx, d_wh):
    """Add to d_wx, d_wh, rows of units first to last, a product over its days for each instance.

    d_wx, d_wh : arrays (4 hidden, hidden and more)
        Rows of whole vectors.
    """
    hidden, lanes = plan.mask_g.shape[1], lanes_of(d_wx)
    tile = room(ROWS * step_of_inputs(hidden, hidden, lanes) + lanes, d_wx)
    flat_x, flat_h = d_wx.reshape(-1), d_wh.reshape(-1)
    for b in range(low, high):
        x, k, g = of_instance(plan.x, b), of_instance(plan.h, b), of_instance(plan.g, b)
        width, n = width_of(g[0].size, lanes), up(x[0].size, lanes)
        across, columns = step_of_inputs(x[0].size, k[0].size, lanes), n + up(k[0].size, lanes)
        start = plan.inputs_at[b] - inputs_at
        left, right = np.searchsorted(g[0], first), np.searchsorted(g[0], last)
        for q in range(4):
            for r in range(left, right, ROWS):
                clear(tile, 0, ROWS * across)
                top = plan.gates_at[b] + (q * width + r) * days
                # Plain constants: made anew for them, this sweep takes a third less time.
                product(ROWS, days, gates, top, days, 1, inputs, start, across, tile, 0, across, columns)
                for j in range(min(ROWS, right - r)):
                    row = (q * hidden + g[0][r + j]) * d_wx.shape[1]
                    unpack_add(tile, j * across, x, flat_x, row)
                    unpack_add(tile, j * across + n, k, flat_h, row)
