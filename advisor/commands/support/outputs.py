"""Where results go: standard output for the answer, a folder for the files, checked before the work begins."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.commands.support.exits import say
from advisor.commands.support.streams import Quoted
from advisor.errors import AdvisorError
from advisor.files import IsOurs, check_ours, unwritable
from advisor.support.trimmed import trimmed

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.advice import Advice


def writable(folder: Path, files: Mapping[str, IsOurs]) -> Path:
    """Make sure that these files can be written into a folder, and leave no trace of the test.

    Args:
        folder: need not exist.
        files: name -> whether what is there under that name is ours to replace.

    Raises:
        AdvisorError: when they cannot, or one of the names is taken by a file that is not ours.
    """
    present = folder
    while not present.exists() and present != present.parent:
        present = present.parent
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise unwritable(folder, error) from None
    for name, is_ours in files.items():
        if (folder / name).is_dir():
            raise unwritable(folder / name, IsADirectoryError(0, "a folder of that name is there"))
        check_ours(folder / name, is_ours)
    return folder


def say_absent(*advices: Advice) -> None:
    """Which defenses of advices are not installed here, in one line on standard error; nothing where all are."""
    names = ", ".join(dict.fromkeys(name for advice in advices for name in advice.absent))
    if names:
        say(f"Note: {names} is not installed here: plans with it are shown as recorded.")


def one_of(option: str, text: str, known: Mapping[str, str]) -> str:
    """What an option's text stands for.

    Raises:
        AdvisorError: where it is none of the known ones.
    """
    if text not in known:
        raise AdvisorError(f"{option} {text!r} is not known.", f"Use {', '.join(dict.fromkeys(known.values()))}.")
    return known[text]


@contextmanager
def answer_only() -> Iterator[None]:
    """Send whatever libraries or the model print to standard error, harmless: standard output is for the answer."""
    quoted = Quoted(sys.stderr)
    with redirect_stdout(quoted), redirect_stderr(quoted):
        yield


def screen() -> Console:
    """Standard output as a console; wide where it is no terminal, so that a table in a file keeps its columns."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the program itself

    console = Screen(highlight=False)
    if console.is_terminal:
        return console
    return Screen(file=trimmed(sys.stdout), highlight=False, width=max(console.width, 110))
