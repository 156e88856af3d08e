"""What to try next at which cut: the least noise that hides enough, then the most noise that accuracy stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense
from advisor.defenses.payload.space import at_most
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.selection import LeakageLimits
from advisor.plans import Plan
from advisor.requirements import Budgets

MARGIN = 0.9
"""Suggested noise leaves this share of what the limit allows an attacker to explain, or accuracy to drop."""

SETTLED = 1.1
"""Two levels of noise nearer than this factor, one that accuracy stands and one that it does not, are near enough."""

LEAKAGE = {"min_nmse", "max_ssim"}
"""Requirements that more noise helps with."""

Values = dict[str, Any]


@dataclass(frozen=True)
class WarmStart:
    """Trials that are worth more than a sampler's guess.

    Attributes:
        evaluator: prices plans.
        budgets, limits: what a plan must meet.
        defenses: names of those to try, without "none".
    """

    evaluator: PlanEvaluator
    budgets: Budgets
    limits: LeakageLimits
    defenses: tuple[str, ...]

    def first(self, bare: Sequence[Plan], room: int) -> list[Values]:
        """At each block's cut the least noise that the noise curve finds enough, and what each defense suggests itself.

        In the order of the cuts: each crossing is then computed from the one before.

        Args:
            bare: every cut's undefended plan.
            room: how many at most.
        """
        cheap = [plan for plan in bare if not self.budgets.excess(plan.predicted)] or list(bare)
        cheap = [plan for plan in cheap if plan.cut.block] or cheap
        cheap.sort(key=lambda plan: plan.predicted["latency"].value)
        found = []
        for plan in cheap:
            for kind in self._kinds:
                if (values := self.enough_noise(kind, plan.cut)) is not None:
                    found.append(_trial(plan.cut, kind, values))
                suggested = kind.initial_trials(self.evaluator.facts(plan.cut))
                found += [_trial(plan.cut, kind, values) for values in suggested]
        if len(found) > room:
            found = [found[round(i * (len(found) - 1) / max(1, room - 1))] for i in range(room)]
        return sorted(found, key=lambda parameters: self.evaluator.graph.cut(parameters["cut"]).index)

    def enough_noise(self, kind: type[Defense], cut: Cut) -> Values | None:
        """The values at which the predicted attack meets the limits; None where none in range do or none are needed."""
        curve = self.evaluator.curve(cut)
        if curve is None:
            return None
        allowed = MARGIN * self.evaluator.allowed_share(cut, self.limits)
        sigma = curve.sigma_for(allowed) if allowed < MARGIN else 0.0
        values = kind.values_for_noise(self.evaluator.facts(cut), sigma)
        lowered = {name: at_most(kind.space[name], value) for name, value in (values or {}).items()}
        return lowered if lowered and None not in lowered.values() else None

    def next(self, plans: Sequence[Plan]) -> Values | None:
        """Where no plan hides enough inside the budgets: the noise that would hide most and may still keep accuracy.

        Accuracy falls and leakage shrinks with noise, so that at one cut only levels between the most noise that kept
        the budget and the least that broke it are of interest; of these the one with the highest predicted score. A
        cut is dropped where even that is no more than the best that was found within the budgets.
        """
        if self.budgets.max_accuracy_drop is None or any(p.feasible and not self.limits.shortfall(p) for p in plans):
            return None
        best: tuple[float, Values] | None = None
        reached = max((_score(plan) for plan in plans if set(plan.excess) <= LEAKAGE), default=-math.inf)
        for cut in self.evaluator.candidates:
            for kind in self._kinds:
                tried = [plan for plan in plans if plan.cut.index == cut.index and _may_help(plan, kind)]
                sigma = self._between(tried)
                values = kind.values_for_noise(self.evaluator.facts(cut), sigma)
                if values is None or not all(kind.space[name].contains(value) for name, value in values.items()):
                    continue
                score = self.evaluator.under_noise(cut, sigma)["score"].value
                if score > max(reached, -math.inf if best is None else best[0]):  # NaN is not
                    best = score, _trial(cut, kind, values)
        return None if best is None else best[1]

    @cached_property
    def _kinds(self) -> tuple[type[Defense], ...]:
        return tuple(DEFENSES.find(name) for name in self.defenses)

    def _between(self, tried: Sequence[Plan]) -> float:
        """The next level of noise at one cut; 0 where none was tried, none failed, or it is near enough."""
        drops = {plan.defense.noise: plan.predicted["accuracy_drop"].value for plan in tried}
        allowed = float(self.budgets.max_accuracy_drop or 0.0)
        failed = min((sigma for sigma, drop in drops.items() if drop > allowed), default=0.0)
        kept = max((sigma for sigma, drop in drops.items() if drop <= allowed and sigma < failed), default=0.0)
        if failed <= SETTLED * kept:
            return 0.0
        squares = failed * math.sqrt(MARGIN * max(allowed, 1e-3) / drops[failed]) if failed else 0.0
        return squares if squares > kept else math.sqrt(failed * kept)


def _may_help(plan: Plan, kind: type[Defense]) -> bool:
    """Whether the plan adds such noise and meets every budget that less noise would not help."""
    adds = plan.defense.name == kind.name and plan.defense.noise > 0
    return adds and set(plan.excess) <= {"max_accuracy_drop", "min_nmse", "max_ssim"}


def _score(plan: Plan) -> float:
    """What is predicted to be left to an attacker; nothing where that is not known."""
    found = plan.predicted.get("score")
    return -math.inf if found is None or math.isnan(found.value) else found.value


def _trial(cut: Cut, kind: type[Defense], values: Values) -> Values:
    """A trial's parameters, as the search names them."""
    return {"cut": cut.name, "defense": kind.name} | {f"{kind.name}.{name}": value for name, value in values.items()}
