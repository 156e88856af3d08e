"""The closed-form adversary: features that learn find what a regression is blind to; what it reads, and of what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from advisor.defenses.training import ridge_adversary
from advisor.defenses.training.opponents import Opponents
from advisor.defenses.training.ridge_adversary import RidgeAdversary
from advisor.defenses.training.terms import Step


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def step(sent: Tensor, inputs: Tensor) -> Step:
    return Step(inputs, (sent,), (sent,), (sent,))


def scrambled(seed: int, *shape: int) -> Step:
    """What is sent tells the input by the sign of a product alone: no regression on the values sees it."""
    inputs, key = drawn(64, *shape, seed=seed).sign(), drawn(64, *shape, seed=seed + 1).sign()
    return step(torch.cat([inputs * key, key], 1), inputs)


def left(term: RidgeAdversary, seed: int, shape: tuple[int, ...]) -> float:
    term.begin(0)
    with torch.no_grad():
        return -float(term.loss(scrambled(seed, *shape)))


@pytest.mark.parametrize("shape", [(1, 4, 4), (8,)])
def test_features_that_learn_find_what_a_regression_is_blind_to(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    term = RidgeAdversary(1.0, bank=0, local=1.0, filters=0, features=16, scales=())
    term.meet(scrambled(0, *shape))
    opponents = Opponents([term])
    before = left(term, 1001, shape)
    for number in range(40):
        term.begin(0)
        loss = term.loss(scrambled(2 * number, *shape))
        found = torch.autograd.grad(loss, opponents.parameters, allow_unused=True)
        for parameter, gradient in zip(opponents.parameters, found, strict=True):
            parameter.grad = gradient
        opponents.step()
    assert before > 0.8
    assert left(term, 1001, shape) < 0.7 * before


@pytest.mark.parametrize("local", [1.0, 0.0])
def test_beyond_the_error_of_the_mean_the_payload_gains_nothing_and_the_opponent_learns(local: float) -> None:
    sent = drawn(16, 4, 4, 4).requires_grad_()
    term = RidgeAdversary(1.0, bank=0, local=local, filters=0, features=4)
    told = step(sent, drawn(16, 1, 8, 8, seed=3))
    torch.manual_seed(0)
    term.meet(told)
    loss = term.loss(told)
    assert float(loss.detach()) < -1
    opponents = Opponents([term]).parameters
    of_sent, *found = torch.autograd.grad(loss, [sent, *opponents], allow_unused=True)
    assert not of_sent.any()
    assert any(g is not None and g.any() for g in found)


def test_a_long_payload_has_no_features_as_a_row() -> None:
    long = step(drawn(4, 2, 160, 160), drawn(4, 1, 160, 160))
    term = RidgeAdversary(1.0, local=0.5, filters=4, features=2)
    term.meet(long)
    assert term.opponent is not None
    assert not [name for name, _ in term.opponent.named_parameters() if name.startswith("row")]
    assert torch.isfinite(term.loss(long))


def test_without_features_nothing_learns() -> None:
    term = RidgeAdversary(1.0, features=0)
    term.meet(scrambled(0, 1, 8, 8))
    assert term.opponent is None
    assert Opponents([term]).parameters == []
    Opponents([term]).step()


def test_tokens_that_are_a_grid_of_the_image_are_read_place_by_place() -> None:
    """The part of the image under each token is what a token tells; the class token tells nothing."""
    inputs = drawn(24, 1, 16, 16)
    tokens = torch.nn.functional.unfold(inputs, 4, stride=4).transpose(1, 2)
    sent = torch.cat([drawn(24, 1, 16, seed=5), tokens], 1)
    term = RidgeAdversary(1.0, bank=0, local=1.0, filters=0, features=0)
    assert -float(term.loss(step(sent, inputs))) < 0.2
    assert -float(term.loss(step(drawn(*sent.shape, seed=9), inputs))) > 0.9


def test_opponents_go_on_from_their_state() -> None:
    term = RidgeAdversary(1.0, features=4)
    term.meet(scrambled(0, 1, 8, 8))
    opponents, other = Opponents([term]), RidgeAdversary(1.0, features=4)
    other.meet(scrambled(0, 1, 8, 8))
    again = Opponents([other])
    again.restore(opponents.state())
    assert all(torch.equal(a, b) for a, b in zip(opponents.parameters, again.parameters, strict=True))


@pytest.mark.parametrize(("side", "maps", "places"), [(4, 40, None), (64, 16, 4096)])
def test_of_large_maps_some_places_are_read(
    side: int, maps: int, places: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int | None]] = []

    def local(sent: Tensor, *_: Any, rows: Tensor | None, reader: Any) -> Tensor:
        seen.append((len(sent), None if rows is None else len(rows)))
        return sent.square().mean()

    monkeypatch.setattr(ridge_adversary, "local_nmse", local)
    term = RidgeAdversary(1.0, local=1.0, features=0)
    term.loss(step(drawn(40, 2, side, side), drawn(40, 1, side, side)))
    assert seen == [(maps, places)]
