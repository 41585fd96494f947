"""Scores of an estimate against a reference by matched days: array kernels below, one labelled wrapper above.

A day missing in either is left out of both. It neither selects periods nor masks quality.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METRICS = ("bias", "rmse", "ubrmse", "pearson_r")
LONG_NAMES = {
    "bias": "mean of sim - obs",
    "rmse": "root-mean-square error",
    "ubrmse": "unbiased root-mean-square error",
    "pearson_r": "Pearson correlation",
    "n": "number of matched days",
}
FEWEST_FOR_R = 3  # two points always lie on a line
LIMITS = ("lower", "upper")
COLUMNS_AT_ONCE = 512  # bounds the memory of the bootstrap, whatever the number of pixels
FEWEST_BLOCKS = 4


def count(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> NDArray[np.int64]:
    """Return the number of matched days: those on which both `sim` and `obs` have a value."""
    return _matched(sim, obs)[2].sum(axis)


def bias(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the mean of ``sim - obs`` over the matched days.

    Parameters
    ----------
    sim, obs : array_like
        Estimate and reference in the same units; shapes that broadcast; NaN is a missing day.
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
    sim, obs, matched = _matched(sim, obs)
    return _mean(sim - obs, matched, axis).squeeze(axis)[()]


def rmse(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the root of the mean of ``(sim - obs)**2``; all else as in `bias`."""
    sim, obs, matched = _matched(sim, obs)
    return np.sqrt(_mean((sim - obs) ** 2, matched, axis)).squeeze(axis)[()]


def ubrmse(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return the RMSE that is left when the bias is taken away.

    The standard deviation (divided by n) of ``sim - obs``, so that ``ubrmse**2 == rmse**2 - bias**2``
    (Entekhabi et al. 2010, J. Hydrometeorol. 11, doi 10.1175/2010JHM1223.1). All else as in `bias`.
    """
    sim, obs, matched = _matched(sim, obs)
    error = sim - obs
    return np.sqrt(_mean((error - _mean(error, matched, axis)) ** 2, matched, axis)).squeeze(axis)[()]


def pearson_r(*, sim: ArrayLike, obs: ArrayLike, axis: int = -1) -> Floats:
    """Return Pearson's correlation over the matched days, between -1 and 1.

    NaN below three matched days, or where `sim` or `obs` is the same on all of them. All else as in `bias`.
    """
    sim, obs, matched = _matched(sim, obs)
    s = sim - _mean(sim, matched, axis)
    o = obs - _mean(obs, matched, axis)
    scale = np.sqrt(_mean(s * s, matched, axis)) * np.sqrt(_mean(o * o, matched, axis))
    # Rounding leaves a constant series a tiny variance, so constancy is asked of the values themselves.
    usable = _varies(sim, matched, axis) & _varies(obs, matched, axis)
    usable &= (matched.sum(axis, keepdims=True) >= FEWEST_FOR_R) & (scale > 0)
    r = _divide(_mean(s * o, matched, axis), scale, usable)
    return np.clip(r, -1, 1).squeeze(axis)[()]


def _matched(sim: ArrayLike, obs: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    arrays = {"sim": np.asarray(sim, np.float64), "obs": np.asarray(obs, np.float64)}
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


def _mean(values: Floats, matched: NDArray[np.bool_], axis: int) -> Floats:
    n = matched.sum(axis, keepdims=True)
    total = np.where(matched, values, 0.0).sum(axis, keepdims=True)
    return total / np.where(n > 0, n, np.nan)


def _varies(values: Floats, matched: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    low = np.where(matched, values, np.inf).min(axis, keepdims=True, initial=np.inf)
    high = np.where(matched, values, -np.inf).max(axis, keepdims=True, initial=-np.inf)
    return low < high


def _divide(above: Floats, below: Floats, where: NDArray[np.bool_]) -> Floats:
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


def _day_counts(days: NDArray[np.int64], length: int) -> Floats:
    """How often each sample holds each day, shape (n_boot, length)."""
    rows = np.arange(len(days))[:, None]
    flat = np.bincount((rows * length + days).ravel(), minlength=len(days) * length)
    return flat.reshape(len(days), length).astype(np.float64)


def _bootstrap(sim: Floats, obs: Floats, counts: Floats) -> dict[str, Floats]:
    """Metrics of every sample, each (n_boot, columns), of `sim` and `obs`, each (days, columns).

    A resampled sum is the product of the samples' day counts and the days' values. The values are centred on
    the means of the whole series first, else the variances would be small differences of large numbers.
    """
    matched = ~(np.isnan(sim) | np.isnan(obs))
    error = sim - obs
    mean_error = _mean(error, matched, 0)
    error, sim, obs = (np.where(matched, x - _mean(x, matched, 0), 0.0) for x in (error, sim, obs))
    n = counts @ matched.astype(np.float64)

    def mean(values: Floats) -> Floats:
        return _divide(counts @ values, n, n > 0)

    def variance(values: Floats) -> Floats:
        moved = mean(values**2) - mean(values) ** 2
        whole = _mean(values**2, matched, 0)
        return np.where(moved > 1e-12 * whole, moved, 0.0)  # what is smaller is rounding

    shift, spread = mean(error), variance(error)
    covariance = mean(sim * obs) - mean(sim) * mean(obs)
    scale = np.sqrt(variance(sim)) * np.sqrt(variance(obs))
    return {
        "bias": mean_error + shift,
        "rmse": np.sqrt(spread + (mean_error + shift) ** 2),
        "ubrmse": np.sqrt(spread),
        "pearson_r": np.clip(_divide(covariance, scale, (scale > 0) & (n >= FEWEST_FOR_R)), -1, 1),
    }


def _limits(sim: Floats, obs: Floats, counts: Floats, level: float) -> dict[str, Floats]:
    """Percentile limits, each of shape (columns, 2); NaN where no sample has a value."""
    columns = sim.shape[1]
    out = {name: np.full((columns, 2), np.nan) for name in METRICS}
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    for first in range(0, columns, COLUMNS_AT_ONCE):
        part = slice(first, first + COLUMNS_AT_ONCE)
        for name, samples in _bootstrap(sim[:, part], obs[:, part], counts).items():
            usable = ~np.isnan(samples).all(0)
            out[name][part][usable] = np.nanquantile(samples[:, usable], quantiles, axis=0).T
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
    if n_boot < 1 or block < 1 or not 0 < level < 1:
        raise ValueError(f"n_boot={n_boot}, block={block} must be positive and level={level} between 0 and 1")
    sim, obs = _align(sim, obs, dim)
    offset = _calendar(sim, dim)
    length = int(offset.max()) + 1
    block = min(block, max(1, length // FEWEST_BLOCKS))
    days = resampled_days(length, block, n_boot, np.random.default_rng(seed))
    settings = {"counts": _day_counts(days, length)[:, offset], "level": level, "minimum_n": minimum_n}
    out = _apply(sim, obs, dim, settings)
    return _describe(out, sim, obs, {"n_boot": n_boot, "block": block, "level": level, "seed": seed})


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


def _align(sim: xr.DataArray, obs: xr.DataArray, dim: str) -> tuple[xr.DataArray, xr.DataArray]:
    labels = f"sim ({sim.name}) and obs ({obs.name})"
    if set(sim.dims) != set(obs.dims) or dim not in sim.dims:
        raise ValueError(f"{labels} have dimensions {sim.dims} and {obs.dims}; both need the same, {dim!r} among them")
    units = {x.attrs["units"] for x in (sim, obs) if "units" in x.attrs}
    if len(units) > 1:
        raise ValueError(f"{labels} have different units: {sorted(units)}")
    for x in (sim, obs):
        if dim in x.indexes and not x.indexes[dim].is_unique:
            raise ValueError(f"{x.name}: labels of {dim!r} are repeated")
    for name in sorted({str(c) for c in sim.coords} & {str(c) for c in obs.coords}):
        if dim not in sim[name].dims and not sim[name].variable.equals(obs[name].variable):
            raise ValueError(f"{labels} differ in the coordinate {name!r}")
    sim, obs = xr.align(sim, obs, join="inner")
    if sim.sizes[dim] == 0:
        raise ValueError(f"{labels} have no {dim} in common")
    return (sim.chunk({dim: -1}) if sim.chunks else sim), (obs.chunk({dim: -1}) if obs.chunks else obs)


def _calendar(aligned: xr.DataArray, dim: str) -> NDArray[np.int64]:
    """Days since the first label; the bare position where the labels are no dates."""
    index = aligned.indexes.get(dim)
    if not isinstance(index, pd.DatetimeIndex):
        return np.arange(aligned.sizes[dim])
    return (index.normalize() - index.normalize().min()).days.to_numpy(np.int64)


def _describe(out: xr.Dataset, sim: xr.DataArray, obs: xr.DataArray, attrs: dict[str, Any]) -> xr.Dataset:
    units = sim.attrs.get("units", obs.attrs.get("units"))
    for name, array in out.data_vars.items():
        metric = str(name).removesuffix("_ci")
        array.attrs["long_name"] = LONG_NAMES[metric] + (" (confidence limits)" if metric != name else "")
        if metric in ("pearson_r", "n"):
            array.attrs["units"] = "1"
        elif units is not None:
            array.attrs["units"] = units
    names = {"sim": str(sim.name), "obs": str(obs.name)}
    return out.assign_attrs(names, bootstrap="circular blocks of days, percentile limits", **attrs)


def summarise(scores: xr.Dataset) -> pd.DataFrame:
    """Summarise the result of `evaluate` over its pixels: one row a metric.

    Returns
    -------
    pandas.DataFrame
        Columns ``median, q25, q75, n_pixels`` (pixels with a value) and ``units``.
    """
    values = pd.DataFrame({name: scores[name].to_numpy().ravel() for name in METRICS})  # pandas leaves NaN out
    table = values.quantile([0.5, 0.25, 0.75]).set_axis(["median", "q25", "q75"]).T
    table["n_pixels"] = values.count()
    table["units"] = [scores[name].attrs.get("units", "") for name in METRICS]
    return table.rename_axis("metric")


def difference(
    product: xr.Dataset, baseline: xr.Dataset, *, n_boot: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Compare the medians of two results of `evaluate` over the pixels that both have, with paired limits.

    Pixels are drawn with replacement and each drawn pixel serves both products (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap). Neighbouring pixels are alike, so the limits are, if anything, too narrow.

    Parameters
    ----------
    product, baseline : xarray.Dataset
        Results of `evaluate` on the same pixels.
    n_boot, level, seed
        As in `evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row a metric: ``difference`` (median of `product` less that of `baseline`), ``lower, upper``,
        ``n_pixels``.

    Raises
    ------
    ValueError
        The pixels differ.
    """
    generator = np.random.default_rng(seed)
    rows = {}
    for name in METRICS:
        try:
            one, two = xr.align(product[name], baseline[name], join="exact")
            pairs = np.stack(np.broadcast_arrays(one.to_numpy(), two.transpose(*one.dims).to_numpy())).reshape(2, -1)
        except ValueError as error:
            raise ValueError(f"product and baseline are not scored on the same pixels: {error}") from error
        pairs = pairs[:, ~np.isnan(pairs).any(0)]
        n = pairs.shape[1]
        row = {"difference": np.nan, "lower": np.nan, "upper": np.nan, "n_pixels": n}
        if n:
            drawn = pairs[:, generator.integers(n, size=(n_boot, n))]  # (product, sample, pixel)
            medians = np.median(drawn, axis=-1)
            row["lower"], row["upper"] = np.quantile(medians[0] - medians[1], [(1 - level) / 2, (1 + level) / 2])
            row["difference"] = np.median(pairs[0]) - np.median(pairs[1])
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
