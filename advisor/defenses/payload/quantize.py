"""Uniform affine quantisation of the activation, with each sample's own range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from advisor.cuts import Cut
from advisor.defenses.payload.base import Defense, Stage

if TYPE_CHECKING:
    from torch import Generator, Tensor

LEVELS = 255
RANGE_BYTES = 8  # two float32 a tensor: lowest value and step


@dataclass(frozen=True)
class Quantize8(Defense):
    """Sends one byte an element plus the sample's lowest value and step."""

    name: ClassVar[str] = "int8"
    stage: ClassVar[Stage] = "quantise"
    wire_roles: ClassVar[tuple[str, ...]] = ("codes", "low", "step")

    def apply(self, z: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Codes uint8 `[N, ...]`, lowest value `[N, 1...]` and step `[N, 1...]` (float32)."""
        import torch

        flat, shape = z.reshape(z.shape[0], -1).float(), (-1, *(1,) * (z.dim() - 1))
        low, high = flat.amin(1).view(shape), flat.amax(1).view(shape)
        step = ((high - low) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        codes = ((z.float() - low) / step).round().clamp(0, LEVELS).to(torch.uint8)
        return codes, low, step

    def restore(self, wire: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The dequantised tensor `[N, ...]`, float32."""
        codes, low, step = wire
        return codes.float() * step + low

    def wire_bytes(self, cut: Cut) -> int:
        """One byte an element, and the range of each tensor; masks as they are."""
        return sum(spec.elements + RANGE_BYTES if spec.is_floating else spec.bytes for spec in cut.tensors)

    def wire_step(self, z: Tensor) -> float:
        """Root-mean-square step over the samples of `z`."""
        return float(self.apply(z)[2].double().square().mean().sqrt())

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """Rounding counts as uniform noise: step/√12, of the tensor that is rounded most."""
        steps = [self.wire_step(t) for t in tensors if t.is_floating_point()]
        return max(steps, default=0.0) / math.sqrt(12)
