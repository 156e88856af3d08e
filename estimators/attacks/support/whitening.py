"""Features in units of their own spread: descent on them is then not led by the few directions of most energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advisor.estimators.attacks.support.denoising import WIDEST, channel_rows
from advisor.estimators.attacks.support.matching import features

FLOOR = 1e-4
"""Least variance of a direction, as a share of the mean over directions."""

ROWS = 4
"""Rows for each channel that a covariance is taken from, at least."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """(Σ + (σ² + floor) I)^(-1/2) (z − μ) over channels, with mean and covariance of tensors that crossed.

    Minimising the plain ‖f(x) − z‖² goes at a pace that the condition number of Σ sets: after a poorly trained layer
    a handful of directions hold nearly all energy, and after thousands of steps the others have hardly moved.

    Attributes:
        mean: `[c]`.
        turn: `[c, c]` symmetric.
    """

    mean: Tensor
    turn: Tensor

    @classmethod
    def fitted(cls, z: Tensor, variance: float) -> Whitening | None:
        """From tensors `[n, c, ...]` and the variance of the noise in them; None where too wide, few or constant.

        With few rows a channel the directions that they happen not to span would weigh most.
        """
        rows = channel_rows(z)
        if rows.shape[1] > WIDEST or len(rows) < ROWS * rows.shape[1]:
            return None
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / (len(rows) - 1))
        spread = float(values.clamp_min(0).mean())
        if spread <= 0:
            return None
        inverse = (values.clamp_min(0) + variance + FLOOR * spread).rsqrt()
        return cls(mean.float(), ((vectors * inverse) @ vectors.T).float())

    def __call__(self, z: Tensor) -> Tensor:
        """`[n, c, ...]` or `[n]`, white."""
        if z.dim() == 1:
            return self(z[:, None])[:, 0]
        centred = z.float().movedim(1, -1) - self.mean
        return (centred @ self.turn).movedim(-1, 1)


class Whitened(nn.Module):
    """An edge half that sends white tensors."""

    def __init__(self, edge: nn.Module, whitenings: Sequence[Whitening]) -> None:
        super().__init__()
        self.edge, self.whitenings = edge, whitenings

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        """One flat input, and the activation of it."""
        return self.white(features(self.edge, x))

    def white(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Tensors that crossed, white."""
        return tuple(w(z) for w, z in zip(self.whitenings, tensors, strict=True))


def whitenings_of(sent: Sequence[Tensor], variance: Sequence[float]) -> tuple[Whitening, ...] | None:
    """One for each tensor that crosses; None where one of them has none."""
    found = [Whitening.fitted(z, v) for z, v in zip(sent, variance, strict=True)]
    return None if None in found else tuple(w for w in found if w is not None)
