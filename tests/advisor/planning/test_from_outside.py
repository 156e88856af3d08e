"""What a user brings along: an objective, cuts by pattern, a defense by dotted path; from the question to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import advisor
from advisor.defenses import DEFENSES
from advisor.errors import AdvisorError
from tests.conftest import Run

pytestmark = pytest.mark.slow

MINE = """
from dataclasses import dataclass
from typing import ClassVar

from advisor.defenses import Defense
from advisor.defenses.payload.space import Float

@dataclass(frozen=True)
class Shrink(Defense):
    factor: float = 0.5
    name: ClassVar[str] = "mine:Shrink"
    space: ClassVar = {"factor": Float(0.25, 0.75)}

    def apply(self, z, generator=None):
        return z * self.factor

    def restore(self, wire):
        return wire / self.factor
"""


def deepest(plan: advisor.Plan) -> float:
    return -float(plan.cut.index)


def test_an_objective_of_ones_own_decides_and_no_file_holds_it(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, cli: Run
) -> None:
    advice = advisor.recommend(
        tiny_model, data=tiny_data, objective=deepest, require_split=True, min_nmse=0, defenses="none",
        verify="none", effort="quick", out=tmp_path / "out",
    )  # fmt: skip
    inner = advice.profile.cuts[1:-1]
    assert advice.best is not None
    assert advice.best.cut.name == inner[-1].name
    advice.save(tmp_path / "out")
    again = advisor.load_advice(tmp_path / "out")
    assert again.request is not None
    assert again.request.search.objective == "given in Python"
    with pytest.raises(AdvisorError, match="given in Python, which no file holds"):
        advisor.whatif(again)
    found = advisor.whatif(again, objective=deepest)
    assert found.options[0].plan.cut.name == inner[-1].name
    assert advisor.whatif(again, objective="latency").best_in.quantity == "latency"
    ended = cli("recommend", "--from", tmp_path / "out", "--verify", "none")
    assert (ended.exit_code, "which was given in Python" in ended.stderr) == (2, True)


def test_cuts_by_pattern_are_the_only_ones(recommend: Run, tmp_path: Path) -> None:
    assert recommend("--cuts", "2*,3", "--min-nmse", "0", "--require-split", "--out", "out").exit_code == 0
    advice = advisor.load_advice(tmp_path / "out")
    places = {plan.cut.name for plan in (*advice.plans, *advice.tried) if plan.kind == "split"}
    assert places
    assert places <= {"2", "3"}
    found = advisor.whatif(advice, "1..100Mbps")
    assert {option.plan.cut.name for option in found.options} <= {"2", "3"}
    ended = recommend("--cuts", "nowhere*", "--out", "other")
    assert ended.exit_code == 2
    assert "No cut is named 'nowhere*'" in ended.stderr


def test_a_defense_by_dotted_path_is_searched_and_split_with(
    recommend: Run, cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = ("--defenses", "mine:Shrink", "--min-nmse", "0", "--require-split", "--out", "out")
    shown = recommend(*asked)
    assert shown.exit_code == 0, shown.output
    advice = advisor.load_advice(tmp_path / "out")
    own = [plan for plan in (*advice.plans, *advice.tried) if plan.defense.name == "mine:Shrink"]
    assert own
    assert all(0.25 <= plan.defense.parameters["factor"] <= 0.75 for plan in own)
    z = torch.randn(4, 3)
    assert torch.allclose(own[0].defense.restore(own[0].defense.apply(z)), z, atol=1e-6)
    DEFENSES._loaded.pop("mine:Shrink")  # as in another process
    assert advisor.load_advice(tmp_path / "out").absent == ("mine:Shrink",)
    ended = cli("split", "out", "--out", "halves")
    assert (ended.exit_code, "mine:Shrink is not installed here" in ended.stderr) == (2, True)
    again = cli("recommend", "--from", "out", *asked[:-1], "other", "--trials", "2", "--verify", "none")
    assert again.exit_code == 0, again.output


def test_a_file_cannot_bring_a_defense_along(tmp_path: Path, tiny_model: Path, recommend: Run) -> None:
    recommend("--min-nmse", "0", "--require-split", "--defenses", "int8", "--out", "out")
    payload = json.loads((tmp_path / "out" / "advice.json").read_text())
    payload["best"]["defense"] = {"name": "os:system", "parameters": {}}
    (tmp_path / "out" / "advice.json").write_text(json.dumps(payload))
    loaded = advisor.load_advice(tmp_path / "out")
    assert loaded.absent == ("os:system",)
    with pytest.raises(AdvisorError, match="The defense os:system is not installed here"):
        loaded.best.split(tiny_model)
