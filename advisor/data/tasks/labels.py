"""Labels as the model's outputs know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.data.checks import WITHOUT
from advisor.data.tensors import shown
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from advisor.data.samples import Samples


SURE = 0.5
"""Mean of the largest share from which on rows of shares are classes with some doubt."""


def numbered_by_name(samples: Samples, answer: Tensor) -> Samples:
    """Class folders that are numbers of the model's outputs, but not of all, give these numbers as labels."""
    names, y = samples.classes, samples.y
    if y is None or answer.dim() != 2 or not names or len(names) == answer.shape[1]:
        return samples
    if not all(name.isascii() and name.isdecimal() for name in names):
        return samples
    numbers = y.new_tensor([int(name) for name in names])
    if int(numbers.max()) >= answer.shape[1]:
        return samples
    note = f"The folders' names are taken as numbers of the model's {answer.shape[1]} outputs."
    return samples.of(samples.x, numbers[y], note, classes=())


def in_plain_form(y: Tensor, answer: Tensor) -> tuple[Tensor, str]:
    """Labels that say yes or no, or a class, in another way than with 0 and 1 or a number; a sentence where they did.

    Args:
        y: labels `[N, ...]`.
        answer: outputs `[n, ...]` for some of them.
    """
    if bool(((y == -1) | (y == 1)).all()) and bool((y == -1).any()):
        return (y > 0).long(), "Labels -1 and 1 are read as no and yes."
    if y.shape[1:] != answer.shape[1:] or y.dim() < 2 or y.shape[1] < 2:
        return y, ""
    if y.dim() > 2 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all()):
        return y.int().argmax(1), "Labels hold one 1 at each place, read as the number of its class."
    shares = y.dim() == 2 and y.is_floating_point() and bool((y >= 0).all())
    if (
        shares
        and bool(((y.sum(1) - 1).abs() < 1e-3).all())
        and float(y.max(1).values.mean()) > SURE
        and not is_one_hot(y)
    ):
        return y.argmax(1), "Each row of the labels sums to one and is read as the class of its largest share."
    return y, ""


def class_numbers(y: Tensor) -> Tensor:
    """Labels `[N]` (int64) of class numbers in any dtype, `[N, 1]`, or one-hot `[N, C]`.

    Raises:
        DataError: where they are no class numbers from 0.
    """
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if is_one_hot(y):
        y = y.int().argmax(1)
    if y.dim() != 1:
        shape = shown(tuple(y.shape))
        raise DataError(
            f"The labels have shape {shape}, not one class a sample.", f"Pass class numbers [N], or {WITHOUT}"
        )
    if y.is_floating_point() and not bool((y == y.round()).all()):
        raise DataError("The labels are no whole numbers.", f"Pass class numbers from 0, or {WITHOUT}")
    y = y.long()
    if y.numel() and int(y.min()) < 0:
        raise DataError(f"The labels go down to {int(y.min())}.", "Pass class numbers from 0.")
    return y


def is_one_hot(y: Tensor) -> bool:
    """Whether every row `[C]` holds one 1 and zeros."""
    return y.dim() == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())


def check_classes(samples: Samples, classes: int | None) -> Samples:
    """The samples, with a note where their labels use only some of the model's outputs.

    Args:
        samples: with class numbers.
        classes: the model's outputs, or None where it is no classifier.

    Raises:
        DataError: on labels beyond the model's outputs.
    """
    if classes is None or classes < 2 or samples.y is None:
        return samples
    y, named = samples.y, len(samples.classes)
    highest = int(y.max()) + 1
    if not named and highest == classes + 1 and int(y.min()) > 0:
        raise DataError(f"The labels count from 1, and end at {classes}.", "Pass class numbers from 0: y - 1.")
    if highest > classes or (named and named != classes):
        raise DataError(
            f"The data has {named or highest} classes, the model has {classes} outputs.",
            "Name class folders by the model's class numbers, or leave the labels out (--no-labels)."
            if named
            else "Pass the data that the model was trained for, or leave the labels out (--no-labels).",
        )
    used = len(set(y.tolist()))
    return (
        samples
        if used == classes
        else samples.of(samples.x, y, f"The labels name {used} of the model's {classes} outputs.")
    )
