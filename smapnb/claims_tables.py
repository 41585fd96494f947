"""From the tables of a run to one value a site: the selectors of claims.yml, followed.

It selects, pairs and averages over the pixels of a site; it reduces nothing over sites and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from smapnb.claims_select import Absolute, Condition, Largest, Minus, Operand, Rows, Table

IDENTIFIERS = ("site", "group")  # "0401" is a name, not the number 401


class NotTestable(Exception):
    """A run cannot say anything on a claim; the message is the reason that is shown."""


@dataclass(frozen=True)
class Run:
    """The tables of a run and how claims.yml reads them.

    Attributes
    ----------
    tables : mapping of str to pandas.DataFrame
        By name, without ``.csv``.
    specifications : mapping of str to Table
    series : mapping of str to Rows
        The named selectors.
    common : mapping of str to str
        Values that every row must have where the table has that column, as the days that are compared.
    """

    tables: Mapping[str, pd.DataFrame]
    specifications: Mapping[str, Table]
    series: Mapping[str, Rows]
    common: Mapping[str, str]

    def rows(self, name: str) -> pd.DataFrame:
        """Follow the named selector.

        Returns
        -------
        pandas.DataFrame
            Index: the site, or a number where the table is not about sites; columns ``unit, value, lower, upper, p``.
            Rows without a value are left out.

        Raises
        ------
        NotTestable
            No such table, column or row; or no row has a value.
        ValueError
            Several rows for one site, or a value that is no number.
        """
        chosen = self.series[name]
        file = f"tables/{chosen.table}.csv"
        if chosen.table not in self.tables:
            raise NotTestable(f"this run has no {file}")
        frame, form = self.tables[chosen.table], self.specifications[chosen.table]
        column = chosen.column or form.value
        boxed = ["lat", "lon"] if chosen.region else []
        units = ["site", form.unit] if form.unit else []
        beside = [*(chosen.limits or ()), *([chosen.p] if chosen.p else [])]
        for asked in (*units, *chosen.where, *boxed, column, *beside):
            if asked not in frame:
                raise NotTestable(f"{file} has no column {asked!r}")
        own = form.limits if form.limits and column == form.value and {*form.limits} <= {*frame} else None
        limits = chosen.limits or own
        where = {k: v for k, v in self.common.items() if k in frame} | dict(chosen.where)
        told = ", ".join(f"{k} {v}" for k, v in where.items())
        fits = np.ones(len(frame), bool)
        for key, value in where.items():
            fits &= (frame[key] == value).to_numpy(bool)
        # Once all rows are known, and no column more: a table is wide, and copying its text takes long.
        frame = frame.loc[fits, list(dict.fromkeys([*units, *boxed, column, *(limits or ()), *beside]))]
        if chosen.region:
            frame = frame[frame["lat"].between(*chosen.region.lat) & frame["lon"].between(*chosen.region.lon)]
            told += f", lat {chosen.region.lat}, lon {chosen.region.lon}"
        if frame.empty:
            raise NotTestable(f"{file} has no row with {told}")
        if form.unit and frame["site"].duplicated().any():
            twice = frame.loc[frame["site"].duplicated(), "site"].iloc[0]
            raise ValueError(f"{file}: several rows for site {twice!r} with {told}")
        out = pd.DataFrame(
            {
                "unit": frame[form.unit].astype(str) if form.unit else [str(i) for i in range(len(frame))],
                "value": numbers(frame[column], f"{file}, column {column!r}"),
                "lower": numbers(frame[limits[0]], file) if limits else np.nan,
                "upper": numbers(frame[limits[1]], file) if limits else np.nan,
                "p": numbers(frame[chosen.p], file) if chosen.p else np.nan,
            }
        )
        out = out.set_axis((frame["site"] if form.unit else out["unit"]).astype(str).to_numpy()).dropna(subset="value")
        if out.empty:
            raise NotTestable(f"{file} has no value with {told}")
        return out

    def operand(self, operand: Operand) -> pd.DataFrame:
        """Evaluate an operand, as `rows` does; what is computed of two has no limits."""
        if isinstance(operand, str):
            return self.rows(operand)
        if isinstance(operand, Absolute):
            frame = self.operand(operand.absolute)
            return frame.assign(value=frame["value"].abs(), lower=np.nan, upper=np.nan)
        if isinstance(operand, Minus):
            one, two = paired([self.operand(part) for part in operand.minus])
            return one.assign(value=one["value"] - two["value"], lower=np.nan, upper=np.nan)
        # The largest bar of a site: each bar is a mean over pixels, so the means are taken first.
        several = operand.largest if isinstance(operand, Largest) else operand.smallest
        parts = paired([averaged(self.operand(part)) for part in several])
        together = pd.concat([part["value"] for part in parts], axis=1)
        values = together.max(axis=1) if isinstance(operand, Largest) else together.min(axis=1)
        return parts[0].assign(value=values, lower=np.nan, upper=np.nan)

    def units(self, operand: Operand, only: Condition | None = None) -> pd.DataFrame:
        """One row a site of the paper: the plain mean over its pixels, as in the authors' scripts.

        The limits are the means of the pixels' limits: right where the errors of a site's pixels move together, too
        wide elsewhere.

        Raises
        ------
        NotTestable
            As `rows`; or no site obeys the condition `only`.
        """
        frame = averaged(self.operand(operand))
        if only is None:
            return frame
        other = averaged(self.operand(only.of))["value"].reindex(frame.index)
        chosen = frame[only.holds(other)]
        if chosen.empty:
            bound = only.bound()
            assert bound is not None
            raise NotTestable(f"no site of {len(frame)} is {bound[0].replace('_', ' ')} {bound[1]:g} in what selects")
        return chosen

    def named(self, operand: Operand) -> list[str]:
        """Names of the selectors that an operand uses."""
        if isinstance(operand, str):
            return [operand]
        if isinstance(operand, Absolute):
            return self.named(operand.absolute)
        if isinstance(operand, Minus):
            parts = list(operand.minus)
        else:
            parts = operand.largest if isinstance(operand, Largest) else operand.smallest
        return [name for part in parts for name in self.named(part)]


def averaged(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over the pixels of each unit, indexed by unit."""
    means = frame.groupby("unit", sort=True)[["value", "lower", "upper"]].mean()
    return means.assign(unit=means.index).rename_axis(None)


def paired(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Bring several selections to the same rows.

    Pixel by pixel where they have pixels in common, so that a pixel without a value in one of them leaves the others
    too; site by site where their pixels differ, as those of the surface and the root zone do.

    Raises
    ------
    NotTestable
        They have no site in common.
    """
    shared = frames[0].index
    for frame in frames[1:]:
        shared = shared.intersection(frame.index)
    if shared.empty:
        frames = [averaged(frame) for frame in frames]
        shared = frames[0].index
        for frame in frames[1:]:
            shared = shared.intersection(frame.index)
    if shared.empty:
        raise NotTestable("what is compared has no site in common")
    return [frame.loc[shared] for frame in frames]


def numbers(column: pd.Series, where: str) -> pd.Series:
    """Values as float; a date becomes a fraction of a year, as 2010.5.

    Raises
    ------
    ValueError
        Neither number nor date; the message names file, column and value.
    """
    if pd.api.types.is_numeric_dtype(column):
        values = column.astype(float)
        if np.isinf(values).any():
            raise ValueError(f"{where}: an infinite value")
        return values
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601")
    odd = column[dates.isna() & column.notna()]
    if len(odd):
        raise ValueError(f"{where}: {odd.iloc[0]!r} is neither a number nor a date")
    return dates.dt.year + (dates.dt.day_of_year - 1) / 365.25


def read_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Read every ``*.csv`` of a run's folder ``tables``, by name; none where the folder is not there.

    Raises
    ------
    ValueError
        A file that cannot be read; the message names it.
    """
    tables = {}
    for path in sorted(Path(folder).glob("*.csv")):
        if not path.read_text(encoding="utf-8").strip():  # how pandas writes a table without columns
            tables[path.stem] = pd.DataFrame()
            continue
        try:
            tables[path.stem] = pd.read_csv(path, dtype=dict.fromkeys(IDENTIFIERS, "str"))
        except ValueError as error:  # pandas' own errors of empty and malformed files are ValueErrors
            raise ValueError(f"{path}: not a table that can be read: {error}") from error
    return tables
