"""The network with masks on CPU as one differentiable operation of torch, shared out to threads.

It promises results that do not depend on the number of threads; the arithmetic is in lstm_packed_kernel and
lstm_packed_gradient. Of a batch only the gates of every day are kept for the gradient, packed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smapnb import lstm_pack, lstm_packed_gradient, lstm_packed_kernel
from smapnb.lstm_packed_kernel import Network, Plan
from smapnb.lstm_threads import give_back, in_threads, take
from smapnb.lstm_vector import BYTES, ROWS

# Share of W_h that an instance keeps. Up to OWN each instance has its own product with its packed part, which is bound
# by the reading of it. Up to SHARED, and over enough days to pay for the packing, a group of instances shares a product
# with the whole of W_h, bound by arithmetic. Measured at 256 units; beyond, products of the whole batch are faster.
OWN, SHARED, SHARED_DAYS = 0.3, 0.5, 24
# Instances that a thread takes at once: few enough that none waits long for another, and where they share products
# enough that W_h is read seldom.
GROUP_OWN, GROUP_SHARED = 6, 12
# Units whose weights' gradient a thread takes at once: 4 gates x 2 matrices x 256 x 128 numbers, 1 MB, stay in cache.
UNITS = 128
# Numbers of D(x) and D(h) that are held at once in the gradient: the instances of a batch come in blocks of so many.
INPUTS = 2**21


class Parameters(NamedTuple):
    """Weights in the shapes of `smapnb.lstm.SoilMoistureLSTM`."""

    first: Tensor
    first_bias: Tensor
    x: Tensor
    h: Tensor
    bias: Tensor
    out: Tensor
    out_bias: Tensor


class Layout(NamedTuple):
    """How a batch is worked at: the kernels' plan, the length of all gates, and whether groups share products."""

    plan: Plan
    gates: int
    shared: bool


def share_of_recurrence(masks: tuple[Tensor, ...]) -> float:
    """Share of W_h that an instance keeps, the batch's mean."""
    on_h, on_g = array(masks[1]) != 0, array(masks[2]) != 0
    return np.count_nonzero(on_g & on_h) * np.count_nonzero(on_g) / on_g.size**2


def pays(x: Tensor, masks: tuple[Tensor, ...]) -> bool:
    """Whether this path can take the batch and is faster than products of the whole batch."""
    ready = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not x.requires_grad
    limit = SHARED if x.shape[0] >= SHARED_DAYS else OWN
    return ready and not torch.is_autocast_enabled("cpu") and share_of_recurrence(masks) <= limit


def layout(days: int, masks: tuple[Tensor, ...]) -> Layout:
    """Lay out gates and inputs: which units an instance keeps, and where its numbers begin."""
    mask_x, mask_h, mask_g = (array(mask) for mask in masks)
    lanes, rows = BYTES // mask_g.itemsize, -(-days // ROWS) * ROWS
    x, h, g = (lstm_pack.kept_units(on != 0, lanes) for on in (mask_x, mask_g * mask_h, mask_g))
    gates_at, inputs_at = lstm_packed_kernel.places_of(rows, lanes, x[0], h[0], g[0])
    gates = int(gates_at[-1]) + (lanes + rows) * ROWS  # the last tile of a product may begin with the last row
    plan = Plan(mask_x, mask_h, mask_g, x, h, g, gates_at, inputs_at)
    return Layout(plan, gates, share_of_recurrence(masks) > OWN)


class _PackedNetwork(torch.autograd.Function):
    """y (time, batch) and the last h and s (batch, hidden) from x, the layout and the weights, from a zero state.

    Its backward writes over the gates that forward kept; another one over the same graph computes them again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, laid_out: Layout, *weights: Tensor) -> Any:
        ctx.laid_out = laid_out
        ctx.save_for_backward(x, *weights)
        y, h, s, ctx.gates = run_forward(x, laid_out, Parameters(*weights))
        ctx.mark_non_differentiable(h, s)
        return y, h, s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors[0], Parameters(*ctx.saved_tensors[1:])
        gates = ctx.gates if ctx.gates is not None else run_forward(x, ctx.laid_out, weights)[3]
        ctx.gates = None
        gradient = run_backward(x, grad[0], ctx.laid_out, weights, gates)
        give_back(gates)
        return None, None, *gradient


def run_forward(x: Tensor, laid_out: Layout, weights: Parameters) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y (time, batch), the last h and s (batch, hidden), and the gates as the kernel leaves them."""
    days, batch, hidden = x.shape[0], x.shape[1], weights.out.shape[1]
    plan, shared = laid_out.plan, laid_out.shared
    h, s = x.new_empty(batch, hidden), x.new_empty(batch, hidden)
    y, gates = x.new_empty(days, batch), take(x, laid_out.gates)
    x_t, h_t = _with_room(weights.x.T, hidden), _with_room(weights.h.T, hidden)
    net = _network(weights, x_t, _all_gates(h_t) if shared else h_t)
    x0, a, end, out = array(x), gates.numpy(), (h.numpy(), s.numpy()), y.numpy()

    def instances(low: int, high: int) -> None:
        lstm_packed_kernel.forward(low, high, shared, x0, net, plan, a, *end, out)

    in_threads(instances, _groups(batch, shared))
    return y, h, s, gates


def run_backward(x: Tensor, dy: Tensor, laid_out: Layout, weights: Parameters, gates: Tensor) -> list[Tensor]:
    """Return the gradient at each of the weights."""
    (days, batch, many), hidden = x.shape, weights.out.shape[1]
    plan, shared = laid_out.plan, laid_out.shared
    lanes = BYTES // x.element_size()
    d_wx, d_wh = (x.new_zeros(4 * hidden, -(-hidden // lanes) * lanes) for _ in range(2))
    wx, wh = _with_room(weights.x, hidden), _with_room(weights.h, hidden)
    net = _network(weights, wx, _all_units(wh) if shared else wh)
    x0, grad, a = array(x), array(dy), gates.numpy()
    groups = _groups(batch, shared)
    # A row for each group, so that the order of sums is that of the instances, whichever thread comes first.
    sums = [x.new_zeros(len(groups), *shape) for shape in ((hidden, many + 1), (4 * hidden,), (hidden,))]
    d_first, d_bias, d_out = (total.numpy() for total in sums)
    for block in _blocks(plan.inputs_at, groups):
        low, high = groups[block[0]][0], groups[block[-1]][1]
        at = plan.inputs_at[low]
        inputs = take(x, int(plan.inputs_at[high] - at) + BYTES * ROWS)
        kept = inputs.numpy()

        def instances(part: int, kept: Any = kept, at: int = at) -> None:
            lstm_packed_gradient.backward(
                *groups[part], part, shared, x0, grad, net, plan, a, kept, at, d_first, d_bias, d_out
            )

        def units(first: int, last: int, low: int = low, high: int = high, kept: Any = kept, at: int = at) -> None:
            lstm_packed_gradient.weights(first, last, low, high, days, plan, a, kept, at, d_wx.numpy(), d_wh.numpy())

        in_threads(instances, [(part,) for part in block])
        in_threads(units, _parts(hidden, UNITS))
        give_back(inputs)
    first = sums[0].sum(0)
    gradient = [first[:, :many], first[:, many], d_wx[:, :hidden], d_wh[:, :hidden]]
    gradient = [part.contiguous() for part in gradient]
    return [*gradient, sums[1].sum(0), sums[2].sum(0)[None], dy.sum(dtype=torch.float64).to(dy.dtype)[None]]


def array(tensor: Tensor) -> Any:
    """View the tensor's numbers as a NumPy array: the same memory where it is contiguous, which results rely on."""
    return tensor.detach().contiguous().numpy()


def _network(weights: Parameters, x: np.ndarray, h: np.ndarray) -> Network:
    first = torch.cat([weights.first.T, weights.first_bias[None]])
    bias, out = weights.bias[None], array(weights.out)[0]
    return Network(_with_room(first, out.size), x, h, _with_room(bias, out.size), out, array(weights.out_bias))


def _with_room(tensor: Tensor, hidden: int) -> np.ndarray:
    """Return rows of `hidden` units, or a copy with a vector behind it where packing would read beyond the end."""
    matrix = array(tensor)
    lanes = BYTES // matrix.itemsize
    if hidden % lanes == 0:
        return matrix
    with_room = np.zeros(matrix.size + lanes, matrix.dtype)
    with_room[: matrix.size] = matrix.ravel()
    return with_room[: matrix.size].reshape(matrix.shape)


def _all(hidden: int, like: np.ndarray) -> Any:
    kept = lstm_pack.kept_units(np.ones((1, hidden), dtype=bool), BYTES // like.itemsize)
    return lstm_pack.of_instance(kept, 0)


def _all_gates(wh_t: np.ndarray) -> np.ndarray:
    """W_h's transpose as `lstm_pack.pack_gates` lays it out, with every unit."""
    hidden, lanes = wh_t.shape[0], BYTES // wh_t.itemsize
    units, step = _all(hidden, wh_t), lstm_pack.step_of(4 * lstm_pack.width_of(hidden, lanes), lanes)
    packed = lstm_pack.room((hidden + 1) * step, wh_t)
    lstm_pack.pack_gates(wh_t, units[0], units, packed, step)
    return packed.reshape(-1, step)


def _all_units(wh: np.ndarray) -> np.ndarray:
    """W_h as `lstm_pack.pack_units` lays it out, with every unit."""
    hidden, lanes = wh.shape[1], BYTES // wh.itemsize
    units, step = _all(hidden, wh), lstm_pack.step_of(hidden, lanes)
    packed = lstm_pack.room((4 * lstm_pack.width_of(hidden, lanes) + 1) * step, wh)
    lstm_pack.pack_units(wh, units[0], units, packed, step)
    return packed.reshape(-1, step)


def _parts(n: int, size: int) -> list[tuple[int, int]]:
    return [(low, min(low + size, n)) for low in range(0, n, size)]


def _groups(batch: int, shared: bool) -> list[tuple[int, int]]:
    """Ranges of instances that one thread takes at once; they do not depend on the number of threads."""
    if shared:
        return _parts(batch, min(GROUP_SHARED, -(-batch // (2 * ROWS)) * ROWS))
    return _parts(batch, min(GROUP_OWN, -(-batch // 4)))


def _blocks(inputs_at: np.ndarray, groups: list[tuple[int, int]]) -> list[list[int]]:
    """Numbers of the groups, in blocks of at most INPUTS numbers of D(x) and D(h), or of one group."""
    blocks, begin = [[0]], 0
    for part, (low, high) in enumerate(groups[1:], start=1):
        if inputs_at[high] - begin > INPUTS:
            blocks.append([])
            begin = inputs_at[low]
        blocks[-1].append(part)
    return blocks


def network(x: Tensor, masks: tuple[Tensor, ...], weights: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    """Equations 1-8 with masks from a zero state: y (time, batch) and the last h and s (batch, hidden).

    A gradient is at the weights, through y alone.
    """
    return _PackedNetwork.apply(x, layout(x.shape[0], masks), *weights)
