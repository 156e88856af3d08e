"""The colours of the page, as eyes without one kind of cones see them, in light and in dark."""

from __future__ import annotations

import itertools
import re

import pytest
from coloraide import Color

from advisor.reports import html
from advisor.reports.charts import plan_charts

EYES = ("protan", "deutan", "tritan")
CLEAR = 15
"""ΔE (CIEDE2000) from which on two patches are told apart at a glance; 2.3 is just noticeable side by side."""


def schemes() -> dict[str, dict[str, str]]:
    """Scheme -> name -> colour, read off the style sheet."""
    css = (html.TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{\s+(?:color-scheme[^;]*;)?(.*?)\}", css, re.DOTALL)[:2]
    named = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in (light, dark)]
    return {"light": named[0], "dark": named[0] | named[1]}


def seen(colour: str, eyes: str) -> Color:
    """Machado, Oliveira and Fernandes (2009), no cones of that kind at all."""
    return Color(colour).filter(eyes, 1, method="machado") if eyes != "all cones" else Color(colour)


def apart(one: str, other: str, eyes: str) -> float:
    return float(seen(one, eyes).delta_e(seen(other, eyes), method="2000"))


@pytest.mark.parametrize("eyes", ["all cones", *EYES])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edge_link_and_cloud_are_told_apart(scheme: str, eyes: str) -> None:
    colours = schemes()[scheme]
    found = {pair: apart(*(colours[name] for name in pair), eyes)
             for pair in itertools.combinations(("edge", "link", "cloud"), 2)}  # fmt: skip
    assert min(found.values()) > CLEAR, found
    assert found["edge", "cloud"] > 30


@pytest.mark.parametrize("eyes", ["all cones", *EYES])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_two_attacks_and_the_chosen_cut_are_told_apart(scheme: str, eyes: str) -> None:
    colours = schemes()[scheme]
    assert apart(colours["score"], colours["quick"], eyes) > CLEAR  # and one is dashed
    assert apart(colours["zone"], colours["chosen"], eyes) > CLEAR
    assert apart(colours["good-soft"], colours["bad"], eyes) > CLEAR


def test_where_colours_are_alike_shapes_are_not() -> None:
    assert len(set(plan_charts.SHAPES)) == len(plan_charts.SHAPES) >= len(plan_charts.COLOURS)


@pytest.mark.parametrize("eyes", EYES)
def test_the_simulation_knows_what_such_eyes_confuse(eyes: str) -> None:
    confused = {"protan": ("#8b0000", "#2f2a00"), "deutan": ("#b26b00", "#7d8a00"), "tritan": ("#0f8f8f", "#1f8f5f")}
    assert apart(*confused[eyes], eyes) < 0.6 * apart(*confused[eyes], "all cones")
