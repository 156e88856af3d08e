"""An outlook shown: the page, its picture, Markdown; names that a model supplies do nothing in any."""

from __future__ import annotations

import dataclasses
import functools
import re

import pytest

import advisor
from advisor.cuts import Cut
from advisor.planning.outlooks import axis_regions as regions
from advisor.reports.outlooks import outlook_page, outlook_tables
from advisor.reports.outlooks.outlook_chart import chart
from advisor.testing.made_up_advices import HOSTILE, resnet
from tests.reports.test_html import FORBIDDEN, Page

ASKED = {
    "range": {"link": "0.5..200Mbps", "max_latency": "none", "min_nmse": 0.3, "portfolio": 2},
    "picture": {"link": "0.5..200Mbps", "max_latency": "5ms..100ms", "min_nmse": 0.3},
    "point": {"link": "5Mbps", "max_latency": "none", "min_nmse": 0.3},
    "none": {"max_latency": "1us..1ms"},
}


@functools.cache
def outlook(name: str) -> advisor.Outlook:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(regions, "BANDS", 8)
        return advisor.whatif(resnet(), **ASKED[name])


@functools.cache
def page(name: str) -> Page:
    return Page(outlook_page.render(outlook(name)))


@pytest.mark.parametrize("name", ASKED)
def test_the_page_nests_runs_nothing_and_fetches_nothing(name: str) -> None:
    found = page(name)
    assert found.open == []
    assert found.scripts == []
    assert not {tag for tag, _ in found.tags} & FORBIDDEN
    assert "script-src 'none'" in str(found.all("meta"))
    assert len(found.all("svg")) == (0 if name == "point" else 2)  # a broad one and one for a phone
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_picture_has_a_rectangle_a_segment_and_each_plan_its_letter() -> None:
    found, drawn = outlook("picture"), chart(outlook("picture"))
    assert drawn is not None
    rectangles = drawn.spec["layer"][0]["data"]["values"]
    chosen = [s for band in found.bands for s in band.segments if s.letter != "–"]
    assert len(rectangles) == len(chosen)
    assert {row["letter"] for row in rectangles} == {option.letter for option in found.options}
    widest = max(rectangles, key=lambda row: row["x2"])
    assert widest["x2"] == pytest.approx(200)  # Mbit/s
    letters = {row["text"] for row in drawn.spec["layer"][1]["data"]["values"]}
    assert letters == {"A", "B", "C", "nothing meets them"}


def test_switches_are_drawn_and_said() -> None:
    found, drawn = outlook("range"), chart(outlook("range"))
    assert drawn is not None
    assert found.portfolio is not None
    rules = next(layer for layer in drawn.spec["layer"] if layer["mark"]["type"] == "rule")["data"]["values"]
    assert [row["x"] for row in rules if row["kind"] == 0] == [s.at / 1e6 for s in found.portfolio.switches]
    words = page("range").words
    assert "When an edge switches" in words
    assert "not yet: C" in words
    assert "dotted: where an edge changes over" in words


def test_markdown_and_text_say_the_same() -> None:
    for name in ASKED:
        told, table = outlook_tables.text(outlook(name), 80), outlook_tables.markdown(outlook(name))
        assert outlook_tables.headline(outlook(name)).split(":")[0] in " ".join(told.split())
        assert all(len(line) <= 80 for line in told.splitlines() if "advisor attack" not in line)
        assert table.startswith("**")
    assert "nothing meets the requirements" in outlook_tables.text(outlook("none"))


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_hostile_name_does_nothing(evil: str) -> None:
    advice = resnet()
    assert advice.best is not None
    cut = Cut(22, evil, advice.best.cut.tensors)
    plan = dataclasses.replace(advice.best, cuts=(cut,), verified={})
    link = {**advice.provenance["link"], "name": evil}
    strange = dataclasses.replace(
        advice, best=plan, best_split=plan, pareto=(plan,), provenance={**advice.provenance, "link": link}
    )
    found = advisor.whatif(strange, "1..50Mbps", max_latency="none", min_nmse=0.55)
    shown = Page(outlook_page.render(found))
    assert shown.scripts == []
    assert not shown.all("img")
    assert "\x1b" not in outlook_tables.text(found)
    table = outlook_tables.markdown(found)
    assert "<img" not in re.sub(r"`[^`]*`", "", table)  # inside a code span nothing is markup
