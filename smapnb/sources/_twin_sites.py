"""Where the twin's stations stand, when they begin and what is buried there: dense sites and a sparse network.

It lays out; it knows no soil moisture. Every draw has a random stream of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from smapnb.grid import EaseGrid, unproject
from smapnb.sources._twin_observers import LAUNCH
from smapnb.sources._twin_states import states
from smapnb.sources._twin_weather import TwinError, generator, plane_km

Array = NDArray[np.floating]

FINE = 12  # 3-km cells along the edge of a 36-km cell
CRN_DEPTHS = (5.0, 10.0, 20.0, 50.0, 100.0)  # cm
SHALLOW_DEPTHS = (5.0, 10.0)

# Shares of the sparse network. On a full archive 104 of 114 sites are not coastal, 82 of them have five depths and 22
# have two, and 72 have enough of a record before the launch (Fang et al. 2019, section II-C, and their scripts).
SHALLOW_SHARE = 0.20
COASTAL_SHARE = 10 / 114
LATE_SHARE = 0.05  # sites that begin less than a year before the launch
FAILING_SHARE = 0.06  # sites whose deep probes are lost for good after a few years
OFF_GRID_SHARE = 0.04  # sites farther from any pixel of the cube than OFF_GRID
TWO_IN_A_PIXEL_SHARE = 0.08
OFF_GRID = (0.55, 0.90)  # degrees, |dlat| + |dlon|
CLUSTER_KM = 250.0
MOST_CRN = 999

LEAST_APART = 700.0  # m between stations of a dense site
MOST_TRIES = 2000


@dataclass(frozen=True)
class CoreSite:
    """A dense site: the real one's number, name and rough centre; its reference pixels and depths (cm)."""

    site: str
    name: str
    lat: float
    lon: float
    pixels: tuple[str, ...]
    depths: tuple[float, ...] = (5.0,)


# In the order in which they are taken when fewer than nine are asked for. The depths of the five that measure the root
# zone are the two sets for which the weights of SMAP's calibration and validation are known.
CORE_SITES = (
    CoreSite("1602", "Little Washita", 34.9, -98.1, ("16023603", "16023602"), (5.0, 25.0, 45.0)),
    CoreSite("0901", "Carman", 49.6, -98.0, ("09013601", "09013610")),
    CoreSite("1607", "South Fork", 42.4, -93.4, ("16073603", "16073602"), (5.0, 15.0, 30.0)),
    CoreSite("1604", "Little River", 31.7, -83.6, ("16043603", "16043604", "16043602"), (5.0, 15.0, 30.0)),
    CoreSite("1603", "Fort Cobb", 35.4, -98.6, ("16033603", "16033604", "16033602"), (5.0, 25.0, 45.0)),
    CoreSite("4801", "TxSON", 30.3, -98.8, ("48013601",), (5.0, 15.0, 30.0)),
    CoreSite("1601", "Walnut Gulch", 31.7, -110.0, ("16013604", "16013603")),
    CoreSite("1606", "St. Josephs", 41.4, -85.0, ("16063603", "16063602")),
    CoreSite("0401", "Reynolds Creek", 43.2, -116.8, ("04013602",)),
)


@dataclass(frozen=True)
class Place:
    """One station: a name for its random streams, where it stands, and when each of its probes works at all."""

    name: str
    position: int  # of the pixel among those simulated
    lon: float
    lat: float
    depths: tuple[float, ...]  # cm
    probes: int  # at each depth
    first: pd.Timestamp
    last: pd.Timestamp = pd.Timestamp.max
    last_deep: pd.Timestamp = pd.Timestamp.max  # of the probes below 20 cm


@dataclass(frozen=True)
class Box:
    """A reference pixel: its number, its dense site, the pixel below it and its north-western 3-km cell."""

    name: str
    site: CoreSite
    position: int
    row: int
    col: int


@dataclass(frozen=True)
class Plan:
    """All that stands on the ground; `positions` are the pixels to simulate, numbered as in `simulate`."""

    positions: NDArray[np.integer]
    core: tuple[tuple[CoreSite, Place], ...]
    boxes: tuple[Box, ...]
    crn: tuple[Place, ...]


def plan(lon: Array, lat: Array, core_sites: int, crn_sites: int, seed: int) -> Plan:
    """Lay out the sites over the pixels of a cube; lon, lat (pixel,) are their centres.

    Raises
    ------
    TwinError
        More or fewer sites than there can be.
    """
    for asked, most, what in ((core_sites, len(CORE_SITES), "dense"), (crn_sites, MOST_CRN, "CRN-like")):
        if not 0 <= asked <= most:
            raise TwinError(f"twin: {asked} {what} sites asked for; 0 to {most} can be given")
    if core_sites + crn_sites == 0:
        raise TwinError("twin: no site asked for")
    taken = nearest_pixels(CORE_SITES[:core_sites], lon, lat)
    where = crn_pixels(lon, lat, crn_sites, seed)
    positions = np.unique(np.concatenate([np.array(list(taken.values()), dtype=int), where]))
    within = {int(pixel): number for number, pixel in enumerate(positions)}
    core, boxes = [], []
    for site in sorted(CORE_SITES[:core_sites], key=lambda site: site.site):
        pixel = taken[site.site]
        shifted = _boxes(site, within[pixel], lon[pixel], lat[pixel], seed)
        boxes += shifted
        core += [(site, place) for place in _dense_stations(site, shifted, seed)]
    crn = _sparse_sites(lon, lat, where, within, seed)
    return Plan(positions, tuple(core), tuple(boxes), tuple(crn))


def nearest_pixels(sites: tuple[CoreSite, ...], lon: Array, lat: Array) -> dict[str, int]:
    """Give each site the nearest pixel that is still free; all are free again when none is left."""
    x, y = plane_km(lon, lat)
    taken: dict[str, int] = {}
    free = np.ones(lon.size, dtype=bool)
    for site in sites:
        if not free.any():
            free[:] = True
        here = plane_km(np.array(site.lon), np.array(site.lat))
        distance = np.where(free, np.hypot(x - here[0], y - here[1]), np.inf)
        taken[site.site] = int(distance.argmin())
        free[taken[site.site]] = False
    return taken


# -- dense sites ---------------------------------------------------------------------------------------------


def _boxes(site: CoreSite, position: int, lon: float, lat: float, seed: int) -> list[Box]:
    """Lay the reference pixels of a site: the pixel of the cube, then others that overlap it and each other.

    Their corners are 3 to 6 whole cells of 3 km away along both axes, so that a quarter of the area or more is common
    to the first box and any other.
    """
    rng = generator(seed, f"{site.site} boxes")
    row, col = (int(index) * FINE for index in EaseGrid(36).cell(lon, lat))
    shifts = [(0, 0)]
    for _ in range(MOST_TRIES):
        if len(shifts) == len(site.pixels):
            return [
                Box(name, site, position, row + south, col + east)
                for name, (south, east) in zip(site.pixels, shifts, strict=True)
            ]
        south, east = (
            int(size * sign) for size, sign in zip(rng.integers(3, 7, 2), rng.choice([-1, 1], 2), strict=True)
        )
        if all(max(abs(south - s), abs(east - e)) <= 9 and (south, east) != (s, e) for s, e in shifts):
            shifts.append((south, east))
    raise TwinError(
        f"twin: no room for {len(site.pixels)} overlapping reference pixels at site {site.site}, seed {seed}"
    )


def box_bounds(row: int, col: int) -> tuple[float, float, float, float]:
    """Left, bottom, right, top (EPSG:6933, m) of 12 x 12 cells of 3 km from a north-western one."""
    left, _, _, top = EaseGrid(3).bounds(row, col)
    _, bottom, right, _ = EaseGrid(3).bounds(row + FINE - 1, col + FINE - 1)
    return float(left), float(bottom), float(right), float(top)


def _dense_stations(site: CoreSite, boxes: list[Box], seed: int) -> list[Place]:
    """Draw 6 to 20 stations over all boxes, some in clumps along no grid, each box holding a third of them."""
    rng = generator(seed, f"{site.site} stations")
    number = int(rng.integers(6, 21))
    bounds = np.array([box_bounds(box.row, box.col) for box in boxes])
    for _ in range(MOST_TRIES):
        x, y = _clumps(rng, bounds, number)
        inside = (x >= bounds[:, :1]) & (x < bounds[:, 2:3]) & (y >= bounds[:, 1:2]) & (y < bounds[:, 3:])
        apart = np.hypot(x[:, None] - x, y[:, None] - y)[np.triu_indices(number, 1)]
        if (inside.sum(axis=1) * 3 >= number).all() and inside.any(axis=0).all() and apart.min() > LEAST_APART:
            break
    else:
        raise TwinError(f"twin: no room for {number} stations at site {site.site}, seed {seed}")
    lon, lat = unproject(x, y)
    begin, ends = _core_days(rng, number)
    return [
        Place(f"{site.site}/{i + 1:02d}", boxes[0].position, lon[i], lat[i], site.depths, 1, begin[i], ends[i])
        for i in range(number)
    ]


def _clumps(rng: np.random.Generator, bounds: Array, number: int) -> tuple[Array, Array]:
    """Points, m: six in ten around a few centres (4 km), the others anywhere in one of the boxes."""
    home = bounds[rng.integers(0, len(bounds), number)]
    share = rng.uniform(0.02, 0.98, (2, number))
    x, y = home[:, 0] + share[0] * (home[:, 2] - home[:, 0]), home[:, 1] + share[1] * (home[:, 3] - home[:, 1])
    centres = rng.integers(0, number, 3)
    follows, leader = rng.uniform(size=number) < 0.6, centres[rng.integers(0, 3, number)]
    step = rng.normal(0, 4000.0, (2, number))
    follows[centres] = False
    return np.where(follows, x[leader] + step[0], x), np.where(follows, y[leader] + step[1], y)


def _core_days(rng: np.random.Generator, number: int) -> tuple[list[pd.Timestamp], list[pd.Timestamp]]:
    """First and last days: the site opens in 2002-2008 and grows until 2014; an eighth of the stations close early."""
    opens = pd.Timestamp("2002-01-01") + pd.Timedelta(days=int(rng.integers(0, 6 * 365)))
    room = (pd.Timestamp("2014-12-31") - opens).days
    wait = np.minimum(rng.exponential(2.5 * 365, number), room).astype(int)
    wait[rng.integers(0, number)] = 0
    closes = pd.Timestamp("2012-01-01") + pd.to_timedelta(rng.integers(0, 5 * 365, number), unit="D")
    early = rng.uniform(size=number) < 1 / 8
    begin = [opens + pd.Timedelta(days=int(days)) for days in wait]
    return begin, [day if closed else pd.Timestamp.max for day, closed in zip(closes, early, strict=True)]


# -- the sparse network --------------------------------------------------------------------------------------


def crn_pixels(lon: Array, lat: Array, number: int, seed: int) -> NDArray[np.integer]:
    """Pixel of each site: denser in the east and in a few clusters; some pixels hold two sites, (site,)."""
    rng = generator(seed, "CRN pixels")
    x, y = plane_km(lon, lat)
    weight = np.where(lon > -100, 2.5, 1.0)
    singles = min(lon.size, number - round(TWO_IN_A_PIXEL_SHARE * number))
    for centre in rng.choice(lon.size, max(1, number // 18), p=weight / weight.sum()):
        weight = weight * (1 + 4 * (np.hypot(x - x[centre], y - y[centre]) < CLUSTER_KM))
    first = rng.choice(lon.size, singles, replace=False, p=weight / weight.sum())
    return np.concatenate([first, rng.choice(first, number - singles)]) if number else first


def _sparse_sites(lon: Array, lat: Array, where: NDArray[np.integer], within: dict[int, int], seed: int) -> list[Place]:
    """Draw place, depths and days of each site; numbers run from 90001 on."""
    number = len(where)
    rng = generator(seed, "CRN sites")
    # The groups never overlap: what befalls a site is one thing, so that each rule of exclusion can be seen alone.
    order = rng.permutation(number)
    sizes = [round(share * number) for share in (SHALLOW_SHARE, LATE_SHARE, FAILING_SHARE, OFF_GRID_SHARE)]
    sizes = [max(size, 1) if number >= 10 else size for size in sizes]
    shallow, late, failing, off = np.split(order, np.cumsum(sizes))[:4]
    places = []
    for i, pixel in enumerate(where):
        name = f"{90001 + i}"
        begin = pd.Timestamp("2009-06-01") + pd.Timedelta(days=int(rng.integers(0, 760)))
        if i in late:
            begin = pd.Timestamp("2014-06-01") + pd.Timedelta(days=int(rng.integers(0, 270)))
        lost = begin + rng.uniform(0.1, 0.4) * (LAUNCH - begin)
        here = _place_in_pixel(lon, lat, int(pixel), i in off, generator(seed, f"CRN {name} place"), name)
        places.append(
            Place(
                name,
                within[int(pixel)],
                *here,
                SHALLOW_DEPTHS if i in shallow else CRN_DEPTHS,
                3,
                begin,
                last_deep=lost.floor("D") if i in failing else pd.Timestamp.max,
            )
        )
    return places


def _place_in_pixel(
    lon: Array, lat: Array, pixel: int, off_grid: bool, rng: np.random.Generator, name: str
) -> tuple[float, float]:
    """Draw longitude and latitude on land, in the pixel or, off the grid, between it and its neighbours."""
    left, bottom, right, top = EaseGrid(36).bounds(*EaseGrid(36).cell(lon[pixel], lat[pixel]))
    land = list(states().values())
    for _ in range(MOST_TRIES):
        if off_grid:
            step = rng.uniform(-OFF_GRID[1], OFF_GRID[1], 2)
            here = float(lon[pixel] + step[0]), float(lat[pixel] + step[1])
        else:
            east, north = unproject(rng.uniform(left, right), rng.uniform(bottom, top))
            here = float(east), float(north)
        far = np.abs(lon - here[0]) + np.abs(lat - here[1])
        close = OFF_GRID[0] <= far[pixel] <= OFF_GRID[1] if off_grid else True
        if close and far.argmin() == pixel and shapely.contains_xy(land, *here).any():
            return here
    raise TwinError(f"twin: no land for site {name} near {lat[pixel]:.2f} N, {lon[pixel]:.2f} E")


def site_names(places: tuple[Place, ...]) -> list[str]:
    """Name each site of the sparse network after its state, with a running number: Twin AL 3."""
    codes, shapes = list(states()), list(states().values())
    count: dict[str, int] = {}
    names = []
    for place in places:
        code = codes[int(np.argmax(shapely.contains_xy(shapes, place.lon, place.lat)))]
        count[code] = count.get(code, 0) + 1
        names.append(f"Twin {code} {count[code]}")
    return names
