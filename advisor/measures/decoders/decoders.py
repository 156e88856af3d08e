"""Inversion networks: a linear part solved in closed form, and a network that corrects it.

On maps all arithmetic happens at the resolution of the map; pixels come out by sub-pixel shuffling (Shi et al. 2016).
Means are taken place by place, so that an attacker who learns nothing predicts the mean picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.measures.decoders.activation_layouts import Layout, flat_vector
from advisor.measures.decoders.fourier import Fourier
from advisor.measures.decoders.heavy_tails import FEW, log_view
from advisor.measures.decoders.map_sizes import FEW_CELLS, resized
from advisor.measures.decoders.ridges import (
    Moments,
    VectorRidge,
    enough_samples,
    held_out_penalty,
    kernel_size,
    vector_penalty,
)
from advisor.measures.decoders.standard import Features, Standard, Standardised, mean_of
from advisor.measures.decoders.standard import inverse as _inverse

COMPONENTS = 256
"""Principal components of the targets that the network on a vector corrects; its linear part reaches all of them."""

COMPONENT_SAMPLES = 1024

FULL_CELLS = 1024
WIDEST = 4
PERCEPTRON = 4
"""Hidden units of a perceptron for each channel of the convolutional network."""


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
    spread = Standard(mean, _inverse(mean, std))
    return spread(features), spread


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


class VectorDecoder:
    """From a vector `[n, D]` to targets `[n, ...]`: ridge, and a perceptron in their principal components.

    Args:
        features, pixels: of all samples.
        train: samples to learn from.
        width, depth: of the perceptron's hidden layers; one more than `depth`.
        curved: whether the ridge gets random Fourier features beside the features themselves.
        view: what reads the features first.
    """

    def __init__(
        self, features: Tensor, pixels: Tensor, train: Tensor, width: int, depth: int, curved: bool = False,
        view: Callable[[Tensor], Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.view = _as_it_is if view is None else view
        whole, self.spread = with_spread(self.view(features.float()), train)
        assert isinstance(whole, Tensor)
        self.features: Features = whole
        self.shape, flat = pixels.shape[1:], pixels.flatten(1)
        self.mean = flat[train].mean(0)
        self.goal = flat - self.mean
        self.basis = principal_components(self.goal[train], COMPONENTS)
        self.lift = Fourier.drawn(whole, train) if curved else _as_it_is
        lifted = self.lift(whole)
        self.centre = lifted[train].mean(0)
        self.lifted = lifted - self.centre
        self.leverage = torch.zeros(len(features))
        self.pull: Tensor | None = None
        layers: list[nn.Module] = [nn.Linear(whole.shape[1], width), nn.GELU()]
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.GELU()]
        self.network = nn.Sequential(*layers, zeroed(nn.Linear(width, self.basis.shape[1])))

    def solve(self, fit: Tensor, check: Tensor) -> None:
        """Ridge with the penalty of generalised cross-validation; `check` has no part in it."""
        self.penalty = vector_penalty(self.lifted[fit], self.goal[fit])
        self.ridge = VectorRidge.of(self.lifted[fit], self.goal[fit], self.penalty)
        self.weight = self.ridge.weights
        self.leverage.zero_()[fit] = self.ridge.leverage.clamp_max(0.99)
        self.fit, self.pull = fit, None

    def solve_again(self, train: Tensor) -> None:
        """Ridge with the penalty as chosen."""
        self.weight = VectorRidge.of(self.lifted[train], self.goal[train], self.penalty).weights

    def left(self, index: Tensor) -> tuple[Tensor, float]:
        """`[len(index), components]`, as by a fit without these samples, and what lies outside of the components."""
        residual = self._without(index)
        inside = residual @ self.basis
        outside = (residual.square().sum() - inside.square().sum()) / residual.numel()
        return inside, max(0.0, float(outside))

    def again(self, index: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of other draws of `[len(index), D]`, as by a fit without these samples.

        The fit without sample i has the weights W − A⁻¹lᵢ rᵢ, with A = LᵀL + λI over the lifted features lᵢ and rᵢ what
        it leaves of i itself (Allen 1974): of another draw l it leaves goal − lW + (l A⁻¹lᵢ) rᵢ.
        """
        if self.pull is None:
            self.pull = self.ridge.pull(self.lifted[self.fit])
            self.place = torch.full((len(self.goal),), -1)
            self.place[self.fit] = torch.arange(len(self.fit))
        z = self.spread(self.view(flat_vector([features])))
        lifted, place = self.lift(z) - self.centre, self.place[index]
        pulled = (lifted * self.pull[place]).sum(1, keepdim=True) * (place >= 0)[:, None]
        residual = self.goal[index] - lifted @ self.weight + pulled * self._without(index)
        return z, residual @ self.basis

    def _without(self, index: Tensor) -> Tensor:
        """What the fit without a sample leaves of it, `[len(index), t]`."""
        return (self.goal[index] - self.lifted[index] @ self.weight) / (1 - self.leverage[index, None])

    def picture(self, index: Tensor, correction: Tensor | None = None) -> Tensor:
        """Reconstructions, unclipped."""
        found: Tensor = self.mean + self.lifted[index] @ self.weight
        found = found if correction is None else found + correction @ self.basis.T
        return found.reshape(-1, *self.shape)


def _as_it_is(z: Tensor) -> Tensor:
    return z


def principal_components(centred: Tensor, most: int) -> Tensor:
    """`[d, k]` leading principal directions of centred samples `[n, d]`, k at most `most` and their rank."""
    few = centred[:COMPONENT_SAMPLES].double()
    values, vectors = torch.linalg.eigh(few @ few.T if len(few) < few.shape[1] else few.T @ few)
    kept = torch.nonzero(values > 1e-9 * values[-1].clamp_min(1e-30)).flatten().flip(0)[:most]
    chosen: Tensor = vectors[:, kept]
    if len(few) < few.shape[1]:
        chosen = few.T @ chosen / values[kept].sqrt()
    return chosen.float()


DecoderFamily = Callable[[Tensor, Layout, Tensor, Tensor, int, int], list[Callable[[], Decoder]]]
"""What `decoders_for` is: from features, layout, targets, samples to learn from, width and depth to decoders."""


def decoders_for(
    features: Tensor, layout: Layout, pixels: Tensor, train: Tensor, width: int, depth: int
) -> list[Callable[[], Decoder]]:
    """The decoders that fit a layout, to be made one by one; the best on samples it did not learn from should be taken.

    A map of few cells is also read as a vector: its linear part then sees all cells at once. A vector whose elements
    span many decades is also read on a logarithmic scale.

    Args:
        features: as arranged, of all samples.
        layout: how they are read.
        pixels: the targets of all samples.
        train: samples to learn from.
        width, depth: of the network; width at 32×32 cells.
    """
    on_map: list[Callable[[], Decoder]] = []
    if layout.kind == "map":
        cells = cells_of(features, layout)
        on_map = [partial(MapDecoder, features, pixels, train, layout.factor, map_width(width, cells), depth)]
        if cells > FEW_CELLS:
            return on_map
        features = flat_vector([features])
    on_vector = partial(VectorDecoder, features, pixels, train, PERCEPTRON * width, depth)
    views = [None] if (logarithmic := log_view(features[train[:FEW]])) is None else [None, logarithmic]
    return on_map + [partial(on_vector, curved, view) for view in views for curved in (False, True)]


def cells_of(features: Tensor, layout: Layout) -> int:
    """Of the maps that a decoder works on."""
    return features[0, 0].numel() if layout.size is None else math.prod(layout.size)


def map_width(width: int, cells: int) -> int:
    """Channels so that maps of any resolution cost the same arithmetic, up to four times `width`."""
    return int(width * min(WIDEST, max(1.0, math.sqrt(FULL_CELLS / cells))))


def zeroed(head: nn.Conv2d | nn.Linear) -> nn.Module:
    """A last layer that says nothing yet."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
