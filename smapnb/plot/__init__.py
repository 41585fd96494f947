"""Figures: a Dataset, DataArray or table goes in, a figure comes out, with units and shipped borders.

It computes nothing: what is drawn has been computed by its caller. Every figure is told by `synthetic`
whether its numbers come from the simulation experiment, and says so in its title.
"""

from smapnb.plot.dots import difference_forest, drydown_bars, mean_rows, sensitivity_dots
from smapnb.plot.interactive import explorer, interactive_map, interactive_series
from smapnb.plot.scores import score_bars, score_boxes_by_series
from smapnb.plot.sites import site_maps, uncertain_mean
from smapnb.plot.static import (
    boxes,
    by_year,
    loss_curves,
    masks,
    observation_gaps,
    realism,
    score_boxes,
    series_panels,
    static_maps,
)
from smapnb.plot.stations import anomaly_series, thiessen_map
from smapnb.plot.style import COLOURS, colour, label, table
from smapnb.plot.trends import rejections, slope_errors, trend_map, variant_forest
from smapnb.plot.trends_scatter import slope_scatter
from smapnb.plot.trends_series import trend_series

__all__ = [
    "COLOURS",
    "anomaly_series",
    "boxes",
    "by_year",
    "colour",
    "difference_forest",
    "drydown_bars",
    "explorer",
    "interactive_map",
    "interactive_series",
    "label",
    "loss_curves",
    "masks",
    "mean_rows",
    "observation_gaps",
    "realism",
    "rejections",
    "score_bars",
    "score_boxes",
    "score_boxes_by_series",
    "sensitivity_dots",
    "series_panels",
    "site_maps",
    "slope_errors",
    "slope_scatter",
    "static_maps",
    "table",
    "thiessen_map",
    "trend_map",
    "trend_series",
    "uncertain_mean",
    "variant_forest",
]
