"""Attack the plans that are shown; where an attack finds more than was predicted, choose again."""

from __future__ import annotations

import dataclasses

from advisor.choosing import LeakageLimits, choose, pareto, with_excess
from advisor.defenses import GaussianNoise, NoDefense
from advisor.pictures import evidence_of
from advisor.plans import Budgets, Plan
from advisor.pricing import Pricer
from advisor.stages import Run

VERIFY_ATTEMPTS = 5
ALSO_VERIFIED = 2
MORE_NOISE = 1.35


def verified_plans(
    run: Run, pricer: Pricer, plans: list[Plan], budgets: Budgets, limits: LeakageLimits, budget: str
) -> tuple[list[Plan], Plan | None, str]:
    """Attack the plan that would be chosen; where the attack finds more than was predicted, choose again."""
    best = choose(plans, limits)
    if budget == "none" or best is None or not all(t.dtype.is_floating_point for t in pricer.inputs):
        return plans, best, ""
    try:
        with run.timed("verify") as tell:
            for attempt in range(VERIFY_ATTEMPTS):
                if best is None or best.verified:
                    break
                tell(attempt / VERIFY_ATTEMPTS, str(best))
                proven = _attacked(pricer, best, budgets, limits, budget)
                plans[plans.index(best)] = proven
                if limits.shortfall(proven) and isinstance(noise := proven.defense, GaussianNoise):
                    more = GaussianNoise(noise.sigma * MORE_NOISE, noise.dfil / MORE_NOISE**2)
                    plans.append(with_excess(pricer.price(proven.cut, more), budgets, limits))
                best = choose(plans, limits)
            for plan in _also_shown(plans, best):
                tell(1.0, str(plan))
                plans[plans.index(plan)] = _attacked(pricer, plan, budgets, limits, budget)
    except KeyboardInterrupt:
        return plans, choose(plans, limits), "verify"
    return plans, choose(plans, limits), ""


def _attacked(pricer: Pricer, plan: Plan, budgets: Budgets, limits: LeakageLimits, budget: str) -> Plan:
    found = pricer.attack(plan, budget)
    numbers = {"nmse": found.nmse, "mse": found.mse, "ssim": found.ssim, "psnr": found.psnr}
    shown = (evidence_of(found, plan.cut, plan.defense),)
    return with_excess(dataclasses.replace(plan, verified=numbers, evidence=shown), budgets, limits)


def _also_shown(plans: list[Plan], best: Plan | None) -> list[Plan]:
    """Defended plans of the Pareto front that were not attacked yet, best hidden first."""
    front = [p for p in pareto([p for p in plans if p.feasible]) if not p.verified and p is not best]
    defended = [p for p in front if not isinstance(p.defense, NoDefense)]
    return sorted(defended, key=lambda p: -p.predicted["score"].value)[:ALSO_VERIFIED]
