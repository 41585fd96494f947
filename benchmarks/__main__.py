"""Print the speed tables and write them to ``benchmarks/results``: ratios against a peer measured in the same run.

Ours and the peer take turns and the medians are compared, so that a machine that slows down slows both. Absolute times
are printed, never asserted.
"""

import argparse
from pathlib import Path

from benchmarks import archive, bootstrap, hindcast, lstm, trends
from benchmarks.common import write

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    title = f"Training step on CPU, {lstm.INPUTS} inputs, {lstm.HIDDEN} units, float32, medians of {options.repeats}"
    write(lstm.rows(options.repeats), title, options.out, "lstm")
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
