"""An attack on a variant is aimed at what the variant sends: a bijection before it hides nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.batches import carried
from advisor.errors import AdvisorError
from advisor.estimators.attacks.base import AttackContext
from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.support.matching import Descent
from advisor.graph import PartitionGraph
from advisor.variant import Variant, variant_of
from tests.estimators.nets import digits, trained

CUT, CHANNELS = "conv1", 8


class Turned(nn.Module):
    """An orthogonal 1×1 convolution."""

    def __init__(self, turn: Tensor) -> None:
        super().__init__()
        self.register_buffer("turn", turn[:, :, None, None].clone())

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.conv2d(z, self.turn)


class Permuted(nn.Module):
    """The channels in another order."""

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, z: Tensor) -> Tensor:
        return z[:, self.order]


@functools.cache
def bare() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


@functools.cache
def variant(kind: str) -> Variant:
    draw = torch.Generator().manual_seed(3)
    if kind == "turned":
        turn, _ = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=draw, dtype=torch.float64))
        return variant_of(bare(), CUT, Turned(turn.float()), Turned(turn.T.float()))
    order = torch.randperm(CHANNELS, generator=draw)
    return variant_of(bare(), CUT, Permuted(order), Permuted(order.argsort()))


kinds = pytest.mark.parametrize("kind", ["turned", "permuted"])


@kinds
def test_unbiased_finds_as_much_to_the_third_digit(kind: str) -> None:
    x, _ = digits(12)
    noise = "gaussian:sigma=0.05"
    plain = advisor.attack(bare(), CUT, x, name="unbiased", defense=noise)
    other = advisor.attack(variant(kind), variant(kind).payload, x, name="unbiased", defense=noise)
    assert plain.evidence["affine"] == other.evidence["affine"] == 1
    # fresh noise in another order: equal in law, so to three digits without any
    exact = [advisor.attack(g, c, x, name="unbiased").nmse.value for g, c in pairs(kind)]
    assert max(exact) < 1e-5
    assert other.nmse.value == pytest.approx(plain.nmse.value, rel=0.25)


def pairs(kind: str) -> list[tuple[PartitionGraph, object]]:
    return [(bare(), CUT), (variant(kind), variant(kind).payload)]


@kinds
def test_rmle_finds_as_much_to_the_third_digit(kind: str) -> None:
    """The published attack: descent on the features, whose distances a bijection of this kind keeps."""
    few = (Descent(60, 0.1), Descent(60, 0.1))
    rmle = RegularisedMaximumLikelihood(weights=(0.1,), budgets=few, white=())
    x, _ = digits(8)
    found = [advisor.attack(g, c, x, name=rmle).nmse.value for g, c in pairs(kind)]
    assert found[1] == pytest.approx(found[0], abs=5e-4)


@pytest.mark.slow
@kinds
def test_ka_finds_as_much_within_two_standard_errors(kind: str) -> None:
    x, _ = digits(160)
    noise = "gaussian:sigma=0.6"
    first, second = (advisor.attack(g, c, x, name="ka", defense=noise).nmse for g, c in pairs(kind))
    assert abs(first.value - second.value) < 2 * math.hypot(first.stderr, second.stderr)


@pytest.mark.parametrize(("name", "count"), [("wiener", 60), pytest.param("ka", 160, marks=pytest.mark.slow)])
def test_an_encoder_that_drops_channels_does_hide(name: str, count: int) -> None:
    """The attack sees the payload, not the activation: of one channel of eight less is found than of all."""
    draw = torch.Generator().manual_seed(3)
    turn, _ = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=draw, dtype=torch.float64))
    few = turn.float()[:1]
    made = variant_of(bare(), CUT, Turned(few), Turned(few.T))
    x, _ = digits(count)
    noise = "gaussian:sigma=0.6"
    all_of_it = advisor.attack(bare(), CUT, x, name=name, defense=noise).nmse
    part = advisor.attack(made, made.payload, x, name=name, defense=noise).nmse
    assert part.value > all_of_it.value + 2 * math.hypot(part.stderr, all_of_it.stderr)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("turned", "wide"), ("permuted", "sfd"), pytest.param("permuted", "wide", marks=pytest.mark.slow),
        pytest.param("turned", "sfd", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_attackers_of_another_shape_read_a_bijection_too(kind: str, name: str) -> None:
    x, _ = digits(400)
    other = variant(kind)
    usual = advisor.attack(other, other.payload, x[:80], aux=x[80:], name="ka")
    found = advisor.attack(other, other.payload, x[:80], aux=x[80:], name=name)
    assert found.nmse.value < max(0.08, 2 * usual.nmse.value)
    assert found.reconstructions.shape == usual.reconstructions.shape


def test_sfd_regresses_the_activation_of_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = digits(120)
    wanted: list[Tensor] = []
    original = AttackContext.undefended

    def seen(self: AttackContext, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        wanted.extend(original(self, inputs))
        return tuple(wanted)

    monkeypatch.setattr(AttackContext, "undefended", seen)
    other = variant("permuted")
    advisor.attack(other, other.payload, x[:20], aux=x[20:], name="sfd", defense="gaussian:sigma=0.1")
    assert len(wanted) == 1
    clean = carried(bare(), (x[20:],), 0, bare().cut(CUT).index)[0]
    assert len(wanted[0]) == 50  # one half of the attacker's samples
    distances = torch.cdist(wanted[0].flatten(1).double(), clean.flatten(1).double())
    assert float(distances.min(1).values.max()) < 1e-4


def test_sfd_needs_samples_for_two_networks() -> None:
    x, _ = digits(30)
    with pytest.raises(AdvisorError, match="two networks learn from at least 16 samples, not 10"):
        advisor.attack(bare(), CUT, x[:20], aux=x[20:], name="sfd")
