"""The command: what it prints, its exit codes, one-line errors."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

import smapnb
from smapnb import cli, cube, runner

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


def test_version():
    assert invoke("--version").stdout.strip() == f"smapnb {smapnb.__version__}"


def test_profiles_lists_every_file_with_its_title():
    result = invoke("profiles")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == sorted(
        path.stem for path in (ROOT / "profiles").glob("*.yml")
    )
    assert "Smoke run" in result.stdout


def test_run_hands_everything_to_the_runner(monkeypatch):
    seen = {}

    def fake(name, only, overrides):
        seen.update(name=name, only=only, overrides=overrides)
        return [Path("runs/smoke/notebooks/03_hindcast.ipynb")]

    monkeypatch.setattr(runner, "run", fake)
    result = invoke("run", "smoke", "--only", "03", "-p", "training.epochs=5", "-p", "title=a=b")
    assert result.exit_code == 0
    assert seen == {"name": "smoke", "only": ["03"], "overrides": {"training.epochs": "5", "title": "a=b"}}
    assert result.stdout.strip() == "runs/smoke/notebooks/03_hindcast.ipynb"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "smoky"], ["smoky", "smoke"]),
        (["run", "smoke", "-p", "training.epoch=5"], ["training.epoch", "Extra inputs"]),
        (["run", "smoke", "-p", "training.epochs=many"], ["training.epochs", "integer"]),
        (["run", "smoke", "-p", "training.epochs"], ["section.key=value"]),
        (["run", "smoke", "-p", "name.first=5"], ["name.first", "not a section"]),
        (["run", "smoke", "-p", "training.epochs=[1"], ["flow sequence"]),
        (["run", "smoke", "--only", "77"], ["77", "known"]),
    ],
)
def test_user_errors_are_one_line_and_a_failing_exit_code(arguments, words, tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for word in words:
        assert word in result.stderr


def test_a_cube_gets_more_days_and_keeps_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path))
    few = ["-p", "data.pixels=2", "-p", "one_year_test=null"]
    assert invoke("cube", "smoke", *few).exit_code == 0
    files = [path for path in (tmp_path / "smoke" / "cube.zarr").rglob("*") if path.is_file()]
    first = {path: path.stat().st_mtime_ns for path in files}
    more = invoke("cube", "smoke", "--append", *few, "-p", "data.end=2018-03-31")
    assert more.exit_code == 0
    assert str(cube.open_cube(more.stdout.strip())["time"].values[-1])[:10] == "2018-03-31"
    assert first and all(path.stat().st_mtime_ns == before for path, before in first.items())
    again = invoke("cube", "smoke", "--append", *few, "-p", "data.end=2018-03-31")
    assert again.exit_code == 1
    assert "nothing to append, it already ends on 2018-03-31" in again.stderr


def test_profiles_outside_a_project_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("profiles")
    assert result.exit_code == 1
    assert "no profiles/*.yml here" in result.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_a_disk_that_refuses_is_one_line_that_names_the_file(monkeypatch, code):
    def refuses(*_, **__):
        raise OSError(code, "what the system says", "runs/smoke/provenance.json")

    monkeypatch.setattr(runner, "run", refuses)
    result = invoke("run", "smoke")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    for word in ("runs/smoke/provenance.json: what the system says", "SMAPNB_RUNS", "the same command goes on"):
        assert word in result.stderr
    assert ("make room" in result.stderr) == (code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def test_a_file_in_the_place_of_the_runs_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "file"))
    result = invoke("run", "smoke")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    assert f"{tmp_path / 'file'}" in result.stderr and "SMAPNB_RUNS" in result.stderr


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(runner, "run", fails)
    with pytest.raises(OSError, match="Input/output"):
        invoke("run", "smoke")
