"""Inversion modules: from what leaves a block of the model back to what entered it."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.measures.decoders.map_decoder import Residual

NARROW, WIDE = 32, 128
FIRST_SIDE = 4
"""Cells a side of the first map that is made of a vector."""

LARGEST_VECTOR = 16384


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and deviation of a tensor by channel, `[1, c, ...]`."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, z: Tensor) -> Scale:
        """Of samples `[n, c, ...]`."""
        dims = [d for d in range(z.dim()) if d != 1]
        deviation = z.std(dims, keepdim=True)
        return cls(z.mean(dims, keepdim=True), deviation.clamp_min(1e-3 * float(deviation.detach().max()) + 1e-12))

    def apply(self, z: Tensor) -> Tensor:
        """Standardised."""
        return (z - self.mean) / self.deviation

    def undo(self, z: Tensor) -> Tensor:
        """In the tensor's own units."""
        return z * self.deviation + self.mean


class Inverse(nn.Module):
    """From standardised `[n, *inner]` to standardised `[n, *outer]`; maps grow by sub-pixel shuffling.

    Args:
        inner: shape of what left the block, a map or anything that is read as a vector.
        outer: shape of what entered it.
        depth: residual blocks at each resolution.
    """

    def __init__(self, inner: tuple[int, ...], outer: tuple[int, ...], depth: int = 1) -> None:
        super().__init__()
        self.outer = outer
        channels = outer[0] if len(outer) == 3 else math.prod(outer)
        width = min(WIDE, max(NARROW, channels))
        side = tuple(outer[1:]) if len(outer) == 3 else (1, 1)
        self.entry: nn.Module
        if len(inner) == 3 and inner[1] * inner[2] > 1:
            here = (inner[1], inner[2])
            self.entry = nn.Conv2d(inner[0], width, 3, padding=1)
        else:
            here = (min(FIRST_SIDE, side[0]), min(FIRST_SIDE, side[1]))
            self.entry = nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(inner), width * here[0] * here[1]), nn.Unflatten(1, (width, *here))
            )
        steps: list[nn.Module] = [Residual(width) for _ in range(depth)]
        while 2 * here[0] <= side[0] and 2 * here[1] <= side[1]:
            steps += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), Residual(width)]
            here = (2 * here[0], 2 * here[1])
        self.body, self.side = nn.Sequential(*steps), side
        self.exit = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """`[n, *outer]`."""
        z = self.body(self.entry(z))
        if tuple(z.shape[-2:]) != self.side:
            z = F.interpolate(z, size=self.side, mode="bilinear", align_corners=False)
        return self.exit(F.gelu(z)).reshape(len(z), *self.outer)  # type: ignore[no-any-return]


def frozen(module: nn.Module) -> nn.Module:
    """A copy whose weights take no gradient: the user's model is left as found."""
    return copy.deepcopy(module).eval().requires_grad_(False)


def readable(shape: tuple[int, ...]) -> bool:
    """Whether an inversion module can start from, or lead to, a tensor of this shape."""
    return len(shape) == 3 or math.prod(shape) <= LARGEST_VECTOR


def batch_of(tensors: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
    """A random batch by torch's current seed."""
    index = torch.randint(len(tensors[0]), (size,))
    return tuple(t[index] for t in tensors)
