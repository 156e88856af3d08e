"""What plans are attacked with, and the attacks on one plan."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from advisor.advice import Advice
from advisor.attack_versions import version_of
from advisor.defenses import defense_to_json
from advisor.errors import AdvisorError
from advisor.estimators.attacks.runner import AttackResult
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits.variant_pricing import for_plan
from advisor.planning.selecting.selection import with_excess
from advisor.planning.shared_study.proofs import Proof, as_proof, proof_to_json
from advisor.planning.shared_study.results import Task, digest_of
from advisor.planning.timing.time_plan import UNBOUNDED, TimePlan
from advisor.planning.verifying.earlier_evidence import earlier_proof
from advisor.planning.verifying.faced import faced
from advisor.planning.verifying.pictures import evidence_of
from advisor.plans import Plan
from advisor.progress import Progress, part
from advisor.request import Request
from advisor.support.memory_limit import give_back


@dataclass(frozen=True, eq=False)
class Judge:
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


def attacked(judge: Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
    """The plan with what attacks on its input reached; or as it is, and why there is none.

    Over a storage one worker of the study attacks it; where pictures are asked for, each does: they leave no machine.
    """
    if judge.request.output.pictures:
        return _attacked_here(judge, plan, progress)
    names = faced(plan, for_plan(judge.evaluator, plan).secret)
    if (known := earlier_proof(judge.before, plan, names, _effort(judge, plan))) is not None:
        return judge.judged(dataclasses.replace(plan, verified=known.verified, evidence=known.evidence)), ""
    task = attack_task(judge, plan, progress)
    proof = as_proof(task, judge.evaluator.results.one(task))
    proven = dataclasses.replace(plan, verified=proof.verified, evidence=proof.evidence)
    return judge.judged(proven) if proof.verified else proven, proof.lost


def attack_task(judge: Judge, plan: Plan, progress: Progress) -> Task:
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


def _attacked_here(judge: Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
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


def _effort(judge: Judge, plan: Plan) -> str:
    """A fit that was trained against an estimator faces the strong attack: the quick one priced it already."""
    return "strong" if plan.fitted is not None and plan.fitted.trained_against else judge.budget


def labels_attacked(judge: Judge, plan: Plan, progress: Progress) -> tuple[Plan, str]:
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
