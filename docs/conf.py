"""Sphinx settings. The root of the pages is the repository, so that links hold there and on the site alike.

`make docs` builds with every warning an error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

project = "partition-advisor"
author = "the partition-advisor authors"
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/**.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = project
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True
highlight_language = "none"

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")


def _only_pages(app: Any, page: str, source: list[str]) -> None:
    """A link to a folder or a source file, which the site does not have, becomes its name."""
    place = (ROOT / page).parent

    def shown(found: re.Match[str]) -> str:
        target = (place / found[2]).resolve()
        is_page = target.suffix in (".md", ".png", ".html")
        return found[0] if is_page else f"{found[1]} (`{target.relative_to(ROOT)}`)"

    source[0] = _LINK.sub(shown, source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _only_pages)
