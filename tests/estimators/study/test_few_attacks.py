"""Some cuts attacked, their neighbours bracketing the rest: where the time goes, and that no score is made up."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.columns import Column, Profile
from advisor.cuts import Cut
from advisor.estimators.inversion.alignment import QuickAlignment
from advisor.estimators.study.few_attacks import LEFT_OUT, Allowance, evenly
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.estimators.study.score import score_columns
from advisor.sweep import TIME_UP

pytestmark = pytest.mark.usefixtures("short_attacks")

SCORES = ("ka_nmse", "ka_mse", "ka_ssim", "score", "score_ssim")


class Deep(nn.Module):
    """Twelve blocks of which the last lose something."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = [12] * 8 + [8, 4, 2, 1]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in zip([12, *widths], widths, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(scope="module")
def samples() -> Tensor:
    return torch.rand(60, 12, generator=torch.Generator().manual_seed(1))


def found(x: Tensor, **allowed: Any) -> LeakageStudy:
    return study(advisor.trace(Deep().eval(), x[:2]), x, only=SCORES, allowance=Allowance(**allowed))


@pytest.fixture(scope="module")
def whole(samples: Tensor) -> LeakageStudy:
    return found(samples)


def test_cuts_that_are_attacked_have_the_numbers_of_a_study_of_all(samples: Tensor, whole: LeakageStudy) -> None:
    few = found(samples, cuts=9)
    attacked = ~np.isnan(few.profile["ka_nmse"].values)
    attacked[0] = False  # the input as it is: nothing to invert
    assert 3 <= attacked.sum() <= 9 < len(attacked)
    assert attacked[-1]
    for name in ("ka_nmse", "ka_mse"):
        assert np.array_equal(few.profile[name].values[attacked], whole.profile[name].values[attacked])
        assert few.profile[name].values[0] == 0 <= whole.profile[name].values[0] < 0.05
    assert few.profile.provenance["leakage"]["cuts_attacked"] == attacked.sum()
    assert whole.profile.provenance["leakage"]["cuts_attacked"] == len(attacked)


def test_every_cut_that_is_left_out_says_so_and_lies_between_its_neighbours(samples: Tensor) -> None:
    profile = found(samples, cuts=6).profile
    attacked = np.flatnonzero(~np.isnan(profile["ka_nmse"].values))
    for index in set(range(len(profile.cuts))) - set(attacked):
        before, after = max(attacked[attacked < index]), min(attacked[attacked > index])
        assert profile["ka_nmse"].why[index] == LEFT_OUT
        score = profile["score"]
        assert score.low[before] <= score.low[index] <= score.values[index] <= score.high[index] <= score.high[after]
    assert "between the attacked neighbours" in profile["score"].method


def test_brackets_hold_what_a_study_of_all_cuts_finds(samples: Tensor, whole: LeakageStudy) -> None:
    few, all_cuts = found(samples, cuts=8).profile["score"], whole.profile["score"]
    inside = (few.low - 1e-9 <= all_cuts.values) & (all_cuts.values <= few.high + 1e-9)
    assert inside.mean() >= 0.9


def test_attacks_go_where_the_error_moves(samples: Tensor) -> None:
    attacked = np.flatnonzero(~np.isnan(found(samples, cuts=14).profile["ka_nmse"].values))
    middle = len(Deep().blocks)
    assert (attacked > middle).sum() > (attacked <= middle).sum() - 3


def test_an_allowance_for_all_cuts_changes_no_number(samples: Tensor, whole: LeakageStudy) -> None:
    again = found(samples, cuts=len(whole.profile.cuts))
    for name in SCORES[:4]:
        assert np.array_equal(again.profile[name].values, whole.profile[name].values, equal_nan=True)
        assert again.profile[name].method == whole.profile[name].method


def test_no_attack_begins_after_the_time_but_those_that_bracket(samples: Tensor) -> None:
    profile = found(samples, until=time.monotonic() - 1).profile
    assert (~np.isnan(profile["ka_nmse"].values)).sum() == 1 + 3
    assert not np.isnan(profile["score"].values).any()


@pytest.mark.parametrize("cuts", [None, 5])
def test_after_the_deadline_nothing_is_measured_and_that_is_said(cuts: int | None, samples: Tensor) -> None:
    graph = advisor.trace(Deep().eval(), samples[:2])
    late = study(graph, samples, allowance=Allowance(cuts, deadline=time.monotonic() - 1))
    for name in ("linear_nmse", "dcor", "label_leak"):
        assert np.isnan(late.profile[name].values).all()
        assert set(late.profile[name].why) == {TIME_UP}
    assert np.isnan(late.profile["ka_nmse"].values[1:]).all()
    assert late.profile.provenance["leakage"]["cuts_attacked"] == 0  # so that no storage keeps it for other runs


def test_an_attack_that_fails_is_no_neighbour(monkeypatch: pytest.MonkeyPatch, samples: Tensor) -> None:
    def fails(self: QuickAlignment, view: Any) -> Any:
        raise advisor.errors.NotMeasurableError("it does not converge")

    monkeypatch.setattr(QuickAlignment, "at", fails)
    profile = found(samples, cuts=5).profile
    assert set(profile["ka_nmse"].why) >= {"it does not converge"}
    assert np.isnan(profile["ka_nmse"].values[1:]).all()


def _profile(ka: list[float], linear: list[float]) -> Profile:
    cuts = tuple(Cut(i, f"c{i}", (), "", "g") for i in range(len(ka)))
    columns = {
        name: Column.of(name, "1", "high", values, "measured", why=["x" if math.isnan(v) else "" for v in values])
        for name, values in (("ka_nmse", ka), ("linear_nmse", linear))
    }
    return Profile(cuts, columns)


def test_a_bracket_is_its_ends_and_between_by_depth_and_never_above_a_weaker_attack() -> None:
    nan = math.nan
    profile = _profile([0.1, nan, nan, 0.5], [0.9, 0.9, 0.2, 0.9])
    score = score_columns(profile, 8000, bracketed=np.array([False, True, True, False]))["score"]
    assert score.values == pytest.approx(
        [0.1, 0.2, 0.2, 0.5]
    )  # 0.23 and 0.37 by depth, but never above what a weaker attack finds there or later
    assert score.low == pytest.approx([0.1, 0.1, 0.1, 0.5])
    assert score.high == pytest.approx([0.1, 0.2, 0.2, 0.5])


def test_between_two_attacked_cuts_the_error_is_taken_to_rise_with_depth() -> None:
    nan = math.nan
    profile = _profile([0.1, nan, nan, nan, 0.5], [0.9] * 5)
    score = score_columns(profile, 8000, bracketed=np.array([False, True, True, True, False]))["score"]
    assert score.values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert score.low == pytest.approx([0.1] * 4 + [0.5])
    assert score.high == pytest.approx([0.1] + [0.5] * 4)


@pytest.mark.parametrize(("room", "wanted"), [(3, [2, 3, 5]), (5, [1, 2, 3, 4, 5]), (9, [1, 2, 3, 4, 5]), (1, [5])])
def test_places_are_taken_evenly_to_the_last(room: int, wanted: list[int]) -> None:
    assert evenly([1, 2, 3, 4, 5], room) == wanted
