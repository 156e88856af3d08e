"""Average precision, ROC-AUC and agreement for many weightings of the samples at once, and what outputs decide."""

from __future__ import annotations

import torch
from torch import Tensor

VOID = 255
"""Label of places without one, beside negative numbers (as in Pascal VOC and Cityscapes)."""


def threshold(outputs: Tensor) -> float:
    """From which score on a model says yes: 0.5 for probabilities, 0 for other numbers."""
    return 0.5 if float(outputs.min()) >= 0 and float(outputs.max()) <= 1 else 0.0


def one_score(outputs: Tensor) -> Tensor:
    """`[N]` one score a sample: of `[N]`, `[N, 1]`, or of two classes what the second has more."""
    flat = outputs.reshape(len(outputs), -1)
    return flat[:, 0] if flat.shape[1] == 1 else flat[:, 1] - flat[:, 0]


def void(labels: Tensor, classes: int) -> Tensor:
    """Places without a label: negative, or 255 where that is no class."""
    return (labels < 0) | ((labels == VOID) & (classes <= VOID))


def average_precision(scores: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean over classes of the average precision, `[B]`.

    AP = Σ (R_k − R_{k−1}) P_k over thresholds, as scikit-learn has it; samples of one score stand or fall together.
    Classes that a weighting leaves without a positive do not count.

    Args:
        scores: `[N, C]`.
        wanted: `[N, C]` bool.
        weights: `[B, N]`.
    """
    found = []
    for score, positive in zip(scores.T, wanted.T, strict=True):
        order = torch.argsort(score, descending=True)
        ranked, weight = score[order], weights[:, order]
        hits = (weight * positive[order]).cumsum(1)
        ends = _last_of_ties(ranked)
        hits, taken = hits[:, ends], weight.cumsum(1)[:, ends]
        gained = torch.diff(hits, dim=1, prepend=torch.zeros_like(hits[:, :1]))
        precision = hits / taken.clamp(min=1e-300)
        found.append((gained * precision).sum(1) / hits[:, -1])
    return torch.stack(found).nanmean(0)


def roc_auc(score: Tensor, positive: Tensor, weights: Tensor) -> Tensor:
    """Probability that a positive scores above a negative, ties counted half, `[B]`; NaN without one of each.

    Args:
        score: `[N]`.
        positive: `[N]` bool.
        weights: `[B, N]`.
    """
    order = torch.argsort(score)
    ranked, weight = score[order], weights[:, order]
    ends = _last_of_ties(ranked)
    up = (weight * positive[order]).cumsum(1)[:, ends]
    down = (weight * ~positive[order]).cumsum(1)[:, ends]
    ups = torch.diff(up, dim=1, prepend=torch.zeros_like(up[:, :1]))
    downs = torch.diff(down, dim=1, prepend=torch.zeros_like(down[:, :1]))
    above = (ups * (down - downs / 2)).sum(1)
    return above / (up[:, -1] * down[:, -1])


def balanced_agreement(said: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean over labels of (share of the yes that stay yes + share of the no that stay no) / 2, `[B]`.

    Args:
        said, wanted: `[N, C]` bool.
        weights: `[B, N]`.
    """
    yes, no = weights @ wanted.double(), weights @ (~wanted).double()
    kept_yes, kept_no = weights @ (said & wanted).double(), weights @ (~said & ~wanted).double()
    return ((kept_yes / yes + kept_no / no) / 2).nanmean(1)


def _last_of_ties(ranked: Tensor) -> Tensor:
    """Positions at which a run of equal scores ends."""
    last = torch.ones(len(ranked), dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    return last.nonzero()[:, 0]
