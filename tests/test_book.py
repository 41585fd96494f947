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
from html import unescape
from pathlib import Path

import benchmark_table
import bokeh
import browser
import diagrams
import nbformat
import offline_assets
import pytest
import run_table
import yaml
from browser import PHONE, Seen, browsing, chromium, figures_in, served, visit
from smoke import ROOT, only_one, shared_folder, smoke_run  # noqa: F401  (a fixture)
from sphinx.errors import ExtensionError

from book import __main__ as make_book
from book import build
from smapnb.profile import load

pytestmark = pytest.mark.xdist_group("book")
NOT_CHAPTERS = {"search.html", "genindex.html"}
SMOKE = load("smoke", folder=ROOT / "profiles")
REAL = load("conus412", folder=ROOT / "profiles")


def notebook(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(cells))


def executed(source: str = "1 + 1") -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, execution_count=1)


# The parts, without a browser


def test_synthetic_banner_stands_right_below_the_title():
    title = nbformat.v4.new_markdown_cell("# Training\n\nProse that leads.")
    cells = build.add_banner(notebook(title, executed()), SMOKE).cells
    assert cells[0].source == "# Training"
    assert cells[1].source.startswith(":::{admonition} Synthetic") and "`smoke`" in cells[1].source
    assert cells[1].source.endswith("\n:::")  # else it shows, and the page below lies inside the box
    assert cells[2].source == "Prose that leads."
    assert cells[3].source == "1 + 1"


def test_notebook_without_title_is_refused():
    with pytest.raises(build.BookError, match="title"):
        build.add_banner(notebook(executed()), SMOKE)


def test_only_the_parameters_of_the_run_are_shown():
    cells = [executed("profile = 'smoke'"), executed("profile = 'twin'"), executed("profile")]
    cells[0].metadata.tags, cells[1].metadata.tags = ["parameters"], ["injected-parameters"]
    assert [c.source for c in build.with_actual_parameters(notebook(*cells)).cells] == ["profile = 'twin'", "profile"]
    assert len(build.with_actual_parameters(notebook(cells[0], cells[2])).cells) == 2


def test_failed_and_unexecuted_notebooks_are_refused():
    failed = notebook(executed())
    failed.metadata.papermill = {"exception": True}
    with pytest.raises(build.BookError, match=r"02_training.ipynb.*stopped with an error"):
        build.check_executed(failed, Path("02_training.ipynb"))
    with pytest.raises(build.BookError, match=r"03_hindcast.ipynb.*no cell"):
        build.check_executed(notebook(nbformat.v4.new_code_cell("1")), Path("03_hindcast.ipynb"))
    build.check_executed(notebook(executed()), Path("01_data_preparation.ipynb"))


def test_contents_take_whatever_notebooks_a_run_holds():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    runs = {
        "twin": ["executed/twin/index", "executed/twin/01_data_preparation", "executed/twin/06_trends"],
        "conus412": ["executed/conus412/index"],
    }
    filled = build.fill_toc(toc, runs)
    chapters = {part["caption"]: part["chapters"] for part in filled["parts"]}
    assert chapters["Synthetic twin"] == [
        {"file": "twin"},
        {
            "file": runs["twin"][0],
            "sections": [{"file": runs["twin"][1]}, {"file": runs["twin"][2]}],
        },
    ]
    assert chapters["Real sample"] == [{"file": "executed/conus412/index"}]
    assert set(runs["twin"] + runs["conus412"]) <= set(build.expected_pages(filled))
    assert not re.search(r"glob", yaml.safe_dump(filled))


def test_missing_and_empty_pages_are_named(tmp_path):
    toc = {
        "root": "index",
        "parts": [{"chapters": [{"file": "a", "sections": [{"file": "b"}]}, {"file": "c"}]}],
    }
    for page in ("index", "a", "c"):
        (tmp_path / f"{page}.html").write_text("x" * build.SMALLEST_PAGE)
    (tmp_path / "c.html").write_text("")
    with pytest.raises(build.BookError, match=r": c\.html, b\.html$"):
        build.check_pages(toc, tmp_path)


def test_jupyter_book_2_is_refused(monkeypatch):
    monkeypatch.setattr(build.metadata, "version", lambda package: "2.0.1")
    with pytest.raises(build.BookError, match=r"2\.0\.1.*version 1"):
        build.jupyter_book(Path(), Path(), Path())


def test_missing_data_are_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    line = make_book.missing_data("conus412-quick")
    assert line and str(tmp_path) in line and "\n" not in line
    assert make_book.missing_data("twin") is None
    sample = tmp_path / "conus412" / "CONUSv4f1"
    sample.mkdir(parents=True)
    (sample / "crd.csv").write_text("40,-100\n")
    assert make_book.missing_data("conus412-quick") is None


def test_cdn_addresses_become_local_copies_of_the_installed_wheel(tmp_path):
    url = f"https://cdn.bokeh.org/bokeh/release/bokeh-{bokeh.__version__}.min.js"
    page = offline_assets.vendor(f'const js_urls = ["{url}"];', "../", tmp_path)
    kept = f"bokeh/bokeh-{bokeh.__version__}.min.js"
    assert page == f'const js_urls = ["../_static/vendor/{kept}"];'
    assert (tmp_path / kept).read_bytes() == (offline_assets.BOKEH / "bokeh.min.js").read_bytes()
    with pytest.raises(ExtensionError, match=r"made with Bokeh 2\.4\.3"):
        offline_assets.vendor(url.replace(bokeh.__version__, "2.4.3"), "../", tmp_path)


@pytest.mark.parametrize(
    ("page", "fetched"),
    [
        ('<script src="https://a.org/x.js"></script>', True),
        ('<script async src="https://a.org/loader"></script>', True),
        ('<link href="https://a.org/x.css" rel="stylesheet"/>', True),
        ('<img alt="x" src="https://a.org/x.png">', True),
        ("<style>@font-face { src: url(https://a.org/x.woff2) }</style>", True),
        ('<script>const urls = ["https://a.org/lib/require.min.js"]</script>', True),
        ('<script>await import("https://a.org/module")</script>', True),
        ('<a href="https://a.org/page.html">a source</a>', False),
        ('<link rel="canonical" href="https://a.org/page.html">', False),
        ('<script src="_static/x.js"></script>', False),
    ],
)
def test_what_a_browser_would_fetch_from_outside_is_found(page, fetched):
    assert bool(list(offline_assets.external(page))) == fetched


@pytest.mark.parametrize("profile", [SMOKE, REAL], ids=lambda p: p.name)
def test_information_flow_shows_every_input_and_target_of_the_profile(profile):
    words = unescape(" ".join(re.findall(r">([^<]+)<", diagrams.information_flow(profile))))
    for name in (*profile.inputs.forcing, *profile.inputs.statics):
        assert name.replace("_", " ") in words
    assert all(quantity in words for quantity in profile.targets)
    assert ("Synthetic" in words) == profile.synthetic


def test_benchmark_file_of_another_shape_is_named(tmp_path):
    good = tmp_path / "training.json"
    good.write_text(json.dumps({"title": "Training step", "rows": [{"cell": "packed", "ms": 12.34567}]}))
    shown = " ".join(node.astext() for node in benchmark_table.result(good))
    assert "Training step" in shown and "packed" in shown and "12.35" in shown
    bad = tmp_path / "odd.json"
    bad.write_text('{"rows": 3}')
    with pytest.raises(ExtensionError, match=r"odd\.json"):
        benchmark_table.result(bad)


def test_run_table_says_what_is_recorded_and_what_is_not(tmp_path):
    ran = notebook(executed())
    ran.metadata.papermill = {"duration": 75.2, "end_time": "2026-01-02T03:04:05", "exception": None}
    nbformat.write(ran, tmp_path / "02_training.ipynb")
    entry = {
        "status": "done",
        "end": "2026-01-02T03:04:05+00:00",
        "seconds": 75.2,
        "overrides": {"training.seed": 7},
    }
    row = run_table.notebook_row(tmp_path / "02_training.ipynb", {"notebooks": {"02_training": entry}})
    assert row == ["02_training", "2026-01-02 03:04", "1 min 15 s", "training.seed=7", "done"]
    assert run_table.notebook_row(tmp_path / "02_training.ipynb", {})[-2:] == [
        "as in the profile",
        "not recorded",
    ]


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
        seen = visit(context, base, "page.html")
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
        return [visit(context, base, page) for page in pages]


@pytest.fixture(scope="session")
def from_disk(html: Path, pages: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    chromium()
    with browsing(tmp_path_factory.mktemp("file"), scheme="dark") as context:
        return [visit(context, html.as_uri() + "/", page) for page in pages]


@pytest.fixture(scope="session")
def on_a_phone(html: Path, pages: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    chromium()
    with served(html) as base, browsing(tmp_path_factory.mktemp("phone"), viewport=PHONE) as context:
        return [visit(context, base, page) for page in pages]


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
