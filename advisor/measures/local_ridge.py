"""A closed-form adversary that reads maps as a convolution does: one ridge regression for all places of a map.

Each place is a sample: what is sent around it, and random features of that, are regressed to the part of the input
that lies there. A batch of maps then holds thousands of samples, where a regression on whole maps has one a map.
Leave-one-out residuals follow in closed form, e / (1 − h) with h the diagonal of the hat matrix (Allen 1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PENALTY = 1e-3
"""λ, in units of the features' mean square."""

AROUND = 3
"""Places a side that a regression reads."""


def random_filters(channels: int, count: int, seed: int = 0) -> Tensor:
    """`[count, channels, 3, 3]` normal filters of unit expected response to white maps (Rahimi and Recht 2008)."""
    draw = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, channels, AROUND, AROUND, generator=draw)
    return drawn / math.sqrt(channels * AROUND**2)


def local_features(
    sent: Tensor, filters: Tensor, reader: Callable[[Tensor], Tensor] | None = None
) -> Tensor:  # fmt: skip
    """What a regression reads of maps `[n, C, h, w]` at each place: `[n, h·w, F]`.

    The values around it, the random features of these, the mean of the whole map, and what a reader makes of it.
    """
    centred = sent - sent.mean((0, 2, 3), keepdim=True)
    scaled = centred / centred.square().mean().sqrt().clamp_min(1e-12)
    around = F.unfold(scaled, AROUND, padding=AROUND // 2)
    parts = [around, scaled.mean((2, 3))[:, :, None].expand(-1, -1, around.shape[2])]
    if len(filters):
        curved = torch.relu(F.conv2d(scaled, filters.to(scaled), padding=AROUND // 2))
        parts.append(curved.flatten(2))
    if reader is not None:
        parts.append(reader(scaled).flatten(2))
    return torch.cat(parts, 1).transpose(1, 2)


def local_targets(inputs: Tensor, height: int, width: int, block: int = 2) -> Tensor:
    """The part of images `[n, c, H, W]` at each place of an h by w map, `block` pixels a side: `[n, h·w, c·block²]`."""
    block = max(1, min(block, inputs.shape[2] // height, inputs.shape[3] // width))
    pooled = F.adaptive_avg_pool2d(inputs, (height * block, width * block))
    return F.pixel_unshuffle(pooled, block).flatten(2).transpose(1, 2)


def ridge_leave_one_out(features: Tensor, targets: Tensor, penalty: float = PENALTY) -> Tensor:
    """Residuals `[m, p]` of each row under the ridge regression without intercept that is fitted without it.

    Args:
        features: `[m, F]`, centred; more rows than columns.
        targets: `[m, p]`, centred.
        penalty: λ in units of the features' mean square, times m.
    """
    inner = features.T @ features
    scale = penalty * inner.diagonal().mean().clamp_min(1e-12)
    factor = torch.linalg.cholesky(inner + scale * torch.eye(len(inner), dtype=inner.dtype, device=inner.device))
    left = torch.linalg.solve_triangular(factor, features.T, upper=False)
    fitted = left.T @ (left @ targets)
    kept: Tensor = (1 - left.square().sum(0)).clamp_min(1e-3)
    residuals: Tensor = (targets - fitted) / kept[:, None]
    return residuals


def local_nmse(
    sent: Tensor, inputs: Tensor, filters: Tensor, penalty: float = PENALTY, rows: Tensor | None = None,
    reader: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """NMSE that the adversary is left with on images, 0 perfect, 1 learnt nothing; differentiable in what is sent.

    Args:
        sent: maps `[n, C, h, w]`.
        inputs: images `[n, c, H, W]`.
        filters: of `random_filters`; may be none.
        penalty: λ, see `ridge_leave_one_out`.
        rows: which of the n·h·w places are used; None for all.
        reader: gives further features `[n, F, h, w]` of the maps, centred and of unit mean square.

    Returns:
        A scalar: squared residuals over those of the mean image.
    """
    features, targets = local_features(sent, filters, reader), local_targets(inputs, sent.shape[2], sent.shape[3])
    features, targets = ((t - t.mean(0)).flatten(0, 1) for t in (features, targets))
    if rows is not None:
        features, targets = features[rows], targets[rows]
    residuals = ridge_leave_one_out(features, targets, penalty)
    return residuals.square().mean() / targets.square().mean().clamp_min(1e-12)
