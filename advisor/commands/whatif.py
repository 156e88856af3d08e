"""`advisor whatif`: how the choice of an advice moves with the link and the requirements."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.outputs import one_of, say_absent, screen
from advisor.commands.support.requirement_options import TakesRequirements
from advisor.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from advisor.outlook import Outlook

FORMATS = {"console": "console", "html": "html", "markdown": "markdown", "md": "markdown", "json": "json"}
SUFFIXES = {".html": "html", ".md": "markdown", ".json": "json", ".txt": "console"}


@TakesRequirements
def whatif(
    advice: Annotated[str, typer.Argument(help="An advice.json, or its folder.", show_default=False)],
    link: Annotated[
        str | None,
        typer.Option(
            help="1..100Mbps, 20Mbps, lte, lte,bandwidth=1..20Mbps or trace=FILE.", rich_help_panel=given.WHERE
        ),
    ] = None,
    portfolio: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many plans that serve the range or trace.", rich_help_panel=given.SEARCH),
    ] = None,
    hysteresis: Annotated[
        str,
        typer.Option(help="By how much another plan must be better before switching.", rich_help_panel=given.SEARCH),
    ] = "5%",
    objective: Annotated[
        str | None,
        typer.Option(help="Quantity that is to be best; else the recorded one.", rich_help_panel=given.SEARCH),
    ] = None,
    require_split: Annotated[
        bool, typer.Option("--require-split", help="Leave all-edge and all-cloud out.", rich_help_panel=given.SEARCH)
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(help="console, html, markdown or json; else by --out's name.", rich_help_panel=given.OUTPUT),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; else standard output.", rich_help_panel=given.OUTPUT)
    ] = None,
    as_json: given.Json = False,
    **asked: str | None,
) -> None:
    """Show how the choice of ADVICE moves over ranges, without measuring again: thresholds, a picture, a portfolio.

    A requirement is a range LOW..HIGH, one value, or none, which lifts it; at most two ranges. The others stay as the
    advice has them.
    """
    with exit_codes():
        import advisor
        from advisor.errors import AdvisorError
        from advisor.files import write_atomically
        from advisor.units import fraction

        suffix = SUFFIXES.get(out.suffix.lower(), "html") if out is not None else "console"
        shown = "json" if as_json else suffix if format is None else one_of("--format", format, FORMATS)
        if out is not None and out.exists():
            raise AdvisorError(f"{out} exists already.", "Choose another name with --out.")
        limits: dict[str, Any] = {name: value for name, value in asked.items() if name in REQUIREMENTS}
        say_absent(advisor.load_advice(advice))
        found = advisor.whatif(
            advice, link, portfolio=portfolio, hysteresis=fraction(hysteresis), objective=objective,
            require_split=require_split or None, requirements=limits,
        )  # fmt: skip
        if out is not None:
            with noticed(out):
                write_atomically(out, _text(found, shown))
            say(f"Wrote {out}.")
        elif shown == "console":
            from advisor.reports.outlooks.outlook_tables import print_outlook

            print_outlook(found, screen())
        else:
            sys.stdout.write(_text(found, shown))


def _text(found: Outlook, shown: str) -> str:
    from advisor.reports.outlooks import outlook_page, outlook_tables

    if shown == "json":
        return json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"
    if shown == "html":
        return outlook_page.render(found)
    return outlook_tables.markdown(found) if shown == "markdown" else outlook_tables.text(found)
