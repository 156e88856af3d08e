"""What the search tries: near the best noise that a dense grid finds, and never a level that cannot matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

import advisor
from advisor.defenses import GaussianNoise
from advisor.estimators.study.leakage_study import study
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.search import Search
from advisor.planning.selection import LeakageLimits, choose, with_excess
from advisor.planning.warm_start import SETTLED, WarmStart
from advisor.plans import Budgets
from advisor.profilers import device, link
from tests.advisor.plans import a_plan
from tests.advisor.samples_by_role import by_role

UNREACHABLE = LeakageLimits(0.999, None, asked=False)


@pytest.fixture(scope="module")
def evaluator(digits_net, digits_data):
    x, y = digits_data
    graph = advisor.trace(digits_net, x[:2])
    found = study(graph, x, y, only=["score", "score_ssim", "fisher"])
    cost = advisor.profile(graph)
    return PlanEvaluator(graph, cost.joined(found.profile), found, by_role(x, y), device("jetson"), link("wifi"), 0)


def suggestions(evaluator, drop=0.02, limits=UNREACHABLE):
    return WarmStart(evaluator, Budgets(max_accuracy_drop=drop), limits, ("gaussian", "int8"))


def test_the_most_private_plan_is_as_private_as_a_dense_grid_of_noise_allows(evaluator):
    budgets = Budgets(max_accuracy_drop=0.02)
    search = Search(evaluator, budgets, UNREACHABLE, ("none", "gaussian", "int8"), 20, math.inf, None, {}, 0)
    chosen = choose(search.run().plans, UNREACHABLE)
    assert chosen is not None
    grid = [
        with_excess(evaluator.evaluate(cut, GaussianNoise(float(sigma))), budgets, UNREACHABLE)
        for cut in evaluator.candidates
        for sigma in np.logspace(-1.5, 1.5, 16)
    ]
    best = max(plan.predicted["score"].value for plan in grid if plan.feasible)
    assert chosen.feasible
    assert chosen.predicted["score"].value > 0.9 * best


def test_no_plan_is_priced_twice_in_the_answer(evaluator):
    plans = Search(evaluator, Budgets(), UNREACHABLE, ("none", "int8"), 30, math.inf, None, {}, 0).run().plans
    assert len({(plan.cut.name, str(plan.defense)) for plan in plans}) == len(plans)


def noisy(drops):
    return [a_plan(drop=drop, defense=GaussianNoise(sigma)) for sigma, drop in drops.items()]


def test_less_noise_after_a_failure_as_the_square_of_the_drop(evaluator):
    assert suggestions(evaluator)._between(noisy({8.0: 0.5})) == pytest.approx(8.0 * math.sqrt(0.9 * 0.02 / 0.5))


def test_between_what_was_kept_and_what_failed(evaluator):
    assert 2.0 < suggestions(evaluator)._between(noisy({2.0: 0.01, 8.0: 0.5})) < 8.0
    assert 2.0 < suggestions(evaluator)._between(noisy({1.0: 0.0, 2.0: 0.019, 3.0: 0.021, 8.0: 0.5})) < 3.0


@pytest.mark.parametrize("drops", [{}, {2.0: 0.01}, {2.0: 0.01, 2.0 * SETTLED: 0.03}, {2.0: math.nan}])
def test_nothing_where_there_is_nothing_between(evaluator, drops):
    assert suggestions(evaluator)._between(noisy(drops)) == 0


def test_nothing_more_once_a_plan_hides_enough_or_accuracy_is_free(evaluator):
    enough = LeakageLimits(0.5, None, asked=False)
    tried = [evaluator.evaluate(cut, GaussianNoise(300.0)) for cut in evaluator.candidates]
    broke = [with_excess(plan, Budgets(max_accuracy_drop=0.02), enough) for plan in tried]
    assert suggestions(evaluator, limits=enough).next(broke) is not None
    assert suggestions(evaluator, limits=enough).next([*broke, a_plan(score=0.9)]) is None
    assert suggestions(evaluator, drop=None, limits=enough).next(tried) is None


def test_a_plan_that_is_too_slow_is_not_refined(evaluator):
    budgets = Budgets(max_accuracy_drop=0.02, max_latency=1e-9)
    broke = [
        with_excess(evaluator.evaluate(cut, GaussianNoise(300.0)), budgets, UNREACHABLE) for cut in evaluator.candidates
    ]
    assert WarmStart(evaluator, budgets, UNREACHABLE, ("gaussian",)).next(broke) is None


def test_what_needs_very_little_noise_gets_the_least_of_the_range(evaluator):
    cut = evaluator.candidates[-1]
    little = LeakageLimits(evaluator.profile["score"].at(cut).low + 1e-4, None, asked=False)
    assert (
        0
        < suggestions(evaluator, limits=little).enough_noise(GaussianNoise, cut)["dfil"]
        <= GaussianNoise.space["dfil"].high
    )
