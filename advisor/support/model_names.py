"""What MODEL is where it is no file, told by its form alone: nothing is imported or run for it."""

from __future__ import annotations

import re
from pathlib import Path

TORCHVISION = "torchvision:"
CODE = re.compile(r"(?:[^:()]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*(?:\(.*\))?", re.DOTALL)


def is_code(source: str) -> bool:
    """Whether it names code that builds a model, `package.module:factory` or `file.py:factory`, and is no file."""
    return not source.startswith(TORCHVISION) and CODE.fullmatch(source) is not None and not Path(source).exists()
