from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers.boards import measured
from advisor.tracing.tracer import trace


@pytest.mark.parametrize("runtime", ["pytorch-eager", "onnxruntime"])
def test_a_real_model_is_measured_and_left_as_found(residual: nn.Module, graph: PartitionGraph, runtime: str) -> None:
    if runtime == "onnxruntime":
        for needed in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(needed)
    threads, state, grad = torch.get_num_threads(), torch.get_rng_state(), torch.is_grad_enabled()
    found = measured.halves(graph, limit=0.5, runtime=runtime)
    assert len(found.edge) == len(found.cloud) == len(graph.cuts)
    assert found.edge[0].value == found.cloud[-1].value == 0
    for half in (*found.edge, *found.cloud):
        assert (half.source, half.unit) == ("measured", "s")
        assert 0 <= half.low <= half.value <= half.high < 1
    assert "threads" in found.notes[0]
    assert found.facts["runtime"] == runtime
    assert torch.equal(state, torch.get_rng_state())
    assert (threads, grad) == (torch.get_num_threads(), torch.is_grad_enabled())
    assert not residual.training


def test_more_work_takes_longer() -> None:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 4)).eval()
    found = measured.halves(trace(model, torch.zeros(2, 8)), limit=2)
    assert np.diff([e.value for e in found.edge]).argmax() == 2
    assert -np.diff([e.value for e in found.cloud]).argmin() == -2


@pytest.fixture
def small() -> PartitionGraph:
    with torch.random.fork_rng():
        return trace(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), torch.zeros(2, 4))


def test_compiled_halves_are_measured(small: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    # The C++ that Inductor writes takes a minute to compile: Dynamo's capture is what may refuse a half.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    before = torch._dynamo.utils.counters["stats"]["calls_captured"]
    found = measured.halves(small, limit=0.5, runtime="torch-compile")
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > before
    assert "torch.compile" in found.notes[0]
    assert found.facts["runtime"] == "torch-compile"
    assert all(half.value > 0 for half in (*found.edge[1:], *found.cloud[:-1]))


def test_a_half_that_does_not_compile_is_one_line(small: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found\nin detail: ...")

    monkeypatch.setattr(torch, "compile", lambda step, **_: refuse)
    with pytest.raises(AdvisorError, match=r"refuses whole: No working C\+\+ compiler found\. Measure with local"):
        measured.halves(small, limit=0.5, runtime="torch-compile")
