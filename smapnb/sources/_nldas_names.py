"""What the NLDAS-2 products call what we need, in each of their forms, and how a file's name tells what is in it.

A helper of `smapnb.sources.nldas`; it opens no file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

PRODUCTS = ("FORA", "NOAH", "VIC")
MASS = frozenset({"kgm-2", "kg/m2", "mm"})
POWER = frozenset({"wm-2", "w/m2"})
SPEED = frozenset({"ms-1", "m/s"})
RATIO = frozenset({"kgkg-1", "kg/kg"})


class NldasError(ValueError):
    """A file does not hold what it should; the message names it."""


@dataclass(frozen=True)
class Field:
    """One variable of ours in one product.

    Attributes
    ----------
    name, product : str
        Our name; FORA, NOAH or VIC.
    netcdf, short : str
        Name in version 2.0 (netCDF-4) and in version 002 (point service; single-variable files write it in lower case).
    grib : tuple of int
        indicatorOfParameter of NCEP's table 130, upper and lower level.
    units : frozenset of str
        The units that the file may state, without blanks, ``^`` and ``*``, in lower case.
    factor : float
        Turns a mean of the hours into our units.
    """

    name: str
    product: str
    netcdf: str
    short: str
    grib: tuple[int, int, int]
    units: frozenset[str]
    factor: float = 1.0


# Levels and table as in NASA's README of the products (2014); VIC's first layer is coded as level 1 to 1, which is how
# NASA's Land Verification Toolkit reads it. SoilM_0_100cm is not RootMoist, whose depth is that of the roots.
# A layer of d metres that holds w kg m-2 of water holds w / (1000 d) m3 m-3.
FIELDS = (
    # Hourly totals: 24 times their mean is the day's.
    Field("precipitation", "FORA", "Rainf", "APCPsfc", (61, 0, 0), MASS, 24.0),
    Field("air_temperature", "FORA", "Tair", "TMP2m", (11, 2, 2), frozenset({"k"})),
    Field("longwave_down", "FORA", "LWdown", "DLWRFsfc", (205, 0, 0), POWER),
    Field("shortwave_down", "FORA", "SWdown", "DSWRFsfc", (204, 0, 0), POWER),
    Field("specific_humidity", "FORA", "Qair", "SPFH2m", (51, 2, 2), RATIO),
    Field("wind_u", "FORA", "Wind_E", "UGRD10m", (33, 10, 10), SPEED),
    Field("wind_v", "FORA", "Wind_N", "VGRD10m", (34, 10, 10), SPEED),
    Field("ssm_noah", "NOAH", "SoilM_0_10cm", "SOILM0-10cm", (86, 0, 10), MASS, 1 / 100),
    Field("rzsm_noah", "NOAH", "SoilM_0_100cm", "SOILM0-100cm", (86, 0, 100), MASS, 1 / 1000),
    # The thickness of VIC's layers is in no file; 10 cm is assumed, as the authors of the paper did.
    Field("ssm_vic", "VIC", "SoilM_layer1", "SOILM1", (86, 1, 1), MASS, 1 / 100),
    Field("rzsm_vic", "VIC", "SoilM_0_100cm", "SOILM0-100cm", (86, 0, 100), MASS, 1 / 1000),
)
# What stands before the variable where a name holds the product too: NLDAS_FORA0125_H_002_apcpsfc, ..._H_2_0_Rainf.
PREFIX = re.compile(r"^NLDAS_(?P<product>[A-Z]+)0125_H_(?:\d{3}|\d_\d)_", re.IGNORECASE)
PRODUCT = re.compile(r"NLDAS_(?P<product>[A-Z]+)0125_(?P<period>MC|M|H)", re.IGNORECASE)
HOURLY = re.compile(
    r"NLDAS_(?P<product>[A-Z]+)0125_H\.A(?P<date>\d{8})\.(?P<hour>\d{2})00\.(?P<version>\d{3})\.(?:.*\.)?(?:grb|grib|nc4?)$"
)
SINGLE = re.compile(
    r"NLDAS_(?P<product>[A-Z]+)0125_H_(?P<version>\d{3})_(?P<variable>\w+)\.(?P<date>\d{8})T(?P<hour>\d{2})00\.(?:.*\.)?nc4?$"
)


@dataclass(frozen=True)
class Granule:
    """What the name of an hourly file says; `variable` is empty where the file holds all of the product's."""

    path: Path
    product: str
    stamp: pd.Timestamp
    version: str
    variable: str = ""


def fields_of(product: str, names: list[str] | None = None) -> list[Field]:
    """Fields of one product, all or those of our `names`, in the table's order.

    Raises
    ------
    NldasError
        A name that the product does not have, or no name.
    """
    known = {field.name: field for field in FIELDS if field.product == product}
    unknown = [name for name in names or () if name not in known]
    if unknown or names == []:
        raise NldasError(f"NLDAS {product} has no {unknown or 'empty list'} here; there are {list(known)}")
    return [field for name, field in known.items() if names is None or name in names]


def key_of(name: str) -> str:
    """Bring a variable's name, in any form, to the one that `keys` compares."""
    return PREFIX.sub("", name).lower().replace("-", "_")


def keys(field: Field) -> tuple[str, str]:
    """Both names of a field as `key_of` writes them."""
    return key_of(field.netcdf), key_of(field.short)


def check_units(field: Field, units: str, where: str) -> None:
    """Hold the units that a file states to the table; a file that states none is believed.

    Raises
    ------
    NldasError
        Other units, such as a rate per second where an hourly total is due.
    """
    plain = units.lower().translate(str.maketrans("", "", " ^*"))
    if plain and plain not in field.units:
        raise NldasError(f"{where}: {field.netcdf} is in {units!r}, where {sorted(field.units)[0]} is due")


def granule_of(path: Path) -> Granule | None:
    """Tell product, hour, version and variable by the name of a file; None: it is not named like an hourly file.

    Raises
    ------
    NldasError
        A name in that form with a date or hour that is none.
    """
    found = HOURLY.search(path.name) or SINGLE.search(path.name)
    if found is None:
        return None
    parts = found.groupdict()
    stamp = pd.to_datetime(parts["date"] + parts["hour"], format="%Y%m%d%H", errors="coerce")
    if pd.isna(stamp):
        raise NldasError(f"{path}: {parts['date']}.{parts['hour']}00 in the name is no date and hour")
    return Granule(path, parts["product"].upper(), stamp, parts["version"], key_of(parts.get("variable", "")))
