"""The leakage study of one model: derivatives, one forward pass for every estimator, then score and zone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
from torch import Tensor

from advisor import memory_limit
from advisor.columns import Column, Profile
from advisor.computing.regions import on_the_device
from advisor.cut_view import Estimator, Targets
from advisor.cuts import Cut
from advisor.derivatives.cotangents import with_exact_ends, with_reverse_mode
from advisor.derivatives.embeddings import looked_up
from advisor.derivatives.exact_tangents import EXACT_ELEMENTS, exact_energies
from advisor.derivatives.jacobian_grams import JacobianGram, jacobian_grams
from advisor.derivatives.tangents import TangentEnergy, tangent_energies
from advisor.estimators.fisher import PRIOR_SMOOTHING
from advisor.estimators.inversion.alignment import QuickAlignment, mirrored_activations
from advisor.estimators.noise import NoiseCurve, NoiseCurves
from advisor.estimators.study.few_attacks import LEFT_OUT, Allowance, FewAttacks
from advisor.estimators.study.members import chosen
from advisor.estimators.study.score import score_columns
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
from advisor.sweep import TIME_UP, sweep

PROBES = 4
MOST_PROBES = 24
"""At 32×32 pixels and below: with 64 samples the standard error of so many is 1.8 % where 64 numbers cross."""

PROBE_ELEMENTS = 6 * 64 * 3 * 64 * 64
"""Input elements times probes in all; where inputs are large they differ more than probes err (224×224: 4 probes)."""

TANGENT_SAMPLES = 64
TANGENT_ELEMENTS = 64 * 3 * 64 * 64
"""Input elements differentiated in all: fewer samples where they are large."""

FEWEST_TANGENT_SAMPLES = 8

ALL_CUTS = Allowance()
SWEPT = 0.4
"""Share of a study's time, after the derivatives, that the other estimators take where few cuts are attacked."""

DIRECTIONS = 16
SPECTRUM_SAMPLES = 64
FEWEST_SPECTRUM_SAMPLES = 16
"""A guarantee stands on them: with eight, the tail of their distribution is anyone's guess."""


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


def activation_derivatives(
    graph: PartitionGraph, inputs: tuple[Tensor, ...], members: Sequence[Estimator], seed: int,
    progress: Progress = silence,
) -> tuple[dict[int, TangentEnergy] | None, dict[int, JacobianGram] | None]:  # fmt: skip
    """Squared lengths and inner products of tangents at every cut, as far as the estimators use them."""
    return _energies(graph, inputs, members, seed, progress), _grams(graph, inputs, members, seed)


def _energies(
    graph: PartitionGraph, inputs: tuple[Tensor, ...], members: Sequence[Estimator], seed: int, progress: Progress
) -> dict[int, TangentEnergy] | None:
    wanted = any("tangents" in member.needs for member in members)
    floats = all(t.dtype.is_floating_point for t in inputs)
    starts = () if any(t.dtype.is_floating_point for t in inputs) else looked_up(graph)
    if not wanted or not (floats or starts):
        return None
    if starts:
        elements = sum(math.prod(spec.shape) for n in starts if (spec := graph.spec(n)) is not None)
        few = [t[: tangent_samples(elements)] for t in inputs]
        return tangent_energies(graph, few, probes_for(elements, len(few[0])), seed, progress)
    elements = elements_of(inputs)
    few = [t[: tangent_samples(elements)] for t in inputs]
    if elements <= EXACT_ELEMENTS:
        return with_reverse_mode(graph, few, exact_energies(graph, few, progress), PROBES, seed)
    found = tangent_energies(graph, few, probes_for(elements, len(few[0])), seed, progress)
    return with_exact_ends(graph, few, with_reverse_mode(graph, few, found, PROBES, seed))


def tangent_samples(elements: int) -> int:
    """Samples that are differentiated where inputs have so many elements."""
    return min(TANGENT_SAMPLES, max(FEWEST_TANGENT_SAMPLES, TANGENT_ELEMENTS // elements))


def probes_for(elements: int, samples: int) -> int:
    """Probes a sample for inputs of so many elements."""
    return min(MOST_PROBES, max(PROBES, PROBE_ELEMENTS // (elements * samples)))


def spectrum_samples(elements: int) -> int:
    """Samples that are differentiated along the inputs' leading directions."""
    return min(SPECTRUM_SAMPLES, max(FEWEST_SPECTRUM_SAMPLES, TANGENT_ELEMENTS // elements))


def _grams(
    graph: PartitionGraph, inputs: tuple[Tensor, ...], members: Sequence[Estimator], seed: int
) -> dict[int, JacobianGram] | None:
    return _all_grams(graph, inputs, seed) if any("jacobian gram" in member.needs for member in members) else None


def _all_grams(graph: PartitionGraph, inputs: tuple[Tensor, ...], seed: int) -> dict[int, JacobianGram] | None:
    if not all(t.dtype.is_floating_point for t in inputs):
        return None
    elements = elements_of(inputs)
    if elements <= EXACT_ELEMENTS:
        return jacobian_grams(graph, inputs, min(TANGENT_SAMPLES, len(inputs[0])), None, PRIOR_SMOOTHING, seed)
    count = spectrum_samples(elements)
    few = [t[: max(count, 4 * DIRECTIONS)] for t in inputs]
    return jacobian_grams(graph, few, count, DIRECTIONS, PRIOR_SMOOTHING, seed)


class GramsWhenAsked(Mapping[str, JacobianGram]):
    """Tangents along the inputs' leading directions at every cut, by its name; found when the first is looked up."""

    def __init__(self, graph: PartitionGraph, inputs: tuple[Tensor, ...], seed: int) -> None:
        self._graph, self._inputs, self._seed = graph, inputs, seed

    @cached_property
    def _found(self) -> dict[str, JacobianGram]:
        found = on_the_device(_all_grams)(self._graph, self._inputs, self._seed)
        return {self._graph.cuts[index].name: gram for index, gram in (found or {}).items()}

    def __getitem__(self, name: str) -> JacobianGram:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


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
