"""What the search tries: near the best noise that a dense grid finds, and never a level that cannot matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from advisor.defenses import GaussianNoise, NoDefense
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.rounds import Search
from advisor.planning.searching.warm_start import GROWTH, LEAKAGE, SETTLED, START, WarmStart
from advisor.planning.selecting.selection import choose, with_excess
from advisor.requirements import Budgets
from tests.advisor.plans import a_plan

UNREACHABLE = LeakageLimits(0.999, None, asked=False)


@pytest.fixture
def evaluator(digits_evaluator):
    return digits_evaluator


def suggestions(evaluator, drop=0.02, limits=UNREACHABLE):
    return WarmStart(evaluator, Budgets(max_accuracy_drop=drop), limits, ("gaussian", "int8"))


def test_the_most_private_plan_is_as_private_as_a_dense_grid_of_noise_allows(evaluator):
    budgets = Budgets(max_accuracy_drop=0.02)
    search = Search(evaluator, budgets, UNREACHABLE, ("none", "gaussian", "int8"), 20, math.inf, "", 0)
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
    plans = Search(evaluator, Budgets(), UNREACHABLE, ("none", "int8"), 30, math.inf, "", 0).run().plans
    assert len({(plan.cut.name, str(plan.defense)) for plan in plans}) == len(plans)


def noisy(drops, drop=0.02, limits=UNREACHABLE):
    plans = [a_plan(drop=lost, defense=GaussianNoise(sigma)) for sigma, lost in drops.items()]
    return [with_excess(plan, Budgets(max_accuracy_drop=drop), limits) for plan in plans]


def test_less_noise_after_a_failure_as_the_square_of_the_drop(evaluator):
    assert suggestions(evaluator)._level(noisy({8.0: 0.5})) == pytest.approx(8.0 * math.sqrt(0.9 * 0.02 / 0.5))


def test_between_what_was_kept_and_what_failed(evaluator):
    assert 2.0 < suggestions(evaluator)._level(noisy({2.0: 0.01, 8.0: 0.5})) < 8.0
    assert 2.0 < suggestions(evaluator)._level(noisy({1.0: 0.0, 2.0: 0.019, 3.0: 0.021, 8.0: 0.5})) < 3.0


@pytest.mark.parametrize("drops", [{2.0: 0.01, 2.0 * SETTLED: 0.03}, {2.0: math.nan}])
def test_nothing_where_there_is_nothing_between(evaluator, drops):
    assert suggestions(evaluator)._level(noisy(drops)) == 0


def test_more_noise_where_accuracy_stood_all_of_it_until_that_is_enough(evaluator):
    stood = [evaluator.evaluate(evaluator.candidates[-1], GaussianNoise(sigma)) for sigma in (0.01, 0.02)]
    assert suggestions(evaluator)._level(stood) == GROWTH * 0.02
    assert suggestions(evaluator, limits=LeakageLimits(0.0, None, asked=True))._level(stood) == 0


def test_without_a_budget_of_accuracy_noise_grows_until_the_limit_is_met(evaluator):
    plans = [evaluator.evaluate(cut, NoDefense()) for cut in evaluator.candidates]
    asked = WarmStart(evaluator, Budgets(), LeakageLimits(0.9, None, asked=True), ("gaussian",))
    for _ in range(12):
        if not (found := asked.next(plans)):
            break
        values = found[0]
        cut = evaluator.graph.cut(values["cut"])
        plans.append(evaluator.evaluate(cut, GaussianNoise.at(evaluator.facts(cut), dfil=values["gaussian.dfil"])))
        if plans[-1].predicted["score"].low >= 0.9:
            break
    assert plans[-1].predicted["score"].low >= 0.9


def test_what_was_tried_at_a_cut_sets_the_first_noise_at_its_neighbours(evaluator):
    """Relative to the spread of the activations; nothing is known without any."""
    asked, (one, other) = suggestions(evaluator), evaluator.candidates[-2:]
    tried = [
        with_excess(evaluator.plan(one, GaussianNoise(sigma), a_plan(drop=drop).predicted), asked.budgets, UNREACHABLE)
        for sigma, drop in {0.2: 0.0, 0.4: 0.3}.items()
    ]
    between = asked._level(tried)
    curves = [evaluator.curve(cut).sigma for cut in (one, other)]
    assert asked.start(other, tried) == pytest.approx(between * curves[1][0] / curves[0][0])
    assert evaluator.curve(other).kept(asked.start(other)) <= START


LIMITS = {
    "min_nmse": ({"min_nmse": 0.1}, {"min_nmse": 0.95}),
    "max_ssim": ({"max_ssim": 0.95}, {"max_ssim": 0.01}),
    "both": ({"min_nmse": 0.1}, {"min_nmse": 0.95, "max_ssim": 0.01}),
}


@pytest.mark.parametrize("others", [{"max_accuracy_drop": 0.02}, {"min_accuracy": 0.85, "max_latency": 0.05}])
@pytest.mark.parametrize("limits", LIMITS)
def test_a_limit_that_nothing_meets_is_searched_like_one_that_much_does(evaluator, limits, others):
    """What is nearest hides at least as much as the best that the easier search finds within the other budgets."""
    found = []
    for asked in LIMITS[limits]:
        budgets = Budgets(**others, **asked)
        held = LeakageLimits(budgets.min_nmse, budgets.max_ssim, asked=True)
        plans = Search(evaluator, budgets, held, ("none", "gaussian", "int8"), 12, math.inf, "", 0).run().plans
        found.append([plan for plan in plans if not set(plan.excess) - LEAKAGE])
    easy, hard = ([p.predicted["score"].value for p in plans] for plans in found)
    assert max(hard) >= 0.95 * max(easy) > 0.1
    assert any(plan.feasible for plan in found[0])
    assert not any(plan.feasible for plan in found[1])


def test_where_no_cut_is_fast_enough_noise_is_searched_all_the_same(evaluator):
    limits, stood = LeakageLimits(0.95, None, asked=True), []
    for latency in (1e9, 1e-9):
        budgets = Budgets(max_accuracy_drop=0.02, max_latency=latency, min_nmse=0.95)
        plans = Search(evaluator, budgets, limits, ("none", "gaussian"), 8, math.inf, "", 0).run().plans
        stood.append(max(p.predicted["score"].value for p in plans if "max_accuracy_drop" not in p.excess))
    assert stood[1] >= 0.95 * stood[0] > 0.1


def test_a_plan_that_is_too_slow_is_not_refined_where_another_is_fast(evaluator):
    bare = [evaluator.evaluate(cut, NoDefense()) for cut in evaluator.candidates]
    fastest = min(bare, key=lambda plan: plan.predicted["latency"].value)
    budgets = Budgets(max_accuracy_drop=0.02, max_latency=fastest.predicted["latency"].value)
    judged = [with_excess(plan, budgets, UNREACHABLE) for plan in bare]
    found = WarmStart(evaluator, budgets, UNREACHABLE, ("gaussian",)).next(judged, 5)
    assert [values["cut"] for values in found] == [fastest.cut.name]


def test_what_needs_very_little_noise_gets_the_least_of_the_range(evaluator):
    cut = evaluator.candidates[-1]
    little = LeakageLimits(evaluator.profile["score"].at(cut).low + 1e-4, None, asked=False)
    bare = [evaluator.evaluate(cut, NoDefense())]
    first = suggestions(evaluator, limits=little).first(bare, 5)
    assert 0 < first[0]["gaussian.dfil"] <= GaussianNoise.space["dfil"].high
