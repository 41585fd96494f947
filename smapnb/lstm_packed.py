"""The recurrence with masks on CPU as one differentiable operation of torch, shared out to threads.

It promises results that do not depend on the number of threads; the arithmetic is in lstm_packed_kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smapnb import lstm_pack, lstm_packed_kernel
from smapnb.lstm_vector import BYTES, ROWS

# Share of W_h that an instance keeps. Up to OWN each instance has its own product with its packed part, which is bound
# by the reading of it. Up to SHARED, and over enough days to pay for the packing, a group of instances shares a product
# with the whole of W_h, bound by arithmetic. Measured at 256 units; beyond, products of the whole batch are faster.
OWN, SHARED, SHARED_DAYS = 0.3, 0.5, 60
# Instances to a group: enough that W_h is read seldom, few enough that both threads of a small batch have work.
GROUP = 12


class Layout(NamedTuple):
    """What the masks of a batch mean for the kernels."""

    masks: tuple[Any, ...]  # x, h, g (batch, hidden)
    kept: tuple[Any, ...]  # their `lstm_pack.kept_units`
    start: tuple[Any, Any]  # (batch,) each: where an instance's gates and inputs begin
    size: tuple[int, int]  # of all gates, of all inputs
    share: float  # of W_h that an instance keeps, the batch's mean

    @property
    def shared(self) -> bool:
        """Whether a group of instances shares its products with W_h."""
        return self.share > OWN


def pays(days: int, masks: tuple[Tensor, ...]) -> bool:
    """Whether packing is faster than products of the whole batch."""
    on_g = masks[2] != 0
    share = float((on_g & (masks[1] != 0)).float().mean() * on_g.float().mean())
    return share <= OWN or (share <= SHARED and days >= SHARED_DAYS)


def layout(days: int, masks: tuple[Tensor, ...], starts_on: Tensor | None = None) -> Layout:
    """Lay out the gates; `starts_on` (batch, hidden) says which units do not start from zero."""
    mask_x, mask_h, mask_g = (array(mask) for mask in masks)
    lanes = BYTES // mask_g.itemsize
    on_g = mask_g != 0 if starts_on is None else (mask_g != 0) | array(starts_on)
    on_h = on_g & (mask_h != 0)
    kept = tuple(lstm_pack.kept_units(on, lanes) for on in (mask_x != 0, on_h, on_g))
    rows = -(-days // ROWS) * ROWS
    start, size = [], []
    for steps in (
        [lstm_pack.step_of(4 * lstm_pack.width_of(n, lanes), lanes) for n in kept[2][0]],
        [lstm_pack.step_of_inputs(kept, b, lanes) for b in range(len(on_g))],
    ):
        ends = np.cumsum(rows * np.array(steps, dtype=np.int64))
        start.append(np.concatenate([[0], ends[:-1]]))
        size.append(int(ends[-1]) + lanes * ROWS)
    share = float((on_h.sum(1) * on_g.sum(1)).mean()) / mask_g.shape[1] ** 2
    return Layout((mask_x, mask_h, mask_g), kept, (start[0], start[1]), (size[0], size[1]), share)


class _PackedRecurrence(torch.autograd.Function):
    """h (time, batch, hidden) and the last s (batch, hidden) from u, the weights and the masks, from a zero state.

    Its backward writes over the gates that forward kept; another one over the same graph computes them again.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, plan: Layout) -> Any:
        ctx.layout = plan
        h, s, ctx.days = run_forward(u, wx, wh, b, ctx.layout)
        ctx.save_for_backward(u, wx, wh, b)
        ctx.mark_non_differentiable(s)
        return h, s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        u, wx, wh, b = ctx.saved_tensors
        gates, inputs = ctx.days or run_forward(u, wx, wh, b, ctx.layout)[2]
        ctx.days = None
        days, batch, hidden = u.shape
        plan = ctx.layout
        masks, kept, start, shared = plan.masks, plan.kept, plan.start, plan.shared
        du, d_bias = torch.empty_like(u), u.new_empty(batch, 4 * hidden)
        d_bias.zero_()
        d_wx, d_wh = torch.zeros_like(wx), torch.zeros_like(wh)
        all_wh = _all_units(wh) if shared else array(wh)
        a, dropped = gates.numpy(), inputs.numpy()
        dh, weight = array(grad[0]), array(wx)

        def instances(low: int, high: int) -> None:
            lstm_packed_kernel.backward(
                low, high, shared, dh, weight, all_wh, masks, kept, start, a, du.numpy(), d_bias.numpy()
            )

        def units(low: int, high: int) -> None:
            lstm_packed_kernel.weights(low, high, days, kept, start, a, dropped, d_wx.numpy(), d_wh.numpy())

        _in_threads(instances, _groups(batch, shared))
        _in_threads(units, _parts(hidden, torch.get_num_threads()))
        give_back(gates, inputs)
        return du, d_wx, d_wh, d_bias.sum(0), None


def run_forward(
    u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, plan: Layout, h0: Tensor | None = None, s0: Tensor | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return h (time, batch, hidden), the last s (batch, hidden), and gates and inputs as the kernel leaves them."""
    batch, hidden = u.shape[1:]
    masks, kept, start, size, shared = plan.masks, plan.kept, plan.start, plan.size, plan.shared
    h, gates, inputs = torch.empty_like(u), take(u, size[0]), take(u, size[1])
    s = u.new_zeros(batch, hidden) if s0 is None else s0.clone()
    first = array(u.new_zeros(batch, hidden) if h0 is None else h0), s.numpy()
    wx_t, wh_t = array(wx.detach().T), array(wh.detach().T)
    if shared:
        wh_t = _all_gates(wh_t)
    x, bias, a, dropped, out = array(u), array(b)[None], gates.numpy(), inputs.numpy(), h.numpy()

    def instances(low: int, high: int) -> None:
        given = h0 is not None
        lstm_packed_kernel.forward(
            low, high, shared, x, wx_t, wh_t, bias, masks, kept, start, a, dropped, given, first, out
        )

    _in_threads(instances, _groups(batch, shared))
    return h, s, (gates, inputs)


def array(tensor: Tensor) -> Any:
    """View the tensor's numbers as a NumPy array: the same memory where it is contiguous, which results rely on."""
    return tensor.detach().contiguous().numpy()


# The largest buffers of a step, handed from one training step to the next: taking them anew from the system each time
# costs a page fault for every 4 kB.
_spare: list[Tensor] = []


def take(like: Tensor, size: int) -> Tensor:
    """Return a flat tensor of at least `size`, if possible one that was given back."""
    for _ in range(len(_spare)):
        try:
            buffer = _spare.pop(0)
        except IndexError:  # another thread was faster
            break
        if buffer.dtype == like.dtype and size <= buffer.numel() <= 1.2 * size:
            return buffer
    return like.new_empty(int(1.05 * size))


def give_back(*buffers: Tensor) -> None:
    """Offer buffers that are no longer used to the next step."""
    _spare.extend(buffers)


def _all(hidden: int, like: np.ndarray) -> Any:
    kept = lstm_pack.kept_units(np.ones((1, hidden), dtype=bool), BYTES // like.itemsize)
    return lstm_pack.of_instance(kept, 0)


def _all_gates(wh_t: np.ndarray) -> np.ndarray:
    """W_h's transpose as `lstm_pack.pack_gates` lays it out, with every unit."""
    hidden, lanes = wh_t.shape[0], BYTES // wh_t.itemsize
    units, step = _all(hidden, wh_t), lstm_pack.step_of(4 * lstm_pack.width_of(hidden, lanes), lanes)
    packed = np.empty((hidden + 1, step), wh_t.dtype)
    lstm_pack.pack_gates(wh_t, units[0], units, packed.reshape(-1), step)
    return packed


def _all_units(weight: Tensor) -> np.ndarray:
    """W_h as `lstm_pack.pack_units` lays it out, with every unit."""
    wh = array(weight)
    hidden, lanes = wh.shape[1], BYTES // wh.itemsize
    units, step = _all(hidden, wh), lstm_pack.step_of(hidden, lanes)
    packed = np.empty((4 * lstm_pack.width_of(hidden, lanes) + 1, step), wh.dtype)
    lstm_pack.pack_units(wh, units[0], units, packed.reshape(-1), step)
    return packed


def _parts(n: int, parts: int) -> list[tuple[int, int]]:
    ends = [n * k // parts for k in range(parts + 1)]
    return [(low, high) for low, high in itertools.pairwise(ends) if low < high]


def _groups(batch: int, shared: bool) -> list[tuple[int, int]]:
    """Ranges of instances: several a thread, so that none waits long for another that was slowed down."""
    threads = torch.get_num_threads()
    if not shared:
        return _parts(batch, 4 * threads)
    size = min(GROUP, -(-batch // (threads * ROWS)) * ROWS)
    return [(low, min(low + size, batch)) for low in range(0, batch, size)]


def _in_threads(work: Callable[[int, int], None], parts: list[tuple[int, int]]) -> None:
    """Do every part, on as many threads as torch uses. The kernels hold no lock, so plain threads run side by side."""
    threads = min(torch.get_num_threads(), len(parts))
    if threads == 1:
        for part in parts:
            work(*part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda part: work(*part), parts):
            pass


def differentiable(u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, plan: Layout) -> tuple[Tensor, Tensor]:
    """Return h (time, batch, hidden) and the last s (batch, hidden), from a zero start, with a gradient through h."""
    return _PackedRecurrence.apply(u, wx, wh, b, plan)
