"""Put the executed notebooks of some runs into the book, build the HTML with Jupyter Book 1.x and check that
it is whole.

``python -m book.build --profiles twin conus412-quick`` writes ``_build/html``. It runs no notebook (``smapnb
run`` does) and never finishes quietly with a page missing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pydantic
import yaml

from book import record
from book.record import BookError
from smapnb.cli import one_line
from smapnb.profile import Profile, ProfileError, load, run_folder

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK_PATTERN = "[0-9][0-9]_*.ipynb"
KERNEL_MODEL = '"panel.models.browser.BrowserInfo"'
FOLDED_FROM = 8  # lines; shorter code is read in passing, longer code parts the prose from its figure
SMALLEST_PAGE = 5_000  # bytes; the theme's frame alone is larger, an empty file is not
BANNER = """:::{{admonition}} Synthetic
:class: warning synthetic-banner
Unless a line or column is labelled "real sample", every number, map and series on this page comes from the simulation
experiment `{name}` ({title}), in which the truth is known by construction: no observation, no finding about the world;
see {{doc}}`/twin`.
:::"""


def add_banner(notebook: nbformat.NotebookNode, profile: Profile) -> nbformat.NotebookNode:
    """Return `notebook` with the "Synthetic" banner right below its title."""
    cell = nbformat.v4.new_markdown_cell(BANNER.format(name=profile.name, title=profile.title))
    cell.id = "synthetic-banner"
    cells = notebook.cells
    place = 1 if cells and cells[0].cell_type == "markdown" and cells[0].source.startswith("# ") else 0
    if not place:
        raise BookError("the notebook does not start with its title (a markdown cell '# ...')")
    title, newline, rest = cells[0].source.partition("\n")
    head = nbformat.v4.new_markdown_cell(title)
    head.id = "title"
    body = [nbformat.v4.new_markdown_cell(rest.lstrip("\n"))] if newline and rest.strip() else []
    return nbformat.from_dict({**notebook, "cells": [head, cell, *body, *cells[1:]]})


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read an executed notebook; refuse one that was cut, as on a full disk, by its path."""
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        words = " ".join(str(error)[:100].split())
        raise BookError(f"{path}: not a notebook that can be read ({words}); run it again") from None


def check_executed(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Refuse a notebook that failed, was stopped or was never run.

    Raises
    ------
    BookError
        Naming the file.
    """
    if notebook.metadata.get("papermill", {}).get("exception"):
        raise BookError(f"{path}: the notebook stopped with an error; run it again before building the book")
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    ran = sum(bool(c.get("execution_count")) for c in code)
    if ran < len(code):
        raise BookError(f"{path}: {ran} of {len(code)} cells of the notebook were executed; run it again")


def with_actual_parameters(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return `notebook` without the default parameters where the run has put its own right below them."""
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    if any("injected-parameters" in t for t in tags):
        notebook.cells = [c for c, t in zip(notebook.cells, tags, strict=True) if "parameters" not in t]
    return notebook


def without_kernel_parts(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return `notebook` without the invisible outputs through which Panel would talk to a kernel that a page
    lacks.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            html = ["".join(o.get("data", {}).get("text/html", "")) for o in cell.outputs]
            dropped = [KERNEL_MODEL in h and '"Figure"' not in h for h in html]
            cell.outputs = [o for o, gone in zip(cell.outputs, dropped, strict=True) if not gone]
    return notebook


def with_long_code_folded(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return `notebook` with its longer code one click away: in the book the figures lead."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and len(cell.source.splitlines()) >= FOLDED_FROM:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    return notebook


MIXED = """:::{admonition} Chapters made with different settings
:class: warning
The chapters of this run were not all made with the same settings: `-p` was given (see the table below) or the profile
was edited in between. They may not belong together.
:::"""


def settings(asked: str) -> tuple[Profile, dict[str, Any]]:
    """Profile of the run of `asked`, a profile's name or path: as it was run, or, where it was not, as the profile
    says; and what is recorded of its notebooks.
    """
    profile = load(asked, folder=ROOT / "profiles")
    path = run_folder(profile.name) / "provenance.json"
    return record.read(path) if path.is_file() else (profile, {})


def collect(asked: str, book: Path) -> list[str]:
    """Copy the executed notebooks of a run into ``book/executed/<name>`` and write the page that introduces them.

    Parameters
    ----------
    asked : str
        Name or path of the profile; <name> is the profile's own.
    book : Path
        Folder of the prose pages.

    Returns
    -------
    list of str
        The pages made, relative to `book`, without suffix, in reading order.

    Raises
    ------
    BookError
        A recorded notebook has not ended well or is not there, or a file cannot be read.
    """
    profile, recorded = settings(asked)
    name = profile.name
    folder = book / "executed" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = run_folder(name)
    found = sorted((run / "notebooks").glob(NOTEBOOK_PATTERN))
    chapters = [path.stem for path in found]
    record.check_whole(run, recorded, chapters)
    for path in found:
        notebook = read_notebook(path)
        check_executed(notebook, path)
        notebook = with_long_code_folded(without_kernel_parts(with_actual_parameters(notebook)))
        if profile.synthetic:
            notebook = add_banner(notebook, profile)
        nbformat.write(notebook, folder / path.name)
    text = introduction(profile, chapters, asked)
    if recorded:
        shutil.copyfile(run / "provenance.json", folder / "provenance.json")
        if record.mixed(recorded, chapters):
            head, blank, rest = text.partition("\n\n")
            text = f"{head}{blank}{MIXED}\n\n{rest}"
    (folder / "index.md").write_text(text, encoding="utf-8")
    return [f"executed/{name}/{stem}" for stem in ("index", *chapters)]


def introduction(profile: Profile, chapters: Sequence[str], asked: str) -> str:
    """Text of a run's first page: what it is, or in one line that it was not made and how to make it."""
    title = f"# {profile.title}\n\n"
    if not chapters:
        need = "" if profile.synthetic else " with `SMAPNB_DATA` naming the folder of the data ({doc}`/data`)"
        command = f"`smapnb run {asked}`"
        return f"{title}This profile was not run when the book was built; {command}{need} makes its chapters.\n"
    banner = BANNER.format(name=profile.name, title=profile.title) + "\n\n" if profile.synthetic else ""
    periods = {
        "data": profile.data,
        "training": profile.training,
        "hindcast": profile.hindcast,
        "evaluation": profile.evaluation,
    }
    rows = "\n".join(f"| {label} | {days.start} | {days.end} |" for label, days in periods.items())
    targets = " and ".join({"surface": "surface", "rootzone": "root-zone"}[t] for t in profile.targets)
    everything = yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False, default_flow_style=None)
    return (
        f"{title}{banner}The run `{profile.name}` trains {targets} moisture under the rule set "
        f"`{profile.rules}` ({{doc}}`/paper`).\n\n"
        f"| period | first day | last day |\n|---|---|---|\n{rows}\n\n"
        f"```{{run-table}} {profile.name}\n```\n\n"
        f":::{{dropdown}} The whole profile, defaults included\n```yaml\n{everything}```\n:::\n"
    )


def run_entry(pages: Sequence[str]) -> dict[str, Any]:
    """Entry of one run in the table of contents: its first page and, below it, the notebooks."""
    first, *notebooks = pages
    below = {"sections": [{"file": page} for page in notebooks]} if notebooks else {}
    return {"file": first, **below}


def fill_toc(toc: dict[str, Any], pages: dict[str, list[str]]) -> dict[str, Any]:
    """Return `toc` with the ``executed/`` entries of each part replaced by the pages of the profiles that
    belong there.

    `pages` is keyed by names or paths of profiles. A part belongs to a profile when it globs it; a profile that no
    part globs goes to the part of its kind:
    with the twin when it is synthetic, with the real sample when not.
    """
    parts, placed = [], set()
    for part in toc["parts"]:
        globbed = [c["glob"].split("/")[1] for c in part["chapters"] if "glob" in c]
        if globbed:
            synthetic = load(globbed[0], folder=ROOT / "profiles").synthetic
            names = [n for n in pages if load(n, folder=ROOT / "profiles").synthetic == synthetic]
            placed.update(names)
            prose = [c for c in part["chapters"] if "glob" not in c]
            part = {**part, "chapters": [*prose, *(run_entry(pages[name]) for name in names)]}
        if part["chapters"]:
            parts.append(part)
    lost = sorted(set(pages) - placed)
    if lost:
        raise BookError(f"_toc.yml has no part for the profiles {lost}")
    return {**toc, "parts": parts}


def expected_pages(toc: dict[str, Any]) -> list[str]:
    """Every page that the table of contents promises, without suffix."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    sections = [section["file"] for chapter in chapters for section in chapter.get("sections", [])]
    return [toc["root"], *(chapter["file"] for chapter in chapters), *sections]


def check_pages(toc: dict[str, Any], html: Path) -> None:
    """Hold the built folder to the table of contents.

    Raises
    ------
    BookError
        Naming each page that is missing or too small to be one.
    """
    wanted = [html / f"{page}.html" for page in expected_pages(toc)]
    lacking = [str(p.relative_to(html)) for p in wanted if not p.is_file() or p.stat().st_size < SMALLEST_PAGE]
    if lacking:
        raise BookError(f"{html}: pages missing or empty: {', '.join(lacking)}")


def jupyter_book(book: Path, toc: Path, out: Path) -> list[str]:
    """Command that builds the HTML; refuses another major version, which would write nothing in silence."""
    version = metadata.version("jupyter-book")
    if not version.startswith("1."):
        raise BookError(f"jupyter-book {version} is installed; the book needs version 1 (pip install 'jupyter-book<2')")
    run = "from jupyter_book.cli.main import main; main()"  # the package has no __main__
    command = [sys.executable, "-c", run, "build", str(book), "--config", str(ROOT / "_config.yml")]
    return [*command, "--toc", str(toc), "--path-output", str(out), "-W", "--keep-going", "--all", "-q"]


def plain_sphinx(book: Path, toc: Path, out: Path) -> list[str]:
    """Command that builds the same pages with Sphinx alone, should Jupyter Book 1.x no longer install."""
    settings = ["-c", str(ROOT / "book" / "_sphinx"), "-D", f"external_toc_path={toc}"]
    build = [str(book), str(out / "_build" / "html"), "-d", str(out / "_build" / ".doctrees")]
    return [sys.executable, "-m", "sphinx", *settings, "-W", "--keep-going", "-E", "-a", "-q", *build]


def build(profiles: Sequence[str], out: Path = ROOT, book: Path = ROOT / "book", engine: str = "jupyter-book") -> Path:
    """Build the book with the chapters of `profiles` and return the folder of the HTML, ``out/_build/html``.

    Raises
    ------
    BookError
        A notebook failed, Jupyter Book reported a warning, or a promised page is missing.
    """
    book, out = book.resolve(), out.resolve()
    html = out / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)  # a page of an earlier build must not pass for one of this
    pages = {name: collect(name, book) for name in profiles}
    toc = fill_toc(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")), pages)
    toc_path = out / "_build" / "_toc.yml"
    toc_path.parent.mkdir(parents=True, exist_ok=True)
    toc_path.write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    command = {"jupyter-book": jupyter_book, "sphinx": plain_sphinx}[engine](book, toc_path, out)
    if subprocess.run(command, check=False).returncode:
        raise BookError("the build reported errors or warnings; see above")
    check_pages(toc, html)
    return html


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m book.build", description=__doc__)
    parser.add_argument(
        "--profiles", nargs="+", default=["twin"], help="names or paths of the profiles whose runs become chapters"
    )
    parser.add_argument("--out", type=Path, default=ROOT, help="where _build/html is written")
    parser.add_argument("--book", type=Path, default=ROOT / "book", help="folder of the prose pages")
    parser.add_argument("--engine", choices=["jupyter-book", "sphinx"], default="jupyter-book")
    chosen = parser.parse_args(arguments)
    try:
        html = build(chosen.profiles, chosen.out, chosen.book, chosen.engine)
    except (BookError, ProfileError, pydantic.ValidationError) as error:
        print(f"book: {one_line(error)}", file=sys.stderr)
        return 1
    print(f"book: {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
