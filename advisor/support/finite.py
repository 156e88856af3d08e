"""Whether numbers are finite, in one pass that makes no copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def all_finite(values: Tensor) -> bool:
    """Whether a tensor of any shape holds no NaN and no infinity: its least and its largest number tell."""
    import torch

    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    if not values.is_floating_point() or not values.numel():
        return True
    least, largest = torch.aminmax(values.detach())  # NaN where there is one
    return bool(torch.isfinite(least) & torch.isfinite(largest))
