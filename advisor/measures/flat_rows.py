"""Tensors as rows of numbers, one a sample."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def flat(t: Tensor) -> Tensor:
    """`[n, ...]` as `[n, D]`; one number a sample, `[n]`, as `[n, 1]`."""
    return t.unsqueeze(-1).flatten(1)


def real(t: Tensor) -> Tensor:
    """`[n, c, ...]` as float32; of complex numbers the real parts and then the imaginary ones, `[n, 2c, ...]`."""
    if not t.is_complex():
        return t.float()
    parts = [part.unsqueeze(1) if t.dim() == 1 else part for part in (t.real, t.imag)]
    return torch.cat(parts, 1).float()


def side_by_side(tensors: Iterable[Tensor]) -> Tensor:
    """All that belongs to a sample as one row: `[n, ...]` each, `[n, D]` together."""
    return torch.cat([flat(t) for t in tensors], 1)
