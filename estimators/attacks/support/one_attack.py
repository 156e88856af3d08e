"""One attack at one cut: what it is handed, where it resumes from, and its scores."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import torch

from advisor.attack_versions import FIRST
from advisor.computing.regions import on_the_device
from advisor.errors import DataError, NotMeasurableError
from advisor.estimators.attacks import Attack
from advisor.estimators.attacks.base import AttackContext, Auxiliary, Effort
from advisor.estimators.attacks.support.channel import Channel
from advisor.estimators.attacks.support.data_split import DataSplit, classes_of
from advisor.estimators.attacks.support.metrics import AttackResult, reidentification
from advisor.estimators.attacks.support.scoring import scored, worst_of
from advisor.estimators.study.study_samples import pixels_of, values_of
from advisor.progress import Progress
from advisor.support.finite import all_finite
from advisor.support.preserve import left_as_found
from advisor.support.threads import one_thread


@on_the_device
def attacked(
    channel: Channel, chosen: Attack, given: DataSplit, known: Auxiliary | None, effort: Effort, seed: int,
    folder: str | Path | None, tell: Progress, end: int, reidentify: bool,
) -> AttackResult:  # fmt: skip
    """What an attack recovered of the private samples at the channel's cut, scored.

    Args:
        channel: what is received, and how often.
        chosen: the attack.
        given, known: the samples, and what of them the attacker has.
        effort, seed: of the attack.
        folder: where killed attacks keep what they resume from, or None.
        tell: called with the fraction done.
        end: index of the cut at which the cloud knows least of the input.
        reidentify: whether the model classifies what was reconstructed.

    Raises:
        DataError: where inputs are discrete and the attack reconstructs.
        NotMeasurableError: when the attack failed or does not apply; that says nothing about privacy.
    """
    context = dataclasses.replace(_context(channel, chosen, given, known, effort, seed, end), tick=tell)
    if folder is not None:
        context = dataclasses.replace(context, folder=_own_folder(Path(folder), chosen, context))
    if not all(all_finite(t) for t in context.sent):
        raise NotMeasurableError("the activation holds NaN or infinities")
    graph = channel.payload.graph
    with left_as_found(graph.module), one_thread():
        torch.manual_seed(seed)
        found = chosen.run(context)
    context.tick(1.0)  # however soon it had enough
    if found.members:
        result = worst_of(found, lambda member: scored(chosen.threat, member, given, context))
    else:
        result = scored(chosen.threat, found, given, context)
    if not reidentify or chosen.threat.recovers != "input":
        return result
    return dataclasses.replace(result, reidentified=reidentification(graph, given.private, result.reconstructions))


def _context(
    channel: Channel, chosen: Attack, given: DataSplit, known: Auxiliary | None, effort: Effort, seed: int, end: int
) -> AttackContext:
    graph = channel.payload.graph
    discrete = not any(t.dtype.is_floating_point for t in given.private)
    if discrete and chosen.threat.recovers == "input":
        raise DataError("The inputs are discrete: there are no pixels to reconstruct.", "Attack their ids: --name ids.")
    pixels, images, _ = pixels_of(given.private)
    place = channel.payload.cut.index if channel.beyond is None else channel.beyond

    def heard(repeats: int, beyond: int | None) -> AttackContext:
        other = dataclasses.replace(channel, repeats=repeats, beyond=beyond)
        return _context(other, chosen, given, known, effort, seed, end)

    return AttackContext(
        graph=graph, cut=graph.cuts[place], sent=channel.send(given.private, seed), channel=channel,
        auxiliary=known, template=pixels[:0], images=images, values=values_of(given.private),
        shrink=lambda flat: pixels_of(flat)[0], classes=classes_of(graph, given), effort=effort, seed=seed,
        threat=chosen.threat, heard=heard, floor_at=None if place == end else end,
    )  # fmt: skip


def _own_folder(folder: Path, chosen: Attack, context: AttackContext) -> Path:
    """A folder of this attack's own: another attack, tensor, seed or defense never resumes from it."""
    payload = context.channel.payload
    said = f"{context.cut};{payload.defense.spec};{context.effort};{context.seed};{len(context)}"
    said += f";{tuple(context.template.shape)}"
    who = repr(chosen) if dataclasses.is_dataclass(chosen) else chosen.name
    who += f";version {getattr(chosen, 'version', FIRST)};{context.channel.repeats}"
    digest = hashlib.sha256(f"{said};{who};{context.threat}".encode())
    own = context.auxiliary
    for tensor in (*context.sent, *(own.inputs if own else ())):
        digest.update(tensor.detach().sum(0, dtype=torch.float64).contiguous().numpy().tobytes())
    if own is not None and own.labels is not None:
        digest.update(own.labels.contiguous().numpy().tobytes())
    return folder / digest.hexdigest()[:16]
