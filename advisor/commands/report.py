"""`advisor report`: a saved advice, shown in another format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.outputs import say_absent, screen

SHORT = {"md": "markdown"}
"""Names that people type."""


def report(
    advice: Annotated[str, typer.Argument(help="An advice.json, or its folder.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(help="console, html, md, csv, json, card, or package.module:Name.", rich_help_panel=given.OUTPUT),
    ] = "console",
    out: Annotated[
        Path | None, typer.Option(help="File to write; else standard output.", rich_help_panel=given.OUTPUT)
    ] = None,
    all_cuts: given.AllCuts = False,
    as_json: given.Json = False,
) -> None:
    """Show a saved ADVICE again: for a pull request, a page, another program."""
    with exit_codes():
        from advisor.advice import load_advice
        from advisor.errors import AdvisorError
        from advisor.files import write_atomically
        from advisor.reports import REPORTS
        from advisor.reports.console import print_advice, render_all

        if as_json:
            format = "json"
        if out is not None and out.exists():
            raise AdvisorError(f"{out} exists already.", "Choose another name with --out.")
        shown, member = load_advice(advice), REPORTS.find(SHORT.get(format, format))
        say_absent(shown)
        say(f"Digest of the advice: {shown.digest}.")
        if format == "console" and out is None:
            print_advice(shown, screen(), all_cuts)
            return
        try:
            text = render_all(shown) if all_cuts and format == "console" else member(shown)
        except Exception as error:
            if format in REPORTS.built_in:
                raise
            raise AdvisorError(f"The report {format} failed ({type(error).__name__}: {error}).", "Mend it.") from error
        if out is None:
            sys.stdout.write(text)
            return
        with noticed(out):
            write_atomically(out, text, private=shown.holds_pictures)
        say(f"Wrote {out}.")
