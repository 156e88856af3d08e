"""What to try next at which cut: the least noise that hides enough, then the most noise that accuracy stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, GaussianNoise
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.selection import LeakageLimits
from advisor.plans import Plan
from advisor.requirements import Budgets

MARGIN = 0.9
"""Suggested noise leaves this share of what the limit allows an attacker to explain, or accuracy to drop."""

SETTLED = 1.1
"""Two levels of noise nearer than this factor, one that accuracy stands and one that it does not, are near enough."""

Parameters = dict[str, Any]


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

    def first(self, bare: Sequence[Plan], room: int) -> list[Parameters]:
        """At each block's cut the least noise that the noise curve finds enough, and the parameterless defenses.

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
            if GaussianNoise.name in self.defenses and (dfil := self.enough_noise(plan.cut)) is not None:
                found.append(_noise(plan.cut, dfil))
            plain = [name for name in self.defenses if not DEFENSES[name].search_space]
            found += [{"cut": plan.cut.name, "defense": name} for name in plain]
        if len(found) > room:
            found = [found[round(i * (len(found) - 1) / max(1, room - 1))] for i in range(room)]
        return sorted(found, key=lambda parameters: self.evaluator.graph.cut(parameters["cut"]).index)

    def enough_noise(self, cut: Cut) -> float | None:
        """The dFIL at which the predicted attack meets the limits; None where none in range does or none is needed."""
        curve, profile = self.evaluator.curve(cut), self.evaluator.profile
        if curve is None or "fisher" not in profile:
            return None
        allowed = MARGIN * self.evaluator.allowed_share(cut, self.limits)
        sigma = curve.sigma_for(allowed) if allowed < MARGIN else 0.0
        low, high = GaussianNoise.search_space["dfil"]
        dfil = self._dfil(cut, sigma)
        return min(dfil, high) if low <= dfil < math.inf else None

    def next(self, plans: Sequence[Plan]) -> Parameters | None:
        """Where no plan hides enough inside the budgets: the noise that would hide most and may still keep accuracy.

        Accuracy falls and leakage shrinks with noise, so that at one cut only levels between the most noise that kept
        the budget and the least that broke it are of interest; of these the one with the highest predicted score.
        """
        if self.budgets.max_accuracy_drop is None or any(p.feasible and not self.limits.shortfall(p) for p in plans):
            return None
        best: tuple[float, Parameters] | None = None
        for cut in self.evaluator.candidates:
            sigma = self._between([plan for plan in plans if plan.cut.index == cut.index and _may_help(plan)])
            dfil = self._dfil(cut, sigma)
            low, high = GaussianNoise.search_space["dfil"]
            if not low <= dfil <= high:
                continue
            score = self.evaluator.leakage(cut, sigma)["score"].value
            if not math.isnan(score) and (best is None or score > best[0]):
                best = score, _noise(cut, dfil)
        return None if best is None else best[1]

    def _between(self, tried: Sequence[Plan]) -> float:
        """The next level of noise at one cut; 0 where none was tried, none failed, or it is near enough."""
        drops = {_sigma(plan): plan.predicted["accuracy_drop"].value for plan in tried}
        allowed = float(self.budgets.max_accuracy_drop or 0.0)
        failed = min((sigma for sigma, drop in drops.items() if drop > allowed), default=0.0)
        kept = max((sigma for sigma, drop in drops.items() if drop <= allowed and sigma < failed), default=0.0)
        if failed <= SETTLED * kept:
            return 0.0
        squares = failed * math.sqrt(MARGIN * max(allowed, 1e-3) / drops[failed]) if failed else 0.0
        return squares if squares > kept else math.sqrt(failed * kept)

    def _dfil(self, cut: Cut, sigma: float) -> float:
        fisher = self.evaluator.profile["fisher"].at(cut).value if "fisher" in self.evaluator.profile else math.nan
        return fisher / sigma**2 if sigma > 0 else math.inf


def _may_help(plan: Plan) -> bool:
    """Whether the plan adds noise and meets every budget that less noise would not help."""
    return _sigma(plan) > 0 and set(plan.excess) <= {"max_accuracy_drop", "min_nmse", "max_ssim"}


def _sigma(plan: Plan) -> float:
    return plan.defense.sigma if isinstance(plan.defense, GaussianNoise) else 0.0


def _noise(cut: Cut, dfil: float) -> Parameters:
    return {"cut": cut.name, "defense": GaussianNoise.name, "gaussian.dfil": dfil}
