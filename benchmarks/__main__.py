"""Print the speed tables and write them to ``benchmarks/results``: ratios against a peer measured in the same run.

Ours and the peer take turns and the medians are compared, so that a machine that slows down slows both. Absolute times
are printed, never asserted.
"""

import argparse
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from smapnb.lstm import Masks, SoilMoistureLSTM, reference_recurrence

RESULTS = Path(__file__).parent / "results"
INPUTS, HIDDEN = 19, 256


def processor() -> str:
    """Name of the processor, as the system states it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def interleave(contenders: dict, repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender, taking turns; the first turn warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            work()
            if turn:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def training_step(batch: int, days: int, dropout: float, repeats: int) -> list[dict]:
    """Forward, backward and update: exact masked cell, its readable reference, and torch.nn.LSTM without masks."""
    generator = torch.Generator().manual_seed(0)
    ours = SoilMoistureLSTM(INPUTS, HIDDEN, dropout, generator=generator)
    readable = SoilMoistureLSTM(INPUTS, HIDDEN, dropout, generator=generator)
    peer = nn.ModuleList([nn.Linear(INPUTS, HIDDEN), nn.LSTM(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)])
    x = torch.randn(days, batch, INPUTS, generator=generator)
    y = torch.randn(days, batch, generator=generator)

    def run_readable(masks: Masks) -> torch.Tensor:
        cell = readable.lstm
        u = torch.relu(readable.input(x))
        h, _ = reference_recurrence(u, cell.weight_ih, cell.weight_hh, cell.bias, masks)
        return readable.output(h)[..., 0]

    def run_peer() -> torch.Tensor:
        return peer[2](peer[1](torch.relu(peer[0](x)))[0])[..., 0]

    def step(model: nn.Module, forward) -> object:
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def work() -> None:
            optimiser.zero_grad()
            ((forward() - y) ** 2).mean().backward()
            optimiser.step()

        return work

    medians = interleave(
        {
            "smapnb, exact masks": step(ours, lambda: ours(x, ours.draw_masks(batch, generator))),
            "readable reference, exact masks": step(
                readable, lambda: run_readable(readable.draw_masks(batch, generator))
            ),
            "Linear + ReLU + torch.nn.LSTM, no masks": step(peer, run_peer),
        },
        repeats,
    )
    return rows_of(f"training step, batch {batch}, {days} days, dropout {dropout}", medians)


def rows_of(what: str, medians: dict[str, float]) -> list[dict]:
    """Lines of the table: median of each contender and its speed as a multiple of the last one's, the peer's."""
    peer = list(medians.values())[-1]
    print(f"\n{what}")
    for name, value in medians.items():
        print(f"  {name:45s} {value:9.1f} ms   {peer / value:5.2f} times the peer's speed")
    return [
        {
            "measured": what,
            "contender": name,
            "median ms": round(value, 1),
            "times the peer's speed": round(peer / value, 2),
        }
        for name, value in medians.items()
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [
        line
        for days in (30, 90)
        for dropout in (0.25, 0.5)
        for line in training_step(100, days, dropout, options.repeats)
    ]
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        **{name: version(name) for name in ("smapnb", "torch", "numba", "numpy")},
    }
    about = {
        "title": f"Training step on CPU, {INPUTS} inputs, {HIDDEN} units, float32, medians of {options.repeats}",
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"lstm_{about['recorded'][:10]}.json"
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
