"""Why not the next plans: what each would gain over the chosen one, what it would lose, and what it misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.plans import Plan
from advisor.reports.content import budgets, words
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS

ALIKE = 0.01
"""Share by which two numbers must differ before it is said."""


@dataclass(frozen=True)
class Rival:
    """A plan that was not chosen.

    Attributes:
        plan: its cut and defense.
        gains: what it does better than the chosen one.
        loses: what it does worse.
        misses: the budgets that it misses, or "".
    """

    plan: str
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    misses: str = ""

    def __str__(self) -> str:
        parts = [f"better: {', '.join(self.gains) or 'nothing'}"]
        parts += [f"worse: {', '.join(self.loses)}"] if self.loses else []
        parts += [f"misses the budgets: {self.misses}"] if self.misses else []
        return f"{self.plan} – {'; '.join(parts)}."


def rivals(advice: Advice) -> tuple[Rival, ...]:
    """The next plans, in the order in which they would be chosen; none where there is no plan."""
    return () if advice.best is None else tuple(_rival(advice, advice.best, plan) for plan in advice.next_best)


def _rival(advice: Advice, best: Plan, plan: Plan) -> Rival:
    gains: list[str] = []
    loses: list[str] = []
    for row in REQUIREMENTS.values():
        side, said = _compared(row, best, plan)
        if said:
            (gains if side else loses).append(said)
    missed = "" if plan.feasible else budgets.misses(plan, advice.budgets)
    return Rival(words.plan_name(plan), tuple(gains), tuple(loses), missed)


def _compared(row: Requirement, best: Plan, plan: Plan) -> tuple[bool, str]:
    """Whether a plan is better in one quantity, and both numbers; "" where they are alike or not known."""
    ours, theirs = best.found(row), plan.found(row)
    if ours is None or theirs is None or not (math.isfinite(ours.value) and math.isfinite(theirs.value)):
        return False, ""
    if math.isclose(ours.value, theirs.value, rel_tol=ALIKE, abs_tol=1e-3 if row.unit == "1" else 0.0):
        return False, ""
    return row.worse(
        ours.value, theirs.value
    ), f"{row.label} {row.show(theirs.value)} instead of {row.show(ours.value)}"
