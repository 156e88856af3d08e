from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from advisor.errors import NotMeasurableError
from advisor.estimators.mixture import Mixture
from advisor.measures.mixture_entropy import CENTRES, clusters, mixture_information
from advisor.testing.made_up_views import gram_of, normal, view_of


def test_one_isotropic_component_has_the_capacity_of_its_channel() -> None:
    """(D/2) ln(1 + v/σ²), Shannon's parallel Gaussian channels."""
    found = mixture_information(torch.ones(1).double(), torch.tensor([3.0]).double(), 7, 0.5)
    assert float(found) == pytest.approx(3.5 * np.log(7))


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_it_is_never_below_the_information_of_a_mixture(sigma: float) -> None:
    """Two components in one dimension with noise: I(z; z + n) = h(z + n) - h(n), integrated."""
    weights, means, variances = np.array([0.3, 0.7]), np.array([-1.0, 1.0]), np.array([0.04, 0.25])
    grid = np.linspace(-12, 12, 20001)
    spread = variances + sigma**2
    density = (weights * np.exp(-((grid[:, None] - means) ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)).sum(1)
    entropy = -np.trapezoid(density * np.log(np.maximum(density, 1e-300)), grid)
    exact = entropy - 0.5 * np.log(2 * np.pi * np.e * sigma**2)
    found = float(mixture_information(torch.tensor(weights), torch.tensor(variances), 1, sigma**2))
    assert exact <= found <= exact + np.log(2)


def test_clusters_are_those_of_scikit_learn_where_they_are_apart() -> None:
    centres = 30 * normal(CENTRES, 6, seed=1)
    z = centres.repeat_interleave(20, 0) + normal(100, 6, seed=2)
    found = clusters(gram_of(z), torch.zeros(100, dtype=torch.long), seed=0)
    expected = KMeans(CENTRES, n_init=5, random_state=0).fit(z.numpy()).labels_
    assert len({(int(a), int(b)) for a, b in zip(found, expected, strict=True)}) == CENTRES


def test_components_stay_within_their_class() -> None:
    labels = torch.arange(90) % 3
    found = clusters(gram_of(normal(90, 4)), labels, seed=0)
    assert all(len(torch.unique(labels[found == c])) == 1 for c in torch.unique(found))
    assert len(torch.unique(found)) <= 3 * CENTRES


def test_more_noise_hides_more_and_tight_clusters_hide_more() -> None:
    labels = torch.arange(120) % 3
    z = 4 * normal(3, 10, seed=5)[labels] + normal(120, 10, seed=6)
    values = [Mixture().at(view_of(z, labels, step=step))["mixture_bound"].value for step in (0.01, 0.1, 1.0)]
    assert values == sorted(values)
    tight = 4 * normal(3, 10, seed=5)[labels] + 0.1 * normal(120, 10, seed=6)
    assert Mixture().at(view_of(tight, labels, step=0.1))["mixture_bound"].value > values[1]


def test_rotation_and_joint_scaling_change_nothing() -> None:
    labels, z = torch.arange(60) % 2, normal(60, 5)
    turn = torch.linalg.qr(normal(5, 5, seed=9))[0]
    plain = Mixture().at(view_of(z, labels, step=0.1))["mixture_bound"].value
    assert Mixture().at(view_of(z @ turn, labels, step=0.1))["mixture_bound"].value == pytest.approx(plain, rel=1e-4)
    assert Mixture().at(view_of(3 * z, labels, step=0.3))["mixture_bound"].value == pytest.approx(plain, rel=1e-4)


def test_classes_of_one_are_refused() -> None:
    with pytest.raises(NotMeasurableError, match="two samples"):
        Mixture().at(view_of(normal(4, 3), torch.arange(4)))
