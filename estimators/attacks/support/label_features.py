"""How a label attacker reads the activation: means over the map, and principal components of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext
from advisor.estimators.attacks.support.channel import Store
from advisor.estimators.attacks.support.draws import Draws
from advisor.measures.decoders.activation_layouts import flat_vector
from advisor.measures.flat_rows import real, reals, side_by_side
from advisor.support.finite import all_finite

COMPONENTS = 128
FITTED = 2048
"""Samples that the components are taken from."""


@dataclass(frozen=True, eq=False)
class LabelFeatures:
    """What is read of the attacker's own samples and of the private ones.

    Attributes:
        own: `[n, f]`, of the first draw of what is random.
        seen: `[N, f]`.
        reader: what makes them of tensors that were received.
        draws: other draws of the attacker's own samples.
    """

    own: Tensor
    seen: Tensor
    reader: Callable[[Sequence[Tensor]], Tensor]
    draws: Draws

    def anew(self, rows: Tensor, number: int) -> Tensor:
        """`[len(rows), f]` of the attacker's own samples, what is random drawn for this step."""
        if not len(self.draws.clean) or not len(rows):
            return self.own[rows]
        return self.reader(self.draws.at(rows, number))


def label_features(context: AttackContext, whole: bool = False) -> LabelFeatures:
    """Features of all samples, scaled to unit mean square.

    Nothing here needs a label, so all that was received helps: the attacker's samples and the private ones alike.

    Args:
        context: of the attack.
        whole: what was received as it is, all tensors side by side, is read instead.

    Raises:
        NotMeasurableError: when the activation holds NaN or infinities.
    """
    count = len(context.known)
    store = Store(count + len(context))
    draws = context.queries(context.known.inputs, tuple, store)
    store.add(context.sent)
    received = store.tensors()
    if not all(all_finite(t) for t in received):
        raise NotMeasurableError("the activation holds NaN or infinities")
    reader = untouched if whole else Reader.fitted(received)
    both = reader(received)
    return LabelFeatures(both[:count], both[count:], reader, draws)


@dataclass(frozen=True, eq=False)
class Reader:
    """Components of everything, and means over maps; each of the two parts has unit mean square.

    Attributes:
        directions: `[D, c]` of the leading components.
        scales: mean and one over the root mean square of each part.
    """

    directions: Tensor
    scales: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def fitted(cls, tensors: Sequence[Tensor]) -> Reader:
        """To tensors `[n, ...]`."""
        flat = flat_vector(reals(tensors))
        mean = flat.mean(0)
        few = (flat[torch.linspace(0, len(flat) - 1, min(FITTED, len(flat))).long()] - mean).double()
        _, _, vectors = torch.linalg.svd(few, full_matrices=False)
        directions = vectors[:COMPONENTS].T.float()
        parts = [flat @ directions, *_means(tensors)]
        return cls(directions, tuple((p.mean(0), 1 / _root_mean_square(p - p.mean(0))) for p in parts))

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """`[n, f]` of tensors `[n, ...]`."""
        parts = [flat_vector(reals(tensors)) @ self.directions, *_means(tensors)]
        return torch.cat([(p - mean) * scale for p, (mean, scale) in zip(parts, self.scales, strict=True)], 1)


def untouched(tensors: Sequence[Tensor]) -> Tensor:
    """`[n, f]` of tensors `[n, ...]`: all numbers that were received."""
    return side_by_side(reals(tensors))


def _means(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [real(t).flatten(2).mean(2) for t in tensors if t.dim() > 2]


def _root_mean_square(z: Tensor) -> Tensor:
    return z.square().mean().sqrt().clamp_min(1e-12)
