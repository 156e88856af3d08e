"""What guessing alone would reach, beside every share of guesses."""

from __future__ import annotations

from advisor.advice import Advice
from advisor.reports.content.quantities import show

SHARES = ("reidentified", "top1", "top5")


def chance(advice: Advice, name: str) -> str:
    """` (chance: 10 %)` beside a share of guesses, all classes of the model as likely; "" beside another quantity."""
    if name not in SHARES:
        return ""
    classes = class_count(advice)
    if classes is None:
        return " (chance: not known)"
    guesses = 5 if name == "top5" else 1
    return f" (chance: {show(guesses / max(classes, guesses), '1', name)})"


def class_count(advice: Advice) -> int | None:
    """How many classes the model tells apart, read off its output; None where that is no vector of scores."""
    specs = advice.profile.cuts[-1].tensors if advice.profile.cuts else ()
    vector = len(specs) == 1 and len(specs[0].shape) == 1 and specs[0].shape[0] > 1
    return specs[0].shape[0] if vector else None
