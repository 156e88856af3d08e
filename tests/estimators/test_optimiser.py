from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from views import normal

from advisor.estimators.optimiser import Muon, OneCycle, orthogonalised


@pytest.mark.parametrize("shape", [(12, 12), (8, 40), (40, 8)])
def test_orthogonalised_keeps_singular_vectors_and_levels_values(shape: tuple[int, int]) -> None:
    matrix = normal(*shape).float()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    levelled = turned.diagonal()
    assert float((turned - torch.diag(levelled)).abs().max()) < 0.01
    known = values > 0.02 * values.max()
    assert 0.65 < float(levelled[known].min()) <= float(levelled[known].max()) < 1.25


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
