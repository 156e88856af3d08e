"""An advice or a profile on a terminal, fitted to its width."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.advice import Advice
from advisor.columns import Profile
from advisor.reports.content import tables, words
from advisor.reports.content.answer import Answer, answer_of
from advisor.reports.content.quantities import quantity
from advisor.reports.content.text import clean, shorten
from advisor.support.trimmed import trimmed

WHOLE, ROWS = 32, 20
"""Models of up to WHOLE cuts are shown whole; of longer ones ROWS cuts are."""
NAME_WIDTH, ALTERNATIVE_WIDTH = 28, 34
GAP = 2
"""Blank columns between two columns of a table."""
_MARKS = {"chosen": "bold cyan", "zone": "green", "published": "yellow", "": ""}
_STATUS = {"met": "green", "close": "yellow", "missed": "bold red", "not measured": "yellow"}


def render(advice: Advice, width: int = 110, all_cuts: bool = False) -> str:
    """The answer as plain text."""
    stream = io.StringIO()
    shown = Console(file=trimmed(stream), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    print_advice(advice, shown, all_cuts)
    return stream.getvalue()


def render_all(advice: Advice) -> str:
    """`render`, with every cut."""
    return render(advice, all_cuts=True)


def print_advice(advice: Advice, console: Console, all_cuts: bool = False) -> None:
    """Print the answer in its order, then the cuts and what was not measured, and at the end the verdict again.

    Args:
        advice: what is shown.
        console: where; everything fits its width, but for commands, which are one line each.
        all_cuts: show every cut, not those alone that close a block.
    """
    answer = answer_of(advice)
    _say(console, answer.verdict, "bold")
    _items(console, [answer.plan] if answer.plan else [])
    if answer.costs:
        _section(console, "What it costs", map(str, answer.costs))
        _print_verdicts(answer, console)
    got = answer.attacker
    _section(console, "What an attacker gets", filter(None, (got.gets, got.predicted, *got.run, got.guarantee)))
    _section(console, "What must be believed", (f"{b.assumption} {b.changes}" for b in answer.beliefs))
    _section(console, "Why", advice.reasons)
    _section(console, "Why not the next", map(str, answer.rivals))
    _print_alternatives(answer, console)
    console.print()
    _print_cuts(advice, console, all_cuts)
    _section(console, "Not measured", advice.unmeasured)
    _section(console, "To deploy", filter(None, [words.loads(advice)]))
    if command := words.command(advice):
        _command(console, "To reproduce", command)
    if len(advice.assumptions) > 0:
        console.print()
        _say(console, f"{len(advice.assumptions)} things were assumed: the report lists them.", "dim")
    console.print()
    _say(console, f"Verdict: {answer.verdict}", "bold")
    if answer.next:
        _command(console, "Next", answer.next)


def _command(console: Console, title: str, command: str) -> None:
    """A command on one line, so that it can be copied."""
    console.print()
    _say(console, title, "bold")
    console.print(Text(f"  {command}"), soft_wrap=True)


def _print_alternatives(answer: Answer, console: Console) -> None:
    """The table of plans: as many columns as fit, the names on lines of their own where they are long."""
    if not answer.alternatives:
        return
    rows = answer.alternatives
    labels = [quantity(name).label for name in answer.columns]
    body = {name: [cells[i].text for row in rows for cells in [row.cells]] for i, name in enumerate(answer.columns)}
    order = ("latency", "score", "accuracy", "bytes", "edge_memory", "accuracy_drop", "edge_energy", "score_ssim")
    room, kept = console.width - ALTERNATIVE_WIDTH - GAP, set()
    for name in (known for known in order if known in answer.columns):
        needed = GAP + max(len(labels[answer.columns.index(name)]), *map(len, body[name]))
        if needed <= room:
            kept.add(name)
            room -= needed
    table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
    table.add_column("plan", width=ALTERNATIVE_WIDTH, overflow="fold")
    shown = [name for name in answer.columns if name in kept]
    for name in shown:
        table.add_column(Text(quantity(name).label), justify="right", no_wrap=True)
    for position, row in enumerate(rows):
        said = f"{row.role}: {shorten(row.plan, 3 * ALTERNATIVE_WIDTH)}" if not row.whole else row.role
        table.add_row(
            Text(said), *(Text(body[column][position]) for column in shown), style="bold" if position == 0 else ""
        )
    console.print()
    _say(console, "Beside other plans", "bold")
    console.print(table)
    for row in rows:
        if not row.budgets.startswith("meets"):
            _items(console, [f"{row.role}: {row.budgets}"])


def print_profile(profile: Profile, console: Console) -> None:
    """Print cuts × columns: as many columns as fit, and which were left for the JSON file."""
    names = tables.all_columns(profile)
    rows = tables.pick_rows(len(profile.cuts), (0, len(profile.cuts) - 1), ROWS, WHOLE)
    shown = _print_table(profile, names, rows, {}, console)
    if len(rows) < len(profile.cuts):
        _say(console, f"{len(profile.cuts) - len(rows)} of {len(profile.cuts)} cuts left out of this table.", "dim")
    left_out = [tables.label(name) for name in names if name not in shown]
    if left_out:
        _say(console, f"Not shown for want of width: {', '.join(left_out)}.", "dim")
    _print_notes(profile, shown, console)
    for key, text in words.facts(profile.provenance):
        _say(console, f"{key}: {text}", "dim")


def _print_cuts(advice: Advice, console: Console, all_cuts: bool) -> None:
    profile = advice.profile
    whole = tuple(range(len(profile.cuts)))
    rows = whole if all_cuts else tables.block_rows(advice)
    if not all_cuts and len(rows) > WHOLE:
        rows = tables.pick_rows(len(whole), tables.important_rows(advice), ROWS)
    _say(console, "Every cut" if rows == whole else "Cuts that close a block", "bold")
    shown = _print_table(profile, tables.all_columns(profile), rows, _marks(advice), console)
    if left_out := len(whole) - len(rows):
        _say(console, f"{left_out} of {len(whole)} cuts left out of this table: --all-cuts shows them.", "dim")
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
    chosen = tables.plan_rows(advice, advice.best)
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


def _print_verdicts(answer: Answer, console: Console) -> None:
    for verdict in answer.budgets:
        line = Text.assemble(
            (f"{verdict.status:<13}", _STATUS[verdict.status]),
            clean(f"{verdict.label} {verdict.limit}".strip() + (f": {verdict.found}" if verdict.found else "")),
            clean(f"; {verdict.note}") if verdict.note else "",
        )
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


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
