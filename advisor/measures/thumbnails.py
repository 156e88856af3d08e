"""What a thumbnail of an image leaves unexplained: a yardstick for reconstructions that people can picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

PART = 32
"""Images at a time: errors are squared in 64 bits."""

MOST = 16
"""Side of the largest thumbnail."""


def thumbnail_nmse(x: Tensor, side: int) -> float:
    """NMSE of images drawn from their block means: E‖x − thumbnail(x)‖² / E‖x − E x‖²; NaN without variance.

    Args:
        x: `[N, C, H, W]`.
        side: of the thumbnail, in pixels; rows and columns are parted as evenly as they can be.
    """
    rows, columns = (torch.arange(size, device=x.device) * side // size for size in x.shape[-2:])
    mean, left, spread = x.mean(0), 0.0, 0.0
    for part in torch.split(x, PART):
        drawn = adaptive_avg_pool2d(part, side)[..., rows[:, None], columns]
        left += float((part - drawn).double().square().sum())
        spread += float((part - mean).double().square().sum())
    return left / spread if spread > 0 else math.nan


def thumbnail_scale(x: Tensor) -> dict[int, float]:
    """Side -> NMSE for sides 1, 2, 4, … up to `MOST` that are smaller than the images `[N, C, H, W]`."""
    sides = [2**power for power in range(int(math.log2(MOST)) + 1)]
    return {side: thumbnail_nmse(x, side) for side in sides if side < min(x.shape[-2:])}
