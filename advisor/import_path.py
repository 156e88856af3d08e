"""Python modules of the current directory, for the classes and factories a user names."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def modules_here() -> Iterator[None]:
    """Search the current directory too, first, as `python -m` does; the search path is left as found."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
