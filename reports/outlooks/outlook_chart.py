"""An outlook as a picture: the regions of two ranges, or the objective along one, as a Vega-Lite spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from advisor.outlook import LINK, NOTHING, Axis, Outlook
from advisor.reports.charts.chart import SCHEMA, Chart, Spec, config, role
from advisor.reports.content.text import clean, shorten
from advisor.reports.outlooks.outlook_tables import headline, name_of
from advisor.units import scale

COLOURS = ("edge", "cloud", "score", "quick", "published", "chosen")
NAME = 60
_SCALED = ("s", "B", "J", "bit/s")


def chart(outlook: Outlook) -> Chart | None:
    """The picture; None where nothing was varied."""
    if not outlook.axes:
        return None
    layers = list(_regions(outlook) if len(outlook.axes) == 2 else _along(outlook))
    said = clean(headline(outlook))
    title = _y_title(outlook)
    spec: Spec = {
        "$schema": SCHEMA, "width": "container", "height": 340, "title": title, "description": said,
        "autosize": {"type": "fit-x", "contains": "padding"}, "config": config(), "layer": layers,
    }  # fmt: skip
    return Chart("outlook", "Where each plan is chosen", spec, said)


def _scaled(axis: Axis) -> tuple[str, float]:
    """The unit in which an axis is written, and what it is in the axis's own."""
    if axis.unit in _SCALED:
        return scale(axis.high, axis.unit)
    return {"MAC": scale(axis.high, "count")}.get(axis.unit, ("", 1.0))


def _position(axis: Axis, title: bool) -> Spec:
    unit, factor = _scaled(axis)
    kind: Spec = {"type": "log", "nice": False} if axis.logarithmic else {"nice": False, "zero": False}
    shown = {"title": f"{axis.label}{f', {unit}' if unit else ''}" if title else None, "tickCount": 6, "format": "~g"}
    return {"type": "quantitative", "scale": {**kind, "domain": [axis.low / factor, axis.high / factor]}, "axis": shown}


def _y_title(outlook: Outlook) -> str:
    if len(outlook.axes) == 2:
        unit = _scaled(outlook.axes[1])[0]
        return f"{outlook.axes[1].label}{f', {unit}' if unit else ''}"
    unit = _objective_scale(outlook)[0]
    return f"{outlook.best_in.label}{f', {unit}' if unit else ''}, of the plan that is chosen"


def _colour(outlook: Outlook) -> Spec:
    domain = [shorten(name_of(outlook, option.letter), NAME) for option in outlook.options]
    colours = [role(COLOURS[i % len(COLOURS)]) for i in range(len(domain))]
    return {"field": "of", "type": "nominal", "scale": {"domain": domain, "range": colours},
            "legend": {"columns": 1, "symbolType": "square", "labelLimit": 640}}  # fmt: skip


def _of(outlook: Outlook, letter: str) -> str:
    return shorten(name_of(outlook, letter), NAME)


def _regions(outlook: Outlook) -> Iterator[Spec]:
    """A rectangle a segment of each band, and in the largest of each plan its letter."""
    first, second = outlook.axes
    (_, across), (_, up) = _scaled(first), _scaled(second)
    rows = [
        {"x": s.low / across, "x2": s.high / across, "y": b.low / up, "y2": b.high / up, "of": _of(outlook, s.letter),
         "letter": s.letter}
        for b in outlook.bands for s in b.segments if s.letter != NOTHING
    ]  # fmt: skip
    x, y = _position(first, True), _position(second, False)
    yield {"data": {"values": rows}, "mark": {"type": "rect", "opacity": 0.8, "aria": False}, "encoding": {
        "x": {**x, "field": "x"}, "x2": {"field": "x2"}, "y": {**y, "field": "y"}, "y2": {"field": "y2"},
        "color": _colour(outlook)}}  # fmt: skip
    yield _letters(list(_centres(outlook)), x, y)


def _centres(outlook: Outlook) -> Iterator[dict[str, Any]]:
    """Where a plan's widest segment lies, of its bands the middle one."""
    first, second = outlook.axes
    for option in [*outlook.options, None]:
        letter = NOTHING if option is None else option.letter
        own = [(b, s) for b in outlook.bands for s in b.segments if s.letter == letter]
        if not own:
            continue
        widths = [first.share(s.high) - first.share(s.low) for _, s in own]
        wide = [pair for pair, width in zip(own, widths, strict=True) if width >= 0.8 * max(widths)]
        band, segment = wide[len(wide) // 2]
        middle = first.at((first.share(segment.low) + first.share(segment.high)) / 2)
        text = "nothing meets them" if letter == NOTHING else letter
        yield {"x": middle / _scaled(first)[1], "y": band.at / _scaled(second)[1], "text": text}


def _letters(rows: list[dict[str, Any]], x: Spec, y: Spec) -> Spec:
    mark = {"type": "text", "fontSize": 14, "fontWeight": 700, "color": role("ink"), "stroke": role("paper"),
            "strokeWidth": 4, "aria": False}  # fmt: skip
    over = {**mark, "strokeWidth": 0, "stroke": None}
    encoding = {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}, "text": {"field": "text"}}
    return {"data": {"values": rows}, "layer": [{"mark": mark, "encoding": encoding},
                                                {"mark": over, "encoding": encoding}]}  # fmt: skip


def _objective_scale(outlook: Outlook) -> tuple[str, float]:
    row, values = outlook.best_in, [v for s in outlook.segments for _, v in s.curve]
    if row.unit in _SCALED and values:
        return scale(max(values), row.unit)
    return {"MAC": ("M", 1e6)}.get(row.unit, ("", 1.0))


def _along(outlook: Outlook) -> Iterator[Spec]:
    """The objective of what is chosen, each plan's part in its colour; the portfolio's switches as lines."""
    axis = outlook.axes[0]
    (_, across), (_, up) = _scaled(axis), _objective_scale(outlook)
    rows = [{"x": at / across, "y": value / up, "of": _of(outlook, s.letter), "part": i}
            for i, s in enumerate(outlook.segments) for at, value in s.curve]  # fmt: skip
    x = _position(axis, True)
    y: Spec = {"type": "quantitative", "axis": {"title": None, "tickCount": 5}, "scale": {"zero": True}}
    bands = [{"x": s.low / across, "x2": s.high / across, "of": _of(outlook, s.letter)}
             for s in outlook.segments if s.letter != NOTHING]  # fmt: skip
    colour = _colour(outlook)
    yield {"data": {"values": bands}, "mark": {"type": "rect", "opacity": 0.22, "aria": False}, "encoding": {
        "x": {**x, "field": "x"}, "x2": {"field": "x2"}, "color": colour}}  # fmt: skip
    yield {"data": {"values": rows}, "mark": {"type": "line", "strokeWidth": 2.5, "aria": False}, "encoding": {
        "x": {**x, "field": "x"}, "y": {**y, "field": "y"}, "color": colour, "detail": {"field": "part"}}}  # fmt: skip
    yield from _switches(outlook, x, across)
    names = [{"x": axis.at((axis.share(s.low) + axis.share(s.high)) / 2) / across, "text": _short(s.letter)}
             for s in outlook.segments if axis.share(s.high) - axis.share(s.low) > 0.015]  # fmt: skip
    mark = {"type": "text", "fontSize": 14, "fontWeight": 700, "color": role("ink"), "aria": False}
    yield {"data": {"values": names}, "mark": mark, "encoding": {
        "x": {**x, "field": "x"}, "y": {"value": 10}, "text": {"field": "text"}}}  # fmt: skip


def _short(letter: str) -> str:
    return "nothing" if letter == NOTHING else letter


def _switches(outlook: Outlook, x: Spec, across: float) -> Iterator[Spec]:
    found = outlook.portfolio
    if found is None or outlook.axes[0].name != LINK or not found.switches:
        return
    rows = [{"x": s.at / across, "kind": 0} for s in found.switches]
    rows += [{"x": at / across, "kind": 1} for s in found.switches for at in (s.up, s.down) if at is not None]
    dash = {"condition": {"test": "datum.kind === 1", "value": [3, 3]}, "value": [1, 0]}
    yield {"data": {"values": rows}, "mark": {"type": "rule", "color": role("ink"), "aria": False}, "encoding": {
        "x": {**x, "field": "x"}, "strokeDash": dash}}  # fmt: skip
