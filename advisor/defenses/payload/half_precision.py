"""Half precision: the activation is sent as float16, as runtimes on an edge hold it anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from advisor.cuts import Cut
from advisor.defenses.payload.base import Defense, Stage
from advisor.defenses.payload.rounding import rounding_step

if TYPE_CHECKING:
    from torch import Generator, Tensor

LARGEST = 65504.0
"""The largest float16; what lies beyond is sent as it."""


@dataclass(frozen=True)
class HalfPrecision(Defense):
    """Sends two bytes an element; a format of people's messages, no protection."""

    name: ClassVar[str] = "fp16"
    stage: ClassVar[Stage] = "quantise"

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """float16 `[N, ...]`."""
        import torch

        return z.clamp(-LARGEST, LARGEST).to(torch.float16)

    def restore(self, wire: Tensor) -> Tensor:
        """float32 `[N, ...]`."""
        return wire.float()

    def wire_bytes(self, cut: Cut) -> int:
        """Two bytes an element; masks and wholes as they are."""
        return sum(2 * spec.elements if spec.is_floating else spec.bytes for spec in cut.tensors)

    def wire_step(self, z: Tensor) -> float:
        """Root-mean-square spacing of float16 at the values of `z`."""
        return rounding_step(self.apply(z))

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """Rounding counts as uniform noise: step/√12, of the tensor that is rounded most."""
        steps = [self.wire_step(t) for t in tensors if t.is_floating_point()]
        return max(steps, default=0.0) / math.sqrt(12)
