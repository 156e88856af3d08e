"""A short summary for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from advisor.advice import Advice
from advisor.reports.content import tables, words
from advisor.reports.content.answer import Answer, answer_of
from advisor.reports.content.budgets import STATUS_MARKS
from advisor.reports.content.quantities import quantity
from advisor.reports.content.text import markdown_block, markdown_code, markdown_text, shorten

ROWS = 12
"""Most cuts in the table."""
COLUMNS = ("bytes", "latency", "score", "score_ssim")


def render(advice: Advice) -> str:
    """The answer in its order, the cuts that matter, and how to reproduce it."""
    answer = answer_of(advice)
    got = answer.attacker
    made = f"Verdict: {answer.kind}{f'; made {answer.made}' if answer.made else ''}."
    parts = [
        f"**{markdown_text(advice.headline)}**",
        markdown_text(f"{answer.plan} {made}".strip()),
        _listed("What it costs", map(str, answer.costs)),
        _budgets(answer),
        _listed("What an attacker gets", filter(None, (got.gets, got.predicted, *got.run, got.guarantee))),
        _listed("What must be believed", (f"{b.assumption} {b.changes}" for b in answer.beliefs)),
        _listed("Why", advice.reasons),
        _listed("Why not the next", map(str, answer.rivals)),
        _alternatives(answer),
        _cuts(advice),
        markdown_text(words.zone_words(advice)),
        _listed("Attacks that were run", words.attack_lines(advice)),
        _listed("Not measured", (*advice.unmeasured, *tables.missing_notes(advice.profile, _columns(advice)))),
        _listed("Assumed", advice.assumptions),
        _command("To reproduce", words.command(advice)),
        _command("Next", answer.next),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Cells that are Markdown already, the first `left` columns aligned left."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * left + "---:|" * (len(heads) - left)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _columns(advice: Advice) -> tuple[str, ...]:
    return tuple(name for name in COLUMNS if name in advice.profile)


def _budgets(answer: Answer) -> str:
    rows = [
        [markdown_text(c) for c in (v.label, v.limit, v.found, f"{STATUS_MARKS[v.status]} {v.status} {v.note}".strip())]
        for v in answer.budgets
    ]
    return table(["budget", "asked", "found", ""], rows, 4) if rows else ""


def _alternatives(answer: Answer) -> str:
    rows = [
        [markdown_text(row.role), markdown_text(row.plan), *(markdown_text(str(c)) for c in row.cells),
         markdown_text(row.budgets)]
        for row in answer.alternatives
    ]  # fmt: skip
    heads = ["", "plan", *(markdown_text(quantity(name).label) for name in answer.columns), "budgets"]
    return f"**Beside other plans**\n\n{table(heads, rows, 2)}" if rows else ""


def _cuts(advice: Advice) -> str:
    profile, names = advice.profile, _columns(advice)
    blocks = tables.block_rows(advice)
    rows = blocks if len(blocks) <= ROWS else tables.pick_rows(len(profile.cuts), tables.important_rows(advice), ROWS)
    heads = [markdown_text(f"{tables.label(name)} ({profile[name].source})") for name in names]
    lines = [[str(i), _name(advice, i), *(markdown_text(str(tables.cell(profile, n, i))) for n in names)] for i in rows]
    left_out = len(profile.cuts) - len(rows)
    rest = f"\n\n{left_out} of {len(profile.cuts)} cuts left out." if left_out else ""
    return table(["#", "cut", *heads], lines, 2) + rest


def _name(advice: Advice, index: int) -> str:
    name = markdown_code(shorten(advice.profile.cuts[index].name, words.NAME_LENGTH))
    if index in tables.plan_rows(advice, advice.best):
        return f"**{name}** ← chosen"
    return f"{name} (zone)" if index in tables.zone_rows(advice) else name


def _command(title: str, command: str) -> str:
    return f"{title}:\n\n{markdown_block(command)}" if command else ""


def _listed(title: str, lines: Iterable[str]) -> str:
    bullets = "\n".join(f"- {markdown_text(line)}" for line in lines)
    return f"**{title}**\n\n{bullets}" if bullets else ""
