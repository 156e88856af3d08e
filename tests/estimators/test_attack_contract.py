"""What every attack must do, whatever it is after. One more attack is tested here without a line of test."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advisor.checkpoint import Checkpoint
from advisor.defenses import Defense, GaussianNoise
from advisor.errors import AdvisorError
from advisor.estimators.attacks import ATTACKS, Attack, dci, mlp, pmc, shadow
from advisor.estimators.attacks.base import AttackContext, Recovered
from advisor.estimators.attacks.dip import DeepImagePrior
from advisor.estimators.attacks.ids import IdRecovery
from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.runner import AttackResult, attack
from advisor.estimators.attacks.support.matching import Descent
from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, fixed, trained

FEW = (Descent(4, 0.02), Descent(4, 0.02))
CHEAP: dict[str, Attack] = {
    **ATTACKS,
    "rmle": RegularisedMaximumLikelihood(weights=(0.0, 0.1), budgets=FEW),
    "dip": DeepImagePrior(FEW), "ids": IdRecovery(FEW),
}  # fmt: skip
each = pytest.mark.parametrize("member", [CHEAP[name] for name in ATTACKS], ids=list(ATTACKS))


class Pair(nn.Module):
    """A recommender: user and item embeddings, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, 6), nn.Embedding(20, 6)
        self.mix, self.out = nn.Linear(12, 16), nn.Linear(16, 2)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.out(torch.relu(self.mix(torch.cat([self.user(user), self.item(item)], 1))))


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


@functools.cache
def graph(ids: bool) -> PartitionGraph:
    if ids:
        return trace(fixed(Pair()), (torch.zeros(2).long(), torch.zeros(2).long()))
    return trace(trained(), digits(2)[0])


def private(member: Attack, n: int = 60) -> tuple[PartitionGraph, object, str]:
    """A model, samples and a cut that this attack is after."""
    if member.threat.recovers == "ids":
        draw = torch.Generator().manual_seed(0)
        pair = (torch.randint(30, (n,), generator=draw), torch.randint(20, (n,), generator=draw))
        return graph(True), pair, "mix"
    return graph(False), digits(n)[0], "conv1"


def long(member: Attack) -> tuple[PartitionGraph, object, str]:
    """The same where there is no closed form, so that the attack takes steps."""
    if member.name not in ("ids", "unbiased"):
        return graph(False), digits(60)[0], "squeeze"
    draw, words = torch.Generator().manual_seed(0), member.name == "ids"
    x: Tensor = torch.randint(30, (16, 16), generator=draw) if words else digits(16)[0]
    model = trace(fixed(Bent(nn.Embedding(30, 4) if words else nn.Identity())), x[:2])
    return model, x, model.cuts[-2].name


def run(member: Attack, **options: object) -> AttackResult:
    model, x, cut = private(member)
    return attack(model, cut, x, name=member, **options)  # type: ignore[arg-type]


def answer(found: AttackResult) -> Tensor:
    return found.reconstructions


@each
def test_says_who_the_attacker_is(member: Attack) -> None:
    assert "cut and defense" in member.threat.knows
    assert member.threat.has
    assert member.threat.may
    assert member.threat.recovers in ("input", "label", "ids")
    assert all(word in str(member.threat) for word in ("knows", "has", "may"))
    assert len(member.about) > 20
    assert ATTACKS[member.name].name == member.name


@each
def test_scores_are_estimates_with_an_interval_or_a_reason(member: Attack) -> None:
    found = run(member)
    assert found.name == member.name
    assert found.threat == member.threat
    assert len(found.reconstructions) == len(found.originals) == len(found.rows)
    measured = [e for e in found.scores.values() if math.isfinite(e.value)]
    assert measured
    assert all(e.method for e in found.scores.values() if math.isnan(e.value))
    assert all(e.low - 1e-9 <= e.value <= e.high + 1e-9 for e in measured)
    asked = found.nmse if member.threat.recovers == "input" else found.top1
    assert math.isfinite(asked.value)


@each
def test_same_seed_same_answer_and_all_is_left_as_found(member: Attack) -> None:
    parameters = list(graph(member.threat.recovers == "ids").module.parameters())
    gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = run(member, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(answer(first), answer(run(member, seed=3)))
    for parameter, before in zip(parameters, gradients, strict=True):
        assert parameter.grad is before or torch.equal(parameter.grad, before)


@each
def test_uses_nothing_that_its_threat_model_does_not_grant(member: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every grant taken away, whatever an attack takes is refused: it takes only what it declared."""
    model, x, cut = private(member)
    bare = dataclasses.replace(member.threat, knows=("cut and defense",), has=("nothing",), may=("ask nothing",))

    class Stripped:
        name, about, threat = member.name, member.about, member.threat

        def run(self, context: AttackContext) -> Recovered:
            return member.run(dataclasses.replace(context, threat=bare))

    with pytest.raises(RuntimeError, match="does not grant"):
        attack(model, cut, x, name=Stripped())


@each
def test_the_scene_holds_no_private_sample(member: Attack) -> None:
    model, x, cut = private(member)
    held: list[AttackContext] = []

    class Spy:
        name, about, threat = member.name, member.about, member.threat

        def run(self, context: AttackContext) -> Recovered:
            held.append(context)
            return member.run(context)

    attack(model, cut, x, name=Spy())
    own = held[0].auxiliary
    assert held[0].template.shape[0] == 0
    if own is not None:
        flat = own.inputs[0].flatten(1) if own.inputs[0].dim() > 1 else own.inputs[0][:, None]
        rows = attack(model, cut, x, name=Spy()).rows
        assert len(own) + len(rows) == 60
        assert member.threat.recovers == "ids" or not any(
            torch.equal(a, b) for a in flat[:5] for b in digits(60)[0][rows].flatten(1)
        )


@dataclasses.dataclass(frozen=True)
class Spoilt(Defense):
    """Sends NaN."""

    name = "spoilt"

    def apply(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.full_like(z, math.nan)


@each
def test_what_fails_is_failed_and_never_private(member: Attack) -> None:
    with pytest.raises(AdvisorError, match=r"attack failed: .*says nothing about privacy"):
        run(member, defense=Spoilt())


@each
def test_runs_through_a_defense_and_averages_repeated_inputs(member: Attack) -> None:
    found = run(member, defense=GaussianNoise(0.1), repeats=3)
    assert found.repeats == 3
    assert torch.isfinite(answer(found).float()).all()


@each
def test_progress_never_falls_and_ends_at_one(member: Attack) -> None:
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
    exact = answer(attack(model, cut, x, name=member, folder=tmp_path / "whole", progress=told.append))
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
    assert torch.equal(answer(again), exact)
    assert len(saved) == whole


@pytest.mark.parametrize(("name", "other"), [("mlp", "mlp-sim"), ("mlp", "pmc"), ("rmle", "dip"), ("dip", "dci")])
def test_attacks_of_one_threat_model_keep_what_they_resume_from_apart(name: str, other: str, tmp_path: Path) -> None:
    model, x, cut = long(CHEAP[name])
    assert CHEAP[name].threat == CHEAP[other].threat
    alone = answer(attack(model, cut, x, name=CHEAP[other]))
    attack(model, cut, x, name=CHEAP[name], folder=tmp_path)
    assert torch.equal(answer(attack(model, cut, x, name=CHEAP[other], folder=tmp_path)), alone)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_is_an_attack_once() -> None:
    assert len({member.name for member in ATTACKS.values()}) == len(ATTACKS)
