"""The choice under any link and requirements, by the one rule of `selection`, among the plans of an advice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from advisor.planning.evaluating.leakage_limits import LeakageLimits, limits_of
from advisor.planning.outlooks.repricing import Repricer
from advisor.planning.selecting.selection import meets, verdict, waives_leakage, with_excess
from advisor.plans import Plan, Verdict
from advisor.profilers import Link
from advisor.profilers.throughput import on_wire
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets

NONE = ("none",)
"""Identity of the choice where nothing meets the requirements."""
_CAUTIOUS = 0.9


@dataclass(frozen=True)
class Chosen:
    """What is chosen somewhere.

    Attributes:
        key: what tells it from other choices; `NONE` where nothing meets the requirements.
        verdict: as `Advice.verdict`.
        plan: as it is priced there; None for `NONE`.
        private: False where it is merely the most private inside the budgets.
        value: its objective; NaN for `NONE`.
    """

    key: tuple[str, ...]
    verdict: Verdict
    plan: Plan | None
    private: bool
    value: float


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses among plans.

    Attributes:
        splits, baselines: as the link of `repricer` prices them.
        repricer: prices them over another.
        zone: thresholds that count where no leakage is limited, by requirement.
        best_in: the objective.
        confidence, require_split: as the request has them.
    """

    splits: tuple[Plan, ...]
    baselines: tuple[Plan, ...]
    repricer: Repricer
    zone: Mapping[str, float]
    best_in: Requirement
    confidence: float | None = None
    require_split: bool = False
    _priced: dict[Link, tuple[list[Plan], list[Plan]]] = field(default_factory=dict, repr=False)

    def limits(self, budgets: Budgets) -> LeakageLimits:
        """What a plan may leak under these requirements."""
        return limits_of(budgets, self.zone, self.best_in, self.confidence)

    def over(self, link: Link) -> tuple[list[Plan], list[Plan]]:
        """Splits and baselines as a link prices them."""
        if link not in self._priced:
            splits, whole = ([self.repricer.over(p, link) for p in plans] for plans in (self.splits, self.baselines))
            self._priced[link] = splits, whole
        return self._priced[link]

    def at(self, link: Link, budgets: Budgets) -> Chosen:
        """The choice over a link and under requirements."""
        limits = self.limits(budgets)
        splits, whole = ([with_excess(p, budgets, limits) for p in plans] for plans in self.over(link))
        found = verdict(splits, whole, limits, budgets, self.require_split)
        if found.verdict == "none" or found.best is None:
            return Chosen(NONE, "none", None, False, math.nan)
        private = meets(found.best, limits)
        key = (*identity(found.best), "" if private else "most private")
        return Chosen(key, found.verdict, found.best, private, self.objective(found.best))

    def objective(self, plan: Plan) -> float:
        """The objective of a plan; NaN where it was not measured."""
        found = plan.found(self.best_in)
        return math.nan if found is None else found.value

    def allowed(self, link: Link, budgets: Budgets) -> dict[tuple[str, ...], float]:
        """Identity -> objective of every plan that may be run there: what meets everything, and what is chosen."""
        limits = self.limits(budgets)
        splits, whole = self.over(link)
        whole = [] if self.require_split else [p for p in whole if p.kind != "all-cloud" or waives_leakage(budgets)]
        judged = [with_excess(plan, budgets, limits) for plan in (*splits, *whole)]
        found = {identity(plan): self.objective(plan) for plan in judged if meets(plan, limits)}
        best = self.at(link, budgets).plan
        return found if best is None else {identity(best): self.objective(best), **found}

    def only(self, keys: Sequence[tuple[str, ...]]) -> Chooser:
        """The same among these plans."""
        kept = ([plan for plan in plans if identity(plan) in keys] for plans in (self.splits, self.baselines))
        splits, whole = kept
        return replace(self, splits=tuple(splits), baselines=tuple(whole), _priced={})

    def pruned(self, links: Sequence[Link]) -> Chooser:
        """The same without splits that another beats, or equals, in all that can be asked, over all of these links.

        Each cost is a straight line in 1 / bandwidth: who is behind at both ends is so between them. A user's own
        objective may weigh anything, so that nothing is left out then.
        """
        if self.best_in.function is not None or len(self.splits) < 3:
            return self
        table = np.array([self._weighed(i, links) for i in range(len(self.splits))])
        kept = [i for i, row in enumerate(table) if not _beaten(i, row, table)]
        return replace(self, splits=tuple(self.splits[i] for i in kept), _priced={})

    def _weighed(self, index: int, links: Sequence[Link]) -> list[float]:
        """All that can be asked of a split: less is better, what was not measured is worst."""
        found: list[float] = [self.splits[index].short_fit]
        for link in links:
            plan = self.over(link)[0][index]
            for row in REQUIREMENTS.values():
                estimate, sign = plan.found(row), 1.0 if row.minimised else -1.0
                ends = [] if estimate is None else [
                    estimate.value, row.unfavourable(estimate), row.judged(estimate, self.confidence),
                ]  # fmt: skip
                found += [math.inf if math.isnan(end) else sign * end for end in ends or [math.nan] * 3]
            sent, parts = plan.predicted.get("bytes"), ("edge_latency", "cloud_latency")
            occupied = math.nan if sent is None else on_wire(link, sent.value, self.repricer.answer).value
            times = [occupied, *(plan.predicted[p].value if p in plan.predicted else math.nan for p in parts)]
            found += [math.inf if math.isnan(time) else time for time in times]
        return found


def _beaten(index: int, row: np.ndarray, table: np.ndarray) -> bool:
    as_good = (table <= row).all(axis=1)
    better = as_good & ((table < row).any(axis=1) | (np.arange(len(table)) < index))
    return bool(better.any())


def identity(plan: Plan) -> tuple[str, ...]:
    """What tells a plan from every other: an input may be sent in several forms."""
    sent = plan.predicted.get("bytes")
    form = f"{sent.value:.9g}" if plan.kind == "all-cloud" and sent is not None else ""
    return (plan.kind, *(cut.name for cut in plan.cuts), *plan.key, form)
