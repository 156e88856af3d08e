"""SIGTERM and SIGHUP end a command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from advisor.commands.support import exits
from advisor.commands.support.signals import GRACE, Ending, obeyed


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_each_signal_has_its_code_and_says_what_is_on_the_disk(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with exits.exit_codes(), exits.noticed(tmp_path / "advice.json"):
            (tmp_path / "advice.json").write_text("{}")
            os.kill(os.getpid(), getattr(signal, name))

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == code
    assert f"Interrupted; on the disk: {tmp_path / 'advice.json'}." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with obeyed():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_cut_saving_short_but_a_late_one_is_obeyed() -> None:
    now = [0.0]
    ending = Ending(lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        ending(signal.SIGTERM, None)
    ending(signal.SIGINT, None)
    assert ending.exit_code == 143
    now[0] += GRACE
    with pytest.raises(KeyboardInterrupt):
        ending(signal.SIGINT, None)
    assert ending.exit_code == 130


class Dropping:
    """What is raised in its destructor is dropped by the interpreter."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_destructor_ends_the_command_all_the_same_and_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = sys.unraisablehook

    def command() -> None:
        with exits.exit_codes():
            Dropping()
            time.sleep(5)

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 143
    assert capsys.readouterr().err == "error: Interrupted; nothing was written. Run the same command again.\n"
    assert sys.unraisablehook is usual


def test_what_else_is_dropped_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(dropped.exc_type))
    with obeyed():
        Failing()
    assert told == [ValueError]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_interpreter_clears_up_changes_nothing_and_shows_nothing(name: str) -> None:
    code = (
        "import atexit, sys, time; from advisor.cli import main; sys.argv = ['advisor', 'links']\n"
        "atexit.register(lambda: (print('ends', flush=True), time.sleep(60)))\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert any(line == "ends\n" for line in command.stdout)
        command.send_signal(getattr(signal, name))
        assert (command.communicate(timeout=30)[1], command.returncode) == ("", 0)
