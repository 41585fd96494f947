"""Differences of any two series by site, with limits, p-values and false-discovery control over the sites."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from smapnb import metrics
from smapnb.comparison_sampling import ALL_PRODUCTS, LAUNCH, PERIODS, Sample, known, quantities, sample
from smapnb.comparison_scores import ANOMALY_R, FEWEST_DAYS, anomalies, blanked

log = logging.getLogger(__name__)

PAIRS = (
    ("PL comb", "PL noah"),
    ("AL comb", "AL noah"),
    ("PL lstm", "PL noah"),
    ("AL lstm", "AL noah"),
    ("AL smap", "AL noah"),
    ("AL smap", "AL lstm"),
    ("PL noah_vic", "PL comb"),
    ("AL noah_vic", "AL comb"),
    ("PL lstm_vic", "PL comb"),
    ("AL lstm_vic", "AL comb"),
    ("PL lstm", "AL lstm"),
    ("PL lstm", "AL smap"),
)
DIFFERENCE_COLUMNS = [
    *("site", "group", "quantity", "one", "two", "metric", "difference", "lower", "upper", "p_value", "p_adjusted"),
    *("n", "n_two", "rules", "sampling", "synthetic"),
]


def differences(
    collocated: xr.Dataset,
    pairs: Iterable[tuple[str, str]] = PAIRS,
    *,
    rules: str,
    sampling: str,
    by: Literal["site", "group"] = "site",
    launch: str = LAUNCH,
    n_boot: int = 1000,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = FEWEST_DAYS,
) -> pd.DataFrame:
    """Compare series two by two at every site, with limits, p-values and false-discovery control over the sites.

    Two series of one period are compared on the days that both have (`smapnb.metrics.compare`), whatever the
    sampling; series of two periods, each on its own days, with independent resampling
    (`smapnb.metrics.compare_periods`), so that such a difference holds the weather of the periods as well.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `collocate`.
    pairs : iterable of (str, str)
        Series such as ``("AL comb", "AL noah")``. Pairs with a series that is not there are left out and logged.
    rules, launch
        As in `scores`.
    sampling : str
        ``author`` or ``matched``.
    by : {"site", "group"}
        ``group``: the score of a group is the mean over its sites, in every sample (core sites with several pixels).
    n_boot, block, level, seed
        As in `smapnb.metrics.compare`.
    minimum_n : int
        Where a series has fewer days, the difference is NaN.

    Returns
    -------
    pandas.DataFrame
        Columns `DIFFERENCE_COLUMNS`; ``difference`` is one less two, ``p_adjusted`` after Benjamini and Hochberg over
        the sites of a quantity, pair and metric. `n` are the days of `one`, ``n_two`` those of `two`.

    Raises
    ------
    ValueError
        As `sample`; a series that is no period and product.
    """
    settings = {"n_boot": n_boot, "block": block, "level": level, "seed": seed, "minimum_n": minimum_n, "by": by}
    wanted, blocks = list(pairs), []
    _check_series(wanted)
    for quantity in quantities(collocated):
        chosen = {"rules": rules, "sampling": sampling, "launch": launch}
        days = {period: sample(collocated, quantity, period, **chosen) for period in PERIODS}
        for one, two in wanted:
            lacking = [x for x in (one, two) if x.split()[1] not in days[x.split()[0]].products]
            if lacking:
                log.info("%s: %s less %s left out, there is no %s", quantity, one, two, ", ".join(lacking))
                continue
            for name, found, metric in _compare(days, one, two, settings):
                rows = _difference_rows(found, name, metric, collocated, by)
                rows["p_adjusted"] = metrics.false_discovery(rows["p_value"])
                blocks.append(rows.assign(quantity=quantity, one=one, two=two))
    table = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame(columns=DIFFERENCE_COLUMNS)
    labels = {"rules": rules, "sampling": sampling, "synthetic": collocated.attrs.get("synthetic", "false")}
    return table.assign(**labels)[DIFFERENCE_COLUMNS]


def _check_series(pairs: Iterable[tuple[str, str]]) -> None:
    for series in (series for pair in pairs for series in pair):
        period, _, name = series.partition(" ")
        if period not in PERIODS or name not in ALL_PRODUCTS:
            raise ValueError(f"series {series!r}: one of {PERIODS}, a blank, and one of {ALL_PRODUCTS}")


def _compare(
    days: dict[str, Sample], one: str, two: str, settings: dict[str, Any]
) -> list[tuple[str, xr.Dataset | None, str]]:
    """Differences of all scores: (score, result or None where a series has no day, name of the score in it)."""
    (period_one, first), (period_two, second) = one.split(), two.split()
    paired = period_one == period_two
    series = {"one": days[period_one].products[first], "two": days[period_two].products[second]}
    if paired:
        parts = [series | {"obs": days[period_one].obs}]
    else:
        observed = {"one": days[period_one].obs, "two": days[period_two].obs}
        parts = [{key: series[key], f"obs_{key}": observed[key]} for key in series]
    matched = [_all_known(part) for part in parts]
    found: list[xr.Dataset | None] = []
    for names, prepare in ((metrics.METRICS, blanked), (("pearson_r",), anomalies)):
        if not all(part_matched.any() for part_matched in matched):
            found.append(None)
            continue
        arguments: dict[str, Any] = {}
        for part, part_matched in zip(parts, matched, strict=True):
            arguments |= prepare(part, part_matched)
        compare = metrics.compare if paired else metrics.compare_periods
        found.append(compare(**arguments, names=names, **settings))
    return [*((name, found[0], name) for name in metrics.METRICS), (ANOMALY_R, found[1], "pearson_r")]


def _difference_rows(
    found: xr.Dataset | None, name: str, metric: str, collocated: xr.Dataset, by: Literal["site", "group"]
) -> pd.DataFrame:
    places = pd.DataFrame({"site": collocated["site"].to_numpy(), "group": collocated["group"].to_numpy()})
    if by == "group":
        places = pd.DataFrame({"site": places["group"].unique(), "group": places["group"].unique()})
    if found is None:
        nothing = dict.fromkeys(("difference", "lower", "upper", "p_value"), np.nan)
        return places.assign(metric=name, n=0, n_two=0, **nothing)
    lower, upper = found[f"{metric}_ci"].transpose("limit", by).to_numpy()
    values = {"difference": found[metric].to_numpy(), "lower": lower, "upper": upper}
    values |= {
        "p_value": found[f"{metric}_p"].to_numpy(),
        "n": found["n"].to_numpy(),
        "n_two": found["n_two"].to_numpy(),
    }
    return places.assign(metric=name, **values)


def _all_known(series: dict[str, xr.DataArray]) -> xr.DataArray:
    return reduce(operator.and_, [known(values) for values in series.values()])
