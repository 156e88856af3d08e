"""One yes or no over all samples: refused where it decides, though random samples all fall on one side of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from advisor.errors import TraceError
from advisor.tracing.tracer import trace


class Net(nn.Module, ABC):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    @abstractmethod
    def middle(self, h: Tensor) -> Any:
        """Between the two layers."""

    def forward(self, x: Tensor) -> Any:
        return self.b(self.middle(self.a(x)))


class Where(Net):
    def middle(self, h: Tensor) -> Any:
        return torch.where(h.mean() > 30, h * 2, h)


class Cond(Net):
    def middle(self, h: Tensor) -> Any:
        return torch.cond(h.mean() > 30, lambda v: v * 2, lambda v: v * 1, (h,))


class GrowsUntil(Net):
    """At random samples every row alone takes as many turns as all together: none."""

    def middle(self, h: Tensor) -> Any:
        def goes_on(largest: Tensor, v: Tensor) -> Tensor:
            return largest > 1e6

        start = h.abs().max()
        return while_loop(goes_on, lambda largest, v: (largest / 2, v / 2), (start, h))[1]


@pytest.mark.parametrize("model", [Where, Cond, GrowsUntil])
def test_what_all_samples_decide_is_refused(model: type[Net]) -> None:
    with pytest.raises(TraceError, match=r"is one yes or no for all of them at test_deciding\.py:\d+.*torch\.where"):
        trace(model(), torch.rand(4, 6))


class NanGuard(Net):
    def middle(self, h: Tensor) -> Any:
        return torch.cond(h.isnan().any(), lambda v: v.nan_to_num(), lambda v: v * 1, (h,))


class OwnMask(Net):
    def middle(self, h: Tensor) -> Any:
        return torch.where(h.mean(1, keepdim=True) > 0, h, -h)


class OwnWeights(Net):
    def middle(self, h: Tensor) -> Any:
        return torch.cond(self.b.weight.sum() > 0, lambda v: v * 2, lambda v: v - 1, (h,))


class ThreeTurns(Net):
    def middle(self, h: Tensor) -> Any:
        return while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 1.5), (torch.zeros((), dtype=torch.int64), h))[1]


@pytest.mark.parametrize("model", [NanGuard, OwnMask, OwnWeights, ThreeTurns])
def test_what_decides_nothing_or_for_each_sample_is_traced(model: type[Net]) -> None:
    net, x = model(), torch.randn(5, 6)
    graph = trace(net, torch.rand(4, 6))
    with torch.no_grad():
        for edge, cloud in (graph.split(i) for i in range(len(graph.cuts))):
            assert torch.equal(cloud(edge(x)), net(x))
    assert graph.digest
