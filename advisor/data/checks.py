"""Reasons to refuse samples, whatever the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisor.data.tensors import as_tensor, tensors_of
from advisor.errors import DataError
from advisor.support.finite import all_finite

if TYPE_CHECKING:
    from torch import Tensor

WITHOUT = "leave the labels out (--no-labels): accuracy is then held against the model's own output."

UNEQUAL = 30
"""Times the spread of the median column from which on one of a table decides every squared error."""


def check_usable(x: Any, y: Tensor | None) -> None:
    """Refuse samples from which nothing could be measured.

    Args:
        x: a tensor `[N, ...]`, or a tuple or dict of them.
        y: labels `[N, ...]`, or None.

    Raises:
        DataError: empty, one sample, NaN or infinity, labels of another length, or all labels equal.
    """
    tensors = tensors_of(x)
    if not tensors or any(t.numel() == 0 for t in tensors):
        raise DataError("The data is empty.", "Pass at least 2 samples, better 256.")
    n = len(tensors[0])
    if any(len(t) != n for t in tensors):
        raise DataError(
            f"The inputs have different numbers of samples: {', '.join(str(len(t)) for t in tensors)}.", "Align them."
        )
    if n == 1:
        raise DataError("The data has one sample; nothing can be held out or compared.", "Pass at least 2, better 256.")
    for tensor in tensors:
        check_finite(tensor, "data")
    if y is None:
        return
    y = labels_of(y, n)
    if y is not None and y.dim() == 1 and bool((y == y[0]).all()):
        raise DataError(
            f"All {n} labels are {y[0].item():g}: one class tells nothing about leakage.",
            "Pass several classes, or no labels (--no-labels).",
        )


def labels_of(y: Any, count: int) -> Tensor | None:
    """Labels `[N, ...]` as a tensor, one for each of `count` samples; None where there are none.

    Raises:
        DataError: when they are no real numbers, not finite, or of another length.
    """
    if y is None:
        return None
    labels = as_tensor(y, "labels")
    if labels.dim() == 0 or len(labels) != count:
        given = len(labels) if labels.dim() else 1
        raise DataError(f"There are {count} samples but {given} labels.", "Pass one label a sample.")
    check_finite(labels, "labels")
    return labels


def check_finite(tensor: Tensor, what: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: naming the first sample that holds one.
    """
    import torch

    if not all_finite(tensor):
        bad = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
        held = "holds" if what == "data" else "hold"
        raise DataError(
            f"The {what} {held} NaN or infinity, first in sample {int(bad.nonzero()[0])}.",
            "Remove or repair those samples.",
        )


def unequal_columns(x: Tensor) -> list[str]:
    """A note where one column of a table `[N, d]` outweighs all others."""
    if x.dim() != 2 or len(x) < 2 or not bool((spread := x.float().std(0)).any()):
        return []
    widest, usual = float(spread.max()), float(spread[spread > 0].median())
    if widest <= UNEQUAL * usual:
        return []
    varies = f"Column {int(spread.argmax())} of the samples varies by {widest:.3g}, the median one by {usual:.3g}"
    return [f"{varies}: errors follow the widest; give all on like scales to weigh them alike."]
