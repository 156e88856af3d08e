"""CLUB with a Gaussian posterior, over all pairs in closed form (Cheng et al., ICML 2020, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_log_likelihood(mean: Tensor, log_variance: Tensor, wanted: Tensor) -> Tensor:
    """log q(x|z) of each sample `[n]`, up to a constant, per element.

    Args:
        mean, log_variance: `[n, p]` of the variational Gaussian.
        wanted: `[n, p]`.
    """
    return (-0.5 * ((wanted - mean).square() / log_variance.exp() + log_variance)).mean(1)


def gaussian_club(mean: Tensor, log_variance: Tensor, wanted: Tensor) -> Tensor:
    """I(x; z) ≤ E[log q(x|z)] − E[log q(x'|z)], x' drawn apart from z: over all pairs of the batch; at least 0.

    Args:
        mean, log_variance: `[n, p]`, what q says of x given z.
        wanted: `[n, p]`, the x of each sample.

    Returns:
        A scalar in nats an element; a bound where q is the true posterior.
    """
    own = gaussian_log_likelihood(mean, log_variance, wanted).mean()
    inverse = (-log_variance).exp()
    moment, square = wanted.mean(0), wanted.square().mean(0)
    distance = square - 2 * mean * moment + mean.square()
    others = (-0.5 * (distance * inverse + log_variance)).mean()
    return (own - others).clamp_min(0)


def standardised(wanted: Tensor) -> Tensor:
    """Targets `[n, p]` with mean 0 and overall variance 1: elements then count by what they hold."""
    centred = wanted - wanted.mean(0)
    return centred / centred.square().mean().sqrt().clamp_min(torch.finfo(centred.dtype).tiny)
