"""Label leakage: how well a linear probe reads the class, or the model's prediction, from the activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.class_radius import label_words
from advisor.estimators.statistics.spread import proportion
from advisor.measures.gram_matrices import Kernel, roles, train_kernel


def probe_predictions(kernel: Kernel, labels: Tensor, penalty: float | None = None) -> Tensor:
    """Classes `[b]` that ridge regression on one-hot labels predicts.

    Args:
        kernel: centred inner products of train and test samples.
        labels: `[a]` train labels.
        penalty: λ; by generalised cross-validation where None.
    """
    classes, member = torch.unique(labels, return_inverse=True)
    one_hot = torch.nn.functional.one_hot(member, len(classes)).double()
    centred = one_hot - one_hot.mean(0)
    if penalty is None:
        penalty = kernel.penalty((kernel.vectors.T @ centred).square().sum(1))
    chosen: Tensor = classes[(one_hot.mean(0) + kernel.weights(penalty) @ centred).argmax(1)]
    return chosen


@dataclass(frozen=True)
class LabelLeak:
    """Held-out accuracy of a linear probe for the label; lower is more private.

    Hiding the input by depth exposes the prediction: this column grows where the others fall.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "label_leak", "1", "low", "measured", "held-out accuracy of a linear probe (ridge on one-hot labels)"
        ),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Probe one cut.

        Raises:
            NotMeasurableError: too few samples, or one class only.
        """
        train, test = roles(view.targets)
        known, wanted = view.targets.labels[train], view.targets.labels[test]
        if len(torch.unique(known)) < 2:
            raise NotMeasurableError("the samples to learn from are all of one class: there is no label to tell apart")
        guess = known.mode().values
        method = (
            f"linear probe on {label_words(view.targets)}, {len(train)} samples to learn from, {len(test)} held out; "
            f"guessing the commonest class: {float((wanted == guess).double().mean()):.2f}"
        )
        return {"label_leak": proportion(probe_predictions(train_kernel(view), known) == wanted, method)}
