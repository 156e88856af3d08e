"""Ratios of means over the same samples, with their delta-method standard error."""

from __future__ import annotations

import math

from torch import Tensor

from advisor.estimate import NORMAL_90, Estimate


def ratio_of_means(numerator: Tensor, denominator: Tensor, unit: str = "1") -> Estimate:
    """mean(numerator) / mean(denominator) for paired samples `[n]` (Cochran 1977, eq. 6.13).

    NaN where the denominator is zero: all targets are the same, so there is nothing to reconstruct.
    """
    top, bottom = numerator.double(), denominator.double()
    if float(bottom.mean()) <= 0:
        return Estimate(math.nan, unit=unit, method="all inputs are the same: there is nothing to reconstruct")
    ratio = float(top.mean() / bottom.mean())
    if len(top) < 2:
        return Estimate(ratio, unit=unit)
    residual = top - ratio * bottom
    stderr = float(residual.std() / math.sqrt(len(top)) / bottom.mean())
    return Estimate(ratio, stderr, ratio - NORMAL_90 * stderr, ratio + NORMAL_90 * stderr, unit)
