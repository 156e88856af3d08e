"""Accuracy of defended outputs, against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score
from torch import Tensor

from advisor.planning.accuracy import Accuracy

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def test_classes_are_held_against_true_labels() -> None:
    bare, noisy, labels = normal(50, 4), normal(50, 4), torch.randint(0, 4, (50,), generator=GENERATOR)
    found = Accuracy(bare, labels).of(noisy)
    right, before = accuracy_score(labels, noisy.argmax(1)), accuracy_score(labels, bare.argmax(1))
    assert found["accuracy"].value == pytest.approx(right)
    assert found["accuracy_drop"].value == pytest.approx(before - right)
    assert found["accuracy_drop"].method == "accuracy against true labels on 50 samples; paired over the samples"


def test_without_labels_agreement_counts() -> None:
    bare, noisy = normal(50, 4), normal(50, 4)
    found = Accuracy(bare, None).of(noisy)
    assert found["accuracy"].value == pytest.approx(accuracy_score(bare.argmax(1), noisy.argmax(1)))
    assert "agreement with the undefended model on 50 samples" in found["accuracy"].method


@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 5), (7, 2)])
def test_other_outputs_are_held_against_the_undefended_by_explained_variance(shape: tuple[int, ...]) -> None:
    bare = normal(40, *shape)
    noisy = bare + 0.3 * normal(40, *shape)
    found = Accuracy(bare, torch.zeros(40, dtype=torch.long)).of(noisy)
    flat = (bare.reshape(40, -1).double().numpy(), noisy.reshape(40, -1).double().numpy())
    expected = r2_score(*flat, multioutput="variance_weighted")
    assert found["accuracy"].value == pytest.approx(expected, abs=1e-6)
    assert found["accuracy_drop"].value == pytest.approx(1 - expected, abs=1e-6)
    assert found["accuracy_drop"].stderr > 0
    assert "explained variance" in found["accuracy_drop"].method


@pytest.mark.parametrize("bare", [normal(20, 3), normal(20), normal(20, 2, 3)])
def test_an_undefended_split_costs_nothing(bare: Tensor) -> None:
    found = Accuracy(bare, None).undefended()
    assert (found["accuracy"].value, found["accuracy_drop"].value, found["accuracy_drop"].stderr) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("bare", "why"),
    [
        (None, "the model's output holds no floating-point number"),
        (torch.ones(20, 1), "the model's output is the same for every sample"),
    ],
)
def test_what_cannot_be_measured_is_said(bare: Tensor | None, why: str) -> None:
    of = Accuracy(bare, None)
    for found in (of.undefended(), of.of(bare)):
        assert math.isnan(found["accuracy_drop"].value)
        assert found["accuracy_drop"].method == why
