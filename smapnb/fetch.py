"""Getting the data: `plan` says what it would take before anything moves, `get` fetches, checks and resumes.

The only place of the package that uses the network. It reads no file that it fetches beyond its first bytes: what is
in them is the readers' business.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path

from smapnb import fetch_earthdata as earthdata
from smapnb import fetch_errors as errors
from smapnb import places
from smapnb.fetch_errors import FetchError
from smapnb.fetch_job import Settings
from smapnb.fetch_lists import LAST, FileList, Wish, lists
from smapnb.fetch_manifest import NAME, read
from smapnb.fetch_many import Outcome, fetch_many, free_bytes
from smapnb.fetch_plan import Pace, Plan, Window, plan, size_text
from smapnb.fetch_plan import text as plan_text
from smapnb.fetch_products import CONUS, PRODUCTS, SAMPLE, Product, needed, of_versions
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
SAMPLE_PERIOD = (date(2015, 4, 1), date(2018, 3, 31))


def wish(profile: Profile, *, window: bool = False) -> Wish:
    """Say what a profile needs, over the days of its data; series at points if it takes those.

    Parameters
    ----------
    profile : Profile
    window : bool
        Take windows around the profile's pixels instead of whole granules where they are offered.

    Raises
    ------
    FetchError
        Series are wanted, and no pixel lies on the NLDAS grid; windows of a version whose collection is not known.
    smapnb.grid.GridError
        A region that does not hold, or without a cell.
    """
    period, products = (profile.data.start, profile.data.end), _products(profile)
    if profile.data.archive is None:
        return Wish(products, period, CONUS if window else None)
    box = _window(profile)
    for product in products:
        if window and product.window_fields and not product.collection:
            raise FetchError(
                f"{product.short_name} version {product.version}: the collection from which windows are cut is not "
                "known; name its id in NASA's catalogue, -p data.archive.smap_l4_collection=C...-NSIDC_CPRD, or take "
                "whole granules, without --window"
            )
    points = places.nldas_points(profile)
    if not points and profile.archive.nldas != "grids":
        raise FetchError(f"{profile.name}: none of its pixels lies on the NLDAS grid, {places.nldas_extent()}")
    return Wish(products, period, box if window else None, points)


def plan_profile(profile: Profile, pace: Pace | None = None, *, window: bool = False) -> Plan:
    """Count what a profile takes; nothing is asked of any server.

    Parameters
    ----------
    profile : Profile
    pace : Pace, optional
    window
        As in `wish`.
    """
    asked = wish(profile, window=window)
    cut, n_points = CONUS, len(asked.places)
    if profile.data.archive is not None:
        cut = _window(profile)
        n_points = n_points or places.nldas_cells(places.cells(profile), "centre").size
    return plan(
        asked.products,
        asked.period,
        cut,
        points=n_points,
        pace=pace,
        as_window=window,
        as_points=bool(asked.places),
        title=f"{profile.name}, {profile.data.start}..{profile.data.end}",
    )


def _window(profile: Profile) -> Window:
    """Box of a profile in the order in which archives ask for it."""
    west, east, south, north = places.box(profile)
    return west, south, east, north


def describe(profile: Profile, root: Path, pace: Pace | None = None, *, window: bool = False) -> str:
    """Put the plan of a profile into words, with the room on the disk that holds `root`."""
    if not _products(profile):
        return f"{profile.name}: nothing to fetch, the twin computes its own world\n"
    return plan_text(plan_profile(profile, pace, window=window), free_bytes(root))


def _products(profile: Profile) -> list[Product]:
    archive = profile.data.archive
    if archive is None:
        return needed(profile.data.source, profile.targets)
    return of_versions(needed(profile.data.source, profile.targets, archive.land_models), archive)


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
        return places.POINTS
    return product.folder.split("{")[0] + (asked.window_suffix if product.collection else "")


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
