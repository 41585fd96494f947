"""What the runner recorded of a run, held against the notebooks that are there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from smapnb.cli import one_line
from smapnb.profile import Profile

ENDED = ("done", "left out")


class BookError(RuntimeError):
    """The book cannot be built, or what was built is not whole."""


def read(path: Path) -> tuple[Profile, dict[str, Any]]:
    """Profile and notebooks of a run, as its ``provenance.json`` has them.

    Raises
    ------
    BookError
        Naming the file, which cannot be read or is another version's.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Profile.model_validate(record["profile"]), dict(record["notebooks"])
    except pydantic.ValidationError as error:
        raise BookError(
            f"{path}: its profile is none of this version; run all notebooks again ({one_line(error)})"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BookError(f"{path}: no record of a run ({error}); delete it and run all notebooks again") from None


def check_whole(folder: Path, notebooks: dict[str, Any], chapters: Sequence[str]) -> None:
    """Refuse a run of which a notebook failed, was stopped or killed, or is no longer there.

    Raises
    ------
    BookError
        Naming the run, and each notebook with what is recorded of it.
    """
    states = {stem: entry.get("status") for stem, entry in notebooks.items()}
    broken = [f"{stem} ({status})" for stem, status in states.items() if status not in ENDED]
    broken += [f"{stem} (no file)" for stem, status in states.items() if status in ENDED and stem not in chapters]
    if broken:
        again = " ".join(f"--only {number}" for number in sorted({one[:2] for one in broken}))
        raise BookError(f"{folder}: not whole: {', '.join(broken)}; run these again: smapnb run PROFILE {again}")


def mixed(notebooks: dict[str, Any], chapters: Sequence[str]) -> bool:
    """Whether `chapters` of one run were made with different settings; older records know those of ``-p`` alone."""
    entries = [notebooks.get(stem, {}) for stem in chapters]
    known = "settings" if all("settings" in entry for entry in entries) else "overrides"
    return any(entry.get(known) != entries[0].get(known) for entry in entries)
