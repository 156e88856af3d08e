"""Numbers in the dtype that a model takes: levels of brightness to [0, 1], ids left as they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from advisor.data.images.image_file import levels_of
from advisor.data.layouts import looks_like_pictures
from advisor.data.tensors import shown
from advisor.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AUDIO = 32768
"""Full scale of 16-bit sound."""


def cast(x: Tensor, wanted: str, shape: tuple[int, ...], notes: list[str]) -> Tensor:
    """`x` in the dtype that the model takes; what was done is appended to `notes`.

    Args:
        x: samples `[N, ...]`.
        wanted: name of the model's dtype.
        shape: one sample's shape as it was given, which tells pictures from tables.
        notes: of what was done.

    Raises:
        DataError: when numbers would be lost.
    """
    import torch

    dtype = getattr(torch, wanted)
    if dtype == torch.bool:
        return _to_bool(x)
    if dtype.is_floating_point:
        return _to_real(x, dtype, shape, notes)
    return _to_whole(x, dtype, shape, notes)


def _to_real(x: Tensor, dtype: torch.dtype, shape: tuple[int, ...], notes: list[str]) -> Tensor:
    import torch

    if x.is_floating_point():
        if looks_like_pictures(shape) and len(shape) == 3 and not 0 <= float(x.min()) <= float(x.max()) <= 1:
            notes.append(
                f"The samples lie in [{float(x.min()):.3g}, {float(x.max()):.3g}], not in [0, 1]; taken as they are."
            )
    elif x.dtype != torch.bool:
        scale, what = _scale(x, shape)
        notes.append(what)
        x = x.to(torch.float64 if x.dtype == torch.long else torch.float32) / scale
    limit = torch.finfo(dtype).max
    if x.is_floating_point() and float(x.abs().max()) > limit:
        raise DataError(f"The data reaches {float(x.abs().max()):.3g}, the model takes {_name(dtype)}.", "Scale it.")
    if (x.is_floating_point() and x.element_size() < dtype.itemsize) or x.dtype == dtype:
        return x.to(dtype)
    if dtype.itemsize == 2 and x.is_floating_point():
        notes.append(f"The samples were cast to {_name(dtype)}, as the model takes them.")
    return x.to(dtype)


def _scale(x: Tensor, shape: tuple[int, ...]) -> tuple[float, str]:
    """What integers are divided by for a model that takes real numbers, and why."""
    import torch

    low, high = int(x.min()), int(x.max())
    if looks_like_pictures(shape) or (x.dtype == torch.uint8 and _flat_pictures(shape, high)):
        levels = 255 if x.dtype == torch.uint8 else levels_of([x])
        if levels == 255:
            return 255, "Integers 0 to 255 were scaled to [0, 1]."
        if levels == 65535:
            white = (1 << high.bit_length()) - 1
            dark = f" The largest is {high:,}: where {white:,} is white, divide by it first." if white < 65535 else ""
            return 65535, f"Integers 0 to 65,535 were scaled to [0, 1].{dark}"
        if levels == 1:
            return 1, "Integers 0 and 1 were taken as real numbers."
    if x.dtype == torch.int16 and low < 0 and len([s for s in shape if s > 2]) == 1 and max(shape) >= 256:
        return AUDIO, f"Sound of 16 bits was divided by {AUDIO:,}."
    return 1, f"Integers from {low:,} to {high:,} were taken as real numbers, not scaled."


def _flat_pictures(shape: tuple[int, ...], high: int) -> bool:
    """Whether rows of bytes are pictures in one line: as many as a square image has, up to white."""
    if len(shape) != 1 or high < 250:
        return False
    sides = [math.isqrt(shape[0] // channels) for channels in (1, 3)]
    return any(side >= 8 and channels * side * side == shape[0] for channels, side in zip((1, 3), sides, strict=True))


def _to_whole(x: Tensor, dtype: torch.dtype, shape: tuple[int, ...], notes: list[str]) -> Tensor:
    import torch

    if x.is_floating_point():
        if dtype == torch.uint8 and looks_like_pictures(shape) and 0 <= float(x.min()) <= float(x.max()) <= 1:
            notes.append("Images in [0, 1] were scaled to the integers 0 to 255 that the model takes.")
            return (x * 255).round().to(dtype)
        if not bool((x == x.round()).all()):
            raise DataError(
                f"The data holds real numbers, the model takes {_name(dtype)}.",
                f"Pass integers {shown(shape)} a sample.",
            )
        notes.append("Whole numbers stored as reals were taken as integers.")
    limits = torch.iinfo(dtype)
    if x.dtype != torch.bool and x.numel() and (float(x.min()) < limits.min or float(x.max()) > limits.max):
        raise DataError(
            f"The data lies in [{float(x.min()):,.0f}, {float(x.max()):,.0f}], the model takes {_name(dtype)}.",
            "Pass numbers of that type.",
        )
    return x.to(dtype)


def _to_bool(x: Tensor) -> Tensor:
    import torch

    if x.dtype != torch.bool and not bool(((x == 0) | (x == 1)).all()):
        raise DataError("The model takes a mask of truth values, the data holds other numbers.", "Pass 0 and 1.")
    return x.bool()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
