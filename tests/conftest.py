"""Fixtures that several test modules share."""

import os
import signal
from collections.abc import Generator
from datetime import date, timedelta
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from smapnb import profile, variables
from smapnb.grid import EaseGrid
from smapnb.sources import authors_csv

if not os.environ.get("CI"):  # there Hypothesis takes a profile of its own, which has no deadline either
    hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no error of a test
    hypothesis.settings.load_profile("patient")

PATIENCE = 600  # s; the slowest test takes under 3 minutes on 2 cores


class Late(BaseException):
    """A test waits for what does not come. No Exception: Hypothesis would look for a smaller example that hangs."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Raise where a test hangs, as calls of a browser have no limit; compiled code is left to pytest's faulthandler."""

    def late(*_: object) -> None:
        raise Late(f"{item.nodeid}: over {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, 60)  # once more each minute, for an end that hangs as well
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data; tests that ask for it are skipped where the sample is absent."""
    root = profile.data_root()
    if not authors_csv.at_hand(root / "conus412"):
        pytest.skip(f"no real sample in {root / 'conus412'} (SMAPNB_DATA names its parent)")
    return root


def _days(year: int) -> list[date]:
    first = date(year, 4, 1)
    return [first + timedelta(n) for n in range((date(year + 1, 4, 1) - first).days)]


def _write(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="ascii")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """The authors' CSV layout, two years and three pixels.

    Forcing of pixel p on day d of a year is p + d / 1000; SMAP of 2015 is 0.1 (p + 1) on every second day; there is
    no SMAP in 2016; statics are 0.5, missing, 1.
    """
    root = tmp_path / "conus412"
    base = root / "CONUSv4f1"
    lon, lat = EaseGrid(36).center([47, 99, 115], [151, 219, 299])
    _write(base / "crd.csv", [(f"{y:.10f}", f"{x:.9f}") for x, y in zip(lon, lat, strict=True)])
    kinds = {own: variables.TABLE[name].kind for own, name in variables.own_names("authors_csv").items()}
    for year in (2015, 2016):
        days = _days(year)
        _write(base / str(year) / "timeStr.csv", [[day.isoformat()] for day in days])
        # MATLAB counts days from 1 January of the year 0, Python from that of the year 1.
        _write(base / str(year) / "time.csv", [[day.toordinal() + 366] for day in days])
        for own in (own for own, kind in kinds.items() if kind == "forcing"):
            _write(base / str(year) / f"{own}.csv", np.arange(3)[:, None] + np.arange(len(days)) / 1000)
    smap = [[0.1 * (p + 1) if n % 2 else -9999 for n in range(366)] for p in range(3)]
    _write(base / "2015" / "SMAP_AM.csv", smap)
    for own in (own for own, kind in kinds.items() if kind == "static"):
        _write(base / "const" / f"{own}.csv", [[0.5], [-9999], [1]])
    return root
