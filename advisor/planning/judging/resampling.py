"""Intervals of measures without a closed form: the bootstrap over samples, paired where two are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advisor.estimate import Estimate

REPLICATES = 400
Weighted = Callable[[Tensor], Tensor]
"""From how often each sample counts `[B, N]` to the measure `[B]`; NaN where a resample cannot tell it."""


def counts(n: int) -> Tensor:
    """How often each of n samples is drawn, `[REPLICATES, n]`; the same for the same n."""
    generator = torch.Generator().manual_seed(n)
    drawn = torch.randint(n, (REPLICATES, n), generator=generator)
    return torch.zeros(REPLICATES, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(REPLICATES, n).double())


def statistic(measure: Weighted, n: int, method: str) -> Estimate:
    """A measure of n samples, with its bootstrap spread and 90 % percentile interval (Efron 1979)."""
    return _estimate(float(measure(torch.ones(1, n, dtype=torch.float64))), measure(counts(n)), method)


def difference(before: Weighted, after: Weighted, n: int, method: str) -> Estimate:
    """How much less `after` is than `before` over the same resamples."""
    one, many = torch.ones(1, n, dtype=torch.float64), counts(n)
    return _estimate(float(before(one) - after(one)), before(many) - after(many), method)


def _estimate(value: float, replicates: Tensor, method: str) -> Estimate:
    told = replicates[torch.isfinite(replicates)]
    if len(told) < 2:
        return Estimate(value, method=method)
    low, high = (float(torch.quantile(told, q)) for q in (0.05, 0.95))
    return Estimate(value, float(told.std()), min(low, value), max(high, value), "1", "measured", method)
