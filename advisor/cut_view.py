"""What a leakage estimator is: what it says of its columns, what it sees at one cut, and its protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from advisor.cuts import Cut
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.derivatives.tangents import TangentEnergy
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate, Source
from advisor.measures.flat_rows import flat, reals
from advisor.support.finite import all_finite
from advisor.value_range import ValueRange

CENTRED_BYTES = 128 * 2**20
"""Activations larger than this are centred part by part: a second one is not held."""


Need = Literal["tangents", "jacobian gram"]
"""What an estimator may read beside the activation; it is computed only where one asks for it."""


@dataclass(frozen=True)
class ColumnSpec:
    """What an estimator says of a column before it measures: name, unit, good direction, source, method."""

    name: str
    unit: str
    better: str
    source: Source
    method: str


DISCRETE = "the inputs are discrete: there are no pixels to reconstruct"
"""Why ids have no error of reconstruction."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What an attacker wants back, and who plays which role.

    Attributes:
        pixels: `[n, ...]`, the private input, images at a stated reduced size, else as given; in input units.
        images: whether `pixels` are images `[n, c, h, w]`.
        labels: `[n]` int64: true ones, else the model's own predictions.
        labels_are_true: which of the two.
        train, test: indices of what the attacker may learn from, and of what it is scored on.
        classes: number of classes.
        note: how pixels were made from the input.
    """

    pixels: Tensor
    images: bool
    labels: Tensor
    labels_are_true: bool
    train: Tensor
    test: Tensor
    classes: int
    note: str = ""

    @property
    def elements(self) -> int:
        """Elements of one target."""
        return math.prod(self.pixels.shape[1:])

    @cached_property
    def range(self) -> ValueRange:
        """Between which values the targets lie."""
        return ValueRange.of(self.pixels)

    @cached_property
    def ceiling(self) -> Tensor:
        """`[test]` squared error per element of predicting the attacker's mean: what NMSE divides by, averaged."""
        mean = self.pixels[self.train].mean(0)
        return (self.pixels[self.test] - mean).square().flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class CutView:
    """What an estimator sees at one cut, all samples at once.

    Attributes:
        cut: where.
        tensors: the activation, each `[n, ...]`, as the cloud receives it.
        targets: what an attacker wants.
        wire_step: rounding step of what is sent, in units of z.
        seed: for estimators that draw.
        energy: squared length of forward-mode tangents at this cut, or None where no tangents were asked for.
        jacobian_gram: their inner products along the inputs' leading directions, or None likewise.
        gaussian_variance: of the Gaussian noise that a defense adds, in units of z²; 0: it adds none.
    """

    cut: Cut
    tensors: tuple[Tensor, ...]
    targets: Targets
    wire_step: float
    seed: int
    energy: TangentEnergy | None = None
    jacobian_gram: JacobianGram | None = None
    gaussian_variance: float = 0.0

    @property
    def noise_variance(self) -> float:
        """Variance of the noise that bounds rest on: a defense's Gaussian noise, else the wire's rounding, step²/12."""
        return self.gaussian_variance or self.wire_step**2 / 12

    @cached_property
    def z(self) -> Tensor:
        """All that crosses as one matrix `[n, D]`, float32.

        Raises:
            NotMeasurableError: when it holds NaN or infinities, does not lead with the batch, or is too fine for that.
        """
        rows = len(self.targets.labels)
        if any(t.dim() == 0 or len(t) != rows for t in self.tensors):
            raise NotMeasurableError("an output does not lead with the batch")
        parts = [flat(t) for t in reals(self.tensors)]
        z = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if not all_finite(z):
            raise NotMeasurableError("the activation holds NaN or infinities")
        return z

    @cached_property
    def gram(self) -> Tensor:
        """Inner products of the centred samples, `[n, n]` float64."""
        if self.z.nbytes <= CENTRED_BYTES:
            centred = self.z - self.z.mean(0)
            return (centred @ centred.T).double()
        total = self.z.new_zeros(len(self.z), len(self.z), dtype=torch.float64)
        for part in torch.split(self.z, CENTRED_BYTES // (4 * len(self.z)), 1):
            centred = part - part.mean(0)
            total += (centred @ centred.T).double()
        return total

    @cached_property
    def distances(self) -> Tensor:
        """Euclidean distances between samples, `[n, n]` float64."""
        square = self.gram.diagonal()
        return (square[:, None] + square[None, :] - 2 * self.gram).clamp_min(0).sqrt()


class Estimator(Protocol):
    """One leakage estimator: declares its columns and what it needs, and measures at one cut."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns it measures."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it reads beside the activation: "tangents" is `view.energy`, "jacobian gram" `view.jacobian_gram`."""

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure every declared column at one cut.

        Raises:
            NotMeasurableError: when this cut cannot be measured; the message says why.
        """
