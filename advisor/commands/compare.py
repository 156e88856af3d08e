"""`advisor compare`: several advices side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, say
from advisor.commands.support.outputs import one_of, say_absent, screen

if TYPE_CHECKING:
    from advisor.advice import Advice

FORMATS = {name: name for name in ("console", "html", "markdown", "csv", "json")} | {"md": "markdown"}


def compare(
    advices: Annotated[list[str], typer.Argument(help="Advices, or their folders.", show_default=False)],
    format: Annotated[
        str, typer.Option(help="console, html, markdown, csv or json.", rich_help_panel=given.OUTPUT)
    ] = "console",
    out: Annotated[
        Path | None, typer.Option(help="File to write; else standard output.", rich_help_panel=given.OUTPUT)
    ] = None,
    as_json: given.Json = False,
) -> None:
    """Put ADVICES side by side, one row each: devices, links, models, before and after."""
    with exit_codes():
        from advisor.advice import load_advice
        from advisor.errors import AdvisorError
        from advisor.files import write_atomically

        shown = "json" if as_json else one_of("--format", format, FORMATS)
        if out is not None and out.exists():
            raise AdvisorError(f"{out} exists already.", "Choose another name with --out.")
        found = {name: load_advice(name) for name in advices}
        say_absent(*found.values())
        text = _text(found, shown)
        if out is not None:
            write_atomically(out, text)
            say(f"Wrote {out}.")
        elif shown == "console":
            _print(found)
        else:
            sys.stdout.write(text)


def _text(found: dict[str, Advice], shown: str) -> str:
    from advisor.reports.several import several_page, side_by_side

    if shown == "html":
        return several_page.render(found)
    if shown == "json":
        return json.dumps(side_by_side.plain(found), indent=1, allow_nan=False) + "\n"
    return side_by_side.comma_separated(found) if shown == "csv" else side_by_side.markdown(found)


def _print(found: dict[str, Advice]) -> None:
    """One block an advice, so that nothing is cut off at 80 columns."""
    from rich.table import Table
    from rich.text import Text

    from advisor.reports.several import side_by_side

    table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
    rows = [side_by_side.cells(row) for row in side_by_side.compared(found)]
    table.add_column("")
    for row in rows:
        table.add_column(Text(row[0]), overflow="fold")
    for position, head in enumerate(side_by_side.heads()[1:], start=1):
        table.add_row(Text(head), *(Text(row[position]) for row in rows))
    screen().print(table)
