"""Where the channels of a sample lie, and how one layout becomes another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = (1, 2, 3, 4)
SMALLEST = 5
"""Pixels a side from which on two axes beside a channel axis are taken for a picture."""


@dataclass(frozen=True)
class ImageLayout:
    """One image's shape: channels first or last."""

    channels: int
    height: int
    width: int
    first: bool

    @property
    def size(self) -> int | tuple[int, int]:
        """Pixels a side of a square, else (height, width)."""
        return self.height if self.height == self.width else (self.height, self.width)


def image_layout(shape: tuple[int, ...]) -> ImageLayout | None:
    """How an image of that shape lies, channels first where both could be; None where it is no image."""
    if len(shape) != 3:
        return None
    if shape[0] in CHANNELS:
        return ImageLayout(*shape, first=True)
    if shape[2] in CHANNELS:
        return ImageLayout(shape[2], shape[0], shape[1], first=False)
    return None


def looks_like_pictures(shape: tuple[int, ...]) -> bool:
    """Whether a sample may be a picture, a stack of them or a film: a plane, with or without a few channels."""
    plain = tuple(size for size in shape if size not in CHANNELS)
    return len(plain) in (2, 3) and len(shape) in (2, 3, 4) and min(plain) >= SMALLEST and len(shape) - len(plain) <= 1


def moves_to(have: tuple[int, ...], wanted: tuple[int, ...]) -> list[tuple[int, int]]:
    """Which one axis of a sample can move where so that `have` becomes `wanted`; the others keep their order.

    An axis of channels (at most four), or either axis of a series. Moves with one result are listed once.
    """
    if len(have) != len(wanted) or have == wanted:
        return []
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    for source in range(len(have)):
        if have[source] not in CHANNELS and len(have) != 2:
            continue
        rest = [axis for axis in range(len(have)) if axis != source]
        for target in range(len(have)):
            order = (*rest[:target], source, *rest[target:])
            if tuple(have[axis] for axis in order) == wanted:
                found.setdefault(order, (source, target))
    return list(found.values())


def moved(x: Tensor, source: int, target: int) -> Tensor:
    """`[N, ...]` with one axis of a sample moved."""
    return x.movedim(source + 1, target + 1).contiguous()
