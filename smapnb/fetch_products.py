"""What is fetched: one row a product, with its version, size and address, and which products a data source needs.

The only place where a granule's size or an archive's address is written. It asks no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from smapnb import grid, places, profile

Every = Literal["hour", "3 hours", "day", "year", "once"]
Archive = Literal["earthdata", "gesdisc", "ncei", "isric", "github"]
PER_DAY = {"hour": 24, "3 hours": 8, "day": 1}

# In the order in which archives ask for a box: west, south, east, north.
WEST, EAST, SOUTH, NORTH = grid.CONUS
CONUS = (WEST, SOUTH, EAST, NORTH)

# NLDAS-2 README (GES DISC): GRIB-1 volume of a year of hourly files; Noah's netCDF-4 files are 7 per cent larger.
HOURS_A_YEAR = 8766
_GRIB = "GRIB-1 volume of a year over its 8766 hours (NLDAS-2 README, GES DISC); netCDF-4 is a little larger"


@dataclass(frozen=True)
class Product:
    """One product of one archive.

    Attributes
    ----------
    short_name, version : str
        As in NASA's catalogue, else the owner's.
    title : str
    archive : str
        Who holds it, and so how it is asked for.
    start, end : date, optional
        First and last day held; an open end is None, and so are both for what has no time.
    region : str
    every, each : str, int
        Time step of the files, and how many there are of each step.
    closing : int
        Files after the end of a period that its last day needs (an hourly file closes the hour before its stamp).
    size : int, optional
        Bytes of a file; None where no source tells.
    size_source : str
    url : str
        Template with the fields ``{day}`` (a date), ``{hour}``, ``{name}``; empty where the catalogue gives it.
    kind : str
        Kind of content, as in `fetch_job.SIGNATURES`.
    folder : str
        Template of the folder below that of the data; its files have one manifest.
    reader : str
        What reads it.
    collection : str
        Concept id for OPeNDAP, where windows are offered.
    window_fields : tuple of str
        What a window takes.
    point_fields : tuple of str
        What the point service takes.
    """

    short_name: str
    version: str
    title: str
    archive: Archive
    every: Every
    size: int | None
    size_source: str
    url: str
    kind: str
    folder: str
    reader: str
    start: date | None = None
    end: date | None = None
    region: str = "global"
    each: int = 1
    closing: int = 0
    collection: str = ""
    window_fields: tuple[str, ...] = ()
    point_fields: tuple[str, ...] = ()

    def days(self, start: date, end: date) -> tuple[date, date] | None:
        """Part of a period (both days inclusive) that the product covers; None where there is none."""
        first, last = max(start, self.start or start), min(end, self.end or end)
        return (first, last) if first <= last else None

    def granules(self, start: date, end: date) -> int:
        """Count the files of a period, from the calendar alone."""
        if self.every == "once":
            return self.each
        covered = self.days(start, end)
        if covered is None:
            return 0
        if self.every == "year":
            return self.each * (covered[1].year - covered[0].year + 1)
        n_days = (covered[1] - covered[0]).days + 1
        return self.each * PER_DAY[self.every] * n_days + self.closing


# NSIDC's addresses hold a processing counter, so that they come from the catalogue; so do its windows' names.
OPENDAP = "https://opendap.earthdata.nasa.gov/collections"
GES_DISC = "https://hydro1.gesdisc.eosdis.nasa.gov/data/NLDAS"
NCEI = "https://www.ncei.noaa.gov/pub/data/uscrn/products"
SAMPLE_COMMIT = "11e7831fce181abc01f26772a6dd066beb9d34df"


def _nldas(model: str, title: str, size: int, source: str, points: tuple[str, ...]) -> Product:
    name = f"NLDAS_{model}0125_H"
    return Product(
        short_name=name,
        version="2.0",
        title=title,
        archive="gesdisc",
        every="hour",
        closing=1,
        start=date(1979, 1, 2),  # the first whole day
        region="North America, 0.125 degrees, 224 x 464",
        size=size,
        size_source=source,
        url=f"{GES_DISC}/{name}.2.0/{{day:%Y}}/{{day:%j}}/{name}.A{{day:%Y%m%d}}.{{hour:02d}}00.020.nc",
        kind="hdf5",
        folder=f"nldas/{name}.2.0/{{day:%Y}}",
        reader="smapnb.sources.nldas",
        point_fields=points,
    )


# Versions of SMAP's products are settings of a profile, and these their defaults.
_USUAL = profile.Archive()
_L3, _L4 = _USUAL.smap_l3_version, _USUAL.smap_l4_version

_ALL = (
    Product(
        short_name="SPL3SMP",
        version=_L3,
        title="SMAP L3 radiometer soil moisture, daily, 36 km",
        archive="earthdata",
        every="day",
        start=date(2015, 3, 31),
        size=30_000_000,
        size_source="31 granules of version 008 are 0.93 GB (NSIDC's download tutorial)",
        url="",
        kind="hdf5",
        folder=places.smap_folder("SPL3SMP", _L3),
        reader="smapnb.sources.smap.open_l3",
    ),
    Product(
        short_name="SPL4SMGP",
        version=_L4,
        title="SMAP L4 root-zone and surface moisture, 3-hourly, 9 km",
        archive="earthdata",
        every="3 hours",
        start=date(2015, 3, 31),
        size=143_000_000,
        size_source="granules of version 008 in NSIDC's catalogue, 2025",
        url="",
        kind="hdf5",
        folder=places.smap_folder("SPL4SMGP", _L4),
        reader="smapnb.sources.smap.open_l4",
        collection="C3480440870-NSIDC_CPRD",
        window_fields=("/Geophysical_Data/sm_rootzone",),
    ),
    Product(
        short_name="SPL4SMLM",
        version=_L4,
        title="SMAP L4 constants of the land model, 9 km",
        archive="earthdata",
        every="once",
        size=877_000_000,
        size_source="at most: 35 uncompressed float32 fields of 1624 x 3856 cells",
        url="",
        kind="hdf5",
        folder=places.smap_folder("SPL4SMLM", _L4),
        reader="smapnb.sources.smap",
    ),
    _nldas(
        "FORA",
        "NLDAS-2 forcing, hourly",
        14_300_000_000 // HOURS_A_YEAR,
        _GRIB,
        ("Rainf", "Tair", "Qair", "Wind_E", "Wind_N", "LWdown", "SWdown"),
    ),
    _nldas(
        "NOAH",
        "NLDAS-2 Noah land model, hourly",
        7_350_000,
        "a netCDF-4 file of 2026, 7.35 MB in 4.8 s",
        ("SoilM_0_10cm", "SoilM_0_100cm"),
    ),
    _nldas(
        "VIC",
        "NLDAS-2 VIC land model, hourly",
        52_500_000_000 // HOURS_A_YEAR,
        _GRIB,
        ("SoilM_layer1", "SoilM_0_100cm"),
    ),
    Product(
        short_name="USCRN daily01",
        version="CRND0103",
        title="U.S. Climate Reference Network, daily",
        archive="ncei",
        every="year",
        each=131,
        start=date(2000, 1, 1),
        region="131 stations of the conterminous U.S. in 2020, fewer before",
        size=79_205,
        size_source="the file of Austin 33 NW, 2015",
        url=f"{NCEI}/daily01/{{day:%Y}}/{{name}}",
        kind="text",
        folder="uscrn",
        reader="smapnb.sources.uscrn",
    ),
    Product(
        short_name="WISE30sec",
        version="1",
        title="ISRIC-WISE soil properties, 30 arc-seconds",
        archive="isric",
        every="once",
        size=None,
        size_source="its owner does not say; look at https://files.isric.org/public/wise/",
        url="https://files.isric.org/public/wise/wise_30sec_v1.zip",
        kind="zip",
        folder="wise",
        reader="smapnb.sources.wise",
    ),
    Product(
        short_name="geolearn sample",
        version=SAMPLE_COMMIT[:12],
        title="The paper's authors' sample: 412 pixels, three years",
        archive="github",
        every="once",
        each=78,
        region="412 cells of 36 km, conterminous U.S.",
        size=442_000,
        size_source="78 files are 34.5 MB",
        url=f"https://raw.githubusercontent.com/fkwai/geolearn/{SAMPLE_COMMIT}/example/SMAP/data/{{name}}",
        kind="text",
        folder="conus412",
        reader="smapnb.sources.authors_csv",
    ),
)
PRODUCTS = {product.short_name: product for product in _ALL}
SAMPLE = PRODUCTS["geolearn sample"]

# Source of a profile's data -> what it needs; by target where it depends on that.
_LAND_MODELS = {"noah": "NLDAS_NOAH0125_H", "vic": "NLDAS_VIC0125_H"}
# Level 3 also gives static inputs (its flags), whichever the target.
# SPL4SMLM is in nobody's list: soils are ISRIC's, as in the paper, and no step asks for the land model's constants.
_TARGETS = {"surface": ("SPL3SMP",), "rootzone": ("SPL3SMP", "SPL4SMGP")}


def needed(source: str, targets: Sequence[str], land_models: Sequence[str] = ("noah", "vic")) -> list[Product]:
    """Products that a data source (``twin``, ``conus412`` or full size, ``conus``) needs for these targets."""
    if source == "twin":
        return []
    if source == "conus412":
        return [SAMPLE]
    names = [name for target in targets for name in _TARGETS[target]]
    names += ["NLDAS_FORA0125_H", *(_LAND_MODELS[model] for model in land_models), "USCRN daily01", "WISE30sec"]
    return [PRODUCTS[name] for name in dict.fromkeys(names)]


def of_versions(products: Sequence[Product], archive: profile.Archive) -> list[Product]:
    """Give SMAP's products the versions that a profile asks for, and so their folders and the collection of windows.

    The collection of another version than the default is unknown, and so empty, where the profile does not name it.
    """
    asked = places.smap_versions(archive)
    return [
        _of_version(product, asked[product.short_name], archive.smap_l4_collection)
        if product.short_name in asked
        else product
        for product in products
    ]


def _of_version(product: Product, version: str, collection: str | None) -> Product:
    folder = places.smap_folder(product.short_name, version)
    if not product.collection:
        return replace(product, version=version, folder=folder)
    known = product.collection if version == product.version else ""
    return replace(product, version=version, folder=folder, collection=collection or known)


def hours(product: Product, start: date, end: date) -> list[tuple[date, int]]:
    """Day and hour of each file of an hourly product in a period, its closing file included."""
    covered = product.days(start, end)
    if covered is None:
        return []
    n_days = (covered[1] - covered[0]).days + 1
    stamps = [(covered[0] + timedelta(n), hour) for n in range(n_days) for hour in range(24)]
    return stamps + [(covered[1] + timedelta(1), hour) for hour in range(product.closing)]
