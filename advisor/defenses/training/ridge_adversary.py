"""The closed-form adversary as a privacy term: at its optimum in every step, nothing to tune against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from advisor.defenses.training.terms import Step
from advisor.measures.images import is_image_batch
from advisor.measures.kernel_ridge import SCALES, leading_directions, leave_one_out_nmse, shrunken
from advisor.measures.local_ridge import local_nmse, random_filters

MOST_PLACES = 4096
"""Places of maps that the local regression uses in one step."""


@dataclass
class RidgeAdversary:
    """Ours: what ridge regressions from the sent payload to the inputs are left with, in closed form.

    One is global: kernel ridge regression on whole payloads, fitted to the batch and a bank of the last batches. One is
    local: it reads payloads that are maps as a convolution does, place by place, with random features. Each is scored
    on the batch by its leave-one-out error.

    Attributes:
        weight: of min(NMSE, 1).
        bank: past batches that the global regression also learns from.
        local: share of the local regression, 0 to 1, where payload and input are maps; else the global has all.
        filters: random features of the local regression.
        scales: widths of the global one's Gaussian kernels, in units of the median distance.
        directions: leading principal directions of the shrunken inputs that the global one is to recover; 0: all.
        side: pixels a side to which images are shrunken for the global one.
    """

    weight: float
    bank: int = 3
    local: float = 0.75
    filters: int = 64
    scales: tuple[float, ...] = SCALES
    directions: int = 0
    side: int = 16
    against: ClassVar[tuple[str, ...]] = ("linear_nmse", "kernel_nmse", "linear_gain")
    through_input: ClassVar[bool] = False
    _past: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)
    _basis: Tensor | None = field(default=None, repr=False)

    def begin(self, epoch: int) -> None:
        """Empty the bank."""
        self._past, self._basis = [], None

    def loss(self, step: Step) -> Tensor:
        """−weight · min(NMSE, 1)."""
        maps = [z for z in step.sent if z.dim() == 4 and min(z.shape[2:]) > 1]
        share = self.local if maps and is_image_batch(step.hidden) else 0.0
        found = step.sent[0].new_zeros(())
        if share < 1:
            found = found + (1 - share) * self._global(step).clamp_max(1.0)
        if share > 0:
            found = found + share * torch.stack([self._local(z, step.hidden) for z in maps]).min().clamp_max(1.0)
        return -self.weight * found

    def _global(self, step: Step) -> Tensor:
        features = torch.cat([z.flatten(1) for z in step.sent], 1)
        targets = self._wanted(step.hidden)
        known = [(features, targets), *self._past]
        self._past = [(features.detach(), targets), *self._past][: self.bank]
        return leave_one_out_nmse(
            torch.cat([f for f, _ in known]), torch.cat([t for _, t in known]), len(features), scales=self.scales
        )

    def _wanted(self, inputs: Tensor) -> Tensor:
        wanted = shrunken(inputs.detach().float(), self.side)
        if not self.directions:
            return wanted
        if self._basis is None:
            self._basis = leading_directions(wanted, self.directions)
        return wanted @ self._basis

    def _local(self, sent: Tensor, inputs: Tensor) -> Tensor:
        places = len(sent) * sent.shape[2] * sent.shape[3]
        rows = torch.randperm(places)[:MOST_PLACES] if places > MOST_PLACES else None
        return local_nmse(sent, inputs.detach().float(), random_filters(sent.shape[1], self.filters), rows=rows)
