"""``{rules-table}``: what changes between the two sets of rules, from the package, so that the book cannot drift."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from run_table import table
from sphinx.application import Sphinx

from smapnb import rules

HEADINGS = ("what is decided", *rules.SETS, "where the paper says it", "where the scripts do")
WORDS = {"True": "yes", "False": "no", "inf": "no limit"}


def shown(value: object) -> str:
    """Text of one choice, as a reader would say it; a date does not break at its hyphens."""
    text = str(value).removesuffix(".0")
    words = WORDS.get(text, text.replace("_", " "))
    return words.replace("-", "\N{NON-BREAKING HYPHEN}") if words[:1].isdigit() else words


class RulesTable(Directive):
    """One row a choice on which the sets differ, in the order of the package."""

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        differences = rules.differences()
        rows = [
            [row["decides"], *(shown(row[own]) for own in rules.SETS), row["paper"], row["scripts"]]
            for _, row in differences.iterrows()
        ]
        node = table(HEADINGS, rows)
        for line, name in zip(node.findall(nodes.row), ["", *differences.index], strict=True):
            if name:
                line[0] += nodes.paragraph("", "", nodes.literal(text=str(name)))
        node["classes"] = ["rules-table"]  # its cells may break, unlike those of other tables
        return [node]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.add_directive("rules-table", RulesTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
