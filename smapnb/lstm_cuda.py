"""The recurrence with masks in torch operators: on a GPU the loops over days are replayed as CUDA graphs.

Every operator is one of any device, so that the tests on a CPU hold the arithmetic of the GPU; what a CPU does itself
is in lstm_packed. The products of the input path and of all gradients are one each for all days; a day is one product
and one pass over its units. It promises float32 for the cell and everything that is added up over days, whatever the
products are computed in, and no wait of the host for the device.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smapnb.lstm_cuda_graph import Day, Loop, Loops, pool

Start = tuple[Tensor, Tensor] | None  # h and s before the first day, (batch, hidden) each


def forward_day(
    a_i: Tensor,
    a_f: Tensor,
    a_g: Tensor,
    a_o: Tensor,
    mask_h: Tensor,
    mask_g: Tensor,
    before: Tensor,
    now: Tensor,
    h: Tensor,
    dropped_h: Tensor,
) -> None:
    """Equations 2-7 of one day after the products: fills the cell `now`, `h` and D(h), each (batch, hidden).

    a_i .. a_o (batch, hidden) are W D(x) + W D(h) + b; they stay as they are, since the gradient computes the gates
    again rather than read them from memory.
    """
    i, f, o = (torch.sigmoid(a.to(before.dtype)) for a in (a_i, a_f, a_o))  # equations 3, 4, 5
    g = torch.tanh(a_g.to(before.dtype))  # equation 2
    s = g * mask_g * i + before * f  # equation 6
    out = torch.tanh(s) * o  # equation 7
    now.copy_(s)
    h.copy_(out)
    dropped_h.copy_(out * mask_h)


def backward_day(
    a_i: Tensor,
    a_f: Tensor,
    a_g: Tensor,
    a_o: Tensor,
    mask_h: Tensor,
    mask_g: Tensor,
    before: Tensor,
    now: Tensor,
    dh: Tensor,
    from_next: Tensor,
    ds: Tensor,
) -> None:
    """Chain rule through one day: a_i .. a_o give way to the gradient at them, `ds` to that of the cell before.

    dh (batch, hidden) is the loss's own gradient at h, from_next the one that the next day sends to D(h).
    """
    i, f, o = (torch.sigmoid(a.to(before.dtype)) for a in (a_i, a_f, a_o))
    g, tanh_s = torch.tanh(a_g.to(before.dtype)), torch.tanh(now)
    d = dh + from_next.to(before.dtype) * mask_h
    v = ds + d * o * (1 - tanh_s * tanh_s)
    a_i.copy_(v * g * mask_g * i * (1 - i))
    a_f.copy_(v * before * f * (1 - f))
    a_g.copy_(v * i * mask_g * (1 - g * g))
    a_o.copy_(d * tanh_s * o * (1 - o))
    ds.copy_(v * f)


class Buffers:
    """All tensors of one shape that the loops over its days touch; they stay where they are.

    Parameters
    ----------
    days, batch, hidden : int
    products : torch.dtype
        In which the products are computed: float32, bfloat16.
    state : torch.dtype
        Of the cell, of h and of the gradients carried from day to day.
    trained : bool
        False: no gradient will be asked for, and of the state only two days are held.
    """

    def __init__(
        self,
        days: int,
        batch: int,
        hidden: int,
        products: torch.dtype,
        state: torch.dtype,
        device: torch.device,
        trained: bool,
    ):
        def zeros(*shape: int, dtype: torch.dtype = state) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.size, self.trained = (days, batch, hidden), trained
        kept = days + 1 if trained else 2
        self.dropped_x = zeros(days, batch, hidden, dtype=products)
        self.gates = zeros(days, batch, 4 * hidden, dtype=products)  # arguments of the gates, later their gradient
        self.h = zeros(days, batch, hidden)
        self.dropped_h = zeros(kept, batch, hidden, dtype=products)
        # A storage each: the compiler need not prove that a day's cell and the next do not overlap.
        self.cells = [zeros(batch, hidden) for _ in range(kept)]
        self.mask_h, self.mask_g = zeros(batch, hidden), zeros(batch, hidden)
        self.weight_hh = zeros(4 * hidden, hidden, dtype=products)
        if trained:
            self.dh, self.ds = zeros(days, batch, hidden), zeros(batch, hidden)
            self.from_next = zeros(batch, hidden, dtype=products)


def _forward_loop(b: Buffers, day: Day) -> None:
    days, kept = b.size[0], len(b.cells)
    for t in range(days):
        now, after = t % kept, (t + 1) % kept
        b.gates[t].addmm_(b.dropped_h[now], b.weight_hh.T)
        cells = b.cells[now], b.cells[after]
        day(*b.gates[t].chunk(4, 1), b.mask_h, b.mask_g, *cells, b.h[t], b.dropped_h[after])


def _backward_loop(b: Buffers, day: Day) -> None:
    for t in range(b.size[0] - 1, -1, -1):
        masks, cells = (b.mask_h, b.mask_g), (b.cells[t], b.cells[t + 1])
        day(*b.gates[t].chunk(4, 1), *masks, *cells, b.dh[t], b.from_next, b.ds)
        torch.mm(b.gates[t], b.weight_hh, out=b.from_next)


class Days:
    """The recurrence over buffers of one shape: what is one product for all days, around the loops over them."""

    def __init__(self, *shape: Any):
        self.buffers = Buffers(*shape)
        loops: list[tuple[Loop, Day]] = [(partial(_forward_loop, self.buffers), forward_day)]
        if self.buffers.trained:
            loops.append((partial(_backward_loop, self.buffers), backward_day))
        self.loops = Loops(loops, self.buffers.gates.device)

    def forward(
        self, u: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, masks: tuple[Tensor, ...], start: Start
    ) -> tuple[Tensor, Tensor]:
        """Give h (time, batch, hidden), this object's own buffer, and the last cell, a copy."""
        b, (mask_x, mask_h, mask_g) = self.buffers, masks
        days, batch, hidden = b.size
        torch.mul(u, mask_x, out=b.dropped_x)
        b.mask_h.copy_(mask_h)
        b.mask_g.copy_(mask_g)
        b.weight_hh.copy_(weight_hh)
        kind, rows = b.gates.dtype, days * batch
        x, gates = b.dropped_x.view(rows, hidden), b.gates.view(rows, 4 * hidden)
        torch.addmm(bias.to(kind), x, weight_ih.to(kind).T, out=gates)
        if start is None:
            b.dropped_h[0].zero_()
            b.cells[0].zero_()
        else:
            torch.mul(start[0], mask_h, out=b.dropped_h[0])
            b.cells[0].copy_(start[1])
        self.loops.run(0)
        return b.h, b.cells[days % len(b.cells)].clone()

    def backward(self, dh: Tensor, weight_ih: Tensor, mask_x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients at u (time, batch, hidden), W_x, W_h and b; the gates are given up for it."""
        b = self.buffers
        days, batch, hidden = b.size
        b.dh.copy_(dh)
        b.ds.zero_()
        b.from_next.zero_()
        self.loops.run(1)
        da = b.gates.view(days * batch, 4 * hidden)
        du = (da @ weight_ih.to(da.dtype)).view(days, batch, hidden) * mask_x
        d_weight_ih = da.T @ b.dropped_x.view(-1, hidden)
        d_weight_hh = da.T @ b.dropped_h[:-1].view(-1, hidden)
        return du, d_weight_ih, d_weight_hh, da.sum(0, dtype=b.ds.dtype)


class _Recurrence(torch.autograd.Function):
    """Another backward over the same graph runs the days again, since the first one wrote over their gates."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, *masks: Tensor) -> tuple[Tensor, Tensor]:
        ctx.products = _products(u)
        with torch.autocast(u.device.type, enabled=False):
            ctx.days = _lend(u, ctx.products, wh, trained=True)
            h, cell = ctx.days.item.forward(u, wx, wh, b, masks, None)
        ctx.save_for_backward(u, wx, wh, b, *masks)
        ctx.mark_non_differentiable(cell)
        return ctx.days.own(h).to(wh.dtype), cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        u, wx, wh, b, *masks = ctx.saved_tensors
        with torch.autocast(u.device.type, enabled=False):
            days = ctx.days
            if days is None:
                days = _lend(u, ctx.products, wh, trained=True)
                days.item.forward(u, wx, wh, b, tuple(masks), None)
            ctx.days = None
            gradients = days.item.backward(grad[0], wx, masks[0])
        kinds = (u.dtype, wx.dtype, wh.dtype, b.dtype)
        return *(g.to(kind) for g, kind in zip(gradients, kinds, strict=True)), None, None, None


def masked(
    u: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, masks: tuple[Tensor, ...], start: Start = None
) -> tuple[Tensor, Tensor]:
    """Equations 2-7 with masks on any device: h (time, batch, hidden) and the cell after the last day.

    Parameters
    ----------
    u : Tensor (time, batch, hidden)
        Output of the ReLU layer. Under autocast the products are in autocast's type, else in that of `u`.
    masks : tuple of Tensor
        D on x, h and g, (batch, hidden) each.
    start : tuple of Tensor, optional
        h and s before the first day; none: zero.

    Raises
    ------
    ValueError
        A gradient is asked for through a given `start`.
    """
    arguments = (u, weight_ih, weight_hh, bias)
    if torch.is_grad_enabled() and any(a.requires_grad for a in arguments):
        if start is not None:
            raise ValueError("no gradient through a given state: call under torch.no_grad()")
        return _Recurrence.apply(*arguments, *masks)
    with torch.no_grad():
        products = _products(u)
        with torch.autocast(u.device.type, enabled=False):
            days = _lend(u, products, weight_hh, trained=False)
            h, cell = days.item.forward(*arguments, masks, start)
        return days.own(h).to(weight_hh.dtype), cell


def _products(u: Tensor) -> torch.dtype:
    kind = u.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else u.dtype


def unmasked(
    u: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, start: Start = None
) -> tuple[Tensor, Tensor]:
    """Equations 2-7 without dropout, on a GPU: a prediction in float32 is cuDNN's, all else is `masked` with ones.

    cuDNN's gradient is rounded to TF32 whatever is set for products (its prediction follows
    ``torch.set_float32_matmul_precision`` here), and in bfloat16 it rounds the cell every day as well, so that it
    forgets slow changes.
    """
    if torch.is_grad_enabled() or _products(u) not in (torch.float32, torch.float64):
        ones = weight_hh.new_ones(u.shape[1:])
        return masked(u, weight_ih, weight_hh, bias, (ones, ones, ones), start)
    zero = u.new_zeros(1, u.shape[1], u.shape[2])
    h0, s0 = (zero, zero) if start is None else (start[0][None], start[1][None])
    # One block in cuDNN's order: it takes weights that lie apart too, but gathers them with a warning.
    parts = (weight_ih, weight_hh, bias, torch.zeros_like(bias))
    block = torch.cat([part.reshape(-1) for part in parts])
    weights = [w.view_as(p) for w, p in zip(block.split([p.numel() for p in parts]), parts, strict=True)]
    rnn: Any = torch.backends.cudnn.rnn
    before = rnn.fp32_precision
    rnn.fp32_precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    try:
        h, _, cell = torch.lstm(u, (h0, s0), weights, True, 1, 0.0, False, False, False)
    finally:
        rnn.fp32_precision = before
    return h, cell[0]


def _lend(u: Tensor, products: torch.dtype, weight: Tensor, trained: bool) -> Any:
    state = torch.promote_types(weight.dtype, torch.float32)
    return pool.lend(Days, (*u.shape, products, state, u.device, trained), u.device)
