"""Write constraints.txt and environment.yml from pyproject.toml and the packages of the running environment.

``python tools/pin.py``, where all extras are installed and the tests pass. It installs nothing itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("book", "test", "dev", "lab", "grib", "soils", "cluster")
NOTE = "# Written by tools/pin.py; do not edit.\n"


def needed(requirements: Iterable[str]) -> dict[str, metadata.Distribution]:
    """Return the installed distributions that `requirements` need, directly or not, by canonical name."""
    todo = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, metadata.Distribution] = {}
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found[key[0]] = distribution = metadata.distribution(requirement.name)
        contexts = [{"extra": extra} for extra in ("", *requirement.extras)]
        for text in distribution.requires or []:
            deeper = Requirement(text)
            if deeper.marker is None or any(deeper.marker.evaluate(context) for context in contexts):
                todo.append(deeper)
    return found


def constraints(project: dict[str, Any]) -> str:
    """Return one exact version a line; a local label such as ``+cpu`` names a build, not a version."""
    texts = [*project["dependencies"], *(t for e in EXTRAS for t in project["optional-dependencies"][e])]
    found = needed(texts)
    lines = [f"{found[name].name}=={found[name].version.partition('+')[0]}" for name in sorted(found)]
    return NOTE + "\n".join(lines) + "\n"


def environment(project: dict[str, Any]) -> str:
    """Return a conda environment: Python from conda, all else from pip at the pinned versions."""
    python = Requirement(f"python{project['requires-python']}").specifier
    (lowest,) = (s.version for s in python if s.operator == ">=")
    entries = ["-c constraints.txt", *project["dependencies"]]
    for extra in EXTRAS:
        entries += project["optional-dependencies"][extra]
    entries.append("-e .")
    head = f"name: smapnb\nchannels: [conda-forge]\ndependencies:\n  - python={lowest}\n  - pip\n  - pip:\n"
    return NOTE + head + "".join(f'      - "{entry}"\n' for entry in entries)


def main() -> None:
    """Write both files, each by way of a temporary name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, text in {
        "constraints.txt": constraints(project),
        "environment.yml": environment(project),
    }.items():
        partial = ROOT / f".{name}.part"
        partial.write_text(text, encoding="utf-8")
        partial.replace(ROOT / name)


if __name__ == "__main__":
    main()
