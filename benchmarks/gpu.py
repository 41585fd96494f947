"""Speed on a CUDA GPU: the exact training step against cuDNN's LSTM, the hindcast, and the schedule of a whole study.

Contenders take turns and are timed by CUDA events over several steps in a row, as a training runs them; all data lie on
the device. ``--device cpu --tiny`` runs everything in small on a CPU, so that a test can hold it; its numbers mean
nothing and are written only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from benchmarks.common import rows_of, write
from smapnb.batch import iterations_per_epoch
from smapnb.lstm import SoilMoistureLSTM
from smapnb.profile import Profile
from smapnb.train import train

RESULTS = Path(__file__).parent / "results"
INPUTS, PIXELS, TRAINING_DAYS, RECORD_DAYS, EPOCHS = 19, 6321, 1096, 6940, 500
BATCH, RHO = 100, 30
PRECISIONS = ("float32", "tf32", "bfloat16")


class Size(NamedTuple):
    """How large everything is, so that all of it can run in small."""

    hidden: int
    steps: tuple[tuple[int, int], ...]  # batch, days
    pixels: int
    days: int
    time_block: int
    iterations: int  # of an epoch


FULL = Size(256, ((BATCH, RHO), (412, 90), (4096, 365)), PIXELS, RECORD_DAYS, 366, 500)
TINY = Size(8, ((4, 3), (5, 2)), 6, 9, 4, 2)


@contextmanager
def rounding(precision: str) -> Iterator[None]:
    """Products of float32 numbers in TF32 or in full; cuDNN, which has a setting of its own, likewise."""
    rnn: Any = torch.backends.cudnn.rnn
    before = torch.get_float32_matmul_precision(), rnn.fp32_precision
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    rnn.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        rnn.fp32_precision = before[1]


def milliseconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Time of one call among `times` in a row."""
    if device.type == "cpu":
        started = time.perf_counter()
        for _ in range(times):
            work()
        return 1000 * (time.perf_counter() - started) / times
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(times):
        work()
    last.record()
    torch.cuda.synchronize(device)
    return first.elapsed_time(last) / times


def taking_turns(
    contenders: dict[str, Callable[[], object]], repeats: int, times: int, device: torch.device
) -> dict[str, float]:
    """Median milliseconds of each contender; the first turn warms up, compiles and records, and does not count."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            value = milliseconds(work, times if turn else 3, device)
            if turn:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


class Peer(nn.Module):
    """Linear, ReLU, torch.nn.LSTM, Linear: no masks."""

    def __init__(self, hidden: int):
        super().__init__()
        self.input, self.lstm, self.output = nn.Linear(INPUTS, hidden), nn.LSTM(hidden, hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (time, batch) of x (time, batch, inputs)."""
        return self.output(self.lstm(torch.relu(self.input(x)))[0])[..., 0]


def peer_of(precision: str, hidden: int, device: torch.device) -> nn.Module:
    """Give the peer; in bfloat16 with its weights in that type, since autocast would give cuDNN half precision."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return Peer(hidden).to(device, kind)


def training_step(batch: int, days: int, precision: str, size: Size, repeats: int, device: torch.device) -> list[dict]:
    """Forward, backward and update, of the exact network and of the peer."""
    dice = torch.Generator(device).manual_seed(0)
    ours = SoilMoistureLSTM(INPUTS, size.hidden, 0.5).to(device)
    peer = peer_of(precision, size.hidden, device)
    x = torch.randn(days, batch, INPUTS, device=device, generator=dice)
    y = torch.randn(days, batch, device=device, generator=dice)
    x_of_peer = x.to(next(peer.parameters()).dtype)

    def step(model: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], None]:
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def work() -> None:
            optimiser.zero_grad(set_to_none=True)
            with rounding(precision):
                ((forward().float() - y) ** 2).mean().backward()
            optimiser.step()

        return work

    def run_ours() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return ours(x, ours.draw_masks(batch, dice))

    contenders = {
        "smapnb, exact masks": step(ours, run_ours),
        "Linear + ReLU + torch.nn.LSTM, no masks": step(peer, lambda: peer(x_of_peer)),
    }
    what = f"training step, batch {batch}, {days} days, {precision}"
    return rows_of(what, taking_turns(contenders, repeats, 20 if batch * days < 100_000 else 3, device))


@torch.no_grad()
def hindcast(precision: str, size: Size, repeats: int, device: torch.device) -> list[dict]:
    """The whole record of all pixels without dropout, from the device's memory, the state carried between blocks."""
    ours = SoilMoistureLSTM(INPUTS, size.hidden).to(device).eval()
    peer = peer_of(precision, size.hidden, device)
    x = torch.randn(size.days, size.pixels, INPUTS, device=device)
    blocks = x.split(size.time_block)
    asked = "bfloat16" if precision == "bfloat16" else "float32"

    def run_ours() -> None:
        state = None
        with rounding(precision):
            for block in blocks:
                _, state = ours.run(block, None, state, asked)

    def run_peer() -> None:
        state = None
        with rounding(precision):
            for block in blocks:
                u = torch.relu(peer.input(block.to(next(peer.parameters()).dtype)))
                h, state = peer.lstm(u, state)
                peer.output(h)

    contenders = {"smapnb": run_ours, "Linear + ReLU + torch.nn.LSTM": run_peer}
    what = f"hindcast, {size.pixels} pixels, {size.days} days, {precision}"
    return rows_of(what, taking_turns(contenders, min(repeats, 5), 1, device))


def schedule(precision: str, size: Size, device: torch.device) -> list[dict]:
    """Hours of a whole study's training of one target, from the steps of `smapnb.train` itself on made-up data."""
    profile = study(precision, size, device)
    with tempfile.TemporaryDirectory() as folder, rounding(precision):
        history = train(made_up_cube(size.pixels, profile), profile, "surface", Path(folder), progress=False).history
    # The first epoch compiles and records, the last one validates.
    step = history.seconds.diff().iloc[1:-1].median() / size.iterations
    iterations = iterations_per_epoch(PIXELS, TRAINING_DAYS, BATCH, RHO)
    hours = EPOCHS * iterations * step / 3600
    what = f"training of one target, {PIXELS} pixels, {TRAINING_DAYS} days, batch {BATCH}, {RHO} days, {precision}"
    print(f"\n{what}\n  {EPOCHS} epochs x {iterations} iterations x {1000 * step:.3f} ms = {hours:.2f} hours")
    return [
        {
            "measured": f"{what}: {EPOCHS} epochs x {iterations} iterations x the step",
            "contender": "smapnb train",
            "median ms": round(1000 * step, 3),
            "hours, extrapolated": round(hours, 2),
        }
    ]


def study(precision: str, size: Size, device: torch.device) -> Profile:
    """Four short epochs of the authors' training."""
    test = {"start": "2014-01-01", "end": "2014-12-31"}
    training = {"start": "2015-04-01", "end": "2018-03-31", "batch_size": BATCH, "seq_length": [RHO], "epochs": 4}
    training |= {"iterations_per_epoch": size.iterations, "hidden_size": size.hidden, "device": str(device)}
    training |= {"mixed_precision": precision == "bfloat16", "validation": {"every": 4}}
    return Profile.model_validate(
        {
            "name": "bench",
            "title": "made-up data",
            "data": {"source": "twin", "start": test["start"], "end": training["end"]},
            "training": training,
            "hindcast": test,
            "evaluation": test,
        }
    )


def made_up_cube(pixels: int, profile: Profile) -> xr.Dataset:
    """Random numbers in the layout of a cube: a step's time does not depend on what it learns from."""
    rng = np.random.default_rng(0)
    time_axis = pd.date_range(profile.training.start, profile.training.end)
    daily = (len(time_axis), pixels)
    numbers = {name: (("time", "pixel"), rng.random(daily, np.float32)) for name in profile.inputs.forcing}
    numbers |= {name: ("pixel", rng.random(pixels, np.float32)) for name in profile.inputs.statics}
    numbers["ssm_smap"] = (("time", "pixel"), rng.random(daily, np.float32))
    return xr.Dataset(numbers, coords={"time": time_axis, "pixel": np.arange(pixels)})


def measured(what: Callable[..., list[dict]], *arguments: Any) -> list[dict]:
    """Rows of one measurement; none, and a line, where it does not fit into the device's memory."""
    try:
        return what(*arguments)
    except torch.OutOfMemoryError as error:
        print(f"\n{what.__name__} {arguments[:-2]}: does not fit into this GPU ({str(error).splitlines()[0]})")
        torch.cuda.empty_cache()
        return []


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 1 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--tiny", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    device, size = options.device, TINY if options.tiny else FULL
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA GPU here: nothing was measured", file=sys.stderr)
        return 1
    rows: list[dict] = []
    for precision in PRECISIONS:
        for batch, days in size.steps:
            rows += measured(training_step, batch, days, precision, size, options.repeats, device)
        rows += measured(hindcast, precision, size, options.repeats, device)
        rows += measured(schedule, precision, size, device)
    if options.out is None and options.tiny:
        return 0
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU, in small: no measurement"
    title = f"On {name}, CUDA {torch.version.cuda}: {INPUTS} inputs, {size.hidden} units, medians of {options.repeats}"
    write(rows, title, options.out or RESULTS, "gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
