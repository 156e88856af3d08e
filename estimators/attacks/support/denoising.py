"""What an attacker who knows the defense does first: estimates its noise, and shrinks what it received accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WIDEST = 2048
"""Channels (of maps) or elements (of vectors) whose covariance is taken."""


@dataclass(frozen=True, eq=False)
class Wiener:
    """Linear minimum mean squared error estimate of a clean tensor from a noisy one, in its principal components.

    Attributes:
        mean: `[c]`.
        vectors: `[c, c]` principal directions, as columns.
        gain: `[c]` λ / (λ + σ²).
    """

    mean: Tensor
    vectors: Tensor
    gain: Tensor

    @classmethod
    def fitted(cls, clean: Tensor, variance: float) -> Wiener | None:
        """From clean tensors `[n, c, ...]` and the noise's variance; None where they are too wide for a covariance."""
        rows = channel_rows(clean)
        if rows.shape[1] > WIDEST or len(rows) < 2:
            return None
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / (len(rows) - 1))
        values = values.clamp_min(0)
        return cls(mean, vectors, values / (values + variance).clamp_min(1e-30))

    def __call__(self, noisy: Tensor) -> Tensor:
        """`[n, c, ...]`, shrunk."""
        rows = channel_rows(noisy) - self.mean
        clean = self.mean + ((rows @ self.vectors) * self.gain) @ self.vectors.T
        shape = (len(noisy), *noisy.shape[2:], noisy.shape[1])
        return clean.reshape(shape).movedim(-1, 1).to(noisy.dtype).contiguous()


def noise_variance(received: Sequence[Tensor], clean: Sequence[Tensor]) -> tuple[float, ...]:
    """Mean square of what defense and wire do to each tensor, by sending samples of one's own."""
    pairs = zip(received, clean, strict=True)
    return tuple(float((a.double() - b.double()).square().mean()) for a, b in pairs)


def denoised(received: Sequence[Tensor], clean: Sequence[Tensor], variance: Sequence[float]) -> tuple[Tensor, ...]:
    """Tensors shrunk towards what clean ones look like; those too wide stay as they are."""
    out = []
    for z, own, sigma2 in zip(received, clean, variance, strict=True):
        shrink = Wiener.fitted(own, sigma2)
        out.append(z if shrink is None else shrink(z))
    return tuple(out)


def channel_rows(z: Tensor) -> Tensor:
    """`[n, c, ...]` as `[n · places, c]`, float64; `[n]` has one channel."""
    z = z[:, None] if z.dim() == 1 else z
    return z.movedim(1, -1).reshape(-1, z.shape[1]).double()
