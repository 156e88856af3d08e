from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import KernelCenterer
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.linear import (
    KernelInversion,
    LinearInversion,
    best_closed_form,
    linear_weights,
    nmse,
    reconstructions,
)
from advisor.measures.gram_matrices import Kernel, centred_blocks, squared_distances
from advisor.measures.ridge_inversion import gaussian_kernel, ridge_predictions, ridge_weights
from advisor.testing.made_up_views import gram_of, normal, rotation, view_of

TRAIN, TEST = torch.arange(60), torch.arange(60, 80)


def linear_nmse(z: Tensor, x: Tensor) -> Estimate:
    return LinearInversion().at(view_of(z.float(), pixels=x.float()))["linear_nmse"]


@pytest.mark.parametrize("columns", [7, 200])
@pytest.mark.parametrize("penalty", [0.01, 30.0])
def test_predictions_are_those_of_scikit_learn(columns: int, penalty: float) -> None:
    z, x = normal(80, columns) + 4, normal(80, 5, seed=1)
    gram = gram_of(z)
    found = ridge_predictions(gram[:60, :60], gram[60:, :60], x[:60], penalty)
    expected = Ridge(alpha=penalty).fit(z[:60].numpy(), x[:60].numpy()).predict(z[60:].numpy())
    assert np.allclose(found.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_penalty_has_the_least_generalised_cross_validation_score() -> None:
    """Against hat matrices built one by one."""
    z, x = normal(60, 20), normal(60, 20) @ normal(20, 3, seed=1) + 2 * normal(60, 3, seed=2)
    inner, cross = centred_blocks(gram_of(z), TRAIN, TRAIN)
    y = x - x.mean(0)
    kernel = Kernel.of(inner, cross)
    found = kernel.penalty((kernel.vectors.T @ y).square().sum(1))

    def score(penalty: float) -> float:
        hat = inner @ torch.linalg.inv(inner + penalty * torch.eye(60)) + 1 / 60
        return float((y - hat @ y).square().sum() / (60 - hat.trace()) ** 2)

    grid = float(inner.trace() / 60) * np.logspace(-7, 4, 45)
    assert found == pytest.approx(min(grid, key=score), rel=1e-6)
    assert 1e-3 < found / float(inner.trace() / 60) < 1e3


def test_rounding_below_zero_does_not_make_a_tiny_penalty_win() -> None:
    """Centred targets have no length along the constant vector; float32 inner products said -1e-7 of their mean there.

    Over the square of next to no freedom left, that was the least score there is: a fit through every sample.
    """
    z = normal(60, 200)
    x = z @ normal(200, 3, seed=1) / 14 + 3 * normal(60, 3, seed=2)
    kernel = Kernel.of(*centred_blocks(gram_of(z), TRAIN, TRAIN))
    energies = (kernel.vectors.T @ (x - x.mean(0))).square().sum(1)
    constant = int((kernel.vectors.sum(0).abs()).argmax())
    assert float(kernel.values[constant]) == 0
    clean, rounded = energies.clone(), energies.clone()
    clean[constant], rounded[constant] = 0.0, -1e-7 * float(energies.mean())
    assert kernel.penalty(rounded) == kernel.penalty(clean)
    assert kernel.penalty(rounded) > 1e-3 * float(kernel.values.mean())


def test_kernel_attack_is_scikit_learns_kernel_ridge() -> None:
    z, x = normal(80, 6), normal(80, 3, seed=1)
    square = squared_distances(gram_of(z))
    similar = gaussian_kernel(square, TRAIN, 1.0)
    apart = torch.pdist(z[:60]).square()
    literal = torch.exp(-torch.cdist(z, z).square() / (2 * apart.median()))
    assert torch.allclose(similar, literal, rtol=1e-2)  # medians of all pairs and of both halves differ by one rank
    weights = ridge_weights(*centred_blocks(similar, TRAIN, TEST), 0.3)
    found = x[:60].mean(0) + weights @ (x[:60] - x[:60].mean(0))
    centre = KernelCenterer().fit(similar[:60, :60].numpy())
    model = KernelRidge(alpha=0.3, kernel="precomputed")
    model.fit(centre.transform(similar[:60, :60].numpy()), (x[:60] - x[:60].mean(0)).numpy())
    expected = x[:60].mean(0).numpy() + model.predict(centre.transform(similar[60:, :60].numpy()))
    assert np.allclose(found.numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_linear_gaussian_models_reach_the_exact_mmse(sigma: float) -> None:
    """x ~ N(0, I), z = Wx + σn: the best attacker of all is left with Tr((WᵀW/σ² + I)⁻¹)/d."""
    W = normal(8, 5, seed=3)
    x = normal(1500, 5)
    z = x @ W.T + sigma * normal(1500, 8, seed=1)
    exact = float(torch.linalg.inv(W.T @ W / sigma**2 + torch.eye(5)).trace()) / 5
    for estimate in (linear_nmse(z, x), KernelInversion().at(view_of(z.float(), pixels=x.float()))["kernel_nmse"]):
        assert estimate.value == pytest.approx(exact, rel=0.12)
    assert linear_nmse(z, x).low <= exact * 1.02
    assert linear_nmse(z, x).high >= exact * 0.98


def test_an_invertible_map_is_inverted_and_rotation_changes_nothing() -> None:
    x = normal(200, 6)
    assert linear_nmse(x @ normal(6, 9, seed=1), x).value < 1e-4
    z = normal(200, 6, seed=4) + x
    assert linear_nmse(z @ rotation(6), x).value == pytest.approx(linear_nmse(z, x).value, rel=1e-3)
    assert linear_nmse(40 * z, x).value == pytest.approx(linear_nmse(z, x).value, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_few_features_are_fitted_no_worse_than_by_least_squares(seed: int) -> None:
    """Two features leave 448 directions of float32 rounding in the Gram matrix: none of them may be fitted."""
    x = normal(600, 1, seed=seed) * 0.7
    z = torch.cat([torch.cos(2 * x), torch.sin(2 * x)], 1)
    model = LinearRegression().fit(z[:450].numpy(), x[:450].numpy())
    errors = (model.predict(z[450:].numpy()) - x[450:].numpy()) ** 2
    expected = errors.mean() / float((x[450:] - x[:450].mean()).square().mean())
    assert linear_nmse(z, x).value == pytest.approx(expected, rel=0.01)


def test_order_of_train_samples_changes_nothing() -> None:
    x = normal(200, 6)
    z = normal(200, 6, seed=4) + x
    order = torch.cat([torch.randperm(150, generator=torch.Generator().manual_seed(0)), torch.arange(150, 200)])
    assert linear_nmse(z[order], x[order]).value == pytest.approx(linear_nmse(z, x).value, rel=1e-3)


@pytest.mark.parametrize("attack", [LinearInversion(), KernelInversion()])
def test_what_says_nothing_about_the_input_leaves_the_mean(attack: LinearInversion | KernelInversion) -> None:
    x = normal(400, 6).float()
    (noise,) = attack.at(view_of(normal(400, 6, seed=9).float(), pixels=x)).values()
    (constant,) = attack.at(view_of(torch.full((400, 6), 5.3), pixels=x)).values()
    assert noise.value == pytest.approx(1, abs=0.05)
    assert constant.value == pytest.approx(1, abs=1e-6)


def test_kernel_attack_follows_a_curve_that_no_line_does() -> None:
    x = normal(600, 1) * 0.7
    z = torch.cat([torch.cos(x), torch.sin(x)], 1)
    curved = KernelInversion().at(view_of(z.float(), pixels=x.float()))["kernel_nmse"]
    straight = linear_nmse(z, x)
    assert curved.value < 1e-3 < 0.02 < straight.value
    assert best_closed_form(straight, curved) is curved
    assert best_closed_form(curved, straight) is curved
    assert best_closed_form(Estimate(math.nan), curved) is curved
    assert best_closed_form(straight, Estimate(math.nan)) is straight


def test_nmse_is_the_ratio_of_means_over_the_held_out() -> None:
    view = view_of(normal(80, 4).float(), pixels=normal(80, 2, 3, seed=1).float())
    found = reconstructions(linear_weights(view), view.targets)
    truth = view.targets.pixels.flatten(1)
    mean = truth[:60].mean(0)
    errors, ceiling = ((found - truth[60:]) ** 2).mean(1), ((truth[60:] - mean) ** 2).mean(1)
    estimate = nmse(found, view.targets, "")
    assert estimate.value == pytest.approx(float(errors.sum() / ceiling.sum()), rel=1e-5)
    picks = np.random.default_rng(0).integers(0, 20, (4000, 20))
    bootstrap = (errors.numpy()[picks].sum(1) / ceiling.numpy()[picks].sum(1)).std()
    assert estimate.stderr == pytest.approx(bootstrap, rel=0.2)


def test_only_images_are_clipped() -> None:
    z = normal(80, 4).float()
    pictures = (z[:, :, None, None] > 0).float()
    clipped, free = (
        reconstructions(linear_weights(v), v.targets)
        for v in (view_of(z, pixels=pictures, images=i) for i in (True, False))
    )
    assert clipped.min() == 0
    assert clipped.max() == 1
    assert free.max() > 1
    assert torch.equal(clipped, free.clamp(0, 1))


def test_what_cannot_be_measured_says_why() -> None:
    with pytest.raises(NotMeasurableError, match="nothing to reconstruct"):
        LinearInversion().at(view_of(normal(20, 3).float(), pixels=torch.full((20, 3), 0.25)))
    with pytest.raises(NotMeasurableError, match="too few: give at least 3"):
        KernelInversion().at(view_of(normal(2, 3).float(), held_out=0.5))
