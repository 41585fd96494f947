"""From our value with its limits to a verdict on a claim, with the reason: the rules, one for each kind of claim.

``ours`` is the estimate, ``limits`` its 95 % limits. Verdicts follow from these and the claim alone:

``number``
    reproduced: ours is within `tolerance` of the paper's value, or the limits hold that value and are no wider than
    four tolerances. Not testable: they hold it and are wider, so that almost any value would pass. Else differs.
``at_most``, ``at_least``
    Not testable: the limits hold the bound, with some of them on either side. Else reproduced if ours obeys the bound
    (`strict`: does not touch it), differs if not. Without limits ours alone decides, and the reason says so.
``count``
    k of n sites. Not testable: with fewer sites than the paper's less one, or if Wilson's limits of our share are wider
    than 0.6. Else differs if the paper's share is outside them; reproduced if it is within and on the same side of one
    half (or both exactly there); not testable if it is within and on the other.
``sites``
    reproduced: the same set of named sites; `relation: contains`: at least those. Not testable: a named site has no
    value, or (`surely`) its limits hold the bound. Else differs.
``pattern``
    the sign of an effect. Reproduced: the limits lie on the side of zero that the paper names. Differs: on the other.
    Not testable: they hold zero. Where the paper sees no effect (`none`): reproduced if the limits lie within
    ± `margin`, differs if they exclude zero and reach beyond the margin, else not testable.

A median of fewer than six sites has no 95 % limits whatever its values: five signs agree by chance in 6 of 100 cases.
Any claim that rests on one is not testable, which with five sites in the root zone holds for the paper's own sites too.
A claim marked `weak` is one that few runs could contradict; its reason says so. It computes no estimate.

References
----------
Wilson (1927), J. Am. Stat. Assoc. 22, doi 10.1080/01621459.1927.10502953.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smapnb.claims_file import Claim
from smapnb.claims_measure import Estimate

REPRODUCED, DIFFERS, NOT_TESTABLE = VERDICTS = ("reproduced", "differs", "not testable")
WIDEST = 4  # tolerances that limits may span and still tell something
WIDEST_SHARE = 0.6  # Wilson's limits of a share that may still tell something


def judge(claim: Claim, ours: Estimate) -> tuple[str, str]:
    """Give the verdict on a claim, and its reason.

    Parameters
    ----------
    claim : Claim
    ours : Estimate
        What the claim's measure gives on a run.
    """
    if ours.too_few:
        return NOT_TESTABLE, ours.too_few
    verdict, reason = _JUDGES[claim.kind](claim, ours)
    return verdict, reason + " (weak test)" * claim.weak


def _paper_value(claim: Claim) -> float:
    assert isinstance(claim.paper, float)
    return claim.paper


def _number(claim: Claim, ours: Estimate) -> tuple[str, str]:
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


def _bound(claim: Claim, ours: Estimate) -> tuple[str, str]:
    paper, upward = _paper_value(claim), claim.kind == "at_least"
    inside = ours.value > paper if upward else ours.value < paper
    holds = inside or (not claim.strict and ours.value == paper)
    if ours.lower < paper < ours.upper:
        would = "reproduce" if holds else "differ"
        limits = f"{ours.lower:.3g}..{ours.upper:.3g}"
        return NOT_TESTABLE, f"this run cannot tell: limits {limits} hold the bound; the point value would {would}"
    side = "inside" if inside else "beyond" if ours.value != paper else "from"
    told = f"{abs(ours.value - paper):.3g} {side} the bound"
    if not (np.isfinite(ours.lower) and np.isfinite(ours.upper)):
        told += ", ours has no limits"
    return (REPRODUCED if holds else DIFFERS), told


def _count(claim: Claim, ours: Estimate) -> tuple[str, str]:
    assert claim.of is not None
    if ours.n < claim.of - 1:
        return NOT_TESTABLE, f"{ours.n} sites are too few to set beside the paper's {claim.of}"
    wide = ours.upper - ours.lower
    if wide > WIDEST_SHARE:
        return NOT_TESTABLE, f"the limits of our share span {wide:.2f}: {ours.n} sites cannot tell"
    share = _paper_value(claim) / claim.of
    within = ours.lower <= share <= ours.upper
    same = np.sign(share - 0.5) == np.sign(ours.value - 0.5)
    told = f"the paper's share {share:.2f} is {'within' if within else 'outside'} our limits"
    told += f" and on {'the same' if same else 'another'} side of one half"
    if within and not same:
        return NOT_TESTABLE, f"this run cannot tell: {told}"
    return (REPRODUCED if within else DIFFERS), told


def _sites(claim: Claim, ours: Estimate) -> tuple[str, str]:
    assert isinstance(claim.paper, list)
    paper, found, unsure = {*claim.paper}, {*ours.members}, {*ours.undecided}
    absent = sorted(paper - {*ours.considered})
    if absent:
        return NOT_TESTABLE, f"this run has no value at {', '.join(absent)}"
    missing, more = sorted(paper - found - unsure), sorted(found - paper)
    told = [f"not here: {', '.join(missing)}"] * bool(missing) + [f"here as well: {', '.join(more)}"] * bool(more)
    if not missing and paper & unsure:
        held = f"this run cannot tell: the limits hold the bound at {', '.join(sorted(paper & unsure))}"
        return NOT_TESTABLE, "; ".join([held, *told])
    holds = not missing and (claim.relation == "contains" or not more)
    return (REPRODUCED if holds else DIFFERS), "; ".join(told) or "the same sites"


def _pattern(claim: Claim, ours: Estimate) -> tuple[str, str]:
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
    "number": _number,
    "at_most": _bound,
    "at_least": _bound,
    "count": _count,
    "sites": _sites,
    "pattern": _pattern,
}
