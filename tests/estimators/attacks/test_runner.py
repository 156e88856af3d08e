from __future__ import annotations

import dataclasses
import functools
import math
import random

import pytest
import torch
from torch import nn

from advisor.batches import carried
from advisor.defenses import GaussianNoise, NoDefense
from advisor.errors import AdvisorError, CutError, DataError, NotMeasurableError
from advisor.estimators.attacks import runner as attacking
from advisor.estimators.attacks.runner import AttackResult, attack
from advisor.estimators.inversion.alignment import BUDGETS, QUICK
from advisor.graph import PartitionGraph
from advisor.measures.images import mse, ssim
from advisor.testing.made_up_views import normal
from advisor.tracing.tracer import trace
from tests.estimators.nets import Restorer, Tokens, TwoInputs, digits, fixed, trained


@functools.cache
def graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


@functools.cache
def at_the_logits() -> AttackResult:
    return attack(graph(), "output", digits(400)[0])


def test_result_holds_reconstructions_originals_and_their_scores() -> None:
    found = at_the_logits()
    assert found.reconstructions.shape == found.originals.shape == (len(found.rows), 1, 8, 8)
    assert 80 <= len(found.rows) <= 120  # a quarter, by the hash of each
    assert found.mse.value == pytest.approx(float(mse(found.reconstructions, found.originals).mean()), rel=1e-5)
    assert found.ssim.value == pytest.approx(float(ssim(found.reconstructions, found.originals).mean()), rel=1e-5)
    per_image = -10 * torch.log10(mse(found.reconstructions, found.originals))
    assert found.psnr.value == pytest.approx(float(per_image.mean()), rel=1e-5)
    assert (found.mse.unit, found.psnr.unit, found.nmse.unit) == ("x²", "dB", "1")
    assert float(found.nmse) == found.nmse.value
    assert found.nmse.low < found.nmse.value < found.nmse.high


def test_shallow_cuts_are_inverted_and_deep_ones_less() -> None:
    x, _ = digits(400)
    stem = attack(graph(), 1, x)
    assert stem.nmse.value < 0.01 < 0.15 < at_the_logits().nmse.value < 1


def test_cut_by_name_index_and_itself_are_the_same() -> None:
    x, _ = digits(40)
    last = graph().cuts[-1]
    found = [attack(graph(), cut, x).reconstructions for cut in (last, last.index, last.name)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_private_samples_are_never_learnt_from() -> None:
    """With auxiliary samples all of x is attacked, in order, and what x looks like elsewhere changes nothing."""
    aux, private = digits(300)[0][:200], digits(300)[0][200:]
    found = attack(graph(), "output", private, aux)
    assert torch.equal(found.originals, private)
    fewer = attack(graph(), "output", private[:40], aux)
    assert torch.allclose(fewer.reconstructions, found.reconstructions[:40], atol=1e-4)


@pytest.mark.slow
def test_attacker_trains_on_what_is_really_sent() -> None:
    x, _ = digits(200)
    bare, noisy, drowned = (attack(graph(), 1, x, defense=GaussianNoise(s)).nmse.value for s in (1e-6, 0.3, 100.0))
    assert bare < 0.01 < 0.03 < noisy < 0.9
    assert drowned == pytest.approx(1, abs=0.02)


def test_linear_gaussian_model_under_noise_is_attacked_to_the_exact_mmse() -> None:
    """x ~ N(0, I), z = Wx, noise by the defense: Tr((WᵀW/σ² + I)⁻¹)/d is the best that any attacker can do."""
    model = nn.Linear(5, 8, bias=False).eval()
    model.weight.data = normal(8, 5, seed=3).float()
    x, W = normal(1600, 5).float(), model.weight.detach().double()
    found = attack(trace(model, x[:2]), "output", x, defense=GaussianNoise(1.5)).nmse
    exact = float(torch.linalg.inv(W.T @ W / 1.5**2 + torch.eye(5)).trace()) / 5
    assert found.value == pytest.approx(exact, rel=0.1)
    assert found.high >= exact * 0.98


def test_what_is_carried_and_defended_is_what_the_edge_sends() -> None:
    x, _ = digits(70)
    edge, cloud = graph().split(2)
    bare = carried(graph(), (x,), 0, 2)
    (sent,) = NoDefense().transmit(bare)
    with torch.no_grad():
        assert torch.allclose(sent, edge(x), atol=1e-6)
        assert torch.allclose(cloud(sent), trained()(x), atol=1e-5)
    noisy = GaussianNoise(0.5).transmit(bare, torch.Generator().manual_seed(0))[0]
    assert float((noisy - sent).std()) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(noisy, GaussianNoise(0.5).transmit(bare, torch.Generator().manual_seed(0))[0])
    assert not torch.equal(noisy, GaussianNoise(0.5).transmit(bare, torch.Generator().manual_seed(1))[0])


def test_same_seed_same_answer_and_torch_is_left_as_found() -> None:
    x, _ = digits(60)
    torch.manual_seed(2)
    state, plain = torch.get_rng_state(), random.getstate()
    first = attack(graph(), "output", x, seed=1)
    torch.rand(3)
    torch.set_rng_state(state)
    again = attack(graph(), "output", x, seed=1)
    assert torch.equal(first.reconstructions, again.reconstructions)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == plain
    assert torch.is_grad_enabled()


def test_models_of_several_inputs_are_attacked_whole() -> None:
    a, b = normal(200, 6).float(), normal(200, 2, seed=1).float()
    two = trace(fixed(TwoInputs()), (a[:2], b[:2]))
    found = attack(two, "input", (a, b))
    assert found.originals.shape == (len(found.rows), 8)
    assert found.nmse.value < 0.01
    assert math.isnan(found.ssim.value)
    assert "no images" in found.ssim.method
    assert attack(two, "output", (a, b)).nmse.value > 0.4


def test_models_without_classes_are_attacked() -> None:
    x, _ = digits(100)
    assert attack(trace(fixed(Restorer()), x[:2]), "down", x).nmse.value < 0.5


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    attack(graph(), "output", digits(60)[0], progress=told.append)
    assert told
    assert max(told) <= 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "magic"}, r"no attack 'magic'.*Known: ka, .*ids"),
        ({"budget": "endless"}, r"budget 'endless'"),
    ],
)
def test_unknown_attacks_and_budgets_are_refused(options: dict[str, str], reason: str) -> None:
    with pytest.raises(AdvisorError, match=reason):
        attack(graph(), "output", digits(40)[0], **options)  # type: ignore[arg-type]


def test_bad_input_is_one_line_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = digits(40)
    with pytest.raises(CutError, match="nowhere"):
        attack(graph(), "nowhere", x)
    with pytest.raises(DataError):
        attack(graph(), "output", torch.rand(40, 1, 9, 9))
    with pytest.raises(DataError, match=r"\(3, 8, 8\) a sample, the model takes \(1, 8, 8\)"):
        attack(graph(), "output", x, torch.rand(40, 3, 8, 8))
    ids = torch.randint(20, (40, 5))
    with pytest.raises(DataError, match="discrete"):
        attack(trace(fixed(Tokens()), ids[:2]), "output", ids)
    with pytest.raises(AdvisorError, match=r"attack failed: .*at least 8 samples.*says nothing about privacy"):
        attack(graph(), "output", x[:6])


def test_an_attack_that_diverges_is_failed_and_never_private(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(self: object, context: object) -> None:
        raise NotMeasurableError("the inversion network diverged")

    monkeypatch.setattr(type(attacking.ATTACKS["ka"]), "run", diverging)
    with pytest.raises(AdvisorError, match=r"attack failed: .*diverged.*says nothing about privacy"):
        attack(graph(), "output", digits(40)[0])


@pytest.mark.parametrize("budget", ["quick", "strong"])
def test_a_network_that_really_diverges_is_failed_too(budget: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = dataclasses.replace(BUDGETS[budget], rate=1e30, settled=0.0, width=4, depth=1)
    monkeypatch.setitem(BUDGETS, budget, wild)
    with pytest.raises(AdvisorError, match=r"attack failed: .*diverged.*says nothing about privacy"):
        attack(graph(), "output", digits(60)[0], budget=budget)


def test_the_strong_budget_is_stronger_in_every_respect() -> None:
    strong = BUDGETS["strong"]
    assert BUDGETS["quick"] is QUICK
    assert strong.width > QUICK.width
    assert strong.depth > QUICK.depth
    assert strong.steps > 10 * QUICK.steps
    assert strong.settled < QUICK.settled
