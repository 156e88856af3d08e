"""Where for want of attacks it is not sure that the best plans keep the limits, those that may are attacked.

A run that keeps to a short time attacks few cuts, and what leaks between them is known within a bracket. The plan that
is looked at first is the one whose attack is expected to improve the answer most; what it finds narrows the brackets of
others, as no cut leaks less than a later one.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

from advisor.estimate import Estimate
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.selection import choose, cost_of, meets, rank_within
from advisor.planning.shared_study.estimates_as_json import as_estimates
from advisor.planning.verifying.judge import Judge
from advisor.plans import Plan
from advisor.progress import Progress
from advisor.requirements import REQUIREMENTS

MOST_LOOKS = 3
LEAST_GAIN = 1e-3
"""What a plan gains that is better in something else than the objective, as a share of what the plans differ by."""

LEAKAGE = ("min_nmse", "max_ssim")
QUANTITIES = ("score", "score_ssim")


def closer_looks(judge: Judge, plans: Sequence[Plan], progress: Progress) -> Iterator[tuple[Plan, ...]]:
    """The plans after each look, until none that may hold would be better than what does, or the time is up."""
    known, done, longest = tuple(plans), set[tuple[str, ...]](), 0.0
    for number in range(MOST_LOOKS):
        best = choose(known, judge.limits)
        holds = best if best is not None and meets(best, judge.limits) else None
        promising = [plan for plan in _promising(judge, known, holds) if plan.key not in done]
        if not promising or judge.over(first=holds is None and not number, takes=longest):
            return
        began = time.monotonic()
        plan = most_promising(judge, promising, holds)
        progress(number / MOST_LOOKS, f"a closer look at {plan}")
        looked = _looked_at(judge, plan)
        done.add(plan.key)
        known = tuple(
            looked if p is plan else p if p.key in done else judge.judged(_narrowed(judge, p, looked)) for p in known
        )
        longest = max(longest, time.monotonic() - began)
        yield known


def _promising(judge: Judge, plans: Sequence[Plan], holds: Plan | None) -> list[Plan]:
    """The plans that may hold, and would be chosen then."""
    limits = judge.limits
    return [
        p
        for p in plans
        if chance(judge, p) > 0 and (holds is None or rank_within(p, limits) < rank_within(holds, limits))
    ]


def chance(judge: Judge, plan: Plan) -> float:
    """Of a plan whose leakage is a bracket, and that may miss nothing else, to keep the limits; 0 for all others."""
    missed = {*plan.excess, *judge.limits.shortfall(plan)}
    if not missed or not missed <= set(LEAKAGE) or not _is_bracket(judge, plan):
        return 0.0
    return min(_kept(plan, name, judge.limits) for name in missed)


def most_promising(judge: Judge, plans: Sequence[Plan], holds: Plan | None) -> Plan:
    """The plan of which an attack is expected to improve the answer most: its chance, times what it would gain.

    Args:
        judge: what plans must meet.
        plans: that may hold.
        holds: the best that does; where there is none, that a plan holds is worth all that they differ by.
    """
    costs = [cost_of(plan, judge.limits.best_in) for plan in plans]
    scale = max(costs) - min(costs) or 1.0
    most = max(costs) + scale if holds is None else cost_of(holds, judge.limits.best_in) + LEAST_GAIN * scale

    def gain(place: int) -> float:
        return chance(judge, plans[place]) * (most - costs[place])

    return plans[max(range(len(plans)), key=gain)]


def _kept(plan: Plan, name: str, limits: LeakageLimits) -> float:
    """The chance that one limit is kept: half of it on either side of the value, spread evenly to the ends."""
    row, limit = REQUIREMENTS[name], limits.by_name[name]
    found = plan.found(row)
    if found is None or math.isnan(found.value):
        return 0.0
    sign = -1 if row.minimised else 1
    value, limit = sign * found.value, sign * limit
    low, high = sorted((sign * found.low, sign * found.high))
    if limit <= value:
        return 1.0 if limit <= low else 0.5 + 0.5 * (value - limit) / (value - low)
    return 0.0 if limit >= high else 0.5 * (high - limit) / (high - value)


def _is_bracket(judge: Judge, plan: Plan) -> bool:
    """Whether no attack was run at its cut: neither in the study, nor on the plan, nor to price a fit."""
    return (
        plan.kind == "split" and plan.fitted is None and not plan.verified
        and judge.evaluator.study.is_bracketed(plan.cut) and plan.predicted["score"].source != "measured"
    )  # fmt: skip


def _looked_at(judge: Judge, plan: Plan) -> Plan:
    """The plan with its leakage predicted from an attack on what it sends."""
    task = judge.evaluator.leakage_task(plan.cut, plan.defense)
    found = as_estimates(task, judge.evaluator.results.one(task))
    return judge.judged(dataclasses.replace(plan, predicted={**plan.predicted, **found}))


def _narrowed(judge: Judge, plan: Plan, looked: Plan) -> Plan:
    """A plan whose leakage is a bracket, after what was found elsewhere.

    What is undefended leaks no less than a later cut, and whatever is sent later than an undefended cut no more.
    """
    if not looked.defense.identity or not _is_bracket(judge, plan):
        return plan
    earlier = plan.cut.index <= looked.cut.index and plan.defense.identity
    later = plan.cut.index >= looked.cut.index
    narrowed = {
        name: _within(plan.predicted[name], looked.predicted[name], earlier != (name == "score_ssim"))
        for name in QUANTITIES
        if (earlier or later) and not math.isnan(looked.predicted[name].value + plan.predicted[name].value)
    }
    return dataclasses.replace(plan, predicted={**plan.predicted, **narrowed})


def _within(found: Estimate, other: Estimate, below: bool) -> Estimate:
    """An estimate that is at most another, or at least."""
    value, low, high = (
        min(own, theirs) if below else max(own, theirs)
        for own, theirs in zip((found.value, found.low, found.high), (other.value, other.low, other.high), strict=True)
    )
    low, high = (found.low, high) if below else (low, found.high)
    return dataclasses.replace(found, value=min(max(value, low), high), low=min(low, high), high=high)
