"""What an attacker gets by the number of samples that it has: one sentence, and a curve with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from advisor.advice import Advice
from advisor.reports.charts.chart import Chart, role
from advisor.reports.charts.plan_charts import plan_spec
from advisor.reports.content import words
from advisor.reports.content.quantities import show
from advisor.reports.content.text import clean

KEY = "attacker_samples"
TITLE = "NMSE left to the attacker (up is better), by the samples that it has"


def samples_needed(advice: Advice) -> str:
    """The answer to "how many samples must they have"; "" where it was not asked."""
    said = words.section(advice, KEY)
    asked, found, points = _count(said.get("asked")), _row(said.get("found")), _rows(said.get("points"))
    if asked is None or found is None or not points:
        return ""
    most = max(point["samples"] for point in points)
    interval = f"{show(found['low'], '1', 'nmse')}–{show(found['high'], '1', 'nmse')}"
    learnt = (
        f"the {clean(str(said.get('attack')))} attack with {min(p['samples'] for p in points):,} to {most:,} samples"
    )
    if said.get("known") is True:
        how = "of" if asked <= most else "carried on from"
        return (
            f"An attacker of {asked:,} samples: NMSE {show(found['nmse'], '1', 'nmse')} ({interval}), {how} {learnt}."
        )
    enough = _count(said.get("enough"))
    more = f"; {enough:,} would do" if enough is not None else ""
    return f"An attacker of {asked:,} samples: not known with {most:,} samples (NMSE {interval}, from {learnt}){more}."


def learning_chart(advice: Advice) -> Iterator[Chart]:
    """The curve with its interval, and the attacks that it was carried on from; none where it was not asked."""
    said = words.section(advice, KEY)
    curve, points = _rows(said.get("curve")), _rows(said.get("points"))
    if not curve or not points:
        return
    x = {"field": "samples", "type": "quantitative", "title": "samples of the attacker", "scale": {"type": "log"},
         "axis": {"tickCount": 5, "format": "~s"}}  # fmt: skip
    y = {"field": "nmse", "type": "quantitative", "title": None, "axis": {"tickCount": 5},
         "scale": {"domain": [0, 1.08], "clamp": True, "nice": False}}  # fmt: skip
    layers = [
        {"data": {"values": curve}, "mark": {"type": "area", "opacity": 0.25, "color": role("quick"), "aria": False},
         "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
        {"data": {"values": curve}, "mark": {"type": "line", "color": role("quick"), "aria": False},
         "encoding": {"x": x, "y": y}},
        {"data": {"values": points}, "mark": {"type": "point", "filled": True, "size": 80, "color": role("quick")},
         "encoding": {"x": x, "y": y}},
    ]  # fmt: skip
    words_ = samples_needed(advice)
    yield Chart("samples", "How many samples an attacker needs", plan_spec(TITLE, 240, layers, words_), words_)


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in map(_row, value) if row is not None] if isinstance(value, list) else []


def _row(value: Any) -> dict[str, Any] | None:
    """A point as numbers; None for what a stranger may have written instead."""
    if not isinstance(value, Mapping) or _count(value.get("samples")) is None:
        return None
    names = [name for name in ("nmse", "low", "high") if name in value]
    numbers = {name: _number(value[name]) for name in names}
    if "nmse" not in numbers or any(number is None for number in numbers.values()):
        return None
    return {"samples": _count(value["samples"]), **numbers}


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def _count(value: Any) -> int | None:
    found = _number(value)
    return int(found) if found is not None and 1 <= found <= 1e12 else None
