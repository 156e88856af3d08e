"""The fuzzer itself: what it calls a hang, a crash, a traceback, and a clean refusal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from tests.fuzzing import Target, findings


def endless(_: Path) -> None:
    while True:
        pass


def crashes(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def traces_back(_: Path) -> None:
    raise ZeroDivisionError("by zero")


def refuses(_: Path) -> None:
    raise AdvisorError("This is no file.", "Pass another.")


@pytest.mark.parametrize(
    ("load", "found"),
    [(endless, "hang"), (crashes, "crash: SIGSEGV"), (traces_back, "ZeroDivisionError"), (refuses, "")],
)
def test_how_a_load_ended_is_told(load: Callable[[Path], None], found: str, tmp_path: Path) -> None:
    told = findings(Target("made up", b"honest", load), 2, tmp_path, seconds=1)
    assert [(name.startswith(found), times) for name, times in told.items()] == ([(True, 2)] if found else [])
