"""Learning curves against power laws whose limit is known, and where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.errors import AdvisorError
from advisor.estimators.statistics.learning_curves import LearningCurve, Point, steps_up_to

COUNTS = (25, 50, 100, 200, 400)


def law(n: float, a: float, b: float, c: float) -> float:
    return min(1.0, a + b * n**-c)


def doublings(first: int, last: int) -> list[int]:
    return [first * 2**i for i in range(30) if first * 2**i <= last]


def drawn(a: float, b: float, c: float, spread: float, seed: int, counts: tuple[int, ...] = COUNTS) -> LearningCurve:
    noise = np.random.default_rng(seed).normal(0, spread, len(counts))
    return LearningCurve(tuple(Point(n, law(n, a, b, c) + e, spread) for n, e in zip(counts, noise, strict=True)))


def test_intervals_hold_nine_in_ten_errors_that_are_carried_on() -> None:
    draw, held, tries = np.random.default_rng(0), 0, 200
    for seed in range(tries):
        level, share, c = draw.uniform(0.2, 0.8), draw.uniform(0, 1), draw.uniform(0.2, 1.1)
        a = share * level
        b = (level - a) * 400**c  # `level` is reached with 400 samples
        found = drawn(a, b, c, 0.02, seed).at(8000)
        held += found.low <= law(8000, a, b, c) <= found.high
    assert 0.85 <= held / tries <= 1.0


def test_a_limit_that_the_points_show_is_found() -> None:
    counts = (25, 100, 400, 1600, 6400, 25600)
    found = drawn(0.3, 8.0, 0.9, 0.001, 1, counts).at(10**6)
    assert found.low <= 0.3 + 8 * 1e6**-0.9 <= found.high
    assert found.high - found.low < 0.05


def test_the_interval_widens_with_the_distance() -> None:
    curve = drawn(0.1, 3.0, 0.4, 0.01, 2)
    widths = [curve.at(n).high - curve.at(n).low for n in (400, 8000, 10**6)]
    assert widths == sorted(widths)
    assert widths[0] < 0.08
    assert curve.at(400).value == pytest.approx(law(400, 0.1, 3.0, 0.4), abs=0.03)


def test_what_a_few_hundred_cannot_tell_is_not_known_and_more_would_do() -> None:
    curve = drawn(0.05, 3.0, 0.35, 0.02, 3)
    assert not curve.known(10**6)
    enough = curve.enough(10**6)
    assert 400 < enough < 10**6
    told = LearningCurve(tuple(Point(n, curve.at(n).value, 0.02) for n in doublings(25, enough)))
    assert told.known(10**6)  # measured as it was foretold, so many would do
    assert not LearningCurve(tuple(Point(n, curve.at(n).value, 0.02) for n in doublings(25, enough // 2))).known(10**6)
    assert curve.known(400)
    assert curve.enough(400) == 400


def test_an_attack_that_learnt_nothing_yet_says_nothing_of_more_samples() -> None:
    curve = LearningCurve(tuple(Point(n, 1.0, 0.01) for n in COUNTS))
    found = curve.at(10**6)
    assert found.low < 0.2
    assert found.high == pytest.approx(1, abs=0.05)
    assert not curve.known(10**6)
    assert curve.known(400)


def test_one_number_of_samples_is_no_curve() -> None:
    with pytest.raises(AdvisorError, match=r"needs attacks with two numbers of samples\. Pass more samples\."):
        LearningCurve((Point(40, 0.5, 0.01), Point(40, 0.5, 0.01)))
    with pytest.raises(AdvisorError, match="two numbers of samples"):
        LearningCurve((Point(40, 0.5, 0.01), Point(80, float("nan"), 0.01)))


def test_numbers_of_samples_halve() -> None:
    assert list(steps_up_to(400, 16)) == [25, 50, 100, 200, 400]
    assert list(steps_up_to(30, 16)) == [30]
