"""Folders: the files below one, also behind symbolic links, a finished one put in the place of another, and locks.

It knows nothing of what the files hold.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn, TextIO

try:
    import fcntl
except ImportError:  # no advisory locks on this system; two processes at once are then the user's care
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """List the files of a folder and of all folders below it, in order; none where there is no such folder.

    Unlike `pathlib.Path.rglob` it goes through symbolic links to folders, as what reads by name does. A folder that is
    met again, as in a circle of links, is listed once.

    Parameters
    ----------
    folder : Path
    pattern : str
        What the names of the files match, case and all.

    Raises
    ------
    OSError
        A folder that cannot be read; it is named.
    """
    found: list[Path] = []
    seen: set[str] = set()
    if not folder.is_dir():
        return found
    for here, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # which of two ways to a folder is taken must not depend on the disk
        matching = (Path(here, name) for name in names if fnmatchcase(name, pattern))
        found += [path for path in matching if path.is_file()]  # a link may lead nowhere
    return sorted(found)


def sha256(files: Mapping[str, Path]) -> str:
    """Digest of names and contents, in the order given."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def inventory(folder: Path, leave_out: str | None = None) -> str:
    """Say how many files and bytes a Zarr group has, without its own attributes.

    Folders whose name starts with `leave_out` do not count.
    """
    sizes = []
    for here, folders, files in os.walk(folder):
        if Path(here) == folder:
            folders[:] = [name for name in folders if leave_out is None or not name.startswith(leave_out)]
            files.remove("zarr.json")  # it holds the attribute that says this
        # Names that begin with a dot are the system's (.DS_Store, .nfs0001); Zarr has none.
        sizes += [Path(here, name).stat().st_size for name in files if not name.startswith(".")]
    return f"{len(sizes)} files, {sum(sizes)} bytes"


def is_someone_elses(path: Path) -> bool:
    """Whether something lies at `path` that is neither an empty folder nor a Zarr group, and so not ours to replace."""
    if path.is_dir():
        return any(path.iterdir()) and not (path / "zarr.json").is_file()
    return path.exists()


def put_in_place(partial: Path, path: Path) -> None:
    """Put a finished folder in the place of the one before, so that no half of either is ever found there."""
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def lock(path: Path) -> TextIO:
    """Hold a lock file until it is closed; a lock goes with its process, also when that is killed.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    """
    held = path.open("a")
    if fcntl is None:
        return held
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise
    except OSError as error:  # disks of clusters often have no locks
        log.warning("%s: no locks on this disk (%s); let nothing else of smapnb work in its folder", path, error)
    return held


def _unreadable(error: OSError) -> NoReturn:
    raise error
