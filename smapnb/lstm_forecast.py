"""The network run forward only, on CPU: strips of pixels, day by day, one thread a strip, only the answer kept.

It promises the numbers of `smapnb.lstm.reference_recurrence` in float32, bit for bit the same on any number of threads,
and in bfloat16 the same equations with rounded factors of the products; gates, cell state and output stay float32. It
offers no gradient.

A strip is a fixed number of pixels, so that its gates and the weights stay in the cache of one core and no thread ever
waits for another within a day, which is where an LSTM over the whole batch loses its second core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numba import float32, njit
from numba.extending import overload
from torch import Tensor

from smapnb.lstm_kernel import COMPILED, _sigmoid, _tanh

# Pixels of a strip: the products are near their best speed and the gates of a strip, 1 kB a unit of four, still fit
# the second-level cache beside the weights. In bfloat16 weights and gates take half the room.
STRIP = {torch.float32: 128, torch.bfloat16: 256}
# Rows (days x pixels) of the product that takes the input layer's output to the gates.
ROWS = 512
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Weights(NamedTuple):
    """Weights of equations 1-8 as the loop wants them: transposed, factors of the large products in their precision."""

    input: Tensor  # (inputs, hidden), float32
    input_bias: Tensor  # (hidden,)
    x: Tensor  # (hidden, 4 hidden)
    h: Tensor  # (hidden, 4 hidden)
    bias: Tensor  # (4 hidden,)
    output: Tensor  # (hidden,)
    output_bias: float

    @classmethod
    def of(cls, network: dict[str, Tensor], precision: str) -> Self:
        """From the ``state_dict`` of a `smapnb.lstm.SoilMoistureLSTM`."""
        kind = PRECISIONS[precision]
        x, h = (network[f"lstm.weight_{name}"].t().contiguous().to(kind) for name in ("ih", "hh"))
        first, last = network["input.weight"].t().contiguous(), network["output.weight"][0]
        return cls(first, network["input.bias"], x, h, network["lstm.bias"], last, network["output.bias"].item())


def strips(pixels: int, most: int) -> list[slice]:
    """Cut `pixels` into as few equal strips of at most `most` as there can be."""
    size = math.ceil(pixels / math.ceil(pixels / most))
    return [slice(a, min(a + size, pixels)) for a in range(0, pixels, size)]


def run(
    x: Tensor,
    network: dict[str, Tensor],
    masks: tuple[Tensor, Tensor, Tensor] | None,
    state: tuple[Tensor, Tensor] | None,
    precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled soil moisture (time, batch) and h, s (batch, hidden) after the last day.

    Parameters
    ----------
    x : Tensor (time, batch, inputs)
        Scaled inputs, float32.
    network : dict of Tensors
        ``state_dict`` of a `smapnb.lstm.SoilMoistureLSTM`.
    masks : three Tensors (batch, hidden) or None
        D on x, h, g; None: no dropout.
    state : h and s (batch, hidden) or None
        None: zero.
    precision : {"float32", "bfloat16"}
        Of the factors of the two large products.
    """
    weights = Weights.of(network, precision)
    days, batch, _ = x.shape
    hidden = len(weights.output)
    out = torch.empty(days, batch)
    h, s = (torch.zeros(batch, hidden) for _ in range(2)) if state is None else (part.clone() for part in state)

    def run_strip(pixels: slice) -> None:
        own = None if masks is None else tuple(mask[pixels] for mask in masks)
        _strip(x[:, pixels], weights, own, h[pixels], s[pixels], out[:, pixels].numpy())

    _spread(run_strip, strips(batch, STRIP[weights.x.dtype]))
    return out, h, s


def _spread(work: Callable[[slice], None], parts: list[slice]) -> None:
    """Share the parts among as many threads as torch may use, each of them alone in its products."""
    threads = torch.get_num_threads()
    if threads == 1:
        with torch.no_grad():
            for part in parts:
                work(part)
        return

    def start() -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)

    with ThreadPoolExecutor(min(threads, len(parts)), "forecast", start) as pool:
        list(pool.map(work, parts))
    # A thread's own limit is also what torch gives to threads yet to come: say again what held before.
    torch.set_num_threads(threads)


def _strip(x: Tensor, w: Weights, masks: tuple[Tensor, ...] | None, h: Tensor, s: Tensor, out: np.ndarray) -> None:
    """Run one strip through all days; h and s hold the state, on entry the first day's, on exit the last one's."""
    days, batch, _ = x.shape
    hidden, kind = s.shape[1], w.x.dtype
    at_once = max(1, ROWS // batch)
    gates = torch.empty(at_once, batch, 4 * hidden, dtype=kind)
    one = torch.ones(1, hidden)
    d_x, d_h, d_g = masks if masks is not None else (one, one, one)
    dropped = (h * d_h).to(kind)
    arrays = [_bits(dropped), h.numpy(), s.numpy(), d_h.numpy(), d_g.numpy(), w.bias.numpy(), w.output.numpy()]
    bits = _bits(gates)
    for first in range(0, days, at_once):
        block = x[first : first + at_once]
        n = len(block)
        u = torch.addmm(w.input_bias, block.reshape(n * batch, -1), w.input).relu_()  # equation 1
        if masks is not None:
            u.view(n, batch, hidden).mul_(d_x)
        torch.mm(u.to(kind), w.x, out=gates[:n].view(n * batch, 4 * hidden))
        for t in range(n):
            torch.addmm(gates[t], dropped, w.h, out=gates[t])
            _day(bits[t], *arrays, w.output_bias, out[first + t])


def _bits(tensor: Tensor) -> Any:
    """View a tensor as an array of NumPy, which has no bfloat16: its 16 bits stand as integers."""
    return tensor.view(torch.int16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _wide(x):
    """Read a gate as float32; the compiled body comes from the overload below."""
    return x


@overload(_wide, inline="always")
def _wide_overload(x):
    """Fill up a bfloat16, which is the upper half of a float32."""
    if x == float32:
        return lambda x: x
    return lambda x: np.int32(np.int32(x) << np.int32(16)).view(np.float32)


def _put(row, values, mask):
    """Write values * mask in the row's precision; the compiled body comes from the overload below."""
    row[:] = values * mask


@overload(_put, inline="always")
def _put_overload(row, values, mask):
    if row.dtype == float32:

        def put(row, values, mask):
            for c in range(values.size):
                row[c] = values[c] * mask[c]

        return put

    def put_rounded(row, values, mask):
        # To the nearest, ties to the even one: what falls away, plus a half less one, plus the last bit that stays.
        for c in range(values.size):
            v = np.float32(values[c] * mask[c]).view(np.int32)
            row[c] = np.int16((v + np.int32(0x7FFF) + ((v >> np.int32(16)) & np.int32(1))) >> np.int32(16))

    return put_rounded


@njit(**COMPILED)
def _day(gates, dropped, h, s, mask_h, mask_g, bias, weight, offset, out):
    """Equations 2-8 of one day of a strip, less the products.

    gates (batch, 4 hidden) holds W D(x) + W D(h), in the order i, f, g, o; h, s (batch, hidden) go from the day before
    to this one; D(h) is left in `dropped` for the next product, soil moisture in out (batch,). A mask of one row is
    that of all.
    """
    batch, hidden = s.shape
    b_i, b_f, b_g, b_o = bias[:hidden], bias[hidden : 2 * hidden], bias[2 * hidden : 3 * hidden], bias[3 * hidden :]
    for b in range(batch):
        a, cell, now = gates[b], s[b], h[b]
        i, f, g, o = a[:hidden], a[hidden : 2 * hidden], a[2 * hidden : 3 * hidden], a[3 * hidden :]
        d_g, d_h = mask_g[min(b, len(mask_g) - 1)], mask_h[min(b, len(mask_h) - 1)]
        for c in range(hidden):  # equations 2, 3, 4 and 6
            new = _tanh(_wide(g[c]) + b_g[c]) * d_g[c] * _sigmoid(_wide(i[c]) + b_i[c])
            cell[c] = new + cell[c] * _sigmoid(_wide(f[c]) + b_f[c])
        for c in range(hidden):  # equations 5 and 7
            now[c] = _tanh(cell[c]) * _sigmoid(_wide(o[c]) + b_o[c])
        _put(dropped[b], now, d_h)
        total = offset
        for c in range(hidden):  # equation 8
            total += now[c] * weight[c]
        out[b] = total
