"""Why a model cannot be traced, and what its owner can do: one line each."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advisor.errors import TraceError
from advisor.tracing.tracer import trace


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)


class Inline(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.layer(x).square().sum(), x)
        return self.layer(slope)  # type: ignore[no-any-return]


def slope_of(layer: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(layer(x).sum(), x)[0]


class ByFunction(Net):
    def forward(self, x: Tensor) -> Tensor:
        return slope_of(self.layer, x)


class ByMethod(Net):
    def step(self, x: Tensor) -> Any:
        x = x.detach().requires_grad_(True)
        self.layer(x).sum().backward()
        return x.grad

    def forward(self, x: Tensor) -> Any:
        return self.layer(self.step(x))


class Functional(Net):
    def forward(self, x: Tensor) -> Any:
        return torch.func.grad(lambda v: self.layer(v).square().sum())(x)


class Beside(Net):
    """torch makes constants of the pullback, which fail only where the graph is run."""

    def forward(self, x: Tensor) -> Any:
        return self.layer(x + torch.func.vjp(torch.square, x)[1](torch.ones_like(x))[0])


class ByRows(Net):
    """torch leaves two transforms entered, one of them no vmap."""

    def forward(self, x: Tensor) -> Any:
        return self.layer(x + torch.vmap(torch.func.jacrev(lambda v: v.square().sum()))(x))


@pytest.mark.parametrize("kind", [Inline, ByFunction, ByMethod, Functional, Beside, ByRows])
def test_a_gradient_in_the_forward_has_the_documented_answer(kind: type[Net]) -> None:
    with pytest.raises(TraceError, match=r"its forward takes a gradient, .*Write the derivative out"):
        trace(kind().eval(), torch.rand(4, 6))
    assert trace(nn.Linear(6, 4), torch.rand(4, 6)).cuts  # torch is left as it was


def test_quantised_modules_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 4)), {nn.Linear})
    with pytest.raises(TraceError, match=r"its module 0 \(nn\.quantized\.dynamic.*as it was before it was quantised"):
        trace(model, torch.rand(4, 6))
