"""No defense: the activation is sent as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from advisor.defenses.payload.base import Defense

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class NoDefense(Defense):
    """Sends `z` unchanged."""

    name: ClassVar[str] = "none"
    identity: ClassVar[bool] = True

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """Return `z`."""
        return z

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """None at all: 0."""
        return 0.0
