from __future__ import annotations

import dataclasses

import pytest

from advisor.fitted import FittedDefense
from advisor.reports.content import words
from advisor.testing.made_up_advices import digits, no_split, plan_with


def test_a_u_shaped_plan_names_both_cuts() -> None:
    advice = digits()
    cuts = advice.profile.cuts
    plan = plan_with(cuts=(cuts[2], cuts[7]))
    assert "run up to classifier.0 there, and finish on the edge" in words.what_runs_where(advice, plan)
    assert words.plan_name(plan) == "features.1 … classifier.0 + int8"


def test_a_fitted_plan_says_how_long_it_took_and_who_must_change_what() -> None:
    fitted = FittedDefense("0" * 64, "ridge", "features.1", {}, 372.0, ("edge weights", "app"))
    said = words.what_runs_where(digits(), plan_with(fitted=fitted))
    assert said.endswith(
        "It was fitted in 6.2 min. To deploy it, change the edge's weights, the app (encoder, decoder)."
    )
    short = dataclasses.replace(fitted, short=True, changes=())
    said = words.what_runs_where(digits(), plan_with(fitted=short))
    assert said.endswith("It was fitted in 6.2 min, briefly: advisor defend fits it longer.")
    assert "fitted" not in words.what_runs_where(digits(), plan_with())


def test_an_advice_without_plan_or_provenance_still_reads() -> None:
    advice = no_split()
    assert words.zone_words(advice) == "No cut of this model is in the golden partition zone."
    assert words.place(advice, "device") == "the edge device"
    assert words.loads(advice) == ""


def test_facts_flatten_and_show_durations() -> None:
    nested = {
        "told": {"leakage": 38.2},
        "stages": {"trace": 0.8},
        "wall_time_s": 16.1,
        "seed": 0,
        "labels": True,
        "zone": {"names": ["a", "b"], "t": None},
    }
    assert list(words.facts(nested)) == [
        ("told.leakage", "38.2 s"),
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
