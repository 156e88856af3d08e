"""The leakage study of one model: derivatives, one forward pass for every estimator, then score and zone."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from torch import Tensor

from advisor.columns import Column, Profile
from advisor.computing.regions import on_the_device
from advisor.cut_view import Targets
from advisor.cuts import Cut
from advisor.derivatives.exact_tangents import EXACT_ELEMENTS
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.estimators.inversion.alignment import QuickAlignment, mirrored_activations
from advisor.estimators.noise import NoiseCurve, NoiseCurves
from advisor.estimators.study.few_attacks import LEFT_OUT, Allowance, FewAttacks
from advisor.estimators.study.members import chosen
from advisor.estimators.study.score import score_columns
from advisor.estimators.study.study_derivatives import (
    GramsWhenAsked,
    activation_derivatives,
    probes_for,
    tangent_samples,
)
from advisor.estimators.study.study_samples import (
    StudySamples,
    elements_of,
    mean_image_ssim,
    said_at_size,
    study_samples,
)
from advisor.estimators.study.zone import Zone, ZoneThresholds, find_zone
from advisor.graph import PartitionGraph
from advisor.progress import Progress, part, silence
from advisor.support import memory_limit
from advisor.sweep import TIME_UP, sweep

ALL_CUTS = Allowance()
SWEPT = 0.4
"""Share of a study's time, after the derivatives, that the other estimators take where few cuts are attacked."""


@dataclass(frozen=True, eq=False)
class LeakageStudy:
    """What the forward pass found.

    Attributes:
        profile: the leakage columns.
        zone: both zones.
        samples: what it was made on: the attacker's and the private ones.
        curves: NMSE under noise, by name of the cut.
        reconstructions: first held-out reconstructions of the quick attack, by name of the cut.
        baseline_ssim: SSIM of the mean image with the held-out ones; NaN where inputs are no images.
        grams: tangents along the inputs' leading directions, by name of the cut: what bounds under noise are made of.
    """

    profile: Profile
    zone: Zone
    samples: StudySamples
    curves: dict[str, NoiseCurve]
    reconstructions: dict[str, Tensor]
    baseline_ssim: float
    grams: Mapping[str, JacobianGram] = field(default_factory=dict)

    @property
    def targets(self) -> Targets:
        """What the attacker wanted."""
        return self.samples.targets

    def is_bracketed(self, cut: Cut) -> bool:
        """Whether no attack was run at a cut, for want of time: what leaks there is known between its neighbours."""
        quick = self.profile.columns.get("ka_nmse")
        return quick is not None and quick.why[quick.row(cut)] == LEFT_OUT


def study(
    graph: PartitionGraph,
    x: Any,
    y: Tensor | None = None,
    aux: Any = None,
    aux_y: Tensor | None = None,
    *,
    only: Sequence[str] | None = None,
    thresholds: ZoneThresholds | None = None,
    seed: int = 0,
    allowance: Allowance = ALL_CUTS,
    progress: Progress = silence,
) -> LeakageStudy:
    """Measure every leakage column at every cut; the quick attack where it may be run, and neighbours bracket the rest.

    Args:
        graph: the traced model.
        x: private samples: a tensor `[N, ...]`, or a tuple or dict of them; images in [0, 1], or in any other range.
        y: `[N]` labels, or None for the model's own predictions.
        aux: samples that the attacker learns from, likewise; None: three quarters of `x`, by the hash of each.
        aux_y: labels of `aux`.
        only: names of columns to measure, or `package.module:Name` of an estimator; None measures all.
        thresholds: what counts as private enough for the zone.
        seed: same seed, same answer.
        allowance: at how many cuts the quick attack may be run.
        progress: called with the fraction done and the cut.

    Raises:
        DataError: when the samples do not fit the model or are too few.
    """
    samples = study_samples(graph, x, y, aux, aux_y, seed)
    return _studied(graph, samples, only, thresholds, seed, allowance, progress)


@on_the_device
def _studied(
    graph: PartitionGraph, samples: StudySamples, only: Sequence[str] | None, thresholds: ZoneThresholds | None,
    seed: int, allowance: Allowance, progress: Progress,
) -> LeakageStudy:  # fmt: skip
    inputs, targets = samples.inputs, samples.targets
    quick = QuickAlignment(mirrored=mirrored_activations(graph, inputs, targets))
    members, only = chosen(only, (curves := NoiseCurves(), quick))
    baseline = mean_image_ssim(targets)
    energies, grams = None, None
    if time.monotonic() < allowance.deadline:
        energies, grams = activation_derivatives(graph, inputs, members, seed, part(progress, 0.0, 0.1))
    memory_limit.give_back()

    def repeat(index: int) -> None:
        before, here = graph.cuts[index - 1].name, graph.cuts[index].name
        for kept in cast("tuple[dict[str, Any], ...]", (curves.curves, quick.reconstructions)):
            if before in kept:
                kept[here] = kept[before]

    everywhere = quick not in members or allowance.covers(len(graph.cuts))
    swept, attacked = 1.0 if everywhere else SWEPT, tuple(range(len(graph.cuts)))
    columns = sweep(
        graph, inputs, targets, [m for m in members if everywhere or m is not quick], energies=energies, grams=grams,
        seed=seed, until=allowance.deadline, progress=part(progress, 0.1, 0.9 * swept), on_repeat=repeat,
    )  # fmt: skip
    memory_limit.give_back()
    if not everywhere:
        few = FewAttacks(graph, inputs, targets, quick, allowance, seed)
        found, attacked = few.columns(part(progress, 0.1 + 0.9 * swept, 0.9 * (1 - swept)))
        columns |= found
    elif (quick_nmse := columns.get("ka_nmse")) is not None:
        attacked = tuple(place for place in attacked if quick_nmse.why[place] != TIME_UP)
    bracketed = np.isin(np.arange(len(graph.cuts)), attacked, invert=True)
    profile, zone = _judged(Profile(graph.cuts, columns), only, len(targets.train), baseline, thresholds, bracketed)
    told = study_provenance(graph, targets, seed) | {"cuts_attacked": len(attacked) - (not everywhere)}
    columns = said_at_size(selected(profile.columns, only), targets)
    profile = Profile(graph.cuts, columns, {"leakage": told})
    named = {graph.cuts[index].name: gram for index, gram in (grams or {}).items()}
    return LeakageStudy(profile, zone, samples, curves.curves, quick.reconstructions, baseline, named)


def repeated(
    graph: PartitionGraph, samples: StudySamples, profile: Profile, curves: dict[str, NoiseCurve], *,
    thresholds: ZoneThresholds | None = None, seed: int = 0, baseline: float | None = None,
    bounds: bool = False,
) -> LeakageStudy:  # fmt: skip
    """An earlier study of the same model, samples and seed, from its columns and curves; the zone is judged anew.

    `baseline` is the SSIM of its mean image, None where it is not known; `bounds`: whether the derivatives that bounds
    under noise are made of are found again once one is asked for.
    """
    targets = samples.targets
    baseline = mean_image_ssim(targets) if baseline is None else baseline
    zone, columns = find_zone(profile, baseline, thresholds)
    told = {**profile.provenance.get("leakage", {}), **study_provenance(graph, targets, seed)}
    kept = Profile(graph.cuts, {**profile.columns, **columns}, {"leakage": told})
    grams = GramsWhenAsked(graph, samples.inputs, seed) if bounds else {}
    return LeakageStudy(kept, zone, samples, curves, {}, baseline, grams)


def _judged(
    profile: Profile,
    only: Sequence[str] | None,
    learnt_from: int,
    baseline: float,
    thresholds: ZoneThresholds | None,
    bracketed: np.ndarray,
) -> tuple[Profile, Zone]:
    """The profile with the columns that follow from others, and the zone: unknown where the score was not asked for."""
    if only is None or {"score", "score_ssim", "in_zone"} & set(only):
        profile = profile.joined(Profile(profile.cuts, score_columns(profile, learnt_from, bracketed=bracketed)))
    zone, columns = find_zone(profile, baseline if "score_ssim" in profile else math.nan, thresholds)
    return profile.joined(Profile(profile.cuts, columns)), zone


def selected(columns: dict[str, Column], only: Sequence[str] | None) -> dict[str, Column]:
    """The columns that were asked for."""
    return columns if only is None else {name: column for name, column in columns.items() if name in set(only)}


def study_provenance(graph: PartitionGraph, targets: Targets, seed: int) -> dict[str, Any]:
    """What the study was made from."""
    elements = max(1, elements_of(graph.example_inputs))
    derived = min(len(targets.labels), tangent_samples(elements))
    return {
        "samples": len(targets.labels),
        "learnt_from": len(targets.train),
        "scored_on": len(targets.test),
        "labels": "true labels" if targets.labels_are_true else "the model's own predictions",
        "targets": targets.note,
        "probes": "none: every direction" if elements <= EXACT_ELEMENTS else probes_for(elements, derived),
        "seed": seed,
    }
