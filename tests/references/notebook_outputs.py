"""Attach the committed reference outputs to the notebooks, and take them anew from a smoke run.

A reference is what a cell tagged ``nbval-check-output`` printed in a run of ``smoke``. Renew with

    python tests/references/notebook_outputs.py

and look at the difference before you commit it: a number that has moved needs a reason.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("smoke.json")
TAG = "nbval-check-output"


def sources() -> list[Path]:
    """The notebooks' texts, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def checked(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells whose printed text is checked."""
    return [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def pretend_printed(cell: nbformat.NotebookNode, text: str) -> None:
    """Give a cell an output as if it had been run; nbval refuses outputs of cells that never ran."""
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    cell.execution_count = 1


def with_references(source: Path) -> nbformat.NotebookNode:
    """The notebook of `source` as if it had printed the references; nbval compares a new run with it."""
    notebook = jupytext.read(source)
    cells, texts = checked(notebook), json.loads(FILE.read_text(encoding="utf-8"))[source.stem]
    for cell, text in zip(cells, texts, strict=True):
        pretend_printed(cell, text)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def main() -> None:
    """Run the profile ``smoke`` and write what its checked cells print."""
    from smapnb import runner

    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SMAPNB_RUNS"] = folder
        paths = runner.run("smoke")
        texts = {path.stem: [printed(c) for c in checked(nbformat.read(path, as_version=4))] for path in paths}
    partial = FILE.with_suffix(".partial")
    partial.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(FILE)


if __name__ == "__main__":
    main()
