"""How long training takes to a given score on the real sample: ``python -m benchmarks.learning``.

The recipe is that of the profile ``conus412-quick``, trained anew for fewer and fewer epochs, each with its own whole
schedule; every row is scored against SMAP in the evaluation period and reported, not chosen from.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import torch

from benchmarks.ablations import PASSES, QUICK, changed, measure
from benchmarks.common import write
from smapnb import cube, train
from smapnb.profile import data_root, load

RESULTS = Path(__file__).parent / "results"
EPOCHS = (3, 6, 12)


def rows(folder: Path) -> list[dict]:
    """One row a length of training: epochs, seconds of training alone, scores."""
    profile = load(QUICK)
    data = cube.open_cube(cube.build(profile, folder / "cube.zarr", data_root()))
    found = []
    for epochs in EPOCHS:
        one = changed(profile, {"epochs": epochs}, PASSES, 365)
        where = folder / f"{epochs}_epochs"
        result = train.train(data, one, "surface", where / "surface")
        scores = measure(data, one, where, f"{epochs} epochs", f"{epochs} epochs", 0.0)
        found.append(
            {
                "epochs": epochs,
                "seconds of training": round(result.seconds, 1),
                "median R": scores["pearson_r"],
                "median RMSE, m3 m-3": scores["rmse"],
                "pixels": scores["n_pixels"],
                "period": scores["period"],
            }
        )
        print(pd.DataFrame(found[-1:]).to_string(index=False, header=len(found) == 1), flush=True)
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = rows(Path(folder))
    title = f"Training of {QUICK} for fewer epochs, scored on its test year, {torch.get_num_threads()} threads"
    write(found, title, options.out, "learning")


if __name__ == "__main__":
    main()
