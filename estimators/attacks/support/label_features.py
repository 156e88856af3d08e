"""How a label attacker reads the activation: means over the map, and principal components of all of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advisor.estimators.attacks.base import AttackContext
from advisor.measures.decoders.activation_layouts import flat_vector
from advisor.sweep import NotMeasurableError

COMPONENTS = 128
FITTED = 2048
"""Samples that the components are taken from."""


def label_features(context: AttackContext) -> tuple[Tensor, Tensor]:
    """Features of the attacker's own samples `[n, f]` and of the private ones `[N, f]`, scaled to unit mean square.

    Nothing here needs a label, so all that was received helps: the attacker's samples and the private ones alike.

    Raises:
        NotMeasurableError: when the activation holds NaN or infinities.
    """
    own, seen = context.query(context.known.inputs), context.sent
    both = together([torch.cat([a, b]) for a, b in zip(own, seen, strict=True)])
    if not torch.isfinite(both).all():
        raise NotMeasurableError("the activation holds NaN or infinities")
    count = len(own[0])
    return both[:count], both[count:]


def together(tensors: Sequence[Tensor]) -> Tensor:
    """Means over maps and components of everything, `[n, f]`; each of the two parts has unit mean square."""
    flat = flat_vector([t.float() for t in tensors])
    parts = [_components(flat)]
    parts += [_scaled(t.float().flatten(2).mean(2)) for t in tensors if t.dim() > 2]
    return torch.cat(parts, 1)


def _components(flat: Tensor) -> Tensor:
    centred = flat - flat.mean(0)
    if not torch.isfinite(centred).all():
        return centred
    few = centred[torch.linspace(0, len(flat) - 1, min(FITTED, len(flat))).long()].double()
    _, _, directions = torch.linalg.svd(few, full_matrices=False)
    return _scaled(centred @ directions[:COMPONENTS].T.float())


def _scaled(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    return centred / centred.square().mean().sqrt().clamp_min(1e-12)
