"""An outlook as tables: the options, where each is chosen, the portfolio; on a terminal and as Markdown."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from advisor.outlook import LINK, NOTHING, Band, Option, Outlook, Portfolio, Segment
from advisor.reports.content import words
from advisor.reports.content.quantities import NOT_MEASURED, quantity, show_estimate
from advisor.reports.content.text import clean, markdown_code, markdown_text
from advisor.support.trimmed import trimmed
from advisor.units import show_rate, show_share

COLUMNS = ("bytes", "edge_memory", "accuracy_drop")
SHOWN_BANDS = 5
WITHOUT_LINK = ("all-edge", "local-head")
NO_CHOICE = "nothing meets the requirements"


@dataclass(frozen=True)
class Grid:
    """A table: its title, what stands above its columns, and its rows as text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grids(outlook: Outlook) -> tuple[Grid, ...]:
    """Every table, in the order in which they are read."""
    found = [_moves(outlook), *_bands(outlook), _options(outlook), *_portfolio(outlook)]
    return tuple(grid for grid in found if grid.rows)


def asked(outlook: Outlook) -> str:
    """What was varied and what stayed, in one sentence."""
    varied = [f"{axis.label} {axis.show(axis.low)} to {axis.show(axis.high)}" for axis in outlook.axes]
    fixed = [f"{row.label} {row.asks(limit)}" for row, limit in outlook.budgets]
    parts = [f"Best {outlook.best_in.label} over {clean(outlook.link)}"]
    parts += [f"varied: {', '.join(varied)}"] if varied else []
    return "; ".join([*parts, f"asked: {', '.join(fixed)}" if fixed else "no requirement"]) + "."


def headline(outlook: Outlook) -> str:
    """How often the choice changes, in one sentence."""
    if not outlook.axes:
        return f"{name_of(outlook, outlook.segments[0].letter)} is chosen."
    where = outlook.axes[0].label
    if len(outlook.axes) == 2:
        chosen = {segment.letter for band in outlook.bands for segment in band.segments}
        none = " and a part where nothing meets the requirements" if NOTHING in chosen else ""
        count = len(chosen - {NOTHING})
        return f"Over {where} and the {outlook.axes[1].label} {_number(count, 'plan')} {_are(count)} chosen{none}."
    if not outlook.thresholds:
        same = outlook.segments[0].letter
        said = f"Over the whole range of {where} the choice is the same: {name_of(outlook, same)}."
        return said + _unmoved(outlook, same)
    at = ", ".join(map(outlook.axes[0].show, outlook.thresholds[:6])) + (" …" if len(outlook.thresholds) > 6 else "")
    return f"The choice changes {_number(len(outlook.thresholds), 'time')} with {where}: at {at}."


def _unmoved(outlook: Outlook, letter: str) -> str:
    """Why no link moves a choice that sends nothing, and what may; "" of any other."""
    option = outlook.option(letter)
    if option is None or outlook.axes[0].name != LINK or option.plan.kind not in WITHOUT_LINK:
        return ""
    return " It sends nothing, so that no link moves it; a requirement may (--max-edge-memory 64KiB..1MiB)."


def name_of(outlook: Outlook, letter: str) -> str:
    """The plan of a letter, in words."""
    option = outlook.option(letter)
    if option is None:
        return NO_CHOICE
    return f"{letter}: {words.plan_name(option.plan)}"


def unverified(outlook: Outlook) -> tuple[str, ...]:
    """The commands that attack what so far is predicted."""
    return tuple(option.verify for option in outlook.options if option.verify)


def leakage(option: Option) -> str:
    """What is known of an option's leakage, and whether by an attack."""
    if option.plan.kind in WITHOUT_LINK:
        return "nothing is sent"
    if option.plan.kind == "all-cloud":
        return "the input itself is sent"
    found = option.plan.leakage("score") if "score" in option.plan.predicted else None
    number = NOT_MEASURED if found is None else f"NMSE {show_estimate(found, 'score')}"
    how = "verified" if option.verified else "predicted"
    return f"{number}, {how}" + ("" if option.private else "; by the zone's thresholds not private")


def markdown(outlook: Outlook) -> str:
    """All of it for a pull request."""
    parts = [f"**{markdown_text(headline(outlook))}**", markdown_text(asked(outlook))]
    for grid in grids(outlook):
        lines = [f"**{markdown_text(grid.title)}**", "", "| " + " | ".join(map(markdown_text, grid.heads)) + " |"]
        lines += ["|" + "---|" * len(grid.heads)]
        lines += ["| " + " | ".join(map(markdown_text, row)) + " |" for row in grid.rows]
        parts.append("\n".join(lines))
    if commands := unverified(outlook):
        parts.append("Not verified yet:\n\n" + "\n".join(f"- {markdown_code(line)}" for line in commands))
    parts.append("\n".join(f"- {markdown_text(note)}" for note in outlook.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def text(outlook: Outlook, width: int = 110) -> str:
    """All of it as plain text."""
    stream = io.StringIO()
    print_outlook(outlook, Console(file=trimmed(stream), width=width, color_system=None, force_terminal=False))
    return stream.getvalue()


def print_outlook(outlook: Outlook, console: Console) -> None:
    """Print it; commands are one line each, all else fits the console's width. The answer comes last once more."""
    console.print(Text(headline(outlook), style="bold"))
    console.print(Text(asked(outlook)))
    for grid in grids(outlook):
        table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
        for head in grid.heads:
            table.add_column(Text(head), overflow="fold")
        for row in grid.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print()
        console.print(Text(grid.title, style="bold"))
        console.print(table)
    if commands := unverified(outlook):
        console.print()
        console.print(Text("To verify what is predicted", style="bold"))
        for line in commands:
            console.print(Text(f"  {line}"), soft_wrap=True)
    console.print()
    for note in outlook.notes:
        console.print(Text(clean(note), style="dim"))
    console.print()
    console.print(Text(headline(outlook), style="bold"))


def _moves(outlook: Outlook) -> Grid:
    if len(outlook.axes) != 1:
        return Grid("", (), ())
    axis, label = outlook.axes[0], outlook.best_in.label
    return Grid(
        f"Along {axis.label}", ("from", "to", "plan", label),
        tuple((axis.show(s.low), axis.show(s.high), name_of(outlook, s.letter), _values(outlook, s))
              for s in outlook.segments),
    )  # fmt: skip


def _values(outlook: Outlook, segment: Segment) -> str:
    ends = [outlook.best_in.show(v) for v in (segment.at_low, segment.at_high) if not math.isnan(v)]
    return " to ".join(dict.fromkeys(ends)) or NO_CHOICE


def _bands(outlook: Outlook) -> Iterator[Grid]:
    if len(outlook.axes) != 2:
        return
    first, second = outlook.axes
    count = len(outlook.bands)
    shown = sorted({round(i * (count - 1) / (SHOWN_BANDS - 1)) for i in range(SHOWN_BANDS)})
    rows = [(second.show(outlook.bands[i].at), _line(outlook, outlook.bands[i])) for i in shown]
    yield Grid(
        f"Along {first.label}, for values of {second.label}", (second.label, f"along {first.label}"), tuple(rows)
    )


def _line(outlook: Outlook, band: Band) -> str:
    """`A up to 3.2 Mbit/s, then B`."""
    show = outlook.axes[0].show
    parts = [f"{_letter(segment)} up to {show(segment.high)}" for segment in band.segments[:-1]]
    last = _letter(band.segments[-1])
    return ", ".join([*parts, f"then {last}" if parts else f"{last} throughout"])


def _letter(segment: Segment) -> str:
    return "nothing" if segment.letter == NOTHING else segment.letter


def _options(outlook: Outlook) -> Grid:
    heads = ("", "plan", "leakage", *(quantity(name).label for name in COLUMNS))
    rows = [
        (option.letter, words.plan_name(option.plan), leakage(option),
         *(words.predicted(option.plan, name) for name in COLUMNS))
        for option in outlook.options
    ]  # fmt: skip
    return Grid("The plans", heads, tuple(rows))


def _portfolio(outlook: Outlook) -> Iterator[Grid]:
    found = outlook.portfolio
    if found is None:
        return
    yield Grid("Portfolio", ("", ""), tuple(_facts(outlook, found)))
    yield Grid(
        "When an edge switches",
        ("between", "as good at", "go up from", "go down from"),
        tuple((f"{s.below} and {s.above}", show_rate(s.at), _or_never(s.up, f"stay with {s.below}"),
               _or_never(s.down, f"stay with {s.above}")) for s in found.switches),
    )  # fmt: skip


def _facts(outlook: Outlook, found: Portfolio) -> Iterator[tuple[str, str]]:
    yield "plans", ", ".join(found.letters)
    over = f"of {found.measurements} measurements" if found.measurements else "of the range"
    yield "served", f"{show_share(found.served)} {over}"
    label = outlook.best_in.label
    yield (
        f"{label} lost",
        f"{show_share(found.loss)} on average, {show_share(found.most_loss)} at most, to the best plan",
    )
    if found.switches:
        better = show_share(found.hysteresis)
        yield (
            "an edge switches",
            f"where another plan is better by {better}, or its own no longer meets the requirements",
        )
    if found.measurements:
        yield "switches", f"{found.changes} along the trace; without hysteresis {found.changes_without}"
    predicted = [o.letter for o in outlook.options if o.letter in found.letters and o.verify]
    yield (
        "verified",
        f"not yet: {', '.join(predicted)}" if predicted else "every plan that an attack can say something of",
    )


def _or_never(rate: float | None, otherwise: str) -> str:
    return otherwise if rate is None else show_rate(rate)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


__all__ = ["LINK", "Grid", "asked", "grids", "headline", "leakage", "markdown", "print_outlook", "text", "unverified"]
