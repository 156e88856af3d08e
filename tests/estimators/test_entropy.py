from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimators.class_radius import class_scatter
from advisor.estimators.entropy import Entropy, entropy_bound, max_entropy, rate
from advisor.testing.made_up_views import gram_of, normal, rotation, view_of, without

LABELS = torch.tensor([0] * 9 + [5] * 7 + [9, 9, 3])  # two classes, a pair and a singleton
STEP = 0.01


def literal_bound(z: Tensor, labels: Tensor, step: float) -> float:
    """The published formulas, class by class."""
    z, y, d = z.numpy(), labels.numpy(), z.shape[1]

    def level(variance: float) -> float:
        return d / 2 * math.log(2 * math.pi * math.e * (variance / d + step**2 / 12)) - d * math.log(step)

    kept = {c: z[y == c] for c in set(y.tolist()) if (y == c).sum() > 1}
    size = sum(len(rows) for rows in kept.values())
    decision = 0.0
    for rows in kept.values():
        share = len(rows) / size
        decision += -share * math.log(share) + share * level(float(rows.var(0, ddof=1).sum()))
    feature = level(float(z.var(0, ddof=1).sum()))
    return -min(feature, decision) if kept else -feature


def literal_rate(z: Tensor, labels: Tensor, step: float) -> float:
    """Σ over eigenvalues as a log-determinant of the D × D covariance."""
    z, y = z.numpy(), labels.numpy()
    kept = {c: z[y == c] for c in set(y.tolist()) if (y == c).sum() > 1}
    size, total = sum(len(rows) for rows in kept.values()), 0.0
    for rows in kept.values():
        share, covariance = len(rows) / size, np.atleast_2d(np.cov(rows.T))
        logdet = np.linalg.slogdet(np.eye(z.shape[1]) + covariance / (step**2 / 12))[1]
        total += -share * math.log(share) + share * logdet / 2
    return float(total)


def test_max_entropy_is_the_gaussian_entropy_minus_the_grid() -> None:
    exact = multivariate_normal(np.zeros(4), 2.5 * np.eye(4)).entropy() - 4 * math.log(1e-4)
    assert float(max_entropy(torch.tensor(4 * 2.5), 4, 1e-4)) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("step", [0.1, 1.0, 4.0])
def test_max_entropy_is_never_below_that_of_a_rounded_gaussian(step: float) -> None:
    grid = np.arange(-200, 201) * step
    p = norm.cdf(grid + step / 2) - norm.cdf(grid - step / 2)
    entropy, variance = -(p[p > 0] * np.log(p[p > 0])).sum(), (p * grid**2).sum()
    bound = float(max_entropy(torch.tensor(variance), 1, step))
    assert bound >= entropy
    if step < 1:
        assert bound == pytest.approx(entropy, rel=1e-3)


@pytest.mark.parametrize("columns", [3, 40])
def test_bound_and_its_leave_one_out_are_the_formulas(columns: int) -> None:
    z = normal(len(LABELS), columns) + 3.0 * LABELS[:, None]
    value, found = entropy_bound(class_scatter(gram_of(z), LABELS), columns, STEP)
    assert value == pytest.approx(literal_bound(z, LABELS, STEP), rel=1e-10)
    for i in range(len(LABELS)):
        assert float(found[i]) == pytest.approx(literal_bound(without(z, i), without(LABELS, i), STEP), rel=1e-9)


@pytest.mark.parametrize("columns", [3, 40])
def test_rate_and_its_leave_one_out_are_log_determinants(columns: int) -> None:
    z = normal(len(LABELS), columns) + 3.0 * LABELS[:, None]
    value, found = rate(gram_of(z), LABELS, columns, STEP)
    assert value == pytest.approx(literal_rate(z, LABELS, STEP), rel=1e-9)
    for i in range(len(LABELS)):
        expected = literal_rate(without(z, i), without(LABELS, i), STEP)
        assert float(found[i]) == pytest.approx(expected, rel=1e-7)


def test_bound_jumps_where_the_class_radius_takes_over() -> None:
    """The story of the paper: tight classes far apart make h(z) small, so H(x|z) is bounded from below by more."""
    labels = torch.arange(200) % 4
    centres = 10 * normal(4, 6, seed=3)
    loose, tight = (normal(200, 6) * s + centres[labels] for s in (3.0, 0.1))
    bounds = [entropy_bound(class_scatter(gram_of(z), labels), 6, STEP)[0] for z in (loose, tight)]
    assert bounds[1] > bounds[0] + 6 * math.log(3.0 / 0.1) - 1


def test_scaling_z_and_its_step_together_changes_nothing() -> None:
    z, labels = normal(80, 12).float(), torch.arange(80) % 4
    one, other = (Entropy().at(view_of(s * z, labels, step=s * STEP)) for s in (1, 8))
    for name in ("entropy_bound", "rate"):
        assert other[name].value == pytest.approx(one[name].value, rel=1e-6)


def test_rotation_and_permutation_change_nothing() -> None:
    z, labels = normal(80, 12), torch.arange(80) % 4
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    value, _ = rate(gram_of(z), labels, 12, STEP)
    assert rate(gram_of(z @ rotation(12)), labels, 12, STEP)[0] == pytest.approx(value)
    assert rate(gram_of(z[order]), labels[order], 12, STEP)[0] == pytest.approx(value)


def test_rate_is_the_information_of_a_gaussian_channel() -> None:
    """One Gaussian class sent with noise of variance δ²: I(z; z + noise) = ½ Σ ln(1 + λ/δ²), here in closed form."""
    scales = torch.tensor([1.0, 0.5, 0.1]).double()
    step = math.sqrt(12) * 0.2
    estimate = Entropy().at(view_of(normal(1500, 3) * scales, step=step))["rate"]
    exact = 0.5 * sum(math.log(1 + float(s) ** 2 / 0.04) for s in scales)
    assert estimate.value == pytest.approx(exact, rel=0.03)
    assert estimate.low - 0.02 <= exact <= estimate.high + 0.02


def test_intervals_cover_the_closed_form() -> None:
    exact = -float(max_entropy(torch.tensor(3.0), 3, STEP))
    found = [Entropy().at(view_of(normal(150, 3, seed=s), step=STEP))["entropy_bound"] for s in range(200)]
    assert 0.84 <= np.mean([e.low <= exact <= e.high for e in found]) <= 0.96


def test_float32_products_invent_no_directions() -> None:
    """Ten directions spread over 4,000 features have the rate of ten features; float32 noise must not add a hundred."""
    core = normal(400, 10)
    labels = torch.arange(400) % 2
    wide = (core @ torch.linalg.qr(normal(4000, 10, seed=7))[0].T).float()
    step = 1e-6
    narrow = rate(gram_of(core), labels, 10, step)[0]
    assert Entropy().at(view_of(wide, labels, step=step))["rate"].value == pytest.approx(narrow, rel=1e-3)


def test_constant_features_stay_finite() -> None:
    labels = torch.arange(40) % 4
    found = Entropy().at(view_of(torch.full((40, 30), 5.3), labels, step=STEP))
    assert found["entropy_bound"].value == pytest.approx(-30 / 2 * math.log(2 * math.pi * math.e / 12))
    assert found["rate"].value == pytest.approx(math.log(4))


def test_singletons_leave_the_feature_level_alone() -> None:
    z = normal(12, 5).float()
    found = Entropy().at(view_of(z, torch.arange(12), step=STEP))
    assert found["entropy_bound"].value == pytest.approx(literal_bound(z.double(), torch.arange(12), STEP), rel=1e-6)
    assert math.isnan(found["rate"].value)
    assert "no class has two samples" in found["rate"].method


def test_all_zeros_have_no_rounding_step() -> None:
    with pytest.raises(NotMeasurableError, match="rounding step"):
        Entropy().at(view_of(torch.zeros(8, 5), step=0.0))
