"""The checkpoint: weights of every member with all that a hindcast needs, and how such files are written and read.

Weights are safetensors, never pickle; every file is written under a temporary name and moved into place.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from smapnb.batch import Scaler
from smapnb.lstm import SoilMoistureLSTM
from smapnb.profile import Quantity, Training, variable

CHECKPOINT = "checkpoint.safetensors"


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stopped and why."""


@dataclass
class Checkpoint:
    """All that a hindcast needs: weights of every member, scaler, inputs, target, and the profile that made them."""

    weights: list[dict[str, Tensor]]
    scaler: Scaler
    quantity: Quantity
    forcing: list[str]
    statics: list[str]
    profile: dict[str, Any]
    versions: dict[str, str]
    forcing_range: dict[str, tuple[float, float]]

    @property
    def target(self) -> str:
        """Variable that the network was trained on."""
        return variable(self.quantity, "smap")

    @property
    def output(self) -> str:
        """Variable that the network fills."""
        return variable(self.quantity, "lstm")

    def models(self, device: torch.device | str = "cpu") -> list[SoilMoistureLSTM]:
        """One network a member, in eval mode, on `device`."""
        training = Training.model_validate(self.profile["training"])
        models = []
        for weights in self.weights:
            model = network(len(self.forcing) + len(self.statics), training)
            model.load_state_dict(weights)
            models.append(model.to(device).eval())
        return models

    def save(self, path: Path) -> None:
        """Write weights and metadata as one safetensors file, and the metadata beside it as JSON to read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = {f"member{m}.{k}": v.contiguous() for m, w in enumerate(self.weights) for k, v in w.items()}
        about = {
            "quantity": self.quantity,
            "forcing": self.forcing,
            "statics": self.statics,
            "scaler": self.scaler.to_json(),
            "forcing_range": self.forcing_range,
            "profile": self.profile,
            "versions": self.versions,
        }
        text = json.dumps(about, indent=1)
        write_tensors(path, flat, text)
        replace_file(path.with_suffix(".json"), text.encode())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        TrainingError
            No such file, or not a checkpoint of smapnb.
        """
        flat, text = read_tensors(path)
        about = json.loads(text)
        if "scaler" not in about:
            raise TrainingError(f"{path}: not a checkpoint of smapnb")
        weights: dict[int, dict[str, Tensor]] = {}
        for key, value in flat.items():
            member, name = key.split(".", 1)
            weights.setdefault(int(member.removeprefix("member")), {})[name] = value
        scaler = Scaler(**about.pop("scaler"))
        ranges = {k: (v[0], v[1]) for k, v in about.pop("forcing_range").items()}
        return cls([weights[m] for m in sorted(weights)], scaler, forcing_range=ranges, **about)


def choose_device(wish: str) -> torch.device:
    """``auto``: CUDA, then MPS, then CPU, whichever is there; else the device as named, TrainingError without it."""
    if wish != "auto":
        device = torch.device(wish)
        there = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
        if (device.index or 0) >= there.get(device.type, 1):
            raise TrainingError(f"training.device is {wish}, but PyTorch {torch.__version__} finds no such device here")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def network(n_inputs: int, settings: Training, generator: torch.Generator | None = None) -> SoilMoistureLSTM:
    """Network of the sizes that a profile's training section states."""
    return SoilMoistureLSTM(n_inputs, settings.hidden_size, settings.dropout, tuple(settings.dropout_on), generator)


def versions() -> dict[str, str]:
    """Versions of what made a result."""
    packages = ("smapnb", "torch", "numpy", "xarray")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def write_tensors(path: Path, flat: dict[str, Tensor], text: str) -> None:
    """Write tensors and a JSON text as one safetensors file, moved into place when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    save_file(flat, temporary, metadata={"smapnb": text})
    temporary.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read what `write_tensors` wrote; TrainingError names the file that is absent or broken."""
    if not path.exists():
        raise TrainingError(f"{path}: no such file; run the training notebook first")
    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()["smapnb"]  # noqa: SIM118
    except Exception as error:
        raise TrainingError(f"{path}: not a file of smapnb's training ({error}): remove it and train again") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and move it into place."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
