"""Scores of arrays by matched days, and their values in resampled series.

A day missing in either series is left out of both. Labels, confidence limits and tables stand in `smapnb.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METRICS = ("bias", "rmse", "ubrmse", "pearson_r")
COLUMNS_AT_ONCE = 256  # bounds the memory of the bootstrap, whatever the number of pixels
FEWEST_FOR_R = 3  # two points always lie on a line


def count(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> NDArray[np.int64]:
    """Return the number of matched days: those on which both `sim` and `obs` have a value."""
    return matched_days(sim, obs)[2].sum(axis)


def bias(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the mean of ``sim - obs`` over the matched days.

    Parameters
    ----------
    sim, obs : array_like
        Estimate and reference in the same units; shapes that broadcast; NaN or a masked value is a missing day.
    axis : int
        The axis of the days.

    Returns
    -------
    numpy.ndarray
        Shape of the input without `axis`, float64, in the units of the input; NaN where no day is matched.

    Raises
    ------
    ValueError
        Shapes that do not fit, or an infinite value.
    """
    sim, obs, matched = matched_days(sim, obs)
    return mean_over(sim - obs, matched, axis).squeeze(axis)[()]


def rmse(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the root of the mean of ``(sim - obs)**2``; all else as in `bias`."""
    sim, obs, matched = matched_days(sim, obs)
    return np.sqrt(mean_over((sim - obs) ** 2, matched, axis)).squeeze(axis)[()]


def ubrmse(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the RMSE that is left when the bias is taken away.

    The standard deviation (divided by n) of ``sim - obs``, so that ``ubrmse**2 == rmse**2 - bias**2``
    (Entekhabi et al. 2010, J. Hydrometeorol. 11, doi 10.1175/2010JHM1223.1). All else as in `bias`.
    """
    sim, obs, matched = matched_days(sim, obs)
    error = sim - obs
    return np.sqrt(mean_over((error - mean_over(error, matched, axis)) ** 2, matched, axis)).squeeze(axis)[()]


def pearson_r(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return Pearson's correlation over the matched days, between -1 and 1.

    NaN below three matched days, or where `sim` or `obs` is the same on all of them. All else as in `bias`.
    """
    sim, obs, matched = matched_days(sim, obs)
    s = sim - mean_over(sim, matched, axis)
    o = obs - mean_over(obs, matched, axis)
    scale = np.sqrt(mean_over(s * s, matched, axis)) * np.sqrt(mean_over(o * o, matched, axis))
    # Rounding leaves a constant series a tiny variance, so constancy is asked of the values themselves.
    usable = _varies(sim, matched, axis) & _varies(obs, matched, axis)
    usable &= (matched.sum(axis, keepdims=True) >= FEWEST_FOR_R) & (scale > 0)
    r = divide(mean_over(s * o, matched, axis), scale, usable)
    return np.clip(r, -1, 1).squeeze(axis)[()]


def matched_days(sim: ArrayLike, obs: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Give both as arrays of one shape, and on which of their days both have a value."""
    _refuse_other_labels(sim, obs)
    arrays = {name: _with_gaps(values) for name, values in (("sim", sim), ("obs", obs))}
    for name, values in arrays.items():
        infinite = np.isinf(values)
        if infinite.any():
            place = tuple(int(i) for i in np.argwhere(infinite)[0])
            raise ValueError(f"{name} holds an infinite value at index {place}; a missing day is NaN")
    try:
        wide_sim, wide_obs = np.broadcast_arrays(*arrays.values())
    except ValueError as error:
        shapes = " and ".join(f"{name} {values.shape}" for name, values in arrays.items())
        raise ValueError(f"shapes do not fit: {shapes}") from error
    return wide_sim, wide_obs, ~(np.isnan(wide_sim) | np.isnan(wide_obs))


def _refuse_other_labels(sim: ArrayLike, obs: ArrayLike) -> None:
    """Arrays are paired by position; labels that say otherwise must not be passed over."""
    differing = []
    if isinstance(sim, pd.Series) or isinstance(obs, pd.Series):
        one, other = _index(sim), _index(obs)
        if one is not None and other is not None and not one.equals(other):
            differing = ["index"]
    if isinstance(sim, xr.DataArray) and isinstance(obs, xr.DataArray):
        shared = [dim for dim in sim.indexes if dim in obs.indexes]
        differing = [str(dim) for dim in shared if not sim.indexes[dim].equals(obs.indexes[dim])]
        if set(sim.dims) == set(obs.dims) and sim.dims != obs.dims:
            differing = [f"dimensions {sim.dims} and {obs.dims}"]
    if differing:
        where = ", ".join(differing)
        raise ValueError(f"sim and obs differ in labels or their order ({where}): align them, or take metrics.evaluate")


def _index(values: ArrayLike) -> pd.Index | None:
    """Labels of a single series; None where it has none."""
    if isinstance(values, xr.DataArray) and values.ndim == 1:
        return values.indexes.get(values.dims[0])
    return values.index if isinstance(values, pd.Series) else None


def _with_gaps(values: ArrayLike) -> Floats:
    # asarray alone would show what stands behind the mask, a fill value as -9999.
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values, np.float64)


def mean_over(values: Floats, matched: NDArray[np.bool_], axis: int) -> Floats:
    """Mean over the matched days, which stay as an axis of length 1; NaN where there is none."""
    n = matched.sum(axis, keepdims=True)
    total = np.where(matched, values, 0.0).sum(axis, keepdims=True)
    return total / np.where(n > 0, n, np.nan)


def _varies(values: Floats, matched: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    low = np.where(matched, values, np.inf).min(axis, keepdims=True, initial=np.inf)
    high = np.where(matched, values, -np.inf).max(axis, keepdims=True, initial=-np.inf)
    return low < high


def divide(above: Floats, below: Floats, where: NDArray[np.bool_]) -> Floats:
    """Divide where it is allowed; NaN elsewhere."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=where)


def resampled_days(length: int, block: int, n_boot: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw the days of circular block-bootstrap samples.

    Blocks of `block` consecutive days, begun anywhere and running on from the last day to the first, are laid
    end to end and cut at `length` (Kunsch 1989, Ann. Stat. 17, doi 10.1214/aos/1176347265; circular: Politis
    and Romano 1992, in LePage and Billard, Exploring the Limits of Bootstrap).

    Returns
    -------
    numpy.ndarray
        Shape (n_boot, length), positions 0 .. length - 1.
    """
    starts = generator.integers(length, size=(n_boot, -(-length // block), 1))
    days = (starts + np.arange(block)) % length
    return days.reshape(n_boot, -1)[:, :length]


def day_counts(days: NDArray[np.int64], length: int) -> Floats:
    """How often each sample holds each day, shape (n_boot, length)."""
    rows = np.arange(len(days))[:, None]
    flat = np.bincount((rows * length + days).ravel(), minlength=len(days) * length)
    return flat.reshape(len(days), length).astype(np.float64)


def bootstrap(sim: Floats, obs: Floats, counts: Floats, names: Sequence[str] = METRICS) -> dict[str, Floats]:
    """Metrics of every sample, each (n_boot, columns), of `sim` and `obs`, each (days, columns).

    A resampled sum is the product of the samples' day counts and the days' values. The values are centred on
    the means of the whole series first, else the variances would be small differences of large numbers.
    """
    matched = ~(np.isnan(sim) | np.isnan(obs))
    error = sim - obs
    mean_error = mean_over(error, matched, 0)
    error, sim, obs = (np.where(matched, x - mean_over(x, matched, 0), 0.0) for x in (error, sim, obs))
    of_errors, of_both = bool({"bias", "rmse", "ubrmse"} & set(names)), "pearson_r" in names
    of_days = {"n": matched.astype(np.float64)}
    of_days |= {"error": error, "error2": error**2} if of_errors else {}
    of_days |= {"sim": sim, "sim2": sim**2, "obs": obs, "obs2": obs**2, "sim obs": sim * obs} if of_both else {}
    # One product for all: where columns are few, reading the counts takes longer than multiplying by them.
    sums = np.split(counts @ np.concatenate(list(of_days.values()), axis=1), len(of_days), axis=1)
    total = dict(zip(of_days, sums, strict=True))
    n = total.pop("n")
    mean = {name: divide(values, n, n > 0) for name, values in total.items()}

    def variance(name: str) -> Floats:
        moved = mean[f"{name}2"] - mean[name] ** 2
        whole = mean_over(of_days[f"{name}2"], matched, 0)
        return np.where(moved > 1e-12 * whole, moved, 0.0)  # what is smaller is rounding

    out = {}
    if of_errors:
        spread = variance("error")
        out["bias"] = mean_error + mean["error"]
        out["rmse"] = np.sqrt(spread + out["bias"] ** 2)
        out["ubrmse"] = np.sqrt(spread)
    if of_both:
        scale = np.sqrt(variance("sim")) * np.sqrt(variance("obs"))
        usable = (scale > 0) & (n >= FEWEST_FOR_R)
        out["pearson_r"] = np.clip(divide(mean["sim obs"] - mean["sim"] * mean["obs"], scale, usable), -1, 1)
    return {name: out[name] for name in names}


def percentile_limits(samples: Floats, level: float) -> Floats:
    """Percentile limits of samples (n_boot, columns) that hold a share `level` of them, shape (columns, 2).

    A sample without a value (NaN) does not count; a column of none but those has no limits.
    """
    out = np.full((samples.shape[1], 2), np.nan)
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    gaps = np.isnan(samples)
    whole, some = ~gaps.any(0), gaps.any(0) & ~gaps.all(0)
    if whole.any():  # all columns at once; nanquantile takes one after the other
        out[whole] = np.quantile(samples[:, whole], quantiles, axis=0).T
    if some.any():
        out[some] = np.nanquantile(samples[:, some], quantiles, axis=0).T
    return out


KERNELS: dict[str, Callable[..., Floats]] = {"bias": bias, "rmse": rmse, "ubrmse": ubrmse, "pearson_r": pearson_r}
