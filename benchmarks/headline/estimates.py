"""What the cheap estimators say of the attacked cuts, bare and under noise, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from advisor.batches import carried
from advisor.cut_view import CutView, Estimator, Targets
from advisor.cuts import Cut
from advisor.defenses.payload.rounding import rounding_step
from advisor.derivatives.jacobian_grams import JacobianGram, jacobian_grams
from advisor.derivatives.tangents import TangentEnergy, tangent_energies
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators import ESTIMATORS
from advisor.estimators.fisher import PRIOR_SMOOTHING
from advisor.estimators.inversion.alignment import Mirrored, QuickAlignment, mirrored_activations
from advisor.estimators.noise import NoiseCurves
from advisor.estimators.study.study_derivatives import DIRECTIONS, SPECTRUM_SAMPLES, probes_for, tangent_samples
from advisor.estimators.study.study_samples import targets_for
from advisor.graph import PartitionGraph
from advisor.panel import panel_size
from benchmarks.headline.cases import Case, Data
from benchmarks.headline.truth import attacked_cuts, noisy

WALK = "walk"
KEPT = "kept"


@dataclass(frozen=True)
class Estimated:
    """One number of one estimator: NaN where it could not be measured.

    Attributes:
        net, cut, index, noise: as `Attacked` has them.
        estimator: class name of the estimator.
        column: its column; `walk` is its share of a walk for derivatives, `kept` the share of what linear inversion
            explains that survives the noise.
        value, stderr, low, high: the estimate.
        seconds: CPU time of the estimator at this cut; on its first column only, so that sums are right.
    """

    net: str
    cut: str
    index: int
    noise: float
    estimator: str
    column: str
    value: float
    stderr: float
    low: float
    high: float
    seconds: float


def estimated(
    case: Case, graph: PartitionGraph, data: Data, noises: Sequence[float], done: set[tuple[str, str]], seed: int = 0
) -> Iterator[list[Estimated]]:
    """All rows of one cut at a time; what is in `done` (cut name, estimator) is left out."""
    names = {type(member).__name__ for member in _members()}
    cuts = [cut for cut in attacked_cuts(graph) if names - {name for c, name in done if c == cut.name}]
    if not cuts:
        return
    pool = graph.flat(data.unseen[0])
    order = torch.randperm(len(pool[0]), generator=torch.Generator().manual_seed(seed))
    rows = order[: panel_size(graph, len(order) // 2)].sort().values  # fewer samples than the strong attack has
    inputs = tuple(t[rows] for t in pool)
    targets = targets_for(graph, inputs, data.unseen[1][rows], seed)
    derivatives, mirrored = Derivatives.of(graph, inputs, seed), mirrored_activations(graph, inputs, targets)
    for cut in cuts:
        known = {name for c, name in done if c == cut.name}
        members = [member for member in _members(mirrored) if type(member).__name__ not in known]
        found = list(_at(case, cut, carried(graph, inputs, 0, cut.index), targets, derivatives, noises, members, seed))
        walks = [] if "Fisher" in known else [("Fisher", derivatives.probing), ("Spectrum", derivatives.directing)]
        shared = [
            Estimated(case.name, cut.name, cut.index, 0.0, name, WALK, 1.0, 0.0, 1.0, 1.0, seconds / len(cuts))
            for name, seconds in walks
        ]
        yield [*shared, *found]


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Tangents at every cut, by index, and the seconds of each walk."""

    energies: dict[int, TangentEnergy]
    grams: dict[int, JacobianGram]
    probing: float
    directing: float

    @classmethod
    def of(cls, graph: PartitionGraph, inputs: tuple[torch.Tensor, ...], seed: int) -> Derivatives:
        """As a study takes them."""
        begin = time.process_time()
        elements = sum(t[0].numel() for t in inputs)
        first = [t[: tangent_samples(elements)] for t in inputs]
        energies = tangent_energies(graph, first, probes_for(elements, len(first[0])), seed)
        middle = time.process_time()
        few = [t[: 4 * DIRECTIONS] for t in inputs]
        grams = jacobian_grams(graph, few, SPECTRUM_SAMPLES, DIRECTIONS, PRIOR_SMOOTHING, seed)
        return cls(energies, grams, middle - begin, time.process_time() - middle)


def _members(mirrored: Mirrored | None = None) -> list[Estimator]:
    return [*ESTIMATORS.values(), NoiseCurves(), QuickAlignment(mirrored=mirrored)]


def _at(
    case: Case, cut: Cut, bare: tuple[torch.Tensor, ...], targets: Targets, derivatives: Derivatives,
    noises: Sequence[float], members: Sequence[Estimator], seed: int,
) -> Iterator[Estimated]:  # fmt: skip
    curves = next((member.curves for member in members if isinstance(member, NoiseCurves)), {})
    for noise in sorted(noises):
        sent, sigma = noisy(bare, noise, seed)
        step = max(rounding_step(t) for t in sent)
        grams = derivatives.grams.get(cut.index)
        view = CutView(cut, sent, targets, step, seed, derivatives.energies.get(cut.index), grams)
        for member in members:
            if noise == 0 or not isinstance(member, NoiseCurves | QuickAlignment):
                yield from _rows(case, view, noise, member)
        if noise and cut.name in curves:
            kept = curves[cut.name].kept(sigma)
            yield Estimated(case.name, cut.name, cut.index, noise, "NoiseCurves", KEPT, kept, 0, kept, kept, 0)


def _rows(case: Case, view: CutView, noise: float, member: Estimator) -> Iterator[Estimated]:
    started = time.process_time()
    try:
        found = member.at(view)
    except NotMeasurableError:
        found = {spec.name: Estimate(float("nan")) for spec in member.columns}
    seconds = time.process_time() - started
    for number, (column, e) in enumerate(found.items()):
        yield Estimated(
            case.name, view.cut.name, view.cut.index, noise, type(member).__name__, column,
            e.value, e.stderr, e.low, e.high, 0.0 if number else seconds,
        )  # fmt: skip
