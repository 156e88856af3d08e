"""Which plan is chosen: the definition in words, against plans made for it."""

from __future__ import annotations

import math

import pytest

from advisor.defenses import GaussianNoise
from advisor.planning.selection import LeakageLimits, choose, describe_excess, nearest, pareto, reasons, with_excess
from advisor.plans import Budgets
from tests.advisor.plans import a_plan

ZONE = LeakageLimits(min_nmse=0.7, max_ssim=0.35, asked=False)
ASKED = LeakageLimits(min_nmse=0.7, max_ssim=None, asked=True)


def priced(plans, budgets=None, limits=ZONE):
    return [with_excess(plan, budgets or Budgets(), limits) for plan in plans]


def test_fastest_private_plan_wins_over_a_more_private_slower_one():
    plans = priced([a_plan("slow", latency=0.03, score=0.95), a_plan("fast", latency=0.01, score=0.72)])
    assert choose(plans, ZONE).cut.name == "fast"


def test_an_early_cut_with_a_good_defense_beats_a_deep_bare_one_when_it_is_faster():
    early = a_plan("early", latency=0.01, score=0.8, defense=GaussianNoise(0.5))
    deep = a_plan("deep", latency=0.02, score=0.9)
    assert choose(priced([deep, early]), ZONE).cut.name == "early"


def test_the_unfavourable_end_of_the_interval_decides():
    unsure = a_plan("unsure", latency=0.001, score=0.72, spread=0.05)
    sure = a_plan("sure", latency=0.05, score=0.8, spread=0.05)
    assert choose(priced([unsure, sure]), ZONE).cut.name == "sure"


def test_without_a_private_plan_the_most_private_inside_the_budgets_is_chosen_and_said_so():
    plans = priced(
        [a_plan("a", score=0.2), a_plan("b", score=0.5), a_plan("c", score=0.9, latency=9.0)], Budgets(max_latency=1)
    )
    best = choose(plans, ZONE)
    assert best.cut.name == "b"
    assert "most private of 2" in reasons(best, plans, ZONE)[0]


def test_a_stated_leakage_budget_is_a_budget():
    plans = priced([a_plan("a", score=0.5)], limits=ASKED)
    assert choose(plans, ASKED) is None
    assert plans[0].excess["min_nmse"] == pytest.approx(0.2)


def test_what_was_not_measured_meets_no_budget():
    plan = with_excess(a_plan(drop=math.nan), Budgets(max_accuracy_drop=0.02), ZONE)
    assert not plan.feasible
    assert math.isnan(plan.excess["max_accuracy_drop"])
    assert describe_excess("max_accuracy_drop", math.nan) == "--max-accuracy-drop could not be measured"


def test_a_budget_that_is_met_exactly_is_met():
    assert with_excess(a_plan(latency=0.05), Budgets(max_latency=0.05), ZONE).feasible


def test_an_attack_that_found_more_than_predicted_overrules_the_prediction():
    beaten = a_plan("beaten", latency=0.001, score=0.9, verified=0.3)
    other = a_plan("other", latency=0.01, score=0.8)
    assert choose(priced([beaten, other]), ZONE).cut.name == "other"


def test_a_weak_attack_does_not_make_a_plan_more_private():
    assert a_plan(score=0.6, verified=0.95).leakage("score").value == 0.6


def test_nearest_orders_by_relative_excess_and_puts_the_unmeasured_last():
    budgets = Budgets(max_latency=0.01, max_accuracy_drop=0.01)
    plans = priced(
        [a_plan("far", latency=0.05), a_plan("near", latency=0.011), a_plan("unknown", drop=math.nan)], budgets
    )
    assert [plan.cut.name for plan in nearest(plans, budgets)] == ["near", "far", "unknown"]


def test_pareto_keeps_exactly_what_no_other_plan_beats():
    plans = [
        a_plan("a", latency=0.01, score=0.5),
        a_plan("beaten", latency=0.02, score=0.4),
        a_plan("b", latency=0.02, score=0.9),
        a_plan("c", latency=0.015, score=0.9, drop=0.01),
    ]
    assert [plan.cut.name for plan in pareto(plans)] == ["a", "c", "b"]


def test_pareto_of_many_plans_keeps_both_ends():
    plans = [a_plan(f"p{i:02}", latency=0.01 * (i + 1), score=i / 100) for i in range(40)]
    shown = pareto(plans, count=5)
    assert len(shown) == 5
    assert (shown[0].cut.name, shown[-1].cut.name) == ("p00", "p39")
