"""Plans as points: accuracy drop against leakage, and the curve of a trained defense between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from advisor.plans import Advice, Plan
from advisor.reports import words
from advisor.reports.charts import SCHEMA, Chart, Spec, config, role
from advisor.reports.quantities import show_estimate
from advisor.reports.text import clean

SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
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
    colour = {"field": "family", "type": "nominal",
              "scale": {"domain": families, "range": [role(COLOURS[i % len(COLOURS)]) for i in range(len(families))]},
              "legend": {"columns": 4, "symbolLimit": 12}}  # fmt: skip
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(families))]
    shape = {"field": "family", "type": "nominal", "scale": {"domain": families, "range": shapes}}
    x = {"field": "drop", "type": "quantitative", "title": "accuracy drop, pp (left is better)",
         "scale": {"nice": True, "zero": True, "padding": 14}, "axis": {"tickCount": 6}}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "axis": {"tickCount": 5},
         "scale": {"domain": [-0.03, 1.08], "clamp": True, "nice": False}}  # fmt: skip
    both = {"x": x, "y": y}
    picked = {"test": "datum.k === picked", "value": 260}
    points = {
        "data": {"values": rows}, "mark": {"type": "point", "filled": True, "cursor": "pointer", "strokeWidth": 1.5},
        "encoding": {**both, "color": colour, "shape": shape, "size": {"condition": picked, "value": 90},
                     "opacity": {"condition": {"test": "datum.feasible", "value": 1}, "value": 0.45},
                     "description": {"field": "said"}},
    }  # fmt: skip
    spread = [row for row in rows if row["lo"] is not None]
    bars = {"data": {"values": spread}, "mark": {"type": "rule", "opacity": 0.35, "aria": False},
            "encoding": {"x": x, "y": {**y, "field": "lo"}, "y2": {"field": "hi"}, "color": colour}}  # fmt: skip
    ring = {"type": "point", "size": 420, "color": role("chosen"), "strokeWidth": 2, "aria": False}
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
            "said": clean(said)}  # fmt: skip


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
