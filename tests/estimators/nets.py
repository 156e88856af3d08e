"""Small models and real samples for tests of whole studies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advisor.testing.small_models import DigitNet, digits, fixed, trained

__all__ = [
    "DEEP", "Curved", "Denormalising", "DigitNet", "Restorer", "Tokens", "TwoInputs", "digits", "fixed", "trained",
]  # fmt: skip

DEEP = "fc"


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
