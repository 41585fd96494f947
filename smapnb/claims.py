"""What the paper states, as checks: each number and pattern of claims.yml against the tables of a run, with a verdict.

The verdict is computed from the tables, never typed; what a run cannot say is "not testable", with the reason. It
computes no score, and on the simulation experiment it tests the method, not the world.

A verdict follows from the claim's `kind`; ``ours`` is the estimate, ``limits`` its 95 % limits:

``number``
    reproduced: ours is within `tolerance` of the paper's value, or the limits hold that value and are no wider than
    four tolerances. Not testable: they hold it and are wider, so that almost any value would pass. Else differs.
``at_most``, ``at_least``
    reproduced: ours obeys the bound (`strict`: does not touch it). Else differs, whatever the limits; the reason says
    whether they hold the bound.
``count``
    k of n sites. Reproduced: the paper's share is within Wilson's limits of our share, and both are on the same side of
    one half (or both exactly there). Else differs.
``sites``
    reproduced: the same set of named sites; `relation: contains`: at least those. Else differs.
``pattern``
    the sign of an effect. Reproduced: the limits lie on the side of zero that the paper names. Differs: on the other.
    Not testable: they hold zero. Where the paper sees no effect (`none`): reproduced if the limits lie within
    ± `margin`, differs if they exclude zero and reach beyond the margin, else not testable.

References
----------
Fang, Pan & Shen (2019), https://doi.org/10.1109/TGRS.2018.2872131. Wilson (1927), J. Am. Stat. Assoc. 22,
doi 10.1080/01621459.1927.10502953.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, ValidationError, model_validator

from smapnb.claims_measure import Estimate, Measure, estimate
from smapnb.claims_tables import NotTestable, Number, Operand, Rows, Run, Strict, Table, read_tables

__all__ = ["COLUMNS", "VERDICTS", "Claim", "ClaimsError", "Facts", "check", "facts", "load", "read_tables", "write"]

PATH = Path(__file__).with_name("data") / "claims.yml"
REPRODUCED, DIFFERS, NOT_TESTABLE = VERDICTS = ("reproduced", "differs", "not testable")
COLUMNS = ("id", "place", "statement", "paper", "ours", "lower", "upper", "n", "verdict", "reason")
WIDEST = 4  # tolerances that limits may span and still tell something
Requirement = Literal[
    "real_sites", "whole_network", "whole_grid", "core_stations", "pre_launch", "root_zone", "noah", "vic"
]
# What a count of sites or pixels must be near to, to be a count of the whole and not of a sample.
WHOLE_NETWORK, WHOLE_GRID = 80, 1000


class ClaimsError(ValueError):
    """claims.yml is not what it should be; the message names file and entry."""


class Claim(Strict):
    """One statement of the paper. `place` is where it stands, `reading` how its words became numbers."""

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

    def tables_of(self, claim: Claim) -> list[str]:
        """Names of the tables that a claim uses, each once."""
        return list(dict.fromkeys(self.series[name].table for name in self.used(claim)))


def read(path: str | Path = PATH) -> Notebook:
    """Read and validate claims.yml.

    Raises
    ------
    ClaimsError
        Not YAML, an unknown key (a verdict among them: it is computed), a missing or contradictory value.
    """
    path = Path(path)
    try:
        return Notebook.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise ClaimsError(f"{path.name}: {error}") from error


@cache
def _own() -> Notebook:
    return read()


def load() -> list[Claim]:
    """Return the paper's claims in order, validated; see `read` for the errors."""
    return list(_own().claims)


@dataclass(frozen=True)
class Facts:
    """What a run is, as far as it decides whether a claim can be tested.

    Attributes
    ----------
    synthetic : bool
    targets : frozenset of str
        ``surface``, ``rootzone``.
    rules, sampling : str
        Rule set and days of comparison whose rows are taken where a table holds several.
    periods, products : mapping of str to frozenset of str
        What each table holds, by the table's name.
    crn_sites, pixels : int
        How many sites of the sparse network the run began with, and pixels it was trained on.
    """

    synthetic: bool
    targets: frozenset[str]
    rules: str
    sampling: str
    periods: Mapping[str, frozenset[str]]
    products: Mapping[str, frozenset[str]]
    crn_sites: int = 0
    pixels: int = 0


def facts(
    tables: Mapping[str, pd.DataFrame], *, synthetic: bool, targets: Sequence[str], rules: str, sampling: str
) -> Facts:
    """Gather the facts of a run from its profile and its tables.

    Raises
    ------
    ValueError
        A table whose column ``synthetic`` contradicts the profile.
    """
    periods, products = {}, {}
    for name, frame in tables.items():
        if "synthetic" in frame and frame["synthetic"].astype(str).str.lower().ne(str(synthetic).lower()).any():
            raise ValueError(f"tables/{name}.csv holds rows with synthetic other than the profile's {synthetic}")
        value = next((column for column in ("value", "difference", "drydown_days") if column in frame), None)
        frame = frame if value is None else frame[frame[value].notna()]  # a row without a value holds nothing
        words = [frame[column].dropna().astype(str) for column in ("one", "two") if column in frame]
        pairs = pd.concat(words).str.split(n=1) if words else pd.Series(dtype=object)
        known = {column: set(frame[column].dropna().astype(str)) for column in ("period", "product") if column in frame}
        periods[name] = frozenset(known.get("period", set()) | set(pairs.str[0].dropna()))
        products[name] = frozenset(known.get("product", set()) | set(pairs.str[1].dropna()))
    counts = {"crn_exclusions": "left", "scores": "n_pixels"}
    largest = {name: int(tables[name][column].max()) if name in tables else 0 for name, column in counts.items()}
    sizes = {"crn_sites": largest["crn_exclusions"], "pixels": largest["scores"]}
    return Facts(synthetic, frozenset(targets), rules, sampling, periods, products, **sizes)


def check(
    tables: Mapping[str, pd.DataFrame],
    facts: Facts,
    claims: Sequence[Claim] | None = None,
    book: Notebook | None = None,
) -> pd.DataFrame:
    """Hold every claim against the tables of a run.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By name without ``.csv``, as `read_tables` gives them.
    facts : Facts
        What the run is.
    claims : sequence of Claim, optional
        Default: all of `load`.
    book : Notebook, optional
        The tables, series and names that the claims refer to; default: those of claims.yml.

    Returns
    -------
    pandas.DataFrame
        One row a claim: `COLUMNS` and ``synthetic``. ``paper`` and ``ours`` are text, ``lower`` and ``upper``
        numbers or NaN, ``n`` the number of sites.

    Raises
    ------
    ValueError
        A table contradicts itself (two rows for one site, text where numbers belong).
    """
    book = book or _own()
    run = Run(tables, book.tables, book.series, {"rules": facts.rules, "sampling": facts.sampling})
    rows = [_row(claim, book, run, facts) for claim in (book.claims if claims is None else claims)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "synthetic"])


def _row(claim: Claim, book: Notebook, run: Run, facts: Facts) -> dict[str, Any]:
    row = {"id": claim.id, "place": claim.place, "statement": claim.statement, "synthetic": facts.synthetic}
    row |= {"paper": _paper_text(claim, book.sites), "ours": "", "lower": np.nan, "upper": np.nan, "n": 0}
    try:
        _refuse_what_is_missing(claim, book, facts)
        ours = estimate(claim.measure, run)
    except NotTestable as obstacle:
        return row | {"verdict": NOT_TESTABLE, "reason": str(obstacle)}
    verdict, reason = _JUDGES[claim.kind](claim, ours)
    reason = _named(reason, book.sites) if claim.kind == "sites" else reason
    notes = [reason, _named(ours.note, book.sites), claim.reading]
    shown = {"ours": _our_text(claim, ours, book.sites), "lower": ours.lower, "upper": ours.upper, "n": ours.n}
    return row | shown | {"verdict": verdict, "reason": "; ".join(note for note in notes if note)}


def _refuse_what_is_missing(claim: Claim, book: Notebook, facts: Facts) -> None:
    used = book.tables_of(claim)
    for requirement in claim.requires:
        reason = _REASONS[requirement](facts, used)
        if reason:
            raise NotTestable(reason)


def _lacks(what: Literal["periods", "products"], name: str) -> Callable[[Facts, list[str]], str]:
    def reason(facts: Facts, used: list[str]) -> str:
        held: Mapping[str, frozenset[str]] = getattr(facts, what)
        usual = {"PL", "AL"} if what == "periods" else set()  # the one-year test is of neither period
        without = [t for t in used if held.get(t) and name not in held[t] and (not usual or held[t] & usual)]
        if not without:
            return ""
        public = " (the core stations' daily records from then are not public)" if name == "PL" else ""
        told = "no days before the launch" if name == "PL" else f"no {name}"
        return f"tables/{without[0]}.csv has {told}" + (public if without[0].startswith("core") else "")

    return reason


_REASONS: dict[str, Callable[[Facts, list[str]], str]] = {
    "real_sites": lambda facts, used: "synthetic sites: they borrow names and places of real ones" * facts.synthetic,
    "whole_network": lambda facts, used: (
        f"this run has {facts.crn_sites} sites of the network, a sample" * (facts.crn_sites < WHOLE_NETWORK)
    ),
    "whole_grid": lambda facts, used: (
        f"this run was trained on {facts.pixels} pixels, a sample" * (facts.pixels < WHOLE_GRID)
    ),
    "core_stations": lambda facts, used: (
        "this run has no core stations (their daily records are not public)" * ("core_scores" not in facts.products)
    ),
    "root_zone": lambda facts, used: "this run has no root-zone target" * ("rootzone" not in facts.targets),
    "pre_launch": _lacks("periods", "PL"),
    "noah": _lacks("products", "noah"),
    "vic": _lacks("products", "noah_vic"),
}


def _paper_value(claim: Claim) -> float:
    assert isinstance(claim.paper, float)
    return claim.paper


def _judge_number(claim: Claim, ours: Estimate) -> tuple[str, str]:
    paper, tolerance = _paper_value(claim), claim.tolerance or 0.0
    apart = abs(ours.value - paper)
    told = f"{apart:.3g} apart, tolerance {tolerance:g}"
    if apart <= tolerance:
        return REPRODUCED, told
    if not ours.lower <= paper <= ours.upper:
        return DIFFERS, told
    if ours.upper - ours.lower <= WIDEST * tolerance:
        return REPRODUCED, f"{told}; the limits hold the paper's value"
    return NOT_TESTABLE, f"{told}; the limits hold the paper's value but are too wide to tell"


def _judge_bound(claim: Claim, ours: Estimate) -> tuple[str, str]:
    paper, upward = _paper_value(claim), claim.kind == "at_least"
    inside = ours.value > paper if upward else ours.value < paper
    holds = inside or (not claim.strict and ours.value == paper)
    told = (
        f"{abs(ours.value - paper):.3g} {'inside' if inside else 'beyond' if ours.value != paper else 'from'} the bound"
    )
    if ours.lower <= paper <= ours.upper:
        told += ", which lies within our limits"
    return (REPRODUCED if holds else DIFFERS), told


def _judge_count(claim: Claim, ours: Estimate) -> tuple[str, str]:
    assert claim.of is not None
    share = _paper_value(claim) / claim.of
    within = ours.lower <= share <= ours.upper
    same = np.sign(share - 0.5) == np.sign(ours.value - 0.5)
    told = f"the paper's share {share:.2f} is {'within' if within else 'outside'} our limits"
    told += f" and on {'the same' if same else 'another'} side of one half"
    return (REPRODUCED if within and same else DIFFERS), told


def _judge_sites(claim: Claim, ours: Estimate) -> tuple[str, str]:
    assert isinstance(claim.paper, list)
    absent = sorted({*claim.paper} - {*ours.considered})
    if absent:
        return NOT_TESTABLE, f"this run has no value at {', '.join(absent)}"
    missing, more = sorted({*claim.paper} - {*ours.members}), sorted({*ours.members} - {*claim.paper})
    told = [f"not here: {', '.join(missing)}"] * bool(missing) + [f"here as well: {', '.join(more)}"] * bool(more)
    holds = not missing and (claim.relation == "contains" or not more)
    return (REPRODUCED if holds else DIFFERS), "; ".join(told) or "the same sites"


def _judge_pattern(claim: Claim, ours: Estimate) -> tuple[str, str]:
    low, high = ours.lower, ours.upper
    if not (np.isfinite(low) and np.isfinite(high)):
        return NOT_TESTABLE, "the effect has no limits"
    excludes = low > 0 or high < 0
    if claim.paper == "none":
        margin = claim.margin or 0.0
        if -margin <= low and high <= margin:
            return REPRODUCED, f"the limits lie within ± {margin:g}"
        told = f"the limits {'exclude' if excludes else 'hold'} zero and reach beyond ± {margin:g}"
        return (DIFFERS if excludes else NOT_TESTABLE), told
    if not excludes:
        return NOT_TESTABLE, f"the limits hold zero with n = {ours.n}: this run cannot tell"
    holds = (low > 0) == (claim.paper == "positive")
    return (REPRODUCED if holds else DIFFERS), f"the limits lie {'above' if low > 0 else 'below'} zero"


_JUDGES: dict[str, Callable[[Claim, Estimate], tuple[str, str]]] = {
    "number": _judge_number,
    "at_most": _judge_bound,
    "at_least": _judge_bound,
    "count": _judge_count,
    "sites": _judge_sites,
    "pattern": _judge_pattern,
}


def _named(text: str, sites: Mapping[str, str]) -> str:
    for site, name in sites.items():
        text = text.replace(site, name)
    return text


def _paper_text(claim: Claim, sites: Mapping[str, str]) -> str:
    if isinstance(claim.paper, list):
        return ", ".join(sites[site] for site in claim.paper) + ", at least" * (claim.relation == "contains")
    if isinstance(claim.paper, str):
        return {"positive": "> 0", "negative": "< 0", "none": f"0 ± {claim.margin}"}[claim.paper]
    sign = {"at_most": "<" if claim.strict else "≤", "at_least": ">" if claim.strict else "≥"}.get(claim.kind, "")
    return f"{sign} {claim.paper:g}".strip() + (f" of {claim.of}" if claim.of is not None else "")


def _our_text(claim: Claim, ours: Estimate, sites: Mapping[str, str]) -> str:
    if claim.kind == "sites":
        return ", ".join(sites.get(site, site) for site in ours.members) or "none"
    if ours.count is None:
        return f"{ours.value:.4g}"
    counted = f"{ours.count} of {ours.n}"
    return counted if claim.kind == "count" else f"{ours.value:.3g} ({counted})"


def write(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write the table of claims as CSV; a file that is only partly written is never found under its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    frame.to_csv(partial, index=False)
    partial.replace(path)
    return path
