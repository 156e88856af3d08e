"""What the cheap estimators say of the attacked cuts, bare and under noise, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from advisor.batches import carried
from advisor.cuts import Cut
from advisor.defenses.precision import rounding_step
from advisor.estimate import Estimate
from advisor.estimators import estimators
from advisor.estimators.alignment import QuickAlignment
from advisor.estimators.noise import NoiseCurves
from advisor.estimators.study import PROBES, TANGENT_SAMPLES, targets_for
from advisor.graph import PartitionGraph
from advisor.sweep import CutView, Estimator, NotMeasurableError, Targets, panel_size
from advisor.tangents import TangentEnergy, tangent_energies
from benchmarks.headline.cases import Case, Data
from benchmarks.headline.truth import NOISES, attacked_cuts, noisy

TANGENTS = "tangents"
KEPT = "kept"


@dataclass(frozen=True)
class Estimated:
    """One number of one estimator: NaN where it could not be measured.

    Attributes:
        net, cut, index, noise: as `Attacked` has them.
        estimator: class name of the estimator.
        column: its column; `kept` is the share of what linear inversion explains that survives the noise.
        value, stderr, low, high: the estimate.
        seconds: of the estimator at this cut; on its first column only, so that sums are right.
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
    case: Case, graph: PartitionGraph, data: Data, done: set[str], seed: int = 0
) -> Iterator[list[Estimated]]:
    """All rows of one cut at a time, cuts in `done` left out."""
    cuts = [cut for cut in attacked_cuts(graph) if cut.name not in done]
    if not cuts:
        return
    pool = graph.flat(data.unseen[0])
    order = torch.randperm(len(pool[0]), generator=torch.Generator().manual_seed(seed))
    rows = order[: panel_size(graph, len(order))].sort().values
    inputs = tuple(t[rows] for t in pool)
    targets = targets_for(graph, inputs, data.unseen[1][rows], seed)
    started = time.perf_counter()
    energies = tangent_energies(graph, [t[:TANGENT_SAMPLES] for t in inputs], PROBES, seed)
    share = (time.perf_counter() - started) / len(cuts)
    for cut in cuts:
        found = list(_at(case, cut, carried(graph, inputs, 0, cut.index), targets, energies, seed))
        yield [Estimated(case.name, cut.name, cut.index, 0.0, "Fisher", TANGENTS, 1.0, 0.0, 1.0, 1.0, share), *found]


def _at(
    case: Case,
    cut: Cut,
    bare: tuple[torch.Tensor, ...],
    targets: Targets,
    energies: dict[int, TangentEnergy],
    seed: int,
) -> Iterator[Estimated]:
    curves = NoiseCurves()
    for noise in sorted(NOISES):
        sent, sigma = noisy(bare, noise, seed)
        step = max(rounding_step(t) for t in sent)
        view = CutView(cut, sent, targets, step, seed, energies.get(cut.index))
        members: list[Estimator] = [*estimators(), *([curves, QuickAlignment()] if noise == 0 else [])]
        for member in members:
            yield from _rows(case, view, noise, member)
        if noise and cut.index in curves.curves:
            kept = curves.curves[cut.index].kept(sigma)
            yield Estimated(case.name, cut.name, cut.index, noise, "NoiseCurves", KEPT, kept, 0, kept, kept, 0)


def _rows(case: Case, view: CutView, noise: float, member: Estimator) -> Iterator[Estimated]:
    started = time.perf_counter()
    try:
        found = member.at(view)
    except NotMeasurableError:
        found = {spec.name: Estimate(float("nan")) for spec in member.columns}
    seconds = time.perf_counter() - started
    for number, (column, e) in enumerate(found.items()):
        yield Estimated(
            case.name, view.cut.name, view.cut.index, noise, type(member).__name__, column,
            e.value, e.stderr, e.low, e.high, 0.0 if number else seconds,
        )  # fmt: skip
