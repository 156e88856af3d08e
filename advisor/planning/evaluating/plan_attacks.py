"""Attacks on what a plan really sends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from advisor.activations import ActivationCache
from advisor.cuts import Cut
from advisor.data.samples import Samples, limited
from advisor.errors import AdvisorError
from advisor.estimators.attacks import ATTACKS, verifying
from advisor.estimators.attacks.runner import AttackResult, attack
from advisor.graph import PartitionGraph
from advisor.panel import rows_in_memory
from advisor.planning.evaluating.plan_setting import PlanSetting
from advisor.plans import Plan
from advisor.progress import Progress, silence

MOST_ID_SAMPLES, FEWEST_ID_SAMPLES = 64, 8
ID_MACS = 2.5e9
"""Multiply-adds of the edge half, over all samples, of which the attack on ids takes two to four thousand passes."""


@dataclass(frozen=True, eq=False)
class PlanAttacks(PlanSetting):
    """Attacks plans."""

    @property
    def secret(self) -> Literal["input", "ids"]:
        """What is hidden: the input, or the ids that it is made of."""
        return "input" if any(spec.is_floating for spec in self.graph.cuts[0].tensors) else "ids"

    def attack(
        self, plan: Plan, budget: str, progress: Progress = silence, labels: bool = False, name: str = "",
        own: int | None = None, size: str | None = None,
    ) -> AttackResult:  # fmt: skip
        """Attack what a plan really sends: the input, by its ids where it is discrete; or its labels after the body.

        The attacker learns from its own samples, and the private ones are attacked: as many as fit in memory.

        Args:
            plan: what is attacked.
            budget: "quick" or "strong".
            progress: called with the fraction done.
            labels: whether the labels are attacked, and not the input.
            name: of the attack; the first that verifies where it is "".
            own: samples that the attacker learns from, at most; None: all of its own.
            size: at which images are reconstructed, in pixels a side, or "native"; None: 32.

        Raises:
            AdvisorError: where the attack failed, does not apply, or would take too long.
        """
        learn, attacked = (self._within_memory(self.roles[role]) for role in ("attacker", "private"))
        private, learnt, own_labels, truth = self.graph.flat(attacked.x), learn.x, None, None
        discrete = not any(t.dtype.is_floating_point for t in private)
        chosen = ATTACKS[name] if name else verifying("label" if labels else self.secret)[0]
        if labels:
            truth, own_labels = attacked.labels, learn.labels
        elif discrete:
            learnt = None
            private = tuple(t[: self._id_samples(plan.cut)] for t in private)
        return attack(
            self.graph, plan.cut, pack(self.graph, private), learnt, name=chosen, defense=plan.defense, budget=budget,
            aux_samples=own, attack_size=size, seed=self.seed, y=truth, aux_y=own_labels,
            beyond=plan.tail if labels else None, tail=plan.tail, folder=self.folder, progress=progress,
            walks=self.walks, reidentify=own is None,  # a learning curve is of the error alone
        )  # fmt: skip

    @property
    def attackers_own(self) -> int:
        """Samples that an attack on a plan learns from at most."""
        return len(self._within_memory(self.roles["attacker"]))

    def _within_memory(self, samples: Samples) -> Samples:
        """As many of the samples as the largest tensor of a forward pass allows."""
        return limited(samples, max(2, rows_in_memory(self.graph)), self.seed)

    def _id_samples(self, cut: Cut) -> int:
        """How many samples' ids are attacked: as many as a minute or so allows."""
        macs = self.profile["macs"].at(cut).value
        most = min(MOST_ID_SAMPLES, int(ID_MACS / max(1.0, macs)))
        if most < FEWEST_ID_SAMPLES:
            raise AdvisorError(
                f"descending on the embeddings in front of {cut.name} would take minutes a sample.",
                "Run it by itself: advisor attack --name ids.",
            )
        return most

    @cached_property
    def walks(self) -> ActivationCache:
        """What the attacks' samples send, shared by the attacks."""
        return ActivationCache(self.graph)


def pack(graph: PartitionGraph, flat: tuple[Tensor, ...]) -> Any:
    """Flat tensors as user inputs."""
    keywords = graph.inputs.keywords
    if any(keywords):
        return dict(zip(keywords, flat, strict=True))
    return flat[0] if len(flat) == 1 else flat
