"""The smoke run that several tests look at: made once a session, by the command that users type, whoever asks
first.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block; the others wait."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Temporary folder that all workers of this session see."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


def command(*arguments: str, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run ``smapnb`` in the root of the repository, its results below `runs`."""
    run = [sys.executable, "-c", "from smapnb.cli import app; app()", *arguments]
    environment = {**os.environ, "SMAPNB_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    return subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ``smapnb run smoke``, with its notebooks executed; all that use it share it and must not
    change it.
    """
    folder = shared_folder(tmp_path_factory) / "runs"
    folder.mkdir(exist_ok=True)
    failed = folder / "failed.txt"
    with only_one(folder / "lock"):
        if not (folder / "smoke" / "provenance.json").exists() and not failed.exists():
            done = command("run", "smoke", runs=folder)
            if done.returncode:
                failed.write_text(done.stdout[-2000:] + done.stderr[-6000:], encoding="utf-8")
    if failed.exists():
        pytest.fail(f"smapnb run smoke failed:\n{failed.read_text(encoding='utf-8')}")
    return folder / "smoke"
