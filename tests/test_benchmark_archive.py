"""The benchmark of the readers runs, holds all contenders to the same bits, and says how many files a second."""

import h5py
import pytest

from benchmarks import archive


@pytest.fixture
def without_xarray(monkeypatch):
    """With or without h5netcdf the same rows."""
    monkeypatch.setattr(archive, "has_h5netcdf", lambda: False)


def test_every_table_in_small(tmp_path, without_xarray):
    contest = archive.contest(tmp_path / "a", (203, 241), "small chunks", days=2, repeats=1)
    assert [row["contender"] for row in contest] == ["smapnb open_l3", "h5py, whole arrays", "h5py, windows"]
    growth = archive.growth(tmp_path / "b", (1, 2), repeats=1)
    assert growth[1]["result MB"] > growth[0]["result MB"] > 0
    others = archive.hours(tmp_path / "c", 1, 1) + archive.windows(tmp_path / "d", 1, 1)
    for row in [*contest, *growth, *others]:
        assert row["median ms"] > 0 and row["files per second"] > 0


def test_copies_are_granules_of_their_day(tmp_path, monkeypatch, without_xarray):
    monkeypatch.setattr(archive, "TEMPLATES", 1)
    files = archive.write_archive(tmp_path, 2, None)
    assert archive.ours(files).sizes["time"] == 2


def test_other_bits_are_an_error(tmp_path, monkeypatch):
    files = archive.write_archive(tmp_path, 1, None)
    found = archive.ours(files)
    found["surface_flag_pm"].values[0, 5] ^= 1
    monkeypatch.setattr(archive, "ours", lambda _: found)
    with pytest.raises(AssertionError):
        archive.check(files, with_xarray=False)
    with h5py.File(files[0]) as file:
        assert len(list(archive.arrays_of(file))) == 8
