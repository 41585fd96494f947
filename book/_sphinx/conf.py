"""The escape hatch: the same _config.yml and table of contents, built by Sphinx without Jupyter Book 1.x.

``make book-sphinx`` uses it. It reads no setting of its own that _config.yml could hold.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

_ROOT = Path(__file__).resolve().parents[2]
_BOOK = yaml.safe_load((_ROOT / "_config.yml").read_text(encoding="utf-8"))
_SPHINX = _BOOK["sphinx"]

project = html_title = _BOOK["title"]
author = _BOOK["author"]
copyright = _BOOK["copyright"]
exclude_patterns = _BOOK["exclude_patterns"]
extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx_copybutton",
    "sphinx_togglebutton",
    "sphinxcontrib.bibtex",
    *_SPHINX["extra_extensions"],
]
for _name, _folder in _SPHINX["local_extensions"].items():
    if str(_ROOT / _folder) not in sys.path:
        sys.path.insert(0, str(_ROOT / _folder))
    extensions.append(_name)
external_toc_path = str(_ROOT / "_toc.yml")  # the build gives its own, with the executed notebooks
external_toc_exclude_missing = _BOOK["only_build_toc_files"]
nb_execution_mode = _BOOK["execute"]["execute_notebooks"]
nb_output_stderr = _BOOK["execute"]["stderr_output"]
myst_enable_extensions = _BOOK["parse"]["myst_enable_extensions"]
bibtex_bibfiles = [str(_ROOT / "book" / name) for name in _BOOK["bibtex_bibfiles"]]
html_theme = "sphinx_book_theme"
html_theme_options = {key: value for key, value in _BOOK["html"].items() if key.startswith("use_")}
html_theme_options.pop("use_multitoc_numbering", None)
html_theme_options["home_page_in_toc"] = _BOOK["html"]["home_page_in_navbar"]
html_static_path = [str(_ROOT / "book" / "_static")]
html_css_files = ["custom.css"]
html_favicon = str(_ROOT / "book" / _BOOK["html"]["favicon"])
globals().update(_SPHINX["config"])
