"""Scores of an estimate against a reference by matched days: array kernels below, one labelled wrapper above.

A day missing in either is left out of both. It neither selects periods nor masks quality. The kernels, the paired
comparison of two estimates, anomalies, dry spells and tables stand in the modules ``metrics_*`` and are given here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smapnb.metrics_anomaly import anomaly
from smapnb.metrics_compare import compare, compare_periods, false_discovery
from smapnb.metrics_drydown import dry_spells, drydown_days, efolding_days, own_spells
from smapnb.metrics_kernels import (
    COLUMNS_AT_ONCE,
    METRICS,
    Floats,
    bias,
    bootstrap,
    count,
    pearson_r,
    percentile_limits,
    resampled_days,
    rmse,
    ubrmse,
)
from smapnb.metrics_labels import LIMITS, align, check_settings, describe, draw
from smapnb.metrics_tables import difference, summarise

__all__ = [
    "METRICS",
    "anomaly",
    "bias",
    "compare",
    "compare_periods",
    "count",
    "difference",
    "dry_spells",
    "drydown_days",
    "efolding_days",
    "evaluate",
    "false_discovery",
    "own_spells",
    "pearson_r",
    "resampled_days",
    "rmse",
    "summarise",
    "ubrmse",
]


def _limits(sim: Floats, obs: Floats, counts: Floats, level: float) -> dict[str, Floats]:
    """Percentile limits, each of shape (columns, 2); NaN where no sample has a value."""
    columns = sim.shape[1]
    out = {name: np.full((columns, 2), np.nan) for name in METRICS}
    for first in range(0, columns, COLUMNS_AT_ONCE):
        part = slice(first, first + COLUMNS_AT_ONCE)
        for name, samples in bootstrap(sim[:, part], obs[:, part], counts).items():
            out[name][part] = percentile_limits(samples, level)
    return out


def evaluate(
    *,
    sim: xr.DataArray,
    obs: xr.DataArray,
    dim: str = "time",
    n_boot: int = 500,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = 3,
) -> xr.Dataset:
    """Score `sim` against `obs` over `dim`, with limits by circular block bootstrap (`resampled_days`).

    The limits are percentiles. On autocorrelated series of a year they hold the truth somewhat less often
    than `level` says (about 0.9 for 0.95), on longer ones nearly as often.

    Parameters
    ----------
    sim, obs : xarray.DataArray
        Estimate and reference, lazy or not. Of `dim` the common labels are used; all else must be the same.
    dim : str
        Dimension of the days. Dates are resampled as a calendar: absent days keep their place in their block.
    n_boot, seed : int
        Bootstrap samples and their seed. All pixels are resampled alike, so chunks do not change the result.
    block : int
        Block length in days, but at most a quarter of the series; the attribute `block` says what was used.
    level : float
        Confidence level of the limits, between 0 and 1.
    minimum_n : int
        Where fewer days are matched, every score is NaN; `n` is given all the same.

    Returns
    -------
    xarray.Dataset
        ``bias, rmse, ubrmse`` (units of the input), ``pearson_r`` and ``n``, with the input's dimensions but
        `dim`; ``<metric>_ci`` with a last dimension ``limit`` (lower, upper). In memory.

    Raises
    ------
    ValueError
        Different units, dimensions or coordinates; repeated or no common labels of `dim`; infinite values.
    """
    check_settings(n_boot, block, level)
    sim, obs = align(sim, obs, dim)
    counts, block = draw(sim, dim, n_boot, block, np.random.default_rng(seed))
    out = _apply(sim, obs, dim, {"counts": counts, "level": level, "minimum_n": minimum_n})
    return describe(out, sim, obs, {"n_boot": n_boot, "block": block, "level": level, "seed": seed})


def _apply(sim: xr.DataArray, obs: xr.DataArray, dim: str, settings: dict[str, Any]) -> xr.Dataset:
    outputs: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        _scores,
        sim,
        obs,
        kwargs=settings,
        input_core_dims=[[dim], [dim]],
        output_core_dims=[[]] * 5 + [["limit"]] * 4,
        dask="parallelized",
        output_dtypes=[np.float64] * 4 + [np.int64] + [np.float64] * 4,
        dask_gufunc_kwargs={"output_sizes": {"limit": 2}},
    )
    names = [*METRICS, "n", *(f"{name}_ci" for name in METRICS)]
    return xr.Dataset(dict(zip(names, outputs, strict=True))).compute().assign_coords(limit=list(LIMITS))


def _scores(sim: Any, obs: Any, counts: Floats, level: float, minimum_n: int) -> tuple[NDArray[Any], ...]:
    """All scores of arrays whose last axis is the days: four metrics, n, four pairs of limits."""
    sim, obs = np.asarray(sim, np.float64), np.asarray(obs, np.float64)
    n = count(sim=sim, obs=obs)
    kernels = (bias, rmse, ubrmse, pearson_r)
    scores = {name: kernel(sim=sim, obs=obs) for name, kernel in zip(METRICS, kernels, strict=True)}
    flat_sim, flat_obs = (x.reshape(-1, x.shape[-1]).T for x in (sim, obs))
    limits = _limits(flat_sim, flat_obs, counts, level)
    enough = n >= minimum_n
    outputs: list[NDArray[Any]] = [np.where(enough, scores[name], np.nan) for name in METRICS]
    outputs.append(np.asarray(n))
    for name in METRICS:
        known = enough & ~np.isnan(scores[name])  # a score that does not exist has no limits either
        outputs.append(np.where(known[..., None], limits[name].reshape(*n.shape, 2), np.nan))
    return tuple(outputs)
