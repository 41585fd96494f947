"""The one place where the paper and its authors' scripts differ: two sets of rules, and the table of differences.

A set only names the choices; what a choice does is the business of the module that is given it. Every number that both
sources share stands where it is used.

References
----------
Fang, Pan & Shen (2019), https://doi.org/10.1109/TGRS.2018.2872131 ("paper"), and the first author's published analysis
scripts (github fkwai/MatlabScripts, folder rnnSMAP; "scripts"), which were read for facts only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import pandas as pd

# First day of SMAP's record, and of the period after launch, under both sets.
LAUNCH = "2015-04-01"


@dataclass(frozen=True)
class Rules:
    """Every disputed choice; temperatures in degrees Celsius, distances in degrees, fractions of 1."""

    name: str
    scaling: Literal["all", "central"]  # statistics from all values, or from those between the 10th and 90th percentile
    core_coldest: float  # a record of a core station is dropped where its soil is colder
    core_unknown_temperature: Literal["keep", "drop"]  # a record whose soil temperature is missing
    crn_coldest: float
    crn_coldest_kept: bool  # whether a record at exactly `crn_coldest` stays
    core_start: str  # first day that counts at core sites, hence first day of the period before launch
    crn_start: str
    bottom_layer: Literal["to_bottom", "to_midpoint"]  # lowest probe stands for all below it, or half-way to the bottom
    after_launch_end: str  # last day of the period after launch
    sampling: Literal["matched", "author"]  # all products on SMAP's days after launch, or each on its own days
    crn_farthest: float  # |dlat| + |dlon| from the site to the centre of its pixel; farther sites are left out
    crn_inside_cell: bool  # whether a site needs the product's pixel in the cell of the grid in which it stands
    rootzone_least_valid: float  # a site below this fraction of valid days before launch is left out of the root zone
    rootzone_least_years: float  # years of record before launch that the root zone needs
    rootzone_first_before: str  # a site's first root-zone day lies before this one
    trend_least_years: float
    trend_most_missing: float
    flat_pixel: float  # m3 m-3; pixels whose hindcast varies less than this are left out; 0: none


PAPER_TEXT = Rules(
    name="paper-text",
    scaling="all",
    core_coldest=4.0,
    core_unknown_temperature="keep",
    crn_coldest=4.0,
    crn_coldest_kept=True,
    core_start="2012-01-01",
    crn_start="2010-01-01",
    bottom_layer="to_bottom",
    after_launch_end="2017-04-01",
    sampling="matched",
    crn_farthest=float("inf"),
    crn_inside_cell=True,
    rootzone_least_valid=0.5,
    rootzone_least_years=1.0,
    rootzone_first_before=LAUNCH,
    trend_least_years=3.0,
    trend_most_missing=0.1,
    flat_pixel=0.0,
)
AUTHOR_CODE = Rules(
    name="author-code",
    scaling="central",
    core_coldest=0.0,
    core_unknown_temperature="drop",
    crn_coldest=0.0,
    crn_coldest_kept=False,
    core_start="2000-04-01",
    crn_start="2000-04-01",
    bottom_layer="to_midpoint",
    after_launch_end="2018-03-31",
    sampling="author",
    crn_farthest=0.5,
    crn_inside_cell=False,
    rootzone_least_valid=0.5,
    rootzone_least_years=0.0,
    rootzone_first_before="2015-01-01",
    trend_least_years=2.0,
    trend_most_missing=0.1,
    flat_pixel=0.002,
)
SETS = {rules.name: rules for rules in (PAPER_TEXT, AUTHOR_CODE)}

# Name of the choice -> what it decides, where the paper says it, where the scripts do.
PLACES = {
    "scaling": ("statistics of the scaler", "not stated", "statCal: values from the 10th to the 90th percentile"),
    "core_coldest": ("coldest soil kept, core sites (°C)", "Sec. II-C", "files *_0D"),
    "core_unknown_temperature": ("core record without soil temperature", "not stated", "files *_0D"),
    "crn_coldest": (
        "coldest soil kept, CRN (°C)",
        "not stated; read as at the core sites",
        "Figs. 7 and 8: T <= 0 dropped",
    ),
    "crn_coldest_kept": (
        "record at exactly that temperature kept",
        "not stated; read as at the core sites: lower than",
        "Figs. 7 and 8: T <= 0",
    ),
    "core_start": ("first day of the PL period, core sites", "data from 2012", "start of the hindcast"),
    "crn_start": ("first day of the PL period, CRN", "start of the hindcast", "start of the hindcast"),
    "bottom_layer": ("lowest layer of the root zone", "Sec. II-C: 100 - (d[n-1] + d[n]) / 2", "d2w_rootzone"),
    "after_launch_end": ("last day of the AL period", "Sec. II-C", "splitSiteTS"),
    "sampling": ("days on which AL is scored", "not stated; ours: matched", "statCal_hindcast: each on its own days"),
    "crn_farthest": ("farthest pixel centre, CRN (degrees)", "not stated", "maps and boxes: 0.5"),
    "crn_inside_cell": (
        "CRN site only with the pixel in whose cell it stands",
        "not stated; ours: the pixel is the site's own",
        "nearest centre by |dlat| + |dlon|",
    ),
    "rootzone_least_valid": ("least valid fraction, root zone, CRN", "Sec. II-C", "maps"),
    "rootzone_least_years": ("least years before launch, root zone, CRN", "Sec. II-C", "none"),
    "rootzone_first_before": (
        "first day of the root zone before, CRN",
        "follows from the years of record",
        "first valid year < 2015",
    ),
    "trend_least_years": ("least years of record, trends", "Sec. II-C", "last less first year > 2"),
    "trend_most_missing": ("most missing, trends", "Sec. II-C", "valid fraction > 0.9"),
    "flat_pixel": ("least standard deviation of a pixel's hindcast (m³ m⁻³)", "not stated", "dropped below 0.002"),
}


def of(name: str) -> Rules:
    """Give the set of rules of that name.

    Raises
    ------
    ValueError
        There is none; the message names those that there are.
    """
    if name not in SETS:
        raise ValueError(f"rules {name!r}: one of {sorted(SETS)}")
    return SETS[name]


def differences(in_effect: str | None = None) -> pd.DataFrame:
    """Tabulate what changes between the two sets: one row a choice on which they differ.

    Parameters
    ----------
    in_effect : str, optional
        Name of the set that a run uses; its values then stand in a column of their own, ``in this run``.

    Returns
    -------
    pandas.DataFrame
        Index ``rule``; columns ``decides, paper-text, author-code, paper, scripts`` and perhaps ``in this run``.
    """
    rows = {}
    for field in fields(Rules):
        one, two = getattr(PAPER_TEXT, field.name), getattr(AUTHOR_CODE, field.name)
        if field.name == "name" or one == two:
            continue
        decides, paper, scripts = PLACES[field.name]
        row = {"decides": decides, "paper-text": str(one), "author-code": str(two), "paper": paper, "scripts": scripts}
        rows[field.name] = row | ({"in this run": str(getattr(of(in_effect), field.name))} if in_effect else {})
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")
