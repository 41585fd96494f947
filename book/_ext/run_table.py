"""``{run-table} [PROFILE ...]``: what was run, when, for how long, with which parameters, device and
versions.

Read from the executed notebooks in ``executed/<profile>`` and the run's ``provenance.json`` beside them; what
neither says is shown as "not recorded". It runs and changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

UNKNOWN = "not recorded"
HEADINGS = ("notebook", "finished (UTC)", "run time", "parameters", "commit", "status")
SHOWN_VERSIONS = ("smapnb", "torch", "numpy", "xarray", "zarr", "numba", "hvplot", "bokeh", "papermill")


def table(headings: tuple[str, ...], rows: list[list[str]]) -> nodes.table:
    """Build a table of plain text; custom.css lets it scroll where it is wider than the screen."""

    def line(cells: list[str] | tuple[str, ...]) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph(text=cell)) for cell in cells])

    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1) for _ in headings]
    group += nodes.thead("", line(headings))
    group += nodes.tbody("", *map(line, rows))
    return nodes.table("", group, classes=["run-table"])


def duration(seconds: float | None) -> str:
    """``75.2`` -> ``1 min 15 s``."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{seconds:.1f} s"


def assignments(overrides: dict[str, Any]) -> str:
    """``{"training.seed": 7}`` -> ``training.seed=7``."""
    return ", ".join(f"{k}={v}" for k, v in overrides.items()) or "as in the profile"


def commit(described: str | None) -> str:
    """First digits of a commit, and whether tracked files differed from it."""
    digits, dirty, _ = (described or "").partition("-dirty")
    return f"{digits[:10]}{', changed' if dirty else ''}" if digits else UNKNOWN


def notebook_row(path: Path, provenance: dict[str, Any]) -> list[str]:
    """Cells of one notebook, in the order of `HEADINGS`."""
    executed = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
    recorded = provenance.get("notebooks", {}).get(path.stem, {})
    changed = recorded.get("overrides")  # its own: those of the last run may be another notebook's
    parameters = UNKNOWN if changed is None else assignments(changed)
    end = recorded.get("end") or executed.get("end_time")
    status = "failed" if executed.get("exception") else recorded.get("status", UNKNOWN)
    seconds = recorded.get("seconds") or executed.get("duration")
    return [
        path.stem,
        str(end)[:16].replace("T", " ") if end else UNKNOWN,
        duration(seconds),
        parameters,
        commit(recorded.get("git")),
        status,
    ]


def machine(provenance: dict[str, Any]) -> str:
    """One sentence on what the last command of the run ran on and with."""
    device = provenance.get("device") or {}
    gpu = ", ".join(device.get("gpu") or []) or "no GPU"
    cores = f"{device.get('cpu_cores', '?')} {device.get('cpu', '')} CPU cores".replace("  ", " ")
    versions = provenance.get("versions") or {}
    listed = ", ".join(f"{name} {versions[name]}" for name in SHOWN_VERSIONS if versions.get(name)) or UNKNOWN
    where = f"{cores}, {gpu}; device asked for: {device.get('asked', UNKNOWN)}" if device else UNKNOWN
    return f"Machine: {where}. Python {provenance.get('python', UNKNOWN)}; {listed}."


def run_section(folder: Path) -> list[nodes.Node]:
    """Table and machine of one run; one line when the run holds no notebook."""
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        return [nodes.paragraph(text=f"{folder.name}: not run when the book was built.")]
    recorded = folder / "provenance.json"
    provenance = json.loads(recorded.read_text(encoding="utf-8")) if recorded.exists() else {}
    kind = "synthetic" if provenance.get("synthetic") else "real data"
    heading = nodes.paragraph("", "", nodes.strong(text=folder.name), nodes.Text(f" ({kind})" if provenance else ""))
    rows = [notebook_row(path, provenance) for path in notebooks]
    return [
        heading,
        table(HEADINGS, rows),
        nodes.paragraph(text=machine(provenance), classes=["run-machine"]),
    ]


class RunTable(Directive):
    """With profile names: those runs; without: every run that the book holds."""

    optional_arguments = 100

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        env = self.state.document.settings.env
        executed = Path(env.srcdir) / "executed"
        names = self.arguments or sorted({d.split("/")[1] for d in env.found_docs if d.startswith("executed/")})
        env.note_reread()  # runs change without the page changing
        return [node for name in names for node in run_section(executed / name)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.add_directive("run-table", RunTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
