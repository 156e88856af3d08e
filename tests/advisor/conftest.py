"""A small CNN trained on digits, and one recommendation for it, shared by the tests of the pipeline."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import advisor
from advisor.estimators.study.leakage_study import study
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.profilers import device, link
from tests.advisor.samples_by_role import by_role
from tests.conftest import attacks_shortened


def digits(count: int):
    """Images `[count, 1, 8, 8]` in [0, 1] and labels, in a random order."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))[:count]
    return torch.tensor(data.images, dtype=torch.float32)[order].unsqueeze(1) / 16, torch.tensor(data.target)[order]


class DigitsNet(nn.Module):
    """Two residual-free blocks and a head; learns digits in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))

    def forward(self, x):
        return self.head(self.block2(self.block1(x)))


@pytest.fixture(scope="session")
def digits_net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, (x, y) = DigitsNet(), digits(1200)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(8):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def digits_data():
    return digits(300)


@pytest.fixture(scope="session")
def digits_advice(digits_net, digits_data):
    with attacks_shortened():
        return advisor.recommend(digits_net, data=digits_data, max_latency=0.2, max_accuracy_drop=0.05, trials=10)


@pytest.fixture(scope="session")
def digits_evaluator(digits_net, digits_data):
    """Prices plans of the small CNN, every leakage column measured."""
    x, y = digits_data
    graph = advisor.trace(digits_net, x[:2])
    with attacks_shortened():
        found = study(graph, x, y)
    profile = advisor.profile(graph).joined(found.profile)
    return PlanEvaluator(graph, profile, found, by_role(x, y), device("jetson"), link("wifi"), 0)
