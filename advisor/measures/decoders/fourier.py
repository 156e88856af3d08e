"""Random Fourier features (Rahimi and Recht 2007): a linear ridge on them is one with a Gaussian kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FOURIER = 1024
"""How many, and samples that the bandwidth is taken from."""


@dataclass(frozen=True, eq=False)
class Fourier:
    """Makes of features `[n, D]` those `[n, D + 1024]` whose inner products are a linear plus a Gaussian kernel.

    Both are about 1 at z = z'. Twice the median distance between samples is the bandwidth, as the kernel attack has it.

    Attributes:
        turns: `[D, 1024]`.
        phases: `[1024]`.
    """

    turns: Tensor
    phases: Tensor

    @classmethod
    def drawn(cls, z: Tensor, train: Tensor) -> Fourier:
        """With torch's current seed, for features that vary as the samples `train` of `z` do."""
        few = z[train[:FOURIER]]
        width = 2 * float(torch.pdist(few).median())
        turns = torch.randn(z.shape[1], FOURIER) / (width if width > 0 else 1.0)
        return cls(turns, 2 * math.pi * torch.rand(FOURIER))

    def __call__(self, z: Tensor) -> Tensor:
        """Of features `[n, D]`."""
        waves = torch.cos(z @ self.turns + self.phases) * math.sqrt(2 / FOURIER)
        return torch.cat([z / math.sqrt(z.shape[1]), waves], 1)
