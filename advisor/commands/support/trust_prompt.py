"""Whether to run code from a model file: refused unless asked for, or answered yes on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from advisor.commands.support.stage_progress import StageProgress
    from advisor.loading.pickles import Trust


def is_terminal() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def trust(wanted: bool, progress: StageProgress) -> Trust:
    """True with --trust; a question on a terminal; else False."""
    if wanted or not is_terminal():
        return wanted

    def ask(reason: str) -> bool:
        from advisor.reports.content.text import clean

        with progress.paused():
            typer.echo(f"{clean(reason)}. That code runs with your rights.", err=True)
            return typer.confirm("Load it all the same?", default=False, err=True)

    return ask
