"""Closed forms of privacy terms, against torch's distributions and literal sums over pairs."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td
from torch.nn import functional as F

from advisor.measures.categorical_club import categorical_club
from advisor.measures.gaussian_divergence import gaussian_divergence
from advisor.measures.kernel_ridge import leading_directions, leave_one_out_nmse


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_is_that_of_torch() -> None:
    mean, spread = 2 * normal(5, 3), normal(5, 3, seed=1)
    wanted = td.kl_divergence(td.Normal(mean, spread.exp()), td.Normal(0.0, 1.0))
    assert torch.allclose(gaussian_divergence(mean, spread), wanted)
    assert float(gaussian_divergence(torch.zeros(1), torch.zeros(1))) == 0


def test_categorical_club_is_the_mean_over_all_pairs() -> None:
    scores, labels = 2 * normal(9, 4), torch.randint(0, 4, (9,), generator=torch.Generator().manual_seed(2))
    scores[range(9), labels] += 2
    likely = F.log_softmax(scores, 1)
    pairs = [float(likely[i, labels[i]] - likely[i, labels[j]]) for i in range(9) for j in range(9)]
    assert float(categorical_club(scores, labels)) == pytest.approx(sum(pairs) / 81)
    assert float(categorical_club(torch.zeros(9, 4), labels)) == 0
    assert float(categorical_club(-scores, labels)) == 0, "a bound of information is never below 0"


def test_leading_directions_are_those_of_principal_components() -> None:
    from sklearn.decomposition import PCA

    targets = normal(40, 6) * torch.tensor([5.0, 3, 2, 1, 0.5, 0.1])
    found = leading_directions(targets, 2)
    wanted = torch.from_numpy(PCA(2).fit(targets.numpy()).components_)
    assert torch.allclose((found.T @ wanted.T).abs(), torch.eye(2, dtype=torch.float64), atol=1e-9)
    assert leading_directions(targets, 99).shape == (6, 6)
    assert float(leave_one_out_nmse(targets, targets @ found)) < 0.1
