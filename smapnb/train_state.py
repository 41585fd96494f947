"""The state of an unfinished training on disk: written after each epoch, taken up by the next run of the same training.

It knows which stored state belongs to which run, and leaves out what the numbers in it mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from torch import Tensor

from smapnb.profile import Data, Inputs, Profile, Training
from smapnb.train_checkpoint import read_tensors, write_tensors

STATE = "training_state.safetensors"
SECTIONS: dict[str, type[BaseModel]] = {"data": Data, "inputs": Inputs, "training": Training}


def identity(profile: Profile, quantity: str, values: list[str]) -> dict[str, Any]:
    """Say what must be equal for a stored state to belong to a run.

    Parameters
    ----------
    values : list of str
        Digests of the data that are trained on.
    """
    sections = {name: getattr(profile, name).model_dump(mode="json") for name in SECTIONS}
    return {"quantity": quantity, "rules": profile.rules, **sections, "values": values}


def same_training(stored: dict[str, Any], due: dict[str, Any]) -> bool:
    """Whether two identities mean one training.

    A key that profiles gained since the state was written has its default there. Where a training is computed, on which
    device and by how many processes, is no part of what it is: one that torchrun finished on GPUs is finished on a
    laptop too.
    """
    try:
        return _comparable(stored) == _comparable(due)
    except (ValidationError, KeyError):
        return False


def _comparable(about: dict[str, Any]) -> dict[str, Any]:
    filled = {name: model.model_validate(about[name]).model_dump(mode="json") for name, model in SECTIONS.items()}
    filled["training"].pop("device")
    return {k: v for k, v in about.items() if k != "device"} | filled


def write(folder: Path, groups: dict[str, dict[str, Tensor]], about: dict[str, Any]) -> None:
    """Write named groups of tensors and what is to know about them."""
    flat = {f"{group}.{name}": value.cpu() for group, values in groups.items() for name, value in values.items()}
    write_tensors(folder / STATE, {k: v.contiguous().clone() for k, v in flat.items()}, json.dumps(about))


def read(folder: Path, due: dict[str, Any]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Read the state of the training that `due` identifies; None where there is none of it.

    Raises
    ------
    TrainingError
        A file that no state can be read from.
    """
    if not (folder / STATE).exists():
        return None
    flat, text = read_tensors(folder / STATE)
    about = json.loads(text)
    if not same_training(about["identity"], due):
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = value
    return groups, about
