"""Features less their mean, over their scale; those too large for memory are standardised as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

CHUNK = 128
ROUNDING = torch.finfo(torch.float32).eps
"""Of a number, relative: one or two of its steps."""


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and one over the deviation of each channel, `[1, c, ...]`."""

    mean: Tensor
    scale: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features `[n, c, ...]`, standardised."""
        return features.float().sub(self.mean).mul_(self.scale)


class Features(Protocol):
    """What a decoder needs of its features: a tensor is one."""

    @property
    def shape(self) -> torch.Size:
        """`[n, c, ...]`."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """The samples at these positions, float32."""


class Standardised:
    """Features `[n, c, ...]` less the mean of each channel, over its scale, computed when a sample is asked for.

    Args:
        features: float16, of all samples.
        train: samples that mean and scale are taken from.
    """

    def __init__(self, features: Tensor, train: Tensor) -> None:
        self.raw, self.shape = features, features.shape
        sums = torch.zeros(2, features.shape[1], dtype=torch.float64)
        for index in torch.split(train, CHUNK):
            rows = self._read(index).double().flatten(2)
            sums += torch.stack([rows.sum((0, 2)), rows.square().sum((0, 2))])
        count = len(train) * features[0, 0].numel()
        mean = sums[0] / count
        variance = (sums[1] / count - mean.square()).clamp_min(0) * count / max(1, count - 1)
        sides = (1, -1, *[1] * (features.dim() - 2))
        self.mean, std = mean.float().reshape(sides), variance.sqrt().float().reshape(sides)
        self.scale = inverse(self.mean, std)
        self.spread = Standard(self.mean, self.scale)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.spread(self._read(index))

    def _read(self, index: Tensor) -> Tensor:
        """Those samples, from the computer's memory to wherever they are asked for."""
        return self.raw[index.to(self.raw.device)].to(index.device)


def inverse(mean: Tensor, std: Tensor) -> Tensor:
    """1 / deviation; 0 for a channel that does not vary by more than its own rounding: others may be far larger."""
    alive = std > ROUNDING * mean.abs()
    return torch.where(alive, 1 / std.clamp_min(1e-30), 0)


def mean_of(features: Features, index: Tensor) -> Tensor:
    """Mean over samples, `[c, ...]`."""
    if isinstance(features, Tensor):
        return features[index].mean(0)
    parts = torch.split(index, CHUNK)
    return torch.stack([features[part].double().sum(0) for part in parts]).sum(0).float() / len(index)


def standardised(features: Tensor, train: Tensor) -> Features:
    """Features `[n, c, ...]` less the mean of each channel, over its scale, by the samples `train`.

    A channel that does not vary by more than rounding becomes 0. Those at half precision, too large for memory, are
    read part by part.
    """
    return with_spread(features, train)[0]


def with_spread(features: Tensor, train: Tensor) -> tuple[Features, Standard]:
    """`standardised`, and what does the same to other draws of them."""
    if features.dtype == torch.float16:
        read = Standardised(features, train)
        return read, read.spread
    known = features[train]
    dims = [d for d in range(known.dim()) if d != 1]
    mean, std = known.mean(dims, keepdim=True), known.std(dims, keepdim=True)
    spread = Standard(mean, inverse(mean, std))
    return spread(features), spread
