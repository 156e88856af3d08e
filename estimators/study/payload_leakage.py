"""The leakage of one payload: every estimator on what is received after the defense, not on the bare activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from advisor.batches import carried
from advisor.columns import Profile
from advisor.computing.regions import on_the_device
from advisor.cut_view import CutView, Targets
from advisor.errors import AdvisorError
from advisor.estimators.inversion.alignment import QuickAlignment
from advisor.estimators.noise import NoiseCurves
from advisor.estimators.study.leakage_study import selected, study_provenance
from advisor.estimators.study.members import chosen
from advisor.estimators.study.score import score_columns
from advisor.estimators.study.study_derivatives import activation_derivatives
from advisor.estimators.study.study_samples import StudySamples, said_at_size, study_samples
from advisor.payload import Payload
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found
from advisor.sweep import Sheet

OF_THE_WHOLE_MODEL = ("rc2_drop", "in_gpz", "in_zone")
MIRRORED_SALT = 1


def payload_leakage(
    payload: Payload, x: Any, y: Tensor | None = None, aux: Any = None, aux_y: Tensor | None = None, *,
    only: Sequence[str] | None = None, seed: int = 0, progress: Progress = silence,
) -> Profile:  # fmt: skip
    """Leakage columns of one payload, a profile of that cut alone.

    Estimators that read the activation read what is received: a noisy, rounded or pruned one. Those that rest on
    derivatives take the edge half's; where the defense adds Gaussian noise, bounds are at its variance instead of at
    that of the wire's own rounding.

    Args:
        payload: the cut of a graph or variant, and the defense.
        x: private samples: a tensor `[N, ...]`, or a tuple or dict of them.
        y: `[N]` labels; None takes the model's own predictions.
        aux: samples that the attacker learns from; None: three quarters of `x`, by the hash of each.
        aux_y: labels of `aux`.
        only: names of columns to measure; None measures all. The zone's are of a whole model and not among them.
        seed: same seed, same answer.
        progress: called with the fraction done and the estimator.

    Raises:
        DataError: when the samples do not fit the model.
        AdvisorError: on an unknown column.
    """
    samples = study_samples(payload.graph, x, y, aux, aux_y, seed, payload.cut)
    return leakage_on(payload, samples, only=only, seed=seed, progress=progress)


@on_the_device
def leakage_on(
    payload: Payload, samples: StudySamples, *, only: Sequence[str] | None = None, seed: int = 0,
    progress: Progress = silence,
) -> Profile:  # fmt: skip
    """`payload_leakage` on the samples of a study: the same attacker learns, the same samples are attacked.

    Raises:
        AdvisorError: on an unknown column, or one that is of a whole model.
    """
    whole = [name for name in only or () if name in OF_THE_WHOLE_MODEL]
    if whole:
        raise AdvisorError(f"Column {whole[0]!r} is of a whole model, not of one payload.", "Leave the cut out.")
    graph, cut = payload.graph, payload.cut
    inputs, targets = samples.inputs, samples.targets
    quick = QuickAlignment(mirrored=lambda _: _mirrored(payload, inputs, targets, seed))
    members, only = chosen(only, (NoiseCurves(), quick))
    energies, grams = activation_derivatives(graph, inputs, members, seed)
    bare = carried(graph, inputs, 0, cut.index)
    received = payload.transmit(bare, torch.Generator().manual_seed(seed))
    view = CutView(
        cut, received, targets, max(payload.defense.wire_step(t) for t in bare), seed,
        (energies or {}).get(cut.index), (grams or {}).get(cut.index), payload.defense.guaranteed_variance,
    )  # fmt: skip
    sheet = Sheet((cut,), [spec for member in members for spec in member.columns])
    with left_as_found(graph.module), torch.no_grad():
        for done, member in enumerate(members, start=1):
            sheet.add(member, view)
            progress(done / len(members), type(member).__name__)
    profile = Profile((cut,), sheet.columns())
    profile = profile.joined(Profile(profile.cuts, score_columns(profile, len(targets.train))))
    told = study_provenance(graph, targets, seed) | {"payload": str(payload)}
    columns = said_at_size(selected(profile.columns, only), targets)
    return Profile(profile.cuts, columns, {"leakage": told})


def _mirrored(payload: Payload, inputs: tuple[Tensor, ...], targets: Targets, seed: int) -> tuple[Tensor, ...] | None:
    """What is received of the images to learn from, turned left to right; None where the inputs are no images."""
    if not targets.images:
        return None
    turned = (inputs[0][targets.train].flip(-1),)
    bare = carried(payload.graph, turned, 0, payload.cut.index)
    return payload.transmit(bare, torch.Generator().manual_seed(seed + MIRRORED_SALT))
