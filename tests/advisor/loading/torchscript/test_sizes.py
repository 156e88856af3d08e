"""TorchScript traces arithmetic on sizes as tensors: they are sizes all the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advisor.errors import TraceError
from advisor.loading import load_model
from advisor.tracing.tracer import trace


class Reshaping(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.function = nn.Conv2d(3, 4, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.convolution(x).relu())


def _products(y: Tensor) -> Tensor:
    b, c, h, w = y.shape
    return y.reshape(b * c, h * w).softmax(1).reshape(b, c * h * w)


def _shuffled(y: Tensor) -> Tensor:
    b, c, h, w = y.shape
    return y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, (c - 1) * h * w + h * w)


def _ranged(y: Tensor) -> Tensor:
    _, c, h, w = y.shape
    return y[:, :, torch.arange(h - 1, -1, -1)].reshape(-1, c * h * w) * (c * h) ** -0.5


def _saved(model: nn.Module, x: Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: Any = torch.jit.trace(model, x, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(made, path)
    return path


@pytest.mark.parametrize("function", [_products, _shuffled, _ranged])
def test_reshapes_by_computed_sizes_split_exactly_at_any_batch(
    function: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, x = Reshaping(function).eval(), torch.rand(2, 3, 8, 8)
    loaded = load_model(_saved(model, x, tmp_path / "m.pt"), input_shape=(3, 8, 8))
    graph = trace(loaded.model, x)
    assert graph.fixed_batch is None
    x = torch.rand(5, 3, 8, 8)
    for cut in graph.cuts:
        edge, cloud = graph.split(cut)
        assert torch.equal(cloud(edge(x)), model(x)), cut.name


class Values(nn.Module):
    """Reads a number out of a tensor: of the input's values, or of its shape only."""

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        read = x.argmax() if self.values else torch.scalar_tensor(x.shape[0]).sqrt()
        count = read.long().item()
        torch._check(count >= 0)
        torch._check(count <= 4)
        return (x * 2)[:, :count]


@pytest.mark.parametrize(
    ("values", "why"),
    [(True, "depends on the values of the input"), (False, "is computed from the shape of the input as a tensor")],
)
def test_the_reason_of_a_size_that_is_not_known_is_the_true_one(values: bool, why: str) -> None:
    with pytest.raises(TraceError, match=why):
        trace(Values(values).eval(), torch.rand(3, 4))
