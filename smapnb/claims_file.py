"""What claims.yml holds: the paper's statements, and how each is taken from the tables of a run; read and validated.

It has no field for a verdict, and refuses a file with one. It computes nothing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from smapnb.claims_measure import Measure
from smapnb.claims_select import Number, Operand, Rows, Strict, Table
from smapnb.claims_tables import Run

PATH = Path(__file__).with_name("data") / "claims.yml"
Requirement = Literal[
    "real_sites", "whole_network", "whole_grid", "core_stations", "pre_launch", "root_zone", "noah", "vic"
]


class ClaimsError(ValueError):
    """claims.yml is not what it should be; the message names file and entry."""


class Claim(Strict):
    """One statement of the paper.

    `place` is where it stands, `reading` how its words became numbers; `weak`: few runs could contradict it.
    """

    id: str = Field(pattern=r"^(E([1-9]|1[01])|C|D\d+)\.\d+$")
    place: str = Field(min_length=4)
    statement: str = Field(min_length=10)
    kind: Literal["number", "at_most", "at_least", "count", "sites", "pattern"]
    paper: Number | list[str] | Literal["positive", "negative", "none"]
    of: int | None = None
    tolerance: Number | None = Field(None, gt=0)
    strict: bool = False
    relation: Literal["equal", "contains"] = "equal"
    margin: Number | None = Field(None, gt=0)
    reading: str = ""
    weak: bool = False
    requires: tuple[Requirement, ...] = ()
    measure: Measure

    @property
    def experiment(self) -> str:
        """``E3.2`` belongs to ``E3``."""
        return self.id.partition(".")[0]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Claim:
        wanted = {"number": float, "at_most": float, "at_least": float, "count": float, "sites": list, "pattern": str}
        if not isinstance(self.paper, wanted[self.kind]):
            raise ValueError(f"kind {self.kind!r} cannot have paper {self.paper!r}")
        no_effect = self.kind == "pattern" and self.paper == "none"
        needs = {
            "tolerance": self.kind == "number",
            "of": self.kind == "count",
            "margin": no_effect,
            "reading": self.kind == "number" or no_effect,
        }
        for name, needed in needs.items():
            given = getattr(self, name) not in (None, "")
            if needed and not given:
                raise ValueError(f"kind {self.kind!r} needs {name}")
            if given and not needed and name != "reading":
                raise ValueError(f"kind {self.kind!r} takes no {name}")
        if self.measure.surely and self.relation == "equal" and self.kind == "sites":
            raise ValueError("surely needs relation 'contains': a site that is not sure is not another")
        if (self.kind == "sites") != (self.measure.reduce == "sites"):
            raise ValueError(f"kind {self.kind!r} and reduce {self.measure.reduce!r} do not belong together")
        if self.kind == "count" and self.measure.reduce != "share":
            raise ValueError("kind 'count' needs reduce 'share'")
        if isinstance(self.paper, float) and self.of is not None and not 0 <= self.paper <= self.of:
            raise ValueError(f"{self.paper:g} of {self.of} is no count")
        return self


class Figure(Strict):
    """A figure of the paper that states nothing to check and is drawn by a directive of the book."""

    id: str = Field(pattern=r"^F\d+$")
    place: str
    page: str
    directive: str


class Notebook(Strict):
    """All of claims.yml: names of sites, how tables are read, named selectors, figures and claims."""

    sites: dict[str, str]
    tables: dict[str, Table]
    series: dict[str, Rows]
    figures: list[Figure]
    claims: list[Claim]

    @model_validator(mode="after")
    def _names_are_known(self) -> Notebook:
        twice = [name for name, times in Counter(claim.id for claim in self.claims).items() if times > 1]
        if twice:
            raise ValueError(f"claims given twice: {twice}")
        for name, rows in self.series.items():
            if rows.table not in self.tables:
                raise ValueError(f"series {name!r}: unknown table {rows.table!r}; known: {sorted(self.tables)}")
        for claim in self.claims:
            unknown = [name for name in self.used(claim) if name not in self.series]
            if unknown:
                raise ValueError(f"claim {claim.id}: unknown series {unknown}")
            named = claim.paper if isinstance(claim.paper, list) else []
            strange = [
                site for site in (*named, *([claim.measure.at] if claim.measure.at else [])) if site not in self.sites
            ]
            if strange:
                raise ValueError(f"claim {claim.id}: unknown sites {strange}")
        return self

    def used(self, claim: Claim) -> list[str]:
        """Names of the series that a claim uses, each once."""
        measure = claim.measure
        operands: list[Operand | None] = [measure.of, measure.against, measure.tested]
        operands.append(measure.only.of if measure.only else None)
        run = Run({}, self.tables, self.series, {})
        return list(dict.fromkeys(name for operand in operands if operand is not None for name in run.named(operand)))


def read(path: str | Path = PATH) -> Notebook:
    """Read and validate claims.yml.

    Raises
    ------
    ClaimsError
        Not YAML, an unknown key (a verdict among them: it is computed), a missing or contradictory value.
    """
    path = Path(path)
    try:
        # The same by libyaml, where it is there, in a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return Notebook.model_validate(yaml.load(path.read_text(encoding="utf-8"), loader))
    except (yaml.YAMLError, ValidationError) as error:
        raise ClaimsError(f"{path.name}: {error}") from error
