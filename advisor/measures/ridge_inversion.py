"""Ridge regression from inner products, linear and with a Gaussian kernel: inversion in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advisor.measures.gram_matrices import Kernel, centred_blocks


def ridge_predictions(gram_train: Tensor, cross: Tensor, targets: Tensor, penalty: float | None = None) -> Tensor:
    """Ridge regression with an intercept in dual form (Saunders, Gammerman and Vovk 1998).

    Args:
        gram_train: `[a, a]` inner products of the train samples, about any one point.
        cross: `[b, a]` inner products of the new samples with the train samples, about the same point.
        targets: `[a, d]`, what to predict.
        penalty: λ on the squared weights; by generalised cross-validation on the train samples where None.

    Returns:
        `[b, d]` predictions, in the dtype of `targets`.
    """
    a, b = gram_train.shape[0], cross.shape[0]
    everything = torch.cat([gram_train, cross]).double()
    kernel = Kernel.of(*centred_blocks(everything, torch.arange(a), torch.arange(a, a + b)))
    mean = targets.mean(0)
    centred = (targets - mean).double()
    if penalty is None:
        penalty = kernel.penalty((kernel.vectors.T @ centred).square().sum(1))
    return (mean + kernel.weights(penalty) @ centred).to(targets.dtype)


def gaussian_kernel(square: Tensor, train: Tensor, bandwidth: float) -> Tensor:
    """exp(-‖z - z'‖² / 2h²), `[n, n]`; h in multiples of the median train distance (Garreau et al. 2018).

    All ones where train samples do not differ.
    """
    apart = square[train][:, train]
    width = bandwidth**2 * float(apart[~torch.eye(len(train), dtype=torch.bool)].median())
    return torch.exp(-square / (2 * width)) if width > 0 else torch.ones_like(square)


def ridge_weights(inner: Tensor, cross: Tensor, penalty: float) -> Tensor:
    """cross (inner + λI)⁻¹, `[b, a]`; zero for an infinite penalty, which predicts the mean."""
    if math.isinf(penalty):
        return torch.zeros_like(cross)
    weights: Tensor = torch.linalg.solve(inner + penalty * torch.eye(inner.shape[0], dtype=inner.dtype), cross.T).T
    return weights
