"""The command to type next: one that runs as it stands, each word quoted."""

from __future__ import annotations

import math
from pathlib import PurePath

from advisor.plans import Advice
from advisor.reports.content.text import clean
from advisor.requirements import REQUIREMENTS
from advisor.safe_text import shell_words, without_secrets

LOOSER = 1.02
"""A budget that is asked for again is loosened past what the nearest plan needs."""


def folder_of(advice: Advice) -> str:
    """Where the advice was saved, as recorded; "" where it was kept in Python."""
    out = None if advice.request is None else advice.request.output.out
    return clean(without_secrets(str(out))) if isinstance(out, str | PurePath) else ""


def next_command(advice: Advice) -> str:
    """What follows from the verdict; "" where there is nothing to type."""
    folder, best = folder_of(advice), advice.best
    if not folder or best is None or advice.request is None or folder.startswith("-"):
        return ""
    again = ["advisor", "recommend", "--from", folder]
    if best.kind == "split" and advice.feasible:
        return shell_words(["advisor", "split", folder, "--out", str(PurePath(folder) / "halves")])
    if not advice.feasible:
        wider = _loosened(advice)
        return shell_words([*again, *wider]) if wider else ""
    if advice.best_split is not None:
        return shell_words([*again, "--require-split"])
    return shell_words(["advisor", "report", folder, "--format", "card"])


def _loosened(advice: Advice) -> list[str]:
    """The budgets that the nearest plan misses, as wide as it needs them."""
    assert advice.best is not None
    words = []
    for name, over in advice.best.excess.items():
        limit = advice.budgets.limits.get(name)
        if name not in REQUIREMENTS or limit is None or not math.isfinite(over):
            return []
        row = REQUIREMENTS[name]
        needed = (limit + over) * LOOSER if row.minimised else max(0.0, (limit - over) / LOOSER)
        words += [row.option, f"{min(needed, 1.0) if row.unit == '1' else needed:.3g}"]
    return words
