"""The record of a run, ``runs/<name>/provenance.json``, and the lock that lets one ``smapnb run`` write it.

From the start of a run the entry of each of its notebooks says "started" until that has ended, so that a killed run
leaves no gap. What runs, it does not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smapnb import folders
from smapnb.profile import Profile

NAME = "provenance.json"
LOCK = ".lock-run"
PACKAGES = (
    *("smapnb", "numpy", "pandas", "scipy", "xarray", "zarr", "dask", "torch", "numba", "shapely"),
    *("matplotlib", "cartopy", "hvplot", "bokeh", "panel", "jupytext", "papermill", "ipykernel"),
)


class RunError(RuntimeError):
    """A notebook cannot be run or has failed; the message names notebook, cell and exception."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made if absent.

    Raises
    ------
    RunError
        Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = folders.lock(folder / LOCK)
    except BlockingIOError:
        raise RunError(
            f"another smapnb run works in {folder}: wait for it, stop it, or give this one a name (-p name=...)"
        ) from None
    with held:
        yield


def start(folder: Path, settings: Profile, overrides: dict[str, Any], chosen: list[str]) -> dict[str, Any]:
    """Write the record of a run that has begun; notebooks that are not `chosen` keep their earlier entry.

    Raises
    ------
    RunError
        The earlier record cannot be read; nothing has been changed then.
    """
    profile = settings.model_dump(mode="json")
    values = {key: value for key, value in profile.items() if key != "title"}  # another title is no other setting
    entries = _earlier(folder / NAME) | {stem: {"status": "started"} for stem in chosen}
    record = {
        "profile": profile,
        "settings": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
        "overrides": overrides,
        "synthetic": settings.synthetic,
        "start": _now(),
        "end": None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(settings),
        "git": _git(),
        "versions": {package: _version(package) for package in PACKAGES},
        "notebooks": dict(sorted(entries.items())),
    }
    _write(folder / NAME, record)
    return record


def finish(folder: Path, record: dict[str, Any], stem: str, status: str, executed: dict[str, Any]) -> None:
    """Write how a notebook ended; `executed` is what papermill noted of it, empty where nothing ran."""
    record["notebooks"][stem] = {
        "status": status,
        "start": executed.get("start_time"),
        "end": executed.get("end_time"),
        "seconds": executed.get("duration"),
        "overrides": record["overrides"],
        "settings": record["settings"],
        "git": record["git"],
    }
    record["end"] = _now()
    _write(folder / NAME, record)


def _earlier(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["notebooks"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: no record of a run ({error}); delete it and run all notebooks again") from None


def _write(path: Path, record: dict[str, Any]) -> None:
    partial = path.with_suffix(".json.partial")
    try:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        error.filename = error.filename or str(partial)  # a full disk names no file
        raise
    partial.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(settings: Profile) -> dict[str, Any]:
    """Say what the machine offers; which of it trained the network, the checkpoint records."""
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return {
        "asked": settings.training.device,
        "cpu": platform.processor() or platform.machine(),
        "cpu_cores": os.cpu_count(),
        "gpu": listed.splitlines() if listed else [],
    }


def _git() -> str | None:
    """Give the commit of the working folder, marked ``-dirty`` where tracked files differ from it."""
    return _output(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
