from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.estimate import NORMAL_90
from advisor.estimators.study.score import ATTACKS, GAIN_DOUBT, STRONG_SAMPLES, remaining_gain, score_columns

NAN = math.nan
unit = st.one_of(st.floats(0, 1.2), st.just(NAN))


def profile(**columns: list[float]) -> Profile:
    size = len(next(iter(columns.values())))
    cuts = tuple(Cut(i, f"cut{i}", (TensorSpec((4,), "float32"),)) for i in range(size))
    built = {
        name: Column.of(
            name, "1", "high", values, "measured", stderr=[0.01] * size,
            why=["diverged" if math.isnan(v) else "" for v in values],
        )
        for name, values in columns.items()
    }  # fmt: skip
    return Profile(cuts, built)


@pytest.mark.parametrize("n", [250, 500, 1000, 4000])
def test_remaining_gain_follows_the_learning_curve(n: int) -> None:
    """On a + b/√n the way from n to the strong attack's samples, in units of the last doubling's, is exact."""
    a, b = 0.3, 2.5

    def error(samples: float) -> float:
        return a + b / math.sqrt(samples)

    assert remaining_gain(n) == pytest.approx((error(n) - error(STRONG_SAMPLES)) / (error(n / 2) - error(n)))


def test_nothing_remains_to_be_gained_from_as_many_samples() -> None:
    assert remaining_gain(STRONG_SAMPLES) == 0
    assert remaining_gain(10 * STRONG_SAMPLES) == 0


def test_score_is_the_best_attack_carried_along_the_curve() -> None:
    given_ = profile(ka_nmse=[0.4, 0.9], linear_nmse=[0.5, 0.8], kernel_nmse=[0.6, 0.85], linear_gain=[0.05, 0.0])
    found = score_columns(given_, 1000)["score"]
    gain = 0.05 / 0.5 * remaining_gain(1000) * 0.4
    assert found.values == pytest.approx([0.4 - gain, 0.8])
    assert found.low[0] == pytest.approx(0.4 - (1 + GAIN_DOUBT) * gain - NORMAL_90 * 0.01)
    assert found.high[0] == pytest.approx(0.4 - (1 - GAIN_DOUBT) * gain + NORMAL_90 * 0.01)
    assert "1,000 samples" in found.method


def test_without_gain_the_score_is_the_best_attack() -> None:
    found = score_columns(profile(ka_nmse=[0.4, 0.9]), 1000)["score"]
    assert found.values == pytest.approx([0.4, 0.9])
    alone = score_columns(profile(ka_nmse=[0.4, 0.9], linear_gain=[0.1, 0.1]), 1000)["score"]
    assert alone.values == pytest.approx([0.4, 0.9])


@settings(deadline=None)  # a learning curve a cut
@given(
    st.integers(8, 20_000),
    st.lists(st.tuples(unit, unit, unit, st.floats(0, 0.5)), min_size=1, max_size=8),
)
def test_score_never_falls_stays_in_bounds_and_never_exceeds_an_attack(n: int, rows: list[tuple[float, ...]]) -> None:
    ka, linear, kernel, gain = (list(column) for column in zip(*rows, strict=True))
    found = score_columns(profile(ka_nmse=ka, linear_nmse=linear, kernel_nmse=kernel, linear_gain=gain), n)["score"]
    known = ~np.isnan(found.values)
    for part in (found.values, found.low, found.high):
        assert (np.diff(part[known]) >= -1e-12).all()
        assert ((part[known] >= 0) & (part[known] <= 1)).all()
    assert (found.low[known] <= found.values[known] + 1e-12).all()
    assert (found.values[known] <= found.high[known] + 1e-12).all()
    measured = np.vstack([ka, linear, kernel])
    best = np.where(np.isnan(measured), np.inf, measured).min(0)
    assert (found.values[known] <= best[known] + 1e-12).all()
    assert (known == np.isfinite(best)).all()
    assert all(bool(why) != ok for why, ok in zip(found.why, known, strict=True))


def test_what_a_later_cut_leaks_an_earlier_one_leaks_too() -> None:
    found = score_columns(profile(ka_nmse=[0.1, 0.8, NAN, 0.5, 0.9]), 8000)["score"]
    assert found.values == pytest.approx([0.1, 0.5, NAN, 0.5, 0.9], nan_ok=True)
    assert found.why == ("", "", "diverged", "", "")


def test_similarity_is_raised_by_what_the_strong_attack_explains_more_and_never_rises_with_depth() -> None:
    given_ = profile(
        ka_nmse=[0.1, 0.6, 0.7], ka_ssim=[0.9, 0.3, 0.4], linear_nmse=[0.2, 0.5, 0.9], linear_gain=[0.0, 0.0, 0.0]
    )
    columns = score_columns(given_, 8000)
    assert columns["score"].values == pytest.approx([0.1, 0.5, 0.7])
    assert columns["score_ssim"].values == pytest.approx([0.9, 0.4, 0.4])
    assert (columns["score_ssim"].high >= columns["score_ssim"].values).all()
    assert (columns["score_ssim"].low <= columns["score_ssim"].values).all()


def test_similarity_that_was_not_measured_keeps_its_reason() -> None:
    columns = score_columns(profile(ka_nmse=[0.1, 0.6], ka_ssim=[NAN, NAN]), 8000)
    assert np.isnan(columns["score_ssim"].values).all()
    assert columns["score_ssim"].why == ("diverged", "diverged")


def test_without_an_attack_there_is_no_score() -> None:
    assert score_columns(profile(rc2=[1.0, 2.0]), 1000) == {}
    assert set(ATTACKS) == {"ka_nmse", "linear_nmse", "kernel_nmse"}
