"""What is wrong with a command line is said in one line, like every other error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from advisor.commands.support.exits import INTERRUPTED, USAGE, fail

UsageError: Any = typer.BadParameter.__bases__[0]
"""An unknown option or command, a missing argument; typer does not export it."""


class OneLineErrors(TyperGroup):
    """The commands, without boxes around what is wrong."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        """Run a command line and end the program, as typer does."""

        def run() -> Any:
            return super(OneLineErrors, self).main(args, prog_name, complete_var, False, windows_expand_args, **extra)

        if not standalone_mode:
            return run()
        try:
            code = run()
        except UsageError as error:
            where = "advisor" if error.ctx is None else error.ctx.command_path
            said = error.format_message().rstrip(".")
            fail(f"{said}{'' if said.endswith('?') else '.'} See {_own(where)} --help.")
            sys.exit(USAGE)
        except typer.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _own(path: str) -> str:
    """The command path as a user types it, however the program was started."""
    return " ".join(["advisor", *path.split()[1:]]).strip()
