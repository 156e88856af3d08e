"""The linear filter against scikit-learn, and against the exact error of jointly Gaussian data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from advisor.measures.gram_matrices import Kernel, centred_blocks
from advisor.measures.linear_filter import Components, component_penalties, wiener
from advisor.testing.made_up_views import normal


@pytest.mark.parametrize("width", [9, 60])
def test_of_gaussian_data_the_linear_minimum_is_reached(width: int) -> None:
    """x ~ N(0, Λ), z = Wx + noise: Tr(Λ − ΛWᵀ(WΛWᵀ + σ²I)⁻¹WΛ)/d is left, the error of E[x|z]."""
    sigma, d = 0.8, 6
    spread = torch.tensor([9.0, 4.0, 1.0, 0.3, 0.1, 0.02], dtype=torch.float64)
    W = normal(width, d, seed=3) / math.sqrt(d)
    x = normal(1400, d, seed=1) * spread.sqrt()
    z = x @ W.T + sigma * normal(1400, width, seed=2)
    learnt, tried, seen = z[:700].float(), z[700:900].float(), z[900:].float()
    found = wiener(learnt, tried, seen, x[:700].float(), x[700:900].float())
    cross = torch.diag(spread) @ W.T
    left = torch.diag(spread) - cross @ torch.linalg.inv(W @ cross + sigma**2 * torch.eye(width)) @ cross.T
    exact = float(left.trace()) / d
    errors = (found - x[900:]).square().mean(1).double()
    assert float(errors.mean()) == pytest.approx(exact, abs=3 * float(errors.std()) / math.sqrt(500))


def test_rounding_spoils_nothing_where_samples_outnumber_the_payloads_elements() -> None:
    x = normal(1000, 64, seed=4)
    z = (x @ normal(64, 128, seed=5) / 8).float()
    found = wiener(z[:340], z[340:400], z[400:], x[:340].float(), x[340:400].float())
    assert float((found - x[400:]).square().mean()) < 1e-11


def test_payloads_whose_noise_was_averaged_teach_a_filter_of_the_noise_that_is_there() -> None:
    """As good with 120 samples sent 400 times each as theory has it; of one draw each more is left."""
    d, width, sigma = 4, 40, 3.0
    W = normal(width, d, seed=3)
    x = normal(1240, d, seed=1)
    noisy, clean = x @ W.T + sigma * normal(1240, width, seed=2), x @ W.T
    mean = clean + sigma / 20 * normal(1240, width, seed=5)
    exact = float(torch.linalg.inv(W.T @ W / sigma**2 + torch.eye(d)).trace()) / d
    lost = []
    for source in (mean, noisy):
        found = wiener(
            source[:120].float(), noisy[120:240].float(), noisy[240:].float(), x[:120].float(), x[120:240].float()
        )
        lost.append(float((found - x[240:]).square().mean()))
    assert lost[0] == pytest.approx(exact, rel=0.12)
    assert lost[1] > 1.15 * lost[0]


def test_components_are_scikit_learns_and_span_what_they_are_made_of() -> None:
    for shape in ((300, 20), (30, 50)):
        x = (normal(*shape) * torch.linspace(3, 1, shape[1])).float()
        few, every = Components.of(x, 5), Components.of(x)
        expected = PCA(5).fit(x.numpy()).components_
        assert np.allclose(np.abs(expected @ few.basis.numpy()), np.eye(5), atol=1e-3)
        assert torch.allclose(every.undo(every(x)), x, atol=1e-3)


def test_each_component_has_the_penalty_that_scikit_learn_finds_best() -> None:
    z, y = normal(80, 7), normal(80, 3, seed=1)
    y[:, 0] += 4 * z[:, 0]
    inner, cross = centred_blocks(z @ z[:50].T, torch.arange(50), torch.arange(50, 80))
    found = component_penalties(inner, cross, y[:50], y[50:])
    scale = float(torch.linalg.eigvalsh(inner).clamp_min(0).mean())
    grid = scale * np.logspace(-13, 4, 35)
    for column, penalty in enumerate(found):
        errors = [
            float(
                (
                    (
                        Ridge(alpha=a).fit(z[:50].numpy(), y[:50, column].numpy()).predict(z[50:].numpy())
                        - y[50:, column].numpy()
                    )
                    ** 2
                ).sum()
            )
            for a in grid
        ]
        mean = float((y[50:, column] - y[:50, column].mean()).square().sum())
        assert math.isinf(penalty) == (min(errors) >= mean)
        if math.isfinite(penalty):  # of penalties that are all but zero any is as good
            assert errors[int(np.abs(np.log(grid / penalty)).argmin())] == pytest.approx(min(errors), rel=1e-6)
            weights = Kernel.of(inner, cross, exact=True).weights(penalty)
            mine = y[:50, column].mean() + weights @ (y[:50, column] - y[:50, column].mean())
            theirs = Ridge(alpha=penalty).fit(z[:50].numpy(), y[:50, column].numpy()).predict(z[50:].numpy())
            assert np.allclose(mine.numpy(), theirs, atol=1e-6)
    assert found[0] < 1e-2 * scale


def test_payloads_that_do_not_vary_predict_the_mean() -> None:
    x = normal(40, 3).float()
    still = torch.ones(40, 5)
    found = wiener(still[:20], still[20:30], still[30:], x[:20], x[20:30])
    assert torch.allclose(found, x[:20].mean(0).expand(10, 3), atol=1e-6)
