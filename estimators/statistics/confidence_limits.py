"""Upper confidence limits of means of non-negative, right-skewed samples: what a guarantee by sampling stands on."""

from __future__ import annotations

import math

from torch import Tensor

CONFIDENCE = 0.95
"""One-sided: the lower end of a two-sided 90 % interval of a guarantee."""

_MOST = 16.0
"""The lognormal limit counts up to so many times Hall's, over √n: where the logarithms spread, it knows no bounds."""


def upper_limit(samples: Tensor, confidence: float = CONFIDENCE) -> float:
    """A limit that the mean of these samples' distribution is below, in at least about nine of ten draws.

    Student's limit errs where samples are skewed: a draw without the rare large ones has both a small mean and a small
    spread. This is the larger of two that each hold where the other fails: Hall's, which corrects for skewness, and
    the lognormal one of the upper half of the samples. Measured misses at a confidence of 95 % with 16 and with 64
    samples: 12 and 6 % for lognormal samples of σ = 2, 9 and 4 % of σ = 1.5, 15 and 11 % for Pareto tails of exponent
    2.5. Nothing that only sees samples can hold where a few inputs in a hundred carry most of the mean and none of them
    was drawn, or where the variance is infinite (23 %).

    Args:
        samples: `[n]`, not negative but for rounding, two at least.
        confidence: one-sided.
    """
    y = samples.double()
    if len(y) < 2:
        return math.nan
    if float(y.std()) <= 1e-12 * float(y.mean().abs()):
        return float(y.max())
    hall = _hall(y, confidence)
    if float(y.median()) <= 1e-9 * float(y.mean()):
        return hall
    return max(hall, min(_half_lognormal(y, confidence), _MOST / math.sqrt(len(y)) * hall))


def _student(confidence: float, n: int) -> float:
    from scipy.stats import t as student

    return float(student.ppf(confidence, n - 1))


def _hall(y: Tensor, confidence: float) -> float:
    """Hall 1992, "On the removal of skewness by transformation": the cubic transformation, inverted."""
    n, mean, spread = len(y), float(y.mean()), float(y.std())
    a = float((y - mean).pow(3).mean()) / spread**3 / math.sqrt(n)
    z = -_student(confidence, n)
    turned = z if abs(a) < 1e-6 else 3 / a * (math.cbrt(1 + a * (z - a / 6)) - 1)
    return mean - turned * spread / math.sqrt(n)


def _half_lognormal(y: Tensor, confidence: float) -> float:
    """Cox's limit of a lognormal mean (Olsson 2005, eq. 4), from the median and the logarithms above it.

    The half below the median says nothing of the tail that matters. Of n/2 squares of half-normals the variance is
    4σ⁴/n, that of the median (π/2)σ²/n.
    """
    n = len(y)
    median = y.quantile(0.5)
    above = (y.clamp_min(float(median)) / median).log()
    variance = float(above.square().sum()) / (n // 2)
    doubt = math.sqrt(math.pi / 2 * variance / n + variance**2 / n)
    return float(median) * math.exp(min(700.0, variance / 2 + _student(confidence, n) * doubt))
