"""A text stream that takes the blanks off the ends of lines: a file shows what a terminal does not."""

from __future__ import annotations

import io
import re
from typing import IO, TextIO, cast

_ENDS = re.compile(r" +(?=\n)")


def trimmed(stream: TextIO) -> IO[str]:
    """The stream, without the blanks at the ends of the lines that are written to it."""
    return cast("IO[str]", _Trimmed(stream))


class _Trimmed(io.TextIOBase):
    """Passes on whole lines, as Rich writes them: it fills a paragraph or a table's cell up with blanks."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Without the blanks before a line's end."""
        self.stream.write(_ENDS.sub("", text))
        return len(text)

    def flush(self) -> None:
        """What was passed on."""
        self.stream.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind it."""
        return self.stream.encoding or "utf-8"
