"""An attacker who may query learns from no draw of a defense's randomness twice."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from advisor.defenses import Defense, GaussianNoise, NoDefense, Quantize8
from advisor.estimators.attacks import ka
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support import channel
from advisor.estimators.attacks.support.channel import Channel, Store
from advisor.estimators.attacks.support.draws import FEWEST, Draws, joined
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.testing.made_up_views import normal
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, trained


@functools.cache
def graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


def draws_of(defense: Defense, count: int, repeats: int = 1, beyond: int | None = None) -> tuple[Draws, Tensor]:
    sent, x = Channel(Payload.of(graph(), 1, defense), repeats, beyond=beyond), digits(count)[0]
    kept = Store(count)
    sent.send((x,), 0, clean=kept)
    return Draws(sent, kept.tensors(), tuple, 3), kept.tensors()[0]


@pytest.mark.parametrize("repeats", [1, 2])
def test_what_is_received_does_not_hang_on_how_many_samples_are_sent_at_once(
    repeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU has another memory than the CPU, and so other batches."""
    sent, (x, _) = Channel(Payload.of(graph(), 1, GaussianNoise(0.6)), repeats), digits(32)
    found = []
    for size in (32, 8):
        monkeypatch.setattr(channel, "batch_size", lambda graph, size=size: size)
        found.append(sent.send((x,), 0)[0])
    assert torch.allclose(*found, atol=1e-5)


@pytest.mark.parametrize("repeats", [1, 9])
def test_no_two_draws_are_alike_and_each_has_the_variance_that_is_promised(repeats: int) -> None:
    draws, clean = draws_of(GaussianNoise(0.6), 60, repeats)
    rows = torch.tensor([4, 1, 9] * 10)
    first, second, again = (draws.at(rows, number)[0] for number in (0, 1, 0))
    assert torch.equal(first, again)
    for found in (first, second):
        assert float((found - clean[rows]).square().mean()) == pytest.approx(0.36 / repeats, rel=0.05)
    assert float(torch.corrcoef(torch.stack([(z - clean[rows]).flatten() for z in (first, second)]))[0, 1]) < 0.02


@pytest.mark.parametrize("repeats", [1, 4])
def test_what_the_cloud_makes_of_it_is_drawn_a_few_times_and_these_are_taken_in_turn(repeats: int) -> None:
    """The mean over draws at a linear place after the noise is what is made of the mean; no sample gets another's."""
    last = len(graph().cuts) - 1
    draws, clean = draws_of(GaussianNoise(0.05), 40, repeats, last)
    exact = Channel(Payload.of(graph(), 1, NoDefense()), beyond=last).carried_on((clean,))[0].detach()
    rows = torch.tensor([7, 0, 39])
    each = torch.stack([draws.at(rows, number)[0] for number in range(200)])
    assert float((each.mean(0) - exact[rows]).abs().max()) < 0.3 * float(exact.std())
    assert FEWEST <= len(each[:, 0].unique(dim=0)) <= 64


def test_sets_of_samples_are_drawn_as_one() -> None:
    (first, a), (second, b) = draws_of(GaussianNoise(1e-4), 30), draws_of(GaussianNoise(1e-4), 12)
    anew = joined([first, second], [0, 50])
    assert anew is not None
    found = anew(torch.tensor([55, 2, 50, 29]), 0)
    assert torch.allclose(found, torch.stack([b[5], a[2], b[0], a[29]]), atol=1e-2)
    assert torch.allclose(anew(torch.tensor([3]), 5), a[3:4], atol=1e-2)


@pytest.mark.parametrize("defense", [NoDefense(), Quantize8()])
def test_what_is_not_random_is_received_once(defense: Defense, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    transmit = Payload.transmit

    def counted(self: Payload, tensors: Sequence[Tensor], generator: torch.Generator | None = None) -> object:
        sent.append(len(tensors[0]))
        return transmit(self, tensors, generator)

    monkeypatch.setattr(Payload, "transmit", counted)
    found = attack(graph(), "output", digits(60)[0], defense=defense)
    assert sum(sent) == 60 + (60 - len(found.rows))  # the attacker's own also in the mirror


@pytest.mark.slow
@pytest.mark.parametrize("place", ["conv1", "output"])
def test_fresh_noise_is_attacked_harder_than_one_draw(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, noise = digits(400)[0], GaussianNoise(1.0)
    fresh = attack(graph(), place, x, defense=noise).nmse.value
    monkeypatch.setattr(ka, "joined", lambda *_: None)
    assert fresh < attack(graph(), place, x, defense=noise).nmse.value - 0.02


def test_the_bayes_error_of_a_curved_channel_is_reached() -> None:
    """x = ±1 in noise: of z the best guess is tanh(z/σ²), whose error is a known integral; no linear one comes near."""
    model = nn.Sequential(nn.Linear(6, 6, bias=False)).eval()
    model[0].weight.data = torch.eye(6)
    x, own = normal(300, 6, seed=1).float().sign(), normal(900, 6).float().sign()
    found = attack(trace(model, x[:2]), "output", x, aux=own, defense=GaussianNoise(1.0)).nmse
    z = 1 + torch.linspace(-8, 8, 4001).double()
    density = torch.exp(-((z - 1) ** 2) / 2)
    exact = float(((1 - torch.tanh(z)) ** 2 * density).sum() / density.sum())
    assert found.value == pytest.approx(exact, abs=2.5 * found.stderr)
    assert found.value < 0.49 < 0.5  # a linear filter is left with σ²/(1 + σ²)
