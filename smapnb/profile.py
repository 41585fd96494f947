"""The validated profile: what a run is; unknown keys are errors, and so are sections that contradict each other.

It reads and checks YAML and dotted overrides and says where data and results lie; it opens no data. The single settings
and their defaults are in `smapnb.profile_sections`.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
import yaml
from pydantic import Field, model_validator

from smapnb.profile_sections import (
    Archive,
    Data,
    Evaluation,
    Hindcast,
    Inputs,
    OneYearTest,
    Place,
    Quantity,
    Section,
    Stations,
    Training,
)
from smapnb.variables import TARGETS


class ProfileError(ValueError):
    """A profile cannot be found or read; validation errors are pydantic's own."""


class _OneKeyOnce(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; PyYAML itself lets the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class Profile(Section):
    """All that defines a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="also the folder of its results")
    title: str
    rules: Literal["paper-text", "author-code"] = "author-code"
    data: Data
    inputs: Inputs = Field(default_factory=Inputs)
    targets: list[Quantity] = Field(["surface"], min_length=1)
    training: Training
    hindcast: Hindcast
    evaluation: Evaluation
    stations: Stations = Stations()
    one_year_test: OneYearTest | None = None

    @property
    def synthetic(self) -> bool:
        """Whether every number of this run comes from the simulation experiment."""
        return self.data.source == "twin"

    @property
    def archive(self) -> Archive:
        """How the agencies' files become its cube: of the source conus only."""
        if self.data.archive is None:
            raise ProfileError(f"{self.name}: the source {self.data.source} has no section data.archive")
        return self.data.archive

    def targets_among(self, asked: list[str] | None) -> list[Quantity]:
        """Those of the profile's targets that were asked for by name; none asked for: all."""
        unknown = sorted(set(asked or []) - set(self.targets))
        if unknown:
            raise ProfileError(
                f"{self.name} has no target {', '.join(unknown)}; its targets: {', '.join(self.targets)}"
            )
        return [quantity for quantity in self.targets if not asked or quantity in asked]

    @model_validator(mode="after")
    def _targets_fit(self) -> Self:
        if len(set(self.targets)) < len(self.targets):
            raise ValueError(f"a target is named twice: {self.targets}")
        if self.data.source == "conus412" and "rootzone" in self.targets:
            raise ValueError("the sample conus412 has no root-zone target: targets can only be [surface]")
        if self.data.source == "conus" and "ndvi" in self.inputs.statics:
            raise ValueError("no product of the source conus gives ndvi: name the other inputs.statics")
        return self

    @model_validator(mode="after")
    def _periods_fit(self) -> Self:
        for label in ("training", "hindcast", "evaluation"):
            period = getattr(self, label)
            if period.start < self.data.start or period.end > self.data.end:
                raise ValueError(
                    f"{label} {period.start}..{period.end} leaves the data period {self.data.start}..{self.data.end}"
                )
        test = self.one_year_test
        for label, period in (("training", test.training), ("test", test.test)) if test else ():
            if period.start < self.data.start or period.end > self.data.end:
                raise ValueError(
                    f"one_year_test.{label} {period.start}..{period.end} leaves the data period "
                    f"{self.data.start}..{self.data.end}"
                )
        if test:
            self.training.fits_into(test.training, "one_year_test.training")
        if self.evaluation.start < self.hindcast.start or self.evaluation.end > self.hindcast.end:
            raise ValueError(
                f"evaluation {self.evaluation.start}..{self.evaluation.end} leaves the hindcast "
                f"{self.hindcast.start}..{self.hindcast.end}"
            )
        if self.training.start <= self.evaluation.end and self.evaluation.start <= self.training.end:
            raise ValueError("evaluation overlaps training: a test period must not be trained on")
        return self


def variable(quantity: str, product: str) -> str:
    """Name of a target's variable: ``variable("surface", "smap") == "ssm_smap"``."""
    return f"{TARGETS[quantity]}_{product}"


def find(profile: str | Path, folder: Path | None = None) -> Path:
    """Path of a profile given by name (``twin``) or by path (``my/profile.yml``)."""
    path = Path(profile)
    folder = folder or project_folder() / "profiles"
    candidates = [path] if path.suffix in {".yml", ".yaml"} else [folder / f"{profile}.yml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted(p.stem for p in folder.glob("*.yml"))
    raise ProfileError(
        f"no profile {str(profile)!r}: looked for {candidates[0]}; known here: {', '.join(known) or 'none'}"
    )


def load(profile: str | Path, overrides: dict[str, Any] | None = None, folder: Path | None = None) -> Profile:
    """Read a profile and lay dotted overrides over it.

    Parameters
    ----------
    profile : str or Path
        Name or path.
    overrides : dict, optional
        Dotted key to value, as ``{"training.epochs": 5}``; text values are read as YAML. In place of a list
        ``data.archive.sites`` may name a CSV file with columns lat and lon, in the profile's folder if not by its full
        path; the list is read from it.

    Raises
    ------
    ProfileError
        No such file, or not a mapping; a file of sites that cannot be read.
    pydantic.ValidationError
        Unknown key or a value that does not fit; the message names the key.
    """
    path = find(profile, folder)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _OneKeyOnce)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, as 2015-02-30
        raise ProfileError(f"{path}: not YAML that can be read: {error}") from error
    if not isinstance(values, dict):
        raise ProfileError(f"{path}: not a mapping of keys to values")
    for dotted, value in (overrides or {}).items():
        set_dotted(values, dotted, _read_value(dotted, value) if isinstance(value, str) else value)
    data = values.get("data")
    archive = data.get("archive") if isinstance(data, dict) else None
    if isinstance(archive, dict) and isinstance(archive.get("sites"), str):
        archive["sites"] = read_places(path.parent / archive["sites"])
    return Profile.model_validate(values)


def read_places(path: Path) -> list[dict[str, float]]:
    """Read places from a CSV file with the columns lat and lon.

    Raises
    ------
    ProfileError
        No such file, no such column, or a value that is no latitude or longitude; file and line are named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: cannot be read ({error}); it must be a CSV file with columns lat, lon") from None
    places = []
    for line, row in enumerate(rows, start=2):
        try:
            places.append({name: float(row[name]) for name in ("lat", "lon")})
            Place.model_validate(places[-1])
        except (KeyError, TypeError, ValueError):
            raise ProfileError(f"{path}, line {line}: no place in degrees in the columns lat and lon: {row}") from None
    if not places:
        raise ProfileError(f"{path}: holds no place")
    return places


def _read_value(dotted: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"-p {dotted}={text}: {error}") from error


def set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``values["a"]["b"]`` for the key ``a.b``; sections on the way are made, validation refuses unknown ones."""
    *sections, last = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ProfileError(f"-p {dotted}: {section!r} is a value, not a section")
    values[last] = value


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Turn ``["training.epochs=5"]`` into ``{"training.epochs": "5"}``."""
    pairs: dict[str, str] = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ProfileError(f"-p {assignment}: write it as section.key=value")
        if key.strip() in pairs:
            raise ProfileError(f"-p {assignment}: {key.strip()} is given twice, before as {pairs[key.strip()]!r}")
        pairs[key.strip()] = value
    return pairs


def data_root() -> Path:
    """Folder of the real data: ``SMAPNB_DATA``, else the user's data folder."""
    return Path(os.environ.get("SMAPNB_DATA") or platformdirs.user_data_dir("smapnb")).expanduser()


def run_folder(name: str) -> Path:
    """Folder of a run's results: ``runs/<name>`` below ``SMAPNB_RUNS`` or the project's folder."""
    return Path(os.environ.get("SMAPNB_RUNS") or project_folder() / "runs") / name


def project_folder() -> Path:
    """Working folder, or its parent where that holds ``profiles/``, as for a notebook opened in ``notebooks/``."""
    parent = not Path("profiles").is_dir() and Path("../profiles").is_dir()
    return Path("..") if parent else Path()
