"""Tables of scores in the shapes that figures draw: values on a map, times of drying beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

UNITS = {"bias": "m3 m-3", "rmse": "m3 m-3", "ubrmse": "m3 m-3", "pearson_r": "1", "anomaly_r": "1"}
LONG_NAMES = {
    "bias": "bias",
    "rmse": "RMSE",
    "ubrmse": "ubRMSE",
    "pearson_r": "R",
    "anomaly_r": "R of anomalies",
}
DRYDOWN = {"value": "drydown_days", "lower": "lower_quartile", "upper": "upper_quartile", "n": "n_spells"}


def site_values(scores: pd.DataFrame, metric: str) -> xr.DataArray:
    """Lay one metric of one series on its sites, for a map.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of one series of the table of `smapnb.comparison.scores`, with columns ``lat`` and ``lon``.
    metric : str
        A value of the column ``metric``.

    Returns
    -------
    xarray.DataArray, (site,)
        Named `metric`, with ``lat`` and ``lon``; NaN where a site has no score.

    Raises
    ------
    ValueError
        No such rows, or a site stands twice: the rows are of several series.
    """
    rows = scores[scores["metric"] == metric]
    if rows.empty or rows["site"].duplicated().any():
        what = "no rows" if rows.empty else f"site {rows['site'][rows['site'].duplicated()].iloc[0]} twice"
        raise ValueError(f"site_values, {metric}: {what}; choose one quantity, period, product and sampling")
    coords = {"site": rows["site"].to_numpy(), **{c: ("site", rows[c].to_numpy()) for c in ("lat", "lon")}}
    attrs = {"units": UNITS[metric], "long_name": LONG_NAMES[metric]}
    return xr.DataArray(rows["value"].to_numpy(np.float64), coords, ("site",), metric, attrs)


def site_panels(
    scores: pd.DataFrame, series: Iterable[tuple[str, str]], metrics: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Lay metrics of several series on their sites, for maps beside each other; series without a row are left out.

    Parameters
    ----------
    scores : pandas.DataFrame
        As in `site_values`, of one quantity and sampling and of several series.
    series : iterable of (str, str)
        Period and product, as ``("PL", "lstm")``.
    metrics : sequence of str
        As in `site_values`.

    Returns
    -------
    dict of str to xarray.DataArray
        Title (product, period, metric) to values, series by series.
    """
    panels = {}
    for period, product in series:
        rows = scores[(scores["period"] == period) & (scores["product"] == product)]
        for metric in metrics if len(rows) else ():
            panels[f"{product.upper()} {period}, {LONG_NAMES[metric]}"] = site_values(rows, metric)
    return panels


def drydown_scores(dry: pd.DataFrame) -> pd.DataFrame:
    """Bring the table of `smapnb.comparison.drydown` to one row a series, the probes among them.

    Each product has been fitted on the days that it shares with the probes, so the probes have one time beside each
    product; the one given here is that beside the LSTM, which has all days.

    Returns
    -------
    pandas.DataFrame
        ``site, group, quantity, product`` (also ``insitu``, without quartiles), ``period, metric`` (``drydown_days``),
        ``value, lower, upper`` (median and quartiles over the spells, days), ``n`` (spells), ``rules, synthetic``.
    """
    keys = ["site", "group", "quantity", "product", "period"]
    labels = ["rules", "synthetic"]
    products = dry.rename(columns={own: name for name, own in DRYDOWN.items()})
    probes = dry[dry["product"] == "lstm"].assign(product="insitu", lower=np.nan, upper=np.nan)
    probes = probes.rename(columns={"insitu_days": "value", "n_spells": "n"})
    both = pd.concat([probes[[*keys, *DRYDOWN, *labels]], products[[*keys, *DRYDOWN, *labels]]], ignore_index=True)
    both.insert(keys.index("period") + 1, "metric", "drydown_days")
    return both


def effect_table(effects: pd.DataFrame) -> pd.DataFrame:
    """Bring the table of `smapnb.comparison.effect` to what a page has room for.

    Returns
    -------
    pandas.DataFrame
        Index ``quantity, one, two``; ``mean, lower, upper``, and ``higher at`` and ``lower at``: numbers of sites, in
        brackets of those at which it is significant.
    """
    table = effects.set_index(["quantity", "one", "two"])
    shown = table[["mean", "lower", "upper"]].copy()
    for side in ("higher", "lower"):
        significant = table[f"n_{side}_significant"].astype(str)
        shown[f"{side} at"] = table[f"n_{side}"].astype(str) + " (" + significant + ")"
    return shown
