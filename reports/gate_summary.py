"""What a release gate found: on a terminal one line a check, as Markdown a table for a pull request."""

from __future__ import annotations

from advisor.gate import Checked, Gate
from advisor.reports.content.text import clean, markdown_code, markdown_text

_MARKS = {"met": "✅ met", "missed": "❌ missed", "moved": "❌ moved", "not measured": "❔ not measured"}


def lines(gate: Gate) -> tuple[str, ...]:
    """One line a check, its status first; a failed one says what failed."""
    return tuple(f"{check.status:<13} {clean(_told(check))}" for check in gate.checks)


def markdown(gate: Gate) -> str:
    """The outcome, a table of the checks, the failures and what was opened."""
    failed = len(gate.failures)
    outcome = "✅ The advice holds" if gate.passed else f"❌ {failed} of {len(gate.checks)} checks failed"
    rows = ["| check | asked | found | how | |", "|---|---|---|---|---|"]
    for check in gate.checks:
        cells = [markdown_text(cell) for cell in (check.label, check.asked, check.found, check.how)]
        rows.append(f"| {' | '.join(cells)} | {_MARKS[check.status]} |")
    parts = [
        f"**{outcome}**: {markdown_text(gate.plan)}",
        "\n".join(rows),
        "\n".join(f"- {markdown_text(line)}" for line in gate.failures),
        "\n".join(f"- {markdown_text(note)}" for note in gate.notes),
        f"Digest of the advice: {markdown_code(gate.digest)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(check: Checked) -> str:
    if check.status != "met":
        return check.failure
    how = f" ({check.how})" if check.how else ""
    return f"{check.label}: {check.found}; asked: {check.asked}{how}"
