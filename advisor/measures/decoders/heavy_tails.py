"""Elements that span many decades, as probabilities and exponentials do, read on a logarithmic scale beside their own.

A softmax gives its scores away up to a constant, and the smallest probabilities tell as much as the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HEAVY = 30.0
"""Largest over median size from which an element's tail is heavy: 4 of a normal distribution, 7 of a Laplace one."""
MOST_OF_THEM = 0.5
"""Share of the elements that must have one: what is zero for most samples has a few large values too."""
FEW = 1024
"""Samples from which a view is made."""
SMALL = 0.05
"""Quantile of an element's sizes above which the scale is logarithmic."""


@dataclass(frozen=True, eq=False)
class LogView:
    """Features `[n, D]`, and beside them asinh(z / scale) of those with a heavy tail.

    Attributes:
        heavy: `[D]` which.
        scale: `[d]` of each of them: below it asinh is straight, above it logarithmic, on either side of zero.
    """

    heavy: Tensor
    scale: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`[n, D + d]`."""
        return torch.cat([features, torch.asinh(features[:, self.heavy] / self.scale)], 1)


def log_view(features: Tensor) -> LogView | None:
    """The view of samples `[n, D]` like these; None where few of their elements have a heavy tail."""
    size = torch.where(features == 0, torch.nan, features.float().abs())
    heavy = size.nan_to_num(0.0).amax(0) > HEAVY * size.nanmedian(0).values
    if not heavy.float().mean() >= MOST_OF_THEM:
        return None
    least = torch.finfo(torch.float32).tiny
    return LogView(heavy, size[:, heavy].nanquantile(SMALL, 0).clamp_min(least))
