"""The table that holds estimators against attacks: its truth, ranks, coverage and edges on made-up rows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from advisor.estimators.noise import NOISE_DOUBT
from advisor.estimators.study.score import GAIN_DOUBT, remaining_gain
from benchmarks.headline.estimates import Estimated
from benchmarks.headline.rows import append, read
from benchmarks.headline.run import ESTIMATES
from benchmarks.headline.run import TRUTH as TRUTH_FILE
from benchmarks.headline.table import (
    accuracy,
    conformal_doubt,
    gain_doubts,
    learnt_of,
    left_out_coverage,
    noise_doubts,
    ranked,
    scored,
    truth_of,
    width_of,
)
from benchmarks.headline.truth import Attacked

RESULTS = Path(__file__).parents[2] / "benchmarks" / "headline" / "results"


def attacked(index: int, nmse: float, noise: float = 0.0, net: str = "net") -> Attacked:
    return Attacked(net, f"c{index}", index, index / 9, 100 // index, 100, noise, noise, nmse, 0.01, math.nan, math.nan,
                    3000, 1000, 300, 1.0)  # fmt: skip


def estimated(index: int, column: str, value: float, noise: float = 0.0, net: str = "net") -> Estimated:
    return Estimated(net, f"c{index}", index, noise, column, column, value, 0.0, value, value, 2.0)


TRUTH = [attacked(1, 0.1), attacked(2, 0.5), attacked(3, 0.4), attacked(4, 0.9), attacked(2, 0.6, 1.0)]


def estimates(shift: float = 0.0) -> list[Estimated]:
    rows = []
    for index, value in ((1, 0.1), (2, 0.4), (3, 0.4), (4, 0.9)):
        rows += [estimated(index, name, value + shift) for name in ("ka_nmse", "linear_nmse", "kernel_nmse")]
        rows += [estimated(index, "linear_gain", 0.0), estimated(index, "dcor", 1 - value)]
    return [*rows, estimated(2, "kept", 0.5, 1.0), estimated(2, "dcor", 0.1, 1.0)]


def test_a_cut_leaks_what_a_later_one_or_more_noise_leaks() -> None:
    found = truth_of([*TRUTH, attacked(2, 0.45, 2.0)])
    assert found["net", 1, 0.0] == 0.1
    assert found["net", 2, 0.0] == 0.4  # the third cut is after it
    assert found["net", 2, 1.0] == 0.45  # more noise did less harm
    assert found["net", 4, 0.0] == 0.9


def test_a_perfect_estimator_ranks_perfectly_and_low_is_turned() -> None:
    rows = scored(TRUTH, estimates())
    table = {line.name: line for line in ranked(rows, estimates())}
    assert table["linear_nmse"].spearman == pytest.approx(1)
    assert table["dcor"].kendall == pytest.approx(1)
    assert table["linear_nmse"].seconds == 8.0
    assert table["cut index"].spearman == pytest.approx(0.9487, abs=1e-3)  # a tie in the truth


def test_the_score_under_noise_keeps_what_the_linear_attack_keeps() -> None:
    noisy = next(row for row in scored(TRUTH, estimates()) if row.noise == 1.0)
    assert noisy.values["score"] == pytest.approx(1 - 0.6 * 0.5)


def test_the_doubt_an_attack_needs_is_the_least_that_holds_it() -> None:
    """Half of 0.6 is predicted to be explained, 0.4 is, ± 0.016: 0.6·0.5^(1 - p) = 0.384 at p = 0.354."""
    noisy = next(row for row in scored(TRUTH, estimates()) if row.noise == 1.0)
    assert noisy.doubt == pytest.approx(0.36)
    bare = next(row for row in scored(TRUTH, estimates()) if row.noise == 0.0)
    assert bare.doubt == 0


@pytest.mark.parametrize("m", [5, 20, 50])
def test_one_more_of_the_same_kind_is_inside_as_often_as_promised(m: int) -> None:
    """Over random draws of m + 1 exchangeable numbers: at least 90 %, or m/(m + 1) where m is too small for that."""
    draws = np.random.default_rng(0).exponential(size=(4000, m + 1))
    inside = np.mean([row[-1] <= conformal_doubt(row[:-1]) for row in draws])
    promised = min(math.ceil((m + 1) * 0.9) / (m + 1), m / (m + 1))
    assert inside == pytest.approx(promised, abs=0.015)


def test_a_network_has_no_say_in_its_own_width() -> None:
    assert left_out_coverage([("a", 1.0, 0.1), ("b", 1.0, 0.1), ("c", 1.0, 0.9)]) == pytest.approx(2 / 3)


def test_the_gain_doubt_of_a_bare_attack_is_the_least_that_holds_it() -> None:
    """A gain of a fifth of 0.5, carried on from 750 to 3,000 samples, is 0.12; found 0.5 - 0.12·1.5."""
    remaining = remaining_gain(learnt_of([attacked(1, 0.5)]), 3000)
    gain = 0.5 * 0.2 * remaining
    truth = [attacked(1, 0.5 - 1.5 * gain - 1.645 * 0.01)]
    rows = [estimated(1, name, 0.5) for name in ("ka_nmse", "linear_nmse", "kernel_nmse")]
    assert gain_doubts(truth, [*rows, estimated(1, "linear_gain", 0.1)]) == [
        ("net", 0.0, pytest.approx(0.5, abs=0.051))
    ]


def test_the_noise_level_that_needs_most_sets_the_width() -> None:
    assert width_of([("a", 1.0, 0.2), ("b", 1.0, 0.1), ("a", 0.3, 0.05), ("b", 0.3, 0.0)]) == 0.2


def test_widths_are_those_of_the_kept_results() -> None:
    """The two constants of the intervals follow from the rows that stand beside them."""
    truth, estimates = read(RESULTS / TRUTH_FILE, Attacked), read(RESULTS / ESTIMATES, Estimated)
    assert pytest.approx(width_of(noise_doubts(scored(truth, estimates)))) == NOISE_DOUBT
    assert pytest.approx(width_of(gain_doubts(truth, estimates))) == GAIN_DOUBT


def test_errors_coverage_and_edges() -> None:
    exact = accuracy(TRUTH[:4], estimates(), scored(TRUTH[:4], estimates()))
    assert (exact.median, exact.coverage) == (pytest.approx(0), 1.0)
    assert exact.edges["net"] == ("c4", "c4", True)
    off = accuracy(TRUTH[:4], estimates(0.05), scored(TRUTH[:4], estimates(0.05)))
    assert off.median == pytest.approx(0.05)
    assert off.coverage == 0.0


def test_rows_come_back_as_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    assert read(path, Attacked) == []
    append(path, TRUTH[:2])
    append(path, TRUTH[2:3])
    back = read(path, Attacked)
    assert [row.nmse for row in back] == [0.1, 0.5, 0.4]
    assert math.isnan(back[0].ssim)
