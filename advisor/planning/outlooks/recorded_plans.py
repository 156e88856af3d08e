"""Every plan that an advice can price again: those it records, and each cut without a defense, from its profile."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

from advisor.advice import Advice
from advisor.cuts import Cut
from advisor.defenses import NoDefense
from advisor.estimate import Estimate
from advisor.planning.outlooks.repricing import UNKNOWN
from advisor.planning.selecting.alternative_roles import ELSEWHERE
from advisor.plans import Evidence, Plan
from advisor.profilers.halves.half_latency import total
from advisor.request import Request
from advisor.requirements import REQUIREMENTS

_COSTS = (
    "edge_latency", "link_latency", "cloud_latency", "edge_memory", "edge_swap", "edge_energy", "throughput", "macs",
)  # fmt: skip
_LEAKAGE = ("score", "score_ssim")
_OF_THE_MODEL = ("accuracy", "accuracy_drop")
"""Of a plan that changes nothing: as the undefended model has them."""


def tried(plans: Sequence[Plan], shown: Sequence[Plan], request: Request, compressed: bool) -> tuple[Plan, ...]:
    """What an advice keeps of all plans that were priced: those that are not shown and cannot be made again from it.

    Args:
        plans: every split that was priced.
        shown: plans that the advice holds anyway; of what was fitted, only theirs is kept.
        request: what was asked.
        compressed: whether the link compresses what is sent.
    """
    there = {_identity(plan) for plan in shown}
    fits = {plan.fitted.digest for plan in shown if plan.fitted is not None}
    again = remakes(request, compressed)
    kept = [
        plan
        for plan in plans
        if _identity(plan) not in there
        and not (again and plan.fitted is None and plan.defense.identity and not plan.verified)
        and (plan.fitted is None or plan.fitted.digest in fits)
    ]
    unique = {_identity(plan): _terse(plan) for plan in kept}
    return tuple(sorted(unique.values(), key=lambda plan: (plan.cut.index, *plan.key)))


def _terse(plan: Plan) -> Plan:
    """Its numbers without how each was obtained, which fills half a file and is the same as in the plans shown."""
    return dataclasses.replace(
        plan, predicted={n: dataclasses.replace(e, method="") for n, e in plan.predicted.items()}
    )


def remakes(request: Request | None, compressed: bool) -> bool:
    """Whether undefended plans follow from the profile: where every cut may be taken, and its message is its bytes."""
    if request is None:
        return not compressed
    return not compressed and request.search.cuts is None and request.target.tail is None


def splits(advice: Advice, compressed: bool) -> tuple[Plan, ...]:
    """Every split of an advice that it can price again, each once."""
    here = [plan for role, plan in advice.alternatives.items() if not role.startswith(ELSEWHERE)]
    shown = [advice.best, advice.best_split, *advice.pareto, *advice.nearest, *here, *advice.next_best, *advice.tried]
    recorded = [plan for plan in shown if plan is not None and plan.kind == "split"]
    made = bare(advice) if remakes(advice.request, compressed) else ()
    found: dict[tuple[str, ...], Plan] = {}
    for plan in (*recorded, *made):
        if (known := found.get(_identity(plan))) is None or (plan.verified and not known.verified):
            found[_identity(plan)] = plan
    return tuple(_attacked(_complete(plan), advice.evidence) for plan in found.values())


def baselines(advice: Advice) -> tuple[Plan, ...]:
    """All-edge, all-cloud in every form in which inputs are sent, and the local head."""
    kept = [plan for role, plan in advice.alternatives.items() if plan.kind == "all-cloud"]
    every = [*advice.baselines, *kept]
    return tuple({(plan.kind, _sent(plan)): _complete(plan) for plan in reversed(every)}.values())[::-1]


def _complete(plan: Plan) -> Plan:
    """What the choice rests on is there; what a file does not say is not known, and meets nothing."""
    missing = {name: UNKNOWN for name in ("latency", *_LEAKAGE) if name not in plan.predicted}
    return dataclasses.replace(plan, predicted={**plan.predicted, **missing}) if missing else plan


def _sent(plan: Plan) -> float:
    sent = plan.predicted.get("bytes")
    return math.nan if sent is None else sent.value


def bare(advice: Advice) -> Iterator[Plan]:
    """Each inner cut without a defense: its columns, and the undefended model's accuracy."""
    profile = advice.profile
    whole = next((plan for plan in advice.baselines if plan.kind == "all-edge"), None)
    if whole is None or not all(name in profile for name in ("edge_latency", "link_latency", "cloud_latency")):
        return
    model = {name: whole.predicted[name] for name in _OF_THE_MODEL if name in whole.predicted}
    others = [row.measurement for row in REQUIREMENTS.values() if row.measurement in profile]
    names = [name for name in dict.fromkeys((*_COSTS, *_LEAKAGE, *others)) if name in profile]
    for cut in profile.cuts[1:-1]:
        found = {name: profile[name].at(cut) for name in names} | model | {"bytes": _message(cut)}
        found["latency"] = total([found[name] for name in ("edge_latency", "link_latency", "cloud_latency")])
        yield Plan((cut,), NoDefense(), found)


def _message(cut: Cut) -> Estimate:
    defense = NoDefense()
    return Estimate.exact(
        defense.message_bytes(cut), "B", "measured", f"as sent by {defense.name}, header included"
    )  # fmt: skip


def _identity(plan: Plan) -> tuple[str, ...]:
    return (*(cut.name for cut in plan.cuts), *plan.key)


def _attacked(plan: Plan, evidence: Iterable[Evidence]) -> Plan:
    """The plan with what attacks that were run on it since found, the worst; a fit's cuts bear no name of their own."""
    if plan.verified or plan.fitted is not None:
        return plan
    own = [e for e in evidence if plan.is_of(e) and not e.outdated]
    scored = [(item, _left(item)) for item in own]
    scored = [(item, left) for item, left in scored if left is not None]
    if not scored:
        return plan
    worst, left = min(scored, key=lambda pair: pair[1].value if pair[1] is not None else math.inf)
    assert left is not None
    names = ("mse", "ssim", "psnr")
    found: dict[str, Estimate] = {name: worst.scores[name] for name in names if name in worst.scores}
    return dataclasses.replace(plan, verified={"nmse": left, **found})


def _left(item: Evidence) -> Estimate | None:
    """The error that an attack on the input was left with, the floor where that is less; None of other attacks."""
    found = item.scores.get("nmse")
    if found is None or math.isnan(found.value):
        return None
    floor = item.floor
    return floor if floor is not None and floor.value < found.value else found
