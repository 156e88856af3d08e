from __future__ import annotations

import math

import pytest

from advisor.estimate import Estimate
from advisor.reports.content.budgets import misses, verdicts
from advisor.requirements import Budgets
from advisor.testing.made_up_advices import plan_with


@pytest.mark.parametrize(
    ("budgets", "excess", "status", "note"),
    [
        (Budgets(max_latency=0.04), {}, "met", ""),
        (Budgets(max_latency=0.025), {}, "close", "the 90 % interval reaches 26.4 ms"),
        (Budgets(max_latency=0.02), {"max_latency": 0.0036}, "missed", "3.6 ms over"),
        (Budgets(max_latency=0.02), {"max_latency": math.nan}, "not measured", "could not be checked"),
        (Budgets(min_nmse=0.7), {}, "close", "the 90 % interval reaches 0.679"),
        (Budgets(min_nmse=0.6), {}, "met", ""),
        (Budgets(min_nmse=0.9), {"min_nmse": 0.13}, "missed", "0.130 short"),
        (
            Budgets(min_nmse=0.7),
            {"min_nmse": 0.021},
            "missed",
            "0.021 short at the low end of its interval",
        ),
        (Budgets(min_nmse=0.9), {"min_nmse": 0.221}, "missed", "0.221 short at the low end of its interval"),
        (Budgets(max_ssim=0.5), {}, "met", ""),
        (Budgets(max_edge_memory=1e6), {"max_edge_memory": 1024.0}, "missed", "1 KiB over"),
    ],
)
def test_a_budget_is_met_close_missed_or_unknown(
    budgets: Budgets, excess: dict[str, float], status: str, note: str
) -> None:
    (verdict,) = verdicts(plan_with(excess=excess), budgets)
    assert (verdict.status, verdict.note) == (status, note)


def test_a_cost_of_which_only_a_lower_bound_is_known_is_not_said_to_be_met() -> None:
    plan = plan_with(predicted={"latency": Estimate.exact(0.01, "s", "bounded")})
    (verdict,) = verdicts(plan, Budgets(max_latency=0.04))
    assert (verdict.status, verdict.note) == ("close", "only a lower bound is known")
    assert verdict.found == "≥ 10 ms"


def test_a_quantity_that_was_never_predicted_is_not_met() -> None:
    (verdict,) = verdicts(plan_with(predicted={}, verified={}), Budgets(max_edge_memory=1e9))
    assert (verdict.status, verdict.found) == ("not measured", "not measured")


def test_a_limit_outside_the_budgets_is_shown_too() -> None:
    (verdict,) = verdicts(plan_with(excess={"zone_threshold": 0.1}), Budgets())
    assert (verdict.label, verdict.status) == ("zone threshold", "missed")


def test_the_attack_counts_where_it_found_more() -> None:
    worse = {"nmse": Estimate(0.5, 0.01, 0.48, 0.52)}
    (verdict,) = verdicts(plan_with(verified=worse, excess={"min_nmse": 0.2}), Budgets(min_nmse=0.7))
    assert verdict.found == "0.500 (0.480–0.520)"


def test_misses_of_nothing() -> None:
    assert misses(plan_with(), Budgets(max_latency=1)) == "meets every budget"
