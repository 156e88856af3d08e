"""Several advices side by side: one row each, the same columns, nothing that a name could do."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

from advisor.advice import Advice
from advisor.reports.several import several_page, side_by_side
from advisor.testing import made_up_advices
from tests.conftest import Run
from tests.reports.test_html import Page


@pytest.fixture
def two() -> dict[str, Advice]:
    one = made_up_advices.digits()
    other = dataclasses.replace(one, best=dataclasses.replace(one.best, predicted={}), verdict="none", feasible=False)
    return {"before": one, "=after|<b>": other}


def test_each_advice_is_a_row_with_its_verdict_and_numbers(two: dict[str, Advice]) -> None:
    first, second = side_by_side.compared(two)
    best = two["before"].best
    assert first.told[:2] == ("before", two["before"].verdict)
    assert first.numbers["latency"] == best.predicted["latency"]
    assert first.numbers["score"] == best.leakage("score")
    assert set(second.numbers.values()) == {None}
    assert len(side_by_side.cells(first)) == len(side_by_side.heads())
    assert side_by_side.cells(second)[-1] == "not measured"


def test_names_do_nothing_in_a_table_or_a_spreadsheet(two: dict[str, Advice]) -> None:
    table = side_by_side.markdown(two).splitlines()
    assert len(table) == 4
    assert all(line.replace("\\|", "").count("|") == len(side_by_side.heads()) + 1 for line in table)
    assert "<b>" not in table[3]
    rows = [*csv.reader(io.StringIO(side_by_side.comma_separated(two)))]
    assert rows[2][0] == "'=after|<b>"
    head = rows[0].index("latency [s]")
    assert float(rows[1][head]) == two["before"].best.predicted["latency"].value
    assert rows[2][head] == ""
    assert json.loads(json.dumps(side_by_side.plain(two), allow_nan=False))[1]["latency"] is None


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


def test_the_page_has_each_verdict_the_numbers_and_what_differs(two: dict[str, Advice]) -> None:
    page = Page(several_page.render(two))
    assert page.open == []
    assert "2 advices: 1 × split here, 1 × nothing meets the budgets." in page.words
    assert "=after|<b>" in page.words
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "unsafe-eval" not in str(policy)
    assert len([text for kind, text in page.scripts if kind is None]) == 2
    differs, same = several_page.differences(two)
    assert differs == []
    assert dict(same)["device"].startswith("jetson")


def test_a_change_is_told_from_the_first_and_the_best_is_marked() -> None:
    one = made_up_advices.digits()
    faster = dataclasses.replace(one.best, predicted={
        **one.best.predicted, "latency": dataclasses.replace(one.best.predicted["latency"], value=0.01)})  # fmt: skip
    other = dataclasses.replace(one, best=faster, provenance={**one.provenance, "device": {"key": "pi"}})
    text = several_page.render({"a": one, "b": other})
    ratio = 100 * (0.01 / one.best.predicted["latency"].value - 1)
    assert f'<span class="change">{ratio:+.0f}\N{NO-BREAK SPACE}%</span>' in text
    assert text.count('class="num best"') == 1
    differs, _ = several_page.differences({"a": one, "b": other})
    assert [key for key, _ in differs] == ["device"]


def test_without_a_plan_or_numbers_there_is_still_a_page() -> None:
    text = several_page.render({"a": made_up_advices.no_split(), "b": made_up_advices.unmeasured()})
    assert "not measured" in text
    assert Page(text).open == []
