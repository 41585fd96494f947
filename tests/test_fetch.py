"""From profile to files: the sample, NASA's catalogue, the station network, soils, points, and the command.

The catalogue and the archives are stood in for by a server on 127.0.0.1; the library `earthaccess` by a stand-in.
"""

import hashlib
import json
import re
import sys
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import pytest
import requests
from misbehaving_server import (  # noqa: F401
    HDF5,
    Server,
    loopback_only,
    page,
    running_server,
    short,
    status,
)
from typer.testing import CliRunner

from smapnb import cli, fetch, fetch_earthdata, fetch_errors, fetch_lists, fetch_products, profile
from smapnb.fetch_job import Job, Settings
from smapnb.fetch_lists import Wish
from smapnb.fetch_products import PRODUCTS, SAMPLE

QUICK = Settings(tries=2, first_wait=0.01, read_timeout=1.0)
DAYS = (date(2016, 12, 31), date(2017, 1, 1))
SECRET = "S3cr3tT0ken"
HELD_BACK = "CONUSv4f1/2016/SMAP_AM.csv"


def get(products, root, **how):
    asked = Wish(products, how.pop("period", DAYS), **how)
    return fetch.get(asked, root, settings=QUICK, progress=False)


def files(root):
    own = {"fetch-manifest.json", "fetch.lock"}
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name not in own)


# The authors' sample


@pytest.fixture
def sample(server, monkeypatch):
    """A sample of three files on the server; the tables of the package point to it."""
    bodies = {"CONUSv4f1/2015/SMAP_AM.csv": b"0.1,0.2\n", "CONUSv4f1/crd.csv": b"35,-98\n", "Subset/x.csv": b"-1\n"}
    monkeypatch.setattr(
        fetch_lists, "sample_checksums", lambda: {p: hashlib.sha256(b).hexdigest() for p, b in bodies.items()}
    )
    for path, body in bodies.items():
        server.put(f"/sample/{path}", body)
    moved = replace(SAMPLE, url=server.address + "/sample/{name}")
    monkeypatch.setattr(fetch_products, "SAMPLE", moved)
    monkeypatch.setattr(fetch, "SAMPLE", moved)
    return bodies


def test_published_checksums():
    published = fetch_lists.sample_checksums()
    assert len(published) == 78 == SAMPLE.each
    assert all(len(value) == 64 and int(value, 16) >= 0 for value in published.values())
    assert {"CONUSv4f1/crd.csv", HELD_BACK, "Statistics/SMAP_AM_stat.csv"} <= set(published)
    assert fetch_lists.LAST in published


@pytest.mark.data
def test_published_checksums_are_those_of_the_real_files(data_root):
    # One file of the local copy may hold fewer rows than the published one: it is not looked at.
    published = {path: value for path, value in fetch_lists.sample_checksums().items() if path != HELD_BACK}
    for path, value in published.items():
        assert hashlib.sha256((data_root / "conus412" / path).read_bytes()).hexdigest() == value, path


def test_the_command_fetches_the_sample(server, sample, tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    done = CliRunner().invoke(cli.app, ["fetch", "get", "conus412", "--parallel", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == f"3 files fetched, 0 were there, in {tmp_path}\n"
    for path, body in sample.items():
        assert (tmp_path / "conus412" / path).read_bytes() == body
    assert server.log[-1].path == "/sample/CONUSv4f1/crd.csv"  # by which the sample is known to be whole
    again = CliRunner().invoke(cli.app, ["fetch", "get", "conus412"], catch_exceptions=False)
    assert "0 files fetched, 3 were there" in again.stdout
    assert len(server.log) == 3


def test_a_changed_file_of_the_sample_is_refused_and_its_mark_is_not_set(server, sample, tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    server.put("/sample/CONUSv4f1/2015/SMAP_AM.csv", b"tampered with\n")
    done = CliRunner().invoke(cli.app, ["fetch", "get", "conus412"], catch_exceptions=False)
    assert done.exit_code == 1
    assert len([line for line in done.stderr.splitlines() if line.startswith("smapnb:")]) == 1
    assert "1 WrongChecksum" in done.stderr and "CONUSv4f1/2015/SMAP_AM.csv" in done.stderr
    assert files(tmp_path) == ["conus412/Subset/x.csv"]


def test_a_local_file_with_other_content_is_left_alone(server, sample, tmp_path):
    (tmp_path / "conus412/CONUSv4f1/2015").mkdir(parents=True)
    mine = tmp_path / "conus412/CONUSv4f1/2015/SMAP_AM.csv"
    mine.write_text("my rows\n")
    with pytest.raises(fetch_errors.Incomplete, match="ForeignFile"):
        get([fetch.SAMPLE], tmp_path)
    assert mine.read_text() == "my rows\n"


def test_the_book_gets_the_sample_quietly(server, sample, tmp_path, capfd):
    said = fetch.fetch_sample_quietly(tmp_path)
    assert said.startswith("the real sample was fetched: 18 B") and len(said.splitlines()) == 1
    assert len(files(tmp_path)) == 3
    asked = len(server.log)
    assert fetch.fetch_sample_quietly(tmp_path) == ""
    assert len(server.log) == asked
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("answer", [status(404), status(500), page(), short(3)])
def test_the_book_goes_on_without_the_sample(server, sample, tmp_path, answer, capfd):
    for path in sample:
        server.files[f"/sample/{path}"].faults = [answer] * 9
    said = fetch.fetch_sample_quietly(tmp_path)
    assert said.startswith("the real sample was not fetched: ") and len(said.splitlines()) == 1
    assert "smapnb fetch get conus412" in said
    assert not (tmp_path / "conus412" / fetch_lists.LAST).exists()
    assert len(server.log) <= 3  # once each
    assert capfd.readouterr() == ("", "")


def test_the_book_does_not_ask_for_every_file_of_an_archive_that_is_gone(server, sample, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_lists, "sample_checksums", lambda: {f"{n}.csv": "0" * 64 for n in range(200)})
    assert "NotFound" in fetch.fetch_sample_quietly(tmp_path)
    assert len(server.log) < 100


def test_the_book_goes_on_without_a_network_or_a_folder(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "SAMPLE", replace(SAMPLE, url="http://127.0.0.1:9/{name}"))
    assert "no connection to 127.0.0.1" in fetch.fetch_sample_quietly(tmp_path)
    (tmp_path / "file").write_text("")
    assert "not fetched" in fetch.fetch_sample_quietly(tmp_path / "file")

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(fetch, "lists", broken)
    assert "ZeroDivisionError" in fetch.fetch_sample_quietly(tmp_path)


# NASA Earthdata


class Granule(dict):
    def __init__(self, url, **information):
        name = url.rsplit("/", 1)[-1]
        super().__init__(umm={"DataGranule": {"ArchiveAndDistributionInformation": [{"Name": name, **information}]}})
        self.url = url

    def data_links(self, access=None):
        assert access == "external"
        return ["s3://bucket/x.h5.iso.xml", self.url]


@pytest.fixture
def earthaccess(monkeypatch):
    """A stand-in of the library: what it was asked for, and what it finds."""
    seen = SimpleNamespace(logins=[], searches=[], found=[])

    def login(**how):
        seen.logins.append(how)
        return SimpleNamespace(authenticated=True)

    def search_data(**query):
        seen.searches.append(query)
        return seen.found

    def session():
        made = requests.Session()
        made.headers["Authorization"] = f"Bearer {SECRET}"
        return made

    library = SimpleNamespace(login=login, search_data=search_data, get_requests_https_session=session)
    monkeypatch.setitem(sys.modules, "earthaccess", library)
    for name in ("EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    seen.library = library
    return seen


def l3(day, counter=1, release="R19240"):
    return f"SMAP_L3_SM_P_{day}_{release}_{counter:03d}.h5"


def test_granules_come_from_the_catalogue(server, earthaccess, tmp_path):
    names = [l3("20161231"), l3("20170101"), l3("20170101", 2), l3("20161230"), l3("20170102")]
    for name in names:
        body = HDF5 + name.encode()
        checksum = {"Value": hashlib.sha256(body).hexdigest(), "Algorithm": "SHA-256"}
        url = server.put(f"/p/{name}", body)
        earthaccess.found.append(Granule(url, SizeInBytes=len(body), Checksum=checksum))
    assert get([PRODUCTS["SPL3SMP"]], tmp_path).fetched == 2
    # The second processing of 1 January took the place of the first; days outside the period are not taken.
    assert files(tmp_path) == [f"smap/SPL3SMP.009/2016/{names[0]}", f"smap/SPL3SMP.009/2017/{names[2]}"]
    assert earthaccess.logins == [{"strategy": "netrc", "persist": False}]
    assert earthaccess.searches[0]["short_name"] == "SPL3SMP"
    assert earthaccess.searches[0]["version"] == "009"
    assert earthaccess.searches[0]["cloud_hosted"] is True
    assert earthaccess.searches[0]["temporal"] == ("2016-12-31T00:00:00", "2017-01-01T23:59:59")
    assert server.log[0].headers["authorization"] == f"Bearer {SECRET}"
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_length_or_checksum_of_the_catalogue_that_does_not_fit(server, earthaccess, tmp_path):
    url = server.put(f"/p/{l3('20170101')}", HDF5 + b"x")
    earthaccess.found = [Granule(url, SizeInBytes=99)]
    with pytest.raises(fetch_errors.Incomplete, match="its catalogue says 99"):
        get([PRODUCTS["SPL3SMP"]], tmp_path)
    earthaccess.found = [Granule(url, Checksum={"Value": "0" * 64, "Algorithm": "SHA-256"})]
    with pytest.raises(fetch_errors.Incomplete, match="WrongChecksum"):
        get([PRODUCTS["SPL3SMP"]], tmp_path)
    earthaccess.found = [Granule(url, Checksum={"Value": "0" * 32, "Algorithm": "MD5"})]  # not ours to check
    assert get([PRODUCTS["SPL3SMP"]], tmp_path).fetched == 1


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([l3("20170101", 1), l3("20170101", 3), l3("20170101", 2)], [l3("20170101", 3)]),
        ([l3("20170101", 9, "R18290"), l3("20170101", 1, "R19240")], [l3("20170101", 1, "R19240")]),
        ([l3("20170102"), l3("20170101")], [l3("20170101"), l3("20170102")]),
        (
            ["SMAP_L4_SM_gph_20170101T013000_Vv8010_001.h5", "SMAP_L4_SM_gph_20170101T043000_Vv8010_001.h5"],
            ["SMAP_L4_SM_gph_20170101T013000_Vv8010_001.h5", "SMAP_L4_SM_gph_20170101T043000_Vv8010_001.h5"],
        ),
    ],
)
def test_the_latest_processing_is_taken(names, kept):
    assert [job.path for job in fetch_earthdata.latest([Job("u", name) for name in names])] == kept


def test_windows_are_asked_of_opendap(server, earthaccess, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_earthdata, "OPENDAP", server.address + "/collections")
    name = "SMAP_L4_SM_gph_20170101T013000_Vv8010_001.h5"
    earthaccess.found = [Granule(f"https://example.org/{name}", SizeInBytes=143_000_000)]
    path = f"/collections/C3480440870-NSIDC_CPRD/granules/{name}.dap.nc4"
    server.put(path, HDF5 + b"window")
    get([PRODUCTS["SPL4SMGP"]], tmp_path, window=fetch.CONUS)
    assert files(tmp_path) == [f"smap/SPL4SMGP.008-window/2017/{name[:-3]}.nc4"]
    assert requests.utils.unquote(server.log[0].query) == (
        "dap4.ce=/Geophysical_Data/sm_rootzone[189:1:468][589:1:1220];/y[189:1:468];/x[589:1:1220];/time"
    )


def test_a_profile_names_its_versions_of_smap(server, earthaccess, tmp_path, monkeypatch):
    """Windows of a named collection, in a folder of their version; the catalogue is asked for that version."""
    monkeypatch.setattr(fetch_earthdata, "OPENDAP", server.address + "/collections")
    versions = {"smap_l3_version": "008", "smap_l4_version": "011", "smap_l4_collection": "C12-NSIDC_CPRD"}
    chosen = profile.load("conus", {f"data.archive.{key}": f"'{value}'" for key, value in versions.items()})
    asked = fetch.wish(chosen, window=True)
    l3_due, l4 = asked.products[:2]
    assert (l3_due.version, l3_due.folder) == ("008", "smap/SPL3SMP.008")
    rows = {line.split("  ")[0]: line.split() for line in fetch.describe(chosen, tmp_path, window=True).splitlines()}
    assert rows["SPL3SMP"][1] == "008" and rows["SPL4SMGP (window)"][2] == "011"
    name = "SMAP_L4_SM_gph_20170101T013000_Vv9011_001.h5"
    earthaccess.found = [Granule(f"https://example.org/{name}")]
    server.put(f"/collections/C12-NSIDC_CPRD/granules/{name}.dap.nc4", HDF5 + b"window")
    get([l4], tmp_path, window=asked.window)
    assert files(tmp_path) == [f"smap/SPL4SMGP.011-window/2017/{name[:-3]}.nc4"]
    assert earthaccess.searches[0]["version"] == "011"
    manifest = (tmp_path / "smap/SPL4SMGP.011-window" / "fetch-manifest.json").read_text()
    assert '"version": "011, rows' in manifest
    whole = fetch.wish(profile.load("conus", {"data.archive.smap_l4_version": "'011'"}))
    assert [p.collection for p in whole.products if p.short_name == "SPL4SMGP"] == [""]  # granules need none


def test_constants_have_no_day(server, earthaccess, tmp_path):
    name = "SMAP_L4_SM_lmc_00000000T000000_Vv8010_001.h5"
    earthaccess.found = [Granule(server.put(f"/{name}", HDF5))]
    get([PRODUCTS["SPL4SMLM"]], tmp_path)
    assert files(tmp_path) == [f"smap/SPL4SMLM.008/{name}"]
    assert "temporal" not in earthaccess.searches[0]


def test_hours_of_nldas(server, earthaccess, tmp_path):
    product = PRODUCTS["NLDAS_FORA0125_H"]
    product = replace(product, url=product.url.replace(fetch_products.GES_DISC, server.address))
    for day, year in [("366", "2016"), ("001", "2017"), ("002", "2017")]:
        stamp = {"366": "20161231", "001": "20170101", "002": "20170102"}[day]
        for hour in range(24):
            name = f"NLDAS_FORA0125_H.A{stamp}.{hour:02d}00.020.nc"
            server.put(f"/NLDAS_FORA0125_H.2.0/{year}/{day}/{name}", HDF5)
    assert get([product], tmp_path).fetched == 49
    found = files(tmp_path)
    assert found[0] == "nldas/NLDAS_FORA0125_H.2.0/2016/366/NLDAS_FORA0125_H.A20161231.0000.020.nc"
    assert found[-1] == "nldas/NLDAS_FORA0125_H.2.0/2017/002/NLDAS_FORA0125_H.A20170102.0000.020.nc"
    assert get([product], tmp_path).kept == 49


@pytest.mark.parametrize(
    ("break_it", "error", "words"),
    [
        (lambda e, m: m.setitem(sys.modules, "earthaccess", None), fetch_errors.MissingLibrary, [".[fetch]"]),
        (
            lambda e, m: setattr(e.library, "login", lambda **_: SimpleNamespace(authenticated=False)),
            fetch_errors.MissingCredentials,
            ["~/.netrc", "chmod 600"],
        ),
        (
            lambda e, m: setattr(e.library, "login", lambda **_: (_ for _ in ()).throw(OSError(f"user {SECRET}"))),
            fetch_errors.MissingCredentials,
            ["~/.netrc", "OSError"],
        ),
        (
            lambda e, m: setattr(e.library, "search_data", lambda **_: 1 / 0),
            fetch_errors.Unreachable,
            ["catalogue does not answer", "ZeroDivisionError"],
        ),
        (lambda e, m: None, fetch_errors.NotFound, ["holds nothing for 2016-12-31..2017-01-01", "newer version"]),
        (
            lambda e, m: e.found.append(Granule("https://example.org/other.h5")),
            fetch_errors.WrongContent,
            ["other.h5"],
        ),
        (lambda e, m: e.found.append(Granule("https://example.org/x.xml")), fetch_errors.NotFound, ["no address"]),
    ],
)
def test_what_can_go_wrong_before_the_first_byte(earthaccess, tmp_path, monkeypatch, break_it, error, words):
    break_it(earthaccess, monkeypatch)
    with pytest.raises(fetch_errors.FetchError) as caught:
        get([PRODUCTS["SPL3SMP"]], tmp_path)
    # What another product need not meet is told at the end.
    assert type(caught.value) is (error if error.everywhere else fetch_errors.Incomplete)
    with pytest.raises(error):
        list(fetch_lists.lists(PRODUCTS["SPL3SMP"], Wish([], DAYS), tmp_path, QUICK))
    for word in words:
        assert word in str(caught.value)
    assert SECRET not in str(caught.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize("names", [["EARTHDATA_TOKEN"], ["EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"]])
def test_an_account_in_the_environment_is_used(earthaccess, monkeypatch, names):
    for name in names:
        monkeypatch.setenv(name, SECRET)
    fetch_earthdata.log_in()
    assert earthaccess.logins[0]["strategy"] == "environment"


@pytest.mark.parametrize(
    ("name", "how", "folder", "n_bytes"),
    [
        ("SPL4SMGP", {"window": fetch.CONUS}, "smap/SPL4SMGP.008-window", 16 * 280 * 632 * 4),
        ("NLDAS_VIC0125_H", {}, "nldas/NLDAS_VIC0125_H.2.0/2016", 49 * (52_500_000_000 // 8766)),
        ("NLDAS_VIC0125_H", {"places": [(35, -98)]}, "nldas_points", 2 * 2 * 24 * 24),
    ],
)
def test_what_is_there_needs_no_room(earthaccess, tmp_path, monkeypatch, name, how, folder, n_bytes):
    monkeypatch.setattr(fetch, "free_bytes", lambda _: 0)
    monkeypatch.setattr(fetch, "lists", lambda *_: [])
    (tmp_path / folder).mkdir(parents=True)
    manifest = tmp_path / folder / "fetch-manifest.json"
    manifest.write_text(json.dumps({"format": 1, "files": {"a": {"size": n_bytes - 1}}}))
    with pytest.raises(fetch_errors.DiskFull):
        get([PRODUCTS[name]], tmp_path, **how)
    manifest.write_text(json.dumps({"format": 1, "files": {"a": {"size": n_bytes}}}))
    assert get([PRODUCTS[name]], tmp_path, **how).fetched == 0


def test_room_for_the_whole_is_looked_at_first(earthaccess, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "free_bytes", lambda folder: 50_000_000)
    with pytest.raises(fetch_errors.DiskFull, match=r"about 60 MB are to come, 50 MB are free.*fetch plan"):
        get([PRODUCTS["SPL3SMP"]], tmp_path)
    assert earthaccess.logins == []
    # Half of it is there already: the rest fits.
    folder = tmp_path / "smap/SPL3SMP.009"
    folder.mkdir(parents=True)
    entry = {"size": 30_000_000, "sha256": "x"}
    (folder / "fetch-manifest.json").write_text(json.dumps({"format": 1, "files": {"2016/a.h5": entry}}))
    with pytest.raises(fetch_errors.Incomplete, match="holds nothing"):
        get([PRODUCTS["SPL3SMP"]], tmp_path)


# Points


@pytest.fixture
def giovanni(server, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch_earthdata, "GIOVANNI", server.address)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(f"machine urs.earthdata.nasa.gov login me password {SECRET}pw\n")
    netrc.chmod(0o600)
    server.put("/signin", f'"{SECRET}"'.encode())
    server.put("/timeseries", b"prod_name,NLDAS\n\nTimestamp (UTC),Data\n2017-01-01 00:00,1\n")
    return server


def test_points_are_asked_of_giovanni(giovanni, tmp_path, capfd):
    root = tmp_path / "data"
    noah = PRODUCTS["NLDAS_NOAH0125_H"]
    done = get([noah], root, places=[(35.5, -98.25)], period=(date(2017, 1, 1), date(2017, 1, 31)))
    assert done.fetched == 2
    assert files(root) == [
        f"nldas_points/NLDAS_NOAH0125_H_2_0_SoilM_0_{depth}cm_35.5000_-98.2500_20170101_20170131.csv"
        for depth in ("100", "10")
    ]
    asked = giovanni.asked("/timeseries")
    assert asked[0].headers["authorizationtoken"] == SECRET
    queries = sorted(requests.utils.unquote(request.query) for request in asked)
    assert queries[1] == (
        "data=NLDAS_NOAH0125_H_2_0_SoilM_0_10cm&location=[35.5,+-98.25]&time=2017-01-01T00:00:00/2017-02-01T00:00:00"
    )
    basic = giovanni.asked("/signin")[0].headers["authorization"]
    assert basic == requests.auth._basic_auth_str("me", f"{SECRET}pw")
    said = "".join(capfd.readouterr())
    for text in [said, *(p.read_text() for p in root.rglob("*") if p.is_file())]:
        assert SECRET not in text and "me:" not in text


def test_the_token_does_not_follow_to_another_host(giovanni, tmp_path):
    there = giovanni.address.replace("127.0.0.1", "localhost")
    giovanni.put("/elsewhere", b"Timestamp (UTC),Data\n")
    giovanni.files["/timeseries"].faults = [status(302, Location=f"{there}/elsewhere")] * 2
    get([PRODUCTS["NLDAS_NOAH0125_H"]], tmp_path / "data", places=[(35.5, -98.25)])
    assert len(giovanni.asked("/elsewhere")) == 2
    assert all("authorizationtoken" not in request.headers for request in giovanni.asked("/elsewhere"))


def test_the_token_follows_neither_to_another_port_nor_out_of_https(giovanni, tmp_path):
    with Server() as beside:
        beside.put("/elsewhere", b"Timestamp (UTC),Data\n")
        giovanni.files["/timeseries"].faults = [status(302, Location=f"{beside.address}/elsewhere")] * 2
        get([PRODUCTS["NLDAS_NOAH0125_H"]], tmp_path / "data", places=[(35.5, -98.25)])
        assert len(beside.log) == 2
        assert all("authorizationtoken" not in request.headers for request in beside.log)


class Careless(requests.Session):
    """Keeps the header wherever it is sent, as the library does on the way out of the login service."""

    def rebuild_auth(self, prepared_request, response):
        pass


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://data.nasa.gov/b", True),
        ("https://data.nasa.gov:443/b", True),
        ("https://data.nasa.gov:8443/b", False),
        ("http://data.nasa.gov/b", False),
        ("https://bucket.s3.amazonaws.com/b", False),
        ("https://data.nasa.gov.example.org/b", False),
        ("https://urs.earthdata.nasa.gov/oauth/authorize", True),
        ("http://urs.earthdata.nasa.gov/oauth/authorize", False),
        ("https://urs.earthdata.nasa.gov.example.org/oauth/authorize", False),
        ("https://urs.earthdata.nasa.gov@example.org/oauth/authorize", False),
    ],
)
def test_an_account_stays_with_its_host_whatever_the_library_does(address, kept):
    session = fetch_earthdata.guarded(Careless)()
    first = requests.Request("GET", "https://data.nasa.gov/a", headers={"Authorization": f"Bearer {SECRET}"}).prepare()
    response = requests.Response()
    response.request, response.url = first, first.url
    onward = first.copy()
    onward.prepare_url(address, {})
    session.rebuild_auth(onward, response)
    assert ("Authorization" in onward.headers) == kept
    onward.headers["Authorization"] = "Basic of-netrc-for-the-new-host"
    session.rebuild_auth(onward, response)
    assert onward.headers["Authorization"].startswith("Basic")


def test_the_librarys_sessions_are_guarded(server, earthaccess, tmp_path):
    def session():
        made = Careless()
        made.headers["Authorization"] = f"Bearer {SECRET}"
        return made

    earthaccess.library.get_requests_https_session = session
    body, there = HDF5 + b"x", server.address.replace("127.0.0.1", "localhost")
    earthaccess.found.append(Granule(server.put(f"/p/{l3('20170101')}", body, status(302, Location=f"{there}/signed"))))
    server.put("/signed", body)
    noah = replace(PRODUCTS["NLDAS_NOAH0125_H"], url=server.address + "/n/{day:%j}.{hour:02d}.nc", closing=0)
    for hour in range(24):
        server.put(f"/n/001.{hour:02d}.nc", body, status(302, Location=f"{there}/signed"))
    assert get([PRODUCTS["SPL3SMP"], noah], tmp_path, period=(date(2017, 1, 1),) * 2).fetched == 25
    assert len(server.asked("/signed")) == 25
    assert all("authorization" not in request.headers for request in server.asked("/signed"))


def test_no_account_no_points(giovanni, tmp_path):
    (tmp_path / "home" / ".netrc").unlink()
    with pytest.raises(fetch_errors.MissingCredentials, match=r"~/\.netrc"):
        get([PRODUCTS["NLDAS_NOAH0125_H"]], tmp_path / "data", places=[(35.5, -98.25)])
    assert giovanni.log == []


@pytest.mark.parametrize("answer", [page(), status(200, b'{"message": "Unauthorized"}'), status(200, b'""')])
def test_a_sign_in_that_answers_with_no_token(giovanni, tmp_path, answer):
    giovanni.files["/signin"].faults = [answer]
    with pytest.raises(fetch_errors.LoginPage, match="no token"):
        get([PRODUCTS["NLDAS_NOAH0125_H"]], tmp_path / "data", places=[(35.5, -98.25)])
    assert not giovanni.asked("/timeseries")


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (401, fetch_errors.MissingCredentials, "machine urs.earthdata.nasa.gov"),
        (403, fetch_errors.LicenceNotAccepted, "approve"),
    ],
)
def test_a_sign_in_that_is_refused_names_the_account_of_earthdata(giovanni, tmp_path, code, error, words):
    giovanni.files["/signin"].faults = [status(code)]
    with pytest.raises(error, match=words):
        get([PRODUCTS["NLDAS_NOAH0125_H"]], tmp_path / "data", places=[(35.5, -98.25)])


def test_long_series_are_asked_for_in_pieces():
    pieces = fetch_earthdata.pieces(date(1980, 1, 1), date(2018, 12, 31))
    assert pieces[0] == (date(1980, 1, 1), date(2007, 5, 18))  # 10 000 days
    assert pieces[1] == (date(2007, 5, 19), date(2018, 12, 31))
    assert (pieces[0][1] - pieces[0][0]).days == 9999


def test_a_profile_names_its_points_and_windows(monkeypatch, tmp_path):
    """Two sites in one cell of 36 km at 98.776W 35.335N: by 35.3125N 98.8125W; windows and series for no more."""
    (tmp_path / "sites.csv").write_text("name,lon,lat\na,-98.6,35.38\nb,-98.9,35.2\n")
    chosen = {"data.archive.sites": str(tmp_path / "sites.csv"), "data.archive.nldas": "centre"}
    surface = fetch.wish(profile.load("conus", chosen | {"targets": ["surface"]}), window=True)
    assert surface.places == [(35.3125, -98.8125)]
    # Of 9 km the site a is in (341, 871), by section 1 of the grid's definition; b is 0.3 degrees west, 0.18 south.
    rootzone = fetch.wish(profile.load("conus", chosen | {"targets": ["rootzone"]}), window=True)
    assert rootzone.window_suffix == "-window-341-343-868-871"
    assert len(rootzone.places) == 2
    every = fetch.wish(profile.load("conus", chosen | {"targets": ["surface"], "data.archive.nldas": "covering"}))
    assert len(every.places) in {12, 16} and every.window is None
    assert fetch.wish(profile.load("conus"), window=True).window_suffix == "-window"
    assert fetch.wish(profile.load("conus")).window_suffix == ""


def test_the_plan_of_a_few_sites(tmp_path, monkeypatch):
    """7 + 2 + 2 variables at one cell in one piece each; windows of one cell; granules of level 3 are whole."""
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    sites = ["-p", "data.archive.sites=[{lat: 35.38, lon: -98.6}]", "-p", "data.archive.nldas=centre"]
    plan = ["fetch", "plan", "conus", "--window", *sites, "-p", "targets=[rootzone]"]
    done = CliRunner().invoke(cli.app, plan, catch_exceptions=False)
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert lines["NLDAS_FORA0125_H"][1:6] == ["(points)", "2.0", "2000-01-01", "2018-12-31", "7"]
    assert [lines[f"NLDAS_{model}0125_H"][5] for model in ("NOAH", "VIC")] == ["2", "2"]
    assert lines["SPL4SMGP"][1] == "(window)" and lines["SPL4SMGP"][6:8] == ["43.9", "kB"]  # 10976 times 4 bytes
    assert "data.archive.nldas" not in done.stdout
    east = ["-p", "data.archive.sites=[{lat: 45.2, lon: -66.3}]", "-p", "data.archive.nldas=centre"]
    done = CliRunner().invoke(cli.app, ["fetch", "plan", "conus", *east])
    assert done.exit_code == 1 and "none of its pixels lies on the NLDAS grid" in done.stderr


# Stations, soils


STATIONS = "WBAN\tCOUNTRY\tSTATE\tLOCATION\tVECTOR\tNETWORK\n" + "".join(
    "\t".join(row) + "\n"
    for row in [
        ("23907", "US", "TX", "Austin", "33 NW", "USCRN"),
        ("53974", "US", "KS", "Manhattan", "6 SSW", "USCRN"),
        ("26494", "US", "AK", "Port Alsworth", "1 SW", "USCRN"),
        ("99999", "US", "AL", "Valley Head", "1 SSW", "USRCRN"),
        ("88888", "CA", "ON", "Egbert", "1 W", "USCRN"),
    ]
)
LISTING = (
    b"<!DOCTYPE HTML><html><body><table>"
    + b"".join(
        f'<tr><td><a href="{name}">{name}</a></td></tr>'.encode()
        for name in [
            "../",
            "CRND0103-2016-TX_Austin_33_NW.txt",
            "CRND0103-2016-KS_Manhattan_6_SSW.txt",
            "CRND0103-2016-AK_Port_Alsworth_1_SW.txt",
            "CRND0103-2016-AL_Valley_Head_1_SSW.txt",
            "CRND0103-2016-ON_Egbert_1_W.txt",
            "CRND0103-2015-TX_Austin_33_NW.txt",
        ]
    )
    + b"</table></body></html>"
)


def test_stations_of_the_network_proper(server, tmp_path):
    product = PRODUCTS["USCRN daily01"]
    product = replace(product, url=product.url.replace(fetch_products.NCEI, server.address))
    server.put("/stations.tsv", STATIONS.encode())
    server.put("/daily01/2016/", LISTING, status(503))
    for place in ("TX_Austin_33_NW", "KS_Manhattan_6_SSW"):
        server.put(f"/daily01/2016/CRND0103-2016-{place}.txt", b"23907 20160101\n")
    assert get([product], tmp_path, period=(date(2016, 1, 1), date(2016, 6, 1))).fetched == 3
    assert files(tmp_path) == [
        "uscrn/2016/CRND0103-2016-KS_Manhattan_6_SSW.txt",
        "uscrn/2016/CRND0103-2016-TX_Austin_33_NW.txt",
        "uscrn/stations.tsv",
    ]
    folder = tmp_path / "uscrn"
    manifest = (folder / "fetch-manifest.json").read_text()
    assert get([product], tmp_path, period=(date(2016, 1, 1), date(2016, 6, 1))).kept == 3
    # Had it been done in June, the rest of the year would have been lacking ever after.
    in_june = re.sub(r'"fetched": "[^"]*"', '"fetched": "2016-06-15T12:00:00+00:00"', manifest)
    (folder / "fetch-manifest.json").write_text(in_june)
    again = get([product], tmp_path, period=(date(2016, 1, 1), date(2016, 12, 31)))
    assert (again.fetched, again.kept) == (2, 1)
    server.put("/daily01/2017/", b"<html>moved</html>")
    with pytest.raises(fetch_errors.Incomplete, match=r"2017: .*lists no station"):
        get([product], tmp_path, period=(date(2017, 1, 1), date(2017, 6, 1)))


@pytest.mark.data
def test_stations_of_the_real_list(data_root):
    stems = fetch_lists.station_stems(data_root / "uscrn" / "stations.tsv")
    real = next((data_root / "uscrn").glob("CRND0103-2015-*.txt")).name
    assert fetch_lists.listed(f'<a href="{real}">', 2015, stems) == [real]
    assert {"KS_Manhattan_6_SSW", "AZ_Tucson_11_W"} <= stems
    assert not any(stem.startswith(("AK_", "HI_")) for stem in stems)


def test_a_list_of_stations_without_its_columns(tmp_path):
    (tmp_path / "stations.tsv").write_text("WBAN\tSTATE\n1\tTX\n")
    with pytest.raises(fetch_errors.WrongContent, match=r"stations.tsv: no columns \['COUNTRY'"):
        fetch_lists.station_stems(tmp_path / "stations.tsv")


def test_without_the_list_of_stations(server, tmp_path):
    product = PRODUCTS["USCRN daily01"]
    product = replace(product, url=product.url.replace(fetch_products.NCEI, server.address))
    with pytest.raises(fetch_errors.Incomplete, match=r"stations\.tsv"):
        get([product], tmp_path)


def test_a_product_without_granules_keeps_none_from_coming(server, earthaccess, tmp_path):
    soils = replace(PRODUCTS["WISE30sec"], url=server.put("/wise_30sec_v1.zip", b"PK\x03\x04soil"))
    with pytest.raises(fetch_errors.Incomplete, match="holds nothing"):
        get([PRODUCTS["SPL3SMP"], PRODUCTS["SPL4SMLM"], soils], tmp_path)
    assert files(tmp_path) == ["wise/wise_30sec_v1.zip"]
    assert len(earthaccess.logins) == 1


def test_soils(server, tmp_path):
    product = replace(PRODUCTS["WISE30sec"], url=server.put("/wise_30sec_v1.zip", b"PK\x03\x04soil"))
    assert get([product], tmp_path).fetched == 1
    assert files(tmp_path) == ["wise/wise_30sec_v1.zip"]


def test_what_can_be_had_is_had(server, tmp_path):
    soils = replace(PRODUCTS["WISE30sec"], url=f"{server.address}/gone.zip")
    more = replace(soils, folder="more", url=server.put("/here.zip", b"PK\x03\x04"))
    with pytest.raises(fetch_errors.Incomplete, match="1 NotFound"):
        get([soils, more], tmp_path)
    assert files(tmp_path) == ["more/here.zip"]


# The command


SOUTH_SECOND = ["-p", "data.archive.region=[-100,33,-97,36]"]
NEWER = ["-p", "data.archive.smap_l4_version='011'"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "plan", "nothing"], ["no profile 'nothing'"]),
        (["fetch", "plan", "conus412", "-p", "data.start=2016-13-01"], ["data.start"]),
        (["fetch", "plan", "conus", "-p", "data.archive.sites=absent.csv"], ["absent.csv", "columns lat, lon"]),
        (["fetch", "get", "conus", "-p", "data.archive.sites=absent.csv"], ["absent.csv"]),
        (["fetch", "plan", "conus", "-p", "data.archive.region=[-100.1,-100,35,35.01]"], ["no cell of", "-100.1"]),
        (["fetch", "plan", "conus", *SOUTH_SECOND], ["[WEST, EAST, SOUTH, NORTH]", "-97.0"]),
        (["fetch", "get", "conus", *SOUTH_SECOND], ["[WEST, EAST, SOUTH, NORTH]"]),
        (["cube", "conus", *SOUTH_SECOND], ["[WEST, EAST, SOUTH, NORTH]"]),
        (["fetch", "plan", "conus", "--window", *NEWER], ["SPL4SMGP version 011", "smap_l4_collection"]),
        (["fetch", "get", "conus", "--window", *NEWER], ["SPL4SMGP version 011", "smap_l4_collection"]),
        (["fetch", "plan", "conus", "-p", "data.archive.smap_l3_version=010"], ["smap_l3_version", "in quotes"]),
    ],
)
def test_user_errors_are_one_line(arguments, words):
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert done.exit_code == 1
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_plan_prints_and_moves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path / "data"))
    done = CliRunner().invoke(cli.app, ["fetch", "plan", "conus412", "--rate", "0.5"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "geolearn sample" in done.stdout and "34.5 MB" in done.stdout and "0.5 MB/s" in done.stdout
    assert not (tmp_path / "data").exists()
    assert "nothing to fetch" in CliRunner().invoke(cli.app, ["fetch", "plan", "twin"]).stdout
    nothing = CliRunner().invoke(cli.app, ["fetch", "get", "twin"], catch_exceptions=False)
    assert nothing.stdout.startswith("0 files fetched")
