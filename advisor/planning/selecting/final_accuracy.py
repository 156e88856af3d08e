"""Accuracy of what was chosen on the test part, which no choice looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from advisor.batches import carried, first_scores
from advisor.data.samples import limited
from advisor.estimate import Estimate
from advisor.payload import Payload
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.sent_inputs import arrived
from advisor.planning.judging.accuracy import Accuracy
from advisor.planning.selecting.selection import Choice
from advisor.plans import Plan
from advisor.units import show_points, show_share
from advisor.verdicts import in_words


def with_final_accuracy(
    choice: Choice, plans: Sequence[Plan], evaluator: PlanEvaluator
) -> tuple[Choice, tuple[Plan, ...], tuple[str, ...]]:
    """The choice and the plans, those that were chosen with `tested` set, and a sentence for each.

    Where there is no test part, or accuracy cannot be measured, all is as it was.

    Args:
        choice: what is recommended.
        plans: every plan that it was chosen from, the baselines too.
        evaluator: with the samples by role.
    """
    chosen = [plan for plan in (choice.best, choice.best_split) if plan is not None]
    if "test" not in evaluator.roles or not chosen:
        return choice, tuple(plans), ()
    most = min(evaluator.most_judged, evaluator.most_rows or evaluator.most_judged)
    part = limited(evaluator.roles["test"], most, evaluator.seed)
    inputs = evaluator.graph.flat(part.x)
    judged = Accuracy(first_scores(evaluator.graph, inputs), part.y, evaluator.graph.task)
    if judged.why_not:
        return choice, tuple(plans), ()
    tested = {id(plan): _tested(plan, judged, inputs, evaluator) for plan in chosen}
    best, split = (None if p is None else tested[id(p)] for p in (choice.best, choice.best_split))
    every = tuple(tested.get(id(plan), plan) for plan in plans)
    nearest = tuple(tested.get(id(plan), plan) for plan in choice.nearest)
    said = tuple(dict.fromkeys(_said(plan, len(part)) for plan in (best, split) if plan is not None))
    return dataclasses.replace(choice, best=best, best_split=split, nearest=nearest), every, said


def _tested(plan: Plan, judged: Accuracy, inputs: tuple[Tensor, ...], evaluator: PlanEvaluator) -> Plan:
    if plan.kind != "split":
        return dataclasses.replace(plan, tested=judged.of(first_scores(plan.graph, arrived(inputs, plan.sends))))
    payload, held, seed = Payload.of(plan.graph, plan.cut, plan.defense), evaluator.rows_held(plan.cut), evaluator.seed
    if held < min(len(inputs[0]), len(evaluator.rows)):  # too large to be held whole
        return dataclasses.replace(plan, tested=judged.of(payload.scores_of(inputs, seed, held)))
    sent = carried(plan.graph, inputs, 0, plan.cut.index)
    return dataclasses.replace(plan, tested=judged.of(payload.scores(sent, seed)))


def _said(plan: Plan, count: int) -> str:
    found, drop = plan.tested["accuracy"], plan.tested["accuracy_drop"]
    return (
        f"On {count:,} test samples, which no choice looked at, {in_words(plan)} has {_share(found)} "
        f"{found.method.partition(' on ')[0]}, a drop of {show_points(drop.value)}."
    )


def _share(found: Estimate) -> str:
    return f"{show_share(found.value)} ({show_share(found.low)} to {show_share(found.high)})"
