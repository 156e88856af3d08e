from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimators.class_radius import ClassRadius, class_radius, class_scatter
from advisor.testing.made_up_views import gram_of, normal, rotation, view_of, without

LABELS = torch.tensor([0, 0, 0, 0, 5, 5, 5, 9, 9, 3])  # sizes 4, 3, 2 and a singleton


def literal_radius(z: Tensor, labels: Tensor) -> float:
    """The definition, one sample at a time."""
    radii = []
    for c in sorted(set(labels.tolist())):
        members = [row.numpy() for row, label in zip(z, labels, strict=True) if label == c]
        if len(members) < 2:
            continue
        mean = sum(members) / len(members)
        radii.append(sum(float(((m - mean) ** 2).sum()) for m in members) / (len(members) - 1))
    return sum(radii) / len(radii)


def measure(z: Tensor, labels: Tensor) -> dict[str, float]:
    return {name: e.value for name, e in ClassRadius().at(view_of(z.float(), labels)).items()}


def test_radius_is_its_definition() -> None:
    z = normal(10, 6) * 3 + 100
    radius, _ = class_radius(class_scatter(gram_of(z), LABELS))
    assert radius == pytest.approx(literal_radius(z, LABELS), rel=1e-12)


def test_leaving_one_out_is_leaving_one_out() -> None:
    z = normal(10, 6)
    scatter = class_scatter(gram_of(z), LABELS)
    _, found = class_radius(scatter)
    for i in range(10):
        rest = without(z, i)
        assert float(found[i]) == pytest.approx(literal_radius(rest, without(LABELS, i)), rel=1e-9)
        assert float(scatter.total_without[i]) == pytest.approx(float(rest.var(0).sum()), rel=1e-9)
    assert scatter.total == pytest.approx(float(z.var(0).sum()))


def test_doubling_z_quadruples_the_radius_and_leaves_the_ratio() -> None:
    z = normal(60, 8)
    labels = torch.arange(60) % 4
    once, twice = measure(z, labels), measure(2 * z, labels)
    assert twice["rc2"] == pytest.approx(4 * once["rc2"], rel=1e-5)
    assert twice["rc2_ratio"] == pytest.approx(once["rc2_ratio"], rel=1e-5)


def test_replication_multiplies_the_radius_and_leaves_it_per_dimension() -> None:
    z = normal(60, 8)
    labels = torch.arange(60) % 4
    once, thrice = measure(z, labels), measure(z.repeat(1, 3), labels)
    assert thrice["rc2"] == pytest.approx(3 * once["rc2"], rel=1e-5)
    assert thrice["rc2_per_dim"] == pytest.approx(once["rc2_per_dim"], rel=1e-5)
    assert thrice["rc2_ratio"] == pytest.approx(once["rc2_ratio"], rel=1e-5)


def test_rotation_permutation_and_label_names_change_nothing() -> None:
    z = normal(60, 8)
    labels = torch.arange(60) % 4
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    expected = measure(z, labels)
    assert measure(z @ rotation(8), labels) == pytest.approx(expected, rel=1e-4)
    assert measure(z[order], labels[order]) == pytest.approx(expected, rel=1e-4)
    assert measure(z, 17 - 3 * labels) == pytest.approx(expected, rel=1e-6)


def test_intervals_cover_the_true_trace() -> None:
    """Gaussian classes with covariance diag(1, 4, 9): R_c² is 14 whatever the class means."""
    scales, labels = torch.tensor([1.0, 2.0, 3.0]).double(), torch.arange(200) % 5
    means = 10 * normal(5, 3)
    found = [
        ClassRadius().at(view_of(normal(200, 3, seed=s) * scales + means[labels], labels))["rc2"] for s in range(300)
    ]
    assert np.mean([e.value for e in found]) == pytest.approx(14, rel=0.01)
    assert 0.84 <= np.mean([e.low <= 14 <= e.high for e in found]) <= 0.95
    assert np.mean([e.stderr for e in found]) == pytest.approx(np.std([e.value for e in found]), rel=0.12)


def test_small_classes_are_unbiased() -> None:
    labels = torch.arange(60) // 2
    found = [ClassRadius().at(view_of(normal(60, 5, seed=s), labels))["rc2"].value for s in range(200)]
    assert np.mean(found) == pytest.approx(5, rel=0.03)


def test_one_class_has_the_total_variance() -> None:
    z = normal(50, 4)
    found = ClassRadius().at(view_of(z.float()))
    assert found["rc2"].value == pytest.approx(float(z.var(0).sum()), rel=1e-5)
    assert found["rc2_ratio"].value == pytest.approx(1, abs=1e-9)
    assert found["rc2_ratio"].stderr == pytest.approx(0, abs=1e-9)


def test_one_class_of_two_has_no_spread() -> None:
    estimate = ClassRadius().at(view_of(normal(2, 4).float(), held_out=0.5))["rc2"]
    assert estimate.value > 0
    assert math.isnan(estimate.stderr)
    assert math.isnan(estimate.low)


def test_singletons_alone_cannot_be_measured() -> None:
    with pytest.raises(NotMeasurableError, match="no class has two samples"):
        ClassRadius().at(view_of(normal(6, 4).float(), torch.arange(6)))


def test_constant_features_add_nothing_and_a_constant_tensor_has_no_ratio() -> None:
    z, labels = normal(40, 3), torch.arange(40) % 4
    padded = torch.cat([z, torch.full((40, 5), 0.1).double()], 1)
    assert measure(padded, labels)["rc2"] == pytest.approx(measure(z, labels)["rc2"], rel=1e-5)
    constant = ClassRadius().at(view_of(torch.full((40, 300), 5.3), labels))
    assert constant["rc2"].value == 0
    assert math.isnan(constant["rc2_ratio"].value)
    assert "same for every sample" in constant["rc2_ratio"].method


def test_nan_is_a_reason_not_a_number() -> None:
    z = normal(10, 4).float()
    z[3, 2] = math.nan
    with pytest.raises(NotMeasurableError, match="NaN"):
        ClassRadius().at(view_of(z, LABELS))


def test_overflow_is_a_reason_not_a_number() -> None:
    with pytest.raises(NotMeasurableError, match="too large"):
        ClassRadius().at(view_of(normal(10, 4).float() * 1e30, LABELS))


@pytest.mark.parametrize(("true", "words"), [(True, "true labels"), (False, "own predictions")])
def test_the_method_says_whose_labels(true: bool, words: str) -> None:
    assert words in ClassRadius().at(view_of(normal(10, 4).float(), LABELS, true_labels=true))["rc2"].method
