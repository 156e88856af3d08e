"""How long a run will take, stage by stage, told before it starts; and what is left out for it to keep to its time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from advisor.computing.chosen_device import said as compute_said
from advisor.derivatives.exact_tangents import EXACT_ELEMENTS
from advisor.estimators.study import leakage_study as derivatives
from advisor.estimators.study.few_attacks import FEWEST_ATTACKS, Allowance
from advisor.graph import PartitionGraph
from advisor.measures.images import PICTURE_SIDE, is_image_batch
from advisor.planning.shared_study.results import Results, Task, digest_of, strange
from advisor.planning.timing.attack_times import AttackTimes
from advisor.planning.timing.machine_speed import SOLVED, Speed
from advisor.request import Request
from advisor.sweep import panel_size
from advisor.units import show_duration

EFFORT_SECONDS = {"quick": 180.0, "standard": 720.0, "thorough": 3600.0}
"""What a run may take at most on the machine at hand, beside fits."""

FIT_SECONDS = {"quick": 240.0, "standard": 900.0, "thorough": 5400.0}
"""Of all fits of one recommendation with the attacks that price them, by effort; `--timeout` shortens it."""

KEPT = 0.85
"""Share of that for which work is planned: estimates err."""

LATE = 1.25
"""A stage may overrun what was planned for it by this factor before it is cut short."""

SEARCHED, VERIFIED_SHARE = 0.3, 0.2
"""Of what is left beside the fixed work: for the search, and for attacks on the plans; the rest is the study's."""

FEWEST_ROWS, FEWEST_TRIALS = 128, 6
CLOSED_FORMS = 3.6
"""Eigenproblems of as many samples as an attacker learns from, that the closed forms of one cut take together."""

LOOKED_AT = 8.0
"""Copies of an activation that the estimators of one cut make, or take as long as: finite, centred, its norm."""

DRAWN_UP = 0.7
"""Forward passes that pricing one plan takes: the cloud half, and the edge half of those not kept."""

PRICED = 0.05
"""Seconds of it beside those passes."""

USUAL_ATTACKS = 3
"""Attacks on plans where the first holds: it, and two more of the front."""

FIXED = 2.0
"""Seconds of pricing and of making the answer, beside the forward passes below."""

ANSWERED, SENT = 2 * DRAWN_UP + 3.0, 2.0
"""Forward passes of an answer for each sample that accuracy is measured on: the best split's cut in two formats, and
the model, the plan and the best split on the test part; for images also inputs as bytes and as JPEG."""

LOCAL = 60.0
"""Seconds of timing where a device is measured, not looked up."""


LEFT_OUT = ("cuts_attacked", "accuracy_samples", "trials")
"""What a run may leave out, as an advice records it."""


@dataclass(frozen=True)
class TimePlan:
    """What a run may do, and how long it is said to take.

    Attributes:
        told: seconds by stage.
        allowed: seconds in all; infinity where nothing bounds it.
        attacks: cuts that the leakage study attacks; None for all.
        rows: samples that accuracy is measured on; None for the usual number.
        trials: defended plans that are priced; None for what was asked.
        started: `time.monotonic()` at the run's start.
        deadline: seconds after which nothing new begins, as the user said; infinity where they did not.
        size: pixels a side at which the chosen plan is attacked once more where no size was asked for; None: it is not.
        of_size: what is said of the size of reconstructions; "" where the inputs are no larger images.
    """

    told: dict[str, float] = field(default_factory=dict)
    allowed: float = math.inf
    attacks: int | None = None
    rows: int | None = None
    trials: int | None = None
    started: float = 0.0
    deadline: float = math.inf
    size: int | None = None
    of_size: str = ""

    @property
    def reduced(self) -> bool:
        """Whether anything is left out."""
        return self.attacks is not None or self.rows is not None or self.trials is not None

    def until(self, stage: str) -> float:
        """`time.monotonic()` after which a stage begins nothing new; infinity where its end was not planned."""
        names = list(self.told)
        planned = math.inf
        if self.reduced and stage in names:
            planned = LATE * sum(self.told[name] for name in names[: names.index(stage) + 1])
        return self.started + min(planned, self.deadline)

    @property
    def allowance(self) -> Allowance:
        """For the leakage study; without limits where the plan has none."""
        roomy = self.attacks is None and sum(self.told.values()) < self.deadline / 2
        return Allowance(self.attacks, math.inf if roomy else self.until("leakage"))

    def sentence(self, effort: str, cuts: int) -> str:
        """What is told before the run starts."""
        parts = ", ".join(f"{name} {show_duration(seconds)}" for name, seconds in self.told.items() if seconds >= 0.5)
        said = f"On {compute_said()} this will take about {show_duration(sum(self.told.values()))} ({parts})"
        left = [
            f"{self.attacks} of {cuts} cuts are attacked, their neighbours bracket the rest" if self.attacks else "",
            f"accuracy is measured on {self.rows:,} samples" if self.rows else "",
            f"{self.trials} defended plans are tried" if self.trials else "",
        ]
        kept = "; ".join(part for part in left if part)
        said = f"{said}; to keep to {show_duration(self.allowed)} ({effort}) {kept}." if kept else f"{said}."
        return f"{said} {self.of_size}".rstrip()

    def agreed(self, results: Results, study: str) -> TimePlan:
        """The same with what the first worker of a study left out: one answer needs one plan.

        Raises:
            AdvisorError: where the storage holds what is no plan.
        """
        task = Task("time", digest_of(study), lambda: {**self.to_json(), "size": self.size})
        found = results.one(task)
        kept = [found.get(name) if isinstance(found, dict) else 0 for name in (*LEFT_OUT, "size")]
        if any(value is not None and not (type(value) is int and value > 0) for value in kept):
            raise strange(task, ValueError("it is no plan of a run's time"))
        return replace(self, attacks=kept[0], rows=kept[1], trials=kept[2], size=kept[3])

    def to_json(self) -> dict[str, Any]:
        """What was left out, as an advice records it; empty where nothing was."""
        left = zip(LEFT_OUT, (self.attacks, self.rows, self.trials), strict=True)
        return {name: value for name, value in left if value is not None}


UNBOUNDED = TimePlan()


@dataclass(frozen=True)
class _Work:
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


def plan_time(
    request: Request, graph: PartitionGraph, inputs: tuple[Tensor, ...], own: int, rows: int, speed: Speed,
    started: float, taken: bool = False, fits: bool = False,
) -> TimePlan:  # fmt: skip
    """What the run may do for it to keep to the time of its effort, and to `timeout` where that is less.

    Args:
        request: what is wanted.
        graph: the traced model.
        inputs: flat private samples `[N, ...]`.
        own: samples of the attacker.
        rows: samples that accuracy would be measured on.
        speed: of this machine.
        started: `time.monotonic()` when the run began.
        taken: whether the leakage comes from earlier advice.
        fits: whether defenses are fitted.
    """
    search = request.search
    deadline = math.inf if search.timeout is None else search.timeout
    fitting = min(FIT_SECONDS[search.effort], deadline / 2) if fits else 0.0
    allowed = min(EFFORT_SECONDS[search.effort] + fitting, deadline)
    work = _work(request, graph, inputs, own, speed, time.monotonic() - started, fitting)
    if taken:
        work = replace(work, fixed=speed.forward, attacks=())
    whole = TimePlan(_told(request, work, None, rows, search.count), allowed, started=started, deadline=deadline)
    if sum(whole.told.values()) > allowed:
        whole = _reduced(request, whole, work, rows)
    return _sized(whole, work)


def _sized(plan: TimePlan, work: _Work) -> TimePlan:
    """The chosen plan attacked once more at the largest size that the time left allows, and what is said of sizes."""
    if not work.sized:
        return plan
    native, spare = max(work.sized), KEPT * plan.allowed - sum(plan.told.values())
    size = max((side for side, seconds in work.sized.items() if seconds <= spare and not plan.reduced), default=None)
    missing = f"--attack-size native adds about {show_duration(work.sized[native])}"
    if size is None:
        said = (
            f"Images are reconstructed at {PICTURE_SIDE} of {native} pixels a side, which tells nothing of finer detail"
        )
        return replace(plan, of_size=f"{said}; {missing}.")
    told = plan.told | {"verify": plan.told["verify"] + work.sized[size]}
    said = f"The chosen plan is attacked once more with reconstructions at {size} of {native} pixels a side"
    return replace(plan, told=told, size=size, of_size=f"{said}." if size == native else f"{said}; {missing}.")


def _reduced(request: Request, whole: TimePlan, work: _Work, rows: int) -> TimePlan:
    trials = request.search.count
    base = sum(_told(request, replace(work, attacks=(), verify=0.0), None, 0, 0).values())
    left = max(0.0, KEPT * whole.allowed - base)
    room = max(SEARCHED * left, left - sum(work.attacks) - USUAL_ATTACKS * work.verify)
    fewer = min(rows, max(FEWEST_ROWS, int(room / max(1e-9, trials * work.plan + work.answer))))
    tried = min(trials, max(FEWEST_TRIALS, int(room / max(1e-9, fewer * work.plan) - work.answer / work.plan)))
    searched = fewer * (tried * work.plan + work.answer)
    verified = min(USUAL_ATTACKS * work.verify, max(work.verify, VERIFIED_SHARE * left))
    each = sum(work.attacks) / max(1, len(work.attacks))
    attacks = int(max(0.0, left - searched - verified) / each) if each else 0
    some = None if attacks >= len(work.attacks) else max(FEWEST_ATTACKS, attacks)
    told = _told(request, work, some, fewer, tried)
    told["verify"] = min(told["verify"], verified + work.asked)
    return replace(
        whole, told=told, attacks=some, rows=fewer if fewer < rows else None, trials=tried if tried < trials else None
    )


def _told(request: Request, work: _Work, attacks: int | None, rows: int, trials: int) -> dict[str, float]:
    count = len(work.attacks)
    share = 1.0 if attacks is None or not count else min(1.0, attacks / count)
    local = sum(name.startswith(("local", "ssh:")) for name in (request.target.device, request.target.cloud))
    cost = FIXED + (0.0 if request.target.profile is not None else LOCAL * local)
    verified = 0.0 if request.search.verify == "none" else USUAL_ATTACKS * work.verify + work.asked
    return {
        "preparation": work.spent, "cost": cost, "leakage": work.fixed + share * sum(work.attacks),
        "search": trials * (rows * work.plan + PRICED) + rows * work.plan, "fit": work.fitting,
        "verify": verified, "answer": rows * work.answer,
    }  # fmt: skip


def _work(
    request: Request, graph: PartitionGraph, inputs: tuple[Tensor, ...], own: int, speed: Speed, spent: float,
    fitting: float,
) -> _Work:  # fmt: skip
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
    budget = "strong" if fitting else request.search.verify  # the quick attack has priced what was fitted
    plan, verify = DRAWN_UP * speed.forward, times.on_plan(budget) + times.floor
    work = _Work(spent, fixed, attacks, plan, verify, answer=answer, fitting=fitting)
    if request.search.verify == "none" or not images:
        return work
    if request.search.attack_size is None:
        work = replace(work, sized={side: times.on_plan(request.search.verify, side) for side in times.larger})
    return replace(work, asked=times.asked(request.search))


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
