"""Decoders that adapt to any crossing tensor: maps, tokens, vectors, several tensors.

All arithmetic happens at the resolution of the map; pixels come out by sub-pixel shuffling (Shi et al. 2016). The
linear part is solved in closed form (ridge on patches), so that training spends its steps on what is not linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VECTOR_LIMIT = 8192
PATCH_FEATURES = 1200


@dataclass(frozen=True)
class Layout:
    """How crossing tensors are read by a decoder.

    Attributes:
        kind: "map" `[n, c, h, w]` or "vector" `[n, D]`.
        factor: pixels per map cell, for maps.
    """

    kind: str
    factor: int = 1


def arrange(tensors: Sequence[Tensor], pixels: Tensor, images: bool) -> tuple[Tensor, Layout]:
    """Features for a decoder of `pixels`.

    Args:
        tensors: what crosses, each `[n, ...]`.
        pixels: the targets `[n, ...]`.
        images: whether the targets are images; otherwise everything is a vector.

    Returns:
        `[n, c, h, w]` with h dividing the picture's height, or `[n, D]`; and the layout.
    """
    floats = [t.detach().float() for t in tensors]
    grid = _grid(floats[0]) if images and len(floats) == 1 else None
    if grid is None:
        return _vector(floats), Layout("vector")
    height, width = pixels.shape[-2:]
    factor = _factor(height, width, grid.shape[-2])
    size = (height // factor, width // factor)
    if tuple(grid.shape[-2:]) != size:
        larger = grid.shape[-2] > size[0]
        grid = F.adaptive_avg_pool2d(grid, size) if larger else F.interpolate(grid, size=size, mode="bilinear")
    return grid, Layout("map", factor)


def _grid(z: Tensor) -> Tensor | None:
    """`[n, c, h, w]` for maps, channels-last maps and token grids (a class token is spread over the grid)."""
    if z.dim() == 4:
        last = z.shape[1] == z.shape[2] != z.shape[3]
        z = z.permute(0, 3, 1, 2) if last else z
        return z if z.shape[-1] * z.shape[-2] >= 4 else None
    if z.dim() != 3:
        return None
    for extra in (0, 1):
        side = math.isqrt(z.shape[1] - extra)
        if side >= 2 and side * side == z.shape[1] - extra:
            cells = z[:, extra:].transpose(1, 2).unflatten(2, (side, side))
            spread = z[:, :extra].flatten(1)[:, :, None, None].expand(-1, -1, side, side)
            return torch.cat([cells, spread], 1)
    return None


def _factor(height: int, width: int, cells: int) -> int:
    """Pixels per cell: the largest common divisor of the picture's sides that keeps at least `cells` cells."""
    common = math.gcd(height, width)
    return max(f for f in range(1, common + 1) if common % f == 0 and (height // f >= min(cells, height)))


def _vector(floats: Sequence[Tensor]) -> Tensor:
    z = torch.cat([t.flatten(1) for t in floats], 1)
    if z.shape[1] <= VECTOR_LIMIT:
        return z
    generator = torch.Generator().manual_seed(z.shape[1])
    sketch = torch.randn(z.shape[1], VECTOR_LIMIT // 4, generator=generator) / math.sqrt(VECTOR_LIMIT // 4)
    return z @ sketch


class Standardise(nn.Module):
    """Removes each channel's mean and scale, measured on the attacker's own features."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        dims = [d for d in range(features.dim()) if d != 1]
        shape = (1, -1, *(1,) * (features.dim() - 2))
        mean, std = features.mean(dims), features.std(dims)
        alive = std > 1e-6 * std.max().clamp_min(1e-30)
        self.register_buffer("mean", mean.view(shape))
        self.register_buffer("scale", torch.where(alive, 1 / std.clamp_min(1e-30), 0).view(shape))

    def forward(self, features: Tensor) -> Tensor:
        """Same shape in and out."""
        return (features - self.mean) * self.scale  # type: ignore[operator]


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


class MapDecoder(nn.Module):
    """Map `[n, c, h, w]` to pixels `[n, channels, h·factor, w·factor]`: closed-form linear part + residual network."""

    def __init__(self, features: Tensor, pixels: Tensor, factor: int, width: int, depth: int) -> None:
        super().__init__()
        self.standardise = Standardise(features)
        self.factor = factor
        self.linear = patch_ridge(self.standardise(features), F.pixel_unshuffle(pixels, factor))
        self.body = nn.Sequential(
            nn.Conv2d(features.shape[1], width, 1), *(Residual(width) for _ in range(depth)), nn.GELU()
        )
        self.head = nn.Conv2d(width, pixels.shape[1] * factor**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruction, unclipped."""
        z = self.standardise(features)
        return F.pixel_shuffle(self.linear(z) + self.head(self.body(z)), self.factor)


class VectorDecoder(nn.Module):
    """Vector `[n, D]` to pixels: closed-form ridge + a multi-layer perceptron."""

    def __init__(self, features: Tensor, pixels: Tensor, width: int, depth: int) -> None:
        super().__init__()
        self.standardise = Standardise(features)
        self.shape = pixels.shape[1:]
        self.linear = vector_ridge(self.standardise(features), pixels.flatten(1))
        layers: list[nn.Module] = [nn.Linear(features.shape[1], width), nn.GELU()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, pixels[0].numel())
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruction, unclipped."""
        z = self.standardise(features)
        return (self.linear(z) + self.head(self.body(z))).unflatten(1, self.shape)


def decoder_for(features: Tensor, layout: Layout, pixels: Tensor, width: int, depth: int) -> nn.Module:
    """The decoder that fits a layout, its linear part solved on `features` and `pixels`."""
    if layout.kind == "map":
        return MapDecoder(features, pixels, layout.factor, width, depth)
    return VectorDecoder(features, pixels, 8 * width, depth)


def patch_ridge(features: Tensor, targets: Tensor) -> nn.Conv2d:
    """The convolution that best predicts `targets` `[n, t, h, w]` from `features` `[n, c, h, w]`, by ridge regression."""
    channels = features.shape[1]
    kernel = 3 if 9 * channels <= PATCH_FEATURES and min(features.shape[-2:]) > 1 else 1
    conv = nn.Conv2d(channels, targets.shape[1], kernel, padding=kernel // 2)
    size = channels * kernel**2
    gram = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    cross = torch.zeros(size + 1, targets.shape[1], dtype=torch.float64)
    for z, t in zip(features.split(32), targets.split(32), strict=True):
        rows = F.unfold(z, kernel, padding=kernel // 2).transpose(1, 2).reshape(-1, size)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
        goal = t.flatten(2).transpose(1, 2).reshape(-1, targets.shape[1])
        gram += (rows.T @ rows).double()
        cross += (rows.T @ goal).double()
    count = features.shape[0] * features.shape[-1] * features.shape[-2]
    solution = torch.linalg.solve(gram + _penalty(gram, count), cross).float()
    with torch.no_grad():
        conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
        conv.bias.copy_(solution[-1])  # type: ignore[union-attr]
    return conv


def vector_ridge(features: Tensor, targets: Tensor) -> nn.Linear:
    """The linear map that best predicts `targets` `[n, t]` from `features` `[n, D]`, by ridge regression (dual form if D > n)."""
    linear = nn.Linear(features.shape[1], targets.shape[1])
    z, mean = features.double(), targets.double().mean(0)
    goal = targets.double() - mean
    n, dims = z.shape
    if dims <= n:
        gram = z.T @ z
        weight = torch.linalg.solve(gram + _ridge(gram, n), z.T @ goal)
    else:
        gram = z @ z.T
        weight = z.T @ torch.linalg.solve(gram + _ridge(gram, n), goal)
    with torch.no_grad():
        linear.weight.copy_(weight.T)
        linear.bias.copy_(mean)
    return linear


def _ridge(gram: Tensor, count: int) -> Tensor:
    """Strong for few samples: the network on top can undo a bias, not a fit to noise."""
    strength = float(gram.diagonal().mean()) * max(1e-4, min(1.0, 30.0 / count))
    return torch.eye(len(gram), dtype=gram.dtype) * max(strength, 1e-12)


def _penalty(gram: Tensor, count: int) -> Tensor:
    penalty = torch.eye(len(gram), dtype=gram.dtype) * count * 1e-4
    penalty[-1, -1] = 1e-9
    return penalty
