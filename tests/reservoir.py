"""A small cube whose soil moisture is a linear reservoir of its precipitation, and a profile to train on it quickly.

Its numbers are invented (synthetic); a network that learns anything learns this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.profile import Profile
from smapnb.variables import describe

FORCING = ["precipitation", "air_temperature"]
STATICS = ["sand"]
TRAINING: dict[str, Any] = {
    "start": "2015-04-01",
    "end": "2015-09-30",
    "hidden_size": 8,
    "dropout": 0.1,
    "seq_length": [20],
    "batch_size": 6,
    "epochs": 3,
    "iterations_per_epoch": 4,
    "optimiser": "adamw",
    "learning_rate": 0.01,
    "device": "cpu",
    "validation": {"pixel_fraction": 0.2},
}


def make_cube(start: str = "2015-01-01", end: str = "2016-03-31", pixels: int = 10, seed: int = 0) -> xr.Dataset:
    """Forcing, one static and both targets; surface moisture seen on two days of five, with noise."""
    time = pd.date_range(start, end)
    shape = (len(time), pixels)
    rng = np.random.default_rng(seed)
    sand = np.linspace(20, 80, pixels)
    precipitation = np.where(rng.random(shape) < 0.25, rng.gamma(0.8, 12, shape), 0)
    temperature = 285 + 10 * np.sin(2 * np.pi * time.day_of_year.to_numpy() / 365.25)[:, None] + rng.normal(0, 2, shape)
    moisture = {}
    for name, memory in (("ssm_smap", 0.8), ("rzsm_smap", 0.97)):
        store, days = np.zeros(pixels), np.empty(shape)
        for t in range(len(time)):
            store = memory * store + (1 - memory) * precipitation[t] / 30
            days[t] = 0.32 - 0.002 * sand + store
        moisture[name] = days
    moisture["ssm_smap"] += rng.normal(0, 0.005, shape)
    moisture["ssm_smap"][rng.random(shape) > 0.4] = np.nan
    variables = {"precipitation": precipitation, "air_temperature": temperature, **moisture}
    dataset = xr.Dataset(
        {name: (("time", "pixel"), values.astype(np.float32)) for name, values in variables.items()}
        | {"sand": ("pixel", sand.astype(np.float32))},
        coords={"time": time, "pixel": np.arange(pixels) * 7 + 3},
        attrs={"source": "reservoir", "synthetic": "true", "created": "2026-01-01T00:00:00+00:00"},
    )
    names = {"row": 50.0, "col": 160.0, "lat": 40.0, "lon": -100.0}
    return describe(dataset.assign_coords({k: ("pixel", v + np.arange(pixels)) for k, v in names.items()}))


def make_profile(
    training: dict[str, Any] | None = None,
    hindcast: dict[str, Any] | None = None,
    source: str = "twin",
    **sections: Any,
) -> Profile:
    """Profile whose sections `training` and `hindcast` are changed in the keys given."""
    return Profile.model_validate(
        {
            "name": "reservoir",
            "title": "A linear reservoir (synthetic)",
            "data": {"source": source, "start": "2015-01-01", "end": "2016-03-31"},
            "inputs": {"forcing": FORCING, "statics": STATICS},
            "training": TRAINING | (training or {}),
            "hindcast": {"start": "2015-07-01", "end": "2016-03-31"} | (hindcast or {}),
            "evaluation": {"start": "2015-10-01", "end": "2016-03-31"},
            **sections,
        }
    )
