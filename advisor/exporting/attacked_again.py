"""The written edge is attacked once more, end to end: what counts is what its messages give away, not the plan's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from advisor import wire
from advisor.activations import ActivationCache
from advisor.batches import BATCH
from advisor.errors import AdvisorError
from advisor.estimators.attacks.runner import attack
from advisor.exporting.checking import Runner
from advisor.exporting.freshness import drawn, received
from advisor.exporting.manifest_entries import Attacked
from advisor.exporting.parts import Part
from advisor.progress import Progress
from advisor.variant import Variant

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.data.samples import Samples
    from advisor.graph import PartitionGraph
    from advisor.plans import Plan

ATTACK, BUDGET = "ka", "quick"
BARE = "no defense: the messages are the plan's own, bit for bit or within the stated tolerance"


class _Messages(ActivationCache):
    """What is received of the written edge's messages, in the place of activations; drawn anew each time."""

    def __init__(self, plan: Plan, graph: PartitionGraph, part: Part, runner: Runner) -> None:
        super().__init__(graph)
        self._plan, self._part, self._runner = plan, part, runner

    def at(self, cut: Cut, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each `[N, ...]`, packed, sent, unpacked and restored."""
        size = self.graph.fixed_batch or BATCH
        rows = [self._sent(tuple(t[i : i + size] for t in inputs)) for i in range(0, len(inputs[0]), size)]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def _sent(self, flat: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        noise = self._part.noise
        given = flat if noise is None else (*flat, drawn(noise, len(flat[0])))
        message = wire.pack(self._runner(given))
        return received(self._plan, self._part, wire.unpack_torch(message))


def attack_again(
    plan: Plan, graph: PartitionGraph, part: Part, runner: Runner, samples: Samples | str, progress: Progress
) -> Attacked:
    """What a quick inversion network makes of the written edge's messages.

    Args:
        plan: what was written.
        graph: of the model.
        part, runner: the part that sends, and how it is run.
        samples: some of them are attacked, from the others the attacker learns; or why there are none.
        progress: called with the fraction done.

    Returns:
        What was found; or why nothing was: an attack that fails is never taken for privacy.
    """
    if plan.defense.identity and not isinstance(graph, Variant):
        return Attacked(BARE)
    if isinstance(samples, str):
        return Attacked(samples)
    if graph.fixed_batch:
        return Attacked(f"the batch of this model is frozen at {graph.fixed_batch}")
    try:
        found = attack(
            graph, plan.cut, samples.x, name=ATTACK, defense="none", budget=BUDGET,
            walks=_Messages(plan, graph, part, runner), progress=progress, reidentify=False,
        )  # fmt: skip
    except AdvisorError as error:
        return Attacked(f"the attack failed, which says nothing about privacy: {error.problem}")
    scores = {name: found.scores[name] for name in ("nmse", "mse", "ssim", "psnr")}
    notes = (*found.notes, f"on {samples.description}")
    return Attacked("", found.name, found.budget, len(found.reconstructions), scores, notes)
