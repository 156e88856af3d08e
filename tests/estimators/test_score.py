from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.estimators.score import ATTACKS, STRONG_SAMPLES, remaining_gain, score_columns

HALF = 1000


def profile_of(stderr: float = 0.01, **columns: list[float]) -> Profile:
    size = len(next(iter(columns.values())))
    cuts = tuple(Cut(i, f"cut{i}", (TensorSpec((4,), "float32"),)) for i in range(size))
    made = {
        name: Column.of(
            name, "1", "low" if name in ("ka_ssim", "linear_gain") else "high", values, "measured",
            stderr=[math.nan if math.isnan(v) else stderr for v in values],
            why=[f"{name} failed at {i}" if math.isnan(v) else "" for i, v in enumerate(values)],
        )
        for name, values in columns.items()
    }  # fmt: skip
    return Profile(cuts, made)


def best_behind(values: np.ndarray) -> np.ndarray:
    """The lowest of any attack at this cut or a later one, literally."""
    return np.array([np.nanmin(values[:, i:]) if np.isfinite(values[:, i:]).any() else np.nan
                     for i in range(values.shape[1])])  # fmt: skip


nmses = st.one_of(st.just(math.nan), st.floats(0, 1.2))
rows = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        *[
            st.lists(drawn, min_size=n, max_size=n)
            for drawn in (nmses, nmses, nmses, st.floats(0, 0.3), st.floats(-1, 1))
        ]
    )
)


@settings(max_examples=150, deadline=None)
@given(rows, st.sampled_from([20, 1125, 8000, 50_000]))
def test_score_is_bounded_ordered_and_never_falls(drawn: tuple[list[float], ...], learnt: int) -> None:
    ka, linear, kernel, gain, ssim = drawn
    ssim = [math.nan if math.isnan(k) else s for k, s in zip(ka, ssim, strict=True)]
    profile = profile_of(ka_nmse=ka, linear_nmse=linear, kernel_nmse=kernel, linear_gain=gain, ka_ssim=ssim)
    found = score_columns(profile, learnt)
    score, similar = found["score"], found["score_ssim"]
    attacks = np.array([ka, linear, kernel])
    measured = np.isfinite(attacks).any(0)
    assert np.array_equal(np.isfinite(score.values), measured)
    value, low, high = (part[measured] for part in (score.values, score.low, score.high))
    assert ((value >= 0) & (value <= 1)).all()
    assert (np.diff(value) >= 0).all()
    assert (value <= best_behind(attacks)[measured] + 1e-12).all()
    assert ((low <= value) & (value <= high)).all()
    seen = np.isfinite(similar.values)
    assert np.array_equal(seen, np.isfinite(ka))
    assert (np.diff(similar.values[seen]) <= 1e-12).all()
    assert (similar.values[seen] >= np.array(ssim)[seen] - 1e-12).all()
    assert (similar.values[seen] <= 1).all()
    assert all(bool(reason) == math.isnan(v) for reason, v in zip(score.why, score.values, strict=True))


def test_without_a_learning_curve_the_score_is_the_best_attack() -> None:
    found = score_columns(profile_of(ka_nmse=[0.1, 0.5, 0.4], linear_nmse=[0.2, 0.3, 0.9]), HALF)["score"]
    assert found.values.tolist() == [0.1, 0.3, 0.4]


def test_later_cuts_bound_earlier_ones_and_missing_ones_are_passed_over() -> None:
    nan = math.nan
    found = score_columns(profile_of(ka_nmse=[0.9, nan, 0.3, 0.8]), HALF)["score"]
    assert found.values.tolist() == pytest.approx([0.3, nan, 0.3, 0.8], nan_ok=True)
    assert found.why == ("", "ka_nmse failed at 1", "", "")


def test_ceiling_is_one() -> None:
    assert score_columns(profile_of(ka_nmse=[1.3]), HALF)["score"].values.tolist() == [1.0]


def test_gain_follows_the_learning_curve() -> None:
    """Of a + b·n^(-1/2) the halves give b, hence the value at the strong attack's samples, exactly."""
    a, b, learnt = 0.2, 9.0, 2000
    here, before, there = (a + b / math.sqrt(n) for n in (learnt, learnt / 2, STRONG_SAMPLES))
    profile = profile_of(stderr=0.0, linear_nmse=[here], linear_gain=[before - here])
    found = score_columns(profile, learnt)["score"]
    assert found.values[0] == pytest.approx(there, rel=1e-9)
    # The curve is extrapolated: no gain at all, and twice the gain, are both within the interval.
    assert (found.low[0], found.high[0]) == pytest.approx((2 * there - here, here))


def test_remaining_gain_falls_to_zero_at_the_strong_samples() -> None:
    found = [remaining_gain(n) for n in (100, 500, 1000, 4000, 7999, 8000, 9000)]
    assert found[-2:] == [0.0, 0.0]
    assert all(a > b for a, b in pairwise(found[:-1]))
    # Four doublings from 500: each gains 1/√2 of the one before, the first 1/√2 of the last one measured.
    assert found[1] == pytest.approx(sum(2 ** (-k / 2) for k in range(1, 5)))


def test_an_attack_that_failed_is_not_called_private() -> None:
    found = score_columns(profile_of(ka_nmse=[math.nan], linear_nmse=[0.6]), HALF)["score"]
    assert found.values.tolist() == [0.6]


def test_ssim_is_the_quick_one_where_the_score_is_its_error() -> None:
    profile = profile_of(ka_nmse=[0.1, 0.4, 0.8], ka_ssim=[0.9, 0.5, 0.1])
    found = score_columns(profile, STRONG_SAMPLES)
    assert found["score"].values.tolist() == [0.1, 0.4, 0.8]
    assert found["score_ssim"].values.tolist() == pytest.approx([0.9, 0.5, 0.1])


def test_ssim_rises_where_a_stronger_attack_is_predicted() -> None:
    profile = profile_of(ka_nmse=[0.4], linear_nmse=[0.1], ka_ssim=[0.5])
    assert score_columns(profile, HALF)["score_ssim"].values.tolist() == pytest.approx([1 - 0.5 * math.sqrt(0.25)])


def test_ssim_alone_is_carried_with_its_reasons() -> None:
    found = score_columns(profile_of(ka_ssim=[0.2, math.nan, 0.6]), HALF)
    assert list(found) == ["score_ssim"]
    assert found["score_ssim"].values.tolist() == pytest.approx([0.6, math.nan, 0.6], nan_ok=True)
    assert found["score_ssim"].why[1] == "ka_ssim failed at 1"


@pytest.mark.parametrize("name", ATTACKS)
def test_any_one_attack_is_enough_and_is_named(name: str) -> None:
    found = score_columns(profile_of(0.01, **{name: [0.5, 0.7]}), HALF)
    assert list(found) == ["score"]
    assert name in found["score"].method


def test_without_attacks_there_is_no_score() -> None:
    assert score_columns(profile_of(rc2=[1.0, 2.0]), HALF) == {}
