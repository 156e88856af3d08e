"""Which plan to recommend: the fastest inside every budget whose own leakage, defense included, is low enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.plans import Plan
from advisor.requirements import REQUIREMENTS, Budgets, Requirement, front
from advisor.units import show_share, show_size


@dataclass(frozen=True)
class LeakageLimits:
    """What a plan may leak: the user's budget, else the zone's thresholds.

    Attributes:
        min_nmse: lowest normalised error that must be left to the strong attack; None: no such limit.
        max_ssim: highest structural similarity it may reach; None: no such limit.
        asked: whether the user stated them; a plan over a stated budget is not feasible.
    """

    min_nmse: float | None
    max_ssim: float | None
    asked: bool

    @property
    def by_name(self) -> dict[str, float]:
        """The limits that are set, by requirement."""
        limits = {"min_nmse": self.min_nmse, "max_ssim": self.max_ssim}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def shortfall(self, plan: Plan) -> dict[str, float]:
        """How far a plan misses each limit, at the unfavourable end of its 90 % interval; NaN: not measured."""
        return plan.missing(self.by_name)


def with_excess(plan: Plan, budgets: Budgets, limits: LeakageLimits) -> Plan:
    """The plan with every stated budget that it misses."""
    asked = dict(budgets.limits) | (limits.by_name if limits.asked else {})
    return dataclasses.replace(plan, excess=plan.missing(asked))


def choose(plans: Sequence[Plan], limits: LeakageLimits) -> Plan | None:
    """The fastest feasible plan within the leakage limits, else the most private feasible one, else None."""
    feasible = [plan for plan in plans if plan.feasible]
    private = [plan for plan in feasible if not limits.shortfall(plan)]
    if private:
        return min(private, key=lambda p: (_value(p, "latency"), -p.leakage("score").value, _value(p, "accuracy_drop")))
    return min(feasible, key=_most_private, default=None)


def nearest(plans: Sequence[Plan], budgets: Budgets, count: int = 3) -> tuple[Plan, ...]:
    """The plans that miss the budgets by least, relative to each budget; what is not measured counts as far off."""
    missing = [plan for plan in plans if not plan.feasible]
    return tuple(sorted(missing, key=lambda p: (_distance(p, budgets), _value(p, "latency")))[:count])


def pareto(plans: Sequence[Plan], count: int = 12) -> tuple[Plan, ...]:
    """Plans that no other beats in all that the front weighs (latency, leakage, accuracy), fastest first."""
    points = [tuple(_cost(plan, row) for row in front()) for plan in plans]
    kept = [
        plan
        for plan, point in zip(plans, points, strict=True)
        if not any(all(o <= m for o, m in zip(other, point, strict=True)) and other != point for other in points)
    ]
    unique = {(p.cut.name, str(p.defense)): p for p in kept}
    ordered = sorted(unique.values(), key=lambda p: _value(p, "latency"))
    if len(ordered) <= count:
        return tuple(ordered)
    picked = sorted({round(i * (len(ordered) - 1) / (count - 1)) for i in range(count)})
    return tuple(ordered[i] for i in picked)


def reasons(best: Plan | None, plans: Sequence[Plan], limits: LeakageLimits) -> tuple[str, ...]:
    """Why this plan, one sentence each."""
    if best is None:
        return (_none_fits(plans),)
    feasible = [plan for plan in plans if plan.feasible]
    score = best.leakage("score")
    said = []
    if limits.shortfall(best):
        said.append(
            f"No plan inside the budgets hides the input well enough ({_limits(limits)}); "
            f"this is the most private of {len(feasible)}."
        )
    else:
        private = [plan for plan in feasible if not limits.shortfall(plan)]
        rank = "the only plan" if len(private) == 1 else f"the fastest of {len(private)} plans"
        said.append(f"It is {rank} inside the budgets to hide the input well enough ({_limits(limits)}).")
    if not math.isnan(score.value):
        said.append(
            f"A strong inversion attack is left with a normalised error of {score.value:.2f} "
            f"(90 % interval {score.low:.2f}–{score.high:.2f}; 0 is a perfect copy, 1 is a guess of the mean)."
        )
    drop = best.predicted["accuracy_drop"]
    if not math.isnan(drop.value):
        said.append(f"It costs {show_share(drop.value)} of {drop.method.partition(' on ')[0]}.")
    swap = best.predicted.get("edge_swap")
    if swap is not None and swap.value > 0:
        said.append(
            f"Its edge half does not fit the device's memory: {show_size(swap.value)} would be swapped, "
            "which none of the times counts."
        )
    if best.verified:
        what, name = ("inversion attack", "nmse") if "nmse" in best.verified else ("attack on ids", "top1")
        found, unit = best.verified[name], "" if name == "nmse" else " of them at its first guess"
        said.append(
            f"The {what} that was run on what it really sends reached {found.value:.2f} "
            f"({found.low:.2f}–{found.high:.2f}){unit}."
        )
    return tuple(said)


def _none_fits(plans: Sequence[Plan]) -> str:
    """What no plan meets, each with the least by which a plan misses it."""
    missed: dict[str, float] = {}
    for plan in plans:
        for name, over in plan.excess.items():
            if not over >= missed.get(name, math.inf):
                missed[name] = over
    always = [name for name in missed if all(name in plan.excess for plan in plans)]
    least = ", ".join(describe_excess(name, missed[name]) for name in always)
    return "No split meets the budgets" + (f": every one misses {least} or more." if least else " together.")


def describe_excess(name: str, over: float) -> str:
    """One budget that is missed, in words: `--max-latency by 3 ms`."""
    row = REQUIREMENTS[name]
    return f"{row.option} could not be measured" if math.isnan(over) else f"{row.option} by {row.show(over)}"


def _limits(limits: LeakageLimits) -> str:
    parts = [
        f"{row.quantity.upper()} of {row.sense} {limits.by_name[row.name]:.2g}"
        for row in sorted(REQUIREMENTS.values(), key=lambda row: row.minimised)
        if row.name in limits.by_name
    ]
    return " and ".join(parts) + ("" if limits.asked else ", the zone's thresholds")


def _most_private(plan: Plan) -> tuple[float, float, float]:
    score, similar = plan.leakage("score"), plan.leakage("score_ssim")
    return (-_known(score.value), 0.0 if math.isnan(similar.value) else similar.value, _value(plan, "latency"))


def _distance(plan: Plan, budgets: Budgets) -> float:
    total = 0.0
    for name, over in plan.excess.items():
        limit = budgets.limits.get(name) or 1e-9
        total += 10.0 if math.isnan(over) else min(10.0, over / limit)
    return total


def _cost(plan: Plan, row: Requirement) -> float:
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
