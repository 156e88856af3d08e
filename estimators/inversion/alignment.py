"""Knowledge alignment: an inversion network learnt from auxiliary samples (He et al. 2019; Yang et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from advisor.activations import Activations
from advisor.cut_view import DISCRETE, ColumnSpec, CutView, Need, Targets
from advisor.cuts import Cut
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.inversion.training import Anew, Budget, Trained, recover, train_all
from advisor.estimators.statistics.ratios import ratio_of_means
from advisor.graph import PartitionGraph
from advisor.measures.decoders.activation_layouts import Layout, arrange
from advisor.measures.decoders.elements import element_by_element
from advisor.measures.decoders.usual_decoders import DecoderFamily, decoders_for
from advisor.measures.images import mse, psnr, ssim
from advisor.progress import Progress, silence
from advisor.support.finite import all_finite
from advisor.support.threads import one_thread

QUICK = Budget(
    width=24, depth=1, steps=240, epochs=40, batch=48, rate=0.05, checks=16, patience=6, settled=0.08, fast=True,
    parts=2, mirrored=True,
)  # fmt: skip
STRONG = Budget(
    width=48, depth=4, steps=6000, epochs=400, batch=64, rate=0.02, checks=120, patience=2, settled=0.01,
    flat=0.03, fast=True, parts=2, auxiliary=8000, held_out=1000, seed=0,
)  # fmt: skip
"""The strong attack: the one that `score` predicts and `--verify strong` runs."""
BUDGETS = {"quick": QUICK, "strong": STRONG}

VALIDATION = 0.15
FEWEST_CHECKS = 12
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Inversion:
    """What an inversion recovered on held-out samples: reconstructions `[test, ...]` and per-sample scores `[test]`."""

    reconstructions: Tensor
    mse: Tensor
    ssim: Tensor | None
    psnr: Tensor
    ceiling: Tensor

    @property
    def nmse(self) -> Estimate:
        """Mean squared error over that of predicting the attacker's mean, with the delta-method error of the ratio."""
        return ratio_of_means(self.mse, self.ceiling).within(0.0)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What an inversion network gave, and how its training went.

    Attributes:
        inputs: `[test, ...]`, unclipped.
        steps: of the optimiser, over all decoders.
        training: how it went, in words.
    """

    inputs: Tensor
    steps: int
    training: str


def invert(
    tensors: tuple[Tensor, ...], targets: Targets, budget: Budget, seed: int, *, tick: Progress = silence,
    mirrored: tuple[Tensor, ...] | None = None,
) -> Inversion:  # fmt: skip
    """Train a decoder on `targets.train`, score it on `targets.test`.

    Args:
        tensors: the activation, each `[n, ...]`, as the cloud receives it.
        targets: what the attacker wants.
        budget: how hard to train.
        seed: of initialisation and batch order.
        tick: called with the fraction done.
        mirrored: the activation of the images of `targets.train` turned left to right, each `[train, ...]`.

    Raises:
        NotMeasurableError: too few samples, nothing to reconstruct, NaN in the activation, or training that diverges: a
            failed attack says nothing about privacy.
    """
    _check(tensors, targets)
    features, layout = arrange(tensors, targets.pixels, targets.images)
    if mirrored is None:
        return score(reconstruct(features, layout, targets, budget, seed, tick=tick).inputs, targets)
    other = targets.pixels[targets.train].flip(-1)
    features = torch.cat([features, arrange(mirrored, other, targets.images)[0]])
    both = replace(targets, pixels=torch.cat([targets.pixels, other]))
    twins = len(targets.pixels) + torch.arange(len(other))
    return score(reconstruct(features, layout, both, budget, seed, tick=tick, twins=twins).inputs, targets)


def reconstruct(
    features: Tensor, layout: Layout, targets: Targets, budget: Budget, seed: int, *, tick: Progress = silence,
    folder: Path | None = None, twins: Tensor | None = None, anew: Anew | None = None,
    family: DecoderFamily = decoders_for,
) -> Reconstruction:  # fmt: skip
    """Learn to invert, then invert; of `targets.pixels` only those of `targets.train` and `twins` are looked at.

    Args:
        features: of all samples, as arranged.
        layout: how they are read.
        targets: what the attacker wants.
        budget: how hard to train.
        seed: of initialisation and batch order.
        tick: called with the fraction done.
        folder: where to keep the state of training, to resume from after a kill.
        twins: positions of the mirror images of `targets.train`, in its order; those of samples to stop and choose by
            are left out.
        anew: what a sample's features are where what is random on its way is drawn again: networks then learn from no
            draw twice. None: nothing is random.
        family: which decoders are tried.

    Raises:
        NotMeasurableError: training diverged.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad(), one_thread():
        torch.manual_seed(seed)
        shuffled = torch.randperm(len(targets.train))
        order = targets.train[shuffled]
        if (found := element_by_element(features, targets.pixels, order)) is not None:
            return Reconstruction(found[targets.test], 0, "each element of the input is sent by itself, and read off")
        held = held_back(len(order))
        fit, check = order[held:], order[:held]
        decoders = family(features, layout, targets.pixels, order, budget.width, budget.depth)
        more = None if twins is None else twins[shuffled[held:]]
        blend = train_all(decoders, targets.pixels, fit, check, budget, tick, folder, more, anew=anew)
        steps, said = sum(b.steps for b in blend), _said(blend)
        mean = targets.pixels[order].mean(0)
        if not surely_better(recover(blend, check), targets.pixels[check], mean):
            said += "; the mean image does as well, and is the answer"
            return Reconstruction(mean.expand(len(targets.test), *mean.shape), steps, said)
        for member in blend:
            member.decoder.solve_again(order)
        return Reconstruction(recover(blend, targets.test), steps, said)


def _said(blend: Sequence[Trained]) -> str:
    """How training went."""
    steps, stopped = sum(b.steps for b in blend), " and ".join(dict.fromkeys(b.stopped for b in blend))
    if len(blend) == 1:
        return f"the inversion network was trained for {steps:,} steps and stopped {stopped}"
    return (
        f"{len(blend)} inversion networks were trained for {steps:,} steps in all and blended; they stopped {stopped}"
    )


def held_back(count: int) -> int:
    """How many of an attacker's samples are kept to stop and to choose by."""
    return max(int(VALIDATION * count), min(FEWEST_CHECKS, count // 3))


def surely_better(found: Tensor, wanted: Tensor, mean: Tensor) -> bool:
    """Whether the gain over predicting the mean is at least two standard errors: a few samples favour chance."""
    gain = (mse(mean, wanted) - mse(found, wanted)).double()
    return float(gain.mean()) >= 2 * float(gain.std()) / math.sqrt(len(gain))


def score(found: Tensor, targets: Targets) -> Inversion:
    """Score reconstructions `[test, ...]` of the held-out samples; images are clipped to their range first."""
    original = targets.pixels[targets.test]
    if not all_finite(found):
        raise NotMeasurableError("the inversion network diverged: this says nothing about privacy")
    found = targets.range.clip(found) if targets.images else found
    similar = None
    if targets.images:
        try:
            similar = ssim(found, original)
        except NotMeasurableError:
            similar = None
    return Inversion(found, mse(found, original), similar, psnr(found, original), targets.ceiling)


def _check(tensors: tuple[Tensor, ...], targets: Targets) -> None:
    if len(targets.train) < FEWEST:
        raise NotMeasurableError(
            f"an inversion network needs at least {FEWEST} samples to learn from, not {len(targets.train)}"
        )
    if not float(targets.ceiling.mean()) > 0:
        same = f"every scored input equals the mean of the others ({targets.note or 'as given'})"
        raise NotMeasurableError(DISCRETE if targets.note == DISCRETE else same)
    if not all(all_finite(t) for t in tensors):
        raise NotMeasurableError("the activation holds NaN or infinities")


Mirrored = Callable[[Cut], tuple[Tensor, ...] | None]
"""The activation at a cut of the mirrored images to learn from, each `[train, ...]`; None where that is too large."""

MIRRORED_BYTES = 256 * 2**20


def mirrored_activations(graph: PartitionGraph, inputs: tuple[Tensor, ...], targets: Targets) -> Mirrored | None:
    """The activations of the mirrored images to learn from: one more pass; None where inputs are no images."""
    if not targets.images:
        return None
    turned = (inputs[0][targets.train].flip(-1),)
    activations = Activations(graph, turned, MIRRORED_BYTES)
    return lambda cut: activations.at(cut) if len(turned[0]) * cut.bytes <= MIRRORED_BYTES else None


class QuickAlignment:
    """Columns of the quick inversion: `ka_mse`, `ka_nmse`, `ka_ssim` on held-out samples.

    Args:
        budget: how hard to train.
        mirrored: where the budget asks for mirrored images, the activation of them; None: it does without.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns = (
        ColumnSpec("ka_mse", "x²", "high", "measured", "quick inversion network, per element, held-out samples"),
        ColumnSpec("ka_nmse", "1", "high", "measured", "ka_mse over the error of predicting the attacker's mean"),
        ColumnSpec("ka_ssim", "1", "low", "measured", "quick inversion network, 7×7 window, held-out"),
    )

    def __init__(self, budget: Budget | None = None, mirrored: Mirrored | None = None) -> None:
        self.budget, self.mirrored = budget or BUDGETS["quick"], mirrored
        self.reconstructions: dict[str, Tensor] = {}

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Train and score at one cut; keeps the first few reconstructions for the report."""
        other = self.mirrored(view.cut) if self.mirrored and self.budget.mirrored else None
        found = invert(view.tensors, view.targets, self.budget, view.seed, mirrored=other)
        self.reconstructions[view.cut.name] = found.reconstructions[:8]
        similar = Estimate(math.nan, method="the inputs are not images of at least 7×7 pixels")
        return {
            "ka_mse": Estimate.of_mean(found.mse.numpy(), "x²").within(0.0),
            "ka_nmse": found.nmse,
            "ka_ssim": similar if found.ssim is None else Estimate.of_mean(found.ssim.numpy()).within(-1.0, 1.0),
        }
