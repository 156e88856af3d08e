from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimators.dependence import DistanceCorrelation
from advisor.measures.distance_correlation import distance_correlation, u_product
from advisor.testing.made_up_views import normal, rotation, view_of, without


def distances(z: Tensor) -> Tensor:
    return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")


def literal_product(a: Tensor, b: Tensor) -> float:
    """U-centre both matrices entry by entry, then average."""
    n = len(a)

    def centred(m: Tensor, i: int, j: int) -> float:
        return float(m[i, j] - m[i].sum() / (n - 2) - m[:, j].sum() / (n - 2) + m.sum() / ((n - 1) * (n - 2)))

    products = [centred(a, i, j) * centred(b, i, j) for i in range(n) for j in range(n) if i != j]
    return sum(products) / (n * (n - 3))


def test_products_and_their_leave_one_out_are_the_definition() -> None:
    x, z = normal(9, 4), normal(9, 3, seed=1)
    value, found = u_product(distances(x), distances(z))
    assert float(value) == pytest.approx(literal_product(distances(x), distances(z)), rel=1e-10)
    for k in range(9):
        expected = literal_product(distances(without(x, k)), distances(without(z, k)))
        assert float(found[k]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_correlated_gaussians_have_the_closed_form(rho: float) -> None:
    """Székely, Rizzo and Bakirov (2007), theorem 7."""
    top = rho * math.asin(rho) + math.sqrt(1 - rho**2) - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2) + 1
    exact = top / (1 + math.pi / 3 - math.sqrt(3))
    found = []
    for seed in range(100):
        x, noise = normal(200, 1, seed=seed), normal(200, 1, seed=1000 + seed)
        z = rho * x + math.sqrt(1 - rho**2) * noise
        found.append(DistanceCorrelation().at(view_of(z.float(), pixels=x.float()))["dcor"])
    assert np.mean([e.value for e in found]) == pytest.approx(exact, abs=0.02)
    assert 0.82 <= np.mean([e.low <= exact <= e.high for e in found]) <= 0.98


def test_independent_samples_of_many_dimensions_score_zero() -> None:
    found = [
        distance_correlation(distances(normal(30, 500, seed=s)), distances(normal(30, 500, seed=99 + s)))[0]
        for s in range(60)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(60)


def test_the_same_up_to_scale_shift_and_rotation_scores_one() -> None:
    x = normal(60, 6)
    assert distance_correlation(distances(x), distances(5 * x @ rotation(6) + 3))[0] == pytest.approx(1)
    assert DistanceCorrelation().at(view_of(x.float()))["dcor"].value == pytest.approx(1, abs=1e-6)


def test_order_of_samples_changes_nothing() -> None:
    x, z = normal(40, 6), normal(40, 6) ** 2
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    one = distance_correlation(distances(x), distances(z))[0]
    assert distance_correlation(distances(x[order]), distances(z[order]))[0] == pytest.approx(one)


def test_many_samples_are_thinned_by_the_seed() -> None:
    x, z = normal(120, 4).float(), (normal(120, 4) ** 3).float()
    first, again, other = (DistanceCorrelation(samples=50).at(view_of(z, pixels=x, seed=s))["dcor"] for s in (0, 0, 1))
    assert first.value == again.value != other.value
    assert "50 samples" in first.method


@pytest.mark.parametrize(("z", "pixels", "words"), [
    (normal(4, 3), None, "at least 5"),
    (torch.full((20, 3), 0.3), normal(20, 3), "the activation has no variation"),
    (normal(20, 3), torch.full((20, 3), 0.3), "the input has no variation"),
])  # fmt: skip
def test_what_cannot_be_measured_says_why(z: Tensor, pixels: Tensor | None, words: str) -> None:
    with pytest.raises(NotMeasurableError, match=words):
        DistanceCorrelation().at(view_of(z.float(), pixels=None if pixels is None else pixels.float()))
