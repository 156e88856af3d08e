"""Evidence of earlier advice stands where the same attack would be run on the same plan, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import pytest

import advisor
from advisor.advice import Advice
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.verifying.earlier_evidence import EARLIER, earlier_proof
from advisor.plans import Plan
from tests.advisor.planning.verifying.test_verification import clouds
from tests.conftest import tiny_net


def recommended(**options: object) -> Advice:
    given = {"trials": 2, "defenses": "gaussian", "min_nmse": 0.2, "require_split": True, "cuts": "1,2"} | options
    return advisor.recommend(tiny_net(3), data=clouds(), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Advice:
    folder = tmp_path_factory.mktemp("first")
    recommended().save(folder)
    return advisor.load_advice(folder)


@pytest.fixture(scope="module")
def plan(first: Advice) -> Plan:
    return next(plan for plan in first.plans if plan.verified)


def test_a_plan_that_was_attacked_is_not_attacked_again(first: Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    def attacked(*_: object, **__: object) -> NoReturn:
        pytest.fail("attacked again")

    monkeypatch.setattr(PlanEvaluator, "attack", attacked)
    second = recommended(earlier=first)
    before = {plan.key: plan for plan in first.plans if plan.verified}
    now = {plan.key: plan for plan in second.plans if plan.verified}
    assert now.keys() == before.keys() != set()
    assert all(now[key].verified == before[key].verified for key in before)
    assert all(item.notes[-1] == f"{EARLIER}, {first.provenance['made']}" for item in second.evidence)
    assert any(note.startswith("Evidence of the earlier advice was taken for") for note in second.assumptions)
    found = [[(item.attack, item.scores["nmse"], item.floor) for item in advice.evidence] for advice in (first, second)]
    assert found[0] == found[1] != []


def test_bounds_under_noise_are_those_of_the_earlier_advice(first: Advice) -> None:
    second = recommended(earlier=first, verify="none")
    bounds = {
        advice: {plan.key: plan.predicted["mse_bound"].value for plan in advice.plans if "mse_bound" in plan.predicted}
        for advice in (first, second)
    }
    assert bounds[second] == bounds[first] != {}


def test_evidence_of_a_weaker_or_an_older_attack_or_of_other_noise_does_not_count(first: Advice, plan: Plan) -> None:
    names = [item.attack for item in first.evidence if (item.cut, item.defense) == (plan.cut.name, str(plan.defense))]
    assert earlier_proof(first, plan, names, "quick") is not None
    assert earlier_proof(None, plan, names, "quick") is None
    assert earlier_proof(first, plan, names, "strong") is None
    assert earlier_proof(first, plan, [*names, "dip"], "quick") is None
    other = dataclasses.replace(plan, defense=type(plan.defense)(2 * plan.defense.noise))
    assert earlier_proof(first, other, names, "quick") is None
    old = dataclasses.replace(first, evidence=tuple(dataclasses.replace(i, version=0) for i in first.evidence))
    assert earlier_proof(old, plan, names, "quick") is None


def test_evidence_that_is_taken_twice_keeps_its_day_and_pictures_are_never_taken(first: Advice, plan: Plan) -> None:
    names = [item.attack for item in first.evidence if (item.cut, item.defense) == (plan.cut.name, str(plan.defense))]
    once = earlier_proof(first, plan, names, "quick")
    assert once is not None
    later = dataclasses.replace(first, evidence=once.evidence, provenance={**first.provenance, "made": "2030-01-01"})
    again = earlier_proof(later, plan, names, "quick")
    assert again is not None
    assert [item.notes for item in again.evidence] == [item.notes for item in once.evidence]
    assert not any(item.pictures for item in again.evidence)
