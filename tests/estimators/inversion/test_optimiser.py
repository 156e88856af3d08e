from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from advisor.estimators.inversion.optimiser import (
    Muon,
    OneCycle,
    Plateau,
    orthogonal_kernel,
    orthogonalised,
    update_products,
)
from advisor.testing.made_up_views import normal


@pytest.mark.parametrize("shape", [(12, 12), (8, 40), (40, 8)])
def test_orthogonalised_keeps_singular_vectors_and_levels_values(shape: tuple[int, int]) -> None:
    matrix = normal(*shape).float()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    levelled = turned.diagonal()
    assert float((turned - torch.diag(levelled)).abs().max()) < 0.01
    known = values > 0.02 * values.max()
    assert 0.65 < float(levelled[known].min()) <= float(levelled[known].max()) < 1.25


def test_a_large_kernel_is_orthogonalised_place_by_place() -> None:
    """As one matrix it would take the cube of 270; each place of its filters takes that of 30."""
    kernel = torch.randn(270, 30, 3, 3)
    found = orthogonal_kernel(kernel)
    for row, column in ((0, 0), (1, 2), (2, 2)):
        assert torch.allclose(found[:, :, row, column], orthogonalised(kernel[:, :, row, column]), atol=1e-5)
    small = kernel[:40]
    assert torch.equal(orthogonal_kernel(small), orthogonalised(small.flatten(1)).view_as(small))


@pytest.mark.parametrize("shape", [(96, 64, 1, 1), (96, 96, 3, 3), (270, 30, 3, 3), (64, 300), (300, 64)])
def test_what_an_update_takes_is_what_torch_counts(shape: tuple[int, ...]) -> None:
    with FlopCounterMode(display=False) as counted:
        orthogonal_kernel(torch.randn(shape))
    assert update_products(shape[0], shape[1], math.prod(shape[2:])) == counted.get_total_flops() // 2


def test_orthogonalised_is_the_literal_iteration() -> None:
    matrix = normal(6, 15).float()
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    assert torch.allclose(orthogonalised(matrix), x, atol=1e-4)
    assert torch.allclose(orthogonalised(matrix.T), x.T, atol=1e-4)


def test_scale_of_the_gradient_changes_nothing_and_zero_stays_zero() -> None:
    matrix = normal(6, 15).float()
    assert torch.allclose(orthogonalised(1e-4 * matrix), orthogonalised(matrix), atol=1e-4)
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


def test_first_step_has_the_learning_rate_as_its_length() -> None:
    weight = nn.Parameter(torch.zeros(30, 10))
    weight.grad = normal(30, 10).float()
    Muon([weight], lr=0.1).step()
    size = float(torch.linalg.matrix_norm(weight.detach(), 2))
    assert 0.7 < size / (0.1 * math.sqrt(3)) < 1.25  # √(rows / columns) of a tall matrix
    assert float((weight.detach() * weight.grad).sum()) < 0


def test_one_cycle_rises_and_falls_to_zero() -> None:
    network = nn.Conv2d(2, 3, 3)
    cycle = OneCycle(network, rate=0.2, steps=50)
    rates = []
    for _ in range(50):
        cycle.step(network(torch.ones(1, 2, 4, 4)).square().mean())
        rates.append([o.param_groups[0]["lr"] for o in cycle.optimisers])
    matrices, biases = zip(*rates, strict=True)
    assert cycle.taken == 50
    assert max(matrices) == pytest.approx(0.2, rel=0.06)
    assert matrices.index(max(matrices)) in (9, 10)
    assert matrices[-1] < 0.001
    assert biases[20] == pytest.approx(0.1 * matrices[20])


def test_a_least_squares_problem_is_solved() -> None:
    x, truth = normal(200, 8).float(), normal(8, 3, seed=1).float()
    network = nn.Linear(8, 3)
    cycle = OneCycle(network, rate=0.1, steps=300)
    for _ in range(300):
        loss = (network(x) - x @ truth - 0.5).square().mean()
        cycle.step(loss)
    assert float(loss.detach()) < 1e-3


def rates_of(cycle: OneCycle, network: nn.Module, turn: int | None = None) -> list[float]:
    rates = []
    while cycle.taken < cycle.steps:
        if turn == cycle.taken:
            assert isinstance(cycle, Plateau)
            cycle.fall()
        cycle.step(network(torch.ones(1, 2, 4, 4)).square().mean())
        rates.append(cycle.optimisers[0].param_groups[0]["lr"])
    return rates


def test_a_plateau_rises_holds_and_falls_to_zero_whenever_it_is_told_to() -> None:
    network = nn.Conv2d(2, 3, 3)
    whole = rates_of(Plateau(network, rate=0.2, steps=280, tail=0.4), network)
    assert len(whole) == 280
    assert whole[:59] == sorted(whole[:59])
    assert whole[60:200] == [0.2] * 140
    falling = whole[200:]
    assert falling == sorted(falling, reverse=True)
    assert 0 < falling[-1] < 0.2 / 80
    assert [a - b for a, b in pairwise(falling)] == pytest.approx([0.2 / 80] * 79)
    early = rates_of(Plateau(network, rate=0.2, steps=280, tail=0.4), network, turn=100)
    assert len(early) == 140
    assert early[60:100] == [0.2] * 40
    assert early[-1] < 0.2 / 39


def test_a_step_in_parts_is_the_step_of_the_batch() -> None:
    """Parts of 6, 6 and 5 samples: weighted alike, they would give another."""
    x, goal = normal(20, 4).float(), normal(20, 3, seed=1).float()
    batch = torch.arange(2, 19)
    whole, parted = nn.Linear(4, 3), nn.Linear(4, 3)
    parted.load_state_dict(whole.state_dict())
    OneCycle(whole, rate=0.2, steps=50).step((whole(x[batch]) - goal[batch]).square().mean())
    seen = []

    def loss(part: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return (parted(x[part]) - goal[part]).square().mean()

    OneCycle(parted, rate=0.2, steps=50).step_in_parts(loss, batch, 3)
    assert seen == [6, 6, 5]
    for one, other in zip(whole.parameters(), parted.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-4)
        assert torch.allclose(one, other, rtol=1e-4)
