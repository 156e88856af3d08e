"""What training needs of a decoder from an activation to the input."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from advisor.measures.decoders.standard import Features


class Decoder(Protocol):
    """What training needs of a decoder. All tensors are of all samples, `[n, ...]`; targets are centred.

    Attributes:
        features: standardised.
        goal: centred targets, flat or as a map.
    """

    features: Features
    goal: Tensor

    @property
    def network(self) -> nn.Module:
        """Features to corrections; it starts at zero."""

    def solve(self, fit: Tensor, check: Tensor) -> None:
        """Solve the linear part on the samples `fit`; its penalty may be chosen on `check`."""

    def solve_again(self, train: Tensor) -> None:
        """Solve the linear part on all samples to learn from, with the penalty as chosen."""

    def left(self, index: Tensor) -> tuple[Tensor, float]:
        """What the linear part leaves for the network to correct, and the mean square per pixel out of its reach."""

    def again(self, index: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The samples `index` after another draw of what is random on their way, before `solve_again`.

        Args:
            index: which samples.
            features: `[len(index), c, ...]`, as arranged; one that reads a map as a vector is given the map.

        Returns:
            These standardised, as the network takes them, and what the linear part leaves of the goal for it.
        """

    def picture(self, index: Tensor, correction: Tensor | None = None) -> Tensor:
        """Reconstructions `[len(index), ...]`, unclipped, by the linear part and a correction, where one is given."""


def zeroed(head: nn.Conv2d | nn.Linear) -> nn.Module:
    """A last layer that says nothing yet."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
