"""The search: resumed from a storage, bounded in trials and time, and priced from what is really sent."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

import advisor
from advisor import profilers
from advisor.batches import carried
from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.errors import AdvisorError, CutError
from advisor.estimate import Estimate
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.plan_reasons import reasons
from advisor.sweep import TIME_UP
from tests.advisor.conftest import DigitsNet


@pytest.fixture
def evaluator(digits_evaluator):
    return digits_evaluator


def test_an_undefended_split_costs_no_accuracy_and_leaks_the_score(evaluator):
    plan = evaluator.evaluate(evaluator.graph.cut("block2.2"), NoDefense())
    assert plan.predicted["accuracy_drop"].value == 0
    assert plan.predicted["score"] == evaluator.profile["score"].at(plan.cut)


def test_accuracy_under_a_defense_equals_running_the_halves_by_hand(evaluator):
    x, y = evaluator.roles["validation"].x, evaluator.roles["validation"].y
    plan = evaluator.evaluate(evaluator.graph.cut("block1.2"), Quantize8())
    edge, cloud = plan.split()
    with torch.no_grad():
        literal = (cloud(edge(x)).argmax(1) == y).double().mean()
    assert plan.predicted["accuracy"].value == pytest.approx(float(literal))


def test_int8_sends_a_byte_an_element_and_its_range(evaluator):
    plan = evaluator.evaluate(evaluator.graph.cut("block2.2"), Quantize8())
    assert plan.predicted["bytes"].value == 16 + 3 * (4 + 4 * 8) + 24 * 4 * 4 + 8  # header, table, codes, range
    bare = evaluator.evaluate(plan.cut, NoDefense())
    assert plan.predicted["link_latency"].value < bare.predicted["link_latency"].value


def test_energy_of_a_plan_is_that_of_what_it_sends(evaluator):
    """Against the formula: power × edge time + radio power × time on air; the smaller wire pays less."""
    cut, board = evaluator.graph.cut("block2.2"), profilers.device("jetson-nano")
    nano = replace(evaluator, profile=evaluator.profile.joined(advisor.profile(evaluator.graph, "jetson-nano")))
    bare, small = (nano.evaluate(cut, defense).predicted for defense in (NoDefense(), Quantize8()))
    for found in (bare, small):
        up, down = (
            found["bytes"].value * 8 / evaluator.link.up,
            evaluator.graph.cuts[-1].message_bytes * 8 / evaluator.link.down,
        )
        radio = evaluator.link.tx_power * up + evaluator.link.rx_power * down
        assert found["edge_energy"].value == pytest.approx(board.active_power * found["edge_latency"].value + radio)
    assert bare["edge_energy"].value == pytest.approx(nano.profile["edge_energy"].at(cut).value)
    assert small["edge_energy"].value < bare["edge_energy"].value
    assert bare["edge_swap"].value == 0


def test_a_plan_that_does_not_fit_says_so(evaluator):
    plan = evaluator.evaluate(evaluator.graph.cut("block2.2"), NoDefense())
    large = replace(plan, predicted={**plan.predicted, "edge_swap": Estimate.exact(3e9, "B")})
    said = " ".join(reasons(large, [large], LeakageLimits(None, None, asked=False)))
    assert "does not fit the device's memory: 2.79 GiB would be swapped" in said
    assert "swapped" not in " ".join(reasons(plan, [plan], LeakageLimits(None, None, asked=False)))


def test_more_noise_leaks_less_and_costs_more_accuracy(evaluator):
    cut = evaluator.graph.cut("block2.2")
    plans = [evaluator.evaluate(cut, GaussianNoise(sigma)) for sigma in (0.1, 3.0, 300.0)]
    scores = [plan.predicted["score"].value for plan in plans]
    assert scores == sorted(scores)
    assert scores[-1] > 0.95
    assert plans[-1].predicted["accuracy_drop"].value > 0.3


def test_noise_that_is_really_added_gives_a_guarantee_and_rounding_does_not(evaluator):
    cut = evaluator.graph.cut("block2.2")
    bounds = [evaluator.evaluate(cut, GaussianNoise(sigma)).predicted["mse_bound"] for sigma in (0.1, 3.0, 300.0)]
    assert all(bound.source == "bounded" for bound in bounds)
    assert 0 <= bounds[0].value < bounds[1].value < bounds[2].value < 0.1**2 * (1 + 1e-9)  # at most the smoothing's own
    assert bounds[2].value > 0.9 * 0.1**2
    for defense in (NoDefense(), Quantize8(), GaussianNoise(0.0)):
        assert "mse_bound" not in evaluator.evaluate(cut, defense).predicted


def test_verification_attacks_what_is_really_sent(evaluator):
    cut = evaluator.graph.cut("block1.2")
    bare, noisy = (evaluator.attack(evaluator.evaluate(cut, d), "quick") for d in (NoDefense(), GaussianNoise(300.0)))
    assert bare.nmse.value < 0.2
    assert noisy.nmse.value > 0.9


def options(storage=None, **more):
    return {"verify": "none", "max_accuracy_drop": 0.05, "storage": storage, **more}


@pytest.mark.slow
def test_a_killed_search_resumes_from_its_storage(digits_net, digits_data, tmp_path):
    storage = f"sqlite:///{tmp_path}/search.db"
    small = tuple(part[:80] for part in digits_data)
    priced = []

    def press(stage, share, what):
        if stage == "search" and what:
            priced.append(what)
            if len(priced) == 3:
                raise KeyboardInterrupt

    advisor.recommend(digits_net, data=small, trials=6, progress=press, **options(storage))
    assert len(priced) == 3
    resumed = []
    advisor.recommend(
        digits_net, data=small, trials=6, **options(storage),
        progress=lambda stage, share, what: resumed.append(what) if stage == "search" and what else None,
    )  # fmt: skip
    assert 3 <= len(resumed) <= 4  # two trials were kept, the interrupted one is tried again


def test_nothing_begins_after_the_timeout_of_the_whole_run(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    tried = []

    def slow(stage, share, what):
        if stage == "search" and what:
            tried.append(what)
        if stage == "cost" and share == 0:
            time.sleep(0.6)

    advice = advisor.recommend(
        digits_net, data=small, trials=50, progress=slow, **options(timeout=0.5) | {"verify": "quick"}
    )
    assert not tried
    assert advice.best is not None
    assert any("was not attacked: the time was up" in line for line in advice.unmeasured)
    assert advice.profile.provenance["leakage"]["cuts_attacked"] == 0
    assert set(advice.profile["linear_nmse"].why) == {TIME_UP}


def test_a_storage_that_cannot_be_opened_is_one_line(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    with pytest.raises(AdvisorError, match="cannot be used"):
        advisor.recommend(digits_net, data=small, trials=2, **options("nodatabase://x"))


def test_a_defended_tensor_keeps_the_dtype_of_a_half_precision_model(digits_data):
    x, _ = digits_data
    graph = advisor.trace(DigitsNet().eval().bfloat16(), x[:2].bfloat16())
    sent = Quantize8().transmit(carried(graph, graph.flat(x[:8]), 0, graph.cut("block1.2").index))
    assert sent[0].dtype == torch.bfloat16


@pytest.mark.slow
def test_u_shaped_plans_keep_the_output_from_the_cloud(digits_net, digits_data, tmp_path):
    x, y = (part[:200] for part in digits_data)
    advice = advisor.recommend(digits_net, data=(x, y), trials=4, verify="none", tail="head.0")
    plans = [*advice.pareto, advice.best_split]
    assert {plan.tail.name for plan in plans} == {"head.0"}
    assert all(plan.cut.index < plan.tail.index for plan in plans)
    whole, best = advice.profile, advice.best_split
    edge, cloud = whole["edge_latency"].values, whole["cloud_latency"].values
    head, tail = best.cut.index, best.tail.index
    assert best.predicted["edge_latency"].value == pytest.approx(edge[head] + edge[-1] - edge[tail])
    assert best.predicted["cloud_latency"].value == pytest.approx(cloud[head] - cloud[tail])
    parts = ("edge_latency", "link_latency", "cloud_latency")
    assert best.predicted["latency"].value == pytest.approx(sum(best.predicted[name].value for name in parts))
    wire, down = profilers.link("wifi"), best.tail.message_bytes
    sent = best.defense.message_bytes(best.cut)
    copy_rate = profilers.device("jetson").copy_rate
    assert best.predicted["link_latency"].value == profilers.transfer_time(wire, sent, down, copy_rate).value
    modules = best.split()
    assert len(modules) == 3
    advice.save(tmp_path)
    loaded = advisor.load_advice(tmp_path).best_split
    assert loaded.tail.name == "head.0"
    assert len(loaded.split(digits_net)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["input", "output"])
def test_a_tail_that_leaves_nothing_to_the_cloud_or_the_edge_is_refused(tail, digits_net, digits_data):
    x, y = (part[:80] for part in digits_data)
    with pytest.raises(CutError, match=f"tail cannot begin at '{tail}'.*Begin it between"):
        advisor.recommend(digits_net, data=(x, y), trials=2, verify="none", tail=tail)
