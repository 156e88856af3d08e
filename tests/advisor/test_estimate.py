"""Estimates: means with their spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from advisor.estimate import NORMAL_90, Estimate


def test_the_quantile_is_the_normal_s() -> None:
    assert pytest.approx(float(stats.norm.ppf(0.95)), rel=1e-15) == NORMAL_90


def test_means_carry_their_standard_error() -> None:
    samples = np.random.default_rng(0).normal(3, 2, 40)
    found = Estimate.of_mean(samples, "s", "clock")
    assert float(found) == pytest.approx(samples.mean())
    assert found.stderr == pytest.approx(stats.sem(samples))
    low, high = stats.norm.interval(0.9, samples.mean(), stats.sem(samples))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.unit, found.source, found.method) == ("s", "measured", "clock")


def test_a_mean_of_what_is_no_number_is_none_and_says_so() -> None:
    found = Estimate.of_mean([1.0, math.nan, 3.0, math.inf], "s", "clock")
    assert math.isnan(found.value)
    assert found.method == "clock: 2 of 4 values are not finite"
    assert not found <= 10.0


def test_one_sample_has_no_spread() -> None:
    found = Estimate.of_mean([4.0])
    assert found.value == 4.0
    assert math.isnan(found.stderr)
    assert math.isnan(found.low)


def test_no_sample_is_no_number() -> None:
    assert math.isnan(Estimate.of_mean([]).value)
    assert Estimate.of_mean([]).method == "there are no values"
    assert math.isnan(Estimate.of_mean([math.nan]).value)


def test_counts_are_exact() -> None:
    found = Estimate.exact(7, "B")
    assert (found.value, found.stderr, found.low, found.high) == (7.0, 0.0, 7.0, 7.0)


@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, -math.inf])
def test_estimates_survive_json(value: float) -> None:
    adapter = TypeAdapter(Estimate)
    again = adapter.validate_json(adapter.dump_json(Estimate(value, unit="s")))
    assert again.value == value or math.isnan(value)
    assert math.isnan(again.value) == math.isnan(value)
    assert math.isnan(again.stderr)


def test_an_estimate_is_written_and_compared_like_a_number() -> None:
    found = Estimate(0.6431, 0.01, 0.62, 0.66)
    assert (f"{found:.3f}", f"{found:>8.2f}", str(found), f"{found}") == ("0.643", "    0.64", "0.6431", "0.6431")
    assert 0.6 < found < 0.7
    assert found >= 0.6431
    assert found <= Estimate.exact(0.7)
    assert max([found, Estimate.exact(0.7)]).value == 0.7
    assert found == 0.6431
    assert found != Estimate(0.6431)  # another spread
    assert Estimate(math.nan) == Estimate(math.nan)
    assert not Estimate(math.nan) < 1  # NaN passes no check
    assert not Estimate(math.nan) > 1
    assert len({found, Estimate(0.6431, 0.01, 0.62, 0.66)}) == 1
    with pytest.raises(TypeError):
        _ = found < "much"


def test_an_estimate_is_reckoned_with_like_a_number() -> None:
    found, other = Estimate(0.25, 0.01, 0.23, 0.27, "s"), Estimate(0.5)
    assert (found + 1, 1 + found, found - other, 1 - found) == (1.25, 1.25, -0.25, 0.75)
    assert (found * 1000, 1000 * found, found / 2, 1 / found, found**2) == (250.0, 250.0, 0.125, 4.0, 0.0625)
    assert (-found, abs(Estimate(-0.25)), round(Estimate(0.1234), 2), sum([found, other])) == (-0.25, 0.25, 0.12, 0.75)
    assert type(np.float64(1.0) * found) is np.float64
    assert np.sqrt(found) == 0.5
    assert np.mean([found, other]) == 0.375
    assert (found * np.ones(2)).tolist() == (np.ones(2) * found).tolist() == [0.25, 0.25]
    assert np.isnan(Estimate(math.nan))
    with pytest.raises(TypeError):
        _ = found + "much"


def test_an_interval_ends_where_the_quantity_does() -> None:
    skewed = Estimate.of_mean([0.0, 0.0, 0.0, 1.0])
    assert skewed.low < 0
    kept = skewed.within(0.0, 0.5)
    assert (kept.value, kept.stderr, kept.low, kept.high) == (0.25, skewed.stderr, 0.0, 0.5)
    assert math.isnan(Estimate(0.2).within(0.0).low)
    assert Estimate(0.3, 0.1, 0.2, 0.4).within(0.0) == Estimate(0.3, 0.1, 0.2, 0.4)
