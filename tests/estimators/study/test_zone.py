from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.errors import AdvisorError
from advisor.estimators.study.gpz import block_cuts, published_zone
from advisor.estimators.study.zone import ZoneThresholds, find_zone

NAN = math.nan


def cuts_of(blocks: Sequence[str]) -> tuple[Cut, ...]:
    """`input`, one cut an entry (closing that block, or none), `output`."""
    names = ["input", *(f"c{i + 1}" for i in range(len(blocks))), "output"]
    return tuple(
        Cut(i, name, (TensorSpec((4,), "float32"),), block)
        for i, (name, block) in enumerate(zip(names, ["", *blocks, ""], strict=True))
    )  # fmt: skip


def profile_of(
    blocks: Sequence[str] | None = None, **columns: Sequence[float] | tuple[Sequence[float], float]
) -> Profile:
    """Values between the ends; a pair of values and a number is a column with that half-width of its interval."""
    made: dict[str, Column] = {}
    size = 0
    for name, given_values in columns.items():
        values, half = given_values if isinstance(given_values, tuple) else (given_values, 0.0)
        full = np.array([1.0, *values, 1.0])
        size = len(values)
        why = ["no samples" if math.isnan(v) else "" for v in full]
        made[name] = Column.of(
            name, "1", "low", full, "estimated", stderr=0 * full + half / 2, low=full - half, high=full + half, why=why
        )
    return Profile(cuts_of([""] * size if blocks is None else blocks), made)


def published(radii: Sequence[float], blocks: Sequence[str] | None = None, flat: float = 0.2) -> tuple[str, ...]:
    return published_zone(profile_of(blocks, rc2=radii), flat)[0]


def literal_published(radii: Sequence[float], flat: float) -> list[int]:
    """Steps 3 and 4 of the official script, index for index."""
    drops = [(radii[i - 1] - radii[i]) / radii[i - 1] for i in range(1, len(radii))]
    order = sorted(range(len(drops)), key=lambda i: drops[i], reverse=True)
    first, second = order[0] + 1, order[1] + 1
    low, high = min(first, second), max(first, second)
    if all(abs(drops[i - 1]) < flat for i in range(low + 1, high)):
        return [first]
    return [first, second]


def test_block_cuts_leave_the_ends_out_and_fall_back_to_all() -> None:
    cuts = cuts_of(["", "a", "", "b", ""])
    assert block_cuts(cuts) == [2, 4]
    assert block_cuts(cuts, fewest=3) == [1, 2, 3, 4, 5]
    assert block_cuts(cuts_of(["", ""])) == [1, 2]
    assert block_cuts(cuts_of([])) == []


@given(st.lists(st.floats(0.01, 1e4), min_size=3, max_size=12, unique=True), st.floats(0, 1))
def test_published_criterion_is_the_official_script(radii: list[float], flat: float) -> None:
    expected = [f"c{i + 1}" for i in literal_published(radii, flat)]
    assert list(published(radii, flat=flat)) == expected


def test_published_cases_by_hand() -> None:
    assert published([100, 95, 50, 20, 19]) == ("c4",)  # drops .05 .47 .6 .05: neighbours
    assert published([100, 40, 38, 20, 19]) == ("c2",)  # .6 .05 .47: only a flat one between
    assert published([100, 40, 60, 30, 29]) == ("c2", "c4")  # .6 -.5 .5: not flat between
    assert published([10, 20]) == ("c2",)  # one listed drop, even a rise
    assert published([10]) == ()


def test_published_sees_block_cuts_only_and_columns_say_what_they_left_out() -> None:
    profile = profile_of(["", "a", "", "b", "d"], rc2=[500, 100, 1, 50, 10])
    names, columns = published_zone(profile)
    assert names == ("c5",)
    drop = columns["rc2_drop"]
    assert np.allclose(drop.values, [NAN, NAN, NAN, NAN, 0.5, 0.8, NAN], equal_nan=True)
    assert drop.why[3] == "not between two cuts that close a block"
    assert list(columns["in_gpz"].values) == [0, 0, 0, 0, 0, 1, 0]


def test_drops_carry_the_error_of_both_radii() -> None:
    """First-order propagation for independent radii, against draws."""
    drop = published_zone(profile_of(rc2=([100.0, 60.0, 30.0], 4.0)))[1]["rc2_drop"]
    draws = np.random.default_rng(0).normal([[100.0], [60.0]], 2.0, (2, 40000))
    assert drop.stderr[2] == pytest.approx((1 - draws[1] / draws[0]).std(), rel=0.03)
    assert drop.low[2] < drop.values[2] < drop.high[2]


def test_radii_that_are_missing_or_zero_are_said() -> None:
    names, columns = published_zone(profile_of(rc2=[10, NAN, 6, 0, 5]))
    why = columns["rc2_drop"].why
    assert "not measured" in why[2]
    assert "not measured" in why[3]
    assert "zero at the cut before" in why[5]
    assert names == ("c4",)
    assert published_zone(profile_of(rc2=[NAN, NAN, NAN]))[0] == ()
    assert "two cuts with R_c²" in published_zone(profile_of(rc2=[NAN, 1, NAN]))[1]["in_gpz"].why[1]


def test_zone_runs_from_the_first_sure_cut_to_the_last_before_the_output() -> None:
    profile = profile_of(rc2=[9, 8, 7, 6, 5], score=([0.1, 0.5, 0.74, 0.8, 0.95], 0.05))
    zone, columns = find_zone(profile)
    assert (zone.edge_low, zone.edge, zone.edge_high) == ("c3", "c4", "c4")
    assert zone.cuts == ("c4", "c5")
    assert list(columns["in_zone"].values) == [0, 0, 0, 0, 1, 1, 0]
    assert list(columns["in_zone"].high) == [0, 0, 0, 1, 1, 1, 0]
    assert "starts at c4" in zone.sentences[0]
    assert "as early as c3" in zone.sentences[1]


def test_edge_is_a_block_where_there_are_three() -> None:
    score = [0.1, 0.2, 0.9, 0.9, 0.9, 0.95]
    assert find_zone(profile_of(["a", "", "", "b", "", "d"], score=score))[0].edge == "c4"
    assert find_zone(profile_of(["a", "", "", "b", "", ""], score=score))[0].edge == "c3"
    assert find_zone(profile_of(["a", "", "", "b", "", "d"], score=score))[0].cuts == ("c4", "c5", "c6")


@pytest.mark.parametrize(("baseline", "edge"), [(0.0, "c4"), (0.2, "c3"), (0.6, "c2"), (NAN, "c1")])
def test_images_must_also_close_at_most_a_quarter_of_the_ssim_gap(baseline: float, edge: str) -> None:
    """Limits .25, .4 and .7 against SSIM of .8, .65, .38 and .2, each give or take .01."""
    profile = profile_of(score=[0.8, 0.8, 0.9, 0.95], score_ssim=([0.8, 0.65, 0.38, 0.2], 0.01))
    assert find_zone(profile, baseline)[0].edge == edge


def test_ssim_limit_is_a_quarter_of_the_gap() -> None:
    assert ZoneThresholds().ssim_limit(0.2) == pytest.approx(0.4)
    assert ZoneThresholds(max_ssim_share=0.5).ssim_limit(0.2) == pytest.approx(0.6)


def test_no_zone_is_an_answer() -> None:
    zone, columns = find_zone(profile_of(score=([0.1, 0.5, 0.68], 0.05)))
    assert (zone.cuts, zone.edge, zone.edge_high, zone.edge_low) == ((), "", "", "c3")
    assert not columns["in_zone"].values.any()
    assert "There is no zone" in zone.sentences[0]
    assert "may start at c3" in zone.sentences[1]
    assert find_zone(profile_of(score=[0.1, 0.2]))[0].edge_low == ""


def test_thresholds_move_the_edge_and_are_checked() -> None:
    profile = profile_of(score=[0.3, 0.5, 0.8])
    assert find_zone(profile, thresholds=ZoneThresholds(min_nmse=0.4))[0].edge == "c2"
    with pytest.raises(AdvisorError, match=r"min_nmse is 70\.0\. It must lie between 0 and 1"):
        ZoneThresholds(min_nmse=70.0)


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    assert find_zone(profile_of(score=[0.7, 0.71]))[0].edge == "c2"


def test_unmeasured_cuts_are_neither_in_nor_out() -> None:
    zone, columns = find_zone(profile_of(score=[0.2, 0.8, NAN, 0.9]))
    assert zone.cuts == ("c2", "c4")
    assert math.isnan(columns["in_zone"].values[3])
    assert columns["in_zone"].why[3] == "the score was not measured at this cut"


def test_deeper_cuts_that_fall_short_are_named() -> None:
    profile = profile_of(score=[0.8, 0.9, 0.95], score_ssim=[0.1, 0.9, 0.1])
    assert "by themselves: c2" in find_zone(profile, 0.2)[0].sentences[1]


def test_label_leakage_is_shown_beside_the_edge() -> None:
    zone, _ = find_zone(profile_of(score=[0.2, 0.8, 0.9], label_leak=[0.3, 0.62, 0.8]))
    assert any("c2 a linear probe reads the label in 62% of cases, at the output in 100%" in s for s in zone.sentences)


def test_missing_columns_leave_a_reason() -> None:
    zone, columns = find_zone(profile_of(label_leak=[0.1, 0.2]))
    assert zone.cuts == zone.published == ()
    assert columns["in_zone"].why[1] == "the score was not measured"
    assert columns["in_gpz"].why[0] == "R_c² was not measured"
    assert "unknown" in zone.sentences[0]
    with pytest.raises(AdvisorError, match="no column 'score_ssim'"):
        find_zone(profile_of(score=[0.2, 0.8]), baseline_ssim=0.2)


def test_the_zone_is_found_without_torch() -> None:
    code = "import sys; import advisor.estimators.study.zone; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
