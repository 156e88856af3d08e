"""Several advices as one HTML page: each verdict, the same numbers side by side, and in what the advices differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.reports import html
from advisor.reports.content import budgets, tables, words
from advisor.reports.content.answer import answer_of
from advisor.reports.content.tables import Cell, estimate_cell
from advisor.reports.content.text import clean, shorten
from advisor.reports.several import side_by_side
from advisor.reports.several.several_charts import charts
from advisor.verdicts import NAMES

TEMPLATE = "several.html.j2"
SCRIPTS = ("several.js",)


@dataclass(frozen=True)
class Number:
    """One cell: its text, what it is sorted by ("" where it was not measured), its change since the first advice."""

    cell: Cell
    value: str
    change: str
    best: bool


@dataclass(frozen=True)
class Side:
    """One advice of the page."""

    name: str
    kind: str
    good: bool
    headline: str
    plan: str
    gets: str
    budgets: tuple[budgets.Verdict, ...]
    places: tuple[str, ...]
    numbers: tuple[Number, ...]


def render(advices: Mapping[str, Advice]) -> str:
    """The page, with charts that answer to the pointer.

    Args:
        advices: by the names that they are shown under, in order; the first is what the others are held against.
    """
    rows, drawn = side_by_side.compared(advices), charts(advices)
    differs, same = differences(advices)
    return html.page(
        TEMPLATE, {"specs": {chart.name: chart.spec for chart in drawn}}, SCRIPTS,
        headline=headline(advices), sides=list(_sides(advices, rows)), charts=[html.drawn(chart) for chart in drawn],
        columns=[tables.label(name) for name in side_by_side.COLUMNS], differs=differs, same=same,
        names=[row.told[0] for row in rows],
    )  # fmt: skip


def headline(advices: Mapping[str, Advice]) -> str:
    """`3 advices: 2 × split here, 1 × run it all on the edge`."""
    kinds = [NAMES[advice.verdict] for advice in advices.values()]
    if len(set(kinds)) == 1:
        return f"{_count(len(kinds))}, one verdict: {kinds[0]}."
    return f"{_count(len(kinds))}: {', '.join(f'{kinds.count(kind)} × {kind}' for kind in dict.fromkeys(kinds))}."


def _count(number: int) -> str:
    return "1 advice" if number == 1 else f"{number} advices"


def _sides(advices: Mapping[str, Advice], rows: Sequence[side_by_side.Compared]) -> Iterator[Side]:
    for advice, row in zip(advices.values(), rows, strict=True):
        answer = answer_of(advice)
        yield Side(
            row.told[0], answer.kind, advice.verdict != "none", answer.verdict, answer.plan, answer.attacker.gets,
            answer.budgets, row.told[len(side_by_side.HEADS) - 3 :],
            tuple(_number(row, name, rows) for name in side_by_side.COLUMNS),
        )  # fmt: skip


def _number(row: side_by_side.Compared, name: str, rows: Sequence[side_by_side.Compared]) -> Number:
    known = [e.value for r in rows if (e := r.numbers[name]) is not None and math.isfinite(e.value)]
    found = row.numbers[name]
    value = math.nan if found is None else found.value
    best = max(known, default=math.nan) if name == "score" else min(known, default=math.nan)
    first = rows[0].numbers[name]
    shown = estimate_cell(found, name, max(known, default=math.nan))
    change = "" if row is rows[0] or first is None else _change(first.value, value, name)
    return Number(shown, repr(value) if math.isfinite(value) else "", change,
                  len(set(known)) > 1 and value == best)  # fmt: skip


def _change(first: float, value: float, name: str) -> str:
    """What differs from the first advice: points of a share, else a ratio."""
    if not (math.isfinite(first) and math.isfinite(value)) or first == value:
        return ""
    if name == "accuracy_drop":
        return f"{100 * (value - first):+.3g} pp"
    if name in ("score", "score_ssim"):
        return f"{value - first:+.3f}"
    return f"{100 * (value / first - 1):+.0f} %" if first > 0 and value / first < 10 else ""


def differences(advices: Mapping[str, Advice]) -> tuple[list[tuple[str, tuple[str, ...]]], list[tuple[str, str]]]:
    """What was asked, and of what: (what, of each advice) that differs, and (what, of all) that does not."""
    told = [dict(_asked(advice)) for advice in advices.values()]
    keys = dict.fromkeys(key for row in told for key in row)
    values = {key: tuple(row.get(key, "not asked") for row in told) for key in keys}
    differs = [(key, found) for key, found in values.items() if len(set(found)) > 1]
    return differs, [(key, found[0]) for key, found in values.items() if len(set(found)) == 1]


def _asked(advice: Advice) -> Iterator[tuple[str, str]]:
    """What an advice answers, in words."""
    model, data = words.section(advice, "model"), words.section(advice, "data")
    yield "model", shorten(model.get("path") or model.get("name") or "not recorded", 80)
    yield "model SHA-256", clean(str(model.get("sha256") or "not recorded"))[:16]
    yield "graph", clean(advice.profile.cuts[0].graph if advice.profile.cuts else "")[:16] or "not recorded"
    yield "cuts", str(len(advice.profile.cuts))
    yield "data", shorten(data.get("description") or "not recorded", 80)
    yield "samples", clean(str(data.get("fingerprint") or "not recorded"))[:16]
    for key in ("device", "link", "cloud"):
        yield key, words.place(advice, key)
    for row, limit in advice.budgets:
        yield row.label, row.asks(limit)
    if advice.request is not None:
        yield "objective", clean(str(advice.request.search.objective))
        yield "effort", clean(str(advice.request.search.effort))
    yield "partition-advisor", clean(str(words.section(advice, "versions").get("partition-advisor") or "not recorded"))
    yield "made", clean(str(advice.provenance.get("made") or "not recorded"))
