from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from advisor.measures.decoders.ridges import (
    Moments,
    VectorRidge,
    held_out_penalty,
    kernel_size,
    vector_penalty,
)
from advisor.testing.made_up_views import normal


def literal_patches(features: Tensor, kernel: int) -> Tensor:
    """`[n·h·w, c·kernel²]` zero-padded neighbourhoods, cut out one by one."""
    n, c, h, w = features.shape
    half = kernel // 2
    padded = torch.zeros(n, c, h + 2 * half, w + 2 * half, dtype=features.dtype)
    padded[:, :, half : half + h, half : half + w] = features
    rows = [
        padded[i, :, y : y + kernel, x : x + kernel].flatten() for i in range(n) for y in range(h) for x in range(w)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("penalty", [0.01, 40.0])
def test_patch_regression_is_scikit_learns(kernel: int, penalty: float) -> None:
    features, targets = normal(9, 3, 4, 5).float(), normal(9, 2, 4, 5, seed=1).float()
    found = Moments.of(features, targets, kernel).weights(penalty)
    rows = literal_patches(features, kernel).numpy()
    goal = targets.permute(0, 2, 3, 1).reshape(-1, 2).numpy()
    expected = Ridge(alpha=penalty, fit_intercept=False).fit(rows, goal).coef_.T
    assert np.allclose(found.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_moments_of_two_parts_add_up_to_those_of_both() -> None:
    features, targets = normal(40, 3, 4, 4).float(), normal(40, 2, 4, 4, seed=1).float()
    whole = Moments.of(features, targets, 1)
    parts = Moments.of(features[:25], targets[:25], 1) + Moments.of(features[25:], targets[25:], 1)
    assert torch.allclose(whole.gram, parts.gram, rtol=1e-5)
    assert torch.allclose(whole.cross, parts.cross, rtol=1e-4, atol=1e-4)
    assert (whole.count, whole.energy) == (parts.count, pytest.approx(parts.energy))


def test_penalty_is_the_best_of_the_grid_on_the_held_out_part() -> None:
    features = normal(40, 12, 2, 2).float()
    signal = torch.einsum("nchw,tc->nthw", features, normal(2, 12, seed=1).float())
    targets = 0.3 * signal + 3 * normal(40, 2, 2, 2, seed=2).float()
    fit, check = Moments.of(features[:20], targets[:20], 1), Moments.of(features[20:], targets[20:], 1)
    found = held_out_penalty(fit, check)
    rows, goal = literal_patches(features[20:], 1).double(), targets[20:].permute(0, 2, 3, 1).reshape(-1, 2).double()

    def error(penalty: float) -> float:
        return float((goal - rows @ fit.weights(penalty)).square().sum())

    grid = float(fit.gram.trace() / 12) * np.logspace(-7, 4, 23)
    assert found == pytest.approx(min(grid, key=error), rel=1e-6)
    assert 0.01 < found / float(fit.gram.trace() / 12) < 100


def test_features_that_mislead_are_not_used() -> None:
    features = normal(20, 3, 2, 2).float()
    fit, check = Moments.of(features, features, 1), Moments.of(features, -features, 1)
    assert math.isinf(held_out_penalty(fit, check))
    assert torch.equal(fit.weights(math.inf), torch.zeros(3, 3, dtype=torch.float64))
    nothing = Moments.of(0 * features, features, 1)
    assert math.isinf(held_out_penalty(nothing, nothing))


def test_neighbours_are_used_where_there_are_any_and_few_enough() -> None:
    assert [kernel_size(torch.zeros(1, c, s, s)) for c, s in ((3, 4), (133, 4), (134, 4), (3, 1))] == [3, 3, 1, 1]


@pytest.mark.parametrize("columns", [7, 90])
@pytest.mark.parametrize("penalty", [0.5, 30.0])
def test_vector_regression_is_scikit_learns(columns: int, penalty: float) -> None:
    """By the primal form below 60 columns, by the dual above."""
    z, x = normal(60, columns), normal(60, 4, seed=1)
    z, x = z - z.mean(0), x - x.mean(0)
    found = VectorRidge.of(z, x, penalty).weights
    expected = Ridge(alpha=penalty, fit_intercept=False).fit(z.numpy(), x.numpy()).coef_.T
    assert np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("columns", [7, 90])
def test_leverage_gives_the_residual_of_a_fit_without_the_sample(columns: int) -> None:
    z, x = normal(40, columns), normal(40, 2, seed=1)
    ridge = VectorRidge.of(z, x, 2.0)
    weights, leverage = ridge.weights, ridge.leverage
    left = (x - z @ weights.double()) / (1 - leverage.double()[:, None])
    for i in (0, 17, 39):
        others = torch.arange(40) != i
        model = Ridge(alpha=2.0, fit_intercept=False).fit(z[others].numpy(), x[others].numpy())
        expected = x[i].numpy() - model.predict(z[i : i + 1].numpy())[0]
        assert np.allclose(left[i].numpy(), expected, rtol=1e-3, atol=1e-5)


def test_vector_penalty_is_that_of_generalised_cross_validation() -> None:
    """Against hat matrices built one by one; noise asks for a large penalty, a plain line for none."""
    z = normal(50, 12)
    y = z @ normal(12, 3, seed=1) + 3 * normal(50, 3, seed=2)
    z, y = z - z.mean(0), y - y.mean(0)

    def score(penalty: float) -> float:
        hat = z @ torch.linalg.inv(z.T @ z + penalty * torch.eye(12)) @ z.T + 1 / 50
        return float((y - hat @ y).square().sum() / (50 - hat.trace()) ** 2)

    grid = float((z @ z.T).trace() / 50) * np.logspace(-7, 4, 45)
    assert vector_penalty(z, y) == pytest.approx(min(grid, key=score), rel=1e-5)
    assert vector_penalty(z, normal(50, 3, seed=5)) > 100 * vector_penalty(z, z[:, :3])


def test_features_that_do_not_vary_predict_the_mean() -> None:
    zero = torch.zeros(20, 4)
    penalty = vector_penalty(zero, normal(20, 2).float())
    ridge = VectorRidge.of(zero, normal(20, 2).float(), penalty)
    weights, leverage = ridge.weights, ridge.leverage
    assert math.isinf(penalty)
    assert torch.equal(weights, torch.zeros(4, 2))
    assert torch.equal(leverage, torch.zeros(20))
