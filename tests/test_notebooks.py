"""The notebooks: paired, well formed, and giving the committed numbers when the smoke run executes them."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from references.notebook_outputs import FILE, TAG, checked, pretend_printed, sources, with_references

from smapnb import plot
from smapnb.profile import project_folder

ROOT = Path(__file__).resolve().parents[1]
KEPT = {"tags", "mystnb"}
every_notebook = pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)


def content(notebook):
    return [(c.cell_type, c.source, {k: v for k, v in c.metadata.items() if k in KEPT}) for c in notebook.cells]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@every_notebook
def test_pair_holds_the_same_and_no_outputs(source):
    pair = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    command = "jupytext --to ipynb --update notebooks/*.py"
    assert content(pair) == content(jupytext.read(source)), f"{source.stem}: the pair differs; run {command}"
    for cell in code(pair):
        assert not cell.outputs and cell.execution_count is None, f"{source.stem}: outputs are committed"


@every_notebook
def test_form(source):
    notebook = jupytext.read(source)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert "You will learn" in notebook.cells[0].source
    assert notebook.cells[-1].cell_type == "markdown" and "learned" in notebook.cells[-1].source
    tagged = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.source for cell in tagged] == ['profile = "smoke"\noverrides = {}']
    imports = [cell for cell in code(notebook) if re.search(r"^(import|from) ", cell.source, re.MULTILINE)]
    assert imports == code(notebook)[:1], "imports stand together, first"
    for cell in code(notebook):
        assert len(cell.source.splitlines()) <= 25, f"{source.stem}: too long: {cell.source.splitlines()[0]}"
        assert "def " not in cell.source, f"{source.stem}: logic belongs in the package: {cell.source}"


def plots(cell):
    """Calls of functions of smapnb.plot in a cell: name, call."""
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    for call in calls:
        module, _, name = ast.unparse(call.func).rpartition(".")
        if module == "plot":
            yield name, call


@every_notebook
def test_figures_say_what_they_show_and_whether_it_is_synthetic(source):
    drawn = 0
    for cell in code(jupytext.read(source)):
        for name, call in plots(cell):
            drawn += 1
            signature = inspect.signature(getattr(plot, name))
            if "synthetic" in signature.parameters:
                given = [ast.unparse(k.value) for k in call.keywords if k.arg == "synthetic"]
                by_column = name == "table" and given == ["None"]  # which plot.table itself holds to its columns
                told = given == ["synthetic"] or by_column
                assert told, f"{source.stem}: plot.{name} must be told synthetic=synthetic"
            if signature.return_annotation == "Figure":
                alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
                assert len(alt) > 20, f"{source.stem}: no alternative text for plot.{name}"
    assert drawn >= 5


def test_notebooks_find_the_project_from_their_own_folder(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    assert project_folder().resolve() == ROOT
    monkeypatch.chdir(ROOT)
    assert project_folder() == Path()


def test_references_are_for_the_cells_that_are_checked():
    texts = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(texts) == {source.stem for source in sources()}
    for source in sources():
        cells = checked(jupytext.read(source))
        assert len(cells) == len(texts[source.stem]) > 0
        for text in texts[source.stem]:
            assert re.search(r"\d", text), f"{source.stem}: a reference without a number checks nothing"


@pytest.mark.slow
def test_smoke_run_gives_the_reference_numbers(tmp_path):
    """Executed by nbval: every cell runs, and those tagged for it print what the reference says."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for source in sources():
        nbformat.write(with_references(source), tmp_path / "notebooks" / f"{source.stem}.ipynb")
    done = nbval(tmp_path)
    assert done.returncode == 0, done.stdout[-5000:]


def test_nbval_does_fail_on_another_number(tmp_path):
    """Guard of the test above: a checked cell that prints something else is a failure."""
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_code_cell("print(0.81)", metadata={"tags": [TAG]})
    pretend_printed(cell, "0.82\n")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "notebooks" / "01_wrong.ipynb")
    done = nbval(tmp_path)
    assert done.returncode == 1
    assert "0.82" in done.stdout and "0.81" in done.stdout, done.stdout


def nbval(folder):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=300",
    ]
    command += [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir",
        ".",
        "-c",
        os.devnull,
        "notebooks",
    ]
    environment = os.environ | {"SMAPNB_RUNS": str(folder / "runs"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=540)
