"""The sections of a profile: every setting with its unit, its range, its default and why.

What several sections must agree on is `smapnb.profile.Profile`'s; nothing is read here.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from smapnb.variables import LEAST_OBSERVED, names

Quantity = Literal["surface", "rootzone"]
Gate = Literal["x", "h", "g"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0, strict=True)]  # strict: true is no number
Seed = Annotated[int, Field(ge=0, lt=2**62, strict=True)]  # with the number of a member added it fits 64 bits
Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


def _three_digits(version: Any) -> Any:
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{3}", version):
        # YAML takes 010 for the number 8.
        raise ValueError(f"a version of SMAP's products is three digits in quotes, as '\"009\"', and not {version!r}")
    return version


Version = Annotated[str, BeforeValidator(_three_digits)]


def _written_as_a_day(value: Any) -> Any:
    if not isinstance(value, date) and not (isinstance(value, str) and re.match(r"\d{4}-\d{2}-\d{2}", value)):
        # pydantic takes numbers for seconds since 1970: 20150401 is a day in August of that year.
        raise ValueError(f"write a day as 2015-04-01, not as {value!r}")
    return value


Day = Annotated[date, BeforeValidator(_written_as_a_day)]


class Section(BaseModel):
    """Keys with values; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class Period(Section):
    """First and last day, both inclusive."""

    start: Day
    end: Day

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"period ends on {self.end}, before it starts on {self.start}")
        return self


class Place(Section):
    """A place on Earth, degrees."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]


class Archive(Section):
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
    twin_seed: Seed = Field(2019, description="seed of the simulation experiment")
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

    def misfit(self, made_of: str | None) -> str:
        """Say why a cube is not of these data, by its attribute ``data_section`` (JSON); how many days it has is free.

        Empty where it is of them, or does not say.
        """
        if made_of is None:
            return ""
        try:
            theirs = type(self).model_validate_json(made_of).model_dump(mode="json")
        except ValidationError:
            return "the cube was made by a version of smapnb with other settings than this one knows: build it anew"
        ours = self.model_dump(mode="json")
        differing = [f"data.{key}" for key in ours if key not in ("start", "end") and ours[key] != theirs.get(key)]
        if not differing:
            return ""
        return f"the cube was made with other settings than the profile's ({', '.join(differing)}): build it anew"

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the source does not have: a run made before the key was known is still the same run."""
        return {name: value for name, value in handler(self).items() if name != "archive" or value is not None}


class Inputs(Section):
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


class Validation(Section):
    """What the training holds back from itself: pixels and months of the training period, never the test period."""

    pixel_fraction: Fraction = 0.1
    months: list[Month] = Field(default=[], description="held-back months, as 2015-08")
    every: Positive = Field(default=1, description="score every so many epochs")
    patience: Positive | None = Field(default=None, description="stop after so many scores without a better one")


class Training(Period):
    """The LSTM and how it is trained. Reference: Fang, Pan & Shen (2019), section II-B, and their scripts."""

    members: Positive = 1
    seed: Seed = Field(0, description="member m draws from seed + m")
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

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        self.fits_into(self, "training")
        return self

    def fits_into(self, period: Period, label: str) -> None:
        """Refuse a period, named `label`, shorter than an instance and its warm-up, or without a held-back month."""
        days, longest = (period.end - period.start).days + 1, max(self.seq_length[: self.members])
        if self.warmup + longest > days:
            raise ValueError(
                f"an instance of {self.warmup} + {longest} days (warmup and seq_length) does not fit into the {days} "
                f"days of {label}, {period.start}..{period.end}"
            )
        first, last = f"{period.start:%Y-%m}", f"{period.end:%Y-%m}"
        outside = [month for month in self.validation.months if not first <= month <= last]
        if outside:
            raise ValueError(f"validation.months {outside} lie outside {label}, {period.start}..{period.end}")


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


class Stations(Section):
    """What stands in the ground. The real sample takes every station that lies in the folder of the data."""

    core_sites: Annotated[int, Field(ge=0, le=9)] = Field(default=9, description="dense sites, of the twin only")
    crn_sites: Annotated[int, Field(ge=0, le=999)] = Field(default=110, description="sparse sites, of the twin only")
    bootstrap_samples: Positive = 500
    block_days: Positive = 30


class OneYearTest(Section):
    """Train anew in one period, test in another: "AL 1 Yr Test" of Fang, Pan & Shen (2019), Fig. 4."""

    training: Period
    test: Period

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.training.start <= self.test.end and self.test.start <= self.training.end:
            raise ValueError("the one-year test overlaps its training")
        return self
