"""What the page's script reads: the table of cuts and the plans, as JSON that no markup can come out of."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from advisor.advice import Advice
from advisor.reports.charts.chart import Chart
from advisor.reports.charts.plan_charts import listed_plans
from advisor.reports.content import tables, words
from advisor.reports.content.beside import COLUMNS
from advisor.reports.content.budgets import misses
from advisor.reports.content.quantities import quantity, show_estimate
from advisor.reports.content.text import clean
from advisor.reports.csv import FIXED, cell, heads

ROWS = 40
"""Most cuts in the table before all are asked for."""
_OUTSIDE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def embedded(value: Any) -> Markup:
    """JSON for a script element: nothing in it ends the element or begins a comment."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_OUTSIDE))


def page_data(advice: Advice, charts: Sequence[Chart]) -> dict[str, Any]:
    """Cuts, columns, plans and specs."""
    profile = advice.profile
    marks = marks_of(advice)
    return {
        "cuts": [
            {"name": clean(cut.name), "block": clean(cut.block), "crosses": crosses(advice, i), "marks": marks[i],
             "csv": [str(i), cell(cut.name), cell(cut.block), crosses(advice, i, "x", "; ")]}
            for i, cut in enumerate(profile.cuts)
        ],
        "brief": list(_brief(advice)),
        "main": list(tables.main_columns(profile)),
        "columns": [_column(advice, name) for name in tables.all_columns(profile)],
        "csv": {"fixed": list(FIXED), "columns": [{"name": c.name, "heads": list(heads(c))} for c in profile],
                "flags": {name: _numbers(profile[name].values) for name in tables.FLAGS if name in profile}},
        "plans": [_plan(advice, name, plan) for name, plan in listed_plans(advice)],
        "specs": {chart.name: chart.spec for chart in charts},
    }  # fmt: skip


def crosses(advice: Advice, index: int, times: str = "×", between: str = ", ") -> str:
    """`64×8×8 float32` of each tensor that crosses."""
    tensors = advice.profile.cuts[index].tensors
    return between.join(f"{times.join(map(str, t.shape)) or 'scalar'} {t.dtype}" for t in tensors)


def marks_of(advice: Advice) -> list[list[str]]:
    """For each cut: chosen, zone, published."""
    chosen = tables.plan_rows(advice, advice.best) if advice.best and advice.best.kind == "split" else ()
    sets = {"chosen": chosen, "zone": tables.zone_rows(advice), "published": tables.flagged(advice.profile, "in_gpz")}
    return [[mark for mark, at in sets.items() if i in at] for i in range(len(advice.profile.cuts))]


def _brief(advice: Advice) -> tuple[int, ...]:
    blocks = tables.block_rows(advice)
    if len(blocks) <= ROWS:
        return blocks
    return tables.pick_rows(len(advice.profile.cuts), tables.important_rows(advice), ROWS)


def _column(advice: Advice, name: str) -> dict[str, Any]:
    column = advice.profile[name]
    cells = [tables.cell(advice.profile, name, i) for i in range(len(column))]
    return {
        "name": name, "label": tables.label(name), "source": column.source, "meaning": clean(quantity(name).meaning),
        "values": _numbers(column.values), "low": _numbers(column.low), "high": _numbers(column.high),
        "text": [c.text for c in cells], "interval": [c.interval for c in cells], "why": [c.why for c in cells],
    }  # fmt: skip


def _numbers(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _plan(advice: Advice, role: str, plan: Any) -> dict[str, Any]:
    facts = [[quantity(name).label, words.predicted(plan, name)] for name in COLUMNS if name in plan.predicted]
    found = [[f"{quantity(name).label}, found by an attack", show_estimate(e, name)]
             for name, e in plan.verified.items()]  # fmt: skip
    return {"name": words.plan_name(plan), "role": role, "facts": [*facts, *found],
            "budgets": misses(plan, advice.budgets)}  # fmt: skip
