"""One number a sample: as input, among the outputs, and as all that crosses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.measures.flat_rows import flat, real, side_by_side

WIDTH = 6


class Timed(nn.Module):
    """A denoiser that takes its time as one number a sample, and returns one beside the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.t, self.o, self.q = (nn.Linear(i, o) for i, o in ((WIDTH, 8), (1, 8), (8, WIDTH), (8, 1)))

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        h = (self.a(x) + self.t(t[:, None])).relu()
        return self.o(h), self.q(h).squeeze(-1)


class Narrow(nn.Module):
    """One number crosses in the middle, one is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(WIDTH, 8), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.a(x).relu().sum(1).tanh()[:, None])[:, 0]  # type: ignore[no-any-return]


def samples(count: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, WIDTH, generator=generator), torch.rand(count, generator=generator)


def test_rows() -> None:
    assert flat(torch.zeros(3)).shape == (3, 1)
    assert flat(torch.zeros(3, 2, 2)).shape == (3, 4)
    assert side_by_side([torch.zeros(3), torch.zeros(3, 2)]).shape == (3, 3)


@pytest.mark.parametrize("model", [Timed, Narrow])
def test_every_leakage_column_takes_one_number_a_sample(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    x: Any = samples() if model is Timed else samples()[0]
    graph = advisor.trace(model().eval(), tuple(v[:2] for v in x) if model is Timed else x[:2])
    profile = advisor.leakage(graph, x, only=["linear_nmse", "ka_nmse", "fisher", "spectrum_bound", "score"])
    assert float(profile["linear_nmse"].values[0]) < 1e-3
    assert all(0 <= float(v) <= 1 for v in profile["score"].values)


@pytest.mark.parametrize("name", ["ka", "wiener", "rmle"])
def test_attacks_take_one_number_a_sample(name: str, short_attacks: None) -> None:
    torch.manual_seed(0)
    graph = advisor.trace(Narrow().eval(), samples()[0][:2])
    result = advisor.attack(graph, "output", samples()[0], name=name)
    assert 0 < float(result.nmse) < 3


class Turned(nn.Module):
    """All that crosses between the layers is complex."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.view_as_real(torch.fft.rfft(x)).flatten(1))


@pytest.mark.parametrize("name", ["ka", "wiener"])
def test_an_attack_reads_both_parts_of_complex_numbers(name: str, short_attacks: None) -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 8)
    graph = advisor.trace(Turned().eval(), x[:2])
    found = advisor.attack(graph, "fft_rfft", x[:60], aux=x[60:], name=name, reidentify=False)
    assert found.nmse.value < 0.35  # the real parts alone leave 3 of 8 dimensions: at least 0.375


def test_complex_numbers_are_two_real_ones() -> None:
    z = torch.complex(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    assert real(z).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert real(z[:, 0]).tolist() == [[1.0, 3.0]]
