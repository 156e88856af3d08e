"""Halves: exact for every cut, any batch, shared weights that add up, inputs and model left alone."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.errors import CutError
from advisor.operations.grouping import Grouped
from advisor.payload import Payload
from advisor.support.preserve import plain_attention
from advisor.tracing.tracer import trace
from tests.models import ZOO, call, equal, traced

NAMES = list(ZOO)


def through(parts: tuple[nn.Module, ...], x: Any) -> Any:
    """`cloud(edge(x))`."""
    x = call(parts[0], x)
    for part in parts[1:]:
        x = part(x)
    return x


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_cut_is_exact_at_every_batch_size(name: str, rows: int) -> None:
    graph, make = traced(name), ZOO[name].inputs
    expected = call(ZOO[name].model(), make(rows))
    for cut in graph.cuts:
        assert equal(through(graph.split(cut), make(rows)), expected), cut.name


@pytest.mark.parametrize("name", NAMES)
def test_gradients_may_be_off(name: str) -> None:
    graph = traced(name)
    with torch.no_grad(), plain_attention():
        expected = call(ZOO[name].model(), ZOO[name].inputs(2))
        for cut in graph.cuts:
            assert equal(through(graph.split(cut), ZOO[name].inputs(2)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_u_shaped_splits_are_exact(name: str) -> None:
    graph = traced(name)
    expected = call(ZOO[name].model(), ZOO[name].inputs(2))
    indices = range(len(graph.cuts))
    for head, tail in [pair for pair in combinations(indices, 2) if pair[1] - pair[0] in (1, len(graph.cuts) - 1)]:
        parts = graph.split(head, tail)
        assert len(parts) == 3
        assert equal(through(parts, ZOO[name].inputs(2)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_halves_never_write_to_their_input(name: str) -> None:
    graph = traced(name)
    for cut in graph.cuts:
        x = ZOO[name].inputs(2)
        edge, cloud = graph.split(cut)
        crossing = call(edge, x)
        assert equal(x, ZOO[name].inputs(2)), f"the edge half wrote to its input at {cut.name}"
        before = pytree.tree_map_only(Tensor, torch.clone, crossing)
        cloud(crossing)
        assert equal(crossing, before), f"the cloud half wrote to its input at {cut.name}"


def weights(module: nn.Module) -> dict[int, nn.Parameter]:
    return {id(p): p for p in module.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_shared_and_add_up(name: str) -> None:
    model = ZOO[name].model()
    graph, own = trace(model, ZOO[name].inputs(2)), weights(model)
    for cut in graph.cuts:
        edge, cloud = map(weights, graph.split(cut))
        assert edge.keys() <= own.keys()
        assert cloud.keys() <= own.keys()
        assert sum(p.numel() for p in (edge | cloud).values()) == ZOO[name].params
        assert {id(v) for v in graph.edge_parameters(cut).values() if isinstance(v, nn.Parameter)} == edge.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_half_holds_no_more_than_it_uses(name: str) -> None:
    graph = traced(name)
    for cut in graph.cuts:
        for half in graph.split(cut):
            body = half.body if isinstance(half, Grouped) else half
            read = {node.target for node in body.graph.nodes if node.op == "get_attr"}
            assert set(body.state_dict()) <= read


def test_only_tied_weights_are_on_both_sides() -> None:
    for name in NAMES:
        graph = traced(name)
        for cut in graph.cuts:
            edge, cloud = map(weights, graph.split(cut))
            assert name in ("shared", "autocast") or not edge.keys() & cloud.keys()
    edge, cloud = map(weights, traced("shared").split("act#2"))
    assert sum(p.numel() for p in edge.values()) == sum(p.numel() for p in cloud.values()) == 42


def test_training_one_half_trains_the_model() -> None:
    model = ZOO["chain"].model()
    edge, cloud = trace(model, torch.zeros(2, 3, 6, 6)).split("bn")
    cloud(edge(torch.rand(2, 3, 6, 6))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_halves_take_the_models_own_arguments() -> None:
    named = ZOO["keywords"].inputs(3)
    edge, cloud = traced("keywords").split("relu")
    assert torch.equal(cloud(edge(**named)), ZOO["keywords"].model()(**named))
    (batch,) = ZOO["nested"].inputs(3)
    edge, cloud = traced("nested").split("relu")
    assert torch.equal(cloud(edge(batch)), ZOO["nested"].model()(batch))


def test_several_tensors_cross_as_a_tuple_or_one_by_one() -> None:
    left, right = ZOO["two_inputs"].inputs(3)
    edge, cloud = traced("two_inputs").split("input")
    expected = ZOO["two_inputs"].model()(left, right)
    assert equal(edge(left, right), (left, right))
    assert torch.equal(cloud(edge(left, right)), expected)
    assert torch.equal(cloud(*edge(left, right)), expected)


def test_outputs_keep_the_models_own_type() -> None:
    _, cloud = traced("dataclass_output").split("a")
    assert type(cloud(torch.zeros(2, 4))).__name__ == "Answer"
    assert cloud(torch.zeros(3, 4)).hidden[0].shape == (3, 4)
    _, cloud = traced("sizes").split("a")
    assert cloud(torch.zeros(7, 4))[1:] == (14, 6)


def test_halves_can_be_saved_as_programs(tmp_path: Any) -> None:
    graph, x = traced("residual"), ZOO["residual"].inputs(2)
    edge, cloud = graph.split("add")
    for number, (half, given) in enumerate(((edge, x), (cloud, edge(x)))):
        torch.export.save(torch.export.export(half, (given,)), tmp_path / f"{number}.pt2")
        again = torch.export.load(tmp_path / f"{number}.pt2").module()
        assert torch.equal(again(given), half(given))


# ---- with a defense inside ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain", "half", "two_inputs", "towers"])
def test_defended_parts_at_every_cut(name: str) -> None:
    graph, x = traced(name), ZOO[name].inputs(4)
    expected = pytree.tree_leaves(call(ZOO[name].model(), x))
    for cut in graph.cuts:
        found = pytree.tree_leaves(through(Payload.of(graph, cut, Quantize8()).halves(), x))
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype
            assert torch.allclose(a, b, atol=0.1), cut.name


def test_no_defense_leaves_the_halves_bare() -> None:
    graph, x = traced("chain"), ZOO["chain"].inputs(3)
    assert torch.equal(through(Payload.of(graph, graph.cut("bn"), NoDefense()).halves(), x), ZOO["chain"].model()(x))


def test_noise_is_fresh_at_each_call() -> None:
    edge, _ = Payload.of(traced("chain"), traced("chain").cut("bn"), GaussianNoise(1.0)).halves()
    x = ZOO["chain"].inputs(3)
    assert not torch.equal(edge(x), edge(x))


def test_integers_cannot_be_defended() -> None:
    graph = traced("argmax")
    with pytest.raises(CutError, match=r"activation at 'argmax' is int64: gaussian\(sigma=1.*Cut elsewhere"):
        Payload.of(graph, graph.cut("argmax"), GaussianNoise(1.0)).halves()
