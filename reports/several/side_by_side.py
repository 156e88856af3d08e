"""Several advices side by side: devices, links, models, before and after. One row an advice, the same columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.advice import Advice
from advisor.estimate import Estimate, json_number
from advisor.reports.content import tables, words
from advisor.reports.content.quantities import show_estimate
from advisor.reports.content.text import clean, markdown_text, shorten
from advisor.verdicts import NAMES

COLUMNS = ("latency", "bytes", "edge_memory", "edge_energy", "accuracy_drop", "score", "score_ssim")
HEADS = ("advice", "verdict", "plan", "device", "link", "cloud")
NAME = 40
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Compared:
    """One advice among others.

    Attributes:
        told: what stands before the numbers, in the order of `HEADS`.
        numbers: what its plan is predicted to cost and leak, or what an attack found worse, by column; None: absent.
    """

    told: tuple[str, ...]
    numbers: Mapping[str, Estimate | None]


def compared(advices: Mapping[str, Advice]) -> tuple[Compared, ...]:
    """A row for each advice, by the name that it was given."""
    return tuple(_row(name, advice) for name, advice in advices.items())


def cells(row: Compared) -> tuple[str, ...]:
    """The row as people read it, intervals included."""
    name, verdict, *rest = row.told
    return (name, NAMES[verdict], *rest, *(show_estimate(row.numbers[name], name) for name in COLUMNS))


def heads() -> tuple[str, ...]:
    """What stands above the cells."""
    return (*HEADS, *(tables.label(name) for name in COLUMNS))


def markdown(advices: Mapping[str, Advice]) -> str:
    """A table for a pull request."""
    lines = ["| " + " | ".join(map(markdown_text, heads())) + " |", "|" + "---|" * len(heads())]
    lines += ["| " + " | ".join(map(markdown_text, cells(row))) + " |" for row in compared(advices)]
    return "\n".join(lines) + "\n"


def comma_separated(advices: Mapping[str, Advice]) -> str:
    """Values, ends of intervals and units for a spreadsheet; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    rows = compared(advices)
    units = {name: next((e.unit for row in rows if (e := row.numbers[name]) is not None), "") for name in COLUMNS}
    writer.writerow([*HEADS, *(head for n in COLUMNS for head in (f"{n} [{units[n]}]", f"{n} low", f"{n} high"))])
    for row in rows:
        numbers = [_number(end) for name in COLUMNS for end in _ends(row.numbers[name])]
        writer.writerow([*(f"'{text}" if text.startswith(_FORMULA) else text for text in row.told), *numbers])
    return stream.getvalue()


def plain(advices: Mapping[str, Advice]) -> list[dict[str, Any]]:
    """Plain JSON values, one object an advice."""
    return [
        dict(zip(HEADS, row.told, strict=True))
        | {name: None if e is None else _plain(e) for name, e in row.numbers.items()}
        for row in compared(advices)
    ]


def _row(name: str, advice: Advice) -> Compared:
    plan = advice.best
    places = [words.machine(advice, key) for key in ("device", "link", "cloud")]
    title = "none" if plan is None else words.plan_name(plan)
    found: dict[str, Estimate | None] = dict.fromkeys(COLUMNS)
    if plan is not None:
        found |= {column: plan.predicted.get(column) for column in COLUMNS}
        found |= {column: plan.leakage(column) for column in ("score", "score_ssim") if column in plan.predicted}
    return Compared((shorten(name, NAME), clean(advice.verdict), clean(title), *places), found)


def _ends(found: Estimate | None) -> Sequence[float]:
    return (math.nan,) * 3 if found is None else (found.value, found.low, found.high)


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _plain(found: Estimate) -> dict[str, Any]:
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {key: json_number(value) for key, value in ends.items()} | {"unit": found.unit, "source": found.source}
