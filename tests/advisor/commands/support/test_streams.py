"""Streams that are closed, full or read by nobody; what strangers print; what the system refuses."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from advisor.commands.support import exits
from advisor.commands.support.streams import Quoted

COMMAND = f"exec {sys.executable} -m advisor links"


@pytest.mark.parametrize(
    ("redirection", "codes", "said"),
    [
        (">&-", {0}, ""),
        ("<&- >/dev/null", {0}, ""),
        (">/dev/null 2>&-", {0}, ""),
        (">/dev/null 2>/dev/full", {0}, ""),
        (">/dev/full", {2}, "The answer cannot be written: No space left on device"),
        ("| true", {0, 141}, ""),
    ],
)
def test_streams_that_fail(redirection: str, codes: set[int], said: str) -> None:
    shell = ["bash", "-c", f"set -o pipefail; {COMMAND.removeprefix('exec ')} {redirection}"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert said in done.stderr


def test_what_a_model_prints_is_shown_and_not_obeyed() -> None:
    stream = io.StringIO()
    print("a\x1b[2J\u202eb\tc\r", end="x\n", file=Quoted(stream))  # type: ignore[arg-type]
    assert stream.getvalue() == "a\\x1b[2J\\u202eb\\x09c\nx\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 2, "Out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 2, "Out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), 2, "Out of memory"),
        (FileNotFoundError(2, "No usable temporary directory found", "/tmp"), 2, "The system refuses.*TMPDIR"),
        (OSError(24, "Too many open files", "x"), 2, "The system refuses.*Too many open files"),
        (SystemExit(0), 2, r"The model's code ended the program: sys.exit\(0\)"),
        (ZeroDivisionError("x" * 5_000_000), 1, "This is a bug of advisor: ZeroDivisionError"),
    ],
)
def test_every_refusal_is_one_short_line(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exits, "_saved_traceback", lambda: "")
    with pytest.raises(typer.Exit) as ended, exits.exit_codes():
        raise error
    assert ended.value.exit_code == code
    line = capsys.readouterr().err
    assert re.search(message, line)
    assert line.count("\n") == 1
    assert len(line) < 3000


def test_a_traceback_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: str) -> tuple[int, str]:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exits.tempfile, "mkstemp", full)
    assert exits._saved_traceback() == " (the traceback could not be written: No space left on device)"


def test_a_current_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with exits.exit_codes():
            pytest.fail("it began")

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "error: The current folder is gone. Change into one that is there.\n"
