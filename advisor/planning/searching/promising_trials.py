"""What may beat the best plan so far: where costs alone tell the objective, the least noise that hides enough.

What a cut and a defense cost is known before anything is tried, and what noise leaves to an attacker is told by the
noise curve: only accuracy has to be measured. So pairs of cut and defense are tried from the best in the objective on,
each at the least noise within the limits on leakage. One that keeps accuracy there beats all pairs that come after it;
one that does not is done, as more noise costs more accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.planning.searching.warm_start import ACCURACY, MARGIN, Values, WarmStart, trial_of
from advisor.planning.selecting.selection import cost_of, with_excess
from advisor.plans import Plan

LEEWAY = 3.0
"""Cuts differ so much in the noise that accuracy stands, relative to the activations' spread: what needs more than that
beyond what broke it elsewhere is not tried."""

MARGINS = (MARGIN, 0.99)
"""Shares of what the limits allow an attacker to explain that are used: where accuracy does not stand the first one's
noise, the second's."""

RAISED = 1.35
"""Factor to the next level of noise where what was enough by the noise curve was not."""


def promising(start: WarmStart, plans: Sequence[Plan], count: int) -> list[Values]:
    """Trials that would be better by the objective than every plan that meets all, if accuracy stands them.

    None where the objective hangs on more than costs, and where costs are not known beforehand (a compressed link, a
    user's own code).

    Args:
        start: of the search; its evaluator, budgets, limits and defenses.
        plans: every one that was priced, undefended ones too.
        count: how many at most, the best by the objective first.
    """
    row = start.limits.best_in
    own = row.function is not None or any(asked.function is not None for asked, _ in start.budgets)
    if own or row.leakage or row.name in ACCURACY or start.evaluator.link.compression:
        return []
    met = [plan for plan in plans if plan.feasible and not start.limits.shortfall(plan)]
    best = min((cost_of(plan, row) for plan in met), default=math.inf)
    reach = _reach(start, plans)
    found: list[tuple[float, int, Values]] = []
    for cut in (cut for cut in start.evaluator.candidates if cut.undefendable is None):
        for kind in start.kinds:
            tried = [plan for plan in plans if (plan.cut.index, plan.defense.name) == (cut.index, kind.name)]
            level = _level(start, cut, kind, tried)
            values = None if level is None else _values(start, cut, kind, level)
            if level is None or values is None or level > reach(cut):
                continue
            defense = kind.at(start.evaluator.facts(cut), **values)
            if defense is None or defense in [plan.defense for plan in tried]:
                continue
            cost = cost_of(_before(start, cut, defense, level), row)
            if cost < best and _may_meet(start, cut, defense, level):
                found.append((cost, cut.index, trial_of(cut, kind, values)))
    return [values for _, _, values in sorted(found, key=lambda told: told[:2])[:count]]


def _level(start: WarmStart, cut: Cut, kind: type[Defense], tried: Sequence[Plan]) -> float | None:
    """Noise that hides enough there and that accuracy may stand, with a margin if it can be; None: there is none."""
    short = [plan.defense.noise for plan in tried if start.limits.shortfall(plan)]
    broke = [plan.defense.noise for plan in tried if plan.excess.keys() & ACCURACY]
    least = max((RAISED * noise for noise in short), default=0.0)
    levels = [max(least, start.enough(cut, margin)) for margin in MARGINS]
    stood = [level for level in levels if math.isfinite(level) and not any(noise <= level for noise in broke)]
    return next(iter(stood), None)


def _reach(start: WarmStart, plans: Sequence[Plan]) -> Callable[[Cut], float]:
    """The most noise at a cut that accuracy may stand, by what it stood or not at any cut; the first level before."""
    tried = [(plan, curve) for plan in plans if plan.defense.noise and (curve := start.evaluator.curve(plan.cut))]
    if not tried:
        return start.start
    broke = [plan.defense.noise / curve.scale for plan, curve in tried if plan.excess.keys() & ACCURACY]
    stood = [plan.defense.noise / curve.scale for plan, curve in tried if not plan.excess.keys() & ACCURACY]
    relative = LEEWAY * (min(broke) if broke else max(stood))

    def reach(cut: Cut) -> float:
        curve = start.evaluator.curve(cut)
        return 0.0 if curve is None else relative * curve.scale

    return reach


def _values(start: WarmStart, cut: Cut, kind: type[Defense], level: float) -> Values | None:
    """The parameters of such noise; none are needed where nothing has to be hidden and the defense has none."""
    if level > 0:
        return start.values_at(kind, cut, level)
    return None if kind.space else {}


def _before(start: WarmStart, cut: Cut, defense: Defense, level: float) -> Plan:
    """A plan before its accuracy is known."""
    evaluator = start.evaluator
    predicted = evaluator.costs(cut, defense, evaluator.tail) | evaluator.under_noise(cut, level)
    return with_excess(evaluator.plan(cut, defense, predicted), start.budgets, start.limits)


def _may_meet(start: WarmStart, cut: Cut, defense: Defense, level: float) -> bool:
    """Whether nothing that is known beforehand misses what is asked."""
    plan = _before(start, cut, defense, level)
    missed = {**plan.excess, **start.limits.shortfall(plan)}
    return not any(name not in ACCURACY and not math.isnan(over) for name, over in missed.items())
