"""Accuracy on growing subsets: a plan is measured on more samples while that may change what it is taken for.

A plan whose accuracy surely misses its budget, or that another one beats even at the good end of its interval, keeps
the few samples that showed it. Whatever is shown has the accuracy of all samples.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence

from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.warm_start import ACCURACY
from advisor.planning.selecting.alternatives import by_aim
from advisor.planning.selecting.selection import cost_of, next_best, pareto, verdict, waives_leakage, with_excess
from advisor.plans import Plan
from advisor.requirements import REQUIREMENTS, Budgets, front

SURE = 0.99
"""Confidence of the interval that has to be past a limit, or worse than another plan, for a plan to be dropped."""

RARE = 3.0
"""Answers of a subset that may differ though none did: the share that n samples without one allow is 3/n at 95 %."""


def undecided(plan: Plan, samples: int, others: Sequence[Plan], budgets: Budgets, limits: LeakageLimits) -> bool:
    """Whether accuracy on more samples could change what a plan is taken for.

    Args:
        plan: whose accuracy was measured on `samples` samples.
        samples: fewer than all.
        others: judged plans whose accuracy was measured on all.
        budgets, limits: what is asked.
    """
    if math.isnan(plan.predicted["accuracy_drop"].value):
        return True  # a subset may lack a label that all of them have
    best, worst = (with_excess(_at_end(plan, samples, good), budgets, limits) for good in (True, False))
    broken = [bool(end.excess.keys() & ACCURACY) for end in (best, worst)]
    if broken[0] or not best.feasible:
        return broken[0] != broken[1]
    return broken[1] or not any(_beats(other, best, limits) for other in others if other.feasible)


def in_whole(
    plans: Sequence[Plan],
    shown: Callable[[Sequence[Plan]], Iterable[Plan | None]],
    evaluator: PlanEvaluator,
    judged: Callable[[Plan], Plan],
    until: float = math.inf,
) -> tuple[Plan, ...]:
    """The plans, those that would be shown with the accuracy of all samples; which are shown may change with it.

    Args:
        plans: all of them.
        shown: of these, what an answer shows.
        evaluator: of the plans without a fit; fits are measured on all samples at once.
        judged: holds a plan against what is asked.
        until: `time.monotonic()` after which nothing more is measured: figures say on how many samples they are.
    """
    every = tuple(plans)
    while time.monotonic() < until:
        short = next((plan for plan in shown(every) if plan is not None and not evaluator.is_whole(plan)), None)
        if short is None:
            break
        whole = judged(evaluator.with_all_samples(short))
        every = tuple(whole if plan is short else plan for plan in every)
    return every


def shown_plans(
    plans: Sequence[Plan], baselines: Sequence[Plan], zone: Sequence[str], budgets: Budgets, limits: LeakageLimits,
    require_split: bool,
) -> list[Plan | None]:  # fmt: skip
    """What an answer shows of the plans: the choice, the front, the nearest, those that come next, those of an aim."""
    chosen = verdict(plans, baselines, limits, budgets, require_split)
    feasible = [plan for plan in plans if plan.feasible]
    rivals = [plan for plan in baselines if plan.kind != "all-cloud" or waives_leakage(budgets)]
    following = next_best(chosen.best, (*([] if require_split else rivals), *plans), budgets, limits)
    aims = dict(by_aim(plans, limits, zone)).values()
    return [chosen.best, chosen.best_split, *pareto(feasible or plans), *chosen.nearest, *following, *aims]


def _at_end(plan: Plan, samples: int, good: bool) -> Plan:
    """A plan with its accuracy at one end of its interval, the good or the bad one."""
    ends = {row.measurement: _end(plan.predicted[row.measurement], row.minimised == good, samples) for row in _ROWS}
    return dataclasses.replace(plan, predicted=plan.predicted | ends)


def _end(found: Estimate, low: bool, samples: int) -> Estimate:
    """The lower or the upper end of an interval of `SURE`; no narrower than so few samples allow."""
    row = next(row for row in _ROWS if row.minimised != low)  # whose unfavourable end it is
    wide = abs(row.unfavourable(found, SURE) - found.value)
    wide = max(0.0 if math.isnan(wide) else wide, RARE / samples)
    return Estimate.exact(found.value - wide if low else found.value + wide, found.unit, found.source, found.method)


def _beats(other: Plan, best: Plan, limits: LeakageLimits) -> bool:
    """Whether a plan is as good in the objective and in all that the front weighs, and better in one of these."""
    pairs = [(cost_of(other, row), cost_of(best, row)) for row in (limits.best_in, *front())]
    return all(own <= theirs for own, theirs in pairs) and any(own < theirs for own, theirs in pairs)


_ROWS = tuple(REQUIREMENTS[name] for name in sorted(ACCURACY))
"""What is measured on samples that grow."""
