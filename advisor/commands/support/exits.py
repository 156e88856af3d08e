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

from advisor.commands.support.signals import obeyed
from advisor.commands.support.streams import close_stdout
from advisor.errors import AdvisorError, InterruptedRunError, UnsafeFileError
from advisor.support.memory_limit import WORDS as LACKING
from advisor.support.safe_text import one_line, shell_words

FOUND, BUG, USAGE, INFEASIBLE, UNSAFE, GATE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 4, 5, 130, 141

_NO_MEMORY = (*LACKING, "failed to map segment", "can't start new thread")
"""What libraries say instead of raising a MemoryError."""

_written: list[Path] = []


def say(line: str) -> None:
    """One line for people, on standard error."""
    typer.echo(one_line(line), err=True)


def fail(line: str) -> None:
    """One line that says what went wrong, on standard error."""
    label = "error: " if os.environ.get("NO_COLOR") else typer.style("error: ", fg="red", bold=True)
    typer.echo(label + one_line(line), err=True)


@contextmanager
def noticed(*paths: Path) -> Iterator[None]:
    """Note which of these files were written meanwhile: should the user interrupt, that is said.

    They are looked at, as a signal may arrive between the writing and whatever comes after it.
    """
    before = [_state(path) for path in paths]
    try:
        yield
    finally:
        new = [path for path, state in zip(paths, before, strict=True) if _state(path) not in (state, None)]
        _written.extend(path for path in new if path not in _written)


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is put in place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn every error into one line and its documented exit code; a traceback never reaches the screen.

    Raises:
        typer.Exit: with the code of what went wrong.
    """
    _written.clear()
    with obeyed() as ending:
        try:
            _check_here()
            try:
                yield
            finally:
                sys.stdout.flush()  # a full disk or a reader that left is told here, not by the interpreter's end
        except (typer.Exit, typer.BadParameter):
            raise
        except (KeyboardInterrupt, typer.Abort):
            fail(_interrupted())
            raise typer.Exit(ending.exit_code) from None
        except BrokenPipeError:
            close_stdout()
            raise typer.Exit(BROKEN_PIPE) from None
        except InterruptedRunError as error:
            fail(_interrupted(error.problem.rstrip(".")))
            raise typer.Exit(ending.exit_code) from None
        except AdvisorError as error:
            fail(_with_own_command(error) if isinstance(error, UnsafeFileError) else str(error))
            raise typer.Exit(error.exit_code) from None
        except SystemExit as error:
            fail(f"The model's code ended the program: sys.exit({error.code!r}). Remove that call.")
            raise typer.Exit(USAGE) from None
        except Exception as error:  # noqa: BLE001 - the last resort: whatever gets here is a bug, and is said so
            raise typer.Exit(_unforeseen(error)) from None


def _check_here() -> None:
    """A folder that was removed has no path; libraries that ask for it end the process in words of their own."""
    try:
        Path.cwd()
    except OSError:
        raise AdvisorError("The current folder is gone.", "Change into one that is there.") from None


def _with_own_command(error: UnsafeFileError) -> str:
    """The refusal, and the user's own command with --trust."""
    command, *rest = sys.argv[1:] or ["recommend"]
    return f"{error.problem} If you trust whoever made it: {shell_words(['advisor', command, '--trust', *rest])}"


def _interrupted(said: str = "Interrupted") -> str:
    if not _written:
        return f"{said}; nothing was written. Run the same command again."
    return f"{said}; on the disk: {' and '.join(map(str, _written))}."


def _unforeseen(error: Exception) -> int:
    """Say what the system refused, or else that this is a bug."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        fail("Out of memory. Pass fewer or smaller samples, or use a computer with more memory.")
        return USAGE
    if isinstance(error, OSError):
        if isinstance(error.filename, str) or error.errno is None:
            fail(f"The system refuses: {error}. Check the disk, its permissions and TMPDIR.")
        else:
            close_stdout()
            fail(f"The answer cannot be written: {error.strerror}. Send it to another place.")
        return USAGE
    fail(f"This is a bug of advisor: {_first_line(error)} Please report it{_saved_traceback()}.")
    return BUG


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}." if lines else f"{type(error).__name__}."


def _saved_traceback() -> str:
    """` with FILE`, where it can be written."""
    try:
        handle, name = tempfile.mkstemp(prefix="advisor-traceback-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exc(file=file)
    except OSError as error:
        return f" (the traceback could not be written: {error.strerror or error})"
    return f" with {name}"
