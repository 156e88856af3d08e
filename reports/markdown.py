"""A short summary for a pull request."""

from __future__ import annotations

from collections.abc import Iterable

from advisor.plans import Advice, Plan
from advisor.reports import budgets, tables, words
from advisor.reports.text import markdown_block, markdown_code, markdown_text, shorten

ROWS = 12
"""Most cuts in the table."""
COLUMNS = ("bytes", "latency", "score", "score_ssim")
_STATUS = {"met": "✅ met", "close": "⚠️ close", "missed": "❌ missed", "not measured": "❔ not measured"}


def render(advice: Advice) -> str:
    """The headline, the plan, its budgets, the cuts that matter, and how to reproduce it."""
    parts = [
        f"**{markdown_text(advice.headline)}**",
        _bullets(words.plan_lines(advice)),
        _verdicts(advice),
        _nearest(advice),
        _cuts(advice),
        markdown_text(words.zone_words(advice)),
        _listed("Best split", [split] if (split := words.best_split(advice)) else []),
        _listed("Without a split", [_evaluated(plan) for plan in advice.baselines]),
        _listed("Attacks that were run", words.attack_lines(advice)),
        _listed("Not measured", (*advice.unmeasured, *tables.missing_notes(advice.profile, _columns(advice)))),
        _listed("Assumed", advice.assumptions),
        _reproduce(advice),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _columns(advice: Advice) -> tuple[str, ...]:
    return tuple(name for name in COLUMNS if name in advice.profile)


def _verdicts(advice: Advice) -> str:
    found = budgets.verdicts(advice.best, advice.budgets) if advice.best else ()
    if not found:
        return ""
    rows = ["| budget | asked | found | |", "|---|---|---|---|"]
    for v in found:
        cells = (v.label, v.limit, v.found, f"{_STATUS[v.status]} {v.note}".strip())
        rows.append("| " + " | ".join(markdown_text(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _nearest(advice: Advice) -> str:
    if advice.feasible:
        return ""
    lines = [f"{words.plan_name(plan)}: {budgets.misses(plan, advice.budgets)}" for plan in advice.nearest]
    return _listed("Plans that miss the budgets by least", lines)


def _cuts(advice: Advice) -> str:
    profile, names = advice.profile, _columns(advice)
    rows = tables.pick_rows(len(profile.cuts), tables.important_rows(advice), ROWS)
    heads = [f"{tables.label(name)} ({profile[name].source})" for name in names]
    lines = ["| # | cut | " + " | ".join(map(markdown_text, heads)) + " |", "|---:|---|" + "---:|" * len(names)]
    for i in rows:
        cells = [markdown_text(str(tables.cell(profile, name, i))) for name in names]
        lines.append("| " + " | ".join([str(i), _name(advice, i), *cells]) + " |")
    left_out = len(profile.cuts) - len(rows)
    if left_out:
        lines.append(f"\n{left_out} of {len(profile.cuts)} cuts left out.")
    return "\n".join(lines)


def _name(advice: Advice, index: int) -> str:
    name = markdown_code(shorten(advice.profile.cuts[index].name, words.NAME_LENGTH))
    if advice.best and index in [cut.index for cut in advice.best.cuts]:
        return f"**{name}** ← chosen"
    return f"{name} (zone)" if index in tables.zone_rows(advice) else name


def _evaluated(plan: Plan) -> str:
    return (
        f"{words.plan_name(plan)}: latency {words.predicted(plan, 'latency')}, score {words.predicted(plan, 'score')}"
    )


def _reproduce(advice: Advice) -> str:
    command = words.command(advice)
    return f"To reproduce:\n\n{markdown_block(command)}" if command else ""


def _listed(title: str, lines: Iterable[str]) -> str:
    bullets = _bullets(lines)
    return f"**{title}**\n\n{bullets}" if bullets else ""


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)
