"""What `--normalize` accepts."""

from __future__ import annotations

import pytest
import torch

from advisor.data.normalization import IMAGENET, check_not_yet_normalised, chosen_normalization
from advisor.errors import AdvisorError, DataError

KNOWN = ((0.5,), (0.2,))


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("auto", None, None),
        ("auto", KNOWN, KNOWN),
        ("none", KNOWN, None),
        ("imagenet", None, IMAGENET),
        ("mean=0.5/0.4/0.3,std=0.1/0.2/0.3", None, ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))),
        ("mean=0.5,0.4,0.3 std=0.1,0.2,0.3", None, ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))),
        ("mean=0.5,std=0.2", None, KNOWN),
    ],
)
def test_what_is_chosen(wanted, known, expected):
    normalization, sentence = chosen_normalization(wanted, known)
    assert normalization == expected
    assert sentence.endswith(".")


@pytest.mark.parametrize("wanted", ["mean=1", "mean=a,std=b", "mean=0.5/0.5,std=0.1", "mean=0.5,std=0", "cifar"])
def test_anything_else_is_refused_with_what_is_accepted(wanted):
    with pytest.raises(AdvisorError, match="Use auto, none, imagenet or mean="):
        chosen_normalization(wanted, None)


def test_what_is_normalised_already_is_not_normalised_again() -> None:
    images = torch.linspace(-0.05, 1.08, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8)
    check_not_yet_normalised(images)  # resampling overshoots
    for fine in (40 * torch.rand(5, 12), torch.randint(9, (4, 3, 8, 8)), (images, images), None):
        check_not_yet_normalised(fine)
    for twice in (images - 0.5, images * 255):
        with pytest.raises(DataError, match=r"The images lie in .*, and are to be normalised from \[0, 1\]"):
            check_not_yet_normalised(twice)
