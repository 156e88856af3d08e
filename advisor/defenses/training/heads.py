"""Small heads that answer in the place of a model's cloud half: of maps, tokens and vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.cuts import TensorSpec
from advisor.defenses.training.encoders import Standardise, channel_scale
from advisor.errors import AdvisorError

MOST_OUTPUTS = 100_000
"""Numbers of an answer that a fully connected head may give."""


class Same(nn.Module):
    """Tensors as they are, as an operation of its own: what is sent is a cut before the output."""

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Copies."""
        done = tuple(t.clone() for t in tensors)
        return done[0] if len(done) == 1 else done


class Pooled(nn.Module):
    """A vector of `width` numbers from a map `[N, C, H, W]`, tokens `[N, T, D]` or a vector `[N, D]`."""

    def __init__(self, scale: Standardise, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.scale, self.kind = scale, len(shape)
        self.mix: nn.Module = nn.Conv2d(shape[0], width, 3, 2, 1) if self.kind == 3 else nn.Linear(shape[-1], width)
        self.weigh = nn.Linear(shape[-1], 1) if self.kind == 2 else None

    def forward(self, z: Tensor) -> Tensor:
        """`[N, width]`: of maps and tokens a mean, of tokens one that is weighed."""
        scaled = self.scale(z)
        mixed = F.gelu(self.mix(scaled))
        if self.weigh is not None:
            return (torch.softmax(self.weigh(scaled), 1) * mixed).sum(1)
        return mixed.mean((2, 3)) if self.kind == 3 else mixed


class Head(nn.Module):
    """All outputs from all floating tensors of a cut."""

    def __init__(self, pools: Sequence[Pooled | None], width: int, outputs: Sequence[TensorSpec]) -> None:
        super().__init__()
        self.pools = nn.ModuleList([pool for pool in pools if pool is not None])
        self.own = tuple(pool is not None for pool in pools)
        self.shapes = tuple(spec.shape for spec in outputs)
        self.hidden = nn.Linear(width * len(self.pools), width)
        self.out = nn.ModuleList([nn.Linear(width, spec.elements) for spec in outputs])

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the model returns, each `[N, ...]`."""
        read = [z for z, own in zip(tensors, self.own, strict=True) if own]
        pooled = torch.cat([pool(z) for pool, z in zip(self.pools, read, strict=True)], 1)
        features = F.gelu(self.hidden(pooled))
        answers = tuple(out(features).reshape(-1, *shape) for out, shape in zip(self.out, self.shapes, strict=True))
        return answers[0] if len(answers) == 1 else answers


class Dense(nn.Module):
    """A map of answers from a map: two convolutions, brought to the size that is wanted."""

    def __init__(self, scale: Standardise, shape: Sequence[int], width: int, output: TensorSpec) -> None:
        super().__init__()
        self.scale, self.size = scale, (int(output.shape[1]), int(output.shape[2]))
        self.mix, self.out = nn.Conv2d(shape[0], width, 3, 1, 1), nn.Conv2d(width, output.shape[0], 1)

    def forward(self, z: Tensor) -> Tensor:
        """`[N, C, H, W]`."""
        answer = self.out(F.gelu(self.mix(self.scale(z))))
        return F.interpolate(answer, size=self.size, mode="bilinear", align_corners=False)


def head(
    specs: Sequence[TensorSpec], samples: Sequence[Tensor], outputs: Sequence[TensorSpec], width: int
) -> nn.Module:
    """A head at a random start that torch's generator decides.

    Args:
        specs: of the cut's tensors.
        samples: activations there, each `[n, ...]`.
        outputs: of the model's outputs.
        width: of its hidden layer.

    Raises:
        AdvisorError: on a width below 1, an activation of a kind that it does not read, or answers that are too large.
    """
    if width < 1:
        raise AdvisorError(f"A head of width {width} makes no sense.", "Pass 1 or more.")
    dense = len(specs) == len(outputs) == 1 and len(specs[0].shape) == len(outputs[0].shape) == 3
    if dense:
        return Dense(channel_scale(samples[0]), specs[0].shape, width, outputs[0])
    if (most := max(math.prod(spec.shape) for spec in outputs)) > MOST_OUTPUTS:
        raise AdvisorError(f"An answer of {most:,} numbers is too large for a small head.", "Cut at a map.")
    pools = [
        Pooled(channel_scale(z), spec.shape, width) if spec.is_floating else None
        for spec, z in zip(specs, samples, strict=True)
    ]
    return Head(pools, width, outputs)
