"""Products against what stands in the ground: scores of each, differences of any two, by site and over sites.

It takes site series and products as they are; quality rules and upscaling are the business of `smapnb.insitu`.
Its parts stand in the modules ``comparison_*`` and are given here.
"""

from __future__ import annotations

from smapnb.comparison_collocate import collocate, gather
from smapnb.comparison_differences import DIFFERENCE_COLUMNS, PAIRS, differences
from smapnb.comparison_drydown import drydown
from smapnb.comparison_sampling import ALL_PRODUCTS, PERIODS, periods, sample
from smapnb.comparison_scores import METRICS, SCORE_COLUMNS, scores, seasonal_scores
from smapnb.comparison_shape import shape
from smapnb.comparison_tables import cluster_mean, clusters, effect, site_means
from smapnb.comparison_views import drydown_scores, effect_table, site_panels, site_values

__all__ = [
    "ALL_PRODUCTS",
    "DIFFERENCE_COLUMNS",
    "METRICS",
    "PAIRS",
    "PERIODS",
    "SCORE_COLUMNS",
    "SERIES",
    "cluster_mean",
    "clusters",
    "collocate",
    "differences",
    "drydown",
    "drydown_scores",
    "effect",
    "effect_table",
    "gather",
    "periods",
    "sample",
    "scores",
    "seasonal_scores",
    "shape",
    "site_means",
    "site_panels",
    "site_values",
]

# The seven series of Figs. 3 and 7 of Fang et al. (2019), in the paper's order.
SERIES = ("PL lstm", "PL noah", "PL comb", "AL smap", "AL lstm", "AL noah", "AL comb")
