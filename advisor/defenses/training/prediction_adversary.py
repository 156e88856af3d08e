"""CLUB on the prediction side of a U-shaped plan: what the cloud sends back shall not tell the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.defenses.training.adversaries import HIDDEN, RATE, flat
from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.errors import AdvisorError
from advisor.measures.categorical_club import categorical_club


@dataclass
class PredictionClub(PrivacyTerm):
    """CLUB with a categorical posterior, a multi-layer perceptron that learns beside the defense, anew in each epoch.

    It reads what the cloud sends back to the tail, which also holds all that it got (Duan et al., NeurIPS 2024,
    equation 8). The classes are the undefended model's own.

    Attributes:
        weight: of the bound, nats.
        inner: steps of the posterior a step of the defense.
    """

    weight: float
    inner: int = 3
    against: ClassVar[tuple[str, ...]] = ("label_leak",)
    _network: nn.Module | None = field(default=None, repr=False)
    _optimiser: torch.optim.Optimizer | None = field(default=None, repr=False)

    def begin(self, epoch: int) -> None:
        """Forget the posterior of the epoch before."""
        self._network, self._optimiser = None, None

    def loss(self, step: Step) -> Tensor:
        """Teach the posterior on what is returned, then hold that against it."""
        scores = step.answers[0]
        if scores.dim() != 2 or scores.shape[1] < 2:
            raise AdvisorError("The prediction is no score of classes: it has no label to hide.", "Pass prediction=0.")
        returned, labels = flat(step.returned), scores.argmax(1)
        if self._network is None:
            self._network = nn.Sequential(
                nn.Linear(returned.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
                nn.Linear(HIDDEN, scores.shape[1]),
            )  # fmt: skip
            self._optimiser = torch.optim.AdamW(self._network.parameters(), RATE)
        assert self._optimiser is not None
        for _ in range(self.inner):
            self._optimiser.zero_grad()
            with torch.enable_grad():
                F.cross_entropy(self._network(returned.detach()), labels).backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        return self.weight * categorical_club(self._network(returned), labels)
