"""Tables of ISRIC-WISE, of either version, to one row of topsoil properties a map unit.

A helper of `smapnb.sources.wise`; it opens no raster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# Sand, silt and clay in % by mass, bulk density in kg dm-3, available water capacity in cm m-1.
OURS = {"sand": "SDTO", "silt": "STPC", "clay": "CLPC", "bulk_density": "BULK", "water_capacity": "TAWC"}
# The map unit: WISE30sec, 5 by 5 arc-minutes.
UNIT_COLUMNS = ("NEWSUID", "SUID")
TOPSOIL = "D1"
TOPSOIL_DEPTHS = {"TopDep": 0.0, "BotDep": 20.0}
# The published file of WISE30sec has the first, misspelt.
CODE_COLUMNS = ("pixel_vaue", "pixel_value")
NAME_COLUMN = "description"
TEXTURE = ("sand", "silt", "clay")
TEXTURE_TOLERANCE = 2.0  # %; the three are rounded to whole per cent


class WiseError(ValueError):
    """A file does not hold what it should; the message names it."""


@dataclass(frozen=True)
class Units:
    """Topsoil of the map units.

    Attributes
    ----------
    table : pandas.DataFrame
        Index: map unit (str); columns: our names; NaN where no soil of the unit has a value.
    n_dropped : dict
        By our name, the soil components whose code was negative.
    n_texture_off : int
        Units whose sand, silt and clay are more than 2 % off 100.
    """

    table: pd.DataFrame
    n_dropped: dict[str, int]
    n_texture_off: int


def read_units(path: Path) -> Units:
    """Read the soils of the map units and average their topmost layer by their proportions.

    Raises
    ------
    FileNotFoundError, WiseError
        No such file; a column that is lacking, with those that are there; no row of layer D1; a value or proportion
        that is no number, a proportion outside 0 to 100; another depth than 0 to 20 cm; a component twice.
    """
    header = _header(path)
    unit = next((header[name] for name in map(str.upper, UNIT_COLUMNS) if name in header), None)
    optional = [name for name in ("SCID", *TOPSOIL_DEPTHS) if name.upper() in header]
    needed = ["PROP", "Layer", *OURS.values()]
    lacking = [name for name in needed if name.upper() not in header]
    if unit is None or lacking:
        lacking = [*([] if unit else [" or ".join(UNIT_COLUMNS)]), *lacking]
        raise WiseError(f"{path}: no column {', '.join(lacking)}; there are {', '.join(header.values())}")
    names = {header[name.upper()]: name for name in (*needed, *optional)} | {unit: "unit"}
    table = _texts(path, set(names)).rename(columns=names)
    table = table[table["Layer"].str.strip() == TOPSOIL]
    if table.empty:
        raise WiseError(f"{path}: no row of layer {TOPSOIL}")
    table = table.assign(unit=table["unit"].str.strip())
    for name in ("PROP", *OURS.values(), *[name for name in TOPSOIL_DEPTHS if name in optional]):
        table[name] = _numbers(path, table[name], name)
    _hold(path, table)
    return _averaged(table)


def read_codes(path: Path) -> pd.Series:
    """Read which map unit each code of the raster stands for: Series of str by int.

    Raises
    ------
    FileNotFoundError, WiseError
        No such file; a column that is lacking; a code that is no whole number or is there twice.
    """
    header = _header(path)
    code = next((header[name.upper()] for name in CODE_COLUMNS if name.upper() in header), None)
    name = header.get(NAME_COLUMN.upper())
    if code is None or name is None:
        lacking = " or ".join(CODE_COLUMNS) if code is None else NAME_COLUMN
        raise WiseError(f"{path}: no column {lacking}; there are {', '.join(header.values())}")
    table = _texts(path, {code, name})
    codes = _numbers(path, table[code], code)
    for bad, what in ((codes % 1 != 0, "is no whole number"), (codes.duplicated(), "is there twice")):
        if bad.any():
            at = int(np.argmax(bad.to_numpy()))
            raise WiseError(f"{path}, line {table.index[at]}: code {table[code].iloc[at]} {what}")
    return pd.Series(table[name].str.strip().to_numpy(), index=codes.astype(np.int64).to_numpy())


def _header(path: Path) -> dict[str, str]:
    """Columns by their names in capitals, to which the tables are compared."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    if not line.strip():
        raise WiseError(f"{path}: empty file")
    if line.lstrip().startswith("<"):
        raise WiseError(f"{path}: a web page in place of data; fetch it anew")
    columns = [column.strip().strip('"') for column in line.rstrip("\r\n").split(_separator(path))]
    return {column.upper(): column for column in columns}


def _texts(path: Path, columns: set[str]) -> pd.DataFrame:
    """Columns by their names without blanks, all cells as text; the index is the line of the file, from 1."""
    try:
        table = pd.read_csv(
            path,
            sep=_separator(path),
            usecols=lambda name: name.strip() in columns,
            index_col=False,  # rows may end with a separator that the header lacks
            dtype="str",
            encoding="utf-8-sig",
            encoding_errors="replace",
            keep_default_na=False,
            skipinitialspace=True,
        )
    except pd.errors.ParserError as error:
        raise WiseError(f"{path}: damaged or no table ({error})") from error
    return table.rename(columns=str.strip).set_axis(table.index + 2)


def _separator(path: Path) -> str:
    """Tell the mark that parts the header: the files of ISRIC have commas or tabs, exports of the data base others."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    return max("\t,;|", key=line.count)


def _numbers(path: Path, texts: pd.Series, name: str) -> pd.Series:
    numbers = pd.to_numeric(texts, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(dtype=np.float64))
    if bad.any():
        line = texts.index[bad][0]
        raise WiseError(f"{path}, line {line}: {name} is {texts.loc[line]!r}, not a number (missing is negative)")
    return numbers.astype(np.float64)


def _hold(path: Path, table: pd.DataFrame) -> None:
    """Refuse what cannot be averaged."""
    tests: dict[str, Callable[[], pd.Series]] = {
        "PROP {PROP} is not in 0..100": lambda: ~table["PROP"].between(0, 100),
        "the layer reaches from {TopDep} to {BotDep} cm, not from 0 to 20": lambda: (
            # A shallow soil may end above 20 cm; what is no soil may have a code here too.
            (table["TopDep"] > TOPSOIL_DEPTHS["TopDep"]) | (table["BotDep"] > TOPSOIL_DEPTHS["BotDep"])
        ),
        "component {SCID} of {unit} is there twice": lambda: table.duplicated(["unit", "SCID"]),
    }
    for message, test in tests.items():
        if all(f"{{{name}}}" not in message or name in table for name in ("SCID", "TopDep", "BotDep")):
            bad = test()
            if bad.any():
                at = int(np.argmax(bad.to_numpy()))
                row = {str(name): value for name, value in table.iloc[at].items()}
                raise WiseError(f"{path}, line {table.index[at]}: {message.format(**row)}")


def _averaged(table: pd.DataFrame) -> Units:
    """Mean over the soils of each unit, weighted by PROP; a negative code is out before, with its weight."""
    out, dropped = {}, {}
    units = table["unit"]
    for name, column in OURS.items():
        known = table[column] >= 0
        weight = table["PROP"].where(known, 0.0)
        total = (table[column].where(known, 0.0) * weight).groupby(units).sum()
        by_unit = weight.groupby(units).sum()
        out[name] = total / by_unit.where(by_unit > 0)
        dropped[name] = int((~known).sum())
    means = pd.DataFrame(out)
    texture = means[list(TEXTURE)].sum(axis=1, skipna=False)
    return Units(means, dropped, int(((texture - 100).abs() > TEXTURE_TOLERANCE).sum()))
