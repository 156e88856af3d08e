"""The grid of a small CNN on digits: six blocks × eight levels of noise, rounding and nothing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import advisor
from advisor import profilers
from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.estimators.study.leakage_study import study
from advisor.planning.evaluating.evaluation import PlanEvaluator
from benchmarks.search.ground_truth import Grid, measured

DEVICE, LINK = "jetson-nano", "3g-jointdnn"
TABLE = Path(__file__).with_suffix(".csv")


def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images `[1797, 1, 8, 8]` in [0, 1] and their classes, shuffled."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(data.images, dtype=torch.float32)[order, None] / 16
    return x, torch.tensor(data.target)[order]


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    """The network after so many epochs, in evaluation mode."""
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def network(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small CNN of six blocks trained on 900 digits, and the others."""
    torch.manual_seed(seed)
    x, y = digits(seed)
    blocks = OrderedDict(
        stem=block(1, 12), stage1=block(12, 24, 2), stage2=block(24, 24), stage3=block(24, 32, 2), stage4=block(32, 32),
        hidden=nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 32), nn.ReLU()), classes=nn.Linear(32, 10),
    )  # fmt: skip
    return trained(nn.Sequential(blocks), x[:900], y[:900], epochs=10), x[900:], y[900:]


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def evaluator() -> PlanEvaluator:
    """Prices plans of that network: 300 samples for validation, 400 of the attacker, 197 private ones."""
    net, x, y = network()
    graph = advisor.trace(net, x[:2], granularity="block")
    parts = {"validation": slice(0, 300), "attacker": slice(300, 700), "private": slice(700, 897)}
    roles = Roles({name: Samples(x[s], y[s], "digits", name) for name, s in parts.items()})
    private, own = roles["private"], roles["attacker"]
    found = study(graph, private.x, private.y, own.x, own.y)
    device, link = profilers.device(DEVICE), profilers.link(LINK)
    cost = advisor.profile(graph, device, link)
    return PlanEvaluator(graph, cost.joined(found.profile), found, roles, device, link, 0)


class DigitsGrid(Grid):
    """Without defenses that are fitted."""

    levels = 8

    def __init__(self) -> None:
        self.evaluator = evaluator()


if __name__ == "__main__":
    torch.set_num_threads(1)
    measured(DigitsGrid(), TABLE)
