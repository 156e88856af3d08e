"""Strings that came from a model or a file are untrusted: make them safe to show on any medium."""

from __future__ import annotations

import re

from advisor.support.safe_text import visible, without_secrets

ELLIPSIS = "…"
_PNG_URI = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|~"}
    | {character: f"&#{ord(character)};" for character in "<>&@#"}
)


def clean(text: object) -> str:
    """One line without hidden characters: white space becomes a space, other controls a visible escape.

    Terminal escape sequences and bidirectional overrides are thus shown, not obeyed; of a URL nothing secret is shown.
    """
    return visible(" ".join(without_secrets(str(text)).split()))


def shorten(text: object, limit: int) -> str:
    """`clean`, and at most `limit` characters; the front is left out, as the end of a module path tells cuts apart."""
    line = clean(text)
    return line if len(line) <= limit else ELLIPSIS + line[len(line) - limit + 1 :]


def is_png(uri: str) -> bool:
    """Whether a gallery entry is what it should be: a PNG inside a data URI, nothing to fetch."""
    return _PNG_URI.fullmatch(uri) is not None


def markdown_text(text: object) -> str:
    """Prose for Markdown: no formatting, HTML, mention, issue reference or link arises from it."""
    line = clean(text).translate(_MARKDOWN)
    return line.replace("://", "&#58;//").replace("www.", "www&#46;")


def markdown_code(text: object) -> str:
    """A name as a code span that holds whatever back-ticks and pipes the name has."""
    line = clean(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def markdown_block(text: object) -> str:
    """A command as a fenced code block; blanks inside quotes stay as they are."""
    line = visible(str(text))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence}\n{line}\n{fence}"
