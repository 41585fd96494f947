"""Measure what each choice of the recipe is worth on the real sample: ``python -m benchmarks.ablations``.

What follows the training (members, dropout passes, spin-up) is measured on the trained run ``conus412``; what changes
the training, on ``conus412-quick``, whose other seeds say how far apart two trainings of one recipe lie. Rows are
scored against SMAP in the evaluation period and reported, not chosen from: the profiles were set on what training holds
back from itself.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import xarray as xr

from smapnb import cube, hindcast, metrics, train
from smapnb.profile import Profile, data_root, load, run_folder
from smapnb.train_checkpoint import CHECKPOINT, Checkpoint

RESULT = Path(__file__).parent / "results" / "ablations_conus412.csv"
TRAINED, QUICK = "conus412", "conus412-quick"
PASSES = 5
AFTER_TRAINING = {  # members, dropout passes, days of spin-up
    "conus412": (3, PASSES, 365),
    "two members": (2, PASSES, 365),
    "one member": (1, PASSES, 365),
    "dropout off": (3, 0, 365),
    "no spin-up": (3, PASSES, 0),
}
TRAININGS: dict[str, dict] = {
    "conus412-quick": {},
    "its seed 1": {"seed": 1},
    "its seed 2": {"seed": 2},
    "dropout on x, h": {"dropout_on": ["x", "h"]},
    "dropout on x": {"dropout_on": ["x"]},
    "dropout on g": {"dropout_on": ["g"]},
    "no dropout": {"dropout": 0.0},
    "dropout 0.5": {"dropout": 0.5},
    "batches of 100": {"batch_size": 100},
    "ADADELTA, constant rate": {"optimiser": "adadelta", "learning_rate": 1.0, "schedule": "constant"},
}


def changed(profile: Profile, training: dict, passes: int, spinup_days: int) -> Profile:
    """Profile of one row: another training, and a hindcast of the evaluation period only."""
    period = {"start": profile.evaluation.start, "end": profile.evaluation.end}
    run = {**period, "spinup_days": spinup_days, "dropout_passes": passes}
    update = {
        "training": profile.training.model_copy(update=training),
        "hindcast": profile.hindcast.model_copy(update=run),
    }
    return Profile.model_validate(profile.model_copy(update=update).model_dump())


def measure(data: xr.Dataset, profile: Profile, folder: Path, variant: str, schedule: str, minutes: float) -> dict:
    """Run and score the checkpoint in `folder`; one row of the table."""
    members = len(Checkpoint.load(folder / "surface" / CHECKPOINT).weights)
    started = time.perf_counter()
    run = hindcast.run(data, profile, folder, folder / "hindcast.zarr")
    minutes += (time.perf_counter() - started) / 60
    period = slice(str(profile.evaluation.start), str(profile.evaluation.end))
    summary = metrics.summarise(metrics.evaluate(sim=run["ssm_lstm"], obs=data["ssm_smap"].sel(time=period), n_boot=1))
    recipe, median = profile.training, summary["median"]
    return {
        "variant": variant,
        "schedule": schedule,
        "optimiser": recipe.optimiser,
        "dropout_on": " ".join(recipe.dropout_on),
        "dropout": recipe.dropout,
        "seq_length": " ".join(map(str, recipe.seq_length[:members])),
        "members": members,
        "passes": profile.hindcast.dropout_passes,
        "spinup": profile.hindcast.spinup_days,
        "rmse": round(median["rmse"], 4),
        "ubrmse": round(median["ubrmse"], 4),
        "pearson_r": round(median["pearson_r"], 3),
        "n_pixels": int(summary["n_pixels"]["rmse"]),
        "period": f"{period.start} to {period.stop}",
        "minutes": round(minutes, 1),
    }


def after_training(data: xr.Dataset, folder: Path, known: set[str]):
    """Rows that share the trained ensemble: some of its members, dropout off, no spin-up."""
    source = run_folder(TRAINED) / "surface"
    seconds = pd.read_csv(source / train.HISTORY).groupby("member")["seconds"].max()
    profile = load(TRAINED)
    for variant, (members, passes, spinup) in AFTER_TRAINING.items():
        if variant in known:
            continue
        checkpoint = Checkpoint.load(source / CHECKPOINT)
        checkpoint.weights = checkpoint.weights[:members]
        where = folder / variant.replace(" ", "_")
        checkpoint.save(where / "surface" / CHECKPOINT)
        schedule = f"{profile.training.epochs} epochs"
        row_profile = changed(profile, {}, passes, spinup)
        yield measure(data, row_profile, where, variant, schedule, seconds[members - 1] / 60)


def own_trainings(data: xr.Dataset, folder: Path, known: set[str]):
    """Rows that each train one network anew."""
    for variant, changes in TRAININGS.items():
        if variant in known:
            continue
        passes = 0 if changes.get("dropout") == 0 else PASSES
        profile = changed(load(QUICK), changes, passes, 365)
        where = folder / variant.replace(" ", "_").replace(",", "")
        result = train.train(data, profile, "surface", where / "surface")
        yield measure(data, profile, where, variant, f"{profile.training.epochs} epochs", result.seconds / 60)


def main() -> None:
    """Measure every row that the table lacks, writing it after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs") / "ablations", help="trainings are kept here")
    parser.add_argument("--anew", action="store_true", help="measure the rows that the table has, too")
    options = parser.parse_args()
    folder = options.folder
    data = cube.open_cube(cube.build(load(QUICK), folder / "cube.zarr", data_root()))
    rows = [] if options.anew or not RESULT.exists() else pd.read_csv(RESULT).to_dict("records")
    known = {row["variant"] for row in rows}
    for group in (after_training(data, folder, known), own_trainings(data, folder, known)):
        for row in group:
            rows.append(row)
            print(row, flush=True)
            RESULT.parent.mkdir(exist_ok=True)
            temporary = RESULT.with_suffix(".part")
            pd.DataFrame(rows).to_csv(temporary, index=False)
            temporary.replace(RESULT)


if __name__ == "__main__":
    main()
