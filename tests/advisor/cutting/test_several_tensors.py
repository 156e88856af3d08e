"""Cuts that several tensors cross: legal, exact, named, and measured like any other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import advisor
from advisor.cuts import Cut
from advisor.defenses import GaussianNoise, Quantize8
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.plans import Plan
from advisor.tracing.tracer import trace
from tests.advisor.cutting.test_halves import through
from tests.models import ZOO, call, equal

NAMES = sorted(name for name in ZOO if name != "fixed")


class Masked(nn.Module):
    """A mask made of the ids goes beside the numbers all the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layers = nn.Embedding(10, 4), nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = (ids > 0).unsqueeze(2)
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x).masked_fill(~mask, 0.0)
        return x.mean(1)


def masked(most: int = 2) -> PartitionGraph:
    torch.manual_seed(0)
    return trace(Masked().eval(), torch.randint(0, 10, (2, 3)), max_tensors=most)


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_of_up_to_three_tensors_is_exact(name: str) -> None:
    case = ZOO[name]
    graph = trace(case.model(), case.inputs(2), max_tensors=3)
    single = trace(graph, max_tensors=1)
    assert {cut.name for cut in single.cuts} <= {cut.name for cut in graph.cuts}
    assert len({cut.name for cut in graph.cuts}) == len(graph.cuts)
    x = case.inputs(4)
    expected = call(case.model(), case.inputs(4))
    for cut in graph.cuts:
        assert len(cut.tensors) <= 3 or cut.index in (0, len(graph.cuts) - 1)
        assert equal(through(graph.split(cut), x), expected), cut.name


@pytest.mark.parametrize("name", ["residual", "two_inputs", "towers"])
def test_pieces_and_parameters_of_such_cuts_add_up(name: str) -> None:
    case = ZOO[name]
    model = case.model()
    graph = trace(model, case.inputs(2), max_tensors=3)
    carried: Any = graph.flat(case.inputs(3))
    for index in range(1, len(graph.cuts)):
        carried = graph.piece(index)(*(carried if isinstance(carried, tuple) else (carried,)))
    assert equal(carried, call(model, case.inputs(3)))
    used = {id(p) for p in graph.edge_parameters(-1).values() if isinstance(p, nn.Parameter)}
    for cut in graph.cuts:
        edge, cloud = graph.split(cut)
        assert {id(p) for half in (edge, cloud) for p in half.parameters()} == used
        assert {id(p) for p in edge.parameters()} <= {id(p) for p in graph.edge_parameters(cut).values()}


def test_a_residual_block_can_be_cut_inside_with_two_tensors() -> None:
    graph = trace(ZOO["residual"].model(), ZOO["residual"].inputs(2), max_tensors=2)
    assert [len(cut.tensors) for cut in graph.cuts].count(2) >= 1
    assert all("+" in cut.name for cut in graph.cuts[1:-1] if len(cut.tensors) == 2)


def test_a_mask_made_of_the_input_crosses_and_is_named() -> None:
    assert [cut.name for cut in trace(masked(), max_tensors=1).cuts] == ["input", "masked_fill#2", "output"]
    found = {cut.name: [t.dtype for t in cut.tensors] for cut in masked().cuts}
    assert found["unsqueeze+embed"] == ["bool", "float32"]
    assert found["ids+unsqueeze"] == ["int64", "bool"]
    assert found["unsqueeze+layers.1"] == ["bool", "float32"]


def test_masks_are_sent_as_they_are_and_numbers_defended() -> None:
    graph = masked()
    cut = next(c for c in graph.cuts if {t.dtype for t in c.tensors} == {"bool", "float32"})
    ids = torch.randint(0, 10, (5, 3))
    edge, cloud = Payload.of(graph, cut, Quantize8()).halves()
    assert torch.allclose(cloud(edge(ids)), graph(ids), atol=0.05)
    wire = Payload.of(graph, cut, GaussianNoise(1.0)).halves()[0](ids)
    bare = graph.split(cut)[0](ids)
    assert [torch.equal(a, b) for a, b in zip(wire, bare, strict=True)] == [a.dtype == torch.bool for a in bare]
    assert Quantize8().wire_bytes(cut) == sum(t.elements + 8 * t.is_floating for t in cut.tensors)


def test_leakage_and_cost_of_such_cuts_are_measured() -> None:
    torch.manual_seed(0)
    graph = trace(ZOO["residual"].model(), ZOO["residual"].inputs(2), max_tensors=2)
    found = advisor.leakage(graph, ZOO["residual"].inputs(40), only=["linear_nmse", "fisher", "dcor"])
    cost = advisor.profile(graph)
    for cut in (c for c in graph.cuts if len(c.tensors) == 2):
        assert not math.isnan(found["linear_nmse"].values[cut.index])
        assert cost["bytes"].values[cut.index] == cut.bytes
    assert (found["linear_nmse"].values[1:-1] < 1.5).all()
    assert cost["macs"].values[-1] == advisor.profile(trace(graph, max_tensors=1))["macs"].values[-1]


def test_granularity_keeps_the_ends_of_modules() -> None:
    model = ZOO["residual"].model()
    by = {g: trace(model, ZOO["residual"].inputs(2), max_tensors=2, granularity=g) for g in ("op", "layer", "block")}
    names = {g: [cut.name for cut in graph.cuts] for g, graph in by.items()}
    assert set(names["block"]) <= set(names["layer"]) <= set(names["op"])
    assert len(names["layer"]) < len(names["op"])


def test_a_loaded_plan_finds_its_cut_of_two_tensors_again() -> None:
    model = ZOO["residual"].model()
    graph = trace(model, ZOO["residual"].inputs(2), max_tensors=2)
    cut = next(c for c in graph.cuts if len(c.tensors) == 2)
    edge, cloud = Plan((Cut(0, cut.name, cut.tensors),), Quantize8(), {}, inputs=graph.inputs).split(model)
    x = ZOO["residual"].inputs(3)
    assert torch.allclose(cloud(edge(x)), call(model, x), atol=0.1)


def test_a_u_shaped_plan_splits_in_three() -> None:
    model = ZOO["residual"].model()
    graph = trace(model, ZOO["residual"].inputs(2))
    head, tail = graph.cuts[1], graph.cuts[-2]
    plan = Plan((head, tail), Quantize8(), {}, inputs=graph.inputs, graph=graph)
    x = ZOO["residual"].inputs(3)
    parts = plan.split()
    assert len(parts) == 3
    assert torch.allclose(through(parts, x), call(model, x), atol=0.1)
    assert str(plan) == f"{head.name} … {tail.name} + int8"


def test_cuts_of_no_tensors_and_unknown_granularity_are_refused() -> None:
    with pytest.raises(AdvisorError, match=r"Cuts of 0 tensors.*Pass max_tensors=1 or more"):
        trace(ZOO["chain"].model(), ZOO["chain"].inputs(2), max_tensors=0)
    with pytest.raises(AdvisorError, match=r"every 'stage' make no sense.*op, layer, block"):
        trace(ZOO["chain"].model(), ZOO["chain"].inputs(2), granularity="stage")  # type: ignore[arg-type]
