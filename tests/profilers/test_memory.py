from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from advisor.graph import PartitionGraph
from advisor.operations.symbols import is_symbolic
from advisor.profilers.memory import crossing_bytes, edge_memory, params, peak_activations
from advisor.tracing.tracer import trace

PLANE = 4 * 8 * 8 * 4  # bytes of one activation of the residual net


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(torch.relu(self.first(x)))


class Wide(nn.Module):
    """Branches of different size, views of a large value that outlive it, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(8, 64), nn.Linear(8, 16), nn.Linear(80, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = torch.relu(self.left(x)), torch.tanh(self.right(x))
        first = left[:, :4].reshape(-1, 2, 2)
        return self.out(torch.cat([left, right], 1)) + first.flatten(1)[:, :2]


def slow_peak(graph: PartitionGraph, index: int) -> float:
    """The definition, literally: at each operation, everything that something later still needs, and its own result."""
    nodes = [n for n in graph.edge_nodes(index) if not is_symbolic(n)]
    size = {n: graph.value_bytes(n) for n in nodes}
    size |= {n: float(s.bytes) for n, s in zip(graph.activation_nodes[0], graph.cuts[0].tensors, strict=True)}

    def owners(node: fx.Node) -> set[fx.Node]:
        if node.op == "get_attr" or is_symbolic(node):
            return set()
        if size[node]:
            return {node}
        return set().union(*(owners(s) for s in node.all_input_nodes))

    peak = sum(size[n] for n in graph.activation_nodes[0])
    for now in range(len(nodes)):
        made = {*graph.activation_nodes[0], *(o for n in nodes[: now + 1] for o in owners(n))}
        needed = {o for n in nodes[now:] for s in n.all_input_nodes for o in owners(s)}
        needed |= {o for n in graph.activation_nodes[index] for o in owners(n)} | owners(nodes[now])
        peak = max(peak, sum(size[n] for n in made & needed))
    return peak


@pytest.mark.parametrize(("model", "shape"), [(Wide(), (8,)), (Tied(), (6,))])
def test_peak_agrees_with_the_definition(model: nn.Module, shape: tuple[int, ...]) -> None:
    graph = trace(model.eval(), torch.zeros(2, *shape))
    assert peak_activations(graph) == pytest.approx([slow_peak(graph, i) for i in range(len(graph.cuts))])


def test_peak_of_a_residual_block(graph: PartitionGraph) -> None:
    assert peak_activations(graph) == pytest.approx([slow_peak(graph, i) for i in range(len(graph.cuts))])
    assert peak_activations(graph)[0] == 3 * 8 * 8 * 4
    assert peak_activations(graph)[-1] == 3 * PLANE  # skip, and input and output of the norm or of the sum


def test_peak_of_a_real_network() -> None:
    from torchvision import models

    with torch.random.fork_rng():
        graph = trace(models.shufflenet_v2_x0_5(weights=None).eval(), torch.zeros(2, 3, 64, 64))
    last = len(graph.cuts) - 1
    peaks = peak_activations(graph)
    assert [peaks[i] for i in (1, last // 2, last)] == pytest.approx(
        [slow_peak(graph, i) for i in (1, last // 2, last)]
    )


def test_params_and_memory_of_the_whole(residual: nn.Module, graph: PartitionGraph) -> None:
    counts = params(graph).values
    assert counts[0] == 0
    assert counts[-1] == sum(p.numel() for p in residual.parameters())
    assert (counts[1:] >= counts[:-1]).all()
    weights = sum(t.numel() * t.element_size() for t in graph.edge_parameters(len(graph.cuts) - 1).values())
    assert edge_memory(graph).values[-1] == weights + 3 * PLANE


def test_shared_parameters_count_once() -> None:
    graph = trace(Tied().eval(), torch.zeros(2, 6))
    assert params(graph).values[-1] == 42


def test_bytes_are_those_of_the_cut(graph: PartitionGraph) -> None:
    column = crossing_bytes(graph)
    assert (column.values[0], column.values[-1], column.unit) == (3 * 8 * 8 * 4, 20, "B")


def test_sizes_keep_nothing_alive() -> None:
    class Reshaped(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(torch.relu(x))
            return torch.relu(y.reshape(x.shape[0], 2, -1))

    graph = trace(Reshaped().eval(), torch.zeros(2, 8))
    assert peak_activations(graph)[-1] == 2 * 8 * 4
