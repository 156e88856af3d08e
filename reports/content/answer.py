"""The answer as data, in the one order in which every report shows it: verdict, cost, attacker, beliefs, the rest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from advisor.advice import Advice
from advisor.plans import Plan
from advisor.reports.content import budgets, words
from advisor.reports.content.attacker import Attacker, attacker
from advisor.reports.content.beliefs import Belief, beliefs
from advisor.reports.content.beside import Row, alternatives, with_numbers
from advisor.reports.content.next_step import next_command
from advisor.reports.content.quantities import UNKNOWN_SPREAD, quantity, show_in
from advisor.reports.content.rivals import Rival, rivals
from advisor.reports.content.tables import estimate_cell
from advisor.reports.content.text import clean
from advisor.verdicts import NAMES

COSTS = ("latency", "bytes", "edge_memory", "edge_energy", "accuracy", "accuracy_drop")
ROLES = ("edge", "link", "cloud")


@dataclass(frozen=True)
class Fact:
    """One quantity of the plan: what it is called, its value, its 90 % interval, and how it was obtained."""

    name: str
    label: str
    value: str
    interval: str
    how: str

    def __str__(self) -> str:
        spread = f" ({self.interval})" if self.interval and self.interval != UNKNOWN_SPREAD else f" {self.interval}"
        parts = f" = {self.how}" if self.name == "latency" and self.how else ""
        return f"{self.label} {self.value}{spread}".rstrip() + parts


@dataclass(frozen=True)
class Answer:
    """What people read.

    Attributes:
        verdict: one sentence.
        kind: the verdict in a few words, one of five.
        made: when, as a date; "" where it was not recorded.
        plan: what to run where, in one sentence; "" where there is no plan.
        costs: what it costs.
        budgets: each budget against the plan.
        attacker: what an attacker gets.
        beliefs: the three assumptions that matter most.
        rivals: why not the next plans.
        columns: names of the quantities of the alternatives.
        alternatives: the plan and what stands beside it.
        next: the command to type next, or "".
    """

    verdict: str
    kind: str
    made: str
    plan: str
    costs: tuple[Fact, ...]
    budgets: tuple[budgets.Verdict, ...]
    attacker: Attacker
    beliefs: tuple[Belief, ...]
    rivals: tuple[Rival, ...]
    columns: tuple[str, ...]
    alternatives: tuple[Row, ...]
    next: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in the same order."""
        plain = dataclasses.asdict(self)
        for belief in plain["beliefs"]:
            belief["slack"] = belief["slack"] if math.isfinite(belief["slack"]) else None
        return plain


def answer_of(advice: Advice) -> Answer:
    """The answer of an advice."""
    plan, (columns, rows) = advice.best, with_numbers(alternatives(advice))
    return Answer(
        verdict=clean(advice.headline),
        kind=NAMES[advice.verdict],
        made=clean(advice.provenance.get("made") or ""),
        plan="" if plan is None else words.what_runs_where(advice, plan),
        costs=() if plan is None else tuple(_costs(plan)),
        budgets=() if plan is None else budgets.verdicts(plan, advice.budgets),
        attacker=attacker(advice),
        beliefs=beliefs(advice),
        rivals=rivals(advice),
        columns=columns,
        alternatives=rows,
        next=next_command(advice),
    )


def plan_lines(advice: Advice) -> tuple[str, ...]:
    """The plan in three lines: what to run where, what it costs, what an attacker gets; none without a plan."""
    answer = answer_of(advice)
    costs = "; ".join(map(str, answer.costs))
    return () if advice.best is None else (answer.plan, f"Costs: {costs}.", f"An attacker gets: {answer.attacker.gets}")


def _costs(plan: Plan) -> Iterator[Fact]:
    for name in COSTS:
        found = plan.predicted.get(name)
        if found is None and name in ("edge_energy", "accuracy"):  # advices of before there was such a figure
            continue
        how = "" if found is None else f"{found.source}{f': {clean(found.method)}' if found.method else ''}"
        label = quantity(name).label
        if name == "accuracy_drop" and found is not None and found.value < 0:
            label = "accuracy gain"
            found = dataclasses.replace(found, value=-found.value, low=-found.high, high=-found.low)
        if name == "accuracy" and found is not None and "agreement" in found.method:
            label = "agreement with the model"  # there were no labels
        shown = estimate_cell(found, name)
        how = _parts(plan) or how if name == "latency" else how
        yield Fact(name, label, shown.text, shown.interval, how)


def _parts(plan: Plan) -> str:
    """`17.6 ms edge + 5.20 ms link + 0.889 ms cloud`, in one unit; "" where one of them was not measured."""
    whole, parts = plan.predicted.get("latency"), {role: plan.predicted.get(f"{role}_latency") for role in ROLES}
    if whole is None or not all(part is not None and math.isfinite(part.value) for part in parts.values()):
        return ""
    said = [f"{show_in(part.value, whole.value, 's')} {role}" for role, part in parts.items() if part is not None]
    return f"{' + '.join(said)}, {whole.source}"
