"""Open built pages in the installed Chromium and report what a reader would see; the judging is left to the tests."""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CANDIDATES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = (
    "Chromium is missing, so no page can be opened: install it (Debian, Ubuntu: `apt-get install chromium`) or set "
    "CHROMIUM to its path"
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

# Bokeh draws inside shadow roots. "ink" is what a glyph leaves inside a figure's frame: pixels that are neither
# transparent nor the grey of background, grid and axes; "right" is where the figure ends on the screen.
PROBE = """() => {
  const out = {figures: [], unnamed: [], broken: [], wide: [], title: document.title,
               headings: document.querySelectorAll('article h1').length,
               math: document.querySelectorAll('span.math, div.math').length,
               rendered: document.querySelectorAll('mjx-container').length,
               mathErrors: document.querySelectorAll('mjx-merror').length,
               width: document.documentElement.scrollWidth, viewport: window.innerWidth};
  const ink = view => { const b = view.frame.bbox, c = view.canvas_view.primary, r = c.canvas.width / c.width || 1;
    if (b.width < 1 || b.height < 1) return 0;
    const d = c.ctx.getImageData(b.left * r, b.top * r, b.width * r, b.height * r).data;
    let n = 0;
    for (let k = 0; k < d.length; k += 4) if (d[k + 3] > 20) {
      const low = Math.min(d[k], d[k+1], d[k+2]), high = Math.max(d[k], d[k+1], d[k+2]);
      if (high - low > 24 || high < 120) n++; }
    return n; };
  const walk = view => { if (view.model && view.model.type === 'Figure') {
      const box = view.el.getBoundingClientRect();
      out.figures.push({title: (view.model.title || {}).text || '', ink: ink(view), width: box.width, right: box.right}); }
    for (const child of view.child_views || []) walk(child); };
  if (typeof Bokeh !== 'undefined') for (const view of Bokeh.index.roots) walk(view);
  for (const i of document.images) { if (!i.complete || !i.naturalWidth) out.broken.push(i.src.slice(0, 120));
    if (!(i.getAttribute('alt') || '').trim()) out.unnamed.push(i.src.slice(0, 120)); }
  for (const s of document.querySelectorAll('article svg'))
    if (!s.closest('[aria-hidden=true], a, button, .cell_output [data-root-id]')
        && !(s.getAttribute('aria-label') || s.querySelector('title'))
        && s.getAttribute('aria-hidden') !== 'true') out.unnamed.push('svg ' + s.outerHTML.slice(0, 80));
  const scrolls = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return true;
    return false; };
  for (const e of document.querySelectorAll('article *')) { const b = e.getBoundingClientRect();
    if (b.width > 0 && b.right > window.innerWidth + 1 && !scrolls(e))
      out.wide.push(e.tagName + '.' + e.className + ' ' + Math.round(b.right)); }
  return out; }"""
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


def chromium() -> str:
    """Path of the browser; missing is an error in CI and a skip that says what to install elsewhere."""
    for candidate in (os.environ.get("CHROMIUM", ""), *CANDIDATES):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    if os.environ.get("CI"):
        pytest.fail(MISSING)
    pytest.skip(MISSING)


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
def browsing(profile_folder: Path, scheme: str = "light", viewport: dict[str, int] = DESKTOP) -> Iterator[Any]:
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


def visit(context: Any, base: str, page: str, shot: Path | None = None) -> Seen:
    """Open ``base + page``, wait until plots and mathematics are drawn, and report."""
    seen = Seen(page)
    tab = context.new_page()
    tab.on("requestfailed", lambda r: seen.failed.append(f"{r.url} {r.failure}"))
    tab.on("response", lambda r: seen.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    tab.on("request", lambda r: None if r.url.startswith((base, "data:", "blob:")) else seen.outside.append(r.url))
    tab.on("pageerror", lambda e: seen.errors.append(str(e)[:300]))
    tab.on("console", lambda m: seen.errors.append(m.text[:300]) if m.type == "error" else None)
    tab.goto(base + page, wait_until="load")
    settle(tab)
    seen.facts = tab.evaluate(PROBE)
    if shot:
        tab.screenshot(path=str(shot), full_page=True)
    tab.close()
    return seen


def settle(tab: Any, patience_ms: int = 15_000) -> None:
    """Wait until every plot has a canvas and all mathematics is set, at most `patience_ms`; the probe then judges."""
    ready = """() => {
      const roots = document.querySelectorAll('.cell_output [data-root-id]').length;
      const drawn = !roots || (typeof Bokeh !== 'undefined' && Bokeh.documents.length > 0 &&
                               Bokeh.documents.every(d => d.is_idle));
      const maths = document.querySelectorAll('span.math, div.math').length;
      return drawn && (!maths || document.querySelectorAll('mjx-container').length >= maths); }"""
    waited = 0
    while not tab.evaluate(ready) and waited < patience_ms:
        tab.wait_for_timeout(250)
        waited += 250
    # is_idle is also true before a plot begins; give late ones their frame
    tab.wait_for_timeout(700)
