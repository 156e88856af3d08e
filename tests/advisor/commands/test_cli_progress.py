"""Progress: plain lines in a pipe, bars on a terminal, and how long each stage took."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from advisor.commands.progress import STAGES, StageProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def test_one_line_a_stage_where_nobody_watches() -> None:
    stream, clock = io.StringIO(), ticking(1.5)
    with StageProgress(stream, lambda: next(clock)) as progress:
        for stage in ("load", "cost", "leakage"):
            for share in (0.0, 0.5, 1.0):
                progress(stage, share, "layer1")
    assert stream.getvalue().splitlines() == [f"{STAGES[stage]} …" for stage in ("load", "cost", "leakage")]
    assert progress.seconds == {"load": 1.5, "cost": 1.5, "leakage": 1.5}
    assert progress.summary() == "Took 4.5 s: load 1.5 s, cost 1.5 s, leakage 1.5 s."


def test_a_stage_entered_twice_adds_up_and_an_error_ends_it() -> None:
    stream, clock = io.StringIO(), ticking(2.0)
    progress = StageProgress(stream, lambda: next(clock))

    def interrupted() -> None:
        with progress:
            for stage in ("load", "cost", "load"):
                progress(stage, 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert progress.seconds == {"load": 4.0, "cost": 2.0}
    assert len(stream.getvalue().splitlines()) == 2


def test_nothing_done_is_nothing_said() -> None:
    with StageProgress(io.StringIO()) as progress:
        pass
    assert progress.summary() == ""


def test_bars_on_a_terminal_and_no_markup_from_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with StageProgress(stream) as progress:
        progress("load", 1.0, "")
        progress("leakage", 0.25, "[bold]evil\x1b[2J")
        with progress.paused():
            stream.write("a question\n")
        progress("leakage", 2.0, "last")
    text = stream.getvalue()
    assert STAGES["load"] in text
    assert STAGES["leakage"] in text
    assert "25%" in text
    assert "100%" in text
    assert "[bold]evil\\x1b[2J" in text
    assert "a question" in text
