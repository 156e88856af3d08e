"""Closed-form parts of an inversion network: ridge regression on patches of maps, and on vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.measures.decoders.map_sizes import PATCH_FEATURES, resized
from advisor.measures.gram_matrices import Kernel, centred_blocks

ROWS_PER_FEATURE = 100
"""Map cells per unknown that a patch regression is solved on: the error from more would fall by less than 1 %."""

FEWEST_SAMPLES = 256  # cells of one picture are alike: this many are taken in any case

DECADES = (-7.0, 4.0)
GCV_SAMPLES = 1024
VECTOR_DECADES = (-13.0, 4.0)
"""In double precision: what all elements have in common may be far larger than what tells of the input."""


def kernel_size(features: Tensor) -> int:
    """3 where the patch regression stays small and there are neighbours, else 1."""
    return 3 if 9 * features.shape[1] <= PATCH_FEATURES and min(features.shape[-2:]) > 1 else 1


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of patches and targets over samples and cells.

    Attributes:
        gram: `[s, s]` float64, patches with patches.
        cross: `[s, t]` float64, patches with targets.
        energy: sum of squared targets.
        count: cells summed over.
    """

    gram: Tensor
    cross: Tensor
    energy: float
    count: int

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, kernel: int) -> Moments:
        """Of features `[n, c, h, w]`, or of fewer cells, and targets `[n, t, h, w]`; c·kernel² values a patch,
        zero-padded.
        """
        grid = (targets.shape[-2], targets.shape[-1])
        cells, size = grid[0] * grid[1], features.shape[1] * kernel**2
        enough = enough_samples(torch.Size((*features.shape[:2], *grid)), kernel)
        features, targets = features[:enough], targets[:enough]
        gram = torch.zeros(size, size, dtype=torch.float64)
        cross = torch.zeros(size, targets.shape[1], dtype=torch.float64)
        for z, t in zip(torch.split(features, 32), torch.split(targets, 32), strict=True):
            rows = F.unfold(resized(z, grid), kernel, padding=kernel // 2).transpose(1, 2).reshape(-1, size)
            goal = t.flatten(2).transpose(1, 2).reshape(-1, targets.shape[1])
            gram += (rows.T @ rows).double()
            cross += (rows.T @ goal).double()
        return cls(gram, cross, float(targets.double().square().sum()), cells * len(features))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.gram + other.gram, self.cross + other.cross, self.energy + other.energy, self.count + other.count
        )

    def weights(self, penalty: float) -> Tensor:
        """`[s, t]` ridge solution, float64; zero for an infinite penalty."""
        if math.isinf(penalty):
            return torch.zeros_like(self.cross)
        found: Tensor = torch.linalg.solve(self.gram + penalty * torch.eye(len(self.gram)).double(), self.cross)
        return found


def enough_samples(shape: torch.Size, kernel: int) -> int:
    """How many samples of features `[n, c, h, w]` a patch regression is solved on."""
    return max(FEWEST_SAMPLES, math.ceil(ROWS_PER_FEATURE * shape[1] * kernel**2 / (shape[-1] * shape[-2])))


def held_out_penalty(fit: Moments, check: Moments) -> float:
    """The penalty on the sum over `fit` of least squared error over `check`; infinite where none beats the mean."""
    values, vectors = torch.linalg.eigh(fit.gram)
    scale = float(values.mean())
    if scale <= 0:
        return math.inf
    turned, seen = vectors.T @ fit.cross, vectors.T @ check.cross
    gram = vectors.T @ check.gram @ vectors
    grid = scale * torch.logspace(*DECADES, steps=23, dtype=torch.float64)
    best, least = math.inf, 0.0
    for penalty in grid.tolist():
        weights = turned / (values.clamp_min(0) + penalty)[:, None]
        gained = float((weights * (gram @ weights)).sum() - 2 * (weights * seen).sum())
        if gained < least:
            best, least = penalty, gained
    return best


def vector_penalty(features: Tensor, targets: Tensor) -> float:
    """The penalty of least generalised cross-validation on 1,024 samples at most: it hardly depends on their number."""
    z, goal = features[:GCV_SAMPLES].double(), targets[:GCV_SAMPLES].double()
    here = torch.arange(len(z))
    kernel = Kernel.of(*centred_blocks(z @ z.T, here, here[:1]), exact=True)
    return kernel.penalty((kernel.vectors.T @ (goal - goal.mean(0))).square().sum(1), VECTOR_DECADES)


@dataclass(frozen=True, eq=False)
class VectorRidge:
    """Ridge for centred features `[n, D]` and targets `[n, t]`, by the smaller of its primal and dual forms.

    Attributes:
        weights: `[D, t]`; zero for an infinite penalty.
        leverage: `[n]`, 0 to 1: a sample's residual over 1 − leverage is what a fit without it leaves of it (Allen
            1974).
        inverse: (ZᵀZ + λI)⁻¹ `[D, D]`, or (ZZᵀ + λI)⁻¹ `[n, n]` where D > n; None for an infinite penalty.
    """

    weights: Tensor
    leverage: Tensor
    inverse: Tensor | None

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, penalty: float) -> VectorRidge:
        """Solve it, in float64."""
        z, goal = features.double(), targets.double()
        n, dims = z.shape
        if math.isinf(penalty):
            return cls(torch.zeros(dims, goal.shape[1]), torch.zeros(n), None)
        eye = penalty * torch.eye(min(n, dims), dtype=torch.float64)
        if dims <= n:
            inverse = torch.linalg.inv(z.T @ z + eye)
            return cls((inverse @ (z.T @ goal)).float(), ((z @ inverse) * z).sum(1).float(), inverse.float())
        gram = z @ z.T
        inverse = torch.linalg.inv(gram + eye)
        return cls((z.T @ (inverse @ goal)).float(), (gram * inverse).sum(1).float(), inverse.float())

    def pull(self, features: Tensor) -> Tensor:
        """`[n, D]`: rows (ZᵀZ + λI)⁻¹zᵢ of the features it was solved for: how far a residual pulls the weights."""
        if self.inverse is None:
            return torch.zeros_like(features)
        return features @ self.inverse if len(self.inverse) == features.shape[1] else self.inverse @ features
