from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from advisor.data.samples import Samples
from advisor.data.tasks.labels import check_classes, class_numbers
from advisor.errors import DataError

Y = torch.arange(20) % 5
SAMPLES = Samples(torch.rand(20, 3), Y, "some", "")


@pytest.mark.parametrize("labels", [Y[:, None], F.one_hot(Y), Y.double(), Y.to(torch.uint8), F.one_hot(Y).bool()])
def test_labels_come_in_many_forms(labels: torch.Tensor) -> None:
    assert torch.equal(class_numbers(labels), Y)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (Y - 3, "The labels go down to -3"),
        (Y + 0.5, "no whole numbers"),
        (torch.rand(20, 4), "not one class a sample"),
    ],
)
def test_what_are_no_classes_is_refused(labels: torch.Tensor, match: str) -> None:
    with pytest.raises(DataError, match=match):
        class_numbers(labels)


def test_labels_are_checked_against_the_models_outputs() -> None:
    assert check_classes(SAMPLES, 5) is SAMPLES
    assert check_classes(SAMPLES, None) is SAMPLES
    assert check_classes(SAMPLES, 9).notes == ("The labels name 5 of the model's 9 outputs.",)
    with pytest.raises(DataError, match="The data has 5 classes, the model has 3 outputs"):
        check_classes(SAMPLES, 3)
    from_one = Samples(SAMPLES.x, Y + 1, "x and y", "")
    with pytest.raises(DataError, match=r"The labels count from 1, and end at 5\. Pass class numbers from 0: y - 1"):
        check_classes(from_one, 5)
    assert check_classes(from_one, 6).notes == ("The labels name 5 of the model's 6 outputs.",)
    named = Samples(SAMPLES.x, Y % 3, "folder", "", classes=("cat", "dog", "eel"))
    with pytest.raises(DataError, match=r"The data has 3 classes, the model has 10 outputs.*--no-labels"):
        check_classes(named, 10)
