"""Attack the plans that are shown; where an attack finds more than was predicted, choose again."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.errors import AdvisorError
from advisor.planning.evaluating.attacker_samples import samples_needed
from advisor.planning.fits.variant_pricing import for_plan
from advisor.planning.searching.growing_samples import in_whole
from advisor.planning.selecting.selection import choose, pareto, rank_within
from advisor.planning.stages import Searched, Step, Verified
from advisor.planning.verifying.closer_looks import closer_looks
from advisor.planning.verifying.earlier_evidence import EARLIER
from advisor.planning.verifying.judge import Judge, attack_task, attacked, labels_attacked
from advisor.planning.verifying.pictures import evidence_of
from advisor.plans import Plan
from advisor.progress import Progress, RunListener, about, part
from advisor.request import Request
from advisor.support.memory_limit import give_back

VERIFY_ATTEMPTS = 7
"""On plans that would be chosen, one after the other, and on others that are shown."""

ALSO_VERIFIED = 2
"""Of the others at most: what is chosen goes before them."""

TOLD_BY_ATTACK = ("max_ids_recovered",)
"""Requirements of which no prediction tells, as of ids there is none."""

MOST_ATTACKS = VERIFY_ATTEMPTS + 1
"""Attacks in all: the last one is on labels."""


@dataclass(frozen=True)
class _Found:
    """The plans after some attacks.

    Attributes:
        plans: all of them; an attacked one in the place of what was predicted.
        failed: those whose attack failed.
        unverified: what was not attacked, and why.
    """

    plans: tuple[Plan, ...]
    failed: tuple[Plan, ...] = ()
    unverified: tuple[str, ...] = ()

    def attacked(self, plan: Plan, proven: Plan, why_not: str, *stronger: Plan) -> _Found:
        """After one more attack."""
        plans = tuple(proven if known is plan else known for known in self.plans)
        failed = (*self.failed, proven) if why_not else self.failed
        return _Found((*plans, *stronger), failed, (*self.unverified, *([why_not] if why_not else [])))


def verify(request: Request, searched: Searched, progress: RunListener | None = None) -> Verified:
    """Attack the plan that would be chosen; where the attack finds more than was predicted, choose again.

    An attack that fails leaves its plan unverified, and is said in `unverified`: never taken for privacy. Ctrl-C keeps
    the attacks that are done.
    """
    measured = searched.measured
    judge = Judge(measured.evaluator, searched.limits, request, measured.time, measured.before)
    found, now, interrupted = _Found(searched.plans), Step("verify", progress), searched.interrupted
    learning: dict[str, Any] = {}
    if not interrupted and judge.budget != "none":
        try:
            with now.timed():
                for plans in closer_looks(judge, found.plans, part(now, 0, 1 / MOST_ATTACKS)):
                    found = _Found(plans)
                for later in _attacks(judge, found, now):
                    found = later  # is kept on Ctrl-C
                found = _at_another_size(judge, found, now)
                found, learning = _learning(judge, found, now)
        except KeyboardInterrupt:
            interrupted = "verify"
    judge.evaluator.walks.clear()  # no further attack follows
    give_back()
    return Verified(
        searched=searched, plans=found.plans, unverified=found.unverified, interrupted=interrupted, learning=learning,
        seconds=now.seconds, notes=(*judge.evaluator.results.notes, *_taken(found.plans)),
    )  # fmt: skip


def _taken(plans: Sequence[Plan]) -> list[str]:
    """How many plans keep evidence of earlier advice."""
    count = sum(any(EARLIER in note for item in plan.evidence for note in item.notes) for plan in plans)
    said = f"{EARLIER[0].upper()}{EARLIER[1:]} was taken for {count} of the plans: same model, data, seed and attack."
    return [said] if count else []


def _at_another_size(judge: Judge, found: _Found, now: Step) -> _Found:
    """The chosen plan attacked once more at the size asked for, or that time allows; a lesser error there counts."""
    asked, allowed = judge.request.search.attack_size, judge.time.size
    size = str(allowed) if asked is None and allowed is not None and not judge.over() else asked
    best = choose(list(found.plans), judge.limits)
    evaluator = None if best is None else for_plan(judge.evaluator, best)
    if size is None or best is None or evaluator is None or evaluator.secret != "input":
        return found
    try:
        result = evaluator.attack(best, judge.budget, about(now, f"{best} at {size} pixels"), name="ka", size=size)
    except AdvisorError as error:
        return found.attacked(best, best, f"{best} was not attacked at {size} pixels: {error.problem}")
    shown = evidence_of(result, best.cut, best.defense, judge.request.output.pictures)
    before, numbers = best.verified.get("nmse"), dict(best.verified)
    if before is not None and result.nmse.value < before.value:
        numbers["nmse"] = result.nmse
    proven = dataclasses.replace(best, verified=numbers, evidence=(*best.evidence, shown))
    return found.attacked(best, judge.judged(proven), "")


def _learning(judge: Judge, found: _Found, now: Step) -> tuple[_Found, dict[str, Any]]:
    """What an attacker of as many samples as was asked is left with on the plan that would be chosen."""
    wanted, best = judge.request.search.attacker_samples, choose(list(found.plans), judge.limits)
    if wanted is None or best is None:
        return found, {}
    evaluator = for_plan(judge.evaluator, best)
    try:
        if evaluator.secret != "input":
            raise AdvisorError("the inputs are discrete: there is nothing to reconstruct.")
        learnt = samples_needed(evaluator, best, wanted, about(now, f"learning curve at {best.cut.name}"))
    except AdvisorError as error:
        why = f"What an attacker of {wanted:,} samples gets is not known: {error.problem}"
        return dataclasses.replace(found, unverified=(*found.unverified, why)), {}
    return found, learnt


def _attacks(judge: Judge, found: _Found, now: Step) -> Iterator[_Found]:
    """What is known after each attack: on the best plan until it holds, on others that are shown, on labels."""
    best, longest, made = _next(judge, found), 0.0, 0
    for attempt in range(VERIFY_ATTEMPTS):
        if best is None or best.verified or best in found.failed:
            break
        if judge.over(first=not attempt):
            found = found.attacked(best, best, f"{best} was not attacked: the time was up")
            yield found
            break
        began = time.monotonic()
        proven, why_not = attacked(judge, best, _part(now, attempt, best))
        longest = max(longest, time.monotonic() - began)
        stronger = proven.defense.strengthen() if judge.limits.shortfall(proven) and proven.verified else None
        added = (
            [] if stronger is None else [judge.judged(for_plan(judge.evaluator, proven).evaluate(proven.cut, stronger))]
        )
        found, made = found.attacked(best, proven, why_not, *added), attempt + 1
        yield found
        found, best = _whole_best(judge, found)
    if best is not None and made == VERIFY_ATTEMPTS and not (best.verified or best in found.failed):
        found = found.attacked(best, best, f"{best} was not attacked: {made} plans before it leaked more than they may")
        yield found
    others = _also_shown([p for p in found.plans if p not in found.failed], best)[: VERIFY_ATTEMPTS - made]
    if judge.evaluator.results.shared and not judge.request.output.pictures:  # so that they spread
        tasks = [attack_task(judge, plan, _part(now, number, plan)) for number, plan in enumerate(others, made)]
        judge.evaluator.results.all(tasks, judge.time.until("verify"))
    for number, plan in enumerate(others, made):
        if judge.over(takes=longest):
            return
        found = found.attacked(plan, *attacked(judge, plan, _part(now, number, plan)))
        yield found
    if best is not None and not judge.over():
        proven, why_not = labels_attacked(judge, best, _part(now, MOST_ATTACKS - 1, best))
        yield found.attacked(best, proven, why_not)


def _whole_best(judge: Judge, found: _Found) -> tuple[_Found, Plan | None]:
    """The plan that is chosen now, its accuracy measured on all samples."""
    until = judge.time.started + judge.time.deadline
    plans = in_whole(found.plans, lambda every: [choose(every, judge.limits)], judge.evaluator, judge.judged, until)
    found = dataclasses.replace(found, plans=plans)
    return found, _next(judge, found)


def _next(judge: Judge, found: _Found) -> Plan | None:
    """The plan that is chosen; where there is none, the best of those of which only an attack tells whether they hold.

    What is merely rounded gives away no less at an earlier cut than at a later one, so that it is not tried there.
    """
    best = choose(list(found.plans), judge.limits)
    if best is not None:
        return best
    done = [plan for plan in found.plans if plan.verified or plan in found.failed]
    beaten = max((plan.cut.index for plan in done if plan.verified and not plan.defense.random), default=-1)
    kinds = {(plan.places, plan.defense.name) for plan in done}
    untold = [
        plan for plan in found.plans
        if plan.excess and all(name in TOLD_BY_ATTACK and math.isnan(over) for name, over in plan.excess.items())
        and (plan.defense.random or plan.cut.index > beaten) and (plan.places, plan.defense.name) not in kinds
    ]  # fmt: skip
    return min(untold, key=lambda plan: rank_within(plan, judge.limits), default=None)


def _part(now: Step, number: int, plan: Plan) -> Progress:
    """Progress of one attack of those that may be run."""
    now(number / MOST_ATTACKS, str(plan))
    return part(now, number / MOST_ATTACKS, 1 / MOST_ATTACKS, str(plan))


def _also_shown(plans: list[Plan], best: Plan | None) -> list[Plan]:
    """Defended plans of the Pareto front that were not attacked yet, best hidden first."""
    front = [p for p in pareto([p for p in plans if p.feasible]) if not p.verified and p is not best]
    defended = [p for p in front if not p.defense.identity]
    return sorted(defended, key=lambda p: -p.predicted["score"].value)[:ALSO_VERIFIED]
