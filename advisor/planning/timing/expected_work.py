"""How long a run without limits would take, part by part, on the machine at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from advisor.cuts import Cut
from advisor.derivatives.exact_tangents import EXACT_ELEMENTS
from advisor.estimators.study import study_derivatives as derivatives
from advisor.graph import PartitionGraph
from advisor.measures.images import is_image_batch
from advisor.panel import panel_size
from advisor.planning.timing.attack_times import AttackTimes
from advisor.planning.timing.fit_times import WantedFits
from advisor.planning.timing.machine_speed import SOLVED, Speed
from advisor.request import Request

CLOSED_FORMS = 3.6
"""Eigenproblems of as many samples as an attacker learns from, that the closed forms of one cut take together."""

LOOKED_AT = 8.0
"""Copies of an activation that the estimators of one cut make, or take as long as: finite, centred, its norm."""

DRAWN_UP = 0.7
"""Forward passes that pricing one plan takes: the cloud half, and the edge half of those not kept."""

NOT_OF_IDS = frozenset({"min_nmse", "max_ssim"})
"""Requirements that nothing measures where inputs are ids."""

ANSWERED, SENT = 2 * DRAWN_UP + 3.0, 2.0
"""Forward passes of an answer for each sample that accuracy is measured on: the best split's cut in two formats, and
the model, the plan and the best split on the test part; for images also inputs as bytes and as JPEG."""


@dataclass(frozen=True)
class Work:
    """What a run without limits would take, in seconds.

    Attributes:
        spent: already, by now.
        fixed: of the study beside its attacks.
        attacks: `[cuts]` of the quick attack at each.
        plan: of pricing one defended plan on one sample.
        verify: of one attack on a plan, and of its floor.
        asked: of the attacks that `--attack-size` and `--attacker-samples` add.
        answer: of what is measured for the answer after the attacks, on one sample.
        fitting: defenses, with the attacks that price them.
        sized: pixels a side -> of one more attack on the chosen plan at that size, where none was asked for.
    """

    spent: float
    fixed: float
    attacks: tuple[float, ...]
    plan: float
    verify: float
    asked: float = 0.0
    answer: float = 0.0
    fitting: float = 0.0
    sized: Mapping[int, float] = field(default_factory=dict)


def expected_work(
    request: Request, graph: PartitionGraph, inputs: tuple[Tensor, ...], own: int, speed: Speed, spent: float,
    fits: WantedFits | None,
) -> Work:  # fmt: skip
    """Of a run that leaves nothing out, from the speed of this machine."""
    whole = len(inputs[0]) + own
    samples = panel_size(graph, whole)
    learnt = min(max(round(samples * own / whole), 1), samples - 1)
    images = len(inputs) == 1 and is_image_batch(inputs[0])
    passes = 2 * samples + (learnt if images else 0)
    cubes = (min(learnt, 1125) / SOLVED) ** 3
    closed = len(graph.cuts) * speed.solve * CLOSED_FORMS * cubes
    crossing = samples * sum(cut.elements for cut in graph.cuts)
    products = crossing * (samples * speed.product + LOOKED_AT * speed.element)
    fixed = passes * speed.forward + _tangents(inputs, samples) * speed.tangent + closed + products
    times = AttackTimes(graph, inputs, learnt, samples, speed)
    attacks = times.of_study
    answer = (ANSWERED + SENT * images) * speed.forward
    fitting, verify = _of_fits(fits, times, request.search.verify)
    work = Work(spent, fixed, attacks, DRAWN_UP * speed.forward, verify, answer=answer, fitting=fitting)
    if times.discrete and not NOT_OF_IDS.isdisjoint(request.requirements.limits):
        return replace(work, verify=0.0)  # no plan meets them, and none is attacked
    if request.search.verify == "none" or not images:
        return work
    if request.search.attack_size is None:
        work = replace(work, sized={side: times.on_plan(request.search.verify, side) for side in times.larger})
    return replace(work, asked=times.asked(request.search))


def _of_fits(fits: WantedFits | None, times: AttackTimes, budget: str) -> tuple[float, float]:
    """Seconds of the fits, and of one attack on a plan: what was fitted is priced by the quick one already."""

    def quick(payload: Cut) -> float:
        return times.on_plan("quick", payload=payload)

    fitting = 0.0 if fits is None else fits.seconds(times.speed.forward, quick)
    if budget == "none":
        return fitting, 0.0
    verify = times.on_plan(budget) if fits is None else times.on_plan("strong", payload=fits.payload(quick))
    return fitting, verify + times.floor


def _tangents(inputs: tuple[Tensor, ...], most: int) -> int:
    """Samples times directions that are differentiated."""
    if not all(t.dtype.is_floating_point for t in inputs):
        return derivatives.TANGENT_SAMPLES * derivatives.PROBES
    elements = sum(t[0].numel() for t in inputs)
    if elements <= EXACT_ELEMENTS:
        return 2 * elements * min(most, derivatives.TANGENT_SAMPLES)
    few = min(most, derivatives.tangent_samples(elements))
    spectrum = min(most, derivatives.spectrum_samples(elements))
    return few * derivatives.probes_for(elements, few) + spectrum * derivatives.DIRECTIONS
