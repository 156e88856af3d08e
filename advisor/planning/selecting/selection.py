"""Which plan to recommend: the fastest inside every budget whose own leakage, defense included, is low enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.planning.evaluating.leakage_limits import FASTEST, LeakageLimits
from advisor.plans import Plan, Verdict
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets, front


def with_excess(plan: Plan, budgets: Budgets, limits: LeakageLimits) -> Plan:
    """The plan with every stated budget that it misses."""
    asked = dict(budgets.limits) | (limits.by_name if limits.asked else {})
    return dataclasses.replace(plan, excess=plan.missing(asked, limits.confidence))


def choose(plans: Sequence[Plan], limits: LeakageLimits) -> Plan | None:
    """The feasible plan within the leakage limits that is best, else the most private feasible one, else None.

    A short fit shows which are worth a full one: its plan is chosen only where no other meets everything.
    """
    feasible = [plan for plan in plans if plan.feasible]
    private = [plan for plan in feasible if not limits.shortfall(plan)]
    if private:
        return min(private, key=lambda plan: (plan.short_fit, rank_within(plan, limits)))
    return min(feasible, key=lambda plan: _most_private(plan, limits), default=None)


@dataclass(frozen=True)
class Choice:
    """What is recommended.

    Attributes:
        verdict: as `Advice.verdict`.
        best: its plan; with "none" the nearest, None where there is none.
        best_split: the best split whatever the verdict, the nearest where none is feasible.
        nearest: where nothing is feasible, what misses the budgets by least.
    """

    verdict: Verdict
    best: Plan | None
    best_split: Plan | None
    nearest: tuple[Plan, ...] = ()


def verdict(
    splits: Sequence[Plan], baselines: Sequence[Plan], limits: LeakageLimits, budgets: Budgets,
    require_split: bool = False,
) -> Choice:  # fmt: skip
    """Of all-edge, all-cloud and the splits that meet everything, the best; a baseline goes before an equal split.

    Args:
        splits, baselines: judged plans; of the baselines all-edge first, and a local head last where there is one.
        limits: what a plan may leak.
        budgets: what was asked; all-cloud counts only where they waive leakage (`min_nmse=0`).
        require_split: leave the baselines out.
    """
    split, best_in = choose(splits, limits), limits.best_in
    close = () if any(plan.feasible for plan in splits) else nearest(splits, budgets)
    shown = split if split is not None else next(iter(close), None)
    whole = [] if require_split else [p for p in baselines if p.kind != "all-cloud" or waives_leakage(budgets)]
    meeting = [plan for plan in whole if meets(plan, limits)]
    if split is not None and not limits.shortfall(split):
        meeting.append(split)
    if meeting:
        best = min(meeting, key=lambda plan: (cost_of(plan, best_in), plan is split, rank_within(plan, limits)))
        return Choice(best.kind, best, shown)
    if split is not None:
        return Choice("split", split, shown)
    close = nearest([*splits, *(plan for plan in whole if plan.kind != "all-cloud")], budgets)
    return Choice("none", next(iter(close), None), shown, close)


def meets(plan: Plan, limits: LeakageLimits) -> bool:
    """Whether a judged plan meets every requirement, the zone's thresholds where no leakage is limited."""
    return plan.feasible and not limits.shortfall(plan)


def waives_leakage(budgets: Budgets) -> bool:
    """Whether the user said that leakage does not matter."""
    return budgets.min_nmse == 0 and (budgets.max_ssim is None or budgets.max_ssim >= 1)


def rank(plan: Plan, best_in: Requirement, accuracy_first: bool = False) -> tuple[float, ...]:
    """Least is best: the objective, then leakage, accuracy and all the rest, so that nothing beats the first in all."""
    leakage, accuracy = REQUIREMENTS["min_nmse"], REQUIREMENTS["max_accuracy_drop"]
    between = (accuracy, leakage) if accuracy_first else (leakage, accuracy)
    order = (best_in, *between, *REQUIREMENTS.values())
    return tuple(cost_of(plan, row) for row in {row.name: row for row in order}.values())


def rank_within(plan: Plan, limits: LeakageLimits) -> tuple[float, ...]:
    """`rank` among plans that keep the limits: what was left open goes before what was limited and is met."""
    return rank(plan, limits.best_in, limits.accuracy_open)


def nearest(plans: Sequence[Plan], budgets: Budgets, count: int = 3) -> tuple[Plan, ...]:
    """The plans whose values miss the budgets by least, relative to each; what is not measured counts as far off."""
    missing = [plan for plan in plans if not plan.feasible]
    return tuple(sorted(missing, key=lambda p: (*_distance(p, budgets), *rank(p, FASTEST)))[:count])


def nearest_first(plans: Sequence[Plan], budgets: Budgets, limits: LeakageLimits) -> list[Plan]:
    """Plans in the order in which they would be chosen: what meets everything by rank, then what misses least."""

    def order(plan: Plan) -> tuple[float, ...]:
        short = limits.shortfall(plan)
        unknown, _, missed = _distance(plan, budgets)
        unknown += sum(math.isnan(over) for over in short.values() if not limits.asked)
        missed += sum(over for over in short.values() if not math.isnan(over)) if not limits.asked else 0.0
        return (bool(plan.excess or short), unknown, missed, *rank_within(plan, limits))

    return sorted(plans, key=order)


def next_best(
    best: Plan | None, plans: Sequence[Plan], budgets: Budgets, limits: LeakageLimits, count: int = 3
) -> tuple[Plan, ...]:
    """The plans that would be chosen next, each of another cut or another kind of defense than those before it."""
    there = set() if best is None else {_sort(best)}
    found: list[Plan] = []
    for plan in nearest_first(plans, budgets, limits):
        if _sort(plan) not in there and len(found) < count:
            there.add(_sort(plan))
            found.append(plan)
    return tuple(found)


def _sort(plan: Plan) -> tuple[str, ...]:
    """What a plan is, its parameters left out."""
    method = "" if plan.fitted is None else plan.fitted.method
    return (plan.kind, *plan.places, plan.defense.name, method)


def pareto(plans: Sequence[Plan], count: int = 12) -> tuple[Plan, ...]:
    """Plans that no other beats in all that the front weighs (latency, leakage, accuracy), fastest first."""
    points = [tuple(cost_of(plan, row) for row in front()) for plan in plans]
    kept = [
        plan
        for plan, point in zip(plans, points, strict=True)
        if not any(all(o <= m for o, m in zip(other, point, strict=True)) and other != point for other in points)
    ]
    unique = {p.key: p for p in kept}
    ordered = sorted(unique.values(), key=lambda p: _value(p, "latency"))
    if len(ordered) <= count:
        return tuple(ordered)
    picked = sorted({round(i * (len(ordered) - 1) / (count - 1)) for i in range(count)})
    return tuple(ordered[i] for i in picked)


def _most_private(plan: Plan, limits: LeakageLimits) -> tuple[float, ...]:
    score, similar = plan.leakage("score"), plan.leakage("score_ssim")
    return (-_known(score.value), 0.0 if math.isnan(similar.value) else similar.value, *rank_within(plan, limits))


def _distance(plan: Plan, budgets: Budgets) -> tuple[int, float, float]:
    """How many budgets could not be checked, and how far the others are missed, each relative to its limit.

    First by the values, which is what a user sees of a plan, then by what is held against the limits, which may be the
    ends of intervals.
    """
    shown = held = 0.0
    for name, over in plan.excess.items():
        if math.isnan(over):
            continue
        row, limit = REQUIREMENTS[name], budgets.limits.get(name, 0.0)
        scale, found = limit if limit > 0 else 1.0, plan.found(row)
        value = limit if found is None else found.value
        held += over / scale
        shown += max(0.0, value - limit if row.minimised else limit - value) / scale
    return sum(math.isnan(over) for over in plan.excess.values()), shown, held


def cost_of(plan: Plan, row: Requirement) -> float:
    """What the front and the objective compare: less is better, what was not measured is worst."""
    found = plan.found(row)
    if found is None or math.isnan(found.value):
        return math.inf
    return found.value if row.minimised else -found.value


def _value(plan: Plan, quantity: str) -> float:
    value = plan.predicted[quantity].value
    return math.inf if math.isnan(value) else value


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value
