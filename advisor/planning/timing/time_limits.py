"""What a run may do for it to keep to the time of its effort."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from torch import Tensor

from advisor.estimators.study.few_attacks import FEWEST_ATTACKS
from advisor.graph import PartitionGraph
from advisor.measures.images import PICTURE_SIDE
from advisor.planning.evaluating.plan_accuracy import growing
from advisor.planning.timing.expected_work import Work, expected_work
from advisor.planning.timing.fit_times import WantedFits
from advisor.planning.timing.machine_speed import Speed
from advisor.planning.timing.time_plan import TimePlan
from advisor.request import Request
from advisor.units import show_duration

EFFORT_SECONDS = {"quick": 180.0, "standard": 720.0, "thorough": 3600.0}
"""What a run may take at most on the machine at hand, beside fits."""

KEPT = 0.85
"""Share of that for which work is planned: estimates err."""

SEARCHED, VERIFIED_SHARE = 0.3, 0.2
"""Of what is left beside the fixed work: for the search, and for attacks on the plans; the rest is the study's."""

FEWEST_ROWS, FEWEST_TRIALS = 128, 6

GO_ON = 0.5
"""Share of the trials of one subset that go on to the next: from 2 to 14 of 14 on the digits CNN."""

PRICED = 0.05
"""Seconds of it beside those passes."""

USUAL_ATTACKS = 3
"""Attacks on plans where the first holds: it, and two more of the front."""

FIXED = 2.0
"""Seconds of pricing and of making the answer, beside the forward passes below."""

LOCAL = 60.0
"""Seconds of timing where a device is measured, not looked up."""


def plan_time(
    request: Request, graph: PartitionGraph, inputs: tuple[Tensor, ...], own: int, rows: int, speed: Speed,
    started: float, taken: bool = False, fits: WantedFits | None = None,
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
        fits: what is fitted; None where nothing is.
    """
    search = request.search
    deadline = math.inf if search.timeout is None else search.timeout
    if fits is not None:
        fits = replace(fits, most=min(fits.most, deadline / 2))
    work = expected_work(request, graph, inputs, own, speed, time.monotonic() - started, fits)
    allowed = min(EFFORT_SECONDS[search.effort] + work.fitting, deadline)
    if taken:
        work = replace(work, fixed=speed.forward, attacks=())
    whole = TimePlan(_told(request, work, None, rows, search.count), allowed, started=started, deadline=deadline)
    if sum(whole.told.values()) > allowed:
        whole = _reduced(request, whole, work, rows)
    return _sized(whole, work)


def _sized(plan: TimePlan, work: Work) -> TimePlan:
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


def _reduced(request: Request, whole: TimePlan, work: Work, rows: int) -> TimePlan:
    trials = request.search.count
    base = sum(_told(request, replace(work, attacks=(), verify=0.0), None, 0, 0).values())
    left = max(0.0, KEPT * whole.allowed - base)
    room = max(SEARCHED * left, left - sum(work.attacks) - USUAL_ATTACKS * work.verify)
    fewer = _most_rows(work, trials, rows, room)
    tried = int((room - fewer * work.answer) / (judged_samples(fewer) * work.plan))
    tried = min(trials, max(FEWEST_TRIALS, tried))
    searched = tried * judged_samples(fewer) * work.plan + fewer * work.answer
    verified = min(USUAL_ATTACKS * work.verify, max(work.verify, VERIFIED_SHARE * left))
    each = sum(work.attacks) / max(1, len(work.attacks))
    attacks = int(max(0.0, left - searched - verified) / each) if each else 0
    some = None if attacks >= len(work.attacks) else max(FEWEST_ATTACKS, attacks)
    told = _told(request, work, some, fewer, tried)
    told["verify"] = min(told["verify"], verified + work.asked)
    return replace(
        whole, told=told, attacks=some, rows=fewer if fewer < rows else None, trials=tried if tried < trials else None
    )


def _most_rows(work: Work, trials: int, rows: int, room: float) -> int:
    """The most samples on which all trials are judged in `room` seconds, and the answer; not below the fewest."""
    return next(
        (
            count for count in range(rows, FEWEST_ROWS, -1)
            if trials * judged_samples(count) * work.plan + count * work.answer <= room
        ),
        min(rows, FEWEST_ROWS),
    )  # fmt: skip


def judged_samples(rows: int) -> float:
    """On how many samples, over all growing subsets, the accuracy of one trial is measured in the mean."""
    return sum(size * GO_ON**step for step, size in enumerate(growing(rows)))


def _told(request: Request, work: Work, attacks: int | None, rows: int, trials: int) -> dict[str, float]:
    count = len(work.attacks)
    share = 1.0 if attacks is None or not count else min(1.0, attacks / count)
    local = sum(name.startswith(("local", "ssh:")) for name in (request.target.device, request.target.cloud))
    cost = FIXED + (0.0 if request.target.profile is not None else LOCAL * local)
    verified = 0.0 if request.search.verify == "none" else USUAL_ATTACKS * work.verify + work.asked
    return {
        "preparation": work.spent, "cost": cost, "leakage": work.fixed + share * sum(work.attacks),
        "search": trials * (judged_samples(rows) * work.plan + PRICED) + rows * work.plan, "fit": work.fitting,
        "verify": verified, "answer": rows * work.answer,
    }  # fmt: skip
