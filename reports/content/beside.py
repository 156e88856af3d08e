"""The plan and what stands beside it, as rows of one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.reports.content import budgets, words
from advisor.reports.content.tables import Cell, estimate_cell
from advisor.reports.content.text import clean
from advisor.verdicts import WHOLE

COLUMNS = ("latency", "bytes", "edge_memory", "edge_energy", "accuracy", "accuracy_drop", "score", "score_ssim")
ROLES = {"all-edge": "all on the edge", "all-cloud": "all in the cloud", "local-head": "smaller model on the edge"}


@dataclass(frozen=True)
class Row:
    """One alternative.

    Attributes:
        role: why it stands here: "this plan", "all on the edge", "most private", …
        plan: cut and defense.
        cells: its numbers, one a column.
        budgets: which budgets it misses, and by how much.
    """

    role: str
    plan: str
    cells: tuple[Cell, ...]
    budgets: str

    @property
    def whole(self) -> bool:
        """Whether nothing is split, so that its role says it all."""
        return self.plan.partition(",")[0] in WHOLE.values()


def alternatives(advice: Advice) -> tuple[Row, ...]:
    """Every alternative once; one that has several roles names them all."""
    merged: dict[tuple[object, ...], tuple[list[str], Plan]] = {}
    for role, plan in _named(advice):
        latency = plan.predicted["latency"].value if "latency" in plan.predicted else math.nan
        sent = plan.predicted["bytes"].value if "bytes" in plan.predicted else math.nan
        key = (plan.kind, str(plan), f"{latency:.9g} {sent:.9g}", repr(plan.excess))
        merged.setdefault(key, ([], plan))[0].append(role)
    units = {name: _largest(name, [plan for _, plan in merged.values()]) for name in COLUMNS}
    return tuple(
        Row(", ".join(dict.fromkeys(roles)), words.plan_name(plan), _cells(plan, units),
            budgets.misses(plan, advice.budgets))
        for roles, plan in merged.values()
    )  # fmt: skip


def with_numbers(rows: Sequence[Row]) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Columns and rows without what was measured for none of them, which the limits of the advice name."""
    kept = [i for i in range(len(COLUMNS)) if any(not row.cells[i].why for row in rows)]
    return tuple(COLUMNS[i] for i in kept), tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in rows)


def estimate_of(plan: Plan, name: str) -> Estimate | None:
    """What is known of a plan: its leakage is what an attack found where it found more than was predicted."""
    if name in ("score", "score_ssim") and name in plan.predicted:
        return plan.leakage(name)  # type: ignore[arg-type]
    return plan.predicted.get(name)


def _largest(name: str, plans: Sequence[Plan]) -> float:
    """The value whose unit a column is written in."""
    known = [found.value for plan in plans if (found := estimate_of(plan, name)) and math.isfinite(found.value)]
    return max(known, default=math.nan)


def _cells(plan: Plan, units: Mapping[str, float]) -> tuple[Cell, ...]:
    return tuple(estimate_cell(estimate_of(plan, name), name, units[name]) for name in COLUMNS)


def _named(advice: Advice) -> Iterator[tuple[str, Plan]]:
    if advice.best is not None:
        yield "this plan" if advice.feasible else "nearest", advice.best
    for plan in advice.baselines:
        yield ROLES.get(plan.kind, plan.kind), plan
    for role, plan in advice.alternatives.items():
        yield clean(role), plan
    if advice.best_split is not None:
        yield "best split", advice.best_split
    if "most private" not in advice.alternatives and (most := _most_private(advice)) is not None:
        yield "most private", most
    if not advice.feasible:
        for plan in advice.nearest:
            yield "near", plan


def _most_private(advice: Advice) -> Plan | None:
    """Of the front: advices of before alternatives were kept have no other plans."""
    known = [p for p in advice.pareto if "score" in p.predicted and math.isfinite(p.leakage("score").value)]
    return max(known, key=lambda p: p.leakage("score").value, default=None)
