"""`recommend --from`: the same question with other budgets, without measuring again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import advisor
from tests.conftest import Run, samples, tiny_net, tree

TAKEN = "Leakage was taken from the earlier advice: same model, data, seed and cuts."
COSTS = "Costs were taken from the earlier advice: same model, cuts, device, link and cloud."


def test_other_budgets_take_what_was_measured(recommend: Run, cli: Run, tmp_path: Path) -> None:
    assert recommend("--max-accuracy-drop", "5%", "--seed", 2, "--out", "first").exit_code == 0
    first = advisor.load_advice(tmp_path / "first")
    result = cli("recommend", "--from", "first", "--max-latency", "1us", "--trials", 3, "--out", "second")
    assert result.exit_code == 3, result.output
    second = advisor.load_advice(tmp_path / "second")
    assert TAKEN in second.assumptions
    assert COSTS in second.assumptions
    assert not {TAKEN, COSTS} & set(first.assumptions)
    assert (second.budgets.max_latency, second.budgets.max_accuracy_drop) == (1e-6, 0.05)
    ours, theirs = second.profile.to_json()["columns"], first.profile.to_json()["columns"]
    assert ours == theirs
    assert second.zone == first.zone
    assert second.gallery == first.gallery
    assert second.noise == first.noise
    words = second.provenance["command"].split()
    assert "--from" not in words
    assert words[words.index("--max-latency") + 1] == "1e-06s"


@pytest.mark.slow
def test_the_same_question_has_the_same_answer(recommend: Run, cli: Run, tmp_path: Path) -> None:
    assert recommend("--max-accuracy-drop", "5%", "--out", "first").exit_code == 0
    assert cli("recommend", "--from", "first", "--out", "second").exit_code == 0
    first, second = (advisor.load_advice(tmp_path / name) for name in ("first", "second"))
    assert str(second.best) == str(first.best)
    assert [str(plan) for plan in second.pareto] == [str(plan) for plan in first.pareto]


@pytest.mark.slow
def test_what_no_longer_applies_is_measured_again(recommend: Run, cli: Run, tmp_path: Path) -> None:
    assert recommend("--trials", 2, "--out", "first").exit_code == 0
    result = cli("recommend", "--from", "first", "--seed", 5, "--out", "second")
    assert result.exit_code == 0, result.output
    second = advisor.load_advice(tmp_path / "second")
    assert "Only costs were taken from the earlier advice: it has another seed." in second.assumptions
    assert COSTS in second.assumptions
    assert TAKEN not in second.assumptions


@pytest.mark.slow
def test_a_model_that_moved_is_named_and_another_refused(
    recommend: Run, cli: Run, tiny_model: Path, tmp_path: Path
) -> None:
    assert recommend("--trials", 2, "--out", "first").exit_code == 0
    before = tree(tmp_path)
    (tmp_path / "other.pt2").write_bytes(tiny_model.read_bytes() + b"\0")
    refused = cli("recommend", "--from", "first", "--model", "other.pt2", "--out", "second")
    assert refused.exit_code == 2
    assert "is not the model of this advice" in refused.stderr
    assert set(tree(tmp_path)) - set(before) == {"other.pt2"}
    shutil.copy(tiny_model, tmp_path / "moved.pt2")
    result = cli("recommend", "--from", "first", "--model", "moved.pt2", "--out", "second")
    assert result.exit_code == 0, result.output
    assert TAKEN in advisor.load_advice(tmp_path / "second").assumptions


@pytest.mark.parametrize("again", [("recommend", "--from", "first"), ("attack", "first")])
def test_a_file_grants_no_trust(again: tuple[str, ...], recommend: Run, cli: Run, tmp_path: Path) -> None:
    torch.save(tiny_net(), tmp_path / "m.pt")
    assert recommend("--trust", "--trials", 2, "--out", "first", model="m.pt").exit_code == 0
    assert "--trust" in advisor.load_advice(tmp_path / "first").provenance["command"]
    assert cli(*again).exit_code == 4
    assert cli(*again, "--trust").exit_code == 0


def test_what_was_given_in_python_is_named_again(cli: Run, tiny_model: Path, tiny_data: Path) -> None:
    x, y = (torch.from_numpy(part) for part in samples().values())
    advisor.recommend(tiny_net(), data=(x, y), trials=2, verify="none").save("first")
    refused = cli("recommend", "--from", "first", "--out", "second")
    assert refused.exit_code == 2
    assert "This advice does not say where its model is. Name it with --model." in refused.stderr
    refused = cli("recommend", tiny_model, "--from", "first", "--out", "second")
    assert refused.exit_code == 2
    assert "The data of this advice were given in Python. Name them with --data." in refused.stderr
    again = cli("recommend", tiny_model, "--data", tiny_data, "--from", "first", "--out", "second")
    assert again.exit_code == 0, again.output
    assert TAKEN in advisor.load_advice("second").assumptions  # the file has the digest of the module in memory


def test_advice_of_the_library_about_files_is_repeated(cli: Run, tiny_model: Path, tiny_data: Path) -> None:
    advisor.recommend(tiny_model, data=tiny_data, trials=2, verify="none").save("first")
    again = cli("recommend", "--from", "first", "--out", "second")
    assert again.exit_code == 0, again.output
    assert f"Note: model {tiny_model}, as the advice records." in again.stderr
    assert f"Note: data from {tiny_data}, as the advice records." in again.stderr
    assert TAKEN in advisor.load_advice("second").assumptions


def test_what_is_missing_or_named_twice_is_said(recommend: Run, cli: Run, tmp_path: Path) -> None:
    nothing = cli("recommend")
    assert nothing.exit_code == 2
    assert "There is no MODEL to recommend for. Name it, or --from the folder of earlier advice." in nothing.stderr
    absent = cli("recommend", "--from", "nowhere")
    assert absent.exit_code == 2
    assert "There is no file" in absent.stderr
    twice = recommend("--model", "x.pt2")
    assert twice.exit_code == 2
    assert "Both MODEL and --model name the model." in twice.stderr
