"""``python -m book``, what ``make book`` does: run the twin and, where its data are found, one real profile;
build the book.

Data that are not found are said in one line, never an error; a run that fails is one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from book.build import ROOT, BookError, build
from smapnb import fetch
from smapnb.profile import ProfileError, data_root, load


def missing_data(asked: str) -> str | None:
    """One line on what a profile, given by name or path, lacks; None where it can be run."""
    profile = load(asked, folder=ROOT / "profiles")
    needed = data_root() / "conus412" / "CONUSv4f1" / "crd.csv"
    if profile.synthetic or needed.is_file():
        return None
    return f"{profile.name} is not run: no {needed} (set SMAPNB_DATA; book/data.md says how to get the data)"


def execute(name: str) -> None:
    """Run the notebooks of one profile in a process of its own.

    Raises
    ------
    BookError
        The run failed; its own message stands above.
    """
    command = [sys.executable, "-c", "from smapnb.cli import app; app()", "run", name]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
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
        real = any(not load(name, folder=ROOT / "profiles").synthetic for name in profiles)
        if real and not chosen.no_run and (line := fetch.fetch_sample_quietly(data_root())):
            print(f"book: {line}", file=sys.stderr)
        for name in profiles:
            lacking = missing_data(name)
            if lacking:
                print(f"book: {lacking}", file=sys.stderr)
            elif not chosen.no_run:
                execute(name)
        html = build(profiles, engine=chosen.engine)
    except (BookError, ProfileError) as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
    print(f"book: {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
