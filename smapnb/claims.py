"""What the paper states, as checks: each number and pattern of claims.yml against the tables of a run, with a verdict.

The verdict is computed from the tables, never typed; what a run cannot say is "not testable", with the reason. It
computes no score, and on the simulation experiment it tests the method, not the world.

How a verdict is made: `smapnb.claims_verdict`. What the file holds: `smapnb.claims_file`.

References
----------
Fang, Pan & Shen (2019), https://doi.org/10.1109/TGRS.2018.2872131.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from smapnb import tables
from smapnb.claims_file import Claim, ClaimsError, Notebook, read
from smapnb.claims_measure import Estimate, estimate
from smapnb.claims_select import Rows
from smapnb.claims_tables import NotTestable, Run, read_tables
from smapnb.claims_verdict import NOT_TESTABLE, VERDICTS, judge

__all__ = [
    "COLUMNS",
    "VERDICTS",
    "Claim",
    "ClaimsError",
    "Facts",
    "Notebook",
    "check",
    "facts",
    "load",
    "read",
    "read_tables",
    "write",
]

COLUMNS = ("id", "place", "statement", "paper", "ours", "lower", "upper", "n", "verdict", "reason")
# What a count of sites or pixels must be near to, to be a count of the whole and not of a sample.
WHOLE_NETWORK, WHOLE_GRID = 80, 1000


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
        How many sites of the sparse network the run began with, and pixels it scores.
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
    verdict, reason = judge(claim, ours)
    reason = _named(reason, book.sites) if claim.kind == "sites" else reason
    notes = [reason, _named(ours.note, book.sites), claim.reading]
    shown = {"ours": _our_text(claim, ours, book.sites), "lower": ours.lower, "upper": ours.upper, "n": ours.n}
    return row | shown | {"verdict": verdict, "reason": "; ".join(note for note in notes if note)}


def _refuse_what_is_missing(claim: Claim, book: Notebook, facts: Facts) -> None:
    used = [book.series[name] for name in book.used(claim)]
    for requirement in claim.requires:
        reason = _REASONS[requirement](facts, used)
        if reason:
            raise NotTestable(reason)


def _lacks(what: Literal["periods", "products"], name: str, *also: str) -> Callable[[Facts, list[Rows]], str]:
    """Say which table lacks `name` of those whose selectors name it, or one of `also`, which is made of it."""

    def reason(facts: Facts, used: list[Rows]) -> str:
        held: Mapping[str, frozenset[str]] = getattr(facts, what)
        asked = [rows.table for rows in used if {name, *also} & {*getattr(rows, what)}]
        without = [table for table in asked if held.get(table) and name not in held[table]]
        if not without:
            return ""
        public = " (the core stations' daily records from then are not public)"
        told = "no days before the launch" if name == "PL" else f"no {name}"
        shown = name == "PL" and without[0].startswith("core") and not facts.synthetic
        return f"tables/{without[0]}.csv has {told}" + public * shown

    return reason


_REASONS: dict[str, Callable[[Facts, list[Rows]], str]] = {
    "real_sites": lambda facts, used: "synthetic sites: they borrow names and places of real ones" * facts.synthetic,
    "whole_network": lambda facts, used: (
        f"this run has {facts.crn_sites} sites of the network, a sample" * (facts.crn_sites < WHOLE_NETWORK)
    ),
    "whole_grid": lambda facts, used: f"this run scores {facts.pixels} pixels, a sample" * (facts.pixels < WHOLE_GRID),
    "core_stations": lambda facts, used: (
        ("this run has no core stations" + " (their daily records are not public)" * (not facts.synthetic))
        * ("core_scores" not in facts.products)
    ),
    "root_zone": lambda facts, used: "this run has no root-zone target" * ("rootzone" not in facts.targets),
    "pre_launch": _lacks("periods", "PL"),
    "noah": _lacks("products", "noah", "comb", "noah_vic"),
    "vic": _lacks("products", "noah_vic"),
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
    tables.save(frame, path)
    return path
