"""Where few samples were learnt from, the score says that it does not know, and how many would do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.estimators.statistics.learning_curves import TOLD
from advisor.estimators.study.far_samples import FAR, is_far, not_known
from advisor.estimators.study.score import STRONG_SAMPLES, Target, said_unknown, score_columns

CURVES = [(a, c, m) for a in (0.0, 0.3) for c in (0.25, 0.5, 0.8) for m in (5.0, 100.0)]
"""NMSE after n samples: min(1, a + (1 - a) (m / n)^c)."""


def error(curve: tuple[float, float, float], samples: float) -> float:
    a, c, m = curve
    return min(1.0, a + (1 - a) * (m / samples) ** c)


def attacked(samples: int, stderr: float = 0.02) -> Profile:
    """Linear attacks with so many samples, one curve a cut, whose order is that of the error in the end."""
    ordered = sorted(CURVES, key=lambda curve: error(curve, STRONG_SAMPLES))
    cuts = tuple(Cut(i, f"cut{i}", (TensorSpec((4,), "float32"),)) for i in range(len(ordered)))
    with_all = np.array([error(curve, samples) for curve in ordered])
    gain = np.array([error(curve, samples // 2) for curve in ordered]) - with_all
    columns = {"linear_nmse": with_all, "linear_gain": gain}
    return Profile(
        cuts,
        {n: Column.of(n, "1", "high", v, "measured", stderr=[stderr] * len(v)) for n, v in columns.items()},
    )


@pytest.mark.parametrize("samples", [30, 280])
def test_intervals_hold_what_curves_of_other_slopes_come_to(samples: int) -> None:
    """Also those that were still flat: with 30 samples nothing was learnt where it takes a hundred."""
    found = score_columns(attacked(samples), samples)["score"]
    truth = np.array(sorted(error(curve, STRONG_SAMPLES) for curve in CURVES))
    held = (found.low <= truth + 1e-6) & (truth <= found.high + 1e-6)
    assert held.mean() >= 0.85


def test_few_samples_are_said_with_how_many_would_do() -> None:
    few = attacked(30)
    score = score_columns(few, 30)["score"]
    assert "not known at" in score.method
    assert "with 30 samples of the attacker" in score.method
    said = said_unknown(few.joined(Profile(few.cuts, {"score": score})), 30)
    assert said.startswith("What a strong attack of 8,000 samples finds is not known at ")
    enough = int(said.rpartition("; ")[2].split()[0].replace(",", ""))
    assert 30 < enough <= STRONG_SAMPLES
    wide = float(np.median(score.high - score.low))
    assert wide > TOLD
    assert float(np.median(np.ptp([getattr(score_columns(attacked(enough), enough)["score"], end) for end in
                                   ("low", "high")], axis=0))) < wide  # fmt: skip


def test_within_reach_the_slope_alone_counts_and_nothing_is_said() -> None:
    near = math.ceil(STRONG_SAMPLES / FAR)
    assert is_far(near - 1, STRONG_SAMPLES)
    assert not is_far(near, STRONG_SAMPLES)
    score = score_columns(attacked(near), near)["score"]
    assert "not known" not in score.method
    assert not_known(attacked(near), (score.low, score.high), near, STRONG_SAMPLES) == ""
    assert "not known" not in score_columns(attacked(30), 30, Target(60))["score"].method


def test_without_a_slope_everything_below_the_attack_is_possible() -> None:
    cuts = attacked(30).cuts[:1]
    alone = Profile(cuts, {"ka_nmse": Column.of("ka_nmse", "1", "high", [0.9], "measured", stderr=[0.01])})
    score = score_columns(alone, 30)["score"]
    assert (score.low[0], score.values[0]) == (0.0, 0.9)
    assert "8,000 would do" in score.method
