"""`advisor.check`: whether an advice still holds. An advice is a file that anyone can edit: nothing in it is believed
but what its digest vouches for; all else is computed or measured again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.advice import DERIVED, Advice, lying_in
from advisor.computing.chosen_device import computing_on
from advisor.errors import AdvisorError
from advisor.gate import Checked, Gate
from advisor.planning.release.release_checks import Gated, failed_check, not_ours
from advisor.planning.release.release_subject import subject
from advisor.progress import RunListener
from advisor.request_parts import MachinePart
from advisor.requirements import REQUIREMENTS, Budgets, checked_confidence
from advisor.support.documents import digest_of, read_json
from advisor.support.memory_limit import within
from advisor.verdicts import in_words

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
        others: other keywords of `recommend`: `device`, `link`, `cloud`, `profile`, `arch`, `verify`, `task`,
            `compute`, `memory`, …; and further rows of the table.

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
        checks.append(failed_check("plan", "plan", "there is one", "none", "The advice has no plan."))
        return Gate("none", found, tuple(checks))
    checks += [not_ours(name, limit) for name, limit in answer.budgets.foreign.items() if vouched]
    ordered = {name: limits[name] for name in REQUIREMENTS if name in limits}
    gate = Gated(answer, plan, ordered, vouched, checked_confidence(confidence))
    opened = subject(
        answer, folder, model, data, others, samples=gate.wants_samples(model, data), trust=trust, progress=progress
    )
    machine = MachinePart() if opened.request is None else opened.request.machine
    with within(machine.memory) as said, computing_on(machine.compute):
        more, notes = gate.checks(opened, progress)
    return Gate(in_words(plan), found, (*checks, *more), (*opened.notes, *notes, *said))


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
    return failed_check("digest", "digest", expected[:12] + "…", found[:12] + "…", failure, "moved")
