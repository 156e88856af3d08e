"""A decoder of vectors: ridge, and a perceptron that corrects it in the targets' principal components."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advisor.measures.decoders.activation_layouts import flat_vector
from advisor.measures.decoders.decoder import zeroed
from advisor.measures.decoders.fourier import Fourier
from advisor.measures.decoders.ridges import VectorRidge, vector_penalty
from advisor.measures.decoders.standard import Features, with_spread

COMPONENTS = 256
"""Principal components of the targets that the network on a vector corrects; its linear part reaches all of them."""

COMPONENT_SAMPLES = 1024


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
