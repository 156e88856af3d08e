"""A decoder of maps: ridge on patches, and a convolutional network that corrects it.

All arithmetic happens at the resolution of the map; pixels come out by sub-pixel shuffling (Shi et al. 2016). Means are
taken place by place, so that an attacker who learns nothing predicts the mean picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.measures.decoders.activation_layouts import Layout
from advisor.measures.decoders.decoder import zeroed
from advisor.measures.decoders.map_sizes import resized
from advisor.measures.decoders.ridges import Moments, enough_samples, held_out_penalty, kernel_size
from advisor.measures.decoders.standard import mean_of, with_spread

FULL_CELLS = 1024
WIDEST = 4


class Residual(nn.Module):
    """x + conv(act(conv(act(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return x + self.body(x)  # type: ignore[no-any-return]


class Entry(nn.Conv2d):
    """A first layer that brings maps to `size`: before it, or after it where it reads one cell at a time.

    Both are the same then: what lies between cells is a mean of them with weights that sum to 1.
    """

    def __init__(self, channels: int, width: int, kernel: int, size: tuple[int, int]) -> None:
        super().__init__(channels, width, kernel, padding=kernel // 2)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """`[n, width, *size]`."""
        if self.kernel_size == (1, 1):
            return resized(super().forward(x), self.size)
        return super().forward(resized(x, self.size))


class MapDecoder:
    """From a map `[n, c, h, w]`, or one of fewer cells, to pictures `[n, channels, h·factor, w·factor]`."""

    def __init__(self, features: Tensor, pixels: Tensor, train: Tensor, factor: int, width: int, depth: int) -> None:
        self.features, self.spread = with_spread(features, train)
        self.mean, self.factor = pixels[train].mean(0), factor
        self.centre = mean_of(self.features, train)
        self.goal = F.pixel_unshuffle(pixels - self.mean, factor)
        self.size = (self.goal.shape[-2], self.goal.shape[-1])
        self.kernel = kernel_size(features)
        self.weight = torch.zeros(self.goal.shape[1], features.shape[1], self.kernel, self.kernel)
        head = nn.Conv2d(width, self.goal.shape[1], 3, padding=1)
        blocks = (Residual(width) for _ in range(depth))
        self.network = nn.Sequential(Entry(features.shape[1], width, 1, self.size), *blocks, nn.GELU(), zeroed(head))

    def solve(self, fit: Tensor, check: Tensor) -> None:
        """Ridge on patches; the penalty that serves the samples `check` best."""
        shape = torch.Size((*self.features.shape[:2], *self.size))
        used = [i[: enough_samples(shape, self.kernel)] for i in (fit, check)]
        self.moments = [Moments.of(self.features[i] - self.centre, self.goal[i], self.kernel) for i in used]
        self.penalty = held_out_penalty(*self.moments)
        self._set(self.moments[0])

    def solve_again(self, train: Tensor) -> None:
        """The moments of both parts add up."""
        self._set(self.moments[0] + self.moments[1])

    def left(self, index: Tensor) -> tuple[Tensor, float]:
        """`[len(index), channels·factor², h, w]`; everything is in the network's reach."""
        return self.goal[index] - self._linear(index), 0.0

    def again(self, index: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of other draws of `[len(index), c, h, w]`."""
        z = self.spread(features)
        return z, self.goal[index] - self._convolved(z)

    def picture(self, index: Tensor, correction: Tensor | None = None) -> Tensor:
        """Reconstructions, unclipped."""
        found = self._linear(index)
        return self.mean + F.pixel_shuffle(found if correction is None else found + correction, self.factor)

    def _linear(self, index: Tensor) -> Tensor:
        return torch.cat([self._convolved(self.features[part]) for part in torch.split(index, 256)])

    def _convolved(self, z: Tensor) -> Tensor:
        return resized(F.conv2d(z - self.centre, self.weight, padding=self.kernel // 2), self.size)

    def _set(self, moments: Moments) -> None:
        self.weight = moments.weights(self.penalty).float().T.reshape(self.weight.shape).contiguous()


def cells_of(features: Tensor, layout: Layout) -> int:
    """Of the maps that a decoder works on."""
    return features[0, 0].numel() if layout.size is None else math.prod(layout.size)


def map_width(width: int, cells: int) -> int:
    """Channels so that maps of any resolution cost the same arithmetic, up to four times `width`."""
    return int(width * min(WIDEST, max(1.0, math.sqrt(FULL_CELLS / cells))))
