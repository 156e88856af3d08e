"""Why not the next plans: what each gains and loses, beside the chosen one, in every report."""

from __future__ import annotations

import dataclasses
import json
import math

from advisor.defenses import GaussianNoise, NoDefense
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.selection import next_best, with_excess
from advisor.reports import REPORTS
from advisor.reports.content.rivals import rivals
from advisor.requirements import Budgets
from advisor.testing.made_up_advices import digits
from advisor.testing.report_contract import plain
from tests.advisor.plans import a_plan

LIMITS = LeakageLimits(0.3, None, True)


def test_the_next_are_in_the_order_of_the_choice_and_differ_in_more_than_a_parameter() -> None:
    plans = [
        a_plan("a", latency=0.010, defense=GaussianNoise(0.5)), a_plan("a", latency=0.011, defense=GaussianNoise(0.6)),
        a_plan("a", latency=0.012), a_plan("b", latency=0.013), a_plan("c", latency=0.001, score=0.1),
        a_plan("d", latency=0.002, score=0.2),
    ]  # fmt: skip
    judged = [with_excess(plan, Budgets(min_nmse=0.3), LIMITS) for plan in plans]
    found = next_best(judged[0], judged, Budgets(min_nmse=0.3), LIMITS)
    assert [(plan.cut.name, plan.defense.name) for plan in found] == [("a", "none"), ("b", "none"), ("d", "none")]


def test_what_each_gains_and_loses_is_said_with_both_numbers() -> None:
    best = a_plan("best", latency=0.010, score=0.8, drop=0.01)
    faster = a_plan("fast", latency=0.004, score=0.2, drop=0.01, defense=NoDefense())
    unknown = a_plan("dark", latency=0.010, score=0.8, drop=math.nan)
    judged = with_excess(faster, Budgets(min_nmse=0.3), LIMITS)
    advice = dataclasses.replace(
        digits(), best=best, next_best=(judged, unknown), budgets=Budgets(min_nmse=0.3), evidence=()
    )
    first, second = rivals(advice)
    assert first.gains == ("latency 4 ms instead of 10 ms",)
    assert first.loses == ("attacker's NMSE 0.200 instead of 0.800",)
    assert first.misses.startswith("attacker's NMSE 0.100 short")
    assert (second.gains, second.loses, second.misses) == ((), (), "")
    assert str(second) == "dark – better: nothing."


def test_every_report_says_why_not_the_next() -> None:
    advice = digits()
    said = [str(rival) for rival in rivals(advice)]
    assert len(said) == 3
    for name in ("console", "markdown", "html"):
        words = plain(REPORTS[name](advice))
        assert "Why not the next" in words
        assert said[0].split(":")[0] in words
    answer = json.loads(REPORTS["json"](advice))["answer"]
    assert [row["plan"] for row in answer["rivals"]] == [rival.plan for rival in rivals(advice)]
