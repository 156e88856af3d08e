"""What every attack must do, whatever it is after. One more attack is tested here without a line of test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advisor.attack_versions import CHANGED, version_of
from advisor.estimators.attacks import ATTACKS, Attack, dci, mlp, pmc, shadow
from advisor.estimators.attacks.dip import DeepImagePrior
from advisor.estimators.attacks.ids import IdRecovery
from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support.matching import Descent
from advisor.graph import PartitionGraph
from advisor.support.checkpoint import Checkpoint
from advisor.testing.attack_contract import AttackContract, graph
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, fixed

FEW = (Descent(4, 0.02), Descent(4, 0.02))
CHEAP: dict[str, Attack] = {
    **ATTACKS,
    "rmle": RegularisedMaximumLikelihood(weights=(0.0, 0.1), budgets=FEW),
    "dip": DeepImagePrior(FEW), "ids": IdRecovery(FEW),
}  # fmt: skip
each = pytest.mark.parametrize("member", [CHEAP[name] for name in ATTACKS], ids=list(ATTACKS))


class Bent(nn.Module):
    """Pictures, or embeddings side by side, after an invertible layer and a bend: no closed form takes them back."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.mix, self.out = first, nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = self.mix(self.first(x).flatten(1))
        return self.out(z + 0.3 * torch.tanh(z))


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pmc, mlp, shadow, dci):
        monkeypatch.setitem(module.STEPS, "quick", 4)
    monkeypatch.setitem(dci.SAMPLES, "quick", 16)


def long(member: Attack) -> tuple[PartitionGraph, object, str]:
    """The same where there is no closed form, so that the attack takes steps."""
    if member.name not in ("ids", "unbiased"):
        return graph(False), digits(60)[0], "squeeze"
    draw, words = torch.Generator().manual_seed(0), member.name == "ids"
    x: Tensor = torch.randint(30, (16, 16), generator=draw) if words else digits(16)[0]
    model = trace(fixed(Bent(nn.Embedding(30, 4) if words else nn.Identity())), x[:2])
    return model, x, model.cuts[-2].name


class TestEveryAttack(AttackContract):
    @pytest.fixture(params=list(ATTACKS))
    def member(self, request: pytest.FixtureRequest) -> Attack:
        return CHEAP[request.param]


@each
def test_progress_is_told_step_by_step(member: Attack) -> None:
    told: list[float] = []
    model, x, cut = long(member)
    attack(model, cut, x, name=member, progress=told.append)
    assert len(told) > 2
    assert told == sorted(told)
    assert told[0] >= 0
    assert told[-1] == 1


@pytest.mark.parametrize("name", ["rmle", "dip", "dci"])
def test_progress_does_not_fall_where_samples_are_made_up_first(name: str) -> None:
    first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
    first(torch.rand(50, 1, 8, 8))  # statistics that samples can be moved to
    model = trace(nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval(), torch.rand(2, 1, 8, 8))
    told: list[float] = []
    attack(model, "0.1", digits(12)[0], name=CHEAP[name], progress=told.append)
    assert told == sorted(told)
    assert told[0] < 0.1


@each
def test_a_killed_attack_goes_on_to_the_same_answer_and_does_nothing_twice(
    member: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Path | None] = []
    save = Checkpoint.save

    def counted(self: Checkpoint, state: dict[str, object]) -> None:
        saved.append(self.file)
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", counted)
    model, x, cut = long(member)
    told: list[float] = []
    exact = attack(model, cut, x, name=member, folder=tmp_path / "whole", progress=told.append).reconstructions
    whole, half = len(saved), told[len(told) // 2]
    saved.clear()

    def kill(share: float) -> None:
        if share >= half:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            attack(model, cut, x, name=member, folder=tmp_path / "killed", progress=kill)
    assert 0 < len(saved) < whole
    again = attack(model, cut, x, name=member, folder=tmp_path / "killed")
    assert torch.equal(again.reconstructions, exact)
    assert len(saved) == whole


@pytest.mark.parametrize(("name", "other"), [("mlp", "mlp-sim"), ("mlp", "pmc"), ("rmle", "dip"), ("dip", "dci")])
def test_attacks_of_one_threat_model_keep_what_they_resume_from_apart(name: str, other: str, tmp_path: Path) -> None:
    model, x, cut = long(CHEAP[name])
    assert CHEAP[name].threat == CHEAP[other].threat
    alone = attack(model, cut, x, name=CHEAP[other]).reconstructions
    attack(model, cut, x, name=CHEAP[name], folder=tmp_path)
    again = attack(model, cut, x, name=CHEAP[other], folder=tmp_path)
    assert torch.equal(again.reconstructions, alone)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_is_an_attack_once() -> None:
    assert len({member.name for member in ATTACKS.values()}) == len(ATTACKS)


def test_an_attack_that_was_changed_says_its_version() -> None:
    assert {name: getattr(ATTACKS[name], "version", 1) for name in CHANGED} == {
        name: version_of(name) for name in CHANGED
    }
