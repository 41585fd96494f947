"""Which cells a profile asks for: counted and placed by hand and by PROJ, and the same for fetch and cube."""

from datetime import date

import numpy as np
import pyproj
import pytest

from smapnb import grid, places
from smapnb.profile import Profile, load


def conus(targets=("surface", "rootzone"), **archive) -> Profile:
    return load("conus", {"targets": list(targets), "data.archive": archive})


def test_the_whole_box():
    """Of 70 x 158 cells of 36 km all; of 280 x 632 of 9 km one in 4 x 4, as many."""
    asked = places.cells(conus())
    assert list(asked) == [36, 9]
    assert asked[36][0].size == 70 * 158 == asked[9][0].size
    assert (asked[9][0] % 4 == 189 % 4).all() and (asked[9][1] % 4 == 589 % 4).all()
    assert places.box(conus()) == grid.CONUS


def test_a_region_has_some_of_the_cells_of_all():
    all_of, some = (places.cells(conus(**archive)) for archive in ({}, {"region": [-103, -97, 33, 36]}))
    for km in (36, 9):
        there = set(zip(*(axis.tolist() for axis in all_of[km]), strict=True))
        here = list(zip(*(axis.tolist() for axis in some[km]), strict=True))
        assert set(here) < there and len(here) > 100
        lon, lat = grid.EaseGrid(km).center(*some[km])
        assert lon.min() > -103 and lon.max() < -97 and lat.min() > 33 and lat.max() < 36
    every = places.cells(conus(["rootzone"], region=[-103, -97, 33, 36], every_km9=1))[9]
    assert 14 < every[0].size / some[9][0].size < 18
    with pytest.raises(grid.GridError, match="no cell"):
        places.cells(conus(region=[-100.1, -100, 35, 35.01]))


@pytest.mark.parametrize(
    "region",
    [
        [-100, 33, -97, 36],  # west, south, east, north
        [33, 36, -100, -97],
        [-97, -100, 33, 36],
        [-100, -97, 36, 33],
        [-100, -100, 33, 36],
        [-125.1, -97, 33, 36],
        [-100, -65.9, 33, 36],
        [-100, -97, 24.9, 36],
        [-100, -97, 33, 53.1],
    ],
)
def test_edges_of_a_region_in_another_order_or_outside_are_refused(region):
    """NLDAS-2 is 464 x 224 cells of 0.125 degrees from 125W, 25N: to 67W, 53N; the authors' box ends at 66W."""
    with pytest.raises(grid.GridError, match=r"be \[WEST, EAST, SOUTH, NORTH\].* from -125 to -66,.* from 25 to 53$"):
        places.box(conus(region=region))


@pytest.mark.parametrize("region", [grid.CONUS, (-125, -67, 25, 53), (-70, -66, 44, 53), (-125, -120, 25, 50)])
def test_a_region_may_reach_the_edges(region):
    assert places.box(conus(region=region)) == region
    assert places.cells(conus(region=region))[36][0].size > 100


def test_cells_that_hold_sites():
    """The first by section 1 of the grid's definition; a second one in the same cell of 36 km."""
    asked = places.cells(conus(sites=[{"lat": 35.38, "lon": -98.6}, {"lat": 35.2, "lon": -98.9}]))
    assert [axis.tolist() for axis in asked[36]] == [[85], [217]]
    assert (341, 871) in zip(*(axis.tolist() for axis in asked[9]), strict=True) and asked[9][0].size == 2


def test_the_box_of_sites_has_the_edges_of_their_cells():
    edge, size = np.array([-17367530.4451615, 7314540.8306386]), 9008.055210146
    lonlat = pyproj.Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True).transform
    west, south = lonlat(*(edge + size * np.array([589, -386])))
    east, north = lonlat(*(edge + size * np.array([872, -341])))
    sites = [{"lat": 35.38, "lon": -98.6}, {"lat": 31.7, "lon": -124.98}]  # (341, 871), (385, 589)
    assert places.box(conus(sites=sites)) == pytest.approx((west, east, south, north), abs=1e-7)
    assert places.window_suffix(places.box(conus(sites=sites))) == "-window-341-385-589-871"
    assert places.window_suffix(grid.CONUS) == "-window"


def test_points_are_centres_of_nldas_cells():
    """The centre of (85, 217), 98.776W 35.335N, lies in the cell of 98.8125W 35.3125N."""
    one = conus(["surface"], sites=[{"lat": 35.38, "lon": -98.6}], nldas="centre")
    assert places.nldas_points(one) == [(35.3125, -98.8125)]
    covering = conus(["surface"], sites=[{"lat": 35.38, "lon": -98.6}], nldas="covering")
    west, south, east, north = grid.EaseGrid(36).bounds_degrees(85, 217)
    lat, lon = 25.0625 + 0.125 * np.arange(224), -124.9375 + 0.125 * np.arange(464)
    lat = lat[(lat + 0.0625 > south) & (lat - 0.0625 < north)]
    lon = lon[(lon + 0.0625 > west) & (lon - 0.0625 < east)]
    assert places.nldas_points(covering) == [(y, x) for y in lat for x in lon]
    assert places.nldas_points(conus()) == []
    assert places.nldas_points(conus(["surface"], sites=[{"lat": 45.2, "lon": -66.3}], nldas="centre")) == []


def test_names_of_replies():
    name = places.reply_name(
        "NLDAS_VIC0125_H_2_0", "SoilM_0_100cm", 25.0625, -124.9375, date(2015, 1, 2), date(2016, 2, 29)
    )
    assert name == "NLDAS_VIC0125_H_2_0_SoilM_0_100cm_25.0625_-124.9375_20150102_20160229.csv"
    assert places.reply_of(name) == places.Reply("VIC", "SoilM_0_100cm", 0, date(2015, 1, 2), date(2016, 2, 29))
    last = places.reply_of("NLDAS_FORA0125_H_2_0_Tair_52.9375_-67.0625_20150102_20160229.csv")
    assert last is not None and last.cell == 224 * 464 - 1
    for other in ("20150102_20160230", "20150102", "x_20160229"):
        assert places.reply_of(name.replace("20150102_20160229", other)) is None
    assert places.reply_of(name.replace("25.0625", "24.9375")) is None  # south of the grid
    assert places.reply_of("fetch-manifest.json") is None
