"""The model's own accuracy is said, and what speaks against its labels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from advisor.planning.judging.accuracy import Accuracy
from advisor.planning.judging.bare_accuracy import doubts, said_of_the_model
from advisor.task import Task

LABELS = torch.arange(120) % 12
SURE = 8.0 * F.one_hot(LABELS, 12).float() + torch.rand(120, 12, generator=torch.Generator().manual_seed(0))


def test_a_model_that_is_right_raises_no_doubt() -> None:
    assert doubts(SURE, LABELS) == []
    (said,) = said_of_the_model(Accuracy(SURE, LABELS, Task("classes")))
    assert said == ("The undefended model's own accuracy against true labels is 100 % (100 % to 100 %) on 120 samples.")
    assert said_of_the_model(Accuracy(SURE, None, Task("classes"))) == []


def test_classes_in_text_order_are_named_as_the_cause() -> None:
    order = torch.tensor(sorted(range(12), key=str))  # 0, 1, 10, 11, 2, ...
    (said,) = doubts(SURE, order.argsort()[LABELS])
    assert "far below its own confidence" in said
    assert "do not agree with the model's order of the classes" in said
    assert "right in 100 %" in said


def test_labels_from_one_are_named_as_the_cause() -> None:
    (said,) = doubts(SURE[:, :].roll(-1, 0), LABELS)
    assert "near chance (8.3" in said
    assert "With labels one higher it would be right in 9" in said


def test_answers_that_know_nothing_are_near_chance() -> None:
    outputs = torch.randn(120, 12, generator=torch.Generator().manual_seed(0))
    (said,) = doubts(outputs, LABELS)
    assert said.startswith("That is near chance")
    assert "--normalize" in said


def test_a_regressor_worse_than_the_mean_is_said() -> None:
    truth = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    said = said_of_the_model(Accuracy(truth + 9, truth, Task("regression")))
    assert "no better than the mean" in said[1]


def test_two_samples_name_no_cause() -> None:
    """One of two answers is one above its label: a coincidence, no labels off by one."""
    (said,) = doubts(8.0 * F.one_hot(torch.tensor([4, 9]), 12).float(), torch.tensor([3, 5]))
    assert "off by one" not in said
    assert "--normalize" in said
