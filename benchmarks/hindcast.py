"""The network run forward only, against torch.nn.LSTM on the same tensors, and the whole hindcast from store to store.

Both hold the same weights and their answers are compared before anything is timed. Memory is the peak of a process of
its own. Times are medians of turns and printed, never asserted.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

from benchmarks.common import interleave, rows_of, status
from smapnb import hindcast, variables
from smapnb.batch import Scaler
from smapnb.lstm import SoilMoistureLSTM
from smapnb.profile import Profile
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint, network

INPUTS, HIDDEN = 19, 256
BATCH, DAYS = 512, 120
FORCING, STATICS = variables.names("forcing"), variables.names("static")
START = "2015-01-01"
PIXELS = 512  # of the hindcast from store to store: one block


def forward(threads: int, repeats: int) -> list[dict]:
    """Run 512 pixels over 120 days without dropout, in both precisions, against the same in torch's modules."""
    ours = SoilMoistureLSTM(INPUTS, HIDDEN, 0.0, generator=torch.Generator().manual_seed(0)).eval()
    peer = {kind: _peer(ours).to(kind) for kind in (torch.float32, torch.bfloat16)}
    x = torch.randn(DAYS, BATCH, INPUTS, generator=torch.Generator().manual_seed(1))

    def run_peer(kind: torch.dtype) -> torch.Tensor:
        first, lstm, last = peer[kind]
        return last(lstm(torch.relu(first(x.to(kind))))[0])[..., 0].float()

    torch.set_num_threads(threads)
    with torch.no_grad():
        expected = run_peer(torch.float32)
        for precision, allowed in (("float32", 1e-6), ("bfloat16", 1e-2)):
            apart = float((ours.run(x, precision=precision)[0] - expected).abs().max())
            if apart > allowed:
                raise AssertionError(f"{precision}: {apart} from torch.nn.LSTM")
        medians = interleave(
            {
                "smapnb, float32": lambda: ours.run(x),
                "smapnb, bfloat16": lambda: ours.run(x, precision="bfloat16"),
                "Linear + ReLU + torch.nn.LSTM + Linear, bfloat16": lambda: run_peer(torch.bfloat16),
                "Linear + ReLU + torch.nn.LSTM + Linear, float32": lambda: run_peer(torch.float32),
            },
            repeats,
        )
    return _with_rate(f"{BATCH} pixels x {DAYS} days forward, no dropout, {_threads(threads)}", medians, BATCH * DAYS)


def passes(threads: int, repeats: int, number: int = 10) -> list[dict]:
    """Mean of ten passes with dropout against one run without."""
    x = torch.randn(DAYS, BATCH, INPUTS, generator=torch.Generator().manual_seed(1))
    model = SoilMoistureLSTM(INPUTS, HIDDEN, 0.5, generator=torch.Generator().manual_seed(0))
    masks = [model.draw_masks(BATCH, torch.Generator().manual_seed(k)) for k in range(number)]

    def mean(precision: str) -> torch.Tensor:
        return torch.stack([model.train().run(x, mask, precision=precision)[0] for mask in masks]).mean(0)

    torch.set_num_threads(threads)
    with torch.no_grad():
        medians = interleave(
            {
                f"mean of {number} passes, float32": lambda: mean("float32"),
                f"mean of {number} passes, bfloat16": lambda: mean("bfloat16"),
                "dropout off, float32": lambda: model.eval().run(x),
            },
            repeats,
        )
    return _with_rate(f"{BATCH} pixels x {DAYS} days, dropout 0.5, {_threads(threads)}", medians, BATCH * DAYS)


def store_to_store(years: tuple[int, ...]) -> list[dict]:
    """Hindcast of one block of pixels, forcing read and moisture written, each length in a process of its own.

    On Linux only, which states a process's peak of memory.
    """
    if sys.platform != "linux":
        return []
    what = f"hindcast from store to store, {PIXELS} pixels, float32, {_threads(torch.get_num_threads())}"
    rows = []
    print(f"\n{what}")
    for length in years:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.hindcast", "--years", str(length)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, megabytes = map(float, answer.stdout.split())
        rate = length * 365 * PIXELS / seconds
        row = {"measured": what, "contender": f"{length} years", "median ms": round(1000 * seconds, 2)}
        rows.append({**row, "pixel-days per s": round(rate), "peak MB": round(megabytes)})
        print(f"  {length} years {1000 * seconds:12.2f} ms   {rate:12.0f} pixel-days per s   peak {megabytes:6.0f} MB")
    return rows


def _peer(model: SoilMoistureLSTM) -> nn.ModuleList:
    """Linear, nn.LSTM and Linear with the weights of `model`."""
    first, lstm, last = nn.Linear(INPUTS, HIDDEN), nn.LSTM(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
    first.load_state_dict(model.input.state_dict())
    last.load_state_dict(model.output.state_dict())
    own = model.lstm
    names = {"weight_ih_l0": own.weight_ih, "weight_hh_l0": own.weight_hh, "bias_ih_l0": own.bias}
    lstm.load_state_dict({**names, "bias_hh_l0": torch.zeros_like(own.bias)})
    return nn.ModuleList([first, lstm, last])


def _with_rate(what: str, medians: dict[str, float], pixel_days: int) -> list[dict]:
    rates = [round(1000 * pixel_days / value) for value in medians.values()]
    return [row | {"pixel-days per s": rate} for row, rate in zip(rows_of(what, medians), rates, strict=True)]


def _threads(number: int) -> str:
    return "one thread" if number == 1 else f"{number} threads"


def _one_length(years: int) -> None:
    """Print seconds and peak megabytes of one hindcast, of which making its cube of random forcing is no part."""
    days = pd.date_range(START, periods=365 * years)
    settings = {"start": START, "end": str(days[-1].date())}
    profile = Profile.model_validate(
        {
            "name": "benchmark",
            "title": "random numbers (synthetic)",
            "data": {"source": "twin", **settings},
            "training": {"start": START, "end": START, "device": "cpu"},
            "hindcast": {**settings, "spinup_days": 0},
            "evaluation": {"start": "2015-06-01", "end": settings["end"]},
        }
    )
    net = network(INPUTS, profile.training, torch.Generator().manual_seed(0)).state_dict()
    scaler = Scaler(dict.fromkeys([*FORCING, *STATICS, "ssm_smap"], 0.0), dict.fromkeys([*FORCING, *STATICS], 1.0))
    scaler.std["ssm_smap"] = 0.05
    about, ranges = profile.model_dump(mode="json"), dict.fromkeys(FORCING, (-9.0, 9.0))
    checkpoint = Checkpoint([net], scaler, "surface", FORCING, STATICS, about, {"smapnb": "0"}, ranges)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint.save(folder / "surface" / CHECKPOINT)
        _write_cube(folder / "cube.zarr", days)
        cube = xr.open_zarr(folder / "cube.zarr", consolidated=False)
        with torch.no_grad():  # compiled before the clock starts
            checkpoint.models()[0].run(torch.zeros(2, 4, INPUTS))
        started = time.perf_counter()
        hindcast.run(cube, profile, folder, folder / "hindcast.zarr", progress=False)
        seconds = time.perf_counter() - started
    print(seconds, status("VmHWM"))


def _write_cube(path: Path, days: pd.DatetimeIndex) -> None:
    """Forcing of random numbers in the chunks of a cube, a year at a time; statics of random numbers."""
    rng = np.random.default_rng(0)
    places = {name: ("pixel", np.arange(PIXELS)) for name in ("pixel", "row", "col", "lat", "lon")}
    statics = {name: ("pixel", rng.random(PIXELS, np.float32)) for name in STATICS}
    chunks = {name: {"chunks": (365, 256)} for name in FORCING}
    for first in range(0, len(days), 365):
        block = days[first : first + 365]
        shape = (len(block), PIXELS)
        forcing = {name: (("time", "pixel"), rng.random(shape, np.float32)) for name in FORCING}
        data = xr.Dataset(forcing, {"time": block, **places})
        if first:
            data.drop_vars(list(places)).to_zarr(path, append_dim="time", consolidated=False)
        else:
            data.assign(statics).to_zarr(path, encoding=chunks, consolidated=False, zarr_format=3)


def rows(repeats: int = 5) -> list[dict]:
    """All rows of the hindcast's benchmark, for the table that ``python -m benchmarks`` writes."""
    before = torch.get_num_threads()
    lines: list[dict] = []
    for threads in sorted({1, before}):
        lines += [*forward(threads, repeats), *passes(threads, min(repeats, 3))]
    torch.set_num_threads(before)
    return [*lines, *store_to_store((2, 8))]


if __name__ == "__main__":
    if "--years" in sys.argv:
        _one_length(int(sys.argv[-1]))
    else:
        rows()
