"""The words of claims.yml that select: rows of a table, what is computed of two or more, and bounds on it.

Models only: `smapnb.claims_tables` follows them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A part of claims.yml; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Region(Strict):
    """A box in degrees; needs the columns `lat` and `lon`."""

    lat: tuple[Number, Number]
    lon: tuple[Number, Number]


class Table(Strict):
    """How a table is read: what one value of the paper stands for there, and the columns that hold the values."""

    unit: Literal["site", "group"] | None  # none: the table is not about sites
    value: str = "value"
    limits: tuple[str, str] | None = ("lower", "upper")


class Rows(Strict):
    """Rows of a table, one a site; numbers, or dates as fractions of a year, from `column`.

    `limits` names the columns with those of `column`; by default only the table's own value column has any. `p` names
    the column of the p-values that belong to the values, adjusted for the number of sites.
    """

    table: str
    where: dict[str, str | float]
    column: str | None = None
    limits: tuple[str, str] | None = None
    p: str | None = None
    region: Region | None = None

    def _named(self, key: str, part: int) -> tuple[str, ...]:
        pairs = [str(self.where[side]).split(maxsplit=1)[part] for side in ("one", "two") if side in self.where]
        return (*([str(self.where[key])] if key in self.where else []), *pairs)

    @property
    def periods(self) -> tuple[str, ...]:
        """Periods that the selector names: by themselves, or in the names of the two series of a difference."""
        return self._named("period", 0)

    @property
    def products(self) -> tuple[str, ...]:
        """Products that the selector names, likewise."""
        return self._named("product", 1)


class Minus(Strict):
    """The first less the second, at the sites that both have."""

    minus: tuple[Operand, Operand]


class Largest(Strict):
    """The largest of several, at the sites that all have."""

    largest: Annotated[list[Operand], Field(min_length=2)]


class Smallest(Strict):
    """The smallest of several, at the sites that all have."""

    smallest: Annotated[list[Operand], Field(min_length=2)]


class Absolute(Strict):
    """The size without the sign."""

    absolute: Operand


Operand = str | Minus | Largest | Smallest | Absolute


class Threshold(Strict):
    """One bound on a value; below and above exclude it, at_most and at_least include it."""

    below: Number | None = None
    above: Number | None = None
    at_most: Number | None = None
    at_least: Number | None = None

    def bound(self) -> tuple[str, float] | None:
        """Name and value of the bound that is given."""
        given = [(name, getattr(self, name)) for name in ("below", "above", "at_most", "at_least")]
        return next(((name, value) for name, value in given if value is not None), None)

    @model_validator(mode="after")
    def _one(self) -> Threshold:
        given = [name for name in ("below", "above", "at_most", "at_least") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"one bound, not several: {given}")
        return self

    def holds(self, values: pd.Series) -> pd.Series:
        """Whether each value obeys the bound.

        Raises
        ------
        ValueError
            No bound is given.
        """
        bound = self.bound()
        if bound is None:
            raise ValueError("no bound is given: below, above, at_most or at_least")
        name, value = bound
        compared = {"below": values.lt, "above": values.gt, "at_most": values.le, "at_least": values.ge}
        return compared[name](value)


class Condition(Threshold):
    """The sites at which another quantity obeys a bound."""

    of: Operand

    @model_validator(mode="after")
    def _given(self) -> Condition:
        if self.bound() is None:
            raise ValueError("a condition needs below, above, at_most or at_least")
        return self


for _model in (Minus, Largest, Smallest, Absolute, Condition):
    _model.model_rebuild()
