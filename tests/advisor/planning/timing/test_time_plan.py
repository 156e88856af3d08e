"""What a run leaves out to keep to its time: nothing where it fits, and never more time than was allowed."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import pytest
import torch
from torch import nn

import advisor
from advisor.graph import PartitionGraph
from advisor.planning.fits.wanted_fits import wanted_fits
from advisor.planning.timing import machine_speed
from advisor.planning.timing.fit_times import FIT_SECONDS
from advisor.planning.timing.machine_speed import Speed, measured, step_products
from advisor.planning.timing.time_limits import EFFORT_SECONDS, FEWEST_ROWS, plan_time
from advisor.planning.timing.time_plan import UNBOUNDED
from advisor.request import Request

FAST = Speed(forward=1e-5, tangent=1e-5, product=1e-13, step=1e-4, solve=1e-4, element=1e-10)
SLOW = Speed(forward=1.2e-2, tangent=3e-3, product=2e-11, step=3e-3, solve=2e-3, element=1e-9)
GLACIAL = dataclasses.replace(SLOW, forward=1.0, product=1e-9)


@pytest.fixture(scope="module")
def graph() -> PartitionGraph:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(12)]
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks, nn.Flatten(), nn.Linear(8 * 32 * 32, 10))
    return advisor.trace(net.eval(), torch.rand(2, 3, 32, 32))


def planned(graph: PartitionGraph, speed: Speed, side: int = 32, training: int = 0, **options: Any) -> Any:
    """The plan of a run that fits defenses to so many samples, or none."""
    inputs = (torch.rand(1, 3, side, side).expand(250, 3, side, side),)
    request = Request.of(model="m", **options)
    fits = wanted_fits(request.search, graph, ("ridge", "tuned"), training) if training else None
    return plan_time(request, graph, inputs, 750, 1000, speed, time.monotonic(), fits=fits)


def test_a_run_that_fits_leaves_nothing_out(graph: PartitionGraph) -> None:
    plan = planned(graph, FAST)
    assert not plan.reduced
    assert plan.allowance.covers(len(graph.cuts))
    assert plan.until("search") == math.inf
    assert plan.to_json() == {}
    assert "to keep to" not in plan.sentence("standard", len(graph.cuts))


@pytest.mark.parametrize("effort", ["quick", "standard"])
def test_a_run_that_does_not_fit_is_told_within_its_time(graph: PartitionGraph, effort: str) -> None:
    plan = planned(graph, SLOW, effort=effort, trials=400)
    assert plan.reduced
    assert 0.5 * EFFORT_SECONDS[effort] < sum(plan.told.values()) <= EFFORT_SECONDS[effort]
    said = plan.sentence(effort, len(graph.cuts))
    assert f"({effort})" in said
    for name, value in plan.to_json().items():
        assert f"{value:,}" in said, name
    assert plan.until("leakage") < plan.until("search") < plan.until("verify") < math.inf


def test_fits_have_time_of_their_own_and_face_the_strong_attack(graph: PartitionGraph) -> None:
    plain, fitted = planned(graph, FAST), planned(graph, FAST, training=10_000_000)
    assert fitted.told["fit"] == FIT_SECONDS["standard"]
    assert fitted.told["verify"] > 5 * plain.told["verify"]
    assert ") and fits of 15 min at most" in fitted.sentence("standard", len(graph.cuts))
    assert "fit" not in plain.sentence("standard", len(graph.cuts))
    late = planned(graph, SLOW, training=16_000)
    assert late.reduced
    assert late.until("verify") - late.until("search") > FIT_SECONDS["standard"]


def test_fits_are_told_by_their_steps_and_the_attacks_that_price_them(graph: PartitionGraph) -> None:
    search = Request.of(model="m").search
    fits = wanted_fits(search, graph, ("ridge", "tuned"), 2_000)
    assert fits is not None
    assert len(fits.fits) == 8
    assert {fit.payload.tensors[0].shape for fit in fits.fits} >= {(8, 8, 8), (8, 32, 32)}  # `tuned` has no bottleneck
    whole = max(fit.whole for fit in fits.fits)
    assert whole == 32 * 16  # epochs of 2,000 samples that make 500 steps
    sample, attack = 3 * 1e-3, 2.0
    by_hand = 2 * (whole * 128 * sample + 4 * attack) + 8 * (100 * 128 * sample + attack)
    assert fits.seconds(1e-3, lambda payload: attack) == pytest.approx(by_hand)
    assert fits.seconds(1.0, lambda payload: attack) == FIT_SECONDS["standard"]
    assert wanted_fits(search, graph, ("local-head",), 2_000) is None
    few, many = (planned(graph, FAST, training=count).told["fit"] for count in (2_000, 200_000))
    assert 0 < few < many < FIT_SECONDS["standard"]


def test_more_effort_leaves_less_out(graph: PartitionGraph) -> None:
    quick, standard = (planned(graph, SLOW, effort=effort, trials=40) for effort in ("quick", "standard"))
    assert (quick.attacks or 99) < (standard.attacks or 99)
    assert (quick.rows or 1000) * (quick.trials or 40) < (standard.rows or 1000) * (standard.trials or 40)


def test_a_machine_that_cannot_keep_to_the_time_does_the_least_and_says_how_long_that_takes(
    graph: PartitionGraph,
) -> None:
    plan = planned(graph, GLACIAL, effort="quick")
    assert (plan.attacks, plan.rows) == (3, FEWEST_ROWS)
    assert sum(plan.told.values()) > EFFORT_SECONDS["quick"]
    assert "; to come near to 3 min (quick) 3 of " in plan.sentence("quick", len(graph.cuts))


def test_the_timeout_bounds_the_whole_run_and_the_effort_below_it(graph: PartitionGraph) -> None:
    short = planned(graph, SLOW, timeout="170s")
    assert sum(short.told.values()) <= 170
    assert short.until("verify") <= short.started + 170
    assert planned(graph, FAST, timeout="1h").until("verify") == pytest.approx(time.monotonic() + 3600, abs=60)


def test_measured_speeds_are_of_this_machine_and_leave_torch_as_found(graph: PartitionGraph) -> None:
    x = torch.rand(20, 3, 32, 32)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    speed = measured(graph, (x,))
    for field in dataclasses.fields(speed):
        assert 0 < getattr(speed, field.name) < 10, field.name
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_tokens_have_a_speed_too() -> None:
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(48, 4)).eval()
    ids = torch.randint(20, (30, 6))
    speed = measured(advisor.trace(net, ids[:2]), (ids,))
    assert speed.tangent == pytest.approx(3 * speed.forward)


def test_attacks_on_ids_are_told_by_the_passes_that_they_take_and_not_at_all_where_none_is_run() -> None:
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(48, 4)).eval()
    ids = torch.randint(20, (30, 6))
    graph = advisor.trace(net, ids[:2])

    def told(**options: Any) -> float:
        request = Request.of(model="m", **options)
        return plan_time(request, graph, (ids,), 90, 30, FAST, time.monotonic()).told["verify"]

    descent, tried = 3 * 300, 2 * 2 * 6 * 75
    assert told() == pytest.approx(3 * 0.4 * 30 * (descent + tried) * FAST.forward)
    assert told(verify="strong") == pytest.approx(10 * told())
    assert told(min_nmse=0.3) == 0  # nothing measures an error of ids: no plan meets it, and none is attacked
    assert told(verify="none") == 0


def test_products_of_a_step_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from advisor.estimators.inversion.alignment import QUICK
    from advisor.measures.decoders.map_decoder import Residual

    width = QUICK.width
    net = nn.Sequential(nn.Conv2d(16, width, 1), Residual(width), nn.GELU(), nn.Conv2d(width, 12, 3, padding=1))
    with FlopCounterMode(display=False) as counted:
        net(torch.rand(QUICK.batch, 16, 8, 8, requires_grad=True)).sum().backward()
    assert step_products(16, 64, width, 12) == pytest.approx(counted.get_total_flops() / 2, rel=0.02)


def test_a_run_without_a_plan_is_bounded_by_nothing() -> None:
    assert UNBOUNDED.until("search") == UNBOUNDED.until("verify") == math.inf
    assert UNBOUNDED.allowance.covers(10**6)


def test_the_run_tells_how_long_it_takes_before_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speed, "measured", lambda graph, inputs: SLOW)
    told: list[tuple[str, str]] = []
    advice = advisor.recommend(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval(), torch.rand(2, 6),
        data=(torch.rand(60, 6), None), trials=2, verify="none", effort="quick",
        progress=lambda stage, share, what="": told.append((stage, what)),
    )  # fmt: skip
    stages = [stage for stage, _ in told]
    assert stages.index("plan") < stages.index("leakage")
    assert dict(told)["plan"].startswith("On cpu this will take about")
    assert advice.best is not None


def test_attacks_that_options_add_are_counted(graph: PartitionGraph) -> None:
    bare, curve, larger, both = (
        planned(graph, FAST, **options).told["verify"]
        for options in (
            {},
            {"attacker_samples": 8000},
            {"attack_size": 16},
            {"attacker_samples": 8000, "attack_size": 16},
        )
    )
    assert bare < curve < both
    assert bare < larger < both
    assert both - bare == pytest.approx((curve - bare) + (larger - bare))
    assert planned(graph, FAST, attacker_samples=8000, verify="none").told["verify"] == 0


def test_the_told_search_counts_growing_subsets(graph: PartitionGraph) -> None:
    """62 samples of 1,000 judge every trial, 250 half of them, all a quarter: the answer's baseline takes all."""
    told = planned(graph, FAST, trials=40).told["search"]
    assert told == pytest.approx(40 * ((62 + 250 / 2 + 1000 / 4) * 0.7 * FAST.forward + 0.05) + 700 * FAST.forward)


def test_what_the_answer_measures_after_the_attacks_is_told(graph: PartitionGraph) -> None:
    whole, reduced = planned(graph, FAST), planned(graph, SLOW, effort="quick")
    assert whole.told["answer"] == pytest.approx(1000 * (2 * 0.7 + 3 + 2) * FAST.forward)
    assert reduced.told["answer"] == pytest.approx(reduced.rows * (2 * 0.7 + 3 + 2) * SLOW.forward)


def test_a_reduced_run_counts_them_too(graph: PartitionGraph) -> None:
    bare, asked = (
        planned(graph, SLOW, effort="standard", trials=400, **more) for more in ({}, {"attacker_samples": 8000})
    )
    assert asked.reduced
    assert asked.told["leakage"] + asked.told["search"] < bare.told["leakage"] + bare.told["search"]


@pytest.fixture(scope="module")
def photographs() -> PartitionGraph:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10))
    return advisor.trace(net.eval(), torch.rand(2, 3, 128, 128))


def of_photographs(graph: PartitionGraph, speed: Speed, **options: Any) -> Any:
    return planned(graph, speed, 128, **options)


def test_images_are_attacked_at_the_largest_size_that_the_time_allows(photographs: PartitionGraph) -> None:
    roomy = of_photographs(photographs, FAST)
    assert roomy.size == 128
    assert "reconstructions at 128 of 128 pixels a side." in roomy.sentence("standard", 5)
    asked = of_photographs(photographs, FAST, attack_size="native")
    assert (asked.size, asked.of_size) == (None, "")
    assert sum(roomy.told.values()) == pytest.approx(sum(asked.told.values()), rel=0.1)
    limited = {of_photographs(photographs, dataclasses.replace(FAST, product=p)).size for p in (1e-11, 1e-10, 1e-9)}
    assert limited & {64, None}
    assert of_photographs(photographs, FAST, verify="none").size is None


def test_where_the_time_allows_none_what_is_not_told_is_said(photographs: PartitionGraph) -> None:
    tight = of_photographs(photographs, GLACIAL, effort="quick")
    assert tight.size is None
    said = tight.sentence("quick", 5)
    assert "Images are reconstructed at 32 of 128 pixels a side, which tells nothing of finer detail" in said
    assert "--attack-size native adds about" in said
