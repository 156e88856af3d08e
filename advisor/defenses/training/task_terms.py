"""What a defended model is to answer: what the undefended one does, or the user's labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 3.0
"""Of the softened scores that distillation compares (Hinton et al. 2015, section 2)."""


def distillation(found: Sequence[Tensor], wanted: Sequence[Tensor], temperature: float = TEMPERATURE) -> Tensor:
    """How far outputs lie from those of the undefended model: KL divergence of scores, scaled squared error otherwise.

    Args:
        found, wanted: the floating-point outputs, each `[n, ...]`.
        temperature: of the scores.

    Returns:
        A scalar; 0 where they are the same.
    """
    return torch.stack([_one(f, w, temperature) for f, w in zip(found, wanted, strict=True)]).sum()


def _one(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    if wanted.dim() == 2 and wanted.shape[1] > 1:
        soft = F.log_softmax(found / temperature, 1)
        goal = F.log_softmax(wanted / temperature, 1)
        return temperature**2 * F.kl_div(soft, goal, reduction="batchmean", log_target=True)
    variance = (wanted - wanted.mean(0)).square().mean().clamp_min(1e-12)
    return F.mse_loss(found, wanted) / variance


def agreement(found: Tensor, wanted: Tensor) -> float:
    """How well an output `[n, ...]` agrees with the undefended model's: share of equal classes, or R² otherwise."""
    if wanted.dim() == 2 and wanted.shape[1] > 1:
        return float((found.argmax(1) == wanted.argmax(1)).float().mean())
    variance = (wanted - wanted.mean(0)).square().mean().clamp_min(1e-12)
    return 1 - float((found - wanted).square().mean() / variance)


def labels_loss(found: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of the first output with true classes `[n]`; squared error where labels are numbers."""
    if labels.dtype.is_floating_point:
        return F.mse_loss(found[0].reshape(labels.shape), labels)
    return F.cross_entropy(found[0], labels.long())
