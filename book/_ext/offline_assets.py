"""Make the built book self-contained: scripts and styles that pages would fetch from a CDN are copied from
the installed wheels (bokeh, panel) and the addresses rewritten; anything external that is left stops the
build. It downloads nothing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import bokeh
import panel
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

log = logging.getLogger(__name__)

BOKEH = Path(bokeh.__file__).parent / "server" / "static" / "js"
PANEL = Path(panel.__file__).parent / "dist"
CDN = re.compile(
    r"https://cdn\.(?:bokeh\.org/bokeh/release|holoviz\.org/panel/[\w.]+/dist)/[A-Za-z0-9_.@%^/+-]+(?:\?v=[\w.]+)?"
)
# sphinx-thebe 0.3.1 declares the same constant twice, an uncaught SyntaxError on every page; thebe is not
# used here.
THEBE = re.compile(r"<script>const THEBE_JS_URL.*?</script>\s*", re.DOTALL)
OUTSIDE = r"(?:https?:)?//"  # "//host/path" takes the scheme of the page
ADDRESS = rf"[\"']?({OUTSIDE}[^\"'\s>)]+)"
# What makes a browser fetch: elements with an address, imports and url() in styles, dynamic imports, and any
# quoted address of a script or style inside an inline script (loaders keep lists of them).
STYLE_FETCHING = [
    re.compile(rf"@import\s+(?:url\(\s*)?{ADDRESS}", re.IGNORECASE),
    re.compile(rf"url\(\s*{ADDRESS}", re.IGNORECASE),
]
FETCHING = [
    *STYLE_FETCHING,
    re.compile(rf"<(?:script|img|iframe|source|video|audio|embed|track|input)\b[^>]*?\ssrc={ADDRESS}", re.IGNORECASE),
    re.compile(rf"<(?:object\b[^>]*?\sdata|video\b[^>]*?\sposter)={ADDRESS}", re.IGNORECASE),
    re.compile(rf"<(?:image|use)\b[^>]*?\s(?:xlink:)?href={ADDRESS}", re.IGNORECASE),
    re.compile(rf"import\(\s*{ADDRESS}", re.IGNORECASE),
    re.compile(rf"[\"']({OUTSIDE}[^\"'\s<>]+\.(?:m?js|css|woff2?|ttf)(?:\?[^\"'\s<>]*)?)[\\]?[\"']", re.IGNORECASE),
]
SOURCES = re.compile(r"\s(?:image)?srcset=(?:\"([^\"]+)\"|'([^']+)')", re.IGNORECASE)  # several addresses, by commas
LINK = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
LINK_ADDRESS = re.compile(rf"\shref={ADDRESS}", re.IGNORECASE)
LINK_FETCHES = re.compile(
    r"\srel=[\"']?[^\"'>]*(?:stylesheet|icon|preload|preconnect|dns-prefetch|modulepreload)", re.IGNORECASE
)


def local_copy(url: str) -> tuple[Path, str]:
    """File in an installed wheel that `url` names, and where the book keeps it (relative to
    ``_static/vendor``).

    Raises
    ------
    ExtensionError
        The notebook was made with another version than the one installed, or the wheel lacks the file.
    """
    path = unquote(urlsplit(url).path)
    if "/bokeh/release/" in path:
        name = path.split("/release/", 1)[1]
        version = re.search(r"-(\d[\w.]*?)(?=\.min\.js$|\.js$)", name)
        if version and version[1] != bokeh.__version__:
            raise ExtensionError(f"{url}: made with Bokeh {version[1]}, installed is {bokeh.__version__}: run it again")
        source = BOKEH / name.replace(f"-{bokeh.__version__}", "")
        kept = f"bokeh/{name}"
    else:
        name = path.split("/dist/", 1)[1]
        source = PANEL / name
        kept = "panel/" + re.sub(r"[@^]", "", name)
    if not source.is_file():
        raise ExtensionError(f"{url}: the installed wheel has no {source.name}")
    return source, kept


def vendor(text: str, up: str, destination: Path) -> str:
    """Rewrite the CDN addresses of one page and copy what they name; `up` leads from the page to the book's
    root.
    """

    def replace(match: re.Match[str]) -> str:
        source, kept = local_copy(match[0])
        target = destination / kept
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return f"{up}_static/vendor/{kept}"

    return THEBE.sub("", CDN.sub(replace, text))


def external(text: str) -> Iterator[str]:
    """Addresses outside the book that a browser would fetch to show the page; plain hyperlinks are none."""
    for pattern in FETCHING:
        yield from pattern.findall(text)
    for listed in SOURCES.findall(text):
        addresses = (part.split()[0] for part in "".join(listed).split(",") if part.strip())
        yield from (address for address in addresses if re.match(OUTSIDE, address))
    for tag in LINK.findall(text):
        if LINK_FETCHES.search(tag):
            yield from LINK_ADDRESS.findall(tag)


def external_of_style(text: str) -> Iterator[str]:
    """Addresses outside the book that a style sheet would have a browser fetch."""
    for pattern in STYLE_FETCHING:
        yield from pattern.findall(text)


def make_offline(app: Sphinx, exception: Exception | None) -> None:
    """Sphinx's ``build-finished``: rewrite every page, then refuse what still points outside."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    left = []
    for page in sorted(out.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        # "./" and not "": a bare name is no valid address for a dynamic import
        new = vendor(text, "../" * (len(page.relative_to(out).parts) - 1) or "./", out / "_static" / "vendor")
        left += [f"{page.relative_to(out)}: {url}" for url in sorted(set(external(new)))]
        if new != text:
            page.write_text(new, encoding="utf-8")
    for sheet in sorted(out.rglob("*.css")):
        found = set(external_of_style(sheet.read_text(encoding="utf-8")))
        left += [f"{sheet.relative_to(out)}: {url}" for url in sorted(found)]
    if left:
        raise ExtensionError("the book would fetch from outside:\n  " + "\n  ".join(left))
    log.info("offline_assets: no page needs the network")


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    app.connect("build-finished", make_offline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
