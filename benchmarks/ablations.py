"""Measure what each choice of the recipe is worth on the real sample: ``python -m benchmarks.ablations``.

Every row trains (or runs) the profile ``conus412-quick`` with one thing changed and a shorter schedule, the same for
all rows, and scores the hindcast against SMAP in the evaluation period. The rows are reported, not chosen from: the
profiles were set on months and pixels held back from the training period.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from smapnb import cube, hindcast, metrics, train
from smapnb.profile import Profile, data_root, load

RESULT = Path(__file__).parent / "results" / "ablations_conus412.csv"
PROFILE = "conus412-quick"
EPOCHS = 6
# Rows that differ only after the training share it; rows of fewer members take the first ones of the same training.
TRAININGS: dict[str, dict] = {
    "dropout on x, h, g": {"members": 3},
    "dropout on x": {"dropout_on": ["x"]},
    "dropout on x, h": {"dropout_on": ["x", "h"]},
    "dropout on g": {"dropout_on": ["g"]},
    "no dropout": {"dropout": 0.0},
    "dropout 0.5": {"dropout": 0.5},
    "ADADELTA, constant rate": {"optimiser": "adadelta", "learning_rate": 1.0, "schedule": "constant"},
}
PASSES = 20


def settings(changes: dict, passes: int, spinup_days: int) -> Profile:
    """Profile of one row: evaluation period only, after a spin-up through the training year or none."""
    base = load(PROFILE)
    training = base.training.model_copy(update={"epochs": EPOCHS, **changes})
    run = base.hindcast.model_copy(
        update={
            "start": base.evaluation.start,
            "end": base.evaluation.end,
            "spinup_days": spinup_days,
            "dropout_passes": passes,
        }
    )
    return Profile.model_validate(base.model_copy(update={"training": training, "hindcast": run}).model_dump())


def trained(data, profile: Profile, folder: Path, members: int) -> float:
    """Train all members where that is not done yet, put a checkpoint of the first ones beside; minutes it took."""
    result = train.train(data, profile, "surface", folder)
    checkpoint = train.Checkpoint.load(result.checkpoint)
    checkpoint.weights = checkpoint.weights[:members]
    checkpoint.save(folder.parent / f"members_{members}" / "surface" / result.checkpoint.name)
    history = result.history
    return history[history["member"] < members]["seconds"].max() / 60


def measure(data, profile: Profile, folder: Path, variant: str, members: int) -> dict:
    """Train where that is not done yet, hindcast, score; one row of the table."""
    minutes = trained(data, profile, folder / "surface", members)
    started = time.perf_counter()
    run = hindcast.run(data, profile, folder / f"members_{members}", folder / "hindcast.zarr")
    period = slice(str(profile.evaluation.start), str(profile.evaluation.end))
    score = metrics.evaluate(sim=run["ssm_lstm"], obs=data["ssm_smap"].sel(time=period), n_boot=1)
    median = metrics.summarise(score)
    recipe = profile.training
    return {
        "variant": variant,
        "optimiser": recipe.optimiser,
        "dropout_on": " ".join(recipe.dropout_on),
        "dropout": recipe.dropout,
        "seq_length": " ".join(map(str, recipe.seq_length)),
        "members": members,
        "passes": profile.hindcast.dropout_passes,
        "spinup": profile.hindcast.spinup_days,
        "rmse": round(median["median"]["rmse"], 4),
        "ubrmse": round(median["median"]["ubrmse"], 4),
        "pearson_r": round(median["median"]["pearson_r"], 3),
        "n_pixels": int(median["n_pixels"]["rmse"]),
        "period": f"{period.start} to {period.stop}",
        "minutes": round(minutes + (time.perf_counter() - started) / 60, 1),
    }


def main() -> None:
    """Measure every row, writing the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs") / "ablations", help="trainings are kept here")
    folder = parser.parse_args().folder
    data = cube.open_cube(cube.build(load(PROFILE), folder / "cube.zarr", data_root()))
    plan = [
        ("dropout on x, h, g", "one member", 1, PASSES, 365),
        ("dropout on x, h, g", "one pass, dropout off", 1, 0, 365),
        ("dropout on x, h, g", "state from zero, no spin-up", 1, PASSES, 0),
        ("dropout on x, h, g", "two members", 2, PASSES, 365),
        ("dropout on x, h, g", "three members", 3, PASSES, 365),
    ]
    plan += [(name, name, 1, 0 if name == "no dropout" else PASSES, 365) for name in list(TRAININGS)[1:]]
    rows = []
    for training, variant, members, passes, spinup in plan:
        changes = TRAININGS[training]
        where = folder / training.replace(" ", "_").replace(",", "")
        rows.append(measure(data, settings(changes, passes, spinup), where, variant, members))
        print(rows[-1], flush=True)
        RESULT.parent.mkdir(exist_ok=True)
        temporary = RESULT.with_suffix(".part")
        pd.DataFrame(rows).to_csv(temporary, index=False)
        temporary.replace(RESULT)


if __name__ == "__main__":
    main()
