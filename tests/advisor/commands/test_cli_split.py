"""`advisor split`: from advice.json to checked halves; bad input ends in one line and leaves nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import advisor
from advisor.cli import app
from advisor.commands import split
from advisor.commands.support.stage_progress import StageProgress
from tests.conftest import Run, samples, tiny_net, tree


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with a model and the advice about it."""
    folder = tmp_path_factory.mktemp("answered")
    shutil.copy(tiny_model, folder / "model.pt")
    np.savez(folder / "data.npz", **samples())
    arguments = ["recommend", folder / "model.pt", "--data", folder / "data.npz", "--trials", 2, "--verify", "none"]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, "--out", folder / "out"]])
    assert result.exit_code in (0, 3), result.output
    return folder


def refuses(result: Any, message: str, folder: Path, before: dict[str, bytes]) -> None:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert re.search(message, lines[0]), lines[0]
    assert result.stdout == ""
    assert tree(folder) == before


def test_split_writes_halves_that_do_what_the_plan_says(answered: Path, cli: Run, tmp_path: Path) -> None:
    result = cli("split", answered / "out" / "advice.json", "--out", "halves", "--json")
    assert result.exit_code == 0, result.output
    payload = json.loads(result.stdout)
    assert payload == json.loads((tmp_path / "halves" / "plan.json").read_text())
    assert payload["check"]["exact"] is True
    plan = advisor.load_advice(answered / "out").best_split
    assert plan is not None
    assert payload["model"]["sha256"] == advisor.load_advice(answered / "out").provenance["model"]["sha256"]
    edge, cloud = (torch.export.load(tmp_path / "halves" / f"{name}.pt2").module() for name in ("edge", "cloud"))
    own_edge, own_cloud = plan.split(tiny_net())
    x = torch.rand(5, 1, 8, 8)
    torch.manual_seed(0)
    noise = payload["noise"]
    drawn = {} if noise is None else {noise["name"]: torch.randn(5, *noise["shape"])}
    found = cloud(edge(x, **drawn))
    torch.manual_seed(0)
    assert torch.equal(found, own_cloud(own_edge(x)))


def test_split_says_what_it_wrote(answered: Path, cli: Run, tmp_path: Path) -> None:
    result = cli("split", answered / "out")
    assert result.exit_code == 0, result.output
    names = ("edge.pt2", "cloud.pt2", "wire.py", "edge.py", "plan.json")
    assert set(tree(tmp_path)) == {f"split/{name}" for name in names}
    assert re.search(r"Cut at .*, defense: ", result.stdout)
    assert "edge to cloud: " in result.stdout
    assert "equal bit for bit" in result.stdout
    assert "The written edge under ka, quick, on " in result.stdout  # by the data that the advice records
    assert "Wrote cloud.pt2, edge.pt2, edge.py, wire.py and plan.json into split." in result.stderr


def changed(folder: Path, to: Path, **changes: Any) -> Path:
    payload = json.loads((folder / "out" / "advice.json").read_text())
    to.write_text(json.dumps(payload | changes))
    return to


def model_record(folder: Path, **changes: Any) -> dict[str, Any]:
    provenance = json.loads((folder / "out" / "advice.json").read_text())["provenance"]
    return provenance | {"model": provenance["model"] | changes}


def test_an_advice_without_a_plan(answered: Path, cli: Run, tmp_path: Path) -> None:
    advice = changed(answered, tmp_path / "advice.json", best=None, best_split=None)
    refuses(cli("split", advice), r"holds no plan to write\. Run `advisor recommend` again", tmp_path, tree(tmp_path))


def test_a_model_that_has_gone(answered: Path, cli: Run, tmp_path: Path) -> None:
    advice = changed(answered, tmp_path / "a.json", provenance=model_record(answered, path="nowhere.pt"))
    before = tree(tmp_path)
    refuses(cli("split", advice), r"no longer at nowhere\.pt\. Name it with --model", tmp_path, before)
    assert cli("split", advice, "--model", answered / "model.pt").exit_code == 0


def test_another_model(answered: Path, cli: Run, tmp_path: Path) -> None:
    program = torch.export.export(tiny_net(), (torch.zeros(3, 1, 8, 8),))
    torch.export.save(program, tmp_path / "other.pt2")
    before = tree(tmp_path)
    result = cli("split", answered / "out", "--model", tmp_path / "other.pt2")
    refuses(result, r"other\.pt2 is not the model of this advice \(another SHA-256\)", tmp_path, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "tflite"), r"no format 'tflite'\. Use pt2 or onnx"),
        (("--model", "missing.pt"), r"There is no file .*missing\.pt"),
        (("--out", "taken"), r"Cannot write taken.*--out"),
        (("--out", "full"), r"full.edge\.pt2 is there already, and is not of an earlier split.*--out"),
    ],
)
def test_bad_options_leave_everything_as_it_was(
    arguments: tuple[str, str], message: str, answered: Path, cli: Run, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "edge.pt2").write_text("mine")
    refuses(cli("split", answered / "out", *arguments), message, tmp_path, tree(tmp_path))


def test_what_is_no_advice(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    refuses(cli("split", "x.json"), r"not an advice file", tmp_path, tree(tmp_path))
    refuses(cli("split", "nowhere.json"), r"no file nowhere\.json", tmp_path, tree(tmp_path))


def test_an_advice_about_torchvision_finds_its_model_by_name(answered: Path, cli: Run, tmp_path: Path) -> None:
    advice = changed(answered, tmp_path / "a.json", provenance=model_record(answered, path=None, sha256="", name=""))
    refuses(cli("split", advice), r"model that was in memory\. Pass its file with --model", tmp_path, tree(tmp_path))
    named = model_record(answered, path=None, sha256="", name="torchvision:resnet99@random")
    advice = changed(answered, tmp_path / "a.json", provenance=named)
    refuses(cli("split", advice), r"resnet99", tmp_path, tree(tmp_path))


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_interrupted_split_leaves_nothing(
    after: int, answered: Path, cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    class Stopping(StageProgress):
        def __call__(self, stage: str, share: float, what: str = "") -> None:
            super().__call__(stage, share, what)
            told.append(stage)
            if len(told) > after:
                raise KeyboardInterrupt

    monkeypatch.setattr(split, "StageProgress", Stopping)
    result = cli("split", answered / "out", "--out", "halves")
    assert result.exit_code == 130, result.output
    assert "Traceback" not in result.output
    assert tree(tmp_path) == {}


def test_what_builds_the_model_is_asked_for_again(cli: Run, tiny_data: Path, tmp_path: Path) -> None:
    torch.save(tiny_net().state_dict(), tmp_path / "w.pt")
    given = ("--data", tiny_data, "--arch", "tests.conftest:tiny_net", "--trials", 2, "--verify", "none")
    assert cli("recommend", "w.pt", *given, "--out", "out").exit_code in (0, 3)
    refused = cli("split", "out", "--out", "halves")
    assert refused.exit_code == 2
    assert "as --arch package.module:factory" in refused.stderr
    result = cli("split", "out", "--out", "halves", "--arch", "tests.conftest:tiny_net")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "halves" / "plan.json").exists()


def test_another_plan_of_the_front_is_picked_by_number_or_cut(answered: Path, cli: Run, tmp_path: Path) -> None:
    advice = advisor.load_advice(answered / "out")
    last = advice.pareto[-1]
    result = cli("split", answered / "out", "--plan", len(advice.pareto), "--out", "by-number", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cuts"] == [last.cut.name]
    result = cli("split", answered / "out", "--cut", last.cut.name, "--out", "by-cut", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cuts"] == [last.cut.name]
    for option, said in ((("--plan", 99), "no plan number 99. It has: 1: "), (("--cut", "nope"), "no plan at 'nope'")):
        refused = cli("split", answered / "out", *option, "--out", "none")
        assert refused.exit_code == 2
        assert said in refused.stderr
