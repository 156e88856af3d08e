"""`wiener`: the linear minimum mean-square reconstruction in closed form, in principal components of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from advisor.attack_versions import version_of
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.support.channel import COMPACT_BYTES, Reduce, Store
from advisor.estimators.inversion.alignment import FEWEST, held_back, surely_better
from advisor.measures.decoders.activation_layouts import flat_vector
from advisor.measures.flat_rows import reals, side_by_side
from advisor.measures.linear_filter import wiener
from advisor.support.finite import all_finite

DRAWS = 8
"""Transmissions of each of its own samples that the attacker averages: it may ask as often as it likes."""

PART = 64


@dataclass(frozen=True)
class Wiener:
    """Black box, nothing to train: what a network finds beyond it is what is not linear.

    The penalties are chosen on samples held back as they are received once, so that noise is shrunk by what it is.
    """

    name: ClassVar[str] = "wiener"
    about: ClassVar[str] = "linear minimum mean-square filter on principal components, closed form (Wiener 1949)"
    verifies: ClassVar[bool] = False
    version: ClassVar[int] = version_of("wiener")
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense",), ("auxiliary inputs",), ("query the edge",))

    def run(self, context: AttackContext) -> Recovered:
        """Solve it on the attacker's own samples, then read the private ones.

        Raises:
            NotMeasurableError: too few samples, or NaN in the activation.
        """
        known = context.known
        if len(known) < FEWEST:
            raise NotMeasurableError(f"a linear filter learns from at least {FEWEST} samples, not {len(known)}")
        payloads = context.kept("payloads", partial(self._received, context))
        context.tick(0.5)
        solved = context.kept("filter", partial(self._solved, context, payloads["learnt"], payloads["tried"]))
        return Recovered(inputs=solved["inputs"].reshape(len(context), *context.template.shape[1:]))

    def _received(self, context: AttackContext) -> dict[str, Tensor]:
        """What is received of the attacker's own samples: of the first as it is, of the others on average."""
        known = context.known
        store = Store(len(known))
        draws = context.queries(known.inputs, self._flat(context), store)
        (once,) = store.tensors()
        context.tick(0.1)
        if not all_finite(once):
            raise NotMeasurableError("the activation holds NaN or infinities")
        held = held_back(len(known))
        learnt, rows = once[held:].float(), torch.arange(held, len(known))
        if len(draws.clean):
            for number in range(1, DRAWS):
                drawn = (draws.at(part, number * len(known) + int(part[0])) for part in torch.split(rows, PART))
                learnt += torch.cat([z for (z,) in drawn])
                context.tick(0.1 + 0.4 * number / DRAWS)
            learnt /= DRAWS
        return {"learnt": learnt, "tried": once[:held].float()}

    def _solved(self, context: AttackContext, learnt: Tensor, tried: Tensor) -> dict[str, Tensor]:
        """The private samples through the filter; the mean where that is no better on samples held back."""
        pixels, held = context.known.pixels.flatten(1).float(), len(tried)
        seen = self._flat(context)(context.sent)[0].float()
        found = wiener(learnt, tried, torch.cat([tried, seen]), pixels[held:], pixels[:held])
        mean = pixels.mean(0)
        better = surely_better(found[:held], pixels[:held], mean)
        return {"inputs": found[held:] if better else mean.expand(len(seen), -1).clone()}

    def _flat(self, context: AttackContext) -> Reduce:
        """All that crosses side by side, as it is where there is room for that."""
        size = sum(t[0].numel() for t in context.sent) * (len(context.known) + len(context)) * 4
        if size > COMPACT_BYTES:
            return lambda tensors: (flat_vector(reals(tensors)),)
        return lambda tensors: (side_by_side(reals(tensors)),)
