"""The rounding of a floating-point wire: an undefended tensor is still sent with finite precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rounding_step(z: Tensor) -> float:
    """Root-mean-square spacing between neighbouring floats of `z`'s dtype at `z`'s values, in its units; integers: 1.

    A complex number is sent as two floats.
    """
    import torch

    z = torch.view_as_real(z.resolve_conj()) if z.is_complex() else z
    if not z.dtype.is_floating_point:
        return 1.0
    root_mean_square = torch.linalg.vector_norm(z.detach().float()) / math.sqrt(max(1, z.numel()))
    return float(torch.finfo(z.dtype).eps * root_mean_square)
