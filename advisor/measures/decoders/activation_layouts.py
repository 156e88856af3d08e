"""How an activation is read by a decoder: as a map over the picture where it is one, else as a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.measures.decoders.map_sizes import enlarged_later, resized
from advisor.measures.flat_rows import reals, side_by_side

VECTOR_LIMIT = 8192
SKETCH = 4096
FOLD_CHANNELS = 32
"""Maps of at most this many channels at the picture's own resolution are folded 2×2: a quarter of the cells."""


@dataclass(frozen=True)
class Layout:
    """How activations are read by a decoder.

    Attributes:
        kind: "map" `[n, c, h, w]` or "vector" `[n, D]`.
        factor: pixels per map cell and side, for maps.
        size: rows and columns of cells, where the features have fewer: the decoder enlarges them after its first
            layer. None: they have as many.
    """

    kind: str
    factor: int = 1
    size: tuple[int, int] | None = None


def arrange(tensors: Sequence[Tensor], pixels: Tensor, images: bool) -> tuple[Tensor, Layout]:
    """Features for a decoder of `pixels`.

    Args:
        tensors: the activation, each `[n, ...]`.
        pixels: the targets `[n, ...]`.
        images: whether the targets are images; otherwise everything is a vector.

    Returns:
        `[n, c, h, w]` float32 with h·factor and w·factor the picture's sides, or smaller where the layout says so; or
        `[n, D]`; and the layout.

    Raises:
        NotMeasurableError: when float32 would lose what tells samples apart.
    """
    floats = reals(tensors)
    picture = (int(pixels.shape[-2]), int(pixels.shape[-1])) if images else (0, 0)
    grids = [grid(t, picture) for t in floats] if images else [None]
    maps = [g for g in grids if g is not None]
    if len(maps) < len(grids):
        return flat_vector(floats), Layout("vector")
    factor = cell_factor(picture, max(g.shape[-2] for g in maps))
    size = (picture[0] // factor, picture[1] // factor)
    if len(maps) == 1 and enlarged_later(maps[0].shape, size):
        return maps[0], Layout("map", factor, size)
    features = resized(maps[0], size) if len(maps) == 1 else torch.cat([resized(g, size) for g in maps], 1)
    if factor == 1 and math.gcd(*picture) % 2 == 0 and features.shape[1] <= FOLD_CHANNELS:
        return F.pixel_unshuffle(features, 2), Layout("map", 2)
    return features, Layout("map", factor)


def grid(z: Tensor, picture: tuple[int, int]) -> Tensor | None:
    """`[n, c, h, w]` of maps, channels-last maps and token grids of at least 4 cells; None for anything else.

    A class token is spread over the grid.

    Args:
        z: `[n, ...]`.
        picture: height and width of the image; among two readings, the one of its proportions is taken.
    """
    if z.dim() == 4:
        last = _alike(z.shape[1:3], picture) and not _alike(z.shape[2:], picture)
        z = z.permute(0, 3, 1, 2) if last else z
        return z if z.shape[-1] * z.shape[-2] >= 4 else None
    if z.dim() != 3:
        return None
    for extra in (0, 1):
        if cells := _cells(z.shape[1] - extra, picture):
            tokens = z[:, extra:].transpose(1, 2).reshape(len(z), -1, *cells)
            spread = z[:, :extra].flatten(1)[:, :, None, None].expand(-1, -1, *cells)
            return torch.cat([tokens, spread], 1)
    cells = _cells(z.shape[2], picture)
    return z.reshape(len(z), -1, *cells) if cells else None


def cell_factor(picture: tuple[int, int], rows: int) -> int:
    """Pixels per cell: the largest common divisor of the picture's sides that keeps at least `rows` rows of cells."""
    height, common = picture[0], math.gcd(*picture)
    return max(f for f in range(1, common + 1) if common % f == 0 and height // f >= min(rows, height))


def flat_vector(floats: Sequence[Tensor]) -> Tensor:
    """All tensors side by side, `[n, D]`; above 8,192 columns their count sketch.

    It (Charikar, Chen and Farach-Colton 2002) adds each column, with a random sign, to one of 4,096, and keeps inner
    products on average.
    """
    z = side_by_side(floats)
    width = z.shape[1]
    if width <= VECTOR_LIMIT:
        return z
    generator = torch.Generator().manual_seed(width)
    bucket = torch.randint(SKETCH, (width,), generator=generator)
    sign = 2.0 * torch.randint(2, (width,), generator=generator) - 1
    return torch.zeros(len(z), SKETCH).index_add_(1, bucket, z * sign)


def _alike(sides: Sequence[int], picture: tuple[int, int]) -> bool:
    return sides[0] * picture[1] == sides[1] * picture[0]


def _cells(tokens: int, picture: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of a grid of `tokens` cells with the picture's proportions, at least 2 rows and 2 columns."""
    height = math.isqrt(tokens * picture[0] // picture[1]) if tokens > 0 else 0
    if height < 2 or tokens % height or tokens // height < 2:
        return None
    return (height, tokens // height) if _alike((height, tokens // height), picture) else None
