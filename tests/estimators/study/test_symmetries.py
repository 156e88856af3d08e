"""What a model forgets exactly is said with its cut; a model that forgets nothing has no such sentence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.estimators.study.symmetries import said_forgotten


class Spectrum(nn.Module):
    """Waves to classes by the magnitudes of their spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.out = nn.Linear(16, 16, bias=False), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.fft.rfft(self.scale(x)).abs())


class Points(nn.Module):
    """Sets of points to classes, whatever their order."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.out = nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.each(x)).amax(1))


class Constant(nn.Module):
    """The same answer for all."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * 0 + 1


def said(model: nn.Module, *shape: int) -> str:
    torch.manual_seed(0)
    x = torch.randn(6, *shape)
    return said_forgotten(advisor.trace(model.eval(), x[:2]), (x,))


def test_magnitudes_forget_the_sign() -> None:
    assert "forgets the sign of the input from abs on: an error such as NMSE" in said(Spectrum(), 16)


def test_a_maximum_over_points_forgets_their_order() -> None:
    assert "forgets the order along dimension 1 of the input from amax on" in said(Points(), 7, 3)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), (1, 8, 8)),
        (Constant(), (5,)),
    ],
    ids=["remembers", "constant"],
)
def test_what_forgets_nothing_or_says_nothing_has_no_sentence(model: nn.Module, shape: tuple[int, ...]) -> None:
    assert said(model, *shape) == ""


def test_ids_have_neither_sign_nor_such_an_order() -> None:
    ids = torch.randint(0, 9, (6, 5))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3)).eval()
    assert said_forgotten(advisor.trace(model, ids[:2]), (ids,)) == ""
