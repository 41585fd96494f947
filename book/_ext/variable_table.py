"""``{variable-table}``: the package's own table of variables, so that the book cannot drift from it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from run_table import table
from sphinx.application import Sphinx

from smapnb.variables import TABLE

HEADINGS = ("name", "units", "what it is", "valid range", "name in the sample")


class VariableTable(Directive):
    """One row a variable, in the order of the package."""

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        rows = [
            [
                row.name,
                row.units,
                row.long_name,
                f"{row.valid_range[0]:g} – {row.valid_range[1]:g}",
                row.sources.get("authors_csv", "–"),
            ]
            for row in TABLE.values()
        ]
        node = table(HEADINGS, rows)
        node["classes"] = ["variable-table"]  # its descriptions may break, unlike the cells of a run's table
        return [node]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.add_directive("variable-table", VariableTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
