"""Differences of the scores of two estimates, with limits and p-values by resampling days.

On the same days the samples are paired; for two periods they are independent. Which days those are is the caller's
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from smapnb.metrics_kernels import COLUMNS_AT_ONCE, KERNELS, METRICS, Floats, bootstrap, count, percentile_limits
from smapnb.metrics_labels import LIMITS, LONG_NAMES, align, check_settings, draw


@dataclass(frozen=True)
class _Scored:
    """Scores of columns, their values in each sample, and the number of matched days."""

    values: dict[str, Floats]  # (columns,)
    samples: dict[str, Floats]  # (n_boot, columns)
    n: NDArray[np.int64]  # (columns,)


def compare(
    *,
    one: xr.DataArray,
    two: xr.DataArray,
    obs: xr.DataArray,
    dim: str = "time",
    names: Sequence[str] = METRICS,
    by: str | None = None,
    n_boot: int = 1000,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = 3,
) -> xr.Dataset:
    """Score `one` less score `two`, both against `obs` on the days that all three have, by paired block bootstrap.

    Every sample of days (`smapnb.metrics.resampled_days`) serves both estimates, so that what they share, the errors
    of `obs` among it, cancels. The p-value turns the percentile limits round: with k the smaller of the numbers of
    samples whose difference is <= 0 and >= 0, of B, ``p = min(1, 2 (k + 1) / (B + 1))``; it is below 1 - `level`
    about where the limits leave out zero, and never below ``2 / (B + 1)``. Like the limits (see `evaluate`) it promises
    a little too much on short series.

    Parameters
    ----------
    one, two, obs : xarray.DataArray
        The estimates and the reference, with the same dimensions, coordinates and units; of `dim` the common labels.
    dim : str
        Dimension of the days; dates are resampled as a calendar.
    names : sequence of str
        Scores to compare, of bias, rmse, ubrmse, pearson_r.
    by : str, optional
        A coordinate along the only other dimension: the scores of the places with the same label are averaged first,
        in every sample; places that lack the score are left out of the mean.
    n_boot, block, level, seed, minimum_n
        As in `evaluate`.

    Returns
    -------
    xarray.Dataset
        ``<score>``: the difference; ``<score>_ci`` (limit: lower, upper); ``<score>_p``; ``n``: days, with `by` the
        fewest of its places that have any, and ``n_two``, which is the same.

    Raises
    ------
    ValueError
        As `evaluate`; an unknown score; a `by` that is no coordinate of the only other dimension.
    """
    _check(names, n_boot, block, level)
    one, obs = align(one, obs, dim)
    two, obs = align(two, obs, dim)
    one, obs = align(one, obs, dim)
    counts, block = draw(obs, dim, n_boot, block, np.random.default_rng(seed))
    arrays = [_columns(x, obs, dim) for x in (one, two, obs)]
    matched = ~np.isnan(arrays).any(0)
    first, second, reference = (np.where(matched, x, np.nan) for x in arrays)
    scored = [_score(x, reference, counts, names, minimum_n) for x in (first, second)]
    out = _subtract(scored[0], scored[1], obs, dim, by, level)
    return out.assign_attrs(one=str(one.name), two=str(two.name), n_boot=n_boot, block=block, level=level, seed=seed)


def compare_periods(
    *,
    one: xr.DataArray,
    obs_one: xr.DataArray,
    two: xr.DataArray,
    obs_two: xr.DataArray,
    dim: str = "time",
    names: Sequence[str] = METRICS,
    by: str | None = None,
    n_boot: int = 1000,
    block: int = 30,
    level: float = 0.95,
    seed: int = 0,
    minimum_n: int = 3,
) -> xr.Dataset:
    """Score `one` less score `two` for two periods without a day in common, each against its own reference.

    The periods are resampled independently; all else as in `compare`.

    Returns
    -------
    xarray.Dataset
        As that of `compare`; ``n`` are the days of `one`, ``n_two`` those of `two`.

    Raises
    ------
    ValueError
        As `compare`; the periods have a day in common, or their places differ or stand in another order.
    """
    _check(names, n_boot, block, level)
    pairs = [align(one, obs_one, dim), align(two, obs_two, dim)]
    shared = pairs[0][0].indexes[dim].intersection(pairs[1][0].indexes[dim])
    if len(shared):
        raise ValueError(f"{one.name} and {two.name} share {len(shared)} labels of {dim!r}, such as {shared[0]}")
    places = [obs.isel({dim: 0}, drop=True) for _, obs in pairs]
    try:
        xr.align(*places, join="exact")
    except ValueError as error:
        raise ValueError(f"{one.name} and {two.name} are not of the same places: {error}") from error
    scored, blocks = [], []
    for (sim, obs), generator in zip(pairs, np.random.default_rng(seed).spawn(2), strict=True):
        counts, used = draw(obs, dim, n_boot, block, generator)
        arrays = (_columns(sim, pairs[0][1], dim), _columns(obs, pairs[0][1], dim))
        scored.append(_score(*arrays, counts, names, minimum_n))
        blocks.append(used)
    out = _subtract(scored[0], scored[1], pairs[0][1], dim, by, level)
    return out.assign_attrs(one=str(one.name), two=str(two.name), n_boot=n_boot, block=blocks, level=level, seed=seed)


def false_discovery(p_values: ArrayLike) -> Floats:
    """Adjust p-values for their number, so that rejecting below q keeps the false discovery rate below q.

    Benjamini and Hochberg (1995, J. R. Stat. Soc. B 57, doi 10.1111/j.2517-6161.1995.tb02031.x), which holds for
    independent and for positively dependent tests, as neighbouring sites are. Unknown p-values (NaN) stay unknown and
    do not count as tests.

    Raises
    ------
    ValueError
        A p-value outside 0 to 1.
    """
    p = np.asarray(p_values, np.float64)
    known = ~np.isnan(p)
    out = np.full(p.shape, np.nan)
    if known.any():
        out[known] = false_discovery_control(p[known], method="bh")
    return out


def two_sided_p(samples: Floats) -> Floats:
    """P-value of a difference of zero from its samples (n_boot, columns); the formula stands in `compare`."""
    below, above = (samples <= 0).sum(0), (samples >= 0).sum(0)  # NaN is neither
    known = (~np.isnan(samples)).sum(0)
    p = np.minimum(1.0, 2 * (np.minimum(below, above) + 1) / (known + 1))
    return np.where(known > 0, p, np.nan)


def _check(names: Sequence[str], n_boot: int, block: int, level: float) -> None:
    check_settings(n_boot, block, level)
    unknown = sorted(set(names) - set(METRICS))
    if unknown or not names:
        raise ValueError(f"names={list(names)}: scores to compare are of {list(METRICS)}")


def _columns(values: xr.DataArray, like: xr.DataArray, dim: str) -> Floats:
    """Values as (days, columns), dimensions in the order of `like`."""
    other = [d for d in like.dims if d != dim]
    return values.transpose(dim, *other).to_numpy().astype(np.float64).reshape(values.sizes[dim], -1)


def _score(sim: Floats, obs: Floats, counts: Floats, names: Sequence[str], minimum_n: int) -> _Scored:
    n = count(sim=sim, obs=obs, axis=0)
    enough = n >= minimum_n
    values = {name: np.where(enough, KERNELS[name](sim=sim, obs=obs, axis=0), np.nan) for name in names}
    samples = {name: np.full((len(counts), sim.shape[1]), np.nan) for name in names}
    for first in range(0, sim.shape[1], COLUMNS_AT_ONCE):
        part = slice(first, first + COLUMNS_AT_ONCE)
        for name, drawn in bootstrap(sim[:, part], obs[:, part], counts, names).items():
            samples[name][:, part] = np.where(np.isnan(values[name][part]), np.nan, drawn)
    return _Scored(values, samples, n)


def _subtract(one: _Scored, two: _Scored, obs: xr.DataArray, dim: str, by: str | None, level: float) -> xr.Dataset:
    """One less two, with limits and p-values, labelled by the places of `obs` or by the groups of `by`."""
    place = obs.isel({dim: 0}, drop=True)
    n, n_two = one.n, two.n
    groups = _groups(place, by) if by else None
    if by and groups is not None:
        labels, codes = groups
        place = xr.DataArray(np.zeros(len(labels)), {by: labels}, [by])
        n, n_two = (_fewest(x, codes, len(labels)) for x in (one.n, two.n))
    out = xr.Dataset({"n": (place.dims, n.reshape(place.shape)), "n_two": (place.dims, n_two.reshape(place.shape))})
    for name in one.values:
        # The value as one more sample takes the same way through the groups.
        rows = np.vstack([one.values[name] - two.values[name], one.samples[name] - two.samples[name]])
        if groups is not None:
            rows = _group_means(rows, codes, len(labels))
        value, samples = rows[0], np.where(np.isnan(rows[0]), np.nan, rows[1:])
        limits = percentile_limits(samples, level)
        long_name = f"difference in {LONG_NAMES[name]}"
        out[name] = (place.dims, value.reshape(place.shape), {"long_name": long_name})
        out[f"{name}_ci"] = ((*place.dims, "limit"), limits.reshape(*place.shape, 2))
        out[f"{name}_p"] = (place.dims, two_sided_p(samples).reshape(place.shape))
    return out.assign_coords(place.coords).assign_coords(limit=list(LIMITS))


def _groups(place: xr.DataArray, by: str) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    if place.ndim != 1 or by not in place.coords or place[by].dims != place.dims:
        raise ValueError(f"by={by!r} must be a coordinate along the only other dimension of {place.dims}")
    codes, labels = pd.factorize(place[by].to_numpy())
    return np.asarray(labels), codes.astype(np.int64)


def _group_means(rows: Floats, codes: NDArray[np.int64], groups: int) -> Floats:
    """Mean over the members whose first row is known; (rows, columns) to (rows, groups)."""
    usable = ~np.isnan(rows[0])
    out = np.full((len(rows), groups), np.nan)
    for group in range(groups):
        members = rows[:, usable & (codes == group)]
        if members.shape[1]:
            out[:, group] = members.mean(1)  # a sample in which a member has no score has none
    return out


def _fewest(n: NDArray[np.int64], codes: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Fewest days of the members that have any; 0 where none has."""
    out = np.zeros(groups, np.int64)
    for group in range(groups):
        some = n[(codes == group) & (n > 0)]
        out[group] = some.min() if some.size else 0
    return out
