"""Spreads against SciPy's own intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from advisor.estimate import NORMAL_90
from advisor.estimators.statistics.spread import jackknife, jackknife_corrected, proportion

SAMPLES = torch.tensor([1.0, 4.0, 2.0, 8.0, 5.0, 7.0, 1.5, 3.0], dtype=torch.float64)


def without() -> torch.Tensor:
    return (SAMPLES.sum() - SAMPLES) / (len(SAMPLES) - 1)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    found = jackknife(float(SAMPLES.mean()), without(), "1", "mean")
    assert found.stderr == pytest.approx(stats.sem(SAMPLES.numpy()))
    assert found.high - found.value == pytest.approx(NORMAL_90 * found.stderr)


def test_the_corrected_jackknife_of_a_mean_is_the_t_interval() -> None:
    found = jackknife_corrected(float(SAMPLES.mean()), without(), "1", "mean")
    low, high = stats.t.interval(0.9, len(SAMPLES) - 1, SAMPLES.mean().item(), stats.sem(SAMPLES.numpy()))
    assert (found.value, found.low, found.high) == pytest.approx((float(SAMPLES.mean()), low, high))


def test_the_corrected_jackknife_frees_the_plug_in_variance_of_its_bias() -> None:
    values = SAMPLES.numpy()
    rest = torch.tensor([np.var(np.delete(values, i)) for i in range(len(values))])
    found = jackknife_corrected(float(np.var(values)), rest, "1", "variance")
    assert found.value == pytest.approx(np.var(values, ddof=1))


def test_a_proportion_has_the_score_interval_of_wilson() -> None:
    hits = torch.tensor([True] * 9 + [False])
    found = proportion(hits, "share")
    exact = stats.binomtest(9, 10).proportion_ci(0.9, "wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_nan_is_not_taken_for_the_floor() -> None:
    without = torch.tensor([1.0, float("nan"), 2.0])
    corrected = jackknife_corrected(1.5, without, "1", "", floor=0.0)
    assert np.isnan([corrected.value, corrected.low, corrected.high]).all()
    assert np.isnan(jackknife(float("nan"), torch.tensor([1.0, 2.0]), "1", "", floor=0.0).low)
