"""The answer: headline, reasons, what was not measured, provenance."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from torch import Tensor

from advisor.advice import Advice, Gallery, NoiseLevels
from advisor.columns import Profile
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.estimators.study.score import said_unknown
from advisor.loading import LoadedModel
from advisor.measures.thumbnails import thumbnail_scale
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.evaluating.sent_inputs import as_bytes, sent_inputs
from advisor.planning.outlooks.recorded_plans import tried
from advisor.planning.preparing.reuse import host
from advisor.planning.searching.growing_samples import in_whole, shown_plans
from advisor.planning.selecting.alternatives import alternatives
from advisor.planning.selecting.final_accuracy import with_final_accuracy
from advisor.planning.selecting.plan_reasons import reasons, unhidden, unsplit
from advisor.planning.selecting.selection import Choice, next_best, pareto, verdict, waives_leakage, with_excess
from advisor.planning.stages import Verified
from advisor.planning.verifying.pictures import gallery
from advisor.plans import Plan
from advisor.profilers import payload_within
from advisor.request import Request
from advisor.requirements import Budgets
from advisor.units import show_duration, show_size
from advisor.verdicts import verdict_sentence

SHOWN_CUTS = 6
"""Most cuts that a sentence names."""
YARDSTICK_SAMPLES = 256
"""On which thumbnails are measured, at most."""

NO_PICTURES = "Pictures of private inputs are kept only when asked for: --pictures, or pictures=True."
RANDOM_WEIGHTS = "The weights are random: leakage and accuracy mean nothing here, only cost does."


def assemble(request: Request, verified: Verified, provenance: dict[str, Any]) -> Advice:
    """Everything that the stages found, as one Advice.

    Args:
        request: what was wanted.
        verified: the last stage, which holds all before it.
        provenance: of `provenance_of`.
    """
    budgets, measured, limits, plans = request.requirements, verified.measured, verified.searched.limits, verified.plans
    evaluator, found = measured.evaluator, measured.evaluator.study
    whole = [*evaluator.baselines(), *sent_inputs(evaluator), *verified.searched.heads]
    whole = [with_excess(plan, budgets, limits) for plan in whole]
    if not verified.interrupted:
        plans = in_whole(
            plans,
            lambda every: shown_plans(every, whole, found.zone.cuts, budgets, limits, request.search.require_split),
            evaluator, lambda plan: with_excess(plan, budgets, limits), measured.time.until("verify"),
        )  # fmt: skip
    chosen = verdict(plans, whole, limits, budgets, request.search.require_split)
    chosen, every, final = with_final_accuracy(chosen, (*plans, *whole), evaluator)
    plans, whole = every[: len(plans)], [*every[len(plans) :]]
    baselines, sent = (tuple(plan for plan in whole if bool(plan.sends) is form) for form in (False, True))
    feasible = [plan for plan in plans if plan.feasible]
    met, pictures = chosen.verdict != "none", request.output.pictures
    beside = alternatives(evaluator, plans, sent, chosen, limits, budgets)
    front = pareto(feasible or plans)
    rivals = [p for p in whole if p.kind != "all-cloud" or waives_leakage(budgets)]
    rivals = [] if request.search.require_split else rivals
    following = next_best(chosen.best, (*rivals, *plans), budgets, limits)
    found_plans = (chosen.best, chosen.best_split, *front, *chosen.nearest, *beside.values(), *following)
    shown = [plan for plan in found_plans if plan is not None]
    return Advice(
        headline=_headline(chosen, limits, measured.prepared.inputs.loaded, provenance),
        best=chosen.best,
        feasible=met,
        reasons=(
            *reasons(chosen.best, plans, limits),
            *unsplit(chosen.best, whole, limits, request.search.require_split),
            *unhidden(chosen.best, whole, limits, budgets, request.search.require_split),
            *([] if met else payload_that_fits(evaluator, budgets)),
            *final,
        ),
        zone=found.zone.cuts,
        pareto=front,
        nearest=chosen.nearest,
        baselines=baselines,
        profile=evaluator.profile,
        budgets=budgets,
        unmeasured=(*_too_few_samples(found), *_unmeasured(evaluator.profile), *dict.fromkeys(verified.unverified)),
        assumptions=verified.all_notes,
        gallery=measured.gallery or (gallery(found, "quick") if pictures else Gallery(note=NO_PICTURES)),
        noise=_noise(found),
        evidence=tuple(item for plan in _chosen_first(chosen.best_split, plans) for item in plan.evidence),
        provenance=provenance | {"zone": _zone(found)} | yardstick(evaluator.inputs) | _learnt(verified),
        request=request,
        verdict=chosen.verdict,
        best_split=chosen.best_split,
        alternatives=beside,
        next_best=following,
        tried=tried(plans, shown, request, bool(evaluator.link.compression)),
    )


def _learnt(verified: Verified) -> dict[str, Any]:
    return {"attacker_samples": dict(verified.learning)} if verified.learning else {}


def payload_that_fits(evaluator: PlanEvaluator, budgets: Budgets) -> list[str]:
    """Where no plan keeps the latency budget: what would have to cross instead, at the cut that leaves most room."""
    if budgets.max_latency is None:
        return []
    costs, cuts, answer = evaluator.profile, evaluator.graph.cuts[1:-1], float(evaluator.graph.cuts[-1].message_bytes)
    computed = [(costs["edge_latency"].at(cut).value + costs["cloud_latency"].at(cut).value, cut) for cut in cuts]
    computed = [(seconds, cut) for seconds, cut in computed if not math.isnan(seconds)]
    if not computed:
        return []
    rooms = [
        (payload_within(evaluator.link, budgets.max_latency - seconds, answer, evaluator.device.copy_rate), cut)
        for seconds, cut in computed
    ]
    most, cut = max(rooms, key=lambda pair: pair[0] / pair[1].message_bytes)
    if most >= 1:
        return [
            f"Within {show_duration(budgets.max_latency)} over {evaluator.link} {show_size(most)} could cross at "
            f"{cut.name}, where {show_size(cut.message_bytes)} do without a defense."
        ]
    least = min(seconds for seconds, _ in computed) + evaluator.link.rtt
    return [
        f"No payload keeps {show_duration(budgets.max_latency)}: both halves and the round trip alone take "
        f"{show_duration(least)} at best."
    ]


def _noise(found: LeakageStudy) -> dict[str, NoiseLevels]:
    return {
        name: NoiseLevels(tuple(curve.sigma.tolist()), tuple(curve.nmse.tolist()), curve.bare)
        for name, curve in found.curves.items()
    }


def _headline(chosen: Choice, limits: LeakageLimits, loaded: LoadedModel, provenance: dict[str, Any]) -> str:
    """The verdict, after what takes its meaning away."""
    parts = [RANDOM_WEIGHTS] if loaded.weights == "random" else []
    if provenance.get("interrupted"):
        parts.append(f"Interrupted during {provenance['interrupted']}: this is the best so far.")
    parts.append(verdict_sentence(chosen.verdict, chosen.best))
    if chosen.verdict == "split" and chosen.best is not None and limits.shortfall(chosen.best):
        parts.append(
            "What it leaks could not be held against the zone's thresholds."
            if math.isnan(chosen.best.predicted["score"].value)
            else "It is the most private inside the budgets, and by the zone's thresholds not private."
        )
    return " ".join(parts)


def _chosen_first(best: Plan | None, plans: Sequence[Plan]) -> list[Plan]:
    """The plans, the best split before the others."""
    return sorted(plans, key=lambda plan: best is None or plan.key != best.key)


def _too_few_samples(found: LeakageStudy) -> tuple[str, ...]:
    """That there are too few samples to tell what a strong attack finds, and how many would do; empty where not."""
    said = said_unknown(found.profile, len(found.targets.train))
    return (f"{said} Pass more of the attacker's samples with --aux.",) if said else ()


def _unmeasured(profile: Profile) -> tuple[str, ...]:
    """What could not be measured, and why, one sentence for all columns of the same cuts and reason."""
    missing: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for column in profile:
        if column.name in ("rc2_drop",):  # defined between cuts that close a block only
            continue
        groups: dict[str, list[str]] = {}
        for cut, value, why in zip(profile.cuts, column.values, column.why, strict=True):
            if np.isnan(value):
                groups.setdefault(why, []).append(cut.name)
        for why, cuts in groups.items():
            missing.setdefault((tuple(cuts), why), []).append(column.name)
    said = []
    for (where, why), names in missing.items():
        cuts = list(where[:SHOWN_CUTS]) + (["…"] if len(where) > SHOWN_CUTS else [])
        at = "any cut" if len(where) == len(profile.cuts) else ", ".join(cuts)
        said.append(f"{', '.join(names)} at {at}: {why}")
    missed = profile.provenance.get("cost", {}).get("macs_not_counted") or {}
    if missed:
        said.append("MACs do not count these operators: " + ", ".join(sorted(missed)))
    return tuple(said)


def yardstick(inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """What thumbnails of the samples leave, to compare an attacker's NMSE with; empty where they are no images."""
    few = tuple(t[:YARDSTICK_SAMPLES] for t in inputs)
    images = as_bytes(few)
    if images is None:
        return {}
    scale = {str(side): nmse for side, nmse in thumbnail_scale(few[0].float()).items() if not math.isnan(nmse)}
    return {"yardstick": {"thumbnail_nmse": scale, "samples": len(images)}} if scale else {}


def _zone(found: LeakageStudy) -> dict[str, Any]:
    zone = found.zone
    return {
        "edge": zone.edge,
        "edge_low": zone.edge_low,
        "edge_high": zone.edge_high,
        "published": list(zone.published),
        "sentences": list(zone.sentences),
        "mean_image_ssim": None if math.isnan(found.baseline_ssim) else found.baseline_ssim,
    }


def provenance_of(request: Request, verified: Verified, command: str) -> dict[str, Any]:
    """What the answer was made from: versions, seed, model, data, machines, wall time of each step (s),
    as it was told and as it was."""
    prepared, evaluator = verified.measured.prepared, verified.measured.evaluator
    loaded, graph, source = prepared.inputs.loaded, prepared.graph, prepared.source
    labels = "true labels" if source.labelled else "none; the model's own predictions"
    return {
        **evaluator.profile.provenance,
        "command": command,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": _versions(),
        "seed": request.search.seed,
        "model": {
            "path": None if loaded.path is None else str(loaded.path),
            "sha256": loaded.sha256,
            "name": loaded.name,
            "kind": loaded.kind,
            "weights": loaded.weights,
            "inputs": [list(spec.shape) for spec in graph.inputs.tensors],
            "cuts": len(graph.cuts),
        },
        "data": {
            "description": source.description, "samples": source.count, "labels": labels,
            "fingerprint": source.fingerprint, "sha256": source.sha256["data"],
        },
        "train_data": {"sha256": source.sha256["train_data"]},
        "aux": {"sha256": source.sha256["aux"]},
        "roles": prepared.roles.to_json(),
        "host": host(),
        "told": {name: round(seconds, 1) for name, seconds in verified.measured.time.told.items()},
        **({"left_out": left} if (left := verified.measured.time.to_json()) else {}),
        "stages": {name: round(seconds, 3) for name, seconds in verified.all_seconds.items()},
    }  # fmt: skip


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("partition-advisor", "torch", "torchvision", "numpy", "optuna")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
