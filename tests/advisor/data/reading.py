"""Samples as `read` gives them, a folder's images decoded for inputs of one shape."""

from __future__ import annotations

from typing import Any

from advisor.data.image_folder import ImageFolder
from advisor.data.samples import Samples, decoded, read


def samples_of(
    data: Any, *, resize: int | tuple[int, int] | None = None, shape: tuple[int, ...] | None = None, **options: Any
) -> Samples:
    found = read(data, **options)
    return decoded(found, resize, shape) if isinstance(found, ImageFolder) else found
