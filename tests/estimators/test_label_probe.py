from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.linear_model import RidgeClassifier

from advisor.errors import NotMeasurableError
from advisor.estimators.label_probe import LabelLeak, probe_predictions
from advisor.estimators.statistics.spread import proportion
from advisor.measures.gram_matrices import Kernel, centred_blocks
from advisor.testing.made_up_views import gram_of, normal, rotation, view_of

LABELS = torch.arange(200) % 4


@pytest.mark.parametrize("columns", [5, 300])
def test_probe_is_scikit_learns_ridge_classifier(columns: int) -> None:
    z = normal(200, columns) + normal(4, columns, seed=3)[LABELS]
    kernel = Kernel.of(*centred_blocks(gram_of(z), torch.arange(150), torch.arange(150, 200)))
    expected = RidgeClassifier(alpha=2.0).fit(z[:150].numpy(), LABELS[:150].numpy()).predict(z[150:].numpy())
    found = probe_predictions(kernel, LABELS[:150], 2.0)
    assert np.array_equal(found.numpy(), expected)
    assert 0.4 < (found == LABELS[150:]).double().mean() <= 1


def test_classes_far_apart_are_read_without_error() -> None:
    z = normal(200, 6) + 30 * normal(4, 6, seed=3)[LABELS]
    estimate = LabelLeak().at(view_of(z.float(), LABELS))["label_leak"]
    assert estimate.value == 1
    assert 0.9 < estimate.low < estimate.high == 1


def test_labels_that_z_does_not_know_are_guessed_at_chance() -> None:
    labels = torch.randint(0, 4, (1200,), generator=torch.Generator().manual_seed(0))
    estimate = LabelLeak().at(view_of(normal(1200, 6).float(), labels))["label_leak"]
    assert estimate.value == pytest.approx(0.25, abs=0.075)  # three standard errors of 300 guesses


def test_rotation_scale_and_label_names_change_nothing() -> None:
    z = normal(200, 6) + normal(4, 6, seed=3)[LABELS]
    value = LabelLeak().at(view_of(z.float(), LABELS))["label_leak"].value
    assert LabelLeak().at(view_of((7 * z @ rotation(6)).float(), LABELS))["label_leak"].value == value
    assert LabelLeak().at(view_of(z.float(), 11 + 2 * LABELS))["label_leak"].value == value


@pytest.mark.parametrize("hits", [0, 3, 37, 40])
def test_interval_is_wilsons(hits: int) -> None:
    estimate = proportion(torch.arange(40) < hits, "")
    expected = binomtest(hits, 40).proportion_ci(0.9, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert estimate.value == hits / 40


def test_method_gives_the_chance_level_and_whose_labels() -> None:
    skewed = (torch.arange(200) % 5 == 0).long()
    method = LabelLeak().at(view_of(normal(200, 3).float(), skewed, true_labels=False))["label_leak"].method
    assert "own predictions" in method
    assert "commonest class: 0.80" in method


def test_one_class_cannot_be_measured() -> None:
    with pytest.raises(NotMeasurableError, match="all of one class"):
        LabelLeak().at(view_of(normal(40, 3).float()))
