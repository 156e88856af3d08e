"""The final accuracy is that of the halves on the test part, and no choice has seen it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import advisor
from advisor.advice import Advice
from advisor.data.roles import drawn, shares
from advisor.data.samples import Samples
from advisor.defenses import Defense, GaussianNoise, NoDefense, Quantize8
from advisor.estimators.study.leakage_study import study
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.selecting.final_accuracy import with_final_accuracy
from advisor.planning.selecting.selection import Choice
from advisor.plans import Plan
from advisor.profilers import device, link
from advisor.testing.small_models import digits, trained


@pytest.fixture(scope="module")
def evaluator() -> PlanEvaluator:
    x, y = digits(400)
    graph = advisor.trace(trained(), x[:2])
    found = study(graph, x[:80], y[:80], only=["fisher"])
    roles = drawn(Samples(x, y, "digits", "").of(x, y), 0, shares(False, ["attacker"]))
    return PlanEvaluator(graph, advisor.profile(graph).joined(found.profile), found, roles, device("jetson"),
                         link("wifi"), 0)  # fmt: skip


def planned(evaluator: PlanEvaluator, defense: Defense) -> Plan:
    cut = evaluator.graph.cut("conv2")
    return evaluator.plan(cut, defense, {})


def test_chosen_plans_are_judged_by_the_halves_on_samples_that_no_choice_has_seen(evaluator: PlanEvaluator) -> None:
    plans = [planned(evaluator, defense) for defense in (Quantize8(), GaussianNoise(3.0), GaussianNoise(0.1))]
    edge = Plan((evaluator.graph.cuts[-1],), NoDefense(), {}, kind="all-edge", graph=evaluator.graph)
    choice, every, said = with_final_accuracy(Choice("all-edge", edge, plans[0]), (*plans, edge), evaluator)
    assert choice.best is every[3]
    assert choice.best_split is every[0]
    assert every[1:3] == (plans[1], plans[2])
    assert not plans[1].tested
    x, y = evaluator.roles["test"].x, evaluator.roles["test"].y
    assert y is not None
    first, second = plans[0].split()
    with torch.no_grad():
        right = (second(first(x)).argmax(1) == y).double()
        bare = (trained()(x).argmax(1) == y).double()
    assert every[0].tested["accuracy"].value == pytest.approx(float(right.mean()))
    assert every[0].tested["accuracy_drop"].value == pytest.approx(float((bare - right).mean()))
    assert every[3].tested["accuracy"].value == pytest.approx(float(bare.mean()))
    assert every[3].tested["accuracy_drop"].value == 0
    assert said[0].startswith(f"On {len(x)} test samples, which no choice looked at, everything on the edge has ")
    assert len(said) == 2


def test_without_a_test_part_all_is_as_it_was(evaluator: PlanEvaluator) -> None:
    roles = dataclasses.replace(evaluator.roles, samples={"validation": evaluator.roles["validation"]})
    plan = planned(evaluator, Quantize8())
    choice = Choice("split", plan, plan)
    assert with_final_accuracy(choice, [plan], dataclasses.replace(evaluator, roles=roles)) == (choice, (plan,), ())


def test_it_is_recorded_and_said(evaluator: PlanEvaluator) -> None:
    x, y = digits(160)
    advice = advisor.recommend(
        trained(), data=(x[:100], y[:100]), aux=(x[100:], y[100:]), trials=1, defenses="none", verify="none",
        require_split=True,
    )  # fmt: skip
    assert advice.best is advice.best_split
    assert advice.best in advice.pareto
    again = Advice.from_json(advice.to_json())
    assert again.best is not None
    assert again.best.tested["accuracy"] == advice.best.tested["accuracy"]
    assert set(advice.provenance["roles"]) == {"validation", "attacker", "private", "test"}
    assert "test samples, which no choice looked at" in advice.reasons[-1]
    assert advice.reasons[-1] in advice.summary()
