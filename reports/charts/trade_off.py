"""Accuracy against leakage of trained defenses, with the floor and the local head; drawn where plans carry it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.reports.charts.chart import Chart, Spec, role
from advisor.reports.charts.plan_charts import COLOURS, SHAPES, listed_plans, plan_spec
from advisor.reports.content import words
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean

TITLE = "NMSE left to the attacker (up is better); diamond: local head; dotted: floor"


def trade_off(advice: Advice) -> Iterator[Chart]:
    """The curve of every fit, a point a level of noise, the plans that take one ringed; none where none was fitted."""
    plans = [plan for _, plan in listed_plans(advice)]
    trained = [plan for plan in plans if plan.fitted is not None and plan.kind == "split"]
    rows = list({row["said"]: row for plan in trained for row in _levels(plan)}.values())
    if not rows:
        return
    names = list(dict.fromkeys(row["fit"] for row in rows))
    scale = {"domain": names, "range": [role(COLOURS[i % len(COLOURS)]) for i in range(len(names))]}
    shape = {"domain": names, "range": [SHAPES[i % len(SHAPES)] for i in range(len(names))]}
    colour = {"field": "fit", "type": "nominal", "scale": scale, "legend": {"columns": 3, "symbolLimit": 12}}
    x = {"field": "drop", "type": "quantitative", "title": "accuracy drop, pp (left is better)",
         "scale": {"padding": 14}, "axis": {"tickCount": 6}}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "axis": {"tickCount": 5},
         "scale": {"domain": [-0.03, 1.08], "clamp": True, "nice": False}}  # fmt: skip
    at: Spec = {"x": x, "y": y, "description": {"field": "said"}}
    heads = [row for plan in plans if plan.kind == "local-head" for row in _chosen(plan)]
    rings = [row for plan in trained for row in _chosen(plan)]
    layers: list[Spec] = [
        {"data": {"values": rows}, "mark": {"type": "line", "aria": False},
         "encoding": {"x": x, "y": y, "color": colour, "order": {"field": "sigma"}}},
        {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 80},
         "encoding": {**at, "color": colour, "shape": {"field": "fit", "type": "nominal", "scale": shape}}},
        _layer(rings, {"type": "point", "size": 300, "color": role("chosen"), "strokeWidth": 2}, at),
        _layer(heads, {"type": "point", "filled": True, "size": 150, "shape": "diamond", "color": role("cloud")}, at),
        _layer(_floors(advice), {"type": "rule", "color": role("muted"), "strokeDash": [2, 3], "clip": True},
               {"y": y, "description": {"field": "said"}}),
    ]  # fmt: skip
    said = f"{len(names)} fitted defenses at {len(rows)} levels of noise: accuracy drop against NMSE."
    shown = [layer for layer in layers if layer["data"]["values"]]
    yield Chart("trade", "Trained defenses", plan_spec(TITLE, 260, shown, said), said)


def _layer(rows: list[Spec], mark: Spec, encoding: Spec) -> Spec:
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _levels(plan: Plan) -> Iterator[dict[str, Any]]:
    fitted = plan.fitted
    assert fitted is not None
    for point in fitted.curve:
        yield from _row(clean(str(fitted)), point.accuracy_drop, point.score, float(point.sigma))


def _chosen(plan: Plan) -> Iterator[dict[str, Any]]:
    drop, found = plan.predicted.get("accuracy_drop"), plan.predicted.get("score")
    if drop is not None and found is not None:
        yield from _row(clean(words.plan_name(plan)), drop, plan.leakage("score"), 0.0)


def _row(fit: str, drop: Estimate, found: Estimate, sigma: float) -> Iterator[dict[str, Any]]:
    if math.isfinite(drop.value) and math.isfinite(found.value):
        numbers = f"accuracy drop {show_estimate(drop, 'accuracy_drop')}, NMSE {show_estimate(found, 'score')}"
        yield {"fit": fit, "drop": 100 * drop.value, "nmse": found.value, "sigma": sigma,
               "said": f"{fit}, noise {sigma:.3g}: {numbers}"}  # fmt: skip


def _floors(advice: Advice) -> list[Spec]:
    """What the output alone gives away, of every attack that computed it."""
    found = {round(item.scores["floor"].value, 4) for item in advice.evidence if "floor" in item.scores}
    return [{"nmse": value, "said": f"floor: NMSE {value:.3f}"} for value in sorted(found) if math.isfinite(value)]
