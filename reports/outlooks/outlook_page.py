"""An outlook as one HTML page that runs and fetches nothing."""

from __future__ import annotations

from advisor.outlook import Outlook
from advisor.reports import html
from advisor.reports.outlooks import outlook_tables
from advisor.reports.outlooks.outlook_chart import chart

TEMPLATE = "outlook.html.j2"
WIDTHS = (html.STILL_WIDTH, 420)
"""Of the picture: the page runs nothing that could draw it anew on a phone."""


def render(outlook: Outlook) -> str:
    """The page: the answer, the picture, the tables, what is not verified yet, what was assumed."""
    drawn = chart(outlook)
    return html.page(
        TEMPLATE,
        headline=outlook_tables.headline(outlook),
        asked=outlook_tables.asked(outlook),
        charts=[] if drawn is None else [html.drawn(drawn, width) for width in WIDTHS],
        switches=outlook.portfolio is not None and bool(outlook.portfolio.switches),
        grids=outlook_tables.grids(outlook),
        commands=outlook_tables.unverified(outlook),
        notes=outlook.notes,
    )
