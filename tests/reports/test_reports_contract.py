"""What every report must do, whoever adds it to the list."""

from __future__ import annotations

import functools
import html
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
from demo_advice import DEMOS

from advisor.plans import Advice
from advisor.reports import REPORTS
from advisor.reports.text import clean

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(page: str) -> str:
    """The words of a report, whatever its medium: entities, Markdown escapes, line breaks and padding undone."""
    text = re.sub(r"\\([\\`*_\[\]|~])", r"\1", html.unescape(page))
    return " ".join(text.split())


@functools.cache
def advice_of(name: str) -> Advice:
    make: Callable[[], Advice] = DEMOS[name]
    return make()


@functools.cache
def text_of(report: str, name: str) -> str:
    """One rendering for all tests, as plots take a while; a warning fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return REPORTS[report](advice_of(name))


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DEMOS)
def demo(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_says_the_headline_first_among_the_facts(report: str, demo: str) -> None:
    advice, text = advice_of(demo), plain(text_of(report, demo))
    assert " ".join(clean(advice.headline).split()) in text
    if advice.best:
        assert text.index(clean(advice.headline)) < text.index("Run the model up to")


def test_says_the_reasons_assumptions_and_what_was_not_measured(report: str, demo: str) -> None:
    advice, text = advice_of(demo), plain(text_of(report, demo))
    for line in (*advice.unmeasured, *advice.assumptions):
        assert " ".join(clean(line).split()) in text


def test_shows_no_hidden_character_and_encodes(report: str, demo: str) -> None:
    page = text_of(report, demo)
    page.encode("utf-8")
    assert not HIDDEN.search(page.replace("\n", " "))


@pytest.mark.parametrize("demo", [name for name in DEMOS if name != "hostile"])  # JSON holds no lone surrogate
def test_an_advice_that_went_through_json_gives_the_same_bytes(report: str, demo: str) -> None:
    again = Advice.from_json(advice_of(demo).to_json())
    assert REPORTS[report](again) == text_of(report, demo)


def test_what_is_nan_is_said_and_never_zero(report: str) -> None:
    advice = advice_of("unmeasured")
    assert advice.best is not None
    assert math.isnan(advice.best.predicted["accuracy_drop"].value)
    text = plain(text_of(report, "unmeasured"))
    for words in ("accuracy drop not measured", "NMSE not measured", "edge memory not measured"):
        assert words in text
    assert "score not measured at any cut: the attack needs two samples" in text
    assert not re.search(r"\b(nan|NaN|None)\b", text)


def test_an_infeasible_advice_names_budget_and_excess(report: str) -> None:
    text = plain(text_of(report, "infeasible"))
    assert "latency 24.4 ms over (budget: at most 1 ms)" in text
    assert "accuracy drop could not be checked (budget: at most 2.00 pp)" in text
    assert "attacker's NMSE 0.080 short (budget: at least 0.700)" in text


def test_baselines_are_priced_and_marked(report: str) -> None:
    text = plain(text_of(report, "digits"))
    assert "everything in the cloud" in text
    assert "everything on the edge" in text


def test_the_command_can_be_copied(report: str) -> None:
    command = "advisor recommend model.pt --device jetson --data digits --max-latency 40ms --seed 0"
    assert command in html.unescape(text_of(report, "digits"))


def test_a_long_model_says_how_many_cuts_are_left_out(report: str) -> None:
    text = plain(text_of(report, "long_model"))
    assert re.search(r"\d+ (of 200 )?cuts left out", text)
    assert "encoder.layers.79.mlp/add" in text


def test_no_report_needs_torch_and_listing_them_needs_no_matplotlib() -> None:
    code = (
        "import sys, advisor.reports; assert 'matplotlib' not in sys.modules; "
        "import advisor.reports.curves, advisor.reports.pareto; assert 'torch' not in sys.modules, 'torch'; "
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
