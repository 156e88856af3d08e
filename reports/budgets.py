"""A plan against the budgets: met, close, missed, or not measured, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.estimate import Estimate
from advisor.plans import Budgets, Plan
from advisor.reports.quantities import show, show_estimate
from advisor.reports.text import clean

Status = Literal["met", "close", "missed", "not measured"]

BUDGETS: Mapping[str, tuple[str, str, str, str]] = {
    "max_latency": ("latency", "latency", "s", "at most"),
    "max_accuracy_drop": ("accuracy drop", "accuracy_drop", "1", "at most"),
    "max_edge_memory": ("edge memory", "edge_memory", "B", "at most"),
    "max_ssim": ("attacker's SSIM", "score_ssim", "1", "at most"),
    "min_nmse": ("attacker's NMSE", "score", "1", "at least"),
}
"""Budget -> (what people call it, the quantity it limits, unit, sense)."""


@dataclass(frozen=True)
class Verdict:
    """One budget against one plan.

    Attributes:
        label: what is limited.
        limit: the budget, such as `at most 50 ms`.
        found: the plan's value with its interval.
        status: "met"; "close" when met but the 90 % interval crosses the budget; "missed"; or "not measured".
        note: by how much it is missed, or how close it is.
    """

    label: str
    limit: str
    found: str
    status: Status
    note: str = ""


def verdicts(plan: Plan, budgets: Budgets) -> tuple[Verdict, ...]:
    """Every budget that was set, and any other limit that the plan misses."""
    set_ones = [name for name in BUDGETS if getattr(budgets, name) is not None]
    others = [name for name in plan.excess if name not in set_ones]
    return tuple([_verdict(plan, name, getattr(budgets, name)) for name in set_ones]) + tuple(
        Verdict(_budget_label(name), "", "", *_miss(name, plan.excess[name])) for name in others
    )


def misses(plan: Plan, budgets: Budgets) -> str:
    """Which budgets a plan fails and by how much: `latency 12 ms over (budget: at most 50 ms)`."""
    if plan.kind != "split":
        return "for comparison, never chosen"
    failed = [v for v in verdicts(plan, budgets) if v.status in {"missed", "not measured"}]
    parts = (f"{v.label} {v.note}" + (f" (budget: {v.limit})" if v.limit else "") for v in failed)
    return "; ".join(parts) or "meets every budget"


def _verdict(plan: Plan, name: str, limit: float) -> Verdict:
    words, key, unit, sense = BUDGETS[name]
    leak: Literal["score", "score_ssim"] | None = (
        "score" if key == "score" else "score_ssim" if key == "score_ssim" else None
    )
    found = _leakage(plan, leak) if leak else plan.predicted.get(key)
    asked, value = f"{sense} {show(limit, unit, key)}", show_estimate(found, key)
    if name in plan.excess:
        return Verdict(words, asked, value, *_miss(name, plan.excess[name]))
    if found is None or math.isnan(found.value):
        return Verdict(words, asked, value, "not measured", "could not be checked")
    worst = found.low if sense == "at least" else found.high
    crosses = worst < limit if sense == "at least" else worst > limit
    note = f"the 90 % interval reaches {show(worst, unit, key)}" if crosses else ""
    return Verdict(words, asked, value, "close" if crosses else "met", note)


def _miss(name: str, excess: float) -> tuple[Status, str]:
    if math.isnan(excess):
        return "not measured", "could not be checked"
    _, key, unit, sense = BUDGETS.get(name, (name, name, "1", "at most"))
    return "missed", f"{show(abs(excess), unit, key)} {'short' if sense == 'at least' else 'over'}"


def _budget_label(name: str) -> str:
    return BUDGETS[name][0] if name in BUDGETS else clean(name).replace("_", " ")


def _leakage(plan: Plan, name: Literal["score", "score_ssim"]) -> Estimate | None:
    """`plan.leakage`, or None for a plan without that prediction."""
    return plan.leakage(name) if name in plan.predicted else None
