"""Random DAGs of layers: no cut missed, none illegal, every split exact, weights shared and adding up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advisor.derivatives.tangents import tangent_energies
from advisor.tracing.tracer import trace
from tests.advisor.test_graph import separates
from tests.models import call, equal

WIDTH = 3
UNARY = ("linear", "shared", "relu", "tanh", "write", "overwrite", "view", "halves", "buffer", "norm")
BINARY = ("add", "mul", "cat", "product", "slice")


@dataclass(frozen=True)
class Step:
    """One operation: what it does, and which earlier values it reads (counted back from the newest)."""

    kind: str
    first: int
    second: int


class RandomDag(nn.Module):
    """Values are a list; each step appends one made of earlier ones; loose ends become outputs."""

    def __init__(self, inputs: int, steps: tuple[Step, ...], outputs: int) -> None:
        super().__init__()
        self.inputs, self.steps, self.outputs = inputs, steps, outputs
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in steps)
        self.wide = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in steps)

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        values = list(x)
        for step, layer, wide in zip(self.steps, self.layers, self.wide, strict=True):
            one, two = (values[-1 - index % len(values)] for index in (step.first, step.second))
            values.append(self.apply_step(step.kind, one, two, layer, wide))
        return tuple(values[-self.outputs :])

    def apply_step(self, kind: str, one: Tensor, two: Tensor, layer: nn.Module, wide: nn.Module) -> Tensor:
        match kind:
            case "linear":
                return layer(one)
            case "shared":
                return self.shared(one)
            case "relu":
                return torch.relu(one)
            case "tanh":
                return torch.tanh(one)
            case "write":
                return layer(one).mul_(0.5).add_(two)
            case "overwrite":  # an earlier value, perhaps an input, changes for all who read it later
                one.mul_(0.5)[:, 0].add_(1.0)
                return one
            case "halves":
                left, right = one.split((1, WIDTH - 1), 1)
                return torch.cat([right, left.neg()], 1)
            case "buffer":
                return one * self.scale
            case "view":
                return one.view(-1, 1, WIDTH).transpose(1, 2).reshape(one.shape[0], WIDTH)
            case "norm":
                return nn.functional.layer_norm(one, (WIDTH,))
            case "add":
                return one + two
            case "mul":
                return one * two.sigmoid()
            case "slice":
                whole = one * 1
                whole[:, :2].add_(two[:, 1:])
                return whole
            case "cat":
                return wide(torch.cat([one, two], 1))
        return (one.unsqueeze(2) @ two.unsqueeze(1)).mean(2)


@st.composite
def dags(draw: st.DrawFn) -> RandomDag:
    """Chains with a few skips: most steps read the newest value, some reach back."""
    inputs = draw(st.integers(1, 3))
    kinds = st.sampled_from(UNARY + BINARY)
    reach = st.one_of(st.just(0), st.integers(0, 5))
    steps = draw(st.lists(st.builds(Step, kinds, reach, reach), min_size=1, max_size=12))
    torch.manual_seed(draw(st.integers(0, 99)))
    return RandomDag(inputs, tuple(steps), draw(st.integers(1, min(2, len(steps))))).eval()


def samples(model: RandomDag, rows: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(rows)
    return tuple(torch.randn(rows, WIDTH, generator=generator) for _ in range(model.inputs))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(dags())
def test_random_dags(model: RandomDag) -> None:
    graph = trace(model, samples(model, 2))

    wanted = {n for n in graph.data_nodes if separates(graph, n) and graph.spec(n) is not None}
    ends = {nodes[0] for nodes in (graph.activation_nodes[0], graph.activation_nodes[-1]) if len(nodes) == 1}
    assert {nodes[0] for nodes in graph.activation_nodes[1:-1]} == wanted - ends

    assert len({cut.name for cut in graph.cuts}) == len(graph.cuts)
    live = {id(p): p.numel() for p in graph.edge_parameters(-1).values() if isinstance(p, nn.Parameter)}
    for rows in (2, 5):
        expected = model(*samples(model, rows))
        assert equal(graph(samples(model, rows)), expected)
        for cut in graph.cuts:
            edge, cloud = graph.split(cut)
            x = samples(model, rows)
            crossing = call(edge, x)
            kept = [t.clone() for t in (crossing if isinstance(crossing, tuple) else (crossing,))]
            assert equal(cloud(crossing), expected)
            assert equal(x, samples(model, rows))
            assert equal(list(crossing) if isinstance(crossing, tuple) else [crossing], kept)
            halves = [{id(p): p.numel() for p in half.parameters()} for half in (edge, cloud)]
            assert halves[0] | halves[1] == live
    check_tangents(model, graph)


def check_tangents(model: RandomDag, graph: Any) -> None:
    """The energy of a probe is ‖J v‖² of the whole model in the same direction."""
    x = samples(model, 2)
    found = tangent_energies(graph, x, probes=1, seed=4)[graph.cuts[-1].index]
    generator = torch.Generator().manual_seed(4)
    v = tuple((torch.randint(0, 2, (1, *t.shape), generator=generator, dtype=torch.int8) * 2 - 1).float() for t in x)
    _, pushed = torch.func.jvp(model, x, tuple(d[0] for d in v))
    once = [p for i, p in enumerate(pushed) if graph.results.index(graph.results[i]) == i]
    expected = sum(p.double().square().sum(1) for p in once)
    assert found.problem == ""
    assert torch.allclose(found.energy[0], expected, rtol=1e-4, atol=1e-8)
