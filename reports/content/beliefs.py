"""What must be believed: the assumptions nearest to changing the verdict, each with what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.reports.content import words
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS

SHOWN = 3
USUAL_SPREAD = 0.3
"""Relative half-width that stands for a spread that is not known."""


@dataclass(frozen=True)
class Belief:
    """One assumption.

    Attributes:
        assumption: what is taken to be so.
        changes: what would change the verdict.
        slack: how far off that is, in half-widths of the 90 % interval: below 1 it lies inside.
    """

    assumption: str
    changes: str
    slack: float


def beliefs(advice: Advice) -> tuple[Belief, ...]:
    """The three assumptions that are nearest to changing the verdict, the nearest first."""
    if advice.best is None:
        return ()
    found = [*_samples(advice), *_speed(advice), *_leakage(advice), *_limits(advice), *_trust(advice)]
    return tuple(sorted(found, key=lambda belief: belief.slack)[:SHOWN])


def _samples(advice: Advice) -> Iterator[Belief]:
    model, data = words.section(advice, "model"), words.section(advice, "data")
    described = clean(data.get("description") or "the samples that were given")
    if model.get("weights") == "random":
        yield Belief("The weights are random.", "Trained weights leak and answer otherwise: ask again with them.", 0.0)
    if "synthetic" in described or "made" in described:
        yield Belief(
            f"Inputs are like {described}.", "Your own inputs may leak more or less: give them as --data.", 0.1
        )
    else:
        yield Belief(f"Inputs are like {described}.", "Inputs unlike these may leak more: measure with them.", 2.0)


def _speed(advice: Advice) -> Iterator[Belief]:
    """How much slower or faster than said the device and the link would have to be."""
    plan, rival = advice.best, _rival(advice)
    assert plan is not None
    for part, what in (("edge_latency", "device"), ("link_latency", "link")):
        own, whole = plan.predicted.get(part), plan.predicted.get("latency")
        if own is None or whole is None or not own.value > 0 or not math.isfinite(whole.value):
            continue
        flips = [*_over_budget(advice, own.value, whole.value), *_overtaken(rival, part, own.value, whole.value)]
        if not flips:
            continue
        factor, then = min(flips, key=lambda flip: abs(math.log(flip[0])))
        machine = words.machine(advice, "device" if what == "device" else "link")
        by = f"{_times(max(factor, 1 / factor))} {'slower' if factor > 1 else 'faster'}"
        said = f"The {what} {machine} takes {show_estimate(own, part)}, {own.source}."
        yield Belief(said, f"If it were {by}, {then}.", abs(math.log(factor)) / _log_spread(own, factor > 1))


def _times(ratio: float) -> str:
    """A ratio above 1 in words: a few per cent are no "1 times"."""
    if ratio < 1.095:
        return f"{100 * (ratio - 1):.1g} %"
    return f"{ratio:.2g} times" if ratio < 100 else f"{float(f'{ratio:.1g}'):.0f} times"


def _over_budget(advice: Advice, own: float, whole: float) -> Iterator[tuple[float, str]]:
    limit = advice.budgets.max_latency
    if limit is not None:
        factor = (limit - (whole - own)) / own
        if factor > 0 and factor != 1:
            yield factor, "the latency budget would be missed" if factor > 1 else "the latency budget would be met"


def _overtaken(rival: Plan | None, part: str, own: float, whole: float) -> Iterator[tuple[float, str]]:
    """At what factor of one part of the latency the rival takes as long."""
    if rival is None or not all(name in rival.predicted for name in (part, "latency")):
        return
    other, rest = rival.predicted[part].value, rival.predicted["latency"].value - rival.predicted[part].value
    if math.isfinite(other + rest) and own != other:
        factor = (rest - (whole - own)) / (own - other)
        if factor > 0 and factor != 1:
            yield factor, f"{words.plan_name(rival)} would be as fast"


def _rival(advice: Advice) -> Plan | None:
    """The plan that would be chosen next: the one whose time counts, as a faster one that leaks would not be."""
    fit = [plan for plan in advice.next_best if plan.feasible and "latency" in plan.predicted]
    return next((plan for plan in fit if math.isfinite(plan.predicted["latency"].value)), None)


def _leakage(advice: Advice) -> Iterator[Belief]:
    plan = advice.best
    assert plan is not None
    if plan.kind != "split":
        return
    found = plan.leakage("score") if "score" in plan.predicted else None
    if found is None or math.isnan(found.value):
        return
    run = "attack that was run" if found is not plan.predicted["score"] else ""
    best, limit = run or "strong inversion attack is predicted to", advice.budgets.min_nmse
    if limit is None:
        what, slack = "An attack that does clearly better than these numbers changes it", 1.0
    else:
        what = f"An attack that leaves an NMSE below {REQUIREMENTS['min_nmse'].show(limit)} changes it"
        slack = _slack(found, limit, REQUIREMENTS["min_nmse"])
    yield Belief(
        f"No attacker does better than the {best}, left with NMSE {show_estimate(found, 'score')}.",
        f"{what}: one with more inputs like yours, or a better prior.",
        slack,
    )
    if plan.defense.random:
        yield Belief(
            "Each input is sent once.", "m transmissions of one input divide the variance of the noise by m.", 1.5
        )


def _limits(advice: Advice) -> Iterator[Belief]:
    """Every other budget, by how near the plan is to it."""
    plan = advice.best
    assert plan is not None
    for row, limit in advice.budgets:
        found = plan.found(row)
        if row.leakage or row.measurement == "latency" or found is None or math.isnan(found.value):
            continue
        if found.low == found.high:
            continue
        said = f"The {row.label} is {show_estimate(found, row.measurement)}, {found.source}."
        edge = f"{'Above' if row.minimised else 'Below'} {row.show(limit)} the budget is missed."
        yield Belief(said, edge, _slack(found, limit, row))


def _trust(advice: Advice) -> Iterator[Belief]:
    plan = advice.best
    assert plan is not None
    said: dict[str, tuple[str, str]] = {
        "all-edge": (
            "The device is in good hands: who has it has the inputs.",
            "If its owner may not see the inputs, no plan of these helps.",
        ),
        "local-head": (
            "The device is in good hands: who has it has the inputs.",
            "If its owner may not see the inputs, no plan of these helps.",
        ),
        "all-cloud": ("The cloud may see every input.", "Any leakage budget rules this plan out."),
        "split": (
            "The cloud runs what it is given and is curious; the device is honest.",
            "A cloud that may also see the labels, or change the edge's part, learns more.",
        ),
    }
    yield Belief(*said[plan.kind], 1.2 if plan.kind == "all-cloud" else 1.8)


def _slack(found: Estimate, limit: float, row: Requirement) -> float:
    end = row.unfavourable(found)
    half = abs(end - found.value) if math.isfinite(end) else USUAL_SPREAD * abs(found.value)
    return abs(limit - found.value) / half if half > 0 else math.inf


def _log_spread(found: Estimate, upwards: bool) -> float:
    """The half-width of the interval as the logarithm of a factor."""
    end = found.high if upwards else found.low
    if not (math.isfinite(end) and end > 0) or end == found.value:
        return USUAL_SPREAD
    return max(abs(math.log(end / found.value)), 1e-3)
