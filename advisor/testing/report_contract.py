"""What every report must do, whatever its medium."""

from __future__ import annotations

import functools
import html
import re
import warnings
from collections.abc import Callable, Hashable

import pytest

from advisor.advice import Advice
from advisor.reports import Report
from advisor.reports.content.text import clean
from advisor.testing.made_up_advices import DEMOS

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(page: str) -> str:
    """The words of a report, whatever its medium: entities, escapes, line breaks and padding undone."""
    text = re.sub(r"\\([\\`*_\[\]|~])", r"\1", html.unescape(page))
    return " ".join(text.split())


@functools.cache
def advice_of(name: str) -> Advice:
    """A made-up advice of `DEMOS`."""
    make: Callable[[], Advice] = DEMOS[name]
    return make()


@functools.cache
def _text_of(report: Hashable, name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert callable(report)
        return str(report(advice_of(name)))


def text_of(report: Report, name: str) -> str:
    """One rendering for all tests, as plots take a while; a warning fails it."""
    assert isinstance(report, Hashable)
    return _text_of(report, name)


class ReportContract:
    """Inherit it and give the report as the fixture `report`: a function from an `Advice` to text."""

    @pytest.fixture
    def report(self) -> Report:
        """The report under test."""
        raise NotImplementedError("give the report as a fixture")

    @pytest.fixture(params=DEMOS)
    def demo(self, request: pytest.FixtureRequest) -> str:
        """The name of a made-up advice."""
        return str(request.param)

    def words(self, page: str) -> str:
        """The words of a page, the medium's escapes and line breaks undone; override it for another medium."""
        return plain(page)

    def test_says_the_headline(self, report: Report, demo: str) -> None:
        """The answer is in it, whatever else is."""
        assert " ".join(clean(advice_of(demo).headline).split()) in self.words(text_of(report, demo))

    def test_says_what_was_not_measured(self, report: Report, demo: str) -> None:
        """No reason is dropped."""
        text = self.words(text_of(report, demo))
        for line in advice_of(demo).unmeasured:
            assert " ".join(clean(line).split()) in text

    def test_shows_no_hidden_character_and_encodes(self, report: Report, demo: str) -> None:
        """Whatever a model's or a file's author wrote."""
        page = text_of(report, demo)
        page.encode("utf-8")
        assert not HIDDEN.search(page.replace("\n", " "))

    @pytest.mark.parametrize("name", [name for name in DEMOS if name != "hostile"])  # JSON holds no lone surrogate
    def test_an_advice_that_went_through_json_gives_the_same_bytes(self, report: Report, name: str) -> None:
        """What is loaded is shown as what was made."""
        assert report(Advice.from_json(advice_of(name).to_json())) == text_of(report, name)
