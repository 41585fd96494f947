"""The book holds every page it promises, needs nothing from outside, and shows a reader in a real browser
what it should.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browser
import nbformat
import pytest
import run_table
from browser import PHONE, Seen, browsing, chromium, figures_in, served, visit
from smoke import ROOT, only_one, shared_folder, smoke_run  # noqa: F401  (a fixture)

NOT_CHAPTERS = {"search.html", "genindex.html"}


# The eyes of the tests below

FAULTY = """<!DOCTYPE html><html><head><title>t</title></head><body><article><h1>t</h1>
<img src="absent.png" alt="a picture"><img src="dot.svg"><svg width="20" height="20"></svg>
<span class="math">x</span><script>throw new Error('thrown')</script>
<script src="https://outside.invalid/x.js"></script>
<div style="width: 600px; height: 5px">wide</div>
<div style="width: 50px; overflow: hidden; white-space: nowrap">a long line that is cut off</div>
</article></body></html>"""


@pytest.mark.browser
def test_each_fault_of_a_page_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "PATIENCE_MS", 2_000)
    chromium()
    (tmp_path / "page.html").write_text(FAULTY)
    (tmp_path / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    with served(tmp_path) as base, browsing(tmp_path / "profile", viewport=PHONE) as context:
        (seen,) = visit(context, base, ["page.html"])
    assert any("absent.png" in failure for failure in seen.failed)
    assert any("outside.invalid" in url for url in seen.outside)
    assert any("thrown" in error for error in seen.errors)
    facts = seen.facts
    assert len(facts["broken"]) == 1 and len(facts["unnamed"]) == 2
    assert facts["math"] == 1 and facts["rendered"] == 0
    assert facts["width"] == 608 and facts["viewport"] == 390  # 600 and the body's margin of 8
    assert len(facts["wide"]) == 1 and len(facts["clipped"]) == 1


def test_missing_chromium_says_what_to_install_and_fails_in_ci(monkeypatch):
    monkeypatch.setattr(browser, "find_chromium", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        chromium()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        chromium()


# The whole book, built from the smoke run


def build_book(engine: str, folder: Path, runs: Path) -> Path:
    """HTML built by the command behind ``make book``, from a copy of the prose and the notebooks below
    `runs`.
    """
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("executed", "__pycache__"))
    options = [
        "--profiles",
        "smoke",
        "conus412",
        "--book",
        folder / "book",
        "--out",
        folder,
        "--engine",
        engine,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "book.build", *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "SMAPNB_RUNS": str(runs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def html(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = shared_folder(tmp_path_factory) / "book"
    folder.mkdir(exist_ok=True)
    with only_one(folder / "lock"):
        built = folder / "_build" / "html"
        if not (folder / "whole").exists():
            shutil.rmtree(folder / "book", ignore_errors=True)
            built = build_book("jupyter-book", folder, smoke_run.parent)
            (folder / "whole").touch()
    return built


@pytest.fixture(scope="session")
def pages(html: Path) -> list[str]:
    found = [p.relative_to(html) for p in sorted(html.rglob("*.html"))]
    return [str(p) for p in found if p.parts[0] != "_static"]


@pytest.mark.slow
def test_every_notebook_of_the_run_is_a_chapter_marked_synthetic(html, smoke_run):  # noqa: F811
    notebooks = sorted((smoke_run / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        page = (html / "executed" / "smoke" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert page.index("</h1>") < page.index("synthetic-banner")
    assert (html / "index.html").is_file()


@pytest.mark.slow
def test_run_that_was_not_made_has_a_page_that_says_so(html):
    page = (html / "executed" / "conus412" / "index.html").read_text(encoding="utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert "was not run when the book was built; smapnb run conus412 with SMAPNB_DATA" in words
    assert "synthetic-banner" not in page


@pytest.mark.slow
def test_no_chapter_prints_a_warning_or_a_path_of_this_machine(smoke_run):  # noqa: F811
    for path in sorted((smoke_run / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
                assert not re.search(r"\w*Warning\b", text), f"{path.stem}: {text[-500:]}"
                assert str(smoke_run) not in text, f"{path.stem}: {text[-500:]}"


@pytest.mark.slow
def test_run_table_holds_the_recorded_times(html, smoke_run):  # noqa: F811
    recorded = json.loads((smoke_run / "provenance.json").read_text(encoding="utf-8"))
    page = (html / "runs.html").read_text(encoding="utf-8")
    for stem, entry in recorded["notebooks"].items():
        assert stem in page and run_table.duration(entry["seconds"]) in page
    assert f"torch {recorded['versions']['torch']}" in page


@pytest.mark.slow
def test_plain_sphinx_builds_the_same_pages(html, pages, smoke_run, tmp_path):  # noqa: F811
    plain = build_book("sphinx", tmp_path, smoke_run.parent)
    assert {p for p in pages if p not in NOT_CHAPTERS} <= {str(p.relative_to(plain)) for p in plain.rglob("*.html")}


@pytest.mark.slow
def test_plots_ask_for_no_graphics_card(html, pages):
    asking = [p for p in pages if '"output_backend":"webgl"' in (html / p).read_text(encoding="utf-8")]
    assert asking == []


# What a reader sees


@pytest.fixture(scope="session")
def over_http(html: Path, pages: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    chromium()
    with served(html) as base, browsing(tmp_path_factory.mktemp("http")) as context:
        return visit(context, base, pages)


@pytest.fixture(scope="session")
def from_disk(html: Path, pages: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    chromium()
    with browsing(tmp_path_factory.mktemp("file"), scheme="dark") as context:
        return visit(context, html.as_uri() + "/", pages)


@pytest.fixture(scope="session")
def on_a_phone(html: Path, pages: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    chromium()
    with served(html) as base, browsing(tmp_path_factory.mktemp("phone"), viewport=PHONE) as context:
        return visit(context, base, pages)


@pytest.fixture(params=["over_http", "from_disk", "on_a_phone"])
def seen(request: pytest.FixtureRequest) -> list[Seen]:
    return request.getfixturevalue(request.param)


@pytest.mark.browser
@pytest.mark.slow
def test_no_page_fails_or_asks_outside(seen):
    assert {s.page: s.failed + s.outside for s in seen if s.failed or s.outside} == {}


@pytest.mark.browser
@pytest.mark.slow
def test_no_page_has_a_script_error(seen):
    assert {s.page: s.errors for s in seen if s.errors} == {}


@pytest.mark.browser
@pytest.mark.slow
def test_each_interactive_plot_is_drawn(seen, html):
    promised = {s.page: figures_in(html / s.page) for s in seen}
    assert sum(promised.values()) > 0
    assert {s.page: len(s.facts["figures"]) for s in seen} == promised
    blank = {s.page: [f for f in s.facts["figures"] if f["ink"] < 30] for s in seen}
    assert {page: figures for page, figures in blank.items() if figures} == {}


@pytest.mark.browser
@pytest.mark.slow
def test_every_image_loads_and_has_a_text_for_those_who_cannot_see_it(seen):
    assert {
        s.page: s.facts["broken"] + s.facts["unnamed"] for s in seen if s.facts["broken"] + s.facts["unnamed"]
    } == {}


@pytest.mark.browser
@pytest.mark.slow
def test_mathematics_is_set(seen):
    assert sum(s.facts["math"] for s in seen) > 9  # the paper's equations alone
    assert {s.page: s.facts["rendered"] for s in seen} == {s.page: s.facts["math"] for s in seen}
    assert {s.page for s in seen if s.facts["mathErrors"]} == set()


@pytest.mark.browser
@pytest.mark.slow
def test_nothing_sticks_out_or_is_cut_off(seen):
    assert {s.page: s.facts["width"] for s in seen if s.facts["width"] > s.facts["viewport"]} == {}
    assert {s.page: s.facts["wide"] + s.facts["clipped"] for s in seen if s.facts["wide"] + s.facts["clipped"]} == {}
    beyond = {s.page: [f["title"] for f in s.facts["figures"] if f["right"] > s.facts["viewport"]] for s in seen}
    assert {page: figures for page, figures in beyond.items() if figures} == {}


@pytest.mark.browser
@pytest.mark.slow
def test_every_chapter_has_one_title(seen):
    chapters = [s for s in seen if s.page not in NOT_CHAPTERS]
    assert {s.page: s.facts["headings"] for s in chapters} == {s.page: 1 for s in chapters}
