"""Task: what a model's output means, and which of its outputs counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from advisor.errors import AdvisorError

Kind = Literal["classes", "multilabel", "regression", "dense", "ranking"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Task:
    """How outputs are judged.

    Attributes:
        kind: "classes" (one a sample: top-1), "multilabel" (several: mean average precision), "regression" (numbers:
            R²), "dense" (a class at each place: pixel accuracy) or "ranking" (one score a sample: ROC-AUC).
        position: which tensor of the last cut counts.
        axis: of a dense output `[N, ...]`, the axis of classes; 0 where one number a place is decided by its sign.
    """

    kind: Kind
    position: int = 0
    axis: int = 1


def check_kind(wanted: str) -> str:
    """The name of a task, or "auto".

    Raises:
        AdvisorError: on any other name.
    """
    if wanted != "auto" and wanted not in KINDS:
        raise AdvisorError(f"There is no task {wanted!r}.", f"Use auto, {', '.join(KINDS)}.")
    return wanted
