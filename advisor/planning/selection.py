"""Which plan to recommend: the fastest inside every budget whose own leakage, defense included, is low enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.plans import Budgets, Plan
from advisor.units import show_duration, show_share, show_size


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

    def shortfall(self, plan: Plan) -> dict[str, float]:
        """How far a plan misses each limit, at the unfavourable end of its 90 % interval; NaN: not measured."""
        found: dict[str, float] = {}
        if self.min_nmse is not None:
            score = plan.leakage("score")
            found["min_nmse"] = self.min_nmse - _worse(score.low, score.value)
        if self.max_ssim is not None:
            similar = plan.leakage("score_ssim")
            found["max_ssim"] = _worse(similar.high, similar.value) - self.max_ssim
        return {name: over for name, over in found.items() if not over <= 0}


def with_excess(plan: Plan, budgets: Budgets, limits: LeakageLimits) -> Plan:
    """The plan with every stated budget that it misses."""
    excess = budgets.excess(plan.predicted)
    if limits.asked:
        excess |= limits.shortfall(plan)
    return dataclasses.replace(plan, excess=excess)


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
    """Plans that no other beats in latency, leakage and accuracy at once, fastest first."""
    points = [(_value(p, "latency"), -_known(p.leakage("score").value), _value(p, "accuracy_drop")) for p in plans]
    front = [
        plan
        for plan, point in zip(plans, points, strict=True)
        if not any(all(o <= m for o, m in zip(other, point, strict=True)) and other != point for other in points)
    ]
    unique = {(p.cut.name, str(p.defense)): p for p in front}
    ordered = sorted(unique.values(), key=lambda p: _value(p, "latency"))
    if len(ordered) <= count:
        return tuple(ordered)
    picked = sorted({round(i * (len(ordered) - 1) / (count - 1)) for i in range(count)})
    return tuple(ordered[i] for i in picked)


def reasons(best: Plan | None, plans: Sequence[Plan], limits: LeakageLimits) -> tuple[str, ...]:
    """Why this plan, one sentence each."""
    if best is None:
        return ("No split meets the budgets.",)
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


def describe_excess(name: str, over: float) -> str:
    """One budget that is missed, in words."""
    shown = {"max_latency": show_duration, "max_accuracy_drop": show_share, "max_edge_memory": show_size}
    option = "--" + name.replace("_", "-")
    return (
        f"{option} could not be measured"
        if math.isnan(over)
        else f"{option} by {shown.get(name, '{:.2f}'.format)(over)}"
    )


def _limits(limits: LeakageLimits) -> str:
    parts = []
    if limits.min_nmse is not None:
        parts.append(f"NMSE of at least {limits.min_nmse:.2g}")
    if limits.max_ssim is not None:
        parts.append(f"SSIM of at most {limits.max_ssim:.2g}")
    return " and ".join(parts) + ("" if limits.asked else ", the zone's thresholds")


def _most_private(plan: Plan) -> tuple[float, float, float]:
    score, similar = plan.leakage("score"), plan.leakage("score_ssim")
    return (-_known(score.value), 0.0 if math.isnan(similar.value) else similar.value, _value(plan, "latency"))


def _distance(plan: Plan, budgets: Budgets) -> float:
    total = 0.0
    for name, over in plan.excess.items():
        limit = getattr(budgets, name) or 1e-9
        total += 10.0 if math.isnan(over) else min(10.0, over / limit)
    return total


def _value(plan: Plan, quantity: str) -> float:
    value = plan.predicted[quantity].value
    return math.inf if math.isnan(value) else value


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _worse(bound: float, value: float) -> float:
    return value if math.isnan(bound) else bound
