"""``{rules-table}``: what changes between the two sets of rules, from the package, so that the book cannot drift."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from run_table import table
from sphinx.application import Sphinx

from smapnb import rules

HEADINGS = ("what is decided", *rules.SETS, "where the paper says it", "where the scripts do", "name in the package")
WORDS = {"True": "yes", "False": "no", "inf": "no limit"}


def shown(value: object) -> str:
    """Text of one choice, as a reader would say it."""
    return WORDS.get(str(value), str(value).replace("_", " "))


class RulesTable(Directive):
    """One row a choice on which the sets differ, in the order of the package."""

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        rows = [
            [row["decides"], *(shown(row[own]) for own in rules.SETS), row["paper"], row["scripts"], str(name)]
            for name, row in rules.differences().iterrows()
        ]
        node = table(HEADINGS, rows)
        node["classes"] = ["rules-table"]  # its cells may break, unlike those of other tables
        return [node]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.add_directive("rules-table", RulesTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
