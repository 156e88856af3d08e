"""Accuracy on growing subsets: what is shown is as if all samples had been taken for every plan."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import pytest
import torch

from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.defenses import GaussianNoise
from advisor.estimate import Estimate
from advisor.payload import Payload
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.growing_samples import in_whole, shown_plans, undecided
from advisor.planning.searching.rounds import Search
from advisor.planning.selecting.selection import choose, pareto, with_excess
from advisor.planning.shared_study.results import Results
from advisor.plans import Plan
from advisor.requirements import Budgets
from tests.advisor.conftest import digits
from tests.advisor.plans import a_plan

BUDGETS = Budgets(max_accuracy_drop=0.05, min_nmse=0.05)
LIMITS = LeakageLimits(0.05, None, True)
TRIALS = 14


def judged(plan: Plan) -> Plan:
    return with_excess(plan, BUDGETS, LIMITS)


def shown(plans: Sequence[Plan]) -> list[Plan | None]:
    return shown_plans(plans, (), (), BUDGETS, LIMITS, True)


def searched(evaluator: PlanEvaluator) -> tuple[Plan, ...]:
    plans = Search(evaluator, BUDGETS, LIMITS, ("none", "gaussian", "int8"), TRIALS, seed=3).run().plans
    return in_whole(plans, shown, evaluator, judged)


def told(plans: Sequence[Plan | None]) -> list[str]:
    """Plans with all their numbers; NaN is itself."""
    return [f"{plan} {plan.predicted}" for plan in plans if plan is not None]


@pytest.fixture(scope="module")
def evaluator(digits_evaluator: PlanEvaluator) -> PlanEvaluator:
    """With a thousand samples to judge by, of which a sixteenth, a quarter, and all are taken."""
    x, y = digits(1000)
    parts = {name: digits_evaluator.roles[name] for name in ("attacker", "private")}
    roles = Roles({"validation": Samples(x, y, "digits", "validation"), **parts})
    return dataclasses.replace(digits_evaluator, roles=roles, results=Results())


@pytest.fixture(scope="module")
def found(evaluator: PlanEvaluator) -> tuple[Plan, ...]:
    return searched(evaluator)


def test_choice_and_front_are_those_of_the_full_evaluation(evaluator: PlanEvaluator, found: tuple[Plan, ...]) -> None:
    dropped = [plan for plan in found if not evaluator.is_whole(plan)]
    assert dropped, "some plan was told by a part of the samples"
    every = tuple(judged(evaluator.with_all_samples(plan)) for plan in found)
    assert told([choose(found, LIMITS)]) == told([choose(every, LIMITS)])
    fronts = [pareto([plan for plan in plans if plan.feasible]) for plans in (found, every)]
    assert told(fronts[0]) == told(fronts[1])
    assert told(shown(found)) == told(shown(every))


def test_the_same_seed_takes_the_same_samples(evaluator: PlanEvaluator, found: tuple[Plan, ...]) -> None:
    assert told(searched(dataclasses.replace(evaluator, results=Results()))) == told(found)


def test_a_part_is_random_holds_every_smaller_one_and_is_said(evaluator: PlanEvaluator) -> None:
    assert evaluator.sizes == (62, 250, 1000)
    few, more = evaluator.part(20), evaluator.part(50)
    assert few is not None
    assert more is not None
    assert set(few.tolist()) < set(more.tolist())
    assert evaluator.part(len(evaluator.rows)) is None
    cut, noise = evaluator.graph.cut("block1.2"), GaussianNoise(0.5)
    measured = evaluator.accuracy(cut, noise, 50)["accuracy"]
    assert measured.method.endswith("on 50 samples")
    x, y = evaluator.evaluation[0][more], evaluator.truth[evaluator.rows][more]  # type: ignore[index]
    sent = Payload.of(evaluator.graph, cut, noise).scores_of((x,), evaluator.seed, 50)
    assert sent is not None
    assert measured.value == pytest.approx(float((sent.argmax(1) == y).double().mean()))


def test_where_activations_are_too_large_to_be_held_a_part_is_the_same(
    evaluator: PlanEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, noise = evaluator.graph.cut("block1.2"), GaussianNoise(0.0)
    held = evaluator.accuracy(cut, noise, 50)
    monkeypatch.setattr(PlanEvaluator, "rows_held", lambda self, cut: 16)
    assert evaluator.accuracy(cut, noise, 50)["accuracy"].value == held["accuracy"].value


def test_when_the_time_is_up_nothing_more_is_measured(evaluator: PlanEvaluator) -> None:
    priced = dataclasses.replace(evaluator, results=Results())
    plans = [priced.evaluate(priced.graph.cut("block1.2"), GaussianNoise(sigma), 62) for sigma in (0.5, 0.6)]
    assert in_whole(plans, lambda every: every, priced, judged, time.monotonic()) == tuple(plans)
    assert priced.results.computed == {"evaluation": 2}
    whole = in_whole(plans, lambda every: every, priced, judged)
    assert all(plan.predicted["accuracy"].method.endswith("on 1,000 samples") for plan in whole)


def of_drop(value: float, stderr: float, latency: float = 0.01, score: float = 0.8) -> Plan:
    half = 1.645 * stderr
    numbers = {
        "accuracy_drop": Estimate(value, stderr, value - half, value + half),
        "accuracy": Estimate(0.9 - value, stderr, 0.9 - value - half, 0.9 - value + half),
    }
    plan = a_plan(latency=latency, score=score)
    return judged(dataclasses.replace(plan, predicted={**plan.predicted, **numbers}))


@pytest.mark.parametrize(
    ("plan", "others", "wanted"),
    [
        (of_drop(0.40, 0.05), [], False),  # surely over the budget of 0.05
        (of_drop(0.10, 0.05), [], True),  # its interval touches the budget
        (of_drop(0.00, 0.00), [], True),  # 64 samples without a miss say at most 0.047: near the front
        (of_drop(0.08, 0.00), [], True),  # and 0.08 may be 0.033
        (of_drop(0.00, 0.001), [of_drop(-0.06, 0.0, 0.005, 0.9)], False),  # beaten in all, even at its good end
        (of_drop(0.00, 0.001), [of_drop(-0.06, 0.0, 0.005, 0.7)], True),  # more private than that one
        (of_drop(0.00, 0.001), [of_drop(-0.06, 0.0, 0.005, 0.01)], True),  # which does not meet the budgets
        (of_drop(0.00, 0.001, score=0.01), [], False),  # leaks too much, whatever its accuracy is
        (of_drop(0.06, 0.02, score=0.01), [], True),  # so does it, but how accuracy stands steers the search
        (of_drop(float("nan"), 0.0), [], True),
    ],
)
def test_what_may_still_change_is_measured_on_more(plan: Plan, others: list[Plan], wanted: bool) -> None:
    assert undecided(plan, 64, others, BUDGETS, LIMITS) == wanted


def test_what_a_digest_knows_is_not_measured_again(evaluator: PlanEvaluator) -> None:
    cut, noise = evaluator.graph.cut("block2.2"), GaussianNoise(0.7)
    results = Results()
    priced = dataclasses.replace(evaluator, results=results)
    assert priced.measured_on(cut, noise) == 0
    first = priced.evaluate(cut, noise, priced.sizes[0])
    assert priced.measured_on(cut, noise) == priced.sizes[0]
    assert not priced.is_whole(first)
    whole = priced.with_all_samples(first)
    assert results.computed == {"evaluation": 1, "accuracy": 1}
    assert priced.is_whole(whole)
    assert told([whole]) == told([priced.evaluate(cut, noise)])
    assert results.computed == {"evaluation": 1, "accuracy": 1}
    assert torch.equal(priced.rows, evaluator.rows)
