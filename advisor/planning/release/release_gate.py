"""`advisor.check`: whether an advice still holds. An advice is a file that anyone can edit: nothing in it is believed
but what its digest vouches for; all else is computed or measured again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.documents import digest_of, read_json
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.gate import Checked, Gate
from advisor.planning.preparing.reuse import fingerprints
from advisor.planning.release.release_measuring import ACCURACY, Found, measured_again, same_architecture
from advisor.planning.release.release_subject import Subject, subject
from advisor.plans import DERIVED, Advice, Plan, lying_in
from advisor.progress import RunListener
from advisor.requirements import REQUIREMENTS, Budgets, Requirement, checked_confidence

VOUCHED = "recorded; the digest vouches for it"
_HEX = re.compile(r"(sha256:)?([0-9a-f]{64})")


def check(
    advice: Advice | str | Path,
    model: Any = None,
    data: Any = None,
    *,
    max_latency: float | str | None = None,
    max_accuracy_drop: float | str | None = None,
    max_ssim: float | str | None = None,
    min_nmse: float | str | None = None,
    max_edge_memory: float | str | None = None,
    requirements: Mapping[str, float | str] | None = None,
    confidence: float | None = None,
    digest: str | None = None,
    trust: Any = False,
    progress: RunListener | None = None,
    **others: Any,
) -> Gate:
    """Hold the plan of an advice against requirements, for a release.

    Costs, bounds and the accuracy are computed again, and the attack is run again, from the model and data given here;
    where none are given, from those that the advice records, if they are plain files with the recorded SHA-256. What
    is recorded counts by itself only where `digest` is the advice's, and only for the same model and data; costs that
    were measured on a device then count for any weights of the same architecture.

    Args:
        advice: an advice, its file, or the folder that holds it.
        model: the model to be released, as `recommend` takes it; None: the recorded one.
        data: its samples, as `recommend` takes them; None: the recorded ones.
        max_latency: seconds; like each requirement also as text, "50ms".
        max_accuracy_drop: absolute; 0.02 is two percentage points.
        max_ssim: highest structural similarity that an inversion attack may reach, 0 to 1.
        min_nmse: lowest normalised error that it must be left with, 0 to 1.
        max_edge_memory: bytes.
        requirements: the same by name; every row of the table.
        confidence: of the interval whose unfavourable end must keep every limit, between 0 and 1; None: leakage by its
            90 % interval, costs and accuracy by their value, or as the advice was asked where the digest vouches.
        digest: SHA-256 of the advice as `recommend` and `report` print it, kept where nobody can edit it. With it the
            advice's own budgets count too.
        trust: run code from the model file.
        progress: called with stage, share and what is being worked on.
        others: other keywords of `recommend`: `device`, `link`, `cloud`, `profile`, `arch`, `verify`, `task`, …; and
            further rows of the table.

    Raises:
        AdvisorError: when a given file cannot be used, or nothing is asked.
    """
    answer, found, folder = _opened(advice)
    vouched = digest is not None and _plain(digest) == found
    rows = {
        "max_latency": max_latency, "max_accuracy_drop": max_accuracy_drop, "max_ssim": max_ssim, "min_nmse": min_nmse,
        "max_edge_memory": max_edge_memory, **(requirements or {}),
        **{name: others.pop(name) for name in list(others) if name in REQUIREMENTS},
    }  # fmt: skip
    asked = Budgets(**rows)
    if confidence is None and vouched and answer.request is not None:
        confidence = answer.request.search.confidence
    limits = {**(answer.budgets.limits if vouched else {}), **asked.limits}
    if not limits and digest is None:
        raise AdvisorError(
            "Nothing is asked of this advice.",
            "State a requirement, such as --max-latency 50ms; with --digest its own budgets count.",
        )
    checks = [] if digest is None else [_digest_check(_plain(digest), found)]
    plan = answer.best
    if plan is None:
        checks.append(_failed("plan", "plan", "there is one", "none", "The advice has no plan."))
        return Gate("none", found, tuple(checks))
    checks += [_not_ours(name, limit) for name, limit in answer.budgets.foreign.items() if vouched]
    ordered = {name: limits[name] for name in REQUIREMENTS if name in limits}
    gate = _Gated(answer, plan, ordered, vouched, checked_confidence(confidence))
    opened = subject(
        answer, folder, model, data, others, samples=gate.wants_samples(model, data), trust=trust, progress=progress
    )
    more, notes = gate.checks(opened, progress)
    return Gate(str(plan), found, (*checks, *more), (*opened.notes, *notes))


@dataclass(frozen=True, eq=False)
class _Gated:
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
            model = _failed("model", "model", "the architecture of the advice", other, failure, "moved")
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
        return _failed("model", "model", "that of the advice", "not opened", failure, "not measured")

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
            moved.append(_failed(name, row.label, row.show(then.value), row.show(now.value), failure, "moved"))
        return moved


def _row_check(
    row: Requirement, limit: float, found: Estimate | None, how: str, why: str, confidence: float | None
) -> Checked:
    over, asked = row.missed_by(found, limit, confidence), row.asks(limit)
    if found is None or math.isnan(over):
        reason = why or (found.method if found is not None else "") or "it is not recorded"
        failure = f"{row.option}: the {row.label} could not be measured ({reason.rstrip('.')})."
        return _failed(row.name, row.label, asked, "not measured", failure, "not measured")
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
    return _failed(row.name, row.label, row.asks(limit), "not measured", failure, "not measured")


def _not_ours(name: str, limit: float) -> Checked:
    """A requirement of the advice whose code nobody named."""
    failure = f"{name} could not be checked: it is code of somebody's own, which is not taken from a file."
    return _failed(name, name, f"{limit:g}", "not measured", failure, "not measured")


def _failed(name: str, label: str, asked: str, found: str, failure: str, status: Any = "missed") -> Checked:
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


def _opened(advice: Advice | str | Path) -> tuple[Advice, str, Path]:
    """The advice, its digest, and where it lies."""
    if isinstance(advice, Advice):
        return advice, advice.digest, Path()
    path = Path(advice)
    file = path / "advice.json" if path.is_dir() else path
    payload = read_json(file)
    found = lying_in(file.parent, payload)
    return found, digest_of({key: value for key, value in payload.items() if key not in DERIVED}), file.parent


def _plain(digest: str) -> str:
    if (found := _HEX.fullmatch(digest.strip().lower())) is None:
        raise AdvisorError(
            f"{digest[:80]!r} is no SHA-256 digest.", "It has 64 digits; `advisor report ADVICE` prints the advice's."
        )
    return found[2]


def _digest_check(expected: str, found: str) -> Checked:
    if expected == found:
        return Checked("digest", "digest", expected[:12] + "…", "the same", "SHA-256 of the advice")
    failure = f"The advice is another one: its digest is {found}, not {expected}."
    return _failed("digest", "digest", expected[:12] + "…", found[:12] + "…", failure, "moved")
