from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.columns import Column, Profile
from advisor.reports.content import tables
from advisor.testing.made_up_advices import cuts_of, digits, long_model, no_split, profile_of


def test_macs_are_a_share_of_the_whole() -> None:
    profile = profile_of(cuts_of([str(i) for i in range(5)]))
    assert [tables.cell(profile, "macs", i).text for i in range(5)] == ["0 %", "25 %", "50 %", "75 %", "100 %"]


def test_macs_of_an_unknown_whole_are_a_count() -> None:
    cuts = cuts_of(["input", "a", "output"])
    column = Column.of("macs", "MAC", "low", [0, 2e6, math.nan], "measured", why=("", "", "attention was not counted"))
    profile = Profile(cuts, {"macs": column})
    assert tables.cell(profile, "macs", 1).text == "2 M"
    assert tables.cell(profile, "macs", 2) == tables.Cell("n/m", why="attention was not counted")


def test_missing_values_are_grouped_by_reason() -> None:
    cuts = cuts_of(list("abcdef"))
    why = ("x", "x", "", "x", "y", "")
    values = [math.nan, math.nan, 1, math.nan, math.nan, 1]
    whole = Column.of("dcor", "1", "low", [math.nan] * 6, "estimated", why=("no data",) * 6)
    profile = Profile(cuts, {"rc2": Column.of("rc2", "1", "low", values, "measured", why=why), "dcor": whole})
    assert tables.missing_notes(profile, ["rc2", "dcor"]) == (
        "R_c² not measured at cuts 0–1, 3: x",
        "R_c² not measured at cut 4: y",
        "dCor not measured at any cut: no data",
    )


def test_every_nan_of_a_profile_is_noted() -> None:
    profile = digits().profile
    noted = " ".join(tables.missing_notes(profile, tables.all_columns(profile)))
    for column in profile:
        if any(map(math.isnan, column.values)):
            assert tables.label(column.name) in noted


def test_sources_name_every_column_once() -> None:
    profile = digits().profile
    notes = tables.source_notes(profile, tables.all_columns(profile))
    named = [name for note in notes for name in note.partition(": ")[2].split(", ")]
    assert sorted(named) == sorted(tables.label(name) for name in tables.all_columns(profile))


def test_all_columns_leave_none_out_but_the_flags() -> None:
    profile = digits().profile
    assert set(tables.all_columns(profile)) == {c.name for c in profile} - {"in_zone", "in_gpz"}
    assert tables.main_columns(no_split().profile) == ("bytes",)


def test_important_rows_keep_choice_ends_and_zone() -> None:
    advice = long_model()
    rows = tables.important_rows(advice)
    zone = tables.zone_rows(advice)
    assert rows[:3] == (160, 0, 199)
    assert {159, 161, zone[0], zone[0] - 1, zone[-1], 120} <= set(rows)
    assert len(set(rows)) == len(rows)


@given(st.integers(1, 300), st.lists(st.integers(0, 299), unique=True), st.integers(2, 40))
def test_picked_rows_are_sorted_few_and_keep_the_important(count: int, wanted: list[int], limit: int) -> None:
    important = [i for i in wanted if i < count]
    rows = tables.pick_rows(count, important, limit)
    assert list(rows) == sorted(set(rows))
    assert len(rows) <= max(limit, 0) or count <= limit
    assert set(important[:limit]) <= set(rows)
    assert count > limit or rows == tuple(range(count))


@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_name_exactly_their_cuts(indices: set[int]) -> None:
    words, _, ranges = tables.show_cuts(sorted(indices)).partition(" ")
    spans = [tuple(map(int, part.split("–"))) for part in ranges.split(", ")]
    assert {i for span in spans for i in range(span[0], span[-1] + 1)} == indices
    assert words == ("cut" if len(indices) == 1 else "cuts")


def test_a_zone_with_a_hole_has_four_edges() -> None:
    assert tables.run_edges((3, 4, 5, 9)) == (3, 5, 9, 9)
    advice = dataclasses.replace(digits(), zone=("pool", "classifier.2"))
    assert tables.zone_rows(advice) == (6, 8)


@pytest.mark.parametrize("name", ["score", "latency"])
def test_a_cell_reads_value_then_interval(name: str) -> None:
    found = tables.cell(digits().profile, name, 7)
    assert str(found) == f"{found.text} ({found.interval})"
