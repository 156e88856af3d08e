"""An advice or a profile on a terminal, fitted to its width."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.columns import Profile
from advisor.plans import Advice, Plan
from advisor.reports import budgets, tables, words
from advisor.reports.text import clean, shorten

WHOLE, ROWS = 32, 20
"""Models of up to WHOLE cuts are shown whole; of longer ones ROWS cuts are."""
NAME_WIDTH = 28
GAP = 2
"""Blank columns between two columns of a table."""
_MARKS = {"chosen": "bold cyan", "zone": "green", "published": "yellow", "": ""}
_STATUS = {"met": "green", "close": "yellow", "missed": "bold red", "not measured": "yellow"}


def render(advice: Advice, width: int = 110) -> str:
    """The answer as plain text."""
    stream = io.StringIO()
    print_advice(
        advice, Console(file=stream, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    )
    return stream.getvalue()


def print_advice(advice: Advice, console: Console) -> None:
    """Print the headline, the table of cuts, the plan, its budgets, and what was assumed or not measured."""
    _say(console, advice.headline, "bold")
    console.print()
    _print_cuts(advice, console)
    if advice.best is not None:
        console.print()
        _say(console, "Recommended plan" if advice.feasible else "Nearest to what was asked", "bold")
        _items(console, words.plan_lines(advice))
        _print_verdicts(advice, console)
    _section(console, "Why", advice.reasons)
    if not advice.feasible:
        _section(console, "Plans that miss the budgets by least", _nearest(advice))
    if split := words.best_split(advice):
        _section(console, "Best split", [split])
    _section(console, "Without a split", [_evaluated(plan) for plan in advice.baselines])
    _section(console, "Not measured", advice.unmeasured)
    _section(console, "Assumed", advice.assumptions)
    if files := words.loads(advice):
        _section(console, "To deploy", [files])
    if command := words.command(advice):
        console.print()
        _say(console, "To reproduce", "bold")
        console.print(Text(f"  {command}"), soft_wrap=True)  # one line, so that it can be copied


def print_profile(profile: Profile, console: Console) -> None:
    """Print cuts × columns: as many columns as fit, and which were left for the JSON file."""
    names = tables.all_columns(profile)
    rows = tables.pick_rows(len(profile.cuts), (0, len(profile.cuts) - 1), ROWS, WHOLE)
    shown = _print_table(profile, names, rows, {}, console)
    left_out = [tables.label(name) for name in names if name not in shown]
    if left_out:
        _say(console, f"Not shown for want of width: {', '.join(left_out)}.", "dim")
    _print_notes(profile, shown, console)
    for key, text in words.facts(profile.provenance):
        _say(console, f"{key}: {text}", "dim")


def _print_cuts(advice: Advice, console: Console) -> None:
    profile = advice.profile
    rows = tables.pick_rows(len(profile.cuts), tables.important_rows(advice), ROWS, WHOLE)
    shown = _print_table(profile, tables.all_columns(profile), rows, _marks(advice), console)
    _say(console, words.zone_words(advice))
    published = tables.flagged(profile, "in_gpz")
    if published:
        _say(console, f"Published criterion: {tables.show_cuts(published)}.")
    _print_notes(profile, shown, console)


def _print_table(
    profile: Profile, names: Sequence[str], rows: Sequence[int], marks: Mapping[int, Sequence[str]], console: Console
) -> tuple[str, ...]:
    """Print the table and return the columns that fitted."""
    body = {name: [_cell(profile, name, i) for i in rows] for name in names}
    noted = {i: ", ".join(marks.get(i, ())) for i in rows}
    texts = (
        str(len(profile.cuts)),
        *_longest([[shorten(profile.cuts[i].name, NAME_WIDTH) for i in rows], noted.values()]),
    )
    shown = _fitting(body, console.width - sum(len(text) + GAP for text in texts))
    table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("cut", no_wrap=True)
    for name in shown:
        table.add_column(Text(tables.label(name)), justify="right", no_wrap=True)
    if marks:
        table.add_column("", no_wrap=True)
    for position, i in enumerate(rows):
        found = marks.get(i, ())
        cells = [Text(shorten(profile.cuts[i].name, NAME_WIDTH)), *(Text(body[name][position]) for name in shown)]
        table.add_row(
            Text(str(i)), *cells, *([Text(noted[i])] if marks else []), style=_MARKS[found[0] if found else ""]
        )
    console.print(table)
    if left_out := len(profile.cuts) - len(rows):
        _say(console, f"{left_out} of {len(profile.cuts)} cuts left out of this table.", "dim")
    return shown


def _cell(profile: Profile, name: str, index: int) -> str:
    found = tables.cell(profile, name, index)
    return str(found) if name in tables.WITH_INTERVAL else found.text


def _longest(groups: Iterable[Iterable[str]]) -> list[str]:
    return [max(group, key=len, default="") for group in groups]


def _fitting(body: Mapping[str, Sequence[str]], width: int) -> tuple[str, ...]:
    """Columns that fit, the most important first; the parts of the latency come together or not at all."""
    kept: set[str] = set()
    groups = [
        tuple(name for name in group if name in body) for group in (*tables.BY_IMPORTANCE, *((name,) for name in body))
    ]
    for group in groups:
        new = [name for name in group if name not in kept]
        needed = sum(GAP + max(len(tables.label(name)), *map(len, body[name])) for name in new)
        if needed <= width:
            kept.update(new)
            width -= needed
    return tuple(name for name in body if name in kept)


def _marks(advice: Advice) -> dict[int, tuple[str, ...]]:
    """Cut index -> its marks, the most telling first."""
    chosen = [cut.index for cut in advice.best.cuts] if advice.best else []
    kinds = {"chosen": chosen, "zone": tables.zone_rows(advice), "published": tables.flagged(advice.profile, "in_gpz")}
    return {cut.index: tuple(kind for kind, at in kinds.items() if cut.index in at) for cut in advice.profile.cuts}


def _print_notes(profile: Profile, names: Sequence[str], console: Console) -> None:
    notes = list(tables.source_notes(profile, names))
    if any(name in tables.WITH_INTERVAL for name in names):
        notes.append("in brackets: 90 % interval (±? = spread not known)")
    if notes:
        _say(console, "; ".join(notes) + ".", "dim")
    for note in tables.missing_notes(profile, names):
        _say(console, f"{tables.MISSING}: {note}", "dim")


def _print_verdicts(advice: Advice, console: Console) -> None:
    if advice.best is None:
        return
    for verdict in budgets.verdicts(advice.best, advice.budgets):
        line = Text.assemble(
            (f"{verdict.status:<13}", _STATUS[verdict.status]),
            clean(f"{verdict.label} {verdict.limit}".strip() + (f": {verdict.found}" if verdict.found else "")),
            clean(f"; {verdict.note}") if verdict.note else "",
        )
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _nearest(advice: Advice) -> list[str]:
    return [f"{words.plan_name(plan)}: {budgets.misses(plan, advice.budgets)}" for plan in advice.nearest]


def _evaluated(plan: Plan) -> str:
    costs = ", ".join(
        f"{tables.label(name)} {words.predicted(plan, name)}" for name in ("latency", "edge_memory", "score")
    )
    return f"{words.plan_name(plan)}: {costs}"


def _section(console: Console, title: str, lines: Iterable[str]) -> None:
    kept = list(lines)
    if kept:
        console.print()
        _say(console, title, "bold")
        _items(console, kept)


def _items(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(Padding(Text(clean(line)), (0, 0, 0, 2), expand=False))


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(clean(line), style=style))
