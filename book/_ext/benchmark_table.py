"""``{benchmark-table}``: the recorded speed measurements, one table a file of ``benchmarks/results``.

A file is a JSON object with ``rows`` (a list of flat objects with the same keys) and, where known, ``title``,
``machine`` and ``recorded``; or the bare list of rows. It measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from run_table import table
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def shown(value: object) -> str:
    """Text of one cell; four digits are enough for a measured number."""
    return f"{float(f'{value:.4g}'):,.10g}" if isinstance(value, float) else str(value)


def once(cells: list[list[str]]) -> list[list[str]]:
    """Return `cells` with what was measured said in the first of its rows only."""
    firsts = ["", *(row[0] for row in cells)]
    return [["" if row[0] == above else row[0], *row[1:]] for above, row in zip(firsts, cells, strict=False)]


def result(path: Path) -> list[nodes.Node]:
    """Heading, table and machine of one file.

    Raises
    ------
    ExtensionError
        The file is not what the module's first lines describe.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    record: dict[str, Any] = content if isinstance(content, dict) else {"rows": content}
    rows = record.get("rows")
    if not rows or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ExtensionError(f"{path}: no 'rows', a list of objects with the measurements")
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = [[shown(row.get(column, "")) for column in columns] for row in rows]
    machine = record.get("machine", "not recorded")
    if isinstance(machine, dict):
        machine = ", ".join(f"{key} {value}" for key, value in machine.items())
    heading = nodes.paragraph("", "", nodes.strong(text=record.get("title", path.stem)))
    recorded = str(record.get("recorded", "date not recorded")).replace("T", " ").replace("+00:00", " UTC")
    note = f"Machine: {machine}. Recorded: {recorded}."
    measured = table(columns, once(cells))
    measured["classes"] = ["benchmark-table"]
    return [heading, measured, nodes.paragraph(text=note, classes=["run-machine"])]


class BenchmarkTable(Directive):
    """Every result, in the order of the file names."""

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        env = self.state.document.settings.env
        env.note_reread()
        files = sorted(RESULTS.glob("*.json"))
        if not files:
            return [nodes.paragraph(text="No measurement is recorded yet; make bench takes them.")]
        return [node for path in files for node in result(path)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
