"""What a defense costs in accuracy: of classes where the model scores them, else of its output's variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from advisor.estimate import Estimate

AGREEMENT = "agreement with the undefended model"
TRUTH = "accuracy against true labels"
VARIANCE = "explained variance (R²) of the undefended model's output"


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How well defended outputs do what undefended ones did.

    A vector of more than one number is read as class scores. Any other output (one number, a map, a sequence) is held
    against the undefended one by the coefficient of determination, R² = 1 − Σ‖y' − y‖² / Σ‖y − mean(y)‖².

    Attributes:
        bare: `[N, ...]` outputs of the undefended model; None where no floating-point number comes out.
        labels: `[N]` true classes, or None; they count where the model scores classes.
    """

    bare: Tensor | None
    labels: Tensor | None

    @property
    def method(self) -> str:
        """What was measured, on how many samples."""
        rows = 0 if self.bare is None else len(self.bare)
        what = VARIANCE if not self._classes else AGREEMENT if self.labels is None else TRUTH
        return f"{what} on {rows:,} samples"

    @property
    def why_not(self) -> str:
        """Why it cannot be measured; empty where it can."""
        if self.bare is None:
            return "the model's output holds no floating-point number"
        return "" if self._classes or self._variance > 0 else "the model's output is the same for every sample"

    def undefended(self) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` of a split without defense."""
        if self.why_not:
            return self._missing()
        assert self.bare is not None, "there is a reason otherwise"
        drop = Estimate.exact(0.0, "1", "measured", f"{self.method}; an undefended split is exact")
        return {"accuracy": self._mean(self._right(self.bare), self.method), "accuracy_drop": drop}

    def of(self, outputs: Tensor | None) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` (absolute) of defended outputs `[N, ...]`."""
        if self.why_not:
            return self._missing()
        assert self.bare is not None, "there is a reason otherwise"
        assert outputs is not None, "the undefended model gave outputs"
        before, after = self._right(self.bare), self._right(outputs)
        paired = self._mean(before - after, f"{self.method}; paired over the samples")
        return {"accuracy": self._mean(after, self.method), "accuracy_drop": paired}

    @property
    def _classes(self) -> bool:
        return self.bare is not None and self.bare.dim() == 2 and self.bare.shape[1] > 1

    def _right(self, outputs: Tensor) -> Tensor:
        """`[N]` shares of each sample that are right; their mean is the accuracy."""
        assert self.bare is not None
        if self._classes:
            goal = self.bare.argmax(1) if self.labels is None else self.labels
            return (outputs.argmax(1) == goal).double()
        return 1 - (outputs - self.bare).reshape(len(outputs), -1).double().square().sum(1) / self._variance

    @cached_property
    def _variance(self) -> float:
        """Mean over the samples of the squared distance from the mean output."""
        assert self.bare is not None
        return float((self.bare - self.bare.mean(0)).double().square().sum() / len(self.bare))

    @staticmethod
    def _mean(shares: Tensor, method: str) -> Estimate:
        return Estimate.of_mean(shares.numpy(), "1", method)

    def _missing(self) -> dict[str, Estimate]:
        missing = Estimate(math.nan, method=self.why_not)
        return {"accuracy": missing, "accuracy_drop": missing}
