"""A recorded defense whose code is not here: shown as it was recorded, never imported, never run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.advice import Advice, load_advice
from advisor.defenses import AbsentDefense, defense_to_json, recorded_defense
from advisor.errors import AdvisorError
from advisor.testing import made_up_advices
from tests.conftest import Run

OWN = {"name": "mine:Shrink", "parameters": {"factor": 0.25, "mode": "soft"}}
MIXED = {"name": "chain", "parameters": {"members": [OWN, {"name": "int8", "parameters": {}}]}}


@pytest.mark.parametrize(
    ("payload", "shown"), [(OWN, "mine:Shrink(factor=0.25, mode=soft)"),
                           (MIXED, "mine:Shrink(factor=0.25, mode=soft) + int8")],
)  # fmt: skip
def test_it_is_shown_and_written_as_recorded_and_does_nothing_else(payload: dict[str, Any], shown: str) -> None:
    found = recorded_defense(payload)
    assert isinstance(found, AbsentDefense)
    assert str(found) == shown
    assert defense_to_json(found) == payload
    cut = made_up_advices.digits().profile.cuts[3]
    for act in (lambda: found.apply(torch.zeros(2, 3)), lambda: found.message_bytes(cut), lambda: found.misfit(cut)):
        with pytest.raises(AdvisorError, match=r"mine:Shrink is not installed here.*Install the distribu"):
            act()


@pytest.mark.parametrize(
    "payload",
    [
        {"name": "</svg><script>", "parameters": {}},
        {"name": "mine:Shrink", "parameters": {"factor": [1]}},
        {"name": "mine:Shrink", "parameters": {"factor": float("inf")}},
        {"name": "mine:Shrink", "parameters": {"a b": 1}},
        {"name": "gaussian", "parameters": {"volume": 1}},
        {"name": "chain", "parameters": {"members": [MIXED, OWN]}},
        {"name": "mine:Shrink"},
        None,
    ],
)
def test_what_is_no_defense_at_all_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown defense|volume|members"):
        recorded_defense(payload)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An advice whose plan sends through a defense that is not here."""
    payload = made_up_advices.digits().to_json()
    payload["best"]["defense"] = payload["best_split"]["defense"] = payload["pareto"][0]["defense"] = OWN
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "advice.json").write_text(json.dumps(payload))
    return tmp_path / "out"


def test_an_advice_is_read_and_written_with_it(folder: Path) -> None:
    advice = load_advice(folder)
    assert advice.absent == ("mine:Shrink",)
    assert Advice.from_json(advice.to_json()).to_json() == advice.to_json()
    assert dataclasses.replace(advice, best=None).absent == ("mine:Shrink",)


@pytest.mark.parametrize(
    "asked", [("report", "out", "--format", "md"), ("report", "out", "--format", "card"), ("compare", "out", "out"),
              ("report", "out"), ("compare", "out", "--format", "html"), ("whatif", "out", "--link", "1..100Mbps")],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_no_code_works_and_says_so_in_one_line(asked: tuple[str, ...], folder: Path, cli: Run) -> None:
    ended = cli(*asked)
    assert ended.exit_code == 0, ended.stderr
    assert "mine:Shrink" in ended.stdout or asked[0] == "whatif"  # which may choose other plans
    note = "Note: mine:Shrink is not installed here: plans with it are shown as recorded."
    assert [line for line in ended.stderr.splitlines() if "not installed" in line] == [note]


@pytest.mark.parametrize("asked", [("split", "out", "--out", "halves"), ("check", "out", "--max-latency", "1s")])
def test_what_needs_its_code_is_refused_in_one_line(
    asked: tuple[str, ...], folder: Path, cli: Run, tiny_model: Path
) -> None:
    ended = cli(*asked, "--model", tiny_model)
    assert ended.exit_code in (2, 5)
    assert "\n" not in ended.stderr.strip().replace("error:", "").strip() or "Traceback" not in ended.stderr
