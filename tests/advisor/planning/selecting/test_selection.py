"""Which plan is chosen: the definition in words, against plans made for it."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.defenses import GaussianNoise
from advisor.fitted import FittedDefense
from advisor.planning.evaluating.leakage_limits import FASTEST, LeakageLimits, limits_of
from advisor.planning.selecting.plan_reasons import costs_or_gains, describe_excess, reasons, unhidden, unsplit
from advisor.planning.selecting.selection import choose, nearest, pareto, rank, verdict, with_excess
from advisor.requirements import REQUIREMENTS, Budgets, objective
from advisor.verdicts import verdict_sentence
from tests.advisor.plans import a_plan

ZONE = LeakageLimits(min_nmse=0.7, max_ssim=0.35, asked=False)
ASKED = LeakageLimits(min_nmse=0.7, max_ssim=None, asked=True)


def priced(plans, budgets=None, limits=ZONE):
    return [with_excess(plan, budgets or Budgets(), limits) for plan in plans]


def test_fastest_private_plan_wins_over_a_more_private_slower_one():
    plans = priced([a_plan("slow", latency=0.03, score=0.95), a_plan("fast", latency=0.01, score=0.72)])
    assert choose(plans, ZONE).cut.name == "fast"


def fit(plan, short):
    fitted = FittedDefense("0" * 64, "ridge", plan.cut.name, {}, 1.0, short=short)
    return dataclasses.replace(plan, fitted=fitted)


def test_a_short_fit_is_chosen_only_where_nothing_else_meets_everything_and_says_that_it_is_one():
    short = fit(a_plan("fast", latency=0.01, score=0.9), short=True)
    full = fit(a_plan("slow", latency=0.03, score=0.8), short=False)
    assert choose(priced([short, full]), ZONE).cut.name == "slow"
    found = choose(priced([short, a_plan("leaks", latency=0.001, score=0.1)]), ZONE)
    assert found.cut.name == "fast"
    assert "ridge (short fit)" in str(found)
    assert "short" not in str(full)


def test_hiding_more_than_was_asked_is_worth_accuracy_only_where_a_loss_of_it_was_limited():
    plans = [a_plan("hides more", score=0.95, drop=0.4), a_plan("loses less", score=0.75, drop=0.1)]
    limits = limits_of(Budgets(), {"min_nmse": 0.7}, FASTEST, None)
    best = choose(priced(plans, limits=limits), limits)
    assert best.cut.name == "loses less"
    assert any("(--max-accuracy-drop)" in line for line in reasons(best, [best], limits))
    for asked in ({"max_accuracy_drop": 0.5}, {"min_accuracy": 0.2}):
        budgets = Budgets(**asked)
        limits = limits_of(budgets, {"min_nmse": 0.7}, FASTEST, None)
        best = choose(priced(plans, limits=limits), limits)
        assert best.cut.name == "hides more"
        assert not any("--max-accuracy-drop" in line for line in reasons(best, [best], limits))


def test_an_early_cut_with_a_good_defense_beats_a_deep_bare_one_when_it_is_faster():
    early = a_plan("early", latency=0.01, score=0.8, defense=GaussianNoise(0.5))
    deep = a_plan("deep", latency=0.02, score=0.9)
    assert choose(priced([deep, early]), ZONE).cut.name == "early"


def test_the_unfavourable_end_of_the_interval_decides():
    unsure = a_plan("unsure", latency=0.001, score=0.72, spread=0.05)
    sure = a_plan("sure", latency=0.05, score=0.8, spread=0.05)
    assert choose(priced([unsure, sure]), ZONE).cut.name == "sure"


@pytest.mark.parametrize("whole", [True, False])
def test_what_misses_at_an_end_of_an_interval_alone_is_told_apart(whole):
    best = dataclasses.replace(a_plan("output", score=1.0), kind="all-edge") if whole else None
    plans = priced([a_plan("unsure", score=0.72, spread=0.05), a_plan("leaks", score=0.2)], limits=ASKED)
    said = reasons(best, plans, ASKED)[0]
    assert "(1 does by its value, not at the unfavourable end of the interval, which counts)" in said
    assert "surely" in said
    assert "surely" not in reasons(best, plans[1:], ASKED)[0]


def test_where_no_leakage_is_limited_the_thresholds_that_count_are_said():
    best = dataclasses.replace(a_plan("output", score=1.0), kind="all-edge")
    said = "no split meets them (NMSE of at least 0.7 and SSIM of at most 0.35, the zone's thresholds)"
    assert said in reasons(best, priced([a_plan("leaks", score=0.2)]), ZONE)[0]
    assert "thresholds" not in reasons(best, priced([a_plan("leaks", score=0.2)], limits=ASKED), ASKED)[0]


def test_a_plan_without_a_defense_is_named_by_its_cut():
    assert (str(a_plan("stem")), str(a_plan("stem", defense=GaussianNoise(1)))) == ("stem", "stem + gaussian(sigma=1)")


def test_without_a_private_plan_the_most_private_inside_the_budgets_is_chosen_and_said_so():
    plans = priced(
        [a_plan("a", score=0.2), a_plan("b", score=0.5), a_plan("c", score=0.9, latency=9.0)], Budgets(max_latency=1)
    )
    best = choose(plans, ZONE)
    assert best.cut.name == "b"
    assert "most private of 2" in reasons(best, plans, ZONE)[0]
    assert "an NMSE of 0.500 " in reasons(best, plans, ZONE)[1]  # as every other place writes it


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


# ---- the verdict -----------------------------------------------------------------------------------------------------


def whole(kind, *, latency=0.05, memory=1e6):
    """All-edge or all-cloud: nothing leaks, or everything does."""
    score, ssim = (1.0, 0.0) if kind == "all-edge" else (0.0, 1.0)
    return dataclasses.replace(a_plan(kind, latency=latency, score=score, ssim=ssim, memory=memory), kind=kind)


def decided(splits, budgets=None, limits=ZONE, *, require_split=False, edge=0.05, cloud=0.001, memory=1e6):
    budgets = budgets or Budgets()
    if budgets.has_leakage:
        limits = LeakageLimits(budgets.min_nmse, budgets.max_ssim, asked=True, best_in=limits.best_in)
    ends = (whole("all-edge", latency=edge, memory=memory), whole("all-cloud", latency=cloud))
    return verdict(
        priced(splits, budgets, limits), tuple(priced(ends, budgets, limits)), limits, budgets, require_split
    )


def test_the_fastest_of_splits_and_all_edge_is_the_verdict():
    split = a_plan("split", latency=0.01)
    assert decided([split]).verdict == "split"
    beaten = decided([split], edge=0.005)
    assert (beaten.verdict, beaten.best.kind, beaten.best_split.cut.name) == ("all-edge", "all-edge", "split")
    assert decided([split], edge=0.005, require_split=True).verdict == "split"
    assert decided([split], edge=0.01).verdict == "all-edge"  # as good, and sends nothing


def test_all_edge_that_meets_the_thresholds_goes_before_the_most_private_split():
    leaky = a_plan("leaky", latency=0.001, score=0.3)
    assert decided([leaky]).verdict == "all-edge"
    alone = decided([leaky], Budgets(max_edge_memory=2e6), memory=1e9)
    assert (alone.verdict, alone.best.cut.name) == ("split", "leaky")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "split"), ({"min_nmse": 0}, "all-cloud"), ({"min_nmse": 0, "max_ssim": 1}, "all-cloud"),
        ({"max_ssim": 1}, "split"), ({"min_nmse": 0, "max_ssim": 0.9}, "split"), ({"min_nmse": 0.5}, "split"),
    ],
)  # fmt: skip
def test_all_cloud_counts_only_where_leakage_is_waived(asked, said):
    assert decided([a_plan("split", latency=0.01)], Budgets(**asked)).verdict == said


def test_where_nothing_meets_the_requirements_the_nearest_is_shown():
    budgets = Budgets(max_latency=0.001, min_nmse=0.7)
    none = decided([a_plan("far", latency=0.01, score=0.1), a_plan("near", latency=0.0011, score=0.69)], budgets)
    assert (none.verdict, none.best.cut.name, none.best_split.cut.name) == ("none", "near", "near")
    assert [plan.cut.name for plan in none.nearest] == ["near", "far", "all-edge"]


def test_another_objective_chooses_another_plan():
    light, fast = a_plan("light", latency=0.02, memory=1e3), a_plan("fast", latency=0.01, memory=1e6)
    assert decided([light, fast]).best.cut.name == "fast"
    by_memory = dataclasses.replace(ZONE, best_in=objective("edge_memory"))
    assert decided([light, fast], limits=by_memory, memory=1e5).best.cut.name == "light"
    by_nmse = dataclasses.replace(ZONE, best_in=objective("nmse"))
    assert decided([light, a_plan("deep", score=0.99)], limits=by_nmse, require_split=True).best.cut.name == "deep"


@given(st.lists(st.tuples(*[st.integers(1, 3)] * 5), min_size=1, max_size=8), st.sampled_from(sorted(REQUIREMENTS)))
def test_no_shown_plan_beats_the_chosen_one_in_every_value(values, name):
    plans = [
        a_plan(str(i), latency=a, score=0.7 + b / 10, ssim=c / 10, drop=d / 100, memory=e)
        for i, (a, b, c, d, e) in enumerate(values)
    ]
    limits = dataclasses.replace(ZONE, best_in=REQUIREMENTS[name])
    best = choose(priced(plans, limits=limits), limits)
    if best is not None:
        rows = [*REQUIREMENTS.values()]
        own = {row.name: rank(best, row)[0] for row in rows}
        meeting = [plan for plan in plans if not limits.shortfall(plan)] or plans
        assert not any(all(rank(plan, row)[0] < own[row.name] for row in rows) for plan in meeting)


def test_what_leaks_is_not_called_private_where_it_was_not_measured():
    plans = priced([a_plan("slow", score=math.nan, latency=0.02), a_plan("fast", score=math.nan)])
    best = choose(plans, ZONE)
    said = reasons(best, plans, ZONE)[0]
    assert best.cut.name == "fast"
    assert "could not be held against" in said
    assert "private" not in said
    by_memory = dataclasses.replace(ZONE, best_in=objective("edge_memory"))
    assert "the best in edge memory of 2 plans" in reasons(best, plans, by_memory)[0]


def test_what_no_plan_was_measured_in_is_said_beside_what_all_miss():
    budgets = Budgets(max_latency=0.005, max_ids_recovered=0.2)
    limits = LeakageLimits(None, None, asked=True)
    said = reasons(None, priced([a_plan(latency=0.01)], budgets, limits), limits)[0]
    assert said.endswith(
        "every one misses --max-latency by 5 ms or more; --max-ids-recovered could not be measured of any."
    )


def test_a_gain_of_accuracy_is_no_cost():
    assert costs_or_gains(-0.0167) == "gains 1.67 pp of"
    assert costs_or_gains(0.0167) == "costs 1.67 pp of"
    plan = a_plan(drop=-0.0167)
    assert any(line.startswith("It gains 1.67 pp of") for line in reasons(plan, [plan], ZONE))
    assert not any("costs" in line for line in reasons(plan, [plan], ZONE))


def test_the_nearest_is_nearest_by_the_values_that_are_shown():
    """An interval's end decides whether a limit is met, and between plans that are shown alike."""
    budgets, limits = Budgets(min_nmse=0.7), ASKED
    sure, unsure = a_plan("sure", score=0.3, spread=0.01), a_plan("unsure", score=0.4, spread=0.3)
    plans = priced([sure, unsure, a_plan("less sure", score=0.4, spread=0.35)], budgets, limits)
    assert [plan.cut.name for plan in nearest(plans, budgets)] == ["unsure", "less sure", "sure"]


def in_the_cloud(latency, sends="", **other):
    return dataclasses.replace(a_plan("input", latency=latency, score=0.0, ssim=1.0, **other), kind="all-cloud",
                               sends=sends)  # fmt: skip


WAIVED = Budgets(min_nmse=0)
NO_LIMIT = LeakageLimits(min_nmse=0, max_ssim=None, asked=True)


def test_all_cloud_with_inputs_as_people_send_them_is_compared():
    split = priced([a_plan("a", latency=0.01)], WAIVED, NO_LIMIT)
    whole = priced([in_the_cloud(0.02), in_the_cloud(0.015, "uint8"), in_the_cloud(0.008, "JPEG")], WAIVED, NO_LIMIT)
    assert verdict(split, whole[:2], NO_LIMIT, WAIVED).verdict == "split"
    chosen = verdict(split, whole, NO_LIMIT, WAIVED)
    assert (chosen.verdict, chosen.best.sends) == ("all-cloud", "JPEG")
    assert verdict_sentence(chosen.verdict, chosen.best).startswith("Run it all in the cloud, the input sent as JPEG:")
    assert unhidden(chosen.best, whole, NO_LIMIT, WAIVED) == ()


def test_that_all_on_the_edge_would_be_better_is_said_where_a_split_was_required():
    (split,) = priced([a_plan("a", latency=0.01)], limits=ASKED)
    costs = ({"latency": 0.002}, {"latency": 0.02}, {"latency": 0.002, "memory": 9e9})
    edges = [whole("all-edge", **cost) for cost in costs]
    fast, slow, missing = priced(edges, Budgets(max_edge_memory=1e9), ASKED)
    assert unsplit(split, [fast], ASKED, require_split=True) == (
        "Everything on the edge meets every requirement and has a latency of 2 ms, where this plan has 10 ms: a split "
        "was required.",
    )
    for edge, required in ((slow, True), (missing, True), (fast, False)):
        assert unsplit(split, [edge], ASKED, required) == ()


def test_an_input_that_may_not_be_sent_changes_no_verdict_and_its_gain_is_said():
    split = priced([a_plan("a", latency=0.01)], limits=ASKED)
    whole = priced([in_the_cloud(0.02), in_the_cloud(0.008, "JPEG")], limits=ASKED)
    chosen = verdict(split, whole, ASKED, Budgets())
    assert chosen.verdict == "split"
    (said,) = unhidden(chosen.best, whole, ASKED, Budgets())
    assert said == (
        "All in the cloud, the input sent as JPEG, has a latency of 8 ms, where this plan has 10 ms, and hides "
        "nothing: it counts only where leakage is waived (--min-nmse 0)."
    )
    (said,) = unhidden(chosen.best, priced([in_the_cloud(0.008)], limits=ASKED), ASKED, Budgets())
    assert said.startswith("All in the cloud has a latency of 8 ms")
    (said,) = unhidden(chosen.best, whole, NO_LIMIT, WAIVED, require_split=True)
    assert said.endswith("a split was required.")


@pytest.mark.parametrize(
    "whole",
    [[in_the_cloud(0.02)], [in_the_cloud(0.01)], [in_the_cloud(0.001, drop=0.5)], [in_the_cloud(math.nan)], []],
)
def test_nothing_is_said_of_an_input_that_gains_nothing_or_misses_a_budget(whole):
    budgets = Budgets(max_accuracy_drop=0.02, min_nmse=0.7)
    best = verdict(priced([a_plan("a", latency=0.01)], budgets, ASKED), [], ASKED, budgets).best
    assert unhidden(best, priced(whole, budgets, ASKED), ASKED, budgets) == ()
