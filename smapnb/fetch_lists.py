"""From products to lists of files: calendars, listings, checksums, the catalogue; each list has its folder and session.

Lists come one after another, since some can only be made when the one before has arrived.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from itertools import groupby
from pathlib import Path

import requests

from smapnb import fetch_earthdata as earthdata
from smapnb import fetch_errors as errors
from smapnb.fetch_download import read_text
from smapnb.fetch_job import Job, Settings
from smapnb.fetch_plan import Window
from smapnb.fetch_products import Product, hours

STATIONS = "stations.tsv"
# States and territories of the list that lie outside the conterminous U.S.
ELSEWHERE = {"AK", "HI", "PR", "VI", "GU", "AS", "MP"}
LAST = "CONUSv4f1/crd.csv"
POINTS_FOLDER = "nldas_points"


@dataclass(frozen=True)
class FileList:
    """Files that go into one folder, with what makes their sessions."""

    title: str
    folder: str
    jobs: list[Job]
    new_session: Callable[[], requests.Session] = requests.Session
    only_after_all: bool = False  # not to be fetched while files of the lists before are missing


@dataclass(frozen=True)
class Wish:
    """What is to be fetched, and how.

    Attributes
    ----------
    products : sequence of Product
    period : (date, date)
        First and last day, both inclusive.
    window : tuple, optional
        Take windows (west, south, east, north) where a product offers them.
    places : sequence of (lat, lon), optional
        Take points where a product offers them.
    """

    products: Sequence[Product]
    period: tuple[date, date]
    window: Window | None = None
    places: Sequence[tuple[float, float]] = ()


def lists(wish: Wish, root: Path, settings: Settings) -> Iterator[FileList]:
    """Yield the lists of files of a wish; each is to be fetched before the next is asked for.

    Raises
    ------
    FetchError
        No account, or a catalogue or listing that does not answer.
    """
    library = None
    for product in wish.products:
        if wish.places and product.point_fields:
            new_session = earthdata.point_sessions(settings)
            jobs = earthdata.points(product, wish.places, *wish.period)
            yield FileList(f"{product.short_name}, points", POINTS_FOLDER, jobs, new_session)
        elif product.archive in ("earthdata", "gesdisc"):
            library = library or earthdata.log_in()
            made = (
                _catalogued(library, product, wish) if product.archive == "earthdata" else _hourly(product, wish.period)
            )
            for title, folder, jobs in made:
                yield FileList(title, folder, jobs, library.get_requests_https_session)
        elif product.archive == "ncei":
            yield from _stations(product, wish.period, root, settings)
        elif product.archive == "github":
            yield from _sample(product)
        else:
            job = Job(product.url, product.url.rsplit("/", 1)[-1], product.kind, product=product.short_name)
            yield FileList(product.short_name, product.folder, [job])


def _catalogued(library: object, product: Product, wish: Wish) -> Iterator[tuple[str, str, list[Job]]]:
    covered = wish.period if product.every == "once" else product.days(*wish.period)
    if covered is None:
        return
    jobs = earthdata.granules(library, product, *covered)
    expected = product.granules(*covered)
    title = f"{product.short_name}: {len(jobs)} of {expected} granules are in the catalogue"
    if wish.window and product.collection:
        yield title + ", windows", f"{product.folder}-window", earthdata.windows(jobs, product, wish.window)
    else:
        yield title, product.folder, jobs


def _hourly(product: Product, period: tuple[date, date]) -> Iterator[tuple[str, str, list[Job]]]:
    """Make a list a year, so that no list and no manifest grows beyond 8785 files."""
    for year, stamps in groupby(hours(product, *period), key=lambda stamp: stamp[0].year):
        jobs = []
        for day, hour in stamps:
            url = product.url.format(day=day, hour=hour)
            path = f"{day:%j}/{url.rsplit('/', 1)[-1]}"
            jobs.append(
                Job(
                    url,
                    path,
                    product.kind,
                    about=product.size,
                    product=product.short_name,
                    version=product.version,
                )
            )
        yield f"{product.short_name} {year}", product.folder.format(day=date(year, 1, 1)), jobs


def _stations(product: Product, period: tuple[date, date], root: Path, settings: Settings) -> Iterator[FileList]:
    """Yield the network's list first, then each year's files of its stations that the archive lists."""
    covered = product.days(*period)
    if covered is None:
        return
    base = product.url.split("/daily01/")[0]
    yield FileList(
        "USCRN stations",
        product.folder,
        [Job(f"{base}/{STATIONS}", STATIONS, product=product.short_name)],
    )
    stems = station_stems(root / product.folder / STATIONS)
    for year in range(covered[0].year, covered[1].year + 1):
        address = product.url.format(day=date(year, 1, 1), name="")
        with requests.Session() as session:
            page = read_text(address, f"listing of {year}", session, settings)
        names = listed(page, year, stems)
        if not names:
            raise errors.NotFound(
                f"{product.short_name} {year}: {errors.shown(address)} lists no station of the network"
            )
        jobs = [
            Job(
                address + name,
                f"{year}/{name}",
                product.kind,
                about=product.size,
                product=product.short_name,
                version=product.version,
            )
            for name in names
        ]
        yield FileList(f"{product.short_name} {year}: {len(jobs)} stations", product.folder, jobs)


def station_stems(path: Path) -> set[str]:
    """Station part of the file names, as ``TX_Austin_33_NW``, of the network proper in the conterminous U.S.

    Raises
    ------
    WrongContent
        A column is missing.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        wanted = ("COUNTRY", "STATE", "LOCATION", "VECTOR", "NETWORK")
        missing = set(wanted) - set(rows.fieldnames or ())
        if missing:
            raise errors.WrongContent(f"{path}: no columns {sorted(missing)}")
        return {
            "_".join((row["STATE"], row["LOCATION"], row["VECTOR"])).replace(" ", "_")
            for row in rows
            if row["NETWORK"] == "USCRN" and row["COUNTRY"] == "US" and row["STATE"] not in ELSEWHERE
        }


def listed(page: str, year: int, stems: set[str]) -> list[str]:
    """Daily files of a year that a listing of the archive names and that belong to these stations."""
    names = set(re.findall(rf'href="(CRND0103-{year}-[^"/]+\.txt)"', page))
    return sorted(name for name in names if name.removeprefix(f"CRND0103-{year}-").removesuffix(".txt") in stems)


def _sample(product: Product) -> Iterator[FileList]:
    """Put the file by which the sample is recognised last: where it is, all is."""
    jobs = [
        Job(
            product.url.format(name=path),
            path,
            sha256=sha256,
            about=product.size,
            product=product.short_name,
            version=product.version,
        )
        for path, sha256 in sample_checksums().items()
    ]
    yield FileList(product.short_name, product.folder, [job for job in jobs if job.path != LAST])
    last = [job for job in jobs if job.path == LAST]
    yield FileList(f"{product.short_name}, pixels", product.folder, last, only_after_all=True)


def sample_checksums() -> dict[str, str]:
    """SHA-256 of each file of the authors' sample, by path."""
    text = (resources.files("smapnb") / "data" / "conus412.sha256").read_text(encoding="ascii")
    return {path: sha256 for sha256, path in (line.split() for line in text.splitlines())}
