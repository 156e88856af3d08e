from __future__ import annotations

import dataclasses

import pytest

from advisor.reports import words
from advisor.testing.made_up_advices import digits, no_split, plan_with


def test_three_lines_say_where_cost_and_leakage() -> None:
    where, cost, hidden = words.plan_lines(digits())
    assert where.startswith("Run the model up to classifier.0 on jetson, send 388 B")
    assert "defended by int8" in where
    assert cost.startswith(
        "Latency 23.6 ms (20.9–26.4 ms) = 17.6 ms edge + 5.2 ms link + 889 µs cloud; edge memory 2.65 MiB"
    )
    assert "agreement with the undefended model" in cost
    assert "NMSE 0.769 (0.679–0.839)" in hidden
    assert "reached NMSE 0.779" in hidden


def test_a_u_shaped_plan_names_both_cuts() -> None:
    advice = digits()
    cuts = advice.profile.cuts
    u_shaped = dataclasses.replace(advice, best=plan_with(cuts=(cuts[2], cuts[7])))
    assert "run up to classifier.0 there, and finish on the edge" in words.plan_lines(u_shaped)[0]
    assert words.plan_name(plan_with(cuts=(cuts[2], cuts[7]))) == "features.1 … classifier.0 + int8"


def test_an_advice_without_plan_or_provenance_still_reads() -> None:
    advice = no_split()
    assert words.plan_lines(advice) == ()
    assert words.zone_words(advice) == "No cut of this model is in the golden partition zone."
    assert words.place(advice, "device") == "the edge device"
    assert words.loads(advice) == ""


def test_facts_flatten_and_show_durations() -> None:
    nested = {
        "stages": {"trace": 0.8},
        "wall_time_s": 16.1,
        "seed": 0,
        "labels": True,
        "zone": {"names": ["a", "b"], "t": None},
    }
    assert list(words.facts(nested)) == [
        ("stages.trace", "800 ms"),
        ("wall_time_s", "16.1 s"),
        ("seed", "0"),
        ("labels", "True"),
        ("zone.names", "a, b"),
        ("zone.t", "not stated"),
    ]


@pytest.mark.parametrize("row", ["a board", {"key": "a board"}])
def test_a_bare_device_is_a_key(row: object) -> None:
    advice = dataclasses.replace(digits(), provenance={"device": row})
    assert words.place(advice, "device") == "a board"
