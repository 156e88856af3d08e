"""Trained plans in a recommendation: priced from their own measurements, within the time, never as a level of noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

import advisor
from advisor import wire
from advisor.batches import first_scores
from advisor.cuts import Cut, TensorSpec
from advisor.data.samples import Samples
from advisor.defenses import NoDefense
from advisor.defenses.methods import METHODS
from advisor.defenses.methods.ridge import Ridge
from advisor.errors import AdvisorError, CutError, DataError
from advisor.estimate import Estimate
from advisor.estimators.study.leakage_study import study
from advisor.fitted import FittedDefense
from advisor.planning.evaluating.cut_patterns import chosen_cuts
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits import fit_tasks
from advisor.planning.fits.defense_fits import Fits
from advisor.planning.fits.earlier_fits import taken_from
from advisor.planning.fits.fit_recipes import payload_of, recipe_at, reduction
from advisor.planning.fits.fit_schedule import ATTACK_SECONDS, SHORT_SHARE, Allowance, Pair, levels_between, rounded_up
from advisor.planning.fits.variant_pricing import VariantEvaluator, for_plan, of_fit
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.selecting.selection import nearest_first, verdict
from advisor.planning.shared_study.results import Results
from advisor.plans import Plan
from advisor.profilers import device, link
from advisor.request import Request
from advisor.requirements import REQUIREMENTS, Budgets
from advisor.support.recipe_text import read_recipe
from advisor.testing import made_up_advices
from tests.advisor.samples_by_role import by_role

RECIPE = "epochs=1,batch=64"


@pytest.fixture(scope="module")
def small(digits_data):
    return tuple(part[:160] for part in digits_data)


@pytest.fixture(scope="module")
def priced(digits_net, small):
    x, y = small
    graph = advisor.trace(digits_net, x[:2])
    measured = study(graph, x, y, only=["score", "score_ssim"])
    cost = advisor.profile(graph, "jetson", "wifi", "t4")
    base = PlanEvaluator(
        graph, cost.joined(measured.profile), measured, by_role(x, y), device("jetson"), link("wifi"), 0
    )
    variant = advisor.defend(graph, "block2.2", "bottleneck", x, epochs=1, width=4, stride=2)
    told = FittedDefense("0" * 64, "bottleneck", "block2.2", dict(variant.recipe), 1.0, ("app",))
    return of_fit(base, variant, told)


def fits(priced, data, methods=("tuned",), cuts=("block2.2",), recipe=RECIPE, seconds=None, **asked):
    """The fits of a request at these cuts, on the digits."""
    x, y = data
    request = Request.of(model="torchvision:resnet18", effort="quick", recipe=recipe, **asked)
    base = dataclasses.replace(priced.base, only=cuts, results=Results())  # knows no fit of another test
    limits = LeakageLimits(0.7, None, asked=False)
    return Fits(base, request, limits, methods, Samples(x, y, "digits", "0"), None, None, seconds)


def quiet(share, what):
    """Nobody is told."""


@pytest.fixture(scope="module")
def found(priced, small):
    """One fit to its end, and its plans."""
    return fits(priced, small, max_accuracy_drop=0.05).run(quiet)


def test_a_level_of_noise_is_measured_once(priced, monkeypatch):
    first = priced.most_noise(0.05, 0.0, 2.0, 3)
    monkeypatch.setattr(VariantEvaluator, "accuracy", lambda *_: pytest.fail("measured again"))
    assert priced.most_noise(0.05, 0.0, 2.0, 3) == first


def test_what_earlier_advice_has_fitted_is_not_fitted_again(priced, small, found, tmp_path, monkeypatch):
    dataclasses.replace(made_up_advices.digits(), best=found.plans[0], pareto=(), nearest=()).save(tmp_path)
    earlier = advisor.load_advice(tmp_path)
    monkeypatch.setattr(fit_tasks, "defend", lambda *_, **__: pytest.fail("fitted again"))
    again = fits(priced, small, max_accuracy_drop=0.05)
    again.earlier = earlier
    one = again._fitted(again._fit_of(Pair(priced.base.graph.cut("block2.2"), "tuned", read_recipe(RECIPE)), 1, 160,
                                      quiet, short=False))  # fmt: skip
    assert one.fitted.digest == found.plans[0].fitted.digest
    assert one.fitted.seconds == found.plans[0].fitted.seconds
    assert again.notes == ["tuned at block2.2 was fitted for the earlier advice, and is taken from there."]
    assert taken_from(earlier, priced.base.graph, "0" * 64) is None
    file = found.plans[0].fitted.file(tmp_path)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(AdvisorError, match="is not what was written"):
        taken_from(earlier, priced.base.graph, found.plans[0].fitted.recipe["fit"])


def test_a_fit_is_a_plan_with_its_curve_and_who_must_change_what(found):
    plan = found.plans[0]
    assert plan.fitted.method == "tuned"
    assert plan.fitted.at == "block2.2"
    assert plan.cut.name == "block2.2/payload"
    assert plan.fitted.changes == ("cloud weights",)
    assert plan.fitted.seconds > 0
    assert "block2.2 + tuned" in str(plan)


def test_one_fit_serves_the_whole_noise_curve(found):
    curve = found.plans[0].fitted.curve
    sigmas, scores = [point.sigma for point in curve], [point.score.value for point in curve]
    assert len({plan.fitted.digest for plan in found.plans}) == 1
    assert [plan.defense.noise for plan in found.plans] == sigmas == sorted(sigmas)
    assert len(sigmas) >= 2
    assert scores[-1] > scores[0]
    for plan, point in zip(found.plans, curve, strict=True):
        assert plan.predicted["accuracy_drop"] == point.accuracy_drop
        assert plan.predicted["score"] == point.score


def test_what_is_to_be_fitted_is_said_and_how_long(found):
    assert any("tuned at block2.2 is fitted: at most about 4 min" in note for note in found.notes)


@pytest.mark.parametrize("recipe", ["batch=64", "batch=64,epochs=50", "batch=64,epochs=1"])
def test_a_short_fit_is_never_longer_than_one_to_its_end_also_of_few_samples(priced, small, recipe, monkeypatch):
    run, taken = fits(priced, small, recipe=recipe), {}

    def noted(pair, epochs, count, progress, short):
        taken.setdefault("short" if not taken else "full", (epochs * count, short))

    pair = Pair(priced.base.graph.cut("block2.2"), "tuned", read_recipe(recipe))
    monkeypatch.setattr(run, "_fit_of", noted)
    monkeypatch.setattr(run, "_fitted", lambda fit: None)
    allowance = Allowance(seconds=9000.0, step=0.01, pairs=4, finalists=1, levels=2)
    run._short_fit(pair, allowance)
    run._finished(pair, allowance, quiet)
    (brief, marked), (whole, _) = taken["short"], taken["full"]
    assert brief <= whole
    assert marked == (brief < whole)
    assert whole >= 300 * 64 or "epochs" in recipe


@pytest.mark.slow
def test_short_fits_at_every_cut_then_the_best_to_its_end(priced, small):
    told = []
    run = fits(priced, small, cuts=("block1.2", "block2.2"), recipe="epochs=60,batch=64", max_accuracy_drop=0.05)
    result = run.run(lambda share, what: told.append((share, what)))
    short = [plan for plan in result.plans if plan.fitted.short]
    assert {plan.fitted.at for plan in short} == {"block1.2", "block2.2"}
    full = {plan.fitted.at for plan in result.plans if not plan.fitted.short}
    order = nearest_first(short, run.request.requirements, run.limits)
    assert full == {order[0].fitted.at}
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert "2 short fits at 2 cuts, then the best 1 to the end" in told[0][1]


def test_a_fit_that_loses_too_much_goes_on_with_less_weight(priced, small, monkeypatch):
    fitted, defend = [], fit_tasks.defend

    def spied(*given, start=None, **recipe):
        fitted.append((defend(*given, start=start, **recipe), start, recipe))
        return fitted[-1][0]

    monkeypatch.setattr(fit_tasks, "defend", spied)
    monkeypatch.setattr(Ridge, "settings", {**Ridge.settings, "weight": 40.0})
    found = fits(priced, small, methods=("ridge",), max_accuracy_drop=0.01).run(quiet)
    (first, none, _), (_, start, recipe), *_ = fitted
    assert (none, start) == (None, first)
    assert 10 <= recipe["weight"] < 40
    assert any("it was fitted further, with weight" in note and "instead of 40" in note for note in found.notes)
    assert {plan.fitted.recipe["weight"] for plan in found.plans} == {recipe["weight"]}


def test_a_weight_of_the_users_stays(priced, small):
    found = fits(priced, small, methods=("ridge",), max_accuracy_drop=0.01, recipe=f"{RECIPE},weight=40").run(quiet)
    assert {plan.fitted.recipe["weight"] for plan in found.plans} == {40}
    assert not any("fitted further" in note for note in found.notes)


def test_a_trained_plan_survives_json(found):
    kept = TypeAdapter(Plan)
    again = kept.validate_python(kept.dump_python(found.plans[0], mode="json"))
    assert again.fitted.curve == found.plans[0].fitted.curve
    assert again.key == found.plans[0].key
    assert again.graph is None


def test_a_damaged_digest_is_no_name_of_a_file(found):
    kept = TypeAdapter(Plan)
    payload = kept.dump_python(found.plans[0], mode="json")
    payload["fitted"]["digest"] = "../../etc/passwd"
    with pytest.raises(ValidationError, match="digest is made of"):
        kept.validate_python(payload)


# ---- pricing -------------------------------------------------------------------------------------------------------


def test_accuracy_of_a_variant_equals_running_its_halves_by_hand(priced):
    x, y = priced.roles["validation"].x, priced.roles["validation"].y
    plan = priced.evaluate(priced.payload, priced.noise(0.0))
    edge, cloud = plan.split()
    with torch.no_grad():
        literal = (cloud(edge(x)).argmax(1) == y).double().mean()
        bare = (first_scores(priced.base.graph, (x,)).argmax(1) == y).double().mean()
    assert plan.predicted["accuracy"].value == pytest.approx(float(literal))
    assert plan.predicted["accuracy_drop"].value == pytest.approx(float(bare - literal))


def test_a_variant_costs_its_base_and_what_it_adds(priced, small):
    variant, base = priced.graph, priced.base
    at = base.graph.cut("block2.2")
    costs = priced.costs(priced.payload, priced.noise(0.0))
    assert priced.payload.bytes == 4 * 2 * 2 * 4
    edge, _ = variant.split(priced.payload)
    assert costs["bytes"].value == len(wire.pack(edge(small[0][:1])))
    assert costs["edge_latency"].value > base.profile["edge_latency"].at(at).value
    encoder = advisor.profile(variant)["macs"].at(variant.payload).value - base.profile["macs"].at(at).value
    assert priced.profile["macs"].at(priced.payload).value == pytest.approx(base.profile["macs"].at(at).value + encoder)
    assert costs["edge_latency"].source == "estimated"
    whole = [costs[name].value for name in ("edge_latency", "link_latency", "cloud_latency")]
    assert costs["latency"].value == pytest.approx(sum(whole))


def test_the_same_times_as_a_profile_of_the_variant(priced):
    """Against the profiler, which prices the base anew."""
    fresh = advisor.profile(priced.graph, "jetson", "wifi", "t4")
    for name in ("edge_latency", "cloud_latency", "latency", "bytes", "edge_memory", "edge_energy"):
        assert priced.profile[name].values == pytest.approx(fresh[name].values, rel=1e-3, nan_ok=True), name


def test_what_a_fit_was_trained_against_is_replaced_by_an_attack(priced, monkeypatch):
    assert not priced.scored_by_attack
    cheap = priced.leakage(priced.payload, priced.noise(0.5))
    assert "what is sent" not in cheap["score"].method
    against = dataclasses.replace(priced.fitted, trained_against=("linear_nmse",))
    wary = of_fit(priced.base, priced.graph, against)
    tried = []

    def attacked(self, plan, budget, progress=None, labels=False):
        tried.append((plan.cut.name, str(plan.defense), budget))
        raise AdvisorError("made up.")

    monkeypatch.setattr(VariantEvaluator, "attack", attacked)
    missing = wary.leakage(wary.payload, wary.noise(0.5))
    assert [budget for _, _, budget in tried] == ["quick"]
    assert missing["score"].value != missing["score"].value  # not measured: neither private nor not
    assert "the quick attack: made up." in missing["score"].method


def test_the_most_noise_that_accuracy_stands_against_a_grid(priced):
    grid = [i / 40 for i in range(41)]
    allowed = priced.drop(0.5)
    most = priced.most_noise(allowed, 0.0, 1.0, 8)
    assert priced.drop(most) <= allowed
    assert most >= max(level for level in grid[:21] if priced.drop(level) <= allowed) - 0.03


def test_a_plan_is_priced_by_the_fit_that_it_names(priced):
    plan = priced.evaluate(priced.payload, priced.noise(0.2))
    assert for_plan(priced.base, plan).graph is priced.graph
    assert for_plan(priced.base, dataclasses.replace(plan, fitted=None)) is priced.base


# ---- what is asked -------------------------------------------------------------------------------------------------


def test_sets_and_names_are_divided_into_payload_defenses_and_methods():
    assert wanted_defenses("free").methods == ()
    assert wanted_defenses("trained").payload == ("none",)
    assert set(wanted_defenses("all").names) >= {"gaussian", "int8", "ridge", "tuned"}
    assert wanted_defenses("int8,ridge").names == ("int8", "ridge")
    with pytest.raises(AdvisorError, match=r"no defense 'rigde'.*Known: .*trained.*ridge"):
        wanted_defenses("rigde")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("width=8,sigma=0.2..1", {"width": 8, "sigma": (0.2, 1.0)}),
        ("rate=1e-3,tuned=cloud", {"rate": 1e-3, "tuned": "cloud"}),
    ],
)
def test_a_recipe_is_text(text, wanted):
    assert read_recipe(text) == wanted


def test_a_setting_without_a_value_is_refused_before_anything_slow():
    with pytest.raises(AdvisorError, match=r"'width' is no setting of a recipe.*--recipe width=8"):
        Request.of(model="torchvision:resnet18", recipe="width")


def test_a_fit_without_data_is_refused_at_once(digits_net):
    with pytest.raises(DataError, match=r"fitted to samples, and none are given.*--data"):
        advisor.recommend(digits_net, defenses="ridge", input_shape=(1, 8, 8))


def test_a_pattern_that_no_cut_has_names_some(digits_net, digits_data):
    with pytest.raises(CutError, match=r"No cut is named 'blok\*'.*for example block"):
        advisor.recommend(digits_net, data=digits_data, cuts="blok*")


def test_cuts_are_named_by_patterns_paths_or_numbers(priced):
    graph = priced.base.graph
    block1 = [cut.name for cut in graph.cuts if cut.name.startswith("block1")]
    assert chosen_cuts(graph, "block1*") == tuple(block1)
    assert chosen_cuts(graph, f"block2.2, {graph.cut('block1.2').index}") == ("block2.2", "block1.2")
    assert chosen_cuts(graph, None) == ()
    with pytest.raises(CutError, match="At 'output' nothing is split"):
        chosen_cuts(graph, "output")


def test_a_setting_that_no_method_has_is_refused_before_anything_slow(digits_net):
    with pytest.raises(AdvisorError, match=r"Nothing that is fitted has a setting 'widht'.*They are: width, stride"):
        advisor.recommend(digits_net, data="digits", defenses="ridge,tuned", recipe="widht=3")
    assert "width" not in recipe_at("tuned", Cut(1, "a", (TensorSpec((4,), "float32"),)), "width=3")


def test_a_method_that_does_not_fit_a_cut_is_said_and_the_rest_goes_on(priced, small):
    result = fits(priced, small, methods=("bottleneck",), recipe="stride=0").run(quiet)
    assert result.plans == ()
    assert any(
        "bottleneck at block2.2 was not fitted: A bottleneck of width 8 and stride 0 makes no sense" in note
        for note in result.notes
    )


def test_a_cut_that_no_budget_allows_is_not_fitted_where_others_are(priced, small):
    edge = priced.base.profile["edge_memory"]
    between = (edge.at(priced.base.graph.cut("block1.2")).value + edge.at(priced.base.graph.cut("block2.2")).value) / 2
    run = fits(priced, small, cuts=("block1.2", "block2.2"), max_edge_memory=between)
    assert [pair.cut.name for pair in run.pairs()] == ["block1.2"]


@pytest.mark.parametrize("budget", ["max_bytes", "max_latency"])
def test_a_cut_is_priced_by_what_the_default_encoder_sends(priced, small, budget):
    base = priced.base
    cut = base.graph.cut("block1.2")
    recipe = METHODS.find("bottleneck").complete(recipe_at("bottleneck", cut, None))
    sent = payload_of(cut, recipe).message_bytes
    assert sent < cut.message_bytes / 2
    narrow, wide = (base.costs(cut, NoDefense(), None, message) for message in (sent, None))
    row = REQUIREMENTS[budget].measurement
    between = (narrow[row].value + wide[row].value) / 2
    assert narrow[row].value < between < wide[row].value
    run = fits(priced, small, methods=("bottleneck",), cuts=("block1.2",), recipe=None, **{budget: between})
    assert run._missed(cut, payload_of(cut, recipe)) == 0
    assert run._missed(cut, cut) > 0


# ---- time ----------------------------------------------------------------------------------------------------------


def test_fits_divide_their_time_and_jitter_decides_nothing():
    allowance = Allowance(seconds=900.0, step=rounded_up(0.4), pairs=4, finalists=2, levels=3)
    short, full = allowance.short_steps(1.0, 128), allowance.steps(1.0, 128)
    spent = 4 * (short * 0.4 + ATTACK_SECONDS) + 2 * (full * 0.4 + 4 * ATTACK_SECONDS)
    assert spent <= 900.0
    assert short * allowance.step <= SHORT_SHARE * 900 / 4
    assert rounded_up(0.4) == rounded_up(0.37) >= 0.4


def test_maps_are_reduced_to_eight_cells_a_side():
    assert [reduction(side) for side in (64, 32, 16, 8, 4, 1)] == [8, 4, 2, 2, 1, 1]
    cut = Cut(1, "a", (TensorSpec((16, 32, 32), "float32"), TensorSpec((4,), "bool")))
    recipe = recipe_at("ridge", cut, "width=4")
    assert recipe == {"stride": 4, "width": 4}
    sent = [np.zeros((1, 4, 8, 8), np.float32), np.zeros((1, 4), bool)]
    assert payload_of(cut, recipe).message_bytes == len(wire.pack(sent))
    tokens = Cut(1, "a", (TensorSpec((7, 32), "float32"),))
    assert payload_of(tokens, {"width": 4}).message_bytes == len(wire.pack([np.zeros((1, 7, 4), np.float32)]))
    assert payload_of(tokens, {}) is tokens
    assert "stride" not in recipe_at("tuned", cut, None)


def test_levels_of_noise_hold_both_ends():
    assert levels_between(0.1, 0.9, 3) == pytest.approx([0.1, 0.3, 0.9])
    assert levels_between(0.0, 1.0, 3) == [0.0, 0.5, 1.0]
    assert levels_between(0.5, 0.5, 3) == [0.5]
    ends = [(float(low), 3.618 * float(low)) for low in np.linspace(0.05, 0.5, 50)]
    assert all(levels_between(low, high, 3)[::2] == [low, high] for low, high in ends)


@pytest.mark.slow
def test_a_timeout_ends_a_fit_and_keeps_what_was_priced(priced, small):
    run = fits(priced, small, cuts=("block1.2", "block2.2"), seconds=3600.0)

    def late(share, what):
        if "fit: tuned at block2.2" in what:
            run.seconds = 0.0

    result = run.run(late)
    assert {plan.fitted.at for plan in result.plans} == {"block1.2"}
    assert any("time for fits was over" in note for note in result.notes)
    assert not result.interrupted


def test_an_interrupt_during_a_fit_keeps_the_plans_before_it(priced, small):
    def press(share, what):
        if "fit: tuned at block2.2" in what:
            raise KeyboardInterrupt

    result = fits(priced, small, cuts=("block1.2", "block2.2")).run(press)
    assert result.interrupted
    assert {plan.fitted.at for plan in result.plans} == {"block1.2"}


@pytest.mark.slow
def test_a_recommendation_holds_what_was_fitted(digits_net, digits_data, tmp_path):
    advice = advisor.recommend(
        digits_net, data=digits_data, defenses="tuned", cuts="block2.2", recipe=RECIPE, effort="quick",
        max_accuracy_drop=0.9, min_nmse=0.999, require_split=True, verify="none",
    )  # fmt: skip
    plan = next(plan for plan in (*advice.nearest, *advice.pareto) if plan.fitted)
    assert plan.fitted.curve
    assert advice.provenance["stages"]["fit"] > 0
    advice.save(tmp_path)
    loaded = advisor.load_advice(tmp_path)
    (again,) = [other for other in loaded.plans if other.key == plan.key][:1]
    edge, cloud = again.split(digits_net)
    torch.manual_seed(1)
    received = cloud(edge(digits_data[0][:4]))
    edge, cloud = plan.split()
    torch.manual_seed(1)
    assert torch.equal(received, cloud(edge(digits_data[0][:4])))
    loaded.save(tmp_path / "copy")  # weights go where the advice goes
    assert plan.fitted.file(tmp_path / "copy").read_bytes() == plan.fitted.file(tmp_path).read_bytes()
    plan.fitted.file(tmp_path).unlink()
    with pytest.raises(
        AdvisorError, match=r"weights of tuned at block2.2 are not in .*Read the advice from its folder"
    ):
        again.split(digits_net)


def test_a_local_head_stands_beside_the_split_and_sends_nothing(found):
    (head,) = found.heads
    assert head.kind == "local-head"
    assert head.fitted.method == "local-head"
    assert head.fitted.at == found.plans[0].fitted.at
    assert head.predicted["bytes"].value == 0
    assert head.predicted["score"].value == 1
    (edge, cloud), x = head.split(), torch.rand(3, 1, 8, 8)
    assert torch.equal(cloud(edge(x)), edge(x))
    assert edge(x).shape == (3, 10)


def test_a_local_head_is_chosen_where_it_meets_everything_and_is_best(found):
    (head,) = found.heads
    slow = dataclasses.replace(head, kind="split", predicted={**head.predicted, "latency": Estimate.exact(9.0, "s")})
    limits = LeakageLimits(0.7, None, asked=False)
    assert verdict([slow], [head], limits, Budgets()).verdict == "local-head"
    assert verdict([slow], [head], limits, Budgets(), require_split=True).verdict == "split"
