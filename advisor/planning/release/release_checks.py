"""What a release gate checks of a plan, one line each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.gate import Checked
from advisor.planning.preparing.reuse import fingerprints
from advisor.planning.release.found_again import ACCURACY, Found
from advisor.planning.release.release_measuring import measured_again, same_architecture
from advisor.planning.release.release_subject import Subject
from advisor.plans import Plan
from advisor.progress import RunListener
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS

VOUCHED = "recorded; the digest vouches for it"


@dataclass(frozen=True, eq=False)
class Gated:
    """A plan and what it is held against.

    Attributes:
        advice, plan: what is checked.
        limits: by requirement.
        vouched: whether what is recorded counts.
        confidence: of the interval that is held against them; None: as each row says.
    """

    advice: Advice
    plan: Plan
    limits: Mapping[str, float]
    vouched: bool
    confidence: float | None = None

    def wants_samples(self, model: Any, data: Any) -> bool:
        """Whether something may have to be measured on samples."""
        needed = any(REQUIREMENTS[name].leakage or _is_accuracy(REQUIREMENTS[name]) for name in self.limits)
        return data is not None or (needed and (model is not None or not self.vouched))

    def checks(self, opened: Subject, progress: RunListener | None) -> tuple[tuple[Checked, ...], tuple[str, ...]]:
        """Every check of model, data, requirements and evidence; and what should be said beside them."""
        if opened.traced is None:
            return (self._without_model(opened.why_no_model), *self._judged(Found())), ()
        graph = opened.traced.graph
        if other := same_architecture(self.advice, self.plan, graph):
            failure = f"The model is not that of the advice: {other}."
            model = failed_check("model", "model", "the architecture of the advice", other, failure, "moved")
            return (model, *(_unknown(REQUIREMENTS[name], limit) for name, limit in self.limits.items())), ()
        weights = graph.digest == self.advice.profile.cuts[0].graph
        told = "the same" if weights else "the same architecture, other weights"
        checks = [Checked("model", "model", "the architecture of the advice", told, "compared by its digest")]
        prepared = opened.prepared(progress)
        samples = prepared is None or fingerprints(self.advice) == prepared.roles.fingerprints
        if prepared is not None:
            checks.append(
                Checked("data", "data", "that the model takes them", "the same" if samples else "others", "compared")
            )
        known = self.vouched and weights and samples
        found = measured_again(
            self.plan, opened, prepared, rows=[REQUIREMENTS[name] for name in self.limits], samples_needed=not known,
            columns={column.name for column in self.advice.profile}, progress=progress,
        )  # fmt: skip
        return (*checks, *self._judged(found, known), *self._moved(found, weights and samples)), found.notes

    def _without_model(self, why: str) -> Checked:
        if self.vouched:
            return Checked("model", "model", "that of the advice", f"not opened: {why}", VOUCHED)
        failure = f"The model could not be checked: {why} Pass --model, or --digest."
        return failed_check("model", "model", "that of the advice", "not opened", failure, "not measured")

    def _judged(self, found: Found, known: bool = True) -> list[Checked]:
        """Each requirement, held against what was found again, else against what the digest vouches for."""
        checks = []
        for name, limit in self.limits.items():
            row = REQUIREMENTS[name]
            estimate, how = found.of(row), found.how(row)
            measured = estimate is not None and not math.isnan(estimate.value)
            stands = self.vouched and (known if row.leakage or _is_accuracy(row) or row.function else True)
            if not measured and stands:
                estimate, how = Found(self.plan).of(row), VOUCHED
            checks.append(_row_check(row, limit, estimate, how, found.why(row), self.confidence))
        return checks

    def _moved(self, found: Found, same: bool) -> list[Checked]:
        """What is worse than the advice says, by more than both intervals, though nothing changed."""
        if found.plan is None:
            return []
        moved = []
        for row in REQUIREMENTS.values():
            of_samples = row.leakage or _is_accuracy(row) or row.function is not None
            now, then = found.of(row), Found(self.plan).of(row)
            if (of_samples and not same) or now is None or then is None or not _worse(row, now, then):
                continue
            said = f"the advice says {row.show(then.value)}, now it is {row.show(now.value)}"
            failure = f"{row.label} moved: {said} ({found.how(row)})."
            name = "evidence" if row.leakage else row.name
            moved.append(failed_check(name, row.label, row.show(then.value), row.show(now.value), failure, "moved"))
        return moved


def _row_check(
    row: Requirement, limit: float, found: Estimate | None, how: str, why: str, confidence: float | None
) -> Checked:
    over, asked = row.missed_by(found, limit, confidence), row.asks(limit)
    if found is None or math.isnan(over):
        reason = why or (found.method if found is not None else "") or "it is not recorded"
        failure = f"{row.option}: the {row.label} could not be measured ({reason.rstrip('.')})."
        return failed_check(row.name, row.label, asked, "not measured", failure, "not measured")
    judged = row.judged(found, confidence)
    shown = row.show(judged)
    if judged != found.value:
        shown += f" at the bad end of its {100 * (confidence or 0.9):g} % interval ({row.show(found.value)} by itself)"
    if over == 0:
        return Checked(row.name, row.label, asked, shown, how, estimate=found)
    failure = f"{row.option}: the {row.label} is {shown}, {asked} is asked ({how})."
    return Checked(row.name, row.label, asked, shown, how, "missed", failure, found)


def _unknown(row: Requirement, limit: float) -> Checked:
    """A requirement of a model that is another."""
    failure = f"{row.option}: the {row.label} could not be measured (another model)."
    return failed_check(row.name, row.label, row.asks(limit), "not measured", failure, "not measured")


def not_ours(name: str, limit: float) -> Checked:
    """A requirement of the advice whose code nobody named."""
    failure = f"{name} could not be checked: it is code of somebody's own, which is not taken from a file."
    return failed_check(name, name, f"{limit:g}", "not measured", failure, "not measured")


def failed_check(name: str, label: str, asked: str, found: str, failure: str, status: Any = "missed") -> Checked:
    """A check that does not hold, and the sentence that says why."""
    return Checked(name, label, asked, found, "", status, failure)


def _worse(row: Requirement, now: Estimate, then: Estimate) -> bool:
    """Whether the best end of what was found now is worse than the worst end of what was said then."""
    best = now.low if row.minimised else now.high
    worst = row.unfavourable(then)
    best, worst = (now.value if math.isnan(best) else best), (then.value if math.isnan(worst) else worst)
    if math.isnan(best) or math.isnan(worst) or math.isclose(best, worst, rel_tol=1e-6, abs_tol=1e-12):
        return False
    return row.worse(best, worst)


def _is_accuracy(row: Requirement) -> bool:
    return row.measurement in ACCURACY
