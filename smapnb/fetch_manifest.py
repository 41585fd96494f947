"""The record of what was fetched: path, address, length, SHA-256, time; it survives a kill at any moment.

Each finished file adds one line to a journal; the journal is folded into one JSON file, replaced atomically. It
holds no credential: addresses come from `fetch_errors.shown`.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from smapnb import folders
from smapnb.fetch_errors import Busy, ForeignFile

NAME = "fetch-manifest.json"
JOURNAL = "fetch-manifest.journal"
LOCK = "fetch.lock"

Entry = dict[str, Any]


class Manifest:
    """Entries by path relative to the folder; a context that holds the folder's lock.

    Parameters
    ----------
    root : Path
        Folder of the data; made if absent.

    Raises
    ------
    Busy
        Another process holds the lock (on entering the context).
    ForeignFile
        The JSON file is not one of ours (on entering the context).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}
        self._guard = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Manifest:
        try:
            self._lock = folders.lock(self.root / LOCK)
        except BlockingIOError:
            raise Busy(f"{self.root}: another smapnb fetch is at work here; wait for it, or stop it") from None
        try:
            self.entries = read(self.root)
            self.fold()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.fold()
        self._lock.close()

    def add(self, path: str, entry: Entry) -> None:
        """Record a finished file; on disk when this returns."""
        with self._guard:
            self.entries[path] = entry
            with (self.root / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps({"path": path, **entry}, sort_keys=True) + "\n")
                journal.flush()
                os.fsync(journal.fileno())

    def fold(self) -> None:
        """Write all entries into the JSON file and drop the journal."""
        with self._guard:
            if self.entries:
                text = json.dumps({"format": 1, "files": dict(sorted(self.entries.items()))}, indent=1)
                write_atomically(self.root / NAME, text + "\n")
            (self.root / JOURNAL).unlink(missing_ok=True)


def read(root: Path) -> dict[str, Entry]:
    """Entries of a folder, with those of a journal that a killed process left; {} where there are none."""
    entries: dict[str, Entry] = {}
    path = root / NAME
    if path.is_file():
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise ForeignFile(f"{path}: not a manifest of smapnb fetch; move it away") from error
    journal = root / JOURNAL
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the kill fell into the writing of this line: its file is looked at again
        entries[entry.pop("path")] = entry
    return entries


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file in one step: a reader sees the old one or the new one."""
    part = path.with_name(path.name + ".new")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
