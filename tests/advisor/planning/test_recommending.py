"""`advisor.recommend` end to end on real digits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import advisor
from advisor.errors import AdvisorError, DataError, InterruptedRunError
from advisor.planning import advising
from advisor.planning.advice_builder import RANDOM_WEIGHTS
from advisor.planning.preparing import measuring_cuts

CONTRACT = (
    "macs", "params", "bytes", "edge_memory", "edge_latency", "link_latency", "cloud_latency", "latency",
    "edge_energy", "fisher", "fisher_snr", "mse_bound", "rc2", "rc2_per_dim", "rc2_ratio", "entropy_bound",
    "rate", "dcor", "linear_nmse", "ka_mse", "ka_nmse", "ka_ssim", "label_leak", "score", "score_ssim",
    "rc2_drop", "in_gpz", "in_zone",
)  # fmt: skip


@pytest.mark.slow
def test_every_column_of_the_contract_is_there_with_unit_source_and_reasons(digits_advice):
    for name in CONTRACT:
        column = digits_advice.profile[name]
        assert column.unit
        assert column.source in ("measured", "estimated", "bounded")
        assert all(why for value, why in zip(column.values, column.why, strict=True) if math.isnan(value))


def test_the_first_layers_leak_and_the_score_never_falls_with_depth(digits_advice):
    score = digits_advice.profile["score"].values
    assert score[1] < 0.1
    assert (np.diff(score) >= -1e-12).all()


def test_the_plan_is_inside_the_stated_budgets(digits_advice):
    best = digits_advice.best_split
    assert digits_advice.feasible
    assert best.predicted["latency"].value <= 0.2
    assert best.predicted["accuracy_drop"].value <= 0.05
    assert best.cut.name not in ("input", "output")


def test_latency_is_the_sum_of_its_parts(digits_advice):
    for plan in (*digits_advice.pareto, *digits_advice.baselines):
        parts = [plan.predicted[f"{name}_latency"].value for name in ("edge", "link", "cloud")]
        assert plan.predicted["latency"].value == pytest.approx(sum(parts))


def test_so_small_a_network_stays_on_the_edge_and_the_answer_says_so(digits_advice):
    edge, cloud = digits_advice.baselines
    assert (edge.kind, cloud.kind) == ("all-edge", "all-cloud")
    assert edge.predicted["bytes"].value == 0
    assert cloud.predicted["bytes"].value == 16 + (4 + 4 * 8) + 64 * 4  # header, table, one image
    assert (digits_advice.verdict, digits_advice.best, digits_advice.feasible) == ("all-edge", edge, True)
    assert digits_advice.best_split.kind == "split"
    assert digits_advice.headline.startswith("Run it all on the edge: nothing is sent.")
    assert "split" not in digits_advice.headline  # one verdict, and no other beside it
    assert "meets every requirement and sends nothing" in digits_advice.reasons[0]
    assert all(plan.kind == "split" for plan in digits_advice.pareto)


def test_an_advice_is_shown_in_a_few_lines(digits_advice):
    lines = repr(digits_advice).splitlines()
    assert len(lines) == 5
    assert lines[0] == "Advice(verdict='all-edge', feasible=True)"
    assert digits_advice.headline in lines[1]
    assert len(repr(digits_advice)) < 1000
    assert digits_advice.summary().startswith(digits_advice.headline)
    assert "Run the whole model on jetson" in digits_advice.summary()
    assert digits_advice._repr_html_().startswith("<iframe sandbox srcdoc=")
    assert "<script" not in digits_advice._repr_html_()


def test_the_parts_take_a_model_as_recommend_does(digits_net, digits_data):
    x, y = digits_data[0][:40], digits_data[1][:40]
    graph = advisor.trace(digits_net, x[:2])
    own = advisor.profile(digits_net, example_inputs=x)
    assert own["macs"].values.tolist() == advisor.profile(graph)["macs"].values.tolist()
    found, same = (advisor.leakage(given, x, y, only=["linear_nmse"]) for given in (digits_net, graph))
    assert np.array_equal(found["linear_nmse"].values, same["linear_nmse"].values, equal_nan=True)
    assert advisor.attack(digits_net, "block1.2", x).nmse == advisor.attack(graph, "block1.2", x).nmse


@pytest.mark.slow
def test_a_split_that_is_required_is_the_answer(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    advice = advisor.recommend(digits_net, data=small, trials=2, verify="none", require_split=True)
    assert (advice.verdict, advice.best.kind, advice.feasible) == ("split", "split", True)
    assert advice.best == advice.best_split


def test_halves_with_the_defense_inside_still_classify(digits_advice, digits_net, digits_data):
    x, y = digits_data
    edge, cloud = digits_advice.best_split.split()
    with torch.no_grad():
        bare = (digits_net(x).argmax(1) == y).float().mean()
        split = (cloud(edge(x)).argmax(1) == y).float().mean()
    assert split >= bare - 0.1


def test_saved_advice_loads_and_splits_a_model_given_again(digits_advice, digits_net, digits_data, tmp_path):
    digits_advice.save(tmp_path)
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    json.loads((tmp_path / "advice.json").read_text(), parse_constant=pytest.fail)
    loaded = advisor.load_advice(tmp_path)
    assert loaded.headline == digits_advice.headline
    assert str(loaded.best) == str(digits_advice.best)
    assert (loaded.verdict, str(loaded.best_split)) == ("all-edge", str(digits_advice.best_split))
    with pytest.raises(AdvisorError, match=r"loaded without its model. Pass it: plan.split\(model\)"):
        loaded.best_split.split()
    edge, cloud = loaded.best_split.split(digits_net)
    assert cloud(edge(digits_data[0])).shape == (300, 10)


@pytest.mark.slow
def test_same_seed_same_answer(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    first, second = (
        advisor.recommend(digits_net, data=small, trials=4, verify="none", seed=3) for _ in range(2)
    )  # fmt: skip
    volatile = ("wall_time_s", "stages", "told", "made")
    one, two = first.to_json(), second.to_json()
    for payload in (one, two):
        for key in volatile:
            payload["provenance"].pop(key)
    assert one == two


@pytest.mark.slow
def test_the_model_and_torch_are_left_as_found(digits_net, digits_data):
    digits_net.train()
    torch.manual_seed(5)
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in digits_net.state_dict().items()}
    advisor.recommend(digits_net, data=tuple(p[:60] for p in digits_data), trials=1, verify="none")
    assert all(module.training for module in digits_net.modules())
    digits_net.eval()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(v, digits_net.state_dict()[k]) for k, v in state.items())
    assert all(p.grad is None or not p.grad.isnan().any() for p in digits_net.parameters())


def test_impossible_budgets_give_the_nearest_plans_and_by_how_much_they_miss(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    advice = advisor.recommend(digits_net, data=small, max_latency=1e-6, trials=2, verify="none")
    assert not advice.feasible
    assert "Nothing meets the budgets." in advice.headline
    assert advice.nearest
    assert all(plan.excess["max_latency"] > 0 for plan in advice.nearest)
    assert "No payload keeps 1 µs: both halves and the round trip alone take" in advice.reasons[-1]


def test_a_stated_leakage_budget_that_no_plan_meets_is_not_feasible(digits_net, digits_data):
    small = tuple(part[:80] for part in digits_data)
    advice = advisor.recommend(
        digits_net, data=small, min_nmse=0.999, defenses="none", verify="none", require_split=True
    )
    assert not advice.feasible
    assert "min_nmse" in advice.nearest[0].excess


@pytest.mark.slow
def test_without_data_the_answer_says_what_leakage_was_measured_on(digits_net):
    advice = advisor.recommend(digits_net, torch.zeros(2, 1, 8, 8), trials=2, verify="none")
    assert any("synthetic samples" in sentence for sentence in advice.assumptions)
    assert "agreement with the undefended model" in advice.best_split.predicted["accuracy_drop"].method


@pytest.mark.slow
def test_random_weights_are_the_first_thing_said():
    advice = advisor.recommend(
        "torchvision:squeezenet1_1@random",
        data=(torch.rand(24, 3, 64, 64), None),
        defenses="none",
        verify="none",
        cuts="features.12.squeeze",
    )
    assert advice.headline.startswith(RANDOM_WEIGHTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "jetsen"}, "jetson"),
        ({"link": "wify"}, "wifi"),
        ({"verify": "hard"}, "Use none, quick or strong"),
        ({"defenses": "magic"}, "There is no defense 'magic'"),
        ({"normalize": "mean=1"}, "is no normalisation"),
    ],
)
def test_unknown_words_are_refused_before_any_work(digits_net, digits_data, options, message):
    with pytest.raises(AdvisorError, match=message):
        advisor.recommend(digits_net, data=digits_data, **options)


def test_data_of_another_shape_says_both_shapes(digits_net):
    with pytest.raises(DataError, match="the model takes"):
        advisor.recommend(digits_net, torch.zeros(2, 1, 8, 8), data=(torch.rand(20, 3, 8, 8), None))


@pytest.mark.parametrize("stage", ["load", "trace", "data", "cost", "leakage"])
def test_an_interrupt_before_there_is_advice_hands_over_what_was_measured(digits_net, digits_data, stage):
    def press(now: str, share: float, what: str) -> None:
        if now == stage and share == 0:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match=f"Interrupted during {stage}") as caught:
        advisor.recommend(digits_net, data=digits_data, progress=press)
    assert (caught.value.profile is not None) == (stage == "leakage")


@pytest.mark.parametrize(
    "place", [(measuring_cuts, "said_of_the_model"), (measuring_cuts, "Measured"), (advising, "search")]
)
def test_an_interrupt_beside_the_stages_hands_over_the_costs(digits_net, digits_data, monkeypatch, place):
    def press(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, press)
    small = tuple(part[:40] for part in digits_data)
    with pytest.raises(InterruptedRunError) as caught:
        advisor.recommend(digits_net, data=small, trials=1)
    assert caught.value.profile is not None


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["search", "verify"])
def test_an_interrupt_later_keeps_the_best_so_far(digits_net, digits_data, stage):
    def press(now: str, share: float, what: str) -> None:
        if now == stage and what:
            raise KeyboardInterrupt

    small = tuple(part[:80] for part in digits_data)
    advice = advisor.recommend(digits_net, data=small, trials=3, progress=press)
    assert advice.provenance["interrupted"] == stage
    assert advice.best is not None
    assert f"Interrupted during {stage}" in advice.headline
