"""Small models and real samples on which contracts are tried."""

from __future__ import annotations

import functools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


class DigitNet(nn.Module):
    """Two convolutions, a stage of half the size, and logits, for `[n, 1, 8, 8]` in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.squeeze, self.fc = nn.Linear(256, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 10]` scores."""
        z = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        scores: Tensor = self.fc(torch.tanh(self.squeeze(z.flatten(1))))
        return scores


class Pair(nn.Module):
    """A recommender: user and item embeddings, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, 6), nn.Embedding(20, 6)
        self.mix, self.out = nn.Linear(12, 16), nn.Linear(16, 2)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """`[n, 2]` scores."""
        scores: Tensor = self.out(torch.relu(self.mix(torch.cat([self.user(user), self.item(item)], 1))))
        return scores


def digits(n: int) -> tuple[Tensor, Tensor]:
    """`[n, 1, 8, 8]` scans of handwritten digits in [0, 1] and their labels."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))[:n]
    return torch.from_numpy(data.images).float()[order, None] / 16, torch.from_numpy(data.target).long()[order]


@functools.cache
def trained() -> DigitNet:
    """A DigitNet that knows digits: about 90 % right."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        x, y = digits(1500)
        model = DigitNet()
        optimiser = torch.optim.Adam(model.parameters(), 4e-3)
        for _ in range(6):
            for batch in torch.split(torch.randperm(len(x)), 50):
                optimiser.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        optimiser.zero_grad()
    return model.eval().requires_grad_(False)


def fixed(model: nn.Module) -> nn.Module:
    """The model with weights drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return model.eval().requires_grad_(False)
