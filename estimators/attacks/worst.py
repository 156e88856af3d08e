"""`worst`: the attack of several that finds most: what a defense is held against.

An attacker takes whatever serves it best; which that is depends on the defense, and no single network shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from advisor.attack_versions import version_of
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import Attack, AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.ka import KnowledgeAlignment
from advisor.estimators.attacks.wiener import Wiener

REPEATS = 10
AVERAGED = f"ka on the mean of {REPEATS}"
FLOOR = "floor"


@dataclass(frozen=True)
class Worst:
    """`ka`, `wiener`, where there is noise `ka` on the mean of ten transmissions, and `ka` on the model's output."""

    name: ClassVar[str] = "worst"
    about: ClassVar[str] = (
        "the lowest error of ka, wiener, ka on the mean of 10 repeats, ka on the output (He et al. 2019)"
    )
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = KnowledgeAlignment.threat
    version: ClassVar[int] = version_of("worst")

    def run(self, context: AttackContext) -> Recovered:
        """Run all of them; one that fails says nothing.

        Raises:
            NotMeasurableError: when all fail.
        """
        members = self._members(context)
        found, failed = dict[str, Recovered](), dict[str, str]()
        for number, (name, (attack, scene)) in enumerate(members.items()):
            part = context.part(number / len(members), 1 / len(members))
            torch.manual_seed(context.seed)  # each finds what it finds by itself
            try:
                found[name] = attack.run(scene.named(name, part.tick))
            except NotMeasurableError as error:
                failed[name] = error.problem
        if not found:
            raise NotMeasurableError("; ".join(f"{name}: {why}" for name, why in failed.items()))
        return Recovered(members=found, failed=failed)

    def _members(self, context: AttackContext) -> dict[str, tuple[Attack, AttackContext]]:
        ka = KnowledgeAlignment()
        members: dict[str, tuple[Attack, AttackContext]] = {"ka": (ka, context), "wiener": (Wiener(), context)}
        if context.channel.random and context.channel.repeats < REPEATS:
            members[AVERAGED] = ka, context.elsewhere(repeats=REPEATS)
        if (end := context.floor_at) is not None:
            members[FLOOR] = ka, context.elsewhere(beyond=end)
        return members
