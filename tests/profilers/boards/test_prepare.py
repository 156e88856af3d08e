from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers.boards import agent
from advisor.profilers.boards.prepare import attention, one_sample, prepare
from advisor.profilers.support.fingerprint import check, fingerprint
from advisor.tracing.tracer import trace


class Attentive(nn.Module):
    """Two inputs, attention between them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.out(F.scaled_dot_product_attention(self.query(x), y, y)).relu()


@pytest.fixture(scope="module")
def attentive() -> PartitionGraph:
    with torch.random.fork_rng():
        return trace(Attentive().eval(), (torch.rand(2, 3, 4), torch.rand(2, 5, 4)))


def results(case: agent.Case) -> object:
    _, steps, carried = case
    for step in steps:
        result = step(*carried)
        carried = result if isinstance(result, tuple | list) else (result,)
    return carried[0]


@pytest.mark.parametrize("runtime", ["pytorch-eager", "torch-compile", "onnxruntime"])
@pytest.mark.parametrize("name", ["graph", "attentive"])
def test_every_half_computes_what_the_model_does(
    name: str, runtime: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, edge + cloud at every cut, and the chain of pieces all give the same output in the agent."""
    # The C++ that Inductor writes takes a minute to compile: Dynamo's capture is what may refuse a half.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    if runtime == "onnxruntime":
        for needed in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(needed)
    graph: PartitionGraph = request.getfixturevalue(name)
    job = json.loads(json.dumps(prepare(graph, runtime, tmp_path, fused_attention=False)))
    enabled = torch.is_grad_enabled()
    try:
        made = agent.RUNTIMES[runtime](
            {**job, "threads": 1, "on": {"onnxruntime": "CPUExecutionProvider"}.get(runtime)}
        )
        cases = made.cases(job, str(tmp_path))
        first = [torch.as_tensor(x) for x in cases[0][2]]
        expected = graph.module(*first)[0] if isinstance(graph.module(*first), tuple) else graph.module(*first)
        for case in cases:
            assert torch.allclose(torch.as_tensor(results(case)), expected, atol=1e-5), case[0]
        names = [n for case in cases for n in case[0]]
        assert names.count("whole") == 1
        assert sum(n.startswith("edge:") for n in names) == len(graph.cuts) - 2
    finally:
        torch.set_grad_enabled(enabled)
        torch._C._set_graph_executor_optimize(True)


def test_weights_are_sent_once(graph: PartitionGraph, tmp_path: Path) -> None:
    prepare(graph, "pytorch-eager", tmp_path)
    held = sum(t.numel() * t.element_size() for t in graph.edge_parameters(len(graph.cuts) - 1).values())
    assert len(list(tmp_path.glob("*.pt"))) == len(graph.cuts) - 1
    assert sum(path.stat().st_size for path in tmp_path.glob("*.pt")) < held + 12_000 * len(graph.cuts)


@pytest.mark.slow
def test_many_halves_are_compiled_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than Dynamo keeps for one function."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    with torch.random.fork_rng():
        graph = trace(nn.Sequential(*(nn.Linear(4, 4) for _ in range(10))).eval(), torch.zeros(2, 4))
    job = prepare(graph, "torch-compile", tmp_path)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    cases = agent.Compiled({**job, "threads": 1, "on": "cpu"}).cases(job, str(tmp_path))
    torch.set_grad_enabled(True)
    torch._C._set_graph_executor_optimize(True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 1 + 2 * 9 + 10
    assert torch.equal(results(cases[0]), results(cases[5]))


@pytest.mark.parametrize("masked", ["no", "bool", "float", "causal", "scale"])
def test_attention_is_that_of_torch(masked: str) -> None:
    q, k, v = (torch.randn(2, 3, n, 8, generator=torch.Generator().manual_seed(n)) for n in (4, 6, 6))
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    options = {
        "no": {}, "bool": {"attn_mask": mask}, "float": {"attn_mask": mask.float()}, "causal": {"is_causal": True},
        "scale": {"scale": 0.3},
    }[masked]  # fmt: skip
    assert torch.allclose(attention(q, k, v, **options), F.scaled_dot_product_attention(q, k, v, **options), atol=1e-6)


def test_grouped_queries() -> None:
    q, k, v = (torch.randn(2, heads, 4, 8, generator=torch.Generator().manual_seed(heads)) for heads in (6, 2, 2))
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert torch.allclose(attention(q, k, v, enable_gqa=True), expected, atol=1e-6)


def test_integers_are_valid_indices() -> None:
    model = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)).eval()
    graph = trace(model, torch.zeros(2, 5, dtype=torch.long))
    assert one_sample(graph)[0].tolist() == [[0] * 5]


def test_an_unknown_runtime(graph: PartitionGraph, tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"no runtime 'abacus'.*onnxruntime"):
        prepare(graph, "abacus", tmp_path)


def test_a_fingerprint_knows_shapes_but_not_weights(graph: PartitionGraph, residual: nn.Module) -> None:
    again = trace(residual, torch.ones(3, 3, 8, 8))
    assert fingerprint(again) == fingerprint(graph)
    small = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), torch.zeros(2, 4))
    other = trace(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).eval(), torch.zeros(2, 4))
    retrained = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), torch.zeros(2, 4))
    assert fingerprint(small) == fingerprint(retrained) != fingerprint(other)
    check({}, small)
    check({"fingerprint": fingerprint(small)}, retrained)
    with pytest.raises(AdvisorError, match=r"profile is of another model.*advisor profile"):
        check({"fingerprint": fingerprint(small)}, other)
