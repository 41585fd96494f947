"""Figures: a Dataset, DataArray or table goes in, a figure comes out, with units and shipped borders.

It computes nothing: what is drawn has been computed by its caller. Every figure is told by `synthetic`
whether its numbers come from the simulation experiment, and says so in its title.
"""

from smapnb.plot.interactive import explorer, interactive_map, interactive_series
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
from smapnb.plot.style import COLOURS, colour, label, table

__all__ = [
    "COLOURS",
    "boxes",
    "by_year",
    "colour",
    "explorer",
    "interactive_map",
    "interactive_series",
    "label",
    "loss_curves",
    "masks",
    "observation_gaps",
    "realism",
    "score_boxes",
    "series_panels",
    "static_maps",
    "table",
]
