"""Downloads against a server on 127.0.0.1 that fails in every way that servers do."""

import errno
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from misbehaving_server import (  # noqa: F401 (fixtures)
    HDF5,
    LOGIN_PAGE,
    Server,
    chunked,
    loopback_only,
    other,
    page,
    reset,
    running_server,
    short,
    silent,
    status,
    trickle,
)

from smapnb import fetch_download, fetch_errors, fetch_manifest, fetch_many, folders
from smapnb.fetch_errors import shown
from smapnb.fetch_job import Job, Settings

BODY = HDF5 + bytes(range(256)) * 1200  # 307208 bytes: several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Settings(tries=3, first_wait=0.01, longest_wait=2.0, connect_timeout=2.0, read_timeout=0.3)
ROOT = Path(__file__).parent.parent


def fetch(jobs, root, **how):
    jobs = [jobs] if isinstance(jobs, Job) else jobs
    return fetch_many.fetch_many(jobs, root, **{"settings": QUICK, "progress": False, **how})


def fails(job, root, **how):
    """The one failure of a job, whether it ends the whole or is counted; nothing lies under the final name."""
    with pytest.raises(fetch_errors.FetchError) as caught, requests.Session() as session:
        fetch_download.fetch_one(job, root, session, how.get("settings", QUICK), threading.Event())
    assert not (root / job.path).exists()
    with pytest.raises(fetch_errors.FetchError):
        fetch(job, root, **how)
    assert not (root / job.path).exists()
    return caught.value


def names(root):
    """Files of a folder but for the manifest's own."""
    own = {fetch_manifest.NAME, fetch_manifest.LOCK}
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.name not in own)


def test_a_good_file_comes_whole_and_is_recorded(server, tmp_path):
    url = server.put("/data/a.h5", BODY)
    outcome = fetch(Job(url, "p/a.h5", kind="hdf5", product="P", version="009"), tmp_path)
    assert (tmp_path / "p/a.h5").read_bytes() == BODY
    assert (outcome.fetched, outcome.kept, outcome.moved) == (1, 0, len(BODY))
    assert names(tmp_path) == ["a.h5"]
    entry = json.loads((tmp_path / fetch_manifest.NAME).read_text())["files"]["p/a.h5"]
    when = datetime.fromisoformat(entry.pop("fetched"))
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert entry == {"url": url, "size": len(BODY), "sha256": SHA256, "product": "P", "version": "009"}


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    job = Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5")
    fetch(job, tmp_path)
    assert fetch(job, tmp_path).kept == 1
    assert len(server.log) == 1
    (tmp_path / "a.h5").write_bytes(BODY[:100])  # cut by another program since
    assert fetch(job, tmp_path).fetched == 1
    assert (tmp_path / "a.h5").read_bytes() == BODY


def test_a_file_that_still_grew_when_it_was_fetched_is_fetched_again(server, tmp_path):
    today = datetime.now(UTC).date()
    for day, kept in ((today, 0), (today - timedelta(days=1), 1), (None, 1)):
        root = tmp_path / str(day)
        job = Job(server.put("/a.txt", b"january\n"), "a.txt", grows_until=day)
        fetch(job, root)
        server.put("/a.txt", b"january\nfebruary\n")
        assert fetch(job, root).kept == kept
        assert (root / "a.txt").read_text().endswith("january\n" if kept else "february\n")


def test_a_newer_published_file_takes_the_place_of_an_older_fetched_one(server, tmp_path):
    old, new = (Job(server.put("/a", b), "a", sha256=hashlib.sha256(b).hexdigest()) for b in (b"old", b"new"))
    server.put("/a", b"old")
    fetch(old, tmp_path)
    server.put("/a", b"new")
    assert fetch(new, tmp_path).fetched == 1
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_of_unknown_origin_is_adopted_only_if_it_is_the_published_one(server, tmp_path):
    job = Job(server.put("/a.csv", b"published"), "a.csv", sha256=hashlib.sha256(b"published").hexdigest())
    (tmp_path / "a.csv").write_bytes(b"published")
    assert fetch(job, tmp_path).kept == 1
    fresh = tmp_path / "other"
    fresh.mkdir()
    (fresh / "a.csv").write_bytes(b"edited by hand")
    with pytest.raises(fetch_errors.Incomplete, match=r"ForeignFile.*a\.csv.*left alone"):
        fetch(job, fresh)
    assert (fresh / "a.csv").read_bytes() == b"edited by hand"
    assert server.log == []


@pytest.mark.parametrize(
    ("answer", "kind", "words", "tries"),
    [
        (status(401), fetch_errors.MissingCredentials, ["401", "~/.netrc", "urs.earthdata.nasa.gov"], 1),
        (status(401, b"please APPROVE the application"), fetch_errors.LicenceNotAccepted, ["approve"], 1),
        (status(403), fetch_errors.LicenceNotAccepted, ["403", "NASA GESDISC DATA ARCHIVE", "licence"], 1),
        (status(404), fetch_errors.NotFound, ["404", "newer version"], 1),
        (status(410), fetch_errors.NotFound, ["410"], 1),
        (status(400), fetch_errors.Refused, ["400", "browser"], 1),
        (status(429), fetch_errors.TooManyRequests, ["429", "--parallel", "tried 3 times"], 3),
        (status(500), fetch_errors.ServerFailure, ["500", "later", "tried 3 times"], 3),
        (status(503), fetch_errors.ServerFailure, ["503"], 3),
        (status(408), fetch_errors.SlowServer, ["408"], 3),
        (page(), fetch_errors.LoginPage, ["web page in place of data", "~/.netrc"], 1),
        (other(b"404 not really here"), fetch_errors.WrongContent, ["no hdf5 file", "404 not really"], 1),
        (other(HDF5[:5]), fetch_errors.WrongContent, ["5 bytes only"], 1),
        (other(b""), fetch_errors.ShortRead, ["empty"], 3),
        (other(BODY, Content_Encoding="gzip"), fetch_errors.WrongContent, ["re-encoded"], 1),
        (reset, fetch_errors.Unreachable, ["network"], 3),
        (silent(0.7), fetch_errors.SlowServer, ["nothing came for 0.3 s"], 3),
        (status(302, Location="/data-redirect?error=access_denied"), fetch_errors.LicenceNotAccepted, ["approve"], 1),
    ],
)
def test_each_failure_has_its_own_message(server, tmp_path, answer, kind, words, tries):
    server.put("/data-redirect", b"<html>denied</html>")
    url = server.put("/a.h5", BODY, *[answer] * 20)
    with pytest.raises(fetch_errors.FetchError) as caught, requests.Session() as session:
        job = Job(url, "p/a.h5", kind="hdf5", earthdata=True)
        fetch_download.fetch_one(job, tmp_path, session, QUICK, threading.Event())
    assert type(caught.value) is kind
    for word in ["p/a.h5", *words]:
        assert word in str(caught.value)
    assert len(server.asked("/a.h5")) == tries
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (status(401), fetch_errors.MissingCredentials, "machine 127.0.0.1 login"),
        (status(403), fetch_errors.Refused, "machine 127.0.0.1 login"),
        (page(), fetch_errors.LoginPage, "open the address in a browser"),
    ],
)
def test_no_advice_on_earthdata_for_other_archives(server, tmp_path, answer, kind, words):
    error = fails(Job(server.put("/a.h5", BODY, *[answer] * 4), "a.h5", kind="hdf5"), tmp_path)
    assert type(error) is kind
    assert words in str(error) and "urs.earthdata" not in str(error)


def test_only_https_leaves_this_machine(tmp_path):
    assert "not https" in str(fails(Job("http://example.org/a", "a"), tmp_path))


def test_a_host_that_does_not_answer(tmp_path):
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a"
        assert "no connection to 127.0.0.1" in str(fails(Job(url, "a"), tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        LOGIN_PAGE,
        b"\n\n  <HTML>Sign in</HTML>",
        b"\xef\xbb\xbf<!DOCTYPE html><html>Sign in</html>",
        b'<?xml version="1.0"?><!DOCTYPE html><html>Sign in</html>',
        b"<!-- of the proxy --><html>Sign in</html>",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    ],
)
def test_a_login_page_is_no_text_file_either(server, tmp_path, body):
    url = server.put("/a.csv", b"1,2\n", *[page(body)] * 9)
    assert isinstance(fails(Job(url, "a.csv"), tmp_path), fetch_errors.LoginPage)
    assert names(tmp_path) == []


def test_an_error_in_json_is_no_text_file(server, tmp_path):
    url = server.put("/a.csv", b"1,2\n", *[other(b'{"message": "Internal server error"}')] * 9)
    assert isinstance(fails(Job(url, "a.csv"), tmp_path), fetch_errors.WrongContent)
    assert names(tmp_path) == []


def test_whatever_the_login_service_says_is_no_data(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_errors, "EARTHDATA_LOGIN", "localhost")
    there = server.address.replace("127.0.0.1", "localhost")
    server.put("/oauth/authorize", b'{"error": "state unknown"}')
    url = server.put("/a.csv", b"1,2\n", *[status(302, Location=f"{there}/oauth/authorize")] * 2)
    assert isinstance(fails(Job(url, "a.csv", earthdata=True), tmp_path), fetch_errors.LoginPage)


@pytest.mark.parametrize("kind", ["text", "hdf5"])
def test_a_login_page_in_small_pieces(server, tmp_path, kind):
    url = server.put("/a", LOGIN_PAGE.strip(), *[trickle(0.001, 3)] * 2)
    assert isinstance(fails(Job(url, "a", kind=kind), tmp_path), fetch_errors.LoginPage)
    assert names(tmp_path) == []


@pytest.mark.parametrize("answers", [[status(503)], [status(429), status(500)], [reset], [silent(0.6)]])
def test_a_passing_failure_is_got_over(server, tmp_path, answers):
    fetch(Job(server.put("/a.h5", BODY, *answers), "a.h5", kind="hdf5", sha256=SHA256), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    assert len(server.log) == len(answers) + 1


@pytest.mark.parametrize(
    "answer", [short(150_000), silent(0.6, after=150_000)], ids=["short read", "silence in the middle"]
)
def test_a_broken_transfer_goes_on_where_it_broke(server, tmp_path, answer):
    outcome = fetch(Job(server.put("/a.h5", BODY, answer), "a.h5", kind="hdf5"), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    assert server.log[1].headers["range"] == "bytes=150000-"
    assert server.log[1].headers["if-range"] == '"v1"'
    assert outcome.moved == len(BODY)


def piece(start, stop, *, told=True):
    """206 with these bytes, whatever was asked for."""

    def fault(handler, file):
        body = file.body[start:stop]
        span = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(file.body)}"} if told else {}
        handler.head(206, {"Content-Length": len(body), "ETag": file.etag, **span})
        handler.wfile.write(body)

    return fault


@pytest.mark.parametrize(
    "answers",
    [
        [piece(0, 1000)],
        [piece(0, None)],
        [short(150_000), piece(160_000, None)],
        [short(150_000), piece(150_000, None, told=False)],
        [short(150_000), piece(150_000, 200_000)],
    ],
    ids=["unasked", "all of it as a piece", "another piece", "a piece from nowhere", "a smaller piece"],
)
def test_a_piece_is_never_taken_for_the_whole(server, tmp_path, answers):
    fetch(Job(server.put("/a.h5", BODY, *answers), "a.h5", kind="hdf5"), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    assert len(server.log) == len(answers) + 1


def test_where_nothing_tells_the_end_a_file_needs_a_published_length(server, tmp_path):
    def until_closed(handler, file):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + file.body)
        handler.cut()

    url = server.put("/a.h5", BODY, *[until_closed] * 9)
    error = fails(Job(url, "a.h5", kind="hdf5"), tmp_path)
    assert isinstance(error, fetch_errors.ShortRead) and "how long" in str(error)
    assert names(tmp_path) == []
    fetch(Job(url, "a.h5", kind="hdf5", size=len(BODY)), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY


def test_a_redirection_to_no_address(server, tmp_path):
    url = server.put("/a.h5", BODY, *[status(302, Location="http://[::S3cr3t")] * 2)
    error = fails(Job(url, "a.h5", kind="hdf5"), tmp_path)
    assert isinstance(error, fetch_errors.Refused) and "S3cr3t" not in str(error)


def test_a_transfer_spoiled_under_tls_is_tried_again(server, tmp_path, monkeypatch):
    read, calls = urllib3.HTTPResponse.read1, []

    def once_bad(self, *args, **how):
        calls.append(1)
        if len(calls) == 1:
            raise urllib3.exceptions.SSLError("bad record mac: /a.h5?token=S3cr3t")
        return read(self, *args, **how)

    monkeypatch.setattr(urllib3.HTTPResponse, "read1", once_bad)
    assert fetch(Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5"), tmp_path).fetched == 1


@pytest.mark.parametrize(
    ("how", "ranges"), [({"ranges": False}, True), ({"etag": None}, False), ({"etag": 'W/"v1"'}, False)]
)
def test_without_ranges_or_version_a_file_starts_anew(server, tmp_path, how, ranges):
    outcome = fetch(Job(server.put("/a.h5", BODY, short(150_000), **how), "a.h5", kind="hdf5"), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    assert ("range" in server.log[1].headers) == ranges
    assert fetch_manifest.read(tmp_path)["a.h5"]["sha256"] == SHA256
    assert outcome.moved == len(BODY) + 150_000


def test_without_a_version_a_published_checksum_allows_to_go_on(server, tmp_path):
    job = Job(server.put("/a.h5", BODY, short(150_000), etag=None), "a.h5", kind="hdf5", sha256=SHA256)
    assert fetch(job, tmp_path).moved == len(BODY)
    assert (tmp_path / "a.h5").read_bytes() == BODY


def test_a_file_that_changed_between_the_tries_is_not_mixed(server, tmp_path):
    url = server.put("/a.h5", BODY, short(150_000), short(0))
    job = Job(url, "a.h5", kind="hdf5")
    with pytest.raises(fetch_errors.Incomplete):
        fetch(job, tmp_path, settings=Settings(tries=1))
    assert names(tmp_path) == ["a.h5.part", "a.h5.part.json"]
    newer = HDF5 + b"newer" * 90_000
    server.put("/a.h5", newer, etag='"v2"')
    fetch(job, tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == newer
    assert names(tmp_path) == ["a.h5"]


def test_a_part_from_another_address_is_not_continued(server, tmp_path):
    # Servers that count versions give the same tag to different files.
    other_body = HDF5 + b"other" * 60_000
    elsewhere = Job(server.put("/b.h5", other_body, short(100_000)), "a.h5", kind="hdf5")
    with pytest.raises(fetch_errors.Incomplete):
        fetch(elsewhere, tmp_path, settings=Settings(tries=1))
    fetch(Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5"), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY


def test_a_part_longer_than_the_file_starts_anew(server, tmp_path):
    job = Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5")
    (tmp_path / "a.h5.part").write_bytes(BODY + b"more")
    (tmp_path / "a.h5.part.json").write_text(json.dumps({"url": job.url, "version": '"v1"'}))
    fetch(job, tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    assert len(server.log) == 2  # 416, then all of it


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=4))
def test_however_often_it_breaks_the_bytes_are_the_same(cuts):
    import tempfile

    with Server() as server, tempfile.TemporaryDirectory() as folder:
        job = Job(server.put("/a.h5", BODY, *map(short, cuts)), "a.h5", kind="hdf5")
        fetch(job, Path(folder), settings=Settings(tries=6, first_wait=0, read_timeout=5))
        assert (Path(folder) / "a.h5").read_bytes() == BODY


def test_a_wrong_checksum_is_tried_once_more_and_nothing_is_kept(server, tmp_path):
    url = server.put("/a.h5", BODY + b"!", *[])
    error = fails(Job(url, "a.h5", kind="hdf5", sha256=SHA256), tmp_path)
    assert isinstance(error, fetch_errors.WrongChecksum)
    assert SHA256[:12] in str(error) and "tried 2 times" in str(error)
    assert names(tmp_path) == []
    server.put("/b.h5", BODY, other(HDF5 + b"wrong"))
    fetch(Job(server.address + "/b.h5", "b.h5", kind="hdf5", sha256=SHA256), tmp_path)
    assert (tmp_path / "b.h5").read_bytes() == BODY


def test_a_length_other_than_the_published_one_is_refused(server, tmp_path):
    error = fails(Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5", size=len(BODY) - 1), tmp_path)
    assert f"announces {len(BODY)} bytes, its catalogue says {len(BODY) - 1}" in str(error)


def test_no_announced_length(server, tmp_path):
    fetch(Job(server.put("/a.h5", BODY, chunked()), "a.h5", kind="hdf5"), tmp_path)
    assert (tmp_path / "a.h5").read_bytes() == BODY
    url = server.put("/b.h5", BODY, *[chunked(cut_after=1000)] * 9)
    assert isinstance(fails(Job(url, "b.h5", kind="hdf5"), tmp_path), fetch_errors.ShortRead)


def test_a_published_length_is_held_against_what_came(server, tmp_path):
    for cut, error in ((1000, fetch_errors.ShortRead), (0, fetch_errors.WrongChecksum)):
        url = server.put("/a.h5", BODY[: len(BODY) - cut], *[chunked()] * 9)
        size = len(BODY) if cut else len(BODY) - 1
        assert type(fails(Job(url, "a.h5", kind="hdf5", size=size), tmp_path)) is error


def test_a_trickle_is_given_up(server, tmp_path):
    slow = Settings(tries=1, slowest=1000, slow_for=0.2, read_timeout=5)
    started = time.monotonic()
    url = server.put("/a.h5", BODY, *[trickle(0.02)] * 2)
    error = fails(Job(url, "a.h5", kind="hdf5"), tmp_path, settings=slow)
    assert isinstance(error, fetch_errors.SlowServer)
    assert time.monotonic() - started < 3


def test_retry_after_is_respected(server, tmp_path):
    url = server.put("/a.h5", BODY, status(429, Retry_After=1))
    fetch(Job(url, "a.h5", kind="hdf5"), tmp_path)
    assert server.log[1].time - server.log[0].time >= 1
    url = server.put("/b.h5", BODY, *[status(503, Retry_After=3600)] * 2)
    assert "asks to wait 3600 s" in str(fails(Job(url, "b.h5", kind="hdf5"), tmp_path))


def test_retry_after_in_both_its_forms():
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert fetch_errors.seconds_of("120") == 120
    assert fetch_errors.seconds_of("Thu, 01 Jan 2026 12:02:00 GMT", now) == 120
    assert fetch_errors.seconds_of("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert fetch_errors.seconds_of("soon") == fetch_errors.seconds_of(None) == 0


def test_waits_grow_twofold_with_jitter_and_a_limit(server, tmp_path, monkeypatch):
    waits = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: waits.append(seconds))
    url = server.put("/a.h5", BODY, *[status(500)] * 9)
    for jitter in (0.0, 1.0):
        patient = Settings(tries=6, first_wait=1, longest_wait=6, jitter=lambda jitter=jitter: jitter)
        with pytest.raises(fetch_errors.ServerFailure), requests.Session() as session:
            fetch_download.fetch_one(Job(url, "a"), tmp_path, session, patient, stop)
        server.files["/a.h5"].faults = [status(500)] * 9
    assert waits == [0.5, 1, 2, 3, 3, 1, 2, 4, 6, 6]


def test_a_full_disk_stops_all_and_keeps_no_final_name(server, tmp_path, monkeypatch):
    class Full(io.RawIOBase):
        def write(self, chunk):
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self):
            raise AssertionError("never reached")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a, **k: Full() if mode == "ab" else real(self, mode, *a, **k)
    )
    jobs = [Job(server.put(f"/{n}.h5", BODY), f"{n}.h5", kind="hdf5") for n in range(40)]
    with pytest.raises(fetch_errors.DiskFull, match=r"disk of .* is full; make room"):
        fetch(jobs, tmp_path, parallel=2)
    assert not list(tmp_path.glob("*.h5"))
    assert len(server.log) < 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_the_kernels_own_full_disk(server, tmp_path):
    (tmp_path / "a.h5.part").symlink_to("/dev/full")
    url = server.put("/a.h5", BODY)
    real = fetch_download.discard
    fetch_download.discard = lambda part: None
    try:
        with pytest.raises(fetch_errors.DiskFull):
            fetch(Job(url, "a.h5", kind="hdf5"), tmp_path)
    finally:
        fetch_download.discard = real
    assert not (tmp_path / "a.h5").exists()


def test_room_is_looked_at_before_anything_moves(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_many, "free_bytes", lambda folder: 1_000_000)
    url = server.put("/a.h5", BODY)
    jobs = [Job(url, f"{n}.h5", kind="hdf5", size=len(BODY)) for n in range(4)]
    with pytest.raises(fetch_errors.DiskFull, match=r"0\.0 GB are to come.*nothing was moved"):
        fetch(jobs, tmp_path)
    assert server.log == []
    assert fetch(jobs[:3], tmp_path).fetched == 3
    assert fetch_many.free_bytes(tmp_path / "not" / "there") == 1_000_000


def test_a_folder_that_cannot_be_written(server, tmp_path):
    job = Job(server.put("/a", BODY), "a")
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(fetch_errors.NotWritable, match="SMAPNB_DATA"):
            fetch(job, folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_of_another_user(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(fetch_errors.NotWritable, match="SMAPNB_DATA"):
        fetch(Job(server.put("/a", BODY), "a"), tmp_path)


@pytest.mark.parametrize("path", ["../a", "/etc/a", "x/../../a", ""])
def test_no_name_leads_out_of_the_folder(tmp_path, path):
    with pytest.raises(fetch_errors.Refused, match="leaves the folder"):
        fetch(Job("https://example.org/a", path), tmp_path)


def test_parallelism_is_bounded_and_used(server, tmp_path):
    jobs = [Job(server.put(f"/{n}.csv", b"1,2,3\n" * 40, trickle(0.01, 60)), f"{n}.csv") for n in range(12)]
    assert fetch(jobs, tmp_path, parallel=3).fetched == 12
    assert server.most_under_way == 3
    with pytest.raises(fetch_errors.Refused, match="at least one"):
        fetch(jobs, tmp_path, parallel=0)


def test_files_that_cannot_be_had_are_counted_and_the_others_come(server, tmp_path):
    jobs = [Job(server.put(f"/{n}.h5", BODY), f"{n}.h5", kind="hdf5") for n in range(4)]
    jobs += [Job(f"{server.address}/absent{n}", f"absent{n}.h5") for n in range(2)]
    jobs += [Job(server.put("/bad.h5", b"not hdf5"), "bad.h5", kind="hdf5")]
    with pytest.raises(
        fetch_errors.Incomplete, match=r"3 files could not be had \(2 NotFound, 1 WrongContent\); 4 files"
    ):
        fetch(jobs, tmp_path)
    assert names(tmp_path) == [f"{n}.h5" for n in range(4)]


def test_after_many_failures_the_rest_is_not_tried(server, tmp_path):
    jobs = [Job(f"{server.address}/{n}", f"{n}") for n in range(100)]
    with pytest.raises(fetch_errors.Incomplete, match=r"5 files could not be had.*the rest was not tried"):
        fetch(jobs, tmp_path, most_failures=5, parallel=2)
    assert len(server.log) < 40


def test_a_fault_of_our_own_is_not_swallowed(tmp_path):
    def broken():
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        fetch(Job("https://example.org/a", "a"), tmp_path, new_session=broken)


def test_a_deadline_stops(server, tmp_path):
    url = server.put("/a.h5", BODY, trickle(0.01))
    started = time.monotonic()
    with pytest.raises(fetch_errors.Stopped, match="too slow"):
        fetch(Job(url, "a.h5", kind="hdf5"), tmp_path, deadline=0.4)
    assert time.monotonic() - started < 3


CLIENT = """
import signal, sys
from pathlib import Path
from smapnb.fetch_errors import FetchError
from smapnb.fetch_job import Job
from smapnb.fetch_many import fetch_many
signal.signal(signal.SIGINT, signal.default_int_handler)  # which what runs in a shell's background ignores
root, *urls = sys.argv[1:]
try:
    fetch_many([Job(url, f"{n}.h5", kind="hdf5") for n, url in enumerate(urls)], Path(root), parallel=2)
except FetchError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(root, urls):
    command = [sys.executable, "-c", CLIENT, str(root), *urls]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the client did not get that far"
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_goes_on_where_it_was(server, tmp_path, how):
    quick = server.put("/0.h5", BODY)
    slow = server.put("/1.h5", BODY, trickle(0.02, 20_000))
    client = start(tmp_path, [quick, slow])
    part = tmp_path / "1.h5.part"
    wait_for(lambda: (tmp_path / "0.h5").exists() and part.exists() and part.stat().st_size > 60_000)
    client.send_signal(how)
    _, said = client.communicate(timeout=20)
    if how == signal.SIGINT:
        assert client.returncode == 1
        assert "Stopped: interrupted after" in said and "the same command goes on" in said
        assert "Traceback" not in said
    assert not (tmp_path / "1.h5").exists()
    had = part.stat().st_size
    assert 60_000 < had < len(BODY)
    again = start(tmp_path, [quick, slow])
    assert again.communicate(timeout=60)[1] is not None
    assert again.returncode == 0
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "0.h5").read_bytes() == BODY
    assert len(server.asked("/0.h5")) == 1
    assert server.asked("/1.h5")[-1].headers["range"] == f"bytes={had}-"
    assert names(tmp_path) == ["0.h5", "1.h5"]


def test_two_processes_do_not_share_a_folder(server, tmp_path):
    with fetch_manifest.Manifest(tmp_path), pytest.raises(fetch_errors.Busy, match="another smapnb fetch"):
        fetch(Job(server.put("/a", BODY), "a"), tmp_path)
    assert fetch(Job(server.put("/a", BODY), "a"), tmp_path).fetched == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_takes_files(server, tmp_path, monkeypatch, caplog, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folders.fcntl, "flock", flock)
    assert fetch(Job(server.put("/a.h5", BODY), "a.h5", kind="hdf5"), tmp_path).fetched == 1
    assert "no locks on this disk" in caplog.text


def test_a_journal_left_by_a_kill_is_read_but_for_its_torn_line(tmp_path):
    with fetch_manifest.Manifest(tmp_path) as manifest:
        manifest.add("a", {"size": 1, "sha256": "x"})
        line = (tmp_path / fetch_manifest.JOURNAL).read_text()
        killed = line + line.replace('"a"', '"b"')[:-9]
    (tmp_path / fetch_manifest.NAME).unlink()
    (tmp_path / fetch_manifest.JOURNAL).write_text(killed)
    assert fetch_manifest.read(tmp_path) == {"a": {"size": 1, "sha256": "x"}}
    with fetch_manifest.Manifest(tmp_path):
        pass
    assert not (tmp_path / fetch_manifest.JOURNAL).exists()
    assert fetch_manifest.read(tmp_path) == {"a": {"size": 1, "sha256": "x"}}


def test_a_manifest_of_another_kind_is_refused(tmp_path):
    (tmp_path / fetch_manifest.NAME).write_text("[1, 2]")
    with pytest.raises(fetch_errors.ForeignFile, match="not a manifest"):
        fetch([], tmp_path)


SECRET = "S3cr3tT0ken"


@pytest.mark.parametrize(
    "answer", [None, status(401), status(403), status(500), short(100), page(), reset, silent(0.6)]
)
def test_credentials_are_never_written_or_said(server, tmp_path, capfd, answer, caplog):
    caplog.set_level("DEBUG")
    server.put("/signed", BODY, *[answer] * 9 if answer else [])
    to = f"{server.address}/signed?Signature={SECRET}&A-userid={SECRET}"
    server.put("/a.h5", BODY, *[status(302, Location=to)] * 9)
    url = server.address.replace("//", f"//user:{SECRET}@") + f"/a.h5?token={SECRET}"

    def new_session():
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {SECRET}"
        session.cookies.set("session", SECRET)
        return session

    said = ""
    try:
        fetch(Job(url, "p/a.h5", kind="hdf5"), tmp_path, new_session=new_session, progress=True)
    except fetch_errors.FetchError as error:
        import traceback

        said = str(error) + "".join(traceback.format_exception(error))
    assert server.asked("/signed"), "the secret was never in play"
    assert SECRET in server.asked("/a.h5")[0].query
    out = "".join(capfd.readouterr())
    for text in [
        said,
        out,
        caplog.text,
        *(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file()),
    ]:
        assert SECRET not in text
    assert bool(said) == bool(answer)


def test_addresses_are_shown_without_secrets():
    assert shown("https://me:pw@host.org:8443/a/b.h5?token=x#y") == "https://host.org:8443/a/b.h5"
