"""Tokens, sequences, ids and vectors: a trained plan hides more than noise that costs as much utility."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.nn import functional as F

import advisor
from advisor.batches import carried
from advisor.cuts import Cut
from advisor.graph import PartitionGraph
from advisor.variant import Variant
from tests.estimators.nets import digits

Loss = Callable[[Tensor, Tensor], Tensor]


class Patches(nn.Module):
    """A small vision transformer: sixteen patches of digits and a class token."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, 2, 2)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(0.1 * torch.randn(1, 17, width))
        self.first, self.second = Block(width), Block(width)
        self.out = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = self.patch(x).flatten(2).transpose(1, 2)
        z = torch.cat([self.token.expand(z.shape[0], -1, -1), z], 1) + self.place
        return self.out(self.second(self.first(z))[:, 0])


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, z: Tensor) -> Tensor:
        seen = self.before(z)
        z = z + self.heads(seen, seen, seen, need_weights=False)[0]
        return z + self.mix(self.after(z))


class Rows(nn.Module):
    """Digits as sequences of rows, through an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.run, self.out = nn.LSTM(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.run(x)[0][:, -1])


class Recommender(nn.Module):
    """Users and items to the chance of a click."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(60, 8), nn.Embedding(40, 8)
        self.mix, self.out = nn.Linear(16, 32), nn.Linear(32, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.out(torch.relu(self.mix(torch.cat([self.user(user), self.item(item)], 1))))


def learnt(
    model: nn.Module, x: tuple[Tensor, ...], y: Tensor, loss: Loss, epochs: int, rate: float = 3e-3
) -> nn.Module:
    draw = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(y), generator=draw), 50):
            optimiser.zero_grad()
            loss(model(*(t[rows] for t in x)), y[rows]).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def made(model: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model()


@functools.cache
def vision() -> tuple[PartitionGraph, Tensor, Tensor]:
    x, y = digits(1700)
    model = learnt(made(Patches), (x[:1000],), y[:1000], F.cross_entropy, 12)
    return advisor.trace(model, x[:2]), x, y


@functools.cache
def sequences() -> tuple[PartitionGraph, Tensor, Tensor]:
    x, y = digits(1700)
    x = x[:, 0]
    model = learnt(made(Rows), (x[:1000],), y[:1000], F.cross_entropy, 12)
    return advisor.trace(model, x[:2]), x, y


@functools.cache
def regression() -> tuple[PartitionGraph, Tensor, Tensor]:
    data = load_diabetes()
    x, y = torch.from_numpy(data.data).float() * 20, torch.from_numpy(data.target).float()
    x, y = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))], (y - y.mean()) / y.std()
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    network = made(lambda: nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)))
    model = learnt(network, (x[:250],), y[:250], lambda found, wanted: F.mse_loss(found[:, 0], wanted), 15, 1e-3)
    return advisor.trace(model, x[:2]), x, y


@functools.cache
def clicks() -> tuple[PartitionGraph, tuple[Tensor, Tensor], Tensor]:
    draw = torch.Generator().manual_seed(0)
    users, items = torch.randn(60, 3, generator=draw), torch.randn(40, 3, generator=draw)
    user, item = (torch.randint(0, n, (9000,), generator=draw) for n in (60, 40))
    clicked = ((users[user] * items[item]).sum(1) + torch.randn(9000, generator=draw) > 0).long()
    loss: Loss = lambda found, wanted: F.binary_cross_entropy_with_logits(found[:, 0], wanted.float())  # noqa: E731
    model = learnt(made(Recommender), (user[:8000], item[:8000]), clicked[:8000], loss, 6, 1e-2)
    return advisor.trace(model, (user[:2], item[:2])), (user, item), clicked


def as_useful(graph: PartitionGraph, cut: Cut, utility: float, x: Any, y: Tensor, task: str) -> str:
    """Noise at a cut that leaves the utility wanted."""
    low, high = 1e-3, 1e3
    for _ in range(12):
        middle = (low * high) ** 0.5
        kept = float(advisor.accuracy(graph, x, y, cut=cut, defense=f"gaussian:sigma={middle}", task=task))
        low, high = (middle, high) if kept > utility else (low, middle)
    return f"gaussian:sigma={low}"


def noise_of(variant: Variant, share: float) -> str:
    return f"gaussian:sigma={share * variant.recipe['payload_rms']}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made_of", "cut", "shape", "task", "train", "weight"),
    [
        (vision, "first/add#2", (17, 4), "auto", 1000, 4.0),
        (sequences, "run", (8, 12), "auto", 1000, 1.0),
        (regression, "1", (4,), "regression", 250, 4.0),
    ],
    ids=["tokens", "sequences", "vectors"],
)
def test_a_trained_plan_hides_more_than_noise_that_costs_as_much(
    made_of: Any, cut: str, shape: tuple[int, ...], task: str, train: int, weight: float
) -> None:
    graph, x, y = made_of()
    place = next(c for c in graph.cuts if c.name.startswith(cut) and len(c.tensors[0].shape) == len(shape))
    variant = advisor.defend(
        graph, place, "ridge", x[:train], width=shape[-1], epochs=15, batch=50, weight=weight, sigma=(0.5, 0.5)
    )
    assert variant.payload.tensors[0].shape == shape
    rest, own = x[train:], y[train:]
    utility = float(advisor.accuracy(variant, rest, own, defense=noise_of(variant, 0.5), task=task))
    noise = as_useful(graph, place, utility, rest, own, task)
    fitted = advisor.attack(variant, variant.payload, rest, defense=noise_of(variant, 0.5))
    plain = advisor.attack(graph, place, rest, defense=noise)
    print(utility, fitted.nmse.value, plain.nmse.value, noise)
    assert fitted.nmse.value > plain.nmse.value + 0.01


@pytest.mark.slow
def test_a_recommender_tells_fewer_ids_than_with_noise_that_costs_as_much() -> None:
    graph, x, y = clicks()
    place = next(c for c in graph.cuts if c.tensors[0].shape == (16,))
    variant = advisor.defend(
        graph, place, "bottleneck", tuple(t[:8000] for t in x), width=8, epochs=6, batch=100, sigma=(0.2, 0.4)
    )
    rest, own = tuple(t[8000:] for t in x), y[8000:]
    utility = float(advisor.accuracy(variant, rest, own, defense=noise_of(variant, 0.3), task="ranking"))
    noise = as_useful(graph, place, utility, rest, own, "ranking")
    some = tuple(t[:64] for t in rest)
    fitted = advisor.attack(variant, variant.payload, some, defense=noise_of(variant, 0.3), name="ids")
    plain = advisor.attack(graph, place, some, defense=noise, name="ids")
    print(
        utility, float(advisor.accuracy(graph, rest, own, task="ranking")), fitted.top1.value, plain.top1.value, noise
    )
    assert utility > 0.7
    assert fitted.top1.value < plain.top1.value - 0.05


def test_several_tensors_have_a_bottleneck_each_and_masks_pass() -> None:
    x, _ = digits(60)
    graph = advisor.trace(made(Masked), x[:2], max_tensors=3)
    place = next(
        c for c in graph.cuts if {spec.dtype for spec in c.tensors} == {"float32", "bool"} and len(c.tensors) == 3
    )
    for method, count in (("ridge", 3), ("mid", 5), ("local-head", 1)):
        recipe = {} if method == "local-head" else {"width": 2}
        variant = advisor.defend(graph, place, method, x, epochs=1, batch=30, **recipe)
        assert len(variant.payload.tensors) == count, method
        if method != "local-head":
            sent = carried(variant, (x,), 0, variant.payload.index)
            mask = next(t for t in sent if t.dtype == torch.bool)
            before = carried(graph, (x,), 0, place.index)
            assert torch.equal(mask, next(t for t in before if t.dtype == torch.bool))


class Masked(nn.Module):
    """Two maps and a mask cross its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(1, 6, 3, 2, 1), nn.Linear(4 + 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask, left, right = x > 0.5, torch.relu(self.left(x)), torch.relu(self.right(x))
        kept = torch.where(mask, left, -left)
        return self.out(torch.cat([kept.mean((2, 3)), right.mean((2, 3))], 1))


def test_tokens_of_any_length_pass_a_bottleneck_with_their_class_token() -> None:
    graph, x, _ = vision()
    place = next(c for c in graph.cuts if c.name.startswith("first/add#2"))
    variant = advisor.defend(graph, place, "bottleneck", x[:60], width=3, epochs=1, batch=30)
    assert variant.payload.tensors[0].shape == (17, 3)
    encoder = variant.parts.encoder
    assert not [n for n in encoder.graph.nodes if "17" in str(n.args)], "no operation of the encoder knows the length"
