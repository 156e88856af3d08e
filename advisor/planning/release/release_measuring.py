"""What a release gate measures again of one plan: costs, accuracy, leakage of what is sent, the attack."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence

from advisor.advice import Advice
from advisor.cuts import Cut
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.estimators.attacks.runner import AttackResult
from advisor.estimators.study.payload_leakage import leakage_on
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.sent_inputs import sent_as
from advisor.planning.fits.variant_pricing import VariantEvaluator
from advisor.planning.release.found_again import ACCURACY, Found, group
from advisor.planning.release.release_evaluator import release_evaluator
from advisor.planning.release.release_subject import Subject
from advisor.planning.stages import Prepared, Step, step
from advisor.planning.verifying.faced import faced
from advisor.plans import Plan
from advisor.progress import RunListener
from advisor.requirement import Requirement

ON_THE_EDGE = ("all-edge", "local-head")
SCORES = ("score", "score_ssim")
MEASURED_ELSEWHERE = (
    "its costs were measured on a device: --digest vouches for them, --device or --profile gives them again"
)


def same_architecture(advice: Advice, plan: Plan, graph: PartitionGraph) -> str:
    """What differs between the cuts of the advice and those of a graph; "" where nothing does."""
    then, now = advice.profile.cuts, graph.cuts
    for old, new in zip(then, now, strict=False):
        if (old.name, old.tensors) != (new.name, new.tensors):
            return f"cut {old.index} is {old.name!r} there and {new.name!r} here, or has another shape"
    if len(then) != len(now):
        return f"it has {len(then)} cuts there and {len(now)} here"
    lost = [name for name in plan.places if name not in {cut.name for cut in now}]
    return f"its plan cuts at {lost[0]!r}, which is no cut" if lost else ""


def measured_again(
    plan: Plan, opened: Subject, prepared: Prepared | None, *, rows: Sequence[Requirement], samples_needed: bool,
    columns: Container[str], progress: RunListener | None,
) -> Found:  # fmt: skip
    """The plan, priced and measured again as far as that is asked for and possible.

    Args:
        plan: what is checked.
        opened: the model.
        prepared: its samples, or None.
        rows: the requirements.
        samples_needed: whether accuracy and leakage are measured again where they are asked for.
        columns: what estimators measure; other leakage is what an attack says.
        progress: told of each stage.
    """
    missing, wanted = dict[str, str](), {group(row) for row in rows}
    own = any(row.function is not None for row in rows)  # may read all that a plan has
    wanted |= {"accuracy", "leakage"} if own else set()
    try:
        judge = release_evaluator(plan, opened, prepared, progress)
    except AdvisorError as error:  # the weights of what was fitted are gone, or belong to other weights of the model
        return Found(None, dict.fromkeys(("cost", "accuracy", "leakage"), f"{error.problem} {error.next_step}"))
    cut = judge.graph.cut(plan.cut.name)
    found, attacked, notes = dict[str, Estimate](), dict[str, Estimate](), list[str]()
    if not opened.priced:
        missing["cost"] = MEASURED_ELSEWHERE
    elif prepared is None and judge.link.compression:
        missing["cost"] = "how far the link compresses depends on the samples. Pass --data"
    elif prepared is None and plan.sends:
        missing["cost"] = f"how large inputs are as {plan.sends} depends on the samples. Pass --data"
    else:
        found |= _costs(judge, cut, plan)
    if samples_needed and prepared is None:
        missing |= dict.fromkeys(("accuracy", "leakage"), f"{opened.why_no_data} Pass --data")
    elif samples_needed:
        if "accuracy" in wanted:
            found |= _accuracy(judge, cut, plan)
        if "leakage" in wanted:
            try:
                names = sorted({row.measurement for row in rows if row.leakage and row.measurement in columns})
                names += [name for name in SCORES if own and name in columns and name not in names]
                leaks, attacked = _leaks(judge, plan, names, opened, notes, progress)
                found |= leaks
            except AdvisorError as error:  # an attack that failed is no privacy
                missing["leakage"] = f"the attack failed: {error.problem}"
    return Found(dataclasses.replace(plan, predicted=found, verified=attacked, excess={}), missing, tuple(notes))


def _costs(judge: PlanEvaluator, cut: Cut, plan: Plan) -> dict[str, Estimate]:
    """What a plan costs; of a plan that stays on the edge nothing is sent."""
    found = judge.costs(cut, plan.defense, judge.tail)
    if plan.sends and (again := sent_as(judge, plan.sends)) is not None:
        found = {name: again.predicted[name] for name in found}
    if plan.kind in ON_THE_EDGE:
        found["bytes"] = Estimate.exact(0, "B", "measured", "nothing is sent")
    return found


def _accuracy(judge: PlanEvaluator, cut: Cut, plan: Plan) -> dict[str, Estimate]:
    """Accuracy on what arrives."""
    if not plan.sends or (again := sent_as(judge, plan.sends)) is None:
        return judge.accuracy(cut, plan.defense)
    return {name: again.predicted[name] for name in ACCURACY if name in again.predicted}


def _leaks(
    judge: PlanEvaluator,
    plan: Plan,
    names: Sequence[str],
    opened: Subject,
    notes: list[str],
    progress: RunListener | None,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """What is predicted of what is sent, and what an attack reached there; what is exact where no activation is sent.

    Raises:
        AdvisorError: when the attack failed.
    """
    if plan.kind != "split":
        base = judge.base if isinstance(judge, VariantEvaluator) else judge
        edge, cloud = dataclasses.replace(base, also=tuple(names)).baselines()
        whole = edge if plan.kind in ON_THE_EDGE else cloud
        return {name: whole.predicted[name] for name in names if name in whole.predicted}, {}
    payload, predicted = Payload.of(judge.graph, plan.cut.name, plan.defense), dict[str, Estimate]()
    fitted_against = isinstance(judge, VariantEvaluator) and judge.scored_by_attack
    if names and not fitted_against:
        with step("leakage", progress) as now:
            columns = leakage_on(payload, judge.study.samples, only=names, seed=judge.seed, progress=now)
        predicted = {column.name: column.at(0) for column in columns}
    with step("verify", progress) as attacking:
        found = _attacked(
            judge, dataclasses.replace(plan, cuts=(payload.cut, *plan.cuts[1:])), _budget(opened), notes, attacking
        )
    return predicted, found


def _attacked(judge: PlanEvaluator, plan: Plan, budget: str, notes: list[str], now: Step) -> dict[str, Estimate]:
    """What the worst of the attacks that its defense must face reached, or the floor where that is less.

    Those that fail beside others are added to `notes`.

    Raises:
        AdvisorError: when all of them failed.
    """
    found, failed = list[AttackResult](), list[AdvisorError]()
    for name in faced(plan, judge.secret):
        try:
            found.append(judge.attack(plan, budget, now, name=name))
        except AdvisorError as error:
            failed.append(error)
            notes.append(f"The attack {name} failed, which says nothing about privacy: {error.problem}")
    if not found:
        raise failed[0]
    if judge.secret == "ids":
        return dict(max(found, key=lambda result: result.top1.value).scores)
    worst = min(found, key=lambda result: result.reported.value)
    return worst.scores | {"nmse": worst.reported}


def _budget(opened: Subject) -> str:
    """How hard the attack is to try: as in the advice, where it was run at all."""
    asked = "quick" if opened.request is None else opened.request.search.verify
    return "quick" if asked == "none" else asked
