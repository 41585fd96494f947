"""Folders: links are followed and end, a half-made folder is never in the place of a whole one."""

import os
from pathlib import Path

import pytest

import smapnb
from smapnb import folders


def write(path: Path, text: str = "a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_behind_links_to_folders_are_found(tmp_path):
    write(tmp_path / "elsewhere" / "deep" / "b.csv")
    write(tmp_path / "data" / "c.csv")
    write(tmp_path / "data" / "a.txt")
    (tmp_path / "data" / "2015").symlink_to(tmp_path / "elsewhere")
    expected = [tmp_path / "data" / "2015" / "deep" / "b.csv", tmp_path / "data" / "c.csv"]
    assert folders.files_below(tmp_path / "data", "*.csv") == expected
    assert len(folders.files_below(tmp_path / "data")) == 3
    assert folders.files_below(tmp_path / "nowhere") == []


def test_a_link_that_leads_nowhere_is_no_file(tmp_path):
    """As editors lock a file, and as annexes of data show one that is not fetched."""
    write(tmp_path / "a.csv")
    (tmp_path / ".#a.csv").symlink_to("someone@somewhere.123")
    assert folders.files_below(tmp_path, "*.csv") == [tmp_path / "a.csv"]


def test_a_circle_of_links_ends_and_lists_once(tmp_path):
    write(tmp_path / "data" / "x" / "b.csv")
    (tmp_path / "data" / "x" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "y").symlink_to(tmp_path / "data" / "x")
    assert folders.files_below(tmp_path / "data") == [tmp_path / "data" / "x" / "b.csv"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", refused)  # an administrator may read everything
    with pytest.raises(PermissionError, match=str(tmp_path)):
        folders.files_below(tmp_path)


def test_no_module_lists_files_by_rglob():
    """It passes by what lies behind a link to a folder, without a word."""
    own = [p for p in Path(smapnb.__file__).parent.rglob("*.py") if ".rglob(" in p.read_text(encoding="utf-8")]
    assert own == []


def test_inventory_counts_all_but_the_own_attributes(tmp_path):
    for name in ("zarr.json", "a/zarr.json", "a/c/0", "block_2/zarr.json"):
        write(tmp_path / name, "12345")
    assert folders.inventory(tmp_path) == "3 files, 15 bytes"
    assert folders.inventory(tmp_path, leave_out="block_") == "2 files, 10 bytes"
    write(tmp_path / "a" / ".DS_Store")
    assert folders.inventory(tmp_path) == "3 files, 15 bytes"


def test_what_is_no_store_is_someone_elses(tmp_path):
    empty, store = tmp_path / "empty", write(tmp_path / "store" / "zarr.json").parent
    empty.mkdir()
    assert not any(folders.is_someone_elses(path) for path in (tmp_path / "nothing", empty, store))
    letter = write(tmp_path / "mine" / "letter.txt")
    assert folders.is_someone_elses(letter) and folders.is_someone_elses(letter.parent)


def test_a_folder_takes_the_place_of_another(tmp_path):
    write(tmp_path / "s" / "old")
    write(tmp_path / "s.partial" / "new")
    folders.put_in_place(tmp_path / "s.partial", tmp_path / "s")
    assert [str(p.relative_to(tmp_path)) for p in folders.files_below(tmp_path)] == ["s/new"]
