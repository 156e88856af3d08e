"""Reports: how an advice is shown. One more report is one more file and one more entry here; none needs torch."""

from __future__ import annotations

from typing import Protocol

from advisor.plans import Advice
from advisor.reports import console, html, markdown


class Report(Protocol):
    """Turns an advice into text; whatever came from the model is escaped, whatever was not measured is said."""

    def __call__(self, advice: Advice) -> str:
        """The report of `advice`."""


REPORTS: dict[str, Report] = {
    "console": console.render,
    "html": html.render,
    "markdown": markdown.render,
}

__all__ = ["REPORTS", "Report"]
