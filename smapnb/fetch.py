"""Getting the data: `plan` says what it would take before anything moves, `get` fetches, checks and resumes.

The only place of the package that uses the network. It reads no file that it fetches beyond its first bytes: what is
in them is the readers' business.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from pathlib import Path

from smapnb import fetch_earthdata as earthdata
from smapnb import fetch_errors as errors
from smapnb.fetch_errors import FetchError
from smapnb.fetch_job import Settings
from smapnb.fetch_lists import LAST, POINTS_FOLDER, WINDOW_SUFFIX, FileList, Wish, lists
from smapnb.fetch_manifest import NAME, read
from smapnb.fetch_many import Outcome, fetch_many, free_bytes
from smapnb.fetch_plan import Pace, Plan, plan, size_text
from smapnb.fetch_plan import text as plan_text
from smapnb.fetch_products import CONUS, PRODUCTS, SAMPLE, Product, needed
from smapnb.profile import Profile

__all__ = [
    "CONUS",
    "PRODUCTS",
    "FetchError",
    "Pace",
    "Plan",
    "fetch_sample_quietly",
    "get",
    "plan",
    "plan_profile",
    "plan_text",
    "wish",
]

# One try, no patience: the book is built without the sample as well.
IMPATIENT = Settings(tries=1, connect_timeout=5, read_timeout=10, slowest=50_000, slow_for=10)
QUIET_SECONDS = 300.0
SAMPLE_PIXELS = 412
SAMPLE_PERIOD = (date(2015, 4, 1), date(2018, 3, 31))


def wish(profile: Profile, *, window: bool = False, places: Sequence[tuple[float, float]] = ()) -> Wish:
    """Say what a profile needs, over the days of its data.

    Parameters
    ----------
    profile : Profile
    window : bool
        Take windows of the conterminous U.S. instead of whole granules where they are offered.
    places : sequence of (lat, lon)
        Take the series at these points instead of grids where they are offered.
    """
    return Wish(_products(profile), (profile.data.start, profile.data.end), CONUS if window else None, places)


def plan_profile(
    profile: Profile,
    pace: Pace | None = None,
    *,
    window: bool = False,
    places: Sequence[tuple[float, float]] = (),
) -> Plan:
    """Count what a profile takes; nothing is asked of any server.

    Parameters
    ----------
    profile : Profile
    pace : Pace, optional
    window, places
        As in `wish`. Without places the plan's point lines are for the profile's pixels, or the sample's 412.
    """
    asked = wish(profile, window=window, places=places)
    return plan(
        asked.products,
        asked.period,
        CONUS,
        points=len(places) or profile.data.pixels or SAMPLE_PIXELS,
        pace=pace,
        as_window=window,
        as_points=bool(places),
        title=f"{profile.name}, {profile.data.start}..{profile.data.end}",
    )


def describe(
    profile: Profile,
    root: Path,
    pace: Pace | None = None,
    *,
    window: bool = False,
    places: Sequence[tuple[float, float]] = (),
) -> str:
    """Put the plan of a profile into words, with the room on the disk that holds `root`."""
    if not _products(profile):
        return f"{profile.name}: nothing to fetch, the twin computes its own world\n"
    return plan_text(plan_profile(profile, pace, window=window, places=places), free_bytes(root))


def _products(profile: Profile) -> list[Product]:
    archive = profile.data.archive
    return needed(profile.data.source, profile.targets, archive.land_models if archive else ())


def read_places(path: Path) -> list[tuple[float, float]]:
    """Read latitudes and longitudes from a CSV file with the columns lat and lon.

    Raises
    ------
    FetchError
        No such file, no such column, or a value that is no latitude or longitude; file and line are named.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError:
        raise FetchError(f"{path}: no such file; --points needs a CSV file with the columns lat and lon") from None
    places = []
    for line, row in enumerate(rows, start=2):
        try:
            lat, lon = float(row["lat"]), float(row["lon"])
        except (KeyError, TypeError, ValueError):
            raise FetchError(f"{path}, line {line}: needs numbers in the columns lat and lon") from None
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):
            raise FetchError(f"{path}, line {line}: lat {lat}, lon {lon} is no place on Earth")
        places.append((lat, lon))
    if not places:
        raise FetchError(f"{path}: holds no point")
    return places


def get(
    asked: Wish,
    root: Path,
    *,
    parallel: int = 4,
    settings: Settings | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Fetch all files of a wish; what is there already is kept, what is missing is fetched or resumed.

    Parameters
    ----------
    asked : Wish
    root : Path
        Folder of the data.
    parallel : int
        Connections at once.
    settings : Settings, optional
    progress : bool
        Show a bar.
    say : callable
        Told one line a list of files.

    Raises
    ------
    FetchError
        The subclass says what went wrong; the message says what to do.
    """
    settings = settings or Settings()
    _check_room(asked, root)
    done = Outcome()
    incomplete: list[FetchError] = []
    log_in = cache(earthdata.log_in)
    for product in asked.products:
        missing = False
        try:
            for files in lists(product, asked, root, settings, log_in):
                if files.only_after_all and missing:
                    continue
                say(files.title)
                try:
                    part = _one_list(files, root, parallel, settings, progress)
                except errors.Incomplete as error:
                    if error.everywhere:
                        raise
                    missing = True
                    incomplete.append(error)  # the other lists may still be had
                    continue
                done.fetched += part.fetched
                done.kept += part.kept
                done.moved += part.moved
        except FetchError as error:
            if error.everywhere:
                raise
            incomplete.append(error)  # and so may the other products
    if incomplete:
        raise errors.Incomplete("; ".join(map(str, incomplete)))
    return done


def _one_list(files: FileList, root: Path, parallel: int, settings: Settings, progress: bool) -> Outcome:
    return fetch_many(
        files.jobs,
        root / files.folder,
        parallel=parallel,
        settings=settings,
        new_session=files.new_session,
        progress=progress,
    )


def _check_room(asked: Wish, root: Path) -> None:
    """Refuse what cannot fit before the first byte, by the plan's estimate less what is there already."""
    estimate = plan(
        asked.products,
        asked.period,
        asked.window,
        points=len(asked.places) or None,
        as_window=asked.window is not None,
        as_points=bool(asked.places),
    ).n_bytes
    folders = {_top(product, asked) for product in asked.products}
    there = sum(_bytes_there(root / folder) for folder in folders)
    free = free_bytes(root)
    if estimate - there > free:
        raise errors.DiskFull(
            f"{root}: about {size_text(estimate - there)} are to come, {size_text(free)} are free; make room, set "
            "SMAPNB_DATA to a larger disk, or fetch less (smapnb fetch plan says how); nothing was moved"
        )


def _top(product: Product, asked: Wish) -> str:
    """Name the folder that holds all of a product's lists."""
    if asked.places and product.point_fields:
        return POINTS_FOLDER
    windowed = asked.window is not None and product.collection
    return product.folder.split("{")[0] + (WINDOW_SUFFIX if windowed else "")


def _bytes_there(top: Path) -> int:
    """Sum what the manifests of a folder, and of those right below it, hold."""
    folders = [top, *(top.iterdir() if top.is_dir() else ())]
    return sum(entry["size"] for folder in folders if (folder / NAME).is_file() for entry in read(folder).values())


def fetch_sample_quietly(root: Path) -> str:
    """Try once to fetch the authors' sample where it is absent; never raises an error.

    Parameters
    ----------
    root : Path
        Folder of the data.

    Returns
    -------
    str
        One line: what was done, or why not; empty where the sample is there already.
    """
    folder = root / SAMPLE.folder
    if (folder / LAST).is_file():
        return ""
    try:
        moved = 0
        for files in lists(SAMPLE, Wish([SAMPLE], SAMPLE_PERIOD), root, IMPATIENT):
            outcome = fetch_many(
                files.jobs,
                root / files.folder,
                settings=IMPATIENT,
                progress=False,
                most_failures=1,
                deadline=QUIET_SECONDS,
            )
            moved += outcome.moved
    except Exception as error:  # whatever it is, the book is built without the sample
        why = " ".join(str(error).split()) if isinstance(error, FetchError) else type(error).__name__
        return f"the real sample was not fetched: {why} (again: smapnb fetch get conus412)"
    return f"the real sample was fetched: {size_text(moved)} into {folder}"
