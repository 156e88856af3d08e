"""Images brought to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.data.tensors import shown
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def resized(x: Tensor, resize: int | tuple[int, int]) -> Tensor:
    """Images `[N, C, H, W]`: shorter side at `resize` and a square crop of the middle, or exactly (height, width).

    Bilinear with antialiasing; sizes and crops as torchvision's Resize and CenterCrop round them.
    """
    from torch.nn import functional as F

    if isinstance(resize, int):
        height, width = x.shape[2:]
        scale = resize / min(height, width)
        size = (max(int(height * scale), resize), max(int(width * scale), resize))
    else:
        size = resize
    if min(size) < 1:
        raise DataError(f"Images cannot be resized to {shown(size)}.", "Pass --resize 224.")
    y = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    if isinstance(resize, int):
        top, left = round((size[0] - resize) / 2), round((size[1] - resize) / 2)
        y = y[..., top : top + resize, left : left + resize]
    return y.contiguous()
