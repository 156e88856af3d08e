"""Samples that cross once for many questions."""

from __future__ import annotations

import pytest
import torch

from advisor import activations as activations
from advisor.activations import ActivationCache, Activations
from advisor.cuts import Cut
from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace


@pytest.fixture
def graph() -> PartitionGraph:
    with torch.random.fork_rng():
        layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)]
    return trace(torch.nn.Sequential(*layers).eval(), torch.zeros(2, 4))


def exact(graph: PartitionGraph, cut: Cut, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return graph.split(cut)[0](x)


def test_each_cut_is_reached_exactly_in_any_order(graph: PartitionGraph) -> None:
    x = torch.rand(40, 4)
    kept = Activations(graph, (x,))
    for index in (3, 1, 4, 2, 3):
        (z,) = kept.at(graph.cuts[index])
        assert torch.allclose(z, exact(graph, graph.cuts[index], x), atol=1e-6)


def test_the_least_recently_used_goes_first(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "CACHE_BYTES", 40 * 8 * 4)
    kept = Activations(graph, (torch.rand(40, 4),))
    first = kept.at(graph.cuts[1])
    assert kept.at(graph.cuts[1])[0] is first[0]
    kept.at(graph.cuts[2])
    assert kept.at(graph.cuts[1])[0] is not first[0]


def test_equal_samples_share_a_walk_and_others_do_not(graph: PartitionGraph) -> None:
    x, other = torch.rand(8, 4), torch.rand(8, 4)
    walks, cut = ActivationCache(graph), graph.cuts[2]
    found = walks.at(cut, [x])
    assert found is not None
    again = walks.at(cut, [x.clone()])
    assert again is not None
    assert again[0] is found[0]
    different = walks.at(cut, [other])
    assert different is not None
    assert torch.allclose(different[0], exact(graph, cut, other), atol=1e-6)


def test_what_is_too_large_is_not_kept(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "CACHE_BYTES", 8 * 8 * 4)
    assert ActivationCache(graph).at(graph.cuts[1], [torch.rand(8, 4)]) is not None
    assert ActivationCache(graph).at(graph.cuts[1], [torch.rand(9, 4)]) is None


def test_attacks_that_share_walks_find_the_same(graph: PartitionGraph) -> None:
    from advisor.estimators.attacks.runner import attack

    x, aux = torch.rand(24, 4), torch.rand(40, 4)
    walks = ActivationCache(graph)
    for cut in (1, 3):
        alone = attack(graph, cut, x, aux)
        shared = attack(graph, cut, x, aux, walks=walks)
        assert shared.nmse == alone.nmse
