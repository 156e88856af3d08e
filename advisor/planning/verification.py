"""Attack the plans that are shown; where an attack finds more than was predicted, choose again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from advisor.errors import AdvisorError
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.pictures import evidence_of
from advisor.planning.pipeline import Run
from advisor.planning.selection import LeakageLimits, choose, pareto, with_excess
from advisor.plans import Plan
from advisor.requirements import Budgets

VERIFY_ATTEMPTS = 5
ALSO_VERIFIED = 2
MOST_ATTACKS = VERIFY_ATTEMPTS + ALSO_VERIFIED + 1
"""Attacks in all: the last one is on labels."""


def verified_plans(
    run: Run, evaluator: PlanEvaluator, plans: list[Plan], budgets: Budgets, limits: LeakageLimits, budget: str
) -> tuple[list[Plan], str]:
    """Attack the plan that would be chosen; where the attack finds more than was predicted, choose again.

    An attack that fails leaves its plan unverified, and is said in `run.unverified`: never taken for privacy.
    """
    best, failed = choose(plans, limits), []
    if budget == "none" or best is None:
        return plans, ""
    try:
        with run.timed("verify") as tell:
            for attempt in range(VERIFY_ATTEMPTS):
                if best is None or best.verified or best in failed:
                    break
                proven = _attacked(run, evaluator, best, budgets, limits, budget, _part(tell, attempt, best))
                failed += [] if proven.verified else [proven]
                plans[plans.index(best)] = proven
                stronger = proven.defense.strengthen() if limits.shortfall(proven) and proven.verified else None
                if stronger is not None:
                    plans.append(with_excess(evaluator.evaluate(proven.cut, stronger), budgets, limits))
                best = choose(plans, limits)
            for number, plan in enumerate(_also_shown([p for p in plans if p not in failed], best), VERIFY_ATTEMPTS):
                part = _part(tell, number, plan)
                plans[plans.index(plan)] = _attacked(run, evaluator, plan, budgets, limits, budget, part)
            if best is not None:
                plans[plans.index(best)] = _labels_attacked(
                    run, evaluator, best, budget, _part(tell, MOST_ATTACKS - 1, best)
                )
    except KeyboardInterrupt:
        return plans, "verify"
    return plans, ""


def _part(tell: Callable[[float, str], None], number: int, plan: Plan) -> Callable[[float], None]:
    """Progress of one attack of those that may be run."""
    tell(number / MOST_ATTACKS, str(plan))
    return lambda share: tell((number + share) / MOST_ATTACKS, str(plan))


def _attacked(
    run: Run, evaluator: PlanEvaluator, plan: Plan, budgets: Budgets, limits: LeakageLimits, budget: str,
    progress: Callable[[float], None],
) -> Plan:  # fmt: skip
    try:
        found = evaluator.attack(plan, budget, progress)
    except AdvisorError as error:
        run.unverified.append(f"{plan} was not verified: {error.problem}")
        return dataclasses.replace(plan)
    names = ("top1", "top5") if found.threat and found.threat.recovers == "ids" else ("nmse", "mse", "ssim", "psnr")
    numbers = {name: found.scores[name] for name in names}
    shown = (evidence_of(found, plan.cut, plan.defense, run.pictures),)
    return with_excess(dataclasses.replace(plan, verified=numbers, evidence=shown), budgets, limits)


def _labels_attacked(
    run: Run, evaluator: PlanEvaluator, plan: Plan, budget: str, progress: Callable[[float], None]
) -> Plan:
    """The chosen plan with the evidence of an attack on labels, where they exist and the cloud does not compute them.

    It is run on what the body makes of what was received, up to the tail: the cloud computes that itself, and labels
    are read more easily there. About the input it says no more than what was received (it is a function of that).
    """
    if evaluator.labels is None:
        return plan
    if plan.tail is None:
        run.unverified.append("Labels were not attacked: the cloud computes the model's output (see --tail)")
        return plan
    try:
        found = evaluator.attack(plan, budget, progress, labels=True)
    except AdvisorError as error:
        run.unverified.append(f"The labels of {plan} were not attacked: {error.problem}")
        return plan
    shown = evidence_of(found, plan.cut, plan.defense, run.pictures)
    note = f"on what the cloud computes of it up to {plan.tail.name}"
    return dataclasses.replace(plan, evidence=(*plan.evidence, dataclasses.replace(shown, notes=(*shown.notes, note))))


def _also_shown(plans: list[Plan], best: Plan | None) -> list[Plan]:
    """Defended plans of the Pareto front that were not attacked yet, best hidden first."""
    front = [p for p in pareto([p for p in plans if p.feasible]) if not p.verified and p is not best]
    defended = [p for p in front if not p.defense.identity]
    return sorted(defended, key=lambda p: -p.predicted["score"].value)[:ALSO_VERIFIED]
