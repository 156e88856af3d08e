"""Attacks against what theory says they must reach."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from advisor.defenses import Defense, GaussianNoise, NoDefense
from advisor.errors import AdvisorError
from advisor.estimators.attacks import dci, pmc, shadow
from advisor.estimators.attacks.dci import DividedInversion
from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support import guesses
from advisor.estimators.attacks.support.channel import Channel
from advisor.estimators.attacks.support.data_split import few_labels
from advisor.estimators.attacks.support.denoising import Wiener, denoised, noise_variance
from advisor.estimators.attacks.support.guesses import directions, merged, nearest
from advisor.estimators.attacks.support.matching import Descent, mismatch, total_variation
from advisor.estimators.attacks.support.shrinking import Shrinking, bands
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.testing.made_up_views import normal
from advisor.testing.small_models import Pair
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, fixed, trained


@functools.cache
def digit_graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


class Affine(nn.Module):
    """z = Wx + b, then something the attack does not see."""

    def __init__(self, out: int, into: int, curved: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(into, out), nn.Linear(out, 2)
        self.first.weight.data = normal(out, into, seed=3).float() / into**0.5
        self.curved = curved

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        return self.last(z + 0.3 * torch.tanh(z) if self.curved else z)


@pytest.mark.parametrize("width", [6, 12, 40])
@pytest.mark.parametrize("repeats", [1, 4])
def test_unbiased_attacker_reaches_its_closed_form_and_never_beats_cramer_rao(width: int, repeats: int) -> None:
    """E‖x̂ − x‖²/d = σ²Tr((WᵀW)⁻¹)/d, above 1/dFIL = dσ²/Tr(WᵀW); averaging m transmissions divides σ² by m."""
    model, sigma, x = Affine(width, 5).eval(), 0.7, normal(900, 5).float()
    W = model.first.weight.detach().double()
    exact = sigma**2 / repeats * float(torch.linalg.inv(W.T @ W).trace()) / 5
    bound = 5 * sigma**2 / repeats / float(W.square().sum())
    found = attack(trace(model, x[:2]), "first", x, name="unbiased", defense=GaussianNoise(sigma), repeats=repeats)
    assert found.evidence["affine"] == 1
    assert abs(found.mse.value - exact) < 3 * found.mse.stderr
    assert found.mse.high > bound
    assert exact > bound


def test_unbiased_attacker_inverts_what_is_curved_and_says_where_none_exists() -> None:
    x = normal(12, 5).float()
    curved = trace(Affine(8, 5, curved=True).eval(), x[:2])
    cut = next(c for c in curved.cuts if c.elements == 8 and c.index == len(curved.cuts) - 2)
    found = attack(curved, cut, x, name="unbiased")
    assert found.evidence["affine"] == 0
    assert found.nmse.value < 1e-6
    with pytest.raises(AdvisorError, match="fewer numbers cross than the input has: no unbiased attacker"):
        attack(trace(Affine(4, 5).eval(), x[:2]), "first", x, name="unbiased")


def test_averaging_m_transmissions_leaves_a_variance_of_sigma_squared_over_m() -> None:
    x = digits(200)[0]
    for repeats in (1, 4, 16):
        channel = Channel(Payload.of(digit_graph(), 1, GaussianNoise(0.5)), repeats)
        error = channel.send((x,), 0)[0] - torch.cat([channel.clean((p,))[0] for p in x.split(50)])
        assert float(error.square().mean()) == pytest.approx(0.25 / repeats, rel=0.02)


@pytest.mark.slow
def test_more_transmissions_help_every_learner() -> None:
    x = digits(160)[0]
    once, often = (attack(digit_graph(), 1, x, defense=GaussianNoise(1.0), repeats=r).nmse.value for r in (1, 16))
    assert often < 0.5 * once


@pytest.mark.parametrize("name", ["ka", "rmle"])
def test_the_input_itself_is_copied(name: str) -> None:
    member = RegularisedMaximumLikelihood(weights=(0.0,), budgets=(Descent(60, 0.1),) * 2) if name == "rmle" else name
    assert attack(digit_graph(), "input", digits(120)[0], name=member).nmse.value < 1e-3


class Constant(nn.Module):
    """The activation says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(0 * x.flatten(1)).relu() + 1


def test_a_constant_leaves_an_attacker_with_its_mean() -> None:
    found = attack(trace(fixed(Constant()), digits(2)[0]), "output", digits(120)[0])
    assert found.nmse.value == pytest.approx(1, abs=1e-4)


@dataclass(frozen=True)
class Shuffle(Defense):
    """Sends each sample's tensor under another's name."""

    name = "shuffle"

    def apply(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return z[torch.randperm(len(z), generator=generator)]


def test_shuffled_tensors_defeat_an_inversion_network() -> None:
    assert attack(digit_graph(), 1, digits(120)[0], defense=Shuffle()).nmse.value > 0.95


def test_wiener_denoising_reaches_the_linear_minimum() -> None:
    """z ~ N(0, Λ) turned, noise σ²: λσ²/(λ + σ²) is left of each component."""
    values = torch.tensor([9.0, 1.0, 0.1, 0.01], dtype=torch.float64)
    turn = torch.linalg.qr(normal(4, 4, seed=1))[0]
    clean = normal(40_000, 4) * values.sqrt() @ turn.T
    noisy = clean + 0.5 * normal(40_000, 4, seed=2)
    (variance,) = noise_variance((noisy,), (clean,))
    assert variance == pytest.approx(0.25, rel=0.02)
    (found,) = denoised((noisy,), (clean[:20_000],), (variance,))
    exact = float((values * 0.25 / (values + 0.25)).mean())
    assert float((found - clean).square().mean()) == pytest.approx(exact, rel=0.03)
    maps = noisy[:36].reshape(4, 9, 4).permute(0, 2, 1).reshape(4, 4, 3, 3)
    fitted = Wiener.fitted(clean, variance)
    assert fitted is not None
    assert torch.allclose(fitted(maps).permute(0, 2, 3, 1).reshape(36, 4), fitted(noisy[:36]), atol=1e-6)


def test_matched_features_know_the_noise() -> None:
    """Trusting every number that was received is worse than weighing it by the noise that is known to be in it."""
    x, how = digits(60)[0], (Descent(80, 0.05),) * 2
    blind = attack(
        digit_graph(), 1, x, name=RegularisedMaximumLikelihood((0.0,), how, white=()), defense=GaussianNoise(0.5)
    )
    adaptive = attack(
        digit_graph(),
        1,
        x,
        name=RegularisedMaximumLikelihood((0.0, 0.1, 1.0), how, white=()),
        defense=GaussianNoise(0.5),
    )
    assert adaptive.evidence["noise_variance"] == pytest.approx(0.25, rel=0.05)
    assert adaptive.nmse.value < 0.8 * blind.nmse.value


def test_mismatch_and_total_variation_are_what_they_say() -> None:
    z = normal(3, 2, 2).float()
    assert mismatch((torch.zeros_like(z),), (z,)).tolist() == pytest.approx([1.0] * 3)
    ramp = torch.arange(5.0).expand(1, 1, 5, 5) / 10
    assert float(total_variation(ramp)) == pytest.approx(0.1, rel=1e-3)
    assert float(total_variation(torch.ones(1, 3, 4, 4))) == pytest.approx(1e-3)


def blobs(classes: int, n: int, spread: float) -> tuple[Tensor, Tensor]:
    """Gaussian clouds around the corners of a simplex, far apart."""
    y = torch.arange(n) % classes
    return nn.functional.one_hot(y, 12).float() * 6 + spread * normal(n, 12).float(), y


@functools.cache
def carrier() -> PartitionGraph:
    model = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4)).eval()
    model[0].weight.data, model[0].bias.data = torch.eye(12), torch.zeros(12)
    return trace(model, torch.zeros(2, 12))


@pytest.mark.parametrize("name", ["pmc", "pmc-tuned", "mlp", "mlp-sim", "kmeans"])
def test_labels_of_clouds_far_apart_are_read_from_four_a_class(name: str) -> None:
    x, y = blobs(4, 240, 0.5)
    found = attack(carrier(), 1, x, y=y, name=name)
    assert found.top1.value > 0.9
    assert math.isnan(found.top5.value)
    assert "no more than five" in found.top5.method
    assert found.evidence["chance"] == 0.25
    assert found.evidence["commonest"] == int(torch.bincount(found.originals).max()) / len(found.originals)
    assert found.evidence["scratch"] > 0.9  # the inputs themselves are as far apart
    assert "chance 0.25, the commonest class 0." in found.notes[-1]


@pytest.mark.parametrize("name", ["pmc", "pmc-tuned", "mlp-sim"])
def test_labels_that_have_nothing_to_do_with_what_crosses_are_guessed(name: str) -> None:
    x, y = blobs(4, 400, 0.5)
    chance = attack(carrier(), 1, x, y=y[torch.randperm(400, generator=torch.Generator().manual_seed(0))], name=name)
    assert chance.top1.low < 0.3
    assert chance.evidence["scratch"] < 0.4


def test_samples_without_a_label_help_completion() -> None:
    x, y = blobs(4, 700, 2.6)
    few = dict.fromkeys(("pmc", "mlp-sim"), 0.0)
    for name in few:
        found = [attack(carrier(), 1, x, y=y, name=name, labels=8, seed=seed).top1.value for seed in range(3)]
        few[name] = sum(found) / 3
    assert few["pmc"] > few["mlp-sim"] + 0.02


def test_doubt_is_entropy() -> None:
    z = normal(7, 4).float()
    slow = torch.distributions.Categorical(logits=z).entropy().mean()
    assert pmc.doubt(nn.Identity(), z) == pytest.approx(float(slow), rel=1e-5)
    assert pmc.doubt(nn.Identity(), torch.zeros(3, 4)) == pytest.approx(math.log(4))


def test_few_labels_show_as_many_of_each_class() -> None:
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 2)
    shown = few_labels(y, 12, 0)
    assert [(shown == label).sum().item() for label in (0, 1, 2)] == [5, 5, 2]
    assert (shown[shown >= 0] == y[shown >= 0]).all()
    assert (few_labels(y, 10**9, 0) == y).all()


def recommender() -> tuple[PartitionGraph, tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    pair = (torch.randint(30, (80,), generator=draw), torch.randint(20, (80,), generator=draw))
    return trace(fixed(Pair()), (pair[0][:2], pair[1][:2])), pair


@pytest.mark.parametrize("cut", ["cat", "mix"])
def test_users_and_items_are_identified_behind_an_invertible_layer(cut: str) -> None:
    graph, pair = recommender()
    bare, drowned = (attack(graph, cut, pair, name="ids", defense=GaussianNoise(s)) for s in (1e-4, 30.0))
    assert bare.top1.value == bare.top5.value == 1
    assert torch.equal(bare.reconstructions[:, :, 0], torch.stack(pair, 1))
    assert drowned.top1.value < 0.2 < 0.4 > drowned.top5.value - 0.1


@pytest.mark.parametrize(("cut", "sigma"), [("mix", 0.0), ("mix", 0.3), ("relu", 0.3)])
def test_users_and_items_are_those_of_most_likelihood(cut: str, sigma: float) -> None:
    """Of all pairs, the one whose tensor is nearest to what was received; so many samples are told apart by nobody."""
    torch.manual_seed(7)  # not that of the noise
    model = Pair().eval()
    pair = (torch.randint(30, (60,)), torch.randint(20, (60,)))
    graph, defense = trace(model, (pair[0][:2], pair[1][:2])), GaussianNoise(sigma) if sigma else NoDefense()
    found = attack(graph, cut, pair, name="ids", defense=defense)
    channel = Channel(Payload.of(graph, cut, defense))
    (sent,) = channel.send(pair, 0)
    every = torch.cartesian_prod(torch.arange(30), torch.arange(20))
    (tensors,) = channel.clean((every[:, 0].contiguous(), every[:, 1].contiguous()))
    likeliest = every[torch.cdist(sent, tensors.detach()).argmin(1)]
    exhaustive = float((likeliest == torch.stack(pair, 1)).float().mean())
    assert found.top1.value >= exhaustive - 0.05
    assert exhaustive > 0.5


def test_nearest_rows_are_those_of_a_slow_search() -> None:
    table, found = normal(15, 4).float(), normal(3, 2, 4, seed=1).float()
    for i in range(3):
        for j in range(2):
            slow = sorted(range(15), key=lambda v: float((table[v] - found[i, j]).square().sum()))[:8]
            assert nearest(found, table, 8)[i, j].tolist() == slow
            alike = sorted(range(15), key=lambda v: -float(torch.corrcoef(torch.stack([table[v], found[i, j]]))[0, 1]))
            assert nearest(directions(found), directions(table), 99)[i, j].tolist() == alike


def test_two_lists_are_merged_in_turn_and_nothing_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.rand(9, 4, 20, generator=draw).argsort(-1)[..., :6] for _ in range(2))
    expected = [
        [list(dict.fromkeys(v for pair in zip(a, b, strict=True) for v in pair))[:6] for a, b in zip(x, y, strict=True)]
        for x, y in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert merged(first, second, 20).tolist() == expected
    monkeypatch.setattr(guesses, "ELEMENTS", 200)
    assert merged(first, second, 20).tolist() == expected


class Words(nn.Module):
    """Embeddings, positions, one layer of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 16)
        self.place = nn.Parameter(torch.zeros(6, 16))
        self.layer, self.out = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.layer(self.embed(ids) + self.place).mean(1))


def test_tokens_are_read_through_a_layer_of_attention() -> None:
    torch.manual_seed(0)
    ids = torch.randint(60, (12, 6))
    graph = trace(Words().eval(), ids[:2])
    first = attack(graph, "embed", ids, name="ids")
    assert first.top1.value == 1
    after = next(c for c in reversed(graph.cuts) if c.name.startswith("layer") and len(c.tensors[0].shape) == 2)
    assert attack(graph, after, ids, name="ids").top1.value > 0.95


class Normed(nn.Module):
    """Embeddings and positions after a layer normalisation, as BERT begins."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.out = nn.Embedding(90, 24), nn.LayerNorm(24), nn.Linear(24, 2)
        self.place = nn.Parameter(torch.randn(5, 24))

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.norm(self.embed(ids) + self.place).mean(1))


@pytest.mark.parametrize(("sigma", "least"), [(1e-4, 1.0), (0.5, 0.9), (1.0, 0.5)])
def test_tokens_behind_a_normalisation_are_those_of_most_likelihood(sigma: float, least: float) -> None:
    """Each position for itself: the row whose normalised sum is nearest to what was received, of all rows."""
    torch.manual_seed(11)  # not that of the noise
    model, ids = Normed().eval(), torch.randint(90, (30, 5))
    graph, defense = trace(model, ids[:2]), GaussianNoise(sigma)
    found = attack(graph, "norm", ids, name="ids", defense=defense)
    (sent,) = Channel(Payload.of(graph, "norm", defense)).send((ids,), 0)
    with torch.no_grad():
        every = model.norm(model.embed.weight[:, None] + model.place)
    likeliest = (sent[:, None] - every).square().sum(-1).argmin(1)
    assert torch.equal(found.reconstructions[..., 0], likeliest)
    assert found.top1.value >= least


@pytest.mark.slow
def test_blocks_are_inverted_one_by_one_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dci.STEPS, "quick", 40)
    x = digits(40)[0]
    blockwise = attack(digit_graph(), "relu", x, name="dci")
    assert blockwise.nmse.value < 0.6
    assert "blocks end at conv1, relu" in blockwise.notes[1]
    whole = attack(digit_graph(), 1, x, name=DividedInversion(blockwise=False, layer=False, cycle=False))
    assert "blocks end at conv1" in whole.notes[1]
    assert whole.nmse.value < 0.5
    own = attack(digit_graph(), 1, x, x[:30], name=DividedInversion(real=True))
    assert "auxiliary samples as given" in own.notes[0]


@pytest.mark.slow
def test_received_features_tell_an_attacker_without_data_what_its_samples_are_unlike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(dci.STEPS, "quick", 40)
    adapted, published = (
        attack(digit_graph(), "relu", digits(40)[0], name=DividedInversion(adapted=way)) for way in (True, False)
    )
    assert adapted.nmse.value < 0.6 * published.nmse.value


@pytest.mark.slow
def test_the_shadow_asks_the_edge_nothing_and_still_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shadow.STEPS, "quick", 150)
    x, y = digits(240)
    asked: list[int] = []
    send = Channel.send

    def counted(self: Channel, inputs: object, *rest: object, **more: object) -> tuple[Tensor, ...]:
        asked.append(len(inputs[0]))  # type: ignore[index]
        return send(self, inputs, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Channel, "send", counted)
    found = attack(digit_graph(), 1, x, y=y, name="shadow")
    assert asked == [len(found.rows)]
    assert found.evidence["shadow_accuracy"] > 0.9
    assert found.nmse.value < 0.9


def test_shrinking_keeps_a_band_by_its_reliability() -> None:
    """The least-squares gain of white noise over a white signal is S/(S + N), in each band."""
    x, noise = normal(400, 1, 16, 16).float(), 0.5 * normal(400, 1, 16, 16, seed=1).float()
    fit = Shrinking.fitted(x + noise, x, torch.zeros(()))
    present = bands(x).unique()
    assert fit.gain[present].tolist() == pytest.approx([0.8] * len(present), abs=0.06)
    error = (fit(x + noise) - x).square().mean()
    assert float(error) == pytest.approx(0.2, rel=0.05)
    vectors = Shrinking.fitted(x.flatten(1) + noise.flatten(1), x.flatten(1), torch.zeros(256))
    assert float(vectors.gain[0]) == pytest.approx(0.8, abs=0.01)
    assert vectors(x.flatten(1)).shape == (400, 256)
    perfect = Shrinking.fitted(x, x, torch.tensor(0.3))
    assert torch.allclose(perfect(x), x, atol=1e-5)
