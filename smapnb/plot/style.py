"""What all figures share: colours of the products, texts of the axes, the borders that the package ships."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from pandas.io.formats.style import Styler

from smapnb.variables import TABLE

# Okabe and Ito's palette, told apart by the colour-blind; one colour a product on every page.
COLOURS = {
    "smap": "#000000",
    "lstm": "#D55E00",
    "noah": "#009E73",
    "vic": "#0072B2",
    "comb": "#CC79A7",
    "truth": "#8C8C8C",
    "authors": "#56B4E9",
    "climatology": "#E69F00",
    "insitu": "#6A3D9A",
    "noah_vic": "#0B5E66",
    "lstm_vic": "#8C510A",
}
# Products and metrics as text of a figure; units of a metric of soil moisture.
PRODUCTS = {
    "smap": "SMAP",
    "lstm": "LSTM",
    "noah": "Noah",
    "vic": "VIC",
    "comb": "Comb",
    "noah_vic": "Noah+VIC",
    "lstm_vic": "LSTM+VIC",
    "insitu": "in situ",
    "truth": "truth",
}
METRICS = {
    "bias": ("bias", "m3 m-3"),
    "rmse": ("RMSE", "m3 m-3"),
    "ubrmse": ("ubRMSE", "m3 m-3"),
    "pearson_r": ("R", "1"),
    "anomaly_r": ("anomaly R", "1"),
    "drydown_days": ("e-folding time", "d"),
}
OTHERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LONG_CELL = 60  # letters; a column with longer cells needs room for a sentence
CONUS = (-125.3, -66.3, 24.0, 50.8)  # west, east, south, north in degrees


def label(name: str, attrs: Mapping[str, Any] | None = None) -> str:
    """Text of an axis: long name and units, from the attributes or else from the table of variables."""
    attrs = attrs or {}
    row = TABLE.get(name)
    text, metric_units = METRICS.get(name, (name.replace("_", " "), "1"))
    long_name = attrs.get("long_name") or (row.long_name if row else text)
    units = attrs.get("units") or (row.units if row else metric_units)
    return f"{long_name} ({unit_text(units)})"


def colour(name: str, position: int = 0) -> str:
    """Colour of a product, given as ``lstm`` or within a name as ``ssm_lstm`` or ``PL noah_vic``."""
    words = re.split(r"[_\W]+", name.lower())
    for part in [*map("_".join, pairwise(words)), *words]:  # `noah_vic` before `noah`
        if part in COLOURS:
            return COLOURS[part]
    return OTHERS[position % len(OTHERS)]


def metric_label(metric: str) -> str:
    """Text of an axis of a metric, with units; an unknown metric is refused, as its units are unknown."""
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r}: units unknown, one of {list(METRICS)}")
    text, units = METRICS[metric]
    return f"{text} ({unit_text(units)})"


def series_label(series: str) -> str:
    """Text of a series such as ``PL noah_vic``: PL Noah+VIC."""
    return " ".join(PRODUCTS.get(word, word) for word in series.split(" "))


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Texts of a legend: the product alone where all series are of one quantity, else the long name without units."""
    parts = {name: name.partition("_") for name in names}
    if len({quantity for quantity, _, _ in parts.values()}) == 1 and all(p in PRODUCTS for *_, p in parts.values()):
        return {name: PRODUCTS[product] for name, (*_, product) in parts.items()}
    return {name: label(name).rsplit(" (", 1)[0] for name in names}


def colours(names: Sequence[str]) -> dict[str, str]:
    """One colour a series: the product's, or another where two series of one product share a figure."""
    chosen: dict[str, str] = {}
    for position, name in enumerate(names):
        free = [c for c in (colour(name, position), *OTHERS) if c not in chosen.values()]
        chosen[name] = free[0] if free else colour(name, position)
    return chosen


def unit_text(units: str) -> str:
    """Units as readers know them: ``m3 m-3`` becomes m³ m⁻³, a pure number a dash."""
    if units == "1":
        return "-"
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"(?<=[A-Za-z])-?\d+", lambda match: match[0].translate(superscript), units)


def titled(text: str, synthetic: bool | None) -> str:
    """Title of a figure; what comes from the simulation experiment says so, unless its parts do (None)."""
    return f"{text} (synthetic)" if synthetic else text


def spread(values: xr.DataArray) -> tuple[float, float]:
    """Range of the colours: the 2nd to the 98th percentile, so that an odd pixel does not flatten the map."""
    known = values.to_numpy()[np.isfinite(values)]
    low, high = np.percentile(known, [2, 98]) if known.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def table(
    frame: pd.DataFrame, *, title: str, synthetic: bool | None, precision: int = 4, words: bool = False
) -> Styler:
    """Show a table under its title, numbers to `precision` decimals, gaps as a dash; an empty one says that it is.

    Parameters
    ----------
    frame : pandas.DataFrame
        What is shown.
    title : str
        Heading.
    synthetic : bool or None
        Whether the numbers come from the simulation experiment; None: its columns say which do.
    precision : int
        Decimals.
    words : bool
        The cells hold sentences: they break and begin at the left, and on a phone the book puts them below one another.

    Raises
    ------
    ValueError
        None, and no column says "synthetic" or "real".
    """
    if synthetic is None and not any(re.search("synthetic|real", str(column)) for column in frame.columns):
        raise ValueError(f"table {title!r}: no column says whether it is synthetic or real: {list(frame.columns)}")
    heading = titled(title, synthetic) + (": no rows" if frame.empty else "")
    styled = frame.style.set_caption(heading).format(precision=precision, na_rep="-")
    counts = [column for column, values in frame.items() if _whole(values)]
    styled.format(precision=0, na_rep="-", subset=counts)
    styled = styled.format_index(_heading, axis=0).format_index(_heading, axis=1)
    return _of_words(styled, frame) if words else styled


def _of_words(styled: Styler, frame: pd.DataFrame) -> Styler:
    """Let the cells break; each knows its heading, which the book shows where there is no room for columns."""
    left = [("text-align", "left"), ("vertical-align", "top")]
    styles: list[Any] = [
        {"selector": "td", "props": [("white-space", "normal"), *left]},
        {"selector": "th.col_heading, caption", "props": left[:1]},
    ]
    for position, (name, cells) in enumerate(frame.items()):
        longest = cells.astype(str).str.len().max()
        props = [("--heading", f"'{name}'"), *([("min-width", "11rem")] if longest > LONG_CELL else [])]
        styles.append({"selector": f"td.col{position}", "props": props})
    return styled.set_table_styles(styles).set_table_attributes('class="words"')


def _whole(values: pd.Series) -> bool:
    """Whether a column of floats holds numbers without a fraction only, such as counts with a gap among them."""
    if not pd.api.types.is_float_dtype(values):
        return False
    known = values.dropna()
    return bool((known % 1 == 0).all() and known.abs().max() > 1)


def _heading(label: object) -> str:
    """Heading of a row or column: a metric by the name that the prose gives it, a depth without idle zeros."""
    if isinstance(label, float):
        return f"{label:g}"
    return METRICS[label][0] if isinstance(label, str) and label in METRICS else str(label)


@cache
def borders(tolerance: float) -> tuple[shapely.Geometry, ...]:
    """States and coastline as geometries in longitude and latitude, simplified to `tolerance` degrees."""
    names = ("us_states_conus.geojson", "na_coastline_50m.geojson")
    texts = [files("smapnb").joinpath("data", name).read_text(encoding="utf-8") for name in names]
    collections = [shapely.from_geojson(text) for text in texts]
    return tuple(shapely.simplify(shapely.get_parts(collections), tolerance))


@cache
def border_lines(tolerance: float) -> tuple[np.ndarray, ...]:
    """Give the borders as arrays of shape (points, 2): longitude, latitude."""
    parts = shapely.get_parts(borders(tolerance))
    lines = [shapely.boundary(part) if part.geom_type == "Polygon" else part for part in parts]
    return tuple(shapely.get_coordinates(line) for line in shapely.get_parts(lines))
