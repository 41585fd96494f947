"""What a run leaves that was stopped, killed, or could not write; one run of a name at a time."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import nbformat
import pytest
from own_notebooks import add, make_workplace, printed, provenance, run  # noqa: F401  (a fixture)

from smapnb import runner

# What a shell runs in its background ignores Ctrl-C, tests among it, and so do their children unless told.
COMMAND = """
import signal
from smapnb.cli import app
signal.signal(signal.SIGINT, signal.default_int_handler)
app()
"""


def stop(workplace, how):
    """Start a run in a process of its own and send it a signal once its notebook says so; both streams and the code."""
    command = [sys.executable, "-c", COMMAND, "run", "smoke"]
    process = subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 60
    while not (workplace / "begun").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(how)
    told, _ = process.communicate(timeout=60)
    return told, process.returncode


WAITS = "import os, pathlib, time; pathlib.Path('begun').write_text(str(os.getpid())); time.sleep(40)"


def test_a_run_stopped_by_ctrl_c_is_marked_as_failed(workplace):
    """The last cell bears its count while it runs, so that only the mark and the record tell."""
    add(workplace, "01_first", WAITS)
    add(workplace, "02_second")
    assert stop(workplace, signal.SIGINT)[1] != 0
    path = workplace / "runs" / "smoke" / "notebooks" / "01_first.ipynb"
    assert nbformat.read(path, 4).metadata.papermill.exception is True
    states = {stem: entry["status"] for stem, entry in provenance(workplace)["notebooks"].items()}
    assert states == {"01_first": "failed", "02_second": "started"}


def test_a_killed_run_leaves_its_notebook_recorded_as_started_and_no_lock(workplace):
    add(workplace, "01_first", "print(1)")
    run()
    assert provenance(workplace)["notebooks"]["01_first"]["status"] == "done"
    add(workplace, "01_first", WAITS)
    assert stop(workplace, signal.SIGKILL)[1] == -signal.SIGKILL
    assert provenance(workplace)["notebooks"] == {"01_first": {"status": "started"}}
    with suppress(ProcessLookupError):  # its kernel, which ends by itself sooner or later
        os.kill(int((workplace / "begun").read_text()), signal.SIGKILL)
    add(workplace, "01_first", "print(2)")
    assert printed(run()[0]) == "2\n"


def test_one_run_of_a_name_at_a_time(workplace):
    """What the first has made stays as it is when the second is refused."""
    add(workplace, "01_first", "print(1)")
    (path,) = run()
    before = path.read_bytes(), provenance(workplace)
    with (workplace / "runs" / "smoke" / ".lock-run").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(runner.RunError, match=r"another smapnb run works in .*runs/smoke"):
            run()
        assert (path.read_bytes(), provenance(workplace)) == before
        assert run(overrides={"name": "beside"})[0].exists()
    run()


def test_a_disk_without_locks_is_said_and_used(workplace, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    add(workplace, "01_first", "print(1)")
    assert printed(run()[0]) == "1\n"
    assert "no locks on this disk" in caplog.text


@pytest.mark.parametrize("text", ["", '{"notebooks": {"01_fi', "[]", '{"profile": {}}'])
def test_a_broken_record_is_named_before_anything_is_lost(workplace, text):
    add(workplace, "01_first", "print(1)")
    (path,) = run()
    (workplace / "runs" / "smoke" / "provenance.json").write_text(text)
    with pytest.raises(runner.RunError, match=r"runs/smoke/provenance.json: no record of a run .*delete it"):
        run()
    assert printed(path) == "1\n"


def test_output_cut_by_a_full_disk_is_not_kept(workplace, monkeypatch):
    def fills_the_disk(notebook, output, **_):
        output.write_text(nbformat.writes(notebook)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    add(workplace, "01_first", "print(1)")
    monkeypatch.setattr(runner.papermill, "execute_notebook", fills_the_disk)
    with pytest.raises(runner.RunError, match=r"01_first failed: OSError: .*No space left.*none that can be read"):
        run()
    assert list((workplace / "runs" / "smoke" / "notebooks").iterdir()) == []
    assert provenance(workplace)["notebooks"]["01_first"]["status"] == "failed"


def test_the_failure_is_said_also_where_the_record_cannot_be_written(workplace, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    add(workplace, "01_first", "1 / 0")
    monkeypatch.setattr(runner.runner_record, "finish", no_room)
    with pytest.raises(runner.RunError, match="ZeroDivisionError"):
        run()
    assert provenance(workplace)["notebooks"]["01_first"] == {"status": "started"}


def test_settings_are_recorded_as_they_come_out_of_profile_and_overrides(workplace):
    """An edited profile is another one; the default given by -p is none."""
    for name in ("01_first", "02_second", "03_third"):
        add(workplace, name)
    run(only="01")
    run(only="02", overrides={"rules": "author-code"})
    path = workplace / "profiles" / "smoke.yml"
    path.write_text(path.read_text() + "rules: paper-text\n")
    run(only="03")
    first, second, third = (entry["settings"] for entry in provenance(workplace)["notebooks"].values())
    assert first == second != third
