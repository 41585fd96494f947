"""Executes the notebooks of one profile in order, each in its own kernel, and records what made the results.

It knows notebooks, parameters and files; what a notebook computes and which other it needs, it does not know.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from tqdm import tqdm

from smapnb import runner_record
from smapnb.profile import find, load, run_folder
from smapnb.runner_record import RunError

__all__ = ["RunError", "run"]

KERNEL = "smapnb-run"
# Tag of a cell that needs a file or folder of the run, which an earlier notebook writes where the data hold it.
NEEDS = "needs:"
# debugpy warns about frozen modules in each kernel; a backend set for the parent would swallow the figures.
KERNEL_ENVIRONMENT = {
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}


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
        No such notebook, a notebook without the two parameters, another run in the same folder, a record that cannot
        be read, or a notebook that failed: its partial output stays in ``runs/<name>/notebooks/`` and no later
        notebook is run.
    """
    settings = load(profile, overrides, profiles)
    parameters: dict[str, Any] = {"profile": _findable(profile, profiles), "overrides": dict(overrides or {})}
    sources = _select(notebooks, only)
    loaded = {source: _read(source, parameters) for source in sources}
    folder = run_folder(settings.name)
    targets = {source: folder / "notebooks" / f"{source.stem}.ipynb" for source in sources}
    with runner_record.alone(folder):
        record = runner_record.start(folder, settings, parameters["overrides"], [source.stem for source in sources])
        for target in targets.values():  # an earlier run's output must not pass for this one's
            target.unlink(missing_ok=True)
        with _kernel() as manager, tqdm(sources, unit="notebook", disable=not progress) as bar:
            for source in bar:
                bar.set_description(source.stem)
                target = targets[source]
                try:
                    lacking = _lacking(source, loaded[source], folder)
                    if lacking:
                        _leave_out(loaded[source], lacking, target)
                    else:
                        _execute(loaded[source], parameters, target, manager, progress)
                except BaseException:
                    with suppress(OSError):  # of a full disk; what stopped the notebook says more, the entry "started"
                        runner_record.finish(folder, record, target.stem, "failed", _times(target))
                    raise
                runner_record.finish(folder, record, target.stem, "left out" if lacking else "done", _times(target))
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
        raise RunError(f"no notebooks NN_name.py in {folder}: run smapnb in the folder of the repository")
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


def _lacking(source: Path, notebook: nbformat.NotebookNode, folder: Path) -> list[str]:
    """Name what the notebook needs of the run and does not find, in a store that an earlier notebook wrote."""
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    needed = [tag.removeprefix(NEEDS) for tag in tags if tag.startswith(NEEDS)]
    for store in sorted({name.partition("/")[0] for name in needed}):
        if not (folder / store).exists():
            first = _select(source.parent, None)[0].stem
            raise RunError(f"{source.stem} needs {folder / store}, which is not there: run {first} first")
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
        running.replace(target)
    except BaseException as error:
        kept = _keep_failed(running, target)
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        raise RunError(
            f"{target.stem} failed{_failure(kept, error)}; output so far: {target if kept else 'none that can be read'}"
        ) from error
    finally:
        shutil.rmtree(running.parent)


def _keep_failed(running: Path, target: Path) -> nbformat.NotebookNode | None:
    """Move what a stopped notebook has written, marked as failed; papermill marks no Ctrl-C.

    None, and nothing is moved, where it cannot be read: a full disk cuts it anywhere.
    """
    notebook = _readable(running)
    if notebook is None:
        return None
    notebook.metadata.setdefault("papermill", {})["exception"] = True
    marked = running.with_suffix(".marked")
    try:
        nbformat.write(notebook, marked)
    except OSError:  # no room for the mark; cells that were not executed and the record tell as well
        marked = running
    marked.replace(target)
    return notebook


def _readable(path: Path) -> nbformat.NotebookNode | None:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):  # ValueError: not JSON
        return None


def _times(path: Path) -> dict[str, Any]:
    """Give what papermill noted of a notebook."""
    notebook = _readable(path)
    return dict(notebook.metadata.papermill) if notebook else {}


def _failure(notebook: nbformat.NotebookNode | None, error: Exception) -> str:
    """Name the cell that ran last and what it raised."""
    what = f"{type(error).__name__}: {error}".strip()
    if isinstance(error, papermill.PapermillExecutionError):
        what = f"{error.ename}: {error.evalue}"
    if notebook is None:
        return f": {what}"
    started = [c for c in notebook.cells if c.cell_type == "code" and c.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return f" in the start of its kernel: {what}"
    lines = [line.strip() for line in started[-1].source.splitlines() if line.strip()]
    return f" in cell {len(started)} ({lines[0] if lines else 'empty'}): {what}"
