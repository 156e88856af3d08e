"""Conditional entropy from a Gaussian mixture of the activation (CEM: Xia et al., CVPR 2025, arXiv 2503.00383)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advisor.measures.gram_matrices import squared_distances

CENTRES = 5
ROUNDS = 20
SMALLEST = 4
"""Samples a component needs: fewer say little about its variance."""


def mixture_information(weights: Tensor, variances: Tensor, elements: int, noise_variance: float) -> Tensor:
    """Σ_j w_j (-ln w_j + (D/2) ln(1 + v_j/σ²)) in nats: I(x; z + noise) is at most this.

    The noiseless z is taken as a mixture of components of weight w_j and covariance Σ_j; by concavity ½ ln det(I +
    Σ_j/σ²) is at most (D/2) ln(1 + v_j/σ²), v_j = Tr Σ_j / D, with equality for isotropic components. Unlike the
    determinant the trace has an unbiased estimate from fewer samples than dimensions.

    Args:
        weights: `[k]`, positive, summing to 1.
        variances: `[k]`, v_j per element.
        elements: D.
        noise_variance: σ² of the noise on z.
    """
    return (weights * (-weights.log() + 0.5 * elements * torch.log1p(variances / noise_variance))).sum()


def clusters(gram: Tensor, labels: Tensor, seed: int) -> Tensor:
    """`[n]` component of each sample: k-means within each class, from inner products alone.

    Each class gets at most `CENTRES` components, and fewer where one would hold less than `SMALLEST` samples on
    average; starts are drawn far apart (k-means++, Arthur and Vassilvitskii 2007).
    """
    member, start = torch.zeros_like(labels), 0
    generator = torch.Generator().manual_seed(seed)
    for label in torch.unique(labels):
        rows = torch.nonzero(labels == label).flatten()
        count = max(1, min(CENTRES, len(rows) // SMALLEST))
        member[rows] = start + _kmeans(gram[rows][:, rows], count, generator)
        start += count
    found: Tensor = torch.unique(member, return_inverse=True)[1]
    return found


def _kmeans(gram: Tensor, count: int, generator: torch.Generator) -> Tensor:
    apart = squared_distances(gram)
    centres = [int(torch.randint(len(gram), (1,), generator=generator))]
    while len(centres) < count:
        nearest = apart[:, centres].min(1).values
        if float(nearest.sum()) <= 0:
            break
        centres.append(int(torch.multinomial(nearest, 1, generator=generator)))
    member = apart[:, centres].argmin(1)
    for _ in range(ROUNDS):
        share = torch.nn.functional.one_hot(member, len(centres)).double()
        share = share / share.sum(0).clamp_min(1)
        # ‖z - m_j‖² up to ‖z‖²; an empty component stays empty.
        far = (share * (gram @ share)).sum(0) - 2 * gram @ share
        far[:, share.sum(0) == 0] = math.inf
        moved = far.argmin(1)
        if torch.equal(moved, member):
            break
        member = moved
    return member
