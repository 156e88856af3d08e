"""Ctrl-C in every stage, a bug in the middle, trust asked for: what is kept, what is said, which code."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch
import typer

import advisor
from advisor.columns import Profile
from advisor.commands import recommend as module
from advisor.commands.support import exits, trust_prompt
from advisor.commands.support.stage_progress import StageProgress
from advisor.files import write_atomically
from advisor.support.interrupts import held
from tests import hostile
from tests.conftest import Run, tiny_net, tree


def stop_in(stage: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Raise once, as soon as some of this stage is done."""
    pending = [error]

    class Stopping(StageProgress):
        def __call__(self, current: str, share: float, what: str = "") -> None:
            super().__call__(current, share, what)
            if current == stage and share > 0 and pending:
                raise pending.pop()

    monkeypatch.setattr(module, "StageProgress", Stopping)


@pytest.mark.parametrize("stage", ["load", "trace", "data", "cost"])
def test_interrupted_before_anything_was_measured(
    stage: str, recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in(stage, monkeypatch)
    result = recommend("--verify", "quick")
    assert result.exit_code == 130, result.output
    assert f"error: Interrupted during {stage}; nothing was written." in result.stderr
    assert result.stdout == ""
    assert tree(tmp_path) == {}


def test_interrupted_during_leakage_keeps_the_costs(
    recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in("leakage", monkeypatch)
    result = recommend()
    assert result.exit_code == 130, result.output
    assert sorted(tree(tmp_path)) == ["out/profile.json"]
    kept = Profile.load(tmp_path / "out" / "profile.json")
    assert kept["latency"].values.shape == (7,)
    assert "--profile takes it" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: Interrupted during leakage; on the disk: out/profile.json."
    monkeypatch.setattr(module, "StageProgress", StageProgress)
    assert recommend("--profile", "out/profile.json").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["search", "verify"])
@pytest.mark.parametrize("form", ["", "--json"])
def test_interrupted_later_gives_the_best_so_far(
    stage: str, form: str, recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in(stage, monkeypatch)
    result = recommend("--verify", "quick", *([form] if form else []))
    assert result.exit_code == 130, result.output
    advice = advisor.load_advice(tmp_path / "out")
    assert advice.provenance["interrupted"] == stage
    assert advice.best_split is not None
    assert sorted(tree(tmp_path)) == ["out/advice.json", "out/report.html"]
    if form:
        shown = json.loads(result.stdout)
        assert shown.pop("answer")["verdict"].startswith(f"Interrupted during {stage}")
        assert shown == json.loads((tmp_path / "out" / "advice.json").read_text())
    else:
        assert advice.best_split.cut.name in result.stdout
    assert f"Interrupted during {stage}: this is the best found until then." in result.stderr


def test_a_bug_is_one_line_and_a_file(recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in("cost", monkeypatch, ZeroDivisionError)
    result = recommend()
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    line = result.stderr.splitlines()[-1]
    saved = re.search(r"error: This is a bug of advisor: ZeroDivisionError\. Please report it with (.*\.txt)\.$", line)
    assert saved, line
    path = Path(saved.group(1))
    assert "ZeroDivisionError" in path.read_text()
    path.unlink()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 2, "Out of memory"),
        (typer.Abort(), 130, "Interrupted"),
        (KeyboardInterrupt(), 130, "Interrupted; nothing was written"),
        (advisor.AdvisorError("It broke\x1b[2J here.", "Do that."), 2, r"It broke\\x1b\[2J here\. Do that\."),
    ],
)
def test_every_end_has_its_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, exits.exit_codes():
        raise error
    assert ended.value.exit_code == code
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_was_seen_to_while_the_answer_was_kept_still_ends_with_its_code(name: str) -> None:
    number = getattr(signal, name)

    def ended_early() -> None:
        with exits.exit_codes():
            with held() as waiting:
                os.kill(os.getpid(), number)
                assert waiting.forget()
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        ended_early()
    assert ended.value.exit_code == 128 + number


@pytest.mark.parametrize("saved", [True, False])
def test_what_lies_on_the_disk_is_said_whenever_a_signal_arrives(
    saved: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the file is put in place, before the command hears of it; an earlier file is not taken for a new one."""
    file = tmp_path / "advice.json"
    write_atomically(file, "earlier")

    def saving() -> None:
        with exits.exit_codes(), exits.noticed(file, tmp_path / "report.html"):
            if saved:
                write_atomically(file, "new")
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit):
        saving()
    told = f"Interrupted; on the disk: {file}." if saved else "Interrupted; nothing was written."
    assert told in capsys.readouterr().err.replace("\n", "")


def test_a_failing_save_still_shows_the_answer(recommend: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from advisor.advice import Advice

    def full(self: Advice, folder: object) -> None:
        raise advisor.AdvisorError("Cannot write: no space left on device.", "Choose another place with --out.")

    monkeypatch.setattr(Advice, "save", full)
    result = recommend()
    assert result.exit_code == 2
    assert "To reproduce" in result.stdout
    assert "no space left" in result.stderr


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 4), ("\n", 4)])
def test_on_a_terminal_the_user_is_asked(
    answer: str, code: int, recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_prompt, "is_terminal", lambda: True)
    torch.save(tiny_net(), tmp_path / "m.pt")
    result = recommend(model="m.pt", answer=answer)
    assert result.exit_code == code, result.output
    question = result.stderr.split("Load it all the same?")[0]
    assert "m.pt: " in question
    assert "import torch.nn" in question
    assert "Load it all the same?" not in result.stdout
    assert bool(tree(tmp_path / "out")) == (code == 0)


def test_trust_is_not_asked_for_when_given(recommend: Run, tmp_path: Path) -> None:
    torch.save(tiny_net(), tmp_path / "m.pt")
    assert recommend(model="m.pt").exit_code == 4
    result = recommend("--trust", model="m.pt")
    assert result.exit_code == 0, result.output
    assert "all the same" not in result.output


@pytest.mark.parametrize("command", ["profile", "leakage", "attack"])
def test_every_command_refuses_a_hostile_file(command: str, cli: Run, tmp_path: Path) -> None:
    torch.save(hostile.Payload(tmp_path / "mark"), tmp_path / "bad.pt")
    before = tree(tmp_path)
    result = cli(command, "bad.pt", *(["--cut", "1"] if command == "attack" else []))
    assert result.exit_code == 4, result.output
    assert tree(tmp_path) == before
