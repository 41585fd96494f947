"""The training step with the paper's masks, against Linear + ReLU + torch.nn.LSTM without any, and what it holds.

Before anything is timed our gradient is compared with the readable reference's. Memory is by how much one step lifts
that of a process of its own.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common import interleave, rows_of, status
from smapnb.lstm import Masks, SoilMoistureLSTM, reference_recurrence

INPUTS, HIDDEN = 19, 256
# Instances, days, probability of dropout; 0 means torch's own LSTM inside ours.
CASES = [(100, days, dropout) for days in (30, 90) for dropout in (0.0, 0.25, 0.5)]
CASES += [(100, 365, 0.5), (16, 30, 0.5), (412, 90, 0.5), (1024, 30, 0.5)]
OURS, READABLE, PEER = (
    "smapnb, exact masks",
    "readable reference, exact masks",
    "Linear + ReLU + torch.nn.LSTM, no masks",
)


class Readable(SoilMoistureLSTM):
    """The same network by the readable recurrence."""

    def forward(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        cell = self.lstm
        h, _ = reference_recurrence(
            torch.relu(self.input(x)), cell.weight_ih, cell.weight_hh, cell.bias, masks or self.draw_masks(x.shape[1])
        )
        return self.output(h)[..., 0]


class Peer(nn.Module):
    """What a user would take who gives up the masks."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.lstm, self.output = nn.Linear(INPUTS, HIDDEN), nn.LSTM(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.lstm(torch.relu(self.input(x)))[0])[..., 0]


def _masked(name: str, dropout: float) -> SoilMoistureLSTM:
    kind = SoilMoistureLSTM if name == OURS else Readable
    return kind(INPUTS, HIDDEN, dropout, generator=torch.Generator().manual_seed(0))


def _network(name: str, dropout: float) -> nn.Module:
    return Peer() if name == PEER else _masked(name, dropout)


def _step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def work() -> None:
        optimiser.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimiser.step()

    return work


def _data(batch: int, days: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(days, batch, INPUTS, generator=generator), torch.randn(days, batch, generator=generator)


def _compare(dropout: float) -> None:
    """Raise where our gradient is not the reference's."""
    (x, y), masks, gradients = _data(13, 20), None, []
    for name in (OURS, READABLE):
        model = _masked(name, dropout)
        masks = masks or model.draw_masks(13, torch.Generator().manual_seed(2))
        gradients.append(torch.autograd.grad(((model(x, masks) - y) ** 2).mean(), list(model.parameters())))
    for a, b in zip(*gradients, strict=True):
        apart = float((a - b).abs().max() / b.abs().max())
        if apart > 1e-5:
            raise AssertionError(f"dropout {dropout}: gradient {apart} from the readable reference's")


def steps(threads: int, repeats: int) -> list[dict]:
    """Forward, backward and update of every case on so many threads."""
    rows, before = [], torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for batch, days, dropout in CASES:
            _compare(dropout)
            x, y = _data(batch, days)
            names = [OURS, PEER] if batch > 100 else [OURS, READABLE, PEER]
            work = {name: _step(_network(name, dropout), x, y) for name in names}
            many = "1 thread" if threads == 1 else f"{threads} threads"
            rows += rows_of(
                f"training step, batch {batch}, {days} days, dropout {dropout}, {many}", interleave(work, repeats)
            )
    finally:
        torch.set_num_threads(before)
    return rows


def memory(batch: int = 100, days: int = 365, dropout: float = 0.5) -> list[dict]:
    """By how much one step lifts the memory of a process, for each contender; on Linux only."""
    if sys.platform != "linux":
        return []
    rows, what = [], f"memory of a training step, batch {batch}, {days} days, dropout {dropout}"
    print(f"\n{what}")
    for name in (OURS, READABLE, PEER):
        code = f"from benchmarks import lstm; print(lstm._growth({name!r}, {batch}, {days}, {dropout}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        rows.append({"measured": what, "contender": name, "MB": round(float(done.stdout))})
        print(f"  {name:55s} {rows[-1]['MB']:12d} MB")
    return rows


def _growth(name: str, batch: int, days: int, dropout: float) -> float:
    """MB by which one step lifts this process's memory, after a small one that loads and compiles all there is."""
    model = _network(name, dropout)
    _step(model, *_data(batch, 2))()
    x, y = _data(batch, days)
    work, before = _step(model, x, y), status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far, of compiling, is forgotten
    work()
    return status("VmHWM") - before


def rows(repeats: int) -> list[dict]:
    """Every line: on all of torch's threads, on one, and memory."""
    threads = torch.get_num_threads()
    lines = steps(threads, repeats)
    return lines + (steps(1, repeats) if threads > 1 else []) + memory()
