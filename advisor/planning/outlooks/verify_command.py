"""The command that attacks a plan which so far is only predicted."""

from __future__ import annotations

from pathlib import PurePath

from advisor.advice import Advice
from advisor.plans import Plan
from advisor.requirements import Budgets
from advisor.support.safe_text import shell_words, without_secrets

FOLDER = "ADVICE"
"""Stands for the folder of an advice that was never saved."""


def verify_command(
    plan: Plan, advice: Advice, place: str | None = None, link: str = "", asked: Budgets | None = None
) -> str:
    """What to type; "" where the plan was attacked, or nothing of it is sent that an attack could tell more of.

    A payload defense is attacked by itself, and the evidence goes into the advice. What was fitted, and a U-shaped
    plan, is asked for again: everything that was measured is taken from the advice, and the plan is attacked.
    """
    if plan.verified or plan.kind != "split":
        return ""
    out = None if advice.request is None else advice.request.output.out
    folder = place or (without_secrets(str(out)) if isinstance(out, str | PurePath) else FOLDER)
    if plan.fitted is None and plan.tail is None:
        words = ["advisor", "attack", folder, "--cut", plan.cut.name, "--defense", plan.defense.spec]
        return shell_words([*words, "--name", "worst"])
    words = ["advisor", "recommend", "--from", folder, *(["--link", link] if link else [])]
    limits = [word for row, limit in (asked or advice.budgets) for word in (row.option, row.typed(limit))]
    return shell_words([*words, *limits])
