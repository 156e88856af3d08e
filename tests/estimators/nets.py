"""Small models and real samples for tests of whole studies."""

from __future__ import annotations

import functools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

DEEP = "fc"


class DigitNet(nn.Module):
    """Two convolutions, a stage of half the size, and logits, for `[n, 1, 8, 8]` in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.squeeze, self.fc = nn.Linear(256, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return self.fc(torch.tanh(self.squeeze(z.flatten(1))))


class TwoInputs(nn.Module):
    """A classifier of a vector and a scalar; two inputs of different width."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(2, 8), nn.Linear(8, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(torch.tanh(self.left(a) + self.right(b)))


class Denormalising(nn.Module):
    """A network of images in [0, 1] that is given normalised ones, (x - 0.5) / 0.25."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x * 0.25 + 0.5)


class Restorer(nn.Module):
    """Pictures in, pictures out: no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, stride=2), nn.ConvTranspose2d(4, 1, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(x)))


class Curved(nn.Module):
    """Six numbers to four through a tanh: smooth, with a Jacobian of its own at every input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Tokens(nn.Module):
    """Word ids in, two classes out: the input has no derivative and no pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Embedding(20, 6), nn.Linear(6, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc(self.embed(ids).mean(1))


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
            for batch in torch.randperm(len(x)).split(50):
                optimiser.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimiser.step()
    return model.eval().requires_grad_(False)


def fixed(model: nn.Module) -> nn.Module:
    """Weights drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return model.eval().requires_grad_(False)
