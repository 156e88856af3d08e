"""Inner products between samples: what every closed-form estimator works from, so that no D × D matrix is built."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from advisor.cut_view import CutView, Targets
from advisor.errors import NotMeasurableError

K = TypeVar("K")
V = TypeVar("V")

EPS32, EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps
_MIN_TRAIN = 3


def remembered(make: Callable[[K], V]) -> Callable[[K], V]:
    """Compute once for each live argument: a cut's estimators share what is costly, and it goes when the view goes."""
    kept: WeakKeyDictionary[Any, V] = WeakKeyDictionary()

    @functools.wraps(make)
    def once(key: K) -> V:
        if key not in kept:
            kept[key] = make(key)
        return kept[key]

    return once


@remembered
def sample_gram(view: CutView) -> Tensor:
    """Centred Gram matrix of the activation, `[n, n]` float64; exactly zero where z varies by rounding alone.

    Raises:
        NotMeasurableError: fewer than two samples, or inner products that overflow.
    """
    n = view.z.shape[0]
    if n < 2:
        raise NotMeasurableError("one sample has no spread: give at least two")
    if not torch.isfinite(view.gram).all():
        raise NotMeasurableError("the activation is too large for float32 inner products")
    size = float(torch.linalg.vector_norm(view.z)) ** 2
    if float(view.gram.trace()) <= (4 * EPS32) ** 2 * size:
        return torch.zeros_like(view.gram)
    return view.gram


@remembered
def pixel_gram(targets: Targets) -> Tensor:
    """Inner products of the targets about the attacker's mean, `[n, n]` float64."""
    pixels = flat_pixels(targets)
    centred = pixels - pixels[targets.train].mean(0)
    return (centred @ centred.T).double()


def flat_pixels(targets: Targets) -> Tensor:
    """Targets as one matrix `[n, d]` float32."""
    return targets.pixels.detach().flatten(1).float()


def rounding_floor(samples: int, square: float, eps: float = EPS32) -> float:
    """Eigenvalues that rounding may give to a Gram matrix where the true ones are zero.

    Entries carry independent errors of about ε‖z‖²; the spectral norm of such a symmetric matrix is 2 ε‖z‖² √n
    (Wigner), taken twice.

    Args:
        samples: n.
        square: mean ‖z‖² of the centred samples.
        eps: of the numbers that were multiplied.
    """
    return 4 * eps * math.sqrt(samples) * square


def squared_distances(gram: Tensor) -> Tensor:
    """Squared Euclidean distances `[n, n]` between the samples of a Gram matrix."""
    square = gram.diagonal()
    return (square[:, None] + square[None, :] - 2 * gram).clamp_min(0)


def centred_blocks(gram: Tensor, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Train `[a, a]` and test-by-train `[b, a]` blocks, centred on the mean of the train samples.

    Schölkopf, Smola and Müller (1998), appendix A; the test samples have no part in the mean.
    """
    inner, cross = gram[train][:, train], gram[test][:, train]
    row = inner.mean(1)
    shift = row.mean() - row[None, :]
    return inner - row[:, None] + shift, cross - cross.mean(1, keepdim=True) + shift


@dataclass(frozen=True, eq=False)
class Kernel:
    """A centred train kernel in its eigenbasis, with the test samples against it.

    Attributes:
        values: `[a]` eigenvalues; those that the rounding of float32 inner products could have made are zero.
        vectors: `[a, a]` eigenvectors, one a column.
        cross: `[b, a]` centred inner products, test by train.
    """

    values: Tensor
    vectors: Tensor
    cross: Tensor

    @classmethod
    def of(cls, inner: Tensor, cross: Tensor, exact: bool = False) -> Kernel:
        """Decompose a centred train block; `exact`: of inner products in double precision, else in float32."""
        values, vectors = torch.linalg.eigh(inner)
        floor = rounding_floor(inner.shape[0], float(inner.diagonal().mean()), EPS64 if exact else EPS32)
        return cls(torch.where(values > floor, values, 0.0), vectors, cross)

    def weights(self, penalty: float) -> Tensor:
        """`[b, a]`: what each train sample's centred target adds to each prediction, ridge with this penalty."""
        return ((self.cross @ self.vectors) * self.shrunk(penalty)) @ self.vectors.T

    def shrunk(self, penalty: float) -> Tensor:
        """`[a]`: 1 / (value + penalty), and 0 along eigenvectors of value zero.

        There the cross products are rounding alone, which a small penalty would blow up.
        """
        return torch.where(self.values > 0, 1 / (self.values + penalty), 0.0)

    def penalty(self, energies: Tensor, decades: tuple[float, float] = (-7.0, 4.0)) -> float:
        """The ridge penalty of least generalised cross-validation (Golub, Heath and Wahba 1979, eq. 1.4).

        Args:
            energies: `[a]` squared length of the centred targets along each eigenvector.
            decades: powers of ten searched, in units of the mean eigenvalue; the upper end predicts the mean.

        Returns:
            The penalty; infinity where the kernel is zero, which predicts the mean.
        """
        return self.chosen(energies, decades)[0]

    def chosen(self, energies: Tensor, decades: tuple[float, float] = (-7.0, 4.0)) -> tuple[float, float]:
        """The penalty, and its generalised cross-validation, by which kernels of the same targets compare."""
        scale = float(self.values.mean())
        if scale <= 0:
            return math.inf, float(energies.sum()) / (len(energies) - 1) ** 2
        grid = scale * torch.logspace(*decades, steps=int(4 * (decades[1] - decades[0])) + 1, dtype=torch.float64)
        left = grid[:, None] / (self.values + grid[:, None])
        # The mean is fitted without a penalty: one degree of freedom more.
        freedom = (left.sum(1) - 1).clamp_min(1e-12)
        # Along the constant vector targets have no length: rounding to less than none would make a tiny penalty win.
        scores = (left.square() * energies.clamp_min(0)).sum(1) / freedom.square()
        least = int(scores.argmin())
        return float(grid[least]), float(scores[least])


@remembered
def train_kernel(view: CutView) -> Kernel:
    """The linear kernel of one cut, decomposed once for all estimators."""
    return Kernel.of(*centred_blocks(sample_gram(view), *roles(view.targets)))


def roles(targets: Targets) -> tuple[Tensor, Tensor]:
    """Train and test indices.

    Raises:
        NotMeasurableError: too few of either to fit and score an attacker.
    """
    if targets.train.numel() < _MIN_TRAIN or targets.test.numel() < 1:
        raise NotMeasurableError(
            f"{targets.train.numel()} samples to learn from and {targets.test.numel()} to score on are too few: "
            f"give at least {_MIN_TRAIN} and 1"
        )
    return targets.train, targets.test
