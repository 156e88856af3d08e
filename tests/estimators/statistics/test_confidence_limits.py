"""Upper limits of skewed means: how often they are too low, over many draws of known distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from advisor.estimators.statistics.confidence_limits import upper_limit

Draw = Callable[[int, torch.Generator], Tensor]


def lognormal(sigma: float) -> Draw:
    return lambda n, g: torch.exp(sigma * torch.randn(n, generator=g, dtype=torch.float64) - sigma**2 / 2)


def pareto(exponent: float) -> Draw:
    return lambda n, g: torch.rand(n, generator=g, dtype=torch.float64).pow(-1 / exponent) * (1 - 1 / exponent)


def exponential(n: int, g: torch.Generator) -> Tensor:
    return -torch.rand(n, generator=g, dtype=torch.float64).log()


def rare(n: int, g: torch.Generator) -> Tensor:
    """One in twenty is twenty times as large: half of the mean."""
    large = torch.rand(n, generator=g) < 0.05
    return torch.where(large, 20.0, 1.0).double() / 1.95 * (0.5 + torch.rand(n, generator=g, dtype=torch.float64))


def missed(draw: Draw, n: int, draws: int = 400) -> tuple[float, float]:
    """Share of draws whose limit lies below the mean, 1, and the median limit."""
    generator = torch.Generator().manual_seed(n)
    limits = torch.tensor([upper_limit(draw(n, generator)) for _ in range(draws)])
    return float((limits < 1).double().mean()), float(limits.median())


@pytest.mark.parametrize(
    ("draw", "n", "most", "loosest"),
    [
        (lognormal(0.3), 16, 0.09, 1.3),
        (lognormal(1.0), 16, 0.09, 2.3),
        (lognormal(2.0), 16, 0.14, 9.0),
        (lognormal(0.5), 64, 0.08, 1.2),
        (lognormal(2.0), 64, 0.09, 4.0),
        (exponential, 64, 0.08, 1.5),
        (pareto(2.5), 64, 0.13, 1.3),
        (rare, 64, 0.10, 3.0),
    ],
)
def test_it_is_seldom_too_low_and_not_uselessly_high(draw: Draw, n: int, most: float, loosest: float) -> None:
    share, median = missed(draw, n)
    assert share <= most
    assert median <= loosest


def test_student_s_limit_is_too_low_where_this_is_not() -> None:
    """What it replaces: a lognormal of σ 1.5 and 64 samples, where one draw in five fools Student."""
    generator = torch.Generator().manual_seed(0)
    draws = [lognormal(1.5)(64, generator) for _ in range(400)]
    student = [float(y.mean() + 1.669 * y.std() / 8) for y in draws]
    assert sum(limit < 1 for limit in student) / 400 > 0.14
    assert sum(upper_limit(y) < 1 for y in draws) / 400 < 0.09


def test_what_does_not_vary_is_its_own_limit() -> None:
    assert upper_limit(torch.full((5,), 3.0)) == 3.0
    assert upper_limit(torch.zeros(5)) == 0.0


def test_units_do_not_matter() -> None:
    y = exponential(20, torch.Generator().manual_seed(1))
    assert upper_limit(1e9 * y) == pytest.approx(1e9 * upper_limit(y))


def test_mostly_zero_samples_have_a_finite_limit() -> None:
    """Dead units: the logarithms of most samples do not exist."""
    y = torch.zeros(64, dtype=torch.float64)
    y[:20] = exponential(20, torch.Generator().manual_seed(2))
    assert float(y.mean()) < upper_limit(y) < 4 * float(y.mean())


def test_one_sample_has_no_limit() -> None:
    assert math.isnan(upper_limit(torch.ones(1)))
