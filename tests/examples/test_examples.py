"""Each example runs, at a small size, and does what it says."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import advisor
from tests.profilers.boards.test_remote import Server, server
from tests.profilers.boards.test_remote import pytestmark as needs_ssh

__all__ = ["server"]

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


@pytest.mark.slow
def test_the_library_recommends_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("02_library.py", "--out", tmp_path / "advice", "--samples", 60, "--epochs", 1, "--trials", 3)
    text = capsys.readouterr().out
    advice = advisor.load_advice(tmp_path / "advice")
    assert advice.headline in text
    assert f"{advice.best_split}: " in text
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


@pytest.mark.slow
def test_own_weights_and_images_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("05_own_data.py", "--out", tmp_path, "--images", 60, "--epochs", 2, "--trials", 2)
    advice = advisor.load_advice(tmp_path)
    assert advice.headline in capsys.readouterr().out
    assert advice.provenance["model"]["kind"] == "state_dict"
    assert "own_model" not in [path.name for path in tmp_path.glob("*.pt")]
    assert advice.provenance["data"]["samples"] == 60


@pytest.mark.slow
@needs_ssh
def test_a_device_is_measured_over_ssh(
    server: Server, tiny_model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        "06_jetson_over_ssh.py", "--model", tiny_model, "--device", server.url(), "--data", tiny_data, "--seconds", 1,
        "--trials", 1, "--out", tmp_path,
    )  # fmt: skip
    assert "The whole model takes" in capsys.readouterr().out
    advice = advisor.load_advice(tmp_path)
    assert advice.profile["edge_latency"].source == "measured"
    assert (tmp_path / "profile.json").exists()


@pytest.mark.slow
def test_a_release_passes_or_fails_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("08_release_gate.py", "--out", tmp_path, "--samples", 60, "--epochs", 3, "--trials", 1)
    text = capsys.readouterr().out
    assert f"Digest: {advisor.load_advice(tmp_path).digest}" in text
    assert "the same architecture, other weights" in text
    assert "attacked again" in text or "the attack that was run again reached" in text
    assert text.splitlines()[-1].startswith("--max-latency: the latency is ")


@pytest.mark.slow
def test_a_text_model_is_attacked_by_its_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("09_text_model.py", "--out", tmp_path, "--steps", 30, "--samples", 60, "--trials", 2)
    text = capsys.readouterr().out
    assert float(text.split("Right: ")[1].split(" %")[0]) > 30  # one in four by chance
    assert "% of ids" in text
    assert advisor.load_advice(tmp_path).best_split is not None


@pytest.mark.slow
def test_a_recommender_takes_inputs_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("10_recommender.py", "--out", tmp_path, "--steps", 60, "--samples", 120, "--trials", 2)
    advice = advisor.load_advice(tmp_path)
    assert advice.headline in capsys.readouterr().out
    assert "ROC-AUC" in advice.best_split.predicted["accuracy"].method
    assert [cut for cut in advice.profile.cuts if len(cut.tensors) == 2]


# ---- what stands in examples/gate ------------------------------------------------------------------------------------


@pytest.fixture
def repository(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> Path:
    """A folder as the two files take it for granted: advice/, weights/."""
    (tmp_path / "weights").mkdir()
    shutil.copy(tiny_model, tmp_path / "weights" / "model.pt2")
    shutil.copy(tiny_data, tmp_path / "weights" / "test.npz")
    given = {"data": tmp_path / "weights" / "test.npz", "trials": 1, "defenses": "none", "verify": "none"}
    advisor.recommend(tmp_path / "weights" / "model.pt2", **given).save(tmp_path / "advice")
    return tmp_path


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-ec", script], cwd=folder, env=known, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_workflow_gates_a_pull_request(repository: Path) -> None:
    (job,) = yaml.safe_load((EXAMPLES / "gate" / "github-actions.yml").read_text())["jobs"].values()
    steps = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    assert job["env"]["ADVICE_DIGEST"] == "${{ vars.ADVICE_DIGEST }}"
    digest, summary = advisor.load_advice(repository / "advice").digest, repository / "step-summary.md"
    fine = shell(steps["Check"], repository, ADVICE_DIGEST=digest)
    assert fine.returncode == 0, fine.stderr
    assert shell(steps["Summary"], repository, GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text().startswith("**✅ The advice holds**")
    edited = repository / "advice" / "advice.json"
    edited.write_text(json.dumps(json.loads(edited.read_text()) | {"headline": "All is well."}))
    refused = shell(steps["Check"], repository, ADVICE_DIGEST=digest)
    assert refused.returncode == 5
    assert "The advice is another one" in (repository / "summary.md").read_text()
    assert shell(steps["Check"], repository, ADVICE_DIGEST="").returncode == 2  # nobody set the variable


@pytest.mark.slow
def test_the_hook_stops_a_commit_that_breaks_the_budget(repository: Path) -> None:
    (place,) = yaml.safe_load((EXAMPLES / "gate" / "pre-commit-config.yaml").read_text())["repos"]
    (hook,) = place["hooks"]
    assert re.search(hook["files"], "weights/model.pt2")
    assert shell(hook["entry"], repository).returncode == 0
    assert shell(hook["entry"].replace("50ms", "1us"), repository).returncode == 5


@pytest.mark.slow
def test_a_defense_is_trained_written_run_and_attacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("07_deploy_a_defense.py", "--out", tmp_path / "halves", "--samples", 240, "--epochs", 2)
    text = capsys.readouterr().out
    assert {"edge.pt2", "cloud.pt2", "edge.py", "wire.py"} <= {path.name for path in (tmp_path / "halves").iterdir()}
    variance, promised = (float(word.strip(",")) for word in text.split("variance ")[1].split()[:2])
    assert variance == pytest.approx(promised, rel=0.1)
    defended, bare = (float(word.strip(",\n")) for word in (text.split("NMSE ")[1].split()[0], text.split()[-1]))
    assert defended > bare
    assert " % undefended" in text


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("[0-9]*.py"))
    assert all(f'"{path.name}"' in tested for path in (EXAMPLES / "gate").iterdir())
