"""What a download would be, before anything moves: files, bytes, requests, hours, and how to make it smaller.

Counts come from the calendar and the table of products, so that a plan needs no network; the time is an estimate
from a rate that the caller may set. It fetches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from math import ceil

import numpy as np

from smapnb.fetch_errors import HOW_TO_APPROVE, HOW_TO_LOG_IN, FetchError
from smapnb.fetch_products import Product
from smapnb.grid import EaseGrid

Window = tuple[float, float, float, float]

# One connection in one public measurement: a file of 7.35 MB in 4.8 s, a day of 24 (169 MB) in 206 s one by one.
# One second a request and 2 MB/s give 4.7 s a file and 109 s a day: between the two.
REQUEST_SECONDS = 1.0
RATE = 2e6
# The point service takes at most so many days at once, and computes before it answers: an assumption, not measured.
PIECE_DAYS = 10_000
POINT_SECONDS = 20.0
# A line of a reply: 2024-01-01 00:00,269.81
POINT_LINE = 24
PAGE = 2000  # granules a page of the catalogue


@dataclass(frozen=True)
class Pace:
    """Connections at once, bytes a second and seconds a request of each."""

    parallel: int = 4
    rate: float = RATE
    request_seconds: float = REQUEST_SECONDS

    def hours(self, requests: int, n_bytes: float, each: float | None = None) -> float:
        """Hours that so many requests and bytes take."""
        seconds = requests * (self.request_seconds if each is None else each) + n_bytes / self.rate
        return seconds / self.parallel / 3600


@dataclass(frozen=True)
class Item:
    """One product of a plan; `how` is granules, window or points, `n_bytes` None where the size is unknown."""

    product: Product
    how: str
    start: date | None
    end: date | None
    files: int
    requests: int
    n_bytes: int | None
    hours: float
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """Items to fetch, and smaller ways to some of them."""

    title: str
    items: list[Item]
    smaller: list[Item]
    pace: Pace
    window: Window | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Bytes of all items whose size is known."""
        return sum(item.n_bytes or 0 for item in self.items)

    @property
    def files(self) -> int:
        """Files of all items."""
        return sum(item.files for item in self.items)

    @property
    def requests(self) -> int:
        """Requests of all items."""
        return sum(item.requests for item in self.items)

    @property
    def hours(self) -> float:
        """Hours of all items, one after the other."""
        return sum(item.hours for item in self.items)


def plan(
    products: Sequence[Product],
    period: tuple[date, date],
    window: Window | None = None,
    *,
    points: int | None = None,
    pace: Pace | None = None,
    as_window: bool = False,
    as_points: bool = False,
    title: str = "",
) -> Plan:
    """Count what a set of products takes for a period.

    Parameters
    ----------
    products : sequence of Product
    period : (date, date)
        First and last day, both inclusive.
    window : (west, south, east, north), optional
        Degrees; what would be cut out where an archive offers windows.
    points : int, optional
        Number of points at which the point service would be asked.
    pace : Pace, optional
    as_window, as_points : bool
        Take windows or points instead of granules where they are offered.
    title : str

    Returns
    -------
    Plan

    Raises
    ------
    FetchError
        The period ends before it starts, or the window holds no cell.
    """
    start, end = period
    if end < start:
        raise FetchError(f"the period ends on {end}, before it starts on {start}")
    pace = pace or Pace()
    items, smaller = [], []
    for product in products:
        granules = _granules(product, start, end, pace)
        cut = _window(product, start, end, window, pace) if window and product.collection else None
        series = _points(product, start, end, points, pace) if points and product.point_fields else None
        taken = (cut if as_window else None) or (series if as_points else None)
        items.append(taken or granules)
        smaller += [way for way in (cut, series) if way and not taken and _is_less(way, granules)]
    return Plan(title, items, smaller, pace, window)


def _is_less(way: Item, granules: Item) -> bool:
    return way.n_bytes is not None and (granules.n_bytes is None or way.n_bytes < granules.n_bytes)


def _granules(product: Product, start: date, end: date, pace: Pace) -> Item:
    files = product.granules(start, end)
    # Names must be asked for where they hold a processing counter (the catalogue) or a station (a listing a year).
    listings = {"earthdata": ceil(files / PAGE), "ncei": 1 + files // product.each}.get(product.archive, 0)
    n_bytes = files * product.size if product.size is not None else None
    requests = files + listings
    covered = product.days(start, end) if product.every != "once" else None
    first, last = covered or (None, None)
    return Item(product, "granules", first, last, files, requests, n_bytes, pace.hours(requests, n_bytes or 0))


def _window(product: Product, start: date, end: date, window: Window, pace: Pace) -> Item:
    rows, cols = window_cells(window, 9)
    files = product.granules(start, end)
    each = len(product.window_fields) * 4 * (rows[1] - rows[0] + 1) * (cols[1] - cols[0] + 1)
    requests = files + ceil(files / PAGE)
    covered = product.days(start, end)
    first, last = covered or (None, None)
    note = (
        f"{rows[1] - rows[0] + 1} x {cols[1] - cols[0] + 1} cells by OPeNDAP (DAP4): {size_text(each)} instead of "
        f"{size_text(product.size)} a granule"
    )
    return Item(product, "window", first, last, files, requests, files * each, pace.hours(requests, files * each), note)


def _points(product: Product, start: date, end: date, points: int, pace: Pace) -> Item:
    covered = product.days(start, end)
    n_days = (covered[1] - covered[0]).days + 1 if covered else 0
    fields = len(product.point_fields)
    requests = points * fields * ceil(n_days / PIECE_DAYS)
    n_bytes = points * fields * n_days * 24 * POINT_LINE
    first, last = covered or (None, None)
    note = f"{points} points x {fields} variables by the Giovanni service, {POINT_SECONDS:g} s a request (assumed)"
    return Item(
        product, "points", first, last, requests, requests, n_bytes, pace.hours(requests, n_bytes, POINT_SECONDS), note
    )


def window_cells(window: Window, km: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row and column, both inclusive, of the cells of the EASE-Grid whose centre lies in a window.

    Raises
    ------
    FetchError
        No centre lies in it.
    """
    west, south, east, north = window
    grid = EaseGrid(km)
    rows = np.flatnonzero((grid.latitudes > south) & (grid.latitudes < north))
    cols = np.flatnonzero((grid.longitudes > west) & (grid.longitudes < east))
    if not rows.size or not cols.size:
        raise FetchError(f"no cell of {km} km has its centre in the window {window} (west, south, east, north)")
    return (int(rows[0]), int(rows[-1])), (int(cols[0]), int(cols[-1]))


def size_text(n_bytes: float | None) -> str:
    """Bytes in decimal units, three digits; ? where unknown."""
    if n_bytes is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}" if unit != "B" else f"{n_bytes:.0f} B"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


# What to type for a smaller way.
WAYS = {"window": "--window", "points": "-p data.archive.nldas=centre"}
ELSE = (
    "a shorter period: -p data.start=... -p data.end=...",
    "fewer pixels: -p data.archive.region=[WEST,EAST,SOUTH,NORTH], or data.archive.sites=FILE.csv (columns lat, lon)",
)
HEAD = ("product", "version", "from", "to", "files", "bytes", "requests", "hours")


def text(done: Plan, free: int | None = None) -> str:
    """Table and advice, as `smapnb fetch plan` prints it.

    Parameters
    ----------
    done : Plan
    free : int, optional
        Bytes free on the disk.
    """
    lines = [f"{done.title}: nothing has been moved" if done.title else "nothing has been moved", ""]
    lines += _table([*map(_row, done.items), _total(done)])
    if free is not None:
        enough = "enough" if done.n_bytes <= free else "NOT ENOUGH"
        lines += ["", f"free on the disk: {size_text(free)}: {enough}"]
    lines += ["", "Sizes are estimates:"]
    lines += [
        f"  {i.product.short_name}: {_each(i)} a file; {i.product.size_source if i.how == 'granules' else i.note}"
        for i in done.items
    ]
    pace = done.pace
    lines += [
        f"Hours: {pace.parallel} connections, each {pace.request_seconds:g} s a request and {pace.rate / 1e6:g} MB/s "
        "(--parallel, --rate)"
    ]
    if done.smaller:
        lines += ["", "How to make it smaller:"]
        lines += [
            f"  {i.product.short_name} as {i.how}: {size_text(i.n_bytes)}, {i.requests} requests, "
            f"{_hours(i.hours)} h: {i.note} ({WAYS[i.how]})"
            for i in done.smaller
        ]
        lines += [f"  {line}" for line in ELSE]
    needs = sorted({item.product.archive for item in done.items} & {"earthdata", "gesdisc"})
    if needs:
        lines += ["", "Before the first download:", f"  {HOW_TO_LOG_IN}"]
        lines += [f"  {HOW_TO_APPROVE}"] if "gesdisc" in needs else []
    return "\n".join([*lines, *done.notes]) + "\n"


def _each(item: Item) -> str:
    known = item.files and item.n_bytes is not None
    return size_text(item.n_bytes / item.files) if known and item.n_bytes is not None else size_text(item.product.size)


def _row(item: Item) -> tuple[str, ...]:
    name = item.product.short_name + ("" if item.how == "granules" else f" ({item.how})")
    days = (str(item.start or "-"), str(item.end or "-"))
    counts = (f"{item.files}", size_text(item.n_bytes), f"{item.requests}", _hours(item.hours))
    return (name, item.product.version, *days, *counts)


def _total(done: Plan) -> tuple[str, ...]:
    more = "+ ?" if any(item.n_bytes is None for item in done.items) else ""
    size = f"{size_text(done.n_bytes)} {more}".strip()
    return ("all", "", "", "", f"{done.files}", size, f"{done.requests}", _hours(done.hours))


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 0.05 else "< 0.1"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in (HEAD, *rows)) for n in range(len(HEAD))]
    aligned = [
        "  ".join(
            cell.ljust(w) if n < 4 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (HEAD, *rows)
    ]
    return [line.rstrip() for line in aligned]
