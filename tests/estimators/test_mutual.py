from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from advisor.estimators.mutual import MutualInformation
from advisor.measures.information import GaussianCritic, club, info_nce
from advisor.testing.made_up_views import normal, rotation, view_of


def correlated(rho: float, samples: int, dims: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, noise = normal(samples, dims, seed=seed), normal(samples, dims, seed=seed + 1)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def true_critic(rho: float, z: Tensor) -> GaussianCritic:
    return GaussianCritic(rho * z, torch.full((z.shape[1],), 1 - rho**2, dtype=torch.float64))


@pytest.mark.parametrize(("rho", "dims"), [(0.3, 3), (0.6, 2), (0.9, 1)])
def test_club_has_its_closed_form_above_the_information(rho: float, dims: int) -> None:
    """With the true q: ρ²/(1 - ρ²) a dimension, and -½ ln(1 - ρ²) is the information."""
    x, z = correlated(rho, 3000, dims)
    found = club(true_critic(rho, z).scores(x))
    error = float(found.std()) / math.sqrt(len(found))
    expected = dims * rho**2 / (1 - rho**2)
    assert abs(float(found.mean()) - expected) < 4 * error + 0.02 * expected
    assert float(found.mean()) > -0.5 * dims * math.log(1 - rho**2)


@pytest.mark.parametrize(("rho", "dims"), [(0.3, 3), (0.6, 2), (0.9, 1)])
def test_info_nce_reaches_the_information_from_below(rho: float, dims: int) -> None:
    x, z = correlated(rho, 3000, dims)
    found = info_nce(true_critic(rho, z).scores(x))
    exact, error = -0.5 * dims * math.log(1 - rho**2), float(found.std()) / math.sqrt(len(found))
    assert exact - 0.05 - 4 * error < float(found.mean()) < exact + 3 * error


def test_info_nce_is_at_most_the_log_of_the_samples() -> None:
    x = normal(50, 4)
    found = info_nce(GaussianCritic(x, torch.full((4,), 1e-8, dtype=torch.float64)).scores(x))
    assert float(found.mean()) == pytest.approx(math.log(50))


def test_a_poor_critic_only_lowers_info_nce() -> None:
    x, z = correlated(0.9, 2000, 1)
    good, poor = true_critic(0.9, z), GaussianCritic(-z, torch.ones(1).double())
    assert info_nce(poor.scores(x)).mean() < info_nce(good.scores(x)).mean()


def test_independent_samples_share_next_to_nothing() -> None:
    view = view_of(normal(800, 5, seed=1).float(), pixels=normal(800, 5, seed=2).float())
    found = MutualInformation().at(view)
    assert abs(found["club"].value) < 0.2
    assert found["info_nce"].value < 0.1


@pytest.mark.parametrize("column", ["club", "info_nce"])
def test_less_noise_leaks_more_and_scale_and_rotation_do_not_matter(column: str) -> None:
    x = normal(600, 5).float()

    def at(z: Tensor) -> float:
        return MutualInformation().at(view_of(z, pixels=x))[column].value

    noise = normal(600, 5, seed=3).float()
    values = [at(x + sigma * noise) for sigma in (2.0, 1.0, 0.5)]
    assert values == sorted(values)
    turned = 7 * (x + noise) @ rotation(5).float()
    assert at(turned) == pytest.approx(values[1], rel=1e-3)


def test_lower_is_below_upper_with_a_fitted_critic() -> None:
    x, z = correlated(0.8, 1600, 2)
    found = MutualInformation().at(view_of(z.float(), pixels=x.float()))
    exact = -math.log(1 - 0.8**2)
    assert found["info_nce"].low < exact < found["club"].high
    assert found["info_nce"].value < found["club"].value
