"""What a plan costs and leaks: cut × defense, priced from the profile, the leakage study and the cloud half itself."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from importlib.metadata import version

from advisor.cuts import Cut
from advisor.defenses import Defense, NoDefense, defense_to_json
from advisor.estimate import Estimate
from advisor.planning.evaluating.plan_attacks import PlanAttacks
from advisor.planning.evaluating.plan_costs import PlanCosts
from advisor.planning.evaluating.plan_leakage import PlanLeakage
from advisor.planning.shared_study.estimates_as_json import as_estimates, as_json
from advisor.planning.shared_study.results import Task, digest_of
from advisor.plans import Plan

MEASURED = ("accuracy", "accuracy_drop")
"""What is measured on parts of the samples first."""
NOTHING_SENT = {"label_leak": 0.0, "mse_bound": math.inf}
"""Column -> what it is where nothing is sent."""


@dataclass(frozen=True, eq=False)
class PlanEvaluator(PlanCosts, PlanLeakage, PlanAttacks):
    """Prices plans: each once, in this run or over a storage."""

    @property
    def candidates(self) -> tuple[Cut, ...]:
        """Where the edge may stop: cuts between the input and the tail, or the output."""
        inner = self.graph.cuts[1 : len(self.graph.cuts) - 1 if self.tail is None else self.tail.index]
        return tuple(cut for cut in inner if not self.only or cut.name in self.only)

    def evaluate(self, cut: Cut, defense: Defense, rows: int | None = None) -> Plan:
        """A split plan with everything predicted; what is more than arithmetic is computed once.

        Args:
            cut, defense: of the plan.
            rows: one of `sizes`, on which accuracy is measured; None for all.
        """
        costs = self.costs(cut, defense, self.tail)
        if defense.identity and self.is_bare:
            return self.plan(cut, defense, costs | self.effects(cut, defense))
        first, rows = self.task(cut, defense), rows or self.sizes[-1]
        found = as_estimates(first, self.results.one(first))
        if rows > self.sizes[0]:
            more = self.accuracy_task(cut, defense, rows)
            found |= as_estimates(more, self.results.one(more))
        return self.plan(cut, defense, costs | found)

    def task(self, cut: Cut, defense: Defense) -> Task:
        """Leakage and first accuracy of what a defense sends, computed once for the same graph, chain and samples."""
        few = self.sizes[0]
        return Task("evaluation", self._told(cut, defense, few), lambda: as_json(self.effects(cut, defense, few)))

    def accuracy_task(self, cut: Cut, defense: Defense, rows: int) -> Task:
        """Accuracy on more samples, likewise."""
        return Task("accuracy", self._told(cut, defense, rows), lambda: as_json(self.accuracy(cut, defense, rows)))

    def leakage_task(self, cut: Cut, defense: Defense) -> Task:
        """Leakage predicted from attacks on what is sent, with as many samples as fit there, likewise."""
        told = self._told(cut, defense, self.sizes[-1])
        return Task("leakage", told, lambda: as_json(self.measured_leakage(cut, defense, every=True)))

    def measured_on(self, cut: Cut, defense: Defense) -> int:
        """On how many samples accuracy was measured by now; 0 before anything was."""
        if not self.results.knows(self.task(cut, defense)):
            return 0
        more = [rows for rows in self.sizes[1:] if self.results.knows(self.accuracy_task(cut, defense, rows))]
        return max(more, default=self.sizes[0])

    def is_whole(self, plan: Plan) -> bool:
        """Whether a plan has the accuracy of all samples."""
        if plan.kind != "split" or plan.fitted is not None or (plan.defense.identity and self.is_bare):
            return True
        return self.measured_on(plan.cut, plan.defense) in (0, self.sizes[-1])  # 0: it was never asked of a part

    def with_all_samples(self, plan: Plan) -> Plan:
        """The plan with the accuracy of all samples."""
        found = self.evaluate(plan.cut, plan.defense).predicted
        return dataclasses.replace(plan, predicted={**plan.predicted, **{n: found[n] for n in MEASURED}})

    def _told(self, cut: Cut, defense: Defense, rows: int) -> str:
        """What a result hangs on."""
        return digest_of(
            version("partition-advisor"), self.graph.digest, cut.name, None if self.tail is None else self.tail.name,
            defense_to_json(defense), self.roles.fingerprints, [rows, len(self.rows)], self.seed, self.also,
            self.scores, self.profile.provenance.get("leakage"), self.scored_by,
        )  # fmt: skip

    @property
    def scored_by(self) -> str:
        """What else the numbers hang on; "" for the model itself."""
        return ""

    def effects(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """Leakage and accuracy, the latter on so many samples, or all."""
        found = self.leakage(cut, defense) | self.guarantee(cut, defense)
        found |= self.also_asked(cut, defense, found)
        return found | self.accuracy(cut, defense, rows)

    def plan(self, cut: Cut, defense: Defense, predicted: dict[str, Estimate]) -> Plan:
        """A split plan, U-shaped where there is a tail."""
        cuts = (cut,) if self.tail is None else (cut, self.tail)
        return Plan(cuts, defense, predicted, inputs=self.graph.inputs, graph=self.graph)

    def baselines(self) -> tuple[Plan, Plan]:
        """All-edge and all-cloud: nothing sent but nothing hidden from the device's owner; everything sent as it is."""
        ends = []
        for kind, cut, score, similar in (
            ("all-edge", self.graph.cuts[-1], 1.0, 0.0),
            ("all-cloud", self.graph.cuts[0], 0.0, 1.0),
        ):
            predicted = self.costs(cut, NoDefense()) | self.accuracy(cut, NoDefense())
            why = "nothing is sent" if kind == "all-edge" else "the input itself is sent"
            predicted |= {"score": _exact(score, why), "score_ssim": _exact(similar, why)}
            if kind == "all-edge":
                predicted |= {name: _exact(best, why) for name, best in NOTHING_SENT.items() if name in self.also}
                predicted["bytes"] = Estimate.exact(0, "B", "measured", why)
            ends.append(Plan((cut,), NoDefense(), predicted, kind=kind, inputs=self.graph.inputs, graph=self.graph))  # type: ignore[arg-type]
        return ends[0], ends[1]


def _exact(value: float, method: str) -> Estimate:
    return Estimate.exact(value, "1", "measured", method)
