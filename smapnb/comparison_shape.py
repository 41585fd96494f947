"""The shape of series beside their scores: how low, how high, how restless, how often missing.

Figs. 5 and 6 of Fang, Pan & Shen (2019) are judged by eye; these are the numbers behind such words.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.comparison_sampling import PERIODS, known, quantities, sample

LOW, HIGH = 0.05, 0.95
WINTER = (12, 1, 2)
FARTHEST = 3  # days between two values whose difference is still a change
FEWEST = 30  # values without which there is no number


def shape(collocated: xr.Dataset, *, rules: str) -> pd.DataFrame:
    """Describe the anomalies of every series at every site and period.

    Each series is taken on all in-situ days of the period, less its mean there; SMAP has values on its own days only.

    Parameters
    ----------
    collocated : xarray.Dataset
        Result of `smapnb.comparison.collocate`.
    rules : str
        Name of the set of rules, which decides the periods.

    Returns
    -------
    pandas.DataFrame
        Columns ``site, group, quantity, product, period, metric, value, lower, upper, n, rules, synthetic``;
        `product` is also ``insitu``. Metrics, in m3 m-3: ``low`` and ``high`` (5 and 95 % quantile of the anomaly),
        ``daily_change`` (standard deviation of the change between consecutive days; of SMAP, between its days, divided
        by the root of the days between) and ``winter_daily_change`` (December to February); and the parts ``missing``
        and ``winter_missing`` of the in-situ days on which the series has no value. `lower` and `upper` are NaN.
    """
    blocks = []
    for quantity in quantities(collocated):
        for period in PERIODS:
            days = sample(collocated, quantity, period, rules=rules, sampling="author")
            if not known(days.obs).any():
                continue
            for name, values in {"insitu": days.obs, **days.products}.items():
                rows = pd.concat([_describe(values, days.obs, site) for site in days.obs["site"].to_numpy()])
                blocks.append(rows.assign(quantity=quantity, period=period, product=name))
    columns = ["site", "group", "quantity", "product", "period", "metric", "value", "lower", "upper", "n"]
    table = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame(columns=columns)
    synthetic = collocated.attrs.get("synthetic", "false")
    return table.assign(lower=np.nan, upper=np.nan, rules=rules, synthetic=synthetic)[[*columns, "rules", "synthetic"]]


def _describe(values: xr.DataArray, obs: xr.DataArray, site: str) -> pd.DataFrame:
    """Rows of one series at one site."""
    days = pd.DatetimeIndex(obs.indexes["time"])
    there = obs.sel(site=site).notnull().to_numpy()
    series = pd.Series(values.sel(site=site).to_numpy().astype(np.float64), days).where(there)
    anomaly = (series - series.mean()).dropna()
    winter = np.isin(days.month, WINTER)
    apart = anomaly.index.to_series().diff().dt.days
    change = (anomaly.diff() / np.sqrt(apart))[apart <= FARTHEST]
    cold_change = change[np.isin(pd.DatetimeIndex(change.index).month, WINTER)]
    rows = {
        "low": (anomaly.quantile(LOW), len(anomaly)),
        "high": (anomaly.quantile(HIGH), len(anomaly)),
        "daily_change": (change.std(), len(change)),
        "winter_daily_change": (cold_change.std(), len(cold_change)),
        "missing": (_missing(series, there), int(there.sum())),
        "winter_missing": (_missing(series, there & winter), int((there & winter).sum())),
    }
    table = pd.DataFrame(
        [{"metric": name, "value": value if n >= FEWEST else np.nan, "n": n} for name, (value, n) in rows.items()]
    )
    return table.assign(site=site, group=str(obs["group"].sel(site=site).item()))


def _missing(series: pd.Series, days: np.ndarray) -> float:
    return float(series[days].isna().mean()) if days.any() else np.nan
