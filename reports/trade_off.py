"""Accuracy against leakage of trained defenses, with the floor and the local head; drawn where plans carry it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from advisor.plans import Advice, Plan
from advisor.reports import words
from advisor.reports.charts import SCHEMA, Chart, Spec, config, role
from advisor.reports.plan_charts import listed_plans
from advisor.reports.quantities import show_estimate
from advisor.reports.text import clean


def trade_off(advice: Advice) -> Iterator[Chart]:
    """One chart of every trained plan that has accuracy and leakage; none where no plan was trained."""
    plans = [plan for _, plan in listed_plans(advice)]
    rows = [row for plan in plans if is_trained(plan) and (row := _row(plan)) is not None]
    if not rows:
        return
    heads = [row for plan in plans if plan.kind == "local-head" and (row := _row(plan)) is not None]
    floors = sorted({round(value, 6) for plan in plans for value in _floors(plan)})
    x = {"field": "accuracy", "type": "quantitative", "title": "accuracy, % (right is better)",
         "scale": {"zero": False, "nice": True}, "axis": {"tickCount": 6}}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "scale": {"domain": [0, 1.05], "clamp": True}}
    said = {"description": {"field": "said"}}
    layers: list[Spec] = [
        {"data": {"values": rows}, "mark": {"type": "line", "color": role("score"), "aria": False},
         "encoding": {"x": x, "y": y, "detail": {"field": "method"}}},
        {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 90, "color": role("score")},
         "encoding": {"x": x, "y": y, **said}},
        {"data": {"values": heads}, "encoding": {"x": x, "y": y, **said},
         "mark": {"type": "point", "filled": True, "size": 130, "shape": "diamond", "color": role("cloud")}},
        *({"data": {"values": [{"v": value, "said": f"floor: NMSE {value:.3f}"}]},
           "mark": {"type": "rule", "color": role("muted"), "strokeDash": [2, 3], "clip": True},
           "encoding": {"y": {"field": "v", "type": "quantitative"}, **said}} for value in floors),
    ]  # fmt: skip
    heading = "NMSE left to the attacker (up is better); diamond: local head; dotted: floor, the answer's own leakage"
    spec = {"$schema": SCHEMA, "width": "container", "height": 260, "title": heading, "description": heading,
            "autosize": {"type": "fit-x", "contains": "padding"}, "config": config(),
            "layer": [layer for layer in layers if layer["data"]["values"]]}  # fmt: skip
    yield Chart("trade", "Trained defenses", spec, f"{len(rows)} trained plans: accuracy against NMSE.")


def is_trained(plan: Plan) -> bool:
    """Whether its weights were fitted."""
    return bool(getattr(plan, "fitted", None))


def _floors(plan: Plan) -> Iterator[float]:
    for found in (plan.verified.get("floor"), plan.predicted.get("floor")):
        if found is not None and math.isfinite(found.value):
            yield found.value


def _row(plan: Plan) -> dict[str, object] | None:
    accuracy = plan.predicted.get("accuracy")
    found = plan.leakage("score") if "score" in plan.predicted else None
    if accuracy is None or found is None or not (math.isfinite(accuracy.value) and math.isfinite(found.value)):
        return None
    said = (
        f"{words.plan_name(plan)}: accuracy {show_estimate(accuracy, 'accuracy')}, NMSE {show_estimate(found, 'score')}"
    )
    fitted = getattr(plan, "fitted", None)
    method = fitted.get("method", "") if isinstance(fitted, dict) else getattr(fitted, "method", "")
    return {"accuracy": 100 * accuracy.value, "nmse": found.value, "said": clean(said), "method": clean(method)}
