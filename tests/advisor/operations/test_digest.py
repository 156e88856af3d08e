"""The digest of a graph: the same for what computes the same, another one for whatever differs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export, save

from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace
from tests.models import ZOO, traced


def written(model: nn.Module, x: Tensor, folder: Path, dynamic: bool = True) -> PartitionGraph:
    shapes = ({0: Dim.DYNAMIC},) if dynamic else None
    save(export(model, (x,), dynamic_shapes=shapes), folder / "model.pt2")
    return trace(folder / "model.pt2")


@pytest.mark.parametrize("name", ["chain", "attention", "recurrent", "writes_input", "fourier", "tokens"])
def test_a_module_and_its_program_have_the_same(name: str, tmp_path: Path) -> None:
    assert written(ZOO[name].model(), ZOO[name].inputs(3), tmp_path).digest == traced(name).digest


def test_a_frozen_batch_is_the_same_model(tmp_path: Path) -> None:
    assert written(ZOO["chain"].model(), ZOO["chain"].inputs(4), tmp_path, False).digest == traced("chain").digest


def test_a_module_rebuilt_from_its_weights_has_the_same() -> None:
    first, second = ZOO["chain"].model(), type(ZOO["chain"].model())().eval()
    x = ZOO["chain"].inputs(2)
    assert trace(first, x).digest != trace(second, x).digest
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert trace(first, x).digest == trace(second, x).digest


def test_neither_names_nor_memory_nor_the_choice_of_cuts_play_a_part() -> None:
    class Renamed(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.inner = body

        def forward(self, y: Tensor) -> Tensor:
            return self.inner(y)

    model, x = ZOO["chain"].model(), ZOO["chain"].inputs(2)
    first = trace(model, x).digest
    assert trace(Renamed(model).eval(), x).digest == first
    assert trace(model, x, max_tensors=2, granularity="layer").digest == first
    assert trace(copy.deepcopy(model).to(memory_format=torch.channels_last), x).digest == first


def small(change: Callable[[nn.Module], object] = lambda model: None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Softplus(), nn.Linear(6, 3)).eval()
    change(model)
    return model


def put(model: nn.Module, place: str, value: nn.Module) -> None:
    model.set_submodule(place, value.eval())


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "the last bit of one weight": lambda m: (
        m[0].weight.data[3, 2].copy_(m[0].weight[3, 2].nextafter(torch.tensor(9.0)))
    ),
    "a buffer": lambda m: m[1].running_var.mul_(2),
    "an operation": lambda m: put(m, "2", nn.GELU()),
    "an argument of an operation": lambda m: put(m, "2", nn.Softplus(beta=2)),
    "two weights of one shape": lambda m: (m[1].weight.data.zero_(), m[1].bias.data.fill_(1)),
    "dtype": lambda m: m.double(),
    "order": lambda m: (put(m, "1", nn.Softplus()), put(m, "2", nn.BatchNorm1d(6))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_differs_gives_another_one(change: str) -> None:
    model = small(CHANGES[change])
    x = torch.rand(2, 6, dtype=next(model.parameters()).dtype)
    assert trace(model, x).digest != trace(small(), torch.rand(2, 6)).digest


def test_the_shape_of_the_input_counts() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU()).eval()
    assert trace(model, torch.rand(2, 1, 8)).digest != trace(model, torch.rand(2, 1, 9)).digest


def test_reading_one_value_twice_is_not_reading_two() -> None:
    class Sum(nn.Module):
        def __init__(self, twice: bool) -> None:
            super().__init__()
            self.twice = twice

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.exp() + (x if self.twice else y).exp()

    pair = (torch.rand(2, 3), torch.rand(2, 3))
    assert trace(Sum(True), pair).digest != trace(Sum(False), pair).digest


def test_weights_that_were_written_are_counted_anew() -> None:
    model = small()
    graph = trace(model, torch.rand(2, 6))
    before = graph.digest
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert graph.digest != before
    with torch.no_grad():
        model[0].weight.div_(2)
    assert graph.digest == before


def test_a_hundred_megabytes_take_less_than_a_second_and_then_nothing() -> None:
    graph = trace(nn.Sequential(nn.Linear(5000, 5000), nn.ReLU()).eval(), torch.rand(2, 5000))
    start = time.perf_counter()
    first = graph.digest
    middle = time.perf_counter()
    assert graph.digest == first
    assert middle - start < 1.0
    assert time.perf_counter() - middle < 0.01
