"""The report: one HTML file that needs no network, escapes what came from the model, and runs two known scripts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from advisor.advice import Advice
from advisor.plans import Plan
from advisor.reports.charts import gallery, vega
from advisor.reports.charts.chart import Chart
from advisor.reports.charts.cut_charts import line_of_cuts, shows_limit
from advisor.reports.charts.plan_charts import front
from advisor.reports.charts.scene import SIDE, thumbnail_svg
from advisor.reports.charts.trade_off import trade_off
from advisor.reports.content import tables, words
from advisor.reports.content.answer import answer_of
from advisor.reports.content.learning_curve import learning_chart
from advisor.reports.content.page_data import crosses, embedded, marks_of, page_data
from advisor.reports.content.quantities import NOT_MEASURED, quantity, show_in
from advisor.reports.content.text import clean
from advisor.support.safe_text import visible, without_secrets

STILL_WIDTH = 880
DRAWN = ("command", "attacker_samples")
"""Provenance that stands elsewhere on the page."""
TEMPLATES = Path(__file__).parent / "templates"
_QUANTITY = re.compile(r"(\d) ([mµ]?s|[KMG]?i?B|pp|%|[mµk]?J)(?!\w)")


@dataclass(frozen=True)
class Row:
    """One cut as the template needs it."""

    index: int
    name: str
    crosses: str
    cells: tuple[tables.Cell, ...]
    marks: tuple[str, ...]


def is_report(page: bytes) -> bool:
    """Whether a file is a page that `render` made: such a one may be replaced by another."""
    return b'<meta name="generator" content="partition-advisor">' in page[:4096]


def render(advice: Advice) -> str:
    """The whole page, whose charts answer to the pointer."""
    return _page(advice, live=True)


def still_page(advice: Advice) -> str:
    """The page without scripts, for a notebook's frame."""
    return _page(advice, live=False)


def _page(advice: Advice, live: bool) -> str:
    profile = advice.profile
    names = tables.main_columns(profile)
    line, plans = line_of_cuts(advice), tuple(front(advice))
    curves, learning = tuple(trade_off(advice)), tuple(learning_chart(advice))
    data = page_data(advice, [*line, *plans, *curves, *learning])
    answer = answer_of(advice)
    context: dict[str, Any] = {
        "advice": advice, "answer": answer, "words": words, "tables": tables,
        "limited": any(shows_limit(chart) for chart in line),
        "shares": _shares(advice.best), "scenes": _scenes(answer.attacker.thumbnail),
        "line": [drawn(chart) for chart in line], "front": [drawn(chart) for chart in plans],
        "learning": [drawn(chart) for chart in learning], "curves": [drawn(chart) for chart in curves],
        "plan_names": [plan["name"] for plan in data["plans"]],
        "columns": [_header(advice, name) for name in names],
        "all_columns": [_header(advice, name) for name in tables.all_columns(profile)],
        "rows": _rows(advice, names, data["brief"]), "published": tables.flagged(profile, "in_gpz"),
        "gallery": gallery.of(advice),
        "attacks": words.attacks(advice),
        "facts": [(key, text) for key, text in words.facts(advice.provenance) if not key.startswith(DRAWN)],
        "missing": tables.missing_notes(profile, tables.all_columns(profile)), "not_measured": NOT_MEASURED,
        "model": str(words.section(advice, "model").get("path") or words.section(advice, "model").get("name") or ""),
    }  # fmt: skip
    return page("report.html.j2", data if live else None, ("report.js",), **context)


def page(template: str, data: Any = None, own: Sequence[str] = (), **context: Any) -> str:
    """A page of a template; with data also the chart library and the scripts named, allowed by their hashes alone."""
    data = None if vega.out_of_reach() else data
    scripts = [] if data is None else [vega.library(), *(_script(name) for name in own)]
    rendered = (
        environment()
        .get_template(template)
        .render(
            scripts=[Markup(script) for script in scripts],  # the library and this package's own files
            hashes=Markup(" ".join(map(vega.script_hash, scripts)) or "'none'"),
            data=None if data is None else embedded(data),
            **context,
        )
    )
    return rendered + "\n"


def _script(name: str) -> str:
    return vega.inert((TEMPLATES / name).read_text(encoding="utf-8"))


def environment() -> Environment:
    """Templates that escape everything, and refuse a bare number."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"), autoescape=True, undefined=StrictUndefined,
        finalize=_finalize, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["verbatim"] = _verbatim
    return made


def _verbatim(command: str) -> Markup:
    """A command as it is typed: its blanks are its own, controls become visible."""
    return escape(visible(without_secrets(command)))


def _finalize(value: object) -> object:
    """Each printed value: markup stays, text loses its hidden characters, and a bare float is a mistake of ours."""
    if isinstance(value, (Markup, int)):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the template prints a bare {type(value).__name__}")
    return _QUANTITY.sub("\\1\N{NO-BREAK SPACE}\\2", clean(value))


def drawn(chart: Chart, width: int = STILL_WIDTH) -> dict[str, Any]:
    """A chart with its still picture, whose text the library escapes; or why there is none."""
    still = vega.out_of_reach() or Markup(vega.still(chart.spec, width, f"{chart.name}-{width}"))
    return {"name": chart.name, "title": chart.title, "words": chart.words, "still": still}


def _scenes(side: int) -> tuple[Markup, ...]:
    return tuple(Markup(thumbnail_svg(shown)) for shown in (SIDE, side)) if 0 < side < SIDE else ()


def _shares(plan: Plan | None) -> list[dict[str, str]]:
    """The three parts of the latency, for a bar; none when one of them was not measured."""
    if plan is None:
        return []
    parts = {role: plan.predicted.get(f"{role}_latency") for role in ("edge", "link", "cloud")}
    if any(part is None or not math.isfinite(part.value) for part in parts.values()):
        return []
    known = {role: part for role, part in parts.items() if part is not None and part.value > 0}
    most = max((part.value for part in known.values()), default=0.0)
    return [
        {"role": role, "text": show_in(part.value, most, part.unit), "weight": f"{1e3 * part.value / most:.4f}"}
        for role, part in known.items()
    ]


def _header(advice: Advice, name: str) -> dict[str, str]:
    column = advice.profile[name]
    return {"label": tables.label(name), "source": column.source, "method": column.method,
            "meaning": quantity(name).meaning, "better": column.better}  # fmt: skip


def _rows(advice: Advice, names: Sequence[str], indices: Sequence[int]) -> list[Row]:
    marks, cuts = marks_of(advice), advice.profile.cuts
    return [
        Row(i, cuts[i].name, crosses(advice, i), tuple(tables.cell(advice.profile, name, i) for name in names),
            tuple(marks[i]))
        for i in indices
    ]  # fmt: skip
