"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

from smapnb import profile


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data; tests that ask for it are skipped where the sample is absent."""
    root = profile.data_root()
    if not (root / "conus412").is_dir():
        pytest.skip(f"no real sample: {root / 'conus412'} is not there (SMAPNB_DATA names its parent)")
    return root
