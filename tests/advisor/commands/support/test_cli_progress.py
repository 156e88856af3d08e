"""Progress: plain lines in a pipe, bars on a terminal, and how long each stage took."""

from __future__ import annotations

import io

import pytest

from advisor.commands.support.stage_progress import STAGES, StageProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_a_stage_where_nobody_watches() -> None:
    stream, now = io.StringIO(), [0.0]
    with StageProgress(stream, lambda: now[0]) as progress:
        for stage in ("load", "cost", "leakage"):
            for share in (0.0, 0.5, 1.0):
                progress(stage, share, "layer1")
            now[0] += 1.5
    assert stream.getvalue().splitlines() == [f"{STAGES[stage]} …" for stage in ("load", "cost", "leakage")]
    assert progress.seconds == {"load": 1.5, "cost": 1.5, "leakage": 1.5}
    assert progress.summary() == "Took 4.5 s: load 1.5 s, cost 1.5 s, leakage 1.5 s."


def test_a_long_stage_says_how_far_it_is_and_how_long_it_will_take() -> None:
    stream, now = io.StringIO(), [0.0]
    with StageProgress(stream, lambda: now[0]) as progress:
        for step in range(101):
            now[0] = step * 2.0
            progress("leakage", step / 100)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"{STAGES['leakage']} …"
    assert lines[1] == f"{STAGES['leakage']}: 10%, about 3 min left"
    assert 9 <= len(lines) <= 10  # a tenth more or less, as real numbers go


def test_a_stage_entered_twice_adds_up_and_an_error_ends_it() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = StageProgress(stream, lambda: now[0])

    def interrupted() -> None:
        with progress:
            for stage in ("load", "cost", "load"):
                progress(stage, 0.0)
                now[0] += 2.0
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
