"""``python -m book``, what ``make book`` does: run the twin and, where its data are found, one real profile;
build the book.

Data that are not found are said in one line, never an error; a run that fails is one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pydantic

from book.build import ROOT, BookError, build
from smapnb import cube_full, fetch
from smapnb.cli import one_line
from smapnb.cube_store import CubeError
from smapnb.grid import GridError
from smapnb.profile import ProfileError, data_root, load, run_folder
from smapnb.sources import authors_csv

SHOWN = 6_000  # characters of a failed run's log


def missing_data(asked: str) -> str | None:
    """One line on what a profile, given by name or path, lacks; None where it can be run."""
    profile = load(asked, folder=ROOT / "profiles")
    if profile.data.source == "conus":
        try:
            cube_full.open_archive(profile, data_root())
        except (CubeError, GridError) as error:
            return f"{profile.name} is not run: {error}"
    sample = data_root() / "conus412"
    if profile.data.source == "conus412" and not authors_csv.at_hand(sample):
        how = "set SMAPNB_DATA; book/data.md says how to get the data"
        return f"{profile.name} is not run: the sample is not in {sample} ({how})"
    return None


def command(asked: str) -> list[str]:
    """What runs the notebooks of one profile in a process of its own."""
    return [sys.executable, "-c", "from smapnb.cli import app; app()", "run", asked]


def execute(names: dict[str, str]) -> None:
    """Run the notebooks of some profiles side by side, the first with its progress shown, the others with a log.

    The processors are shared out, unless ``OMP_NUM_THREADS`` says otherwise: two threads do not train twice as fast
    as one, so that two runs side by side are done earlier than one after the other. A small network's sums are rounded
    in another order with another number of threads, so that its last digits may differ.

    Parameters
    ----------
    names : dict
        Name of each profile and what was asked for, its name or path.

    Raises
    ------
    BookError
        A run failed; the end of what it said stands above. The others have been stopped.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    at_once = min(cores, len(names)) or 1
    share = {} if at_once == 1 else {"OMP_NUM_THREADS": str(cores // at_once)}
    environment = {**share, **os.environ}
    waiting = list(names)
    running: dict[str, tuple[subprocess.Popen[bytes], Path | None]] = {}
    began = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                log = None if name == next(iter(names)) else run_folder(name) / "run.log"
                running[name] = _start(names[name], log, environment), log
            for name, (process, log) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    _finish(name, process.returncode, log)
                    print(f"book: {name} was run after {time.monotonic() - began:.0f} s", file=sys.stderr)
            time.sleep(0.2)
    finally:
        for process, _ in running.values():
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _start(asked: str, log: Path | None, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if log is None:
        return subprocess.Popen(command(asked), cwd=ROOT, env=environment)
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"book: {asked} runs as well; its progress is in {log}", file=sys.stderr)
    with log.open("wb") as written:
        return subprocess.Popen(command(asked), cwd=ROOT, env=environment, stdout=written, stderr=written)


def _finish(name: str, status: int, log: Path | None) -> None:
    if status and log:
        print(log.read_text(encoding="utf-8", errors="replace")[-SHOWN:], file=sys.stderr)
    if status:
        raise BookError(f"smapnb run {name} failed, see above; no book was built")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m book", description=__doc__)
    parser.add_argument("--profile", default="conus412-quick", help="name or path of the profile beside the twin")
    parser.add_argument("--no-run", action="store_true", help="build from the runs that are there")
    parser.add_argument("--engine", choices=["jupyter-book", "sphinx"], default="jupyter-book")
    chosen = parser.parse_args(arguments)
    try:
        # Keyed by the profile's own name, so that no run is made twice.
        named = {load(asked, folder=ROOT / "profiles").name: asked for asked in (chosen.profile, "twin")}
        profiles = list(named.values())[::-1]
        sampled = any(load(asked, folder=ROOT / "profiles").data.source == "conus412" for asked in profiles)
        if sampled and not chosen.no_run and (line := fetch.fetch_sample_quietly(data_root())):
            print(f"book: {line}", file=sys.stderr)
        lacking = {name: missing_data(asked) for name, asked in named.items()}
        for line in filter(None, lacking.values()):
            print(f"book: {line}", file=sys.stderr)
        if not chosen.no_run:
            execute({name: named[name] for name in reversed(named) if not lacking[name]})
        html = build(profiles, engine=chosen.engine)
    except (BookError, ProfileError, pydantic.ValidationError) as error:
        print(f"book: {one_line(error)}", file=sys.stderr)
        return 1
    print(f"book: {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
