"""The floor: what `ka` finds in the model's output, against attacks on that output itself; and the worst of several."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.errors import AdvisorError, NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.attacks import ATTACKS
from advisor.estimators.attacks.ka import KnowledgeAlignment
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support import floors, one_attack
from advisor.estimators.attacks.wiener import Wiener
from advisor.estimators.attacks.worst import AVERAGED
from advisor.estimators.inversion.alignment import BUDGETS
from advisor.graph import PartitionGraph
from advisor.testing.made_up_views import normal
from advisor.variant import variant_of
from tests.estimators.nets import digits, trained


@functools.cache
def graph() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


@pytest.fixture(autouse=True)
def nothing_found_before_and_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", replace(BUDGETS["quick"], steps=32))
    monkeypatch.setattr(floors, "_FOUND", type(floors._FOUND)())


def test_without_a_defense_it_is_the_error_at_the_output_wherever_the_cut() -> None:
    x, _ = digits(60)
    output = attack(graph(), "output", x)
    shallow = attack(graph(), "conv1", x)
    assert shallow.floor.value == output.nmse.value == output.floor.value
    assert shallow.nmse.value < shallow.floor.low
    assert not shallow.at_floor
    assert shallow.reported is shallow.nmse
    assert output.at_floor


def test_the_floor_is_an_error_alone_for_which_the_model_classifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, classified = digits(48)[0], list[Tensor]()
    counted = one_attack.reidentification

    def counting(graph: PartitionGraph, private: tuple[Tensor, ...], back: Tensor) -> Estimate:
        classified.append(back)
        return counted(graph, private, back)

    monkeypatch.setattr(one_attack, "reidentification", counting)
    found = attack(graph(), "conv1", x)
    assert found.floor.value > 0
    assert len(classified) == 1
    without = attack(graph(), "conv1", x, reidentify=False)
    assert len(classified) == 1
    assert without.nmse == found.nmse
    assert math.isnan(without.reidentified.value)


@pytest.mark.parametrize("repeats", [1, 4])
def test_under_noise_it_is_the_error_at_the_output_of_what_was_received(repeats: int) -> None:
    """Repeats are averaged before the cloud half: as attacking on what the cloud carries on to its output."""
    x, _ = digits(48)
    options: dict[str, Any] = {"defense": "gaussian:sigma=2.0", "repeats": repeats}
    found = attack(graph(), "conv1", x, **options)
    assert found.floor.value == attack(graph(), "conv1", x, beyond="output", **options).nmse.value
    assert found.floor.value > attack(graph(), "conv1", x).floor.value


def test_what_is_received_is_drowned_and_the_attack_is_at_its_floor() -> None:
    found = attack(graph(), "conv1", digits(60)[0], defense="gaussian:sigma=300.0")
    assert found.at_floor
    assert found.floor.value == pytest.approx(1, abs=0.02)


def test_of_a_u_shaped_plan_it_is_at_what_is_sent_back() -> None:
    x, _ = digits(120)
    found = attack(graph(), "conv1", x, tail="squeeze")
    assert found.floor.value == attack(graph(), "squeeze", x).nmse.value
    with pytest.raises(AdvisorError, match="does not lie after"):
        attack(graph(), "squeeze", x, tail="conv1")


def test_it_is_found_when_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = digits(60)
    results = [attack(graph(), cut, x) for cut in ("conv1", "relu")]
    asked: list[str] = []
    run = KnowledgeAlignment.run

    def counted(self: KnowledgeAlignment, context: Any) -> Any:
        asked.append(context.cut.name)
        return run(self, context)

    monkeypatch.setattr(KnowledgeAlignment, "run", counted)
    assert asked == []
    assert all(result.floor.value == results[0].floor.value for result in results for _ in range(2))
    assert isinstance(results[1].at_floor, bool)
    assert asked == ["output"]
    assert attack(graph(), "relu", x, seed=1).floor.value != results[0].floor.value


def test_of_a_variant_it_is_at_the_variant_s_output() -> None:
    class Quarter(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z[:, ::4]

    class Back(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.repeat_interleave(4, 1)

    x, _ = digits(120)
    made = variant_of(graph(), "conv1", Quarter(), Back())
    assert attack(made, made.payload, x).floor.value == attack(made, "output", x).nmse.value
    assert attack(made, made.payload, x).floor.value != attack(graph(), "conv1", x).floor.value


def test_where_the_output_is_the_picture_it_is_near_zero() -> None:
    x, _ = digits(160)
    torch.manual_seed(0)
    denoiser = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)).eval()
    for layer in denoiser:
        layer.weight.data *= 0.2
        layer.weight.data[:, :, 1, 1] += 1
    assert attack(advisor.trace(denoiser, x[:2]), "0", x).floor.value < 0.05


def test_labels_and_ids_have_none_and_say_so() -> None:
    found = attack(graph(), "conv1", digits(60)[0], name="mlp-sim")
    assert math.isnan(found.floor.value)
    assert "recovers labels" in found.floor.method
    assert not found.at_floor


def test_one_that_fails_is_not_measured_and_nothing_is_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = attack(graph(), "conv1", digits(60)[0])

    def failing(*_: object) -> None:
        raise NotMeasurableError("the inversion network diverged")

    monkeypatch.setattr(KnowledgeAlignment, "run", failing)
    assert math.isnan(found.floor.value)
    assert "could not be found: The attack failed: the inversion network diverged" in found.floor.method
    assert not found.at_floor
    assert found.reported is found.nmse


class TestWorst:
    @staticmethod
    def members(x: Tensor, **options: Any) -> tuple[Any, dict[str, float]]:
        """The result, and each member run by itself."""
        found = attack(graph(), "conv1", x, name="worst", **options)
        alone = {"ka": {}, "wiener": {"name": "wiener"}, AVERAGED: {"repeats": 10}, "floor": {"beyond": "output"}}
        own = {name: attack(graph(), "conv1", x, **options, **more).nmse.value for name, more in alone.items()}
        return found, own

    def test_it_is_the_least_of_its_members_each_as_by_itself(self) -> None:
        found, own = self.members(digits(40)[0], defense="gaussian:sigma=1.0")
        assert {name: nmse.value for name, nmse in found.members.items()} == own
        assert found.nmse.value == min(own.values())
        assert own[found.which] == found.nmse.value
        assert found.floor.value == own["floor"]
        assert f"this is {found.which}" in found.notes[0]
        assert found.name == "worst"

    def test_where_nothing_is_random_repeats_are_not_tried(self) -> None:
        found = attack(graph(), "conv1", digits(60)[0], name="worst")
        assert set(found.members) == {"ka", "wiener", "floor"}

    def test_at_the_output_there_is_no_floor_beside_it(self) -> None:
        found = attack(graph(), "output", digits(60)[0], name="worst")
        assert set(found.members) == {"ka", "wiener"}
        assert found.at_floor == (found.nmse.value >= found.floor.low)

    def test_a_member_that_fails_is_said_and_the_others_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: object) -> None:
            raise NotMeasurableError("it ran out of luck")

        monkeypatch.setattr(Wiener, "run", failing)
        found = attack(graph(), "conv1", digits(60)[0], name="worst")
        assert math.isnan(found.members["wiener"].value)
        assert any("wiener failed, which says nothing: it ran out of luck" in note for note in found.notes)
        monkeypatch.setattr(KnowledgeAlignment, "run", failing)
        with pytest.raises(AdvisorError, match=r"attack failed: ka: it ran out of luck; wiener: .*nothing about priv"):
            attack(graph(), "conv1", digits(60)[0], name="worst")


def test_a_linear_gaussian_model_is_filtered_to_the_exact_error() -> None:
    """x ~ N(0, I), z = Wx in noise: Tr((WᵀW/σ² + I)⁻¹)/d."""
    model = nn.Linear(5, 8, bias=False).eval()
    model.weight.data = normal(8, 5, seed=3).float()
    x, W = normal(1600, 5).float(), model.weight.detach().double()
    found = attack(advisor.trace(model, x[:2]), "output", x, name="wiener", defense="gaussian:sigma=1.5").nmse
    exact = float(torch.linalg.inv(W.T @ W / 1.5**2 + torch.eye(5)).trace()) / 5
    assert found.value == pytest.approx(exact, abs=2.5 * found.stderr)


def test_both_are_listed_and_neither_verifies_by_itself() -> None:
    assert {"wiener", "worst"} < set(ATTACKS)
    assert not ATTACKS["worst"].verifies
