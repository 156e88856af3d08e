"""What a defense costs in the measure that the task asks for: against true labels, else the undefended answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from advisor.estimate import Estimate
from advisor.estimators.statistics.ratios import ratio_of_means
from advisor.planning.judging.resampling import difference, statistic
from advisor.planning.judging.task_measures import (
    average_precision,
    balanced_agreement,
    one_score,
    roc_auc,
    threshold,
    void,
)
from advisor.task import Task

WITHOUT_TASK = Task("classes")
MEASURES = {
    ("classes", True): "accuracy against true labels",
    ("classes", False): "agreement with the undefended model",
    ("multilabel", True): "mean average precision against true labels",
    ("multilabel", False): "agreement with the undefended model's decisions, yes and no alike",
    ("regression", True): "explained variance (R²) of the true values",
    ("regression", False): "explained variance (R²) of the undefended model's output",
    ("dense", True): "pixel accuracy against true labels",
    ("dense", False): "pixel agreement with the undefended model",
    ("ranking", True): "ROC-AUC against true labels",
    ("ranking", False): "ROC-AUC against the undefended model's decisions",
}
"""What is measured, by task and whether there are labels."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How well defended outputs do what is wanted: what the labels say, else what the undefended model did.

    Attributes:
        bare: `[N, ...]` outputs of the undefended model; None where no floating-point number comes out.
        labels: as the task has them: classes `[N]`, multi-hot `[N, C]`, numbers `[N, ...]`, classes a place; or None.
        task: how outputs are judged. None: vectors of more than one number are class scores, other outputs numbers.
    """

    bare: Tensor | None
    labels: Tensor | None
    task: Task | None = None

    def taken(self, rows: Tensor) -> Accuracy:
        """The same over some of the samples."""
        some = [None if values is None else values[rows] for values in (self.bare, self.labels)]
        return Accuracy(some[0], some[1], self.task)

    @property
    def method(self) -> str:
        """What was measured, on how many samples."""
        rows = 0 if self.bare is None else len(self.bare)
        return f"{MEASURES[self.kind, self._truth is not None]} on {rows:,} samples"

    @property
    def kind(self) -> str:
        """The task's name."""
        if self.task is not None:
            return self.task.kind
        return "classes" if self.bare is not None and self.bare.dim() == 2 and self.bare.shape[1] > 1 else "regression"

    @property
    def why_not(self) -> str:
        """Why it cannot be measured; empty where it can."""
        if self.bare is None:
            return "the model's output holds no floating-point number"
        if lost := int(self.bare.isnan().reshape(len(self.bare), -1).any(1).sum()):
            return f"the model's own output is NaN for {lost:,} of {len(self.bare):,} samples"
        if self.kind == "regression" and not float(self._spread.sum()) > 0:
            same = "the model's output is" if self._truth is None else "the true values are"
            return f"{same} the same for every sample"
        if self.kind in ("multilabel", "ranking") and not bool(self._told.any()):
            return "no label is both present and absent among the samples" + (
                "" if self._truth is not None else ", as the undefended model decides"
            )
        return ""

    def undefended(self) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` of a split without defense."""
        if self.why_not:
            return self._missing()
        assert self.bare is not None, "there is a reason otherwise"
        drop = Estimate.exact(0.0, "1", "measured", f"{self.method}; an undefended split is exact")
        return {"accuracy": self._accuracy(self.bare), "accuracy_drop": drop}

    def of(self, outputs: Tensor | None) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` (absolute, in points of the measure) of defended outputs `[N, ...]`."""
        if self.why_not:
            return self._missing()
        assert self.bare is not None, "there is a reason otherwise"
        assert outputs is not None, "the undefended model gave outputs"
        return {"accuracy": self._accuracy(outputs), "accuracy_drop": self._drop(outputs)}

    # ---- one measure a task --------------------------------------------------------------------------------------

    def _accuracy(self, outputs: Tensor) -> Estimate:
        if self.kind == "classes":
            return Estimate.of_mean(self._right(outputs).numpy(), "1", self.method).within(0.0, 1.0)
        if self.kind == "dense":
            right, valid = self._right(outputs), self._valid
            return _named(ratio_of_means((right * valid).sum(1), valid.sum(1)), self.method).within(0.0, 1.0)
        if self.kind == "regression":
            lost = ratio_of_means(self._errors(outputs), self._spread).within(0.0)
            return Estimate(1 - lost.value, lost.stderr, 1 - lost.high, 1 - lost.low, "1", "measured", self.method)
        return statistic(lambda weights: self._curve(outputs, weights), len(outputs), self.method)

    def _drop(self, outputs: Tensor) -> Estimate:
        assert self.bare is not None
        method = f"{self.method}; paired over the samples"
        if self.kind == "classes":
            return Estimate.of_mean((self._right(self.bare) - self._right(outputs)).numpy(), "1", method)
        if self.kind == "dense":
            lost = (self._right(self.bare) - self._right(outputs)) * self._valid
            return _named(ratio_of_means(lost.sum(1), self._valid.sum(1)), method)
        if self.kind == "regression":
            return _named(ratio_of_means(self._errors(outputs) - self._errors(self.bare), self._spread), method)
        bare = self.bare
        return difference(
            lambda weights: self._curve(bare, weights), lambda weights: self._curve(outputs, weights), len(outputs),
            f"{method}, their intervals by bootstrap",
        )  # fmt: skip

    @property
    def _truth(self) -> Tensor | None:
        """The labels, where they are of the form that the task judges by."""
        if self.labels is None or self.bare is None:
            return None
        if self.kind == "regression":
            return self.labels if self.task is not None and self.labels.shape == self.bare.shape else None
        return self.labels

    def _right(self, outputs: Tensor) -> Tensor:
        """`[N]` or `[N, places]`: 1 where the class is right."""
        axis = 1 if self.kind == "classes" else self._task.axis
        goal = self._decided(self._bare, axis) if self._truth is None else self._truth
        right = (self._decided(outputs, axis) == goal).double()
        return right if self.kind == "classes" else right.flatten(1)

    def _decided(self, outputs: Tensor, axis: int) -> Tensor:
        return (outputs > self._threshold).squeeze(1).long() if axis == 0 else outputs.argmax(axis)

    @cached_property
    def _threshold(self) -> float:
        return threshold(self._bare)

    @cached_property
    def _valid(self) -> Tensor:
        """`[N, places]`: 0 at places that have no label."""
        if self._truth is None:
            return torch.ones_like(self._right(self._bare))
        classes = 2 if self._task.axis == 0 else self._bare.shape[self._task.axis]
        return (~void(self._truth, classes)).flatten(1).double()

    def _errors(self, outputs: Tensor) -> Tensor:
        """`[N]` squared distances from the goal."""
        goal = self._bare if self._truth is None else self._truth
        return (outputs.double() - goal.double()).reshape(len(outputs), -1).square().sum(1)

    @cached_property
    def _spread(self) -> Tensor:
        """`[N]` squared distances of the goal from its mean."""
        goal = (self._bare if self._truth is None else self._truth).double()
        return (goal - goal.mean(0)).reshape(len(goal), -1).square().sum(1)

    def _curve(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Mean average precision, agreement or ROC-AUC for each row of `weights` `[B, N]`."""
        if self.kind == "ranking":
            return roc_auc(one_score(outputs), self._wanted[:, 0], weights)
        told = self._told
        if self._truth is None:
            return balanced_agreement(outputs[:, told] > self._threshold, self._wanted[:, told], weights)
        return average_precision(outputs[:, told], self._wanted[:, told], weights)

    @cached_property
    def _wanted(self) -> Tensor:
        """`[N, C]` what is true of each sample."""
        if self._truth is not None:
            return self._truth.reshape(len(self._truth), -1).bool()
        scores = one_score(self._bare)[:, None] if self.kind == "ranking" else self._bare
        return scores > threshold(scores)

    @cached_property
    def _told(self) -> Tensor:
        """`[C]` whether a label is present in some samples and absent in others: the others tell nothing."""
        share = self._wanted.double().mean(0)
        return (share > 0) & (share < 1)

    @property
    def _bare(self) -> Tensor:
        assert self.bare is not None
        return self.bare

    @property
    def _task(self) -> Task:
        return self.task or WITHOUT_TASK

    def _missing(self) -> dict[str, Estimate]:
        missing = Estimate(math.nan, method=self.why_not)
        return {"accuracy": missing, "accuracy_drop": missing}


def _named(found: Estimate, method: str) -> Estimate:
    return Estimate(found.value, found.stderr, found.low, found.high, "1", "measured", method)
