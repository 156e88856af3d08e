"""Every cut and every column, with intervals, units and sources, as comma-separated values."""

from __future__ import annotations

import csv
import io
import math

from advisor.advice import Advice
from advisor.columns import Column
from advisor.reports.content.text import clean

FIXED = ("cut", "name", "block", "crosses")
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet would take for a formula when a name begins with it."""


def render(advice: Advice) -> str:
    """One row a cut; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = list(advice.profile)
    writer.writerow([*FIXED, *(head for column in columns for head in heads(column))])
    for i, cut in enumerate(advice.profile.cuts):
        crosses = "; ".join(f"{'x'.join(map(str, t.shape)) or 'scalar'} {t.dtype}" for t in cut.tensors)
        numbers = [_number(float(end[i])) for c in columns for end in (c.values, c.low, c.high)]
        writer.writerow([str(i), cell(cut.name), cell(cut.block), crosses, *numbers])
    return stream.getvalue()


def heads(column: Column) -> tuple[str, str, str]:
    """The headers of a column: its value with unit and source, and the ends of its 90 % interval."""
    name = cell(column.name)
    return f"{name} [{clean(column.unit)}, {column.source}]", f"{name} low", f"{name} high"


def cell(text: str) -> str:
    """A name that no spreadsheet runs."""
    line = clean(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
