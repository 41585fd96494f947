"""Tables over pixels of what `smapnb.metrics.evaluate` returns: one product, or two against each other.

The pixels count alike; averages that do not let dense regions dominate stand in `smapnb.comparison`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from smapnb.metrics_kernels import METRICS


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
