"""PrivacyTerm: what a fit adds to its loss so that the payload tells less; what a term is shown of each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from advisor.measures.kernel_ridge import leave_one_out_nmse, shrunken


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a fit, as the privacy terms see it.

    Attributes:
        inputs: the batch's first floating input, `[n, ...]`.
        payload: floating tensors that the encoder gave, each `[n, ...]`.
        sent: the same with the noise of the fit.
        outputs: the model's floating outputs, each `[n, ...]`.
    """

    inputs: Tensor
    payload: tuple[Tensor, ...]
    sent: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class PrivacyTerm(Protocol):
    """Something to be made small beside the task's loss."""

    against: ClassVar[tuple[str, ...]]
    """Estimators that the fit is trained against: for its variants they measure nothing any more."""
    through_input: ClassVar[bool]
    """Whether it differentiates through the input: the edge half is then run anew for each batch."""

    def begin(self, epoch: int) -> None:
        """A new epoch: nothing of the one before may count, so that a killed fit goes on to the same bits."""

    def loss(self, step: Step) -> Tensor:
        """A scalar, differentiable in what is sent; weighted already."""


@dataclass
class RidgeAdversary:
    """Ours: what kernel ridge regression from the sent payload to the shrunken inputs is left with, in closed form.

    The regression is fitted to the batch and a bank of the last batches, and scored on the batch by its leave-one-out
    error, so that the adversary is at its optimum in every step.

    Attributes:
        weight: of min(NMSE, 1).
        bank: past batches that the regression also learns from.
        side: pixels a side to which images are shrunken.
    """

    weight: float
    bank: int = 3
    side: int = 16
    against: ClassVar[tuple[str, ...]] = ("linear_nmse", "kernel_nmse", "linear_gain")
    through_input: ClassVar[bool] = False
    _past: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    def begin(self, epoch: int) -> None:
        """Empty the bank."""
        self._past = []

    def loss(self, step: Step) -> Tensor:
        """−weight · min(NMSE, 1)."""
        features = torch.cat([z.flatten(1) for z in step.sent], 1)
        targets = shrunken(step.inputs.float(), self.side)
        rows = len(features)
        known = [(features, targets), *self._past]
        found = leave_one_out_nmse(torch.cat([f for f, _ in known]), torch.cat([t for _, t in known]), rows)
        self._past = [(features.detach(), targets), *self._past][: self.bank]
        return -self.weight * found.clamp_max(1.0)
