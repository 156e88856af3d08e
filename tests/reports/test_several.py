"""Several advices side by side: one row each, the same columns, nothing that a name could do."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

from advisor.plans import Advice
from advisor.reports import several
from advisor.testing import made_up_advices
from tests.conftest import Run


@pytest.fixture
def two() -> dict[str, Advice]:
    one = made_up_advices.digits()
    other = dataclasses.replace(one, best=dataclasses.replace(one.best, predicted={}), verdict="none", feasible=False)
    return {"before": one, "=after|<b>": other}


def test_each_advice_is_a_row_with_its_verdict_and_numbers(two: dict[str, Advice]) -> None:
    first, second = several.compared(two)
    best = two["before"].best
    assert first.told[:2] == ("before", two["before"].verdict)
    assert first.numbers["latency"] == best.predicted["latency"]
    assert first.numbers["score"] == best.leakage("score")
    assert set(second.numbers.values()) == {None}
    assert len(several.cells(first)) == len(several.heads())
    assert several.cells(second)[-1] == "not measured"


def test_names_do_nothing_in_a_table_or_a_spreadsheet(two: dict[str, Advice]) -> None:
    table = several.markdown(two).splitlines()
    assert len(table) == 4
    assert all(line.replace("\\|", "").count("|") == len(several.heads()) + 1 for line in table)
    assert "<b>" not in table[3]
    rows = [*csv.reader(io.StringIO(several.comma_separated(two)))]
    assert rows[2][0] == "'=after|<b>"
    head = rows[0].index("latency [s]")
    assert float(rows[1][head]) == two["before"].best.predicted["latency"].value
    assert rows[2][head] == ""
    assert json.loads(json.dumps(several.plain(two), allow_nan=False))[1]["latency"] is None


def test_the_command_shows_and_writes_them(two: dict[str, Advice], cli: Run, tmp_path: Path) -> None:
    for name, advice in zip(("a", "b"), two.values(), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "advice.json").write_text(json.dumps(advice.to_json()))
    shown = cli("compare", "a", "b").stdout
    assert "verdict" in shown
    assert "not measured" in shown
    assert [row["advice"] for row in json.loads(cli("compare", "a", "b", "--json").stdout)] == ["a", "b"]
    assert cli("compare", "a", "b", "--format", "md", "--out", "t.md").exit_code == 0
    assert (tmp_path / "t.md").read_text().startswith("| advice | verdict | plan |")
    again = cli("compare", "a", "b", "--format", "md", "--out", "t.md")
    assert (again.exit_code, "t.md exists already" in again.stderr) == (2, True)
    assert cli("compare", "a", "nowhere").exit_code == 2
