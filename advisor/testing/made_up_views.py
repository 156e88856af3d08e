"""Made-up views of one cut, so that estimators are tested without a model."""

from __future__ import annotations

import torch
from torch import Tensor

from advisor.cut_view import CutView, Targets
from advisor.cuts import Cut, TensorSpec


def view_of(
    z: Tensor,
    labels: Tensor | None = None,
    pixels: Tensor | None = None,
    *,
    images: bool = False,
    true_labels: bool = True,
    step: float = 1e-3,
    seed: int = 0,
    held_out: float = 0.25,
) -> CutView:
    """A view of a cut that sends `z` `[n, ...]`; the last samples are held out; without `pixels` z is the target."""
    n = z.shape[0]
    labels = torch.zeros(n, dtype=torch.int64) if labels is None else labels
    pixels = z.float() if pixels is None else pixels
    split = n - int(n * held_out)
    targets = Targets(
        pixels, images, labels, true_labels, torch.arange(split), torch.arange(split, n), int(labels.max()) + 1
    )  # fmt: skip
    cut = Cut(1, "here", (TensorSpec(tuple(z.shape[1:]), "float32"),))
    return CutView(cut, (z,), targets, step, seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64 draws."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram_of(z: Tensor) -> Tensor:
    """Inner products of the centred samples, `[n, n]` float64."""
    centred = z.double() - z.double().mean(0)
    return centred @ centred.T


def rotation(size: int, seed: int = 7) -> Tensor:
    """A random orthogonal matrix, float64."""
    orthogonal: Tensor = torch.linalg.qr(normal(size, size, seed=seed))[0]
    return orthogonal


def without(z: Tensor, i: int) -> Tensor:
    """All samples but one."""
    return torch.cat([z[:i], z[i + 1 :]])
