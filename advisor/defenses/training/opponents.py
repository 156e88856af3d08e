"""Networks that learn against a defense through its whole fit, one step of theirs with each of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.defenses.training.terms import PrivacyTerm

RATE = 2e-3
"""Of AdamW; it does not sink with the defense's own, so that the defense ends against opponents that keep up."""

HIDDEN = 256


class MapReader(nn.Module):
    """Features of maps: four convolutions of 3×3, each adding to what the last one saw."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, features, 3, 1, 1)
        self.further = nn.ModuleList([nn.Conv2d(features, features, 3, 1, 1) for _ in range(3)])

    def forward(self, sent: Tensor) -> Tensor:
        """`[n, C, h, w]` to `[n, F, h, w]`."""
        read = F.gelu(self.first(sent))
        for layer in self.further:
            read = read + F.gelu(layer(read))
        return read


class RowReader(nn.Module):
    """Features of a payload as one row: two layers."""

    def __init__(self, elements: int, features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(elements, HIDDEN), nn.Linear(HIDDEN, features)

    def forward(self, sent: Tensor) -> Tensor:
        """`[n, D]` to `[n, F]`."""
        return F.gelu(self.second(F.gelu(self.first(sent))))


class Opponents:
    """Those of all privacy terms, and what steps them: each makes its term large, while the defense makes it small.

    Args:
        terms: that have met a few samples.
    """

    def __init__(self, terms: Iterable[PrivacyTerm]) -> None:
        self.networks = nn.ModuleList([term.opponent for term in terms if term.opponent is not None])
        self.parameters: Sequence[nn.Parameter] = list(self.networks.parameters())
        self._optimiser = torch.optim.AdamW(self.parameters, RATE, maximize=True) if self.parameters else None

    def step(self) -> None:
        """Learn, by the gradients of the fit's loss."""
        if self._optimiser is not None:
            self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """What a killed fit goes on from."""
        optimiser = {} if self._optimiser is None else self._optimiser.state_dict()
        return {"networks": self.networks.state_dict(), "optimiser": optimiser}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.networks.load_state_dict(state["networks"])
        if self._optimiser is not None:
            self._optimiser.load_state_dict(state["optimiser"])
