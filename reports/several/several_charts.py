"""Charts of several advices: the parts of their latencies, and what each loses in accuracy for what it hides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from advisor.advice import Advice
from advisor.reports.charts.chart import SCHEMA, Chart, Spec, config, role
from advisor.reports.charts.cut_charts import ROLES
from advisor.reports.charts.plan_charts import COLOURS, SHAPES, across, plan_spec, set_apart
from advisor.reports.content.beside import estimate_of
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean, shorten
from advisor.units import scale

NAME = 40


def charts(advices: Mapping[str, Advice]) -> tuple[Chart, ...]:
    """Those of which something was measured."""
    named = {shorten(name, NAME): advice for name, advice in advices.items()}
    return (*_latencies(named), *_trade(named))


def _latencies(advices: Mapping[str, Advice]) -> Iterator[Chart]:
    """Edge, link and cloud of each advice's plan as one bar."""
    parts = [
        (name, kind, found.value)
        for name, advice in advices.items() if advice.best is not None
        for kind in ROLES
        if (found := advice.best.predicted.get(kind)) is not None and math.isfinite(found.value)
    ]  # fmt: skip
    if not parts:
        return
    unit, factor = scale(max(value for _, _, value in parts), "s")
    order = list(ROLES)
    rows = [{"advice": name, "of": ROLES[kind], "k": order.index(kind), "v": value / factor,
             "said": f"{name}: {ROLES[kind]} {value / factor:.3g} {unit}"} for name, kind, value in parts]  # fmt: skip
    colours = {"domain": list(ROLES.values()), "range": [role(name) for name in ROLES.values()]}
    title = f"latency of one input, {unit}"
    encoding = {
        "y": {"field": "advice", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 160}},
        "x": {"field": "v", "type": "quantitative", "stack": "zero", "title": None, "axis": {"tickCount": 5}},
        "color": {"field": "of", "type": "nominal", "scale": colours, "sort": None},
        "order": {"field": "k"}, "description": {"field": "said"},
    }  # fmt: skip
    said = f"{title}: edge, link and cloud of {len(advices)} advices, stacked."
    spec: Spec = {
        "$schema": SCHEMA, "width": "container", "height": 34 * len(advices), "title": title, "description": said,
        "autosize": {"type": "fit-x", "contains": "padding"}, "config": config(), "data": {"values": rows},
        "mark": {"type": "bar", "height": 20}, "encoding": encoding,
    }  # fmt: skip
    yield Chart("latencies", "What each costs in time", spec, said)


def _trade(advices: Mapping[str, Advice]) -> Iterator[Chart]:
    """Accuracy drop against NMSE, a mark an advice."""
    rows = [row for name, advice in advices.items() if (row := _row(name, advice)) is not None]
    if not rows:
        return
    set_apart(rows)
    names = [row["advice"] for row in rows]
    colour = {"domain": names, "range": [role(COLOURS[i % len(COLOURS)]) for i in range(len(names))]}
    shape = {"domain": names, "range": [SHAPES[i % len(SHAPES)] for i in range(len(names))]}
    x = {"field": "drop", "type": "quantitative", "title": "accuracy drop, pp (left is better)",
         **across([row["drop"] for row in rows])}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "axis": {"tickCount": 5},
         "scale": {"domain": [-0.03, 1.08], "clamp": True, "nice": False}}  # fmt: skip
    color = {"field": "advice", "type": "nominal", "scale": colour, "legend": {"columns": 2, "symbolLimit": 12}}
    aside = {"xOffset": {"expr": "datum.aside"}}
    points = {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1, **aside},
              "encoding": {"x": x, "y": y, "color": color, "description": {"field": "said"},
                           "shape": {"field": "advice", "type": "nominal", "scale": shape}}}  # fmt: skip
    spread = [row for row in rows if row["lo"] is not None]
    bars = {"data": {"values": spread}, "mark": {"type": "rule", "opacity": 0.35, "aria": False, **aside},
            "encoding": {"x": x, "y": {**y, "field": "lo"}, "y2": {"field": "hi"}, "color": color}}  # fmt: skip
    said = f"{len(rows)} advices: accuracy drop against the NMSE left to an attacker; up and to the left is better."
    layers = [*([bars] if spread else []), points]
    yield Chart("trade", "Accuracy against leakage",
                plan_spec("NMSE left to the attacker (up is better)", 260, layers, said), said)  # fmt: skip


def _row(name: str, advice: Advice) -> Spec | None:
    if advice.best is None:
        return None
    drop, found = (estimate_of(advice.best, kind) for kind in ("accuracy_drop", "score"))
    if drop is None or found is None or not (math.isfinite(drop.value) and math.isfinite(found.value)):
        return None
    ends = math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high
    numbers = f"accuracy drop {show_estimate(drop, 'accuracy_drop')}, NMSE {show_estimate(found, 'score')}"
    return {"advice": name, "drop": 100 * drop.value, "nmse": found.value, "said": clean(f"{name}: {numbers}"),
            "lo": found.low if ends else None, "hi": found.high if ends else None, "aside": 0}  # fmt: skip
