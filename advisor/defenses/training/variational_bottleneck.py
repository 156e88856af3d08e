"""A variational bottleneck: mean and log σ for each floating tensor of a cut, and the divergence from pure noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from advisor.cuts import TensorSpec
from advisor.defenses.training.encoders import Each, MapEncoder, RowEncoder, bottleneck
from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.measures.gaussian_divergence import gaussian_divergence

LOUDEST = 4.0
"""log σ lies within ±4, so that σ is a number on every device."""


class Statistics(nn.Module):
    """Mean and log σ from two encoders."""

    def __init__(self, mean: nn.Module, spread: nn.Module) -> None:
        super().__init__()
        self.mean, self.spread = mean, spread

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, ...]` each, both of the payload's shape; the mean lies within ±4, too."""
        return LOUDEST * self.mean(z), LOUDEST * self.spread(z)


class FromStatistics(nn.Module):
    """A decoder of what was drawn, which stands in the place of the mean; log σ tells it nothing."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, drawn: Tensor, spread: Tensor) -> Tensor:
        """The activation; log σ is read so that it stays part of the payload."""
        restored: Tensor = self.decoder(drawn / LOUDEST + 0 * spread)
        return restored


class EachPair(nn.Module):
    """Encoders of one tensor to two, or decoders of two to one, in order; masks pass."""

    def __init__(self, parts: Sequence[nn.Module | None], takes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList([part for part in parts if part is not None])
        self.own, self.takes = tuple(part is not None for part in parts), takes

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """All tensors, flat."""
        left, parts = list(tensors), iter(self.parts)
        done: list[Tensor] = []
        for own in self.own:
            taken = [left.pop(0) for _ in range(self.takes if own else 1)]
            given = next(parts)(*taken) if own else taken[0]
            done.extend(given if isinstance(given, tuple) else (given,))
        return done[0] if len(done) == 1 else tuple(done)


def variational_bottleneck(
    specs: Sequence[TensorSpec], samples: Sequence[Tensor], width: int, stride: int
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder as `bottleneck` makes them; for each floating tensor the encoder gives mean and log σ.

    Raises:
        AdvisorError: as `bottleneck`.
    """
    means, decoder = bottleneck(specs, samples, width, stride)
    spreads, _ = bottleneck(specs, samples, width, stride)
    for part in _parts(spreads):  # σ is 1 at the start
        assert isinstance(part, MapEncoder | RowEncoder)
        nn.init.zeros_(part.mix.weight)
    encoders, decoders = iter(zip(_parts(means), _parts(spreads), strict=True)), iter(_parts(decoder))
    pairs: list[tuple[nn.Module, nn.Module] | None] = [
        (Statistics(*next(encoders)), FromStatistics(next(decoders))) if spec.is_floating else None for spec in specs
    ]
    front, back = ([None if pair is None else pair[i] for pair in pairs] for i in (0, 1))
    return EachPair(front, 1), EachPair(back, 2)


def _parts(each: nn.Module) -> list[nn.Module]:
    assert isinstance(each, Each)
    return list(each.parts)


@dataclass
class Divergence(PrivacyTerm):
    """KL(N(mean, σ²) ‖ N(0, 1)) of the payload, nats an element: bounds what is told (Alemi et al. 2017, equation 14).

    Attributes:
        weight: of the mean over elements and batch.
    """

    weight: float
    against: ClassVar[tuple[str, ...]] = ("rate",)

    def loss(self, step: Step) -> Tensor:
        """Weight times the mean."""
        means, spreads = step.payload[::2], step.payload[1::2]
        found = [gaussian_divergence(m, s) for m, s in zip(means, spreads, strict=True)]
        return self.weight * torch.cat([kl.flatten() for kl in found]).mean()
