"""What every attack must do, whatever it is after."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from advisor.attack_versions import FIRST
from advisor.defenses import Defense, GaussianNoise
from advisor.errors import AdvisorError
from advisor.estimators.attacks import Attack, AttackContext, Recovered
from advisor.estimators.attacks.runner import AttackResult, attack
from advisor.graph import PartitionGraph
from advisor.testing.small_models import Pair, digits, fixed, trained
from advisor.tracing.tracer import trace

SAMPLES = 60


@dataclasses.dataclass(frozen=True)
class Target:
    """What is attacked: a model, private samples and the name of a cut."""

    graph: PartitionGraph
    x: Any
    cut: str


@functools.cache
def graph(ids: bool) -> PartitionGraph:
    """A classifier of digits, or a recommender of pairs of ids."""
    if ids:
        return trace(fixed(Pair()), (torch.zeros(2).long(), torch.zeros(2).long()))
    return trace(trained(), digits(2)[0])


def small_target(member: Attack) -> Target:
    """One that the attack is after."""
    if member.threat.recovers == "ids":
        draw = torch.Generator().manual_seed(0)
        pair = (torch.randint(30, (SAMPLES,), generator=draw), torch.randint(20, (SAMPLES,), generator=draw))
        return Target(graph(True), pair, "mix")
    return Target(graph(False), digits(SAMPLES)[0], "conv1")


class Wrapped:
    """The attack, seen through what its context holds when it runs."""

    def __init__(self, member: Attack, bare: bool = False) -> None:
        self.member, self.bare, self.held = member, bare, list[AttackContext]()
        self.name, self.about, self.threat, self.verifies = member.name, member.about, member.threat, member.verifies
        self.version = getattr(member, "version", FIRST)

    def run(self, context: AttackContext) -> Recovered:
        """Run it, with every grant taken away where `bare`."""
        self.held.append(context)
        nothing = dataclasses.replace(self.threat, knows=("cut and defense",), has=("nothing",), may=("ask nothing",))
        return self.member.run(dataclasses.replace(context, threat=nothing) if self.bare else context)


@dataclasses.dataclass(frozen=True)
class Spoilt(Defense):
    """Sends NaN."""

    name = "spoilt"

    def apply(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """NaN everywhere."""
        return torch.full_like(z, math.nan)


class AttackContract:
    """Inherit it and give the attack as the fixture `member`."""

    @pytest.fixture
    def member(self) -> Attack:
        """The attack under test."""
        raise NotImplementedError("give the attack as a fixture")

    def target(self, member: Attack) -> Target:
        """What it is tried on; override it for another."""
        return small_target(member)

    def run(self, member: Attack | Wrapped, **options: Any) -> AttackResult:
        """Attack the target."""
        target = self.target(member)
        return attack(target.graph, target.cut, target.x, name=member, **options)

    def test_says_who_the_attacker_is(self, member: Attack) -> None:
        """What it knows, has and may do, in words too."""
        assert "cut and defense" in member.threat.knows
        assert member.threat.has
        assert member.threat.may
        assert member.threat.recovers in ("input", "label", "ids")
        assert all(word in str(member.threat) for word in ("knows", "has", "may"))
        assert len(member.about) > 20
        assert isinstance(member.verifies, bool)

    def test_scores_are_estimates_with_an_interval_or_a_reason(self, member: Attack) -> None:
        """One reconstruction a private sample; what it asked for is a number."""
        found = self.run(member)
        assert found.name == member.name
        assert found.threat == member.threat
        assert found.version == getattr(member, "version", FIRST) >= FIRST
        assert len(found.reconstructions) == len(found.originals) == len(found.rows)
        measured = [e for e in found.scores.values() if math.isfinite(e.value)]
        assert measured
        assert all(e.method for e in found.scores.values() if math.isnan(e.value))
        assert all(e.low - 1e-9 <= e.value <= e.high + 1e-9 for e in measured)
        asked = found.nmse if member.threat.recovers == "input" else found.top1
        assert math.isfinite(asked.value)

    def test_same_seed_same_answer_and_all_is_left_as_found(self, member: Attack) -> None:
        """Weights, gradients and the caller's random state."""
        parameters = list(self.target(member).graph.module.parameters())
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        torch.manual_seed(5)
        state = torch.get_rng_state()
        first = self.run(member, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(3)
        assert torch.equal(first.reconstructions, self.run(member, seed=3).reconstructions)
        for parameter, before in zip(parameters, gradients, strict=True):
            after = parameter.grad
            assert after is before or (after is not None and before is not None and torch.equal(after, before))

    def test_uses_nothing_that_its_threat_model_does_not_grant(self, member: Attack) -> None:
        """With every grant taken away, whatever an attack takes is refused: it takes only what it declared."""
        if member.threat.knows == ("cut and defense",) and member.threat.has == ("nothing",):
            self.run(Wrapped(member, bare=True))
            return
        with pytest.raises(RuntimeError, match="does not grant"):
            self.run(Wrapped(member, bare=True))

    def test_the_context_holds_no_private_sample(self, member: Attack) -> None:
        """The attacker's own samples are others; what is scored is only a shape."""
        spy = Wrapped(member)
        rows = self.run(spy).rows
        own = spy.held[0].auxiliary
        assert spy.held[0].template.shape[0] == 0
        if own is None:
            return
        assert len(own) + len(rows) == SAMPLES
        if member.threat.recovers != "ids":
            private = self.target(member).x[rows].flatten(1)
            assert not any(torch.equal(a, b) for a in own.inputs[0].flatten(1)[:5] for b in private)

    def test_what_fails_is_failed_and_never_private(self, member: Attack) -> None:
        """NaN is received: the attack says that it failed."""
        with pytest.raises(AdvisorError, match=r"attack failed: .*says nothing about privacy"):
            self.run(member, defense=Spoilt())

    def test_runs_through_a_defense_and_averages_repeated_inputs(self, member: Attack) -> None:
        """What is attacked is what is sent."""
        found = self.run(member, defense=GaussianNoise(0.1), repeats=3)
        assert found.repeats == 3
        assert torch.isfinite(found.reconstructions.float()).all()

    def test_progress_never_falls_and_ends_at_one(self, member: Attack) -> None:
        """As the command line shows it."""
        told: list[float] = []
        self.run(member, progress=told.append)
        assert told == sorted(told)
        assert told[0] >= 0
        assert told[-1] == 1

    def test_a_killed_attack_goes_on_to_the_same_answer(self, member: Attack, tmp_path: Path) -> None:
        """Killed half way, twice, and run again with the same folder."""
        told: list[float] = []
        whole = self.run(member, folder=tmp_path / "whole", progress=told.append).reconstructions
        half = told[len(told) // 2]

        def kill(share: float) -> None:
            if share >= half:
                raise KeyboardInterrupt

        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                self.run(member, folder=tmp_path / "killed", progress=kill)
        assert torch.equal(self.run(member, folder=tmp_path / "killed").reconstructions, whole)
