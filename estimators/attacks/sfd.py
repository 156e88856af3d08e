"""`sfd`: first regress the undefended activation from what is received, then invert that.

Where a defense hides in the representation more than in what it tells, the way over the activation that the attacker
can invert is the shorter one. One half of the attacker's samples teaches the first step, the other half, as the first
step reads it, the second: no network is shown what another learnt by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.attack_versions import version_of
from advisor.cut_view import Targets
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Auxiliary, Recovered, ThreatModel
from advisor.estimators.attacks.ka import arranged, said, trained_decoder
from advisor.estimators.attacks.support.channel import Store
from advisor.estimators.attacks.support.draws import joined
from advisor.estimators.inversion.alignment import BUDGETS, FEWEST, reconstruct
from advisor.measures.decoders.activation_layouts import Layout, arrange
from advisor.support.finite import all_finite


@dataclass(frozen=True)
class FeatureRegression:
    """Knows the edge half as it was before a defense was fitted, and asks the edge that is deployed."""

    name: ClassVar[str] = "sfd"
    about: ClassVar[str] = "regresses the undefended activation, then inverts that"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = ThreatModel(
        ("cut and defense", "edge weights"), ("auxiliary inputs",), ("query the edge",)
    )
    version: ClassVar[int] = version_of("sfd")

    def run(self, context: AttackContext) -> Recovered:
        """Two networks, one after the other.

        Raises:
            NotMeasurableError: with too few samples, or where the activation holds no numbers.
        """
        known = context.known.first(BUDGETS[context.effort].auxiliary or len(context.known))
        half = len(known) // 2
        if half < FEWEST:
            raise NotMeasurableError(f"two networks learn from at least {2 * FEWEST} samples, not {len(known)}")
        teach, use = _part(known, slice(0, half)), _part(known, slice(half, None))
        activations = self._regressed(context.part(0.0, 0.5), teach, use)
        features, layout = arranged(context, activations, (activations,))
        second = context.named("second", context.part(0.5, 0.5).tick)
        return said(trained_decoder(second, features, layout, use.pixels))

    def _regressed(self, context: AttackContext, teach: Auxiliary, use: Auxiliary) -> Tensor:
        """The undefended activation `[n + N, ...]`, as it is read from what is received of `use` and of the private."""
        wanted = _largest(context.undefended(teach.inputs))
        layouts: list[Layout] = []

        def features_of(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            if not all(all_finite(t) for t in tensors):
                raise NotMeasurableError("the activation holds NaN or infinities")
            rows = wanted[:1].expand(len(tensors[0]), *wanted.shape[1:])
            found, layout = arrange(tensors, rows, wanted.dim() == 4)
            layouts.append(layout)
            return (found,)

        store = Store(len(teach) + len(use) + len(context))
        learnt = context.queries(teach.inputs, features_of, store)
        store.add(features_of(context.query(use.inputs, salt=3)))
        store.add(features_of(context.sent))
        (everything,) = store.tensors()
        n, total = len(teach), len(everything)
        unknown = wanted.mean(0).expand(total - n, *wanted.shape[1:])
        targets = Targets(
            torch.cat([wanted, unknown]), wanted.dim() == 4, torch.zeros(total, dtype=torch.long), False,
            torch.arange(n), torch.arange(n, total), 1,
        )  # fmt: skip
        return reconstruct(
            everything, layouts[0], targets, BUDGETS[context.effort], context.seed, tick=context.tick,
            folder=context.folder, anew=joined([learnt], [0]),
        ).inputs  # fmt: skip


def _part(known: Auxiliary, rows: slice) -> Auxiliary:
    return Auxiliary(tuple(t[rows] for t in known.inputs), known.pixels[rows], None, known.what)


def _largest(tensors: tuple[Tensor, ...]) -> Tensor:
    floats = [t.float() for t in tensors if t.is_floating_point()]
    if not floats:
        raise NotMeasurableError("the undefended activation holds no floating-point numbers")
    return max(floats, key=lambda t: t[0].numel())
