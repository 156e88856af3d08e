"""A plan against the budgets: met, close, missed, or not measured, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets
from advisor.units import digits

Status = Literal["met", "close", "missed", "not measured"]
ALIKE = 0.02
"""Share by which two amounts differ that are not written alike."""

STATUS_MARKS: dict[Status, str] = {"met": "✅", "close": "⚠️", "missed": "❌", "not measured": "❔"}


@dataclass(frozen=True)
class Verdict:
    """One budget against one plan.

    Attributes:
        label: what is limited.
        limit: the budget, such as `at most 50 ms`.
        found: the plan's value with its interval.
        status: "met"; "close" when met but the 90 % interval crosses the budget, or only a bound is known; "missed"; or
            "not measured".
        note: by how much it is missed, or how close it is.
    """

    label: str
    limit: str
    found: str
    status: Status
    note: str = ""


def verdicts(plan: Plan, budgets: Budgets) -> tuple[Verdict, ...]:
    """Every budget that was set, and any other limit that the plan misses."""
    others = [name for name in plan.excess if name not in budgets.limits]
    return tuple(_verdict(plan, row, limit) for row, limit in budgets) + tuple(
        Verdict(_label(name), "", "", *_miss(REQUIREMENTS.get(name), plan.excess[name])) for name in others
    )


def misses(plan: Plan, budgets: Budgets) -> str:
    """Which budgets a plan fails and by how much: `latency 12 ms over (budget: at most 50 ms)`."""
    failed = [v for v in verdicts(plan, budgets) if v.status in {"missed", "not measured"}]
    parts = (f"{v.label} {v.note}" + (f" (budget: {v.limit})" if v.limit else "") for v in failed)
    close = ", ".join(v.label for v in verdicts(plan, budgets) if v.status == "close")
    return "; ".join(parts) or f"meets every budget{f', close on {close}' if close else ''}"


def _verdict(plan: Plan, row: Requirement, limit: float) -> Verdict:
    found = plan.found(row)
    asked, value = row.asks(limit), show_estimate(found, row.measurement)
    if row.name in plan.excess:
        status, note = _miss(row, plan.excess[row.name])
        if status == "missed" and _is_of_an_end(found, limit, plan.excess[row.name]):
            note += f" at the {'high' if row.minimised else 'low'} end of its interval"
        return Verdict(row.label, asked, value, status, note)
    if found is None or math.isnan(found.value):
        return Verdict(row.label, asked, value, "not measured", "could not be checked")
    worst = row.unfavourable(found)
    crosses = row.worse(worst, limit)
    note = f"the 90 % interval reaches {row.show(worst)}" if crosses else ""
    if found.source == "bounded" and row.minimised:
        crosses, note = True, "only a lower bound is known"
    return Verdict(row.label, asked, value, "close" if crosses else "met", note)


def _is_of_an_end(found: Estimate | None, limit: float, excess: float) -> bool:
    """Whether a limit is missed by this much at an end of the interval, and not by the value that is shown."""
    if found is None or found.low == found.high:
        return False
    return not math.isclose(abs(found.value - limit), abs(excess), rel_tol=ALIKE)


def stands_by_value(plan: Plan, row: Requirement, limit: float) -> bool:
    """Whether a plan's value meets a limit, whatever its interval reaches."""
    found = plan.found(row)
    return found is not None and not math.isnan(found.value) and not row.worse(found.value, limit)


def _miss(row: Requirement | None, excess: float) -> tuple[Status, str]:
    if math.isnan(excess):
        return "not measured", "could not be checked"
    by = digits(abs(excess)) if row is None else row.show(abs(excess))
    return "missed", f"{by} {'short' if row is not None and not row.minimised else 'over'}"


def _label(name: str) -> str:
    return REQUIREMENTS[name].label if name in REQUIREMENTS else clean(name).replace("_", " ")
