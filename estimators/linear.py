"""Closed-form inversion attacks: ridge regression from z to the pixels, linear and with a Gaussian kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need, Targets
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.statistics.ratios import ratio_of_means
from advisor.measures.drowned import DECADES, GAIN, standard_gram, standard_kernel
from advisor.measures.gram_matrices import (
    Kernel,
    centred_blocks,
    flat_pixels,
    pixel_gram,
    remembered,
    roles,
    sample_gram,
    squared_distances,
    train_kernel,
)
from advisor.measures.ridge_inversion import gaussian_kernel, ridge_weights

_SELECT = 512
"""Train samples on which the kernel attack chooses its penalty: a noise variance, hardly dependent on their number."""

_KERNEL_DECADES = (-4.0, 4.0)  # below 1e-4 the rounding of float32 distances shows in the kernel's small eigenvalues


@remembered
def linear_weights(view: CutView) -> Tensor:
    """`[test, train]` weights of linear ridge inversion at one cut; the penalty follows the pixels."""
    kernel, (train, _) = train_kernel(view), roles(view.targets)
    pixels = pixel_gram(view.targets)[train][:, train]
    penalty, error = kernel.chosen(_energies(kernel, pixels))
    if (other := standard_kernel(view)) is not None:
        again, left = other.chosen(_energies(other, pixels), DECADES)
        if left < GAIN * error:
            return other.weights(again)
    return kernel.weights(penalty)


def kernel_weights(view: CutView, bandwidth: float) -> Tensor:
    """`[test, train]` weights of ridge inversion with a Gaussian kernel.

    Generalised cross-validation chooses the penalty on a subset, then all train samples enter one linear solve.

    Args:
        view: the cut.
        bandwidth: of the kernel, in multiples of the median distance between train samples.
    """
    train, test = roles(view.targets)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(view.seed))
    few = train[order[:_SELECT]]
    pixels, _ = centred_blocks(pixel_gram(view.targets), few, test[:1])

    def chosen(gram: Tensor) -> tuple[Tensor, float, float]:
        similar = gaussian_kernel(squared_distances(gram), train, bandwidth)
        trial = Kernel.of(*centred_blocks(similar, few, test[:1]))
        return (similar, *trial.chosen(_energies(trial, pixels), _KERNEL_DECADES))

    similar, penalty, error = chosen(sample_gram(view))
    if (gram := standard_gram(view)) is not None:
        other, again, left = chosen(gram)
        similar, penalty = (other, again) if left < GAIN * error else (similar, penalty)
    return ridge_weights(*centred_blocks(similar, train, test), penalty)


def _energies(kernel: Kernel, pixels: Tensor) -> Tensor:
    """`[a]` squared length of the centred pixels along each eigenvector, from their Gram matrix alone."""
    return ((pixels @ kernel.vectors) * kernel.vectors).sum(0)


def reconstructions(weights: Tensor, targets: Targets) -> Tensor:
    """Test targets `[test, d]` that an attacker with these weights recovers; images are clipped to their range."""
    pixels = flat_pixels(targets)[targets.train]
    mean = pixels.mean(0)
    found = mean + weights.to(pixels.dtype) @ (pixels - mean)
    return targets.range.clip(found) if targets.images else found


def nmse(found: Tensor, targets: Targets, method: str) -> Estimate:
    """Squared error over the test targets against that of the attacker's mean; 0 is perfect, 1 learnt nothing.

    Args:
        found: `[test, d]` reconstructions.
        targets: what was to be found.
        method: said with the number.

    Raises:
        NotMeasurableError: when all test targets equal the mean, so that there is nothing to find.
    """
    ceiling = targets.ceiling.double()
    if not float(ceiling.mean()) > 0:
        raise NotMeasurableError("every scored input equals the mean of the others: there is nothing to reconstruct")
    errors = (found - flat_pixels(targets)[targets.test]).double().square().mean(1)
    return replace(ratio_of_means(errors, ceiling).within(0.0), method=method)


def best_closed_form(linear: Estimate, kernel: Estimate) -> Estimate:
    """The stronger of the two attackers: the lower NMSE, or the one that could be measured."""
    if math.isnan(linear.value):
        return kernel
    return kernel if kernel.value < linear.value else linear


@dataclass(frozen=True)
class LinearInversion:
    """NMSE of linear ridge inversion on samples it did not see; higher is more private."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec("linear_nmse", "1", "high", "measured", "ridge inversion in closed form, held-out NMSE"),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Attack one cut.

        Raises:
            NotMeasurableError: too few samples, or nothing to reconstruct.
        """
        found = reconstructions(linear_weights(view), view.targets)
        return {"linear_nmse": nmse(found, view.targets, _words("linear ridge", view.targets))}


@dataclass(frozen=True)
class KernelInversion:
    """NMSE of Gaussian-kernel ridge inversion on samples it did not see; higher is more private.

    Attributes:
        bandwidth: in multiples of the median distance. Distances concentrate in many dimensions, where the median
            itself is too narrow: on a CIFAR-10 ResNet-20 twice the median inverted better at every cut tried.
    """

    bandwidth: float = 2.0
    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec("kernel_nmse", "1", "high", "measured", "Gaussian-kernel ridge inversion, held-out NMSE"),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Attack one cut.

        Raises:
            NotMeasurableError: too few samples, or nothing to reconstruct.
        """
        found = reconstructions(kernel_weights(view, self.bandwidth), view.targets)
        return {"kernel_nmse": nmse(found, view.targets, _words("Gaussian-kernel ridge", view.targets))}


def _words(attack: str, targets: Targets) -> str:
    learnt, scored = targets.train.numel(), targets.test.numel()
    return f"{attack}, {learnt} samples to learn from, {scored} held out; interval over the held-out"
