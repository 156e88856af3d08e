"""The bytes of a model or data file, read once: what was checked is what is loaded, whatever becomes of the file."""

from __future__ import annotations

import functools
import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from advisor.errors import AdvisorError
from advisor.files import opened

SHOWN = 120  # characters of a name or a reason from a file that a message repeats


@dataclass(frozen=True)
class Content:
    """A file in memory.

    Attributes:
        path: where it was read from, for messages; it is never opened again.
        data: all of its bytes.
    """

    path: Path
    data: bytes = field(repr=False)

    @functools.cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of these bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def stream(self) -> io.BytesIO:
        """The bytes as a file that torch reads; a path would be opened anew, and judged by its name."""
        return io.BytesIO(self.data)


def read_content(path: Path) -> Content:
    """Read a regular file as a whole.

    Raises:
        AdvisorError: no such file, a folder, a pipe or device, empty, unreadable, changing, or larger than memory.
    """
    if not str(path).isprintable():
        raise AdvisorError(f"{str(path)[:SHOWN]!r} is not a path.", "Check the path.")
    with opened(path) as file:
        return Content(path, _all(path, file, os.fstat(file.fileno()).st_size))


def _all(path: Path, file: BinaryIO, size: int) -> bytes:
    if size == 0:
        raise AdvisorError(f"{path} is empty.", "Download or save it again.")
    if size > memory():
        raise AdvisorError(
            f"{path} has {size:,} bytes, more than this computer's memory of {memory():,}.",
            "Use a computer with more memory.",
        )
    data = file.read(size)
    if len(data) != size or file.read(1):
        raise AdvisorError(f"{path} changed while it was read.", "Wait until it is complete.")
    return data


@functools.cache
def memory() -> int:
    """Bytes of memory that this computer has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # no POSIX
        return 2**40


def short(text: object, limit: int = SHOWN) -> str:
    """One line of what a library or a file says, cut to a length that a message can carry."""
    lines = str(text).strip().splitlines()
    line = lines[0] if lines else type(text).__name__
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
