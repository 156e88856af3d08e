"""Plans as points: accuracy drop against leakage, and the curve of a trained defense between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from advisor.advice import Advice
from advisor.plans import Plan
from advisor.reports.charts.chart import SCHEMA, Chart, Spec, config, role
from advisor.reports.content import words
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean

SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
ASIDE = 13
"""Pixels between marks that would cover one another."""
FAR = 8.0
"""Percentage points from which on a drop may leave too little room for the others."""
COLOURS = ("edge", "cloud", "score", "quick", "muted", "chosen")


def listed_plans(advice: Advice) -> tuple[tuple[str, Plan], ...]:
    """Every plan once, with its role: chosen, on the front, near, an alternative, a baseline."""
    groups = (
        ("front", advice.pareto), ("nearest", advice.nearest), ("baseline", advice.baselines),
        *((clean(role), (plan,)) for role, plan in advice.alternatives.items()),
        ("best split", (advice.best_split,) if advice.best_split else ()),
    )  # fmt: skip
    found = [("chosen", advice.best)] if advice.best else []
    for name, plans in groups:
        shown = {_identity(plan) for _, plan in found}
        found += [(name, plan) for plan in plans if _identity(plan) not in shown]
    return tuple(found)


def _identity(plan: Plan) -> tuple[str, str, str]:
    latency = plan.predicted.get("latency")
    return plan.kind, str(plan), "" if latency is None else f"{latency.value:.9g}"


def front(advice: Advice) -> Iterator[Chart]:
    """Accuracy drop against NMSE of every plan; none where no plan has both."""
    rows = [row for k, (name, plan) in enumerate(listed_plans(advice)) if (row := _row(k, name, plan)) is not None]
    if not rows:
        return
    families = list(dict.fromkeys(row["family"] for row in rows))
    set_apart(rows)
    colour = {"field": "family", "type": "nominal",
              "scale": {"domain": families, "range": [role(COLOURS[i % len(COLOURS)]) for i in range(len(families))]},
              "legend": {"columns": 3, "symbolLimit": 12}}  # fmt: skip
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(families))]
    shape = {"field": "family", "type": "nominal", "scale": {"domain": families, "range": shapes}}
    x = {"field": "drop", "type": "quantitative", "title": "accuracy drop, pp (left is better)",
         **across([row["drop"] for row in rows])}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "axis": {"tickCount": 5},
         "scale": {"domain": [-0.03, 1.08], "clamp": True, "nice": False}}  # fmt: skip
    aside = {"xOffset": {"expr": "datum.aside"}}
    both = {"x": x, "y": y}
    picked = {"test": "datum.k === picked", "value": 260}
    points = {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "cursor": "pointer", "strokeWidth": 1.5, **aside},
        "encoding": {**both, "color": colour, "shape": shape, "size": {"condition": picked, "value": 90},
                     "opacity": {"condition": {"test": "datum.feasible", "value": 1}, "value": 0.45},
                     "description": {"field": "said"}},
    }  # fmt: skip
    spread = [row for row in rows if row["lo"] is not None]
    bars = {"data": {"values": spread}, "mark": {"type": "rule", "opacity": 0.35, "aria": False, **aside},
            "encoding": {"x": x, "y": {**y, "field": "lo"}, "y2": {"field": "hi"}, "color": colour}}  # fmt: skip
    ring = {"type": "point", "size": 420, "color": role("chosen"), "strokeWidth": 2, "aria": False, **aside}
    chosen = {"data": {"values": [row for row in rows if row["name"] == "chosen"]}, "encoding": both, "mark": ring}
    words_ = f"{len(rows)} plans: accuracy drop against the NMSE left to an attacker; up and to the left is better."
    spec = plan_spec("NMSE left to the attacker (up is better)", 300, [bars, points, chosen, *_limits(advice)], words_)
    yield Chart("front", "Accuracy against leakage", {**spec, "params": [{"name": "picked", "value": -1}]}, words_)


def _row(k: int, name: str, plan: Plan) -> Spec | None:
    drop = plan.predicted.get("accuracy_drop")
    found = plan.leakage("score") if "score" in plan.predicted else None
    if drop is None or found is None or not (math.isfinite(drop.value) and math.isfinite(found.value)):
        return None
    ends = math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high
    numbers = f"accuracy drop {show_estimate(drop, 'accuracy_drop')}, NMSE {show_estimate(found, 'score')}"
    said = f"{words.plan_name(plan)}: {numbers}"
    return {"k": k, "name": name, "drop": 100 * drop.value, "nmse": found.value, "family": _family(plan),
            "lo": found.low if ends else None, "hi": found.high if ends else None, "feasible": plan.feasible,
            "said": clean(said), "aside": 0}  # fmt: skip


def set_apart(rows: Sequence[Spec]) -> None:
    """Marks that would cover one another stand side by side: `aside` counts pixels from where each belongs."""
    wide = max(row["drop"] for row in rows) - min(row["drop"] for row in rows)
    placed: list[list[Spec]] = []
    for row in rows:
        for group in placed:
            near = abs(row["drop"] - group[0]["drop"]) <= wide / 100, abs(row["nmse"] - group[0]["nmse"]) <= 0.03
            if all(near):
                group.append(row)
                break
        else:
            placed.append([row])
    for group in placed:
        for k, row in enumerate(group):
            row["aside"] = ASIDE * (k - (len(group) - 1) / 2)


def across(drops: Sequence[float]) -> Spec:
    """The axis of drops; where one plan loses far more than the rest, on a scale that leaves the rest room."""
    most, middle = max(drops), sorted(drops)[len(drops) // 2]
    if most <= max(FAR, 5 * abs(middle)):
        return {"scale": {"nice": True, "zero": True, "padding": 14}, "axis": {"tickCount": 6}}
    ticks = [-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100]
    return {"scale": {"type": "symlog", "constant": 2, "nice": False, "padding": 18}, "axis": {"values": ticks}}


def _family(plan: Plan) -> str:
    if plan.kind != "split":
        return plan.kind.replace("-", " ")
    return "no defense" if plan.defense.name == "none" else clean(plan.defense.name)


def _limits(advice: Advice) -> Iterator[Spec]:
    """The budgets on the two axes."""
    mark = {"type": "rule", "color": role("limit"), "strokeDash": [6, 3], "strokeWidth": 1.5, "clip": True}
    for row, limit in advice.budgets:
        if row.measurement == "accuracy_drop":
            at = {"x": {"datum": 100 * limit}, "description": {"value": "accuracy budget"}}
        elif row.measurement == "score":
            at = {"y": {"datum": limit}, "description": {"value": "leakage budget"}}
        else:
            continue
        yield {"data": {"values": [{}]}, "mark": mark, "encoding": at}


def plan_spec(title: str, height: int, layers: Sequence[Spec], said: str) -> dict[str, Any]:
    """A chart of plans, as wide as its place."""
    fit = {"type": "fit-x", "contains": "padding"}
    return {"$schema": SCHEMA, "width": "container", "height": height, "title": title, "description": said,
            "autosize": fit, "config": config(), "layer": list(layers)}  # fmt: skip
