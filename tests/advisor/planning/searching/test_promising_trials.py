"""Trials that would beat the best plan: found where a dense grid finds it, and only where they may."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.promising_trials import RAISED, promising
from advisor.planning.searching.rounds import Search
from advisor.planning.searching.warm_start import WarmStart
from advisor.planning.selecting.selection import choose, cost_of, with_excess
from advisor.plans import Plan
from advisor.requirements import Budgets, objective

NAMES = ("gaussian", "int8")
MOST, LEAST = 0.1, 0.1


def limits(best_in: str, nmse: float = LEAST) -> LeakageLimits:
    return LeakageLimits(nmse, None, True, objective(best_in))


def start(evaluator: PlanEvaluator, best_in: str = "edge_macs", nmse: float = LEAST) -> WarmStart:
    return WarmStart(evaluator, Budgets(max_accuracy_drop=MOST, min_nmse=nmse), limits(best_in, nmse), NAMES)


def judged(begun: WarmStart, plan: Plan) -> Plan:
    return with_excess(plan, begun.budgets, begun.limits)


def bare(begun: WarmStart) -> list[Plan]:
    return [judged(begun, begun.evaluator.evaluate(cut, NoDefense())) for cut in begun.evaluator.candidates]


def noisy(begun: WarmStart, name: str, sigma: float) -> Plan:
    return judged(begun, begun.evaluator.evaluate(begun.evaluator.graph.cut(name), GaussianNoise(sigma)))


def noise_of(begun: WarmStart, values: dict[str, Any]) -> float:
    cut = begun.evaluator.graph.cut(values["cut"])
    defense = GaussianNoise.at(begun.evaluator.facts(cut), dfil=values["gaussian.dfil"])
    assert defense is not None
    return defense.sigma


@pytest.mark.parametrize("best_in", ["edge_macs", "bytes", "latency", "edge_memory"])
def test_the_best_by_a_cost_is_as_good_as_a_dense_grid_of_noise_finds(
    digits_evaluator: PlanEvaluator, best_in: str
) -> None:
    begun = start(digits_evaluator, best_in)
    plans = Search(digits_evaluator, begun.budgets, begun.limits, ("none", *NAMES), 24, seed=0).run().plans
    chosen = choose(plans, begun.limits)
    assert chosen is not None
    defenses = [Quantize8(), *(GaussianNoise(float(sigma)) for sigma in np.logspace(-1.5, 1.5, 16))]
    grid = [
        judged(begun, digits_evaluator.evaluate(cut, defense))
        for cut in digits_evaluator.candidates
        for defense in defenses
    ]
    best = choose([*bare(begun), *grid], begun.limits)
    assert best is not None
    assert chosen.feasible
    assert cost_of(chosen, begun.limits.best_in) <= cost_of(best, begun.limits.best_in)


def test_the_best_in_the_objective_comes_first_at_the_least_noise_that_hides_enough(
    digits_evaluator: PlanEvaluator,
) -> None:
    begun = start(digits_evaluator)
    asked = promising(begun, bare(begun), 3)
    macs = [digits_evaluator.profile["macs"].at(digits_evaluator.graph.cut(values["cut"])).value for values in asked]
    assert macs
    assert macs == sorted(macs)
    for values in asked:
        cut = digits_evaluator.graph.cut(values["cut"])
        assert noise_of(begun, values) == pytest.approx(begun.enough(cut), rel=1e-6)


def asked_again(begun: WarmStart, first: dict[str, Any], *plans: Plan) -> float | None:
    """The noise that is tried next at the cut of a first trial."""
    asked = [v for v in promising(begun, [*bare(begun), *plans], 99) if v["cut"] == first["cut"]]
    return noise_of(begun, asked[0]) if asked else None


def test_where_accuracy_breaks_less_margin_is_tried_and_then_nothing(digits_evaluator: PlanEvaluator) -> None:
    begun = start(digits_evaluator)
    first = promising(begun, bare(begun), 1)[0]
    cut = digits_evaluator.graph.cut(first["cut"])
    enough, just = begun.enough(cut), begun.enough(cut, 0.99)
    assert just < enough
    broke = {"accuracy_drop": Estimate.exact(0.5), "accuracy": Estimate.exact(0.4)}
    plans = [noisy(begun, cut.name, sigma) for sigma in (enough, just)]
    plans = [judged(begun, dataclasses.replace(plan, predicted={**plan.predicted, **broke})) for plan in plans]
    assert asked_again(begun, first, plans[0]) == pytest.approx(just, rel=1e-6)
    assert asked_again(begun, first, *plans) is None


def test_only_what_costs_less_than_the_best_is_tried(digits_evaluator: PlanEvaluator) -> None:
    begun = start(digits_evaluator)
    second = promising(begun, bare(begun), 99)[-1]
    cut = digits_evaluator.graph.cut(second["cut"])
    kept = {"accuracy_drop": Estimate.exact(0.0), "accuracy": Estimate.exact(0.9)}
    plan = noisy(begun, cut.name, 1.01 * begun.enough(cut))
    met = judged(begun, dataclasses.replace(plan, predicted={**plan.predicted, **kept}))
    assert met.feasible
    after = promising(begun, [*bare(begun), met], 99)
    assert after
    costs = digits_evaluator.profile["macs"]
    assert all(costs.at(digits_evaluator.graph.cut(v["cut"])).value < costs.at(cut).value for v in after)


def test_what_did_not_hide_enough_is_raised(digits_evaluator: PlanEvaluator) -> None:
    begun = start(digits_evaluator)
    first = promising(begun, bare(begun), 1)[0]
    cut = digits_evaluator.graph.cut(first["cut"])
    kept = {"accuracy_drop": Estimate.exact(0.0), "accuracy": Estimate.exact(0.9)}
    plan = noisy(begun, cut.name, begun.enough(cut))
    kept["score"] = Estimate.exact(0.5 * LEAST)  # though the noise curve found it enough
    short = judged(begun, dataclasses.replace(plan, predicted={**plan.predicted, **kept}))
    assert short.excess.keys() == {"min_nmse"}
    assert asked_again(begun, first, short) == pytest.approx(RAISED * short.defense.noise, rel=1e-6)


@pytest.mark.parametrize("best_in", ["nmse", "accuracy_drop", "accuracy", "mse_bound"])
def test_nothing_where_the_objective_hangs_on_more_than_costs(digits_evaluator: PlanEvaluator, best_in: str) -> None:
    begun = start(digits_evaluator, best_in)
    assert promising(begun, bare(begun), 9) == []


def test_nothing_where_no_noise_within_reach_hides_enough(digits_evaluator: PlanEvaluator) -> None:
    begun = start(digits_evaluator, nmse=0.999)
    assert promising(begun, bare(begun), 9) == []
    broke = noisy(begun, "block2.2", 3.0)
    assert broke.excess.keys() >= {"max_accuracy_drop", "min_nmse"}
    assert promising(begun, [*bare(begun), broke], 9) == []
    assert math.isfinite(begun.start(broke.cut))
