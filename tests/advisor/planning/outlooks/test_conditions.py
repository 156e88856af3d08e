"""What if: the choice over ranges, against closed forms, slow walks, and what profiling says by itself."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

import advisor
from advisor.advice import Advice
from advisor.defenses import GaussianNoise
from advisor.errors import AdvisorError
from advisor.planning.outlooks import axis_regions as regions
from advisor.planning.outlooks import recorded_plans
from advisor.planning.outlooks.repricing import Repricer, at_rate, recorded_link
from advisor.profilers import link as link_of
from advisor.reports.outlooks import outlook_tables
from advisor.request import Request
from advisor.testing.made_up_advices import evidence_of, plan_of, resnet

LOOSE = {"max_latency": "none", "min_nmse": 0.3}


@pytest.fixture(scope="module")
def made_up() -> Advice:
    return resnet()


@pytest.fixture(scope="module")
def swept(made_up: Advice) -> advisor.Outlook:
    return advisor.whatif(made_up, "0.5..200Mbps", portfolio=2, **LOOSE)


# ---- costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["bandwidth=3Mbps,rtt=20ms", "lte", "ethernet,jitter=4ms"])
def test_costs_over_another_link_are_those_that_profiling_finds_there(digits_net, digits_data, digits_advice, asked):
    graph = advisor.trace(digits_net, digits_data[0][:2])
    there = advisor.profile(graph, device="jetson", link=asked)
    repricer = Repricer.of(digits_advice)
    plans = [repricer.over(plan, link_of(asked)) for plan in recorded_plans.bare(digits_advice)]
    assert [plan.cut.name for plan in plans] == [cut.name for cut in graph.cuts[1:-1]]
    for plan in plans:
        for name in ("link_latency", "latency", "throughput", "edge_energy"):
            found, expected = plan.predicted[name], there[name].at(graph.cut(plan.cut.name))
            for end in ("value", "low", "high"):
                assert getattr(found, end) == pytest.approx(getattr(expected, end), rel=1e-9, nan_ok=True), (name, end)


def test_a_plan_without_a_defense_follows_from_the_profile_as_it_was_priced(digits_advice):
    made = {plan.cut.name: plan for plan in recorded_plans.bare(digits_advice)}
    priced = [p for p in digits_advice.plans if p.kind == "split" and p.defense.identity]
    assert priced
    for plan in priced:
        for quantity, estimate in plan.predicted.items():
            found = made[plan.cut.name].predicted[quantity]
            expected = (estimate.value, estimate.low, estimate.high)
            assert (found.value, found.low, found.high) == pytest.approx(expected, nan_ok=True), quantity


def test_the_plans_that_were_merely_tried_are_recorded_and_looked_at(digits_advice):
    shown = {str(plan) for plan in digits_advice.plans}
    assert digits_advice.tried
    assert not shown & {str(plan) for plan in digits_advice.tried}
    again = Advice.from_json(json.loads(json.dumps(digits_advice.to_json())))
    assert list(map(str, again.tried)) == list(map(str, digits_advice.tried))
    there = {str(plan) for plan in recorded_plans.splits(again, compressed=False)}
    assert {str(plan) for plan in digits_advice.tried} <= there


def test_at_its_own_link_and_requirements_the_choice_is_the_advices(digits_advice):
    found = advisor.whatif(digits_advice)
    assert str(found.options[0].plan) == str(digits_advice.best)
    split = advisor.whatif(digits_advice, require_split=True)
    assert any(note.startswith("A split is required") for note in split.notes)
    assert not any(note.startswith("A split") for note in advisor.whatif(digits_advice, require_split=False).notes)
    latency = split.options[0].plan.predicted["latency"].value
    assert latency <= digits_advice.best_split.predicted["latency"].value  # formats beside the plan are looked at too
    assert not [note for note in found.notes if "another plan is chosen" in note]


def test_packing_that_was_measured_stays_whatever_the_link():
    advice = resnet()
    plan, repricer = advice.best, Repricer.of(resnet())
    beyond = plan.predicted["link_latency"]
    slower = dataclasses.replace(beyond, value=beyond.value + 0.5, low=beyond.low + 0.5, high=beyond.high + 0.5)
    packed = dataclasses.replace(plan, predicted={**plan.predicted, "link_latency": slower})
    there = at_rate(repricer.link, 1e6)
    one, other = repricer.over(plan, there), repricer.over(packed, there)
    gained = other.predicted["link_latency"].value - one.predicted["link_latency"].value
    assert gained == pytest.approx(0.5)


# ---- thresholds --------------------------------------------------------------------------------------------------


def test_the_choice_changes_where_two_straight_lines_in_one_over_bandwidth_cross(made_up, swept):
    repricer = Repricer.of(made_up)
    lines = {}
    for option in swept.options:
        ends = [repricer.over(option.plan, at_rate(repricer.link, up)).predicted["latency"].value for up in (1e6, 2e6)]
        slope = (ends[0] - ends[1]) / (1 / 1e6 - 1 / 2e6)
        lines[option.letter] = slope, ends[0] - slope / 1e6
    assert len(swept.thresholds) == 2
    for before, after in zip(swept.segments[:-1], swept.segments[1:], strict=True):
        (a, c), (b, d) = lines[before.letter], lines[after.letter]
        assert after.low == before.high == pytest.approx((a - b) / (d - c), rel=1e-6)


def test_no_change_is_missed_that_a_slow_walk_finds(made_up, swept):
    """Every bandwidth of a fine grid by itself: the fastest of all plans that keep the limits, by hand."""
    repricer, limits = Repricer.of(made_up), {"min_nmse": 0.3, "max_accuracy_drop": 0.02}
    splits = [p for p in recorded_plans.splits(made_up, compressed=False) if not p.missing(limits)]
    for up in np.geomspace(0.5e6, 200e6, 300):
        priced = [repricer.over(plan, at_rate(repricer.link, float(up))) for plan in splits]
        best = min(priced, key=lambda plan: plan.predicted["latency"].value)
        inside = next(s for s in swept.segments if s.low <= up <= s.high)
        assert str(swept.option(inside.letter).plan) == str(best)


def test_along_a_bound_the_thresholds_are_what_the_plans_have(made_up):
    found = advisor.whatif(made_up, max_latency="15ms..100ms", min_nmse=0.3)
    first, *rest = found.segments
    assert (first.letter, first.low) == ("–", 0.015)
    values = [found.option(segment.letter).plan.predicted["latency"].value for segment in rest[:1]]
    assert found.thresholds == tuple(values)
    private = advisor.whatif(made_up, min_nmse="0.2..0.99", max_latency="none")
    lows = [private.option(s.letter).plan.leakage("score").low for s in private.segments if s.letter != "–"]
    assert [s.high for s in private.segments if s.letter != "–"] == lows


def test_two_ranges_make_a_picture_whose_bands_agree_with_single_questions(made_up, monkeypatch):
    monkeypatch.setattr(regions, "BANDS", 4)
    found = advisor.whatif(made_up, "0.5..200Mbps", max_latency="20ms..60ms", min_nmse=0.3)
    assert [axis.name for axis in found.axes] == ["link", "max_latency"]
    assert found.bands[0].low == 0.02
    assert found.bands[-1].high == 0.06
    for band in found.bands[1::2]:
        for segment in band.segments:
            middle = found.axes[0].between(segment.low, segment.high)
            one = advisor.whatif(made_up, (middle, middle * 1.0001), max_latency=band.at, min_nmse=0.3)
            alone = "–" if not one.options else str(one.options[0].plan)
            plan = found.option(segment.letter)
            assert alone == ("–" if plan is None else str(plan.plan))


def test_an_input_is_sent_whole_only_where_leakage_is_waived(digits_advice):
    waived = advisor.whatif(digits_advice, "1..1000Mbps", min_nmse=0, require_split=False)
    kept = advisor.whatif(digits_advice, "1..1000Mbps", min_nmse=0.01)
    assert "all-cloud" not in {option.plan.kind for option in kept.options}
    assert {option.plan.kind for option in waived.options} <= {"all-edge", "all-cloud", "split"}


def test_an_attack_that_was_run_since_verifies_a_plan_and_counts(made_up):
    predicted = advisor.whatif(made_up, "40Mbps", **LOOSE).options[0]
    assert not predicted.verified
    spec = predicted.plan.defense.spec
    assert predicted.verify == (f"advisor attack ADVICE --cut {predicted.plan.cut.name} --defense {spec} --name worst")
    found = dataclasses.replace(
        evidence_of("ka", predicted.plan.cut.name), defense=str(predicted.plan.defense), version=99
    )
    attacked = dataclasses.replace(made_up, evidence=(found,))
    options = advisor.whatif(attacked, "40Mbps", max_latency="none", min_nmse=0.2).options
    assert options[0].verified
    assert options[0].verify == ""
    others = advisor.whatif(attacked, "40Mbps", **LOOSE).options  # the attack found 0.25 of 0.3
    assert str(others[0].plan) != str(predicted.plan)


def test_what_is_chosen_for_being_most_private_is_told_from_what_is_private(made_up):
    plan = plan_of(made_up.profile, 1, GaussianNoise(0.3, 5.0), made_up.budgets)
    few = dataclasses.replace(
        made_up, best=plan, best_split=plan, pareto=(plan,), evidence=(), budgets=advisor.Budgets()
    )
    only = dataclasses.replace(few, request=Request.of(model="model.pt2", cuts="conv1"))
    found = advisor.whatif(only, "10Mbps", require_split=True)
    assert not found.options[0].private
    assert outlook_tables.leakage(found.options[0]).endswith("by the zone's thresholds not private")


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"link": "100..1Mbps"}, "--link '100..1Mbps' runs backwards. Write the smaller end first"),
        ({"link": "5..5Mbps"}, "begins where it ends"),
        ({"link": "..5Mbps"}, "it has not two ends"),
        ({"link": "1..2..3Mbps"}, "it has not two ends"),
        ({"link": "0..5Mbps"}, "no bandwidth above zero"),
        ({"link": "1..5parsec"}, "'1parsec' is not a rate such as 20Mbps"),
        ({"link": "1..nanMbps"}, "is not a rate"),
        ({"link": "rtt=1..5ms,bandwidth=1Mbps"}, "of a link the bandwidth alone may be a range"),
        ({"link": "carrier-pigeon"}, "There is no link 'carrier-pigeon'"),
        ({"link": "wifi,compress=zlib"}, "What compression leaves of a message is measured"),
        ({"max_latency": "10ms..1ms"}, "--max-latency '10ms..1ms' runs backwards"),
        ({"max_latency": "1..2lightyears"}, "--max-latency: '1lightyears' is not a duration"),
        ({"min_nmse": "0..7"}, "--min-nmse: '7' is above 1"),
        ({"max_latency": "soon"}, "--max-latency: 'soon' is not a duration"),
        ({"link": "1..2Mbps", "max_latency": "1..2s", "min_nmse": "0..1"}, "3 ranges are no picture: link,"),
        ({"max_speed": 3}, "There is no requirement 'max_speed'"),
        ({"max_label_leak": 0.1}, "of no split of this advice the label leak was measured"),
        ({"objective": "beauty"}, "There is no objective 'beauty'"),
        ({"portfolio": 2}, "A portfolio serves a range of bandwidth, or a trace"),
        ({"portfolio": 0, "link": "1..2Mbps"}, "A portfolio of 0 plans makes no sense"),
        ({"portfolio": 1, "hysteresis": math.nan, "link": "1..2Mbps"}, "A hysteresis of nan makes no sense"),
        ({"portfolio": 1, "link": "1..2Mbps", "max_latency": "1us"}, "No plan meets the requirements anywhere"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused_in_one_line(made_up, asked, message):
    with pytest.raises(AdvisorError, match=None) as refused:
        advisor.whatif(made_up, **asked)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "row",
    [
        None, "wifi", {}, {"name": "wifi"},
        {"name": "w", "up": "fast", "down": 1.0, "rtt": 0.0, "rtt_low": 0.0, "rtt_high": 0.0},
        {"name": "w", "up": -4.0, "down": 1.0, "rtt": 0.0, "rtt_low": 0.0, "rtt_high": 0.0},
        {"name": "w", "up": 1e300, "down": 1.0, "rtt": 0.0, "rtt_low": 0.0, "rtt_high": 0.0},
        {"name": "w", "up": 1.0, "down": 1.0, "rtt": 0.0, "rtt_low": 0.0, "rtt_high": 0.0, "trace": [["a"]]},
        {"name": "w", "up": 1.0, "down": 1.0, "rtt": 0.0, "rtt_low": 0.0, "rtt_high": 0.0, "tx_power": {}},
    ],
)  # fmt: skip
def test_a_recorded_link_that_is_none_is_refused(made_up, row):
    strange = dataclasses.replace(made_up, provenance={**made_up.provenance, "link": row})
    with pytest.raises(AdvisorError, match=r"this advice records is none|does not record its link"):
        advisor.whatif(strange, "1..2Mbps")


def test_an_advice_without_plans_or_numbers_chooses_nothing(made_up):
    bare = dataclasses.replace(
        made_up, best=None, best_split=None, pareto=(), nearest=(), baselines=(), alternatives={}, evidence=()
    )
    assert advisor.whatif(bare, "1..2Mbps").segments[0].letter == "–"
    unknown = dataclasses.replace(made_up.best, predicted={"bytes": advisor.Estimate(-5.0)}, verified={})
    odd = dataclasses.replace(bare, pareto=(unknown,), budgets=advisor.Budgets())
    assert advisor.whatif(odd, "1..2Mbps", require_split=True).options[0].private is False


def test_a_link_in_the_file_stays_what_it_is_but_for_the_rate(made_up):
    link = recorded_link(made_up)
    assert at_rate(link, link.up) is link
    assert at_rate(link, 1e6).down == 1e6  # nobody gave the rate down
    given = dataclasses.replace(link, assumed=(), down=2e6)
    assert at_rate(given, 1e6).down == 2e6
    assert math.isnan(at_rate(dataclasses.replace(link, tx_power=2.0), 1e6).tx_power)
