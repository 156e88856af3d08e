"""Attack the plans that are shown; where an attack finds more than was predicted, choose again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from advisor.attack_versions import version_of
from advisor.defenses import defense_to_json
from advisor.errors import AdvisorError
from advisor.estimators.attacks.runner import AttackResult
from advisor.memory_limit import give_back
from advisor.planning.evaluating.attacker_samples import samples_needed
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits.variant_pricing import for_plan
from advisor.planning.searching.growing_samples import in_whole
from advisor.planning.selecting.selection import choose, pareto, with_excess
from advisor.planning.shared_study.proofs import Proof, as_proof, proof_to_json
from advisor.planning.shared_study.results import Task, digest_of
from advisor.planning.stages import Searched, Step, Verified
from advisor.planning.timing.time_plan import UNBOUNDED, TimePlan
from advisor.planning.verifying.earlier_evidence import EARLIER, earlier_proof
from advisor.planning.verifying.faced import faced
from advisor.planning.verifying.pictures import evidence_of
from advisor.plans import Advice, Plan
from advisor.progress import Progress, RunListener, about, part
from advisor.request import Request

VERIFY_ATTEMPTS = 5
ALSO_VERIFIED = 2
MOST_ATTACKS = VERIFY_ATTEMPTS + ALSO_VERIFIED + 1
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


@dataclass(frozen=True, eq=False)
class _Judge:
    """What plans are attacked with, and what they must meet."""

    evaluator: PlanEvaluator
    limits: LeakageLimits
    request: Request
    time: TimePlan = UNBOUNDED
    before: Advice | None = None

    def over(self, first: bool = False, takes: float = 0.0) -> bool:
        """Whether no further attack may begin; the first one does, unless the user's own time is up.

        Args:
            first: whether it is that.
            takes: seconds that it is expected to take: what nobody asked for does not begin if it would end too late.
        """
        end = self.time.started + self.time.deadline if first else self.time.until("verify")
        return time.monotonic() + takes >= end

    @property
    def budget(self) -> str:
        """Of the attack: "quick" or "strong"."""
        return self.request.search.verify

    def judged(self, plan: Plan) -> Plan:
        """A plan with how far it misses what was asked."""
        return with_excess(plan, self.request.requirements, self.limits)


def verify(request: Request, searched: Searched, progress: RunListener | None = None) -> Verified:
    """Attack the plan that would be chosen; where the attack finds more than was predicted, choose again.

    An attack that fails leaves its plan unverified, and is said in `unverified`: never taken for privacy. Ctrl-C keeps
    the attacks that are done.
    """
    measured = searched.measured
    judge = _Judge(measured.evaluator, searched.limits, request, measured.time, measured.before)
    found, now, interrupted = _Found(searched.plans), Step("verify", progress), searched.interrupted
    learning: dict[str, Any] = {}
    if not interrupted and judge.budget != "none" and choose(list(found.plans), searched.limits) is not None:
        try:
            with now.timed():
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


def _at_another_size(judge: _Judge, found: _Found, now: Step) -> _Found:
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


def _learning(judge: _Judge, found: _Found, now: Step) -> tuple[_Found, dict[str, Any]]:
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


def _attacks(judge: _Judge, found: _Found, now: Step) -> Iterator[_Found]:
    """What is known after each attack: on the best plan until it holds, on others that are shown, on labels."""
    best, longest = choose(list(found.plans), judge.limits), 0.0
    for attempt in range(VERIFY_ATTEMPTS):
        if best is None or best.verified or best in found.failed:
            break
        if judge.over(first=not attempt):
            found = found.attacked(best, best, f"{best} was not attacked: the time was up")
            yield found
            break
        began = time.monotonic()
        proven, why_not = _attacked(judge, best, _part(now, attempt, best))
        longest = max(longest, time.monotonic() - began)
        stronger = proven.defense.strengthen() if judge.limits.shortfall(proven) and proven.verified else None
        added = (
            [] if stronger is None else [judge.judged(for_plan(judge.evaluator, proven).evaluate(proven.cut, stronger))]
        )
        found = found.attacked(best, proven, why_not, *added)
        yield found
        found, best = _whole_best(judge, found)
    others = _also_shown([p for p in found.plans if p not in found.failed], best)
    if judge.evaluator.results.shared and not judge.request.output.pictures:  # so that they spread
        tasks = [
            _attack_task(judge, plan, _part(now, number, plan)) for number, plan in enumerate(others, VERIFY_ATTEMPTS)
        ]
        judge.evaluator.results.all(tasks, judge.time.until("verify"))
    for number, plan in enumerate(others, VERIFY_ATTEMPTS):
        if judge.over(takes=longest):
            return
        found = found.attacked(plan, *_attacked(judge, plan, _part(now, number, plan)))
        yield found
    if best is not None and not judge.over():
        proven, why_not = _labels_attacked(judge, best, _part(now, MOST_ATTACKS - 1, best))
        yield found.attacked(best, proven, why_not)


def _whole_best(judge: _Judge, found: _Found) -> tuple[_Found, Plan | None]:
    """The plan that is chosen now, its accuracy measured on all samples."""
    until = judge.time.started + judge.time.deadline
    plans = in_whole(found.plans, lambda every: [choose(every, judge.limits)], judge.evaluator, judge.judged, until)
    return dataclasses.replace(found, plans=plans), choose(plans, judge.limits)


def _part(now: Step, number: int, plan: Plan) -> Progress:
    """Progress of one attack of those that may be run."""
    now(number / MOST_ATTACKS, str(plan))
    return part(now, number / MOST_ATTACKS, 1 / MOST_ATTACKS, str(plan))


def _attacked(judge: _Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
    """The plan with what attacks on its input reached; or as it is, and why there is none.

    Over a storage one worker of the study attacks it; where pictures are asked for, each does: they leave no machine.
    """
    if judge.request.output.pictures:
        return _attacked_here(judge, plan, progress)
    names = faced(plan, for_plan(judge.evaluator, plan).secret)
    if (known := earlier_proof(judge.before, plan, names, _effort(judge, plan))) is not None:
        return judge.judged(dataclasses.replace(plan, verified=known.verified, evidence=known.evidence)), ""
    task = _attack_task(judge, plan, progress)
    proof = as_proof(task, judge.evaluator.results.one(task))
    proven = dataclasses.replace(plan, verified=proof.verified, evidence=proof.evidence)
    return judge.judged(proven) if proof.verified else proven, proof.lost


def _attack_task(judge: _Judge, plan: Plan, progress: Progress) -> Task:
    """The attacks on a plan, to be run once for the same graph, chain, samples and effort."""
    evaluator = for_plan(judge.evaluator, plan)
    told = digest_of(
        version("partition-advisor"), evaluator.graph.digest, [cut.name for cut in plan.cuts],
        defense_to_json(plan.defense), evaluator.roles.fingerprints, _effort(judge, plan), evaluator.seed,
        [(name, version_of(name)) for name in faced(plan, evaluator.secret)],
    )  # fmt: skip

    def compute() -> dict[str, Any]:
        proven, lost = _attacked_here(judge, plan, progress)
        return proof_to_json(Proof(proven.verified, tuple(proven.evidence), lost))

    return Task("attack", told, compute)


def _attacked_here(judge: _Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
    """The same, by this process.

    Every attack that its defense must face is run, and the worst counts; where the model's output alone gives more
    away, that counts: an attack that is left with more has failed.
    """
    evaluator, effort = for_plan(judge.evaluator, plan), _effort(judge, plan)
    found, lost = list[AttackResult](), list[str]()
    names = faced(plan, evaluator.secret)
    for number, name in enumerate(names):
        share = part(progress, number / len(names), 1 / len(names))
        try:
            found.append(evaluator.attack(plan, effort, share, name=name))
        except AdvisorError as error:
            lost.append(f"{name} on {plan} failed: {error.problem}")
        give_back()
    if not found:
        return dataclasses.replace(plan), f"{plan} was not verified: {'; '.join(lost)}"
    ids = found[0].threat is not None and found[0].threat.recovers == "ids"
    worst = max(found, key=lambda f: f.top1.value) if ids else min(found, key=lambda f: f.nmse.value)
    numbers = {name: worst.scores[name] for name in (("top1", "top5") if ids else ("nmse", "mse", "ssim", "psnr"))}
    if not ids:
        numbers["nmse"] = worst.reported
    order = [worst, *(f for f in found if f is not worst)]
    pictures = judge.request.output.pictures
    shown = tuple(evidence_of(f, plan.cut, plan.defense, pictures, floor=f is worst and not ids) for f in order)
    return judge.judged(dataclasses.replace(plan, verified=numbers, evidence=shown)), "; ".join(lost)


def _effort(judge: _Judge, plan: Plan) -> str:
    """A fit that was trained against an estimator faces the strong attack: the quick one priced it already."""
    return "strong" if plan.fitted is not None and plan.fitted.trained_against else judge.budget


def _labels_attacked(judge: _Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
    """The chosen plan with the evidence of an attack on labels, where they exist and the cloud does not compute them.

    It is run on what the body makes of what was received, up to the tail: the cloud computes that itself, and labels
    are read more easily there. About the input it says no more than what was received (it is a function of that).
    """
    if judge.evaluator.roles["private"].labels is None:
        return plan, ""
    if plan.tail is None:
        return plan, "Labels were not attacked: the cloud computes the model's output (see --tail)"
    try:
        found = for_plan(judge.evaluator, plan).attack(plan, judge.budget, progress, labels=True)
    except AdvisorError as error:
        return plan, f"The labels of {plan} were not attacked: {error.problem}"
    shown = evidence_of(found, plan.cut, plan.defense, judge.request.output.pictures)
    note = f"on what the cloud computes of it up to {plan.tail.name}"
    evidence = (*plan.evidence, dataclasses.replace(shown, notes=(*shown.notes, note)))
    return dataclasses.replace(plan, evidence=evidence), ""


def _also_shown(plans: list[Plan], best: Plan | None) -> list[Plan]:
    """Defended plans of the Pareto front that were not attacked yet, best hidden first."""
    front = [p for p in pareto([p for p in plans if p.feasible]) if not p.verified and p is not best]
    defended = [p for p in front if not p.defense.identity]
    return sorted(defended, key=lambda p: -p.predicted["score"].value)[:ALSO_VERIFIED]
