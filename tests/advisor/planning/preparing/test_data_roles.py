"""Samples by role over a whole recommendation: who was given what, from which source, and that nobody shares."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.data.roles import Roles, hashes
from advisor.data.samples import LIMIT
from advisor.errors import DataError
from advisor.planning.evaluating import plan_accuracy, plan_attacks
from advisor.planning.preparing import measuring_cuts
from advisor.planning.preparing.data_roles import MADE_UP, MOST_TESTED, trains
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.planning.preparing.preparing_samples import prepare
from advisor.planning.preparing.reuse import still_applies
from advisor.planning.stages import Prepared
from advisor.request import Request
from tests.conftest import SIDE, samples, tiny_net
from tests.conftest import Run as Cli


def pool(count: int, start: int = 0) -> dict[str, np.ndarray]:
    """Images that no other start has, with labels."""
    x = samples(count)["x"] / 2 + start
    return {"x": x.astype(np.float32), "y": np.arange(count) % 10}


def shallow() -> nn.Module:
    with torch.random.fork_rng():
        return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(18, 10)).eval()


def prepared(**options: Any) -> Prepared:
    request = Request.of(model=tiny_net(), **options)
    return prepare(request, trace(request, load(request)))


def disjoint(groups: list[set[bytes]]) -> bool:
    return not any(a & b for a, b in combinations(groups, 2))


def by_start(roles: Roles) -> dict[str, set[int]]:
    return {role: set(found.x.amin((1, 2, 3)).floor().int().tolist()) for role, found in roles.samples.items()}


@pytest.mark.parametrize(
    ("defenses", "expected"),
    [("free", False), ("none", False), ("gaussian,int8", False), ("trained", True), ("all", True), ("ridge", True),
     ("int8, refil", True)],
)  # fmt: skip
def test_a_defense_that_is_fitted_is_known_by_its_name(defenses: str, expected: bool) -> None:
    assert trains(defenses) == expected


def test_no_sample_plays_two_roles_over_a_whole_recommendation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor that study, accuracy and attack were given, told by its bytes; each image is there three times."""
    x, y = (torch.from_numpy(part) for part in pool(50).values())
    x, y = x.repeat(3, 1, 1, 1), y.repeat(3)
    seen: dict[str, set[bytes]] = {"learnt from": set(), "attacked": set(), "judged": set()}
    study, attack, scores = measuring_cuts.study, plan_attacks.attack, plan_accuracy.first_scores

    def spied_study(graph: Any, private: Tensor, labels: Any, aux: Tensor, *rest: Any, **options: Any) -> Any:
        seen["attacked"].update(hashes([private]))
        seen["learnt from"].update(hashes([aux]))
        return study(graph, private, labels, aux, *rest, **options)

    def spied_attack(graph: Any, cut: Any, private: Tensor, aux: Tensor, **options: Any) -> Any:
        seen["attacked"].update(hashes([private]))
        seen["learnt from"].update(hashes([aux]))
        return attack(graph, cut, private, aux, **options)

    def spied_scores(graph: Any, inputs: tuple[Tensor, ...]) -> Any:
        seen["judged"].update(hashes(inputs))
        return scores(graph, inputs)

    monkeypatch.setattr(measuring_cuts, "study", spied_study)
    monkeypatch.setattr(plan_attacks, "attack", spied_attack)
    monkeypatch.setattr(plan_accuracy, "first_scores", spied_scores)
    advice = advisor.recommend(shallow(), data=(x, y), trials=1, defenses="gaussian", require_split=True)
    assert all(seen.values())
    assert disjoint(list(seen.values()))
    assert sum(len(group) for group in seen.values()) == 50
    assert advice.best is not None
    assert advice.best.verified
    assert "100 of 150 samples repeat another; equal samples share a role." in advice.assumptions
    recorded = advisor.advice.Advice.from_json(advice.to_json()).provenance["roles"]
    assert list(recorded) == ["validation", "attacker", "private"]
    assert sum(row["samples"] for row in recorded.values()) == 150
    said = ", ".join(f"{role} {row['samples']}" for role, row in recorded.items())
    assert f"Samples by role: {said}; none plays two." in advice.assumptions


def test_where_a_defense_is_trained_samples_are_set_apart_for_it() -> None:
    found = prepared(data=tuple(pool(400).values()), defenses="ridge").roles
    shares = {role: len(part) / 400 for role, part in found.samples.items()}
    assert shares == pytest.approx({"training": 0.4, "validation": 0.15, "attacker": 0.3, "private": 0.15}, abs=0.08)
    assert "training" not in prepared(data=tuple(pool(400).values())).roles


@pytest.fixture(scope="module")
def both_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a training part (values from 1 on) and a test part (from 0 on)."""
    path = tmp_path_factory.mktemp("parts") / "both.npz"
    test, train = pool(60), pool(80, 1)
    np.savez(path, x_train=train["x"], y_train=train["y"], x_test=test["x"], y_test=test["y"])
    return path


def test_of_a_file_with_both_parts_data_takes_the_test_part_and_the_others_the_training_part(both_parts: Path) -> None:
    alone = by_start(prepared(data=both_parts).roles)
    assert alone == {"validation": {0}, "attacker": {0}, "private": {0}}
    aux = prepared(data=both_parts, aux=both_parts).roles
    assert by_start(aux) == {"validation": {0}, "attacker": {1}, "private": {0}, "test": {0}}
    assert len(aux["attacker"]) == 80
    trained = prepared(data=both_parts, train_data=both_parts, defenses="ridge").roles
    assert by_start(trained) == {"training": {1}, "validation": {0}, "attacker": {0}, "private": {0}}
    one = prepared(data=both_parts, train_data=both_parts, aux=both_parts, defenses="ridge").roles
    assert by_start(one) == {"training": {1}, "validation": {0}, "attacker": {1}, "private": {0}, "test": {0}}
    assert len(one["training"]) + len(one["attacker"]) == 80  # one source for both is divided
    assert disjoint([set(hashes(part)) for part in one.samples.values()])


def test_a_sample_that_two_sources_hold_plays_the_first_role_alone() -> None:
    data, own = pool(40), pool(20, 1)
    both = np.concatenate([own["x"], data["x"]]), np.concatenate([own["y"], data["y"]])
    with pytest.raises(DataError, match="All but 0 of the private samples play an earlier role too"):
        prepared(data=tuple(data.values()), aux=both)
    some = both[0][:25], both[1][:25]
    found = prepared(data=tuple(data.values()), aux=some)
    assert len(found.roles["attacker"]) + sum(len(found.roles[r]) for r in ("validation", "private", "test")) == 60
    assert any("play an earlier role too" in note for note in found.notes)


def test_a_second_source_is_fitted_to_the_model_and_judged_alike() -> None:
    data, own = pool(40), pool(30)
    bytes_last = (np.moveaxis(own["x"] * 255, 1, 3)).astype(np.uint8)
    found = prepared(data=tuple(data.values()), aux=(bytes_last, own["y"][:, None].astype(float)), task="classes").roles
    assert found["attacker"].x.shape[1:] == (1, SIDE, SIDE)
    assert float(found["attacker"].x.max()) <= 1
    assert found["attacker"].labels is not None
    with pytest.raises(DataError, match="the model takes"):
        prepared(data=tuple(data.values()), aux=(np.zeros((20, 1, 9, 9), np.float32), None))


def test_an_attacker_may_make_its_samples_up() -> None:
    found = prepared(data=tuple(pool(40).values()), aux="synthetic").roles
    assert len(found["attacker"]) == MADE_UP
    assert "synthetic" in found["attacker"].description
    assert "test" in found


def test_samples_beyond_those_that_are_divided_are_the_test_part() -> None:
    x = torch.rand(LIMIT + 400, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found = prepared(data=(x, None)).roles
    assert sum(len(found[role]) for role in ("validation", "attacker", "private")) == LIMIT
    assert len(found["test"]) == 400 <= MOST_TESTED
    few = prepared(data=(x[: LIMIT + 50], None)).roles
    assert "test" not in few


def test_too_few_samples_say_how_many_are_needed() -> None:
    with pytest.raises(DataError, match=r"only 5 different sample\(s\); validation, attacker and private need 6, 2"):
        prepared(data=tuple(pool(5).values()))
    assert [len(part) for part in prepared(data=tuple(pool(6).values())).roles.samples.values()] == [2, 2, 2]


@pytest.mark.slow
def test_what_the_attacker_learnt_from_is_taken_from_an_advice_only_with_its_hash(
    cli: Cli, tiny_model: Path, both_parts: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, **pool(40, 1))
    options = ("--trials", 1, "--verify", "none", "--defenses", "none", "--no-config")
    first = cli("recommend", tiny_model, "--data", both_parts, "--aux", own, *options)
    assert first.exit_code == 0, first.output
    assert f"--aux {own}" in advisor.load_advice(tmp_path / "out").provenance["command"]
    again = cli("recommend", "--from", "out", "--out", "second", *options)
    assert again.exit_code == 0, again.output
    assert f"aux from {own}, as the advice records" in again.output
    roles = [advisor.load_advice(tmp_path / place).provenance["roles"] for place in ("out", "second")]
    assert roles[0] == roles[1]
    assert "Leakage was taken from the earlier advice" in " ".join(advisor.load_advice(tmp_path / "second").assumptions)
    np.savez(own, **pool(41, 1))
    changed = cli("recommend", "--from", "out", "--out", "third", *options)
    assert changed.exit_code == 2
    assert f"{own} is not what the advice was made from (another SHA-256). Name it with --aux." in changed.output
    other = Request.of(model=tiny_model, data=both_parts)
    inputs = load(other, earlier=advisor.load_advice(tmp_path / "out"))
    found = still_applies(prepare(other, trace(other, inputs)), 0, taken=True)
    assert found == (None, ["Only costs were taken from the earlier advice: it has another data."])
