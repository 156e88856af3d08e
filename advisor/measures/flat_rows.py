"""Tensors as rows of numbers, one a sample."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from advisor.errors import NotMeasurableError

WIDE = (torch.float64, torch.complex128, torch.int32, torch.int64)
LOST = 0.01
"""Share of an element's deviation."""


def flat(t: Tensor) -> Tensor:
    """`[n, ...]` as `[n, D]`; one number a sample, `[n]`, as `[n, 1]`."""
    return t.unsqueeze(-1).flatten(1)


def real(t: Tensor) -> Tensor:
    """`[n, c, ...]` as float32; of complex numbers the real parts and then the imaginary ones, `[n, 2c, ...]`."""
    if not t.is_complex():
        return t.float()
    parts = [part.unsqueeze(1) if t.dim() == 1 else part for part in (t.real, t.imag)]
    return torch.cat(parts, 1).float()


def too_fine(t: Tensor) -> bool:
    """Whether float32 would lose what tells samples `[n, ...]` apart in an element: small beside a large offset."""
    if t.dtype not in WIDE or len(t) < 2:
        return False
    wide = (torch.view_as_real(t) if t.is_complex() else t).double()
    lost = wide - wide.float().double()
    return bool((lost.std(0) > LOST * wide.std(0)).any())


def reals(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each as `real` gives it, detached: what attacks compute with.

    Raises:
        NotMeasurableError: where that loses what tells samples apart, small beside a large offset: an attacker who
            computes with more digits would see it.
    """
    whole = [t.detach() for t in tensors]
    if any(map(_too_fine, whole)):
        raise NotMeasurableError(
            "samples differ by less than float32 resolves, in which attacks compute, while the activation has more "
            "digits: what it leaks is not known"
        )
    return [real(t) for t in whole]


def _too_fine(t: Tensor) -> bool:
    if t.dtype not in WIDE or t.dim() == 0 or len(t) < 2:
        return False
    wide = (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t).double()
    lost = wide - wide.float().double()
    return bool((lost.std(0) > LOST * wide.std(0)).any())


def side_by_side(tensors: Iterable[Tensor]) -> Tensor:
    """All that belongs to a sample as one row: `[n, ...]` each, `[n, D]` together."""
    return torch.cat([flat(t) for t in tensors], 1)
