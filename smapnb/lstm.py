"""The paper's LSTM: equations 1-8 with dropout masks that stay constant in time, as a readable cell and as fast paths.

It holds the network and draws its masks; loss, training and data are elsewhere. Reference: Fang, Pan & Shen (2019),
section II-B, doi:10.1109/TGRS.2018.2872131.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from smapnb import lstm_cuda, lstm_forecast, lstm_kernel, lstm_packed
from smapnb.lstm_cuda_graph import part_of_another as part_of_another  # for who records a whole step


class Masks(NamedTuple):
    """Dropout masks of a batch of instances, each (batch, hidden_size), values 0 or 1 / (1 - p), constant in time."""

    x: Tensor
    h: Tensor
    g: Tensor


class State(NamedTuple):
    """Hidden and cell state after the last day, each (batch, hidden_size)."""

    h: Tensor
    s: Tensor


class Recurrence(nn.Module):
    """Weights of equations 2-5, gates stacked in the order i, f, g, o."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))


class SoilMoistureLSTM(nn.Module):
    """Equations 1-8: ReLU input layer, LSTM with D on x, h and g, linear output.

    Parameters
    ----------
    n_inputs : int
        Number of forcings and attributes.
    hidden_size : int
        Number of units of the input layer and of the LSTM.
    dropout : float
        Probability p with which D drops a unit for a whole instance.
    dropout_on : tuple of {"x", "h", "g"}
        Where D acts; the paper's model has all three.

    Notes
    -----
    ``state_dict`` keys: ``input.weight, input.bias, lstm.weight_ih, lstm.weight_hh, lstm.bias, output.weight,
    output.bias``. With no dropout the lstm weights can be loaded into ``torch.nn.LSTM`` (bias as ``bias_ih``).
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_size: int = 256,
        dropout: float = 0.5,
        dropout_on: tuple[str, ...] = ("x", "h", "g"),
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {dropout}")
        if not set(dropout_on) <= set(Masks._fields):
            raise ValueError(f"dropout_on names some of {Masks._fields}, got {dropout_on!r}")
        self.hidden_size, self.dropout, self.dropout_on = hidden_size, dropout, tuple(dropout_on)
        self.input = nn.Linear(n_inputs, hidden_size)
        self.lstm = Recurrence(hidden_size)
        self.output = nn.Linear(hidden_size, 1)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight from U(-1/sqrt(hidden), 1/sqrt(hidden)), as torch.nn.LSTM does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def draw_masks(self, batch: int, generator: torch.Generator | None = None) -> Masks:
        """Draw D for `batch` instances: each mask (batch, hidden_size) with values 0 or 1 / (1 - p)."""
        weight = self.lstm.weight_hh
        device = generator.device if generator is not None else weight.device

        def draw(where: str) -> Tensor:
            ones = torch.ones(batch, self.hidden_size, device=device, dtype=weight.dtype)
            if where not in self.dropout_on or self.dropout == 0:
                return ones.to(weight.device, non_blocking=True)
            kept = torch.bernoulli(ones * (1 - self.dropout), generator=generator)
            return (kept / (1 - self.dropout)).to(weight.device, non_blocking=True)

        return Masks(draw("x"), draw("h"), draw("g"))

    def forward(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """Scaled soil moisture (time, batch) from scaled inputs `x` (time, batch, n_inputs), from a zero state.

        In eval mode there is no dropout, whatever `masks` says. In training mode masks are drawn when none are given
        (from torch's global generator) and dropout is not 0.
        """
        return self.run(x, masks)[0]

    def run(
        self, x: Tensor, masks: Masks | None = None, state: State | None = None, precision: str = "float32"
    ) -> tuple[Tensor, State]:
        """As `forward`, from `state` (zero when none), and the state after the last day with it.

        A gradient through a given `state` is not offered: it is for prediction in blocks of time. So is `precision`
        (``float32`` or ``bfloat16``: factors of the products are rounded, gates' sums and state are not).

        Raises
        ------
        ValueError
            Inputs or masks of another shape, masks of another type; another precision than float32 where gradients are
            kept.
        """
        if x.ndim != 3 or x.shape[2] != self.input.in_features:
            raise ValueError(f"x is (time, batch, {self.input.in_features}), got {tuple(x.shape)}")
        if not self.training:
            masks = None
        elif masks is None and self.dropout > 0:
            masks = self.draw_masks(x.shape[1])
        kind = self.lstm.weight_hh.dtype
        if masks is not None and any(mask.dtype != kind for mask in masks):
            raise ValueError(f"masks are {kind} as the weights, got {[str(mask.dtype) for mask in masks]}")
        if not torch.is_grad_enabled():
            return self._forecast(x, masks, state, precision)
        if precision != "float32":
            raise ValueError(f"{precision} is for prediction: call under torch.no_grad()")
        return self._recur(x, masks, state)

    def _recur(self, x: Tensor, masks: Masks | None, state: State | None) -> tuple[Tensor, State]:
        _check_masks(masks, (x.shape[1], self.hidden_size))
        if masks is not None and state is None and lstm_packed.pays(x, masks):
            y, h, s = packed_network(self, x, masks)
            return y, State(h, s)
        u = torch.relu(self.input(x))  # equation 1: (time, batch, hidden)
        h, state = recurrence(u, self.lstm.weight_ih, self.lstm.weight_hh, self.lstm.bias, masks, state)
        return self.output(h)[..., 0], state  # equation 8

    def _forecast(self, x: Tensor, masks: Masks | None, state: State | None, precision: str) -> tuple[Tensor, State]:
        """Without a gradient: on CPU in strips of pixels, elsewhere by the device's own LSTM."""
        if precision not in lstm_forecast.PRECISIONS:
            raise ValueError(f"precision is one of {sorted(lstm_forecast.PRECISIONS)}, got {precision!r}")
        if x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1]:
            _check_masks(masks, (x.shape[1], self.hidden_size))
            y, h, s = lstm_forecast.run(x, self.state_dict(), masks, state, precision)
            return y, State(h, s)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            y, state = self._recur(x, masks, state)
        return y.float() if precision == "bfloat16" else y, State(*(part.to(x.dtype) for part in state))


def reference_recurrence(
    u: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    masks: Masks | None,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Equations 2-7, line by line; the fast paths are held to its numbers.

    Parameters
    ----------
    u : Tensor (time, batch, hidden)
        Output of the ReLU layer.
    masks : Masks or None
        None: no dropout.

    Returns
    -------
    h : Tensor (time, batch, hidden)
    state : State
    """
    days, batch, hidden = u.shape
    h, s = state if state is not None else (u.new_zeros(batch, hidden), u.new_zeros(batch, hidden))
    one = u.new_ones(batch, hidden)
    d_x, d_h, d_g = masks if masks is not None else (one, one, one)
    wi_x, wf_x, wg_x, wo_x = weight_ih.chunk(4)
    wi_h, wf_h, wg_h, wo_h = weight_hh.chunk(4)
    b_i, b_f, b_g, b_o = bias.chunk(4)
    out = []
    for t in range(days):
        x_t, h_t = u[t] * d_x, h * d_h
        g = torch.tanh(x_t @ wg_x.T + h_t @ wg_h.T + b_g)  # equation 2
        i = torch.sigmoid(x_t @ wi_x.T + h_t @ wi_h.T + b_i)  # equation 3
        f = torch.sigmoid(x_t @ wf_x.T + h_t @ wf_h.T + b_f)  # equation 4
        o = torch.sigmoid(x_t @ wo_x.T + h_t @ wo_h.T + b_o)  # equation 5
        s = (g * d_g) * i + s * f  # equation 6
        h = torch.tanh(s) * o  # equation 7
        out.append(h)
    return torch.stack(out), State(h, s)


def recurrence(
    u: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    masks: Masks | None,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """`reference_recurrence` by the fastest exact path: torch's LSTM without masks, Numba on CPU, else operators."""
    _check_masks(masks, u.shape[1:])
    if masks is None and u.device.type == "cuda":
        h, s = lstm_cuda.unmasked(u, weight_ih, weight_hh, bias, state)
        return h, State(h[-1].detach().clone(), s)
    if masks is None:
        zero = u.new_zeros(1, u.shape[1], u.shape[2])
        h0, s0 = (zero, zero) if state is None else (state.h[None], state.s[None])
        weights = [weight_ih, weight_hh, bias, torch.zeros_like(bias)]
        h, h_last, s_last = torch.lstm(u, (h0, s0), weights, True, 1, 0.0, False, False, False)
        return h, State(h_last[0], s_last[0])
    if u.device.type == "cpu" and u.dtype in (torch.float32, torch.float64):
        return daily_recurrence(u, weight_ih, weight_hh, bias, masks, state)
    return operator_recurrence(u, weight_ih, weight_hh, bias, masks, state)


def _check_masks(masks: Masks | None, shape: tuple[int, ...]) -> None:
    if masks is not None and any(mask.shape != shape for mask in masks):
        shapes = [tuple(mask.shape) for mask in masks]
        raise ValueError(f"masks are (batch, hidden) = {tuple(shape)} each, got {shapes}")


def operator_recurrence(
    u: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, masks: Masks, state: State | None = None
) -> tuple[Tensor, State]:
    """As `recurrence`, with masks on any device: products and passes of torch, replayed as CUDA graphs on a GPU."""
    h, s = lstm_cuda.masked(u, weight_ih, weight_hh, bias, masks, state)
    return h, State(h[-1].detach().clone(), s)


class _FusedRecurrence(torch.autograd.Function):
    """The recurrence as one operation: products in torch, the rest of a day in one kernel.

    Its backward writes over the gates that forward kept; another one over the same graph computes them again.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, mx: Tensor, mh: Tensor, mg: Tensor) -> Any:
        h, ctx.days = _fused_forward(u, wx, wh, b, Masks(mx, mh, mg), None)
        ctx.save_for_backward(u, wx, wh, b, mx, mh, mg)
        last = ctx.days[-1][-1].clone()
        ctx.mark_non_differentiable(last)
        return h, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        u, wx, wh, b, mx, mh, mg = ctx.saved_tensors
        kept = ctx.days or _fused_forward(u, wx, wh, b, Masks(mx, mh, mg), None)[1]
        dropped_x, dropped_h, gates, cells = kept
        ctx.days = None
        days, batch, hidden = grad[0].shape
        ds, from_next = torch.zeros_like(cells[0]), torch.zeros_like(cells[0])
        dh, a, s, mask_h, mask_g = (_array(x) for x in (grad[0], gates, cells, mh, mg))
        for t in range(days - 1, -1, -1):
            # The gates of the day give way to the gradient at their arguments.
            lstm_kernel.day_backward(a[t], from_next.numpy(), dh[t], mask_h, mask_g, s[t + 1], s[t], ds.numpy())
            torch.mm(gates[t], wh, out=from_next)
        da = gates.view(days * batch, 4 * hidden)
        gwx = da.T @ dropped_x.view(-1, hidden)
        gwh = da.T @ dropped_h[:-1].view(-1, hidden)
        du, gb = (da @ wx).view(days, batch, hidden).mul_(mx), da.sum(0)
        _spare.append(gates)
        return du, gwx, gwh, gb, None, None, None


# The largest buffer of a step, handed from one training step to the next: taking 40 MB anew from the system each
# time costs a page fault for every 4 kB.
_spare: list[Tensor] = []


def _take_gates(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    while _spare:
        gates = _spare.pop()
        if gates.shape == shape and gates.dtype == like.dtype:
            return gates
    return like.new_empty(shape)


def _fused_forward(
    u: Tensor, wx: Tensor, wh: Tensor, b: Tensor, masks: Masks, state: State | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return h (time, batch, hidden) and what the gradient needs.

    That is D(x) (time, batch, hidden), D(h) and the cells, each (time + 1, batch, hidden) with the start first, and
    the gates (time, batch, 4 hidden).
    """
    days, batch, hidden = u.shape
    dropped_x, gates = u * masks.x, _take_gates(u, (days, batch, 4 * hidden))
    torch.addmm(b, dropped_x.view(days * batch, hidden), wx.T, out=gates.view(days * batch, 4 * hidden))
    h, dropped_h, cells = (u.new_empty(n, batch, hidden) for n in (days, days + 1, days + 1))
    cells[0] = 0 if state is None else state.s
    dropped_h[0] = 0 if state is None else state.h * masks.h
    a, s, out, d, mask_h, mask_g = (_array(x) for x in (gates, cells, h, dropped_h, masks.h, masks.g))
    from_h = u.new_empty(batch, 4 * hidden)
    for t in range(days):
        torch.mm(dropped_h[t], wh.T, out=from_h)
        lstm_kernel.day_forward(a[t], from_h.numpy(), mask_h, mask_g, s[t], s[t + 1], out[t], d[t + 1])
    return h, (dropped_x, dropped_h, gates, cells)


def daily_recurrence(
    u: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, masks: Masks, state: State | None = None
) -> tuple[Tensor, State]:
    """As `recurrence`, on CPU with masks: a product of the whole batch for each day, the rest of it in one kernel."""
    weights, u = (weight_ih, weight_hh, bias), u.contiguous()
    if torch.is_grad_enabled() and any(a.requires_grad for a in (u, *weights)):
        if state is not None:
            raise ValueError("no gradient through a given state: call under torch.no_grad()")
        h, last = _FusedRecurrence.apply(u, *weights, *masks)
        return h, State(h[-1].detach(), last)
    with torch.no_grad():
        h, (_, _, gates, cells) = _fused_forward(u, *weights, masks, state)
        _spare.append(gates)
    # Copies: a view would keep the whole block alive for as long as the state is carried.
    return h, State(h[-1].clone(), cells[-1].clone())


def packed_network(model: SoilMoistureLSTM, x: Tensor, masks: Masks) -> tuple[Tensor, Tensor, Tensor]:
    """Output (time, batch), last h and last s, on CPU with masks: an instance computes only with the units it keeps."""
    layers, cell = (model.input, model.output), model.lstm
    inner = (cell.weight_ih, cell.weight_hh, cell.bias)
    weights = lstm_packed.Parameters(layers[0].weight, layers[0].bias, *inner, layers[1].weight, layers[1].bias)
    return lstm_packed.network(x, masks, weights)


def _array(tensor: Tensor) -> Any:
    """View the tensor's numbers as a NumPy array: the same memory where it is contiguous, which results rely on."""
    return tensor.detach().contiguous().numpy()
