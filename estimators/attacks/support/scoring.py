"""What an attack got back against what was private: of one attack, and of several of which the worst counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.support.data_split import DataSplit
from advisor.estimators.attacks.support.floors import none
from advisor.estimators.attacks.support.metrics import AttackResult, score_ids, score_inputs, score_labels
from advisor.estimators.attacks.support.yardsticks import said, yardsticks
from advisor.estimators.study.study_samples import AS_GIVEN, pixels_of


def scored(threat: ThreatModel, found: Recovered, given: DataSplit, context: AttackContext) -> AttackResult:
    """Score one attack.

    Args:
        threat: of the attack.
        found: what it got back.
        given: the private samples and their labels.
        context: what it was given.

    Raises:
        NotMeasurableError: when what it got back is not finite, or there was nothing to find.
    """
    secret: Literal["input", "label", "ids"] = threat.recovers
    if secret == "label":
        assert given.labels is not None
        result = score_labels(found, given.labels)
        own = context.auxiliary
        if own is None or own.labels is None:
            return result
        few = own.labels >= 0
        private = pixels_of(given.private)[0]
        beside = yardsticks(own.pixels[few], own.labels[few], private, given.labels, context.classes, context.seed)
        return dataclasses.replace(result, evidence=result.evidence | beside, notes=(*result.notes, said(beside)))
    if secret == "ids":
        ids = [t.reshape(len(t), -1) for t in given.private if not t.dtype.is_floating_point]
        return score_ids(found, torch.cat(ids, 1))
    original, images, note = pixels_of(given.private)
    known = context.auxiliary if "auxiliary inputs" in threat.has else None
    mean = original.mean(0) if known is None else known.pixels.mean(0)
    if not float((original - mean).square().mean()) > 0:
        raise NotMeasurableError("every scored input equals the mean of the others")
    result = score_inputs(found, original, mean, images)
    whose = "of the private samples themselves" if known is None else f"of the attacker's: {known.what}"
    notes = (
        *result.notes,
        f"NMSE divides by the error of the mean {whose}",
        *([note] if images and note != AS_GIVEN else []),
    )
    return dataclasses.replace(result, notes=notes)


def worst_of(found: Recovered, score: Callable[[Recovered], AttackResult]) -> AttackResult:
    """Of several attacks the one that is left with least; what each found stands beside it.

    Raises:
        NotMeasurableError: when all failed.
    """
    scored, failed = dict[str, AttackResult](), dict(found.failed)
    for name, member in found.members.items():
        try:
            scored[name] = score(member)
        except NotMeasurableError as error:
            failed[name] = error.problem
    if not scored:
        raise NotMeasurableError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    which = min(scored, key=lambda name: scored[name].nmse.value)
    members = {name: result.nmse for name, result in scored.items()}
    members |= {name: none(f"failed: {why}") for name, why in failed.items()}
    said = ", ".join(f"{name} {nmse:.3f}" for name, nmse in members.items() if name in scored)
    lost = tuple(f"{name} failed, which says nothing: {why}" for name, why in failed.items())
    notes = (f"worst of {said}: this is {which}", *lost, *scored[which].notes)
    return dataclasses.replace(scored[which], members=members, which=which, notes=notes)
