"""`ka`: an inversion network learnt from auxiliary samples (He et al. 2019; Yang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.estimators.alignment import BUDGETS, FEWEST, Reconstruction, reconstruct
from advisor.estimators.attacks.base import Known, Recovered, Scene, ThreatModel
from advisor.estimators.attacks.channel import Store
from advisor.estimators.layouts import Layout, arrange
from advisor.sweep import NotMeasurableError, Targets


@dataclass(frozen=True)
class Alignment:
    """Black box: learns from queries of its own samples, so through the defense, its noise and its rounding."""

    name: ClassVar[str] = "ka"
    about: ClassVar[str] = "inversion network learnt from auxiliary samples (He et al., ACSAC 2019)"
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense",), ("auxiliary inputs",), ("query the edge",))

    def run(self, scene: Scene) -> Recovered:
        """Learn from what is received of the auxiliary samples, then read what was received of the private ones."""
        known = scene.known.first(BUDGETS[scene.effort].auxiliary or len(scene.known))
        return said(decoded(scene, known, scene.sent))


def said(found: Reconstruction) -> Recovered:
    """With a note on how training went."""
    note = f"training took {found.steps:,} steps: {found.stopped}"
    return Recovered(inputs=found.inputs, notes=(note,), evidence={"steps": float(found.steps)})


def decoded(scene: Scene, known: Known, sent: tuple[Tensor, ...]) -> Reconstruction:
    """Reconstructions of `sent`, `[N, ...]`, by a network trained on queries of the known samples.

    Raises:
        NotMeasurableError: too few samples, NaN in what crosses, or training diverged.
    """
    if len(known) < FEWEST:
        raise NotMeasurableError(f"an inversion network learns from at least {FEWEST} samples, not {len(known)}")
    layout = _arranged(scene, sent[0][:1], sent)[1]

    def features_of(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not all(torch.isfinite(t).all() for t in tensors):
            raise NotMeasurableError("the crossing tensor holds NaN or infinities")
        return (_arranged(scene, tensors[0], tensors)[0],)

    store = Store(len(known) + len(scene))
    scene.channel.send(known.inputs, scene.seed + 1, features_of, store)
    store.add(features_of(sent))
    (everything,) = store.tensors()
    return trained_decoder(scene, everything, layout, known.pixels)


def trained_decoder(scene: Scene, features: Tensor, layout: Layout, pixels: Tensor) -> Reconstruction:
    """Reconstructions `[N, ...]`, by a decoder learnt from the first of the features to `pixels`.

    What the decoder is given for the private samples is the attacker's mean: it has nothing else.

    Args:
        scene: for effort, progress and folder.
        features: `[n + N, ...]` of the attacker's samples and of the private ones, as arranged.
        layout: how they are read.
        pixels: `[n, ...]`.
    """
    n, count = len(pixels), len(features) - len(pixels)
    unknown = pixels.mean(0).expand(count, *pixels.shape[1:])
    targets = Targets(
        torch.cat([pixels, unknown]), scene.images, torch.zeros(n + count, dtype=torch.long), False,
        torch.arange(n), torch.arange(n, n + count), 1,
    )  # fmt: skip
    budget = BUDGETS[scene.effort]
    return reconstruct(features, layout, targets, budget, scene.seed, tick=scene.tick, folder=scene.folder)


def _arranged(scene: Scene, rows: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, Layout]:
    template = scene.template.new_zeros(1, *scene.template.shape[1:]).expand(len(rows), *scene.template.shape[1:])
    return arrange(tensors, template, scene.images)
