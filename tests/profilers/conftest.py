from __future__ import annotations

import pytest
import torch
from torch import nn

from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace


class Residual(nn.Module):
    """Stem, a residual block with a view, a head; 3×8×8 in, 5 out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.norm(self.body(x)) + x)
        return self.head(x.flatten(1))


@pytest.fixture(scope="session")
def residual() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Residual().eval()


@pytest.fixture(scope="session")
def graph(residual: nn.Module) -> PartitionGraph:
    return trace(residual, torch.zeros(2, 3, 8, 8))
