"""Attacks on several cuts: one forward pass for all of them, and each answer that of an attack of its own."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor

import advisor
from advisor.defenses import Defense, GaussianNoise, Quantize8
from advisor.errors import AdvisorError, CutError
from advisor.estimators.attacks import runner as attacking
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.runner import attack, attack_cuts
from advisor.estimators.attacks.support.channel import Channel
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, trained

CUTS = ("output", 1, "relu", "squeeze")


@functools.cache
def graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


class Reader:
    """Gives what it received of its own and of the private samples, as it came."""

    name, about = "reader", "hands back the numbers that crossed"
    threat = ThreatModel(("cut and defense",), ("auxiliary inputs",), ("query the edge",))

    def __init__(self) -> None:
        self.seen: dict[str, tuple[Tensor, ...]] = {}

    def run(self, context: AttackContext) -> Recovered:
        self.seen[context.cut.name] = (*context.query(context.known.inputs), *context.sent)
        return Recovered(inputs=context.known.pixels.mean(0).expand(len(context), *context.template.shape[1:]))


@pytest.mark.parametrize("defense", [None, Quantize8(), GaussianNoise(0.3)])
def test_what_is_handed_out_on_one_walk_is_bit_for_bit_that_of_a_pass_of_its_own(defense: Defense | None) -> None:
    x, alone, together = digits(90)[0], Reader(), Reader()
    for cut in CUTS:
        attack(graph(), cut, x, name=alone, defense=defense)
    found = list(attack_cuts(graph(), CUTS, x, name=together, defense=defense))
    assert [cut.index for cut, _ in found] == sorted(graph().cut(c).index for c in CUTS)
    assert alone.seen.keys() == together.seen.keys()
    for name, tensors in alone.seen.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, together.seen[name], strict=True))


@pytest.mark.parametrize("limit", [2**30, 0])
def test_every_operation_runs_once_for_all_cuts_unless_nothing_may_be_kept(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, int]] = []
    piece = PartitionGraph.piece

    def counted(self: PartitionGraph, stop: int, start: int | None = None) -> object:
        ran.append((start or 0, stop))
        return piece(self, stop, start)

    monkeypatch.setattr(PartitionGraph, "piece", counted)
    monkeypatch.setattr(attacking, "WALK_BYTES", limit)
    last = len(graph().cuts) - 1
    list(attack_cuts(graph(), (1, 3, 4), digits(70)[0], name=Reader()))
    walked = [stretch for stretch in ran if stretch[1] != last]  # whole passes: re-identification
    if limit:
        assert walked == [stretch for stretch in ((0, 1), (1, 3), (3, 4)) for _ in range(2)]
    else:
        assert {start for start, _ in walked} == {0}
    assert (0, last) in ran


def test_an_attack_that_fails_at_one_cut_is_said_there_and_the_others_go_on() -> None:
    class Picky(Reader):
        def run(self, context: AttackContext) -> Recovered:
            found = super().run(context)
            bad = context.cut.name == "squeeze"
            return Recovered(inputs=torch.full_like(found.inputs, math.inf) if bad else found.inputs)  # type: ignore[arg-type]

    found = {cut.name: result for cut, result in attack_cuts(graph(), CUTS, digits(60)[0], name=Picky())}
    assert isinstance(found["squeeze"], AdvisorError)
    assert "says nothing about privacy" in str(found["squeeze"])
    assert all(isinstance(result, AttackResult) for name, result in found.items() if name != "squeeze")
    with pytest.raises(CutError, match="nowhere"):
        list(attack_cuts(graph(), ("nowhere",), digits(60)[0]))


def test_progress_names_the_cut() -> None:
    told: list[tuple[str, float]] = []
    wanted = (1, "squeeze")
    results = advisor.attack_cuts(
        graph(), wanted, digits(80)[0], progress=lambda cut, share: told.append((cut.name, share))
    )
    names = [cut.name for cut, _ in results]
    assert {name for name, _ in told} <= set(names)
    assert all(0 <= share <= 1 for _, share in told)


def test_the_cloud_may_carry_on_what_it_received_before_it_guesses_labels() -> None:
    """Behind the body classes lie apart; at the head, under the same noise, few labels teach less."""
    x, y = digits(500)
    noise = GaussianNoise(0.4)
    head, body = (
        attack(graph(), 1, x, y=y, name="mlp-sim", defense=noise, beyond=b).top1.value for b in (None, "squeeze")
    )
    assert body > head
    received = Channel(Payload.of(graph(), 1, noise), beyond=graph().cut("squeeze").index).send((x[:40],), 0)[0]
    at_head = Channel(Payload.of(graph(), 1, noise)).send((x[:40],), 0)[0]
    with torch.no_grad():
        parts = [graph().piece(graph().cut("squeeze").index, 1)(p) for p in at_head.split(32)]
    slow = torch.cat([p if isinstance(p, Tensor) else p[0] for p in parts])
    assert torch.equal(received, slow)
    with pytest.raises(AdvisorError, match="works on the cut itself"):
        attack(graph(), 1, x, name="rmle", beyond="squeeze")
    with pytest.raises(AdvisorError, match="does not lie after"):
        attack(graph(), "squeeze", x, y=y, name="mlp-sim", beyond=1)
