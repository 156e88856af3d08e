"""The rounding of a floating-point wire: an undefended tensor is still sent with finite precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rounding_step(z: Tensor) -> float:
    """Root-mean-square spacing between neighbouring floats of `z`'s dtype at `z`'s values (units of `z`)."""
    import torch

    if not z.dtype.is_floating_point:
        return 1.0
    spacing = torch.finfo(z.dtype).eps * z.detach().double().abs()
    return float(spacing.square().mean().sqrt())
