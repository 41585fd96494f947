"""The paper's LSTM (equations 2-7) and its gradient over packed weights, as passes over NumPy arrays, in Numba.

It promises the numbers of `smapnb.lstm.reference_recurrence`; it knows no torch, no input and no output layer.

A unit that D(g) drops and that starts from zero keeps s = h = 0, so an instance needs of W_x the rows of kept gates and
the columns of kept x, and of W_h the columns kept by both D(h) and D(g). Gates are stacked i, f, g, o.
"""

import numpy as np
from numba import njit

from smapnb.lstm_kernel import FAST, _sigmoid, _tanh
from smapnb.lstm_pack import (
    PLAIN,
    lanes_of,
    of_instance,
    pack_days,
    pack_gates,
    pack_row,
    pack_units,
    picked,
    places,
    product,
    row_product,
    step_of,
    step_of_inputs,
    unpack_add,
    unpack_row,
    up,
    width_of,
)
from smapnb.lstm_vector import ROWS


@njit(fastmath=FAST, **PLAIN)
def _day(a, width, mask_g, s, h):
    """Equations 2-7 of one day and instance: a holds the arguments of the gates on entry, i, f, g, o on exit."""
    # One short loop a gate: with all of them in one the compiler cannot rule out overlap and gives up vectors.
    for c in range(2 * width):
        a[c] = _sigmoid(a[c])  # equations 3 and 4: i, f
    for c in range(2 * width, 3 * width):
        a[c] = _tanh(a[c])  # equation 2: g
    for c in range(3 * width, 4 * width):
        a[c] = _sigmoid(a[c])  # equation 5: o
    i, f, g, o = a[:width], a[width : 2 * width], a[2 * width : 3 * width], a[3 * width :]
    for c in range(width):
        s[c] = mask_g[c] * g[c] * i[c] + s[c] * f[c]  # equation 6
    for c in range(width):
        h[c] = _tanh(s[c]) * o[c]  # equation 7


@njit(fastmath=FAST, **PLAIN)
def _cell(a, width, mask_g, before, s):
    """Equation 6 again, from the gates."""
    i, f, g = a[:width], a[width : 2 * width], a[2 * width : 3 * width]
    for c in range(width):
        s[c] = mask_g[c] * g[c] * i[c] + before[c] * f[c]


@njit(fastmath=FAST, **PLAIN)
def _day_backward(a, width, mask_g, dh, s, before, ds):
    """Chain rule through equations 2-7: a holds i, f, g, o on entry, the gradient at their arguments on exit.

    dh is the gradient at the day's h, from the loss and from the day after; ds carries the cell's.
    """
    one = a.dtype.type(1)
    a_i, a_f, a_g, a_o = a[:width], a[width : 2 * width], a[2 * width : 3 * width], a[3 * width : 4 * width]
    for c in range(width):
        i, f, g, o = a_i[c], a_f[c], a_g[c], a_o[c]
        tanh_s = _tanh(s[c])
        v = ds[c] + dh[c] * o * (one - tanh_s * tanh_s)
        a_i[c] = v * g * mask_g[c] * i * (one - i)
        a_f[c] = v * before[c] * f * (one - f)
        a_g[c] = v * i * mask_g[c] * (one - g * g)
        a_o[c] = dh[c] * tanh_s * o * (one - o)
        ds[c] = v * f


@njit(**PLAIN)
def forward(low, high, shared, u, wx_t, wh, bias, masks, kept, start, gates, inputs, given, first, h):
    """Equations 2-7 of instances low to high, all days.

    Parameters
    ----------
    shared : bool
        W_h D(h) of the whole group is one product, which reads all of W_h once a day; else each instance has one with
        the part of W_h that it keeps.
    u, h : arrays (time, batch, hidden)
        Input of the recurrence, and its output, filled here.
    wx_t, bias : arrays (hidden, 4 hidden), (1, 4 hidden)
        The transpose of W_x, and the bias.
    wh : array
        The transpose of W_h, (hidden, 4 hidden); where shared, all of it packed by `pack_gates`.
    masks, kept : three masks x, h, g (batch, hidden), and their `kept_units`
        A unit that D(g) drops but that starts from a state of its own counts as kept in g.
    start, gates : arrays (batch,) and flat
        Instance b's gates (time, 4 width) are left at gates[start[0][b]], rows `step_of` apart.
    given, first : bool and two arrays (batch, hidden)
        Whether the start is not zero, and h, s of the start; s after the last day takes its place.
    """
    days, hidden = u.shape[0], u.shape[2]
    lanes, kind = lanes_of(u), u.dtype
    rows, most = up(days, ROWS), step_of(4 * width_of(hidden, lanes), lanes)
    packed, row, only = np.empty(hidden * most + lanes, kind), np.empty(most + lanes, kind), np.zeros(1, np.int64)
    for b in range(low, high):
        x, g = of_instance(kept[0], b), of_instance(kept[2], b)
        width = width_of(g[0].size, lanes)
        step = step_of(4 * width, lanes)
        pack_gates(wx_t, x[0], g, packed, step)
        pack_gates(bias, only, g, row, step)
        across, at = step_of_inputs(kept, b, lanes), start[1][b]
        pack_days(u, b, picked(masks[0][b], x[0], x[0].size), x, inputs, across, at)
        inputs[at + days * across : at + rows * across] = 0
        for t in range(rows):
            gates[start[0][b] + t * step : start[0][b] + t * step + 4 * width] = row[: 4 * width]
        # W_x D(x) + b of all days, the part of equations 2-5 that does not wait for the day before.
        product(rows, x[0].size, inputs, at, across, 1, packed, 0, step, gates, start[0][b], step, 4 * width)
        if not shared:
            _days_own(b, wh, masks, kept, start, gates, inputs, given, first, h, packed)
    if shared:
        _days_shared(low, high, wh, masks, kept, start, gates, inputs, given, first, h)


@njit(**PLAIN)
def _days_own(b, wh_t, masks, kept, start, gates, inputs, given, first, h, packed):
    """All days of one instance with its own part of W_h, which stays in the cache."""
    days, batch, hidden = h.shape
    lanes, flat = lanes_of(h), h.reshape(-1)
    k, g = of_instance(kept[1], b), of_instance(kept[2], b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, place = step_of(4 * width, lanes), places(k[0], g[0])
    pack_gates(wh_t, k[0], g, packed, step)
    mask_g, mask_h = picked(masks[2][b], g[0], width), picked(masks[1][b], k[0], n)
    now, s = picked(first[0][b], g[0], width + lanes), picked(first[1][b], g[0], width + lanes)
    across, beside = step_of_inputs(kept, b, lanes), start[1][b] + up(kept[0][0][b], lanes)
    for t in range(days):
        at, dropped = start[0][b] + t * step, beside + t * across
        for c in range(n):
            inputs[dropped + c] = now[place[c]] * mask_h[c]
        if t > 0 or given:
            row_product(n, inputs, dropped, packed, step, gates, at, 4 * width)
        _day(gates[at : at + 4 * width], width, mask_g, s, now)
        unpack_row(now, 0, g, flat, (t * batch + b) * hidden, hidden)
    unpack_row(s, 0, g, first[1].reshape(-1), b * hidden, hidden)


@njit(**PLAIN)
def _days_shared(low, high, wh, masks, kept, start, gates, inputs, given, first, h):
    """All days of a group of instances, day by day, with the whole of W_h."""
    days, batch, hidden = h.shape
    lanes, kind, flat, group = lanes_of(h), h.dtype, h.reshape(-1), high - low
    full_width, rows, step_h = width_of(hidden, lanes), up(group, ROWS), step_of(hidden, lanes)
    full, whole = step_of(4 * full_width, lanes), wh.reshape(-1)
    dropped, from_h = np.zeros(rows * step_h, kind), np.zeros(rows * full + lanes, kind)
    now, part = np.zeros(hidden + 2 * lanes, kind), np.empty(full + lanes, kind)
    s, mask_g = np.zeros((group, hidden + 2 * lanes), kind), np.zeros((group, hidden + lanes), kind)
    for j in range(group):
        g = of_instance(kept[2], low + j)
        for c in range(g[0].size):
            s[j, c], mask_g[j, c] = first[1][low + j, g[0][c]], masks[2][low + j, g[0][c]]
        dropped[j * step_h : j * step_h + hidden] = first[0][low + j] * masks[1][low + j]
    for t in range(days):
        if t > 0 or given:
            from_h[:] = 0
            product(rows, hidden, dropped, 0, step_h, 1, whole, 0, full, from_h, 0, full, 4 * full_width)
        for j in range(group):
            b = low + j
            k, g = of_instance(kept[1], b), of_instance(kept[2], b)
            width = width_of(g[0].size, lanes)
            at = start[0][b] + t * step_of(4 * width, lanes)
            beside = start[1][b] + t * step_of_inputs(kept, b, lanes) + up(kept[0][0][b], lanes)
            pack_row(dropped, j * step_h, k, inputs, beside)
            for q in range(4):
                pack_row(from_h, j * full + q * full_width, g, part, q * width)
            a = gates[at : at + 4 * width]
            for c in range(4 * width):
                a[c] += part[c]
            _day(a, width, mask_g[j], s[j], now)
            unpack_row(now, 0, g, flat, (t * batch + b) * hidden, hidden)
            out, mask_h = h[t, b], masks[1][b]
            for c in range(hidden):
                dropped[j * step_h + c] = out[c] * mask_h[c]
    for j in range(group):
        unpack_row(s[j], 0, of_instance(kept[2], low + j), first[1].reshape(-1), (low + j) * hidden, hidden)


@njit(**PLAIN)
def backward(low, high, shared, dh, wx, wh, masks, kept, start, gates, du, d_bias):
    """Gradient of instances low to high: at the gates' arguments, in place of gates, at u and at the bias.

    dh, du : arrays (time, batch, hidden)
    wx, wh : arrays (4 hidden, hidden)
        Where shared, all of W_h packed by `pack_units`.
    d_bias : array (batch, 4 hidden)
    The rest as in `forward`, from a zero start.
    """
    days, batch, hidden = dh.shape
    lanes, kind, flat = lanes_of(dh), dh.dtype, du.reshape(-1)
    rows, most = up(days, ROWS), step_of(hidden, lanes)
    packed = np.empty(4 * width_of(hidden, lanes) * most + lanes, kind)
    dx = np.empty(rows * most + lanes, kind)
    if shared:
        _days_shared_backward(low, high, dh, wh, masks, kept, start, gates)
    for b in range(low, high):
        if not shared:
            _days_own_backward(b, dh, wh, masks, kept, start, gates, packed)
        x, g = of_instance(kept[0], b), of_instance(kept[2], b)
        n, width = g[0].size, width_of(g[0].size, lanes)
        step, step_x, mask_x = step_of(4 * width, lanes), step_of(x[0].size, lanes), masks[0][b]
        pack_units(wx, g[0], x, packed, step_x)
        dx[: rows * step_x] = 0
        product(rows, 4 * width, gates, start[0][b], step, 1, packed, 0, step_x, dx, 0, step_x, x[0].size)
        total = np.zeros(4 * width, kind)
        for t in range(days):
            place, at = (t * batch + b) * hidden, start[0][b] + t * step
            unpack_row(dx, t * step_x, x, flat, place, hidden)
            for c in range(hidden):
                flat[place + c] *= mask_x[c]
            for c in range(4 * width):
                total[c] += gates[at + c]
        for q in range(4):
            for c in range(n):
                d_bias[b, q * hidden + g[0][c]] = total[q * width + c]


@njit(**PLAIN)
def _days_own_backward(b, dh, wh, masks, kept, start, gates, packed):
    """Gradient at the gates' arguments of one instance, from the last day to the first."""
    days, batch, hidden = dh.shape
    lanes, kind, flat = lanes_of(dh), dh.dtype, dh.reshape(-1)
    k, g = of_instance(kept[1], b), of_instance(kept[2], b)
    n, width = k[0].size, width_of(g[0].size, lanes)
    step, step_h, place = step_of(4 * width, lanes), step_of(n, lanes), places(k[0], g[0])
    pack_units(wh, g[0], k, packed, step_h)
    mask_g, mask_h = picked(masks[2][b], g[0], width), picked(masks[1][b], k[0], n)
    s = np.zeros((days + 1, width), kind)
    for t in range(days):
        at = start[0][b] + t * step
        _cell(gates[at : at + 4 * width], width, mask_g, s[t], s[t + 1])
    ds, d, from_next = np.zeros(width, kind), np.zeros(width + lanes, kind), np.zeros(step_h + lanes, kind)
    for t in range(days - 1, -1, -1):
        at = start[0][b] + t * step
        pack_row(flat, (t * batch + b) * hidden, g, d, 0)
        if t < days - 1:
            from_next[:] = 0
            row_product(4 * width, gates, at + step, packed, step_h, from_next, 0, n)
            for c in range(n):
                d[place[c]] += from_next[c] * mask_h[c]
        _day_backward(gates[at : at + 4 * width], width, mask_g, d, s[t + 1], s[t], ds)


@njit(**PLAIN)
def _days_shared_backward(low, high, dh, wh, masks, kept, start, gates):
    """Gradient at the gates' arguments of a group of instances, day by day."""
    days, batch, hidden = dh.shape
    lanes, kind, flat, group = lanes_of(dh), dh.dtype, dh.reshape(-1), high - low
    full_width, rows, step_h = width_of(hidden, lanes), up(group, ROWS), step_of(hidden, lanes)
    full, whole = step_of(4 * full_width, lanes), wh.reshape(-1)
    d_full, from_next = np.zeros(rows * full, kind), np.zeros(rows * step_h + lanes, kind)
    d, more = np.zeros(hidden + 2 * lanes, kind), np.zeros(hidden + 2 * lanes, kind)
    mask_g, mask_h = np.zeros((group, hidden + lanes), kind), np.zeros((group, hidden + lanes), kind)
    ds, s = np.zeros((group, hidden + lanes), kind), np.zeros((group, days + 1, hidden + lanes), kind)
    for j in range(group):
        g = of_instance(kept[2], low + j)
        width = width_of(g[0].size, lanes)
        for c in range(g[0].size):
            mask_g[j, c], mask_h[j, c] = masks[2][low + j, g[0][c]], masks[1][low + j, g[0][c]]
        for t in range(days):
            at = start[0][low + j] + t * step_of(4 * width, lanes)
            _cell(gates[at : at + 4 * width], width, mask_g[j], s[j, t], s[j, t + 1])
    for t in range(days - 1, -1, -1):
        if t < days - 1:
            from_next[:] = 0
            product(rows, 4 * full_width, d_full, 0, full, 1, whole, 0, step_h, from_next, 0, step_h, hidden)
        for j in range(group):
            b = low + j
            g = of_instance(kept[2], b)
            width = width_of(g[0].size, lanes)
            at = start[0][b] + t * step_of(4 * width, lanes)
            pack_row(flat, (t * batch + b) * hidden, g, d, 0)
            pack_row(from_next, j * step_h, g, more, 0)
            for c in range(width):
                d[c] += more[c] * mask_h[j, c]
            _day_backward(gates[at : at + 4 * width], width, mask_g[j], d, s[j, t + 1], s[j, t], ds[j])
            for q in range(4):
                unpack_row(gates, at + q * width, g, d_full, j * full + q * full_width, hidden)


@njit(**PLAIN)
def weights(first, last, days, kept, start, gates, inputs, d_wx, d_wh):
    """Add to d_wx, d_wh (4 hidden, hidden) the rows of units first to last: an instance, a product over its days."""
    hidden, lanes, kind = d_wx.shape[1], lanes_of(d_wx), d_wx.dtype
    batch = kept[0][0].size
    tile = np.empty(ROWS * step_of(2 * up(hidden, lanes) + lanes, lanes) + lanes, kind)
    own = np.empty((days + 1) * (last - first + lanes), kind)
    flat_x, flat_h = d_wx.reshape(-1), d_wh.reshape(-1)
    for b in range(batch):
        x, k, g = of_instance(kept[0], b), of_instance(kept[1], b), of_instance(kept[2], b)
        width, n = width_of(g[0].size, lanes), up(x[0].size, lanes)
        step, columns, across = step_of(4 * width, lanes), n + up(k[0].size, lanes), step_of_inputs(kept, b, lanes)
        low, high = np.searchsorted(g[0], first), np.searchsorted(g[0], last)
        units = up(high - low, ROWS)
        for q in range(4):
            for t in range(days):  # read in order: the product's own way through them would wait for the memory
                at = start[0][b] + t * step + q * width + low
                for c in range(high - low):
                    own[t * units + c] = gates[at + c]
            for r in range(0, high - low, ROWS):
                tile[: ROWS * across] = 0
                product(ROWS, days, own, r, 1, units, inputs, start[1][b], across, tile, 0, across, columns)
                for j in range(min(ROWS, high - low - r)):
                    row = (q * hidden + g[0][low + r + j]) * hidden
                    unpack_add(tile, j * across, x, flat_x, row, hidden)
                    unpack_add(tile, j * across + n, k, flat_h, row, hidden)
