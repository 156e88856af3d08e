"""Standard streams that are closed, full, or read by nobody, and what a stranger's code writes to them."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from advisor.support.safe_text import visible


def open_streams() -> None:
    """Make the three streams usable, whatever the shell left of them.

    A closed one reads and writes nothing: else the next file that is opened would take its number. A character that a
    terminal lacks becomes a question mark. Nothing fails for want of somebody who reads what is said on the side.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the program is
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Said()), encoding, errors="replace", write_through=True)


class _Said(io.FileIO):
    """Standard error; what it cannot take is dropped."""

    def __init__(self) -> None:
        super().__init__(2, "w", closefd=False)

    def write(self, data: object) -> int:
        """All of it, as far as anybody can tell."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


class Quoted(io.TextIOBase):
    """Passes on what a model or a library prints, with terminal escapes and hidden characters shown, not obeyed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Line by line, as it comes."""
        for line in text.replace("\r", "\n").splitlines(keepends=True):
            end = "\n" if line[-1:].isspace() and line[-1:] not in " \t" else ""
            self.stream.write(visible(line[:-1] if end else line) + end)
        return len(text)

    def flush(self) -> None:
        """What was passed on."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether somebody can answer there."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Of the stream behind it."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind it."""
        return self.stream.encoding


def close_stdout() -> None:
    """Let what is left in the buffers go nowhere, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
