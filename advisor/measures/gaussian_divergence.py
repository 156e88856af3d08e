"""Kullback-Leibler divergence of a normal distribution from the standard normal one, in closed form."""

from __future__ import annotations

from torch import Tensor


def gaussian_divergence(mean: Tensor, log_spread: Tensor) -> Tensor:
    """KL(N(mean, σ²) ‖ N(0, 1)) of each element, nats: (σ² + mean² − 1)/2 − ln σ (Kingma and Welling 2014, B).

    Args:
        mean, log_spread: of one shape; log_spread is ln σ.
    """
    return 0.5 * ((2 * log_spread).exp() + mean.square() - 1) - log_spread
