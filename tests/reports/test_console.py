from __future__ import annotations

import io

import pytest
from rich.console import Console

from advisor.reports import console
from advisor.reports.content import tables
from advisor.testing.made_up_advices import DEMOS, HOSTILE


def printed(name: str, width: int) -> str:
    return console.render(DEMOS[name](), width)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("name", ["digits", "resnet", "long_model", "hostile"])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    advice = DEMOS[name]()
    command = f"  {tables.clean(advice.provenance['command'])}"
    lines = [line for line in console.render(advice, width).splitlines() if line != command]
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 110])
def test_no_cell_is_cut_short(width: int) -> None:
    text = printed("digits", width)
    assert "classifier.0" in text
    assert "chosen, zone" in text
    assert "…" not in text


@pytest.mark.parametrize("name", ["digits", "long_model"])
def test_no_line_of_a_file_ends_in_blanks(name: str) -> None:
    assert [line for line in printed(name, 110).splitlines() if line != line.rstrip()] == []


def test_the_first_line_is_the_headline() -> None:
    advice = DEMOS["digits"]()
    assert console.render(advice).splitlines()[0] == advice.headline


def test_a_wide_terminal_shows_more_columns() -> None:
    header = {
        width: next(line for line in printed("digits", width).splitlines() if line.startswith(" #"))
        for width in (80, 110, 200)
    }
    assert "latency" in header[80]
    assert "link" not in header[80]
    assert {"edge", "link", "cloud"} <= set(header[110].split())
    assert "Fisher SNR" in header[200]


def test_missing_cells_carry_a_reason() -> None:
    text = printed("unmeasured", 110)
    assert "n/m" in text
    assert "n/m: latency not measured at any cut: the attack needs two samples" in text


def test_long_models_keep_choice_zone_and_ends() -> None:
    lines = printed("long_model", 110).splitlines()
    indices = [int(line.split()[0]) for line in lines if line[:4].strip().isdigit() and " of " not in line]
    assert {0, 145, 160, 198, 199} <= set(indices)
    assert len(indices) == console.ROWS
    assert f"{200 - len(indices)} of 200 cuts left out of this table: --all-cuts shows them." in lines
    every = console.render(DEMOS["long_model"](), all_cuts=True).splitlines()
    assert {i for line in every if (i := line[:4].strip()).isdigit()} == {str(i) for i in range(200)}


def test_markup_emoji_and_escapes_are_text() -> None:
    stream = io.StringIO()
    console.print_advice(DEMOS["hostile"](), Console(file=stream, width=400, force_terminal=True))
    text = stream.getvalue()
    assert "[bold red]markup[/] :smile:" in text
    assert "\x1b[2J" not in text
    assert HOSTILE[0] in text


def test_a_profile_prints_sources_and_what_had_no_room() -> None:
    stream = io.StringIO()
    console.print_profile(DEMOS["digits"]().profile, Console(file=stream, width=100))
    text = " ".join(stream.getvalue().split())
    assert "Not shown for want of width: MACs on edge, parameters" in text
    assert "measured: sent" in text
    stream = io.StringIO()
    console.print_profile(DEMOS["digits"]().profile, Console(file=stream, width=240))
    assert "edge energy not measured at any cut: no sourced power figure" in stream.getvalue()


def test_deploy_and_reproduce_are_said() -> None:
    text = printed("digits", 110)
    assert "jetson loads edge.onnx files." in text
    assert "To reproduce" in text
