"""The model as a line of cuts: leakage, latency, bytes, memory and energy over one axis, as Vega-Lite specs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from advisor.advice import Advice
from advisor.columns import Profile
from advisor.reports.charts.chart import Chart, Spec, layered, role
from advisor.reports.content.quantities import show
from advisor.reports.content.tables import (
    TIMES,
    flagged,
    important_rows,
    label,
    pick_rows,
    plan_rows,
    run_edges,
    zone_rows,
)
from advisor.reports.content.text import clean, shorten
from advisor.units import scale

CROWDED = 60
"""From this many cuts on, points and gaps between bars would blur: lines and areas are drawn instead."""
NAMES = 14
"""Most cuts whose names fit under the axis."""
SERIES = (("score", "strong, predicted", "score", [1, 0]), ("ka_nmse", "quick, run", "quick", [5, 3]))
ROLES = {"edge_latency": "edge", "link_latency": "link", "cloud_latency": "cloud"}


def line_of_cuts(advice: Advice) -> tuple[Chart, ...]:
    """One chart a quantity, the same horizontal axis in all; those of which nothing was measured are left out."""
    drawn = [chart for panel in (_leakage, _latency, _bytes, _memory, _energy) for chart in panel(advice)]
    return tuple([*drawn[:-1], *_named(advice, drawn[-1])] if drawn else [])


def cut_axis(advice: Advice) -> Spec:
    """The axis of cuts, half a cut of air at its ends."""
    last = len(advice.profile.cuts) - 1
    axis = {"title": None, "tickMinStep": 1, "grid": False, "format": "d"}
    return {"field": "i", "type": "quantitative", "axis": axis,
            "scale": {"domain": [-0.5, last + 0.5], "nice": False, "zero": False}}  # fmt: skip


def _panel(advice: Advice, name: str, title: str, height: int, layers: Sequence[Spec], words: str = "") -> Chart:
    said = clean(f"{title}, by cut. {words}".strip())
    behind = _bands(zone_rows(advice), "zone", 0.5)
    if name == "leakage":
        strip = {"y": {"value": {"expr": "height - 4"}}, "y2": {"value": {"expr": "height"}}}
        behind += _bands(flagged(advice.profile, "in_gpz"), "published", 1.0, strip)
    spec = layered(height, [*behind, *layers, *_marks(advice)], cut_axis(advice), said)
    return Chart(name, title, {**spec, "title": title, "params": [{"name": "at", "value": -1}]}, said)


def _bands(rows: Sequence[int], colour: str, opacity: float, band: Spec | None = None) -> list[Spec]:
    """Behind the marks, a band a run of cuts: of the whole height, or where `band` says."""
    edges = run_edges(rows)
    runs = [{"i": a - 0.5, "to": b + 0.5} for a, b in zip(edges[::2], edges[1::2], strict=True)]
    mark = {"type": "rect", "color": role(colour), "opacity": opacity, "aria": False}
    return (
        [{"data": {"values": runs}, "mark": mark, "encoding": {"x2": {"field": "to"}, **(band or {})}}] if runs else []
    )


def _marks(advice: Advice) -> list[Spec]:
    """A line at the plan's cuts, and one that follows the pointer or the slider."""
    cuts = [{"i": i} for i in plan_rows(advice, advice.best)]
    chosen = {"data": {"values": cuts}, "encoding": {}, "mark": {
        "type": "rule", "color": role("chosen"), "strokeWidth": 2, "aria": False}}  # fmt: skip
    hover = {
        "data": {"values": [{}]}, "mark": {"type": "rule", "color": role("ink"), "strokeDash": [3, 3], "aria": False},
        "encoding": {"x": {"datum": {"expr": "at"}, "type": "quantitative"},
                     "opacity": {"value": {"expr": "at < 0 ? 0 : 0.8"}}},
    }  # fmt: skip
    return [*([chosen] if cuts else []), hover]


def _rows(profile: Profile, name: str, factor: float = 1.0, **extra: Any) -> list[Spec]:
    column = profile[name]
    rows = []
    for i, value in enumerate(column.values):
        if math.isfinite(value):
            said = f"{i} {shorten(profile.cuts[i].name, 60)}: {label(name)} {show(value, column.unit, name)}"
            row = {"i": i, "v": float(value) / factor, **extra}
            if len(profile.cuts) <= CROWDED:
                row["said"] = said
            if math.isfinite(column.low[i]) and math.isfinite(column.high[i]) and column.low[i] < column.high[i]:
                row |= {"lo": float(column.low[i]) / factor, "hi": float(column.high[i]) / factor}
            rows.append(row)
    return rows


def _lines(rows: Sequence[Spec], y: Spec, series: Mapping[str, Any], crowded: bool, step: bool = False) -> list[Spec]:
    """Bands of the 90 % intervals, lines, and points that a screen reader can walk."""
    between = "step" if step else "linear"
    spread = [row for row in rows if "lo" in row]
    line = {"type": "line", "interpolate": between, "strokeWidth": 2, "aria": False}
    point = {"type": "point", "filled": True, "size": 28, "opacity": 1}
    bands = {"data": {"values": spread}, "mark": {"type": "area", "opacity": 0.16, "aria": False},
             "encoding": {"y": {**y, "field": "lo"}, "y2": {"field": "hi"}, **series}}  # fmt: skip
    dash = {"strokeDash": {**series["color"], "scale": {"domain": series["color"]["scale"]["domain"],
            "range": [s[3] for s in SERIES]}}} if "legend" not in series["color"] else {}  # fmt: skip
    layers = [{"data": {"values": rows}, "mark": line, "encoding": {"y": y, **series, **dash}}]
    if not crowded:
        said = {"description": {"field": "said"}}
        layers.append({"data": {"values": rows}, "mark": point, "encoding": {"y": y, **series, **said}})
    return [*([bands] if spread else []), *layers]


def _limit(value: float, what: str) -> Spec:
    mark = {"type": "rule", "color": role("limit"), "strokeDash": [6, 3], "strokeWidth": 1.5, "clip": True}
    return {"data": {"values": [{"v": value, "said": what}]}, "mark": mark,
            "encoding": {"y": {"field": "v", "type": "quantitative"}, "x": {"value": 0},
                         "x2": {"value": {"expr": "width"}}, "description": {"field": "said"}}}  # fmt: skip


def shows_limit(chart: Chart) -> bool:
    """Whether a budget is drawn in it."""
    return any(layer["mark"].get("color") == role("limit") for layer in chart.spec["layer"])


def _axis(**more: Any) -> Spec:
    """A vertical axis of one width in all charts, so that the cuts stand beneath one another."""
    return {"title": None, "minExtent": 48, "maxExtent": 48, "tickCount": 4, **more}


def _single(colour: str) -> dict[str, Any]:
    """One series, of one colour and without a legend."""
    return {"color": {"value": role(colour), "legend": None}}


def _crowded(advice: Advice) -> bool:
    return len(advice.profile.cuts) > CROWDED


def _leakage(advice: Advice) -> Iterator[Chart]:
    profile = advice.profile
    there = [(name, said, colour) for name, said, colour, _ in SERIES if name in profile]
    rows = [row for name, said, _ in there for row in _rows(profile, name, of=said)]
    if not rows:
        return
    y = {"field": "v", "type": "quantitative", "axis": _axis(),
         "scale": {"domain": [0, 1.05], "clamp": True}}  # fmt: skip
    scale = {"domain": [said for _, said, _ in there], "range": [role(colour) for _, _, colour in there]}
    layers = _lines(rows, y, {"color": {"field": "of", "type": "nominal", "scale": scale}}, _crowded(advice))
    if advice.budgets.min_nmse is not None:
        layers.append(_limit(advice.budgets.min_nmse, "leakage budget"))
    yield _panel(advice, "leakage", "NMSE left to the attacker: higher is more private", 150, layers)


def _latency(advice: Advice) -> Iterator[Chart]:
    profile = advice.profile
    names = [name for name in TIMES if name in profile]
    if len(names) < len(TIMES):
        return
    sums = [sum(float(profile[name].values[i]) for name in names) for i in range(len(profile.cuts))]
    whole = [i for i, value in enumerate(sums) if math.isfinite(value)]
    if not whole:
        return
    unit, factor = scale(max(sums[i] for i in whole), "s")
    rows = [row for k, name in enumerate(names) for row in _rows(profile, name, factor, of=ROLES[name], k=k)
            if row["i"] in whole]  # fmt: skip
    colours = {"domain": list(ROLES.values()), "range": [role(name) for name in ROLES.values()]}
    area = {"type": "area", "interpolate": "step", "aria": False}
    mark: Spec = area if _crowded(advice) else {"type": "rect"}
    y = {"field": "v", "type": "quantitative", "stack": "zero", "axis": _axis()}
    encoding = {"y": y, "color": {"field": "of", "type": "nominal", "scale": colours}, "order": {"field": "k"}}
    if mark["type"] == "rect":
        for row in rows:
            below = sum(other["v"] for other in rows if other["i"] == row["i"] and other["k"] < row["k"])
            row |= {"from": row["i"] - 0.4, "till": row["i"] + 0.4, "lo": below, "hi": below + row["v"]}
        across = {"field": "from", "type": "quantitative"}
        encoding |= {"x": {**cut_axis(advice), **across}, "x2": {"field": "till"}, "y2": {"field": "hi"},
                     "description": {"field": "said"},
                     "y": {"field": "lo", "type": "quantitative", "axis": y["axis"]}}  # fmt: skip
        encoding.pop("order")
    layers: list[Spec] = [{"data": {"values": rows}, "mark": mark, "encoding": encoding}]
    if advice.budgets.max_latency is not None and advice.budgets.max_latency < 3 * max(sums[i] for i in whole):
        layers.append(_limit(advice.budgets.max_latency / factor, "latency budget"))
    yield _panel(advice, "latency", f"latency of one input, {unit}", 130, layers, "Edge, link and cloud, stacked.")


def _bytes(advice: Advice) -> Iterator[Chart]:
    profile = advice.profile
    if "bytes" not in profile or not (profile["bytes"].values > 0).any():
        return
    rows = [row for row in _rows(profile, "bytes", 1024) if row["v"] > 0]
    y = {"field": "v", "type": "quantitative", "scale": {"type": "log", "base": 2, "nice": False},
         "axis": _axis(format="~g")}  # fmt: skip
    layers = _lines(rows, y, _single("link"), _crowded(advice), step=True)
    yield _panel(advice, "bytes", "sent without a defense, KiB (log scale)", 90, layers)


def _memory(advice: Advice) -> Iterator[Chart]:
    yield from _one(advice, "edge_memory", "edge memory, {}", "edge")


def _energy(advice: Advice) -> Iterator[Chart]:
    yield from _one(advice, "edge_energy", "edge energy of one input, {}", "edge")


def _one(advice: Advice, name: str, title: str, colour: str) -> Iterator[Chart]:
    if name not in advice.profile:
        return
    column = advice.profile[name]
    known = [float(value) for value in column.values if math.isfinite(value)]
    if len(known) < 2:  # no line: the table has it
        return
    unit, factor = scale(max(known), column.unit)
    y = {"field": "v", "type": "quantitative", "scale": {"zero": True}, "axis": _axis()}
    layers = _lines(_rows(advice.profile, name, factor), y, _single(colour), _crowded(advice))
    yield _panel(advice, name, title.format(unit), 80, layers)


def _named(advice: Advice, last: Chart) -> Iterator[Chart]:
    """The last chart, and beneath it the names of the cuts that matter, slanted."""
    cuts = advice.profile.cuts
    chosen = plan_rows(advice, advice.best)
    rows = _apart(pick_rows(len(cuts), important_rows(advice), NAMES), len(cuts) / 26, chosen)
    values = [{"i": i, "name": shorten(cuts[i].name, 22), "chosen": i in chosen} for i in rows]
    mark = {"type": "text", "angle": -38, "align": "right", "baseline": "middle", "fontSize": 10.5, "limit": 130}
    bold = {"condition": {"test": "datum.chosen", "value": role("chosen")}, "value": role("muted")}
    names = {"data": {"values": values}, "mark": {**mark, "aria": False},
             "encoding": {"text": {"field": "name"}, "color": bold, "y": {"value": 4}}}  # fmt: skip
    axis = cut_axis(advice)
    axis = {**axis, "axis": None}
    spec = layered(84, [names], axis, "names of cuts")
    spec["padding"] = {"left": 53, "right": 5, "top": 0, "bottom": 0}
    yield last
    yield Chart("names", "", {**spec, "params": [{"name": "at", "value": -1}]}, "")


def _apart(rows: Sequence[int], gap: float, keep: Sequence[int]) -> list[int]:
    """Leave out labels that would overlap; those in `keep` stay."""
    kept = list(keep)
    for i in rows:
        if all(abs(i - other) >= gap for other in kept):
            kept.append(i)
    return sorted(kept)
