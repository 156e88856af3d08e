"""Each example runs, at a small size, and does what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

import advisor

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: object) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"]([str(argument) for argument in arguments])


def test_digits_cnn_saves_a_program_that_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "model.pt"
    run("01_digits_cnn.py", "--out", path, "--epochs", 3)
    share = float(capsys.readouterr().out.split(": ")[1].split(" %")[0])
    assert share > 85  # one in ten by chance
    graph = advisor.trace(path)
    assert "stage2.relu" in [cut.name for cut in graph.cuts]
    (x,) = graph.flat(torch.rand(5, 1, 8, 8))
    assert torch.as_tensor(graph.run((x,))[0]).shape == (5, 10)


def test_the_library_recommends_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("02_library.py", "--out", tmp_path / "advice", "--samples", 60, "--epochs", 1, "--trials", 3)
    text = capsys.readouterr().out
    advice = advisor.load_advice(tmp_path / "advice")
    assert advice.headline in text
    assert f"{advice.best}: " in text
    assert (tmp_path / "advice" / "report.html").exists()


def test_an_added_estimator_measures_every_cut(capsys: pytest.CaptureFixture[str]) -> None:
    run("03_add_an_estimator.py", "--samples", 40)
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == ["input", "0", "1", "2", "3", "output"]
    assert float(rows["input"].split()[0]) > 0.95  # the input keeps its own neighbours


@pytest.mark.slow
def test_the_score_is_held_against_attacks_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "04_which_score_predicts_the_attack.py"
    arguments = ("--nets", "mlp-cells", "--noises", 0, "--steps", 30, "--out", tmp_path)
    run(name, *arguments)
    first = capsys.readouterr().out
    assert "mlp-cells layer1.1 noise 0.0: NMSE" in first
    assert "4 attacks on 1 networks" in first
    lines = {line.split()[0]: line.split()[1:] for line in first.splitlines() if line and not line.startswith("mlp")}
    assert float(lines["score"][0]) > 0.7  # narrowing layers: deeper is more private
    assert {"cut", "D/d", "linear_nmse", "ka_nmse", "spectrum_bound"} <= set(lines)
    run(name, *arguments)
    assert "NMSE 0" not in capsys.readouterr().out  # nothing is attacked twice


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("[0-9]*.py"))
