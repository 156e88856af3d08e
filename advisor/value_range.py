"""Between which values inputs lie: [0, 1] as a rule, else what is given, such as images that are already normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ValueRange:
    """The least and the greatest value, which an attacker is taken to know.

    Attributes:
        low, high: in input units.
    """

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, x: Tensor) -> ValueRange:
        """[0, 1] where all of `x` lies in it, else from its least to its greatest value."""
        low, high = (float(value) for value in x.aminmax()) if x.numel() else (0.0, 1.0)
        return UNIT if low >= 0 and high <= 1 else cls(low, high)

    @property
    def width(self) -> float:
        """High less low; 1 where they are equal."""
        return self.high - self.low or 1.0

    def clip(self, x: Tensor) -> Tensor:
        """`x` with what lies outside moved to the nearest end."""
        return x.clamp(self.low, self.high)

    def to_unit(self, x: Tensor) -> Tensor:
        """From input units to [0, 1]."""
        return (x - self.low) / self.width

    def from_unit(self, u: Tensor) -> Tensor:
        """From [0, 1] to input units."""
        return self.low + self.width * u


UNIT = ValueRange()
"""[0, 1]."""
