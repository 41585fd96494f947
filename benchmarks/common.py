"""What every benchmark shares: contenders that take turns, lines of a table, the machine, the file of results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch


def processor() -> str:
    """Name of the processor, as the system states it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


# A turn lasts so long at least, so that caches emptied by the contender before count little.
LEAST_SECONDS = 0.1


def interleave(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender, taking turns; the first turn warms up and does not count.

    Each turn begins with another one: who comes after whom matters, as what one leaves in the caches is the next one's.
    """
    names = list(contenders)
    orders = [names[n % len(names) :] + names[: n % len(names)] for n in range(repeats + 1)]
    turns = [{name: _turn(contenders[name]) for name in order} for order in orders]
    return {name: statistics.median(turn[name] for turn in turns[1:]) for name in names}


def _turn(work: Callable[[], object]) -> float:
    """Milliseconds of a call, the mean over a turn."""
    started, calls, seconds = time.perf_counter(), 0, 0.0
    while seconds < LEAST_SECONDS:
        work()
        calls, seconds = calls + 1, time.perf_counter() - started
    return 1000 * seconds / calls


def status(field: str) -> float:
    """MB that Linux states for this process: VmRSS now, VmHWM at the peak.

    The peak that `resource` gives is no use in a process of its own: a child begins with that of its parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def rows_of(what: str, medians: dict[str, float]) -> list[dict]:
    """Lines of the table: median of each contender and its speed as a multiple of the last one's, the peer's."""
    peer = list(medians.values())[-1]
    print(f"\n{what}")
    for name, value in medians.items():
        print(f"  {name:55s} {value:12.2f} ms   {peer / value:7.2f} times the peer's speed")
    return [
        {
            "measured": what,
            "contender": name,
            "median ms": round(value, 2),
            "times the peer's speed": round(peer / value, 2),
        }
        for name, value in medians.items()
    ]


def write(rows: list[dict], title: str, folder: Path, stem: str) -> None:
    """Write a table with the machine that it was measured on, as the book's page of speeds reads it."""
    recorded = datetime.now(UTC).isoformat(timespec="seconds")
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        **{name: version(name) for name in ("smapnb", "torch", "numba", "numpy")},
    }
    about = {"title": title, "recorded": recorded, "machine": machine, "rows": rows}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}_{recorded[:10]}.json"
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"\nwritten: {path}")
