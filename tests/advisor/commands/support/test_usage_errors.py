"""A wrong command line is one line; colours only where somebody wants them; a shell can complete commands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import Run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["recommend", "--no-such"],
            "No such option: --no-such (Possible options: --no-config, --no-labels). See advisor recommend --help.",
        ),
        (["profile"], "Missing argument 'model'. See advisor profile --help."),
        (["recomend"], "No such command 'recomend'. Did you mean 'recommend'? See advisor --help."),
        (["attack", "m.pt", "--repeats", "x"], "See advisor attack --help."),
    ],
)
def test_it_is_one_line_with_the_next_step(cli: Run, words: list[str], said: str) -> None:
    result = cli(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith(f"{said}\n")
    assert result.stderr.count("\n") == 1


def test_without_a_command_the_commands_are_listed(cli: Run) -> None:
    result = cli()
    assert result.exit_code == 2
    assert "recommend" in result.stdout


def test_no_color_is_obeyed(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.echo", lambda text, err=False: seen.append(text))
    seen: list[str] = []
    monkeypatch.setenv("NO_COLOR", "1")
    cli("nothing")
    monkeypatch.delenv("NO_COLOR")
    cli("nothing")
    assert [("\x1b[" in text) for text in seen] == [False, True]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str) -> None:
    script = [sys.executable, "-c", "from advisor.cli import main; import sys; sys.argv[0] = 'advisor'; main()"]
    environment = {**os.environ, "_ADVISOR_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "advisor rec",
                   "COMP_WORDS": "advisor rec", "COMP_CWORD": "1",
                   "_TYPER_COMPLETE_FISH_ACTION": "get-args"}  # fmt: skip
    found = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert "recommend" in found.stdout, found.stderr
    assert "doctor" not in found.stdout
