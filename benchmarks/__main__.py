"""Print the speed tables and write them to ``benchmarks/results``: ratios against a peer measured in the same run.

Ours and the peer take turns and the medians are compared, so that a machine that slows down slows both. Absolute times
are printed, never asserted.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from benchmarks import archive, bootstrap, hindcast, trends
from benchmarks.common import interleave, rows_of, write
from smapnb.lstm import Masks, SoilMoistureLSTM, reference_recurrence

RESULTS = Path(__file__).parent / "results"
INPUTS, HIDDEN = 19, 256


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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    cases = [(100, days, dropout) for days in (30, 90) for dropout in (0.25, 0.5)]
    cases += [(100, 365, 0.5), (16, 30, 0.5), (1024, 30, 0.5)]
    steps = [line for case in cases for line in training_step(*case, options.repeats)]
    title = f"Training step on CPU, {INPUTS} inputs, {HIDDEN} units, float32, medians of {options.repeats}"
    write(steps, title, options.out, "lstm")
    few = min(options.repeats, 5)
    write(
        trends.rows(few), f"Mann-Kendall test and Sen's slope on daily series, medians of {few}", options.out, "trends"
    )
    title = f"Hindcast on CPU, {hindcast.INPUTS} inputs, {hindcast.HIDDEN} units, medians of {few}"
    write(hindcast.rows(few), title, options.out, "hindcast")
    title = f"Confidence limits of scores by block bootstrap, medians of {few}"
    write(bootstrap.rows(few), title, options.out, "bootstrap")
    title = f"Granules to arrays, files in the system's cache, medians of {min(few, 3)}"
    write(archive.rows(min(few, 3)), title, options.out, "archive")


if __name__ == "__main__":
    main()
