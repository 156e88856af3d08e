"""What every report must do, whoever adds it to the list."""

from __future__ import annotations

import html
import json
import math
import re
import subprocess
import sys

import pytest

from advisor.reports import REPORTS, Report
from advisor.reports.content.text import clean
from advisor.testing.made_up_advices import DEMOS
from advisor.testing.report_contract import ReportContract, advice_of, plain, text_of

PROSE = ["console", "html", "markdown"]
"""Reports for people that hold everything; the JSON and the CSV are for programs, the card has one page."""


class TestEveryReport(ReportContract):
    @pytest.fixture(params=[*PROSE, "card"])
    def report(self, request: pytest.FixtureRequest) -> Report:
        return REPORTS[request.param]


def test_every_report_is_held_to_something() -> None:
    assert set(REPORTS.built_in) == {*PROSE, "card", "csv", "json", "md"}
    assert REPORTS["md"] is REPORTS["markdown"]


class TestJson(ReportContract):
    @pytest.fixture
    def report(self) -> Report:
        return REPORTS["json"]

    @pytest.fixture(params=[name for name in DEMOS if name != "hostile"])  # JSON holds no lone surrogate
    def demo(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def words(self, page: str) -> str:
        return plain(" ".join([json.loads(page)["headline"], *json.loads(page)["unmeasured"]]))


@pytest.fixture(params=PROSE)
def report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[request.param]


@pytest.fixture(params=DEMOS)
def demo(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_says_the_headline_first_among_the_facts(report: Report, demo: str) -> None:
    advice, text = advice_of(demo), plain(text_of(report, demo))
    if advice.best:
        assert text.index(clean(advice.headline)) < text.index("Run the model up to")


def test_says_the_assumptions(report: Report, demo: str) -> None:
    text = plain(text_of(report, demo))
    if report is REPORTS["console"]:  # what is long goes to the page
        return
    for line in advice_of(demo).assumptions:
        assert " ".join(clean(line).split()) in text


def test_what_is_nan_is_said_and_never_zero(report: Report) -> None:
    advice = advice_of("unmeasured")
    assert advice.best is not None
    assert math.isnan(advice.best.predicted["accuracy_drop"].value)
    text = plain(text_of(report, "unmeasured"))
    for words in ("accuracy drop not measured", "NMSE not measured", "edge memory not measured"):
        assert words in re.sub("<[^>]*>", " ", text).replace("  ", " ")
    assert "NMSE not measured at any cut: the attack needs two samples" in text
    assert not re.search(r"\b(nan|NaN|None)\b", text.partition("<script")[0])


def test_an_infeasible_advice_names_budget_and_excess(report: Report) -> None:
    text = plain(text_of(report, "infeasible"))
    assert "latency 24.4 ms over (budget: at most 1 ms)" in text
    assert "accuracy drop could not be checked (budget: at most 2.00 pp)" in text
    assert "attacker's NMSE 0.080 short at the low end of its interval (budget: at least 0.700)" in text


def test_baselines_are_priced_and_marked(report: Report) -> None:
    text = plain(text_of(report, "digits"))
    assert "all in the cloud" in text
    assert "all on the edge" in text


def test_the_command_can_be_copied(report: Report) -> None:
    command = "advisor recommend model.pt --device jetson --data digits --max-latency 40ms --seed 0"
    assert command in html.unescape(text_of(report, "digits"))


def test_a_long_model_says_how_many_cuts_are_left_out(report: Report) -> None:
    text = plain(text_of(report, "long_model"))
    assert re.search(r"\d+ (of 200 )?cuts left out", text)
    assert "encoder.layers.79.mlp/add" in text


def test_no_report_needs_torch_and_listing_them_needs_no_charts() -> None:
    code = (
        "import sys, advisor.reports; assert 'vl_convert' not in sys.modules; "
        "from advisor.reports import REPORTS; [REPORTS[name] for name in REPORTS]; "
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
