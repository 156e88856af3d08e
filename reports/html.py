"""The report: one HTML file that needs no network, runs no script, and escapes what came from the model."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from advisor.plans import Advice, Plan
from advisor.reports import budgets, tables, words
from advisor.reports.quantities import NOT_MEASURED, quantity, show
from advisor.reports.text import clean, is_png, shorten

ROWS = 40
"""Most cuts in the open table; the whole one is folded beneath it."""
PLANS = 12
_QUANTITY = re.compile(r"(\d) ([mµ]?s|[KMG]?i?B|pp|%)(?!\w)")
PLAN_COLUMNS = ("latency", "bytes", "edge_memory", "accuracy_drop", "score", "score_ssim")
TILES = ("latency", "score", "score_ssim", "accuracy_drop", "bytes", "edge_memory")
PICTURES = 16
"""Most cuts whose reconstructions are shown unfolded."""


@dataclass(frozen=True)
class Row:
    """One cut as the template needs it."""

    index: int
    name: str
    crosses: str
    cells: tuple[tables.Cell, ...]
    marks: tuple[str, ...]
    skipped: int


@dataclass(frozen=True)
class Strip:
    """One row of pictures; None where an entry was no PNG."""

    index: int
    name: str
    pictures: tuple[str | None, ...]
    note: str


def is_report(page: bytes) -> bool:
    """Whether a file is a page that `render` made: such a one may be replaced by another."""
    return b'<meta name="generator" content="partition-advisor">' in page[:4096]


def render(advice: Advice) -> str:
    """The whole page."""
    from advisor.reports import curves, pareto

    profile = advice.profile
    names = tables.main_columns(profile)
    everything = tables.all_columns(profile)
    picked = tables.pick_rows(len(profile.cuts), tables.important_rows(advice), ROWS)
    page = _environment().get_template("report.html.j2").render(
        advice=advice,
        budgets=budgets,
        words=words,
        tables=tables,
        columns=[_header(advice, name) for name in names],
        all_columns=[_header(advice, name) for name in everything],
        rows=_rows(advice, names, picked, brief=True),
        all_rows=_rows(advice, everything, range(len(profile.cuts))),
        curves=Markup(curves.curves(advice)),
        front=Markup(pareto.pareto(advice)),
        plans=_plans(advice),
        plans_shown=PLANS,
        plan_columns=PLAN_COLUMNS,
        strips=_strips(advice),
        pictures=PICTURES,
        originals=[uri if is_png(uri) else None for uri in advice.gallery.originals],
        facts=[(key, text) for key, text in words.facts(advice.provenance) if key != "command"],
        not_measured=NOT_MEASURED,
        missing=tables.missing_notes(profile, everything),
        sources="; ".join(_plan_sources(advice)),
        published=tables.show_cuts(published) if (published := tables.flagged(profile, "in_gpz")) else "",
        model=str(words.section(advice, "model").get("path") or ""),
        **_chosen(advice),
    )  # fmt: skip
    return page + "\n"


def _plan_sources(advice: Advice) -> tuple[str, ...]:
    """How the numbers of the plans were obtained, from the first plan that has each: `score: estimated (…)`."""
    found: dict[str, str] = {}
    for _, plan in _plans(advice):
        for name, estimate in plan.predicted.items():
            method = f" ({clean(estimate.method)})" if estimate.method else ""
            found.setdefault(name, f"{quantity(name).label}: {estimate.source}{method}")
    return tuple(found.values())


def _chosen(advice: Advice) -> dict[str, object]:
    """What the page shows of the chosen plan."""
    plan = advice.best
    if plan is None:
        return {"tiles": [], "shares": [], "evidence": [], "in_zone": False}
    return {
        "tiles": [
            {"label": quantity(name).label, "cell": tables.estimate_cell(plan.predicted.get(name), name)}
            for name in TILES
        ],
        "shares": (shares := _shares(plan)),
        "shares_words": "Latency: " + ", ".join(f"{share['role']} {share['text']}" for share in shares),
        "evidence": words.evidence(plan),
        "in_zone": plan.cut.name in advice.zone,
    }


def _shares(plan: Plan) -> list[dict[str, str]]:
    """The three parts of the latency, for a bar; none when one of them was not measured."""
    parts = {role: plan.predicted.get(f"{role}_latency") for role in ("edge", "link", "cloud")}
    if any(part is None or not math.isfinite(part.value) for part in parts.values()):
        return []
    return [
        {"role": role, "text": show(part.value, part.unit), "weight": f"{1e3 * part.value:.4f}"}
        for role, part in parts.items()
        if part is not None
    ]


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: object) -> object:
    """Each printed value: markup stays, text loses its hidden characters, and a bare float is a mistake of ours."""
    if isinstance(value, (Markup, int)):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the template prints a bare {type(value).__name__}")
    return _QUANTITY.sub("\\1\N{NO-BREAK SPACE}\\2", clean(value))


def _header(advice: Advice, name: str) -> dict[str, str]:
    column = advice.profile[name]
    return {
        "label": tables.label(name),
        "source": column.source,
        "method": column.method,
        "meaning": quantity(name).meaning,
        "better": column.better,
    }


def _rows(advice: Advice, names: Sequence[str], indices: Sequence[int], brief: bool = False) -> list[Row]:
    chosen = [cut.index for cut in advice.best.cuts] if advice.best else []
    sets = {"chosen": chosen, "zone": tables.zone_rows(advice), "published": tables.flagged(advice.profile, "in_gpz")}
    rows = []
    for position, i in enumerate(indices):
        cut = advice.profile.cuts[i]
        crosses = ", ".join(f"{'×'.join(map(str, t.shape)) or 'scalar'} {t.dtype}" for t in cut.tensors)
        cells = tuple(_cell(advice, name, i, brief) for name in names)
        marks = tuple(mark for mark, at in sets.items() if i in at)
        skipped = i - indices[position - 1] - 1 if position else i
        rows.append(Row(i, cut.name, crosses, cells, marks, skipped))
    return rows


def _cell(advice: Advice, name: str, index: int, brief: bool) -> tables.Cell:
    """A cell; the brief table leaves the intervals of the three parts of the latency to the whole one."""
    found = tables.cell(advice.profile, name, index)
    return dataclasses.replace(found, interval="") if brief and name in tables.TIMES else found


def _plans(advice: Advice) -> list[tuple[str, Plan]]:
    """Every plan once with its role: chosen, front, nearest, baseline."""
    groups = (("nearest", advice.nearest), ("baseline", advice.baselines), ("front", advice.pareto))
    found = [("chosen", advice.best)] if advice.best else []
    for role, plans in groups:
        shown = {(plan.kind, str(plan)) for _, plan in found}
        found += [(role, plan) for plan in plans if (plan.kind, str(plan)) not in shown]
    return found


def _strips(advice: Advice) -> list[Strip]:
    order = {cut.name: cut.index for cut in advice.profile.cuts}
    known = sorted((name for name in advice.gallery.reconstructions if name in order), key=lambda name: order[name])
    return [
        Strip(order[name], shorten(name, words.NAME_LENGTH), _pictures(advice, name), _caption(advice, order[name]))
        for name in known
    ]


def _pictures(advice: Advice, name: str) -> tuple[str | None, ...]:
    return tuple(uri if is_png(uri) else None for uri in advice.gallery.reconstructions[name])


def _caption(advice: Advice, index: int) -> str:
    shown = [name for name in ("ka_nmse", "ka_ssim") if name in advice.profile]
    return ", ".join(f"{tables.label(name)} {tables.cell(advice.profile, name, index)}" for name in shown)
