"""The derivatives of a leakage study: tangents at every cut, of as many samples and directions as inputs allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from torch import Tensor

from advisor.computing.regions import on_the_device
from advisor.cut_view import Estimator
from advisor.derivatives.cotangents import with_exact_ends, with_reverse_mode
from advisor.derivatives.embeddings import looked_up
from advisor.derivatives.exact_tangents import EXACT_ELEMENTS, exact_energies
from advisor.derivatives.jacobian_grams import JacobianGram, jacobian_grams
from advisor.derivatives.tangents import TangentEnergy, tangent_energies
from advisor.estimators.fisher import PRIOR_SMOOTHING
from advisor.estimators.study.study_samples import elements_of
from advisor.graph import PartitionGraph
from advisor.progress import Progress, silence

PROBES = 4
MOST_PROBES = 24
"""At 32×32 pixels and below: with 64 samples the standard error of so many is 1.8 % where 64 numbers cross."""

PROBE_ELEMENTS = 6 * 64 * 3 * 64 * 64
"""Input elements times probes in all; where inputs are large they differ more than probes err (224×224: 4 probes)."""

TANGENT_SAMPLES = 64
TANGENT_ELEMENTS = 64 * 3 * 64 * 64
"""Input elements differentiated in all: fewer samples where they are large."""

FEWEST_TANGENT_SAMPLES = 8

DIRECTIONS = 16
SPECTRUM_SAMPLES = 64
FEWEST_SPECTRUM_SAMPLES = 16
"""A guarantee stands on them: with eight, the tail of their distribution is anyone's guess."""


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
