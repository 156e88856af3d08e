"""Randomness of an edge half as an input of its file: what is drawn, in which shape, and that nothing else is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Generator, Tensor

import advisor
from advisor.defenses import Chain, Defense, GaussianNoise, Quantize8
from advisor.errors import AdvisorError
from advisor.exporting.manifest_entries import Noise
from advisor.plans import Plan
from advisor.runtime.edge import NORMAL, UNIFORM
from tests.advisor.test_exporting import masked_graph, plan_of


@dataclass(frozen=True)
class Dither(Defense):
    """Adds a uniform number between -half and half."""

    half: float
    name: ClassVar[str] = "dither"
    random: ClassVar[bool] = True

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        return z + self.half * (2 * torch.rand_like(z) - 1)


@dataclass(frozen=True)
class Dropping(Defense):
    """Keeps an element with a probability."""

    keep: float
    name: ClassVar[str] = "dropping"
    random: ClassVar[bool] = True

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        return z * torch.bernoulli(torch.full_like(z, self.keep))


@dataclass(frozen=True)
class InPlace(Defense):
    """Draws in a way that no input can replace."""

    name: ClassVar[str] = "in-place"
    random: ClassVar[bool] = True

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        return z + torch.empty_like(z).normal_()


@dataclass(frozen=True)
class OneForAll(Defense):
    """Draws one number a batch."""

    name: ClassVar[str] = "one-for-all"
    random: ClassVar[bool] = True

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        return z + torch.randn(1)


def edge_of(folder: Path) -> Any:
    return torch.export.load(folder / "edge.pt2").module()


def test_a_chain_of_two_draws_takes_one_input_with_both(tmp_path: Path) -> None:
    """The uniform part is the normal distribution function of its normals, by scipy."""
    plan = plan_of("functional", "silu", Chain((GaussianNoise(0.5), Dither(0.25))))
    made = plan.export(tmp_path)
    assert made.noise == Noise("noise", NORMAL, "float32", (16,))
    x, noise = torch.rand(3, 6), torch.randn(3, 16)
    clean = edge_of(tmp_path)(x, noise=torch.zeros(3, 16))
    wanted = 0.5 * noise[:, :8] + 0.25 * (2 * torch.from_numpy(stats.norm.cdf(noise[:, 8:].double())) - 1)
    assert torch.allclose((edge_of(tmp_path)(x, noise=noise) - clean).double(), wanted, atol=1e-5)
    assert made.freshness is not None
    assert made.freshness.promised == pytest.approx(0.25 + 0.25**2 / 3, rel=0.1)


@pytest.mark.parametrize(("defense", "variance"), [(Dither(0.3), 0.3**2 / 3), (Dropping(0.5), None)], ids=str)
def test_uniform_draws_stay_uniform(defense: Defense, variance: float | None, tmp_path: Path) -> None:
    made = plan_of("functional", "silu", defense).export(tmp_path)
    assert made.noise == Noise("noise", UNIFORM, "float32", (8,))
    assert made.freshness is not None
    assert variance is None or made.freshness.variance == pytest.approx(variance, rel=0.1)
    x = torch.rand(2, 6)
    low, high = (edge_of(tmp_path)(x, noise=torch.full((2, 8), u)) for u in (0.0, 0.999))
    assert not torch.equal(low, high)


def test_two_tensors_that_cross_take_one_input(tmp_path: Path) -> None:
    graph = masked_graph()
    plan = Plan((graph.cut(0),), GaussianNoise(0.3), {}, inputs=graph.inputs, graph=graph)
    made = plan.export(tmp_path)
    assert made.noise == Noise("noise", NORMAL, "float32", (6,))
    mask = torch.rand(3, 6) > 0.5
    sent, same = edge_of(tmp_path)(torch.zeros(3, 6), mask, noise=torch.ones(3, 6))
    assert torch.equal(same, mask)
    assert torch.allclose(sent, torch.full((3, 6), 0.3))
    assert made.freshness is not None
    assert made.freshness.variance == pytest.approx(0.09, rel=0.05)


class Named(torch.nn.Module):
    """Has an input of the name that the noise would take."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)

    def forward(self, noise: Tensor) -> Tensor:
        return torch.relu(self.inner(noise)) + 1


def test_a_model_with_an_input_called_noise_keeps_it(tmp_path: Path) -> None:
    graph = advisor.trace(Named().eval(), torch.rand(2, 4))
    plan = Plan((graph.cut("relu"),), GaussianNoise(0.1), {}, inputs=graph.inputs, graph=graph)
    made = plan.export(tmp_path)
    assert made.noise is not None
    assert made.noise.name == "noise_"
    message = advisor.runtime.Edge(tmp_path).send(np.ones((2, 4), np.float32))
    assert advisor.runtime.Cloud(tmp_path).receive(message).shape == (2, 4)


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        (InPlace(), "it still draws by itself.*torch.randn_like"),
        (OneForAll(), r"draws a tensor \[1\], which"),
    ],
    ids=str,
)
def test_randomness_that_cannot_become_an_input_is_refused(defense: Defense, said: str, tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=said):
        plan_of("functional", "silu", defense).export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_for_plain_noise_is_what_the_half_draws_by_itself(tmp_path: Path) -> None:
    plan = plan_of("functional", "silu", Chain((GaussianNoise(0.5), Quantize8())))
    made = plan.export(tmp_path)
    assert made.noise is not None
    x, own = torch.rand(4, 6), plan.split()[0]
    torch.manual_seed(5)
    codes, low, step = own(x)
    torch.manual_seed(5)
    found = edge_of(tmp_path)(x, noise=torch.randn(4, *made.noise.shape))
    assert all(map(torch.equal, found, (codes, low, step)))


def test_noise_of_nothing_is_written_as_such(tmp_path: Path) -> None:
    made = plan_of("functional", "silu", GaussianNoise(0.0)).export(tmp_path)
    assert made.noise is not None
    assert made.freshness is not None
    assert (made.freshness.variance, made.freshness.source) == (0, "noise that was set to nothing")
