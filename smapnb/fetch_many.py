"""Many files at once: bounded parallelism, room on the disk, progress, a clean stop, one account of what failed.

Threads take jobs from a queue; each has a session of its own. What has arrived when the process ends, in whatever
way, is found again by the next call.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from tqdm import tqdm

from smapnb import fetch_errors as errors
from smapnb.fetch_answer import disk_errors
from smapnb.fetch_download import CHUNK, fetch_one, part_of
from smapnb.fetch_errors import FetchError, shown
from smapnb.fetch_job import Fetched, Job, Settings
from smapnb.fetch_manifest import Manifest

# Above the bytes to come: a disk filled to the last byte harms others.
SPARE = 0.02
SHOWN_FAILURES = 3


@dataclass
class Outcome:
    """What a call did.

    Attributes
    ----------
    fetched, kept : int
        Files that were moved, and files that lay there already.
    moved : int
        Bytes moved.
    failures : list of FetchError
        One for each file that could not be had.
    """

    fetched: int = 0
    kept: int = 0
    moved: int = 0
    failures: list[FetchError] = field(default_factory=list)


def fetch_many(
    jobs: Iterable[Job],
    root: Path,
    *,
    parallel: int = 4,
    settings: Settings | None = None,
    new_session: Callable[[], requests.Session] = requests.Session,
    progress: bool = True,
    most_failures: int = 25,
    deadline: float | None = None,
) -> Outcome:
    """Fetch files into a folder; those that lie there already are left.

    Parameters
    ----------
    jobs : iterable of Job
    root : Path
        Folder of the data.
    parallel : int
        Connections at once.
    settings : Settings, optional
    new_session : callable
        Makes the session of one thread, with the account.
    progress : bool
        Show a bar.
    most_failures : int
        After so many files that could not be had the rest is not tried.
    deadline : float, optional
        Seconds after which to stop.

    Raises
    ------
    DiskFull
        The disk has too little room for what is still to come; nothing is moved then.
    Incomplete
        Some files could not be had; the others are in place.
    Stopped
        Interrupted, or past the deadline.
    FetchError
        What would befall every file (credentials, licence, full disk).
    """
    # Its debug messages hold whole addresses, and with them signatures and tokens.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    if parallel < 1:
        raise errors.Refused(f"--parallel {parallel}: at least one connection is needed")
    with disk_errors("the manifest", root), Manifest(root) as manifest:
        outcome = Outcome()
        missing = _missing(jobs, manifest, outcome)
        _check_room(missing, root)
        if missing:
            works = _Works(root, manifest, settings or Settings(), new_session, outcome)
            works.run(missing, parallel, progress, most_failures, deadline)
    _account(outcome)
    return outcome


def _missing(jobs: Iterable[Job], manifest: Manifest, outcome: Outcome) -> list[Job]:
    """Jobs whose file is not there yet; what lies there without an entry is held against the published checksum."""
    missing: dict[str, Job] = {}
    for job in jobs:
        _check_path(job)
        path, entry = manifest.root / job.path, manifest.entries.get(job.path)
        if not path.is_file():
            missing[job.path] = job
            continue
        size = path.stat().st_size
        if entry and job.grows_until and str(entry.get("fetched", ""))[:10] <= job.grows_until.isoformat():
            missing[job.path] = job
        elif entry and entry["size"] == size and (not job.sha256 or entry["sha256"] == job.sha256):
            outcome.kept += 1
        elif (job.sha256 or job.size is not None) and not entry:
            found = Fetched(size, _sha256(path))
            if (job.sha256 or found.sha256) != found.sha256 or (job.size or size) != size:
                outcome.failures.append(
                    errors.ForeignFile(
                        f"{job.path}: the file that lies there is not the published one; it is left alone (remove it "
                        "to fetch the published one)"
                    )
                )
            else:
                manifest.add(job.path, _entry(job, found, moved=False))
                outcome.kept += 1
        else:  # of unknown origin, or changed since: the owner's file takes its place once it is whole
            missing[job.path] = job
    return list(missing.values())


def _check_path(job: Job) -> None:
    """File names come from servers too: none may lead out of the folder."""
    parts = Path(job.path).parts
    if Path(job.path).is_absolute() or ".." in parts or not parts:
        raise errors.Refused(f"{job.path!r}: a path that leaves the folder of the data")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _entry(job: Job, fetched: Fetched, *, moved: bool) -> dict[str, object]:
    return {
        "url": shown(job.url),
        "size": fetched.size,
        "sha256": fetched.sha256,
        "product": job.product,
        "version": job.version,
        "fetched" if moved else "found": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _check_room(missing: Sequence[Job], root: Path) -> None:
    # Files of wholly unknown length count as nothing.
    to_come = sum(_to_come(job, root) for job in missing)
    free = free_bytes(root)
    if to_come * (1 + SPARE) > free:
        raise errors.DiskFull(
            f"{root}: {to_come / 1e9:.1f} GB are to come, {free / 1e9:.1f} GB are free; make room, or set SMAPNB_DATA "
            "to a larger disk (nothing was moved)"
        )


def _to_come(job: Job, root: Path) -> int:
    part = part_of(root / job.path)
    return max(0, (job.size or job.about or 0) - (part.stat().st_size if part.is_file() else 0))


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk of a folder, which need not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


class _Works:
    """The threads of one call, and what they share."""

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        settings: Settings,
        new_session: Callable[[], requests.Session],
        outcome: Outcome,
    ) -> None:
        self.root, self.manifest, self.settings = root, manifest, settings
        self.new_session, self.outcome = new_session, outcome
        self.stop = threading.Event()
        self.todo: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[FetchError | BaseException | None] = queue.SimpleQueue()
        self.guard = threading.Lock()

    def run(
        self, missing: Sequence[Job], parallel: int, progress: bool, most_failures: int, deadline: float | None
    ) -> None:
        """Work off the jobs; raises what must end the whole."""
        for job in missing:
            self.todo.put(job)
        known = all(job.size or job.about for job in missing)
        total = sum(_to_come(job, self.root) for job in missing) if known else None
        # Daemons: after an interrupt nobody waits for a server that is silent; parts on disk are always whole.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(parallel, len(missing)))]
        with tqdm(total=total, unit="B", unit_scale=True, disable=not progress, desc="fetch") as self.bar:
            for thread in threads:
                thread.start()
            end = time.monotonic() + deadline if deadline else None
            try:
                self._collect(len(missing), most_failures, end)
            except KeyboardInterrupt:
                raise errors.Stopped(self._state("interrupted", len(missing))) from None
            finally:
                self.stop.set()
                for thread in threads:
                    thread.join(timeout=2)

    def _collect(self, n_jobs: int, most_failures: int, end: float | None) -> None:
        for _ in range(n_jobs):
            while True:
                try:
                    result = self.done.get(timeout=0.2)  # short, so that an interrupt is seen
                    break
                except queue.Empty:
                    if end is not None and time.monotonic() > end:
                        raise errors.Stopped(self._state("too slow, given up", n_jobs)) from None
            if result is None:
                self.outcome.fetched += 1
                self.bar.set_postfix_str(f"{self.outcome.fetched}/{n_jobs} files", refresh=False)
                continue
            if not isinstance(result, FetchError) or result.everywhere:
                raise result
            self.outcome.failures.append(result)
            if len(self.outcome.failures) >= most_failures:
                _account(self.outcome, "the rest was not tried")

    def _state(self, why: str, n_jobs: int) -> str:
        done = f"{why} after {self.outcome.fetched} of {n_jobs} files"
        return f"{done}; what has arrived is kept, and the same command goes on from there"

    def _work(self) -> None:
        session: requests.Session | None = None
        try:
            while not self.stop.is_set():
                try:
                    job = self.todo.get_nowait()
                except queue.Empty:
                    return
                session = session or self.new_session()
                self.done.put(self._one(job, session))
        except BaseException as error:  # shown by the thread that collects; a silent thread would hang the call
            self.done.put(error)
        finally:
            if session is not None:
                session.close()

    def _one(self, job: Job, session: requests.Session) -> FetchError | None:
        try:
            fetched = fetch_one(job, self.root, session, self.settings, self.stop, self._moved)
        except FetchError as error:
            return error
        self.manifest.add(job.path, _entry(job, fetched, moved=True))
        return None

    def _moved(self, n: int) -> None:
        with self.guard:
            self.outcome.moved += n
            self.bar.update(n)


def _account(outcome: Outcome, more: str = "") -> None:
    """Raise where files are missing: how many of each kind, and the first ones in full."""
    if not outcome.failures:
        return
    kinds = Counter(type(error).__name__ for error in outcome.failures)
    counts = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    first = "; ".join(str(error) for error in outcome.failures[:SHOWN_FAILURES])
    rest = f"{outcome.fetched + outcome.kept} files are in place" + (f"; {more}" if more else "")
    error = errors.Incomplete(f"{len(outcome.failures)} files could not be had ({counts}); {rest}. First: {first}")
    error.everywhere = bool(more)
    raise error
