"""CLUB against its closed form for Gaussians, and over all pairs written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from advisor.measures.gaussian_club import gaussian_club, gaussian_log_likelihood, standardised
from advisor.measures.information import club


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_difference_of_log_likelihoods_over_all_pairs() -> None:
    mean, spread, x = normal(9, 4), 0.3 * normal(9, 4, seed=1), 3 * normal(9, 4, seed=2) + normal(9, 4)
    rows = [[gaussian_log_likelihood(mean[[i]], spread[[i]], x[[j]])[0] for j in range(9)] for i in range(9)]
    scores = torch.stack([torch.stack(row) for row in rows])
    wanted = 8 / 9 * float(club(scores).mean())  # that one leaves each sample's own pair out
    assert float(gaussian_club(mean, spread, x)) == pytest.approx(max(0.0, wanted), rel=1e-9)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_with_the_true_posterior_it_bounds_the_information_of_gaussians(noise: float) -> None:
    """z = x + noise, x standard: q(x|z) = N(z/(1+σ²), σ²/(1+σ²)); the CLUB bound is then 1/σ² an element exactly."""
    x = normal(200_000, 1)
    z = x + noise * normal(200_000, 1, seed=3)
    shrink, variance = 1 / (1 + noise**2), noise**2 / (1 + noise**2)
    found = float(gaussian_club(shrink * z, torch.full_like(z, math.log(variance)), x))
    assert found == pytest.approx(1 / noise**2, rel=0.03)
    assert found >= 0.5 * math.log(1 + 1 / noise**2)


def test_it_is_never_below_zero() -> None:
    x = normal(50, 3)
    assert float(gaussian_club(-x, torch.zeros_like(x), x)) == 0


def test_targets_have_variance_one_together() -> None:
    made = standardised(5 * normal(100, 3) + torch.tensor([1.0, 2.0, 3.0]))
    assert float(made.square().mean()) == pytest.approx(1)
    assert made.mean(0).abs().max() < 1e-12
