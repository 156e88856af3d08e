"""`ka`: an inversion network learnt from auxiliary samples (He et al. 2019; Yang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.attack_versions import version_of
from advisor.cut_view import Targets
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Auxiliary, Recovered, ThreatModel
from advisor.estimators.attacks.support.channel import Store
from advisor.estimators.attacks.support.draws import joined
from advisor.estimators.inversion.alignment import BUDGETS, FEWEST, Reconstruction, reconstruct
from advisor.estimators.inversion.training import Anew
from advisor.measures.decoders.activation_layouts import Layout, arrange
from advisor.measures.decoders.usual_decoders import DecoderFamily, decoders_for
from advisor.support.finite import all_finite


@dataclass(frozen=True)
class KnowledgeAlignment:
    """Black box: learns from queries of its own samples, so through the defense, its noise and its rounding.

    Each of its samples is sent again in every pass over them: no draw of the noise is learnt from twice.

    Where the budget says so, also from queries of its own images turned left to right.
    """

    name: ClassVar[str] = "ka"
    about: ClassVar[str] = "inversion network learnt from auxiliary samples (He et al., ACSAC 2019)"
    verifies: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense",), ("auxiliary inputs",), ("query the edge",))
    version: ClassVar[int] = version_of("ka")

    def run(self, context: AttackContext) -> Recovered:
        """Learn from what is received of the auxiliary samples, then read what was received of the private ones."""
        known = context.known.first(BUDGETS[context.effort].auxiliary or len(context.known))
        return said(decoded(context, known, context.sent))


def said(found: Reconstruction) -> Recovered:
    """With a note on how training went."""
    return Recovered(inputs=found.inputs, notes=(found.training,), evidence={"steps": float(found.steps)})


def decoded(
    context: AttackContext, known: Auxiliary, sent: tuple[Tensor, ...], family: DecoderFamily = decoders_for
) -> Reconstruction:
    """Reconstructions of `sent`, `[N, ...]`, by a network of this family, trained on queries of the known samples.

    Raises:
        NotMeasurableError: too few samples, NaN in the activation, or training diverged.
    """
    if len(known) < FEWEST:
        raise NotMeasurableError(f"an inversion network learns from at least {FEWEST} samples, not {len(known)}")
    layout = arranged(context, sent[0][:1], sent)[1]

    def features_of(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not all(all_finite(t) for t in tensors):
            raise NotMeasurableError("the activation holds NaN or infinities")
        return (arranged(context, tensors[0], tensors)[0],)

    turned = BUDGETS[context.effort].mirrored and context.images and len(known.inputs) == 1
    n = len(known)
    store = Store(n * (1 + turned) + len(context))
    sets, starts = [context.queries(known.inputs, features_of, store)], [0]
    store.add(features_of(sent))
    if turned:
        sets.append(context.queries((known.inputs[0].flip(-1),), features_of, store, salt=2))
        starts.append(n + len(context))
    (everything,) = store.tensors()
    return trained_decoder(context, everything, layout, known.pixels, turned, joined(sets, starts), family)


def trained_decoder(
    context: AttackContext,
    features: Tensor,
    layout: Layout,
    pixels: Tensor,
    turned: bool = False,
    anew: Anew | None = None,
    family: DecoderFamily = decoders_for,
) -> Reconstruction:
    """Reconstructions `[N, ...]`, by a decoder learnt from the first of the features to `pixels`.

    What the decoder is given for the private samples is the attacker's mean: it has nothing else.

    Args:
        context: for effort, progress and folder.
        features: `[n + N, ...]` of the attacker's samples and of the private ones, as arranged.
        layout: how they are read.
        pixels: `[n, ...]`.
        turned: whether n more features follow, of the attacker's images turned left to right.
        anew: other draws of the attacker's own, by position; None: nothing is random.
        family: which decoders are tried.
    """
    n, count = len(pixels), len(features) - len(pixels) * (1 + turned)
    unknown = pixels.mean(0).expand(count, *pixels.shape[1:])
    twins = torch.arange(n + count, len(features)) if turned else None
    targets = Targets(
        torch.cat([pixels, unknown, *([pixels.flip(-1)] if turned else [])]), context.images,
        torch.zeros(len(features), dtype=torch.long), False, torch.arange(n), torch.arange(n, n + count), 1,
    )  # fmt: skip
    return reconstruct(
        features, layout, targets, BUDGETS[context.effort], context.seed, tick=context.tick, folder=context.folder,
        twins=twins, anew=anew, family=family,
    )  # fmt: skip


def arranged(context: AttackContext, rows: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, Layout]:
    """Features of as many samples as there are rows, and how a decoder of what is attacked reads them."""
    template = context.template.new_zeros(1, *context.template.shape[1:]).expand(len(rows), *context.template.shape[1:])
    return arrange(tensors, template, context.images)
