"""Probes at several depths to one root zone: the weight of each depth, and the weighted mean.

A layer reaches half-way to its neighbours; how the lowest one ends is a choice of `smapnb.rules`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smapnb import rules as rule_sets
from smapnb.rules import Rules


def chosen(rules: str | Rules) -> Rules:
    """Give a set of rules by its name, or as it is; one choice is varied by ``dataclasses.replace``."""
    return rules if isinstance(rules, Rules) else rule_sets.of(rules)


def depth_weights(
    depths_cm: ArrayLike, bottom_cm: float = 100.0, rules: str | Rules = "paper-text"
) -> NDArray[np.float64]:
    """Give each depth its part of the root zone.

    Every probe stands for the layer around it: from the surface, or half-way to the probe above, to half-way to the
    probe below. The lowest layer reaches to the bottom of the root zone (rule set ``paper-text``: Fang, Pan & Shen
    2019, section II-C, ``100 - (d[n-1] + d[n]) / 2``), or half-way to it (``author-code``).

    Parameters
    ----------
    depths_cm : array_like, (depths,)
        Depths of the probes below the surface, cm, ascending. A single one stands for the whole root zone.
    bottom_cm : float
        Bottom of the root zone, cm.
    rules : str or Rules
        Of its choices, `bottom_layer`.

    Returns
    -------
    numpy.ndarray, (depths,)
        Thickness of the layers, divided by their sum.

    Raises
    ------
    ValueError
        No depth; one that is not finite, not below the surface, or below the bottom; depths that do not ascend; a
        bottom that is not finite or not below the surface.
    """
    depths = np.asarray(depths_cm, dtype=np.float64)
    if depths.ndim != 1 or not depths.size:
        raise ValueError(f"depths must be at least one number in one dimension, not an array of shape {depths.shape}")
    if not (np.isfinite(bottom_cm) and bottom_cm > 0):
        raise ValueError(f"bottom_cm={bottom_cm} is no depth below the surface")
    wrong = ~(np.isfinite(depths) & (depths > 0) & (depths <= bottom_cm))
    if wrong.any():
        raise ValueError(f"depth {depths[wrong][0]} cm is not between the surface and the bottom at {bottom_cm} cm")
    if (np.diff(depths) <= 0).any():
        raise ValueError(f"depths {depths.tolist()} cm do not ascend strictly")
    halfway = (depths[1:] + depths[:-1]) / 2
    ends = {"to_bottom": bottom_cm, "to_midpoint": (depths[-1] + bottom_cm) / 2}
    thickness = np.diff(np.concatenate([[0.0], halfway, [ends[chosen(rules).bottom_layer]]]))
    return thickness / thickness.sum()


def root_zone(moisture: xr.DataArray, depths: ArrayLike, weights: ArrayLike) -> xr.DataArray:
    """Average over depth; a day on which any of the depths is missing has none.

    Parameters
    ----------
    moisture : xarray.DataArray, (..., depth)
        The coordinate ``depth`` in cm.
    depths, weights : array_like, (depths,)
        The depths to take and their weights (`depth_weights`), which sum to 1.

    Returns
    -------
    xarray.DataArray
        Without the dimension ``depth``; dtype of the input.

    Raises
    ------
    ValueError
        A depth that `moisture` does not have; weights that do not fit.
    """
    depths, weights = np.asarray(depths, np.float64), np.asarray(weights, np.float64)
    if depths.shape != weights.shape or depths.ndim != 1 or not np.isclose(weights.sum(), 1) or (weights < 0).any():
        raise ValueError(f"weights {weights.tolist()} of the depths {depths.tolist()} cm must be as many and sum to 1")
    place = moisture.indexes["depth"].get_indexer(depths)
    if (place < 0).any():
        there = moisture["depth"].to_numpy().tolist()
        raise ValueError(f"{moisture.name}: no depth {depths[place < 0][0]} cm among {there}")
    total = sum(
        w * moisture.isel(depth=int(i), drop=True).astype(np.float64) for i, w in zip(place, weights, strict=True)
    )
    assert isinstance(total, xr.DataArray)
    return total.astype(moisture.dtype).rename(moisture.name).assign_attrs(moisture.attrs)
