"""Executes the notebooks of one profile in order, each in its own kernel, and records what made the results.

It knows notebooks, parameters and files; what a notebook computes and which other it needs, it does not know.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from tqdm import tqdm

from smapnb.profile import Profile, find, load, run_folder

KERNEL = "smapnb-run"
# Tag of a cell that needs a file or folder of the run, which an earlier notebook writes where the data hold it.
NEEDS = "needs:"
# debugpy warns about frozen modules in each kernel; a backend set for the parent would swallow the figures.
KERNEL_ENVIRONMENT = {
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
PACKAGES = (
    *("smapnb", "numpy", "pandas", "scipy", "xarray", "zarr", "dask", "torch", "numba", "shapely"),
    *("matplotlib", "cartopy", "hvplot", "bokeh", "panel", "jupytext", "papermill", "ipykernel"),
)


class RunError(RuntimeError):
    """A notebook cannot be run or has failed; the message names notebook, cell and exception."""


def run(
    profile: str | Path,
    only: str | list[str] | None = None,
    overrides: dict[str, Any] | None = None,
    notebooks: Path = Path("notebooks"),
    profiles: Path = Path("profiles"),
    progress: bool = True,
) -> list[Path]:
    """Execute the notebooks in the order of their names into ``runs/<name>/notebooks/``.

    Parameters
    ----------
    profile : str or Path
        Name or path of the profile.
    only : str or list of str, optional
        Numbers (``"03"``) or names (``"03_hindcast"``) of the notebooks to run; none: all.
    overrides : dict, optional
        Dotted profile key to value, as ``{"training.epochs": 5}``.
    notebooks, profiles : Path
        Folders of the notebooks (py:percent) and of the profiles.
    progress : bool
        Show a bar over the notebooks and one over the cells.

    Returns
    -------
    list of Path
        The notebooks' results. ``runs/<name>/provenance.json`` says what made each of them. A notebook with a cell
        tagged ``needs:<path in the run's folder>`` that is not there is not executed: its result is one line saying so.

    Raises
    ------
    smapnb.profile.ProfileError, pydantic.ValidationError
        No such profile, unknown key, or a value that does not fit. Nothing has been run then.
    RunError
        No such notebook, a notebook without the two parameters, or a notebook that failed: its partial output
        stays in ``runs/<name>/notebooks/`` and no later notebook is run.
    """
    settings = load(profile, overrides, profiles)
    parameters: dict[str, Any] = {"profile": _findable(profile, profiles), "overrides": dict(overrides or {})}
    sources = _select(notebooks, only)
    loaded = {source: _read(source, parameters) for source in sources}
    folder = run_folder(settings.name)
    targets = {source: folder / "notebooks" / f"{source.stem}.ipynb" for source in sources}
    for target in targets.values():  # an earlier run's output must not pass for this one's
        target.unlink(missing_ok=True)
    record = _start_record(folder / "provenance.json", settings, parameters["overrides"], sources)
    with _kernel() as manager, tqdm(sources, unit="notebook", disable=not progress) as bar:
        for source in bar:
            bar.set_description(source.stem)
            status = "failed"
            try:
                lacking = _lacking(loaded[source], folder)
                if lacking:
                    _leave_out(loaded[source], lacking, targets[source])
                else:
                    _execute(loaded[source], parameters, targets[source], manager, progress)
                status = "left out" if lacking else "done"
            finally:
                _finish_record(folder / "provenance.json", record, targets[source], status)
    return list(targets.values())


def _findable(profile: str | Path, profiles: Path) -> str:
    """Name a profile so that a notebook, which looks in the working folder alone, finds the very same file."""
    path, here = find(profile, profiles).resolve(), Path.cwd()
    if path == (here / "profiles" / f"{profile}.yml").resolve():
        return str(profile)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _select(folder: Path, only: str | list[str] | None) -> list[Path]:
    known = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not known:
        raise RunError(f"no notebooks NN_name.py in {folder}")
    if only is None:
        return known
    wanted = [only] if isinstance(only, str) else list(only)
    unknown = [w for w in wanted if not any(w in (path.stem, path.stem[:2]) for path in known)]
    if unknown or not wanted:
        raise RunError(f"no notebook {', '.join(unknown)!r} in {folder}; known: {', '.join(p.stem for p in known)}")
    return [path for path in known if path.stem in wanted or path.stem[:2] in wanted]


def _read(source: Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """Read a notebook and hold its parameters cell to ours; papermill itself would only warn."""
    notebook = jupytext.read(source)
    # papermill wants a language before it looks; the kernel that runs is ours all the same
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    found = papermill.inspect_notebook(notebook)
    if set(found) != set(parameters):
        raise RunError(
            f"{source}: the cell tagged 'parameters' must set {' and '.join(sorted(parameters))} and "
            f"nothing else; it sets {', '.join(sorted(found)) or 'nothing'}"
        )
    notebook.metadata.papermill = {
        "default_parameters": {name: row["default"] for name, row in found.items()},
        "parameters": {},
        "environment_variables": {},
        "version": papermill.__version__,
    }
    return notebook


def _lacking(notebook: nbformat.NotebookNode, folder: Path) -> list[str]:
    """Name what the notebook needs of the run and does not find."""
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    needed = [tag.removeprefix(NEEDS) for tag in tags if tag.startswith(NEEDS)]
    return [name for name in needed if not (folder / name).exists()]


def _leave_out(notebook: nbformat.NotebookNode, lacking: list[str], target: Path) -> None:
    """Write the notebook's title, and in one line why it has nothing more."""
    title = notebook.cells[0].source.partition("\n")[0]
    line = f"Not run: this run has no {', '.join(f'`{name}`' for name in lacking)}; the data at hand do not hold it."
    left = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"{title}\n\n{line}")])
    left.metadata = notebook.metadata
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    nbformat.write(left, partial)
    partial.replace(target)
    tqdm.write(f"{target.stem}: {line}", file=sys.stderr)


@contextmanager
def _kernel() -> Iterator[type[AsyncKernelManager]]:
    """Give a kernel manager that starts this very interpreter, whatever kernels the machine has installed."""
    with tempfile.TemporaryDirectory() as folder:
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "smapnb",
            "language": "python",
            "env": KERNEL_ENVIRONMENT,
            "metadata": {"supported_encryption": "curve"},
        }
        path = Path(folder) / KERNEL / "kernel.json"
        path.parent.mkdir()
        path.write_text(json.dumps(spec), encoding="utf-8")

        class Manager(AsyncKernelManager):
            def _kernel_spec_manager_default(self) -> KernelSpecManager:
                return KernelSpecManager(parent=self, kernel_dirs=[folder])

            def _transport_encryption_default(self) -> str:  # else others on a shared machine can listen
                return "auto" if zmq.has("curve") else "disabled"

        yield Manager


def _execute(
    notebook: nbformat.NotebookNode,
    parameters: dict[str, Any],
    target: Path,
    manager: type[AsyncKernelManager],
    progress: bool,
) -> None:
    """Execute into a file beside `target` and move it there, whole or, after a failure, as far as it came."""
    running = target.parent / ".running" / target.name
    running.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            notebook,
            running,
            parameters=parameters,
            kernel_name=KERNEL,
            language="python",
            progress_bar={"desc": target.stem, "position": 1, "leave": False} if progress else False,
            kernel_manager_class=manager,
        )
    except Exception as error:  # whatever stopped it, the reader needs the cell
        raise RunError(f"{target.stem} failed in {_failure(running, error)}; output so far: {target}") from error
    finally:
        if running.exists():
            running.replace(target)
        shutil.rmtree(running.parent)


def _failure(path: Path, error: Exception) -> str:
    """Name the cell that ran last and what it raised."""
    what = f"{type(error).__name__}: {error}".strip()
    if isinstance(error, papermill.PapermillExecutionError):
        what = f"{error.ename}: {error.evalue}"
    cells = nbformat.read(path, as_version=4).cells if path.exists() else []
    started = [c for c in cells if c.cell_type == "code" and c.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return f"the start of its kernel: {what}"
    lines = [line.strip() for line in started[-1].source.splitlines() if line.strip()]
    return f"cell {len(started)} ({lines[0] if lines else 'empty'}): {what}"


def _start_record(path: Path, settings: Profile, overrides: dict[str, Any], sources: list[Path]) -> dict[str, Any]:
    """Write the record of a run that has begun; notebooks that are not run again keep their earlier entry."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.exists() else {}
    chosen = {source.stem for source in sources}
    record = {
        "profile": settings.model_dump(mode="json"),
        "overrides": overrides,
        "synthetic": settings.synthetic,
        "start": _now(),
        "end": None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(settings),
        "git": _git(),
        "versions": {package: _version(package) for package in PACKAGES},
        "notebooks": {stem: entry for stem, entry in earlier.items() if stem not in chosen},
    }
    _write(path, record)
    return record


def _finish_record(path: Path, record: dict[str, Any], target: Path, status: str) -> None:
    executed = nbformat.read(target, as_version=4).metadata.papermill if target.exists() else {}
    record["notebooks"][target.stem] = {
        "status": status,
        "start": executed.get("start_time"),
        "end": executed.get("end_time"),
        "seconds": executed.get("duration"),
        "overrides": record["overrides"],
        "git": record["git"],
    }
    record["notebooks"] = dict(sorted(record["notebooks"].items()))
    record["end"] = _now()
    _write(path, record)


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(settings: Profile) -> dict[str, Any]:
    """Say what the machine offers; which of it trained the network, the checkpoint records."""
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return {
        "asked": settings.training.device,
        "cpu": platform.processor() or platform.machine(),
        "cpu_cores": os.cpu_count(),
        "gpu": listed.splitlines() if listed else [],
    }


def _git() -> str | None:
    """Give the commit of the working folder, marked ``-dirty`` where tracked files differ from it."""
    return _output(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
