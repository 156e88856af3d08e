"""Spread of an estimate over samples: jackknife and binomial proportion."""

from __future__ import annotations

import math

from torch import Tensor

from advisor.estimate import NORMAL_90, Estimate, Source


def jackknife(value: float, without: Tensor, unit: str, method: str, floor: float = -math.inf) -> Estimate:
    """An estimate with its delete-one jackknife spread (Efron 1982, eq. 3.5) and a normal 90 % interval.

    Args:
        value: the statistic on all samples.
        without: `[n]`, the statistic on all samples but one; any that is not finite leaves the spread unknown.
        unit: of the statistic.
        method: how it was obtained.
        floor: smallest value that the statistic can take; the interval stops there.
    """
    n = without.shape[0]
    stderr = float(((without - without.mean()).square().sum() * ((n - 1) / n)).sqrt()) if n > 1 else math.nan
    stderr = stderr if math.isfinite(stderr) else math.nan
    half = NORMAL_90 * stderr
    low = _at_least(floor, value - half) if math.isfinite(half) else math.nan
    return Estimate(value, stderr, low, value + half, unit, "estimated", method)


def jackknife_corrected(
    value: float, without: Tensor, unit: str, method: str, source: Source = "estimated", floor: float = -math.inf
) -> Estimate:
    """As `jackknife`, the value freed of its bias of order 1/n (Quenouille 1956): n·value - (n - 1)·mean(without).

    The 90 % interval is that of Student's t with n - 1 degrees of freedom, since n may be as small as eight.
    """
    from scipy.stats import t as student

    n = without.shape[0]
    if n < 2:
        return Estimate(value, math.nan, math.nan, math.nan, unit, source, method)
    spread = jackknife(value, without, unit, method)
    centre = _at_least(floor, n * value - (n - 1) * float(without.mean()))
    half = float(student.ppf(0.95, n - 1)) * spread.stderr
    return Estimate(centre, spread.stderr, _at_least(floor, centre - half), centre + half, unit, source, method)


def _at_least(floor: float, value: float) -> float:
    """The larger of both; NaN stays NaN, which `max` would take for the floor."""
    return value if math.isnan(value) else max(floor, value)


def proportion(hits: Tensor, method: str) -> Estimate:
    """Share of `hits` (`[m]` bool) with the 90 % score interval of Wilson (1927)."""
    m = hits.shape[0]
    share, slack = float(hits.double().mean()), NORMAL_90**2 / m
    middle = (share + slack / 2) / (1 + slack)
    half = NORMAL_90 * math.sqrt(share * (1 - share) / m + slack / (4 * m)) / (1 + slack)
    stderr = math.sqrt(share * (1 - share) / m)
    return Estimate(share, stderr, max(0.0, middle - half), min(1.0, middle + half), "1", "measured", method)
