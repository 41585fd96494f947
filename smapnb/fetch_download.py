"""One file over HTTP: asked for, checked, resumed, and put under its final name only when it is whole.

Bytes go to `NAME.part`, beside a `NAME.part.json` that says which version of the file they belong to; a resumed
part is continued only from that version. What many files have in common (order, threads, disk) is not here.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import requests

from smapnb import __version__
from smapnb import fetch_errors as errors
from smapnb.fetch_answer import check_answer, check_head, disk_errors, get, network_errors
from smapnb.fetch_errors import FetchError, shown
from smapnb.fetch_job import SIGNATURES, Fetched, Job, Settings
from smapnb.fetch_manifest import write_atomically

CHUNK = 1 << 16
# After these nothing of the part is worth keeping.
SPOILED = (errors.LoginPage, errors.WrongContent, errors.WrongChecksum)


def fetch_one(
    job: Job,
    root: Path,
    session: requests.Session,
    settings: Settings,
    stop: threading.Event,
    moved: Callable[[int], None] = lambda n: None,
) -> Fetched:
    """Fetch one file, with as many tries as the settings allow.

    Waits between tries grow twofold from `first_wait`, each drawn between half of it and all of it, and are never
    shorter than the server's Retry-After.

    Parameters
    ----------
    job : Job
    root : Path
        Folder of the data.
    session : requests.Session
        With the account, if one is needed; used by one thread.
    settings : Settings
    stop : threading.Event
        When set, the download ends at the next chunk.
    moved : callable
        Told the number of bytes of each chunk.

    Raises
    ------
    FetchError
        The subclass says what went wrong. Nothing lies under the final name then.
    """
    for attempt in range(1, settings.tries + 1):
        try:
            return _attempt(job, root, session, settings, stop, moved)
        except FetchError as error:
            if isinstance(error, SPOILED):
                discard(part_of(root / job.path))
            if attempt >= min(error.tries, settings.tries) or error.wait > settings.longest_wait:
                raise _with_tries(error, attempt, settings) from None
            pause = min(settings.longest_wait, settings.first_wait * 2 ** (attempt - 1))
            pause = max(pause * (0.5 + 0.5 * settings.jitter()), error.wait)
        if stop.wait(pause):
            raise _stopped(job)
    raise AssertionError("a download needs at least one try")


def read_text(url: str, name: str, session: requests.Session, settings: Settings, earthdata: bool = False) -> str:
    """Read a small text or web page with the patience of a download; nothing of it stays on disk.

    Raises
    ------
    FetchError
        As `fetch_one`.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Job(url, name, kind="listing", earthdata=earthdata)
        fetch_one(job, Path(folder), session, settings, threading.Event())
        return (Path(folder) / name).read_text(encoding="utf-8", errors="replace")


def _with_tries(error: FetchError, attempt: int, settings: Settings) -> FetchError:
    notes = [f"tried {attempt} times"] if attempt > 1 else []
    if error.wait > settings.longest_wait:
        notes.append(f"the server asks to wait {error.wait:.0f} s")
    if notes:
        error.args = (f"{error} ({'; '.join(notes)})",)
    return error


def _stopped(job: Job) -> FetchError:
    return errors.Stopped(f"{job.path}: stopped; what has arrived is kept")


def _attempt(
    job: Job,
    root: Path,
    session: requests.Session,
    settings: Settings,
    stop: threading.Event,
    moved: Callable[[int], None],
) -> Fetched:
    final = root / job.path
    part = part_of(final)
    with disk_errors(job.path, root):
        final.parent.mkdir(parents=True, exist_ok=True)
        digest, offset, validator = _left_over(job, part)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"smapnb/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    timeout = (settings.connect_timeout, settings.read_timeout)
    with network_errors(job, settings), get(session, job, headers, timeout) as response:
        if response.status_code == 416:  # the part is not a beginning of this file
            discard(part)
            raise errors.ShortRead(f"{job.path}: the part on disk does not fit the file of today; it starts anew")
        check_answer(job, response)
        if response.status_code == 200:  # all of it, whatever was asked for
            digest, offset = hashlib.sha256(), 0
        elif not _continues(response, offset):
            discard(part)
            raise errors.ShortRead(
                f"{job.path}: {shown(job.url)} gives another piece than was asked for; {errors.LATER}"
            )
        total = _total(response, offset, job)
        with disk_errors(job.path, root):
            if not offset:
                discard(part)
                _note_version(job, part, response)
            with part.open("ab", buffering=0) as stream:
                for chunk in _chunks(job, response, settings, stop):
                    if not offset:
                        check_head(job, chunk)
                    _write(stream, chunk)
                    digest.update(chunk)
                    offset += len(chunk)
                    moved(len(chunk))
                os.fsync(stream.fileno())
    _check_whole(job, part, offset, total, digest.hexdigest())
    with disk_errors(job.path, root):
        part.replace(final)
        _side(part).unlink(missing_ok=True)
    return Fetched(offset, digest.hexdigest())


def part_of(final: Path) -> Path:
    """Where the bytes of a file lie until it is whole."""
    return final.with_name(final.name + ".part")


def _side(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Remove a part and the note on its version."""
    part.unlink(missing_ok=True)
    _side(part).unlink(missing_ok=True)


def _left_over(job: Job, part: Path) -> tuple[hashlib._Hash, int, str | None]:
    """Digest and length of an earlier try's bytes and the version they belong to; what cannot be trusted goes."""
    digest = hashlib.sha256()
    try:
        note = json.loads(_side(part).read_text(encoding="utf-8"))
        size = part.stat().st_size
        # Without a version of the server's or a checksum nobody could say whether old and new bytes fit together.
        usable = note["url"] == shown(job.url) and bool(note["version"] or job.sha256)
    except (OSError, ValueError, KeyError, TypeError):
        usable, size, note = False, 0, {}
    if not usable or not size or (job.size is not None and size > job.size):
        discard(part)
        return digest, 0, None
    with part.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest, size, note["version"]


def _note_version(job: Job, part: Path, response: requests.Response) -> None:
    tag = response.headers.get("ETag")
    # If-Range takes strong tags only (RFC 9110, section 13.1.5).
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    write_atomically(_side(part), json.dumps({"url": shown(job.url), "version": version}))


def _continues(response: requests.Response, offset: int) -> bool:
    """Whether a 206 is the piece from `offset` on; nobody asks for a piece from the beginning."""
    return offset > 0 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _total(response: requests.Response, offset: int, job: Job) -> int | None:
    """Length of the whole file as announced; None where the server announces none.

    Raises `ShortRead` where nothing would tell the end of the file from a broken connection.
    """
    length = response.headers.get("Content-Length")
    announced = offset + int(length) if length and length.isdigit() else None
    whole = response.headers.get("Content-Range", "").rpartition("/")[2] if offset else ""
    if whole.isdigit():  # a piece may end before the file does
        announced = int(whole)
    if announced is None and job.size is None and not job.sha256 and not getattr(response.raw, "chunked", False):
        raise errors.ShortRead(
            f"{job.path}: {shown(job.url)} does not say how long the file is, so that a cut one could not be told; "
            "look at the proxy, or go on later"
        )
    if announced is not None and job.size is not None and announced != job.size:
        raise errors.WrongChecksum(
            f"{job.path}: the server announces {announced} bytes, its catalogue says {job.size}; go on later"
        )
    return announced if announced is not None else job.size


def _chunks(job: Job, response: requests.Response, settings: Settings, stop: threading.Event) -> Iterator[bytes]:
    """Yield the body as it comes in; give up when it trickles."""
    since, got = time.monotonic(), 0
    # read1: what has come, at once; read and iter_content would wait for a full chunk, however slow.
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        yield chunk
        if stop.is_set():
            raise _stopped(job)
        got += len(chunk)
        passed = time.monotonic() - since
        if passed >= settings.slow_for:
            if got < settings.slowest * passed:
                raise errors.SlowServer(
                    f"{job.path}: {got} bytes in {passed:.0f} s from {shown(job.url)}; {errors.LATER}"
                )
            since, got = time.monotonic(), 0


def _write(stream: BinaryIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:  # an unbuffered write may take less than all of it
        view = view[stream.write(view) :]


def _check_whole(job: Job, part: Path, size: int, total: int | None, digest: str) -> None:
    if total is not None and size < total:
        raise errors.ShortRead(f"{job.path}: {size} of {total} bytes came from {shown(job.url)}; {errors.LATER}")
    head = b""
    if part.is_file():
        with part.open("rb") as stream:
            head = stream.read(512)
    if not head:
        discard(part)
        raise errors.ShortRead(f"{job.path}: {shown(job.url)} is empty; {errors.LATER}")
    check_head(job, head)
    if any(len(head) < len(s) for s in SIGNATURES[job.kind]):
        raise errors.WrongContent(f"{job.path}: {shown(job.url)} is no {job.kind} file: {size} bytes only")
    if (total is not None and size != total) or (job.sha256 and digest != job.sha256):
        raise errors.WrongChecksum(
            f"{job.path}: {size} bytes with SHA-256 {digest[:12]} from {shown(job.url)}, published are "
            f"{total if total is not None else 'any'} with {(job.sha256 or 'any')[:12]}; the file changed on its "
            "server or on its way: try later, then report it"
        )
