"""Python modules of the current directory, for the classes and factories a user names."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def modules_here() -> Iterator[None]:
    """Search the current directory too, last: a `json.py` that lies there replaces no module of ours or torch's.

    The search path is left as found.
    """
    before, here = list(sys.path), str(Path.cwd())
    sys.path[:] = [*(entry for entry in before if os.path.abspath(entry) != here), here]
    try:
        yield
    finally:
        sys.path[:] = before
