"""Exit codes: every way a command can end, said in one line on standard error."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from advisor.errors import AdvisorError

FOUND, BUG, USAGE, INFEASIBLE, UNSAFE, GATE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 4, 5, 130, 141


def say(line: str) -> None:
    """One line for people, on standard error."""
    typer.echo(line, err=True)


def fail(line: str) -> None:
    """One line that says what went wrong, on standard error."""
    from advisor.reports.text import clean

    typer.echo(typer.style("error: ", fg="red", bold=True) + clean(line), err=True)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn every error into one line and its documented exit code; a traceback never reaches the screen.

    Raises:
        typer.Exit: with the code of what went wrong.
    """
    try:
        yield
    except (typer.Exit, typer.BadParameter):
        raise
    except (KeyboardInterrupt, typer.Abort):
        fail("Interrupted; nothing was written. Run the same command again.")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _close_stdout()
        raise typer.Exit(BROKEN_PIPE) from None
    except AdvisorError as error:
        fail(str(error))
        raise typer.Exit(error.exit_code) from None
    except MemoryError:
        fail("Out of memory. Pass fewer or smaller samples, or use a computer with more memory.")
        raise typer.Exit(USAGE) from None
    except Exception as error:  # noqa: BLE001 - the last resort: whatever gets here is a bug, and is said so
        fail(f"This is a bug of advisor: {_first_line(error)} Please report it with {_save_traceback()}.")
        raise typer.Exit(BUG) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}." if lines else f"{type(error).__name__}."


def _save_traceback() -> Path:
    handle, name = tempfile.mkstemp(prefix="advisor-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        traceback.print_exc(file=file)
    return Path(name)


def _close_stdout() -> None:
    """The reader has gone: let the interpreter's last flush go nowhere instead of complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
