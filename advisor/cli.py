"""The command line. Each command is one file in `advisor/commands`; exit codes are in `docs/exit-codes.md`."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from advisor.commands.attack import attack, attacks
from advisor.commands.calibrate import calibrate
from advisor.commands.check import check
from advisor.commands.compare import compare
from advisor.commands.defend import defend
from advisor.commands.defenses import defenses
from advisor.commands.doctor import doctor
from advisor.commands.listings import devices, links
from advisor.commands.measure import leakage, profile
from advisor.commands.recommend import recommend
from advisor.commands.report import report
from advisor.commands.split import split
from advisor.commands.support.command_examples import epilog
from advisor.commands.support.exits import FOUND, USAGE, say
from advisor.commands.support.signals import end_at_once
from advisor.commands.support.streams import open_streams
from advisor.commands.support.usage_errors import OneLineErrors
from advisor.commands.whatif import whatif
from advisor.registry import PlugInWarning
from advisor.support.quiet import quiet_kernels, usable_cache

app = typer.Typer(
    name="advisor",
    cls=OneLineErrors,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    recommend, profile, leakage, attack, attacks, defend, defenses, split, report, compare, check, whatif, calibrate,
    devices, links, doctor,
)  # fmt: skip
for command in COMMANDS:
    app.command(epilog=epilog(command.__name__))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from advisor import __version__

        typer.echo(f"advisor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Where to split a neural network between edge and cloud, and what to do to the tensor before it leaves."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def main() -> None:
    """Entry point of the `advisor` script."""
    open_streams()
    if not sys.warnoptions:
        quiet_kernels()
        usable_cache()
        warnings.simplefilter("ignore")  # of libraries; the user of a command can act on none of them
        warnings.simplefilter("default", PlugInWarning)
        warnings.showwarning = lambda message, *place, **rest: say(f"Note: {message}")
    try:
        app()
    except SystemExit as ended:
        end_at_once(ended.code if isinstance(ended.code, int) else FOUND)
        raise


if __name__ == "__main__":
    main()
