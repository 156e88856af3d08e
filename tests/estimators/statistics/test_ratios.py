from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from advisor.estimate import NORMAL_90
from advisor.estimators.statistics.ratios import ratio_of_means
from advisor.testing.made_up_views import normal


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_spread_is_that_of_the_bootstrap(correlation: float) -> None:
    """Paired samples: where numerator and denominator rise together, their ratio varies less."""
    a, b = normal(400).exp(), normal(400, seed=1).exp()
    top, bottom = correlation * b + (1 - correlation) * a + 0.2 * a, b
    found = ratio_of_means(top, bottom)
    assert found.value == pytest.approx(float(top.sum() / bottom.sum()))
    picks = np.random.default_rng(0).integers(0, 400, (3000, 400))
    drawn = top.numpy()[picks].sum(1) / bottom.numpy()[picks].sum(1)
    assert found.stderr == pytest.approx(drawn.std(), rel=0.12)
    assert found.low == pytest.approx(np.quantile(drawn, 0.05), rel=0.1)
    assert found.high == pytest.approx(np.quantile(drawn, 0.95), rel=0.1)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(300):
        bottom = normal(100, seed=seed).abs() + 0.5
        top = 0.3 * bottom * (1 + 0.5 * normal(100, seed=1000 + seed))
        found = ratio_of_means(top, bottom)
        inside += found.low <= 0.3 <= found.high
    assert 0.84 <= inside / 300 <= 0.95


def test_a_constant_ratio_has_no_spread() -> None:
    bottom = normal(50).abs()
    found = ratio_of_means(0.25 * bottom, bottom, "x")
    assert (found.value, found.unit) == (pytest.approx(0.25), "x")
    assert found.stderr == pytest.approx(0, abs=1e-12)
    assert found.high - found.low == pytest.approx(2 * NORMAL_90 * found.stderr)


def test_nothing_to_divide_by_is_said() -> None:
    found = ratio_of_means(torch.ones(5), torch.zeros(5))
    assert math.isnan(found.value)
    assert "nothing to reconstruct" in found.method


def test_one_sample_has_a_value_and_no_spread() -> None:
    found = ratio_of_means(torch.tensor([1.0]), torch.tensor([4.0]))
    assert found.value == 0.25
    assert math.isnan(found.stderr)
