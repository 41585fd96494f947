"""Plans: counts by hand from the calendar, sizes and windows from the products' own documents, no network."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smapnb import fetch_errors, profile
from smapnb.fetch import describe, plan_profile
from smapnb.fetch_job import SIGNATURES
from smapnb.fetch_plan import Pace, plan, size_text, text, window_cells
from smapnb.fetch_products import CONUS, PRODUCTS, SAMPLE, hours, needed

FORA, L3, L4 = PRODUCTS["NLDAS_FORA0125_H"], PRODUCTS["SPL3SMP"], PRODUCTS["SPL4SMGP"]
DAYS = st.dates(date(1979, 1, 2), date(2030, 1, 1))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a plan asks the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("name", "start", "end", "files"),
    [
        ("SPL3SMP", date(2015, 3, 1), date(2015, 4, 30), 31),  # from 31 March on
        ("SPL3SMP", date(2010, 1, 1), date(2014, 12, 31), 0),
        ("SPL4SMGP", date(2015, 3, 1), date(2015, 4, 30), 31 * 8),
        ("SPL4SMLM", date(1990, 1, 1), date(1990, 1, 1), 1),
        ("NLDAS_FORA0125_H", date(2016, 1, 1), date(2016, 12, 31), 366 * 24 + 1),  # and the hour that closes the year
        ("NLDAS_VIC0125_H", date(1979, 1, 1), date(1979, 1, 2), 25),  # the first whole day is the second
        ("USCRN daily01", date(2014, 12, 31), date(2016, 1, 1), 3 * 131),
        ("WISE30sec", date(2000, 1, 1), date(2018, 12, 31), 1),
        ("geolearn sample", date(2015, 4, 1), date(2018, 3, 31), 78),
    ],
)
def test_files_by_hand(name, start, end, files):
    item = plan([PRODUCTS[name]], (start, end)).items[0]
    assert item.files == files == PRODUCTS[name].granules(start, end)
    size = PRODUCTS[name].size
    assert item.n_bytes == (None if size is None else files * size)


@given(a=DAYS, b=DAYS, c=DAYS)
def test_files_of_two_neighbouring_periods_add_up(a, b, c):
    start, cut, end = sorted((a, b, c))
    end += timedelta(1)
    for product in (FORA, L3, L4):
        parts = product.granules(start, cut) + product.granules(cut + timedelta(1), end)
        closed_twice = product.closing if min(product.granules(start, cut), 1) else 0
        assert product.granules(start, end) == parts - closed_twice
    assert len(hours(FORA, cut, cut + timedelta(3))) == FORA.granules(cut, cut + timedelta(3)) == 97


def test_hours_of_a_day_are_those_that_close_its_hours():
    stamps = hours(FORA, date(2016, 2, 29), date(2016, 2, 29))
    assert stamps[0] == (date(2016, 2, 29), 0)
    assert stamps[23] == (date(2016, 2, 29), 23)
    assert stamps[24:] == [(date(2016, 3, 1), 0)]


def test_the_address_of_an_hour():
    # GES DISC: folder of the day of the year; 1 March 2016 is the 61st.
    assert FORA.url.format(day=date(2016, 3, 1), hour=5) == (
        "https://hydro1.gesdisc.eosdis.nasa.gov/data/NLDAS/NLDAS_FORA0125_H.2.0/2016/061/"
        "NLDAS_FORA0125_H.A20160301.0500.020.nc"
    )


@pytest.mark.parametrize(("km", "rows", "cols"), [(9, (189, 468), (589, 1220)), (36, (47, 116), (147, 304))])
def test_cells_of_the_window(km, rows, cols):
    # The authors' window, computed from the grid's definition apart from this code.
    assert window_cells(CONUS, km) == (rows, cols)


def test_an_empty_window_is_an_error():
    with pytest.raises(fetch_errors.FetchError, match="no cell of 9 km"):
        window_cells((10.0, 20.0, 10.01, 20.01), 9)


def test_a_window_instead_of_granules():
    week = (date(2017, 1, 1), date(2017, 1, 7))
    whole = plan([L4], week, CONUS)
    assert whole.items[0].n_bytes == 56 * 143_000_000
    assert [(i.how, i.files, i.n_bytes) for i in whole.smaller] == [("window", 56, 56 * 280 * 632 * 4)]
    assert "280 x 632 cells" in whole.smaller[0].note and "708 kB instead of 143 MB" in whole.smaller[0].note
    cut = plan([L4], week, CONUS, as_window=True)
    assert cut.items == whole.smaller and cut.smaller == []


@pytest.mark.parametrize(("days", "pieces"), [(1, 1), (10_000, 1), (10_001, 2)])
def test_points_instead_of_grids(days, pieces):
    start = date(1980, 1, 1)
    done = plan([FORA], (start, start + timedelta(days - 1)), points=412)
    assert done.smaller[0].requests == 2884 * pieces  # 412 pixels x 7 variables
    assert plan([FORA], (start, start), points=412, as_points=True).items[0].how == "points"


def test_time_by_hand():
    # 56 granules of 143 MB at 2 MB/s and a second a request, and one page of the catalogue, on 4 connections.
    item = plan([L4], (date(2017, 1, 1), date(2017, 1, 7))).items[0]
    assert item.requests == 57
    assert item.hours == pytest.approx((57 + 56 * 71.5) / 4 / 3600)
    alone = plan([L4], (date(2017, 1, 1), date(2017, 1, 7)), pace=Pace(parallel=1)).items[0]
    assert alone.hours == pytest.approx(4 * item.hours)


def test_totals_and_unknown_sizes():
    done = plan([L3, PRODUCTS["WISE30sec"]], (date(2017, 1, 1), date(2017, 1, 10)))
    assert (done.files, done.requests, done.n_bytes) == (11, 12, 300_000_000)
    said = text(done, free=10**6)
    assert re.search(r"^all +11 +300 MB \+ \? +12 ", said, re.MULTILINE)
    assert "NOT ENOUGH" in said
    assert "NOT ENOUGH" not in text(done, free=10**9)


def test_a_period_that_ends_before_it_starts():
    with pytest.raises(fetch_errors.FetchError, match="2016-01-01, before it starts on 2017"):
        plan([L3], (date(2017, 1, 1), date(2016, 1, 1)))


def test_the_text_says_all_of_it():
    said = text(plan(needed("conus", ["surface", "rootzone"]), (date(2000, 1, 1), date(2018, 12, 31)), CONUS, points=9))
    for name in ("SPL3SMP", "SPL4SMGP", "NLDAS_FORA0125_H", "NLDAS_NOAH0125_H", "NLDAS_VIC0125_H"):
        assert re.search(rf"^{name} .*\d", said, re.MULTILINE), name
    for words in (
        "USCRN daily01",
        "WISE30sec",
        "--window",
        "archive.nldas=centre",
        "Giovanni",
        "OPeNDAP (DAP4)",
        "~/.netrc",
    ):
        assert words in said
    assert "NASA GESDISC DATA ARCHIVE" in said
    assert max(map(len, said.splitlines())) < 260


def test_a_way_that_is_no_smaller_is_not_told():
    """A year of FORA at 20,000 points is 20,000 x 7 x 366 x 24 lines, 29.5 GB; as grids 14.3 GB."""
    year = (date(2016, 1, 1), date(2016, 12, 31))
    assert [item.how for item in plan([FORA], year, points=400).smaller] == ["points"]
    assert plan([FORA], year, points=20_000).smaller == []


@pytest.mark.parametrize(
    ("targets", "names"), [(["surface"], {"SPL3SMP"}), (["rootzone"], {"SPL3SMP", "SPL4SMGP"}), ([], set())]
)
def test_targets_choose_the_smap_products(targets, names):
    assert {p.short_name for p in needed("conus", targets) if p.short_name.startswith("SPL")} == names


@pytest.mark.parametrize(("models", "names"), [("[]", set()), ("[vic]", {"NLDAS_VIC0125_H"})])
def test_land_models_that_the_cube_does_not_hold_are_not_fetched(models, names):
    chosen = profile.load("conus", {"data.archive.land_models": models})
    nldas = {item.product.short_name for item in plan_profile(chosen).items if item.product.archive == "gesdisc"}
    assert nldas == names | {"NLDAS_FORA0125_H"}


def test_the_book_shows_the_plan_of_today():
    page = (Path(__file__).parent.parent / "book" / "fetch.md").read_text(encoding="utf-8")
    shown = page.split("```text\n")[1].split("```")[0]
    done = plan(needed("conus", ["surface", "rootzone"]), (date(2000, 1, 1), date(2018, 12, 31)))
    assert shown in text(done)
    assert shown.startswith("product") and "\nall " in shown


def test_the_book_shows_the_plan_of_a_few_sites():
    page = (Path(__file__).parent.parent / "book" / "fetch.md").read_text(encoding="utf-8")
    assert page.split("```text\n")[2].split("```")[0] in text(plan_profile(profile.load("sites")))


def test_profiles():
    assert "nothing to fetch" in describe(profile.load("twin"), profile.data_root())
    done = plan_profile(profile.load("conus412"))
    assert [item.product for item in done.items] == [SAMPLE]
    assert done.files == 78


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=list(PRODUCTS))
def test_each_row_is_complete(product):
    assert product.size_source and product.title and product.reader.startswith("smapnb.sources")
    assert product.kind in SIGNATURES
    assert product.url.startswith("https://") or (product.archive == "earthdata" and not product.url)
    assert not product.window_fields or product.collection


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (707_840, "708 kB"), (1.6e6, "1.6 MB"), (999_600, "1 MB"),
     (3.2e12, "3.2 TB"), (None, "?")],
)  # fmt: skip
def test_sizes_in_words(n, said):
    assert size_text(n) == said
