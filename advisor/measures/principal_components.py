"""Principal components of activations, and of the blocks of maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_ROWS = 4096
"""From which principal components are taken."""

EXACT = 512
"""Rows or columns up to which the decomposition is exact; beyond it is a randomised one."""


def blocks_of(maps: Tensor, stride: int) -> Tensor:
    """What the middle of a kernel reads of maps `[n, C, H, W]`: rows `[n·⌈H/stride⌉·⌈W/stride⌉, C·stride²]`."""
    before = (stride - 1) // 2
    after = [math.ceil(side / stride) * stride - side - before for side in maps.shape[2:]]
    parts = F.unfold(F.pad(maps, (before, after[1], before, after[0])), stride, stride=stride)
    return parts.transpose(1, 2).flatten(0, 1)


def principal(rows: Tensor, count: int, most: int = MOST_ROWS) -> tuple[Tensor, Tensor]:
    """Leading principal directions `[k, D]` of rows `[m, D]` and the rows' spread `[k]` along them, k ≤ count.

    Args:
        rows: samples; evenly spread ones where there are more than `most`.
        count: how many at most; there are fewer where rows or columns are few, or lie in a smaller space.
        most: rows that are looked at.
    """
    some = rows[torch.linspace(0, len(rows) - 1, min(len(rows), most)).long()]
    centred = (some - some.mean(0)).double()
    found = min(count, *some.shape)
    if min(some.shape) <= EXACT:
        _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
        singular, across = values[:found], vectors[:found]
    else:
        _, singular, columns = torch.svd_lowrank(centred, q=found, niter=4)
        across = columns.T
    spread = (singular / max(1, len(some) - 1) ** 0.5).to(rows.dtype)
    kept = spread > 1e-6 * spread.max().clamp_min(1e-12)
    return across.to(rows.dtype)[kept], spread[kept]
