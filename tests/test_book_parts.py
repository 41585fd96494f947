"""The parts of the book, without building it: banner, contents, checks, offline assets, tables and drawings."""

from __future__ import annotations

import json
import re
import sys
import time
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import benchmark_table
import bokeh
import diagrams
import nbformat
import offline_assets
import pytest
import rules_table
import run_table
import yaml
from docutils import nodes
from sphinx.errors import ExtensionError

from book import __main__ as make_book
from book import build, record
from smapnb import claims, rules
from smapnb.profile import load

ROOT = Path(__file__).resolve().parents[1]
SMOKE = load("smoke", folder=ROOT / "profiles")
REAL = load("conus412", folder=ROOT / "profiles")


def notebook(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(cells))


def executed(source: str = "1 + 1") -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, execution_count=1)


def test_synthetic_banner_stands_right_below_the_title():
    title = nbformat.v4.new_markdown_cell("# Training\n\nProse that leads.")
    cells = build.add_banner(notebook(title, executed()), SMOKE).cells
    assert cells[0].source == "# Training"
    assert cells[1].source.startswith(":::{admonition} Synthetic") and "`smoke`" in cells[1].source
    assert cells[1].source.endswith("\n:::")  # else it shows, and the page below lies inside the box
    assert "Unless a line or column is labelled" in cells[1].source and "real sample" in cells[1].source
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


def test_long_code_is_folded_and_short_code_stays_in_sight():
    book = notebook(executed("\n".join(["1"] * 7)), executed("\n".join(["1"] * 8)))
    book.cells[1].metadata["tags"] = ["mine"]
    folded = build.with_long_code_folded(book)
    assert [cell.metadata.get("tags", []) for cell in folded.cells] == [[], ["mine", "hide-input"]]


def test_failed_and_unexecuted_notebooks_are_refused():
    failed = notebook(executed())
    failed.metadata.papermill = {"exception": True}
    with pytest.raises(build.BookError, match=r"02_training.ipynb.*stopped with an error"):
        build.check_executed(failed, Path("02_training.ipynb"))
    with pytest.raises(build.BookError, match=r"03_hindcast.ipynb: 0 of 1 cells"):
        build.check_executed(notebook(nbformat.v4.new_code_cell("1")), Path("03_hindcast.ipynb"))
    half = notebook(executed(), nbformat.v4.new_code_cell(" "), nbformat.v4.new_code_cell("2"))
    half.metadata.papermill = {"exception": None}  # as papermill leaves it after Ctrl-C
    with pytest.raises(build.BookError, match=r"04_core_sites.ipynb: 1 of 2 cells"):
        build.check_executed(half, Path("04_core_sites.ipynb"))
    build.check_executed(notebook(executed(), nbformat.v4.new_code_cell(" ")), Path("05_crn.ipynb"))
    build.check_executed(notebook(nbformat.v4.new_markdown_cell("# Left out")), Path("06_trends.ipynb"))
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
    (sample / "2015").mkdir(parents=True)  # as a fetch leaves it that never reached the server
    assert make_book.missing_data("conus412-quick") == line
    (sample / "crd.csv").write_text("40,-100\n")
    assert make_book.missing_data("conus412-quick") is None


def test_of_the_agencies_files_the_first_that_lacks_is_said(monkeypatch, tmp_path):
    """The sample is none of them, so that having it does not help."""
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    (tmp_path / "conus412" / "CONUSv4f1").mkdir(parents=True)
    (tmp_path / "conus412" / "CONUSv4f1" / "crd.csv").write_text("40,-100\n")
    line = make_book.missing_data("conus")
    assert line and line.startswith(f"conus is not run: no folder {tmp_path}") and "\n" not in line
    assert "smapnb fetch get conus" in line and "conus412" not in line


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
        ('<script src="//cdn.a.org/x.js"></script>', True),
        ("<script src=//cdn.a.org/x.js></script>", True),
        ('<link rel=stylesheet href="//cdn.a.org/x">', True),
        ('<img src="a.png" srcset="a.png 1x, https://a.org/b.png 2x">', True),
        ("<source srcset='//a.org/b.png 2x, a.png'>", True),
        ('<style>@import "//a.org/x";</style>', True),
        ('<style>@import url( "https://a.org/x.css" );</style>', True),
        ('<p style="background: url(//a.org/x.png)">', True),
        ('<script>const urls = ["//a.org/lib/require.min.js"]</script>', True),
        ('<video poster="https://a.org/x.png"></video>', True),
        ('<img src="a.png" srcset="a.png 1x, b.png 2x">', False),
        ('<style>@import "x.css"; p { background: url(data:image/png;base64,//8A) }</style>', False),
        ('<a href="//a.org/page.html">a source</a>', False),
        ('<a href="https://a.org/page.html">a source</a>', False),
        ('<link rel="canonical" href="https://a.org/page.html">', False),
        ('<script src="_static/x.js"></script>', False),
    ],
)
def test_what_a_browser_would_fetch_from_outside_is_found(page, fetched):
    assert bool(list(offline_assets.external(page))) == fetched


@pytest.mark.parametrize(
    ("sheet", "left"),
    [('@import "//fonts.a.org/x.css";', "//fonts.a.org/x.css"), ("p { src: url(https://a.org/x) }", "https://a.org/x")],
)
def test_a_book_that_would_fetch_is_refused(tmp_path, sheet, left):
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    (tmp_path / "index.html").write_text('<link rel="stylesheet" href="own.css">')
    (tmp_path / "own.css").write_text("p { background: url(x.png) }")
    offline_assets.make_offline(app, None)
    (tmp_path / "own.css").write_text(sheet)
    with pytest.raises(ExtensionError, match=f"own.css: {re.escape(left)}"):
        offline_assets.make_offline(app, None)
    (tmp_path / "own.css").write_text("")
    (tmp_path / "index.html").write_text(f"<style>{sheet}</style>")
    with pytest.raises(ExtensionError, match=f"index.html: {re.escape(left)}"):
        offline_assets.make_offline(app, None)


@pytest.mark.parametrize("profile", [SMOKE, REAL], ids=lambda p: p.name)
def test_information_flow_shows_every_input_and_target_of_the_profile(profile):
    words = unescape(" ".join(re.findall(r">([^<]+)<", diagrams.information_flow(profile))))
    for name in (*profile.inputs.forcing, *profile.inputs.statics):
        assert name.replace("_", " ") in words
    assert all(quantity in words for quantity in profile.targets)
    assert ("Synthetic" in words) == profile.synthetic


def test_benchmark_file_of_another_shape_is_named(tmp_path):
    good = tmp_path / "training.json"
    rows = [{"cell": "packed", "ms": 12.34567}, {"cell": "looped", "ms": 26310.4}]
    good.write_text(json.dumps({"title": "Training step", "rows": rows}))
    shown = " ".join(node.astext() for node in benchmark_table.result(good))
    assert "Training step" in shown and "packed" in shown and "12.35" in shown and "26,310" in shown
    bad = tmp_path / "odd.json"
    bad.write_text('{"rows": 3}')
    with pytest.raises(ExtensionError, match=r"odd\.json"):
        benchmark_table.result(bad)


def test_what_was_measured_is_said_once_for_neighbouring_rows():
    assert benchmark_table.once([["a", "1"], ["a", "2"], ["b", "3"], ["a", "4"]]) == [
        ["a", "1"],
        ["", "2"],
        ["b", "3"],
        ["a", "4"],
    ]


def test_run_table_says_what_is_recorded_and_what_is_not(tmp_path):
    ran = notebook(executed())
    ran.metadata.papermill = {"duration": 75.2, "end_time": "2026-01-02T03:04:05", "exception": None}
    nbformat.write(ran, tmp_path / "02_training.ipynb")
    entry = {
        "status": "done",
        "end": "2026-01-02T03:04:05+00:00",
        "seconds": 75.2,
        "overrides": {"training.seed": 7},
        "git": "0123456789abcdef-dirty",
    }
    record = {"overrides": {"training.epochs": 2}, "git": "f" * 40, "notebooks": {"02_training": entry}}
    row = run_table.notebook_row(tmp_path / "02_training.ipynb", record)
    expected = ["2026-01-02 03:04", "1 min 15 s", "training.seed=7", "0123456789, changed", "done"]
    assert row == ["02_training", *expected]
    assert len(row) == len(run_table.HEADINGS)
    assert run_table.notebook_row(tmp_path / "02_training.ipynb", {})[-3:] == ["not recorded"] * 3


def write_run(folder, overrides):
    """A run of two notebooks, each made with its own overrides."""
    profile = SMOKE.model_dump(mode="json") | {"name": folder.name}
    record = {"profile": profile, "overrides": overrides[-1], "notebooks": {}}
    for stem, own in zip(("01_data_preparation", "02_training"), overrides, strict=True):
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
        title = nbformat.v4.new_markdown_cell("# Title")
        nbformat.write(notebook(title, executed()), folder / "notebooks" / f"{stem}.ipynb")
        record["notebooks"][stem] = {"status": "done", "overrides": own, "git": None}
    (folder / "provenance.json").write_text(json.dumps(record))


def test_chapters_made_with_different_settings_are_said_on_the_first_page(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs" / "smoke", [{"training.seed": "7"}, {"training.seed": "7"}])
    build.collect("smoke", tmp_path)
    page = tmp_path / "executed" / "smoke" / "index.md"
    assert "different settings" not in page.read_text()
    write_run(tmp_path / "runs" / "smoke", [{}, {"training.seed": "7"}])
    build.collect("smoke", tmp_path)
    assert ":::{admonition} Chapters made with different settings" in page.read_text()


@pytest.mark.parametrize(
    ("settings", "differ"), [(["a", "a"], False), (["a", "b"], True), (["a", None], True)], ids=["one", "two", "older"]
)
def test_an_edited_profile_is_other_settings_and_the_default_by_p_is_not(settings, differ):
    entries = [{"overrides": {}, "settings": settings[0]}, {"overrides": {"rules": "author-code"}}]
    entries[1] |= {"settings": settings[1]} if settings[1] else {}
    assert record.mixed(dict(zip("ab", entries, strict=True)), "ab") == differ


def rewrite(folder, change):
    """Change the record of a run."""
    path = folder / "provenance.json"
    recorded = json.loads(path.read_text())
    change(recorded)
    path.write_text(json.dumps(recorded))


@pytest.mark.parametrize("status", ["failed", "started"])
def test_a_run_that_is_not_whole_is_refused(tmp_path, monkeypatch, status):
    """Failed by Ctrl-C with every cell counted; killed; a chapter whose file is gone; one left out is fine."""
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "smoke"
    write_run(folder, [{}, {}])
    rewrite(folder, lambda recorded: recorded["notebooks"]["02_training"].update(status=status))
    with pytest.raises(build.BookError, match=rf"runs/smoke: not whole: 02_training \({status}\)"):
        build.collect("smoke", tmp_path)
    rewrite(folder, lambda recorded: recorded["notebooks"]["02_training"].update(status="left out"))
    assert len(build.collect("smoke", tmp_path)) == 3
    (folder / "notebooks" / "02_training.ipynb").unlink()
    with pytest.raises(build.BookError, match=r"02_training \(no file\)"):
        build.collect("smoke", tmp_path)


@pytest.mark.parametrize("text", ["", '{"cells": [', "{}"])
def test_a_notebook_or_record_that_cannot_be_read_is_named(tmp_path, monkeypatch, text):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "smoke"
    write_run(folder, [{}, {}])
    (folder / "notebooks" / "02_training.ipynb").write_text(text)
    with pytest.raises(build.BookError, match=r"02_training.ipynb: not a notebook"):
        build.collect("smoke", tmp_path)
    (folder / "provenance.json").write_text(text)
    with pytest.raises(build.BookError, match=r"smoke/provenance.json: no record"):
        build.collect("smoke", tmp_path)


def test_a_record_of_another_version_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs" / "smoke", [{}, {}])
    rewrite(tmp_path / "runs" / "smoke", lambda recorded: recorded["profile"]["training"].update(epoch=3))
    with pytest.raises(build.BookError, match=r"provenance.json: its profile .*training.epoch: Extra inputs"):
        build.collect("smoke", tmp_path)


@pytest.mark.parametrize("command", [lambda path: make_book.main(["--no-run", "--profile", path]), build.main])
def test_a_misspelt_key_is_one_line(tmp_path, monkeypatch, capsys, command):
    path = tmp_path / "bad.yml"
    path.write_text((ROOT / "profiles" / "smoke.yml").read_text().replace("epochs:", "epoch:"))
    given = ["--profiles", str(path), "--out", str(tmp_path), "--book", str(tmp_path)]
    assert command(given if command is build.main else str(path)) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and told.startswith("book: ") and "training.epoch: Extra inputs" in told


def test_a_profile_given_by_its_path_is_found_under_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    text = (ROOT / "profiles" / "smoke.yml").read_text().replace("name: smoke", "name: mine")
    (tmp_path / "profile.yml").write_text(text)
    asked = str(tmp_path / "profile.yml")
    assert build.collect(asked, tmp_path) == ["executed/mine/index"]
    assert f"`smapnb run {asked}`" in (tmp_path / "executed/mine/index.md").read_text()
    write_run(tmp_path / "runs" / "mine", [{}, {}])
    pages = {asked: build.collect(asked, tmp_path)}
    assert pages[asked][1:] == ["executed/mine/01_data_preparation", "executed/mine/02_training"]
    toc = build.fill_toc(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")), pages)
    assert "executed/mine/02_training" in build.expected_pages(toc)
    assert make_book.missing_data(asked) is None


def test_rules_table_shows_every_choice_on_which_the_sets_differ_as_a_reader_would_say_it():
    (node,) = rules_table.RulesTable.run(None)
    rows = [[cell.astext() for cell in row.findall(nodes.entry)] for row in node.findall(nodes.row)]
    assert rows[0][:3] == ["what is decided", "paper-text", "author-code"]
    found = {row[0].split("\n\n")[1]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}  # below: its name
    sets = [vars(rules.of(name)) for name in ("paper-text", "author-code")]
    assert set(found) == {name for name in sets[0] if sets[0][name] != sets[1][name]} - {"name"}
    # The differences that the paper's section II-C and the scripts are known for.
    assert (found["core_coldest"]["paper-text"], found["core_coldest"]["author-code"]) == ("4", "0")
    assert found["crn_farthest"]["paper-text"] == "no limit" and found["crn_coldest_kept"]["paper-text"] == "yes"
    assert "_" not in found["bottom_layer"]["paper-text"]


@pytest.mark.parametrize("page", ["claims", "rules"])
def test_pages_on_claims_and_rules_are_in_the_contents(page):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    reference = {part["caption"]: part["chapters"] for part in toc["parts"]}["Reference"]
    assert {"file": page} in reference and (ROOT / "book" / f"{page}.md").is_file()


def test_example_of_a_claim_in_the_book_is_the_claim():
    text = (ROOT / "book" / "claims.md").read_text(encoding="utf-8")
    (example,) = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1))
    (own,) = [claim for claim in claims.load() if claim.id == example["id"]]
    assert claims.Claim.model_validate(example) == own


def test_directives_of_the_book_are_registered():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    extensions = {path.stem for path in (ROOT / "book" / "_ext").glob("*.py")}
    assert set(config["sphinx"]["local_extensions"]) == extensions


MEETS = """
import os, pathlib, sys, time
here, mine, other = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(here / mine).write_text(os.environ.get("OMP_NUM_THREADS", "all"))
end = time.monotonic() + 20
while not (here / other).exists():
    time.sleep(0.02)
    if time.monotonic() > end: sys.exit("no other came")
"""
FAILS = "import sys; print('a cell failed'); sys.exit(1)"
SLEEPS = "import pathlib, sys, time; time.sleep(20); pathlib.Path(sys.argv[1], 'slept').touch()"


def runs_as(monkeypatch, folder, scripts):
    """Let the run of each profile be a script of a few lines."""
    monkeypatch.setenv("SMAPNB_RUNS", str(folder / "runs"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(make_book, "command", lambda asked: [sys.executable, "-c", *map(str, scripts[asked])])


def test_runs_stand_side_by_side_and_share_the_processors(tmp_path, monkeypatch, capfd):
    scripts = {"twin": [MEETS, tmp_path, "a", "b"], "my/real.yml": [MEETS, tmp_path, "b", "a"]}
    runs_as(monkeypatch, tmp_path, scripts)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    make_book.execute({"twin": "twin", "real": "my/real.yml"})
    assert [(tmp_path / name).read_text() for name in "ab"] == ["3", "3"]
    log = tmp_path / "runs" / "real" / "run.log"
    told = capfd.readouterr().err
    assert f"my/real.yml runs as well; its progress is in {log}" in told
    assert re.search(r"twin was run after \d+ s", told) and re.search(r"real was run after \d+ s", told)


def test_one_run_has_all_processors_and_one_processor_one_run_at_a_time(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    runs_as(monkeypatch, tmp_path, {name: [MEETS, tmp_path, name, "there"] for name in ("twin", "real")})
    make_book.execute({"twin": "twin"})
    assert (tmp_path / "twin").read_text() == "all"
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    make_book.execute({"twin": "twin", "real": "real"})
    assert (tmp_path / "real").read_text() == "all"
    make_book.execute({})


def test_a_failed_run_stops_the_other_and_shows_what_it_said(tmp_path, monkeypatch, capfd):
    runs_as(monkeypatch, tmp_path, {"twin": [SLEEPS, tmp_path], "real": [FAILS]})
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    began = time.monotonic()
    with pytest.raises(build.BookError, match="smapnb run real failed, see above"):
        make_book.execute({"twin": "twin", "real": "real"})
    assert time.monotonic() - began < 15 and not (tmp_path / "slept").exists()
    assert "a cell failed" in capfd.readouterr().err


def test_only_profiles_whose_data_are_found_are_run(tmp_path, monkeypatch, capsys):
    ran, built = [], []
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    monkeypatch.setattr(make_book.fetch, "fetch_sample_quietly", lambda root: None)
    monkeypatch.setattr(make_book, "execute", ran.append)
    monkeypatch.setattr(make_book, "build", lambda profiles, engine: built.append(profiles) or tmp_path)
    assert make_book.main([]) == 0
    assert ran == [{"twin": "twin"}] and "conus412-quick is not run: the sample is not in " in capsys.readouterr().err
    (tmp_path / "conus412" / "CONUSv4f1").mkdir(parents=True)
    (tmp_path / "conus412" / "CONUSv4f1" / "crd.csv").touch()
    assert make_book.main([]) == 0
    assert [*ran[1].items()] == [("twin", "twin"), ("conus412-quick", "conus412-quick")]
    assert make_book.main(["--no-run"]) == 0 and len(ran) == 2
    assert built == [["twin", "conus412-quick"]] * 3
    monkeypatch.setattr(make_book.fetch, "fetch_sample_quietly", lambda root: pytest.fail("conus takes no sample"))
    assert make_book.main(["--profile", "conus"]) == 0 and ran[2:] == [{"twin": "twin"}]
