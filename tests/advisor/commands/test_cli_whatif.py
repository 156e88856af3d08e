"""`advisor whatif`: every format, the exit codes, nothing replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.testing.made_up_advices import resnet
from tests.conftest import Run

ASKED = ("--link", "0.5..200Mbps", "--max-latency", "none", "--min-nmse", "0.3")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "advice.json").write_text(json.dumps(resnet().to_json()))
    return tmp_path / "out"


def test_the_answer_stands_first_and_last(out: Path, cli: Run) -> None:
    shown = cli("whatif", "out", *ASKED, "--portfolio", "2")
    assert shown.exit_code == 0
    lines = shown.stdout.strip().splitlines()
    assert lines[0] == lines[-1] == "The choice changes 2 times with bandwidth: at 23.3 Mbit/s, 25.6 Mbit/s."
    assert "advisor attack out --cut layer2.1/add --defense int8 --name worst" in shown.stdout
    assert "When an edge switches" in shown.stdout


def test_json_has_thresholds_options_and_portfolio(out: Path, cli: Run) -> None:
    found = json.loads(cli("whatif", "out", *ASKED, "--portfolio", "2", "--json").stdout)
    assert [round(at / 1e6, 1) for at in found["thresholds"]] == [23.3, 25.6]
    assert {option["letter"] for option in found["options"]} >= set(found["portfolio"]["letters"])
    assert [option["verified"] for option in found["options"]] == [True, False, False]
    assert found["objective"] == "latency"
    assert found["axes"][0] == {"name": "link", "unit": "bit/s", "low": 5e5, "high": 2e8, "logarithmic": True}


@pytest.mark.parametrize(("name", "begins"), [("w.html", "<!DOCTYPE html>"), ("w.md", "**The choice"), ("w.json", "{")])
def test_the_format_follows_the_files_name_and_no_file_is_replaced(
    out: Path, cli: Run, tmp_path: Path, name: str, begins: str
) -> None:
    assert cli("whatif", "out", *ASKED, "--out", name).exit_code == 0
    assert (tmp_path / name).read_text().startswith(begins)
    again = cli("whatif", "out", *ASKED, "--out", name)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "--link", "1..2Mbps"), "nowhere"),
        (("out", "--link", "2..1Mbps"), "runs backwards"),
        (("out", "--max-latency", "1..2parsec"), "--max-latency: '1parsec' is not a duration"),
        (("out", "--link", "1..2Mbps", "--hysteresis", "much"), "'much' is not a share"),
        (("out", "--link", "trace=none.csv"), "none.csv"),
        (("out", "--format", "png"), "--format 'png' is not known"),
    ],
)
def test_what_is_no_question_is_one_line_and_exit_code_two(
    out: Path, cli: Run, words: tuple[str, ...], message: str
) -> None:
    ended = cli("whatif", *words)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("edit", ["[]", '{"schema_version": "9.0"}', "{", "null"])
def test_a_damaged_advice_is_one_line(cli: Run, tmp_path: Path, edit: str) -> None:
    (tmp_path / "advice.json").write_text(edit)
    ended = cli("whatif", ".", "--link", "1..2Mbps")
    assert ended.exit_code == 2
    assert len(ended.stderr.strip().splitlines()) == 1


STRANGE = ("\x1b[2J", "rtl\u202egnp.exe", "a" * 5000, {"key": 1}, [["x"]], -1.5, 1e308, None)


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("field", ["name", "up", "rtt", "assumed", "trace", "compression"])
def test_an_edited_record_is_refused_or_harmless(cli: Run, tmp_path: Path, field: str, value: object) -> None:
    payload = resnet().to_json()
    payload["provenance"]["link"][field] = value
    (tmp_path / "advice.json").write_text(json.dumps(payload))
    ended = cli("whatif", ".", "--link", "1..2Mbps", "--min-nmse", "0.99")
    assert ended.exit_code in (0, 2), ended.output
    assert "\x1b" not in ended.stderr + ended.stdout
    assert ended.exit_code == 0 or len(ended.stderr.strip().splitlines()) == 1
