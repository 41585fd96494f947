"""Kept rows and columns of a matrix side by side, their products, and the way back, in Numba.

It knows vectors and masks, no equation. Packed matrices are flat arrays with their rows `step` apart; positions are
counted in elements and nothing is checked. Whole vectors are read and written, so that each array has one vector more
than it needs.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from smapnb.lstm_vector import BYTES, PANEL, ROWS, WIDEST_ROW, compress, expand, expand_add, make_tile

# numpy's error model: Python's checks each division for zero, and that branch alone stops vectorisation. Numba's cache
# sees a change of this file's own text only: after one in lstm_vector.py empty the folder of compiled code.
PLAIN: dict[str, Any] = {"error_model": "numpy", "nogil": True, "cache": True}
# For what only compiled code calls: a way in from Python, and a place in the cache, would be a third of the compiling.
INNER: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# Numba compiles a function anew for each constant that a call names, unless the constant has a type of its own.
START, SIDE_BY_SIDE, TILE = np.int64(0), np.int64(1), np.int64(ROWS)

# Rows of b that a pass of `product` reads: each may lie in a page of its own, and the processor knows few at a time.
DEPTH = 64

_tile_1, _tile_2, _tile_3, _tile_4 = (make_tile(ROWS, n) for n in (1, 2, 3, 4))
_row_1, _row_2, _row_3, _row_4, _row_5, _row_6, _row_7, _row_8 = (make_tile(1, n) for n in range(1, 9))


def lanes_of(array):
    """Elements of one vector."""
    return BYTES // array.itemsize


@overload(lanes_of)
def _lanes_of(array):
    """As a constant of the array's type: to a compiler that does not know it each use would be a division."""
    lanes = 8 * BYTES // array.dtype.bitwidth
    return lambda array: lanes


@njit(**INNER)
def up(n, to):
    """Round n up to a multiple."""
    return (n + to - 1) // to * to


@njit(**PLAIN)
def width_of(n, lanes):
    """Length that n kept units take: four of them, one for each gate, are whole vectors."""
    return up(n, lanes // 2)


@njit(**PLAIN)
def step_of(n, lanes):
    """Distance of rows of n: an odd number of vectors, which spreads the rows over the sets of the cache."""
    return (up(n, lanes) // lanes | 1) * lanes


@njit(**PLAIN)
def room(n, like):
    """Room for n numbers, from a vector's boundary on: one that lies across two lines of the cache is read twice."""
    more = np.empty(n + lanes_of(like), like.dtype)
    skip = -more.ctypes.data % BYTES // like.itemsize
    return more[skip : skip + n]


@njit(**INNER)
def clear(a, first, last):
    """Write 0 from first up to last; a slice that takes a number costs the compiler a second each time."""
    for c in range(first, last):
        a[c] = 0


@njit(**INNER)
def zeros(n, like):
    """`room` for n numbers, all of it 0."""
    made = room(n, like)
    clear(made, START, made.size)
    return made


@njit(**INNER)
def product(rows, n, a, a0, a_row, a_step, b, b0, b_step, c, c0, c_row, columns):
    """Add a b to c: rows a multiple of ROWS, columns whole vectors; element (j, k) of a at a0 + j a_row + k a_step."""
    lanes = lanes_of(a)
    vectors = up(columns, lanes) // lanes
    panels = (vectors + PANEL - 1) // PANEL
    for panel in range(panels):  # of nearly equal width: a tile of one vector alone would wait for its own sums
        first = vectors * panel // panels
        wide, col = vectors * (panel + 1) // panels - first, first * lanes
        for k in range(0, n, DEPTH):
            depth, right = min(DEPTH, n - k), b0 + col + k * b_step
            for r in range(0, rows, ROWS):
                top, place = a0 + r * a_row + k * a_step, c0 + r * c_row + col
                if wide == 4:
                    _tile_4(a, top, a_row, a_step, b, right, b_step, depth, c, place, c_row)
                elif wide == 3:
                    _tile_3(a, top, a_row, a_step, b, right, b_step, depth, c, place, c_row)
                elif wide == 2:
                    _tile_2(a, top, a_row, a_step, b, right, b_step, depth, c, place, c_row)
                else:
                    _tile_1(a, top, a_row, a_step, b, right, b_step, depth, c, place, c_row)


@njit(**INNER)
def row_product(n, a, a0, b, b_step, c, c0, columns, back):
    """`product` of one row: bound by the reading of b.

    With `back` the panels of b are read from the last to the first: what a call read last is still in the nearest cache
    when the next one begins there.
    """
    lanes = lanes_of(a)
    vectors = up(columns, lanes) // lanes
    panels = (vectors + WIDEST_ROW - 1) // WIDEST_ROW
    for turn in range(panels):
        panel = panels - 1 - turn if back else turn
        first = vectors * panel // panels
        wide, col = vectors * (panel + 1) // panels - first, first * lanes
        if wide == 8:
            _row_8(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 7:
            _row_7(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 6:
            _row_6(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 5:
            _row_5(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 4:
            _row_4(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 3:
            _row_3(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        elif wide == 2:
            _row_2(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)
        else:
            _row_1(a, a0, 0, 1, b, col, b_step, n, c, c0 + col, 0)


@njit(**PLAIN)
def kept_units(on, lanes):
    """Where a mask (batch, hidden) of truth values is on, as pack and unpack need it.

    Returns
    -------
    count : array (batch,)
        Number of kept units.
    where : array (batch, hidden + 1)
        Their numbers in front, ascending.
    bits, before : arrays (batch, vectors)
        By vector of units: one bit a unit, and the number kept before it.
    """
    batch, hidden = on.shape
    vectors = up(hidden, lanes) // lanes
    count, where = np.zeros(batch, np.int64), np.zeros((batch, hidden + 1), np.int64)
    bits, before = np.zeros((batch, vectors), np.int64), np.zeros((batch, vectors), np.int64)
    for b in range(batch):
        n = 0
        for c in range(hidden):
            if c % lanes == 0:
                before[b, c // lanes] = n
            kept = int(on[b, c])  # no branch: the processor could not guess it
            bits[b, c // lanes] |= kept << (c % lanes)
            where[b, n] = c
            n += kept
        count[b] = n
    return count, where, bits, before


@njit(**PLAIN)
def of_instance(kept, b):
    """`kept_units` of instance b: where (count), bits, before."""
    count, where, bits, before = kept
    return where[b, : count[b]], bits[b], before[b]


# The next three run once for each row of a matrix. A branch or a slice in them would count references, which takes
# longer than the row.


@njit(**PLAIN)
def pack_row(source, first, units, target, place):
    """Write the kept elements of the row that starts at source[first] from target[place] on, then a vector of zeros."""
    where, bits, before = units
    lanes = lanes_of(source)
    for k in range(bits.size):
        compress(source, first + k * lanes, bits[k], target, place + before[k])
    for c in range(lanes):
        target[place + where.size + c] = 0


@njit(**PLAIN)
def unpack_row(source, place, units, target, first):
    """Write the row that starts at target[first], whole vectors: kept elements from source[place] on, else 0."""
    _, bits, before = units
    lanes = lanes_of(source)
    for k in range(bits.size):
        expand(source, place + before[k], bits[k], target, first + k * lanes)


@njit(**PLAIN)
def unpack_add(source, place, units, target, first):
    """As `unpack_row`, added to what is there."""
    _, bits, before = units
    lanes = lanes_of(source)
    for k in range(bits.size):
        expand_add(source, place + before[k], bits[k], target, first + k * lanes)


@njit(**PLAIN)
def pack_gates(weight_t, rows, units, target, step):
    """Pack rows of weight_t (rows, 4 hidden), each gate's kept units side by side: (rows, 4 width)."""
    hidden, flat = weight_t.shape[1] // 4, weight_t.reshape(-1)
    width = width_of(units[0].size, lanes_of(target))
    for r in range(rows.size):
        for q in range(4):
            pack_row(flat, (rows[r] * 4 + q) * hidden, units, target, r * step + q * width)


@njit(**PLAIN)
def pack_units(weight, gates, units, target, step):
    """Pack the kept gates' rows of weight (4 hidden, hidden): (4 width, units), rows that fill a width up are 0."""
    hidden, flat = weight.shape[1], weight.reshape(-1)
    width = width_of(gates.size, lanes_of(target))
    for q in range(4):
        for g in range(gates.size):
            pack_row(flat, (q * hidden + gates[g]) * hidden, units, target, (q * width + g) * step)
        clear(target, (q * width + gates.size) * step, (q + 1) * width * step)


@njit(**INNER)
def step_of_inputs(n_x, n_h, lanes):
    """Distance of rows that hold D(x) and, from the next whole vector on, D(h)."""
    return step_of(up(n_x, lanes) + up(n_h, lanes) + lanes, lanes)


@njit(**INNER)
def picked(values, where, size):
    """Values at the kept places, then zeros up to `size`."""
    out = np.zeros(size, values.dtype)
    for c in range(where.size):
        out[c] = values[where[c]]
    return out


@njit(**INNER)
def places(where, among):
    """Find each of `where` in `among`, which holds them all; both ascend."""
    out, g = np.empty(where.size, np.int64), 0
    for k in range(where.size):
        while among[g] != where[k]:
            g += 1
        out[k] = g
    return out
