"""What to try next at which cut: the least noise that hides enough, then the most noise that accuracy stands.

Which cuts and levels are tried does not hang on how much is asked of privacy: a limit that nothing meets is searched
like one that much does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense
from advisor.defenses.payload.space import Choice
from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.plans import Plan
from advisor.requirements import REQUIREMENTS, Budgets

MARGIN = 0.9
"""Suggested noise leaves this share of what the limit allows an attacker to explain, or accuracy to drop."""

SETTLED = 1.1
"""Two levels of noise nearer than this factor, one that accuracy stands and one that it does not, are near enough."""

START = 0.7
"""Share of what the bare attack explains that survives the first level of noise that is tried at all."""

GROWTH = 2.0
"""Factor to the next level where accuracy stood every one so far."""

LEAKAGE = {name for name, row in REQUIREMENTS.items() if row.leakage}
"""Requirements that more noise helps with."""

ACCURACY = {"max_accuracy_drop", "min_accuracy"}
"""Requirements that less noise helps with."""

NOISE = LEAKAGE | ACCURACY

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

        Where that is more than `START`, noise of that level: accuracy says whether more is worth a trial. In the order
        of the cuts: each crossing is then computed from the one before.

        Args:
            bare: every cut's undefended plan.
            room: how many at most.
        """
        cheap = [plan for plan in bare if not set(plan.excess) - LEAKAGE] or list(bare)
        cheap = [plan for plan in cheap if plan.cut.block] or cheap
        cheap.sort(key=lambda plan: plan.predicted["latency"].value)
        found = []
        for plan in cheap:
            for kind in self.kinds:
                values = self.values_at(kind, plan.cut, min(self.enough(plan.cut), self.start(plan.cut)))
                suggested = kind.initial_trials(self.evaluator.facts(plan.cut))
                found += [trial_of(plan.cut, kind, v) for v in ([] if values is None else [values]) + list(suggested)]
        if len(found) > room:
            found = [found[round(i * (len(found) - 1) / max(1, room - 1))] for i in range(room)]
        return sorted(found, key=lambda parameters: self.evaluator.graph.cut(parameters["cut"]).index)

    def next(self, plans: Sequence[Plan], count: int = 1) -> list[Values]:
        """The noise that would hide most and may still keep accuracy; none where no cut can gain by that any more.

        Accuracy falls and leakage shrinks with noise, so that at one cut only levels between the most noise that kept
        the budget and the least that broke it are of interest; where all kept it, more; where none was tried, the
        first. Of these those that are predicted to miss the limits by least, then those with the highest score. A
        cut is dropped where even that is no better than the best that was found within the other budgets, and where
        it misses one that no noise helps with, unless all do.

        Args:
            plans: every one that was priced, undefended ones too.
            count: how many at most, one for each cut and defense.
        """
        inside = [plan for plan in plans if not self._elsewhere(plan)] or plans
        cuts = {plan.cut.index: self._elsewhere(plan) for plan in inside}
        stood = [plan for plan in inside if not plan.excess.keys() & ACCURACY]
        reached = min((self._nearness(plan.predicted, self._elsewhere(plan)) for plan in stood), default=_NOTHING)
        found: list[tuple[tuple[float, float], Values]] = []
        for cut in (cut for cut in self.evaluator.candidates if cut.index in cuts):
            for kind in self.kinds:
                tried = [
                    p for p in inside if (p.cut.index, p.defense.name) == (cut.index, kind.name) and p.defense.noise
                ]
                sigma = self._level(tried) if tried else self.start(cut, [p for p in inside if p.defense.noise])
                values = self.values_at(kind, cut, sigma)
                if values is None or kind.at(self.evaluator.facts(cut), **values) in [plan.defense for plan in tried]:
                    continue
                nearness = self._nearness(self.evaluator.under_noise(cut, sigma), cuts[cut.index])
                if nearness < reached:  # NaN is not
                    found.append((nearness, trial_of(cut, kind, values)))
        return [values for _, values in sorted(found, key=lambda pair: pair[0])[:count]]

    @cached_property
    def kinds(self) -> tuple[type[Defense], ...]:
        """The defenses."""
        return tuple(DEFENSES.find(name) for name in self.defenses)

    def start(self, cut: Cut, elsewhere: Sequence[Plan] = ()) -> float:
        """The first level at a cut: what is about to be tried at the nearest other cut, relative to the activations'
        spreads; without any, that of `START`. 0 where noise cannot be priced there.
        """
        curve = self.evaluator.curve(cut)
        if curve is None or not len(curve.sigma):
            return 0.0
        for other in sorted({plan.cut.index: plan.cut for plan in elsewhere}.values(), key=lambda c: _apart(c, cut)):
            tried, known = [plan for plan in elsewhere if plan.cut == other], self.evaluator.curve(other)
            if known is not None and len(known.sigma):
                stood = max((p.defense.noise for p in tried if not p.excess.keys() & ACCURACY), default=0.0)
                return (self._level(tried) or stood) * curve.scale / known.scale
        sigma = curve.sigma_for(START)
        return sigma if math.isfinite(sigma) else 0.0

    def enough(self, cut: Cut, margin: float = MARGIN) -> float:
        """The least noise under which the predicted attack meets the limits; infinity: none does; 0: none needed.

        Args:
            cut: where.
            margin: share of what the limits allow an attacker to explain that is used.
        """
        curve = self.evaluator.curve(cut)
        if curve is None:
            return 0.0
        allowed = margin * self.evaluator.allowed_share(cut, self.limits)
        return curve.sigma_for(allowed) if allowed < margin else 0.0

    def _level(self, tried: Sequence[Plan]) -> float:
        """The next level of noise at one cut: a larger one, or between two; 0 where there is none."""
        if any(plan.excess.keys() & ACCURACY for plan in tried):
            return self._between(tried)
        most = max(tried, key=lambda plan: plan.defense.noise)
        larger = min(GROWTH * most.defense.noise, max(self.enough(most.cut), SETTLED * most.defense.noise))
        return larger if self.limits.shortfall(most) else 0.0

    def _between(self, tried: Sequence[Plan]) -> float:
        """A level between the most noise that accuracy stood and the least that it did not; 0: they are near enough."""
        broke = {plan.defense.noise: plan for plan in tried if plan.excess.keys() & ACCURACY}
        failed = min(broke)
        kept = max((plan.defense.noise for plan in tried if plan.defense.noise < failed), default=0.0)
        if failed <= SETTLED * kept:
            return 0.0
        drop = broke[failed].predicted["accuracy_drop"].value
        allowed = drop - max(over for name, over in broke[failed].excess.items() if name in ACCURACY)
        squares = failed * math.sqrt(MARGIN * max(allowed, 1e-3) / drop) if drop > 0 else 0.0
        return squares if kept < squares < failed else math.sqrt(failed * kept)

    def values_at(self, kind: type[Defense], cut: Cut, sigma: float) -> Values | None:
        """The values at which a defense adds such noise, within what may be searched; None: it has no such dial."""
        values = kind.values_for_noise(self.evaluator.facts(cut), sigma) if sigma > 0 else None
        if not values:
            return None
        spans = {name: kind.space[name] for name in values}
        if any(isinstance(span, Choice) or math.isnan(values[name]) for name, span in spans.items()):
            return None
        return {name: min(max(value, spans[name].low), spans[name].high) for name, value in values.items()}  # type: ignore[union-attr]

    def _nearness(self, predicted: dict[str, Estimate], elsewhere: float) -> tuple[float, float]:
        """How far limits are missed, relative to each, and what was missed elsewhere; then how much is given away."""
        missed = elsewhere
        for name, limit in self.limits.by_name.items():
            over = REQUIREMENTS[name].missed_by(predicted.get(REQUIREMENTS[name].measurement), limit)
            missed += math.inf if math.isnan(over) else over / limit if limit > 0 else over
        found = predicted.get("score")
        return missed, math.inf if found is None or math.isnan(found.value) else -found.value

    def _elsewhere(self, plan: Plan) -> float:
        """How far a plan misses budgets that no level of noise helps with, relative to each."""
        missed = [(over, self.budgets.limits[name]) for name, over in plan.excess.items() if name not in NOISE]
        return sum(over / limit if limit > 0 else over for over, limit in missed if not math.isnan(over))


_NOTHING = (math.inf, math.inf)
"""Nearness where nothing was found."""


def _apart(one: Cut, other: Cut) -> tuple[int, int]:
    """How many cuts lie between two; the earlier of two first."""
    return abs(one.index - other.index), one.index


def trial_of(cut: Cut, kind: type[Defense], values: Values) -> Values:
    """A trial's parameters, as the search names them."""
    return {"cut": cut.name, "defense": kind.name} | {f"{kind.name}.{name}": value for name, value in values.items()}
