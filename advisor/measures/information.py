"""Information and entropy of an input given what a decoder or a critic makes of its activation, in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_FLOOR = 1 / 255**2 / 12
"""Variance of what an 8-bit picture rounds away: below it no entropy is left to hide."""


def residual_entropy(errors: Tensor, basis: Tensor) -> tuple[float, float]:
    """Upper bound of H(x|z)/d in nats an element, and its standard error over samples.

    H(x|z) ≤ -E ln q(x|z) for any q (Barber and Agakov 2003). Here q is normal about the decoder's output, with one
    variance along each of k orthonormal directions and one for all the rest: Σ_i ½ ln(2πe v_i).

    Args:
        errors: `[m, d]` of the decoder on samples it did not learn from.
        basis: `[d, k]` orthonormal.
    """
    m, d = errors.shape
    along = errors @ basis
    rest = (errors.square().sum(1) - along.square().sum(1)).clamp_min(0)
    variances, left = along.square().mean(0).clamp_min(_FLOOR), d - basis.shape[1]
    terms = (0.5 * ((2 * math.pi * variances).log() + along.square() / variances)).sum(1)
    if left:
        remaining = (rest.mean() / left).clamp_min(_FLOOR)
        terms = terms + 0.5 * (left * torch.log(2 * math.pi * remaining) + rest / remaining)
    return float(terms.mean()) / d, float(terms.std()) / math.sqrt(m) / d if m > 1 else math.nan


@dataclass(frozen=True, eq=False)
class GaussianCritic:
    """ln q(x|z) up to a constant: independent normals about a prediction.

    Attributes:
        means: `[m, c]` predicted targets of each z.
        variances: `[c]` of the prediction error.
    """

    means: Tensor
    variances: Tensor

    def scores(self, targets: Tensor) -> Tensor:
        """`[m, m]`: row i holds ln q(x_j | z_i) for every j."""
        scale = self.variances.sqrt()
        return -0.5 * torch.cdist(self.means / scale, targets / scale).square()


def club(scores: Tensor) -> Tensor:
    """`[m]` terms whose mean is the CLUB estimate (Cheng et al. 2020, eq. 12), nats.

    ln q(x_i|z_i) less its mean over all other x_j: an upper bound of the information where q is close to the truth.
    """
    m = len(scores)
    others = (scores.sum(1) - scores.diagonal()) / (m - 1)
    return scores.diagonal() - others


def info_nce(scores: Tensor) -> Tensor:
    """`[m]` terms whose mean is the InfoNCE estimate (van den Oord et al. 2018), nats: a lower bound, at most ln m.

    Each x_i against all z_j: q(x_i|z_j) is then the best critic up to p(x_i), which cancels.
    """
    return scores.diagonal() - scores.logsumexp(0) + math.log(len(scores))
