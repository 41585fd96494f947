"""Open built pages in the installed Chromium and report what a reader would see; the judging is left to the
tests.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CANDIDATES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = (
    "Chromium is missing, so no page can be opened: install it (Debian, Ubuntu: `apt-get install chromium`) "
    "or set CHROMIUM to its path"
)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
AT_ONCE = 5  # tabs
PATIENCE_MS = 60_000  # a busy machine is no error of a page
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

PROBE = (Path(__file__).parent / "browser_probe.js").read_text(encoding="utf-8")
FIGURE = re.compile(r'"name":\s*"Figure"')


def figures_in(page: Path) -> int:
    """Number of Bokeh figures that a built page promises."""
    return len(FIGURE.findall(page.read_text(encoding="utf-8")))


@dataclass
class Seen:
    """What happened while one page was open."""

    page: str
    failed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def find_chromium() -> str | None:
    """Path of the browser, None where there is none."""
    found = (shutil.which(candidate) for candidate in (os.environ.get("CHROMIUM"), *CANDIDATES) if candidate)
    return next((path for path in found if path), None)


def chromium() -> str:
    """Path of the browser; missing is an error in CI and a skip that says what to install elsewhere."""
    found = find_chromium()
    if found is None and os.environ.get("CI"):
        pytest.fail(MISSING)
    if found is None:
        pytest.skip(MISSING)
    return found


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address under which `folder` is served while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def browsing(profile_folder: Path, scheme: Any = "light", viewport: Any = DESKTOP) -> Iterator[Any]:
    """A browser that knows nothing of earlier visits."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(profile_folder),
            executable_path=chromium(),
            headless=True,
            args=FLAGS,
            viewport=viewport,
            color_scheme=scheme,
        )
        try:
            yield context
        finally:
            context.close()


def visit(context: Any, base: str, pages: Sequence[str]) -> list[Seen]:
    """Open each of ``base + page``, wait until plots and mathematics are drawn, and report.

    `AT_ONCE` stand open side by side, each in a tab of its own: the time for which nothing may go wrong passes for
    all of them together.
    """
    found = []
    for first in range(0, len(pages), AT_ONCE):
        opened = [_open(context, base, page) for page in pages[first : first + AT_ONCE]]
        for tab, _ in opened:
            settle(tab)
        opened[-1][0].wait_for_timeout(500)  # a figure that has finished is painted with the next frames
        for tab, seen in opened:
            seen.facts = tab.evaluate(PROBE)
            tab.close()
            found.append(seen)
    return found


def _open(context: Any, base: str, page: str) -> tuple[Any, Seen]:
    seen = Seen(page)
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.on("requestfailed", lambda r: seen.failed.append(f"{r.url} {r.failure}"))
    tab.on("response", lambda r: seen.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    tab.on(
        "request",
        lambda r: None if r.url.startswith((base, "data:", "blob:")) else seen.outside.append(r.url),
    )
    tab.on("pageerror", lambda e: seen.errors.append(str(e)[:300]))
    tab.on("console", lambda m: seen.errors.append(m.text[:300]) if m.type == "error" else None)
    tab.goto(base + page, wait_until="load")
    return tab, seen


def settle(tab: Any) -> None:
    """Wait, at most `PATIENCE_MS`, until plots and mathematics are drawn; the probe then judges."""
    ready = """() => {
      const figures = [];
      const walk = view => { if (view.model && view.model.type === 'Figure') figures.push(view);
                             for (const child of view.child_views || []) walk(child); };
      if (typeof Bokeh !== 'undefined') for (const view of Bokeh.index.roots) walk(view);
      const promised = (document.documentElement.innerHTML.match(/"name":\\s*"Figure"/g) || []).length;
      const maths = document.querySelectorAll('span.math, div.math').length;
      return figures.length >= promised && figures.every(f => f.has_finished()) &&
             document.querySelectorAll('mjx-container').length >= maths; }"""
    waited = 0
    while not tab.evaluate(ready) and waited < PATIENCE_MS:
        tab.wait_for_timeout(50)
        waited += 50


if __name__ == "__main__":  # `make test` says beforehand what its end would say
    path = find_chromium()
    print(f"Chromium: {path}" if path else MISSING)
    sys.exit(bool(os.environ.get("CI")) and path is None)
