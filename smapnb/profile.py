"""The validated profile: what a run is, with every default beside its name; unknown keys are errors.

It reads and checks YAML and dotted overrides and says where data and results lie; it opens no data.
"""

from __future__ import annotations

import csv
import os
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from smapnb.variables import LEAST_OBSERVED, TARGETS, names

Quantity = Literal["surface", "rootzone"]
Gate = Literal["x", "h", "g"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0, strict=True)]  # strict: true is no number


def _three_digits(version: Any) -> Any:
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{3}", version):
        # YAML takes 010 for the number 8.
        raise ValueError(f"a version of SMAP's products is three digits in quotes, as '\"009\"', and not {version!r}")
    return version


Version = Annotated[str, BeforeValidator(_three_digits)]


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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class Period(_Section):
    """First and last day, both inclusive."""

    start: date
    end: date

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"period ends on {self.end}, before it starts on {self.start}")
        return self


class Place(_Section):
    """A place on Earth, degrees."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]


class Archive(_Section):
    """How the agencies' files become a cube; the defaults are those of Fang, Pan & Shen (2019) and their scripts.

    Not so the versions of SMAP's products, which their owner replaces from time to time.
    """

    smap_l3_version: Version = "009"
    smap_l4_version: Version = "008"
    smap_l4_collection: Annotated[str, Field(pattern=r"^C\d+-\w+$")] | None = Field(
        default=None, description="id in NASA's catalogue, by which windows are asked for; none: the default version's"
    )
    smap_overpass: Literal["AM", "PM", "both"] = "AM"
    smap_algorithm: Literal["scav", "scah", "dca", "baseline"] = Field(
        default="scav", description="scav is the paper's"
    )
    smap_quality: Literal["none", "recommended", "attempted"] = "none"
    nldas_day: Literal["author", "exact"] = Field(default="author", description="files 00 to 23, or true UTC totals")
    min_hours: Annotated[int, Field(ge=1, le=24)] = Field(default=24, description="hourly files that a day needs")
    land_models: list[Literal["noah", "vic"]] = ["noah", "vic"]
    region: tuple[float, float, float, float] | None = Field(
        default=None, description="west, east, south, north in degrees; none: the authors' box of the conterminous U.S."
    )
    sites: list[Place] | None = Field(
        default=None,
        min_length=1,
        description="the pixels are the cells that hold these places, not a region's",
    )
    nldas: Literal["grids", "centre", "covering"] = Field(
        default="grids", description="hourly grids; or series of the cell at a pixel's centre, or of all cells over it"
    )
    every_km9: Positive = Field(
        default=4, description="of the 9 km cells every so manieth row and column, and sites' cells"
    )
    least_observed: Fraction = Field(default=LEAST_OBSERVED, description="36 km cells need SMAP on more of the days")

    @model_validator(mode="after")
    def _one_choice_of_places(self) -> Self:
        if self.sites is not None and self.region is not None:
            raise ValueError("name either region or sites")
        return self

    @model_serializer(mode="wrap")
    def _without_usual_versions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out versions that are the default: a cube made before the keys were known is still the same cube.

        Should a default change, the names of the files tell cubes of two versions apart.
        """
        versions = {"smap_l3_version", "smap_l4_version", "smap_l4_collection"}
        usual = {name: type(self).model_fields[name].default for name in versions}
        return {name: value for name, value in handler(self).items() if name not in versions or value != usual[name]}


class Data(Period):
    """Which source fills the cube, and for which days."""

    source: Literal["twin", "conus412", "conus"]
    pixels: Positive | None = Field(None, description="at most so many pixels (evenly taken); none: all")
    twin_seed: Annotated[int, Field(ge=0)] = Field(2019, description="seed of the simulation experiment")
    archive: Archive | None = Field(None, description="of the source conus only")

    @model_validator(mode="after")
    def _archive_fits(self) -> Self:
        if self.source != "conus" and self.archive is not None:
            raise ValueError(f"the section archive belongs to the source conus, not to {self.source}")
        if self.source == "conus" and self.archive is None:
            self.archive = Archive()
        if self.archive is not None and self.archive.nldas != "grids" and self.pixels is not None:
            raise ValueError("series are fetched for every pixel that is asked for: name sites instead of pixels")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the source does not have: a run made before the key was known is still the same run."""
        return {name: value for name, value in handler(self).items() if name != "archive" or value is not None}


class Inputs(_Section):
    """What the LSTM sees, in the order in which it sees it."""

    forcing: list[str] = Field(default_factory=lambda: names("forcing"), min_length=1)
    statics: list[str] = Field(default_factory=lambda: names("static"))

    @model_validator(mode="after")
    def _known(self) -> Self:
        for kind, chosen in (("forcing", self.forcing), ("static", self.statics)):
            unknown = sorted(set(chosen) - set(names(kind)))
            if unknown:
                raise ValueError(f"unknown {kind} inputs {unknown}; known: {names(kind)}")
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"a {kind} input is named twice: {chosen}")
        return self


class Validation(_Section):
    """What the training holds back from itself: pixels and months of the training period, never the test period."""

    pixel_fraction: Fraction = 0.1
    months: list[str] = Field(default=[], description="held-back months, as 2015-08")
    every: Positive = Field(default=1, description="score every so many epochs")
    patience: Positive | None = Field(default=None, description="stop after so many scores without a better one")


class Training(Period):
    """The LSTM and how it is trained. Reference: Fang, Pan & Shen (2019), section II-B, and their scripts."""

    members: Positive = 1
    seed: Annotated[int, Field(ge=0)] = Field(0, description="member m draws from seed + m")
    hidden_size: Positive = 256
    dropout: Fraction = 0.5
    dropout_on: list[Gate] = ["x", "h", "g"]
    seq_length: list[Positive] = Field([30], min_length=1, description="days scored; members take turns")
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="days run before each window and not scored")
    batch_size: Positive = 100
    epochs: Positive = 500
    iterations_per_epoch: Positive | None = Field(None, description="none: the authors' coverage rule")
    optimiser: Literal["adadelta", "adamw"] = "adadelta"
    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    loss_per: Literal["rho", "observation"] = "rho"
    weight_average: Fraction = Field(0.0, description="decay per step of the averaged weights; 0: none")
    forcing_noise: Annotated[float, Field(ge=0)] = Field(0.0, description="std of noise on the scaled forcing")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1, mps")
    mixed_precision: bool = False
    validation: Validation = Validation()


class Hindcast(Period):
    """Over which days the trained LSTM is run, and how."""

    spinup_days: Annotated[int, Field(ge=0)] = Field(365, description="days run before `start` and thrown away")
    dropout_passes: Annotated[int, Field(ge=0)] = Field(0, description="0: dropout off; n: mean of n passes with it")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the factors of the large products")
    pixel_block: Positive = Field(512, description="pixels run at once, and to a chunk; a task of Dask")
    time_block: Positive = Field(366, description="days read at once, and to a chunk")


class Evaluation(Period):
    """The days on which the hindcast is scored against SMAP; none of them may be a day of training."""

    bootstrap_samples: Positive = 500
    block_days: Positive = 30


class Stations(_Section):
    """What stands in the ground. The real sample takes every station that lies in the folder of the data."""

    core_sites: Annotated[int, Field(ge=0, le=9)] = Field(default=9, description="dense sites, of the twin only")
    crn_sites: Annotated[int, Field(ge=0, le=999)] = Field(default=110, description="sparse sites, of the twin only")
    bootstrap_samples: Positive = 500
    block_days: Positive = 30


class OneYearTest(_Section):
    """Train anew in one period, test in another: "AL 1 Yr Test" of Fang, Pan & Shen (2019), Fig. 4."""

    training: Period
    test: Period

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.training.start <= self.test.end and self.test.start <= self.training.end:
            raise ValueError("the one-year test overlaps its training")
        return self


class Profile(_Section):
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
    pairs = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ProfileError(f"-p {assignment}: write it as section.key=value")
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
