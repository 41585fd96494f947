"""Tables over sites: means of the pixels of a site, effects over sites, means over clusters of sites.

It takes the tables of `smapnb.comparison` and computes no score of a series.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from scipy.stats import t as student

FEWEST_CLUSTERS = 3  # two tell nothing of their spread
EARTH_RADIUS = 6371.0  # km, of the sphere with the volume of the Earth
SERIES_KEYS = ["quantity", "product", "period", "season", "sampling", "metric", "rules", "synthetic"]
PAIR_KEYS = ["quantity", "one", "two", "metric", "rules", "sampling", "synthetic"]


def site_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of the pixels of each group, plainly, as the authors' scripts do.

    Parameters
    ----------
    scores : pandas.DataFrame
        Table of `smapnb.comparison.scores` or `seasonal_scores`.

    Returns
    -------
    pandas.DataFrame
        The same columns and ``n_pixels`` (pixels with a score, which are those averaged); ``site`` is the group. The
        limits are the means of the pixels' limits: right where the pixels of a site err alike, as overlapping ones
        do, else too wide. `n` is that of the pixel with the fewest days; `start` and `end` span all pixels.
    """
    keys = ["group", *(key for key in SERIES_KEYS if key in scores)]
    known = scores.assign(n_pixels=scores["value"].notna().astype(int), n=scores["n"].where(scores["value"].notna()))
    means = {name: (name, "mean") for name in ("value", "lower", "upper")}
    spans = {"n": ("n", "min"), "start": ("start", "min"), "end": ("end", "max"), "n_pixels": ("n_pixels", "sum")}
    out = known.groupby(keys, sort=False, dropna=False, as_index=False).agg(**means, **spans)
    out = out.assign(site=out["group"], n=out["n"].fillna(0).astype(int))
    return out[[*scores.columns, "n_pixels"]]


def effect(differences: pd.DataFrame, *, n_boot: int = 2000, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Turn "higher at k of n sites" into a mean effect with limits.

    Groups are drawn with replacement, each with all of its sites (Efron and Tibshirani 1993, An Introduction to the
    Bootstrap), which asks whether the effect would be found at other such sites; the limits are percentiles and, with
    a handful of groups, somewhat too narrow.

    Parameters
    ----------
    differences : pandas.DataFrame
        Table of `smapnb.comparison.differences`.
    n_boot, seed : int
        Samples and their seed.
    level : float
        Confidence level, also of the counts of significant sites: those with ``p_adjusted < 1 - level``.

    Returns
    -------
    pandas.DataFrame
        One row a quantity, pair and metric: ``mean, lower, upper, median`` of the differences over the sites,
        ``n_higher`` and ``n_lower`` of ``n_sites``, of these ``n_higher_significant, n_lower_significant``, and
        ``n_groups``. With fewer than three groups there are no limits.
    """
    generator = np.random.default_rng(seed)
    rows = []
    keys = [key for key in PAIR_KEYS if key in differences]
    for labels, table in differences.groupby(keys, sort=False, dropna=False):
        known = table[table["difference"].notna()]
        value = known["difference"].to_numpy(np.float64)
        codes, groups = pd.factorize(known["group"])
        row = dict(zip(keys, labels, strict=True)) | {
            "mean": np.nan,
            "lower": np.nan,
            "upper": np.nan,
            "median": np.nan,
        }
        if value.size:
            row |= {"mean": value.mean(), "median": np.median(value)}
        if len(groups) >= FEWEST_CLUSTERS:
            total, size = np.bincount(codes, value), np.bincount(codes)
            drawn = generator.integers(len(groups), size=(n_boot, len(groups)))
            means = total[drawn].sum(1) / size[drawn].sum(1)
            row["lower"], row["upper"] = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        significant = (known["p_adjusted"] < 1 - level).to_numpy()
        counts = {"n_higher": value > 0, "n_lower": value < 0}
        row |= {name: int(which.sum()) for name, which in counts.items()}
        row |= {f"{name}_significant": int((which & significant).sum()) for name, which in counts.items()}
        rows.append(row | {"n_sites": value.size, "n_groups": len(groups)})
    return pd.DataFrame(rows)


def clusters(places: xr.Dataset, *, widest_km: float = 300.0) -> pd.Series:
    """Group sites so that no two of a cluster are farther apart than `widest_km` along the great circle.

    Parameters
    ----------
    places : xarray.Dataset
        Coordinates ``site``, ``lat`` and ``lon``, such as the result of `collocate`.
    widest_km : float
        Complete linkage is cut here.

    Returns
    -------
    pandas.Series
        Number of the cluster, from 1, by site.
    """
    site = pd.Index(places["site"].to_numpy(), name="site")
    if site.size < 2:
        return pd.Series(np.ones(site.size, int), site, name="cluster")
    lat, lon = (np.radians(places[name].to_numpy().astype(np.float64)) for name in ("lat", "lon"))
    chord = pdist(np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]))
    distance = 2 * EARTH_RADIUS * np.arcsin(np.clip(chord / 2, 0, 1))
    return pd.Series(fcluster(linkage(distance, "complete"), widest_km, "distance"), site, name="cluster")


def cluster_mean(
    scores: pd.DataFrame, places: xr.Dataset, *, widest_km: float = 300.0, level: float = 0.95
) -> pd.DataFrame:
    """Average scores inside clusters of sites first, then over the clusters, so that dense regions do not dominate.

    Averages over clusters are the practice of SMAP Level-4 validation against sparse networks (Reichle et al. 2017, J.
    Hydrometeorol. 18, doi 10.1175/JHM-D-17-0063.1); how the clusters are made is ours (`clusters`).

    Parameters
    ----------
    scores : pandas.DataFrame
        Table of `smapnb.comparison.scores`, `seasonal_scores` or `site_means`.
    places : xarray.Dataset
        As in `clusters`, with all sites of the table.
    widest_km, level : float
        Width of a cluster; confidence level of the limits.

    Returns
    -------
    pandas.DataFrame
        One row a series and metric: ``mean`` over clusters; ``lower, upper`` by Student's t from the spread of the
        cluster means, none with fewer than three; ``n_clusters, n_sites`` with a score; ``mean_of_sites``, unweighted.

    Raises
    ------
    ValueError
        A site of the table has no place.
    """
    number = clusters(places, widest_km=widest_km)
    lost = sorted(set(scores["site"]) - set(number.index))
    if lost:
        raise ValueError(f"places lack {len(lost)} sites of the table, such as {lost[0]}")
    keys = [key for key in SERIES_KEYS if key in scores]
    rows = []
    for labels, table in scores.groupby(keys, sort=False, dropna=False):
        known = table[table["value"].notna()]
        means = known["value"].groupby(known["site"].map(number)).mean().to_numpy(np.float64)
        row = dict(zip(keys, labels, strict=True)) | {"mean": np.nan, "lower": np.nan, "upper": np.nan}
        if means.size:
            row["mean"] = means.mean()
        if means.size >= FEWEST_CLUSTERS:
            half = student.ppf((1 + level) / 2, means.size - 1) * means.std(ddof=1) / np.sqrt(means.size)
            row |= {"lower": row["mean"] - half, "upper": row["mean"] + half}
        rows.append(row | {"n_clusters": means.size, "n_sites": len(known), "mean_of_sites": known["value"].mean()})
    return pd.DataFrame(rows)
