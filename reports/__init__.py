"""Reports: how an advice is shown. One more report is one more file and one more line here; none needs torch."""

from __future__ import annotations

from typing import Protocol

from advisor.advice import Advice
from advisor.registry import Registry


class Report(Protocol):
    """Turns an advice into text; whatever came from the model is escaped, whatever was not measured is said."""

    def __call__(self, advice: Advice, /) -> str:
        """The report of `advice`."""


_BUILT_IN = {
    "card": "advisor.reports.card:render",
    "console": "advisor.reports.console:render",
    "csv": "advisor.reports.csv:render",
    "html": "advisor.reports.html:render",
    "json": "advisor.reports.json:render",
    "markdown": "advisor.reports.markdown:render",
    "md": "advisor.reports.markdown:render",
}


def _made(found: object) -> Report:
    if not callable(found):
        raise TypeError("it cannot be called with an advice")
    member: Report = found
    return member


REPORTS: Registry[Report] = Registry("report", _BUILT_IN, _made)
"""By the name that `advisor report --format` takes; a user's is an entry point of `partition_advisor.reports`."""

__all__ = ["REPORTS", "Report"]
