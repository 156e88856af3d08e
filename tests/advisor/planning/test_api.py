"""`leakage` and `accuracy` of a payload, by name, text and variant."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

import advisor
from advisor.errors import AdvisorError, CutError, DataError
from advisor.graph import PartitionGraph
from advisor.variant import Variant
from tests.estimators.nets import digits, trained


@functools.cache
def graph() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


@functools.cache
def variant() -> Variant:
    return advisor.defend(graph(), "conv2", "bottleneck", digits(600)[0], width=6, epochs=4, batch=64)


def test_accuracy_is_the_share_that_is_right() -> None:
    x, y = digits(400)
    right = (trained()(x).argmax(1) == y).float().mean()
    assert float(advisor.accuracy(graph(), x, y)) == pytest.approx(float(right))
    assert float(advisor.accuracy(trained(), x, y)) == pytest.approx(float(right))  # a model is traced
    assert float(advisor.accuracy(graph(), x)) == 1
    assert float(advisor.accuracy(graph(), x, y, cut="conv2")) == pytest.approx(float(right))


def test_noise_costs_accuracy_and_of_a_variant_the_payload_is_meant() -> None:
    x, y = digits(400)
    noisy = advisor.accuracy(graph(), x, y, cut="conv2", defense="gaussian:sigma=4")
    assert float(noisy) < float(advisor.accuracy(graph(), x, y)) - 0.1
    assert noisy.low < noisy.value < noisy.high
    found = advisor.accuracy(variant(), x, y)
    right = (variant()(x).argmax(1) == y).float().mean()
    assert float(found) == pytest.approx(float(right))
    assert "true labels on 400 samples" in found.method
    assert "agreement with the undefended model" in advisor.accuracy(variant(), x).method


def test_leakage_of_one_payload() -> None:
    x, y = digits(200)
    bare = advisor.leakage(graph(), x, y, only=["linear_nmse"], cut="conv2")
    noisy = advisor.leakage(graph(), x, y, only=["linear_nmse"], cut="conv2", defense="gaussian:sigma=2")
    assert [cut.name for cut in noisy.cuts] == ["conv2"]
    assert noisy["linear_nmse"].values[0] > bare["linear_nmse"].values[0]
    sent = advisor.leakage(variant(), x, y, only=["linear_nmse"], cut=variant().payload)
    assert sent["linear_nmse"].values[0] > bare["linear_nmse"].values[0]


LABELS = {
    "text": (np.array(["a", "b"] * 30), "labels are of type <U1, not numbers"),
    "objects": (np.array([0, 1] * 30, dtype=object), "labels are of type object, not numbers"),
    "lists of text": (["a", "b"] * 30, "labels are of type <U1, not numbers"),
    "too few": (torch.zeros(50), "60 samples but 50 labels"),
    "one": (3, "60 samples but 1 labels"),
    "not a number": (torch.full((60,), math.nan), "labels hold NaN or infinity, first in sample 0"),
    "complex": (torch.zeros(60, dtype=torch.complex64), "labels are complex numbers"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_checked_as_those_of_a_recommendation(name: str) -> None:
    (x, _), (y, said) = digits(60), LABELS[name]
    with pytest.raises(DataError, match=said):
        advisor.accuracy(graph(), x, y)
    with pytest.raises(DataError, match=said):
        advisor.leakage(graph(), x, y, only=["label_leak"])
    with pytest.raises(DataError, match=said):
        advisor.attack(graph(), "conv2", x, name="pmc", y=y, labels=20)
    with pytest.raises(DataError, match=said):
        advisor.defend(graph(), "conv2", "bottleneck", x, y=y, epochs=1)


@pytest.mark.parametrize("y", [torch.rand(60), torch.zeros(60, 4)])
def test_an_attack_on_labels_takes_class_numbers(y: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"takes one class number a sample\. Pass y as whole numbers \[N\]"):
        advisor.attack(graph(), "conv2", digits(60)[0], name="pmc", y=y, labels=20)


def test_what_cannot_be_asked_says_so() -> None:
    x, y = digits(60)
    with pytest.raises(AdvisorError, match=r"A defense acts at one cut, and none is named\. Pass cut"):
        advisor.leakage(graph(), x, defense="int8")
    with pytest.raises(AdvisorError, match="A defense acts at one cut"):
        advisor.accuracy(graph(), x, y, defense="int8")
    with pytest.raises(CutError, match="no legal cut 'nowhere'"):
        advisor.accuracy(graph(), x, y, cut="nowhere")
    one = advisor.trace(torch.nn.Linear(3, 1), torch.rand(4, 3))
    with pytest.raises(AdvisorError, match="Accuracy cannot be measured: the model's output is the same"):
        advisor.accuracy(one, torch.ones(4, 3))
