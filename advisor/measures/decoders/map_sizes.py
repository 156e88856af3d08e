"""Maps of one size brought to another, and when a decoder does that itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

PATCH_FEATURES = 1200
"""Values of a 3×3 patch up to which a linear part reads patches; above, it reads one cell at a time."""

FEW_CELLS = 16
"""Maps of so many cells are also read as vectors."""


def resized(z: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `[n, c, h, w]` with so many rows and columns of cells: averages of cells, or between them."""
    if tuple(z.shape[-2:]) == size:
        return z
    if z.shape[-2] >= size[0] and z.shape[-1] >= size[1]:
        return F.adaptive_avg_pool2d(z, size)
    return F.interpolate(z, size=size, mode="bilinear", align_corners=False)


def enlarged_later(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether maps `[n, c, h, w]` are enlarged by their decoder, after its first layer.

    That reads one cell at a time, so before it or after it is the same, and far fewer channels come out of it.
    """
    fewer = shape[-2] <= size[0] and shape[-1] <= size[1] and tuple(shape[-2:]) != size
    return fewer and min(shape[-2:]) > 1 and 9 * shape[1] > PATCH_FEATURES and size[0] * size[1] > FEW_CELLS
