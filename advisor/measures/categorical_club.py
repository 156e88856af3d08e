"""CLUB with a categorical posterior, over all pairs in closed form (Cheng et al., ICML 2020, equation 6)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def categorical_club(scores: Tensor, labels: Tensor) -> Tensor:
    """I(y; z) ≤ E[log q(y|z)] − E[log q(y'|z)], y' drawn apart from z: over all pairs of the batch; at least 0.

    Args:
        scores: `[n, classes]`, log q up to a constant.
        labels: `[n]` classes.

    Returns:
        A scalar in nats; a bound where q is the true posterior.
    """
    likely = F.log_softmax(scores, 1)
    own = likely.gather(1, labels[:, None]).mean()
    shares = F.one_hot(labels, scores.shape[1]).to(likely).mean(0)
    return (own - (likely @ shares).mean()).clamp_min(0)
