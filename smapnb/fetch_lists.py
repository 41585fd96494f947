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
from typing import Any

import requests

from smapnb import fetch_earthdata as earthdata
from smapnb import fetch_errors as errors
from smapnb.fetch_download import read_text
from smapnb.fetch_job import Job, Settings
from smapnb.fetch_plan import Window
from smapnb.fetch_products import Product, hours
from smapnb.places import POINTS, window_suffix

STATIONS = "stations.tsv"
# States and territories of the list that lie outside the conterminous U.S.
ELSEWHERE = {"AK", "HI", "PR", "VI", "GU", "AS", "MP"}
LAST = "CONUSv4f1/crd.csv"


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

    @property
    def window_suffix(self) -> str:
        """End of the name of a folder that holds its windows; nothing where there are none."""
        if self.window is None:
            return ""
        west, south, east, north = self.window
        return window_suffix((west, east, south, north))


def lists(
    product: Product, wish: Wish, root: Path, settings: Settings, log_in: Callable[[], Any] = earthdata.log_in
) -> Iterator[FileList]:
    """Yield the lists of files of a product; each is to be fetched before the next is asked for.

    Parameters
    ----------
    product : Product
    wish : Wish
        Period, window and places.
    root : Path
        Folder of the data.
    settings : Settings
    log_in : callable
        Logs in at Earthdata, if that is needed.

    Raises
    ------
    FetchError
        No account, or a catalogue or listing that does not answer.
    """
    if wish.places and product.point_fields:
        jobs = earthdata.points(product, wish.places, *wish.period)
        if jobs:
            yield FileList(f"{product.short_name}, points", POINTS, jobs, earthdata.point_sessions(settings))
    elif product.archive == "earthdata":
        yield from _catalogued(product, wish, log_in)
    elif product.archive == "gesdisc":
        yield from _hourly(product, wish.period, log_in)
    elif product.archive == "ncei":
        yield from _stations(product, wish.period, root, settings)
    elif product.archive == "github":
        yield from _sample(product)
    else:
        job = Job(product.url, product.url.rsplit("/", 1)[-1], product.kind, product=product.short_name)
        yield FileList(product.short_name, product.folder, [job])


def _catalogued(product: Product, wish: Wish, log_in: Callable[[], Any]) -> Iterator[FileList]:
    covered = wish.period if product.every == "once" else product.days(*wish.period)
    if covered is None:
        return
    library = log_in()
    jobs = earthdata.granules(library, product, *covered)
    title = f"{product.short_name}: {len(jobs)} of {product.granules(*covered)} granules are in the catalogue"
    folder = product.folder
    if wish.window and product.collection:
        jobs = earthdata.windows(jobs, product, wish.window)
        title, folder = f"{title}, windows", folder + wish.window_suffix
    yield FileList(title, folder, jobs, earthdata.guarded(library.get_requests_https_session))


def _hourly(product: Product, period: tuple[date, date], log_in: Callable[[], Any]) -> Iterator[FileList]:
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
                    earthdata=True,
                )
            )
        folder = product.folder.format(day=date(year, 1, 1))
        new_session = earthdata.guarded(log_in().get_requests_https_session)
        yield FileList(f"{product.short_name} {year}", folder, jobs, new_session)


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
    if not (root / product.folder / STATIONS).is_file():
        return  # why is known to the caller, whom the first list has failed
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
                grows_until=date(year, 12, 31),
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
