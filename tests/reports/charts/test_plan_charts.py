"""Plans as points: marks that would cover one another stand apart, and one far plan leaves the others room."""

from __future__ import annotations

import dataclasses

from advisor.estimate import Estimate
from advisor.reports.charts.plan_charts import ASIDE, across, front, set_apart
from advisor.testing.made_up_advices import digits


def test_marks_that_would_cover_one_another_stand_side_by_side() -> None:
    places = [(0.0, 0.4), (0.004, 0.41), (0.0, 0.39), (1.0, 0.4), (0.0, 0.9)]
    rows = [{"drop": drop, "nmse": nmse, "aside": 0} for drop, nmse in places]
    set_apart(rows)
    assert [row["aside"] for row in rows] == [-ASIDE, 0, ASIDE, 0, 0]
    alone = [{"drop": 2.0, "nmse": 0.4, "aside": 0}]
    set_apart(alone)
    assert alone[0]["aside"] == 0


def test_no_two_marks_of_a_report_are_at_one_place() -> None:
    (chart,) = front(digits())
    rows = next(layer for layer in chart.spec["layer"] if layer["mark"].get("filled"))["data"]["values"]
    assert len(rows) > 10
    assert len({(round(row["drop"], 6), round(row["nmse"], 2), row["aside"]) for row in rows}) == len(rows)


def test_one_far_plan_leaves_the_others_room() -> None:
    assert "type" not in across([0.0, 0.5, 2.0, 3.0])["scale"]
    assert across([0.0, 0.5, 2.0, 60.0])["scale"]["type"] == "symlog"
    assert "type" not in across([40.0, 50.0, 60.0])["scale"]  # all are far


def test_a_plan_of_unknown_accuracy_has_no_mark() -> None:
    advice = digits()
    unknown = {"accuracy_drop": Estimate(float("nan"))}
    plans = [dataclasses.replace(plan, predicted={**plan.predicted, **unknown}) for plan in advice.pareto]
    bare = dataclasses.replace(advice, best=None, best_split=None, pareto=tuple(plans), baselines=(), next_best=())
    assert list(front(bare)) == []
