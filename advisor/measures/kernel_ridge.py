"""A closed-form adversary: kernel ridge regression and its leave-one-out error, differentiable in the features.

Leave-one-out residuals follow from one factorisation, ((K + λI)⁻¹ Y) / diag((K + λI)⁻¹) (Wahba 1990, section 4.2; Allen
1974): the adversary is always at its optimum, there is no inner loop and nothing to tune it against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PENALTY = 0.05
"""λ, with kernels of mean diagonal 1."""

SCALES = (0.5, 1.0, 2.0)
"""Widths of the Gaussian kernels, in units of the median distance."""


def joint_kernel(features: Tensor, scales: Sequence[float] = SCALES, reference: int | None = None) -> Tensor:
    """Mean of a linear and several Gaussian kernels, each with a mean diagonal of 1, plus 1 for an intercept.

    Args:
        features: `[n, D]`.
        scales: widths of the Gaussian kernels, in units of the median distance between samples.
        reference: rows by which features are centred and scaled; None for all.

    Returns:
        `[n, n]`, positive definite.
    """
    known = features[:reference]
    centred = features - known.mean(0)
    linear = centred @ centred.T
    linear = linear / linear.diagonal()[:reference].mean().clamp_min(1e-12)
    square = centred.square().sum(1)
    distances = (square[:, None] + square[None, :] - 2 * centred @ centred.T).clamp_min(0)
    middle = median_distance(distances.detach()[:reference, :reference])
    gaussians = [torch.exp(-distances / (2 * scale**2 * middle)) for scale in scales]
    return torch.stack([linear, *gaussians]).mean(0) + 1.0


def median_distance(distances: Tensor) -> Tensor:
    """Median of the squared distances between different samples, `[n, n]`; never 0."""
    n = len(distances)
    apart = distances[~torch.eye(n, dtype=torch.bool, device=distances.device)]
    return apart.median().clamp_min(1e-12) if len(apart) else distances.new_ones(())


def leave_one_out(kernel: Tensor, targets: Tensor, penalty: float = PENALTY) -> Tensor:
    """Residuals `[n, p]` of each sample under the regression that is fitted without it.

    Args:
        kernel: `[n, n]`, positive semi-definite.
        targets: `[n, p]`.
        penalty: λ, above 0.
    """
    n = len(kernel)
    eye = torch.eye(n, dtype=kernel.dtype, device=kernel.device)
    factor = torch.linalg.cholesky(kernel + penalty * eye)
    inverse = torch.cholesky_inverse(factor)
    return (inverse @ targets) / inverse.diagonal()[:, None]


def leave_one_out_nmse(
    features: Tensor, targets: Tensor, rows: int | None = None, penalty: float = PENALTY,
    scales: Sequence[float] = SCALES, learnt: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """NMSE that the closed-form adversary is left with: 0 perfect, 1 learnt nothing (may exceed 1 a little).

    Args:
        features: `[n, D]`, what is received; gradients flow into all rows that have them.
        targets: `[n, p]`, what the attacker wants.
        rows: how many of the first rows are scored; the others are learnt from only. None for all.
        penalty: λ.
        scales: widths of the Gaussian kernels.
        learnt: further features `[n, F]`; their linear kernel counts as much as all others. None: none.

    Returns:
        A scalar, the squared residuals over those of predicting the mean of the others.
    """
    n = len(features)
    kernel = joint_kernel(features, scales)
    if learnt is not None:
        kernel = (kernel + joint_kernel(learnt, ())) / 2
    residuals = leave_one_out(kernel, targets - targets.mean(0), penalty)[:rows]
    ceiling = (targets - targets.mean(0))[:rows].square().mean() * (n / max(1, n - 1)) ** 2
    return residuals.square().mean() / ceiling.clamp_min(1e-12)


def leading_directions(targets: Tensor, count: int) -> Tensor:
    """`[p, count]` principal directions of targets `[n, p]`, those of most variance; fewer where there are fewer."""
    centred = targets - targets.mean(0)
    directions: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh
    return directions[:count].T


def shrunken(inputs: Tensor, side: int = 16) -> Tensor:
    """What the adversary wants of inputs `[n, ...]`, as rows `[n, p]`: images are pooled to `side` pixels a side."""
    if inputs.dim() == 4 and max(inputs.shape[-2:]) > side:
        height, width = (min(side, length) for length in inputs.shape[-2:])
        inputs = torch.nn.functional.adaptive_avg_pool2d(inputs, (height, width))
    elif inputs.dim() > 2 and math.prod(inputs.shape[1:]) > side**3:
        inputs = torch.nn.functional.adaptive_avg_pool1d(inputs.flatten(1)[:, None], side**3)[:, 0]
    return inputs.flatten(1)
